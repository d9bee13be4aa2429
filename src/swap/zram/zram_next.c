/* SPDX-License-Identifier: MIT */
/*
 * Compressed memory in front of another device, which takes pages that find no room here, and pages that were not
 * used for long.
 *
 * Two ways lead to the next device. First, a page that does not compress, or finds the store full, is written there
 * as part of its request. Second, old pages leave in batches (zram_back_step): they are decompressed into a buffer
 * and written. A slot becomes NEXT only after the write has ended well. If the slot was written or discarded
 * meanwhile, "leaving" is no longer set. Then the slot stays as it is, and its slot on the next device is freed.
 *
 * There is one batch at a time, so one flag per slot suffices.
 */
#define _GNU_SOURCE
#include "swap/zram/zram.h"

#include <string.h>

#define DRAIN_MS 100
#define PAUSE_ROUNDS 256

/* ---- Slots of the next device ---------------------------------------------------------- */

static size_t used_bytes(const struct zram_dev *zram)
{
	return page_align_up((zram->next->nr_slots + 63ul) / 64 * sizeof(uint64_t));
}

static bool next_slot_used(const struct zram_dev *zram, uint32_t at)
{
	return zram->next_used[at / 64] >> (at % 64) & 1;
}

/*
 * The search begins behind the last slot, so pages that leave together lie together. While more than two thirds of
 * the slots that were ever used are free, it takes one of those. So a file that is written again and again does not
 * grow to its end.
 */
uint32_t next_slot_get(struct zram_dev *zram)
{
	uint32_t nr = zram->next ? zram->next->nr_slots : 0;

	if (zram->next_touched / 3 > zram->next_nr_used && zram->next_touched > SWAP_IO_PAGES)
		nr = zram->next_touched;
	if (!nr || zram->heir || zram->next_nr_used == nr)
		return NO_SLOT;
	for (uint32_t at = zram->next_cursor;;) {
		if (at >= nr)
			at = 0;
		if (at % 64 == 0 && zram->next_used[at / 64] == UINT64_MAX) {
			at += 64;
			continue;
		}
		if (!next_slot_used(zram, at)) {
			zram->next_used[at / 64] |= 1ull << (at % 64);
			zram->next_nr_used++;
			zram->next_cursor = at + 1;
			zram->next_touched = (uint32_t)max_u64(zram->next_touched, at + 1ul);
			return at;
		}
		at++;
	}
}

void next_slot_put(struct zram_dev *zram, uint32_t at)
{
	if (!zram->heir)
		zram->next->ops->discard(zram->next, at, 1);
	zram->next_used[at / 64] &= ~(1ull << (at % 64));
	zram->next_nr_used--;
}

/* ---- The end of requests ------------------------------------------------------------------ */

void progress_end(struct zram_dev *zram, struct swap_io *io, int result)
{
	/* Another error replaces -ENOSPC: a refused page is still in memory. */
	if (result && (io->result == 0 || io->result == -ENOSPC))
		io->result = result;
	if (--io->device_word[WORD_LEFT] == 0)
		STAILQ_INSERT_TAIL(&zram->ended[io->dir], io, link);
}

unsigned zram_end(struct zram_dev *zram, enum swap_dir dir)
{
	struct swap_io_list ended = STAILQ_HEAD_INITIALIZER(ended);

	pthread_mutex_lock(&zram->lock);
	STAILQ_CONCAT(&ended, &zram->ended[dir]);
	pthread_mutex_unlock(&zram->lock);
	return swap_io_end(&ended);
}

/* ---- Parts ---------------------------------------------------------------------------------- */

/* Refuse the pages that the next device has no room for: all, if it does not say which. => lock held */
static void part_refused(struct zram_part *part)
{
	for (unsigned i = 0; i < part->io.nr; i++)
		if (swap_io_refused(&part->io, i))
			swap_io_refuse(part->whole, part->io.pfn[i]);
}

/* The next device has ended the part. If a request waits for a part, go on with it here. */
static void part_done(struct swap_io *io)
{
	struct zram_part *part = io->owner;
	struct zram_dev *zram = part->zram;
	struct swap_io *whole = part->whole;

	pthread_mutex_lock(&zram->lock);
	if (io->result == -ENOSPC)
		part_refused(part);
	progress_end(zram, whole, io->result == -ENOSPC ? 0 : io->result);
	SLIST_INSERT_HEAD(&zram->free_parts[io->dir], part, link);
	struct swap_io *waiting = STAILQ_FIRST(&zram->waiting[io->dir]);

	if (waiting)
		STAILQ_REMOVE_HEAD(&zram->waiting[io->dir], link);
	pthread_mutex_unlock(&zram->lock);
	if (waiting)
		zram_walk(zram, waiting);
}

void part_submit(struct zram_part *part)
{
	struct swap_io_list list = STAILQ_HEAD_INITIALIZER(list);
	struct swapdev *next = part->zram->next;

	STAILQ_INSERT_TAIL(&list, &part->io, link);
	next->ops->submit(next, &list);
}

/* Take a part for @io, from page @i on. NULL: none is free, and @io waits on zram->waiting. => lock not held */
static struct zram_part *part_get(struct zram_dev *zram, struct swap_io *io, unsigned i, uint32_t at)
{
	enum swap_dir dir = io->dir;

	pthread_mutex_lock(&zram->lock);
	struct zram_part *part = SLIST_FIRST(&zram->free_parts[dir]);

	if (part) {
		SLIST_REMOVE_HEAD(&zram->free_parts[dir], link);
		part->whole = io;
		part->io.dir = dir;
		part->io.slot = at;
		part->io.nr = 0;
		part->io.alone = io->alone;
		part->io.ahead = io->nr > 1; /* the end of a read-ahead may be noticed late */
		memset(part->io.refused, 0, sizeof(part->io.refused));
		part->io.done = part_done;
		part->io.owner = part;
		io->device_word[WORD_LEFT]++;
		zram->parts_touched =
			(uint32_t)max_u64(zram->parts_touched, (uint64_t)(part - zram->parts) + 1);
	} else {
		io->device_word[WORD_AT] = i;
		STAILQ_INSERT_TAIL(&zram->waiting[dir], io, link);
	}
	pthread_mutex_unlock(&zram->lock);
	return part;
}

bool part_add(struct zram_dev *zram, struct zram_part **part, struct swap_io *io, unsigned i, uint32_t at)
{
	struct zram_part *p = *part;

	if (p && p->io.slot + p->io.nr != at) {
		part_submit(p);
		p = NULL;
	}
	if (!p)
		p = part_get(zram, io, i, at);
	*part = p;
	if (!p)
		return false;
	p->io.pfn[p->io.nr] = i;
	p->io.iov[p->io.nr++] = (struct swap_iov){io->iov[i].base, PAGE_BYTES};
	return true;
}

/* ---- Polling ----------------------------------------------------------------------------------- */

/* The next device ends parts. The requests that they complete are on zram->ended. */
int zram_poll(struct swapdev *dev, enum swap_dir dir, int timeout_ms)
{
	struct zram_dev *zram = zram_of(dev);
	unsigned ended = zram_end(zram, dir);
	int parts = 0;

	if (zram->next)
		parts = zram->next->ops->poll(zram->next, dir, ended ? 0 : timeout_ms);
	ended += zram_end(zram, dir);
	return ended == 0 && parts == -EBUSY ? -EBUSY : (int)ended;
}

int zram_poll_fd(struct swapdev *dev, enum swap_dir dir)
{
	struct swapdev *next = zram_of(dev)->next;

	return next && next->ops->poll_fd ? next->ops->poll_fd(next, dir) : -1;
}

/* ---- Old pages ------------------------------------------------------------------------------------ */

static void back_settle(struct zram_dev *zram, uint32_t slot, uint32_t at, bool good)
{
	struct zram_slot *s = &zram->slots[slot];

	if (!s->leaving || !good) {
		s->leaving = false;
		next_slot_put(zram, at);
		return;
	}
	slot_clear(zram, slot);
	slot_goes_next(zram, s, at);
}

static void back_done(struct swap_io *io)
{
	struct zram_dev *zram = io->owner;
	struct zram_back *back = &zram->back;

	pthread_mutex_lock(&zram->lock);
	for (unsigned i = 0; i < io->nr; i++)
		back_settle(zram, back->slots[i], io->slot + i, io->result == 0);
	back->pause = io->result ? PAUSE_ROUNDS : 0;
	back->busy = false;
	pthread_mutex_unlock(&zram->lock);
}

/* Is the store nearly full, and may a batch begin? => lock held */
static bool back_is_due(struct zram_dev *zram)
{
	uint64_t in_use = (uint64_t)(zram->store.nr_present - zram->store.nr_spare) * zram->store.block_bytes;

	if (zram->back.busy || zram->heir || in_use + zram_slack_bytes(zram) <= zram->likely_bytes)
		return false;
	if (zram->back.pause > 0) {
		zram->back.pause--;
		return false;
	}
	return true;
}

/* Pick the oldest pages, and consecutive slots of the next device for them. Returns how many. => lock held */
static unsigned back_pick(struct zram_dev *zram)
{
	struct zram_back *back = &zram->back;
	unsigned nr = 0;

	for (uint32_t slot = zram->oldest; slot != NO_SLOT && nr < back->nr_pages;
		slot = zram->slots[slot].newer) {
		uint32_t at = next_slot_get(zram);

		if (at == NO_SLOT)
			break;
		if (nr > 0 && at != back->io.slot + nr) {
			next_slot_put(zram, at);
			zram->next_cursor = at; /* the next batch begins there */
			break;
		}
		if (nr == 0)
			back->io.slot = at;
		zram->slots[slot].leaving = true;
		back->slots[nr++] = slot;
	}
	return nr;
}

/* Decompress the pages that were picked. A page that cannot be read is not leaving any more. => lock not held */
static void back_fill(struct zram_dev *zram)
{
	struct zram_back *back = &zram->back;

	for (unsigned i = 0; i < back->io.nr; i++) {
		uint8_t *page = back->pages + i * PAGE_BYTES;
		uint32_t at;

		back->io.iov[i] = (struct swap_iov){page, PAGE_BYTES};
		if (zram_take_page(zram, back->slots[i], page, &at) == 0)
			continue;
		pthread_mutex_lock(&zram->lock);
		zram->slots[back->slots[i]].leaving = false;
		pthread_mutex_unlock(&zram->lock);
	}
}

void zram_back_step(struct zram_dev *zram)
{
	struct swap_io_list list = STAILQ_HEAD_INITIALIZER(list);
	struct zram_back *back = &zram->back;

	zram->next->ops->poll(zram->next, SWAP_WRITE, 0); /* may end the last batch */
	pthread_mutex_lock(&zram->lock);
	unsigned nr = back_is_due(zram) ? back_pick(zram) : 0;

	if (nr > 0) {
		back->busy = true;
		back->io.nr = (uint16_t)nr;
	}
	pthread_mutex_unlock(&zram->lock);
	zram_end(zram, SWAP_WRITE);
	if (nr == 0)
		return;
	back_fill(zram);
	back->io.dir = SWAP_WRITE;
	back->io.done = back_done;
	back->io.owner = zram;
	memset(back->io.refused, 0, sizeof(back->io.refused));
	STAILQ_INSERT_TAIL(&list, &back->io, link);
	zram->next->ops->submit(zram->next, &list);
}

static bool back_is_busy(struct zram_dev *zram)
{
	pthread_mutex_lock(&zram->lock);
	bool busy = zram->back.busy;

	pthread_mutex_unlock(&zram->lock);
	return busy;
}

void zram_back_drain(struct zram_dev *zram)
{
	while (back_is_busy(zram))
		zram->next->ops->poll(zram->next, SWAP_WRITE, DRAIN_MS);
}

/* ---- Open and close --------------------------------------------------------------------------------- */

static size_t parts_bytes(void)
{
	return page_align_up(ZRAM_PARTS * SWAP_DIRS * sizeof(struct zram_part));
}

/* Parts with low numbers are first on the lists: the others take no memory until they are needed. */
static void parts_init(struct zram_dev *zram)
{
	for (unsigned i = ZRAM_PARTS * SWAP_DIRS; i-- > 0;) {
		zram->parts[i].zram = zram;
		SLIST_INSERT_HEAD(&zram->free_parts[i % SWAP_DIRS], &zram->parts[i], link);
	}
}

static void next_free(struct zram_dev *zram)
{
	device_free(zram->back.pages, zram->back.nr_pages * PAGE_BYTES);
	device_free(zram->next_used, used_bytes(zram));
	device_free(zram->parts, parts_bytes());
	zram->next = NULL;
}

/* A batch has a 128th of the store's pages, because its buffer takes memory, too. */
int zram_next_open(struct zram_dev *zram, struct swapdev *next)
{
	struct zram_back *back = &zram->back;

	zram->next = next;
	back->zram = zram;
	back->nr_pages = (unsigned)min_u64(max_u64(zram->most_bytes / PAGE_BYTES / 128, 16), SWAP_IO_PAGES);
	back->pages = device_alloc(back->nr_pages * PAGE_BYTES);
	zram->next_used = device_alloc(used_bytes(zram));
	zram->parts = device_alloc(parts_bytes());
	if (!back->pages || !zram->next_used || !zram->parts) {
		next_free(zram);
		return -ENOMEM;
	}
	parts_init(zram);
	return 0;
}

void zram_next_close(struct zram_dev *zram)
{
	struct swapdev *next = zram->next;

	zram_back_drain(zram);
	assert(STAILQ_EMPTY(&zram->waiting[SWAP_READ]) && STAILQ_EMPTY(&zram->waiting[SWAP_WRITE]));
	next_free(zram);
	next->ops->close(next);
}

/* SPDX-License-Identifier: MIT */
/* Pages on their way to and from a device; see page_io.h. */
#include "mm/mm.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <string.h>

/* ---- Content --------------------------------------------------------------------------- */

static bool is_zero(const void *bytes)
{
	const uint64_t *word = bytes;

	for (size_t i = 0; i < PAGE_BYTES / sizeof(*word); i += 8)
		if (word[i] | word[i + 1] | word[i + 2] | word[i + 3] | word[i + 4] | word[i + 5] |
			word[i + 6] | word[i + 7])
			return false;
	return true;
}

static void hash_bytes(struct pager *pager, const void *bytes, uint64_t hash[2])
{
	XXH128_hash_t h = XXH3_128bits_withSeed(bytes, PAGE_BYTES, pager->seed);

	hash[0] = h.low64;
	hash[1] = h.high64;
}

void page_content(struct pager *pager, struct page *page, struct content *content)
{
	const void *bytes = frame_bytes(pager, page);

	content->zero = is_zero(bytes);
	/* A page of zeros needs its hash, too: if others name its slot, it is written as any other page. */
	hash_bytes(pager, bytes, content->hash);
}

bool slot_holds(struct pager *pager, swp_entry_t entry, const struct content *content)
{
	struct swap_slot *slot = swap_slot(pager, entry);

	return (slot->flags & SLOT_HASHED) && slot->hash[0] == content->hash[0] &&
	       slot->hash[1] == content->hash[1];
}

/* ---- Requests -------------------------------------------------------------------------- */

static size_t io_array_bytes(const struct pager *pager)
{
	return page_align_up(pager->nr_io * sizeof(struct swap_io));
}

int page_io_init(struct pager *pager)
{
	/* Enough to keep a disk busy both ways; small pagers cannot fill that many. */
	pager->nr_io = (unsigned)min_u64(max_u64(pager->nr_frames / 128, 8), 64);
	STAILQ_INIT(&pager->io_free);
	pager->io_array = pager_chunk_alloc(pager, io_array_bytes(pager));
	if (!pager->io_array)
		return -ENOMEM;
	for (unsigned i = 0; i < pager->nr_io; i++)
		STAILQ_INSERT_TAIL(&pager->io_free, &pager->io_array[i], link);
	return 0;
}

void page_io_destroy(struct pager *pager)
{
	if (pager->io_array)
		pager_chunk_free(pager, pager->io_array, io_array_bytes(pager));
}

void plug_init(struct plug *plug)
{
	plug->open = NULL;
	plug->starved = false;
	STAILQ_INIT(&plug->ready);
}

static void plug_close(struct plug *plug)
{
	if (plug->open)
		STAILQ_INSERT_TAIL(&plug->ready, plug->open, link);
	plug->open = NULL;
}

/*
 * Can the slot @entry join the request @io? Yes, if it lies on the same device, just before or just behind its slots.
 */
static bool io_takes(struct pager *pager, const struct swap_io *io, enum swap_dir dir, swp_entry_t entry)
{
	return io && io->dir == dir && io->nr < SWAP_IO_PAGES && io->owner == &pager->areas[entry.type] &&
	       (io->slot + io->nr == entry.slot || io->slot == entry.slot + 1);
}

/* Make room for one page at the begin of the request: pages may come in descending order of their slots. */
static void io_make_room(struct swap_io *io)
{
	memmove(&io->pfn[1], &io->pfn[0], io->nr * sizeof(io->pfn[0]));
	memmove(&io->iov[1], &io->iov[0], io->nr * sizeof(io->iov[0]));
	io->slot--;
}

static void end_swap_bio(struct swap_io *io);

/* Writes may take three quarters of the requests. The rest is for reads, so that a fault need not wait for reclaim. */
bool swap_writes_congested(const struct pager *pager)
{
	return pager->nr_inflight[SWAP_WRITE] >= pager->nr_io - pager->nr_io / 4;
}

static struct swap_io *io_start(struct pager *pager, enum swap_dir dir, swp_entry_t entry)
{
	struct swap_io *io = STAILQ_FIRST(&pager->io_free);

	if (!io)
		return NULL;
	if (dir == SWAP_WRITE && swap_writes_congested(pager))
		return NULL;
	STAILQ_REMOVE_HEAD(&pager->io_free, link);
	io->dir = dir;
	io->slot = entry.slot;
	io->nr = 0;
	io->alone = io->ahead = false;
	io->result = 0;
	memset(io->refused, 0, sizeof(io->refused));
	io->done = end_swap_bio;
	io->owner = &pager->areas[entry.type];
	pager->nr_inflight[dir]++;
	return io;
}

static int plug_add(struct pager *pager, struct plug *plug, enum swap_dir dir, struct page *page)
{
	swp_entry_t entry = word_entry(page->private);

	if (!io_takes(pager, plug->open, dir, entry)) {
		struct swap_io *io = io_start(pager, dir, entry);

		if (!io)
			return -EBUSY;
		plug_close(plug);
		plug->open = io;
	}
	struct swap_io *io = plug->open;

	if (entry.slot < io->slot)
		io_make_room(io);
	unsigned at = entry.slot - io->slot;

	io->pfn[at] = page_pfn(pager, page);
	io->iov[at] = (struct swap_iov){frame_bytes(pager, page), PAGE_BYTES};
	io->nr++;
	return 0;
}

/* How many frames of the request, from the @i-th on, follow each other by @step: 1 or -1. */
static unsigned frames_run(const struct swap_io *io, unsigned i, int step)
{
	unsigned run = 1;

	while (i + run < io->nr && io->pfn[i + run] == io->pfn[i] + run * (pfn_t)step)
		run++;
	return run;
}

/*
 * Put memory behind the frames that a device is about to fill. Reads ahead get frames that follow each other, so this
 * goes by runs. => pager lock not held
 */
static int populate(struct pager *pager, const struct swap_io *io)
{
	for (unsigned i = 0, run; i < io->nr; i += run) {
		unsigned up = frames_run(io, i, 1), down = frames_run(io, i, -1);

		run = up > down ? up : down;
		pfn_t first = up > down ? io->pfn[i] : io->pfn[i] - (run - 1);
		int error = pager->machine->ops->frame_populate(pager->machine, first, run);

		if (error)
			return error;
	}
	return 0;
}

/*
 * Move the first requests of @plug, as long as they are for @area, to @list. A read for whose frames the host has no
 * memory ends here. => pager lock not held
 */
static void take_for(
	struct pager *pager, struct plug *plug, struct swap_area *area, struct swap_io_list *list)
{
	while (!STAILQ_EMPTY(&plug->ready) && STAILQ_FIRST(&plug->ready)->owner == area) {
		struct swap_io *io = STAILQ_FIRST(&plug->ready);

		STAILQ_REMOVE_HEAD(&plug->ready, link);
		io->result = io->dir == SWAP_READ ? populate(pager, io) : 0;
		plug->starved = plug->starved || (io->result && io->nr == 1);
		if (io->result)
			io->done(io);
		else
			STAILQ_INSERT_TAIL(list, io, link);
	}
}

void plug_alone(struct pager *pager, struct plug *plug)
{
	struct machine *machine = pager->machine;

	if (STAILQ_EMPTY(&plug->ready) && plug->open && plug->open->nr == 1 &&
		pager->nr_inflight[SWAP_READ] > 1 && machine->ops->faults_block &&
		machine->ops->faults_block(machine))
		plug->open->alone = true;
}

void plug_submit(struct pager *pager, struct plug *plug)
{
	plug_close(plug);
	if (STAILQ_EMPTY(&plug->ready))
		return;
	pager_unlock(pager);
	while (!STAILQ_EMPTY(&plug->ready)) {
		struct swap_area *area = STAILQ_FIRST(&plug->ready)->owner;
		struct swap_io_list list = STAILQ_HEAD_INITIALIZER(list);

		unsigned type = (unsigned)(area - pager->areas);
		struct swapdev *dev =
			area_enter(pager, type); /* not NULL: the area has a request, so it stays */

		take_for(pager, plug, area, &list);
		dev->ops->submit(dev, &list);
		area_leave(pager, type);
	}
	pager_lock(pager);
}

int swap_writepage(struct pager *pager, struct page *page, const struct content *content, struct plug *plug)
{
	swp_entry_t entry = word_entry(page->private);
	struct swap_slot *slot = swap_slot(pager, entry);
	int error = plug_add(pager, plug, SWAP_WRITE, page);

	assert(slot_writable(pager, entry));
	if (error)
		return error;
	slot->hash[0] = content->hash[0];
	slot->hash[1] = content->hash[1];
	slot->flags |= SLOT_HASHED;
	twin_note(pager, entry, content);
	page_set(page, PG_writeback | PG_reclaim);
	pager->nr_writeback++;
	page_unlock(pager, page);
	page_step(pager, page, "swap_writepage", 0);
	return 0;
}

int swap_readpage(struct pager *pager, struct page *page, struct plug *plug)
{
	assert(page_has(page, PG_locked) && page_has(page, PG_swapcache));
	return plug_add(pager, plug, SWAP_READ, page);
}

/* ---- The end of a request --------------------------------------------------------------- */

static void end_page_writeback(struct pager *pager, struct page *page)
{
	page_clear(page, PG_writeback);
	pager->nr_writeback--;
	if (page_has(page, PG_reclaim)) {
		page_clear(page, PG_reclaim);
		rotate_reclaimable_page(pager, page);
		pager->rotated = true;
	}
	wake_up_page(pager, page);
}

/* A write failed: the page stays in memory, dirty, and the slot is never used again. */
static void write_failed(struct page *page, struct swap_slot *slot)
{
	slot->flags = (uint16_t)((slot->flags & ~SLOT_HASHED) | SLOT_RETIRED);
	page_clear(page, PG_reclaim);
	page_set(page, PG_dirty | PG_error);
}

/*
 * The device had no room: the slot is good. The page stays in memory, dirty, and is tried again when there may be room.
 */
static void write_refused(struct pager *pager, struct page *page)
{
	slot_refused(pager, word_entry(page->private));
	page_clear(page, PG_reclaim);
	page_set(page, PG_dirty);
}

static void end_swap_bio_write(struct pager *pager, struct page *page, int result)
{
	struct swap_slot *slot = swap_slot(pager, word_entry(page->private));

	if (result == -ENOSPC)
		write_refused(pager, page);
	else if (result)
		write_failed(page, slot);
	else if (slot->flags & SLOT_HASHED) /* the page was not reused while the device wrote it */
		page_clear(page, PG_dirty);
	end_page_writeback(pager, page);
	if (!result) {
		slot->flags &= (uint16_t)~SLOT_EMPTY;
		pager->stats->written++;
	}
	page_step(pager, page, "end_swap_bio_write", 0);
	free_swap_cache(pager, page);
}

enum read_outcome {
	READ_GOOD,
	READ_LOST, /* a request for this page alone failed, or the bytes are not those that were written */
	/*
	 * a request of many pages failed, or the host had no memory (plug.starved): a thread that needs the page may
	 * read it alone
	 */
	READ_AGAIN,
};

static void end_swap_bio_read(struct pager *pager, struct page *page, enum read_outcome outcome)
{
	struct swap_slot *slot = swap_slot(pager, word_entry(page->private));

	if (outcome == READ_GOOD) {
		page_set(page, PG_uptodate);
		pager->stats->swapped_in++;
	} else if (outcome == READ_LOST) {
		/* Nobody must get these bytes: the slot's flag tells every fault on a PTE that names it. */
		slot->flags |= SLOT_POISONED;
		page_set(page, PG_error);
		pager->stats->lost_pages++;
	} else {
		slot->flags |= SLOT_ALONE;
	}
	page_step(pager, page, "end_swap_bio_read", 0);
	page_unlock(pager, page);
	if (outcome != READ_GOOD)
		delete_from_swap_cache(pager, page, NO_SHADOW);
	else
		free_swap_cache(pager, page);
	page_put(pager, page); /* the reader's reference */
}

/* Compare what was read with the slots' hashes, before anybody else can see it. => pager lock not held, pages locked */
static void check_contents(
	struct pager *pager, struct swap_area *area, struct swap_io *io, enum read_outcome outcome[])
{
	for (unsigned i = 0; i < io->nr; i++) {
		const struct swap_slot *slot = &area->slots[io->slot + i];
		uint64_t hash[2];

		hash_bytes(pager, frame_bytes(pager, pfn_page(pager, io->pfn[i])), hash);
		outcome[i] =
			(slot->flags & SLOT_HASHED) && hash[0] == slot->hash[0] && hash[1] == slot->hash[1]
				? READ_GOOD
				: READ_LOST;
	}
}

/* A device's result in words. => @result < 0 */
static const char *failure_words(int result)
{
	const char *words = strerrordesc_np(-result);

	return words ? words : "unknown error";
}

static void say_failure(struct pager *pager, const struct swap_area *area, const struct swap_io *io)
{
	uint64_t n = ++pager->stats->io_errors;

	if ((n & (n - 1)) == 0) /* the 1st, 2nd, 4th, 8th time, and so on */
		pager_say(pager, "%s of %u pages at slot %u of %s failed: %s (%llu failed so far)%s",
			io->dir == SWAP_READ ? "read" : "write", io->nr, io->slot, area->dev->uri,
			io->result ? failure_words(io->result) : "the content is not what was written",
			(unsigned long long)n,
			io->dir == SWAP_WRITE                 ? "; the pages stay in memory"
			: io->nr > 1 || io->result == -ENOMEM ? "; each page is read again when it is needed"
							      : "; programs that need this page get SIGBUS");
}

/* A full device is no error, but somebody may want to know: say it the 1st, 2nd, 4th, 8th time, and so on. */
static void say_full(struct pager *pager, struct swap_area *area)
{
	uint64_t n = ++area->nr_refused;

	if ((n & (n - 1)) == 0)
		pager_say(pager, "no space left on %s; the pages stay in memory", area->dev->uri);
}

static int write_result(const struct swap_io *io, unsigned i)
{
	return io->result == -ENOSPC && !swap_io_refused(io, i) ? 0 : io->result;
}

static void judge_read(
	struct pager *pager, struct swap_area *area, struct swap_io *io, enum read_outcome outcome[])
{
	if (io->result == 0) {
		check_contents(pager, area, io, outcome);
		return;
	}
	for (unsigned i = 0; i < io->nr; i++)
		outcome[i] = io->nr > 1 || io->result == -ENOMEM ? READ_AGAIN : READ_LOST;
}

/* done() of every request, read or write. => called by a device, pager lock not held */
static void end_swap_bio(struct swap_io *io)
{
	struct swap_area *area = io->owner;
	struct pager *pager = area->pager;
	enum read_outcome outcome[SWAP_IO_PAGES];
	bool full = io->dir == SWAP_WRITE && io->result == -ENOSPC;
	bool failed = io->result != 0 && !full;

	if (io->dir == SWAP_READ)
		judge_read(pager, area, io, outcome);
	pager_lock(pager);
	for (unsigned i = 0; i < io->nr; i++) {
		struct page *page = pfn_page(pager, io->pfn[i]);

		if (io->dir == SWAP_WRITE) {
			end_swap_bio_write(pager, page, write_result(io, i));
			continue;
		}
		failed = failed || outcome[i] == READ_LOST;
		end_swap_bio_read(pager, page, outcome[i]);
	}
	if (failed)
		say_failure(pager, area, io);
	if (full)
		say_full(pager, area);
	pager->nr_inflight[io->dir]--;
	STAILQ_INSERT_HEAD(&pager->io_free, io, link);
	pager_event(pager); /* threads may wait for a free request, or for any write to end */
	pager_unlock(pager);
}

/* SPDX-License-Identifier: MIT */
/*
 * Compressed memory as a swap device: "zram:?algo=lz4&level=1&size=SIZE". See zram.h for the way of a page.
 *
 * Without a size the store lives on the pager's memory: it takes what the pager grants, in place of frames. With a
 * size it has memory of its own, and its content takes no more than that.
 *
 * Nobody compresses or decompresses under the lock. Under the lock, a thread only copies some hundred compressed
 * bytes. A reader decompresses its copy, so the store can move objects at any time.
 *
 * One lock is enough. A page takes it three times: for its slot (median 30 ns to read, 100 ns to write, 0.2 us on
 * average with cold caches), and twice for its request (10 ns each). That is 1 to 3 % of the page's work, which is 1.5
 * to 20 us. Two threads that did nothing else met a held lock in 0.1 % of the cases, and of those mostly one whose
 * holder had lost its CPU.
 */
#define _GNU_SOURCE
#include "swap/zram/zram.h"
#include "contract/policy.h"

#include <string.h>
#include <sys/sysinfo.h>

/*
 * A page that compresses to more bytes than this is not kept compressed: it would save a fifth of 4096 bytes at most,
 * for 5 us in each direction. Near this size lz4 finds nothing but numbers that repeat by chance.
 */
#define KEEP_MOST 3268

#define SLOTS_PER_PAGE 4 /* slots for each page of the store: heaps compress less than that */

#define SIZE_LEAST (256 * KIB)

#define OWN_NS 3000 /* a page in, or out, until pages were timed: lz4 on heaps, 1 to 7 us (bench/heaps) */
#define CLOCK_EVERY 16 /* of so many pages, one is timed */
#define DEFAULT_MEMORY (64 * MIB) /* the pager's limit where it is not known */

/* ---- Slots ------------------------------------------------------------------------------ */

static struct zram_slot *slot_of(struct zram_dev *zram, uint32_t slot)
{
	return &zram->slots[slot];
}

static void age_add(struct zram_dev *zram, uint32_t slot)
{
	struct zram_slot *s = slot_of(zram, slot);

	s->newer = NO_SLOT;
	s->older = zram->newest;
	if (zram->newest != NO_SLOT)
		slot_of(zram, zram->newest)->newer = slot;
	else
		zram->oldest = slot;
	zram->newest = slot;
}

void age_remove(struct zram_dev *zram, struct zram_slot *s)
{
	if (s->newer != NO_SLOT)
		slot_of(zram, s->newer)->older = s->older;
	else
		zram->newest = s->older;
	if (s->older != NO_SLOT)
		slot_of(zram, s->older)->newer = s->newer;
	else
		zram->oldest = s->newer;
}

void slot_clear(struct zram_dev *zram, uint32_t slot)
{
	struct zram_slot *s = slot_of(zram, slot);

	switch ((enum zram_kind)s->kind) {
	case ZRAM_STORED:
		zstore_free(&zram->store, s->at, s->bytes);
		age_remove(zram, s);
		break;
	case ZRAM_NEXT:
		next_slot_put(zram, s->at);
		break;
	case ZRAM_SAME:
		zram->nr_same--;
		break;
	case ZRAM_EMPTY:
		break;
	}
	s->kind = ZRAM_EMPTY;
	s->leaving = false;
}

/* The store has moved an object. */
static void slot_moved(void *context, uint32_t slot, zhandle to)
{
	struct zram_dev *zram = context;

	assert(slot_of(zram, slot)->kind == ZRAM_STORED);
	slot_of(zram, slot)->at = to;
}

/* ---- One page, in -------------------------------------------------------------------------- */

static bool page_is_same(const void *page, uint64_t *word)
{
	const uint64_t *words = page;

	for (size_t i = 1; i < PAGE_BYTES / sizeof(*words); i++)
		if (words[i] != words[0])
			return false;
	*word = words[0];
	return true;
}

static void keep_same(struct zram_dev *zram, uint32_t slot, uint64_t word)
{
	struct zram_slot *s = slot_of(zram, slot);

	s->kind = ZRAM_SAME;
	s->word = word;
	zram->nr_same++;
}

static bool keep_bytes(struct zram_dev *zram, uint32_t slot, const void *bytes, size_t nr)
{
	struct zram_slot *s = slot_of(zram, slot);
	zhandle handle = zstore_put(&zram->store, slot, bytes, (uint32_t)nr);

	while (handle == ZHANDLE_NONE && zstore_compact(&zram->store))
		handle = zstore_put(&zram->store, slot, bytes, (uint32_t)nr);
	if (handle == ZHANDLE_NONE)
		return false;
	s->kind = ZRAM_STORED;
	s->at = handle;
	s->bytes = (uint16_t)nr;
	age_add(zram, slot);
	return true;
}

void slot_goes_next(struct zram_dev *zram, struct zram_slot *s, uint32_t at)
{
	(void)zram;
	s->kind = ZRAM_NEXT;
	s->at = at;
}

/*
 * Find a place for a page of @nr bytes at @bytes. A page that is not compressed (@nr is PAGE_BYTES) goes to the next
 * device if that has room. Results as keep_page(). => lock held
 */
static int keep_somewhere(struct zram_dev *zram, uint32_t slot, const void *bytes, size_t nr, uint32_t *at)
{
	if (nr < PAGE_BYTES && keep_bytes(zram, slot, bytes, nr))
		return 0;
	*at = next_slot_get(zram);
	if (*at != NO_SLOT) {
		slot_goes_next(zram, slot_of(zram, slot), *at);
		return -EXDEV;
	}
	return nr == PAGE_BYTES && keep_bytes(zram, slot, bytes, nr) ? 0 : -ENOSPC;
}

static size_t copy_page(struct zcomp_context *context, const void *page)
{
	memcpy(context->buffer, page, PAGE_BYTES);
	return PAGE_BYTES;
}

/*
 * Keep @page as the content of @slot. 0; -EXDEV: it is to be written to slot *@at of the next device; -ENOSPC: no
 * room.
 */
static int keep_page(struct zram_dev *zram, uint32_t slot, const void *page, uint32_t *at)
{
	struct zcomp_context *context = NULL;
	size_t bytes = 0;
	uint64_t word;
	bool same = page_is_same(page, &word);
	int result = 0;

	if (!same) {
		context = zcomp_get(&zram->comp.compress);
		bytes = zcomp_compress(&zram->comp, context, page, KEEP_MOST);
		if (bytes == 0)
			bytes = copy_page(context, page);
	}
	pthread_mutex_lock(&zram->lock);
	slot_clear(zram, slot);
	if (slot >= zram->touched)
		zram->touched = slot + 1;
	if (same)
		keep_same(zram, slot, word);
	else
		result = keep_somewhere(zram, slot, context->buffer, bytes, at);
	pthread_mutex_unlock(&zram->lock);
	if (context)
		zcomp_put(context);
	return result;
}

/* ---- One page, out --------------------------------------------------------------------------- */

static void fill_words(void *page, uint64_t word)
{
	uint64_t *words = page;

	for (size_t i = 0; i < PAGE_BYTES / sizeof(*words); i++)
		words[i] = word;
}

/* Decompress the context's copy into @page. */
static int open_copy(struct zram_dev *zram, struct zcomp_context *context, size_t bytes, void *page)
{
	if (bytes < PAGE_BYTES)
		return zcomp_decompress(&zram->comp, context, bytes, page);
	memcpy(page, context->buffer, PAGE_BYTES);
	return 0;
}

/* @slot was read: it is the newest now. */
static void was_read(struct zram_dev *zram, uint32_t slot)
{
	age_remove(zram, slot_of(zram, slot));
	age_add(zram, slot);
}

int zram_take_page(struct zram_dev *zram, uint32_t slot, void *page, uint32_t *at)
{
	struct zcomp_context *context = zcomp_get(&zram->comp.decompress);
	int result = 0;

	pthread_mutex_lock(&zram->lock);
	struct zram_slot seen = *slot_of(zram, slot);

	if (seen.kind == ZRAM_STORED) {
		memcpy(context->buffer, zstore_at(&zram->store, seen.at), seen.bytes);
		if (zram->next && !zram->heir && !seen.leaving)
			was_read(zram, slot);
	}
	pthread_mutex_unlock(&zram->lock);
	switch ((enum zram_kind)seen.kind) {
	case ZRAM_STORED:
		result = open_copy(zram, context, seen.bytes, page);
		break;
	case ZRAM_NEXT:
		*at = seen.at;
		result = -EXDEV;
		break;
	case ZRAM_SAME:
		fill_words(page, seen.word);
		break;
	case ZRAM_EMPTY:
		fill_words(page, 0);
		break;
	}
	zcomp_put(context);
	return result;
}

static bool zram_peek(struct swapdev *dev, uint32_t slot, void *page)
{
	uint32_t at;

	return zram_take_page(zram_of(dev), slot, page, &at) == 0;
}

/* ---- How long things take ---- */

/* One page of a request. As keep_page() and zram_take_page() */
static int serve_page(struct zram_dev *zram, const struct swap_io *io, unsigned i, uint32_t *at)
{
	return io->dir == SWAP_READ ? zram_take_page(zram, io->slot + i, io->iov[i].base, at)
				    : keep_page(zram, io->slot + i, io->iov[i].base, at);
}

/* As serve_page(). One of CLOCK_EVERY pages is timed. */
static int serve_page_timed(struct zram_dev *zram, const struct swap_io *io, unsigned i, uint32_t *at)
{
	if ((io->slot + i) % CLOCK_EVERY)
		return serve_page(zram, io, i, at);
	uint64_t since = host_now_ns();
	int error = serve_page(zram, io, i, at);

	if (!error)
		cost_note(&zram->own_ns[io->dir], host_now_ns() - since);
	return error;
}

/*
 * Pages are placed here by themselves, so neighbours cost no less. With a next device a page may be there at worst, and
 * the store's slots that lie side by side are no neighbours there.
 */
static void zram_cost(const struct swapdev *dev, struct swap_cost *out)
{
	const struct zram_dev *zram = container_of(dev, const struct zram_dev, dev);

	*out = (struct swap_cost){
		.read_ns = atomic_load_explicit(&zram->own_ns[SWAP_READ], memory_order_relaxed),
		.write_ns = atomic_load_explicit(&zram->own_ns[SWAP_WRITE], memory_order_relaxed),
		.room = atomic_load_explicit(&zram->room, memory_order_relaxed)};
	if (zram->next) {
		struct swap_cost behind = swapdev_cost(zram->next);

		cost_add(out, &behind);
	}
	out->neighbour_read_ns = out->read_ns;
}

/* ---- Requests --------------------------------------------------------------------------------- */

/* There is no room for page @i: refuse it alone. */
static void refuse_page(struct zram_dev *zram, struct swap_io *io, unsigned i)
{
	pthread_mutex_lock(&zram->lock);
	swap_io_refuse(io, i);
	pthread_mutex_unlock(&zram->lock);
}

void zram_walk(struct zram_dev *zram, struct swap_io *io)
{
	struct zram_part *part = NULL;
	int result = 0;

	for (unsigned i = (unsigned)io->device_word[WORD_AT]; i < io->nr; i++) {
		uint32_t at = NO_SLOT;
		int error = serve_page_timed(zram, io, i, &at);

		if (error == -EXDEV && !part_add(zram, &part, io, i, at))
			return; /* another thread goes on with @io, perhaps already */
		if (error == -ENOSPC)
			refuse_page(zram, io, i);
		else if (error && error != -EXDEV)
			result = error;
	}
	if (part)
		part_submit(part);
	pthread_mutex_lock(&zram->lock);
	progress_end(zram, io, result);
	pthread_mutex_unlock(&zram->lock);
}

static void zram_submit(struct swapdev *dev, struct swap_io_list *list)
{
	struct zram_dev *zram = zram_of(dev);
	struct swap_io *io;

	while ((io = STAILQ_FIRST(list))) {
		STAILQ_REMOVE_HEAD(list, link);
		io->result = swap_io_fits(dev, io) ? 0 : -EINVAL;
		if (io->result) {
			io->done(io);
			continue;
		}
		enum swap_dir dir = io->dir;

		io->device_word[WORD_LEFT] = 1;
		io->device_word[WORD_AT] = 0;
		zram_walk(zram, io);
		zram_end(zram, dir);
	}
}

static void zram_discard(struct swapdev *dev, uint32_t slot, uint32_t nr)
{
	struct zram_dev *zram = zram_of(dev);

	pthread_mutex_lock(&zram->lock);
	for (uint32_t s = slot; s < slot + nr && s < zram->touched; s++)
		slot_clear(zram, s);
	pthread_mutex_unlock(&zram->lock);
}

static void zram_lists_init(struct zram_dev *zram)
{
	for (int dir = 0; dir < SWAP_DIRS; dir++) {
		STAILQ_INIT(&zram->ended[dir]);
		STAILQ_INIT(&zram->waiting[dir]);
	}
}

/* ---- What the next device does -------------------------------------------------------------------- */

static int zram_fds(struct swapdev *dev, int *fds, int max)
{
	struct swapdev *next = zram_of(dev)->next;

	return next && next->ops->fds ? next->ops->fds(next, fds, max) : 0;
}

static void zram_adopt(struct swapdev *dev)
{
	struct swapdev *next = zram_of(dev)->next;

	if (next && next->ops->adopt)
		next->ops->adopt(next);
}

/* The batch of old pages may be in flight although the pager has nothing in flight: wait for it. */
static int zram_fork_prepare(struct swapdev *dev)
{
	struct zram_dev *zram = zram_of(dev);
	struct swapdev *next = zram->next;

	if (!next)
		return 0;
	zram_back_drain(zram);
	return next->ops->fork_prepare ? next->ops->fork_prepare(next) : 0;
}

static void zram_fork_parent(struct swapdev *dev)
{
	struct swapdev *next = zram_of(dev)->next;

	if (next && next->ops->fork_parent)
		next->ops->fork_parent(next);
}

/*
 * The child has a copy of the store: the host copies a page of it when parent or child changes it. With nothing in
 * flight, a thread of the parent that had the lock at the fork was only reading, so the lock may be made anew.
 */
static int zram_fork_child(struct swapdev *dev)
{
	struct zram_dev *zram = zram_of(dev);
	struct swapdev *next = zram->next;

	pthread_mutex_init(&zram->lock, NULL);
	zram_lists_init(zram);
	zcomp_fork_child(&zram->comp);
	zram->heir = true;
	if (!next)
		return 0;
	return next->ops->fork_child ? next->ops->fork_child(next) : -EOPNOTSUPP;
}

/* ---- Open and close ---------------------------------------------------------------------------- */

static size_t slots_bytes(const struct zram_dev *zram)
{
	return page_align_up(zram->dev.nr_slots * sizeof(struct zram_slot));
}

static void zram_close(struct swapdev *dev)
{
	struct zram_dev *zram = zram_of(dev);

	if (zram->next)
		zram_next_close(zram);
	zcomp_close(&zram->comp);
	zstore_close(&zram->store);
	device_free(zram->slots, slots_bytes(zram));
	device_free(zram, sizeof(*zram));
}

static const struct swapdev_ops zram_ops = {
	.scheme = "zram",
	.submit = zram_submit,
	.poll = zram_poll,
	.poll_fd = zram_poll_fd,
	.discard = zram_discard,
	.peek = zram_peek,
	.cost = zram_cost,
	.background = zram_background,
	.memory_wanted = zram_memory_wanted,
	.memory_grant = zram_memory_grant,
	.memory_used = zram_memory_used,
	.tier = zram_tier,
	.fds = zram_fds,
	.adopt = zram_adopt,
	.fork_prepare = zram_fork_prepare,
	.fork_parent = zram_fork_parent,
	.fork_child = zram_fork_child,
	.close = zram_close,
};

static uint64_t host_memory(void)
{
	struct sysinfo info;

	return sysinfo(&info) < 0 ? UINT64_MAX : (uint64_t)info.totalram * info.mem_unit;
}

/* Take "size=", memory of the device's own. Without it the device takes a share of the pager's memory. */
static int take_memory(struct swap_uri *uri, struct zram_dev *zram, struct swap_why *why)
{
	uint64_t memory = uri->memory ? uri->memory : DEFAULT_MEMORY, bytes;
	int error = swap_uri_take_size(uri, memory, &bytes, why);

	if (error)
		return error;
	zram->dev.shares_memory = bytes == 0;
	zram->dev.stable_writes = true;
	zram->most_bytes = bytes;
	if (bytes && bytes < SIZE_LEAST)
		return swap_why(why, -EINVAL,
			"size=%lu is too small for compressed memory; give at least 256K", bytes);
	if (bytes > host_memory())
		return swap_why(why, -ERANGE, "size=%lu MiB is more memory than this host has, %lu MiB",
			bytes >> 20, host_memory() >> 20);
	return 0;
}

/* Of the pager's memory the store may take what the policy says of the device behind it. */
static uint64_t share_of(uint64_t memory, const struct swapdev *next)
{
	struct swap_cost behind = next ? swapdev_cost(next) : (struct swap_cost){.read_ns = COST_NEVER};

	return page_align_down(cost_store_most(memory ? memory : DEFAULT_MEMORY, &behind));
}

static int open_next(struct swap_uri *uri, struct zram_dev *zram, struct swap_why *why)
{
	struct swapdev *next = NULL;
	int error = uri->next ? swapdev_open(uri->next, &next, why->text, why->len) : 0;

	if (error)
		return error;
	if (zram->dev.shares_memory)
		zram->most_bytes = share_of(uri->memory, next);
	if (!next)
		return 0;
	if (next->ops == &zram_ops)
		error = swap_why(why, -EINVAL, "behind it is compressed memory once more; one is enough");
	else if (zram_next_open(zram, next))
		error = swap_why(why, -ENOMEM, "no memory for the table of the next device");
	if (error)
		next->ops->close(next);
	return error;
}

static int open_store(struct zram_dev *zram, struct swap_why *why)
{
	uint64_t slots = zram->most_bytes / PAGE_BYTES * SLOTS_PER_PAGE;

	if (zram->next)
		slots += zram->next->nr_slots;
	zram->dev.nr_slots = (uint32_t)min_u64(slots, SWAPDEV_SLOTS_MAX);
	zram->slots = device_alloc(slots_bytes(zram));
	if (!zram->slots || zstore_open(&zram->store, zram->most_bytes, slot_moved, zram))
		return swap_why(why, -ENOMEM, "no address space for it; use a smaller size=");
	syscall(SYS_madvise, zram->slots, slots_bytes(zram), MADV_NOHUGEPAGE);
	zram->likely_bytes = zram->most_bytes;
	if (!zram->dev.shares_memory)
		zstore_limit(&zram->store, zram->most_bytes);
	return 0;
}

int zram_open(struct swap_uri *uri, struct swapdev **out, struct swap_why *why)
{
	struct zram_dev *zram = device_alloc(sizeof(*zram));
	int error;

	if (!zram)
		return swap_why(why, -ENOMEM, "no memory for the device itself");
	zram->dev.ops = &zram_ops;
	zram->newest = zram->oldest = NO_SLOT;
	zram->own_ns[SWAP_READ] = zram->own_ns[SWAP_WRITE] = OWN_NS;
	zram->room = COST_WHOLE;
	pthread_mutex_init(&zram->lock, NULL);
	zram_lists_init(zram);
	error = take_memory(uri, zram, why);
	if (!error && uri->path[0])
		error = swap_why(
			why, -EINVAL, "memory has no path '%s'; write zram: or zram:?size=256M", uri->path);
	if (!error)
		error = zcomp_open(&zram->comp, uri, why);
	if (!error)
		error = swap_uri_finish(uri, "algo, level and size", why);
	if (!error)
		error = open_next(uri, zram, why);
	if (!error)
		error = open_store(zram, why);
	if (error)
		zram_close(&zram->dev);
	else
		*out = &zram->dev;
	return error;
}

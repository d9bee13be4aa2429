/* SPDX-License-Identifier: MIT */
/*
 * The memory of the compressed device: the store, and the tables, contexts and buffers beside it. What the device
 * asks of the pager for them, and how memory that it does not need goes back to the host.
 */
#define _GNU_SOURCE
#include "swap/zram/zram.h"

/*
 * The least spare blocks that are kept for the next writes; most blocks that one step gives back; most that it
 * empties.
 */
#define SPARE_BLOCKS 8
#define TRIM_BLOCKS 64
#define COMPACT_BLOCKS 32

/* The bytes of everything but the store's blocks. => lock held */
static uint64_t overhead_bytes(const struct zram_dev *zram)
{
	uint64_t bytes = page_align_up(sizeof(*zram)) + atomic_load(&zram->comp.used_bytes) +
			 page_align_up(zram->touched * sizeof(struct zram_slot)) +
			 zstore_table_bytes(&zram->store);

	if (zram->next)
		bytes += zram->back.nr_pages * PAGE_BYTES + page_align_up(zram->next_touched / 8) +
			 page_align_up(zram->parts_touched * sizeof(struct zram_part));
	return bytes;
}

/* Room for one request's pages if the store is large, a sixteenth of a smaller store, and 4 blocks at least. */
uint64_t zram_slack_bytes(const struct zram_dev *zram)
{
	uint64_t store = min_u64(zram->most_bytes, zram->likely_bytes);

	return max_u64(min_u64(store / 16, SWAP_IO_PAGES * PAGE_BYTES), 4 * zram->store.block_bytes);
}

uint32_t zram_memory_wanted(struct swapdev *dev)
{
	struct zram_dev *zram = zram_of(dev);

	pthread_mutex_lock(&zram->lock);
	uint64_t present = zstore_present_bytes(&zram->store);
	uint64_t spare = zram->store.nr_spare * zram->store.block_bytes;
	uint64_t wanted = max_u64(present, present - spare + zram_slack_bytes(zram));
	uint64_t bytes = overhead_bytes(zram) + max_u64(min_u64(wanted, zram->likely_bytes), present);

	pthread_mutex_unlock(&zram->lock);
	return (uint32_t)(page_align_up(bytes) / PAGE_BYTES);
}

uint32_t zram_memory_grant(struct swapdev *dev, uint32_t pages, uint32_t most)
{
	struct zram_dev *zram = zram_of(dev);
	uint64_t bytes = pages * PAGE_BYTES;

	pthread_mutex_lock(&zram->lock);
	uint64_t overhead = overhead_bytes(zram);
	uint64_t store = bytes > overhead ? min_u64(bytes - overhead, zram->most_bytes) : 0;

	zram->likely_bytes =
		min_u64(most * PAGE_BYTES - min_u64(most * PAGE_BYTES, overhead), zram->most_bytes);
	zstore_limit(&zram->store, store);
	uint64_t holds = overhead + zstore_present_bytes(&zram->store);

	pthread_mutex_unlock(&zram->lock);
	return (uint32_t)max_u64(pages, page_align_up(holds) / PAGE_BYTES);
}

uint64_t zram_memory_used(struct swapdev *dev)
{
	struct zram_dev *zram = zram_of(dev);

	pthread_mutex_lock(&zram->lock);
	uint64_t bytes = overhead_bytes(zram) + zstore_present_bytes(&zram->store);

	pthread_mutex_unlock(&zram->lock);
	return bytes;
}

static void trim(struct zram_dev *zram)
{
	uint32_t blocks[TRIM_BLOCKS];
	unsigned nr = 0;

	pthread_mutex_lock(&zram->lock);
	uint32_t keep = (uint32_t)max_u64(zram->store.nr_present / 32, SPARE_BLOCKS);

	if (zram->store.nr_spare > keep)
		nr = zstore_trim_begin(
			&zram->store, blocks, (unsigned)min_u64(zram->store.nr_spare - keep, TRIM_BLOCKS));
	pthread_mutex_unlock(&zram->lock);
	if (nr == 0)
		return;
	zstore_trim_run(&zram->store, blocks, nr);
	pthread_mutex_lock(&zram->lock);
	zstore_trim_end(&zram->store, blocks, nr);
	pthread_mutex_unlock(&zram->lock);
}

static void compact(struct zram_dev *zram)
{
	bool more = true;

	for (unsigned i = 0; i < COMPACT_BLOCKS && more; i++) {
		pthread_mutex_lock(&zram->lock);
		more = zstore_compact(&zram->store);
		pthread_mutex_unlock(&zram->lock);
	}
}

/* => lock held */
static uint32_t room(const struct zram_dev *zram)
{
	uint64_t present = min_u64(zstore_present_bytes(&zram->store), zram->likely_bytes);

	if (zram->likely_bytes == 0)
		return zram->store.nr_present ? 0 : COST_WHOLE;
	return (uint32_t)(COST_WHOLE * (zram->likely_bytes - present) / zram->likely_bytes);
}

bool zram_tier(struct swapdev *dev, uint32_t slot, struct swap_tier *out)
{
	struct zram_dev *zram = zram_of(dev);

	if (!zram->next)
		return false;
	struct swap_cost behind = swapdev_cost(zram->next);

	pthread_mutex_lock(&zram->lock);
	*out = (struct swap_tier){.pages = (uint32_t)zram->store.nr_put,
		.tables = (uint32_t)(page_align_up(overhead_bytes(zram)) / PAGE_BYTES),
		.behind = zram->slots[slot].kind == ZRAM_NEXT,
		.own_ns = atomic_load(&zram->own_ns[SWAP_READ]) + atomic_load(&zram->own_ns[SWAP_WRITE]),
		.behind_ns = behind.read_ns};
	pthread_mutex_unlock(&zram->lock);
	return true;
}

void zram_background(struct swapdev *dev)
{
	struct zram_dev *zram = zram_of(dev);

	compact(zram);
	if (zram->next)
		zram_back_step(zram);
	trim(zram);
	pthread_mutex_lock(&zram->lock);
	atomic_store_explicit(&zram->room, room(zram), memory_order_relaxed);
	pthread_mutex_unlock(&zram->lock);
}

/* SPDX-License-Identifier: MIT */
/* The store of compressed pages; see zstore.h. */
#define _GNU_SOURCE
#include "swap/zram/zstore.h"

#include <string.h>

#define BLOCK_LEAST (16 * KIB)
#define SMALL_STORE (32 * MIB) /* a smaller store has smaller blocks: half-empty ones weigh more there */
#define INDEX_BITS 8
#define WHOLE_PAGES 0 /* the class of pages that are not compressed */

/* Objects in a block of 32 KiB, for all classes but WHOLE_PAGES, which has 8. Usual sizes are in steps of 4 to 8 %. */
static const uint16_t objects_of_32k[ZSTORE_CLASSES - 1] = {9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
	22, 23, 24, 26, 28, 30, 32, 35, 38, 42, 46, 52, 60, 70, 84, 100, 128, 180, 256};

/* ---- Open and close ------------------------------------------------------------------------ */

static uint32_t owners_bytes(const struct zstore *store, unsigned class)
{
	return class == WHOLE_PAGES ? 0 : (uint32_t)(store->classes[class].nr * sizeof(uint32_t));
}

/* A block of 16 KiB has half as many objects, rounded down. */
static void classes_init(struct zstore *store)
{
	for (unsigned c = 0; c < ZSTORE_CLASSES; c++) {
		struct zclass *class = &store->classes[c];
		uint32_t nr32 = c == WHOLE_PAGES ? 8 : objects_of_32k[c - 1];

		class->nr = (uint32_t)(nr32 * store->block_bytes / (32 * KIB));
		class->bytes = (uint32_t)((store->block_bytes - owners_bytes(store, c)) / class->nr) & ~3u;
		for (unsigned g = 0; g < ZSTORE_GROUPS; g++)
			TAILQ_INIT(&class->groups[g]);
	}
}

/* Memory without huge pages: blocks go back to the host one by one, and a huge page would keep their memory. */
static void *alloc_small_pages(size_t bytes)
{
	void *p = device_alloc(bytes);

	if (p)
		syscall(SYS_madvise, p, bytes, MADV_NOHUGEPAGE);
	return p;
}

static size_t blocks_bytes(const struct zstore *store)
{
	return page_align_up(store->nr_blocks * sizeof(struct zblock));
}

static size_t absent_bytes(const struct zstore *store)
{
	return page_align_up(store->nr_blocks * sizeof(uint32_t));
}

int zstore_open(struct zstore *store, uint64_t most_bytes, zstore_moved *moved, void *context)
{
	*store = (struct zstore){.moved = moved, .context = context};
	store->block_bytes = most_bytes < SMALL_STORE ? BLOCK_LEAST : ZSTORE_BLOCK_MOST;
	store->nr_blocks = (uint32_t)max_u64(most_bytes / store->block_bytes, 1);
	store->bytes = alloc_small_pages(store->nr_blocks * store->block_bytes);
	store->blocks = alloc_small_pages(blocks_bytes(store));
	store->absent = alloc_small_pages(absent_bytes(store));
	TAILQ_INIT(&store->spare);
	classes_init(store);
	if (store->bytes && store->blocks && store->absent)
		return 0;
	zstore_close(store);
	return -ENOMEM;
}

void zstore_close(struct zstore *store)
{
	device_free(store->bytes, store->nr_blocks * store->block_bytes);
	device_free(store->blocks, blocks_bytes(store));
	device_free(store->absent, absent_bytes(store));
	store->bytes = NULL;
	store->blocks = NULL;
	store->absent = NULL;
}

uint64_t zstore_limit(struct zstore *store, uint64_t bytes)
{
	uint64_t blocks = min_u64(bytes / store->block_bytes, store->nr_blocks);

	store->limit = (uint32_t)max_u64(blocks, store->nr_present);
	return store->limit * store->block_bytes;
}

uint64_t zstore_present_bytes(const struct zstore *store)
{
	return store->nr_present * store->block_bytes;
}

uint64_t zstore_table_bytes(const struct zstore *store)
{
	return page_align_up(store->touched * sizeof(struct zblock)) +
	       page_align_up(store->touched * sizeof(uint32_t));
}

/* ---- Blocks --------------------------------------------------------------------------------- */

static uint32_t block_number(const struct zstore *store, const struct zblock *block)
{
	return (uint32_t)(block - store->blocks);
}

static unsigned group_of(const struct zclass *class, uint32_t nr_used)
{
	return nr_used == class->nr ? ZSTORE_GROUPS : nr_used * ZSTORE_GROUPS / class->nr;
}

/* Move @block to the list of its group. => nr_used has changed */
static void block_regroup(struct zclass *class, struct zblock *block)
{
	unsigned group = group_of(class, block->nr_used);

	if (group == block->group)
		return;
	if (block->group < ZSTORE_GROUPS)
		TAILQ_REMOVE(&class->groups[block->group], block, link);
	if (group < ZSTORE_GROUPS)
		TAILQ_INSERT_HEAD(&class->groups[group], block, link);
	block->group = (uint8_t)group;
}

/* Make a spare or absent block one of class @c. NULL: the limit allows none. */
static struct zblock *block_get(struct zstore *store, unsigned c)
{
	struct zclass *class = &store->classes[c];
	struct zblock *block = TAILQ_FIRST(&store->spare);

	if (block) {
		TAILQ_REMOVE(&store->spare, block, link);
		store->nr_spare--;
	} else if (store->nr_present >= store->limit) {
		return NULL;
	} else if (store->nr_absent > 0) {
		block = &store->blocks[store->absent[--store->nr_absent]];
		store->nr_present++;
	} else {
		if (store->touched == store->nr_blocks)
			return NULL;
		block = &store->blocks[store->touched++];
		store->nr_present++;
	}
	block->class = (uint8_t)c;
	block->nr_used = 0;
	block->group = 0;
	TAILQ_INSERT_HEAD(&class->groups[0], block, link);
	class->nr_blocks++;
	return block;
}

/* Make @block spare. => it has no objects */
static void block_release(struct zstore *store, struct zblock *block)
{
	struct zclass *class = &store->classes[block->class];

	if (block->group < ZSTORE_GROUPS)
		TAILQ_REMOVE(&class->groups[block->group], block, link);
	class->nr_blocks--;
	TAILQ_INSERT_HEAD(&store->spare, block, link);
	store->nr_spare++;
}

/* ---- Objects -------------------------------------------------------------------------------- */

static struct zblock *handle_block(const struct zstore *store, zhandle handle)
{
	assert(handle >> INDEX_BITS < store->touched);
	return &store->blocks[handle >> INDEX_BITS];
}

static unsigned handle_index(zhandle handle)
{
	return handle & ((1u << INDEX_BITS) - 1);
}

static uint8_t *block_bytes_of(const struct zstore *store, const struct zblock *block)
{
	return store->bytes + block_number(store, block) * store->block_bytes;
}

static uint32_t *object_owner(const struct zstore *store, struct zblock *block, unsigned i)
{
	if (block->class == WHOLE_PAGES)
		return &block->page_owners[i];
	return (uint32_t *)(void *)block_bytes_of(store, block) + i;
}

static uint8_t *object_at(const struct zstore *store, const struct zblock *block, unsigned i)
{
	return block_bytes_of(store, block) + owners_bytes(store, block->class) +
	       (size_t)i * store->classes[block->class].bytes;
}

void *zstore_at(const struct zstore *store, zhandle handle)
{
	return object_at(store, handle_block(store, handle), handle_index(handle));
}

/* The smallest class that @nr bytes fit into. */
static unsigned class_for(const struct zstore *store, uint32_t nr)
{
	unsigned low = 0, high = ZSTORE_CLASSES - 1;

	while (low < high) {
		unsigned middle = (low + high + 1) / 2;

		if (store->classes[middle].bytes >= nr)
			low = middle;
		else
			high = middle - 1;
	}
	return low;
}

/* A block of the fullest group that has room, so that the emptier ones become empty. NULL: all are full. */
static struct zblock *block_with_room(const struct zclass *class)
{
	for (int g = ZSTORE_GROUPS - 1; g >= 0; g--)
		if (!TAILQ_EMPTY(&class->groups[g]))
			return TAILQ_FIRST(&class->groups[g]);
	return NULL;
}

/* Take a place in @block for an object of @owner. => @block is not full */
static zhandle object_take(struct zstore *store, struct zblock *block, uint32_t owner)
{
	struct zclass *class = &store->classes[block->class];
	unsigned w = 0;

	while (block->used[w] == UINT64_MAX)
		w++;
	unsigned i = w * 64 + (unsigned)__builtin_ctzll(~block->used[w]);

	assert(i < class->nr);
	block->used[w] |= 1ull << (i % 64);
	block->nr_used++;
	class->nr_used++;
	*object_owner(store, block, i) = owner;
	block_regroup(class, block);
	return block_number(store, block) << INDEX_BITS | i;
}

static void object_give(struct zstore *store, struct zblock *block, unsigned i)
{
	struct zclass *class = &store->classes[block->class];

	assert(block->used[i / 64] >> (i % 64) & 1);
	block->used[i / 64] &= ~(1ull << (i % 64));
	block->nr_used--;
	class->nr_used--;
	block_regroup(class, block);
	if (block->nr_used == 0)
		block_release(store, block);
}

zhandle zstore_put(struct zstore *store, uint32_t owner, const void *bytes, uint32_t nr)
{
	unsigned c = class_for(store, nr);
	struct zblock *block = block_with_room(&store->classes[c]);

	assert(nr >= 1 && nr <= PAGE_BYTES);
	if (!block)
		block = block_get(store, c);
	if (!block)
		return ZHANDLE_NONE;
	zhandle handle = object_take(store, block, owner);

	memcpy(zstore_at(store, handle), bytes, nr);
	store->put_bytes += nr;
	store->nr_put++;
	return handle;
}

void zstore_free(struct zstore *store, zhandle handle, uint32_t nr)
{
	object_give(store, handle_block(store, handle), handle_index(handle));
	store->put_bytes -= nr;
	store->nr_put--;
}

/* ---- Against fragmentation --------------------------------------------------------------------- */

static bool class_is_sparse(const struct zclass *class)
{
	uint32_t nr_free = class->nr_blocks * class->nr - class->nr_used;

	return nr_free > class->nr + class->nr_used / 8;
}

/* Move object @i to another block of its class. => one has room */
static void object_move(struct zstore *store, struct zblock *from, unsigned i)
{
	struct zclass *class = &store->classes[from->class];
	uint32_t owner = *object_owner(store, from, i);
	zhandle to = object_take(store, block_with_room(class), owner);

	memcpy(zstore_at(store, to), object_at(store, from, i), class->bytes);
	object_give(store, from, i);
	store->moved(store->context, owner, to);
}

static void class_compact(struct zstore *store, struct zclass *class)
{
	unsigned g = 0;

	while (TAILQ_EMPTY(&class->groups[g]))
		g++;
	struct zblock *block = TAILQ_LAST(&class->groups[g], zblock_list);

	/*
	 * Take the block off its list, so that nothing moves into it. Giving an object away may put it back on a
	 * list.
	 */
	for (unsigned i = 0, left = block->nr_used; left > 0; i++) {
		if (!(block->used[i / 64] >> (i % 64) & 1))
			continue;
		if (block->group < ZSTORE_GROUPS)
			TAILQ_REMOVE(&class->groups[block->group], block, link);
		block->group = ZSTORE_GROUPS;
		object_move(store, block, i);
		left--;
	}
}

bool zstore_compact(struct zstore *store)
{
	for (unsigned c = 0; c < ZSTORE_CLASSES; c++) {
		if (class_is_sparse(&store->classes[c])) {
			class_compact(store, &store->classes[c]);
			return true;
		}
	}
	return false;
}

unsigned zstore_trim_begin(struct zstore *store, uint32_t blocks[], unsigned max)
{
	unsigned nr = 0;

	while (nr < max && !TAILQ_EMPTY(&store->spare)) {
		struct zblock *block = TAILQ_FIRST(&store->spare);

		TAILQ_REMOVE(&store->spare, block, link);
		store->nr_spare--;
		blocks[nr++] = block_number(store, block);
	}
	return nr;
}

void zstore_trim_run(struct zstore *store, const uint32_t blocks[], unsigned nr)
{
	for (unsigned i = 0; i < nr; i++)
		syscall(SYS_madvise, store->bytes + blocks[i] * store->block_bytes, store->block_bytes,
			MADV_DONTNEED);
}

void zstore_trim_end(struct zstore *store, const uint32_t blocks[], unsigned nr)
{
	for (unsigned i = 0; i < nr; i++)
		store->absent[store->nr_absent++] = blocks[i];
	store->nr_present -= nr;
}

/* ---- Check -------------------------------------------------------------------------------------- */

static const char *class_check(const struct zstore *store, unsigned c, uint32_t *nr_blocks)
{
	const struct zclass *class = &store->classes[c];
	uint32_t nr_used = 0, nr = 0;
	const struct zblock *block;

	for (unsigned g = 0; g < ZSTORE_GROUPS; g++) {
		TAILQ_FOREACH (block, &class->groups[g], link) {
			unsigned bits = 0;

			for (size_t w = 0; w < ARRAY_SIZE(block->used); w++)
				bits += (unsigned)__builtin_popcountll(block->used[w]);
			if (bits != block->nr_used || bits == 0)
				return "a block's objects are not as many as it says";
			if (block->class != c || block->group != g || group_of(class, block->nr_used) != g)
				return "a block is on the wrong list";
			nr++;
			nr_used += bits;
		}
	}
	if (nr > class->nr_blocks || nr_used + (class->nr_blocks - nr) * class->nr != class->nr_used)
		return "a class' objects are not those of its blocks";
	*nr_blocks += class->nr_blocks;
	return NULL;
}

const char *zstore_check(const struct zstore *store)
{
	uint32_t nr_blocks = 0;

	for (unsigned c = 0; c < ZSTORE_CLASSES; c++) {
		const char *wrong = class_check(store, c, &nr_blocks);

		if (wrong)
			return wrong;
	}
	if (nr_blocks + store->nr_spare > store->nr_present || store->nr_present > store->touched)
		return "the blocks in use and spare are more than those with memory";
	return NULL;
}

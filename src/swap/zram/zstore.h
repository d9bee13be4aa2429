/* SPDX-License-Identifier: MIT */
/*
 * A store of small objects that does not fragment: where compressed pages lie.
 *
 * Memory is a row of blocks. A block belongs to one size class and holds so many objects of it; the classes are
 * the sizes that divide a block evenly, so nothing is left at its end:
 *
 *      | owner 0 | owner 1 | ... | object 0 | object 1 | ...      n owners, n objects
 *      | object 0 | ...                                           pages that are not compressed: owners aside
 *
 * An object knows its owner, so that it can be moved: when the free places of a class are more than a block's and an
 * eighth of what it holds, its emptiest block is emptied into others.
 *
 *      absent  ->  in use  ->  spare  ->  absent
 *           block_get   last free   zstore_trim: its memory goes back to the host
 *
 * Overhead, that is blocks by sum of the bytes put: a class' step (4 to 8 %), its free places (12.5 % and a block,
 * less in practice), 5 bytes an object.
 *
 * No lock of its own: => every function is called with the owner's lock held, except where it says otherwise.
 */
#ifndef ANONMM_SWAPDEV_ZSTORE_H
#define ANONMM_SWAPDEV_ZSTORE_H

#include "swap/device.h"

#define ZSTORE_CLASSES 33
#define ZSTORE_OBJECTS 256 /* in a block, at most */
#define ZSTORE_GROUPS 4 /* by how full a block is */
#define ZSTORE_BLOCK_MOST (32 * KIB)

/* Block and place in it. */
typedef uint32_t zhandle;
#define ZHANDLE_NONE UINT32_MAX

struct zblock {
	TAILQ_ENTRY(zblock) link; /* its class' list of its group; none when full */
	uint64_t used[ZSTORE_OBJECTS / 64]; /* a bit for each object */
	uint16_t nr_used;
	uint8_t class;
	uint8_t group; /* ZSTORE_GROUPS: full, on no list */
	uint32_t page_owners[ZSTORE_BLOCK_MOST / PAGE_BYTES]; /* of objects that are whole pages */
};

TAILQ_HEAD(zblock_list, zblock);

struct zclass {
	uint32_t bytes; /* of an object */
	uint32_t nr; /* objects in a block */
	uint32_t nr_used, nr_blocks;
	struct zblock_list groups[ZSTORE_GROUPS]; /* [0]: up to a quarter full, ... */
};

/* The object of @owner lies at @to from now on. */
typedef void zstore_moved(void *context, uint32_t owner, zhandle to);

struct zstore {
	uint8_t *bytes; /* [I] */
	size_t block_bytes; /* [I] */
	uint32_t nr_blocks; /* [I] that can be addressed */
	struct zblock *blocks; /* [I] the array */
	struct zblock_list spare; /* with memory, empty */
	uint32_t *absent; /* a stack of numbers: without memory */
	uint32_t nr_absent;
	uint32_t touched; /* blocks that were ever used: those above are absent and on no stack */
	uint32_t nr_present; /* with memory: in use, spare, or being trimmed */
	uint32_t limit; /* nr_present stays within it */
	uint32_t nr_spare;
	uint64_t put_bytes, nr_put; /* sum of the objects' bytes as they were put, and how many */
	struct zclass classes[ZSTORE_CLASSES];
	zstore_moved *moved; /* [I] */
	void *context; /* [I] */
};

/* Room for @most_bytes of blocks, none of them present. 0 or -ENOMEM */
int zstore_open(struct zstore *store, uint64_t most_bytes, zstore_moved *moved, void *context);
void zstore_close(struct zstore *store);

/* At most so much memory. Returns what it will be: not less than what is present. */
uint64_t zstore_limit(struct zstore *store, uint64_t bytes);

/* A copy of @nr bytes, 1 to PAGE_BYTES. ZHANDLE_NONE: the limit allows no further block. */
zhandle zstore_put(struct zstore *store, uint32_t owner, const void *bytes, uint32_t nr);
void *zstore_at(const struct zstore *store, zhandle handle);
void zstore_free(struct zstore *store, zhandle handle, uint32_t nr);

/* Empty one block whose class has too much free. False: none has. At most a block is copied. */
bool zstore_compact(struct zstore *store);

/*
 * Give spare blocks back to the host, in three steps, so that the slow one is done without the lock:
 * begin takes up to @max blocks, end has them. Returns how many.
 */
unsigned zstore_trim_begin(struct zstore *store, uint32_t blocks[], unsigned max);
void zstore_trim_run(struct zstore *store, const uint32_t blocks[], unsigned nr); /* => lock not held */
void zstore_trim_end(struct zstore *store, const uint32_t blocks[], unsigned nr);

/* Memory of the blocks that are present, and of the tables that describe them. */
uint64_t zstore_present_bytes(const struct zstore *store);
uint64_t zstore_table_bytes(const struct zstore *store);

/* NULL, or what does not hold. Slow. */
const char *zstore_check(const struct zstore *store);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * A store of small objects that does not fragment. It holds the compressed pages.
 *
 * Memory is a row of blocks. A block in use belongs to one size class and holds objects of that class alone. The
 * classes are sizes that divide a block evenly, so nothing is left at its end:
 *
 *      | owner 0 | owner 1 | ... | object 0 | object 1 | ...      n owners, n objects | object 0 | object 1 | ...
 *      pages that are not compressed: struct zblock has the owners
 *
 * The block names the owner of each object, so that an object can be moved. When a class has more free places than a
 * block and an eighth of its objects, zstore_compact() moves the objects of its emptiest block to other blocks.
 *
 *      absent  -- block_get -->  in use  -- last object freed -->  spare  -- zstore_trim -->  absent
 *
 * zstore_trim gives the memory of spare blocks back to the host.
 *
 * Overhead of the blocks over the bytes put: the step between classes (4 to 8 %), free places (12.5 % and a block,
 * less in practice), and 5 bytes per object.
 *
 * The store has no lock. => every function is called with its owner's lock held, except where the comment says
 * otherwise
 */
#ifndef ANONMM_SWAPDEV_ZSTORE_H
#define ANONMM_SWAPDEV_ZSTORE_H

#include "swap/device.h"

#define ZSTORE_CLASSES 33
#define ZSTORE_OBJECTS 256 /* most objects in a block */
#define ZSTORE_GROUPS 4 /* groups of a class's blocks, by how full they are */
#define ZSTORE_BLOCK_MOST (32 * KIB)

/* Number of a block, and number of an object in it. */
typedef uint32_t zhandle;
#define ZHANDLE_NONE UINT32_MAX

struct zblock {
	TAILQ_ENTRY(zblock) link; /* in its class's list of its group; on no list when full */
	uint64_t used[ZSTORE_OBJECTS / 64]; /* a bit for each object */
	uint16_t nr_used;
	uint8_t class;
	uint8_t group; /* ZSTORE_GROUPS: the block is full, and on no list */
	uint32_t page_owners[ZSTORE_BLOCK_MOST / PAGE_BYTES]; /* owners of objects that are whole pages */
};

TAILQ_HEAD(zblock_list, zblock);

struct zclass {
	uint32_t bytes; /* of an object */
	uint32_t nr; /* objects in a block */
	uint32_t nr_used, nr_blocks;
	struct zblock_list groups[ZSTORE_GROUPS]; /* [n]: n quarters full, and less than n + 1 */
};

/* Called when the store has moved an object: the object of @owner lies at @to from now on. */
typedef void zstore_moved(void *context, uint32_t owner, zhandle to);

struct zstore {
	uint8_t *bytes; /* [I] */
	size_t block_bytes; /* [I] */
	uint32_t nr_blocks; /* [I] blocks that have addresses */
	struct zblock *blocks; /* [I] the array */
	struct zblock_list spare; /* blocks that have memory and no objects */
	uint32_t *absent; /* a stack of numbers: blocks without memory that were used before */
	uint32_t nr_absent; /* numbers on the stack */
	uint32_t touched; /* blocks from this number on were never used: absent, not on the stack */
	uint32_t nr_present; /* blocks with memory: in use, spare, or being trimmed */
	uint32_t limit; /* nr_present stays at or below it */
	uint32_t nr_spare;
	uint64_t put_bytes, nr_put; /* sum of the objects' bytes as they were put; number of objects */
	struct zclass classes[ZSTORE_CLASSES];
	zstore_moved *moved; /* [I] */
	void *context; /* [I] */
};

/* Reserve addresses for @most_bytes of blocks. None of them is present, and the limit is 0. 0 or -ENOMEM */
int zstore_open(struct zstore *store, uint64_t most_bytes, zstore_moved *moved, void *context);
void zstore_close(struct zstore *store);

/* Limit the blocks to @bytes of memory. Returns the limit that was set: it is never below what is present. */
uint64_t zstore_limit(struct zstore *store, uint64_t bytes);

/* Store a copy of @nr bytes, 1 to PAGE_BYTES, for @owner. ZHANDLE_NONE: the limit allows no further block. */
zhandle zstore_put(struct zstore *store, uint32_t owner, const void *bytes, uint32_t nr);
/* Where the object is. => valid until the lock is dropped: the object may be moved after that */
void *zstore_at(const struct zstore *store, zhandle handle);
/* Free the object. @nr: as for zstore_put() */
void zstore_free(struct zstore *store, zhandle handle, uint32_t nr);

/* Empty one block of a class that has too many free places. false: no class has. Copies at most a block. */
bool zstore_compact(struct zstore *store);

/*
 * Give spare blocks back to the host, in three steps, so that the slow one runs without the lock. begin takes up to
 * @max spare blocks, writes their numbers to @blocks, and returns how many there are. run gives their memory back.
 * end makes them absent.
 */
unsigned zstore_trim_begin(struct zstore *store, uint32_t blocks[], unsigned max);
void zstore_trim_run(struct zstore *store, const uint32_t blocks[], unsigned nr); /* => lock not held */
void zstore_trim_end(struct zstore *store, const uint32_t blocks[], unsigned nr);

/* Memory of the blocks that are present, and of the tables that describe them. */
uint64_t zstore_present_bytes(const struct zstore *store);
uint64_t zstore_table_bytes(const struct zstore *store);

/* Check the store's equations. NULL, or a text that says which one does not hold. Slow. */
const char *zstore_check(const struct zstore *store);

#endif

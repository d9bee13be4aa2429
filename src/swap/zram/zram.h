/* SPDX-License-Identifier: MIT */
/*
 * Inside the compressed device: a table of slots, a store of compressed pages, and perhaps a next device.
 *
 * The kinds of slots, and the functions that make them:
 *
 *   EMPTY    no content; reads as zeros                         slot_clear
 *   SAME     all 8-byte words of the page are equal             keep_page
 *   STORED   the page is in the store, compressed or as it is   keep_page
 *   NEXT     the page is in a slot of the next device           keep_page (it does not compress, or finds no room
 *                                                               here), back_done (it got old)
 *
 * zram_walk() goes through a request page by page. A page that is kept here is done at once. The others go to the
 * next device in parts; a part is a run of consecutive slots there. The request ends with its last part. Without a
 * next device it ends in submit().
 *
 * When the store is nearly full, old pages go to the next device, the oldest first (zram_next.c). The list of STORED
 * slots is in the order of their last write or read.
 */
#ifndef ANONMM_SWAPDEV_ZRAM_H
#define ANONMM_SWAPDEV_ZRAM_H

#include "swap/cost.h"
#include "swap/zram/zcomp.h"
#include "swap/zram/zstore.h"

#define NO_SLOT UINT32_MAX
#define ZRAM_PARTS 64 /* most parts at one time, in each direction */

enum zram_kind { ZRAM_EMPTY, ZRAM_SAME, ZRAM_STORED, ZRAM_NEXT };

/* All [Z] */
struct zram_slot {
	union {
		struct {
			uint32_t newer, older; /* STORED: numbers of the neighbours in the list by age */
		};
		uint64_t word; /* SAME: the content of every word */
	};
	uint32_t at; /* STORED: a zhandle; NEXT: number of the slot on the next device */
	uint16_t bytes; /* STORED: bytes in the store; PAGE_BYTES: not compressed */
	uint8_t kind; /* enum zram_kind */
	bool leaving; /* STORED: the batch that is under way writes it to the next device */
};

_Static_assert(sizeof(struct zram_slot) == 16, "what a swapped-out page costs beside its content");

struct zram_dev;

/* A piece of a request, for the next device. It belongs to the thread that builds it, then to the next device. */
struct zram_part {
	struct swap_io io;
	struct zram_dev *zram; /* [I] */
	struct swap_io *whole; /* the request that this is a piece of */
	SLIST_ENTRY(zram_part) link; /* [Z] in free_parts */
};

SLIST_HEAD(zram_part_list, zram_part);

/*
 * The batch of old pages that leaves the store. While it is busy, it belongs to the thread that began it, then to its
 * io.
 */
struct zram_back {
	struct swap_io io;
	struct zram_dev *zram; /* [I] */
	uint8_t *pages; /* [I] decompressed pages, for the write */
	unsigned nr_pages; /* [I] the most pages of a batch */
	uint32_t slots[SWAP_IO_PAGES]; /* the slot of each page */
	bool busy; /* [Z] a batch is under way */
	unsigned pause; /* [Z] after a failed batch: so many steps begin none */
};

/* Locks: [I] set at open or in fork_child  [Z] lock  [a] atomic */
struct zram_dev {
	struct swapdev dev; /* first */
	struct zcomp comp;
	uint64_t most_bytes; /* [I] the store's address space: it can never be larger */
	uint64_t likely_bytes; /* [Z] the most that the pager would grant the store now, at most most_bytes */
	_Atomic(uint32_t) own_ns[SWAP_DIRS]; /* [a] average time for a page that is kept here */
	_Atomic(uint32_t) room; /* [a] as in struct swap_cost, at the last background step */
	bool heir; /* [I] this is a fork's child: pages and slots of the next device are the parent's */
	pthread_mutex_t lock;
	struct zstore store; /* [Z] */
	struct zram_slot *slots; /* [I] the array, [Z] its inside */
	uint32_t touched; /* [Z] slots from this number on were never written */
	uint32_t newest, oldest; /* [Z] ends of the list by age; NO_SLOT: it is empty */
	uint64_t nr_same; /* [Z] slots that are SAME */

	struct swapdev *next; /* [I] the next device; NULL: none */
	uint64_t *next_used; /* [I] the array, [Z] a bit for each slot of the next device */
	uint32_t next_cursor; /* [Z] where the search for a free slot there begins */
	uint32_t next_touched; /* [Z] slots there from this number on were never used */
	uint32_t next_nr_used; /* [Z] slots in use there */
	struct zram_part *parts; /* [I] ZRAM_PARTS for each direction */
	uint32_t parts_touched; /* [Z] parts from this number on were never used */
	struct zram_part_list free_parts[SWAP_DIRS]; /* [Z] */
	struct swap_io_list waiting[SWAP_DIRS]; /* [Z] requests that wait for a free part */
	struct swap_io_list ended[SWAP_DIRS]; /* [Z] requests whose parts have all ended; done() comes next */
	struct zram_back back;
};

static inline struct zram_dev *zram_of(struct swapdev *dev)
{
	return container_of(dev, struct zram_dev, dev);
}

/* Bytes that the store wants free for the writes until the next background step. => lock held */
uint64_t zram_slack_bytes(const struct zram_dev *zram);

/* zram.c: make @slot EMPTY, and free what it had. => lock held */
void slot_clear(struct zram_dev *zram, uint32_t slot);
/* Take @s off the list by age. => lock held, STORED */
void age_remove(struct zram_dev *zram, struct zram_slot *s);

/* Make @s NEXT, with slot @at of the next device. => lock held, EMPTY */
void slot_goes_next(struct zram_dev *zram, struct zram_slot *s, uint32_t at);

/* Go through @io, from the page where it stopped. It may end, or wait for a part. => lock not held */
void zram_walk(struct zram_dev *zram, struct swap_io *io);

/*
 * Read @slot into @page. 0; -EXDEV: the page is in slot *@at of the next device; -EIO: it is damaged. => lock not
 * held
 */
int zram_take_page(struct zram_dev *zram, uint32_t slot, void *page, uint32_t *at);

/* zram_memory.c: the operations of these names (contract/swapdev.h). */
uint32_t zram_memory_wanted(struct swapdev *dev);
uint32_t zram_memory_grant(struct swapdev *dev, uint32_t pages, uint32_t most);
uint64_t zram_memory_used(struct swapdev *dev);
bool zram_tier(struct swapdev *dev, uint32_t slot, struct swap_tier *out);
void zram_background(struct swapdev *dev);

/* ---- zram_next.c --------------------------------------------------------------------------- */

/*
 * The words of swap_io.device_word while the device has a request. WORD_LEFT: parts that have not ended, plus 1 while
 * the walk goes on. WORD_AT: the page with which the walk goes on. All [Z]
 */
enum { WORD_LEFT, WORD_AT };

/* 0 and zram->next is @next, or -ENOMEM. */
int zram_next_open(struct zram_dev *zram, struct swapdev *next);
void zram_next_close(struct zram_dev *zram);

/*
 * Take a free slot of the next device. NO_SLOT: it is full, or not to be written, or there is no device. => lock held
 */
uint32_t next_slot_get(struct zram_dev *zram);
/* Free slot @at of the next device. => lock held */
void next_slot_put(struct zram_dev *zram, uint32_t at);

/*
 * Add page @i of @io to a part, for slot @at of the next device. *@part is the part that is being built, or NULL. If
 * @at does not continue it, it is submitted and a new one begun.
 * => false: no part is free. *@part was submitted, and @io waits: the thread that frees a part goes on with @io
 * => lock not held
 */
bool part_add(struct zram_dev *zram, struct zram_part **part, struct swap_io *io, unsigned i, uint32_t at);
void part_submit(struct zram_part *part);

/* One part of @io, or its walk, has ended with @result. After the last one @io goes to zram->ended. => lock held */
void progress_end(struct zram_dev *zram, struct swap_io *io, int result);

/* Call done() of all requests on zram->ended[@dir]. Returns how many there were. => lock not held */
unsigned zram_end(struct zram_dev *zram, enum swap_dir dir);

int zram_poll(struct swapdev *dev, enum swap_dir dir, int timeout_ms);
int zram_poll_fd(struct swapdev *dev, enum swap_dir dir);

/* If the store is nearly full, begin to write a batch of the oldest pages to the next device. Does not wait. */
void zram_back_step(struct zram_dev *zram);
/* Wait for the end of the batch that is under way. */
void zram_back_drain(struct zram_dev *zram);

#endif

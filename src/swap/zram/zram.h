/* SPDX-License-Identifier: MIT */
/*
 * Inside the compressed device: a table of slots, a store of compressed pages, and perhaps a next device.
 *
 * What a slot is, and what takes it there:
 *
 *   EMPTY    nothing; reads as zeros                  slot_clear
 *   SAME     all its 8-byte words are one word        keep_page
 *   STORED   compressed, or as it is, in the store    keep_page
 *   NEXT     a slot of the next device                part_add (a page that does not pay), back_done (an old one)
 *
 * A request is walked page by page. What is kept here is done at once; the rest goes on to the next device in parts,
 * each a run of its slots, and the request ends with the last part. Without a next device it ends in submit().
 *
 * Old pages go on to the next device when the store is nearly full (zram_next.c), the oldest first: the list of
 * STORED slots is in the order in which they were written or read last, so the oldest are those that nobody has wanted for
 * longest.
 */
#ifndef ANONMM_SWAPDEV_ZRAM_H
#define ANONMM_SWAPDEV_ZRAM_H

#include "swap/zram/zcomp.h"
#include "swap/zram/zstore.h"

#define NO_SLOT UINT32_MAX
#define ZRAM_PARTS 64 /* requests to the next device at once, in each direction */

enum zram_kind { ZRAM_EMPTY, ZRAM_SAME, ZRAM_STORED, ZRAM_NEXT };

/* All [Z] */
struct zram_slot {
	union {
		struct {
			uint32_t newer, older; /* STORED: the list by age */
		};
		uint64_t word; /* SAME */
	};
	uint32_t at; /* STORED: its handle; NEXT: the slot there */
	uint16_t bytes; /* STORED: PAGE_BYTES when not compressed */
	uint8_t kind;
	bool leaving; /* STORED: on its way to the next device */
};

_Static_assert(sizeof(struct zram_slot) == 16, "what a swapped-out page costs beside its content");

struct zram_dev;

/* A piece of a request, on its way to the next device. */
struct zram_part {
	struct swap_io io;
	struct zram_dev *zram; /* [I] */
	struct swap_io *whole; /* that it is a piece of */
	uint64_t since_ns; /* a read of one page: when it was started; else 0 */
	SLIST_ENTRY(zram_part) link; /* [Z] free */
};

SLIST_HEAD(zram_part_list, zram_part);

/* Pages that leave the store, a batch at a time. */
struct zram_back {
	struct swap_io io;
	struct zram_dev *zram; /* [I] */
	uint8_t *pages; /* [I] what is written */
	unsigned nr_pages; /* [I] */
	uint32_t slots[SWAP_IO_PAGES]; /* whose they are */
	bool busy; /* [Z] */
	unsigned pause; /* [Z] rounds to leave out after a failure */
};

/* Locks: [I] set at open  [Z] lock  [a] atomic */
struct zram_dev {
	struct swapdev dev; /* first */
	struct zcomp comp;
	uint64_t most_bytes; /* [I] what the store may ever be */
	uint64_t likely_bytes; /* [Z] what it will ever be: less where the pager has less to give */
	_Atomic(uint32_t) own_ns[SWAP_DIRS]; /* [a] for a page that is kept here; an average */
	_Atomic(uint32_t) behind_ns; /* [a] a read of the next device: from its start to its end */
	bool heir; /* [I] of a fork: what the next device has is the parent's */
	pthread_mutex_t lock;
	struct zstore store; /* [Z] */
	struct zram_slot *slots; /* [I] the array, [Z] its inside */
	uint32_t touched; /* [Z] slots that were ever written */
	uint32_t newest, oldest; /* [Z] the list by age */
	uint64_t nr_same; /* [Z] */

	struct swapdev *next; /* [I] NULL: none */
	uint64_t *next_used; /* [I] the array, [Z] a bit for each of its slots */
	uint32_t next_cursor; /* [Z] */
	uint32_t next_touched; /* [Z] of its slots, that were ever used */
	uint32_t next_nr_used; /* [Z] */
	struct zram_part *parts; /* [I] ZRAM_PARTS for each direction */
	uint32_t parts_touched; /* [Z] most that were ever in use */
	struct zram_part_list free_parts[SWAP_DIRS]; /* [Z] */
	struct swap_io_list waiting[SWAP_DIRS]; /* [Z] for a part */
	struct swap_io_list ended[SWAP_DIRS]; /* [Z] all parts done, done() not yet called */
	struct zram_back back;
};

static inline struct zram_dev *zram_of(struct swapdev *dev)
{
	return container_of(dev, struct zram_dev, dev);
}

/* Room that the store wants to grow into. => locked */
uint64_t zram_slack_bytes(const struct zram_dev *zram);

/* zram.c. => locked */
void slot_clear(struct zram_dev *zram, uint32_t slot);
void age_remove(struct zram_dev *zram, struct zram_slot *s);

/* Let @s be a slot of the next device, with nothing kept here. => locked, cleared */
void slot_goes_next(struct zram_dev *zram, struct zram_slot *s, uint32_t at);

/* Do what can be done of @io, from the page where it stopped. => lock not held */
void zram_walk(struct zram_dev *zram, struct swap_io *io);

/* What is kept of @slot into @page. 0; -EXDEV: it is slot *@at of the next device; -EIO. => lock not held */
int zram_take_page(struct zram_dev *zram, uint32_t slot, void *page, uint32_t *at);

/* zram_memory.c: the operations of these names. */
uint32_t zram_memory_wanted(struct swapdev *dev);
uint32_t zram_memory_grant(struct swapdev *dev, uint32_t pages, uint32_t most);
uint64_t zram_memory_used(struct swapdev *dev);
bool zram_tier(struct swapdev *dev, uint32_t slot, struct swap_tier *out);
void zram_background(struct swapdev *dev);

/* Into an average of about eight. */
void zram_note_ns(_Atomic(uint32_t) *average, uint64_t ns);

/* ---- zram_next.c --------------------------------------------------------------------------- */

/* While the device has a request: how many parts have not ended, and one for the walk itself; where to go on. All [Z] */
enum { WORD_LEFT, WORD_AT };

int zram_next_open(struct zram_dev *zram, struct swapdev *next);
void zram_next_close(struct zram_dev *zram);

/* A free slot of the next device; NO_SLOT: it is full, or there is none. => locked */
uint32_t next_slot_get(struct zram_dev *zram);
void next_slot_put(struct zram_dev *zram, uint32_t at);

/*
 * Page @i of @io goes to, or comes from, slot @at of the next device. @part: the one in the making, or NULL. false: no
 * part is free; @io was put aside, @part is on its way, and who frees a part walks on. => lock not held
 */
bool part_add(struct zram_dev *zram, struct zram_part **part, struct swap_io *io, unsigned i, uint32_t at);
void part_submit(struct zram_part *part);

/* One fewer of what @io waits for. The last one ends it, by way of zram->ended. => lock held */
void progress_end(struct zram_dev *zram, struct swap_io *io, int result);

/* Run the done() of what has ended. Returns how many. => lock not held */
unsigned zram_end(struct zram_dev *zram, enum swap_dir dir);

int zram_poll(struct swapdev *dev, enum swap_dir dir, int timeout_ms);
int zram_poll_fd(struct swapdev *dev, enum swap_dir dir);

/* Send the oldest on when the store is nearly full. */
void zram_back_step(struct zram_dev *zram);
void zram_back_drain(struct zram_dev *zram);

#endif

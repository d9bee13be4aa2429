/* SPDX-License-Identifier: MIT */
/*
 * Physical frames: the free frames of each node, and the watermarks that start reclaim.
 *
 * A node keeps its free frames in a bitmap. Frames are taken in ascending order, from where the last one was taken. So
 * pages that are born or read together get frames that follow each other, and the machine moves them in one call.
 *
 * A struct page is made when its frame is taken for the first time, so a large limit costs a small program nothing.
 *
 *      min   below it a fault reclaims by itself (direct reclaim)
 *      low   below it kswapd's work is asked for (pager_wake_kswapd)
 *      high  at it kswapd stops
 */
#ifndef ANONMM_FRAMES_H
#define ANONMM_FRAMES_H

#include "contract/policy.h"
#include "mm/page/page.h"

#define MAX_NODES 8

/* Locks: [I] set once  [L] pager lock */
struct node {
	pfn_t first; /* [I] the node's first frame */
	uint32_t nr; /* [I] frames of this node */
	uint64_t *free_map; /* [I] the array, [L] its words: bit set = free */
	uint32_t nr_words; /* [I] */
	uint32_t cursor; /* [L] frame, relative to @first, where the search for a free one goes on */
	uint32_t nr_free; /* [L] */
	uint32_t free_end; /* [L] no frame from this one on is free */
	struct watermarks wmark; /* [L] */
	uint64_t *reserved_map; /* [I] the array, [L] its words; these five: reserve.h */
	uint32_t nr_reserved, nr_lent; /* [L] frames that are reserved; of these, lent to devices */
	uint32_t wanted; /* [L] frames that shall be reserved for the limit */
	bool stalled; /* [L] reclaim finds no more frames to reserve */
	/* [L] frames from this one on were never allocated: their struct pages are untouched, all zeros */
	uint32_t nr_ready;
	struct page_head lists[NR_LISTS]; /* [L] */
	uint32_t nr_pages[NR_LISTS]; /* [L] pages on each */
	uint64_t evictions; /* [L] the refault clock: counts pages that left memory */
	/* [L] [0] anonymous, [1] file: pages lately looked at, and found in use */
	uint32_t scanned[2], rotated[2];
	uint32_t share_carry; /* [L] the policy's fraction of a page, in 1/1024 */
	uint32_t fruitless; /* [L] pages that kswapd has looked at since its last gain */
};

int frames_init(struct pager *pager);
void frames_destroy(struct pager *pager);

/* How many of @nr frames belong to node @n, if the nodes share them evenly; the last node has the rest. */
uint32_t node_share(const struct pager *pager, unsigned n, uint32_t nr);

/*
 * Take up to @want frames that follow each other out of the map of free frames: those that end with the last free
 * frame. *first: the lowest of them. Returns how many. => a frame of the node is free
 */
unsigned node_take_top(struct node *node, unsigned want, uint32_t *first);

struct node *node_with_most_free(struct pager *pager);

/*
 * The node has more free frames, or misses fewer. Threads that wait for a frame look again. If kswapd had given up on
 * this node, it tries again.
 */
void node_gained(struct pager *pager, struct node *node);

/* Was the frame ever allocated? If not, its struct page must not be looked at. */
bool frame_is_ready(struct pager *pager, const struct page *page);

struct node *page_node(struct pager *pager, const struct page *page);

/*
 * Take up to @want free frames that follow each other, and page_init() them. Returns how many; 0: none is free. More
 * than one is taken only above the low watermark. If the node is below it afterwards, kswapd's work is asked for.
 */
unsigned frame_alloc_run(struct pager *pager, unsigned want, struct page **first);
struct page *frame_alloc(struct pager *pager);

/*
 * One frame of node @nr alone, while the node is above its low watermark. Otherwise NULL, and kswapd's work is asked
 * for.
 * => nr < nr_nodes
 */
struct page *frame_alloc_node(struct pager *pager, unsigned nr);

/*
 * The node's lowest free frame, if it is below frame @below; for a caller that gives another frame of the node back for
 * it.
 * NULL: no free frame is below, or the node is at its min watermark.
 */
struct page *frame_alloc_below(struct pager *pager, struct node *node, pfn_t below);

/* => called by free_page() alone */
void frame_free(struct pager *pager, struct page *page);

uint32_t frames_free(const struct pager *pager);

/* Frames that the limit pays for now: those of pages, and those that are lent to devices. */
uint32_t frames_in_use(const struct pager *pager);
void frames_note_peak(struct pager *pager); /* they are more than a moment ago */

/*
 * Free frames that may be given to faults: without those that are promised to devices, which stay free until
 * lend_settle() takes them.
 */
uint32_t frames_to_give(const struct pager *pager);
bool frames_below_min(const struct pager *pager);
bool frames_below_low(const struct pager *pager);
uint32_t frames_above_low(const struct pager *pager);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Physical frames: free lists per node, and the watermarks that start reclaim.
 *
 * A node's free list is a bitmap, taken in ascending order from where the last one was taken:
 * pages that are born or read together get frames that follow each other, so that the machine
 * moves them in one call.
 *
 * A struct page is made when its frame is first taken: a large limit costs a small program nothing.
 *
 *      min   below it a fault reclaims by itself (direct reclaim)
 *      low   below it kswapd is woken
 *      high  at it kswapd stops
 */
#ifndef ANONMM_FRAMES_H
#define ANONMM_FRAMES_H

#include "contract/policy.h"
#include "mm/page/page.h"

#define MAX_NODES 8

/* Locks: [I] set once  [L] pager lock */
struct node {
	pfn_t first; /* [I] */
	uint32_t nr; /* [I] frames of this node */
	uint64_t *free_map; /* [I] the array, [L] its words: bit set = free */
	uint32_t nr_words; /* [I] */
	uint32_t cursor; /* [L] frame, relative to first, where the search goes on */
	uint32_t nr_free; /* [L] */
	struct watermarks wmark; /* [L] */
	uint64_t *reserved_map; /* [I] the array, [L] its words; these four: reserve.h */
	uint32_t nr_reserved, wanted; /* [L] */
	bool stalled; /* [L] */
	uint32_t
		nr_ready; /* [L] frames from here on were never allocated: their struct pages are untouched, all zeros */
	struct page_head lists[NR_LISTS]; /* [L] */
	uint32_t nr_pages[NR_LISTS]; /* [L] pages on each */
	uint64_t evictions; /* [L] the refault clock: pages removed */
	uint32_t scanned[2], rotated[2]; /* [L] lately looked at, and found in use: anonymous, file */
	uint32_t share_carry; /* [L] 1/1024 pages */
	uint32_t fruitless; /* [L] pages kswapd has looked at since its last gain */
};

int frames_init(struct pager *pager);
void frames_destroy(struct pager *pager);

/* What falls to node @n of @nr frames. */
uint32_t node_share(const struct pager *pager, unsigned n, uint32_t nr);

/*
 * Up to @want frames that follow each other, the last free ones before *end, leave the map of free ones. Wraps round at 0;
 * *end becomes the first of them. => one is free
 */
unsigned node_take_top(struct node *node, unsigned want, uint32_t *end);

/* Was it ever allocated? Else its struct page is not to be looked at. */
bool frame_is_ready(struct pager *pager, const struct page *page);

struct node *page_node(struct pager *pager, const struct page *page);

/*
 * Up to @want frames that follow each other, page_init()ed. Returns how many (0: none is free);
 * wakes kswapd below the low watermark. More than one only while above it.
 */
unsigned frame_alloc_run(struct pager *pager, unsigned want, struct page **first);
struct page *frame_alloc(struct pager *pager);

/*
 * As frame_alloc_run(), for frames whose memory a device gets: also below every watermark, and also those free frames that
 * are already promised to a device.
 */
unsigned frames_take(struct pager *pager, unsigned want, struct page **first);

/* One of this node alone, while it is above its low watermark; else NULL, and kswapd is woken. => nr < nr_nodes */
struct page *frame_alloc_node(struct pager *pager, unsigned nr);

/*
 * The node's lowest free frame, if that is below @below; NULL: it is not, or the node is at its min watermark. For who
 * gives another frame of the node back for it.
 */
struct page *frame_alloc_below(struct pager *pager, struct node *node, pfn_t below);

/* => called by free_page() alone */
void frame_free(struct pager *pager, struct page *page);

uint32_t frames_free(const struct pager *pager);

/* Without those that a device is to have next: they stay free until lend_settle(), which reclaim and kswapd call. */
uint32_t frames_to_give(const struct pager *pager);
bool frames_below_min(const struct pager *pager);
bool frames_below_low(const struct pager *pager);
uint32_t frames_above_low(const struct pager *pager);

#endif

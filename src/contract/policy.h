/* SPDX-License-Identifier: MIT */
/*
 * The policy contract: how the core asks what it should do. The core gathers numbers. A policy (src/policy/) is a pure
 * function of them: it reads no clock, takes no lock, and keeps no state but the structure that the core hands to it.
 * So a replay of the same numbers gives the same decisions.
 *
 * => the core owns the state; the lock of the structure that contains the state guards it
 */
#ifndef ANONMM_POLICY_H
#define ANONMM_POLICY_H

#include "base/base.h"
#include "contract/cost.h"

/* ---- Costs: what may be expected of a swap device ----------------------------------------- */

#define FAULT_NS 8000 /* what a fault takes beside the device's part (bench/breakdown) */

/*
 * Costs are measured, so they waver. @was: the last answer for this device; at first false. The answer changes only
 * when the costs have clearly left the range between the two answers.
 */

/* Does a read cost no more than the fault that asks for it? Then a wrong choice of reclaim costs little. */
bool cost_is_quick(const struct swap_cost *cost, bool was);

/* Do slots far apart cost no more than neighbours? Then pages that leave together need not lie together. */
bool cost_is_flat(const struct swap_cost *cost, bool was);

/* Is so little room left that pages in memory should give up their slots? */
bool cost_room_is_short(const struct swap_cost *cost);

/*
 * The most bytes of @memory, the pager's limit, that a compressed store may ever take. @behind: the costs of the next
 * device; COST_NEVER: there is none.
 */
uint64_t cost_store_most(uint64_t memory, const struct swap_cost *behind);

/* ---- Tiers: the share of a compressed store ------------------------------------------------ */

/*
 * How many of the frames a compressed store may have, if it stands in front of another device.
 *
 * A frame keeps one page, which costs nothing to touch. The same memory in the store keeps several pages, which cost
 * a little each. A page that neither keeps costs a read from the device behind. The pages that the program wants back
 * tell which use of the memory is better. The distance of such a page is the number of pages that left memory after it
 * did:
 *
 *      distance
 *      0 ... step            near: with `step` frames more the page would not have left memory
 *      pages - x ... pages   far, if the page came from the store: with `step` frames less in the store, the page
 *                            would have come from the device behind
 *      pages ... pages + x   beyond, if the page came from behind: with `step` frames more in the store, the store
 *                            would have had the page
 *
 * `pages` is the number of pages in the store, x the number of pages in `step` frames of the store. A near page that
 * is saved is worth one way out and in again. A far or a beyond page is worth the additional time of a read from
 * behind. The share goes down by one step when
 * near pages have cost more. It goes up when the other side has cost several times as much (tier.c).
 */
struct tier {
	uint32_t share; /* of the frames, in 1/TIER_WHOLE, at most; 0: not chosen yet */
	/* pages that came back since the last decision; each decision halves them */
	uint32_t near, far, beyond;
	uint64_t gone_before; /* the value of look->gone at the last decision */
};

#define TIER_WHOLE 1024

/* What the core sees when a page comes back and somebody waits for it. */
struct tier_look {
	uint32_t frames; /* frames that the limit pays for */
	uint32_t store_frames; /* frames that the store has, without its tables */
	uint32_t store_pages; /* pages that the store holds */
	uint64_t gone; /* pages that ever left memory */
	uint32_t distance; /* pages that left memory after this one did */
	bool behind; /* the page came from the device behind */
	/* what a page lately cost, in and out of the store; what a read from behind lately took */
	uint32_t own_ns, behind_ns;
};

/* How many of @frames the store may have at most. The first call chooses the first share. */
uint32_t tier_frames(struct tier *tier, uint32_t frames);

/*
 * Take @look into account. When enough pages have left memory since the last decision, decide the share anew. Returns
 * true if the page came from behind and the store would still have had it: then the page should be written anew when it
 * leaves memory, so that the store gets it.
 */
bool tier_came_back(struct tier *tier, const struct tier_look *look);

/* ---- Streams: how many pages a fault serves at once, and which --------------------------- */

/*
 * Each VMA remembers a few streams: where a run of faults is expected to go on, and by which step (1, -1, or a stride).
 *   - Two faults at pages beside each other begin a stream; so do four at equal distances.
 *   - A new stream has a window of one page; a stride, of two. A fault where a stream was expected doubles the
 *     window.
 *   - A fault that skipped a page which is still out sets the window back to one page.
 *   - A fault that belongs to no stream serves one page.
 */
#define NR_STREAMS 8 /* enough for a merge of eight inputs */
#define NR_RECENT 12 /* enough for three strided streams that begin together */
#define FAULT_AROUND 64 /* pages that one fault makes visible, at most: the machine's batch */
#define READAHEAD_MAX 128 /* pages, 512 KiB: beyond that the device gains no more */
#define STRIDE_MAX 4096 /* pages, 16 MiB: the longest row of a matrix that is followed */

struct fault_streams {
	struct fault_stream {
		uint32_t next; /* index of the page that would continue the stream */
		uint32_t last; /* page of the stream's last fault: a fault that had to wait comes again */
		uint16_t window; /* pages; 0: the entry is unused */
		uint16_t ahead; /* pages from @next on whose reads were issued */
		uint16_t used; /* the VMA's clock at the stream's last fault */
		int16_t step; /* pages from one page of the stream to the next; not 0 */
	} at[NR_STREAMS];
	uint32_t recent
		[NR_RECENT]; /* the latest faults of no stream, newest first, as complements: 0 means none */
	uint16_t clock; /* counts the faults in this VMA; wraps */
	uint16_t remembered; /* the clock when a fault was last put into @recent */
};

/* What the core tells the policy of a VMA. */
struct stream_look {
	uint32_t first, end; /* page indexes of the VMA: [first, end) */
	unsigned frames; /* frames that the limit pays for: a small pager must not fill itself with guesses */
	unsigned requests; /* requests that all devices together may have in flight */
	bool random, sequential; /* MADV_RANDOM, MADV_SEQUENTIAL */
	void *ctx;
	bool (*is_present)(void *ctx, uint32_t index); /* is page @index of the VMA mapped? */
	/*
	 * The next @nr pages of @stream will not be wanted: reclaim should first take those that were read and not
	 * used.
	 */
	void (*cancel)(void *ctx, const struct fault_stream *stream, unsigned nr);
};

/* The stream that a fault at page @index belongs to, with its window adjusted. NULL: the fault belongs to none. */
struct fault_stream *stream_find(
	struct fault_streams *streams, const struct stream_look *look, uint32_t index);

/* How many pages of the stream lie in the VMA [@first, @end) from page @index on, which counts. => @index in the VMA */
uint32_t stream_pages_left(const struct fault_stream *stream, uint32_t first, uint32_t end, uint32_t index);

/* A fault served @nr pages of @stream from page @index on. @stream may be NULL: nothing to do. */
void stream_served(struct fault_stream *stream, uint32_t index, unsigned nr);

/* A page of @stream was read ahead and evicted before it was used: the window is halved. */
void stream_too_early(struct fault_stream *stream);

static inline uint32_t stream_page(const struct fault_stream *stream, unsigned i)
{
	return stream->next + i * (uint32_t)stream->step;
}

static inline int stream_step(const struct fault_stream *stream)
{
	return stream ? stream->step : 1;
}

/* ---- Ageing: which pages are looked at, and how many ------------------------------------- */

/* Of one kind (anonymous or file): the pages on its two lists, and what the latest scans of that kind found. */
struct ageing_side {
	uint64_t active, inactive; /* pages on the lists */
	uint32_t scanned, rotated; /* pages lately looked at; of them, pages found in use */
};

/*
 * Must the active list give pages to the inactive list? @dear: a look at a page in use costs a fault, and a wrong
 * choice costs little more than that, so the inactive list may be shorter. The core asks this for anonymous pages
 * alone.
 */
bool ageing_inactive_is_low(const struct ageing_side *anon, bool dear);

/*
 * get_scan_count: how many of @nr pages reclaim takes from the file lists. The two sides share in proportion to
 * @swappiness (0..200), and a side whose last scans found more pages in use gives less. *@carry keeps the fraction of a
 * page, in 1/1024.
 */
unsigned ageing_file_share(const struct ageing_side *anon, const struct ageing_side *file, int swappiness,
	unsigned nr, uint32_t *carry);

/*
 * Take a scan into account. @frames: those of the node. When about a quarter of them has been looked at, the counts are
 * halved, so only recent scans matter.
 */
void ageing_scanned(
	uint32_t *scanned, uint32_t *rotated, uint32_t frames, unsigned nr_scanned, unsigned nr_rotated);

/*
 * Refault distance: does a page that came back belong to the working set? Yes, if no more pages than the active list
 * has left memory after it.
 */
bool ageing_in_working_set(uint32_t distance, uint64_t active);

/* How many pages reclaim may look at without a gain before it gives up. @reclaimable: pages on the node's lists */
uint32_t ageing_hopeless_after(uint32_t reclaimable);

/*
 * The watermarks of a node, in free frames. min is what a burst of faults takes while reclaim begins to work. low and
 * high follow Linux's shape (min, 2 min, 3 min) with a wider band, because waking another CPU costs as much as the
 * reclaim of tens of pages. Where faults outrun kswapd, low and high rise further, by the reach.
 */
struct watermarks {
	uint32_t min, low, high; /* free frames */
	uint32_t usable; /* frames that the watermarks are a part of */
	/* how far low and high lie above their least: low by reach * min, high by twice that */
	uint32_t reach;
	uint32_t calm; /* rounds of kswapd in a row that gave no reason to raise them */
};

void watermarks_set(struct watermarks *marks, uint32_t usable);
/* A round of kswapd has ended. @outrun: faults had to reclaim by themselves during the round. */
void watermarks_adapt(struct watermarks *marks, bool outrun);

#endif

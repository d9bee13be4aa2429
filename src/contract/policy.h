/* SPDX-License-Identifier: MIT */
/*
 * The policy contract: how the core asks what it should do. The core gathers numbers; a policy is a pure function of
 * them (src/policy/). It reads no clock, takes no lock and keeps nothing but the state that the core hands to it, so a
 * replay of the same numbers decides the same.
 *
 * => the state is the core's; it is guarded by whatever guards the structure that it lies in
 */
#ifndef ANONMM_POLICY_H
#define ANONMM_POLICY_H

#include "base/base.h"

/*
 * How many of the frames a compressed store in front of another device may have.
 *
 * A frame keeps one page that costs nothing to touch. The same memory in the store keeps several pages that cost a little
 * each. What neither keeps costs a read from the device behind. The pages that the program wants back say which is better.
 * The distance of such a page is how many pages have left memory since it did:
 *
 *      0 ... step            near: with `step` frames more the page would not have gone
 *      pages - x ... pages   far: of those that came from the store, the first that would come from behind if the store
 *                            had `step` frames fewer
 *      pages ... pages + x   beyond: came from behind, and would be in a store that had `step` frames more
 *
 * `pages` is what the store holds, x what `step` frames of it hold. A near page that is saved is worth a way out and in
 * again; a far or a beyond page is worth what a read from behind takes longer. The share goes up or down by a step when
 * one side has gained more.
 */
struct tier {
	uint32_t share; /* of TIER_WHOLE: of the frames, at most; 0: not chosen yet */
	uint32_t near, far, beyond; /* pages that came back since the last decision */
	uint64_t gone_before; /* how many pages had ever left memory when the share was decided last */
};

#define TIER_WHOLE 1024

/* What the core sees when a page comes back for which somebody waits. */
struct tier_look {
	uint32_t frames; /* that the limit pays for */
	uint32_t store_frames; /* that the store has, its tables left out */
	uint32_t store_pages; /* that the store holds */
	uint64_t gone; /* pages that ever left memory */
	uint32_t distance; /* pages that left memory since this one did */
	bool behind; /* the page came from the device behind */
	uint32_t own_ns, behind_ns; /* what the store, and a read from behind, take of late */
};

/* The most frames that the store may have, of @frames. Chooses the first share. */
uint32_t tier_frames(struct tier *tier, uint32_t frames);

/*
 * Take @look into account, and decide the share anew when enough pages have left since the last decision.
 * true: the page came from behind, and would have been in the store had it been put there: it is to be written again
 * when it leaves.
 */
bool tier_came_back(struct tier *tier, const struct tier_look *look);

/* ---- Streams: how many pages a fault serves at once, and which --------------------------- */

/*
 * Each VMA remembers a few streams: where a run of faults is expected to go on, and by which step: 1, -1, or a stride.
 * Two faults at pages beside each other begin a stream, or four at equal distances. A fault where a stream was expected
 * doubles the window of that stream, which begins with one page. A fault that went past a page which is still out closes
 * the window. A fault of no stream serves one page.
 */
#define NR_STREAMS 8 /* a merge of eight */
#define NR_RECENT 12 /* three strided streams that begin together */
#define FAULT_AROUND 64 /* pages made visible by one fault, at most: the machine's batch */
#define READAHEAD_MAX 128 /* pages: 512 KiB, from where the device no longer gains */
#define STRIDE_MAX 4096 /* pages: rows of 16 MiB */

struct fault_streams {
	struct fault_stream {
		uint32_t next; /* the page index that would continue the stream */
		uint32_t last; /* the page of its last fault: a fault that had to wait comes again */
		uint16_t window; /* pages; 0: the entry is unused */
		uint16_t ahead; /* pages, from next on, whose reads were issued */
		uint16_t used; /* the clock at its last fault */
		int16_t step; /* from one page to the next; not 0 */
	} at[NR_STREAMS];
	uint32_t recent
		[NR_RECENT]; /* the latest faults of no stream, newest first; complements, so that 0 is none */
	uint16_t clock; /* faults in this VMA */
	uint16_t remembered; /* the clock at the latest of the recent faults */
};

/* What the core knows of the VMA. */
struct stream_look {
	uint32_t first, end; /* page indices of the VMA */
	unsigned
		frames; /* that the limit pays for: a small pager must not fill itself with what may be needed */
	unsigned requests; /* that the devices may have at once */
	bool random, sequential; /* MADV_RANDOM, MADV_SEQUENTIAL */
	void *ctx;
	bool (*is_present)(void *ctx, uint32_t index); /* is page @index of the VMA mapped? */
	/* The next @nr pages of @stream will not be wanted: what was read of them and is unread goes first. */
	void (*cancel)(void *ctx, const struct fault_stream *stream, unsigned nr);
};

/* The stream that a fault at page @index belongs to, its window set; NULL: none. */
struct fault_stream *stream_find(
	struct fault_streams *streams, const struct stream_look *look, uint32_t index);

/* How many pages of the stream there are from @index on, itself included, in the VMA [@first, @end). => @index in it */
uint32_t stream_pages_left(const struct fault_stream *stream, uint32_t first, uint32_t end, uint32_t index);

/* The fault served @nr pages, from @index on. @stream may be NULL. */
void stream_served(struct fault_stream *stream, uint32_t index, unsigned nr);

/* The page of @stream was read ahead, and evicted before anybody came: the window is halved. */
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

/* Pages on the two lists of one kind, and what the latest scans of that kind found. */
struct ageing_side {
	uint64_t active, inactive; /* pages on the lists */
	uint32_t scanned, rotated; /* pages lately looked at, and found in use */
};

/*
 * Does the active list have to give pages to the inactive list? @dear: a look at a page in use costs a fault, and a wrong
 * choice costs little more, so fewer pages are looked at. Only anonymous pages are aged by that.
 */
bool ageing_inactive_is_low(const struct ageing_side *anon, bool dear);

/*
 * get_scan_count: how many of @nr pages to take from the file lists: in proportion to @swappiness (0..200), each side
 * weighed down by what its last scans found in use. *@carry (1/1024 pages) keeps what does not make a whole page.
 */
unsigned ageing_file_share(const struct ageing_side *anon, const struct ageing_side *file, int swappiness,
	unsigned nr, uint32_t *carry);

/* Take a scan into account. @frames: of the node. Only recent history counts: older scans count half. */
void ageing_scanned(
	uint32_t *scanned, uint32_t *rotated, uint32_t frames, unsigned nr_scanned, unsigned nr_rotated);

/* Refault distance: a page that left @distance pages ago is part of the working set if the active list is as long. */
bool ageing_in_working_set(uint32_t distance, uint64_t active);

/* How many pages may be looked at without a gain before nothing more is to be expected, of @reclaimable pages. */
uint32_t ageing_hopeless_after(uint32_t reclaimable);

/*
 * The watermarks of a node. min: what a burst of faults takes while reclaim gets going. low and high keep Linux's shape
 * (min, 2 min, 3 min) with a wider band, since one wake-up of another CPU costs as much as reclaiming tens of pages; and
 * they lie higher, by the reach, where faults outrun kswapd.
 */
struct watermarks {
	uint32_t min, low, high; /* free frames */
	uint32_t usable; /* frames that they are a part of */
	uint32_t reach; /* how much higher low and high lie, in halves of what they are at least */
	uint32_t calm; /* rounds of kswapd without a reason to raise them */
};

void watermarks_set(struct watermarks *marks, uint32_t usable);
/* After a round of kswapd. @outrun: faults had to reclaim by themselves meanwhile. */
void watermarks_adapt(struct watermarks *marks, bool outrun);

#endif

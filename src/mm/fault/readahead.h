/* SPDX-License-Identifier: MIT */
/*
 * Readahead and birth-around: how many pages a fault should serve at once, and which.
 *
 * Each VMA remembers a few streams: where a run of faults is expected to go on, and by which step: 1, -1, or a stride.
 * Two faults at pages beside each other begin a stream, or four at equal distances; a fault where a stream was expected doubles its window,
 * which begins with the one page.
 * One that went past a page that is still out closes it. The same window serves swap-in (pages are read
 * before they are asked for, then mapped in one go) and births (new pages in runs). Reads are issued one window
 * ahead, so that the device works while the program does. A fault of no stream serves one page.
 */
#ifndef ANONMM_READAHEAD_H
#define ANONMM_READAHEAD_H

#include "mm/space/pgtable.h"

struct pager;
struct vma;

#define NR_STREAMS 8 /* a merge of eight */
#define NR_RECENT 12 /* three strided streams that begin together */
#define FAULT_AROUND 64 /* pages made visible by one fault, at most: the machine's batch */
#define READAHEAD_MAX 128 /* pages: 512 KiB, from where the device no longer gains */
#define STRIDE_MAX 4096 /* pages: rows of 16 MiB */

struct fault_streams {
	struct fault_stream {
		uint32_t next; /* the page index that would continue it */
		uint32_t last; /* its last fault: a fault that had to wait comes again */
		uint16_t window; /* pages; 0: unused */
		uint16_t ahead; /* pages, from next on, whose reads were issued */
		uint16_t used; /* the clock at its last fault */
		int16_t step; /* from one page to the next; not 0 */
	} at[NR_STREAMS];
	uint32_t recent
		[NR_RECENT]; /* the latest faults of no stream, newest first; complements, so that 0 is none */
	uint16_t clock; /* faults in this VMA */
	uint16_t remembered; /* the clock at the latest of them */
};

/* The stream that a fault at page @index of its space belongs to, its window set. NULL: none. */
struct fault_stream *stream_for(struct vma *vma, uint32_t index);

/* How many pages from @index on, by its step, a fault may serve: the window, cut at the VMA's ends and FAULT_AROUND. */
unsigned stream_around(const struct vma *vma, const struct fault_stream *stream, uint32_t index);

/* The fault serves @nr pages, from @index on. */
void stream_served(struct fault_stream *stream, uint32_t index, unsigned nr);

static inline int stream_step(const struct fault_stream *stream)
{
	return stream ? stream->step : 1;
}

struct plug;
enum read_why {
	READ_ASKED, /* somebody waits for it */
	READ_EXPECTED, /* somebody waits for it, and a stream had it next */
	READ_AHEAD, /* nobody has asked yet */
};

/* A new page enters the swap cache, locked, and is read. -ENOMEM: no frame; -EBUSY: no request free. => not cached */
int read_swap_cache_async(struct pager *pager, swp_entry_t entry, enum read_why why, struct plug *plug);
/* A page that was read ahead is wanted now: it counts as a hit. */
void readahead_hit(struct pager *pager, struct page *page);
/*
 * Read the page of @entry, wanted at page @index, now, and what the stream says will follow, as far as frames are plenty. The plug is
 * the caller's to submit. -ENOMEM: no frame for the page itself; -EBUSY: no request free.
 */
int swapin_readahead(struct pager *pager, struct vma *vma, struct fault_stream *stream, uint32_t index,
	swp_entry_t entry, struct plug *plug);
/* Only what will follow the pages that were served, when half of it was used up. */
void swapin_ahead(struct pager *pager, struct vma *vma, struct fault_stream *stream, struct plug *plug);
/*
 * MADV_WILLNEED: read what of [index, end) is on a device, in batches, until frames are few or no request is free. Drops
 * the lock; waits for nothing. Returns pages asked for. => space locked
 */
unsigned swapin_willneed(struct pager *pager, struct vma *vma, uint32_t index, uint32_t end);

#endif

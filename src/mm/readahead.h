/* SPDX-License-Identifier: MIT */
/*
 * Readahead and birth-around: how many pages a fault should serve at once.
 *
 * Each VMA remembers a few streams: where a run of faults is expected to go on. A fault there doubles
 * the stream's window; any other fault starts a stream of one page. The same window serves swap-in (pages are read
 * before they are asked for, then mapped in one go) and births (new pages in runs). Reads are issued one window
 * ahead, so that the device works while the program does.
 */
#ifndef ANONMM_READAHEAD_H
#define ANONMM_READAHEAD_H

#include "mm/pgtable.h"

struct pager;
struct vma;

#define NR_STREAMS 4
#define FAULT_AROUND 64 /* pages made visible by one fault, at most: the machine's batch */
#define READAHEAD_MAX 128 /* pages: 512 KiB, from where the device no longer gains */

struct fault_streams {
	struct fault_stream {
		uint32_t next; /* the page index that would continue it */
		uint32_t last; /* its last fault: a fault that had to wait comes again */
		uint32_t ahead; /* reads were issued up to here */
		uint16_t window; /* pages; 0: unused */
		uint16_t age; /* faults since its last */
	} at[NR_STREAMS];
};

/* The stream that a fault at page @index of its space belongs to, its window set. Never NULL. */
struct fault_stream *stream_for(struct vma *vma, uint32_t index);

/* How many pages from @index on a fault may serve: the window, cut at the VMA's end and FAULT_AROUND. */
unsigned stream_around(const struct vma *vma, const struct fault_stream *stream, uint32_t index);

/* The fault served up to @next. */
void stream_served(struct fault_stream *stream, uint32_t next);

struct plug;
/* A new page enters the swap cache, locked, and is read. -ENOMEM: no frame; -EBUSY: no request free. => not in the swap cache */
int read_swap_cache_async(struct pager *pager, swp_entry_t entry, bool ahead, struct plug *plug);
/*
 * Read the page of @entry, wanted at page @index, now, and what the stream says will follow, as far as frames are plenty. The plug is
 * the caller's to submit. -ENOMEM: no frame for the page itself; -EBUSY: no request free.
 */
int swapin_readahead(struct pager *pager, struct vma *vma, struct fault_stream *stream, uint32_t index,
	swp_entry_t entry, struct plug *plug);
/* A new page enters the swap cache, locked, and is read; @ahead: nobody has asked for it. Errors as above. => not cached */
int read_swap_cache_async(struct pager *pager, swp_entry_t entry, bool ahead, struct plug *plug);
/* Only what will follow, when half of it was used up. */
void swapin_ahead(
	struct pager *pager, struct vma *vma, struct fault_stream *stream, uint32_t index, struct plug *plug);
/* MADV_WILLNEED: read what of [index, end) is on a device. Returns pages asked for. */
unsigned swapin_willneed(
	struct pager *pager, struct vma *vma, uint32_t index, uint32_t end, struct plug *plug);

#endif

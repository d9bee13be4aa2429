/* SPDX-License-Identifier: MIT */
/*
 * Readahead and birth-around: how many pages a fault serves at once, and which.
 *
 * The policy of streams says that (contract/policy.h). The same window serves swap-in (pages are read before they are
 * asked for, then mapped in one go) and births (new pages in runs). Reads are issued one window ahead, so that the
 * device works while the program does.
 */
#ifndef ANONMM_READAHEAD_H
#define ANONMM_READAHEAD_H

#include "contract/policy.h"
#include "mm/space/pgtable.h"

struct pager;
struct vma;

/* The stream that a fault at page @index of its space belongs to, its window set. NULL: none. */
struct fault_stream *stream_for(struct vma *vma, uint32_t index);

/* How many pages from @index on, by its step, a fault may serve: the window, cut at the VMA's ends and FAULT_AROUND. */
unsigned stream_around(const struct vma *vma, const struct fault_stream *stream, uint32_t index);

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

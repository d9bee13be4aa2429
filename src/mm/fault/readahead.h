/* SPDX-License-Identifier: MIT */
/*
 * Readahead and birth-around: how many pages a fault serves at once, and which.
 *
 * The policy of streams decides that (contract/policy.h). One window serves both swap-in (pages are read before they
 * are asked for, then mapped in one go) and births (new pages in runs). Reads are issued up to two windows ahead, so
 * the device works while the program does.
 */
#ifndef ANONMM_READAHEAD_H
#define ANONMM_READAHEAD_H

#include "contract/policy.h"
#include "mm/space/pgtable.h"

struct pager;
struct vma;

/*
 * The stream that a fault at page @index of its space belongs to, with its window adjusted. NULL: it belongs to none.
 */
struct fault_stream *stream_for(struct vma *vma, uint32_t index);

/*
 * How many pages a fault may serve from @index on, by the stream's step: the window, cut at the VMA's end and at
 * FAULT_AROUND.
 */
unsigned stream_around(const struct vma *vma, const struct fault_stream *stream, uint32_t index);

struct plug;
enum read_why {
	READ_ASKED, /* somebody waits for the page */
	READ_EXPECTED, /* somebody waits for the page, and a stream had it next */
	READ_AHEAD, /* nobody has asked for the page yet */
};

/*
 * A new page enters the swap cache, locked, and its read is added to the plug. -ENOMEM: no frame. -EBUSY: no request is
 * free. On failure nothing has changed, but the slot's shadow may be gone. => the page of @entry is not in the swap
 * cache
 */
int read_swap_cache_async(struct pager *pager, swp_entry_t entry, enum read_why why, struct plug *plug);
/* A page that was read ahead is wanted now: it counts as a hit. */
void readahead_hit(struct pager *pager, struct page *page);
/*
 * Read the page of @entry, wanted at page @index, and what the stream will want next, as far as frames are plenty. The
 * caller submits the plug. -ENOMEM: no frame for the page itself. -EBUSY: no request is free.
 */
int swapin_readahead(struct pager *pager, struct vma *vma, struct fault_stream *stream, uint32_t index,
	swp_entry_t entry, struct plug *plug);
/* Read only what will follow the pages that were served, once half of what was read ahead has been used. */
void swapin_ahead(struct pager *pager, struct vma *vma, struct fault_stream *stream, struct plug *plug);
/*
 * MADV_WILLNEED: read the pages of [index, end) that are on a device, in batches, until frames are few or no request is
 * free. Drops the lock, waits for nothing. Returns how many pages were asked for. => space locked
 */
unsigned swapin_willneed(struct pager *pager, struct vma *vma, uint32_t index, uint32_t end);

#endif

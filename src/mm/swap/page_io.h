/* SPDX-License-Identifier: MIT */
/*
 * Pages on their way to and from a device.
 *
 * Requests come from a fixed set, so that nothing here allocates. Pages are added to a plug one by one; those whose
 * slots follow each other travel in one request.
 *
 * A page's content has a keyed 128-bit hash while it has a slot. It is taken when the page is written, after
 * no thread can write to it any more; it tells at the next eviction whether the slot still holds the content, and
 * proves the content when it is read.
 */
#ifndef ANONMM_PAGE_IO_H
#define ANONMM_PAGE_IO_H

#include "mm/page/page.h"
#include "mm/space/pgtable.h"
#include "contract/swapdev.h"

/* Requests in the making. One thread's own. */
struct plug {
	struct swap_io *open; /* the one that can still grow */
	struct swap_io_list ready;
	bool starved; /* out: the host had no memory for a read of one page, which was not started */
};

void plug_init(struct plug *plug);

/*
 * The caller will wait for what is plugged, and for nothing else. Where that is one page, and other pages are being read, the
 * device may read the page at once, in the calling thread. Then the end of the read wakes the thread that waits for it; in a
 * shared queue one thread would wake the other. Measured with 4 threads on 2 CPUs, reads at random from a file: 28 us a page
 * this way, 36 us by the queue.
 */
void plug_alone(struct pager *pager, struct plug *plug);

/* Have the devices start all that was plugged. Drops the lock. */
void plug_submit(struct pager *pager, struct plug *plug);

struct content {
	uint64_t hash[2];
	bool zero; /* all bytes are 0 */
};

/* => nobody can write to the page meanwhile. Better without the pager lock: it takes as long as reading the page. */
void page_content(struct pager *pager, struct page *page, struct content *content);

/* No request for a write is to be had until one has ended: pages would be unmapped and hashed in vain. */
bool swap_writes_congested(const struct pager *pager);

/*
 * Start writing a page to its slot: PG_writeback, unlocked. -EBUSY: no request is free, the page is as it was.
 * => page locked, in the swap cache, its slot writable
 */
int swap_writepage(struct pager *pager, struct page *page, const struct content *content, struct plug *plug);

/* Start reading a page from its slot. It stays locked until the read has ended. -EBUSY as above. => page locked, in the swap cache, not up to date */
int swap_readpage(struct pager *pager, struct page *page, struct plug *plug);

/* Does the slot hold exactly this content, proven by a write that ended well? */
bool slot_holds(struct pager *pager, swp_entry_t entry, const struct content *content);

int page_io_init(struct pager *pager);
void page_io_destroy(struct pager *pager);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Pages on their way to and from a device.
 *
 * Requests come from a fixed set, so nothing here allocates. Pages are added to a plug one by one; those whose slots
 * follow each other travel in one request.
 *
 * A page's content has a keyed 128-bit hash while the page has a slot. The hash is taken when the page is written,
 * after the last moment at which a thread could write to the page. At the next eviction it tells whether the slot still
 * holds the content. When the page is read it proves the content.
 */
#ifndef ANONMM_PAGE_IO_H
#define ANONMM_PAGE_IO_H

#include "mm/page/page.h"
#include "mm/space/pgtable.h"
#include "contract/swapdev.h"

/* Requests that are being made. A plug belongs to one thread. */
struct plug {
	struct swap_io *open; /* the request that can still grow, or NULL */
	struct swap_io_list ready; /* requests that are complete */
	bool starved; /* out: the host had no memory for a read of one page, so that read was not started */
};

void plug_init(struct plug *plug);

/*
 * The caller will wait for what is plugged, and for nothing else. Where that is one page, and other pages are being
 * read, the device may read the page at once, in the calling thread. Then the end of the read wakes the thread that
 * waits for it; in a shared queue one thread would wake the other. Measured with 4 threads on 2 CPUs, reads at random
 * from a file: 28 us a page this way, 36 us by the queue.
 */
void plug_alone(struct pager *pager, struct plug *plug);

/* Have the devices start all that was plugged. Drops the lock. The plug is empty afterwards. */
void plug_submit(struct pager *pager, struct plug *plug);

struct content {
	uint64_t hash[2];
	bool zero; /* all bytes are 0 */
};

/*
 * Hash the page. It takes as long as reading the page, so it is better called without the pager lock. => nobody can
 * write to the page meanwhile
 */
void page_content(struct pager *pager, struct page *page, struct content *content);

/* Is no request for a write to be had until one has ended? Then reclaim would unmap and hash pages in vain. */
bool swap_writes_congested(const struct pager *pager);

/*
 * Add the write of a page to its slot to the plug: PG_writeback and PG_reclaim are set, and the page is unlocked.
 * -EBUSY: no request is free; the page is as it was. => page locked, in the swap cache, its slot writable
 */
int swap_writepage(struct pager *pager, struct page *page, const struct content *content, struct plug *plug);

/*
 * Add the read of a page from its slot to the plug. The page stays locked until the read has ended. -EBUSY as above.
 * => page locked, in the swap cache, not up to date
 */
int swap_readpage(struct pager *pager, struct page *page, struct plug *plug);

/*
 * Does the slot hold exactly this content? The hash is set when a write is added, and cleared if the write fails, or if
 * the page may have changed during the write.
 */
bool slot_holds(struct pager *pager, swp_entry_t entry, const struct content *content);

int page_io_init(struct pager *pager);
void page_io_destroy(struct pager *pager);

#endif

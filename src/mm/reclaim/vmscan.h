/* SPDX-License-Identifier: MIT */
/*
 * Reclaim: turn cold pages into free frames.
 *
 *      active tail --shrink_active_list--> inactive head ... inactive tail
 *      --shrink_inactive_list--> shrink_page_list: add_to_swap, try_to_unmap, pageout --> inactive head
 *      ... the write ends: inactive tail --second scan--> __remove_mapping --> free list
 */
#ifndef ANONMM_VMSCAN_H
#define ANONMM_VMSCAN_H

#include "mm/page/page.h"
#include "mm/swap/page_io.h"

#define SWAP_CLUSTER_MAX 32 /* pages isolated at a time */

enum reclaim_result {
	RECLAIM_FREED, /* there are free frames */
	/* no frame is free, but there will be: writes are in flight, or other threads reclaim */
	RECLAIM_WAIT,
	RECLAIM_NOTHING, /* nothing can be reclaimed */
};

/* The end of a thread's reclaim, which it has begun by counting itself in pager->nr_reclaimers. */
void reclaim_leave(struct pager *pager);

/*
 * Direct reclaim: free some frames, or start writes. Drops the lock.
 * => the caller has no page locked, or unlocks what it has before it waits (fork.c): RECLAIM_WAIT counts on that
 */
enum reclaim_result try_to_free_pages(struct pager *pager);

/*
 * The same for a caller that can wait. 0: there are free frames; everything may have changed meanwhile. -EAGAIN with
 * *wait: until a frame may be free. -ENOMEM: nothing can be reclaimed. Drops the lock. => as above
 */
int try_to_free_or_wait(struct pager *pager, struct wait *wait);

/*
 * MADV_PAGEOUT: these isolated pages leave memory now, accessed or not. Drops the lock. The list is empty afterwards.
 */
void reclaim_pages(struct pager *pager, struct page_head *pages);

/*
 * MADV_COLD: these isolated pages go to the inactive list, their accessed marks cleared. Drops the lock. The list is
 * empty afterwards.
 */
void deactivate_pages(struct pager *pager, struct page_head *pages);

#endif

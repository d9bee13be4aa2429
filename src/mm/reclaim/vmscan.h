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
	RECLAIM_WAIT, /* there will be: writes are in flight, or others are at it */
	RECLAIM_NOTHING, /* nothing can be reclaimed */
};

/* Who has counted itself in nr_reclaimers has done. */
void reclaim_leave(struct pager *pager);

/* Direct reclaim. Drops the lock. => no page locked by the caller */
enum reclaim_result try_to_free_pages(struct pager *pager);

/*
 * The same for who has a struct wait to fill. 0: there are free frames, look again at everything. -EAGAIN with *wait: when
 * a frame may have been freed. -ENOMEM: nothing can be reclaimed. Drops the lock. => as above
 */
int try_to_free_or_wait(struct pager *pager, struct wait *wait);

/* MADV_PAGEOUT: these isolated pages go out now, accessed or not. Drops the lock. The list is empty afterwards. */
void reclaim_pages(struct pager *pager, struct page_head *pages);

/* MADV_COLD: these isolated pages go to the inactive list, unmarked. Drops the lock. */
void deactivate_pages(struct pager *pager, struct page_head *pages);

#endif

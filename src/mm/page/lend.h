/* SPDX-License-Identifier: MIT */
/*
 *
 * Frames lent to swap devices: how a compressed store and the frames share one limit.
 *
 * A device that lives in memory says how many pages of memory it would like to have. For each of them a free frame is
 * taken, the machine gives the frame's memory back to the host, and the device is told that it may use one page more.
 * When the device needs less, the frames become free again. So frames and store together never take more memory than
 * the frames alone would.
 *
 *      free  --lend_settle-->  lent: PG_lent, _count 1, no memory  --lend_settle-->  free
 *
 * Free frames that a device is still to get (pager->owed) are not handed out to faults: pages can leave memory only if
 * the store can grow.
 */
#ifndef ANONMM_LEND_H
#define ANONMM_LEND_H

#include "mm/page/page.h"
#include "mm/swap/swap_slots.h"

/* Have the devices do their upkeep (ops->background). Drops the lock. */
void lend_upkeep(struct pager *pager);

/*
 * Lend each device the frames that it wants, as far as frames are free, and take back those that it does not want.
 * Drops the lock.
 */
void lend_settle(struct pager *pager);

/* The area ends: all its lent frames become free. => nothing is stored there, no frame is about to be lent to it */
void lend_end(struct pager *pager, struct swap_area *area);

#endif

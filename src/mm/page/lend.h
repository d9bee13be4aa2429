/* SPDX-License-Identifier: MIT */
/*
 * Frames lent to swap devices: how a compressed store and the frames share one limit.
 *
 * A device that lives in memory says how much it would like to have. For each page of that a free frame is taken, its
 * memory given back to the host, and the device told that it may use as much. When the device needs less the frames
 * are free again. So frames and store together never take more memory than the frames alone would.
 *
 *      free  --lend_settle-->  lent: PG_lent, _count 1, no memory  --lend_settle-->  free
 *
 * What a device is still owed is not handed out to faults: the store must be able to grow for pages to leave.
 */
#ifndef ANONMM_LEND_H
#define ANONMM_LEND_H

#include "mm/page/page.h"
#include "mm/swap/swap_slots.h"

/* Have the devices do their upkeep. Drops the lock. */
void lend_upkeep(struct pager *pager);

/* Give each device what it wants and take back what it does not, as far as frames are free. Drops the lock. */
void lend_settle(struct pager *pager);

/* The area goes: all its frames are free again. => nothing is stored there, no frame about to be lent */
void lend_end(struct pager *pager, struct swap_area *area);

#endif

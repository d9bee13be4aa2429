/* SPDX-License-Identifier: MIT */
/*
 *
 * Reserved frames: those that the present limit does not pay for.
 *
 * A pager is opened with as many frames as its limit may ever pay for. The frames above the present limit are reserved:
 * on no list, not in the map of free frames, and without memory behind them. When the limit goes down, more frames must
 * be reserved: kswapd frees pages, and sets aside the free frames above the min watermark. When the limit goes up,
 * reserved frames become free at once.
 *
 *      free --reserve_fill (kswapd)--> on its way: its memory goes back to the host --> reserved --reserve_trim--> free
 *
 * Invariant: nr_free + nr_reserved + frames in use == nr of the node. nr_reserved counts frames on their way, too.
 */
#ifndef ANONMM_RESERVE_H
#define ANONMM_RESERVE_H

#include "mm/page/frames.h"

/*
 * Locks: [L] pager lock. In struct node:
 *
 *      reserved_map   bit set = reserved            nr_reserved   the bits, and frames on their way
 *      wanted         how many shall be reserved
 *      stalled        reclaim finds nothing more for that: kswapd rests until a frame is freed, or the limit changes
 */

/* Reserve the last @nr frames of a new node; its other frames become free. 0 or -ENOMEM. => none of them is free yet */
int reserve_init(struct pager *pager, struct node *node, uint32_t nr);
void reserve_destroy(struct pager *pager, struct node *node);

/* From now on @nr frames shall be reserved. The watermarks follow. Reserved frames beyond @nr become free. */
void reserve_want(struct pager *pager, struct node *node, uint32_t nr);

/* How many frames are still to be reserved; 0 also if there is no hope (stalled). */
uint32_t reserve_missing(const struct node *node);

/*
 * Reserve the node's free frames above the min watermark, as many as are wanted. Drops the lock.
 * => the caller is kswapd, and counts as a reclaimer
 */
void reserve_fill(struct pager *pager, struct node *node);

bool frame_is_reserved(struct pager *pager, const struct page *page);

#endif

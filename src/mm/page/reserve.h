/* SPDX-License-Identifier: MIT */
/*
 * Reserved frames: those that the limit of now does not pay for.
 *
 * A pager is opened with as many frames as its limit may ever pay for. What is above the limit of now is reserved:
 * on no list, not in the map of free frames, and without memory behind it. A lower limit wants more of
 * them: kswapd frees pages, and sets aside what is above the min watermark; a higher one gives them back at once.
 *
 *      free --reserve_fill (kswapd)--> on its way: its memory goes back to the host --> reserved --reserve_trim--> free
 *
 * Invariant: nr_free + nr_reserved + frames in use == nr of the node; nr_reserved counts those on their way too.
 */
#ifndef ANONMM_RESERVE_H
#define ANONMM_RESERVE_H

#include "mm/page/frames.h"

/* Locks: [L] pager lock.  In struct node:
 *
 *      reserved_map   bit set = reserved            nr_reserved   the bits, and those on their way
 *      wanted         how many shall be reserved
 *      stalled        nothing more can be reclaimed for it: kswapd rests until a frame is freed, or the limit changes
 */

/* Reserve the last @nr frames of a new node. => its frames are counted, none is free yet. 0 or -ENOMEM */
int reserve_init(struct pager *pager, struct node *node, uint32_t nr);
void reserve_destroy(struct pager *pager, struct node *node);

/* From now on @nr shall be reserved. Watermarks follow; what is too much is free again. */
void reserve_want(struct pager *pager, struct node *node, uint32_t nr);

/* Frames that are still to be reserved, as far as there is hope. */
uint32_t reserve_missing(const struct node *node);

/* Set aside what free frames there are above the min watermark. Drops the lock. => the caller is kswapd, and counted as a reclaimer */
void reserve_fill(struct pager *pager, struct node *node);

bool frame_is_reserved(struct pager *pager, const struct page *page);

#endif

/* SPDX-License-Identifier: MIT */
/*
 *
 * Reserved frames: those whose memory is elsewhere. A reserved frame is on no list, not in the map of free frames, has
 * no memory behind it, and its struct page is not looked at. Two owners reserve frames:
 *
 *   - The limit. A pager is opened with as many frames as its limit may ever pay for. The frames above the present
 *     limit are reserved. When the limit goes down, more frames must be reserved: kswapd frees pages, and reserves the
 *     free frames above the min watermark. When the limit goes up, reserved frames become free at once.
 *   - Swap devices. A device that lives in memory (a compressed store) says how many pages of memory it would like to
 *     have. For each of them a frame is lent: it is reserved, and then the device is told that it may use one page
 *     more. So frames and store together never take more memory than the frames alone would.
 *
 *      free --frames_go--> on its way: its memory goes back to the host --> reserved --reserve_trim--> free
 *
 * Reserved frames are alike: only the numbers say how many are whose. What a device gives back goes to the limit first,
 * if the limit still misses frames there.
 *
 * Free frames that a device is still to get (pager->owed) are not handed out to faults: pages can leave memory only if
 * the store can grow.
 *
 * Invariant: nr_free + nr_reserved + frames in use == nr of the node. nr_reserved counts frames on their way, too.
 * Invariant: the sum of the nodes' nr_lent == pager->nr_lent == the sum of the areas' nr_lent + lending.
 */
#ifndef ANONMM_RESERVE_H
#define ANONMM_RESERVE_H

#include "mm/page/frames.h"
#include "mm/swap/swap_slots.h"

/*
 * Locks: [L] pager lock. In struct node:
 *
 *      reserved_map   bit set = reserved            nr_reserved   the bits, and frames on their way
 *      nr_lent        how many of nr_reserved are lent to devices
 *      wanted         how many shall be reserved for the limit
 *      stalled        reclaim finds nothing more for that: kswapd rests until a frame is freed, or the limit changes
 */

/* Reserve the last @nr frames of a new node; its other frames become free. 0 or -ENOMEM. => none of them is free yet */
int reserve_init(struct pager *pager, struct node *node, uint32_t nr);
void reserve_destroy(struct pager *pager, struct node *node);

/* ---- For the limit ------------------------------------------------------------------------------------- */

/* From now on @nr frames shall be reserved for the limit. The watermarks follow. Frames beyond that become free. */
void reserve_want(struct pager *pager, struct node *node, uint32_t nr);

/* How many frames the limit still misses, hope or not; reserve_missing(): 0 if there is no hope (stalled). */
uint32_t reserve_lacks(const struct node *node);
uint32_t reserve_missing(const struct node *node);

/*
 * Reserve the node's free frames above the min watermark, as many as the limit misses. Drops the lock.
 * => the caller is kswapd, and counts as a reclaimer
 */
void reserve_fill(struct pager *pager, struct node *node);

bool frame_is_reserved(struct pager *pager, const struct page *page);

/* ---- For devices --------------------------------------------------------------------------------------- */

/* Have the devices do their upkeep (ops->background). Drops the lock. */
void lend_upkeep(struct pager *pager);

/*
 * Lend each device the frames that it wants, as far as frames are free, and take back those that it does not want. One
 * call lends a bounded number: what is left is owed, and the next call goes on. Drops the lock.
 * => the caller counts as a reclaimer
 */
void lend_settle(struct pager *pager);

/* The area ends: it has no lent frame any more. => nothing is stored there, no frame is about to be lent to it */
void lend_end(struct pager *pager, struct swap_area *area);

#endif

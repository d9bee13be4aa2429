/* SPDX-License-Identifier: MIT */
/*
 * How many of the frames a compressed store in front of another device has.
 *
 * A frame keeps one page that costs nothing to touch, and so much of the store keeps several that cost a little each; what
 * neither keeps costs a read from the device behind. Which is better depends on what the program does, and the pages that it
 * wants back say so. The distance of a page is how many pages have left since it did:
 *
 *      0 ... step            near: `step` frames more, and it would not have gone
 *      pages - x ... pages   far: of those that came from the store, the first to be read from behind with `step` frames fewer
 *      pages ... pages + x   beyond: came from behind, and would be in a store of `step` frames more
 *
 * `pages` is what the store holds, x what `step` frames of it hold. A near one saved is worth a way out and in again, a far or
 * a beyond one what a read from behind takes longer. The share goes up or down by a step when one side has gained more.
 */
#ifndef ANONMM_TIER_H
#define ANONMM_TIER_H

#include "mm/space/pgtable.h"

struct pager;
struct swap_area;

/* All [L] */
struct tier {
	uint32_t share; /* of TIER_WHOLE: of the frames, at most; 0: not chosen yet */
	uint32_t near, far, beyond; /* pages that came back since the last decision */
	uint64_t gone_before; /* how many had left ever, then */
};

#define TIER_WHOLE 1024

/* The most frames that the store of @area may have; UINT32_MAX: nothing is behind it. => pager lock */
uint32_t tier_most(struct pager *pager, struct swap_area *area);

/*
 * Somebody waits for a page of slot @entry that left @distance pages ago. true: it came from behind, and would have been
 * found in front had it been put there: it is to be written again when it leaves. => pager lock
 */
bool tier_refault(struct pager *pager, swp_entry_t entry, uint32_t distance);

#endif

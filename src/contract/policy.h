/* SPDX-License-Identifier: MIT */
/*
 * The policy contract: how the core asks what it should do. The core gathers numbers; a policy is a pure function of
 * them (src/policy/). It reads no clock, takes no lock and keeps nothing but the state that the core hands to it, so a
 * replay of the same numbers decides the same.
 *
 * => the state is the core's; it is guarded by whatever guards the structure that it lies in
 */
#ifndef ANONMM_POLICY_H
#define ANONMM_POLICY_H

#include "base/base.h"

/*
 * How many of the frames a compressed store in front of another device may have.
 *
 * A frame keeps one page that costs nothing to touch. The same memory in the store keeps several pages that cost a little
 * each. What neither keeps costs a read from the device behind. The pages that the program wants back say which is better.
 * The distance of such a page is how many pages have left memory since it did:
 *
 *      0 ... step            near: with `step` frames more the page would not have gone
 *      pages - x ... pages   far: of those that came from the store, the first that would come from behind if the store
 *                            had `step` frames fewer
 *      pages ... pages + x   beyond: came from behind, and would be in a store that had `step` frames more
 *
 * `pages` is what the store holds, x what `step` frames of it hold. A near page that is saved is worth a way out and in
 * again; a far or a beyond page is worth what a read from behind takes longer. The share goes up or down by a step when
 * one side has gained more.
 */
struct tier {
	uint32_t share; /* of TIER_WHOLE: of the frames, at most; 0: not chosen yet */
	uint32_t near, far, beyond; /* pages that came back since the last decision */
	uint64_t gone_before; /* how many pages had ever left memory when the share was decided last */
};

#define TIER_WHOLE 1024

/* What the core sees when a page comes back for which somebody waits. */
struct tier_look {
	uint32_t frames; /* that the limit pays for */
	uint32_t store_frames; /* that the store has, its tables left out */
	uint32_t store_pages; /* that the store holds */
	uint64_t gone; /* pages that ever left memory */
	uint32_t distance; /* pages that left memory since this one did */
	bool behind; /* the page came from the device behind */
	uint32_t own_ns, behind_ns; /* what the store, and a read from behind, take of late */
};

/* The most frames that the store may have, of @frames. Chooses the first share. */
uint32_t tier_frames(struct tier *tier, uint32_t frames);

/*
 * Take @look into account, and decide the share anew when enough pages have left since the last decision.
 * true: the page came from behind, and would have been in the store had it been put there: it is to be written again
 * when it leaves.
 */
bool tier_came_back(struct tier *tier, const struct tier_look *look);

#endif

/* SPDX-License-Identifier: MIT */
/* What of a space is not at its addresses: for a caller whose memory is about to be looked at from outside. */
#include "mm/mm.h"

#define LOOK_MAX 2048 /* words looked at while the lock is held once */

static bool is_away(pte_t pte, enum space_away what)
{
	return !pte_is_valid(pte) && (what == SPACE_AWAY || pte_is_present(pte) == (what == SPACE_ARMED));
}

/* Look at up to LOOK_MAX words from *at on. true: the word at *at is one. *at moves on. => pager lock held */
static bool next_out(struct space *space, enum space_away what, uint64_t *at, uint64_t end)
{
	unsigned steps = LOOK_MAX;

	while (*at < end && steps > 0) {
		pte_slot_t *ptep = pgtable_next_near(&space->pgtable, *at, end, &steps, at);

		if (ptep && is_away(pte_load(ptep), what))
			return true;
		*at += ptep != NULL;
	}
	return false;
}

bool space_next_out(struct space *space, enum space_away what, uint64_t addr, uint64_t end, uint64_t *found)
{
	uint64_t last = min_u64(end, space->base + space->bytes);
	uint64_t at, stop;
	bool is_out = false;

	if (last <= space->base)
		return false;
	at = space_index(space, max_u64(addr, space->base));
	stop = space_index(space, last - 1) + 1;
	while (at < stop && !is_out) {
		pager_lock(space->pager);
		is_out = next_out(space, what, &at, stop);
		pager_unlock(space->pager);
	}
	*found = space->base + (at << PAGE_SHIFT);
	return is_out;
}

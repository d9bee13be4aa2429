/* SPDX-License-Identifier: MIT */
/* What may be expected of a swap device: contract/policy.h says what the questions are. */
#include "contract/policy.h"

/*
 * Compressed memory opens a page in 1 to 7 us (bench/heaps), a disk reads one in 35 us or more: both are far from
 * these bounds. A store does not count as slow because the host interrupts its threads.
 */
#define QUICK_NS FAULT_NS
#define SLOW_NS (4 * FAULT_NS)

/*
 * A read of one page, in 1/4 of a neighbour's part of a long read. Memory: 4. Disks: 16 or more, because a request
 * costs the same whether it has one page or many.
 */
#define FLAT_QUARTERS 5
#define STEEP_QUARTERS 8

#define SHORT_ROOM (COST_WHOLE / 5) /* the store still has room for the writes until kswapd's next round */

bool cost_is_quick(const struct swap_cost *cost, bool was)
{
	return cost->read_ns <= (was ? SLOW_NS : QUICK_NS);
}

bool cost_is_flat(const struct swap_cost *cost, bool was)
{
	return 4ull * cost->read_ns <=
	       (was ? STEEP_QUARTERS : FLAT_QUARTERS) * (uint64_t)cost->neighbour_read_ns;
}

bool cost_room_is_short(const struct swap_cost *cost)
{
	return cost->room < SHORT_ROOM;
}

/*
 * A store with nothing behind it must be able to hold all that does not fit. One with a device behind it takes half: a
 * larger store takes frames whose pages are needed sooner than the pages that it would hold.
 */
uint64_t cost_store_most(uint64_t memory, const struct swap_cost *behind)
{
	return behind->read_ns == COST_NEVER ? memory / 4 * 3 : memory / 2;
}

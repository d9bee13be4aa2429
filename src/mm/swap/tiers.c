/* SPDX-License-Identifier: MIT */
/* What the policy of a store's share is told; see tiers.h. */
#include "mm/mm.h"

static bool tier_seen(struct swap_area *area, uint32_t slot, struct swap_tier *seen)
{
	const struct swapdev_ops *ops = area->dev ? area->dev->ops : NULL;

	return ops && ops->tier && !area->inherited && ops->tier(area->dev, slot, seen);
}

uint32_t tier_most(struct pager *pager, struct swap_area *area)
{
	struct swap_tier seen;

	return tier_seen(area, 0, &seen) ? tier_frames(&area->tier, pager->nr_limit) + seen.tables
					 : UINT32_MAX;
}

static uint64_t pages_gone(const struct pager *pager)
{
	uint64_t all = 0;

	for (unsigned n = 0; n < pager->nr_nodes; n++)
		all += pager->nodes[n].evictions;
	return all;
}

bool tier_refault(struct pager *pager, swp_entry_t entry, uint32_t distance)
{
	struct swap_area *area = &pager->areas[entry.type];
	struct swap_tier seen;

	if (!area->tier.share || !tier_seen(area, entry.slot, &seen))
		return false;
	return tier_came_back(&area->tier,
		&(struct tier_look){.frames = pager->nr_limit,
			.store_frames = area->nr_lent - (uint32_t)min_u64(area->nr_lent, seen.tables),
			.store_pages = seen.pages,
			.gone = pages_gone(pager),
			.distance = distance,
			.behind = seen.behind,
			.own_ns = seen.own_ns,
			.behind_ns = seen.behind_ns});
}

/* SPDX-License-Identifier: MIT */
/* The share of a compressed store; see tier.h. */
#include "mm/mm.h"

#define SHARE_FIRST SHARE_LEAST
#define SHARE_LEAST (TIER_WHOLE / 16)
#define SHARE_MOST (TIER_WHOLE / 2)
#define STEP_LEAST 16 /* frames: what is nearer is chance */
#define ENOUGH 32 /* pages that came back near, far or beyond: fewer are chance */
#define TURNOVER 2 /* that part of the frames has to have gone since the last decision, for that to show */
#define FAULT_NS 8000 /* what a fault takes beside the device's part (bench/breakdown) */

static bool tier_look(struct swap_area *area, uint32_t slot, struct swap_tier *seen)
{
	const struct swapdev_ops *ops = area->dev ? area->dev->ops : NULL;

	return ops && ops->tier && !area->inherited && ops->tier(area->dev, slot, seen);
}

static uint32_t frames_of(const struct pager *pager, uint32_t share)
{
	return (uint32_t)((uint64_t)pager->nr_limit * share / TIER_WHOLE);
}

static uint32_t step_of(const struct pager *pager, const struct tier *tier)
{
	return (uint32_t)max_u64(frames_of(pager, tier->share / 4), STEP_LEAST);
}

uint32_t tier_most(struct pager *pager, struct swap_area *area)
{
	struct swap_tier seen;

	if (!tier_look(area, 0, &seen))
		return UINT32_MAX;
	if (!area->tier.share)
		area->tier.share = SHARE_FIRST;
	return frames_of(pager, area->tier.share) + seen.tables;
}

static uint64_t gone(const struct pager *pager)
{
	uint64_t all = 0;

	for (unsigned n = 0; n < pager->nr_nodes; n++)
		all += pager->nodes[n].evictions;
	return all;
}

static void tier_decide(struct tier *tier, const struct swap_tier *seen)
{
	int64_t behind = seen->behind_ns - (int64_t)min_u64(seen->behind_ns, seen->own_ns);
	int64_t near = tier->near * (int64_t)(FAULT_NS + seen->own_ns);
	int64_t smaller = near - tier->far * behind, larger = tier->beyond * behind - 4 * near;

	if (tier->near + tier->far + tier->beyond < ENOUGH)
		smaller = larger = 0;
	if (larger > 0 && larger >= smaller)
		tier->share = (uint32_t)min_u64(tier->share + tier->share / 4, SHARE_MOST);
	else if (smaller > 0)
		tier->share = (uint32_t)max_u64(tier->share - tier->share / 4, SHARE_LEAST);
	tier->near /= 2;
	tier->far /= 2;
	tier->beyond /= 2;
}

bool tier_refault(struct pager *pager, swp_entry_t entry, uint32_t distance)
{
	struct swap_area *area = &pager->areas[entry.type];
	struct tier *tier = &area->tier;
	struct swap_tier seen;

	if (!tier->share || !tier_look(area, entry.slot, &seen))
		return false;
	uint32_t step = step_of(pager, tier);
	uint32_t has = area->nr_lent - (uint32_t)min_u64(area->nr_lent, seen.tables);
	uint32_t part = (uint32_t)max_u64((uint64_t)seen.pages * step / max_u64(has, step), step);

	if (distance <= step)
		tier->near++;
	else if (!seen.behind)
		tier->far += distance + part >= seen.pages;
	else
		tier->beyond += distance <= seen.pages + part;
	if (gone(pager) - tier->gone_before >= pager->nr_limit / TURNOVER) {
		tier->gone_before = gone(pager);
		tier_decide(tier, &seen);
	}
	return seen.behind && distance <= seen.pages;
}

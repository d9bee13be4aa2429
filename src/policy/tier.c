/* SPDX-License-Identifier: MIT */
/* The share of a compressed store: contract/policy.h says how it is found. */
#include "contract/policy.h"

#define SHARE_FIRST SHARE_LEAST
#define SHARE_LEAST (TIER_WHOLE / 16)
#define SHARE_MOST (TIER_WHOLE / 2)
#define STEP_LEAST 16 /* frames: shorter distances are chance */
#define ENOUGH 32 /* pages that came back near, far or beyond: with fewer, the counts are chance */
#define TURNOVER 2 /* the next decision comes when so many pages have left as this part of the frames */

static uint32_t frames_of(uint32_t frames, uint32_t share)
{
	return (uint32_t)((uint64_t)frames * share / TIER_WHOLE);
}

uint32_t tier_frames(struct tier *tier, uint32_t frames)
{
	if (!tier->share)
		tier->share = SHARE_FIRST;
	return frames_of(frames, tier->share);
}

static void tier_decide(struct tier *tier, const struct tier_look *look)
{
	int64_t behind = look->behind_ns - (int64_t)min_u64(look->behind_ns, look->own_ns);
	int64_t near = tier->near * (int64_t)(FAULT_NS + look->own_ns);
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

bool tier_came_back(struct tier *tier, const struct tier_look *look)
{
	uint32_t step = (uint32_t)max_u64(frames_of(look->frames, tier->share / 4), STEP_LEAST);
	uint32_t part = (uint32_t)max_u64(
		(uint64_t)look->store_pages * step / max_u64(look->store_frames, step), step);

	if (look->distance <= step)
		tier->near++;
	else if (!look->behind)
		tier->far += look->distance + part >= look->store_pages;
	else
		tier->beyond += look->distance <= look->store_pages + part;
	if (look->gone - tier->gone_before >= look->frames / TURNOVER) {
		tier->gone_before = look->gone;
		tier_decide(tier, look);
	}
	return look->behind && look->distance <= look->store_pages;
}

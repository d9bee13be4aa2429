/* SPDX-License-Identifier: MIT */
/* Ageing, the balance of lists, and watermarks: contract/policy.h says what they are. */
#include "contract/policy.h"

#define CLUSTER 32 /* how many pages reclaim looks at in one batch */
#define MOST_FREE 16 /* the high watermark is at most the 16th part of the frames */
#define CALM_ROUNDS 4 /* rounds of kswapd without need, before the watermarks come down one step */

/* The square root, rounded down. */
static uint64_t int_sqrt(uint64_t x)
{
	uint64_t root = 0;

	while ((root + 1) * (root + 1) <= x)
		root++;
	return root;
}

/*
 * Where it is dear to age a page, the inactive list may be this many times shorter. Measured with compressed memory,
 * half of the region in memory, us an access, for the factors 1, 3, 7, 15:
 *   accesses at random                            6.3   5.9   5.6   5.2
 *   95 % of the accesses to 45 % of the pages     2.7   2.2   1.8   1.7
 *   95 % of the accesses to 20 % of the pages     0.62  0.59  0.58  0.56
 */
#define DEAR_LOOKS 8

/*
 * Linux's balance, with n the size of both lists in whole GiB: low if the inactive list is shorter than the active one
 * divided by the square root of 10 n (by 1 below 1 GiB).
 */
bool ageing_inactive_is_low(const struct ageing_side *anon, bool dear)
{
	uint64_t gib = (anon->inactive + anon->active) >> (30 - PAGE_SHIFT);
	uint64_t ratio = gib ? int_sqrt(10 * gib) : 1;

	return anon->inactive * (dear ? ratio * DEAR_LOOKS : ratio) < anon->active;
}

unsigned ageing_file_share(const struct ageing_side *anon, const struct ageing_side *file, int swappiness,
	unsigned nr, uint32_t *carry)
{
	uint64_t for_anon = (uint64_t)swappiness * (anon->scanned + 1) / (anon->rotated + 1);
	uint64_t for_file = (200 - (uint64_t)swappiness) * (file->scanned + 1) / (file->rotated + 1);
	uint64_t share = nr * 1024 * for_file / (for_anon + for_file + 1) + *carry;

	*carry = share % 1024;
	return (unsigned)min_u64(share / 1024, nr);
}

void ageing_scanned(
	uint32_t *scanned, uint32_t *rotated, uint32_t frames, unsigned nr_scanned, unsigned nr_rotated)
{
	*scanned += nr_scanned;
	*rotated += nr_rotated;
	if (*scanned > frames / 4 + CLUSTER) {
		*scanned /= 2;
		*rotated /= 2;
	}
}

bool ageing_in_working_set(uint32_t distance, uint64_t active)
{
	return distance <= active;
}

/* Pages looked at in two passes over both lists: every page was aged once and then looked at once. */
uint32_t ageing_hopeless_after(uint32_t reclaimable)
{
	return 2 * reclaimable + 4 * CLUSTER;
}

/* ---- Watermarks -------------------------------------------------------------------------- */

static void place_low_and_high(struct watermarks *marks)
{
	marks->low = (2 + marks->reach) * marks->min;
	marks->high = (4 + 2 * marks->reach) * marks->min;
}

/*
 * Free frames are memory that the program does not have, so min is small: 1/512 of the usable frames. But it is at
 * least one run of readahead (1/64 of the frames, at most 64) and at least 4 frames, and it is at most 1024 frames (4
 * MiB).
 */
void watermarks_set(struct watermarks *marks, uint32_t usable)
{
	uint32_t run = (uint32_t)min_u64(usable / 64, 64);

	marks->min = (uint32_t)min_u64(max_u64(max_u64(usable / 512, run), 4), 1024);
	marks->usable = usable;
	marks->reach = marks->calm = 0;
	place_low_and_high(marks);
}

void watermarks_adapt(struct watermarks *marks, bool outrun)
{
	uint32_t most = marks->usable / MOST_FREE / marks->min;

	marks->calm = outrun ? 0 : marks->calm + 1;
	if (outrun && 4 + 2 * (marks->reach + 1) <= most)
		marks->reach++;
	else if (marks->calm >= CALM_ROUNDS && marks->reach > 0)
		marks->reach--;
	else
		return;
	marks->calm = 0;
	place_low_and_high(marks);
}

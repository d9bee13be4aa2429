/* SPDX-License-Identifier: MIT */
/*
 * The limit of a running pager: how many frames it pays for, which limits are refused, and how far a new limit has been
 * reached. A limit is put into effect by reserving frames (reserve.h).
 */
#include "mm/mm.h"

#include <stdio.h>

#define MIB_OF(frames) (((uint64_t)(frames) + (MIB >> PAGE_SHIFT) - 1) >> (20 - PAGE_SHIFT))

/*
 * How many frames a limit of @bytes pays for. pager_frames_for() assumes how much the metadata will take. Here the
 * metadata that exists is subtracted, too; it includes all struct pages that were ever touched.
 */
static uint32_t frames_for(const struct pager *pager, uint64_t bytes)
{
	uint64_t left = bytes > pager->metadata_bytes ? bytes - pager->metadata_bytes : 0;

	return (uint32_t)min_u64(pager_frames_for(bytes, pager->slots_total), left >> PAGE_SHIFT);
}

static uint32_t pages_on(const struct pager *pager, enum page_list list)
{
	uint32_t nr = 0;

	for (unsigned n = 0; n < pager->nr_nodes; n++)
		nr += pager->nodes[n].nr_pages[list];
	return nr;
}

/*
 * Would the pages that are in use beyond @nr frames find no place? *must_leave: how many they are. *room: how many
 * could leave: as many as there are free slots, pages of files, and pages of the swap cache, which have their slots
 * already.
 */
static bool has_no_room(const struct pager *pager, uint32_t nr, uint64_t *must_leave, uint64_t *room)
{
	*must_leave = frames_in_use(pager) - min_u64(frames_in_use(pager), nr);
	*room = pager->slots_total - pager->slots_used + pages_on(pager, LIST_ACTIVE_FILE) +
		pages_on(pager, LIST_INACTIVE_FILE);
	if (*must_leave <= *room)
		return false;
	*room += pager->nr_swapcache;
	return *must_leave > *room;
}

/* 0; or -errno, with the reason in @why: @nr frames cannot be the limit. */
static int check(const struct pager *pager, uint32_t nr, char *why, size_t why_len)
{
	uint32_t least = PAGER_MIN_FRAMES * pager->nr_nodes;
	uint64_t must_leave, room;

	if (nr < least) {
		snprintf(why, why_len, "it pays for %u frames, and %u are the least that works", nr, least);
		return -EINVAL;
	}
	if (nr > pager->nr_frames) {
		snprintf(why, why_len,
			"it is more than the %lu MiB that there was room made for at the start",
			MIB_OF(pager->nr_frames));
		return -ERANGE;
	}
	if (pager->nr_mlocked + least > nr) {
		snprintf(why, why_len,
			"%lu MiB are locked in memory (mlock), and some must be left for the rest",
			MIB_OF(pager->nr_mlocked));
		return -EBUSY;
	}
	if (nr < pager->nr_limit && has_no_room(pager, nr, &must_leave, &room)) {
		snprintf(why, why_len, "%lu MiB would have to leave, and swap has room for %lu MiB",
			MIB_OF(must_leave), (uint64_t)(room >> (20 - PAGE_SHIFT)));
		return -ENOSPC;
	}
	return 0;
}

int pager_set_limit(struct pager *pager, uint64_t bytes, char *why, size_t why_len)
{
	pager_lock(pager);
	uint32_t nr = frames_for(pager, bytes);
	int error = check(pager, nr, why, why_len);

	if (!error) {
		pager->nr_limit = nr;
		pager->limit_bytes = bytes;
		for (unsigned n = 0; n < pager->nr_nodes; n++)
			reserve_want(pager, &pager->nodes[n], node_share(pager, n, pager->nr_frames - nr));
		pager_have_reclaimed(pager);
	}
	pager_unlock(pager);
	return error;
}

void pager_limit(struct pager *pager, struct pager_limit *out)
{
	pager_lock(pager);
	*out = (struct pager_limit){.bytes = pager->limit_bytes,
		.frames = pager->nr_limit,
		.frames_max = pager->nr_frames,
		.frames_used = frames_in_use(pager),
		.frames_lent = pager->nr_lent};
	for (unsigned n = 0; n < pager->nr_nodes; n++) {
		const struct node *node = &pager->nodes[n];

		out->frames_missing += reserve_lacks(node);
		out->stalled = out->stalled || node->stalled;
		out->low = out->low || node->nr_free < node->wmark.high;
	}
	pager_unlock(pager);
}

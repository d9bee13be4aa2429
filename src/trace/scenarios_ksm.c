/* SPDX-License-Identifier: MIT */
/* LIFECYCLE 8 and B6: two pages of equal content are merged, and what happens to the merged page. */
#include "trace/scenarios.h"

#define ALIVE (USED | PG_active)
#define MERGED (ALIVE | PG_ksm | PG_dirty | PG_referenced)

static const char one_address[] = "a frame has one address at most on this machine: equal pages share a slot "
				  "of the swap device there, not a frame";

static int second_writes(struct walk_world *world)
{
	return walk_write_by(world, WALK_SECOND);
}

static int second_reads(struct walk_world *world)
{
	return walk_read_by(world, WALK_SECOND);
}

static int make_and_merge(struct walk_world *world)
{
	int error = walk_make_twin(world);

	return error ? error : walk_merge(world);
}

/* ---- Merged, and written by each ------------------------------------------------------------------- */

static const struct walk_expect twins[] = {
	STEP("the first", WALK_LOOK, STATE(1, 0, ALIVE, "active", WALK_PTE_PRESENT), "A page of its own."),
	STEP("the second", WALK_LOOK, STATE(1, 0, ALIVE, "active", WALK_PTE_PRESENT),
		"Another page of the same content, at another address. Both are in mergeable mappings.",
		.eye = WALK_SECOND),
};

static const struct walk_expect merged[] = {
	STEP("into the stable tree", "stable_tree_insert",
		STATE(1, 0, MERGED | PG_locked, "active", WALK_PTE_READ_ONLY),
		"ksmd has seen equal content in both, and no write between two scans. The first page becomes "
		"the merged "
		"one: it is write-protected, and the dirty bit of its PTE goes to the page."),
	STEP("merged", "replace_page", STATE(2, 1, MERGED | PG_locked, "active", WALK_PTE_READ_ONLY),
		"Every PTE of the second page maps the merged one instead, read-only: _mapcount counts them.",
		.eye = WALK_SECOND),
	STEP("the second page is free", "free_page", STATE(0, -1, GONE, "free", WALK_PTE_READ_ONLY),
		"Nobody maps it any more: that is what merging is for."),
	STEP("seen at the second address", WALK_LOOK, STATE(2, 1, MERGED, "active", WALK_PTE_READ_ONLY),
		"One frame for both.", .eye = WALK_SECOND),
};

static const struct walk_expect first_copies[] = {
	STEP("B6 a copy", "do_wp_page", STATE(1, 0, ALIVE, "active", WALK_PTE_PRESENT),
		"The first address is written: an ordinary page with the same content.",
		.article = "do_wp_page(): KSM pages."),
	STEP("the merged page", "page_remove_rmap", STATE(2, 0, MERGED, "active", WALK_PTE_READ_ONLY),
		"One mapping less; its reference is about to go.", .eye = WALK_SECOND),
};

static const struct walk_expect last_copies[] = {
	STEP("B6 a copy", "do_wp_page", STATE(1, 0, ALIVE, "active", WALK_PTE_PRESENT),
		"The second address is alone with the merged page, and its write copies all the same: such a "
		"page is "
		"never written to, since the stable tree is sorted by its content.",
		.eye = WALK_SECOND, .without = "reuse_swap_page"),
	STEP("the merged page is free", "free_page", STATE(0, -1, GONE, "free", WALK_PTE_PRESENT),
		"Its last mapper has gone, and with it its node in the stable tree.", .eye = WALK_SECOND),
};

static const struct walk_scene ksm[] = {
	{"The program writes the same content twice", walk_make_twin, WALK_EXPECTS(twins)},
	{"ksmd scans, until it has seen them calm twice", walk_merge, WALK_EXPECTS(merged)},
	{"The program writes at the first address", walk_write, WALK_EXPECTS(first_copies)},
	{"The program writes at the second address", second_writes, WALK_EXPECTS(last_copies)},
};

const struct walk_scenario walk_ksm = {"ksm", "Equal pages become one; writes copy, the last mapper's too",
	"B6 8", SCENES(ksm), .not_unshared = one_address};

/* ---- Out and in again ------------------------------------------------------------------------ */

static const struct walk_expect merged_leaves[] = {
	STEP("isolated", "shrink_page_list",
		STATE(3, 1, USED | PG_ksm | PG_dirty | PG_locked, "isolated", WALK_PTE_READ_ONLY),
		"Two mappings and the isolation."),
	STEP("after add_to_swap", "add_to_swap",
		STATE(4, 1, LEAVING | PG_ksm | PG_locked, "isolated", WALK_PTE_READ_ONLY,
			.slot = WALK_NAMED_BY(0)),
		"One slot for all who map it."),
	STEP("after try_to_unmap", "try_to_unmap",
		STATE(2, -1, LEAVING | PG_ksm | PG_locked, "isolated", WALK_PTE_SWAP,
			.slot = WALK_NAMED_BY(2)),
		"The reverse map asks the page's node in the stable tree, and finds both addresses."),
	STEP("after pageout", "pageout",
		STATE(2, -1, WRITTEN | PG_ksm, "isolated", WALK_PTE_SWAP, .slot = WALK_NAMED_BY(2)),
		"It is still a merged page while its content is here."),
};

static const struct walk_expect merged_gone[] = {
	STEP("(4) after __remove_mapping", "__remove_mapping",
		STATE(0, -1, GONE | PG_ksm, "none", WALK_PTE_SWAP, .slot = WALK_NAMED_BY(2)),
		"The frame goes. The slot does not know that the page was merged."),
};

static const struct walk_expect first_is_ordinary[] = {
	STEP("swapped in by the first", "do_swap_page",
		STATE(2, 0, CACHED | PG_active | PG_workingset, "active", WALK_PTE_READ_ONLY,
			.slot = WALK_NAMED_BY(1)),
		"An ordinary anonymous page: no longer PG_ksm. The other address still names the slot."),
};

static const struct walk_expect second_is_a_copy[] = {
	STEP("found by the second", "do_swap_page", STATE(1, 0, ALIVE | PG_dirty, "active", WALK_PTE_PRESENT),
		"The cached page is mapped at an address where its reverse map would not look for this one: "
		"the "
		"second gets a copy of its own, without a read.",
		.eye = WALK_SECOND, .without = "read_swap_cache_async"),
	STEP("seen at the first address", WALK_LOOK,
		STATE(2, 0, CACHED | PG_active | PG_workingset, "active", WALK_PTE_READ_ONLY,
			.slot = WALK_NAMED_BY(0)),
		"Two pages again, of equal content. Nobody names the slot; the swap cache keeps it for the "
		"first."),
};

static const struct walk_scene ksm_out[] = {
	{"Two pages are merged", make_and_merge, WALK_EXPECTS(merged)},
	{"Other pages want the frame", walk_press_to_pageout, WALK_EXPECTS(merged_leaves)},
	{"The write ends; second scan", walk_press_to_removal, WALK_EXPECTS(merged_gone)},
	{"The program reads at the first address", walk_read, WALK_EXPECTS(first_is_ordinary)},
	{"The program reads at the second address", second_reads, WALK_EXPECTS(second_is_a_copy)},
};

const struct walk_scenario walk_ksm_out = {"ksm-out",
	"A merged page goes out and comes back as ordinary pages", "8 4.4 5", SCENES(ksm_out),
	.not_unshared = one_address};

/* ---- MADV_UNMERGEABLE ---------------------------------------------------------------------------------- */

static const struct walk_expect unmerged[] = {
	STEP("a page of its own", "do_wp_page", STATE(1, 0, ALIVE, "active", WALK_PTE_PRESENT),
		"The program no longer wants to share: the first address gets its copy, as if it had "
		"written."),
	STEP("and the other", "do_wp_page", STATE(1, 0, ALIVE, "active", WALK_PTE_PRESENT),
		"So does the second."),
	STEP("the merged page is free", "free_page", STATE(0, -1, GONE, "free", WALK_PTE_PRESENT),
		"Nobody maps it any more."),
};

static const struct walk_scene unmerge[] = {
	{"Two pages are merged", make_and_merge, WALK_EXPECTS(merged)},
	{"The program says MADV_UNMERGEABLE", walk_unmerge, WALK_EXPECTS(unmerged)},
};

const struct walk_scenario walk_unmerge_scenario = {"unmerge", "MADV_UNMERGEABLE: each gets its own again",
	"8", SCENES(unmerge), .not_unshared = one_address};

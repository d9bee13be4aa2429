/* SPDX-License-Identifier: MIT */
/* LIFECYCLE 7, B4 and 4.4: one page that several programs map. */
#include "trace/scenarios.h"

#define ALIVE (USED | PG_active)

static const char one_address[] = "a frame has one address at most on this machine: fork copies present "
				  "pages at once, and nothing is shared";

static int write_and_fork(struct walk_world *world)
{
	int error = walk_write(world);

	return error ? error : walk_fork(world);
}

static int swap_out_and_fork(struct walk_world *world)
{
	int error = walk_write_and_swap_out(world);

	return error ? error : walk_fork(world);
}

static int child_writes(struct walk_world *world)
{
	return walk_write_by(world, WALK_CHILD);
}

static int child_reads(struct walk_world *world)
{
	return walk_read_by(world, WALK_CHILD);
}

/* ---- B4 ------------------------------------------------------------------------------------------ */

static const struct walk_expect forked[] = {
	STEP("born", "do_anonymous_page", STATE(1, 0, ALIVE, "active", WALK_PTE_PRESENT),
		"The parent's page, its alone."),
	STEP("shared", "copy_one_pte", STATE(2, 1, ALIVE, "active", WALK_PTE_READ_ONLY),
		"fork copies the PTE, not the page. Two PTEs map it now, each with a reference, and both "
		"without the "
		"right to write."),
	STEP("seen by the child", WALK_LOOK, STATE(2, 1, ALIVE, "active", WALK_PTE_READ_ONLY),
		"The same frame at the same address.", .eye = WALK_CHILD),
};

static const struct walk_expect copied[] = {
	STEP("not alone", "reuse_swap_page", STATE(2, 1, ALIVE | PG_locked, "active", WALK_PTE_READ_ONLY),
		"The child's write traps. The page is mapped twice: it may not be reused.",
		.eye = WALK_CHILD),
	STEP("B4 a copy", "do_wp_page", STATE(1, 0, ALIVE, "active", WALK_PTE_PRESENT),
		"A new page with the same content takes the PTE, and the old one's place in the child.",
		.eye = WALK_CHILD,
		.article = "Copy on write: when the page fault is a write protection error, the newly "
			   "allocated page "
			   "is an anonymous page. do_wp_page(): an anonymous page that is not single."),
	STEP("the old page", "page_remove_rmap", STATE(2, 0, ALIVE, "active", WALK_PTE_READ_ONLY),
		"Only then does the old page lose the child's mapping; its reference is about to go."),
	STEP("seen by the parent", WALK_LOOK, STATE(1, 0, ALIVE, "active", WALK_PTE_READ_ONLY),
		"The parent is alone with its page, and does not know it: its PTE is still read-only."),
};

static const struct walk_expect reused[] = {
	STEP("alone", "reuse_swap_page", STATE(1, 0, ALIVE | PG_locked, "active", WALK_PTE_READ_ONLY),
		"The parent's write traps, too. One PTE, no swap cache: nobody else can see it."),
	STEP("B4 reused", "do_wp_page", STATE(1, 0, ALIVE, "active", WALK_PTE_PRESENT),
		"In place: no frame, no copy, only the right to write.", .without = "page_remove_rmap"),
};

static const struct walk_expect copied_early[] = {
	STEP("copied at once", WALK_LOOK, STATE(1, 0, ALIVE, "active", WALK_PTE_PRESENT),
		"A frame is at one address at most on this machine: fork makes the child's copy now, before "
		"anybody "
		"writes.",
		.eye = WALK_CHILD),
	STEP("seen by the parent", WALK_LOOK, STATE(1, 0, ALIVE, "active", WALK_PTE_PRESENT),
		"Its own page, as before. It was taken away while it was copied, so the next touch is a "
		"fault that shows "
		"it again."),
};

static const struct walk_scene forks[] = {
	{"The parent writes, and forks", write_and_fork, WALK_EXPECTS(forked), .where = WALK_WRITES_SEEN},
	{"The child writes", child_writes, WALK_EXPECTS(copied), .where = WALK_WRITES_SEEN},
	{"The parent writes", walk_write, WALK_EXPECTS(reused), .where = WALK_WRITES_SEEN},
	{"The parent writes, and forks", write_and_fork, WALK_EXPECTS(copied_early),
		.where = WALK_WRITES_UNSEEN},
};

const struct walk_scenario walk_fork_scenario = {
	"fork", "After fork: the first writer copies, the last reuses", "B4 7", SCENES(forks)};

/* ---- Swap-out under sharing ---------------------------------------------------------------------------- */

static const struct walk_expect shared_leaves[] = {
	STEP("after ageing", "shrink_active_list", STATE(2, 1, USED, "inactive", WALK_PTE_READ_ONLY),
		"Two PTEs map it. The accessed bit of each is cleared."),
	STEP("isolated", "isolate_lru_pages", STATE(3, 1, USED, "isolated", WALK_PTE_READ_ONLY),
		"Two mappings and the isolation."),
	STEP("after add_to_swap", "add_to_swap",
		STATE(4, 1, LEAVING | PG_locked, "isolated", WALK_PTE_READ_ONLY, .slot = WALK_NAMED_BY(0)),
		"One slot for all who share it: the swap cache's reference is the fourth."),
	STEP("after try_to_unmap", "try_to_unmap",
		STATE(2, -1, LEAVING | PG_locked, "isolated", WALK_PTE_SWAP, .slot = WALK_NAMED_BY(2)),
		"The reverse map found the parent's VMA and the child's: both PTEs name the slot now.",
		.article = "try_to_unmap() finds through RMAP all VMAs and PTEs that map the page, and "
			   "unmaps them."),
	STEP("seen by the child", "try_to_unmap",
		STATE(2, -1, LEAVING | PG_locked, "isolated", WALK_PTE_SWAP, .slot = WALK_NAMED_BY(2)),
		"The same entry.", .eye = WALK_CHILD),
	STEP("after pageout", "pageout",
		STATE(2, -1, WRITTEN, "isolated", WALK_PTE_SWAP, .slot = WALK_NAMED_BY(2)),
		"One write for both."),
};

static const struct walk_expect shared_gone[] = {
	STEP("(4) after __remove_mapping", "__remove_mapping",
		STATE(0, -1, GONE, "none", WALK_PTE_SWAP, .slot = WALK_NAMED_BY(2)),
		"No frame; the slot is named by two PTEs."),
};

static const struct walk_expect shared_child_reads[] = {
	STEP("read", "end_swap_bio_read",
		STATE(2, -1, CACHED | PG_locked | PG_active | PG_workingset, "active", WALK_PTE_SWAP,
			.slot = WALK_NAMED_BY(2)),
		"The child reads it: a new frame, filled from the slot.", .eye = WALK_CHILD),
	STEP("swapped in by the child", "do_swap_page",
		STATE(2, 0, CACHED | PG_active | PG_workingset, "active", WALK_PTE_READ_ONLY,
			.slot = WALK_NAMED_BY(1)),
		"One PTE still names the slot: the parent's.", .eye = WALK_CHILD),
};

static const struct walk_expect shared_parent_reads[] = {
	STEP("found by the parent", "do_swap_page",
		STATE(3, 1, CACHED | PG_active | PG_workingset, "active", WALK_PTE_READ_ONLY,
			.slot = WALK_NAMED_BY(0)),
		"The parent finds it in the swap cache: no read. Two mappings and the cache; no PTE names "
		"the slot.",
		.without = "read_swap_cache_async"),
};

static const struct walk_expect shared_child_writes[] = {
	STEP("B4 a copy", "do_wp_page", STATE(1, 0, ALIVE, "active", WALK_PTE_PRESENT),
		"Shared again, so the writer copies.", .eye = WALK_CHILD),
	STEP("the old page", "page_remove_rmap",
		STATE(3, 0, CACHED | PG_active | PG_workingset, "active", WALK_PTE_READ_ONLY,
			.slot = WALK_NAMED_BY(0)),
		"It loses the child's mapping; that reference is about to go."),
};

static const struct walk_expect shared_parent_writes[] = {
	STEP("leaves the swap cache", "delete_from_swap_cache",
		STATE(1, 0, USED | PG_locked | PG_active | PG_workingset, "active", WALK_PTE_READ_ONLY),
		"The parent is alone with it, and no write is under way: its slot is free."),
	STEP("B4 reused", "do_wp_page",
		STATE(1, 0, ALIVE | PG_dirty | PG_workingset, "active", WALK_PTE_PRESENT),
		"In place; dirty, since its only copy is here."),
};

static const struct walk_scene shared_out[] = {
	{"The parent writes, and forks", write_and_fork, WALK_EXPECTS(forked)},
	{"Other pages want the frame", walk_press_to_pageout, WALK_EXPECTS(shared_leaves)},
	{"The write ends; second scan", walk_press_to_removal, WALK_EXPECTS(shared_gone)},
	{"The child reads", child_reads, WALK_EXPECTS(shared_child_reads)},
	{"The parent reads", walk_read, WALK_EXPECTS(shared_parent_reads)},
	{"The child writes", child_writes, WALK_EXPECTS(shared_child_writes)},
	{"The parent writes", walk_write, WALK_EXPECTS(shared_parent_writes)},
};

const struct walk_scenario walk_shared_out = {"shared-out",
	"A page of parent and child goes out and comes back", "4.4 5 B4", SCENES(shared_out),
	.not_unshared = one_address};

/* ---- fork while the page is out -------------------------------------------------------------- */

static const struct walk_expect forked_out[] = {
	STEP("seen by the child", WALK_LOOK, STATE(0, -1, 0, "none", WALK_PTE_SWAP, .slot = WALK_NAMED_BY(2)),
		"fork copies the swap entry and counts the slot up. Nothing is read, nothing is written.",
		.eye = WALK_CHILD, .without = "read_swap_cache_async"),
};

static const struct walk_expect child_writes_out[] = {
	STEP("mapped", "page_add_anon_rmap",
		STATE(2, 0, CACHED | PG_locked | PG_active | PG_workingset, "active", WALK_PTE_READ_ONLY,
			.slot = WALK_NAMED_BY(2)),
		"The child wants to write. The page is read in and mapped, read-only: the slot's count drops "
		"only "
		"after that.",
		.eye = WALK_CHILD),
	STEP("the entry went", "swap_free",
		STATE(2, 0, CACHED | PG_locked | PG_active | PG_workingset, "active", WALK_PTE_READ_ONLY,
			.slot = WALK_NAMED_BY(1)),
		"The parent's PTE still names the slot, so the page is not the child's alone.",
		.eye = WALK_CHILD),
	STEP("B4 a copy", "do_wp_page", STATE(1, 0, ALIVE, "active", WALK_PTE_PRESENT),
		"Therefore the write copies.", .eye = WALK_CHILD),
};

static const struct walk_expect parent_writes_out[] = {
	STEP("leaves the swap cache", "delete_from_swap_cache",
		STATE(1, -1, USED | PG_locked | PG_active | PG_workingset, "active", WALK_PTE_SWAP),
		"The parent writes: found in the cache, mapped by nobody, and the only entry is its own. It "
		"may have "
		"the page for itself."),
	STEP("swapped in", "do_swap_page",
		STATE(1, 0, ALIVE | PG_dirty | PG_workingset, "active", WALK_PTE_PRESENT),
		"Writable at once, and dirty: the slot is free."),
};

/* Where a frame has one address: the slot can be shared, the page cannot. */
static const struct walk_expect child_copies_out[] = {
	STEP("B8 a copy", "do_swap_page", STATE(1, 0, ALIVE | PG_dirty, "active", WALK_PTE_PRESENT),
		"The child touches it. The parent names the slot, too, and on this machine the page could be "
		"written "
		"unseen: the child gets a copy of its own at once.",
		.eye = WALK_CHILD),
	STEP("seen by the parent", WALK_LOOK,
		STATE(1, -1, CACHED | PG_active | PG_workingset, "active", WALK_PTE_SWAP,
			.slot = WALK_NAMED_BY(1)),
		"The page that was read stays in the swap cache for the parent, who names the slot alone "
		"now."),
};

static const struct walk_expect parent_reads_out[] = {
	STEP("swapped in", "do_swap_page",
		STATE(2, 0, CACHED | PG_active | PG_workingset, "active", WALK_PTE_READ_ONLY,
			.slot = WALK_NAMED_BY(0)),
		"Found in the swap cache: no read. Nobody else names the slot, so it may be mapped.",
		.without = "read_swap_cache_async"),
};

static const struct walk_scene fork_out[] = {
	{"The page is on the device, and the program forks", swap_out_and_fork, WALK_EXPECTS(forked_out)},
	{"The child writes", child_writes, WALK_EXPECTS(child_writes_out), .where = WALK_WRITES_SEEN},
	{"The parent writes", walk_write, WALK_EXPECTS(parent_writes_out), .where = WALK_WRITES_SEEN},
	{"The child writes", child_writes, WALK_EXPECTS(child_copies_out), .where = WALK_WRITES_UNSEEN},
	{"The parent reads", walk_read, WALK_EXPECTS(parent_reads_out), .where = WALK_WRITES_UNSEEN},
};

const struct walk_scenario walk_fork_out = {
	"fork-out", "fork while the page is on the device", "7 5 B4", SCENES(fork_out)};

/* SPDX-License-Identifier: MIT */
/*
 * LIFECYCLE B9 and 8: pages move to another frame (migration), and come back from a device that is removed (swapoff).
 */
#include "trace/scenarios.h"

#define ALIVE (USED | PG_active)

static int write_and_begin(struct walk_world *world)
{
	int error = walk_write(world);

	return error ? error : walk_migrate_begin(world);
}

/* ---- B9 -------------------------------------------------------------------------------------------- */

static const struct walk_expect leaving[] = {
	STEP("born", "do_anonymous_page", STATE(1, 0, ALIVE, "active", WALK_PTE_PRESENT),
		"A page on one node."),
	STEP("after try_to_unmap", "try_to_unmap",
		STATE(1, -1, ALIVE | PG_dirty | PG_locked, "isolated", WALK_PTE_MIGRATION),
		"It is isolated and locked, and its PTE has become a migration entry. The one reference is "
		"the "
		"isolation's: nobody else holds it, so it may move. Its PTE's dirty bit is the page's now."),
};

static const struct walk_expect arrived[] = {
	STEP("the old page", "migrate_page_copy",
		STATE(1, -1, USED | PG_locked, "isolated", WALK_PTE_MIGRATION),
		"The content is copied. What the page was goes over: it is neither active nor dirty any "
		"more."),
	STEP("the new page", "move_to_new_page",
		STATE(1, -1, ALIVE | PG_dirty | PG_locked, "active", WALK_PTE_MIGRATION),
		"A frame of the other node, with content, flags, and its place on the active list."),
	STEP("the old page is free", "free_page", STATE(0, -1, GONE, "free", WALK_PTE_PRESENT),
		"Its isolation was the last reference."),
	STEP("B9 mapped again", "remove_migration_ptes",
		STATE(1, 0, ALIVE | PG_dirty, "active", WALK_PTE_PRESENT),
		"Every migration entry has become a PTE of the new page, with the rights it had.",
		.article = "Migration of pages [makes anonymous pages]"),
};

static const struct walk_scene migrate[] = {
	{"The program writes; the page is told to move", write_and_begin, WALK_EXPECTS(leaving)},
	{"The content is copied, and the move ends", walk_migrate_end, WALK_EXPECTS(arrived)},
};

const struct walk_scenario walk_migrate = {
	"migrate", "A page moves to another node's frame", "B9", SCENES(migrate), .world = WALK_TWO_NODES};

/* ---- A fault that meets it ------------------------------------------------------------------------- */

static const struct walk_expect waits[] = {
	STEP("the fault waits", WALK_LOOK,
		STATE(1, -1, ALIVE | PG_dirty | PG_locked, "isolated", WALK_PTE_MIGRATION),
		"The program touches the page while it moves: the fault finds a migration entry, and waits "
		"for the "
		"page's lock. Nothing has changed."),
};

static const struct walk_expect goes_on[] = {
	STEP("read", WALK_LOOK, STATE(1, 0, ALIVE | PG_dirty, "active", WALK_PTE_PRESENT),
		"The same access again finds a PTE of the new page, and the content that it has always had."),
};

static const struct walk_scene migrate_wait[] = {
	{"The program writes; the page is told to move", write_and_begin, WALK_EXPECTS(leaving)},
	{"The program reads meanwhile", walk_try_read, WALK_EXPECTS(waits), .ends = -EAGAIN},
	{"The content is copied, and the move ends", walk_migrate_end, WALK_EXPECTS(arrived)},
	{"The program reads again", walk_read, WALK_EXPECTS(goes_on)},
};

const struct walk_scenario walk_migrate_wait = {"migrate-wait",
	"A fault meets a page that is moving, and waits", "B9", SCENES(migrate_wait),
	.world = WALK_TWO_NODES};

/* ---- swapoff --------------------------------------------------------------------------------------- */

static int swap_out_alone(struct walk_world *world)
{
	int error = walk_write_and_swap_out(world);

	return error ? error : walk_drop_others(world);
}

static const struct walk_expect out[] = {
	STEP("on the device", WALK_LOOK, STATE(0, -1, 0, "none", WALK_PTE_SWAP, .slot = WALK_NAMED_BY(1)),
		"No frame; one PTE names the slot."),
};

static const struct walk_expect back[] = {
	STEP("into the swap cache", "add_to_swap_cache",
		STATE(2, -1, PG_swapbacked | PG_swapcache | PG_locked, "none", WALK_PTE_SWAP,
			.slot = WALK_NAMED_BY(1)),
		"swapoff goes through all page tables and reads what they name on this device. Nobody has "
		"touched the "
		"page."),
	STEP("mapped", "unuse_pte",
		STATE(2, 0, CACHED | PG_active | PG_workingset, "active", WALK_PTE_READ_ONLY,
			.slot = WALK_NAMED_BY(0)),
		"Its PTE becomes present. The slot's last name is gone."),
	STEP("the slot is free", "try_to_free_swap",
		STATE(1, 0, ALIVE | PG_dirty | PG_workingset, "active", WALK_PTE_READ_ONLY),
		"It leaves the swap cache, dirty: its only copy is in memory again. When no slot is used any "
		"more the "
		"device is closed."),
};

static const struct walk_scene off[] = {
	{"A page is written and pressed out", swap_out_alone, WALK_EXPECTS(out)},
	{"The device is taken out of use", walk_swapoff, WALK_EXPECTS(back)},
};

const struct walk_scenario walk_swapoff_scenario = {
	"swapoff", "The swap device is taken away: everything comes back", "8", SCENES(off)};

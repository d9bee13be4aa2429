/* SPDX-License-Identifier: MIT */
/* LIFECYCLE 8: what the program says about a page. */
#include "trace/scenarios.h"

#include <sys/mman.h>

/* ---- mlock -------------------------------------------------------------------------------------- */

static int write_and_lock(struct walk_world *world)
{
	int error = walk_write(world);

	return error ? error : walk_mlock(world, true);
}

static int unlock(struct walk_world *world)
{
	return walk_mlock(world, false);
}

static int press_for_others(struct walk_world *world)
{
	return walk_press(world, 2 * 256);
}

static const struct walk_expect locked[] = {
	STEP("locked", WALK_LOOK,
		STATE(1, 0, USED | PG_unevictable | PG_mlocked, "unevictable", WALK_PTE_PRESENT),
		"mlock: the page goes to the unevictable list, where no scan comes. It is no longer active."),
};

static const struct walk_expect spared[] = {
	STEP("after pressure", WALK_LOOK,
		STATE(1, 0, USED | PG_unevictable | PG_mlocked, "unevictable", WALK_PTE_PRESENT),
		"Others went out. This one was not even looked at.", .without = "isolate_lru_pages"),
};

static const struct walk_expect unlocked[] = {
	STEP("unlocked", WALK_LOOK, STATE(1, 0, USED, "inactive", WALK_PTE_PRESENT),
		"munlock: back to the inactive list, an ordinary page."),
};

static const struct walk_expect leaves_after_all[] = {
	STEP("after pageout", "pageout", STATE(2, -1, WRITTEN, "isolated", WALK_PTE_SWAP),
		"Now it may go, as any other.",
		.article = "page->flags = PG_lru PG_swapbacked PG_swapcache PG_dirty PG_uptodate PG_reclaim "
			   "PG_writeback"),
};

static const struct walk_scene mlock_scenes[] = {
	{"The program writes, and locks the page into memory", write_and_lock, WALK_EXPECTS(locked)},
	{"Other pages want frames", press_for_others, WALK_EXPECTS(spared)},
	{"The program unlocks it", unlock, WALK_EXPECTS(unlocked)},
	{"Other pages want frames", walk_press_to_pageout, WALK_EXPECTS(leaves_after_all)},
};

const struct walk_scenario walk_mlock_scenario = {
	"mlock", "A page that is locked into memory", "8", SCENES(mlock_scenes)};

/* ---- MADV_FREE ------------------------------------------------------------------------------------ */

static int write_and_free(struct walk_world *world)
{
	int error = walk_write(world);

	return error ? error : walk_advise(world, MADV_FREE);
}

static int write_free_write(struct walk_world *world)
{
	int error = write_and_free(world);

	return error ? error : walk_write(world);
}

static int press_to_putback(struct walk_world *world)
{
	return walk_press_until(world, "putback_lru_page");
}

static const struct walk_expect lazily_free[] = {
	STEP("given away", "madvise_free_pte_range",
		STATE(1, 0, PG_lru | PG_uptodate, "inactive", WALK_PTE_PRESENT),
		"\"May be freed at any time\": still there and mapped, but no longer PG_swapbacked: nothing "
		"has to be "
		"kept of it. Its dirty bit is cleared, so that a later write shows."),
};

static const struct walk_expect dropped[] = {
	STEP("unmapped", "try_to_unmap",
		STATE(1, -1, PG_lru | PG_uptodate | PG_locked, "isolated", WALK_PTE_NONE),
		"Not written since: the PTE becomes none, and it takes no slot. The isolation's reference is "
		"the "
		"last.",
		.without = "add_to_swap"),
	STEP("freed", "free_page", STATE(0, -1, PG_uptodate, "free", WALK_PTE_NONE),
		"Free, and nothing was written. The next touch is a birth.", .without = "pageout"),
};

static const struct walk_expect freed_at_once[] = {
	STEP("unmapped", "zap_pte_range", STATE(1, -1, USED | PG_active, "active", WALK_PTE_NONE),
		"This machine does not see writes, so it could not tell later whether the page was written "
		"since: it "
		"goes at once, as by MADV_DONTNEED."),
	STEP("freed", "free_page", STATE(0, -1, GONE, "free", WALK_PTE_NONE), "The next touch is a birth."),
};

static const struct walk_expect another_round[] = {
	STEP("used since", "putback_lru_page",
		STATE(1, 0, PG_lru | PG_uptodate | PG_referenced, "inactive", WALK_PTE_PRESENT),
		"Born again, given away again, and written after that. The scan sees that it was used, and "
		"gives it "
		"another round, as it does with a page of a file.",
		.without = "try_to_unmap"),
};

static const struct walk_expect wanted_after_all[] = {
	STEP("an ordinary page", "putback_lru_page",
		STATE(1, 0, USED | PG_active | PG_referenced | PG_dirty, "active", WALK_PTE_PRESENT),
		"Not used again, but dirty: the advice no longer holds. PG_swapbacked as before, and active.",
		.without = "try_to_unmap"),
};

static const struct walk_scene free_scenes[] = {
	{"The program writes, and gives the page away", write_and_free, WALK_EXPECTS(lazily_free),
		.where = WALK_WRITES_SEEN},
	{"Other pages want the frame", walk_press_to_removal, WALK_EXPECTS(dropped),
		.where = WALK_WRITES_SEEN},
	{"The program writes, gives it away, and writes again", write_free_write, WALK_EXPECTS(lazily_free),
		.where = WALK_WRITES_SEEN},
	{"Other pages want the frame", press_to_putback, WALK_EXPECTS(another_round),
		.where = WALK_WRITES_SEEN},
	{"The scan comes round again", press_to_putback, WALK_EXPECTS(wanted_after_all),
		.where = WALK_WRITES_SEEN},
	{"The program writes, and gives the page away", write_and_free, WALK_EXPECTS(freed_at_once),
		.where = WALK_WRITES_UNSEEN},
};

const struct walk_scenario walk_free_scenario = {
	"free", "MADV_FREE: a page that may be dropped at any time", "8", SCENES(free_scenes)};

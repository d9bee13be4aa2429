/* SPDX-License-Identifier: MIT */
/*
 * A page's whole life, and other ways that it may take. States (1) to (4) and those between them are literally the
 * table of LIFECYCLE 4.3. The states of swap-in and destruction follow from LIFECYCLE 4.6, 5 and 6.
 */
#include "trace/scenarios.h"

#include <sys/mman.h>

#ifndef MADV_COLD
#define MADV_COLD 20
#endif

static int write_and_unmap(struct walk_world *world)
{
	int error = walk_write(world);

	return error ? error : walk_unmap(world);
}

static int write_and_exit(struct walk_world *world)
{
	int error = walk_write(world);

	return error ? error : walk_exit(world);
}

#define ARTICLE_EXIT                                                                                         \
	"When the process closes or exits, all its VMAs are scanned and every mapping in them is cleared; "  \
	"pages that "                                                                                        \
	"meet the conditions are freed."

/* ---- One page, from birth to destruction ------------------------------------------------ */

static const struct walk_expect birth[] = {
	STEP("after birth", "do_anonymous_page", STATE(1, 0, USED | PG_active, "active", WALK_PTE_PRESENT),
		"A write to an address without a page: a zeroed frame, one reference (the allocation's, now "
		"the mapping's), "
		"one PTE, the head of the active list.",
		.article = "anon_page is added to the head of the active list (LRU_ACTIVE_ANON) when it has "
			   "been allocated."),
};

static const struct walk_expect first_scan[] = {
	STEP("after ageing", "shrink_active_list", STATE(1, 0, USED, "inactive", WALK_PTE_PRESENT),
		"Memory runs short. From the active tail to the inactive head; PG_active and the accessed "
		"bit go.",
		.article = "it reaches the tail of the active list; shrink_active_list() puts the page on "
			   "the inactive list."),
	STEP("isolated", "isolate_lru_pages", STATE(2, 0, USED, "isolated", WALK_PTE_PRESENT),
		"Taken off the inactive tail in a batch; its isolator holds the second reference."),
	STEP("in shrink_page_list", "shrink_page_list",
		STATE(2, 0, USED | PG_locked, "isolated", WALK_PTE_PRESENT),
		"Locked, and not referenced since it was last looked at: it shall go."),
	STEP("(1) after add_to_swap", "add_to_swap",
		STATE(3, 0, LEAVING | PG_locked, "isolated", WALK_PTE_PRESENT),
		"It has a slot and is in the swap cache: the third reference. Dirty, so that it will be "
		"written.",
		.article = "_count = 3 (it rises by: 1 the allocation, 2 the isolation, 3 add_to_swap()), "
			   "_mapcount = 0, flags = PG_lru PG_swapbacked PG_swapcache PG_dirty PG_uptodate "
			   "PG_locked"),
	STEP("(2) after try_to_unmap", "try_to_unmap",
		STATE(2, -1, LEAVING | PG_locked, "isolated", WALK_PTE_SWAP),
		"The reverse map found its one PTE, which now names the slot. The mapping's reference went "
		"with it.",
		.article = "_count = 2, _mapcount = -1: no PTE maps the page"),
	STEP("(3) after pageout", "pageout",
		STATE(2, -1, LEAVING | PG_reclaim | PG_writeback, "isolated", WALK_PTE_SWAP),
		"The write is on its way and the page is unlocked. PG_reclaim asks for the tail when it "
		"ends.",
		.article = "_count = 2, _mapcount = -1, flags = PG_lru PG_swapbacked PG_swapcache PG_dirty "
			   "PG_uptodate PG_reclaim PG_writeback"),
	STEP("put back", "putback_lru_page",
		STATE(1, -1, LEAVING | PG_reclaim | PG_writeback, "inactive", WALK_PTE_SWAP),
		"To the head of the inactive list; the isolation's reference goes, the swap cache's stays."),
};

static const struct walk_expect write_ends[] = {
	STEP("write finished", "end_swap_bio_write", STATE(1, -1, CACHED, "inactive", WALK_PTE_SWAP),
		"The device has the content: clean, and rotated to the tail, next to be reclaimed.",
		.article = "end_swap_bio_write() -> end_page_writeback() clears PG_writeback and wakes those "
			   "who wait for it (wake_up_page)."),
};

static const struct walk_expect second_scan[] = {
	STEP("isolated again", "isolate_lru_pages", STATE(2, -1, CACHED, "isolated", WALK_PTE_SWAP),
		"The second scan finds it first."),
	STEP("in shrink_page_list", "shrink_page_list",
		STATE(2, -1, CACHED | PG_locked, "isolated", WALK_PTE_SWAP),
		"Unmapped and clean: nothing is left to do but to let go."),
	STEP("(4) after __remove_mapping", "__remove_mapping",
		STATE(0, -1, PG_swapbacked | PG_uptodate, "none", WALK_PTE_SWAP),
		"Both references, the cache's and the isolation's, are frozen to 0; the slot keeps a "
		"shadow.",
		.article = "_count = 0, _mapcount = -1, flags = PG_swapbacked PG_uptodate"),
	STEP("freed", "free_page", STATE(0, -1, PG_swapbacked | PG_uptodate, "free", WALK_PTE_SWAP),
		"The content is on the device, and the frame on the free list.",
		.article = "at last the page joins the free list."),
};

static const struct walk_expect read_back[] = {
	STEP("swapped in", "do_swap_page",
		STATE(2, 0, CACHED | PG_active | PG_workingset, "active", WALK_PTE_READ_ONLY),
		"A read: a new frame, filled from the slot. Mapped read-only, and the slot is kept: if it "
		"stays clean it need not be "
		"written again. Its shadow says that it was missed soon: to the active list at once.",
		.article = "PRESENT is not set in the PTE but the entry is not empty: the page is in swap, "
			   "so do_swap_page() reads its content in again."),
};

static const struct walk_expect write_again[] = {
	STEP("reused", "do_wp_page",
		STATE(1, 0, USED | PG_dirty | PG_active | PG_workingset, "active", WALK_PTE_PRESENT),
		"A write by its only user: no copy. It leaves the swap cache, and the slot is free."),
};

static const struct walk_expect destruction[] = {
	STEP("unmapped", "zap_pte_range",
		STATE(1, -1, USED | PG_dirty | PG_active | PG_workingset, "active", WALK_PTE_NONE),
		"munmap clears the PTE: the mapping is gone, its reference is about to go."),
	STEP("freed", "free_page", STATE(0, -1, PG_swapbacked | PG_uptodate, "free", WALK_PTE_NONE),
		"It was the last reference. No frame, no slot, no trace."),
};

static const struct walk_expect cached_destruction[] = {
	STEP("unmapped", "zap_pte_range",
		STATE(2, -1, CACHED | PG_active | PG_workingset, "active", WALK_PTE_NONE),
		"The write trapped nowhere, so the page is still in the swap cache. munmap clears the PTE "
		"and "
		"the mapping is gone; two references are about to go, the mapping's and the cache's."),
	STEP("freed", "free_page", STATE(0, -1, PG_swapbacked | PG_uptodate, "free", WALK_PTE_NONE),
		"It was the last reference, and nobody names the slot. No frame, no slot, no trace."),
};

static const struct walk_scene life[] = {
	{"Birth: the program writes", walk_write, WALK_EXPECTS(birth)},
	{"Swap-out, first scan: other pages want the frames", walk_press_to_pageout,
		WALK_EXPECTS(first_scan)},
	{"The device ends the write", walk_finish_writes, WALK_EXPECTS(write_ends)},
	{"Swap-out, second scan", walk_press_to_removal, WALK_EXPECTS(second_scan)},
	{"Swap-in: the program reads", walk_read, WALK_EXPECTS(read_back)},
	{"Use: the program writes", walk_write, WALK_EXPECTS(write_again), .where = WALK_WRITES_SEEN},
	{"Destruction: munmap", walk_unmap, WALK_EXPECTS(destruction), .where = WALK_WRITES_SEEN},
	{"Use and destruction: the program writes, then munmap", write_and_unmap,
		WALK_EXPECTS(cached_destruction), .where = WALK_WRITES_UNSEEN},
};

const struct walk_scenario walk_life = {
	"life", "One page from birth to destruction", "B1 4.1-4.7 5 6 B4 B8", SCENES(life)};

/* ---- A page that goes out twice, written once ------------------------------------------------ */

static int swap_out_and_read(struct walk_world *world)
{
	int error = walk_write_and_swap_out(world);

	return error ? error : walk_read(world);
}

static const struct walk_expect back_again[] = {
	STEP("swapped in", "do_swap_page",
		STATE(2, 0, CACHED | PG_active | PG_workingset, "active", WALK_PTE_READ_ONLY),
		"It was swapped out and is read again. It keeps its slot: the swap cache holds a reference."),
};

static const struct walk_expect dropped_clean[] = {
	STEP("after ageing", "shrink_active_list",
		STATE(2, 0, CACHED | PG_workingset, "inactive", WALK_PTE_READ_ONLY),
		"Nobody has written to it since."),
	STEP("isolated", "isolate_lru_pages",
		STATE(3, 0, CACHED | PG_workingset, "isolated", WALK_PTE_READ_ONLY),
		"The mapping, the swap cache, the isolation."),
	STEP("after try_to_unmap", "try_to_unmap",
		STATE(2, -1, CACHED | PG_workingset | PG_locked, "isolated", WALK_PTE_SWAP),
		"It needs no new slot: add_to_swap is not asked.", .without = "add_to_swap"),
	STEP("after __remove_mapping", "__remove_mapping",
		STATE(0, -1, PG_swapbacked | PG_uptodate, "none", WALK_PTE_SWAP),
		"The slot still holds exactly this content, which its hash proves: the frame is free in the "
		"first scan, and nothing was written.",
		.without = "pageout"),
};

static const struct walk_scene clean[] = {
	{"Out, and in again by a read", swap_out_and_read, WALK_EXPECTS(back_again)},
	{"Other pages want the frame", walk_press_to_removal, WALK_EXPECTS(dropped_clean)},
};

const struct walk_scenario walk_clean = {
	"clean", "A page that goes out twice and is written once", "4.5 5.4", SCENES(clean)};

/* ---- A page that is used after it was aged --------------------------------------------------- */

static int birth_and_cold(struct walk_world *world)
{
	int error = walk_write(world);

	return error ? error : walk_advise(world, MADV_COLD);
}

static int read_and_press(struct walk_world *world)
{
	int error = walk_read(world);

	return error ? error : walk_press_until(world, "putback_lru_page");
}

static const struct walk_expect aged[] = {
	STEP("after ageing", "shrink_active_list", STATE(1, 0, USED, "inactive", WALK_PTE_PRESENT),
		"MADV_COLD ages this one page as shrink_active_list does. From here on its next use is "
		"noted: by "
		"the accessed bit, or where there is none by a fault, for which the page was armed."),
};

static const struct walk_expect used_again[] = {
	STEP("isolated", "isolate_lru_pages", STATE(2, 0, USED, "isolated", WALK_PTE_PRESENT),
		"The program has used it, and the scan of the inactive tail does not know yet."),
	STEP("in shrink_page_list", "shrink_page_list",
		STATE(2, 0, USED | PG_locked, "isolated", WALK_PTE_PRESENT),
		"The reverse map asks its PTE: referenced since it was last looked at."),
	STEP("put back", "putback_lru_page", STATE(1, 0, USED | PG_active, "active", WALK_PTE_PRESENT),
		"Its second chance: back to the active list, and nothing was written.",
		.without = "add_to_swap"),
};

static const struct walk_scene second_chance[] = {
	{"Birth, and advice that it is cold", birth_and_cold, WALK_EXPECTS(aged)},
	{"The program reads it; other pages want the frame", read_and_press, WALK_EXPECTS(used_again)},
};

const struct walk_scenario walk_second_chance = {
	"second-chance", "A page that is used after it was aged", "4.1 4.2", SCENES(second_chance)};

/* ---- exit -------------------------------------------------------------------------------------- */

static const struct walk_expect exit_present[] = {
	STEP("unmapped", "zap_pte_range", STATE(1, -1, USED | PG_active, "active", WALK_PTE_NONE),
		"exit scans every VMA and clears every PTE: the mapping is gone, its reference is about to "
		"go.",
		.article = ARTICLE_EXIT),
	STEP("freed", "free_page", STATE(0, -1, GONE, "free", WALK_PTE_NONE),
		"Nobody else maps it and nobody holds it: free, as are the page tables and the VMAs after "
		"it."),
};

static const struct walk_expect exit_swapped[] = {
	STEP("on the device", WALK_LOOK, STATE(0, -1, 0, "none", WALK_PTE_SWAP, .slot = WALK_NAMED_BY(1)),
		"No frame; one PTE names the slot."),
};

static const struct walk_expect exit_forgotten[] = {
	STEP("the slot is free", WALK_LOOK, STATE(0, -1, 0, "none", WALK_PTE_NONE),
		"Nobody named the slot any more: it was given back, and nothing was read.",
		.without = "do_swap_page", .article = ARTICLE_EXIT),
};

static const struct walk_scene present_exit[] = {
	{"The program writes, and exits", write_and_exit, WALK_EXPECTS(exit_present)},
};

const struct walk_scenario walk_exit_scenario = {
	"exit", "The end of a program that has the page", "6", SCENES(present_exit)};

static const struct walk_scene swapped_exit[] = {
	{"A page is written and pressed out", walk_write_and_swap_out, WALK_EXPECTS(exit_swapped)},
	{"The program exits", walk_exit, WALK_EXPECTS(exit_forgotten)},
};

const struct walk_scenario walk_exit_swapped = {
	"exit-swapped", "The end of a program whose page is on the device", "6", SCENES(swapped_exit)};

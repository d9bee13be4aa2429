/* SPDX-License-Identifier: MIT */
/*
 * The histories that `walk` tells. States (1) to (4) and those between them are the spec's own table
 * (LIFECYCLE 4.3), literally; those of swap-in and destruction follow from LIFECYCLE 4.6, 5 and 6.
 */
#include "mm/page.h"
#include "trace/walk.h"

#define USED (PG_lru | PG_swapbacked | PG_uptodate)
#define CACHED (USED | PG_swapcache)
#define LEAVING (CACHED | PG_dirty)
#define LIST_OF(scene) .expects = scene, .nr_expects = ARRAY_SIZE(scene)

/* ---- Drivers --------------------------------------------------------------------------- */

static int press_to_pageout(struct walk_world *world)
{
	return walk_press_until(world, "pageout");
}

static int press_to_removal(struct walk_world *world)
{
	return walk_press_until(world, "free_page");
}

static int write_and_unmap(struct walk_world *world)
{
	int error = walk_write(world);

	return error ? error : walk_unmap(world);
}

static int press_to_birth_and_pageout(struct walk_world *world)
{
	int error = walk_write(world);

	return error ? error : press_to_pageout(world);
}

/* ---- One page, from birth to destruction ------------------------------------------------ */

static const struct walk_expect birth[] = {
	{"after birth", "do_anonymous_page", {1, 0, USED | PG_active, "active", WALK_PTE_PRESENT},
		"A write to an address without a page: a zeroed frame, one reference (the allocation's, now "
		"the mapping's), "
		"one PTE, the head of the active list."},
};

static const struct walk_expect first_scan[] = {
	{"after ageing", "shrink_active_list", {1, 0, USED, "inactive", WALK_PTE_PRESENT},
		"Memory runs short. From the active tail to the inactive head; PG_active and the accessed "
		"bit go."},
	{"isolated", "isolate_lru_pages", {2, 0, USED, "isolated", WALK_PTE_PRESENT},
		"Taken off the inactive tail in a batch; its isolator holds the second reference."},
	{"in shrink_page_list", "shrink_page_list", {2, 0, USED | PG_locked, "isolated", WALK_PTE_PRESENT},
		"Locked, and not referenced since it was last looked at: it shall go."},
	{"(1) after add_to_swap", "add_to_swap", {3, 0, LEAVING | PG_locked, "isolated", WALK_PTE_PRESENT},
		"It has a slot and is in the swap cache: the third reference. Dirty, so that it will be "
		"written."},
	{"(2) after try_to_unmap", "try_to_unmap", {2, -1, LEAVING | PG_locked, "isolated", WALK_PTE_SWAP},
		"The reverse map found its one PTE, which now names the slot. The mapping's reference went "
		"with it."},
	{"(3) after pageout", "pageout",
		{2, -1, LEAVING | PG_reclaim | PG_writeback, "isolated", WALK_PTE_SWAP},
		"The write is on its way and the page is unlocked. PG_reclaim asks for the tail when it "
		"ends."},
	{"put back", "putback_lru_page",
		{1, -1, LEAVING | PG_reclaim | PG_writeback, "inactive", WALK_PTE_SWAP},
		"To the head of the inactive list; the isolation's reference goes, the swap cache's stays."},
};

static const struct walk_expect write_ends[] = {
	{"write finished", "end_swap_bio_write", {1, -1, CACHED, "inactive", WALK_PTE_SWAP},
		"The device has the content: clean, and rotated to the tail, next to be reclaimed."},
};

static const struct walk_expect second_scan[] = {
	{"isolated again", "isolate_lru_pages", {2, -1, CACHED, "isolated", WALK_PTE_SWAP},
		"The second scan finds it first."},
	{"in shrink_page_list", "shrink_page_list", {2, -1, CACHED | PG_locked, "isolated", WALK_PTE_SWAP},
		"Unmapped and clean: nothing is left to do but to let go."},
	{"(4) after __remove_mapping", "__remove_mapping",
		{0, -1, PG_swapbacked | PG_uptodate, "none", WALK_PTE_SWAP},
		"Both references, the cache's and the isolation's, are frozen to 0; the slot keeps a "
		"shadow."},
	{"freed", "free_page", {0, -1, PG_swapbacked | PG_uptodate, "free", WALK_PTE_SWAP},
		"The content is on the device, and the frame on the free list."},
};

static const struct walk_expect read_back[] = {
	{"swapped in", "do_swap_page",
		{2, 0, CACHED | PG_active | PG_workingset, "active", WALK_PTE_READ_ONLY},
		"A read: a new frame, filled from the slot. Mapped read-only, and the slot is kept: if it "
		"stays clean it need not be "
		"written again. Its shadow says that it was missed soon: to the active list at once."},
};

static const struct walk_expect write_again[] = {
	{"reused", "do_wp_page",
		{1, 0, USED | PG_dirty | PG_active | PG_workingset, "active", WALK_PTE_PRESENT},
		"A write by its only user: no copy. It leaves the swap cache, and the slot is free."},
};

static const struct walk_expect destruction[] = {
	{"unmapped", "zap_pte_range",
		{1, -1, USED | PG_dirty | PG_active | PG_workingset, "active", WALK_PTE_NONE},
		"munmap clears the PTE: the mapping is gone, its reference is about to go."},
	{"freed", "free_page", {0, -1, PG_swapbacked | PG_uptodate, "free", WALK_PTE_NONE},
		"It was the last reference. No frame, no slot, no trace."},
};

/* Nobody saw the write, so the page never left the swap cache: its reference goes last. */
static const struct walk_expect cached_destruction[] = {
	{"unmapped", "zap_pte_range", {2, -1, CACHED | PG_active | PG_workingset, "active", WALK_PTE_NONE},
		"The write trapped nowhere, so the page is still in the swap cache. munmap clears the PTE "
		"and "
		"the mapping is gone; two references are about to go, the mapping's and the cache's."},
	{"freed", "free_page", {0, -1, PG_swapbacked | PG_uptodate, "free", WALK_PTE_NONE},
		"It was the last reference, and nobody names the slot. No frame, no slot, no trace."},
};

static const struct walk_scene life[] = {
	{"Birth: the program writes", walk_write, LIST_OF(birth)},
	{"Swap-out, first scan: other pages want the frames", press_to_pageout, LIST_OF(first_scan)},
	{"The device ends the write", walk_finish_writes, LIST_OF(write_ends)},
	{"Swap-out, second scan", press_to_removal, LIST_OF(second_scan)},
	{"Swap-in: the program reads", walk_read, LIST_OF(read_back)},
	{"Use: the program writes", walk_write, LIST_OF(write_again), .where = WALK_WRITES_SEEN},
	{"Destruction: munmap", walk_unmap, LIST_OF(destruction), .where = WALK_WRITES_SEEN},
	{"Use and destruction: the program writes, then munmap", write_and_unmap, LIST_OF(cached_destruction),
		.where = WALK_WRITES_UNSEEN},
};

/* ---- A page that is wanted back while it is being written --------------------------------- */

static const struct walk_expect leaves[] = {
	{"(3) after pageout", "pageout",
		{2, -1, LEAVING | PG_reclaim | PG_writeback, "isolated", WALK_PTE_SWAP},
		"The write is on its way."},
	{"put back", "putback_lru_page",
		{1, -1, LEAVING | PG_reclaim | PG_writeback, "inactive", WALK_PTE_SWAP},
		"Only the swap cache holds it now."},
};

static const struct walk_expect found_in_cache[] = {
	{"found in the swap cache", "do_swap_page",
		{2, 0, LEAVING | PG_reclaim | PG_writeback, "inactive", WALK_PTE_READ_ONLY},
		"The program reads it meanwhile: the page is used again as it is, no I/O, no wait. The write "
		"goes on."},
};

static const struct walk_expect write_ends_in_use[] = {
	{"write finished", "end_swap_bio_write", {2, 0, CACHED, "inactive", WALK_PTE_READ_ONLY},
		"Clean, and still mapped: the next scan may drop it without another write."},
};

/* The frame itself would go to the program, and the device still reads from it. */
static const struct walk_expect found_after_write[] = {
	{"write finished", "end_swap_bio_write", {1, -1, CACHED, "inactive", WALK_PTE_SWAP},
		"The program reads it meanwhile. This machine cannot show a frame that a device reads from, "
		"so "
		"the fault waits for the write to end."},
	{"found in the swap cache", "do_swap_page", {2, 0, CACHED, "inactive", WALK_PTE_READ_ONLY},
		"The page is used again as it is, no read. Clean: the next scan may drop it without another "
		"write."},
};

static const struct walk_scene wanted_back[] = {
	{"Birth and first scan", press_to_birth_and_pageout, LIST_OF(leaves)},
	{"The program reads it under writeback", walk_read, LIST_OF(found_in_cache),
		.where = WALK_WRITES_SEEN},
	{"The device ends the write", walk_finish_writes, LIST_OF(write_ends_in_use),
		.where = WALK_WRITES_SEEN},
	{"The program reads it under writeback", walk_read, LIST_OF(found_after_write),
		.where = WALK_WRITES_UNSEEN},
};

const struct walk_scenario walk_scenarios[] = {
	{"life", "one page from birth to destruction", life, ARRAY_SIZE(life)},
	{"wanted-back", "a page that is read while it is being written out", wanted_back,
		ARRAY_SIZE(wanted_back)},
};
const unsigned nr_walk_scenarios = ARRAY_SIZE(walk_scenarios);

/* SPDX-License-Identifier: MIT */
/*
 * The histories that `walk` tells. States (1) to (4) and those between them are the spec's own table
 * (LIFECYCLE 4.3), literally; those of swap-in and destruction follow from LIFECYCLE 4.6, 5 and 6.
 */
#include "mm/page.h"
#include "trace/walk.h"

#include <sys/mman.h>

#ifndef MADV_COLD
#define MADV_COLD 20
#endif

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
		"one PTE, the head of the active list.",
		NULL},
};

static const struct walk_expect first_scan[] = {
	{"after ageing", "shrink_active_list", {1, 0, USED, "inactive", WALK_PTE_PRESENT},
		"Memory runs short. From the active tail to the inactive head; PG_active and the accessed "
		"bit go.",
		NULL},
	{"isolated", "isolate_lru_pages", {2, 0, USED, "isolated", WALK_PTE_PRESENT},
		"Taken off the inactive tail in a batch; its isolator holds the second reference.", NULL},
	{"in shrink_page_list", "shrink_page_list", {2, 0, USED | PG_locked, "isolated", WALK_PTE_PRESENT},
		"Locked, and not referenced since it was last looked at: it shall go.", NULL},
	{"(1) after add_to_swap", "add_to_swap", {3, 0, LEAVING | PG_locked, "isolated", WALK_PTE_PRESENT},
		"It has a slot and is in the swap cache: the third reference. Dirty, so that it will be "
		"written.",
		NULL},
	{"(2) after try_to_unmap", "try_to_unmap", {2, -1, LEAVING | PG_locked, "isolated", WALK_PTE_SWAP},
		"The reverse map found its one PTE, which now names the slot. The mapping's reference went "
		"with it.",
		NULL},
	{"(3) after pageout", "pageout",
		{2, -1, LEAVING | PG_reclaim | PG_writeback, "isolated", WALK_PTE_SWAP},
		"The write is on its way and the page is unlocked. PG_reclaim asks for the tail when it "
		"ends.",
		NULL},
	{"put back", "putback_lru_page",
		{1, -1, LEAVING | PG_reclaim | PG_writeback, "inactive", WALK_PTE_SWAP},
		"To the head of the inactive list; the isolation's reference goes, the swap cache's stays.",
		NULL},
};

static const struct walk_expect write_ends[] = {
	{"write finished", "end_swap_bio_write", {1, -1, CACHED, "inactive", WALK_PTE_SWAP},
		"The device has the content: clean, and rotated to the tail, next to be reclaimed.", NULL},
};

static const struct walk_expect second_scan[] = {
	{"isolated again", "isolate_lru_pages", {2, -1, CACHED, "isolated", WALK_PTE_SWAP},
		"The second scan finds it first.", NULL},
	{"in shrink_page_list", "shrink_page_list", {2, -1, CACHED | PG_locked, "isolated", WALK_PTE_SWAP},
		"Unmapped and clean: nothing is left to do but to let go.", NULL},
	{"(4) after __remove_mapping", "__remove_mapping",
		{0, -1, PG_swapbacked | PG_uptodate, "none", WALK_PTE_SWAP},
		"Both references, the cache's and the isolation's, are frozen to 0; the slot keeps a "
		"shadow.",
		NULL},
	{"freed", "free_page", {0, -1, PG_swapbacked | PG_uptodate, "free", WALK_PTE_SWAP},
		"The content is on the device, and the frame on the free list.", NULL},
};

static const struct walk_expect read_back[] = {
	{"swapped in", "do_swap_page",
		{2, 0, CACHED | PG_active | PG_workingset, "active", WALK_PTE_READ_ONLY},
		"A read: a new frame, filled from the slot. Mapped read-only, and the slot is kept: if it "
		"stays clean it need not be "
		"written again. Its shadow says that it was missed soon: to the active list at once.",
		NULL},
};

static const struct walk_expect write_again[] = {
	{"reused", "do_wp_page",
		{1, 0, USED | PG_dirty | PG_active | PG_workingset, "active", WALK_PTE_PRESENT},
		"A write by its only user: no copy. It leaves the swap cache, and the slot is free.", NULL},
};

static const struct walk_expect destruction[] = {
	{"unmapped", "zap_pte_range",
		{1, -1, USED | PG_dirty | PG_active | PG_workingset, "active", WALK_PTE_NONE},
		"munmap clears the PTE: the mapping is gone, its reference is about to go.", NULL},
	{"freed", "free_page", {0, -1, PG_swapbacked | PG_uptodate, "free", WALK_PTE_NONE},
		"It was the last reference. No frame, no slot, no trace.", NULL},
};

/* Nobody saw the write, so the page never left the swap cache: its reference goes last. */
static const struct walk_expect cached_destruction[] = {
	{"unmapped", "zap_pte_range", {2, -1, CACHED | PG_active | PG_workingset, "active", WALK_PTE_NONE},
		"The write trapped nowhere, so the page is still in the swap cache. munmap clears the PTE "
		"and "
		"the mapping is gone; two references are about to go, the mapping's and the cache's.",
		NULL},
	{"freed", "free_page", {0, -1, PG_swapbacked | PG_uptodate, "free", WALK_PTE_NONE},
		"It was the last reference, and nobody names the slot. No frame, no slot, no trace.", NULL},
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
		"The write is on its way.", NULL},
	{"put back", "putback_lru_page",
		{1, -1, LEAVING | PG_reclaim | PG_writeback, "inactive", WALK_PTE_SWAP},
		"Only the swap cache holds it now.", NULL},
};

static const struct walk_expect found_in_cache[] = {
	{"found in the swap cache", "do_swap_page",
		{2, 0, LEAVING | PG_reclaim | PG_writeback, "inactive", WALK_PTE_READ_ONLY},
		"The program reads it meanwhile: the page is used again as it is, no I/O, no wait. The write "
		"goes on.",
		NULL},
};

static const struct walk_expect write_ends_in_use[] = {
	{"write finished", "end_swap_bio_write", {2, 0, CACHED, "inactive", WALK_PTE_READ_ONLY},
		"Clean, and still mapped: the next scan may drop it without another write.", NULL},
};

/* The frame itself would go to the program, and the device still reads from it. */
static const struct walk_expect found_after_write[] = {
	{"write finished", "end_swap_bio_write", {1, -1, CACHED, "inactive", WALK_PTE_SWAP},
		"The program reads it meanwhile. This machine cannot show a frame that a device reads from, "
		"so "
		"the fault waits for the write to end.",
		NULL},
	{"found in the swap cache", "do_swap_page", {2, 0, CACHED, "inactive", WALK_PTE_READ_ONLY},
		"The page is used again as it is, no read. Clean: the next scan may drop it without another "
		"write.",
		NULL},
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

/* ---- A page that is read first ------------------------------------------------------------ */

static const struct walk_expect zero_birth[] = {
	{"the zero page", "do_anonymous_page", {1, -1, PG_uptodate, "none", WALK_PTE_READ_ONLY},
		"A read of an address without a page: the one zero page is shown, read-only. No frame is "
		"taken, "
		"nothing is counted, no list knows of it.",
		NULL},
};

static const struct walk_expect zero_replaced[] = {
	{"replaced", "do_wp_page", {1, 0, USED | PG_active, "active", WALK_PTE_PRESENT},
		"The first write: a zeroed frame of its own takes the zero page's place.", NULL},
};

/* Where a frame has one place only, it cannot be shared by all who read zeros. */
static const struct walk_expect birth_by_read[] = {
	{"after birth", "do_anonymous_page", {1, 0, USED | PG_active, "active", WALK_PTE_PRESENT},
		"A read of an address without a page. On this machine a frame is at one address at most, so "
		"the "
		"zero page cannot be shared: the page gets its own zeroed frame at once.",
		NULL},
};

static const struct walk_scene read_first[] = {
	{"Birth: the program reads", walk_read, LIST_OF(zero_birth), .where = WALK_WRITES_SEEN},
	{"The program writes", walk_write, LIST_OF(zero_replaced), .where = WALK_WRITES_SEEN},
	{"Birth: the program reads", walk_read, LIST_OF(birth_by_read), .where = WALK_WRITES_UNSEEN},
};

/* ---- A page that goes out twice, written once ------------------------------------------------ */

static int swap_out_and_read(struct walk_world *world)
{
	int error = press_to_birth_and_pageout(world);

	if (!error)
		error = walk_finish_writes(world);
	if (!error)
		error = press_to_removal(world);
	return error ? error : walk_read(world);
}

static const struct walk_expect back_again[] = {
	{"swapped in", "do_swap_page",
		{2, 0, CACHED | PG_active | PG_workingset, "active", WALK_PTE_READ_ONLY},
		"It was swapped out and is read again. It keeps its slot: the swap cache holds a reference.",
		NULL},
};

static const struct walk_expect dropped_clean[] = {
	{"after ageing", "shrink_active_list", {2, 0, CACHED | PG_workingset, "inactive", WALK_PTE_READ_ONLY},
		"Nobody has written to it since.", NULL},
	{"isolated", "isolate_lru_pages", {3, 0, CACHED | PG_workingset, "isolated", WALK_PTE_READ_ONLY},
		"The mapping, the swap cache, the isolation.", NULL},
	{"after try_to_unmap", "try_to_unmap",
		{2, -1, CACHED | PG_workingset | PG_locked, "isolated", WALK_PTE_SWAP},
		"It needs no new slot: add_to_swap is not asked.", "add_to_swap"},
	{"after __remove_mapping", "__remove_mapping",
		{0, -1, PG_swapbacked | PG_uptodate, "none", WALK_PTE_SWAP},
		"The slot still holds exactly this content, which its hash proves: the frame is free in the "
		"first scan, and nothing was written.",
		"pageout"},
};

static const struct walk_scene clean[] = {
	{"Out, and in again by a read", swap_out_and_read, LIST_OF(back_again)},
	{"Other pages want the frame", press_to_removal, LIST_OF(dropped_clean)},
};

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
	{"after ageing", "shrink_active_list", {1, 0, USED, "inactive", WALK_PTE_PRESENT},
		"MADV_COLD ages this one page as shrink_active_list does. From here on its next use is "
		"noted: by "
		"the accessed bit, or where there is none by a fault, for which the page was armed.",
		NULL},
};

static const struct walk_expect used_again[] = {
	{"isolated", "isolate_lru_pages", {2, 0, USED, "isolated", WALK_PTE_PRESENT},
		"The program has used it, and the scan of the inactive tail does not know yet.", NULL},
	{"in shrink_page_list", "shrink_page_list", {2, 0, USED | PG_locked, "isolated", WALK_PTE_PRESENT},
		"The reverse map asks its PTE: referenced since it was last looked at.", NULL},
	{"put back", "putback_lru_page", {1, 0, USED | PG_active, "active", WALK_PTE_PRESENT},
		"Its second chance: back to the active list, and nothing was written.", "add_to_swap"},
};

static const struct walk_scene second_chance[] = {
	{"Birth, and advice that it is cold", birth_and_cold, LIST_OF(aged)},
	{"The program reads it; other pages want the frame", read_and_press, LIST_OF(used_again)},
};

const struct walk_scenario walk_scenarios[] = {
	{"life", "One page from birth to destruction", life, ARRAY_SIZE(life)},
	{"wanted-back", "A page that is read while it is being written out", wanted_back,
		ARRAY_SIZE(wanted_back)},
	{"read-first", "A page that is read before it is written", read_first, ARRAY_SIZE(read_first)},
	{"clean", "A page that goes out twice and is written once", clean, ARRAY_SIZE(clean)},
	{"second-chance", "A page that is used after it was aged", second_chance, ARRAY_SIZE(second_chance)},
};
const unsigned nr_walk_scenarios = ARRAY_SIZE(walk_scenarios);

/* SPDX-License-Identifier: MIT */
/* LIFECYCLE 4.6 and 5, B8: ways back from swap, and errors of a device. */
#include "trace/scenarios.h"

#define ARTICLE_SWAPIN                                                                                       \
	"PRESENT is not set in the PTE but the entry is not empty: the page is in swap, so do_swap_page() "  \
	"reads its "                                                                                         \
	"content in again."

static const struct walk_expect leaves[] = {
	STEP("(3) after pageout", "pageout",
		STATE(2, -1, WRITTEN, "isolated", WALK_PTE_SWAP, .slot = WALK_NAMED_BY(1)),
		"The write is on its way."),
	STEP("put back", "putback_lru_page",
		STATE(1, -1, WRITTEN, "inactive", WALK_PTE_SWAP, .slot = WALK_NAMED_BY(1)),
		"Only the swap cache holds it now."),
};

/* ---- From the cache ---------------------------------------------------------------------------- */

static const struct walk_expect found_in_cache[] = {
	STEP("B8 found in the swap cache", "do_swap_page",
		STATE(2, 0, WRITTEN, "inactive", WALK_PTE_READ_ONLY, .slot = WALK_NAMED_BY(0)),
		"The program reads it meanwhile: the page is used again as it is, no I/O, no wait. The write "
		"goes on. The PTE's entry went, so no PTE names the slot; the cache keeps it.",
		.without = "end_swap_bio_write"),
};

static const struct walk_expect write_ends_in_use[] = {
	STEP("write finished", "end_swap_bio_write", STATE(2, 0, CACHED, "inactive", WALK_PTE_READ_ONLY),
		"Clean, and still mapped: the next scan may drop it without another write."),
};

/* The frame itself would go to the program, and the device still reads from it. */
static const struct walk_expect found_after_write[] = {
	STEP("write finished", "end_swap_bio_write", STATE(1, -1, CACHED, "inactive", WALK_PTE_SWAP),
		"The program reads it meanwhile. This machine cannot show a frame that a device reads from, "
		"so the fault waits for the write to end."),
	STEP("B8 found in the swap cache", "do_swap_page",
		STATE(2, 0, CACHED, "inactive", WALK_PTE_READ_ONLY),
		"The page is used again as it is, no read. Clean: the next scan may drop it without another "
		"write."),
};

static const struct walk_scene from_cache[] = {
	{"Birth and first scan", walk_write_and_page_out, WALK_EXPECTS(leaves)},
	{"The program reads it under writeback", walk_read, WALK_EXPECTS(found_in_cache),
		.where = WALK_WRITES_SEEN},
	{"The device ends the write", walk_finish_writes, WALK_EXPECTS(write_ends_in_use),
		.where = WALK_WRITES_SEEN},
	{"The program reads it under writeback", walk_read, WALK_EXPECTS(found_after_write),
		.where = WALK_WRITES_UNSEEN},
};

const struct walk_scenario walk_swapin_cache = {"swapin-cache",
	"A page that is wanted back while it is being written out", "B8 5.1 4.6", SCENES(from_cache)};

/* ---- From the device --------------------------------------------------------------------------- */

static const struct walk_expect on_device[] = {
	STEP("(4) after __remove_mapping", "__remove_mapping",
		STATE(0, -1, GONE, "none", WALK_PTE_SWAP, .slot = WALK_NAMED_BY(1)),
		"The content is on the device, the frame is about to be free. The PTE names the slot."),
};

static const struct walk_expect being_read[] = {
	STEP("into the swap cache", "add_to_swap_cache",
		STATE(2, -1, PG_swapbacked | PG_swapcache | PG_locked, "none", WALK_PTE_SWAP,
			.slot = WALK_NAMED_BY(1)),
		"A new frame enters the swap cache before it is read, locked: who else wants this slot finds "
		"it and "
		"waits. Two references, the reader's and the cache's. Not up to date yet.",
		.article = ARTICLE_SWAPIN),
	STEP("read", "end_swap_bio_read",
		STATE(2, -1, CACHED | PG_active | PG_workingset | PG_locked, "active", WALK_PTE_SWAP),
		"The device has filled it, and the content is what its hash says. The slot's shadow told "
		"that it was "
		"missed soon: it is on the active list already."),
	STEP("B8 swapped in", "do_swap_page",
		STATE(2, 0, CACHED | PG_active | PG_workingset, "active", WALK_PTE_READ_ONLY,
			.slot = WALK_NAMED_BY(0)),
		"The PTE is looked at again and still holds the entry: the page is mapped, then the slot's "
		"count "
		"drops. A read maps it read-only and keeps the slot."),
};

static const struct walk_scene from_device[] = {
	{"A page is written and pressed out", walk_write_and_swap_out, WALK_EXPECTS(on_device)},
	{"The program reads it", walk_read, WALK_EXPECTS(being_read)},
};

const struct walk_scenario walk_swapin_device = {
	"swapin-device", "A page that is read back from the device", "B8 5.2-5.5", SCENES(from_device)};

/* ---- The second scan comes too early -------------------------------------------------------------- */

static const struct walk_expect still_written[] = {
	STEP("isolated again", "isolate_lru_pages", STATE(2, -1, WRITTEN, "isolated", WALK_PTE_SWAP),
		"The scan has come round to it, and the device is slow."),
	STEP("in shrink_page_list", "shrink_page_list",
		STATE(2, -1, WRITTEN | PG_locked, "isolated", WALK_PTE_SWAP),
		"PG_writeback is still set: nothing can be done with it now."),
	STEP("put back", "putback_lru_page", STATE(1, -1, WRITTEN, "inactive", WALK_PTE_SWAP),
		"To the head of the inactive list once more. The scan goes on with other pages and waits for "
		"none.",
		.without = "__remove_mapping",
		.article = "If it has not been written yet, PG_writeback being set, the page is put back to "
			   "the head "
			   "of the inactive list, and kswapd goes on to scan other pages."),
};

static const struct walk_expect written_at_last[] = {
	STEP("write finished", "end_swap_bio_write", STATE(1, -1, CACHED, "inactive", WALK_PTE_SWAP),
		"Rotated to the inactive tail: the next scan finds it first.",
		.article = "end_swap_bio_write() -> end_page_writeback() clears PG_writeback and wakes those "
			   "who wait "
			   "for it (wake_up_page)."),
};

static const struct walk_scene second_scan[] = {
	{"Birth and first scan", walk_write_and_page_out, WALK_EXPECTS(leaves)},
	{"Second scan, before the write has ended", walk_scan_again, WALK_EXPECTS(still_written)},
	{"The device ends the write", walk_finish_writes, WALK_EXPECTS(written_at_last)},
	{"Second scan, after it", walk_press_to_removal, WALK_EXPECTS(on_device)},
};

const struct walk_scenario walk_second_scan = {"second-scan",
	"The second scan finds the page still under writeback", "4.6 4.7", SCENES(second_scan)};

/* ---- A write that fails ------------------------------------------------------------------------------ */

static int writes_fail(struct walk_world *world)
{
	walk_device_fails(world, SWAP_WRITE, true);
	walk_finish_writes(world);
	return walk_device_fails(world, SWAP_WRITE, false);
}

static const struct walk_expect write_failed[] = {
	STEP("write failed", "end_swap_bio_write",
		STATE(1, -1, LEAVING | PG_error, "inactive", WALK_PTE_SWAP),
		"The device says no. PG_writeback goes and PG_dirty stays: the only copy is in memory, so "
		"the page "
		"must not be freed. It is not rotated, the error is said, and this slot is never used "
		"again."),
};

static const struct walk_expect after_failure[] = {
	STEP("found in the swap cache", "do_swap_page",
		STATE(1, 0, USED | PG_dirty | PG_error, "inactive", WALK_PTE_PRESENT),
		"Nothing is lost: the program reads what it wrote. The page leaves the swap cache, since its "
		"slot "
		"is of no use; it will get another.",
		.without = "read_swap_cache_async"),
};

static const struct walk_scene write_error[] = {
	{"Birth and first scan", walk_write_and_page_out, WALK_EXPECTS(leaves)},
	{"The device fails the write", writes_fail, WALK_EXPECTS(write_failed)},
	{"The program reads it", walk_read, WALK_EXPECTS(after_failure)},
};

const struct walk_scenario walk_write_error = {
	"write-error", "The device fails to write the page", "4.6", SCENES(write_error)};

/* ---- A read that fails --------------------------------------------------------------------------------- */

static int read_fails(struct walk_world *world)
{
	int error;

	walk_device_fails(world, SWAP_READ, true);
	error = walk_read(world);
	walk_device_fails(world, SWAP_READ, false);
	return error;
}

static const struct walk_expect read_failed[] = {
	STEP("read failed", "end_swap_bio_read",
		STATE(2, -1,
			PG_lru | PG_swapbacked | PG_swapcache | PG_locked | PG_error | PG_active |
				PG_workingset,
			"active", WALK_PTE_SWAP),
		"The device could not read it. PG_uptodate is not set: nobody ever gets these bytes."),
	STEP("freed", "free_page", STATE(0, -1, PG_swapbacked, "free", WALK_PTE_SWAP),
		"The frame goes, the entry stays, and the slot is poisoned. The reader gets SIGBUS, with the "
		"address."),
};

static const struct walk_expect still_poisoned[] = {
	STEP("poisoned", WALK_LOOK, STATE(0, -1, 0, "none", WALK_PTE_SWAP, .slot = WALK_NAMED_BY(1)),
		"The device works again, and this one page is lost all the same: a second reading might show "
		"other "
		"bytes than the first. SIGBUS, without a read.",
		.without = "read_swap_cache_async"),
};

static const struct walk_scene read_error[] = {
	{"A page is written and pressed out", walk_write_and_swap_out, WALK_EXPECTS(on_device)},
	{"The program reads it, and the device fails", read_fails, WALK_EXPECTS(read_failed), .ends = -EIO},
	{"The program reads it again", walk_read, WALK_EXPECTS(still_poisoned), .ends = -EIO},
};

const struct walk_scenario walk_read_error = {"read-error",
	"The device fails to read the page: SIGBUS, never other bytes", "5", SCENES(read_error)};

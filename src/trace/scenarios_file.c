/* SPDX-License-Identifier: MIT */
/* LIFECYCLE 2, B5 and B7, and shared memory: pages that come from a page cache. */
#include "trace/scenarios.h"

#define IN_FILE (PG_lru | PG_uptodate)
#define IN_SHMEM (PG_lru | PG_uptodate | PG_swapbacked)
#define ALIVE (USED | PG_active)

static const char no_shmem[] =
	"shared memory needs a frame at several addresses: this machine has none of it";

static int map_and_read(struct walk_world *world)
{
	int error = walk_map_file(world);

	return error ? error : walk_read(world);
}

static int map_and_write(struct walk_world *world)
{
	int error = walk_map_file(world);

	return error ? error : walk_write(world);
}

/* ---- B5 ---------------------------------------------------------------------------------------- */

static const struct walk_expect file_read[] = {
	STEP("into the page cache", "filemap_read_page", STATE(2, -1, IN_FILE, "inactive", WALK_PTE_NONE),
		"The file's page is read into its page cache: one reference for the cache, one for the "
		"fault."),
	STEP("mapped", "do_read_fault", STATE(2, 0, IN_FILE, "inactive", WALK_PTE_READ_ONLY),
		"The cached page itself is mapped, read-only. It is not an anonymous page: no "
		"PG_swapbacked."),
};

static const struct walk_expect file_written[] = {
	STEP("B5 a copy", "do_wp_page", STATE(1, 0, ALIVE, "active", WALK_PTE_PRESENT),
		"The write meets a read-only PTE of a private mapping: a new anonymous page, the content "
		"copied.",
		.article = "do_wp_page(): read-only page cache of a private mapping."),
	STEP("the cached page", "page_remove_rmap", STATE(2, -1, IN_FILE, "inactive", WALK_PTE_PRESENT),
		"It loses its mapping, whose reference is about to go."),
	STEP("seen by the page cache", WALK_LOOK, STATE(1, -1, IN_FILE, "inactive", WALK_PTE_PRESENT),
		"Only the cache holds it. The file never sees the write.", .eye = WALK_CACHE),
};

static const struct walk_expect file_copied_early[] = {
	STEP("B7 do_cow_page", "do_cow_page", STATE(1, 0, ALIVE, "active", WALK_PTE_PRESENT),
		"A read of a private file mapping. On this machine the cached page cannot be mapped as well: "
		"its copy "
		"is made at once, as by a write."),
	STEP("seen by the page cache", WALK_LOOK, STATE(1, -1, IN_FILE, "inactive", WALK_PTE_PRESENT),
		"The cached page is as it was.", .eye = WALK_CACHE),
};

static const struct walk_scene file[] = {
	{"The program maps a file, and reads", map_and_read, WALK_EXPECTS(file_read),
		.where = WALK_WRITES_SEEN},
	{"The program writes", walk_write, WALK_EXPECTS(file_written), .where = WALK_WRITES_SEEN},
	{"The program maps a file, and reads", map_and_read, WALK_EXPECTS(file_copied_early),
		.where = WALK_WRITES_UNSEEN},
};

const struct walk_scenario walk_file = {
	"file", "A private file mapping is read, then written", "B5", SCENES(file)};

/* ---- B7 ---------------------------------------------------------------------------------------- */

static const struct walk_expect file_cow[] = {
	STEP("B7 do_cow_page", "do_cow_page", STATE(1, 0, ALIVE, "active", WALK_PTE_PRESENT),
		"The first access is a write: the new page is filled from the file's, and mapped writable. "
		"The cached "
		"page is never mapped.",
		.article = "do_cow_page() [makes anonymous pages]"),
	STEP("seen by the page cache", WALK_LOOK, STATE(1, -1, IN_FILE, "inactive", WALK_PTE_PRESENT),
		"The cached page is as it was.", .eye = WALK_CACHE),
};

static const struct walk_scene cow[] = {
	{"The program maps a file, and writes", map_and_write, WALK_EXPECTS(file_cow)},
};

const struct walk_scenario walk_cow = {
	"cow", "The first access to a private file mapping is a write", "B7", SCENES(cow)};

static int map_shmem_and_write(struct walk_world *world)
{
	int error = walk_map_shmem(world, false);

	return error ? error : walk_write(world);
}

static const struct walk_expect shmem_cow[] = {
	STEP("B7 do_cow_page", "do_cow_page", STATE(1, 0, ALIVE, "active", WALK_PTE_PRESENT),
		"A private mapping of shared memory: the writer gets a page of its own, an anonymous one.",
		.article = "do_cow_page(): shared anonymous pages (shared anonymous mapping, shmem)."),
	STEP("seen by the page cache", WALK_LOOK, STATE(1, -1, IN_SHMEM, "inactive", WALK_PTE_PRESENT),
		"The shared memory's own page, born zero, stays as it was.", .eye = WALK_CACHE),
};

static const struct walk_scene cow_shmem[] = {
	{"The program maps shared memory privately, and writes", map_shmem_and_write,
		WALK_EXPECTS(shmem_cow)},
};

const struct walk_scenario walk_cow_shmem = {"cow-shmem", "A write to a private mapping of shared memory",
	"B7", SCENES(cow_shmem), .not_unshared = no_shmem};

/* ---- Shared anonymous memory -------------------------------------------------------------------- */

static int share_and_write(struct walk_world *world)
{
	int error = walk_map_shmem(world, true);

	return error ? error : walk_write(world);
}

static const struct walk_expect shmem_born[] = {
	STEP("born", "do_shared_fault", STATE(2, 0, IN_SHMEM | PG_dirty, "inactive", WALK_PTE_PRESENT),
		"Shared memory is a file without a file: the page belongs to its page cache, one reference, "
		"and is "
		"mapped as it is, another. PG_swapbacked, and not anonymous; dirty, since "
		"it was born by a write."),
};

static const struct walk_expect shmem_out[] = {
	STEP("after try_to_unmap", "try_to_unmap",
		STATE(2, -1, IN_SHMEM | PG_dirty | PG_locked, "isolated", WALK_PTE_NONE),
		"It goes without a slot so far. The PTE becomes none, not an entry: the page cache knows."),
	STEP("into the swap cache", "shmem_writepage",
		STATE(2, -1, IN_SHMEM | PG_swapcache | PG_dirty | PG_locked, "isolated", WALK_PTE_NONE,
			.slot = WALK_NAMED_BY(1)),
		"It moves from the page cache to the swap cache. The slot is named once: by the page cache's "
		"word."),
	STEP("after pageout", "pageout",
		STATE(2, -1, WRITTEN, "isolated", WALK_PTE_NONE, .slot = WALK_NAMED_BY(1)),
		"From here on as any page on its way out."),
	STEP("seen by the page cache", "pageout",
		STATE(2, -1, WRITTEN, "isolated", WALK_PTE_SWAP, .slot = WALK_NAMED_BY(1)),
		"The swap entry is here.", .eye = WALK_CACHE),
};

static const struct walk_expect shmem_gone[] = {
	STEP("(4) after __remove_mapping", "__remove_mapping",
		STATE(0, -1, GONE, "none", WALK_PTE_SWAP, .slot = WALK_NAMED_BY(1)),
		"The content is on the device.", .eye = WALK_CACHE),
};

static const struct walk_expect shmem_back[] = {
	STEP("back in the page cache", "shmem_swapin_page",
		STATE(2, -1, IN_SHMEM | PG_dirty | PG_active | PG_workingset, "active", WALK_PTE_PRESENT),
		"Read through the swap cache, and moved from there to the page cache. Its slot is free, so "
		"it is "
		"dirty: this is the only copy.",
		.eye = WALK_CACHE),
	STEP("mapped", "do_shared_fault",
		STATE(2, 0, IN_SHMEM | PG_dirty | PG_active | PG_workingset, "active", WALK_PTE_PRESENT),
		"Mapped as before, for all who map it."),
};

static const struct walk_scene shmem[] = {
	{"The program maps shared memory, and writes", share_and_write, WALK_EXPECTS(shmem_born)},
	{"Other pages want the frame", walk_press_to_pageout, WALK_EXPECTS(shmem_out)},
	{"The write ends; second scan", walk_press_to_removal, WALK_EXPECTS(shmem_gone)},
	{"The program reads", walk_read, WALK_EXPECTS(shmem_back)},
};

const struct walk_scenario walk_shmem = {"shmem", "Shared anonymous memory goes out and comes back", "2 8",
	SCENES(shmem), .not_unshared = no_shmem};

/* ---- A file is cut short -------------------------------------------------------------------------- */

static const struct walk_expect cut[] = {
	STEP("the copy is unmapped", "zap_pte_range", STATE(1, -1, ALIVE, "active", WALK_PTE_NONE),
		"A file that ends before the page takes the private copies of it along: no VMA shows what "
		"lies behind "
		"the end."),
	STEP("freed", "free_page", STATE(0, -1, GONE, "free", WALK_PTE_NONE), "Nobody else had it."),
};

static const struct walk_expect behind[] = {
	STEP("behind the end", WALK_LOOK, STATE(0, -1, 0, "none", WALK_PTE_NONE), "A touch there is SIGBUS.",
		.without = "do_cow_page"),
};

static const struct walk_scene truncate[] = {
	{"The program maps a file, and writes", map_and_write, WALK_EXPECTS(file_cow)},
	{"The file is cut to nothing", walk_truncate, WALK_EXPECTS(cut)},
	{"The program writes again", walk_write, WALK_EXPECTS(behind), .ends = -EIO},
};

const struct walk_scenario walk_truncate_scenario = {
	"truncate", "A file is cut short under a private copy", "2 (also)", SCENES(truncate)};

/* SPDX-License-Identifier: MIT */
/* KSM where frames can be shared: what is merged, what a write to it does, and the way back. */
#define _GNU_SOURCE
#include "ksm_world.h"

/* ---- What is merged ------------------------------------------------------------------------ */

static void equal_pages_of_two_spaces_become_one(void **state)
{
	(void)state;
	fill(&one, a, 1, 7);
	fill(&two, b, 1, 7);
	assert_int_equal(scan(), 0); /* seen once: they may be about to change */
	assert_int_equal(view_of(&one, a).kind, PAGE_KIND_ANON);
	assert_int_equal(scan(), 2);
	assert_merged(&one, a, 2);
	assert_int_equal(view_of(&one, a).pfn, view_of(&two, b).pfn);
	/* As Linux 4.0 shows it, with PG_lru. */
	assert_int_equal(view_of(&one, a).flags,
		PG_referenced | PG_uptodate | PG_dirty | PG_lru | PG_active | PG_swapbacked | PG_ksm);
	assert_int_equal(frames_used(), 1);
	assert_int_equal(stats().merged, 2);
	assert_int_equal(scan(), 0);
	assert_holds(&one, a, 1, 7);
	assert_holds(&two, b, 1, 7);
	fill(&two, b + PAGE_BYTES, 1, 7);
	assert_int_equal(scan(), 1); /* equal to a stable page: at once */
	assert_merged(&one, a, 3);
}

static void many_equal_pages_share_frames(void **state)
{
	(void)state;
	fill(&one, a, 200, 1);
	fill(&two, b, 156, 1);
	fill(&two, b + 156 * PAGE_BYTES, 50, 2);
	assert_int_equal(merge(), 406);
	assert_merged(&one, a, 256);
	assert_int_equal(frames_used(), 1 + 2 + 0);
	assert_merged(&two, b + 156 * PAGE_BYTES, 50);
	assert_holds(&one, a, 200, 1);
	assert_holds(&two, b, 156, 1);
	assert_holds(&two, b + 156 * PAGE_BYTES, 50, 2);
	store(&two, b, 9);
	valid();
	assert_holds(&one, a, 200, 1);
}

static void what_is_not_calm_is_not_merged(void **state)
{
	(void)state;
	for (unsigned i = 1; i < 6; i++) {
		fill(&one, a, 1, i);
		fill(&two, b, 1, i);
		assert_int_equal(scan(), 0);
	}
	/* Calm, but written between its two looks by a byte that the other has not. */
	assert_int_equal(ksmd_step(world.pager, 1), 0);
	store(&two, b + 8, 1);
	assert_int_equal(scan(), 0);
	assert_int_equal(merge(), 0);
	assert_own(&one, a);
}

static void a_write_after_the_unstable_tree_knows_it_wins(void **state)
{
	(void)state;
	fill(&one, a, 1, 3);
	fill(&two, b, 1, 3);
	assert_int_equal(scan(), 0);
	assert_int_equal(ksmd_step(world.pager, 1), 0); /* one's page is in the unstable tree */
	store(&one, a + 8, 1);
	assert_int_equal(ksmd_step(world.pager, 1), 0); /* two's page has its hash, but not its bytes */
	valid();
	assert_int_equal(load(&one, a + 8), 1);
	assert_int_equal(load(&two, b + 8), 0);
	store(&one, a + 8, 2);
	store(&two, b + 8, 3);
	assert_own(&one, a);
	assert_own(&two, b);
}

static void only_mergeable_memory_is_merged(void **state)
{
	struct file *shared;
	struct wait wait = {0};
	uint64_t plain = 0, sh = 0, locked = 0, foreign = 0;

	(void)state;
	fill(&one, a, 2, 4);
	assert_int_equal(place_mmap(&one, &plain, 2 * PAGE_BYTES, RW, 0), 0);
	fill(&one, plain, 2, 4);
	assert_int_equal(place_mmap(&one, &locked, 2 * PAGE_BYTES, RW, 0), 0);
	assert_int_equal(place_madvise(&one, locked, 2 * PAGE_BYTES, MADV_MERGEABLE), 0);
	assert_int_equal(place_mlock(&one, locked, 2 * PAGE_BYTES, true), 0);
	fill(&one, locked, 2, 4);
	assert_int_equal(file_create(world.pager, NULL, NULL, 2 * PAGE_BYTES, &shared), 0);
	assert_int_equal(place_mmap_file(&one, &sh, 2 * PAGE_BYTES, RW, SPACE_SHARED, shared, 0), 0);
	assert_int_equal(place_madvise(&one, sh, 2 * PAGE_BYTES, MADV_MERGEABLE), 0);
	fill(&one, sh, 2, 4);
	assert_int_equal(place_mmap(&one, &foreign, 2 * PAGE_BYTES, RW, SPACE_FOREIGN), 0);
	assert_int_equal(place_madvise(&one, foreign, 2 * PAGE_BYTES, MADV_MERGEABLE), 0);
	assert_int_equal(place_madvise(&two, b + 4 * MIB, PAGE_BYTES, MADV_MERGEABLE), -ENOMEM);
	assert_int_equal(merge(), 2);
	assert_merged(&one, a, 2);
	assert_own(&one, plain);
	assert_own(&one, locked);
	assert_int_equal(view_of(&one, sh).kind, PAGE_KIND_SHMEM);
	load(&one, a + 100 * PAGE_BYTES); /* the zero page is no candidate, however often it is mapped */
	load(&one, a + 101 * PAGE_BYTES);
	assert_int_equal(merge(), 0);
	assert_int_equal(file_close(shared, &wait), 0);
}

static void the_scan_goes_on_where_it_stopped(void **state)
{
	unsigned steps = 0;

	(void)state;
	fill(&one, a, 10, 5);
	fill(&two, b, 10, 5);
	while (stats().merged < 20 && steps++ < 100)
		ksmd_step(world.pager, 3);
	assert_in_range(steps, 12, 14); /* 20 pages twice, in threes, and a step ends with its scan */
	assert_merged(&one, a, 20);
}

/* ---- Writes, and the way back ---------------------------------------------------------------- */

static void a_write_copies_also_for_the_last_mapper(void **state)
{
	(void)state;
	fill(&one, a, 1, 7);
	fill(&two, b, 1, 7);
	merge();
	pfn_t pfn = view_of(&one, a).pfn;

	store(&one, a, 1);
	valid();
	assert_own(&one, a);
	assert_merged(&two, b, 1);
	assert_int_equal(view_of(&two, b).pfn, pfn);
	store(&two, b, 2);
	valid();
	assert_own(&two, b);
	assert_int_not_equal(view_of(&two, b).pfn, pfn);
	assert_int_equal(frames_used(), 2);
	assert_int_equal(load(&one, a), 1);
	assert_int_equal(load(&two, b), 2);
	assert_holds(&one, a, 1, 7);
	assert_holds(&two, b, 1, 7);
}

static void unmergeable_gives_each_its_own(void **state)
{
	(void)state;
	fill(&one, a, 8, 7);
	fill(&two, b, 1, 7);
	merge();
	assert_int_equal(place_mprotect(&one, a, 4 * PAGE_BYTES, PROT_READ), 0);
	valid();
	assert_int_equal(place_madvise(&one, a, 6 * PAGE_BYTES, MADV_UNMERGEABLE), 0);
	valid();
	for (unsigned i = 0; i < 6; i++)
		assert_own(&one, a + i * PAGE_BYTES);
	assert_int_equal(soft_store64(one.mmu, a, 1), -EFAULT); /* still read-only */
	assert_merged(&two, b, 3);
	assert_int_equal(stats().unmerged, 6);
	assert_int_equal(merge(), 0);
	assert_holds(&one, a, 8, 7);
	assert_int_equal(place_mprotect(&one, a, 4 * PAGE_BYTES, RW), 0);
	fill(&one, a, 8, 8);
	assert_holds(&two, b, 1, 7);
	assert_int_equal(place_madvise(&one, a, 8 * PAGE_BYTES, MADV_MERGEABLE), 0);
	assert_int_equal(merge(), 8);
}

/* => no swap: what fills memory cannot leave it */
static void unmerge_without_memory_can_be_called_again(void **state)
{
	struct world_config config = {.kind = ANONMM_SOFT, .nr_frames = 128, .space_bytes = 64 * MIB};
	uint64_t hog = 0;
	unsigned nr = 0;

	(void)state;
	a = 0;
	assert_int_equal(world_open(&world, &config), 0);
	assert_int_equal(place_open(&one, &world), 0);
	assert_int_equal(place_mmap(&one, &a, 64 * PAGE_BYTES, RW, 0), 0);
	assert_int_equal(place_madvise(&one, a, 64 * PAGE_BYTES, MADV_MERGEABLE), 0);
	fill(&one, a, 64, 7);
	assert_int_equal(merge(), 64);
	assert_int_equal(place_mmap(&one, &hog, MIB, RW, SPACE_NORESERVE), 0);
	while (soft_store64(one.mmu, hog + nr * PAGE_BYTES, 1000 + nr) == 0)
		nr++;
	assert_int_equal(place_madvise(&one, a, 64 * PAGE_BYTES, MADV_UNMERGEABLE), -ENOMEM);
	valid();
	assert_holds(&one, a, 64, 7);
	assert_merged(&one, a + 63 * PAGE_BYTES, 64);
	assert_int_equal(place_munmap(&one, hog, 20 * PAGE_BYTES), 0);
	assert_int_equal(place_madvise(&one, a, 64 * PAGE_BYTES, MADV_UNMERGEABLE), -ENOMEM);
	assert_int_equal(stats().unmerged, 20);
	valid();
	assert_int_equal(place_munmap(&one, hog, MIB), 0);
	assert_int_equal(place_madvise(&one, a, 64 * PAGE_BYTES, MADV_UNMERGEABLE), 0);
	assert_int_equal(stats().unmerged, 64);
	assert_holds(&one, a, 64, 7);
	assert_int_equal(merge(), 0);
	leave(&one);
	assert_int_equal(frames_used(), 0);
	world_close(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(equal_pages_of_two_spaces_become_one),
		TEST(many_equal_pages_share_frames),
		TEST(what_is_not_calm_is_not_merged),
		TEST(a_write_after_the_unstable_tree_knows_it_wins),
		TEST(only_mergeable_memory_is_merged),
		TEST(the_scan_goes_on_where_it_stopped),
		TEST(a_write_copies_also_for_the_last_mapper),
		TEST(unmergeable_gives_each_its_own),
		cmocka_unit_test(unmerge_without_memory_can_be_called_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

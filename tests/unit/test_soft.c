/* SPDX-License-Identifier: MIT */
/* The software MMU: what its TLB may remember, what it must forget, and which bits it sets. */
#define _GNU_SOURCE
#include "soft_world.h"
#include "mm/page/page.h"

static uint64_t faults(void)
{
	struct anonmm_stats stats;

	pager_stats(world.pager, &stats);
	return stats.faults;
}

static void a_hit_does_not_trap(void **state)
{
	uint64_t before;

	(void)state;
	store(&parent, base, 1);
	before = faults();
	for (unsigned i = 0; i < 512; i++)
		store(&parent, base + i * 8, i);
	for (unsigned i = 0; i < 512; i++)
		assert_int_equal(load(&parent, base + i * 8), i);
	assert_int_equal(faults(), before);
}

static void pages_of_one_entry_do_not_mix(void **state)
{
	uint64_t other = base + SOFT_TLB_ENTRIES * PAGE_BYTES;

	(void)state;
	store(&parent, base, 1);
	store(&parent, other, 2);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(load(&parent, base), 1);
		assert_int_equal(load(&parent, other), 2);
	}
	store(&parent, base, 3);
	assert_int_equal(load(&parent, other), 2);
	assert_int_equal(load(&parent, base), 3);
}

static void a_read_finds_the_zero_page_and_a_write_replaces_it(void **state)
{
	(void)state;
	assert_int_equal(load(&parent, base), 0);
	assert_true(view_of(&parent, base).zero_page);
	assert_false(view_of(&parent, base).pte_write);
	store(&parent, base, 7);
	assert_false(view_of(&parent, base).zero_page);
	assert_int_equal(load(&parent, base), 7);
	assert_int_equal(load(&parent, base + PAGE_BYTES), 0);
}

static void a_right_that_goes_is_forgotten(void **state)
{
	uint64_t value;

	(void)state;
	store(&parent, base, 5);
	assert_int_equal(place_mprotect(&parent, base, PAGE_BYTES, PROT_READ), 0);
	assert_int_equal(soft_store64(parent.mmu, base, 6), -EFAULT);
	assert_int_equal(load(&parent, base), 5);
	assert_int_equal(place_mprotect(&parent, base, PAGE_BYTES, PROT_NONE), 0);
	assert_int_equal(soft_load64(parent.mmu, base, &value), -EFAULT);
	assert_int_equal(place_mprotect(&parent, base, PAGE_BYTES, PROT_READ | PROT_WRITE), 0);
	store(&parent, base, 6);
	assert_int_equal(load(&parent, base), 6);
	assert_int_equal(place_munmap(&parent, base, PAGE_BYTES), 0);
	assert_int_equal(soft_load64(parent.mmu, base, &value), -EFAULT);
	assert_int_equal(soft_store64(parent.mmu, base, 1), -EFAULT);
}

static void a_page_that_went_out_is_forgotten(void **state)
{
	(void)state;
	for (uint64_t i = 0; i < 64; i++)
		store(&parent, base + i * PAGE_BYTES, i + 1);
	assert_int_equal(place_madvise(&parent, base, 64 * PAGE_BYTES, MADV_PAGEOUT), 0);
	assert_int_equal(view_of(&parent, base).pte, PTE_KIND_SWAP);
	for (uint64_t i = 0; i < 64; i++)
		assert_int_equal(load(&parent, base + i * PAGE_BYTES), i + 1);
}

/* COLD clears the accessed bit; a TLB entry that outlived that would hide the next use from reclaim. */
static void accessed_and_dirty_are_set_again_after_they_were_cleared(void **state)
{
	(void)state;
	store(&parent, base, 1);
	assert_true(view_of(&parent, base).pte_accessed && view_of(&parent, base).pte_dirty);
	assert_int_equal(place_madvise(&parent, base, PAGE_BYTES, MADV_COLD), 0);
	assert_false(view_of(&parent, base).pte_accessed);
	load(&parent, base);
	assert_true(view_of(&parent, base).pte_accessed);
}

static void a_read_does_not_make_a_page_dirty(void **state)
{
	(void)state;
	store(&parent, base, 1);
	assert_int_equal(place_madvise(&parent, base, PAGE_BYTES, MADV_PAGEOUT), 0);
	while (pager_poll(world.pager, SWAP_WRITE, 0) > 0)
		;
	load(&parent, base);
	assert_false(view_of(&parent, base).pte_dirty);
	store(&parent, base, 2);
	assert_true(view_of(&parent, base).pte_dirty);
}

/*
 * The second chance: a page that is used through the TLB all the time stays, however many others pass by. It would not,
 * if reclaim could clear an accessed bit without the TLB hearing of it.
 */
static void a_page_in_use_stays(void **state)
{
	struct anonmm_stats before, after;
	unsigned lost = 0;

	(void)state;
	for (uint64_t i = 1; i < 8000; i++) {
		store(&parent, base + (1 + i % 4000) * PAGE_BYTES, i);
		pager_stats(world.pager, &before);
		store(&parent, base, i);
		pager_stats(world.pager, &after);
		lost += after.major_faults != before.major_faults;
	}
	assert_true(after.swapped_out > 2000);
	assert_true(lost <= 4);
}

static void accesses_cross_pages(void **state)
{
	char text[3 * PAGE_BYTES], back[sizeof(text)];

	(void)state;
	for (unsigned i = 0; i < sizeof(text); i++)
		text[i] = (char)(i * 31);
	assert_int_equal(soft_write(parent.mmu, base + 100, text, sizeof(text)), 0);
	assert_int_equal(soft_read(parent.mmu, base + 100, back, sizeof(back)), 0);
	assert_memory_equal(text, back, sizeof(text));
	store(&parent, base + PAGE_BYTES - 3, 0x1122334455667788);
	assert_int_equal(load(&parent, base + PAGE_BYTES - 3), 0x1122334455667788);
}

static void addresses_outside_are_refused(void **state)
{
	uint64_t ends[] = {0, base - 8, TEST_BASE - 1, TEST_BASE + 64 * MIB, TEST_BASE + 64 * MIB - 4,
		UINT64_MAX - 7, UINT64_MAX - 3, UINT64_MAX};
	uint64_t value;

	(void)state;
	assert_int_equal(base, TEST_BASE);
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		assert_int_equal(soft_load64(parent.mmu, ends[i], &value), -EFAULT);
		assert_int_equal(soft_store64(parent.mmu, ends[i], 1), -EFAULT);
	}
}

static void a_machine_without_frames_is_refused(void **state)
{
	struct machine *m = NULL;
	char why[200] = "";

	(void)state;
	assert_int_equal(
		soft_machine_open(&(struct soft_config){.nr_frames = 0}, &m, why, sizeof(why)), -EINVAL);
	assert_non_null(strstr(why, "frames"));
}

/* MADV_FREE: content stays until the frame is wanted; a write takes the permission back. */
static void freed_lazily_and_kept_when_written(void **state)
{
	struct page_view view;

	(void)state;
	store(&parent, base, 1);
	store(&parent, base + PAGE_BYTES, 2);
	assert_int_equal(place_madvise(&parent, base, 2 * PAGE_BYTES, MADV_FREE), 0);
	view = view_of(&parent, base);
	assert_int_equal(view.pte, PTE_KIND_PRESENT);
	assert_false(view.flags & PG_swapbacked);
	assert_false(view.pte_dirty);
	assert_int_equal(load(&parent, base), 1);
	store(&parent, base + PAGE_BYTES, 3);
	assert_int_equal(place_madvise(&parent, base, 2 * PAGE_BYTES, MADV_PAGEOUT), 0);
	assert_int_equal(view_of(&parent, base).pte, PTE_KIND_NONE);
	assert_int_equal(load(&parent, base), 0);
	view = view_of(&parent, base + PAGE_BYTES);
	assert_int_equal(view.pte, PTE_KIND_PRESENT);
	assert_true(view.flags & PG_swapbacked);
	assert_true(view.flags & PG_active);
	assert_int_equal(load(&parent, base + PAGE_BYTES), 3);
}

#define SOFT_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SOFT_TEST(freed_lazily_and_kept_when_written),
		SOFT_TEST(a_hit_does_not_trap),
		SOFT_TEST(pages_of_one_entry_do_not_mix),
		SOFT_TEST(a_read_finds_the_zero_page_and_a_write_replaces_it),
		SOFT_TEST(a_right_that_goes_is_forgotten),
		SOFT_TEST(a_page_that_went_out_is_forgotten),
		SOFT_TEST(accessed_and_dirty_are_set_again_after_they_were_cleared),
		SOFT_TEST(a_read_does_not_make_a_page_dirty),
		SOFT_TEST(a_page_in_use_stays),
		SOFT_TEST(accesses_cross_pages),
		SOFT_TEST(addresses_outside_are_refused),
		cmocka_unit_test(a_machine_without_frames_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

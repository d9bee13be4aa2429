/* SPDX-License-Identifier: MIT */
/* Locked memory, and advice that must not touch it. */
#define _GNU_SOURCE
#include "soft_world.h"
#include "mm/page/page.h"

static bool is_locked(struct place *p, uint64_t addr)
{
	struct page_view view = view_of(p, addr);

	return (view.flags & PG_mlocked) && strcmp(view.list, "unevictable") == 0;
}

static void advice_to_let_go_is_refused(void **state)
{
	(void)state;
	store(&parent, base, 1);
	assert_int_equal(place_mlock(&parent, base, PAGE_BYTES, true), 0);
	assert_int_equal(place_madvise(&parent, base, PAGE_BYTES, MADV_PAGEOUT), -EINVAL);
	assert_int_equal(place_madvise(&parent, base, PAGE_BYTES, MADV_COLD), -EINVAL);
	assert_int_equal(place_madvise(&parent, base, PAGE_BYTES, MADV_DONTNEED), -EINVAL);
	assert_true(is_locked(&parent, base));
	assert_int_equal(load(&parent, base), 1);
}

/* The child locks the parent's page, too, and gets a copy by that. */
static void a_page_is_locked_until_the_last_lets_go(void **state)
{
	struct place child;

	(void)state;
	store(&parent, base, 1);
	assert_int_equal(place_mlock(&parent, base, PAGE_BYTES, true), 0);
	assert_int_equal(place_fork(&parent, &child), 0);
	assert_int_equal(place_mlock(&child, base, PAGE_BYTES, true), 0);
	assert_int_not_equal(view_of(&parent, base).pfn, view_of(&child, base).pfn);
	assert_true(is_locked(&parent, base));
	assert_true(is_locked(&child, base));
	place_close(&child);
	assert_true(is_locked(&parent, base));
	valid();
}

static void what_stays_for_the_child_is_not_locked(void **state)
{
	struct place child;

	(void)state;
	store(&parent, base, 1);
	assert_int_equal(place_mlock(&parent, base, PAGE_BYTES, true), 0);
	assert_int_equal(place_fork(&parent, &child), 0);
	store(&parent, base, 2);
	assert_true(is_locked(&parent, base));
	assert_false(is_locked(&child, base));
	assert_int_equal(load(&child, base), 1);
	place_close(&child);
}

static void locked_memory_that_becomes_writable_is_there(void **state)
{
	(void)state;
	assert_int_equal(place_mprotect(&parent, base, PAGE_BYTES, PROT_NONE), 0);
	assert_int_equal(
		place_mlock(&parent, base, PAGE_BYTES, true), -ENOMEM); /* cannot be had, but is locked */
	assert_int_equal(place_mprotect(&parent, base, PAGE_BYTES, PROT_READ | PROT_WRITE), 0);
	assert_true(is_locked(&parent, base));
	assert_true(view_of(&parent, base).pte_write);
}

static void a_populated_page_is_as_if_written(void **state)
{
	struct page_view view;

	(void)state;
	store(&parent, base, 1);
	assert_int_equal(place_madvise(&parent, base, PAGE_BYTES, MADV_FREE), 0);
	assert_int_equal(place_madvise(&parent, base, PAGE_BYTES, MADV_POPULATE_WRITE), 0);
	assert_int_equal(place_madvise(&parent, base, PAGE_BYTES, MADV_PAGEOUT), 0);
	view = view_of(&parent, base);
	assert_int_equal(view.pte, PTE_KIND_PRESENT);
	assert_true(view.flags & PG_swapbacked);
	assert_int_equal(load(&parent, base), 1);
}

static void what_cannot_be_populated_says_so(void **state)
{
	(void)state;
	assert_int_equal(place_mprotect(&parent, base, PAGE_BYTES, PROT_READ), 0);
	assert_int_equal(place_madvise(&parent, base, PAGE_BYTES, MADV_POPULATE_READ), 0);
	assert_int_equal(place_madvise(&parent, base, PAGE_BYTES, MADV_POPULATE_WRITE), -EINVAL);
}

/* A slot that another process names, too: the copy follows the swap-in in the same call. */
static void a_shared_swapped_page_is_populated_by_a_copy(void **state)
{
	struct place child;

	(void)state;
	store(&parent, base, 7);
	assert_int_equal(place_madvise(&parent, base, PAGE_BYTES, MADV_PAGEOUT), 0);
	while (pager_poll(world.pager, SWAP_WRITE, 1) > 0)
		;
	assert_int_equal(place_fork(&parent, &child), 0);
	assert_int_equal(place_madvise(&child, base, PAGE_BYTES, MADV_POPULATE_WRITE), 0);
	assert_true(view_of(&child, base).pte_write);
	assert_int_equal(view_of(&parent, base).pte, PTE_KIND_SWAP);
	assert_int_equal(load(&child, base), 7);
	place_close(&child);
}

/* ---- How much may be locked: 512 pages here ------------------------------------------------ */

#define MOST 512u

static int lock_pages(struct place *p, unsigned first, unsigned nr)
{
	return place_mlock(p, base + first * PAGE_BYTES, nr * PAGE_BYTES, true);
}

static void a_range_that_begins_with_locked_memory_is_asked_for_all_the_same(void **state)
{
	(void)state;
	assert_int_equal(lock_pages(&parent, 0, 1), 0);
	assert_int_equal(lock_pages(&parent, 0, MOST + 1), -ENOMEM);
	assert_false(is_locked(&parent, base + PAGE_BYTES));
	assert_int_equal(lock_pages(&parent, 0, MOST), 0);
}

static void only_what_is_not_locked_yet_counts(void **state)
{
	(void)state;
	assert_int_equal(lock_pages(&parent, 100, 300), 0);
	assert_int_equal(lock_pages(&parent, 0, MOST), 0);
	assert_int_equal(lock_pages(&parent, 0, MOST), 0);
	assert_int_equal(lock_pages(&parent, 0, MOST + 1), -ENOMEM);
}

/* A child's memory is not locked; what it locks counts with its parent's. */
static void all_spaces_count_together(void **state)
{
	struct place child;

	(void)state;
	assert_int_equal(lock_pages(&parent, 0, MOST - 8), 0);
	assert_int_equal(place_fork(&parent, &child), 0);
	assert_int_equal(lock_pages(&child, 0, 9), -ENOMEM);
	assert_int_equal(lock_pages(&child, 0, 8), 0);
	valid();
	place_close(&child);
	assert_int_equal(lock_pages(&parent, MOST - 8, 8), 0);
}

static void memory_without_rights_counts_as_well(void **state)
{
	(void)state;
	assert_int_equal(place_mprotect(&parent, base, 2 * MOST * PAGE_BYTES, PROT_NONE), 0);
	assert_int_equal(lock_pages(&parent, 0, MOST), -ENOMEM); /* cannot be had, but is locked */
	assert_int_equal(
		place_mprotect(&parent, base + MOST * PAGE_BYTES, PAGE_BYTES, PROT_READ | PROT_WRITE), 0);
	assert_int_equal(lock_pages(&parent, MOST, 1), -ENOMEM);
	assert_false(is_locked(&parent, base + MOST * PAGE_BYTES));
	assert_int_equal(place_mprotect(&parent, base, MOST * PAGE_BYTES, PROT_READ | PROT_WRITE), 0);
	assert_true(is_locked(&parent, base));
	valid();
}

static void locked_memory_grows_within_what_may_be_locked(void **state)
{
	uint64_t addr = base + 4 * MIB;
	const uint64_t len = 100 * PAGE_BYTES;

	(void)state;
	assert_int_equal(place_munmap(&parent, addr, 12 * MIB), 0);
	assert_int_equal(place_mmap(&parent, &addr, len, PROT_READ | PROT_WRITE, SPACE_FIXED), 0);
	assert_int_equal(place_mlock(&parent, addr, len, true), 0);
	assert_int_equal(lock_pages(&parent, 0, 300), 0);
	assert_int_equal(place_mremap(&parent, &addr, len, len + 113 * PAGE_BYTES), -ENOMEM);
	assert_int_equal(place_mremap(&parent, &addr, len, len + 112 * PAGE_BYTES), 0);
	store(&parent, addr + len, 1);
	assert_true(is_locked(&parent, addr + len));
	assert_int_equal(lock_pages(&parent, 300, 1), -ENOMEM);
	assert_int_equal(place_munmap(&parent, addr, len), 0);
	assert_int_equal(lock_pages(&parent, 300, 100), 0);
	valid();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(advice_to_let_go_is_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_page_is_locked_until_the_last_lets_go, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_stays_for_the_child_is_not_locked, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			locked_memory_that_becomes_writable_is_there, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_populated_page_is_as_if_written, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_cannot_be_populated_says_so, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			a_shared_swapped_page_is_populated_by_a_copy, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			a_range_that_begins_with_locked_memory_is_asked_for_all_the_same, set_up, tear_down),
		cmocka_unit_test_setup_teardown(only_what_is_not_locked_yet_counts, set_up, tear_down),
		cmocka_unit_test_setup_teardown(all_spaces_count_together, set_up, tear_down),
		cmocka_unit_test_setup_teardown(memory_without_rights_counts_as_well, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			locked_memory_grows_within_what_may_be_locked, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

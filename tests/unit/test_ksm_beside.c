/* SPDX-License-Identifier: MIT */
/* What other calls do to pages while they are merged: fork, swap, mremap, munmap, mprotect, mlock, exit. */
#define _GNU_SOURCE
#include "ksm_world.h"

static void a_fork_maps_the_merged_page_too(void **state)
{
	struct place child, grandchild;

	(void)state;
	fill(&one, a, 2, 7);
	merge();
	assert_int_equal(place_fork(&one, &child), 0);
	valid();
	assert_merged(&one, a, 4);
	assert_int_equal(place_fork(&child, &grandchild), 0);
	valid();
	assert_merged(&grandchild, a, 6);
	store(&child, a, 1);
	valid();
	assert_own(&child, a);
	assert_merged(&one, a, 5);
	leave(&one); /* in any order */
	assert_holds(&grandchild, a, 2, 7);
	leave(&child);
	assert_merged(&grandchild, a, 2);
	leave(&grandchild);
	assert_int_equal(frames_used(), 0);
}

static void a_family_shares_before_it_is_merged(void **state)
{
	struct place child;

	(void)state;
	fill(&one, a, 2, 7);
	assert_int_equal(place_fork(&one, &child), 0);
	fill(&two, b, 1, 7);
	assert_int_equal(merge(), 5); /* two pages of two mappings each, and one */
	assert_merged(&child, a, 5);
	assert_int_equal(frames_used(), 1);
	store(&child, a, 1);
	store(&one, a + PAGE_BYTES, 2);
	valid();
	assert_merged(&two, b, 3);
	/* A family of which one member does not want it: none is merged. */
	fill(&one, a + 8 * PAGE_BYTES, 1, 8);
	fill(&two, b + 8 * PAGE_BYTES, 2, 8);
	leave(&child);
	assert_int_equal(place_fork(&one, &child), 0);
	assert_int_equal(place_madvise(&child, a, MIB, MADV_UNMERGEABLE), 0);
	valid();
	assert_int_equal(merge(), 2);
	assert_merged(&two, b + 8 * PAGE_BYTES, 2);
	leave(&child);
}

/* LIFECYCLE 8: the first reader has it as an ordinary page, the others by the swap cache. */
static void a_merged_page_is_swapped_out_for_all(void **state)
{
	struct page_view first, second;

	(void)state;
	fill(&one, a, 1, 7);
	fill(&two, b, 2, 7);
	merge();
	page_out(&one, a);
	assert_int_equal(view_of(&two, b).pte, PTE_KIND_SWAP);
	assert_int_equal(view_of(&two, b + PAGE_BYTES).swap_count, 3);
	assert_int_equal(stats().written, 1);
	assert_holds(&one, a, 1, 7);
	first = view_of(&one, a);
	assert_int_equal(first.kind, PAGE_KIND_ANON);
	assert_false(first.flags & PG_ksm);
	assert_true(first.flags & PG_swapcache);
	assert_int_equal(first.swap_count, 2);
	assert_holds(&two, b, 1, 7);
	second = view_of(&two, b);
	assert_int_not_equal(second.pfn, first.pfn);
	valid();
	store(&two, b + PAGE_BYTES, 1);
	store(&one, a, 2);
	store(&two, b, 3);
	valid();
	assert_holds(&one, a, 1, 7);
	assert_holds(&two, b, 2, 7);
	assert_int_equal(stats().slots_used, 0);
}

/* Found in the swap cache before its frame was free: nobody may write to what others name. */
static void a_merged_page_is_met_on_its_way_out(void **state)
{
	(void)state;
	fill(&one, a, 1, 7);
	fill(&two, b, 1, 7);
	merge();
	start_writing(&one, a);
	assert_true(view_of(&one, a).flags & PG_ksm);
	store(&one, a, 1);
	valid();
	assert_int_equal(load(&two, b), 0);
	assert_holds(&two, b, 1, 7);
	store(&two, b, 2);
	valid();
	assert_int_equal(load(&one, a), 1);
	assert_holds(&one, a, 1, 7);
}

static void the_last_mapper_unmaps_it_on_its_way_out(void **state)
{
	(void)state;
	fill(&one, a, 3, 7);
	merge();
	start_writing(&one, a);
	assert_int_equal(place_munmap(&one, a, 3 * PAGE_BYTES), 0);
	valid();
	while (pager_poll(world.pager, SWAP_WRITE, 1) > 0)
		;
	valid();
	assert_int_equal(frames_used(), 0);
}

/* An active page with a slot: given up by writes, the last of which frees page and slot. */
static void a_merged_page_with_a_slot_ends_with_its_last_mapper(void **state)
{
	(void)state;
	fill(&one, a, 2, 7);
	page_out(&one, a);
	assert_holds(&one, a, 2, 7); /* back, their slots kept */
	assert_int_equal(stats().slots_used, 2);
	assert_int_equal(merge(), 2);
	assert_int_equal(stats().slots_used, 0);
	store(&one, a, 1);
	store(&one, a + PAGE_BYTES, 1);
	valid();
	assert_int_equal(frames_used(), 2);
}

static void pages_whose_slot_others_name_wait(void **state)
{
	struct place child;

	(void)state;
	fill(&one, a, 1, 7);
	fill(&two, b, 1, 7);
	page_out(&one, a);
	assert_int_equal(place_fork(&one, &child), 0);
	assert_holds(&one, a, 1, 7);
	assert_holds(&two, b, 1, 7);
	assert_int_equal(merge(), 0);
	assert_holds(&child, a, 1, 7);
	assert_int_equal(merge(), 3);
	leave(&child);
	assert_merged(&two, b, 2);
}

static void mremap_moves_what_is_merged(void **state)
{
	uint64_t at = a;

	(void)state;
	fill(&one, a, 8, 7);
	fill(&two, b, 1, 7);
	assert_int_equal(scan(), 0);
	assert_int_equal(place_mremap(&one, &at, 4 * PAGE_BYTES, 8 * PAGE_BYTES), 0);
	valid();
	assert_int_not_equal(at, a);
	assert_int_equal(merge(), 9); /* moved before, and after they are merged */
	uint64_t again = at;

	assert_int_equal(place_mremap(&one, &again, 8 * PAGE_BYTES, 16 * PAGE_BYTES), 0);
	valid();
	assert_merged(&one, again, 9);
	store(&one, again, 1);
	valid();
	page_out(&two, b);
	assert_int_equal(view_of(&one, again + PAGE_BYTES).pte, PTE_KIND_SWAP);
	assert_holds(&one, again, 4, 7);
	assert_holds(&one, a + 4 * PAGE_BYTES, 4, 7);
	assert_holds(&two, b, 1, 7);
	assert_int_equal(merge(), 8);
	at = again;
	assert_int_equal(place_mremap(&one, &at, 16 * PAGE_BYTES, 2 * PAGE_BYTES), 0);
	valid();
	assert_merged(&one, at + PAGE_BYTES, 6);
}

static void unmapping_protecting_and_dropping(void **state)
{
	(void)state;
	fill(&one, a, 8, 7);
	fill(&two, b, 1, 7);
	merge();
	assert_int_equal(place_munmap(&one, a + 2 * PAGE_BYTES, PAGE_BYTES), 0);
	valid();
	assert_int_equal(place_madvise(&one, a + 3 * PAGE_BYTES, PAGE_BYTES, MADV_DONTNEED), 0);
	valid();
	assert_merged(&two, b, 7);
	assert_int_equal(load(&one, a + 3 * PAGE_BYTES + 2000), 0);
	assert_int_equal(place_mprotect(&one, a, 2 * PAGE_BYTES, PROT_READ), 0);
	valid();
	assert_holds(&one, a, 2, 7);
	assert_int_equal(soft_store64(one.mmu, a, 1), -EFAULT);
	assert_int_equal(place_mprotect(&one, a, 2 * PAGE_BYTES, RW), 0);
	store(&one, a, 1);
	valid();
	assert_own(&one, a);
	assert_merged(&two, b, 6);
	assert_int_equal(place_madvise(&two, b, PAGE_BYTES, MADV_FREE), 0);
	valid();
	assert_holds(&two, b, 1, 7); /* advice, which a shared page does not take */
	assert_int_equal(place_madvise(&one, a, MIB, MADV_DONTNEED), -ENOMEM); /* the hole */
}

static void locked_memory_keeps_its_merged_pages(void **state)
{
	(void)state;
	fill(&one, a, 2, 7);
	fill(&two, b, 1, 7);
	merge();
	assert_int_equal(place_mprotect(&one, a, PAGE_BYTES, PROT_READ), 0);
	assert_int_equal(place_mlock(&one, a, PAGE_BYTES, true), 0);
	valid();
	assert_string_equal(view_of(&two, b).list, "unevictable");
	world_squeeze(&world);
	assert_merged(&two, b, 3);
	assert_int_equal(place_munmap(&one, a, PAGE_BYTES), 0);
	valid();
	assert_string_equal(view_of(&two, b).list, "inactive");
	/* Memory that can be written to gets its copy when it is locked: later would be too late. */
	assert_int_equal(place_mlock(&two, b, PAGE_BYTES, true), 0);
	valid();
	assert_own(&two, b);
	assert_string_equal(view_of(&two, b).list, "unevictable");
	assert_merged(&one, a + PAGE_BYTES, 1);
	assert_string_equal(view_of(&one, a + PAGE_BYTES).list, "inactive");
	page_out(&one, a + PAGE_BYTES);
	assert_holds(&one, a + PAGE_BYTES, 1, 7);
	assert_int_equal(merge(), 0);
}

static void a_private_copy_of_a_file_is_merged_and_cut_off(void **state)
{
	struct file *file;
	struct wait wait = {0};
	uint64_t at = 0, value;

	(void)state;
	assert_int_equal(file_create(world.pager, NULL, NULL, 4 * PAGE_BYTES, &file), 0);
	assert_int_equal(place_mmap_file(&one, &at, 4 * PAGE_BYTES, RW, 0, file, 0), 0);
	assert_int_equal(place_madvise(&one, at, 4 * PAGE_BYTES, MADV_MERGEABLE), 0);
	fill(&one, at, 4, 7);
	fill(&two, b, 1, 7);
	assert_int_equal(merge(), 5);
	assert_int_equal(file_truncate(file, 2 * PAGE_BYTES, &wait), 0);
	valid();
	assert_merged(&two, b, 3);
	assert_int_equal(soft_load64(one.mmu, at + 3 * PAGE_BYTES, &value), -EIO);
	assert_int_equal(place_munmap(&one, at, 4 * PAGE_BYTES), 0);
	assert_int_equal(file_close(file, &wait), 0);
}

static void a_space_goes_in_the_middle_of_a_scan(void **state)
{
	(void)state;
	fill(&one, a, 4, 7);
	fill(&two, b, 4, 7);
	scan();
	assert_int_equal(ksmd_step(world.pager, 2), 2);
	leave(&one); /* the cursor is in it, and it owns the stable page */
	assert_int_equal(scan(), 2 + 2);
	assert_merged(&two, b, 4);
	assert_int_equal(ksmd_step(world.pager, 3), 0);
	leave(&two);
	assert_int_equal(scan(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_fork_maps_the_merged_page_too),
		TEST(a_family_shares_before_it_is_merged),
		TEST(a_merged_page_is_swapped_out_for_all),
		TEST(a_merged_page_is_met_on_its_way_out),
		TEST(the_last_mapper_unmaps_it_on_its_way_out),
		TEST(a_merged_page_with_a_slot_ends_with_its_last_mapper),
		TEST(pages_whose_slot_others_name_wait),
		TEST(mremap_moves_what_is_merged),
		TEST(unmapping_protecting_and_dropping),
		TEST(locked_memory_keeps_its_merged_pages),
		TEST(a_private_copy_of_a_file_is_merged_and_cut_off),
		TEST(a_space_goes_in_the_middle_of_a_scan),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

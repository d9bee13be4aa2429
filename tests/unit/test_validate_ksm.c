/* SPDX-License-Identifier: MIT */
/* The validator finds each wrong fact about merged pages: items, both trees, stable nodes and the pages themselves. */
#define _GNU_SOURCE
#include "ksm_world.h"
#include "wrong.h"

static struct ksm_item *item_of(struct place *p, uint64_t addr)
{
	struct ksm_item *item = ksm_item_find(p->space, space_index(p->space, addr));

	assert_non_null(item);
	return item;
}

/* One page of each of the two spaces, merged. */
static struct ksm_item *two_merged(void)
{
	fill(&one, a, 1, 7);
	fill(&two, b, 1, 7);
	assert_int_equal(merge(), 2);
	assert_merged(&one, a, 2);
	return item_of(&one, a);
}

static void items_lie_where_merged_memory_is(void **state)
{
	struct ksm_item *item = two_merged();
	struct vma *vma = find_vma(one.space, a);
	uint64_t far = a + 16 * MIB;

	(void)state;
	assert_int_equal(place_mmap(&one, &far, PAGE_BYTES, RW, SPACE_FIXED), 0);
	assert_null(ptep_of(&one, far));
	WRONG(item->space, two.space, "is another space's");
	WRONG(item->index, item->index + 1000, "is in no VMA that can be merged");
	WRONG(item->index, (uint32_t)space_index(one.space, far), "does not map the merged page");
	WRONG(vma->flags, vma->flags | VM_SHARED, "is in no VMA that can be merged");
}

static void a_merged_mapping_is_read_only_and_leads_to_its_page(void **state)
{
	pte_t pte;

	(void)state;
	two_merged();
	fill(&one, a + PAGE_BYTES, 1, 1);
	load(&one, a + 2 * PAGE_BYTES);
	pte = pte_load(ptep_of(&one, a));
	WRONG_PTE(&one, a, 0, "does not map the merged page");
	WRONG_PTE(&one, a, (pte & ~PTE_VALID) | PTE_WRITE, "does not map the merged page");
	WRONG_PTE(&one, a, pte_load(ptep_of(&one, a + PAGE_BYTES)) & ~PTE_WRITE,
		"does not map the merged page");
	WRONG_PTE(&one, a, pte_load(ptep_of(&one, a + 2 * PAGE_BYTES)), "does not map the merged page");
	/* The last that maps it must not write either. */
	store(&two, b, 1);
	assert_merged(&one, a, 1);
	WRONG_PTE(&one, a, pte_load(ptep_of(&one, a)) | PTE_WRITE, "not this PTE's alone");
}

static void the_stable_tree_knows_its_nodes(void **state)
{
	struct stable_node *stable = two_merged()->stable;
	struct ksm_item *item = item_of(&one, a);

	(void)state;
	WRONG(RB_ROOT(&world.pager->ksm.stable), NULL, "has a node that is not in the stable tree");
	WRONG(RB_ROOT(&one.space->ksm_items), NULL, "has an item that does not know it");
	WHILE(RB_ROOT(&one.space->ksm_items), NULL,
		WHILE(item->stable, NULL, EXPECT_WRONG("has an item that does not know it")));
	EXPECT_RIGHT();
	assert_ptr_equal(stable, item->stable);
}

static void a_merged_page_knows_its_node(void **state)
{
	struct ksm_item *item = two_merged();
	struct stable_node *stable = item->stable;
	struct page *page = page_of(&one, a);

	(void)state;
	WRONG(page->word, page->word & ~(uint32_t)PG_ksm, "has a page that does not know it");
	WRONG(page->mapping, NULL, "has a page that does not know it");
	WRONG(page->_mapcount, 2, "has not as many items as PTEs map its page");
	WHILE(LIST_FIRST(&stable->items), NULL,
		WHILE(page->_mapcount, -1, EXPECT_WRONG("has not as many items as PTEs map its page")));
	EXPECT_RIGHT();
}

static void a_merged_page_s_slot_is_named_by_nobody(void **state)
{
	struct page *page;
	struct swap_slot *slot;

	(void)state;
	two_merged();
	page = page_of(&one, a);
	assert_true(page_trylock(world.pager, page));
	assert_int_equal(add_to_swap(world.pager, page), 0);
	page_unlock(world.pager, page);
	EXPECT_RIGHT();
	slot = swap_slot(world.pager, word_entry(page->private));
	WRONG(slot->count, 1, "has a page whose slot somebody names");
	assert_true(try_to_free_swap(world.pager, page));
	EXPECT_RIGHT();
}

static void the_unstable_tree_holds_what_this_scan_has_put_there(void **state)
{
	struct ksm_item *item;

	(void)state;
	fill(&one, a, 1, 7);
	scan();
	assert_int_equal(ksmd_step(world.pager, 1), 0);
	item = item_of(&one, a);
	assert_int_equal(item->scan, world.pager->ksm.scan);
	EXPECT_RIGHT();
	WRONG(RB_ROOT(&world.pager->ksm.unstable), NULL, "is not in the unstable tree");
	WRONG(item->scan, 0, "the unstable tree has an item that is none");
	WRONG(RB_ROOT(&one.space->ksm_items), NULL, "the unstable tree has an item that is none");
}

/* The numbers of scans begin again some day: 0 is never one of them, it means that an item is in no tree. */
static void scans_are_numbered_round_and_round(void **state)
{
	(void)state;
	fill(&one, a, 1, 7);
	fill(&two, b, 1, 7);
	world.pager->ksm.scan = UINT32_MAX;
	assert_int_equal(scan(), 0);
	assert_int_equal(world.pager->ksm.scan, 1);
	assert_int_equal(scan(), 2);
	assert_merged(&one, a, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(items_lie_where_merged_memory_is),
		TEST(a_merged_mapping_is_read_only_and_leads_to_its_page),
		TEST(the_stable_tree_knows_its_nodes),
		TEST(a_merged_page_knows_its_node),
		TEST(a_merged_page_s_slot_is_named_by_nobody),
		TEST(the_unstable_tree_holds_what_this_scan_has_put_there),
		TEST(scans_are_numbered_round_and_round),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* Fork of a space: what is shared, what a write to it does, and that nothing is left. */
#define _GNU_SOURCE
#include "soft_world.h"

static void page_out(struct place *p, uint64_t addr, uint64_t len)
{
	struct page_view view;

	assert_int_equal(place_madvise(p, addr, len, MADV_PAGEOUT), 0);
	while (pager_poll(world.pager, SWAP_WRITE, 1) > 0)
		;
	view = view_of(p, addr);
	assert_int_equal(view.pte, PTE_KIND_SWAP);
}

static void both_map_one_page_until_one_writes(void **state)
{
	struct place child;

	(void)state;
	store(&parent, base, 1);
	assert_int_equal(place_fork(&parent, &child), 0);
	valid();
	struct page_view a = view_of(&parent, base), b = view_of(&child, base);

	assert_int_equal(a.pfn, b.pfn);
	assert_int_equal(a.count, 2);
	assert_int_equal(a.mapcount, 1);
	assert_false(a.pte_write || b.pte_write);
	store(&child, base, 2);
	valid();
	a = view_of(&parent, base), b = view_of(&child, base);
	assert_int_not_equal(a.pfn, b.pfn);
	assert_int_equal(a.mapcount, 0);
	assert_int_equal(a.count, 1);
	assert_int_equal(load(&parent, base), 1);
	store(&parent, base, 3); /* alone now: in place */
	assert_int_equal(view_of(&parent, base).pfn, a.pfn);
	assert_int_equal(load(&child, base), 2);
	assert_int_equal(load(&parent, base), 3);
	place_close(&child);
}

static void a_swapped_page_is_shared_by_its_slot(void **state)
{
	struct place child;

	(void)state;
	for (unsigned i = 0; i < 64; i++)
		store(&parent, base + i * PAGE_BYTES, 100 + i);
	page_out(&parent, base, 64 * PAGE_BYTES);
	uint64_t written = stats().written;

	assert_int_equal(place_fork(&parent, &child), 0);
	valid();
	assert_int_equal(stats().written, written);
	assert_int_equal(view_of(&child, base).pte, PTE_KIND_SWAP);
	assert_int_equal(view_of(&child, base).swap_count, 2);
	for (unsigned i = 0; i < 64; i++)
		assert_int_equal(load(&child, base + i * PAGE_BYTES), 100 + i);
	valid();
	store(&child, base, 7);
	store(&parent, base + PAGE_BYTES, 8);
	valid();
	assert_int_equal(load(&parent, base), 100);
	assert_int_equal(load(&child, base + PAGE_BYTES), 101);
	place_close(&parent);
	parent.mmu = NULL;
	valid();
	assert_int_equal(load(&child, base), 7);
	for (unsigned i = 1; i < 64; i++)
		assert_int_equal(load(&child, base + i * PAGE_BYTES), 100 + i);
	place_close(&child);
}

static void a_shared_page_is_swapped_out_for_all(void **state)
{
	struct place child, grandchild;

	(void)state;
	store(&parent, base, 42);
	assert_int_equal(place_fork(&parent, &child), 0);
	assert_int_equal(place_fork(&child, &grandchild), 0);
	assert_int_equal(view_of(&parent, base).mapcount, 2);
	/* One who shares it cannot send it away: advice is about one's own. */
	assert_int_equal(place_madvise(&child, base, PAGE_BYTES, MADV_PAGEOUT), 0);
	assert_int_equal(view_of(&child, base).pte, PTE_KIND_PRESENT);
	world_squeeze(&world);
	valid();
	assert_int_equal(view_of(&parent, base).pte, PTE_KIND_SWAP);
	assert_int_equal(view_of(&grandchild, base).pte, PTE_KIND_SWAP);
	assert_int_equal(view_of(&parent, base).swap_count, 3);
	assert_int_equal(load(&grandchild, base), 42);
	assert_int_equal(load(&parent, base), 42);
	valid();
	store(&parent, base, 43);
	assert_int_equal(load(&child, base), 42);
	valid();
	place_close(&child);
	valid();
	assert_int_equal(load(&grandchild, base), 42);
	place_close(&grandchild);
}

/* Each generation forks the next and exits, as a server that hands over to its child does. */
static void chains_stay_short_over_generations(void **state)
{
	struct place now = parent, next;

	(void)state;
	for (unsigned i = 0; i < 200; i++) {
		store(&now, base + i * PAGE_BYTES, i);
		assert_int_equal(place_fork(&now, &next), 0);
		store(&next, base, 1000 + i);
		place_close(&now);
		now = next;
	}
	valid();
	assert_true(space_longest_chain(now.space) <= 3);
	for (unsigned i = 1; i < 200; i++)
		assert_int_equal(load(&now, base + i * PAGE_BYTES), i);
	parent = now;
}

static void pressure_and_forks_lose_nothing(void **state)
{
	enum { CHILDREN = 4, PAGES = 1500 };
	struct place children[CHILDREN];

	(void)state;
	for (unsigned i = 0; i < PAGES; i++)
		store(&parent, base + i * PAGE_BYTES, i);
	for (unsigned c = 0; c < CHILDREN; c++) {
		assert_int_equal(place_fork(&parent, &children[c]), 0);
		for (unsigned i = c; i < PAGES; i += 7)
			store(&children[c], base + i * PAGE_BYTES, 10000 * (c + 1) + i);
		valid();
	}
	for (unsigned c = 0; c < CHILDREN; c++)
		for (unsigned i = 0; i < PAGES; i++) {
			uint64_t expected = i % 7 == c % 7 ? 10000 * (c + 1) + i : i;

			assert_int_equal(load(&children[c], base + i * PAGE_BYTES), expected);
		}
	for (unsigned c = 0; c < CHILDREN; c++)
		place_close(&children[c]);
	valid();
	for (unsigned i = 0; i < PAGES; i++)
		assert_int_equal(load(&parent, base + i * PAGE_BYTES), i);
}

/*
 * One frame is free and nothing can go but the page that is to be copied: that is the end, and told, not tried for
 * ever.
 */
static void a_copy_does_not_take_its_source_s_frame(void **state)
{
	struct world_config config = {
		.kind = ANONMM_SOFT, .nr_frames = 64, .space_bytes = 64 * MIB, .swap = "mem:?size=256K"};
	struct world was = world;
	struct place tight, child;
	uint64_t addr = 0, value = 0;
	unsigned nr = 1;

	(void)state;
	assert_int_equal(world_open(&world, &config), 0);
	assert_int_equal(place_open(&tight, &world), 0);
	assert_int_equal(
		place_mmap(&tight, &addr, 256 * PAGE_BYTES, PROT_READ | PROT_WRITE, SPACE_NORESERVE), 0);
	store(&tight, addr, 5);
	assert_int_equal(place_fork(&tight, &child), 0);
	world_squeeze(&world);
	while (soft_store64(tight.mmu, addr + nr * PAGE_BYTES, nr) == 0)
		nr++;
	assert_true(nr < 200);
	while (stats().frames_free == 0)
		assert_int_equal(place_munmap(&tight, addr + --nr * PAGE_BYTES, PAGE_BYTES), 0);
	assert_int_equal(soft_store64(child.mmu, addr, 6), -ENOMEM);
	valid();
	assert_int_equal(place_munmap(&tight, addr + PAGE_BYTES, 20 * PAGE_BYTES), 0);
	assert_int_equal(soft_store64(child.mmu, addr, 6), 0);
	assert_int_equal(soft_load64(tight.mmu, addr, &value), 0);
	assert_int_equal(value, 5);
	place_close(&child);
	place_close(&tight);
	world_close(&world);
	world = was;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(both_map_one_page_until_one_writes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_swapped_page_is_shared_by_its_slot, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_shared_page_is_swapped_out_for_all, set_up, tear_down),
		cmocka_unit_test_setup_teardown(chains_stay_short_over_generations, set_up, tear_down),
		cmocka_unit_test_setup_teardown(pressure_and_forks_lose_nothing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_copy_does_not_take_its_source_s_frame, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

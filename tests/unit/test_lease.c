/* SPDX-License-Identifier: MIT */
/*
 * A process forks: the pager comes to rest, the slots are leased to the child, and in the child the devices are
 * inherited.
 */
#define _GNU_SOURCE
#include "../world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define NR_PAGES 32u

static struct world world;
static struct place place;
static uint64_t base;
static unsigned chunks_left;

static int set_up(void **state)
{
	struct world_config config = {.kind = ANONMM_SOFT,
		.nr_frames = 2 * PAGER_MIN_FRAMES,
		.space_bytes = 16 * MIB,
		.swap = "faulty:mem:?size=1M"};

	(void)state;
	base = 0;
	if (world_open(&world, &config) || place_open(&place, &world))
		return -1;
	return place_mmap(&place, &base, NR_PAGES * PAGE_BYTES, PROT_READ | PROT_WRITE, 0);
}

static void valid(void)
{
	char why[200];
	const char *wrong = pager_validate(world.pager, why, sizeof(why));

	if (wrong)
		fail_msg("%s", wrong);
}

static int tear_down(void **state)
{
	(void)state;
	place_close(&place);
	valid();
	world_close(&world);
	return 0;
}

static void store(unsigned page, uint64_t value)
{
	assert_int_equal(soft_store64(place.mmu, base + page * PAGE_BYTES, value), 0);
}

static uint64_t load(unsigned page)
{
	uint64_t value = 0;

	assert_int_equal(soft_load64(place.mmu, base + page * PAGE_BYTES, &value), 0);
	return value;
}

static void all_out(void)
{
	for (unsigned i = 0; i < NR_PAGES; i++)
		store(i, i + 1);
	world_squeeze(&world);
}

static struct anonmm_stats stats(void)
{
	struct anonmm_stats now;

	pager_stats(world.pager, &now);
	return now;
}

static void freeze(void)
{
	struct wait wait = {0};

	assert_int_equal(WORLD_RETRY(&world, &wait, pager_freeze(world.pager, &wait)), 0);
}

static struct swap_lease *lease_begin(void)
{
	struct swap_lease *lease;

	freeze();
	assert_int_equal(pager_lease_begin(world.pager, &lease), 0);
	pager_thaw(world.pager);
	valid();
	return lease;
}

static void while_frozen_everybody_waits(void **state)
{
	struct wait wait = {0};
	struct page_view view;

	(void)state;
	store(0, 1);
	freeze();
	assert_int_equal(handle_mm_fault(place.space, base + PAGE_BYTES, ACCESS_WRITE, &wait), FAULT_WAIT);
	assert_int_equal(wait.what, WAIT_SPACE);
	assert_false(wait_is_over(world.pager, &wait));
	assert_int_equal(kswapd_step(world.pager, KSWAPD_PAGES), KSWAPD_BALANCED);
	assert_int_equal(pager_reclaim(world.pager, 10), 0);
	space_view(place.space, base, &view);
	assert_int_equal(view.pte, PTE_KIND_PRESENT);
	pager_thaw(world.pager);
	assert_true(wait_is_over(world.pager, &wait));
	store(1, 2);
}

static void what_is_in_flight_ends_before_the_rest(void **state)
{
	struct wait wait = {0};

	(void)state;
	for (unsigned i = 0; i < NR_PAGES; i++)
		store(i, i + 1);
	assert_int_equal(place_madvise(&place, base, NR_PAGES * PAGE_BYTES, MADV_PAGEOUT), 0);
	assert_true(pager_in_flight(world.pager, SWAP_WRITE));
	assert_int_equal(pager_freeze(world.pager, &wait), -EAGAIN);
	assert_int_equal(wait.what, WAIT_WRITE);
	freeze();
	assert_false(pager_in_flight(world.pager, SWAP_WRITE));
	pager_thaw(world.pager);
}

static void a_leased_slot_is_kept_until_the_last_lease_ends(void **state)
{
	struct swap_lease *first, *second;
	uint64_t used;

	(void)state;
	all_out();
	used = stats().slots_used;
	assert_true(used >= NR_PAGES);
	first = lease_begin();
	second = lease_begin();
	assert_int_equal(place_munmap(&place, base, 16 * PAGE_BYTES), 0);
	valid();
	assert_int_equal(stats().slots_used, used);
	pager_lease_end(world.pager, first);
	valid();
	assert_int_equal(stats().slots_used, used);
	pager_lease_end(world.pager, second);
	valid();
	assert_int_equal(stats().slots_used, used - 16);
	assert_int_equal(load(16), 17);
}

/* Its slot is the child's to read: what is written here goes to another one. */
static void a_page_that_comes_in_leaves_its_leased_slot(void **state)
{
	struct swap_lease *lease;
	struct page_view view;

	(void)state;
	all_out();
	space_view(place.space, base, &view);
	uint32_t slot = view.swap_slot;

	lease = lease_begin();
	assert_int_equal(load(0), 1);
	space_view(place.space, base, &view);
	assert_int_equal(view.swap_count, -1);
	valid();
	world_squeeze(&world);
	space_view(place.space, base, &view);
	assert_int_equal(view.pte, PTE_KIND_SWAP);
	assert_int_not_equal(view.swap_slot, slot);
	pager_lease_end(world.pager, lease);
	assert_int_equal(load(0), 1);
}

/* A page that is mapped and has a slot that only it names: the slot is not the child's, the page is dirty again. */
static void mapped_pages_leave_the_swap_cache(void **state)
{
	struct swap_lease *lease;
	struct page_view view;

	(void)state;
	all_out();
	assert_int_equal(load(0), 1);
	space_view(place.space, base, &view);
	assert_int_equal(view.swap_count, 0);
	lease = lease_begin();
	space_view(place.space, base, &view);
	assert_int_equal(view.swap_count, -1);
	pager_lease_end(world.pager, lease);
	world_squeeze(&world);
	assert_int_equal(load(0), 1);
}

static void *few_chunks(struct machine *m, size_t bytes)
{
	return chunks_left && chunks_left-- ? world.real->chunk_alloc(m, bytes) : NULL;
}

static void a_lease_without_memory_is_none(void **state)
{
	struct swap_lease *lease;

	(void)state;
	all_out();
	freeze();
	world.ops.chunk_alloc = few_chunks;
	for (unsigned chunks = 0; chunks < 2; chunks++) {
		chunks_left = chunks;
		assert_int_equal(pager_lease_begin(world.pager, &lease), -ENOMEM);
		assert_null(lease);
	}
	chunks_left = 2;
	assert_int_equal(pager_lease_begin(world.pager, &lease), 0);
	world.ops.chunk_alloc = world.real->chunk_alloc;
	pager_thaw(world.pager);
	valid();
	pager_lease_end(world.pager, lease);
}

/* In the child: what is there is read, nothing is written there, and new pages go to a device of its own. */
static void an_heir_reads_and_writes_elsewhere(void **state)
{
	struct swapdev *own;
	struct page_view view;
	char why[200];

	(void)state;
	all_out();
	freeze();
	struct swap_lease *lease;

	assert_int_equal(
		pager_lease_begin(world.pager, &lease), 0); /* the parent's: not the child's to end */
	assert_int_equal(pager_fork_child(world.pager), 0);
	assert_int_equal(stats().slots, 0);
	assert_int_equal(swapdev_open("mem:?size=1M", &own, why, sizeof(why)), 0);
	assert_int_equal(pager_add_swap(world.pager, own, 0), 0);
	pager_thaw(world.pager);
	valid();
	for (unsigned i = 0; i < NR_PAGES; i++)
		assert_int_equal(load(i), i + 1);
	valid();
	store(0, 100);
	world_squeeze(&world);
	for (unsigned i = 0; i < NR_PAGES; i++) {
		space_view(place.space, base + i * PAGE_BYTES, &view);
		assert_int_equal(view.pte, PTE_KIND_SWAP);
		assert_int_equal(view.swap_type, 1);
	}
	assert_int_equal(load(0), 100);
	/* A fork of the fork: both are inherited now. */
	freeze();
	assert_int_equal(pager_fork_child(world.pager), 0);
	pager_thaw(world.pager);
	assert_int_equal(stats().slots, 0);
	assert_int_equal(load(1), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(while_frozen_everybody_waits, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_in_flight_ends_before_the_rest, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			a_leased_slot_is_kept_until_the_last_lease_ends, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			a_page_that_comes_in_leaves_its_leased_slot, set_up, tear_down),
		cmocka_unit_test_setup_teardown(mapped_pages_leave_the_swap_cache, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_lease_without_memory_is_none, set_up, tear_down),
		cmocka_unit_test_setup_teardown(an_heir_reads_and_writes_elsewhere, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

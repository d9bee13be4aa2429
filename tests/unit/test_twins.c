/* SPDX-License-Identifier: MIT */
/* Equal pages that leave share a slot, where the bytes can be compared without I/O. */
#define _GNU_SOURCE
#include "../world.h"
#include "mm/mm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define RW (PROT_READ | PROT_WRITE)
#define NR_PAGES 400u

static struct world world;
static struct place place;
static uint64_t base;

static int open_world(const char *swap, bool one_place)
{
	struct world_config config = {.kind = ANONMM_SOFT,
		.nr_frames = 2048,
		.space_bytes = 32 * MIB,
		.swap = swap,
		.policy = PAGER_SHARE_SLOTS};

	base = 0;
	memset(&world, 0, sizeof(world));
	if (world_open_machine(&world, &config))
		return -1;
	if (one_place) {
		world.ops.can_share = world.ops.sees_access = world.ops.sees_write = false;
		world.ops.flush = NULL;
	}
	if (world_open_pager(&world, &config) || place_open(&place, &world))
		return -1;
	return place_mmap(&place, &base, NR_PAGES * PAGE_BYTES, RW, 0);
}

static int set_up(void **state)
{
	(void)state;
	return open_world("mem:?size=8M", false);
}

static int set_up_one_place(void **state)
{
	(void)state;
	return open_world("mem:?size=8M", true);
}

/* Its bytes are on the device, and only there: nothing can be compared. */
static int set_up_slow(void **state)
{
	(void)state;
	return open_world("faulty:mem:?size=8M", false);
}

static void valid(void)
{
	char why[200];
	const char *wrong = pager_validate(world.pager, why, sizeof(why));

	if (wrong)
		fail_msg("%s", wrong);
}

static struct anonmm_stats stats(void)
{
	struct anonmm_stats now;

	pager_stats(world.pager, &now);
	return now;
}

static int tear_down(void **state)
{
	(void)state;
	valid();
	place_close(&place);
	while (pager_poll(world.pager, SWAP_READ, 1) + pager_poll(world.pager, SWAP_WRITE, 1) > 0)
		;
	valid();
	assert_int_equal(stats().slots_used, 0);
	assert_true(stats().frames_used <= 1);
	world_close(&world);
	return 0;
}

/* A page's bytes: all that have one kind are equal, and of many words. */
static void content(unsigned kind, uint64_t words[512])
{
	for (unsigned i = 0; i < 512; i++)
		words[i] = kind * 1000003u + i;
}

static void fill(unsigned first, unsigned nr, unsigned kinds)
{
	uint64_t words[512];

	for (unsigned page = first; page < first + nr; page++) {
		content(page % kinds, words);
		assert_int_equal(place_write(&place, base + page * PAGE_BYTES, words, PAGE_BYTES), 0);
	}
}

static void check(unsigned first, unsigned nr, unsigned kinds)
{
	uint64_t want[512], found[512];

	for (unsigned page = first; page < first + nr; page++) {
		content(page % kinds, want);
		assert_int_equal(place_read(&place, base + page * PAGE_BYTES, found, PAGE_BYTES), 0);
		assert_memory_equal(found, want, PAGE_BYTES);
	}
}

/* 4 different pages, 100 of each: 4 slots, 4 writes. */
static void equal_pages_share_a_slot(void **state)
{
	(void)state;
	fill(0, NR_PAGES, 4);
	world_squeeze(&world);
	struct anonmm_stats now = stats();

	assert_int_equal(now.swapped_out, NR_PAGES);
	assert_int_equal(now.shared_slots, NR_PAGES - 4);
	assert_int_equal(now.slots_used, 4);
	assert_int_equal(now.written, 4);
	assert_int_equal(now.freed, 0);
	valid();
	check(0, NR_PAGES, 4);
	valid();
}

/* Each has its own bytes again as soon as it is written. */
static void a_write_ends_the_sharing(void **state)
{
	(void)state;
	fill(0, 100, 2);
	world_squeeze(&world);
	assert_int_equal(stats().slots_used, 2);
	fill(10, 10, 7);
	check(0, 10, 2);
	check(10, 10, 7);
	check(20, 80, 2);
	world_squeeze(&world);
	valid();
	check(0, 10, 2);
	check(10, 10, 7);
	check(20, 80, 2);
}

/* As where real memory is: who comes in copies, until one alone is left. */
static void where_a_frame_has_one_place_sharers_copy(void **state)
{
	(void)state;
	fill(0, 60, 3);
	world_squeeze(&world);
	assert_int_equal(stats().slots_used, 3);
	check(0, 60, 3);
	struct anonmm_stats now = stats();

	assert_int_equal(now.copied_early, 57);
	valid();
	world_squeeze(&world);
	check(0, 60, 3);
}

/* Its twin is in the swap cache, being written, when the others go: those share; who comes later does not. */
static void on_other_devices_the_twin_must_be_in_memory(void **state)
{
	(void)state;
	fill(0, 32, 1);
	assert_int_equal(place_madvise(&place, base, 32 * PAGE_BYTES, MADV_PAGEOUT), 0);
	assert_int_equal(stats().shared_slots, 31);
	world_squeeze(&world);
	assert_int_equal(stats().slots_used, 1);
	fill(32, 1, 1);
	world_squeeze(&world);
	assert_int_equal(stats().shared_slots, 31);
	assert_int_equal(stats().slots_used, 2);
	check(0, 33, 1);
}

/* A hash finds candidates; bytes decide. */
static void a_slot_with_the_same_hash_and_other_bytes_is_not_shared(void **state)
{
	struct swap_slot *slot;
	struct content kind;
	swp_entry_t entry;
	uint64_t words[512];

	(void)state;
	fill(0, 1, 1);
	world_squeeze(&world);
	entry = pte_entry(pte_load(pgtable_find(&place.space->pgtable, space_index(place.space, base))));
	slot = swap_slot(world.pager, entry);
	uint64_t right[2] = {slot->hash[0], slot->hash[1]};

	/* The page that goes next has, says the slot, what it holds itself. */
	content(5, words);
	assert_int_equal(place_write(&place, base + PAGE_BYTES, words, PAGE_BYTES), 0);
	page_content(world.pager,
		pfn_page(world.pager, pte_pfn(pte_load(pgtable_find(&place.space->pgtable,
					      space_index(place.space, base + PAGE_BYTES))))),
		&kind);
	memcpy(slot->hash, kind.hash, sizeof(slot->hash));
	twin_note(world.pager, entry, &kind);
	world_squeeze(&world);
	assert_int_equal(stats().shared_slots, 0);
	memcpy(slot->hash, right, sizeof(slot->hash));
	check(0, 1, 1);
}

/* A program that forks where all is shared: the counts hold, and each gets its own when it writes. */
static void shared_slots_are_inherited(void **state)
{
	struct place child;
	uint64_t words[512], found[512];

	(void)state;
	fill(0, 50, 5);
	world_squeeze(&world);
	assert_int_equal(place_fork(&place, &child), 0);
	content(9, words);
	for (unsigned page = 0; page < 50; page += 3)
		assert_int_equal(place_write(&child, base + page * PAGE_BYTES, words, PAGE_BYTES), 0);
	valid();
	world_squeeze(&world);
	valid();
	check(0, 50, 5);
	for (unsigned page = 0; page < 50; page++) {
		content(page % 3 ? page % 5 : 9, words);
		assert_int_equal(place_read(&child, base + page * PAGE_BYTES, found, PAGE_BYTES), 0);
		assert_memory_equal(found, words, PAGE_BYTES);
	}
	place_close(&child);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(equal_pages_share_a_slot, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_write_ends_the_sharing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			where_a_frame_has_one_place_sharers_copy, set_up_one_place, tear_down),
		cmocka_unit_test_setup_teardown(
			on_other_devices_the_twin_must_be_in_memory, set_up_slow, tear_down),
		cmocka_unit_test_setup_teardown(
			a_slot_with_the_same_hash_and_other_bytes_is_not_shared, set_up, tear_down),
		cmocka_unit_test_setup_teardown(shared_slots_are_inherited, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

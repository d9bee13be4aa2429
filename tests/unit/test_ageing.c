/* SPDX-License-Identifier: MIT */
/*
 * Ageing costs faults where a machine sees no accesses. The machine here is as real memory is, but runs step by step.
 * Memory that fits is left alone. Where nothing can be reclaimed, few pages are looked at.
 */
#define _GNU_SOURCE
#include "../world.h"
#include "mm/mm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define RW (PROT_READ | PROT_WRITE)
#define NR_FRAMES 2048u

static struct world world;
static struct place place;
static uint64_t base;
static struct page *taken[NR_FRAMES];
static unsigned nr_taken;

static int open_world(const char *swap, uint32_t nr_frames)
{
	struct world_config config = {
		.kind = ANONMM_SOFT, .nr_frames = nr_frames, .space_bytes = 64 * MIB, .swap = swap};

	base = 0;
	memset(&world, 0, sizeof(world));
	if (world_open_machine(&world, &config))
		return -1;
	world.ops.can_share = world.ops.sees_access = world.ops.sees_write = false;
	world.ops.flush = NULL;
	if (world_open_pager(&world, &config) || place_open(&place, &world))
		return -1;
	return place_mmap(&place, &base, 2 * NR_FRAMES * PAGE_BYTES, RW, SPACE_NORESERVE);
}

static int set_up(void **state)
{
	(void)state;
	return open_world("mem:?size=32M", NR_FRAMES);
}

static int set_up_without_swap(void **state)
{
	(void)state;
	return open_world(NULL, NR_FRAMES);
}

static int set_up_small(void **state)
{
	(void)state;
	return open_world("mem:?size=4M", 2 * PAGER_MIN_FRAMES);
}

static int tear_down(void **state)
{
	char why[200];
	const char *wrong = pager_validate(world.pager, why, sizeof(why));

	(void)state;
	if (wrong)
		fail_msg("%s", wrong);
	place_close(&place);
	while (pager_poll(world.pager, SWAP_READ, 1) + pager_poll(world.pager, SWAP_WRITE, 1) > 0)
		;
	world_close(&world);
	return 0;
}

static struct anonmm_stats stats(void)
{
	struct anonmm_stats now;

	pager_stats(world.pager, &now);
	return now;
}

/* The first @nr pages are written for the first time: this MMU is told of later writes only where it may not write. */
static void fill(unsigned nr)
{
	for (unsigned page = 0; page < nr; page++)
		assert_int_equal(soft_store64(place.mmu, base + page * PAGE_BYTES, page + 1), 0);
}

/* They are used, and reclaim has the time that it wants. */
static void round_over(unsigned nr)
{
	for (unsigned page = 0; page < nr; page++) {
		uint64_t value = 0;

		assert_int_equal(soft_load64(place.mmu, base + page * PAGE_BYTES, &value), 0);
		assert_int_equal(value, page + 1);
		soft_machine_tick(world.machine);
	}
}

/* Armed faults, pages looked at and read of ten more rounds: all 0. */
static void assert_left_alone(unsigned nr)
{
	struct anonmm_stats before = stats(), after;

	for (unsigned i = 0; i < 10; i++) {
		round_over(nr);
		kswapd_step(world.pager, KSWAPD_PAGES);
	}
	after = stats();
	assert_int_equal(after.armed_faults, before.armed_faults);
	assert_int_equal(after.faults, before.faults);
	assert_int_equal(after.deactivated, before.deactivated);
	assert_int_equal(after.scanned, before.scanned);
}

static void what_fits_is_never_armed(void **state)
{
	(void)state;
	fill(NR_FRAMES * 9 / 10);
	assert_int_equal(stats().armed_faults, 0);
	assert_left_alone(NR_FRAMES * 9 / 10);
}

/* It has used twice the memory, then works on 60 % of it: a few rounds, and it has settled. */
static void what_fits_by_now_is_left_alone(void **state)
{
	(void)state;
	fill(2 * NR_FRAMES);
	assert_true(stats().swapped_out > 0);
	for (unsigned i = 0; i < 3; i++)
		round_over(NR_FRAMES * 6 / 10);
	while (kswapd_step(world.pager, KSWAPD_PAGES) != KSWAPD_BALANCED)
		pager_poll(world.pager, SWAP_WRITE, 1);
	round_over(NR_FRAMES * 6 / 10);
	assert_left_alone(NR_FRAMES * 6 / 10);
}

/* Frames are free enough, whatever the lists look like. */
static void kswapd_at_rest_looks_at_nothing(void **state)
{
	struct anonmm_stats before, after;

	(void)state;
	fill(2 * NR_FRAMES);
	while (kswapd_step(world.pager, KSWAPD_PAGES) != KSWAPD_BALANCED)
		pager_poll(world.pager, SWAP_WRITE, 1);
	before = stats();
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(kswapd_step(world.pager, KSWAPD_PAGES), KSWAPD_BALANCED);
	after = stats();
	assert_int_equal(after.deactivated, before.deactivated);
	assert_int_equal(after.scanned, before.scanned);
}

/* To free some frames as many pages are armed, give or take a few batches, and not all. */
static void pages_are_armed_as_frames_are_needed(void **state)
{
	struct anonmm_stats before, after;
	uint32_t fits = NR_FRAMES - world.pager->nodes[0].wmark.low;

	(void)state;
	fill(fits);
	before = stats();
	assert_int_equal(before.deactivated, 0);
	for (unsigned page = fits; page < fits + 64; page++)
		assert_int_equal(soft_store64(place.mmu, base + page * PAGE_BYTES, 1), 0);
	while (kswapd_step(world.pager, KSWAPD_PAGES) != KSWAPD_BALANCED)
		pager_poll(world.pager, SWAP_WRITE, 1);
	after = stats();
	assert_true(after.swapped_out - before.swapped_out >= 64);
	assert_true(after.deactivated - before.deactivated <= NR_FRAMES / 2);
}

/* Steps until kswapd gives up; how many pages it has armed. */
static uint64_t armed_in_vain(void)
{
	uint64_t before = stats().deactivated;

	for (unsigned i = 0; kswapd_step(world.pager, KSWAPD_PAGES) != KSWAPD_STUCK; i++)
		assert_true(i < 10 * NR_FRAMES);
	return stats().deactivated - before;
}

/* No swap, and frames are few: kswapd says so after it has seen all, and then after it has seen some. */
static void where_nothing_can_be_had_little_is_looked_at(void **state)
{
	(void)state;
	fill(NR_FRAMES - world.pager->nodes[0].wmark.low / 2);
	while (kswapd_step(world.pager, KSWAPD_PAGES) != KSWAPD_STUCK)
		;
	for (unsigned i = 0; i < 20; i++)
		assert_true(armed_in_vain() <= 1024 + KSWAPD_PAGES);
	assert_int_equal(place_munmap(&place, base, 512 * PAGE_BYTES), 0);
	assert_int_equal(kswapd_step(world.pager, KSWAPD_PAGES), KSWAPD_BALANCED);
}

/* Frames that somebody has for good, until but @left are free. */
static void take_all_but(unsigned left)
{
	struct page *page;

	pager_lock(world.pager);
	while (frames_free(world.pager) > left && (page = frame_alloc(world.pager)))
		taken[nr_taken++] = page;
	pager_unlock(world.pager);
}

static int give_back_and_tear_down(void **state)
{
	pager_lock(world.pager);
	while (nr_taken > 0)
		page_put(world.pager, taken[--nr_taken]);
	pager_unlock(world.pager);
	return tear_down(state);
}

static void touch(const unsigned *pages, unsigned nr, bool reclaim)
{
	uint64_t value;

	for (unsigned i = 0; i < nr; i++) {
		assert_int_equal(soft_load64(place.mmu, base + pages[i] * PAGE_BYTES, &value), 0);
		if (reclaim)
			kswapd_step(world.pager, KSWAPD_PAGES);
	}
}

/*
 * Fewer frames than the watermarks ask for, and pages that can go at once. An instruction uses four: reclaim after each
 * fault, as real memory's handler does it, leaves them in place until all are there.
 */
static void what_faults_bring_stays_until_it_is_used(void **state)
{
	static const unsigned four[] = {0, 2, 4, 6};

	(void)state;
	assert_int_equal(place_madvise(&place, base, NR_FRAMES * PAGE_BYTES, MADV_RANDOM), 0);
	take_all_but(world.pager->nodes[0].wmark.high - 1);
	for (unsigned round = 0; round < 100; round++) {
		touch(four, 4, true);
		uint64_t before = stats().faults;

		touch(four, 4, false);
		assert_int_equal(stats().faults, before);
	}
}

/*
 * The newest are kept from kswapd, and from a fault only as long as there is something else: they go before the program
 * does.
 */
static void the_newest_go_at_last(void **state)
{
	(void)state;
	assert_int_equal(place_madvise(&place, base, NR_FRAMES * PAGE_BYTES, MADV_RANDOM), 0);
	take_all_but(8);
	for (unsigned page = 0; page < 400; page++)
		touch(&page, 1, false);
}

/*
 * Low and high go up while faults have to reclaim by themselves, to a sixteenth of the frames; calm brings them down.
 */
static void watermarks_follow_the_faults(void **state)
{
	struct node *node = &world.pager->nodes[0];
	uint32_t min = node->wmark.min, low = node->wmark.low, high = node->wmark.high;

	(void)state;
	watermarks_set(&node->wmark, 64 * NR_FRAMES);
	min = node->wmark.min;
	low = node->wmark.low;
	high = node->wmark.high;
	for (unsigned i = 0; i < 100; i++)
		watermarks_adapt(&node->wmark, true);
	assert_int_equal(node->wmark.min, min);
	assert_true(node->wmark.low >= 2 * low && node->wmark.high >= 2 * high);
	assert_true(node->wmark.high <= 64 * NR_FRAMES / 16);
	assert_true(node->wmark.low < node->wmark.high);
	for (unsigned i = 0; i < 3; i++)
		watermarks_adapt(&node->wmark, false);
	assert_true(node->wmark.high > high);
	for (unsigned i = 0; i < 400; i++)
		watermarks_adapt(&node->wmark, false);
	assert_int_equal(node->wmark.low, low);
	assert_int_equal(node->wmark.high, high);
	watermarks_set(&node->wmark, PAGER_MIN_FRAMES); /* where that is no room, they stay */
	high = node->wmark.high;
	watermarks_adapt(&node->wmark, true);
	assert_int_equal(node->wmark.high, high);
	watermarks_set(&node->wmark, NR_FRAMES);
}

/* A fault that finds no frame in time counts; the round of kswapd that follows sees it. */
static void a_direct_reclaim_raises_them(void **state)
{
	struct node *node = &world.pager->nodes[0];

	(void)state;
	watermarks_set(&node->wmark, 64 * NR_FRAMES);
	uint32_t high = node->wmark.high;

	world.pager->kswapd_woken = true;
	kswapd_step(world.pager, KSWAPD_PAGES);
	assert_int_equal(node->wmark.high, high);
	try_to_free_pages(world.pager);
	world.pager->kswapd_woken = true;
	kswapd_step(world.pager, KSWAPD_PAGES);
	assert_true(node->wmark.high > high);
	watermarks_set(&node->wmark, NR_FRAMES);
}

/* All requests for writes are on their way: a fault that needs a frame looks at one batch, and waits. */
static void where_no_write_can_start_little_is_looked_at(void **state)
{
	struct anonmm_stats before;

	(void)state;
	fill(NR_FRAMES - world.pager->nodes[0].wmark.low);
	take_all_but(0);
	before = stats();
	world.pager->nr_inflight[SWAP_WRITE] += world.pager->nr_io;
	try_to_free_pages(world.pager);
	world.pager->nr_inflight[SWAP_WRITE] -= world.pager->nr_io;
	assert_true(stats().scanned - before.scanned <= SWAP_CLUSTER_MAX);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_fits_is_never_armed),
		TEST(what_fits_by_now_is_left_alone),
		TEST(kswapd_at_rest_looks_at_nothing),
		TEST(pages_are_armed_as_frames_are_needed),
		TEST(watermarks_follow_the_faults),
		TEST(a_direct_reclaim_raises_them),
		cmocka_unit_test_setup_teardown(
			where_no_write_can_start_little_is_looked_at, set_up, give_back_and_tear_down),
		cmocka_unit_test_setup_teardown(
			where_nothing_can_be_had_little_is_looked_at, set_up_without_swap, tear_down),
		cmocka_unit_test_setup_teardown(
			what_faults_bring_stays_until_it_is_used, set_up_small, give_back_and_tear_down),
		cmocka_unit_test_setup_teardown(the_newest_go_at_last, set_up_small, give_back_and_tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * KSM on real memory: a frame has one place only, so equal pages share a slot. Skipped where the host refuses
 * userfaultfd.
 */
#define _GNU_SOURCE
#include "../needs.h"
#include "../world.h"
#include "mm/page/page.h"

#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>
#include <cmocka.h>

#define RW (PROT_READ | PROT_WRITE)
#define NR_PAGES 64u

static struct world world;
static struct place place;
static uint64_t base;

/* A fault lets the program go on before it is quite over: look again. */
static void valid(void)
{
	char why[200];
	const char *wrong = pager_validate(world.pager, why, sizeof(why));

	for (unsigned i = 0; wrong && i < 1000; i++) {
		usleep(100);
		wrong = pager_validate(world.pager, why, sizeof(why));
	}
	if (wrong)
		fail_msg("%s", wrong);
}

static struct anonmm_stats stats(void)
{
	struct anonmm_stats now;

	pager_stats(world.pager, &now);
	return now;
}

static uint64_t *word(unsigned page)
{
	return (uint64_t *)(uintptr_t)(base + page * PAGE_BYTES + 128);
}

static struct page_view view_of(unsigned page)
{
	struct page_view view;

	space_view(place.space, base + page * PAGE_BYTES, &view);
	return view;
}

static void advise(unsigned first, unsigned nr, int advice)
{
	assert_int_equal(place_madvise(&place, base + first * PAGE_BYTES, nr * PAGE_BYTES, advice), 0);
}

static void end_writes(void)
{
	while (pager_in_flight(world.pager, SWAP_WRITE))
		pager_poll(world.pager, SWAP_WRITE, 1);
}

/* The last fault may not be quite over: its page is passed over then. */
static void page_out(unsigned first, unsigned nr)
{
	for (unsigned i = first; i < first + nr; i++) {
		while (view_of(i).pte != PTE_KIND_SWAP) {
			advise(i, 1, MADV_PAGEOUT);
			end_writes();
		}
	}
}

static void arm(unsigned first, unsigned nr)
{
	for (unsigned i = first; i < first + nr; i++)
		while (view_of(i).pte == PTE_KIND_PRESENT && view_of(i).pte_valid)
			advise(i, 1, MADV_COLD);
}

static int scan(void)
{
	int merged = ksmd_step(world.pager, 100000);

	assert_true(merged >= 0);
	valid();
	return merged;
}

static int merge(void)
{
	int first = scan();

	return first + scan();
}

/* In the test itself: its handler for SIGBUS goes before cmocka's. Births one by one. */
static void open_or_skip(bool copy)
{
	struct world_config config = {.kind = ANONMM_UFFD,
		.nr_frames = 256,
		.faults = ANONMM_FAULTS_THREAD,
		.copy = copy,
		.space_bytes = 64 * MIB,
		.swap = "file:/var/tmp?size=8M"};

	base = 0;
	if (world_open(&world, &config))
		SKIP_WITHOUT(REAL_MEMORY, "%s", world.why);
	assert_int_equal(place_open(&place, &world), 0);
	assert_int_equal(place_mmap(&place, &base, NR_PAGES * PAGE_BYTES, RW, 0), 0);
	advise(0, NR_PAGES, MADV_RANDOM);
	advise(0, NR_PAGES, MADV_MERGEABLE);
}

static void close_empty(void)
{
	place_close(&place);
	end_writes();
	valid();
	assert_int_equal(stats().frames_free, stats().frames);
	assert_int_equal(stats().slots_used, 0);
	world_close(&world);
}

static void fill(unsigned first, unsigned nr, uint64_t value)
{
	for (unsigned i = first; i < first + nr; i++)
		*word(i) = value;
}

static void assert_holds(unsigned first, unsigned nr, uint64_t value)
{
	for (unsigned i = first; i < first + nr; i++)
		assert_int_equal(*(volatile uint64_t *)word(i), value);
	valid();
}

static void swapped_out_pages_share_a_slot(bool copy)
{
	open_or_skip(copy);
	fill(0, 8, 7);
	fill(8, 8, 8);
	assert_int_equal(merge(), 0); /* all in use */
	page_out(0, 16);
	assert_int_equal(view_of(0).pte, PTE_KIND_SWAP);
	assert_int_equal(stats().slots_used, 16);
	assert_int_equal(scan(), 0); /* seen once */
	assert_int_equal(scan(), 16);
	assert_int_equal(stats().slots_used, 2);
	assert_int_equal(stats().merged, 16);
	assert_int_equal(view_of(0).swap_count, 8);
	assert_int_equal(scan(), 0);
	assert_holds(0, 8, 7);
	assert_holds(8, 8, 8);
	fill(1, 1, 9);
	assert_holds(0, 1, 7);
	assert_holds(2, 6, 7);
	close_empty();
}

static void armed_pages_share_a_slot(bool copy)
{
	open_or_skip(copy);
	fill(0, 10, 7);
	fill(10, 1, 8);
	arm(0, 11);
	valid();
	assert_int_equal(view_of(0).pte, PTE_KIND_PRESENT);
	assert_false(view_of(0).pte_valid);
	assert_int_equal(merge(), 10);
	assert_int_equal(view_of(0).pte, PTE_KIND_SWAP);
	assert_int_equal(view_of(9).swap_count, 10);
	assert_int_equal(view_of(10).pte, PTE_KIND_PRESENT);
	assert_int_equal(stats().frames - stats().frames_free, 2);
	assert_int_equal(stats().written, 0); /* reclaim's to write */
	fill(3, 1, 9);
	assert_holds(0, 3, 7);
	assert_holds(4, 6, 7);
	assert_holds(3, 1, 9);
	assert_int_equal(stats().slots_used, 1); /* the last reader's, which has the page itself */
	close_empty();
}

/* One armed, one on the device; then a page that was written since it was seen. */
static void armed_and_swapped_out_pages_meet(bool copy)
{
	open_or_skip(copy);
	fill(0, 4, 7);
	page_out(0, 2);
	arm(2, 2);
	assert_int_equal(merge(), 4);
	assert_int_equal(view_of(0).swap_count, 4);
	assert_int_equal(stats().slots_used, 1);
	fill(10, 2, 5);
	arm(10, 2);
	scan();
	fill(10, 1, 6);
	arm(10, 2);
	assert_int_equal(merge(), 0);
	assert_holds(0, 4, 7);
	assert_holds(10, 1, 6);
	assert_holds(11, 1, 5);
	advise(0, NR_PAGES, MADV_UNMERGEABLE);
	arm(0, NR_PAGES);
	assert_int_equal(merge(), 0);
	close_empty();
}

/* Again and again, with few contents, beside what each page must hold. */
static void random_touches_lose_nothing(bool copy)
{
	uint64_t holds[NR_PAGES] = {0}, seed = 12345;

	open_or_skip(copy);
	for (unsigned step = 0; step < 3000; step++) {
		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		unsigned page = (unsigned)(seed >> 40) % NR_PAGES, what = (unsigned)(seed >> 33) % 8;
		unsigned nr = 1 + (unsigned)(seed >> 50) % (NR_PAGES - page);

		if (what < 2)
			*word(page) = holds[page] = (seed >> 20) % 3;
		else if (what == 2)
			assert_int_equal(*(volatile uint64_t *)word(page), holds[page]);
		else if (what == 3)
			advise(page, nr, MADV_PAGEOUT);
		else if (what == 4)
			advise(page, nr, MADV_COLD);
		else if (what == 5)
			pager_poll(world.pager, SWAP_WRITE, 0);
		else
			assert_true(ksmd_step(world.pager, nr) >= 0);
		valid();
	}
	assert_true(stats().merged > 100);
	for (unsigned i = 0; i < NR_PAGES; i++)
		assert_holds(i, 1, holds[i]);
	close_empty();
}

#define BOTH_WAYS(name)                                                                                      \
	static void name##_move(void **state)                                                                \
	{                                                                                                    \
		(void)state;                                                                                 \
		name(false);                                                                                 \
	}                                                                                                    \
	static void name##_copy(void **state)                                                                \
	{                                                                                                    \
		(void)state;                                                                                 \
		name(true);                                                                                  \
	}

BOTH_WAYS(swapped_out_pages_share_a_slot)
BOTH_WAYS(armed_pages_share_a_slot)
BOTH_WAYS(armed_and_swapped_out_pages_meet)
BOTH_WAYS(random_touches_lose_nothing)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(swapped_out_pages_share_a_slot_move),
		cmocka_unit_test(swapped_out_pages_share_a_slot_copy),
		cmocka_unit_test(armed_pages_share_a_slot_move),
		cmocka_unit_test(armed_pages_share_a_slot_copy),
		cmocka_unit_test(armed_and_swapped_out_pages_meet_move),
		cmocka_unit_test(armed_and_swapped_out_pages_meet_copy),
		cmocka_unit_test(random_touches_lose_nothing_move),
		cmocka_unit_test(random_touches_lose_nothing_copy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

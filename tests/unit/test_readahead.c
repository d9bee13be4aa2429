/* SPDX-License-Identifier: MIT */
/*
 * Streams of faults: which pages are read and born before anybody asks for them, to the page. The machine is the soft
 * one, so each number follows from the rules of contract/policy.h alone.
 */
#define _GNU_SOURCE
#include "../world.h"
#include "mm/mm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define RW (PROT_READ | PROT_WRITE)
#define NR_FRAMES 8192u /* the widest window is 128 pages */
#define NR_PAGES 4096u
#define WINDOW 128u

static struct world world;
static struct place place;
static uint64_t base;
static struct anonmm_stats before;

static int set_up(void **state)
{
	struct world_config config = {.kind = ANONMM_SOFT,
		.nr_frames = NR_FRAMES,
		.space_bytes = 256 * MIB,
		.swap = "mem:?size=64M"};

	(void)state;
	base = 0;
	memset(&before, 0, sizeof(before));
	if (world_open(&world, &config) || place_open(&place, &world))
		return -1;
	return place_mmap(&place, &base, NR_PAGES * PAGE_BYTES, RW, 0);
}

static int tear_down(void **state)
{
	struct anonmm_stats now;
	char why[200];
	const char *wrong = pager_validate(world.pager, why, sizeof(why));

	(void)state;
	if (wrong)
		fail_msg("%s", wrong);
	place_close(&place);
	while (pager_poll(world.pager, SWAP_READ, 1) + pager_poll(world.pager, SWAP_WRITE, 1) > 0)
		;
	pager_stats(world.pager, &now);
	assert_int_equal(now.readahead, now.readahead_hits + now.readahead_misses);
	world_close(&world);
	return 0;
}

/* What has been counted since the last call. */
static struct anonmm_stats news(void)
{
	struct anonmm_stats now, diff;

	pager_stats(world.pager, &now);
	diff = now;
	diff.faults -= before.faults;
	diff.major_faults -= before.major_faults;
	diff.swapped_in -= before.swapped_in;
	diff.swapped_out -= before.swapped_out;
	diff.readahead -= before.readahead;
	diff.readahead_hits -= before.readahead_hits;
	diff.readahead_misses -= before.readahead_misses;
	diff.born -= before.born;
	before = now;
	return diff;
}

static uint64_t addr_of(unsigned page)
{
	return base + (uint64_t)page * PAGE_BYTES;
}

static void store(unsigned page)
{
	assert_int_equal(soft_store64(place.mmu, addr_of(page), page + 1), 0);
}

static void load(unsigned page)
{
	uint64_t value = 0;

	assert_int_equal(soft_load64(place.mmu, addr_of(page), &value), 0);
	assert_int_equal(value, page + 1);
}

/* Every page holds its number, and is on the device. What the streams saw of that is forgotten. */
static void fill_and_squeeze(void)
{
	for (unsigned page = 0; page < NR_PAGES; page++)
		store(page);
	world_squeeze(&world);
	memset(&find_vma(place.space, base)->streams, 0, sizeof(struct fault_streams));
	assert_int_equal(news().frames_used, 1);
}

static void end_reads(void)
{
	while (pager_poll(world.pager, SWAP_READ, 0) > 0)
		;
}

static bool in_memory(unsigned page)
{
	struct page_view view;

	space_view(place.space, addr_of(page), &view);
	return view.pte == PTE_KIND_PRESENT || view.pfn != PFN_NONE;
}

/* ---- Swap-in -------------------------------------------------------------------------------- */

/*
 * Of @nr pages in a row: the first two alone, the next with 3, then always a window more; one fault of 64 pages maps
 * what is there.
 */
static void assert_stream(const struct anonmm_stats *n, unsigned nr)
{
	assert_int_equal(n->swapped_in, nr);
	assert_int_equal(n->readahead, nr - 3);
	assert_int_equal(n->readahead_hits, nr - 3);
	assert_int_equal(n->readahead_misses, 0);
	assert_int_equal(n->major_faults, 3);
}

static void a_forward_scan_is_read_ahead(void **state)
{
	(void)state;
	fill_and_squeeze();
	for (unsigned page = 0; page < NR_PAGES; page++)
		load(page);
	struct anonmm_stats n = news();

	assert_stream(&n, NR_PAGES);
	/* 1, 1, 2, 2 (the others are not read yet), 8, 16, 32: 62 pages to the eighth; the last one is cut */
	assert_int_equal(n.faults, 2 + 5 + (NR_PAGES - 62 + 63) / 64);
}

static void a_backward_scan_is_read_behind(void **state)
{
	(void)state;
	fill_and_squeeze();
	for (unsigned page = NR_PAGES; page-- > 0;)
		load(page);
	struct anonmm_stats n = news();

	assert_stream(&n, NR_PAGES);
	assert_int_equal(n.faults, 2 + 5 + (NR_PAGES - 62 + 63) / 64);
}

/* Four at equal distances are a stride: what lies between is left where it is. */
static void scan_by(unsigned from, int step)
{
	unsigned nr = 0;

	fill_and_squeeze();
	for (int64_t page = from; page >= 0 && page < NR_PAGES; page += step, nr++)
		load((unsigned)page);
	struct anonmm_stats n = news();

	assert_int_equal(n.swapped_in, nr);
	assert_int_equal(n.major_faults, 4);
	assert_int_equal(n.readahead, nr - 4);
	assert_int_equal(n.readahead_hits, nr - 4);
	assert_int_equal(n.readahead_misses, 0);
	assert_in_range(n.faults, nr / 8, 4 + 3 + nr / 8);
}

static void strides_are_followed(void **state)
{
	(void)state;
	scan_by(0, 2);
	scan_by(3, 7);
	scan_by(1, 33);
	scan_by(NR_PAGES - 1, -5);
	scan_by(NR_PAGES - 2, -64);
}

static void streams_may_be_interleaved(void **state)
{
	(void)state;
	fill_and_squeeze();
	for (unsigned i = 0; i < 500; i++) {
		load(i);
		load(1500 - i);
		load(1600 + i * 3);
		load(4095 - i * 2);
	}
	struct anonmm_stats n = news();

	/*
	 * A neighbour is seen among the last two faults only: four for each. Where two of them meet, some are there
	 * already.
	 */
	assert_in_range(n.major_faults, 3 * 4, 4 * 5);
	assert_true(n.readahead_hits >= 500 * 4 - 4 * 5);
}

/* All pages, each once, in no order. */
static void shuffle(unsigned pages[NR_PAGES])
{
	uint64_t random = 1;

	for (unsigned i = 0; i < NR_PAGES; i++)
		pages[i] = i;
	for (unsigned i = NR_PAGES - 1; i > 0; i--) {
		random = random * 6364136223846793005u + 1442695040888963407u;
		unsigned other = (unsigned)(random >> 33) % (i + 1), page = pages[i];

		pages[i] = pages[other];
		pages[other] = page;
	}
}

/* But for what chance puts beside each other: 4 of 4096 for each fault, and then 3 pages more. */
static void random_access_is_one_page(void **state)
{
	static unsigned pages[NR_PAGES];

	(void)state;
	fill_and_squeeze();
	shuffle(pages);
	for (unsigned i = 0; i < NR_PAGES / 2; i++)
		load(pages[i]);
	struct anonmm_stats n = news();

	assert_true(n.readahead <= NR_PAGES / 2 * 3 * 4 / 4096);
	assert_true(n.swapped_in <= NR_PAGES / 2 + n.readahead);
}

/* Every third page, not evenly: windows stay narrow, so that at most a part of what lies between is read. */
static void a_window_closes_when_the_program_goes_past_it(void **state)
{
	unsigned touched = 0;

	(void)state;
	fill_and_squeeze();
	for (unsigned page = 0; page < 16; page++)
		load(page);
	end_reads();
	news();
	for (unsigned page = 64, i = 0; page < 2048; page += 9 + (i++ * 7) % 5, touched++)
		load(page);
	struct anonmm_stats n = news();

	assert_true(n.readahead < touched / 4);
}

static void what_was_passed_by_goes_first(void **state)
{
	(void)state;
	fill_and_squeeze();
	for (unsigned page = 0; page < 20; page++)
		load(page);
	end_reads();
	load(40); /* 31 was expected and has been read, as have those up to 40 */
	news();
	for (unsigned freed = 0; freed < 9;)
		freed += pager_reclaim(world.pager, 1);
	struct anonmm_stats n = news();

	assert_int_equal(n.readahead_misses, 9);
	for (unsigned page = 0; page < 50; page++)
		assert_int_equal(in_memory(page), page < 31 || page > 39);
}

static void pages_read_for_nobody_are_counted(void **state)
{
	(void)state;
	fill_and_squeeze();
	for (unsigned page = 0; page < 8; page++)
		load(page);
	end_reads();
	struct anonmm_stats n = news();
	uint64_t unread = n.readahead - n.readahead_hits;

	assert_true(unread > 0);
	world_squeeze(&world);
	n = news();
	assert_int_equal(n.readahead_misses, unread);
	for (unsigned page = 8; page < NR_PAGES; page++)
		load(page);
}

/* ---- Births ---------------------------------------------------------------------------------- */

static void births_follow_the_program(void **state)
{
	(void)state;
	news();
	for (unsigned page = 0; page < 1024; page++)
		store(page);
	struct anonmm_stats n = news();
	uint64_t faults = n.faults;

	assert_in_range(n.born, 1024, 1024 + FAULT_AROUND - 1);
	assert_in_range(faults, 1024 / 64, 1024 / 64 + 7);
	for (unsigned page = NR_PAGES; page-- > NR_PAGES - 1024;)
		store(page);
	n = news();
	assert_in_range(n.born, 1024, 1024 + FAULT_AROUND - 1);
	assert_int_equal(n.faults, faults);
	for (unsigned page = 1100; page < 1100 + 16 * 20; page += 16)
		store(page);
	assert_int_equal(news().born, 20);
}

/* A run that goes down has its frames in order, so that a machine moves it in one go. */
static void frames_ascend_with_addresses(void **state)
{
	struct page_view a, b;

	(void)state;
	for (unsigned page = NR_PAGES; page-- > NR_PAGES - 200;)
		store(page);
	space_view(place.space, addr_of(NR_PAGES - 150), &a);
	space_view(place.space, addr_of(NR_PAGES - 149), &b);
	assert_int_equal(a.pfn + 1, b.pfn);
}

/* ---- Advice ------------------------------------------------------------------------------------ */

static void sequential_is_wide_from_the_first_fault(void **state)
{
	(void)state;
	fill_and_squeeze();
	assert_int_equal(place_madvise(&place, base, NR_PAGES * PAGE_BYTES, MADV_SEQUENTIAL), 0);
	load(100);
	struct anonmm_stats n = news();

	assert_int_equal(n.readahead, 2 * WINDOW - 1);
	assert_int_equal(n.readahead_hits, FAULT_AROUND - 1);
	assert_int_equal(place_madvise(&place, base, NR_PAGES * PAGE_BYTES, MADV_DONTNEED), 0);
	news();
	store(2000);
	assert_int_equal(news().born, FAULT_AROUND);
}

/* Pages that were read in order go before those of others, though they were used later. */
static void sequential_pages_go_first(void **state)
{
	uint64_t other = 0;

	(void)state;
	fill_and_squeeze();
	assert_int_equal(place_mmap(&place, &other, 512 * PAGE_BYTES, RW, 0), 0);
	for (unsigned i = 0; i < 512; i++)
		assert_int_equal(soft_store64(place.mmu, other + i * PAGE_BYTES, i), 0);
	assert_int_equal(place_madvise(&place, base, NR_PAGES * PAGE_BYTES, MADV_SEQUENTIAL), 0);
	for (unsigned page = 0; page < 2048; page++)
		load(page);
	news();
	pager_reclaim(world.pager, 1024);
	for (unsigned i = 0; i < 512; i++) {
		struct page_view view;

		space_view(place.space, other + i * PAGE_BYTES, &view);
		assert_int_equal(view.pte, PTE_KIND_PRESENT);
	}
	assert_int_equal(news().swapped_out, 1024);
}

static void random_is_one_page_whatever_the_program_does(void **state)
{
	(void)state;
	assert_int_equal(place_madvise(&place, base, NR_PAGES * PAGE_BYTES, MADV_RANDOM), 0);
	news();
	for (unsigned page = 0; page < NR_PAGES; page++)
		store(page);
	struct anonmm_stats n = news();

	assert_int_equal(n.born, NR_PAGES);
	assert_int_equal(n.faults, NR_PAGES);
	world_squeeze(&world);
	news();
	for (unsigned page = 0; page < NR_PAGES; page++)
		load(page);
	n = news();
	assert_int_equal(n.readahead, 0);
	assert_int_equal(n.major_faults, NR_PAGES);
}

/* All of the range, and nothing is waited for: the reads have begun, and end when they end. */
static void willneed_reads_a_range(void **state)
{
	(void)state;
	fill_and_squeeze();
	assert_int_equal(place_madvise(&place, addr_of(100), 1500 * PAGE_BYTES, MADV_WILLNEED), 0);
	struct anonmm_stats n = news();

	assert_int_equal(n.readahead, 1500);
	assert_int_equal(n.swapped_in, 0);
	assert_true(pager_in_flight(world.pager, SWAP_READ));
	while (pager_poll(world.pager, SWAP_READ, 0) > 0)
		;
	assert_int_equal(news().swapped_in, 1500);
	for (unsigned page = 100; page < 1600; page++)
		load(page);
	n = news();
	assert_int_equal(n.readahead_hits, 1500);
	assert_true(n.major_faults <= 1); /* the stream goes on behind the range: nobody waits for that */
}

/* It is advice: frames that others need are not taken for it. */
static void willneed_leaves_the_low_watermark(void **state)
{
	uint64_t other = 0;

	(void)state;
	fill_and_squeeze();
	assert_int_equal(place_mmap(&place, &other, 6144 * PAGE_BYTES, RW, 0), 0);
	for (unsigned i = 0; i < 6144; i++)
		assert_int_equal(soft_store64(place.mmu, other + i * PAGE_BYTES, i), 0);
	struct anonmm_stats n = news();
	uint64_t spare = n.frames_free;

	assert_int_equal(place_madvise(&place, base, NR_PAGES * PAGE_BYTES, MADV_WILLNEED), 0);
	n = news();
	assert_true(n.readahead > 1024 && n.readahead < spare);
	assert_true(n.frames_free > 0);
	assert_int_equal(n.swapped_out, 0);
}

/* What the device has to do lasts until kswapd, woken now, has frames for a large request. */
static void few_frames_wait_for_more(void **state)
{
	static struct page *held[NR_FRAMES];
	struct pager *pager = world.pager;
	struct fault_stream s = {.next = 100, .window = WINDOW, .ahead = WINDOW / 2 + 1, .step = 1};
	struct plug plug;
	unsigned nr = 0;

	(void)state;
	fill_and_squeeze();
	plug_init(&plug);
	pager_lock(pager);
	while (frames_above_low(pager) > 10)
		held[nr++] = frame_alloc(pager);
	swapin_ahead(pager, find_vma(place.space, base), &s, &plug);
	assert_int_equal(s.ahead, WINDOW / 2 + 1);
	assert_false(pager->kswapd_woken);
	s.ahead = WINDOW / 2;
	swapin_ahead(pager, find_vma(place.space, base), &s, &plug);
	assert_int_equal(s.ahead, WINDOW / 2 + 10);
	assert_true(pager->kswapd_woken);
	plug_submit(pager, &plug);
	while (nr > 0)
		page_put(pager, held[--nr]);
	pager_unlock(pager);
	end_reads();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_forward_scan_is_read_ahead, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_backward_scan_is_read_behind, set_up, tear_down),
		cmocka_unit_test_setup_teardown(strides_are_followed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(streams_may_be_interleaved, set_up, tear_down),
		cmocka_unit_test_setup_teardown(random_access_is_one_page, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			a_window_closes_when_the_program_goes_past_it, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_was_passed_by_goes_first, set_up, tear_down),
		cmocka_unit_test_setup_teardown(pages_read_for_nobody_are_counted, set_up, tear_down),
		cmocka_unit_test_setup_teardown(births_follow_the_program, set_up, tear_down),
		cmocka_unit_test_setup_teardown(frames_ascend_with_addresses, set_up, tear_down),
		cmocka_unit_test_setup_teardown(sequential_is_wide_from_the_first_fault, set_up, tear_down),
		cmocka_unit_test_setup_teardown(sequential_pages_go_first, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			random_is_one_page_whatever_the_program_does, set_up, tear_down),
		cmocka_unit_test_setup_teardown(willneed_reads_a_range, set_up, tear_down),
		cmocka_unit_test_setup_teardown(willneed_leaves_the_low_watermark, set_up, tear_down),
		cmocka_unit_test_setup_teardown(few_frames_wait_for_more, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

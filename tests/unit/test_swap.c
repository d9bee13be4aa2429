/* SPDX-License-Identifier: MIT */
/*
 * Several swap areas: which one a page goes to, what happens when there is no room, and how the memory of a compressed
 * store takes the place of frames.
 */
#define _GNU_SOURCE
#include "../world.h"
#include "mm/mm.h"
#include "swap/faulty.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define NR_SLOTS 16u

static struct swapdev *device(void)
{
	struct swapdev *dev;
	char why[200];

	assert_int_equal(swapdev_open("mem:?size=64K", &dev, why, sizeof(why)), 0);
	assert_int_equal(dev->nr_slots, NR_SLOTS);
	return dev;
}

/* The area of the swapped-out page at @addr. */
static unsigned area_of(struct place *place, uint64_t addr)
{
	struct page_view view;

	space_view(place->space, addr, &view);
	assert_int_equal(view.pte, PTE_KIND_SWAP);
	return view.swap_type;
}

/* Opened as 0, 1, 2 with priorities 0, 5, 5: 1 is filled first, then 2, then 0. Pages beyond all of them stay. */
static void areas_are_filled_by_priority(void **state)
{
	struct world_config config = {.kind = ANONMM_SOFT,
		.nr_frames = 2 * PAGER_MIN_FRAMES,
		.space_bytes = 16 * MIB,
		.dev = device()};
	static const unsigned filled[] = {1, 2, 0};
	struct page_view view;
	struct world world;
	struct place place;
	uint64_t base = 0;

	(void)state;
	assert_int_equal(world_open(&world, &config), 0);
	assert_int_equal(pager_add_swap(world.pager, device(), 5), 0);
	assert_int_equal(pager_add_swap(world.pager, device(), 5), 0);
	assert_int_equal(place_open(&place, &world), 0);
	assert_int_equal(place_mmap(&place, &base, 50 * PAGE_BYTES, PROT_READ | PROT_WRITE, 0), 0);
	for (unsigned i = 0; i < 50; i++)
		assert_int_equal(place_write(&place, base + i * PAGE_BYTES, &(uint64_t){i + 1}, 8), 0);
	for (unsigned i = 0; i < 50; i++)
		assert_int_equal(place_madvise(&place, base + i * PAGE_BYTES, PAGE_BYTES, MADV_PAGEOUT), 0);
	for (unsigned i = 0; i < 3 * NR_SLOTS; i++)
		assert_int_equal(area_of(&place, base + i * PAGE_BYTES), filled[i / NR_SLOTS]);
	space_view(place.space, base + 3 * NR_SLOTS * PAGE_BYTES, &view);
	assert_int_equal(view.pte, PTE_KIND_PRESENT);
	for (unsigned i = 0; i < 50; i++) {
		uint64_t word = 0;

		assert_int_equal(place_read(&place, base + i * PAGE_BYTES, &word, 8), 0);
		assert_int_equal(word, i + 1);
	}
	assert_null(pager_validate(world.pager, world.why, sizeof(world.why)));
	place_close(&place);
	world_close(&world);
}

/* ---- Devices without room ------------------------------------------------------------------ */

/* A page that half fits: numbers that compress well, and differ. */
static void fill_page(uint64_t *words, unsigned page)
{
	for (unsigned i = 0; i < PAGE_BYTES / sizeof(*words); i++)
		words[i] = i % 4 ? page : (uint64_t)page * 1000003 + i;
}

static void write_pages(struct place *place, uint64_t base, unsigned first, unsigned nr)
{
	uint64_t words[PAGE_BYTES / sizeof(uint64_t)];

	for (unsigned page = first; page < first + nr; page++) {
		fill_page(words, page);
		assert_int_equal(place_write(place, base + page * PAGE_BYTES, words, PAGE_BYTES), 0);
	}
}

static void check_pages(struct place *place, uint64_t base, unsigned first, unsigned nr)
{
	uint64_t want[PAGE_BYTES / sizeof(uint64_t)], found[PAGE_BYTES / sizeof(uint64_t)];

	for (unsigned page = first; page < first + nr; page++) {
		fill_page(want, page);
		assert_int_equal(place_read(place, base + page * PAGE_BYTES, found, PAGE_BYTES), 0);
		assert_memory_equal(want, found, PAGE_BYTES);
	}
}

static void assert_valid(struct world *world)
{
	const char *wrong = pager_validate(world->pager, world->why, sizeof(world->why));

	if (wrong)
		fail_msg("the world is not valid: %s", wrong);
}

/* A device that is full when it holds 20 pages, and @nr pages of memory. Returns where they begin. */
static uint64_t open_with_room_for_20(struct world *world, struct place *place, unsigned nr)
{
	struct world_config config = {.kind = ANONMM_SOFT,
		.nr_frames = 2 * PAGER_MIN_FRAMES,
		.space_bytes = 16 * MIB,
		.swap = "faulty:mem:?size=4M&full=20"};
	uint64_t base = 0;

	assert_int_equal(world_open(world, &config), 0);
	assert_int_equal(place_open(place, world), 0);
	assert_int_equal(place_mmap(place, &base, nr * PAGE_BYTES, PROT_READ | PROT_WRITE, 0), 0);
	return base;
}

/* The pages that it had no room for stay; no error is counted, no slot is lost, and later they go out. */
static void a_full_device_is_tried_again(void **state)
{
	struct anonmm_stats stats;
	struct world world;
	struct place place;
	uint64_t base;

	(void)state;
	base = open_with_room_for_20(&world, &place, 400);
	write_pages(&place, base, 0, 100);
	for (unsigned page = 0; page < 100; page++)
		assert_int_equal(
			place_madvise(&place, base + page * PAGE_BYTES, PAGE_BYTES, MADV_PAGEOUT), 0);
	while (pager_in_flight(world.pager, SWAP_WRITE))
		pager_poll(world.pager, SWAP_WRITE, 0);
	pager_stats(world.pager, &stats);
	assert_int_equal(stats.io_errors, 0);
	assert_true(stats.written <= 20);
	check_pages(&place, base, 0, 100);
	assert_valid(&world);

	/* Room again, and a slot that is freed says so. */
	faulty_full(world.dev, UINT32_MAX);
	assert_int_equal(place_munmap(&place, base, 10 * PAGE_BYTES), 0);
	write_pages(&place, base, 100, 300);
	check_pages(&place, base, 10, 390);
	pager_stats(world.pager, &stats);
	assert_true(stats.written > 200);
	assert_int_equal(stats.io_errors + stats.lost_pages, 0);
	assert_valid(&world);
	place_close(&place);
	while (pager_in_flight(world.pager, SWAP_WRITE))
		pager_poll(world.pager, SWAP_WRITE, 0);
	pager_stats(world.pager, &stats);
	assert_int_equal(stats.slots_used, 0);
	world_close(&world);
}

/* A slot whose page was refused gives no room when it is free; one that was written does. */
static void a_refused_page_s_slot_gives_no_room(void **state)
{
	struct world world;
	struct place place;
	uint64_t base;

	(void)state;
	base = open_with_room_for_20(&world, &place, 30);
	write_pages(&place, base, 0, 30);
	for (unsigned page = 0; page < 30; page++) {
		assert_int_equal(
			place_madvise(&place, base + page * PAGE_BYTES, PAGE_BYTES, MADV_PAGEOUT), 0);
		while (pager_in_flight(world.pager, SWAP_WRITE))
			pager_poll(world.pager, SWAP_WRITE, 0);
	}
	assert_true(world.pager->areas[0].full);
	assert_int_equal(place_munmap(&place, base + 20 * PAGE_BYTES, 10 * PAGE_BYTES), 0);
	assert_true(world.pager->areas[0].full);
	assert_int_equal(place_munmap(&place, base, PAGE_BYTES), 0);
	assert_false(world.pager->areas[0].full);
	check_pages(&place, base, 1, 19);
	assert_valid(&world);
	place_close(&place);
	world_close(&world);
}

static void end_writes(struct world *world)
{
	while (pager_in_flight(world->pager, SWAP_WRITE))
		pager_poll(world->pager, SWAP_WRITE, 0);
}

/* Page 20 is the first that finds no room: it has a slot, and nothing is in it. */
static uint64_t open_with_page_20_refused(struct world *world, struct place *place, unsigned nr)
{
	uint64_t base = open_with_room_for_20(world, place, nr);

	write_pages(place, base, 0, 21);
	for (unsigned page = 0; page <= 20; page++) {
		assert_int_equal(place_madvise(place, base + page * PAGE_BYTES, PAGE_BYTES, MADV_PAGEOUT), 0);
		end_writes(world);
	}
	assert_true(world->pager->areas[0].full);
	assert_int_equal(area_of(place, base + 20 * PAGE_BYTES), 0);
	return base;
}

/* Also when it was used meanwhile; but as soon as there may be room. */
static void a_refused_page_is_not_written_before_there_is_room(void **state)
{
	struct world world;
	struct place place;
	uint64_t base, requests;

	(void)state;
	base = open_with_page_20_refused(&world, &place, 30);
	requests = faulty_requests(world.dev, SWAP_WRITE);
	for (unsigned i = 0; i < 5; i++) {
		check_pages(&place, base, 20, 1);
		assert_int_equal(place_madvise(&place, base + 20 * PAGE_BYTES, PAGE_BYTES, MADV_PAGEOUT), 0);
		end_writes(&world);
	}
	assert_int_equal(faulty_requests(world.dev, SWAP_WRITE), requests);
	assert_valid(&world);
	assert_int_equal(place_munmap(&place, base, PAGE_BYTES), 0);
	check_pages(&place, base, 20, 1);
	assert_int_equal(place_madvise(&place, base + 20 * PAGE_BYTES, PAGE_BYTES, MADV_PAGEOUT), 0);
	end_writes(&world);
	assert_int_equal(faulty_requests(world.dev, SWAP_WRITE), requests + 1);
	assert_false(world.pager->areas[0].full);
	check_pages(&place, base, 1, 20);
	assert_valid(&world);
	place_close(&place);
	world_close(&world);
}

static void a_refused_page_that_is_used_goes_to_another_device(void **state)
{
	struct world world;
	struct place place;
	uint64_t base;

	(void)state;
	base = open_with_page_20_refused(&world, &place, 30);
	assert_int_equal(pager_add_swap(world.pager, device(), -1), 0);
	check_pages(&place, base, 20, 1);
	assert_int_equal(place_madvise(&place, base + 20 * PAGE_BYTES, PAGE_BYTES, MADV_PAGEOUT), 0);
	assert_int_equal(area_of(&place, base + 20 * PAGE_BYTES), 1);
	end_writes(&world);
	check_pages(&place, base, 0, 21);
	assert_valid(&world);
	place_close(&place);
	world_close(&world);
}

/* One thread uses the refused page all the time. Another needs a frame, and must not wait for writes for ever. */
static void a_full_device_ends_in_out_of_memory(void **state)
{
	enum fault_result result = FAULT_DONE;
	struct wait wait = {0};
	struct world world;
	struct place place;
	unsigned page = 21;
	uint64_t base;

	(void)state;
	base = open_with_page_20_refused(&world, &place, 400);
	for (unsigned tries = 0; tries < 1000 && result != FAULT_OOM; tries++) {
		check_pages(&place, base, 20, 1);
		result = handle_mm_fault(place.space, base + page * PAGE_BYTES, ACCESS_WRITE, &wait);
		if (result == FAULT_WAIT)
			end_writes(&world);
		page += result == FAULT_DONE;
	}
	assert_int_equal(result, FAULT_OOM);
	assert_true(page < 400);
	assert_int_equal(place_munmap(&place, base + 21 * PAGE_BYTES, 379 * PAGE_BYTES), 0);
	check_pages(&place, base, 0, 21);
	assert_valid(&world);
	place_close(&place);
	world_close(&world);
}

/* Every slot that is freed is discarded: a device that counts has all its room back. */
static void freed_slots_are_discarded(void **state)
{
	struct world_config config = {.kind = ANONMM_SOFT,
		.nr_frames = 2 * PAGER_MIN_FRAMES,
		.space_bytes = 16 * MIB,
		.swap = "faulty:mem:?size=4M&full=360"};
	struct anonmm_stats stats;
	struct world world;
	struct place place;

	(void)state;
	assert_int_equal(world_open(&world, &config), 0);
	for (int round = 0; round < 4; round++) {
		uint64_t base = 0;

		assert_int_equal(place_open(&place, &world), 0);
		assert_int_equal(place_mmap(&place, &base, 350 * PAGE_BYTES, PROT_READ | PROT_WRITE, 0), 0);
		write_pages(&place, base, 0, 350);
		check_pages(&place, base, 0, 350);
		place_close(&place);
		while (pager_in_flight(world.pager, SWAP_WRITE))
			pager_poll(world.pager, SWAP_WRITE, 0);
	}
	pager_stats(world.pager, &stats);
	assert_int_equal(stats.io_errors, 0);
	assert_int_equal(faulty_dealt(world.dev), 0);
	world_close(&world);
}

/* ---- Compressed memory that shares the limit ------------------------------------------------- */

#define SHARED_FRAMES 2048u

static void assert_within(struct world *world)
{
	struct anonmm_stats stats;

	pager_stats(world->pager, &stats);
	uint64_t lent = SHARED_FRAMES - stats.frames;

	assert_int_equal(stats.store_bytes, world->dev->ops->memory_used(world->dev));

	/* Its tables may have grown by a page or two since it was asked last. */
	assert_true(world->dev->ops->memory_used(world->dev) <= (lent + 8) * PAGE_BYTES);
	assert_true(stats.frames >= SHARED_FRAMES / 4);
	assert_valid(world);
}

/* Twice as many pages as frames: the store takes frames' place, and gives it back when the pages are gone. */
static void the_store_takes_the_place_of_frames(void **state)
{
	enum { PAGES = 2 * SHARED_FRAMES };
	struct world_config config = {
		.kind = ANONMM_SOFT, .nr_frames = SHARED_FRAMES, .space_bytes = 64 * MIB, .swap = *state};
	/* In front of another device it begins with a sixteenth of them. */
	bool in_front = strchr(*state, ',') != NULL;
	unsigned least = in_front ? SHARED_FRAMES / 32 : 200;
	struct anonmm_stats before, full, after;
	struct world world;
	struct place place;
	uint64_t base = 0;

	assert_int_equal(world_open(&world, &config), 0);
	assert_int_equal(place_open(&place, &world), 0);
	assert_int_equal(place_mmap(&place, &base, PAGES * PAGE_BYTES, PROT_READ | PROT_WRITE, 0), 0);
	pager_stats(world.pager, &before);
	for (unsigned page = 0; page < PAGES; page += 256) {
		write_pages(&place, base, page, 256);
		assert_within(&world);
	}
	pager_stats(world.pager, &full);
	assert_true(full.store_bytes > before.store_bytes + least * PAGE_BYTES);
	assert_true(in_front || full.frames < before.frames - least);
	for (unsigned page = 0; page < PAGES; page += 256) {
		check_pages(&place, base, page, 256);
		assert_within(&world);
	}
	assert_int_equal(place_munmap(&place, base, PAGES / 16 * 15 * PAGE_BYTES), 0);
	/* Nobody is in need of frames until somebody is: then the store gives back first. */
	assert_int_equal(place_mmap(&place, &base, PAGES / 2 * PAGE_BYTES, PROT_READ | PROT_WRITE, 0), 0);
	write_pages(&place, base, 0, PAGES / 2 - 200);
	assert_within(&world);
	pager_stats(world.pager, &after);
	assert_true(after.frames > full.frames + (in_front ? 0 : 100) - 1);
	place_close(&place);
	world_close(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(areas_are_filled_by_priority),
		cmocka_unit_test(a_full_device_is_tried_again),
		cmocka_unit_test(a_refused_page_s_slot_gives_no_room),
		cmocka_unit_test(a_refused_page_is_not_written_before_there_is_room),
		cmocka_unit_test(a_refused_page_that_is_used_goes_to_another_device),
		cmocka_unit_test(a_full_device_ends_in_out_of_memory),
		cmocka_unit_test(freed_slots_are_discarded),
		cmocka_unit_test_prestate(the_store_takes_the_place_of_frames, (void *)(uintptr_t) "zram:"),
		cmocka_unit_test_prestate(
			the_store_takes_the_place_of_frames, (void *)(uintptr_t) "zram:,mem:?size=32M"),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

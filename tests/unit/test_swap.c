/* SPDX-License-Identifier: MIT */
/* Several swap areas: which one a page goes to. */
#define _GNU_SOURCE
#include "../world.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(areas_are_filled_by_priority)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

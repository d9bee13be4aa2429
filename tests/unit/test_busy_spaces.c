/* SPDX-License-Identifier: MIT */
/* Calls and faults that meet locked pages, spaces that another call is changing, and machines whose operations fail. */
#define _GNU_SOURCE
#include "../world.h"
#include "mm/mm.h"
#include "swap/faulty.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define RW (PROT_READ | PROT_WRITE)

static struct world world;
static struct place place;
static uint64_t base;

static int set_up(void **state)
{
	struct world_config config = {.kind = ANONMM_SOFT,
		.nr_frames = 256,
		.space_bytes = 16 * MIB,
		.swap = "faulty:mem:?size=4M"};

	(void)state;
	base = 0;
	if (world_open(&world, &config) || place_open(&place, &world) ||
		place_mmap(&place, &base, 64 * PAGE_BYTES, RW, 0))
		return -1;
	return place_madvise(&place, base, 64 * PAGE_BYTES, MADV_RANDOM);
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
	world.ops = *world.real;
	place_close(&place);
	while (pager_poll(world.pager, SWAP_WRITE, 1) > 0)
		;
	valid();
	world_close(&world);
	return 0;
}

static void store(uint64_t addr, uint64_t value)
{
	assert_int_equal(soft_store64(place.mmu, addr, value), 0);
}

static uint64_t load(uint64_t addr)
{
	uint64_t value = 0;

	assert_int_equal(soft_load64(place.mmu, addr, &value), 0);
	return value;
}

static struct page *page_of(uint64_t addr)
{
	return pfn_page(world.pager,
		pte_pfn(pte_load(pgtable_find(&place.space->pgtable, space_index(place.space, addr)))));
}

static void a_space_has_one_writer_at_a_time(void **state)
{
	struct wait wait = {0};

	(void)state;
	assert_int_equal(space_lock(place.space, &wait), 0);
	assert_int_equal(space_lock(place.space, &wait), -EAGAIN);
	assert_int_equal(wait.what, WAIT_SPACE);
	assert_false(wait_is_over(world.pager, &wait));
	space_unlock(place.space);
	assert_true(wait_is_over(world.pager, &wait));
	assert_int_equal(space_lock(place.space, &wait), 0);
	space_unlock(place.space);
}

static void a_write_waits_for_a_page_that_is_locked(void **state)
{
	struct place child;
	struct wait wait = {0};
	struct page *page;

	(void)state;
	store(base, 5);
	assert_int_equal(place_fork(&place, &child), 0);
	page = page_of(base);
	assert_true(page_trylock(world.pager, page));
	assert_int_equal(handle_mm_fault(place.space, base, ACCESS_WRITE, &wait), FAULT_WAIT);
	assert_int_equal(wait.what, WAIT_PAGE);
	assert_int_equal(wait.pfn, page_pfn(world.pager, page));
	page_unlock(world.pager, page);
	assert_true(wait_is_over(world.pager, &wait));
	store(base, 6);
	assert_int_equal(load(base), 6);
	place_close(&child);
}

/* Advice is no order: a page that is busy is not given up. */
static void a_locked_page_is_not_given_up_by_advice(void **state)
{
	struct page *page;

	(void)state;
	store(base, 5);
	load(base + PAGE_BYTES); /* the zero page */
	page = page_of(base);
	assert_true(page_trylock(world.pager, page));
	assert_int_equal(place_madvise(&place, base, 3 * PAGE_BYTES, MADV_FREE), 0);
	assert_true(page_has(page, PG_swapbacked));
	page_unlock(world.pager, page);
	assert_int_equal(place_madvise(&place, base, 3 * PAGE_BYTES, MADV_FREE), 0);
	assert_false(page_has(page, PG_swapbacked));
	valid();
}

static void hints_change_nothing(void **state)
{
	static const int hints[] = {MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_DONTDUMP, MADV_DODUMP};
	struct page *page;

	(void)state;
	store(base, 5);
	page = page_of(base);
	for (size_t i = 0; i < ARRAY_SIZE(hints); i++)
		assert_int_equal(place_madvise(&place, base, PAGE_BYTES, hints[i]), 0);
	assert_ptr_equal(page_of(base), page);
	valid();
}

static void no_more_than_half_of_memory_is_locked(void **state)
{
	uint64_t addr = 0, len = 200 * PAGE_BYTES;

	(void)state;
	assert_int_equal(place_mmap(&place, &addr, len, RW, 0), 0);
	assert_int_equal(place_mlock(&place, addr, len, true), -ENOMEM);
	assert_false(find_vma(place.space, addr)->flags & VM_LOCKED);
	assert_int_equal(place_mlock(&place, addr, 100 * PAGE_BYTES, true), 0);
	assert_int_equal(place_mlock(&place, addr + 100 * PAGE_BYTES, 100 * PAGE_BYTES, true), -ENOMEM);
	valid();
	/* What was locked and goes is unevictable no more. */
	assert_int_equal(place_munmap(&place, addr, len), 0);
	assert_int_equal(world.pager->nodes[0].nr_pages[LIST_UNEVICTABLE], 0);
	valid();
}

static int refuse_to_unmap(struct machine *m, struct space *space, uint64_t start, uint64_t end)
{
	(void)m, (void)space, (void)start, (void)end;
	return -ENOMEM;
}

static void a_region_that_the_machine_keeps_is_an_error_and_no_vma(void **state)
{
	uint64_t end, value;
	int prot;

	(void)state;
	store(base, 5);
	world.ops.region_unmap = refuse_to_unmap;
	assert_int_equal(place_munmap(&place, base, PAGE_BYTES), -ENOMEM);
	assert_int_equal(space_kind_at(place.space, base, &end, &prot), SPACE_HOLE);
	assert_int_equal(soft_load64(place.mmu, base, &value), -EFAULT);
	valid();
}

static void mappings_larger_than_the_space_and_beyond_memory(void **state)
{
	uint64_t addr = 0;
	struct place small;
	struct file *file;
	struct wait wait = {0};

	(void)state;
	assert_int_equal(place_mmap(&place, &addr, 17 * MIB, PROT_READ, 0), -ENOMEM);
	assert_int_equal(place_mmap(&place, &addr, 6 * MIB, RW, 0), -ENOMEM); /* 1 MiB and 4 of swap */
	addr = 0;
	assert_int_equal(place_mmap(&place, &addr, 6 * MIB, RW, SPACE_NORESERVE), 0);
	assert_int_equal(place_munmap(&place, addr, 6 * MIB), 0);
	assert_int_equal(file_create(world.pager, NULL, NULL, 6 * MIB, &file), 0);
	addr = 0;
	assert_int_equal(
		place_mmap_file(&place, &addr, 6 * MIB, RW, SPACE_SHARED | SPACE_NORESERVE, file, 0), 0);
	assert_true(find_vma(place.space, addr)->flags & VM_NORESERVE);
	assert_int_equal(place_munmap(&place, addr, 6 * MIB), 0);
	assert_int_equal(WORLD_RETRY(&world, &wait, file_close(file, &wait)), 0);
	/* A hint where something is, or outside, is only a hint. */
	addr = base;
	assert_int_equal(place_mmap(&place, &addr, PAGE_BYTES, RW, 0), 0);
	assert_true(addr != base);
	addr = base + 64 * MIB;
	assert_int_equal(place_mmap(&place, &addr, PAGE_BYTES, RW, 0), 0);
	assert_true(addr < base + 16 * MIB);
	/* Address 0 stays free where a space begins there. */
	small = (struct place){.world = &world};
	assert_int_equal(soft_space_open(world.machine, 0, 16 * PAGE_BYTES, &small.mmu), 0);
	small.space = small.mmu->space;
	assert_int_equal(space_extent(small.space, &addr, &(uint64_t){0}), -ENOENT);
	addr = 0;
	assert_int_equal(place_mmap(&small, &addr, PAGE_BYTES, RW, 0), 0);
	assert_int_equal(addr, PAGE_BYTES);
	assert_int_equal(place_mmap(&small, &addr, 16 * PAGE_BYTES, PROT_READ, 0), -ENOMEM);
	place_close(&small);
	valid();
}

/* ---- The pager --------------------------------------------------------------------------------------- */

static void limits_and_devices_that_make_no_sense(void **state)
{
	struct pager_config config = {.machine = world.machine, .nr_frames = 256};
	struct swapdev *dev = world.dev;
	struct swapdev none = *dev;
	struct pager *pager;

	(void)state;
	config.nr_limit = PAGER_MIN_FRAMES - 1;
	assert_int_equal(pager_open(&config, &pager), -EINVAL);
	config.nr_limit = 257;
	assert_int_equal(pager_open(&config, &pager), -EINVAL);
	none.nr_slots = 0;
	assert_int_equal(pager_add_swap(world.pager, &none, 0), -ENOSPC);
	valid();
}

static void a_pager_in_use_is_not_closed(void **state)
{
	struct file *file;
	struct wait wait = {0};

	(void)state;
	assert_int_equal(pager_close(world.pager), -EBUSY);
	place_close(&place);
	assert_int_equal(file_create(world.pager, NULL, NULL, PAGE_BYTES, &file), 0);
	assert_int_equal(pager_close(world.pager), -EBUSY);
	assert_int_equal(WORLD_RETRY(&world, &wait, file_close(file, &wait)), 0);
	assert_int_equal(place_open(&place, &world), 0);
}

static void a_pager_is_at_rest_when_nobody_works_in_it(void **state)
{
	struct wait wait = {0};
	struct page *page;
	uint64_t wakes;

	(void)state;
	store(base, 5);
	page = page_of(base);
	assert_true(page_trylock(world.pager, page));
	assert_int_equal(pager_freeze(world.pager, &wait), -EAGAIN);
	page_unlock(world.pager, page);
	world.pager->nr_reclaimers = 1;
	assert_int_equal(pager_freeze(world.pager, &wait), -EAGAIN);
	world.pager->nr_reclaimers = 0;
	assert_int_equal(pager_freeze(world.pager, &wait), 0);
	assert_int_equal(ksmd_step(world.pager, 100), 0);
	assert_int_equal(handle_mm_fault(place.space, base + PAGE_BYTES, ACCESS_READ, &wait), FAULT_WAIT);
	assert_int_equal(wait.what, WAIT_SPACE);
	/* Few frames were free: kswapd, which only waited, goes on. */
	uint32_t low = world.pager->nodes[0].wmark.low;

	world.pager->nodes[0].wmark.low = UINT32_MAX;
	world.pager->kswapd_woken = false;
	wakes = world.pager->stats->kswapd_wakes;
	pager_thaw(world.pager);
	world.pager->nodes[0].wmark.low = low;
	assert_int_equal(world.pager->stats->kswapd_wakes, wakes + 1);
	assert_true(wait_is_over(world.pager, &wait));
	load(base + PAGE_BYTES);
	valid();
}

/* ---- ksmd ----------------------------------------------------------------------------------------------- */

static void two_equal_pages(void)
{
	store(base + 8, 7);
	store(base + PAGE_BYTES + 8, 7);
	assert_int_equal(place_madvise(&place, base, 2 * PAGE_BYTES, MADV_MERGEABLE), 0);
	assert_int_equal(ksmd_step(world.pager, 100), 0);
}

static void ksmd_passes_over_pages_that_are_locked(void **state)
{
	struct page *page, *merged;

	(void)state;
	two_equal_pages();
	page = page_of(base + PAGE_BYTES);
	assert_true(page_trylock(world.pager, page));
	assert_int_equal(ksmd_step(world.pager, 100), 0);
	page_unlock(world.pager, page);
	assert_int_equal(ksmd_step(world.pager, 100) + ksmd_step(world.pager, 100), 2);
	/* The same for a merged page that is locked when a third comes. */
	merged = page_of(base);
	store(base + 2 * PAGE_BYTES + 8, 7);
	assert_int_equal(place_madvise(&place, base, 3 * PAGE_BYTES, MADV_MERGEABLE), 0);
	assert_true(page_trylock(world.pager, merged));
	assert_int_equal(ksmd_step(world.pager, 100), 0);
	page_unlock(world.pager, merged);
	valid();
	assert_int_equal(ksmd_step(world.pager, 100) + ksmd_step(world.pager, 100), 1);
	assert_ptr_equal(page_of(base + 2 * PAGE_BYTES), merged);
	valid();
}

static void what_took_the_place_of_a_twin_is_looked_at_anew(void **state)
{
	(void)state;
	two_equal_pages();
	assert_int_equal(ksmd_step(world.pager, 1), 0); /* the first is in the tree */
	assert_int_equal(place_madvise(&place, base, PAGE_BYTES, MADV_DONTNEED), 0);
	load(base); /* the zero page */
	assert_int_equal(ksmd_step(world.pager, 100), 0);
	valid();
	assert_int_equal(load(base + 8), 0);
	assert_int_equal(load(base + PAGE_BYTES + 8), 7);
}

static void unmerging_waits_for_a_locked_page(void **state)
{
	struct wait wait = {0};
	struct page *merged;

	(void)state;
	two_equal_pages();
	assert_int_equal(ksmd_step(world.pager, 100), 2);
	merged = page_of(base);
	assert_true(page_trylock(world.pager, merged));
	assert_int_equal(space_lock(place.space, &wait), 0);
	assert_int_equal(space_madvise(place.space, base, 2 * PAGE_BYTES, MADV_UNMERGEABLE, &wait), -EAGAIN);
	assert_int_equal(wait.what, WAIT_PAGE);
	page_unlock(world.pager, merged);
	assert_int_equal(space_madvise(place.space, base, 2 * PAGE_BYTES, MADV_UNMERGEABLE, &wait), 0);
	space_unlock(place.space);
	assert_true(page_of(base) != page_of(base + PAGE_BYTES));
	assert_int_equal(load(base + 8), 7);
	valid();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_space_has_one_writer_at_a_time),
		TEST(a_write_waits_for_a_page_that_is_locked),
		TEST(a_locked_page_is_not_given_up_by_advice),
		TEST(hints_change_nothing),
		TEST(no_more_than_half_of_memory_is_locked),
		TEST(a_region_that_the_machine_keeps_is_an_error_and_no_vma),
		TEST(mappings_larger_than_the_space_and_beyond_memory),
		TEST(limits_and_devices_that_make_no_sense),
		TEST(a_pager_in_use_is_not_closed),
		TEST(a_pager_is_at_rest_when_nobody_works_in_it),
		TEST(ksmd_passes_over_pages_that_are_locked),
		TEST(what_took_the_place_of_a_twin_is_looked_at_anew),
		TEST(unmerging_waits_for_a_locked_page),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* Two spaces of mergeable memory, and helpers for the tests of KSM. */
#ifndef ANONMM_TEST_KSM_WORLD_H
#define ANONMM_TEST_KSM_WORLD_H

#include "../world.h"
#include "mm/page/page.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define RW (PROT_READ | PROT_WRITE)
#define FULL_SCAN 1000000u

static struct world world;
static struct place one, two;
static uint64_t a, b; /* the first page of one, of two: mergeable */

static inline int set_up(void **state)
{
	struct world_config config = {
		.kind = ANONMM_SOFT, .nr_frames = 512, .space_bytes = 64 * MIB, .swap = "mem:?size=16M"};

	(void)state;
	a = b = 0;
	if (world_open(&world, &config) || place_open(&one, &world) || place_open(&two, &world))
		return -1;
	if (place_mmap(&one, &a, MIB, RW, 0) || place_mmap(&two, &b, MIB, RW, 0))
		return -1;
	/* Births one by one: what is born besides would be merged, too. */
	return place_madvise(&one, a, MIB, MADV_RANDOM) || place_madvise(&two, b, MIB, MADV_RANDOM) ||
	       place_madvise(&one, a, MIB, MADV_MERGEABLE) || place_madvise(&two, b, MIB, MADV_MERGEABLE);
}

static inline void valid(void)
{
	char why[200];
	const char *wrong = pager_validate(world.pager, why, sizeof(why));

	if (wrong)
		fail_msg("%s", wrong);
}

static inline struct anonmm_stats stats(void)
{
	struct anonmm_stats now;

	pager_stats(world.pager, &now);
	return now;
}

static inline uint64_t frames_used(void)
{
	struct anonmm_stats now = stats();

	return now.frames - now.frames_free - 1; /* the zero page */
}

static inline void leave(struct place *p)
{
	if (p->mmu)
		place_close(p);
	p->mmu = NULL;
	valid();
}

static inline int tear_down(void **state)
{
	(void)state;
	leave(&one);
	leave(&two);
	while (pager_poll(world.pager, SWAP_WRITE, 1) > 0)
		;
	valid();
	assert_int_equal(frames_used(), 0);
	assert_int_equal(stats().slots_used, 0);
	world_close(&world);
	return 0;
}

static inline struct page_view view_of(struct place *p, uint64_t addr)
{
	struct page_view view;

	space_view(p->space, addr, &view);
	return view;
}

static inline uint64_t load(struct place *p, uint64_t addr)
{
	uint64_t value = 0;

	assert_int_equal(soft_load64(p->mmu, addr, &value), 0);
	return value;
}

static inline void store(struct place *p, uint64_t addr, uint64_t value)
{
	assert_int_equal(soft_store64(p->mmu, addr, value), 0);
}

/* A page whose content is this value alone. */
static inline void fill(struct place *p, uint64_t addr, unsigned nr, uint64_t value)
{
	for (unsigned i = 0; i < nr; i++)
		store(p, addr + i * PAGE_BYTES + 2000, value);
}

static inline void assert_holds(struct place *p, uint64_t addr, unsigned nr, uint64_t value)
{
	for (unsigned i = 0; i < nr; i++)
		assert_int_equal(load(p, addr + i * PAGE_BYTES + 2000), value);
}

static inline int scan(void)
{
	int merged = ksmd_step(world.pager, FULL_SCAN);

	valid();
	return merged;
}

/* Look at all twice: what nobody writes to is merged. */
static inline int merge(void)
{
	int first = scan();

	return first + scan();
}

/* Everything goes out; this page, too. */
static inline void page_out(struct place *p, uint64_t addr)
{
	world_squeeze(&world);
	assert_int_equal(view_of(p, addr).pte, PTE_KIND_SWAP);
	valid();
}

/* It is unmapped and being written. */
static inline void start_writing(struct place *p, uint64_t addr)
{
	assert_true(pager_reclaim(world.pager, 1) > 0);
	assert_int_equal(view_of(p, addr).pte, PTE_KIND_SWAP);
	assert_true(view_of(p, addr).flags & PG_writeback);
	valid();
}

static inline void assert_merged(struct place *p, uint64_t addr, int mappings)
{
	struct page_view view = view_of(p, addr);

	assert_int_equal(view.pte, PTE_KIND_PRESENT);
	assert_int_equal(view.kind, PAGE_KIND_KSM);
	assert_true(view.flags & PG_ksm);
	assert_false(view.pte_write);
	assert_int_equal(view.mapcount, mappings - 1);
	assert_int_equal(view.count, mappings);
}

static inline void assert_own(struct place *p, uint64_t addr)
{
	struct page_view view = view_of(p, addr);

	assert_int_equal(view.pte, PTE_KIND_PRESENT);
	assert_int_equal(view.kind, PAGE_KIND_ANON);
	assert_int_equal(view.mapcount, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif

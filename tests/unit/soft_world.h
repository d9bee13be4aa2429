/* SPDX-License-Identifier: MIT */
/*
 * What tests of one space on the soft machine share: a world with swap, an area at base, and what must be left in the
 * end.
 */
#ifndef ANONMM_TEST_SOFT_WORLD_H
#define ANONMM_TEST_SOFT_WORLD_H

#include "../world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define AREA_BYTES (16 * MIB)

static struct world world;
static struct place parent;
static uint64_t base;

static inline int open_soft_world(unsigned nr_frames)
{
	struct world_config config = {.kind = ANONMM_SOFT,
		.nr_frames = nr_frames,
		.space_bytes = 64 * MIB,
		.swap = "mem:?size=32M"};

	return world_open(&world, &config) || place_open(&parent, &world) ? -1 : 0;
}

static inline int set_up(void **state)
{
	(void)state;
	base = 0;
	if (open_soft_world(1024))
		return -1;
	return place_mmap(&parent, &base, AREA_BYTES, PROT_READ | PROT_WRITE, 0);
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

/* Nothing of any space is left: the zero page is the one frame in use. */
static inline int tear_down(void **state)
{
	struct anonmm_stats now;

	(void)state;
	if (parent.mmu)
		place_close(&parent);
	while (pager_poll(world.pager, SWAP_WRITE, 1) > 0) /* pages that are gone, but still written */
		;
	valid();
	now = stats();
	assert_int_equal(now.frames_free, now.frames - 1);
	assert_int_equal(now.slots_used, 0);
	world_close(&world);
	return 0;
}

static inline struct page_view view_of(struct place *p, uint64_t addr)
{
	struct page_view view;

	space_view(p->space, addr, &view);
	return view;
}

static inline void store(struct place *p, uint64_t addr, uint64_t value)
{
	assert_int_equal(soft_store64(p->mmu, addr, value), 0);
}

static inline uint64_t load(struct place *p, uint64_t addr)
{
	uint64_t value = 0;

	assert_int_equal(soft_load64(p->mmu, addr, &value), 0);
	return value;
}

#endif

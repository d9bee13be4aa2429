/* SPDX-License-Identifier: MIT */
/* A world of two nodes for the tests of migration, and a page's phases in it. */
#ifndef ANONMM_TEST_MIGRATE_WORLD_H
#define ANONMM_TEST_MIGRATE_WORLD_H

#include "../needs.h"
#include "../world.h"
#include "mm/mm.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define NR_FRAMES 1024u
#define EACH (NR_FRAMES / 2)

static struct world world;
static struct place parent;
static uint64_t base;

static inline int open_world(struct world_config config)
{
	base = 0;
	if (world_open(&world, &config) || place_open(&parent, &world))
		return -1;
	return place_mmap(&parent, &base, 8 * MIB, PROT_READ | PROT_WRITE, 0);
}

static inline int set_up(void **state)
{
	(void)state;
	return open_world((struct world_config){.kind = ANONMM_SOFT,
		.nr_frames = NR_FRAMES,
		.nr_nodes = 2,
		.space_bytes = 64 * MIB,
		.swap = "mem:?size=32M"});
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

static inline void reap(void)
{
	while (pager_in_flight(world.pager, SWAP_WRITE))
		pager_poll(world.pager, SWAP_WRITE, 1);
}

static inline int tear_down(void **state)
{
	struct anonmm_stats now;

	(void)state;
	if (parent.space)
		place_close(&parent);
	(world.kind == ANONMM_SOFT ? soft_machine_stop : uffd_machine_stop)(
		world.machine); /* it may hold pages */
	reap();
	valid();
	now = stats();
	assert_int_equal(now.frames_free, now.frames - (world.kind == ANONMM_SOFT));
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
	assert_int_equal(place_write(p, addr, &value, sizeof(value)), 0);
}

static inline uint64_t load(struct place *p, uint64_t addr)
{
	uint64_t value = 0;

	assert_int_equal(place_read(p, addr, &value, sizeof(value)), 0);
	return value;
}

static inline unsigned node_of(pfn_t pfn)
{
	return pfn / EACH;
}

static inline unsigned other_node(struct place *p, uint64_t addr)
{
	return !node_of(view_of(p, addr).pfn);
}

static inline void begin(struct place *p, uint64_t addr, struct migration *m)
{
	struct wait wait = {0};

	assert_int_equal(
		WORLD_RETRY(&world, &wait, migrate_begin(p->space, addr, other_node(p, addr), m, &wait)), 0);
	valid();
	assert_int_equal(view_of(p, addr).pte, PTE_KIND_MIGRATION);
}

static inline void end(struct migration *m, int expected)
{
	migrate_copy(m);
	assert_int_equal(migrate_end(m), expected);
	valid();
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * What the tests of the core's edges share: a world with one space, and three ways to bring about what seldom happens.
 * Something is done at the moment when the pager lock is dropped, as another thread would do it. All free frames are
 * taken. The host has no memory for frames.
 */
#ifndef ANONMM_TEST_MM_WORLD_H
#define ANONMM_TEST_MM_WORLD_H

#define _GNU_SOURCE
#include "../needs.h"
#include "../world.h"
#include "mm/mm.h"
#include "swap/faulty.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static struct world world;
static struct place parent;
static uint64_t base;

static inline int open_world(struct world_config config)
{
	base = 0;
	config.space_bytes = 64 * MIB;
	if (world_open(&world, &config) || place_open(&parent, &world))
		return -1;
	return place_mmap(&parent, &base, 8 * MIB, PROT_READ | PROT_WRITE, SPACE_NORESERVE);
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
	while (pager_in_flight(world.pager, SWAP_WRITE) || pager_in_flight(world.pager, SWAP_READ)) {
		pager_poll(world.pager, SWAP_WRITE, 1);
		pager_poll(world.pager, SWAP_READ, 1);
	}
}

static inline int close_world(void **state)
{
	struct anonmm_stats now;

	(void)state;
	if (parent.space)
		place_close(&parent);
	(world.kind == ANONMM_SOFT ? soft_machine_stop : uffd_machine_stop)(world.machine);
	reap();
	valid();
	now = stats();
	assert_int_equal(now.frames_free, now.frames - (world.kind == ANONMM_SOFT));
	world_close(&world);
	return 0;
}

static inline struct page_view view_of(struct place *p, uint64_t addr)
{
	struct page_view view;

	space_view(p->space, addr, &view);
	return view;
}

static inline struct page *page_of(struct place *p, uint64_t addr)
{
	return pfn_page(world.pager, view_of(p, addr).pfn);
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

static inline void fill(uint64_t addr, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++)
		store(&parent, addr + i * PAGE_BYTES, i + 1);
}

static inline void check(struct place *p, uint64_t addr, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++)
		assert_int_equal(load(p, addr + i * PAGE_BYTES), i + 1);
}

static inline void page_out(struct place *p, uint64_t addr, unsigned nr)
{
	for (unsigned i = 0; i < 2; i++) { /* written, then the frames given back */
		assert_int_equal(place_madvise(p, addr, nr * PAGE_BYTES, MADV_PAGEOUT), 0);
		reap();
	}
	pager_reclaim(world.pager, nr);
	reap();
}

static inline struct swapdev *swapon(const char *uri, int priority)
{
	char why[200];
	struct swapdev *dev;

	assert_int_equal(swapdev_open(uri, &dev, why, sizeof(why)), 0);
	assert_int_equal(pager_add_swap(world.pager, dev, priority), 0);
	return dev;
}

static inline struct file *shmem_open(uint64_t bytes, uint64_t *addr)
{
	struct file *file;

	*addr = 0;
	assert_int_equal(file_create(world.pager, NULL, NULL, bytes, &file), 0);
	assert_int_equal(
		place_mmap_file(&parent, addr, bytes, PROT_READ | PROT_WRITE, SPACE_SHARED, file, 0), 0);
	return file;
}

static inline void close_file(struct file *file)
{
	struct wait wait = {0};

	assert_int_equal(WORLD_RETRY(&world, &wait, file_close(file, &wait)), 0);
}

static inline void freeze(void)
{
	struct wait wait = {0};

	assert_int_equal(WORLD_RETRY(&world, &wait, pager_freeze(world.pager, &wait)), 0);
}

/* ---- A page that somebody works on ------------------------------------------------------------- */

static inline void lock_page(struct page *page)
{
	pager_lock(world.pager);
	assert_true(page_trylock(world.pager, page));
	pager_unlock(world.pager);
}

static inline void unlock_page(struct page *page)
{
	pager_lock(world.pager);
	page_unlock(world.pager, page);
	pager_unlock(world.pager);
}

/* Threads of the machine end their faults after the program runs on already. */
static inline void settle(void)
{
	bool locked = true;

	while (locked) {
		pager_lock(world.pager);
		locked = world.pager->nr_locked > 0;
		pager_unlock(world.pager);
		sched_yield();
	}
}

/* ---- All free frames are somebody's --------------------------------------------------------------- */

static struct page *taken[8192];
static unsigned nr_taken;

static inline void take_all_but(unsigned left)
{
	struct page *page;

	pager_lock(world.pager);
	while (frames_free(world.pager) > left && (page = frame_alloc(world.pager)))
		taken[nr_taken++] = page;
	pager_unlock(world.pager);
}

static inline void give_back(void)
{
	pager_lock(world.pager);
	while (nr_taken > 0)
		page_put(world.pager, taken[--nr_taken]);
	pager_unlock(world.pager);
}

/* ---- All requests are on their way ---------------------------------------------------------------- */

static struct swap_io_list busy_requests;

static inline void take_requests(void)
{
	STAILQ_INIT(&busy_requests);
	STAILQ_CONCAT(&busy_requests, &world.pager->io_free);
}

static inline void give_requests_back(void)
{
	STAILQ_CONCAT(&world.pager->io_free, &busy_requests);
}

/* ---- What another thread does when the lock is free ------------------------------------------------- */

static void (*meanwhile)(void);
static unsigned locks_until; /* calls of the machine's lock() before it */

static inline void lock_after_another(struct machine *m)
{
	if (meanwhile && locks_until-- == 0) {
		void (*call)(void) = meanwhile;

		meanwhile = NULL;
		call();
	}
	world.real->lock(m);
}

/* @call is made before the lock is taken for the (@nr + 1)th time. */
static inline void do_meanwhile(void (*call)(void), unsigned nr)
{
	world.ops.lock = lock_after_another;
	meanwhile = call;
	locks_until = nr;
}

/* ---- The host has no memory for frames ---------------------------------------------------------------- */

static unsigned populates_left;

static inline int populate_or_not(struct machine *m, pfn_t first, unsigned nr)
{
	return populates_left && populates_left-- ? world.real->frame_populate(m, first, nr) : -ENOMEM;
}

/* After @left more. */
static inline void no_memory_after(unsigned left)
{
	populates_left = left;
	world.ops.frame_populate = populate_or_not;
}

static inline void memory_again(void)
{
	world.ops.frame_populate = world.real->frame_populate;
}

#endif

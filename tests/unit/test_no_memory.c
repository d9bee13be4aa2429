/* SPDX-License-Identifier: MIT */
/*
 * Each call fails for want of memory: each kind of object runs out after 0, 1, 2 ... of them, and the machine's regions
 * fail. The call says -ENOMEM or succeeds. The world is valid, the content is what it was, and the same call succeeds
 * afterwards.
 */
#define _GNU_SOURCE
#include "../world.h"
#include "mm/mm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define NR_PAGES 64u
#define MAX_KEPT 12u
#define NR_POOLS 5u

static struct world world;
static struct place place, child;
static uint64_t base, mapped_file, mapped_shmem;
static struct file *file, *shmem;
static bool starving;
static unsigned regions_left; /* calls of the machine's regions that succeed */

/* ---- What runs out ----------------------------------------------------------------------- */

static void *chunk_or_nothing(struct machine *m, size_t bytes)
{
	return starving ? NULL : world.real->chunk_alloc(m, bytes);
}

static int region_or_nothing(struct machine *m, struct space *space, uint64_t start, uint64_t end, int prot)
{
	(void)m, (void)space, (void)start, (void)end, (void)prot;
	return regions_left && regions_left-- ? 0 : -ENOMEM;
}

static struct pool *pool_of(unsigned which)
{
	struct pager *p = world.pager;
	struct pool *pools[NR_POOLS] = {
		&p->table_pool, &p->vma_pool, &p->anon_vma_pool, &p->avc_pool, &p->file_pool};

	return pools[which];
}

/* Keep @kept free objects of the pool. Returns the others. */
static void *pool_starve(struct pool *pool, unsigned kept)
{
	void **last = &pool->free, *rest;

	while (*last && kept--)
		last = (void **)*last;
	rest = *last;
	*last = NULL;
	starving = true;
	return rest;
}

static void pool_feed(struct pool *pool, void *rest)
{
	void **last = &pool->free;

	while (*last)
		last = (void **)*last;
	*last = rest;
	starving = false;
}

/* ---- What is called ---------------------------------------------------------------------- */

static int call_mmap(void)
{
	uint64_t addr = 0;

	return place_mmap(&place, &addr, 3 * PAGE_BYTES, PROT_READ, 0);
}

static int call_mmap_fixed(void)
{
	uint64_t addr = base + 40 * PAGE_BYTES;

	return place_mmap(&place, &addr, PAGE_BYTES, PROT_READ, SPACE_FIXED);
}

static int call_mmap_file(void)
{
	uint64_t addr = 0;

	return place_mmap_file(&place, &addr, 3 * PAGE_BYTES, PROT_READ, 0, file, 0);
}

static int call_munmap(void)
{
	return place_munmap(&place, base + 42 * PAGE_BYTES, PAGE_BYTES);
}

static int call_mprotect(void)
{
	return place_mprotect(&place, base + 44 * PAGE_BYTES, PAGE_BYTES, PROT_READ);
}

static int call_mremap_move(void)
{
	uint64_t addr = base + 46 * PAGE_BYTES;
	struct wait wait = {0};

	return PLACE_CALL(&place, &wait,
		space_mremap(place.space, &addr, PAGE_BYTES, PAGE_BYTES, MREMAP_MAYMOVE | MREMAP_FIXED,
			base + 2048 * PAGE_BYTES, &wait));
}

static int call_mremap_grow(void)
{
	uint64_t addr = base + 48 * PAGE_BYTES;

	return place_mremap(&place, &addr, 2 * PAGE_BYTES, 20 * PAGE_BYTES);
}

static int call_mremap_end(void)
{
	uint64_t addr = mapped_file + 4 * PAGE_BYTES;

	return place_mremap(&place, &addr, 4 * PAGE_BYTES, 8 * PAGE_BYTES);
}

static int call_fork(void)
{
	int error = place_fork(&place, &child);

	if (!error)
		place_close(&child);
	return error;
}

static int call_sequential(void)
{
	return place_madvise(&place, base + 50 * PAGE_BYTES, PAGE_BYTES, MADV_SEQUENTIAL);
}

static int call_mlock(void)
{
	return place_mlock(&place, base + 52 * PAGE_BYTES, PAGE_BYTES, true);
}

static int call_birth(void)
{
	return soft_store64(place.mmu, base + 3000 * PAGE_BYTES, 1);
}

static int call_birth_of_a_vma(void)
{
	uint64_t addr = base + 4000 * PAGE_BYTES;
	int error = place_mmap(&place, &addr, PAGE_BYTES, PROT_READ | PROT_WRITE, SPACE_FIXED);

	return error ? error : soft_store64(place.mmu, addr, 1);
}

static int call_read_file(void)
{
	uint64_t value;

	return soft_load64(place.mmu, mapped_file, &value);
}

static int call_write_file(void)
{
	return soft_store64(place.mmu, mapped_file + PAGE_BYTES, 1);
}

static int call_shmem(void)
{
	return soft_store64(place.mmu, mapped_shmem, 1);
}

static int call_file_create(void)
{
	struct wait wait = {0};
	struct file *more;
	int error = file_create(world.pager, NULL, NULL, PAGE_BYTES, &more);

	return error ? error : WORLD_RETRY(&world, &wait, file_close(more, &wait));
}

static int call_space(void)
{
	int error = place_open(&child, &world);

	if (!error)
		place_close(&child);
	return error;
}

static int (*const calls[])(void) = {call_mmap, call_mmap_fixed, call_mmap_file, call_munmap, call_mprotect,
	call_mremap_move, call_mremap_grow, call_mremap_end, call_fork, call_sequential, call_mlock,
	call_birth, call_birth_of_a_vma, call_read_file, call_write_file, call_shmem, call_file_create,
	call_space};

/* ---- The loop ---------------------------------------------------------------------------- */

static int read_index(void *ctx, uint64_t index, void *bytes)
{
	(void)ctx;
	memset(bytes, (int)index, PAGE_BYTES);
	return 0;
}

static const struct file_ops ops = {read_index, NULL};

static void set_up(void)
{
	struct world_config config = {
		.kind = ANONMM_SOFT, .nr_frames = 512, .space_bytes = 64 * MIB, .swap = "mem:?size=4M"};

	base = mapped_file = mapped_shmem = 0;
	assert_int_equal(world_open(&world, &config), 0);
	world.ops.chunk_alloc = chunk_or_nothing;
	assert_int_equal(place_open(&place, &world), 0);
	assert_int_equal(file_create(world.pager, &ops, NULL, 8 * PAGE_BYTES, &file), 0);
	assert_int_equal(file_create(world.pager, NULL, NULL, 8 * PAGE_BYTES, &shmem), 0);
	assert_int_equal(place_mmap(&place, &base, NR_PAGES * PAGE_BYTES, PROT_READ | PROT_WRITE, 0), 0);
	for (unsigned i = 0; i < NR_PAGES; i++)
		assert_int_equal(soft_store64(place.mmu, base + i * PAGE_BYTES, i), 0);
	assert_int_equal(place_madvise(&place, base, 8 * PAGE_BYTES, MADV_PAGEOUT), 0);
	uint64_t far = base + 3000 * PAGE_BYTES;

	assert_int_equal(place_mmap(&place, &far, PAGE_BYTES, PROT_READ | PROT_WRITE, SPACE_FIXED), 0);
	mapped_file = base + 512 * PAGE_BYTES;
	assert_int_equal(place_mmap_file(&place, &mapped_file, 8 * PAGE_BYTES, PROT_READ | PROT_WRITE,
				 SPACE_FIXED, file, 0),
		0);
	mapped_shmem = base + 1024 * PAGE_BYTES;
	assert_int_equal(place_mmap_file(&place, &mapped_shmem, 8 * PAGE_BYTES, PROT_READ | PROT_WRITE,
				 SPACE_FIXED | SPACE_SHARED, shmem, 0),
		0);
}

static void check_world(void)
{
	char why[200];
	const char *wrong = pager_validate(world.pager, why, sizeof(why));
	uint64_t value;

	if (wrong)
		fail_msg("%s", wrong);
	for (unsigned i = 0; i < 40; i++) {
		assert_int_equal(soft_load64(place.mmu, base + i * PAGE_BYTES, &value), 0);
		assert_int_equal(value, i);
	}
}

static void tear_down(void)
{
	struct wait wait = {0};
	struct anonmm_stats stats;

	assert_int_equal(WORLD_RETRY(&world, &wait, file_close(file, &wait)), 0);
	assert_int_equal(WORLD_RETRY(&world, &wait, file_close(shmem, &wait)), 0);
	place_close(&place);
	while (pager_poll(world.pager, SWAP_WRITE, 1) > 0)
		;
	pager_stats(world.pager, &stats);
	assert_int_equal(stats.frames_free, stats.frames - 1);
	assert_int_equal(stats.slots_used, 0);
	world_close(&world);
}

/* Returns whether it failed. */
static bool starve_one(int (*call)(void), unsigned which, unsigned kept)
{
	set_up();
	void *rest = pool_starve(pool_of(which), kept);
	int error = call();

	pool_feed(pool_of(which), rest);
	check_world();
	if (error) {
		assert_int_equal(error, -ENOMEM);
		assert_int_equal(call(), 0);
		check_world();
	}
	tear_down();
	return error;
}

static void every_pool_may_be_empty(void **state)
{
	unsigned failures = 0;

	(void)state;
	for (size_t c = 0; c < ARRAY_SIZE(calls); c++)
		for (unsigned which = 0; which < NR_POOLS; which++)
			for (unsigned kept = 0; kept < MAX_KEPT; kept++) {
				if (!starve_one(calls[c], which, kept))
					break;
				failures++;
			}
	assert_true(failures > 40);
}

static void every_region_may_fail(void **state)
{
	unsigned failures = 0;

	(void)state;
	for (size_t c = 0; c < ARRAY_SIZE(calls); c++)
		for (unsigned left = 0; left < MAX_KEPT; left++) {
			int error;

			set_up();
			world.ops.region_map = world.ops.region_protect = region_or_nothing;
			regions_left = left;
			error = calls[c]();
			regions_left = UINT32_MAX;
			check_world();
			if (error) {
				assert_int_equal(error, -ENOMEM);
				assert_int_equal(calls[c](), 0);
				check_world();
			}
			tear_down();
			failures += error != 0;
			if (!error)
				break;
		}
	assert_true(failures > 6);
}

/* A machine whose regions need nothing may leave them out. */
static void a_machine_may_have_no_regions(void **state)
{
	(void)state;
	for (size_t c = 0; c < ARRAY_SIZE(calls); c++) {
		set_up();
		world.ops.region_map = world.ops.region_protect = NULL;
		world.ops.region_unmap = NULL;
		assert_int_equal(calls[c](), 0);
		check_world();
		tear_down();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_pool_may_be_empty),
		cmocka_unit_test(every_region_may_fail),
		cmocka_unit_test(a_machine_may_have_no_regions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * What the core's calls refuse, and that a refused call changes nothing. And calls that meet a page which is being
 * read.
 */
#define _GNU_SOURCE
#include "../world.h"
#include "mm/mm.h"
#include "swap/faulty.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

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
	if (world_open(&world, &config) || place_open(&place, &world))
		return -1;
	return place_mmap(&place, &base, 64 * PAGE_BYTES, PROT_READ | PROT_WRITE, 0);
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
	place_close(&place);
	valid();
	world_close(&world);
	return 0;
}

static int mremap_of(uint64_t addr, uint64_t old_len, uint64_t new_len, int flags, uint64_t to)
{
	struct wait wait = {0};

	return PLACE_CALL(
		&place, &wait, space_mremap(place.space, &addr, old_len, new_len, flags, to, &wait));
}

static void ranges_that_are_none(void **state)
{
	static const int calls[] = {MADV_DONTNEED, MADV_COLD, MADV_WILLNEED, MADV_MERGEABLE};

	(void)state;
	assert_int_equal(place_munmap(&place, base + 1, PAGE_BYTES), -EINVAL);
	assert_int_equal(place_munmap(&place, base, 0), -EINVAL);
	assert_int_equal(place_munmap(&place, base, UINT64_MAX), -EINVAL);
	assert_int_equal(place_munmap(&place, base, UINT64_MAX - PAGE_BYTES), -EINVAL);
	assert_int_equal(place_munmap(&place, 0, PAGE_BYTES), -EINVAL);
	assert_int_equal(place_munmap(&place, base, 1 * GIB), -EINVAL);
	assert_int_equal(place_mprotect(&place, base + 1, PAGE_BYTES, PROT_READ), -EINVAL);
	assert_int_equal(place_mprotect(&place, base + 63 * PAGE_BYTES, 2 * PAGE_BYTES, PROT_READ), -ENOMEM);
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		assert_int_equal(place_madvise(&place, base + 1, PAGE_BYTES, calls[i]), -EINVAL);
		assert_int_equal(place_madvise(&place, base + 1, 0, calls[i]), -EINVAL);
		assert_int_equal(place_madvise(&place, base, 0, calls[i]), 0);
		assert_int_equal(place_madvise(&place, base, 65 * PAGE_BYTES, calls[i]), -ENOMEM);
	}
	assert_int_equal(place_madvise(&place, base, PAGE_BYTES, 12345), -EINVAL);
	assert_int_equal(place_mlock(&place, base + 1, PAGE_BYTES, true), -EINVAL);
	assert_int_equal(place_mlock(&place, base, 0, true), 0);
	assert_int_equal(place_mlock(&place, base, 65 * PAGE_BYTES, true), -ENOMEM);
	valid();
}

static void moves_that_are_none(void **state)
{
	uint64_t last = space_base(place.space) + space_bytes(place.space);

	(void)state;
	assert_int_equal(mremap_of(base + 1, PAGE_BYTES, PAGE_BYTES, 0, 0), -EINVAL);
	assert_int_equal(mremap_of(base, PAGE_BYTES, 0, 0, 0), -EINVAL);
	assert_int_equal(mremap_of(base, PAGE_BYTES, UINT64_MAX, 0, 0), -EINVAL);
	assert_int_equal(mremap_of(base, PAGE_BYTES, PAGE_BYTES, 0x100, 0), -EINVAL);
	assert_int_equal(mremap_of(base, PAGE_BYTES, 1 * GIB, MREMAP_MAYMOVE, 0), -ENOMEM);
	assert_int_equal(mremap_of(base, PAGE_BYTES, PAGE_BYTES, MREMAP_FIXED, base), -EINVAL);
	assert_int_equal(
		mremap_of(base, PAGE_BYTES, PAGE_BYTES, MREMAP_MAYMOVE | MREMAP_FIXED, base + 1), -EINVAL);
	assert_int_equal(
		mremap_of(base, PAGE_BYTES, PAGE_BYTES, MREMAP_MAYMOVE | MREMAP_FIXED, last), -EINVAL);
	assert_int_equal(
		mremap_of(base, 2 * PAGE_BYTES, PAGE_BYTES, MREMAP_MAYMOVE | MREMAP_FIXED, base + PAGE_BYTES),
		-EINVAL);
	assert_int_equal(mremap_of(base, PAGE_BYTES, 2 * PAGE_BYTES, 0, 0), -ENOMEM);
	assert_int_equal(mremap_of(base, 65 * PAGE_BYTES, PAGE_BYTES, 0, 0), -EFAULT);
	assert_int_equal(mremap_of(base + 100 * PAGE_BYTES, PAGE_BYTES, PAGE_BYTES, 0, 0), -EFAULT);
	valid();
}

/* Addresses that somebody else's memory has: taken, and never touched by the core. */
static void foreign_ranges(void **state)
{
	uint64_t addr = base + 64 * PAGE_BYTES, end, value;
	struct place child;
	int prot;

	(void)state;
	assert_int_equal(place_mmap(&place, &addr, PAGE_BYTES, PROT_READ, SPACE_FIXED | SPACE_FOREIGN), 0);
	assert_int_equal(space_kind_at(place.space, addr, &end, &prot), SPACE_IS_FOREIGN);
	assert_int_equal(space_kind_at(place.space, base, &end, &prot), SPACE_ANON);
	assert_int_equal(space_kind_at(place.space, addr + PAGE_BYTES, &end, &prot), SPACE_HOLE);
	assert_int_equal(soft_load64(place.mmu, addr, &value), -EFAULT);
	assert_int_equal(place_mprotect(&place, addr, PAGE_BYTES, PROT_WRITE), -ENOMEM);
	assert_int_equal(mremap_of(addr, PAGE_BYTES, 2 * PAGE_BYTES, MREMAP_MAYMOVE, 0), -EFAULT);
	assert_int_equal(place_fork(&place, &child), 0);
	assert_int_equal(space_kind_at(child.space, addr, &end, &prot), SPACE_HOLE);
	place_close(&child);
	assert_int_equal(place_mmap(&place, &addr, PAGE_BYTES, PROT_READ, SPACE_FIXED_NOREPLACE), -EEXIST);
	assert_int_equal(place_munmap(&place, addr, PAGE_BYTES), 0);
	valid();
}

static void mappings_spaces_pagers_and_forks(void **state)
{
	struct fork_place odd = {base + 1, base, PAGE_BYTES}, cut = {base, base, 100},
			  to = {base, base + 1, PAGE_BYTES};
	struct pager_config config = {.nr_frames = 256};
	struct space *space;
	struct pager *pager;
	struct wait wait = {0};
	uint64_t addr = 1;

	(void)state;
	assert_int_equal(place_mmap(&place, &addr, PAGE_BYTES, PROT_READ, SPACE_FIXED), -EINVAL);
	assert_int_equal(place_mmap(&place, &addr, PAGE_BYTES, PROT_READ, 0x1000), -EINVAL);
	addr = 0;
	assert_int_equal(place_mmap(&place, &addr, 1 * GIB, PROT_READ, SPACE_NORESERVE), -ENOMEM);
	assert_int_equal(space_create(world.pager, 1, PAGE_BYTES, NULL, &space), -EINVAL);
	assert_int_equal(space_create(world.pager, 0, 1, NULL, &space), -EINVAL);
	assert_int_equal(space_create(world.pager, 0, 0, NULL, &space), -EINVAL);
	assert_int_equal(space_create(world.pager, 0, 1ull << 45, NULL, &space), -EINVAL);
	assert_int_equal(
		space_create(world.pager, UINT64_MAX & PAGE_MASK, 2 * PAGE_BYTES, NULL, &space), -EINVAL);
	assert_int_equal(space_fork(place.space, &odd, NULL, &space, &wait), -EINVAL);
	assert_int_equal(space_fork(place.space, &cut, NULL, &space, &wait), -EINVAL);
	assert_int_equal(space_fork(place.space, &to, NULL, &space, &wait), -EINVAL);
	assert_int_equal(pager_open(&config, &pager), -EINVAL);
	config.machine = world.machine;
	config.nr_frames = PAGER_MIN_FRAMES - 1;
	assert_int_equal(pager_open(&config, &pager), -EINVAL);
	config.nr_nodes = MAX_NODES + 1;
	assert_int_equal(pager_open(&config, &pager), -EINVAL);
	assert_int_equal(pager_close(world.pager), -EBUSY);
	assert_int_equal(pager_frames_for(4096, 0), 0);
	assert_true(pager_frames_for(64 * MIB, 1024) > 0);
	valid();
}

/* ---- A file's page that is being read ----------------------------------------------------- */

static struct file *file;
static uint64_t mapped;
static int (*meanwhile)(void);

static int read_and(void *ctx, uint64_t index, void *bytes)
{
	(void)ctx;
	memset(bytes, (int)index + 1, PAGE_BYTES);
	if (meanwhile)
		assert_int_equal(meanwhile(), 0);
	return 0;
}

static const struct file_ops ops = {read_and, NULL};

static int others_wait_for_the_page(void)
{
	struct wait wait = {0};

	return handle_mm_fault(place.space, mapped, ACCESS_READ, &wait) != FAULT_WAIT ||
	       wait.what != WAIT_PAGE;
}

static int truncation_waits(void)
{
	struct wait wait = {0};

	return file_truncate(file, 0, &wait) != -EAGAIN || wait.what != WAIT_PAGE;
}

static int a_partial_page_waits(void)
{
	struct wait wait = {0};

	return file_truncate(file, 100, &wait) != -EAGAIN || wait.what != WAIT_PAGE;
}

static int reclaim_leaves_it(void)
{
	return pager_reclaim(world.pager, 4) != 0;
}

static void a_page_that_is_being_read_is_waited_for(void **state)
{
	static int (*const all[])(void) = {
		others_wait_for_the_page, truncation_waits, a_partial_page_waits, reclaim_leaves_it};
	struct wait wait = {0};
	uint64_t value;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		mapped = 0;
		assert_int_equal(file_create(world.pager, &ops, NULL, 4 * PAGE_BYTES, &file), 0);
		assert_int_equal(place_mmap_file(&place, &mapped, 4 * PAGE_BYTES, PROT_READ, 0, file, 0), 0);
		meanwhile = all[i];
		int result = soft_load64(place.mmu, mapped, &value);

		meanwhile = NULL;
		assert_true(result == 0 || result == -EIO);
		valid();
		assert_int_equal(WORLD_RETRY(&world, &wait, file_truncate(file, 0, &wait)), 0);
		assert_int_equal(soft_load64(place.mmu, mapped, &value), -EIO);
		assert_int_equal(place_munmap(&place, mapped, 4 * PAGE_BYTES), 0);
		assert_int_equal(WORLD_RETRY(&world, &wait, file_close(file, &wait)), 0);
		valid();
	}
}

/* ---- Shared memory whose page is on its way, or lost --------------------------------------- */

static void shared_memory_that_is_out_is_cut(void **state)
{
	struct wait wait = {0};
	uint64_t addr = 0, value;
	struct file *shmem;

	(void)state;
	assert_int_equal(file_create(world.pager, NULL, NULL, 2 * PAGE_BYTES, &shmem), 0);
	assert_int_equal(place_mmap_file(&place, &addr, 2 * PAGE_BYTES, PROT_READ | PROT_WRITE, SPACE_SHARED,
				 shmem, 0),
		0);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(soft_store64(place.mmu, addr + i * PAGE_BYTES + 2000, i + 1), 0);
	world_squeeze(&world);
	faulty_hold(world.dev, SWAP_READ, true);
	assert_int_equal(file_truncate(shmem, PAGE_BYTES + 1000, &wait), -EAGAIN);
	assert_int_equal(wait.what, WAIT_PAGE);
	assert_int_equal(file_truncate(shmem, PAGE_BYTES + 1000, &wait), -EAGAIN);
	valid();
	faulty_hold(world.dev, SWAP_READ, false);
	assert_int_equal(WORLD_RETRY(&world, &wait, file_truncate(shmem, PAGE_BYTES + 1000, &wait)), 0);
	assert_int_equal(WORLD_RETRY(&world, &wait, file_truncate(shmem, 2 * PAGE_BYTES, &wait)), 0);
	assert_int_equal(soft_load64(place.mmu, addr + PAGE_BYTES + 2000, &value), 0);
	assert_int_equal(value, 0);
	world_squeeze(&world);
	faulty_fail(world.dev, SWAP_READ, 1, EIO, false);
	assert_int_equal(WORLD_RETRY(&world, &wait, file_truncate(shmem, 1000, &wait)),
		0); /* lost, and told to who reads */
	assert_int_equal(soft_load64(place.mmu, addr, &value), -EIO);
	assert_int_equal(WORLD_RETRY(&world, &wait, file_truncate(shmem, 500, &wait)), 0);
	assert_int_equal(file_truncate(shmem, UINT64_MAX, &wait), -EFBIG);
	valid();
	assert_int_equal(place_munmap(&place, addr, 2 * PAGE_BYTES), 0);
	assert_int_equal(WORLD_RETRY(&world, &wait, file_close(shmem, &wait)), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(ranges_that_are_none, set_up, tear_down),
		cmocka_unit_test_setup_teardown(moves_that_are_none, set_up, tear_down),
		cmocka_unit_test_setup_teardown(foreign_ranges, set_up, tear_down),
		cmocka_unit_test_setup_teardown(mappings_spaces_pagers_and_forks, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_page_that_is_being_read_is_waited_for, set_up, tear_down),
		cmocka_unit_test_setup_teardown(shared_memory_that_is_out_is_cut, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

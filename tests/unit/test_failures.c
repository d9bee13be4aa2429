/* SPDX-License-Identifier: MIT */
/*
 * Fail the Nth allocation and the Nth I/O, once and for ever, over one small fixed workload. Whatever happens: no wrong
 * byte is ever read, the world stays valid, and it can be closed.
 */
#define _GNU_SOURCE
#include "../world.h"
#include "swap/faulty.h"
#include "trace/held_dev.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define NR_FRAMES PAGER_MIN_FRAMES
#define NR_PAGES 160u

static struct world world;
static struct place place;

/* What each page must hold, where it was ever written with success. */
static uint64_t base;
static uint64_t expected[NR_PAGES];
static bool mapped[NR_PAGES];

/* ---- Allocations that fail ---------------------------------------------------------------- */

static struct {
	unsigned asked, nth; /* nth 0: all succeed */
	bool forever;
} allocations;

static bool allocation_fails(void)
{
	allocations.asked++;
	if (!allocations.nth)
		return false;
	return allocations.forever ? allocations.asked >= allocations.nth
				   : allocations.asked == allocations.nth;
}

static void *failing_alloc(struct machine *m, size_t bytes)
{
	void *chunk = MAP_FAILED;

	(void)m;
	if (!allocation_fails())
		chunk = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return chunk == MAP_FAILED ? NULL : chunk;
}

/* ---- The workload ----------------------------------------------------------------------- */

static void check_world(void)
{
	unsigned nth = allocations.nth;
	const char *wrong;
	char buf[400];

	allocations.nth = 0; /* the validator's own are not what is tested */
	wrong = pager_validate(world.pager, buf, sizeof(buf));
	allocations.nth = nth;
	if (wrong)
		fail_msg("the world is not valid: %s", wrong);
}

static void store(unsigned page, uint64_t value)
{
	int error = soft_store64(place.mmu, base + page * PAGE_BYTES + 8, value);

	if (!error)
		expected[page] = value;
	else if (error != -EIO && error != -ENOMEM)
		fail_msg("a store says %d", error);
}

static void look(unsigned page)
{
	uint64_t found = 0;
	int error = soft_load64(place.mmu, base + page * PAGE_BYTES + 8, &found);

	if (!error && found != expected[page])
		fail_msg("page %u holds %llx, not %llx", page, (unsigned long long)found,
			(unsigned long long)expected[page]);
	if (error && error != -EIO && error != -ENOMEM)
		fail_msg("a load says %d", error);
}

static void pass(uint64_t salt, bool write)
{
	for (unsigned i = 0; i < NR_PAGES; i++) {
		if (!mapped[i])
			continue;
		look(i);
		if (write)
			store(i, salt + i * 7919);
		if (i % 32 == 0)
			check_world();
	}
}

static void drop(unsigned first, unsigned nr)
{
	int error = place_munmap(&place, base + first * PAGE_BYTES, nr * PAGE_BYTES);

	assert_true(error == 0 || error == -ENOMEM);
	for (unsigned i = first; !error && i < first + nr; i++)
		mapped[i] = false;
	check_world();
}

/* A failed mremap leaves everything where it was. */
static void move(unsigned first, unsigned nr)
{
	uint64_t addr = base + first * PAGE_BYTES;
	int error = place_mremap(&place, &addr, nr * PAGE_BYTES, 2 * nr * PAGE_BYTES);

	assert_true(error == 0 || error == -ENOMEM || error == -EFAULT);
	for (unsigned i = 0; !error && i < nr; i++) {
		uint64_t found;

		if (!soft_load64(place.mmu, addr + i * PAGE_BYTES + 8, &found) &&
			found != expected[first + i])
			fail_msg("page %u was moved and holds %llx, not %llx", first + i,
				(unsigned long long)found, (unsigned long long)expected[first + i]);
		mapped[first + i] = false;
	}
	check_world();
}

static void workload(void)
{
	uint64_t addr = 0;

	memset(expected, 0, sizeof(expected));
	memset(mapped, 0, sizeof(mapped));
	if (place_open(&place, &world)) {
		check_world();
		return;
	}
	if (!place_mmap(&place, &addr, NR_PAGES * PAGE_BYTES, PROT_READ | PROT_WRITE, 0)) {
		base = addr;
		memset(mapped, true, sizeof(mapped));
		pass(1, true);
		pass(2, false);
		place_madvise(&place, base, 16 * PAGE_BYTES, MADV_PAGEOUT);
		place_mprotect(&place, base + 20 * PAGE_BYTES, 8 * PAGE_BYTES, PROT_READ);
		place_mprotect(&place, base + 20 * PAGE_BYTES, 8 * PAGE_BYTES, PROT_READ | PROT_WRITE);
		pass(3, true);
		drop(40, 24);
		move(100, 10);
		pass(4, true);
		pass(5, false);
	}
	check_world();
	place_close(&place);
	check_world();
}

/* ---- The Nth allocation ------------------------------------------------------------------ */

/* Returns whether the Nth allocation was ever asked for. */
static bool run_with_failing_allocation(unsigned nth, bool forever)
{
	struct world_config config = {
		.kind = ANONMM_SOFT, .nr_frames = NR_FRAMES, .space_bytes = 64 * MIB, .swap = "mem:?size=4M"};
	int error;

	memset(&world, 0, sizeof(world));
	assert_int_equal(world_open_machine(&world, &config), 0);
	allocations.asked = 0;
	allocations.nth = nth;
	allocations.forever = forever;
	world.ops.chunk_alloc = failing_alloc;
	error = world_open_pager(&world, &config);
	if (error) {
		assert_int_equal(error, -ENOMEM);
		assert_true(allocations.asked >= nth);
		world_close_machine(&world);
		return true;
	}
	workload();
	allocations.nth = 0;
	world_close(&world);
	return allocations.asked >= nth;
}

static void every_allocation_may_fail(void **state)
{
	unsigned nth = 1;

	(void)state;
	while (run_with_failing_allocation(nth, false))
		nth++;
	print_message("%u allocations failed, one at a time\n", nth - 1);
	assert_true(nth > 5);
	for (nth = 1; run_with_failing_allocation(nth, true); nth++)
		;
}

/* ---- Input and output ------------------------------------------------------------------- */

static bool run_with_failing_io(enum swap_dir dir, unsigned nth, bool forever, bool corrupt)
{
	struct world_config config = {.kind = ANONMM_SOFT,
		.nr_frames = NR_FRAMES,
		.space_bytes = 64 * MIB,
		.swap = "faulty:mem:?size=4M&delay=2&seed=3"};
	/* To be full is no error: the pages stay in memory, and the slots go on to be used. */
	bool full = !corrupt && dir == SWAP_WRITE && nth % 2 == 0;
	struct anonmm_stats stats;
	uint64_t dealt;

	assert_int_equal(world_open(&world, &config), 0);
	if (corrupt)
		faulty_corrupt(world.dev, nth, forever);
	else
		faulty_fail(world.dev, dir, nth, full ? ENOSPC : EIO, forever);
	workload();
	dealt = faulty_dealt(world.dev);
	pager_stats(world.pager, &stats);
	assert_true(dealt == 0 || full || stats.io_errors > 0);
	assert_true(!full || stats.io_errors == 0);
	assert_true(dealt != 0 || (stats.io_errors == 0 && stats.lost_pages == 0));
	world_close(&world);
	return dealt != 0;
}

static void every_io_may_fail(enum swap_dir dir, bool corrupt)
{
	unsigned nth = 1;

	while (run_with_failing_io(dir, nth, false, corrupt))
		nth++;
	print_message("%u requests failed, one at a time\n", nth - 1);
	assert_true(nth > 3);
	for (unsigned from = 1; from < nth; from += 1 + from / 2)
		run_with_failing_io(dir, from, true, corrupt);
}

static void every_read_may_fail(void **state)
{
	(void)state;
	every_io_may_fail(SWAP_READ, false);
}

static void every_write_may_fail(void **state)
{
	(void)state;
	every_io_may_fail(SWAP_WRITE, false);
}

static void every_read_may_be_corrupt(void **state)
{
	(void)state;
	every_io_may_fail(SWAP_READ, true);
}

/* ---- A page that changes while it is written ---------------------------------------------- */

static void page_out(void)
{
	assert_int_equal(place_madvise(&place, base, PAGE_BYTES, MADV_PAGEOUT), 0);
}

static void end_writes(void)
{
	held_dev_hold(world.dev, false);
	while (pager_poll(world.pager, SWAP_WRITE, 0) > 0)
		;
	held_dev_hold(world.dev, true);
}

/*
 * The device reads the buffer when it ends the write: it has the later content, while the hash that was taken before
 * is that of the earlier. The page then holds the earlier again: that the hashes agree proves nothing.
 */
static void a_page_that_changed_under_writeback_is_written_again(void **state)
{
	struct world_config config = {.kind = ANONMM_SOFT, .nr_frames = NR_FRAMES, .space_bytes = 64 * MIB};
	uint64_t value = 0;

	(void)state;
	assert_int_equal(held_dev_open(256, &config.dev), 0);
	assert_int_equal(world_open(&world, &config), 0);
	assert_int_equal(place_open(&place, &world), 0);
	base = 0;
	assert_int_equal(place_mmap(&place, &base, PAGE_BYTES, PROT_READ | PROT_WRITE, 0), 0);
	assert_int_equal(soft_store64(place.mmu, base, 1), 0);
	page_out();
	assert_int_equal(soft_store64(place.mmu, base, 2), 0);
	end_writes();
	assert_int_equal(soft_store64(place.mmu, base, 1), 0);
	for (int i = 0; i < 3; i++) {
		page_out();
		end_writes();
	}
	assert_int_equal(soft_load64(place.mmu, base, &value), 0);
	assert_int_equal(value, 1);
	check_world();
	held_dev_hold(world.dev, false);
	place_close(&place);
	world_close(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_allocation_may_fail),
		cmocka_unit_test(every_read_may_fail),
		cmocka_unit_test(every_write_may_fail),
		cmocka_unit_test(every_read_may_be_corrupt),
		cmocka_unit_test(a_page_that_changed_under_writeback_is_written_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

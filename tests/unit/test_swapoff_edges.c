/* SPDX-License-Identifier: MIT */
/*
 * swapoff where frames, requests or memory are short, beside forks, leases and heirs, and where pages are copied back.
 */
#include "mm_world.h"

#define PAGES 32u
#define URI "faulty:mem:?size=8M&seed=3"

static int set_up(void **state)
{
	(void)state;
	return open_world((struct world_config){.kind = ANONMM_SOFT, .nr_frames = 512, .swap = URI});
}

static int step(struct wait *wait)
{
	return pager_swapoff(world.pager, world.dev->uri, wait);
}

static int swapoff(void)
{
	struct wait wait = {0};

	return WORLD_RETRY(&world, &wait, step(&wait));
}

static void all_out(void)
{
	fill(base, PAGES);
	page_out(&parent, base, PAGES);
	assert_int_equal(view_of(&parent, base).pte, PTE_KIND_SWAP);
	assert_int_equal(view_of(&parent, base).pfn, PFN_NONE);
}

static void while_frozen_it_waits(void **state)
{
	struct wait wait;

	(void)state;
	all_out();
	freeze();
	assert_int_equal(step(&wait), -EAGAIN);
	assert_int_equal(wait.what, WAIT_SPACE);
	pager_thaw(world.pager);
	assert_int_equal(swapoff(), 0);
	check(&parent, base, PAGES);
}

static void freeze_begins(void)
{
	struct wait wait;

	assert_int_equal(pager_freeze(world.pager, &wait), -EAGAIN);
}

static void frozen_in_the_middle_it_waits_too(void **state)
{
	uint64_t reads;
	struct wait wait;

	(void)state;
	all_out();
	do_meanwhile(freeze_begins, 1); /* while its first read is made */
	assert_int_equal(step(&wait), -EAGAIN);
	assert_int_equal(wait.what, WAIT_SPACE);
	reap();
	reads = faulty_requests(world.dev, SWAP_READ);
	assert_int_equal(pager_freeze(world.pager, &wait), 0);
	assert_int_equal(step(&wait), -EAGAIN);
	assert_int_equal(faulty_requests(world.dev, SWAP_READ), reads);
	pager_thaw(world.pager);
	assert_int_equal(swapoff(), 0);
	check(&parent, base, PAGES);
}

static void what_a_child_has_a_lease_on_stays(void **state)
{
	struct swap_lease *lease;
	struct swapdev *empty;

	(void)state;
	all_out();
	empty = swapon("mem:?size=1M", -1);
	freeze();
	assert_int_equal(pager_lease_begin(world.pager, &lease), 0);
	pager_thaw(world.pager);
	assert_int_equal(swapoff(), -EBUSY);
	assert_int_equal(stats().slots, 2048 + 256);
	/* Nothing of this one was in use. */
	assert_int_equal(pager_swapoff(world.pager, empty->uri, NULL), 0);
	pager_lease_end(world.pager, lease);
	assert_int_equal(swapoff(), 0);
	check(&parent, base, PAGES);
}

/* The lease came while it had to wait: then nothing has gone. */
static void a_lease_that_comes_in_between_ends_it(void **state)
{
	struct swap_lease *lease;
	struct wait wait;

	(void)state;
	all_out();
	assert_int_equal(step(&wait), -EAGAIN);
	freeze();
	assert_int_equal(pager_lease_begin(world.pager, &lease), 0);
	pager_thaw(world.pager);
	assert_int_equal(swapoff(), -EBUSY);
	assert_int_equal(stats().slots, 2048);
	pager_lease_end(world.pager, lease);
	assert_int_equal(swapoff(), 0);
	check(&parent, base, PAGES);
}

/* An heir's slots come back too, and count for no room meanwhile. */
static void an_inherited_area_can_be_given_up(void **state)
{
	(void)state;
	all_out();
	freeze();
	assert_int_equal(pager_fork_child(world.pager), 0);
	pager_thaw(world.pager);
	assert_int_equal(stats().slots, 0);
	struct swapdev *own = swapon("mem:?size=1M", 0);
	struct wait wait = {0};

	assert_int_equal(WORLD_RETRY(&world, &wait, pager_swapoff(world.pager, own->uri, &wait)), 0);
	assert_int_equal(step(&wait), -EAGAIN);
	pager_swapoff_cancel(world.pager);
	assert_int_equal(stats().slots, 0);
	reap();
	assert_int_equal(swapoff(), 0);
	check(&parent, base, PAGES);
}

static void cancel(void)
{
	pager_swapoff_cancel(world.pager);
}

static void a_cancel_by_another_is_told(void **state)
{
	struct wait wait;

	(void)state;
	all_out();
	do_meanwhile(cancel, 1);
	assert_int_equal(step(&wait), -EINTR);
	reap();
	valid();
	assert_int_equal(stats().slots, 2048);
	assert_int_equal(swapoff(), 0);
	check(&parent, base, PAGES);
}

static void without_requests_it_waits_for_one(void **state)
{
	struct wait wait;

	(void)state;
	all_out();
	take_requests();
	assert_int_equal(step(&wait), -EAGAIN);
	assert_int_equal(wait.what, WAIT_FRAMES);
	give_requests_back();
	assert_int_equal(swapoff(), 0);
	check(&parent, base, PAGES);
}

/* Room was enough when it began, but the frames have gone since: all stays. */
static void without_frames_it_fails_and_can_be_made_again(void **state)
{
	struct wait wait;

	(void)state;
	fill(base, 4 * PAGES);
	page_out(&parent, base, 4 * PAGES);
	faulty_hold(world.dev, SWAP_READ, true);
	assert_int_equal(step(&wait), -EAGAIN);
	take_all_but(0);
	faulty_hold(world.dev, SWAP_READ, false);
	assert_int_equal(swapoff(), -ENOMEM);
	give_back();
	reap();
	valid();
	assert_int_equal(stats().slots, 2048);
	assert_int_equal(swapoff(), 0);
	check(&parent, base, 4 * PAGES);
}

/* The other area takes what has to go; its writes are waited for. */
static void without_host_memory_to_read_into_it_fails(void **state)
{
	int error;

	(void)state;
	all_out();
	swapon("mem:?size=4M", -1);
	no_memory_after(0);
	error = swapoff();
	memory_again();
	assert_int_equal(error, -ENOMEM);
	valid();
	check(&parent, base, PAGES);
	assert_int_equal(swapoff(), 0);
}

static void reclaim_makes_the_room(void **state)
{
	struct wait wait = {0};
	struct swapdev *other;

	(void)state;
	all_out();
	fill(base + PAGES * PAGE_BYTES, 64);
	other = swapon("faulty:mem:?size=4M", 1);
	take_all_but(0);
	faulty_hold(other, SWAP_WRITE, true);
	assert_int_equal(step(&wait), -EAGAIN);
	assert_int_equal(wait.what, WAIT_FRAMES);
	faulty_hold(other, SWAP_WRITE, false);
	assert_int_equal(swapoff(), 0);
	give_back();
	valid();
	check(&parent, base, PAGES);
}

/* A page that nobody names any more, but is being written: it goes when that is over. */
static void unnamed_pages_under_writeback_are_waited_for(void **state)
{
	struct wait wait;

	(void)state;
	fill(base, PAGES);
	faulty_hold(world.dev, SWAP_WRITE, true);
	assert_int_equal(place_madvise(&parent, base, PAGES * PAGE_BYTES, MADV_PAGEOUT), 0);
	assert_int_equal(place_munmap(&parent, base, PAGES * PAGE_BYTES), 0);
	assert_int_equal(step(&wait), -EAGAIN);
	assert_int_equal(wait.what, WAIT_WRITE);
	faulty_hold(world.dev, SWAP_WRITE, false);
	assert_int_equal(swapoff(), 0);
}

/* mlock waits for its reads, and swapoff comes first: the pages are locked all the same. */
static void what_comes_back_into_locked_memory_is_locked(void **state)
{
	struct wait wait = {0};

	(void)state;
	all_out();
	faulty_hold(world.dev, SWAP_READ, true);
	assert_int_equal(WORLD_RETRY(&world, &wait, space_lock(parent.space, &wait)), 0);
	assert_int_equal(space_mlock(parent.space, base, PAGES * PAGE_BYTES, true, &wait), -EAGAIN);
	faulty_hold(world.dev, SWAP_READ, false);
	assert_int_equal(swapoff(), 0);
	for (unsigned i = 0; i < PAGES; i++)
		assert_true(view_of(&parent, base + i * PAGE_BYTES).flags & PG_mlocked);
	assert_int_equal(
		WORLD_RETRY(&world, &wait, space_mlock(parent.space, base, PAGES * PAGE_BYTES, true, &wait)),
		0);
	space_unlock(parent.space);
	valid();
	check(&parent, base, PAGES);
}

/* ---- Where a frame has one place only ------------------------------------------------------------- */

static struct place child;

static void open_real_family(void)
{
	struct fork_place place = {0, 0, PAGES * PAGE_BYTES};
	struct wait wait = {0};

	if (open_world((struct world_config){.kind = ANONMM_UFFD, .nr_frames = 512, .swap = URI}))
		SKIP_WITHOUT(REAL_MEMORY, "%s", world.why);
	all_out();
	place.from = base;
	assert_int_equal(
		place_mmap(&parent, &place.to, place.bytes, PROT_READ | PROT_WRITE, SPACE_FOREIGN), 0);
	child = (struct place){.world = &world, .base = place.to};
	assert_int_equal(
		PLACE_CALL(&parent, &wait, space_fork(parent.space, &place, NULL, &child.space, &wait)), 0);
	assert_int_equal(view_of(&parent, base).swap_count, 2);
}

static void end_family(void)
{
	check(&parent, base, PAGES);
	check(&child, child.base, PAGES);
	store(&parent, base, 99);
	assert_int_equal(load(&child, child.base), 1);
	valid();
	place_close(&child);
	close_world(NULL);
}

static void each_user_gets_a_copy(void **state)
{
	(void)state;
	open_real_family();
	assert_int_equal(swapoff(), 0);
	valid();
	assert_int_not_equal(view_of(&parent, base).pfn, view_of(&child, child.base).pfn);
	end_family();
}

static void without_host_memory_for_a_copy_the_entry_stays(void **state)
{
	int error;

	(void)state;
	open_real_family();
	no_memory_after(1); /* the read's own */
	error = swapoff();
	memory_again();
	reap();
	assert_int_equal(error, -ENOMEM);
	valid();
	assert_int_equal(stats().slots, 2048);
	assert_int_equal(view_of(&parent, base).swap_count, 2);
	assert_int_equal(swapoff(), 0);
	end_family();
}

/* Page 0 is in memory in both; from page 1 on they have VMAs of their own until the host has no memory for a copy. */
static void set_advice(int advice)
{
	const uint64_t len = (PAGES - 1) * PAGE_BYTES;

	assert_int_equal(place_madvise(&parent, base + PAGE_BYTES, len, advice), 0);
	assert_int_equal(place_madvise(&child, child.base + PAGE_BYTES, len, advice), 0);
}

static int merge_and_fail(struct machine *m, pfn_t first, unsigned nr)
{
	if (view_of(&child, child.base + PAGE_BYTES).pte != PTE_KIND_PRESENT &&
		view_of(&parent, base + PAGE_BYTES).pte != PTE_KIND_PRESENT)
		return world.real->frame_populate(m, first, nr); /* for a read */
	set_advice(MADV_NORMAL);
	return -ENOMEM;
}

static void without_host_memory_for_a_copy_its_vma_is_looked_for_again(void **state)
{
	int error;

	(void)state;
	open_real_family();
	load(&parent, base);
	load(&child, child.base);
	settle();
	set_advice(MADV_RANDOM);
	world.ops.frame_populate = merge_and_fail;
	error = swapoff();
	memory_again();
	reap();
	assert_int_equal(error, -ENOMEM);
	assert_ptr_equal(find_vma(parent.space, base), find_vma(parent.space, base + PAGE_BYTES));
	valid();
	assert_int_equal(view_of(&parent, base + PAGE_BYTES).swap_count, 2);
	assert_int_equal(swapoff(), 0);
	end_family();
}

/* mremap or fork is at work on the VMA: its words may move, so it is waited for. */
static void a_copy_waits_for_whoever_changes_the_vma(void **state)
{
	struct wait wait = {0};
	struct vma *vma;

	(void)state;
	open_real_family();
	pager_lock(world.pager);
	vma = find_vma(parent.space, base);
	vma->flags |= VM_CHANGING;
	pager_unlock(world.pager);
	for (unsigned i = 0; i < 10; i++) {
		assert_int_equal(step(&wait), -EAGAIN);
		reap();
	}
	assert_int_equal(wait.what, WAIT_SPACE);
	vma->flags &= ~(uint32_t)VM_CHANGING;
	assert_int_equal(swapoff(), 0);
	end_family();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, close_world)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(while_frozen_it_waits),
		TEST(frozen_in_the_middle_it_waits_too),
		TEST(what_a_child_has_a_lease_on_stays),
		TEST(a_lease_that_comes_in_between_ends_it),
		TEST(an_inherited_area_can_be_given_up),
		TEST(a_cancel_by_another_is_told),
		TEST(without_requests_it_waits_for_one),
		TEST(without_frames_it_fails_and_can_be_made_again),
		TEST(without_host_memory_to_read_into_it_fails),
		TEST(reclaim_makes_the_room),
		TEST(unnamed_pages_under_writeback_are_waited_for),
		TEST(what_comes_back_into_locked_memory_is_locked),
		cmocka_unit_test(each_user_gets_a_copy),
		cmocka_unit_test(without_host_memory_for_a_copy_the_entry_stays),
		cmocka_unit_test(without_host_memory_for_a_copy_its_vma_is_looked_for_again),
		cmocka_unit_test(a_copy_waits_for_whoever_changes_the_vma),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * When an event has happened that a thread may wait for, the event counter has moved. A machine may sleep on the
 * counter without a time limit, so a wait that no event ends is a program that hangs.
 */
#include "mm_world.h"

static int set_up(void **state)
{
	(void)state;
	return open_world(
		(struct world_config){.kind = ANONMM_SOFT, .nr_frames = 128, .swap = "mem:?size=8M"});
}

static void a_freeze_goes_on_when_the_last_page_is_unlocked(void **state)
{
	struct wait wait = {0};
	struct page *page;

	(void)state;
	store(&parent, base, 1);
	page = page_of(&parent, base);
	lock_page(page);
	assert_int_equal(pager_freeze(world.pager, &wait), -EAGAIN);
	assert_false(wait_is_over(world.pager, &wait));
	unlock_page(page);
	assert_true(wait_is_over(world.pager, &wait));
	assert_int_equal(pager_freeze(world.pager, &wait), 0);
	pager_thaw(world.pager);
}

/* ---- Frames --------------------------------------------------------------------------------- */

/* Nothing can be reclaimed: all frames but one are somebody's, and that one is locked memory. */
static void no_frame_is_left(void)
{
	store(&parent, base, 1);
	assert_int_equal(place_mlock(&parent, base, PAGE_BYTES, true), 0);
	take_all_but(0);
}

static void want_frame(enum fault_result expected, struct wait *wait)
{
	assert_int_equal(handle_mm_fault(parent.space, base + 8 * PAGE_BYTES, ACCESS_WRITE, wait), expected);
}

static void a_wait_for_a_frame_ends_when_the_last_page_is_unlocked(void **state)
{
	struct wait wait = {0};
	struct page *page;

	(void)state;
	no_frame_is_left();
	page = page_of(&parent, base);
	lock_page(page);
	want_frame(FAULT_WAIT, &wait);
	assert_int_equal(wait.what, WAIT_FRAMES);
	assert_false(wait_is_over(world.pager, &wait));
	unlock_page(page);
	assert_true(wait_is_over(world.pager, &wait));
	want_frame(FAULT_OOM, &wait);
	give_back();
}

static void a_wait_for_a_frame_ends_when_the_last_reclaimer_has_left(void **state)
{
	struct wait wait = {0};

	(void)state;
	no_frame_is_left();
	world.pager->nr_reclaimers++; /* another thread is in there */
	want_frame(FAULT_WAIT, &wait);
	assert_int_equal(wait.what, WAIT_FRAMES);
	pager_lock(world.pager);
	reclaim_leave(world.pager);
	pager_unlock(world.pager);
	assert_true(wait_is_over(world.pager, &wait));
	want_frame(FAULT_OOM, &wait);
	give_back();
}

static void who_pages_out_tells_those_who_wait_for_frames(void **state)
{
	struct page_head none = TAILQ_HEAD_INITIALIZER(none);
	struct wait wait = {0};

	(void)state;
	no_frame_is_left();
	world.pager->nr_reclaimers++;
	want_frame(FAULT_WAIT, &wait);
	world.pager->nr_reclaimers--; /* it was this thread, which has found nothing to page out */
	pager_lock(world.pager);
	reclaim_pages(world.pager, &none);
	pager_unlock(world.pager);
	assert_true(wait_is_over(world.pager, &wait));
	give_back();
}

/* ---- Devices ---------------------------------------------------------------------------------- */

static void swapoff_goes_on_when_the_last_has_left_the_device(void **state)
{
	struct wait wait = {0};

	(void)state;
	assert_non_null(area_enter(world.pager, 0));
	assert_int_equal(pager_swapoff(world.pager, world.dev->uri, &wait), -EAGAIN);
	assert_false(wait_is_over(world.pager, &wait));
	area_leave(world.pager, 0);
	assert_true(wait_is_over(world.pager, &wait));
	assert_int_equal(pager_swapoff(world.pager, world.dev->uri, &wait), 0);
}

static void who_looks_at_a_closed_door_wakes_nobody(void **state)
{
	uint32_t events;
	struct wait wait = {0};

	(void)state;
	assert_int_equal(pager_swapoff(world.pager, world.dev->uri, &wait), 0);
	events = atomic_load(pager_events(world.pager, WAIT_WORD_COMMON));
	assert_null(area_enter(world.pager, 0));
	assert_int_equal(atomic_load(pager_events(world.pager, WAIT_WORD_COMMON)), events);
}

static void *no_chunk(struct machine *m, size_t bytes)
{
	(void)m, (void)bytes;
	return NULL;
}

static void a_device_that_could_not_be_added_is_its_openers_again(void **state)
{
	struct wait wait = {0};
	struct swapdev *dev;
	char why[200];

	(void)state;
	assert_int_equal(pager_swapoff(world.pager, world.dev->uri, &wait), 0);
	assert_int_equal(swapdev_open("mem:?size=1M", &dev, why, sizeof(why)), 0);
	world.ops.chunk_alloc = no_chunk;
	assert_int_equal(pager_add_swap(world.pager, dev, 0), -ENOMEM);
	world.ops.chunk_alloc = world.real->chunk_alloc;
	dev->ops->close(dev);
	assert_null(world.pager->areas[0].dev);
	assert_int_equal(stats().slots, 0);
}

/* ---- Regions that the machine refuses --------------------------------------------------------------- */

static struct wait in_between;
static uint64_t refused_at; /* where a thread faults meanwhile; 0: nobody does */
static unsigned regions_unmapped;

static int refuse(struct machine *m, struct space *space, uint64_t start, uint64_t end, int prot)
{
	(void)m, (void)end, (void)prot;
	if (refused_at) {
		assert_int_equal(start, refused_at);
		assert_int_equal(handle_mm_fault(space, start, ACCESS_READ, &in_between), FAULT_WAIT);
	}
	return -ENOMEM;
}

static int count_unmap(struct machine *m, struct space *space, uint64_t start, uint64_t end)
{
	(void)m, (void)space, (void)start, (void)end;
	regions_unmapped++;
	return 0;
}

static void refuse_regions(uint64_t at)
{
	refused_at = at;
	regions_unmapped = 0;
	world.ops.region_map = refuse;
	world.ops.region_unmap = count_unmap;
}

/* Those who waited in it are told; and no region is unmapped that was never mapped. */
static void regions_again(void)
{
	world.ops.region_map = world.real->region_map;
	world.ops.region_unmap = world.real->region_unmap;
	assert_int_equal(regions_unmapped, 0);
	if (refused_at)
		assert_true(wait_is_over(world.pager, &in_between));
	valid();
}

static void a_mapping_that_is_refused_is_as_if_never_made(void **state)
{
	uint64_t at = base + 16 * MIB;

	(void)state;
	refuse_regions(at);
	assert_int_equal(place_mmap(&parent, &at, PAGE_BYTES, PROT_READ, SPACE_FIXED), -ENOMEM);
	regions_again();
}

static void so_is_a_mapping_that_should_grow(void **state)
{
	uint64_t at = base;

	(void)state;
	refuse_regions(base + 8 * MIB);
	assert_int_equal(place_mremap(&parent, &at, 8 * MIB, 9 * MIB), -ENOMEM);
	regions_again();
}

static void so_is_a_mapping_that_should_move(void **state)
{
	struct wait wait = {0};
	uint64_t at = base, to = base + 16 * MIB;

	(void)state;
	refuse_regions(to);
	assert_int_equal(
		PLACE_CALL(&parent, &wait,
			space_mremap(parent.space, &at, MIB, MIB, MREMAP_MAYMOVE | MREMAP_FIXED, to, &wait)),
		-ENOMEM);
	regions_again();
}

static void so_is_a_childs_mapping(void **state)
{
	struct place child;

	(void)state;
	refuse_regions(0);
	assert_int_equal(place_fork(&parent, &child), -ENOMEM);
	regions_again();
}

/* ---- A mapping that moves ------------------------------------------------------------------------------ */

static enum fault_result touched;

static int touch_what_moves(struct machine *m, struct space *space, uint64_t start, uint64_t end, int prot)
{
	touched = handle_mm_fault(space, base, ACCESS_WRITE, &in_between);
	return world.real->region_map(m, space, start, end, prot);
}

/*
 * Its first touch, when the new place is there already: a page that was born now would be in a reverse map that only
 * the old place knows.
 */
static void a_touch_waits_while_its_mapping_moves(void **state)
{
	struct wait wait = {0};
	uint64_t at = base, to = base + 16 * MIB;

	(void)state;
	world.ops.region_map = touch_what_moves;
	assert_int_equal(
		PLACE_CALL(&parent, &wait,
			space_mremap(parent.space, &at, MIB, MIB, MREMAP_MAYMOVE | MREMAP_FIXED, to, &wait)),
		0);
	world.ops.region_map = world.real->region_map;
	assert_int_equal(touched, FAULT_WAIT);
	assert_true(wait_is_over(world.pager, &in_between));
	valid();
}

/* ---- Who is woken --------------------------------------------------------------------------- */

#define WAITERS 62u

static unsigned calls[WAIT_WORDS];

static void count_wakes(struct machine *m, unsigned word)
{
	(void)m;
	calls[word]++;
}

/* One counter for all would wake the first waiter once and the last 62 times. */
static void who_waits_for_another_page_sleeps_on(void **state)
{
	struct wait waits[WAITERS];
	struct page *pages[WAITERS];
	unsigned woken = 0, called = 0;

	(void)state;
	fill(base, WAITERS);
	memset(calls, 0, sizeof(calls));
	world.ops.wake = count_wakes;
	for (unsigned i = 0; i < WAITERS; i++) {
		pages[i] = page_of(&parent, base + i * PAGE_BYTES);
		lock_page(pages[i]);
		pager_lock(world.pager);
		wait_on_page(world.pager, pages[i], WAIT_PAGE, &waits[i]);
		pager_unlock(world.pager);
	}
	for (unsigned i = 0; i < WAITERS; i++) {
		unlock_page(pages[i]);
		assert_true(wait_is_over(world.pager, &waits[i]));
		for (unsigned j = i; j < WAITERS; j++)
			woken += wait_is_over(world.pager, &waits[j]);
		for (unsigned j = i + 1; j < WAITERS; j++) /* who was woken for nothing waits again */
			waits[j].seq = atomic_load(pager_events(world.pager, waits[j].word));
	}
	for (unsigned word = 0; word < WAIT_WORDS; word++)
		called += calls[word];
	world.ops.wake = world.real->wake;
	assert_int_equal(called, WAITERS);
	assert_in_range(woken, WAITERS, WAITERS + WAITERS / 4);
}

static void who_waits_for_frames_sleeps_through_the_events_of_pages_and_spaces(void **state)
{
	struct wait for_space = {0}, for_frames = {0};
	struct page *page;

	(void)state;
	fill(base, 2);
	page = page_of(&parent, base);
	assert_int_equal(space_lock(parent.space, &for_space), 0);
	assert_int_equal(space_lock(parent.space, &for_space), -EAGAIN);
	wait_set(world.pager, &for_frames, WAIT_FRAMES, PFN_NONE);
	lock_page(page);
	pager_lock(world.pager);
	page_set(page, PG_waiters);
	pager_unlock(world.pager);
	unlock_page(page);
	assert_false(wait_is_over(world.pager, &for_frames));
	space_unlock(parent.space);
	assert_true(wait_is_over(world.pager, &for_space));
	assert_false(wait_is_over(world.pager, &for_frames));
}

int main(void)
{
#define WITH_WORLD(test) cmocka_unit_test_setup_teardown(test, set_up, close_world)
	const struct CMUnitTest tests[] = {
		WITH_WORLD(a_freeze_goes_on_when_the_last_page_is_unlocked),
		WITH_WORLD(a_wait_for_a_frame_ends_when_the_last_page_is_unlocked),
		WITH_WORLD(a_wait_for_a_frame_ends_when_the_last_reclaimer_has_left),
		WITH_WORLD(who_pages_out_tells_those_who_wait_for_frames),
		WITH_WORLD(swapoff_goes_on_when_the_last_has_left_the_device),
		WITH_WORLD(who_looks_at_a_closed_door_wakes_nobody),
		WITH_WORLD(a_device_that_could_not_be_added_is_its_openers_again),
		WITH_WORLD(a_mapping_that_is_refused_is_as_if_never_made),
		WITH_WORLD(so_is_a_mapping_that_should_grow),
		WITH_WORLD(so_is_a_mapping_that_should_move),
		WITH_WORLD(so_is_a_childs_mapping),
		WITH_WORLD(a_touch_waits_while_its_mapping_moves),
		WITH_WORLD(who_waits_for_another_page_sleeps_on),
		WITH_WORLD(who_waits_for_frames_sleeps_through_the_events_of_pages_and_spaces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

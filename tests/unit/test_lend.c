/* SPDX-License-Identifier: MIT */
/* Frames lent to a device that lives on the pager's memory: one that wants and takes what the test says. */
#include "mm_world.h"

static struct swapdev_ops ops;
static struct swapdev *dev;
static uint32_t wanted, granted;
static unsigned upkeeps, drops;

static uint32_t want(struct swapdev *d)
{
	(void)d;
	return wanted;
}

static uint32_t take_grant(struct swapdev *d, uint32_t pages, uint32_t most)
{
	(void)d, (void)most;
	return granted = pages;
}

static void keep_up(struct swapdev *d)
{
	(void)d;
	upkeeps++;
}

static void count_drop(struct machine *machine, pfn_t first, unsigned nr)
{
	drops += nr;
	world.real->frame_drop(machine, first, nr);
}

static int open_with(uint32_t nr_frames)
{
	char why[200];

	wanted = granted = upkeeps = drops = 0;
	if (open_world((struct world_config){.kind = ANONMM_SOFT, .nr_frames = nr_frames}))
		return -1;
	world.ops.frame_drop = count_drop;
	assert_int_equal(swapdev_open("mem:?size=8M", &dev, why, sizeof(why)), 0);
	ops = *dev->ops;
	ops.memory_wanted = want;
	ops.memory_grant = take_grant;
	ops.background = keep_up;
	dev->ops = &ops;
	dev->shares_memory = true;
	return pager_add_swap(world.pager, dev, 0);
}

static int set_up(void **state)
{
	(void)state;
	return open_with(512);
}

static void settle_loans(void)
{
	pager_lock(world.pager);
	lend_settle(world.pager);
	pager_unlock(world.pager);
}

static uint32_t lent(void)
{
	return world.pager->nr_lent;
}

static void what_it_wants_it_has_and_gives_back(void **state)
{
	uint64_t nr_free = stats().frames_free;

	(void)state;
	wanted = 100;
	settle_loans();
	assert_int_equal(lent(), 100);
	assert_int_equal(granted, 100);
	assert_int_equal(drops, 100);
	assert_int_equal(stats().frames_free, nr_free - 100);
	valid();
	wanted = 10;
	settle_loans();
	assert_int_equal(lent(), 10);
	wanted = 0;
	settle_loans(); /* so few are left alone */
	assert_int_equal(lent(), 10);
	wanted = 50;
	settle_loans();
	wanted = 0;
	settle_loans();
	assert_int_equal(lent(), 0);
	assert_int_equal(stats().frames_free, nr_free);
	valid();
}

static void three_quarters_are_the_most(void **state)
{
	(void)state;
	wanted = 10000;
	settle_loans();
	assert_int_equal(lent(), 384);
	assert_int_equal(world.pager->owed, 0);
	valid();
}

static void a_small_pager_lends_nothing(void **state)
{
	(void)state;
	close_world(NULL);
	assert_int_equal(open_with(PAGER_MIN_FRAMES), 0);
	wanted = 10;
	settle_loans();
	assert_int_equal(lent(), 0);
	assert_int_equal(world.pager->owed, 0);
}

static void what_is_not_free_is_owed(void **state)
{
	(void)state;
	take_all_but(0);
	wanted = 20;
	settle_loans();
	assert_int_equal(lent(), 0);
	assert_int_equal(world.pager->owed, 20);
	give_back();
	settle_loans();
	assert_int_equal(lent(), 20);
	assert_int_equal(world.pager->owed, 0);
	valid();
}

/* Free frames that lie apart: some now, the others with the next step. */
static void scattered_frames_come_in_several_steps(void **state)
{
	unsigned kept = 0;

	(void)state;
	take_all_but(0);
	pager_lock(world.pager);
	for (unsigned i = 0; i < nr_taken; i++)
		if (page_pfn(world.pager, taken[i]) % 2)
			page_put(world.pager, taken[i]);
		else
			taken[kept++] = taken[i];
	nr_taken = kept;
	pager_unlock(world.pager);
	wanted = 100;
	settle_loans();
	assert_int_equal(lent(), 32);
	assert_int_equal(world.pager->owed, 68);
	for (unsigned i = 0; i < 3; i++)
		settle_loans();
	assert_int_equal(lent(), 100);
	assert_int_equal(world.pager->owed, 0);
	give_back();
	valid();
}

static void a_machine_may_keep_the_memory(void **state)
{
	(void)state;
	world.ops.frame_drop = NULL;
	wanted = 20;
	settle_loans();
	assert_int_equal(lent(), 20);
	assert_int_equal(drops, 0);
	valid();
}

static void a_device_that_goes_gets_no_more(void **state)
{
	struct wait wait = {0};

	(void)state;
	fill(base, 32);
	page_out(&parent, base, 32);
	wanted = 20;
	settle_loans();
	wanted = 40;
	assert_int_equal(pager_swapoff(world.pager, dev->uri, &wait), -EAGAIN);
	settle_loans();
	assert_int_equal(lent(), 20);
	lend_upkeep(world.pager);
	assert_int_equal(upkeeps, 1);
	/* Somebody is inside: its door is closed to others already. */
	assert_non_null(area_enter(world.pager, 0));
	for (unsigned i = 0; i < 10; i++) {
		assert_int_equal(pager_swapoff(world.pager, dev->uri, &wait), -EAGAIN);
		reap();
	}
	lend_upkeep(world.pager);
	assert_int_equal(upkeeps, 1);
	area_leave(world.pager, 0);
	assert_int_equal(pager_swapoff(world.pager, dev->uri, &wait), 0);
	assert_int_equal(lent(), 0);
	settle_loans();
	lend_upkeep(world.pager);
	assert_int_equal(lent(), 0);
	check(&parent, base, 32);
	valid();
}

static int swapoff_meets_a_loan;

static void swapoff_now(void)
{
	struct wait wait = {0};

	swapoff_meets_a_loan = pager_swapoff(world.pager, dev->uri, &wait);
}

/* Frames on their way to it: it is not closed before they have arrived. */
static void a_loan_under_way_is_waited_for(void **state)
{
	struct wait wait = {0};

	(void)state;
	wanted = 20;
	do_meanwhile(swapoff_now, 1);
	settle_loans();
	assert_int_equal(swapoff_meets_a_loan, -EAGAIN);
	assert_int_equal(lent(), 20);
	assert_int_equal(pager_swapoff(world.pager, dev->uri, &wait), 0);
	assert_int_equal(lent(), 0);
	valid();
}

static void an_heir_s_device_is_left_alone(void **state)
{
	(void)state;
	freeze();
	assert_int_equal(pager_fork_child(world.pager), 0);
	pager_thaw(world.pager);
	wanted = 20;
	settle_loans();
	lend_upkeep(world.pager);
	assert_int_equal(lent(), 0);
	assert_int_equal(upkeeps, 0);
}

/* The child of a fork reads its parent's store, whose memory is the parent's until that goes. */
static void a_parent_pays_for_its_stores_while_it_lives(void **state)
{
	(void)state;
	wanted = 300;
	settle_loans();
	freeze();
	assert_int_equal(pager_fork_child(world.pager), 0);
	pager_disown(world.pager);
	pager_thaw(world.pager);
	assert_int_equal(lent(), 0);
	settle_loans();
	assert_int_equal(lent(), 0);
	valid();
	pager_own(world.pager);
	settle_loans();
	assert_int_equal(lent(), 300);
	assert_int_equal(granted, 300); /* it was not asked again */
	valid();
}

/* A lower limit may leave less than what is locked and what a parent's stores hold: then there is nothing to lend. */
static void what_cannot_go_may_be_more_than_the_limit(void **state)
{
	static struct swapdev_ops own_ops;
	struct swapdev *own;

	(void)state;
	base = TEST_BASE;
	assert_int_equal(place_mmap(&parent, &base, 200 * PAGE_BYTES, PROT_READ | PROT_WRITE, 0), 0);
	assert_int_equal(place_mlock(&parent, base, 200 * PAGE_BYTES, true), 0);
	wanted = 200;
	settle_loans();
	freeze();
	assert_int_equal(pager_fork_child(world.pager), 0);
	pager_thaw(world.pager);
	own = swapon("mem:?size=4M", 1);
	own_ops = ops;
	own->ops = &own_ops;
	own->shares_memory = true;
	world.pager->nr_limit = 300;
	settle_loans();
	world.pager->nr_limit = 512;
	assert_int_equal(lent(), 200);
	wanted = 0;
	settle_loans();
	valid();
}

/* Their memory is the host's already: nothing is freed for the limit, and no memory given back twice. */
static void what_comes_back_goes_to_a_limit_that_misses_frames(void **state)
{
	struct pager_limit limit;
	char why[200];

	(void)state;
	wanted = 300;
	settle_loans();
	take_all_but(0);
	assert_int_equal(pager_set_limit(world.pager, 460 * PAGE_BYTES, why, sizeof(why)), 0);
	pager_limit(world.pager, &limit);
	assert_in_range(limit.frames_missing, 60, 200);
	assert_int_equal(limit.frames_missing, 512 - limit.frames);
	assert_int_equal(limit.frames_used, 512);
	assert_int_equal(limit.frames_lent, 300);
	wanted = 0;
	settle_loans();
	assert_int_equal(frames_free(world.pager), 300 - limit.frames_missing);
	pager_limit(world.pager, &limit);
	assert_int_equal(limit.frames_missing, 0);
	assert_int_equal(drops, 300);
	give_back();
	valid();
}

/* A device cannot give back what it keeps pages in: half of the rest may be locked. */
static void what_is_lent_cannot_be_locked(void **state)
{
	(void)state;
	base = TEST_BASE;
	assert_int_equal(place_mmap(&parent, &base, 200 * PAGE_BYTES, PROT_READ | PROT_WRITE, 0), 0);
	wanted = 312;
	settle_loans();
	assert_int_equal(place_mlock(&parent, base, 101 * PAGE_BYTES, true), -ENOMEM);
	assert_int_equal(place_mlock(&parent, base, 100 * PAGE_BYTES, true), 0);
	valid();
}

/* What is lent is not free. */
static int end(void **state)
{
	wanted = 0;
	pager_lock(world.pager);
	if (lent() > 0)
		lend_end(world.pager, &world.pager->areas[0]);
	pager_unlock(world.pager);
	return close_world(state);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_it_wants_it_has_and_gives_back),
		TEST(three_quarters_are_the_most),
		TEST(a_small_pager_lends_nothing),
		TEST(what_is_not_free_is_owed),
		TEST(scattered_frames_come_in_several_steps),
		TEST(a_machine_may_keep_the_memory),
		TEST(a_device_that_goes_gets_no_more),
		TEST(a_loan_under_way_is_waited_for),
		TEST(an_heir_s_device_is_left_alone),
		TEST(a_parent_pays_for_its_stores_while_it_lives),
		TEST(what_cannot_go_may_be_more_than_the_limit),
		TEST(what_comes_back_goes_to_a_limit_that_misses_frames),
		TEST(what_is_lent_cannot_be_locked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

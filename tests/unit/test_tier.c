/* SPDX-License-Identifier: MIT */
/*
 * The share of a compressed store in front of another device. The device here takes all memory that it may have, and
 * gives the numbers that the test wants.
 */
#include "mm_world.h"

#define FRAMES 4096
#define LEAST (FRAMES / 16)
#define MOST (FRAMES / 2)

static struct swapdev_ops ops;
static struct swapdev *dev;
static struct swap_tier tier;
static bool in_front;

static uint32_t want(struct swapdev *d)
{
	(void)d;
	return in_front ? FRAMES : 0;
}

static uint32_t take_grant(struct swapdev *d, uint32_t pages, uint32_t most)
{
	(void)d, (void)most;
	return pages;
}

static bool tell(struct swapdev *d, uint32_t slot, struct swap_tier *out)
{
	(void)d, (void)slot;
	*out = tier;
	return in_front;
}

static int set_up(void **state)
{
	char why[200];

	(void)state;
	tier = (struct swap_tier){.pages = 2000, .own_ns = 4000, .behind_ns = 100000};
	in_front = true;
	if (open_world((struct world_config){.kind = ANONMM_SOFT, .nr_frames = FRAMES}))
		return -1;
	assert_int_equal(swapdev_open("mem:?size=64M", &dev, why, sizeof(why)), 0);
	ops = *dev->ops;
	ops.memory_wanted = want;
	ops.memory_grant = take_grant;
	ops.tier = tell;
	dev->ops = &ops;
	dev->shares_memory = true;
	return pager_add_swap(world.pager, dev, 0);
}

static uint32_t lent_after_settling(void)
{
	pager_lock(world.pager);
	for (unsigned i = 0; i < FRAMES / 16; i++)
		lend_settle(world.pager);
	pager_unlock(world.pager);
	return world.pager->nr_lent;
}

/* @nr pages come back that left @distance ago, and so much happens meanwhile that a decision is due. */
static bool come_back(unsigned nr, uint32_t distance, bool behind)
{
	swp_entry_t entry = {.type = 0, .slot = 7};
	bool again = false;

	tier.behind = behind;
	pager_lock(world.pager);
	for (unsigned i = 0; i < nr; i++) {
		if (i == nr - 1)
			world.pager->nodes[0].evictions += FRAMES;
		again = tier_refault(world.pager, entry, distance);
	}
	pager_unlock(world.pager);
	return again;
}

static void it_begins_small(void **state)
{
	(void)state;
	assert_int_equal(lent_after_settling(), LEAST);
	valid();
}

/* Pages that a larger store would have held make it larger, up to the half. */
static void pages_just_beyond_make_it_larger(void **state)
{
	uint32_t before = lent_after_settling();

	(void)state;
	come_back(100, tier.pages + 1, true);
	assert_in_range(lent_after_settling(), before + 1, before * 2);
	for (unsigned i = 0; i < 20; i++)
		come_back(100, tier.pages + 1, true);
	assert_int_equal(lent_after_settling(), MOST);
	valid();
}

/* Pages that left a moment ago want frames; those that only the store holds speak for it. */
static void pages_that_had_just_left_make_it_smaller(void **state)
{
	(void)state;
	lent_after_settling();
	for (unsigned i = 0; i < 20; i++)
		come_back(100, tier.pages + 1, true);
	uint32_t before = lent_after_settling();

	for (unsigned i = 0; i < 4; i++)
		come_back(100, tier.pages - 1, false);
	assert_int_equal(lent_after_settling(), before);
	for (unsigned i = 0; i < 40; i++)
		come_back(100, 1, false);
	assert_in_range(lent_after_settling(), LEAST, LEAST + LEAST / 4);
	valid();
}

static void what_a_device_behind_costs_counts(void **state)
{
	uint32_t before = lent_after_settling();

	(void)state;
	tier.behind_ns = tier.own_ns; /* as fast: nothing to be gained */
	for (unsigned i = 0; i < 20; i++)
		come_back(100, tier.pages + 1, true);
	assert_int_equal(lent_after_settling(), before);
}

static void few_pages_decide_nothing(void **state)
{
	uint32_t before = lent_after_settling();

	(void)state;
	for (unsigned i = 0; i < 20; i++)
		come_back(5, tier.pages + 1, true);
	assert_int_equal(lent_after_settling(), before);
}

static void only_what_a_store_would_have_held_is_recalled(void **state)
{
	(void)state;
	lent_after_settling();
	assert_true(come_back(1, tier.pages, true));
	assert_false(come_back(1, tier.pages + 1, true));
	assert_false(come_back(1, tier.pages, false));
	in_front = false;
	assert_false(come_back(1, tier.pages, true));
}

/* In no order that a stream would follow. */
static void check_scattered(void)
{
	static const unsigned order[] = {5, 2, 7, 0};

	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(load(&parent, base + order[i] * PAGE_BYTES), order[i] + 1);
}

/* A clean page that came from behind is written once more; one that came from the store is not. */
static void a_recalled_page_is_written_when_it_leaves(void **state)
{
	(void)state;
	lent_after_settling();
	fill(base, 8);
	page_out(&parent, base, 8);
	for (unsigned behind = 0; behind < 2; behind++) {
		uint64_t written = stats().written, dropped = stats().clean_dropped;

		tier.behind = behind;
		check_scattered();
		page_out(&parent, base, 8);
		assert_int_equal(stats().written - written > 0, behind);
		assert_int_equal(stats().clean_dropped - dropped > 0, !behind);
	}
	tier.behind = false;
	check(&parent, base, 8);
	valid();
}

/* ---- Whether it pays ---------------------------------------------------------------------- */

/*
 * A program's pages in the order of their last use. Frames hold the first ones, the store the next ones, the device
 * behind the rest. What an access costs follows from where the page is, and from no formula of the policy's.
 */
#define SMALL 512 /* frames, so that it is quick */
#define RATIO 4 /* pages that a frame of the store holds */
#define PAGES 2048
#define ACCESSES 60000
#define OWN_NS 4000
#define BEHIND_NS 100000
#define TRAP_NS 8000

struct workload {
	unsigned hot, all; /* pages */
	unsigned one_in; /* so many accesses goes to any of @all; the others go to those that are hot */
};

static uint32_t recent[PAGES];
static uint64_t chance_state;

static unsigned chance(unsigned nr)
{
	chance_state = chance_state * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)((chance_state >> 33) % nr);
}

/* Where @page is among the recent ones; it becomes the most recent. */
static unsigned use(uint32_t page)
{
	unsigned at = 0;

	while (recent[at] != page)
		at++;
	memmove(recent + 1, recent, at * sizeof(*recent));
	recent[0] = page;
	return at;
}

/*
 * Nanoseconds of the accesses of @w's second half, with @fixed frames for the store, or as many as the policy says: 0.
 */
static uint64_t cost_of(const struct workload *w, unsigned fixed)
{
	struct tier t = {0};
	uint64_t ns = 0, left = 0;

	chance_state = 11;
	for (unsigned i = 0; i < w->all; i++)
		recent[i] = i;
	for (unsigned i = 0; i < ACCESSES; i++) {
		unsigned store = fixed ? fixed : tier_frames(&t, SMALL), held = SMALL - store;
		unsigned at = use(chance(w->one_in) ? chance(w->hot) : chance(w->all));
		bool is_behind = at >= held + store * RATIO;

		if (at < held)
			continue;
		left++;
		if (i >= ACCESSES / 2)
			ns += TRAP_NS + (is_behind ? BEHIND_NS : OWN_NS);
		if (!fixed)
			tier_came_back(&t, &(struct tier_look){.frames = SMALL,
						   .store_frames = store,
						   .store_pages = store * RATIO,
						   .gone = left,
						   .distance = at - held,
						   .behind = is_behind,
						   .own_ns = OWN_NS,
						   .behind_ns = BEHIND_NS});
	}
	return ns;
}

/*
 * A share that adapts is worth it when it comes near the best of those that do not; and there must be something to
 * choose.
 */
static void check_that_it_pays(const struct workload *w)
{
	uint64_t best = UINT64_MAX, worst = 0, cost = cost_of(w, 0);

	for (unsigned store = SMALL / 16; store <= SMALL / 2; store += SMALL / 16) {
		uint64_t fixed = cost_of(w, store);

		best = min_u64(best, fixed);
		worst = max_u64(worst, fixed);
	}
	print_message("hot %u of %u: %llu ms; with a fixed share %llu to %llu\n", w->hot, w->all,
		(unsigned long long)cost / 1000000, (unsigned long long)best / 1000000,
		(unsigned long long)worst / 1000000);
	assert_true(worst > best + best / 4);
	assert_true(cost <= best + best / 5);
}

static void a_store_that_holds_what_is_wanted_is_made_large(void **state)
{
	(void)state;
	check_that_it_pays(&(struct workload){.hot = 750, .all = 1000, .one_in = 3});
}

static void frames_that_are_all_hot_are_kept(void **state)
{
	(void)state;
	check_that_it_pays(&(struct workload){.hot = 450, .all = 2000, .one_in = 100});
}

/* What is lent is not free. */
static int end(void **state)
{
	in_front = false;
	pager_lock(world.pager);
	if (world.pager->nr_lent > 0)
		lend_end(world.pager, &world.pager->areas[0]);
	pager_unlock(world.pager);
	return close_world(state);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(it_begins_small),
		TEST(pages_just_beyond_make_it_larger),
		TEST(pages_that_had_just_left_make_it_smaller),
		TEST(what_a_device_behind_costs_counts),
		TEST(few_pages_decide_nothing),
		TEST(only_what_a_store_would_have_held_is_recalled),
		TEST(a_recalled_page_is_written_when_it_leaves),
		cmocka_unit_test(a_store_that_holds_what_is_wanted_is_made_large),
		cmocka_unit_test(frames_that_are_all_hot_are_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

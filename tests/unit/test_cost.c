/* SPDX-License-Identifier: MIT */
/*
 * What swap devices cost: how they measure it, what a chain of them adds up to, and what the policy makes of the
 * numbers.
 */
#include "swapdev_world.h"

#include "contract/policy.h"
#include "swap/cost.h"

#define MS 1000000u

static struct swap_cost costs(uint32_t read_ns, uint32_t neighbour_read_ns)
{
	return (struct swap_cost){.read_ns = read_ns, .neighbour_read_ns = neighbour_read_ns};
}

/* ---- The policy ------------------------------------------------------------------------ */

static void memory_is_quick_and_flat_a_disk_is_neither(void **state)
{
	const struct {
		struct swap_cost cost;
		bool quick, flat;
	} devices[] = {
		{costs(1000, 1000), true, true}, /* lz4 */
		{costs(7000, 7000), true, true}, /* zstd on pages that it hardly compresses */
		{costs(35000, 5500), false, false}, /* the disk of bench/touch */
		{COST_OF_DISK, false, false},
		{costs(10000000, 40000), false, false}, /* a disk that turns */
		{costs(103000, 103000), false, true}, /* memory in front of a disk */
		{costs(COST_NEVER, COST_NEVER), false, true},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(devices); i++) {
		for (int was = 0; was <= 1; was++) {
			assert_int_equal(cost_is_quick(&devices[i].cost, was), devices[i].quick);
			assert_int_equal(cost_is_flat(&devices[i].cost, was), devices[i].flat);
		}
	}
}

/* How often the answer changes while the costs waver between @low and @high, in disorder. */
static unsigned changes(bool (*ask)(const struct swap_cost *, bool), bool was, uint32_t low, uint32_t high)
{
	unsigned nr = 0, random = 1;

	for (int i = 0; i < 1000; i++) {
		struct swap_cost cost = costs(low + (uint32_t)rand_r(&random) % (high - low), 4000);
		bool is = ask(&cost, was);

		nr += is != was;
		was = is;
	}
	return nr;
}

static void an_answer_stays_while_the_costs_waver(void **state)
{
	(void)state;
	for (int was = 0; was <= 1; was++) {
		assert_int_equal(changes(cost_is_quick, was, FAULT_NS + 1, 4 * FAULT_NS), 0);
		assert_int_equal(changes(cost_is_flat, was, 5001, 8000), 0);
	}
	/* Beyond one end of the range it changes once. */
	assert_int_equal(changes(cost_is_quick, false, FAULT_NS / 2, 4 * FAULT_NS), 1);
	assert_int_equal(changes(cost_is_quick, true, FAULT_NS + 1, 5 * FAULT_NS), 1);
	assert_int_equal(changes(cost_is_flat, false, 4000, 8000), 1);
	assert_int_equal(changes(cost_is_flat, true, 5001, 9000), 1);
}

static void room_is_short_below_a_fifth(void **state)
{
	struct swap_cost cost = COST_OF_DISK;

	(void)state;
	assert_false(cost_room_is_short(&cost));
	cost.room = COST_WHOLE / 5;
	assert_false(cost_room_is_short(&cost));
	cost.room--;
	assert_true(cost_room_is_short(&cost));
	cost.room = 0;
	assert_true(cost_room_is_short(&cost));
}

static void a_store_with_nothing_behind_it_may_have_more(void **state)
{
	const struct swap_cost disk = COST_OF_DISK, none = {.read_ns = COST_NEVER};

	(void)state;
	assert_int_equal(cost_store_most(64 * MIB, &none), 48 * MIB);
	assert_int_equal(cost_store_most(64 * MIB, &disk), 32 * MIB);
	assert_int_equal(cost_store_most(0, &disk), 0);
	assert_true(cost_store_most(UINT64_MAX, &none) < UINT64_MAX);
}

/* ---- Averages --------------------------------------------------------------------------- */

static void an_average_follows_what_is_noted(void **state)
{
	_Atomic(uint32_t) average = 100000;

	(void)state;
	for (int i = 0; i < 100; i++)
		cost_note(&average, 3000);
	assert_in_range(average, 3000, 3010);
	for (int i = 0; i < 200; i++)
		cost_note(&average, 50000);
	assert_in_range(average, 49990, 50000);
}

/* Of four times one is that of a thread that waited for its CPU. */
static void interruptions_count_little(void **state)
{
	_Atomic(uint32_t) average = 3000;

	(void)state;
	for (int i = 0; i < 1000; i++)
		cost_note(&average, i % 4 ? 2000 : 20 * MS);
	assert_in_range(average, 2000, 4000);
}

static void an_end_that_was_noticed_late_counts_little(void **state)
{
	_Atomic(uint32_t) average = 6000;

	(void)state;
	for (int i = 0; i < 1000; i++)
		cost_note_late(&average, i % 10 ? 50 * MS : 5000);
	assert_in_range(average, 5000, 12500);
	for (int i = 0; i < 1000; i++)
		cost_note_late(&average, 40000); /* the device is really slower now */
	assert_in_range(average, 39000, 40000);
}

static void no_average_gets_stuck(void **state)
{
	_Atomic(uint32_t) averages[] = {100, 100};

	(void)state;
	for (int i = 0; i < 1000; i++) {
		cost_note(&averages[0], 0);
		cost_note_late(&averages[1], 0);
	}
	for (int i = 0; i < 2000; i++) {
		cost_note(&averages[0], 3000);
		cost_note_late(&averages[1], 3000);
	}
	for (int i = 0; i < 2; i++)
		assert_in_range(averages[i], 2900, 3000);
	for (int i = 0; i < 2000; i++)
		cost_note(&averages[0], UINT64_MAX);
	assert_in_range(averages[0], 100 * MS, 100 * MS);
}

static struct swap_cost told(const struct cost_meter *meter)
{
	struct swap_cost cost;

	cost_meter_tell(meter, &cost);
	return cost;
}

static void only_what_says_something_is_measured(void **state)
{
	static struct swap_io io;
	const struct swap_cost disk = COST_OF_DISK;
	struct cost_meter meter;

	(void)state;
	cost_meter_init(&meter);
	io = (struct swap_io){.dir = SWAP_READ, .nr = 1, .since_ns = 5000};
	cost_meter_end(&meter, &io, 5000 + 20000);
	assert_int_equal(told(&meter).read_ns, disk.read_ns - 10000);
	io.ahead = true; /* somebody looks for it later */
	cost_meter_end(&meter, &io, 5000 + 20000);
	io.ahead = false;
	io.result = -EIO; /* it took no I/O at all, or a second */
	cost_meter_end(&meter, &io, 5000 + 20000);
	io.result = 0;
	io.nr = 4; /* neither one page nor a long run */
	cost_meter_end(&meter, &io, 5000 + 20000);
	assert_int_equal(told(&meter).read_ns, disk.read_ns - 10000);
	assert_int_equal(told(&meter).neighbour_read_ns, disk.neighbour_read_ns);
	io.nr = 100;
	cost_meter_end(&meter, &io, 5000 + 200000);
	assert_int_equal(told(&meter).neighbour_read_ns, disk.neighbour_read_ns - 1000);
	assert_int_equal(told(&meter).write_ns, disk.write_ns);
	io.dir = SWAP_WRITE;
	cost_meter_end(&meter, &io, 5000 + 400000);
	assert_int_equal(told(&meter).write_ns, disk.write_ns - 500);
	assert_int_equal(told(&meter).room, COST_WHOLE);
}

/* ---- Devices ------------------------------------------------------------------------------ */

static void a_chain_costs_what_its_devices_cost(void **state)
{
	const struct {
		const char *uri;
		bool quick, flat;
	} devices[] = {
		{"zram:?size=1M", true, true},
		{"zram:?size=1M,mem:?size=1M", false, true},
		{"zram:?size=1M,file:/var/tmp?size=1M", false, true},
		{"faulty:zram:?size=1M", true, true},
		{"faulty:file:/var/tmp?size=1M", false, false},
		{"file:/var/tmp?size=1M", false, false},
		{"mem:?size=1M", false, false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(devices); i++) {
		struct world *w = world_new(devices[i].uri);
		struct swap_cost cost = swapdev_cost(w->dev);

		assert_int_equal(cost_is_quick(&cost, false), devices[i].quick);
		assert_int_equal(cost_is_flat(&cost, false), devices[i].flat);
		assert_int_equal(cost.room, COST_WHOLE);
		assert_true(cost.read_ns > 0 && cost.neighbour_read_ns > 0 && cost.write_ns > 0);
		world_free(w);
	}
}

static void costs_add_up_and_do_not_wrap(void **state)
{
	struct swap_cost cost = {.read_ns = 1, .neighbour_read_ns = 2, .write_ns = 3, .room = 4};
	const struct swap_cost behind = {.read_ns = COST_NEVER, .neighbour_read_ns = 10, .write_ns = 20};

	(void)state;
	cost_add(&cost, &behind);
	assert_int_equal(cost.read_ns, COST_NEVER - 1);
	assert_int_equal(cost.neighbour_read_ns, 12);
	assert_int_equal(cost.write_ns, 23);
	assert_int_equal(cost.room, 4); /* what is behind makes no room in memory */
}

static bool differ(struct swap_cost a, struct swap_cost b)
{
	return a.read_ns != b.read_ns && a.neighbour_read_ns != b.neighbour_read_ns &&
	       a.write_ns != b.write_ns;
}

/* What requests really take replaces what was assumed; what stands in front of the device includes it. */
static void requests_are_measured(void **state)
{
	struct world *w = world_new(*state);
	struct swap_cost before = swapdev_cost(w->dev);

	for (unsigned i = 0; i < 16; i++) {
		assert_int_equal(write_slots(w, 0, 128, i + 1), 0);
		assert_int_equal(read_slots(w, 0, 128), 0);
		assert_int_equal(read_slots(w, i * 8, 1), 0);
	}
	assert_true(differ(before, swapdev_cost(w->dev)));
	world_free(w);
}

/* No time passes in a simulator, and none must be measured: the same calls have to give the same run. */
static void a_device_in_plain_memory_always_costs_the_same(void **state)
{
	struct world *w = world_new("faulty:mem:?size=16M&delay=3");
	const struct swap_cost disk = COST_OF_DISK;

	(void)state;
	assert_int_equal(write_slots(w, 0, 128, 1), 0);
	assert_int_equal(read_slots(w, 0, 1), 0);
	struct swap_cost cost = swapdev_cost(w->dev);

	assert_memory_equal(&cost, &disk, sizeof(disk));
	world_free(w);
}

#define ON(test, uri)                                                                                        \
	{                                                                                                    \
#test " on " uri, test, NULL, NULL, (void *)(uintptr_t)uri                                   \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_is_quick_and_flat_a_disk_is_neither),
		cmocka_unit_test(an_answer_stays_while_the_costs_waver),
		cmocka_unit_test(room_is_short_below_a_fifth),
		cmocka_unit_test(a_store_with_nothing_behind_it_may_have_more),
		cmocka_unit_test(an_average_follows_what_is_noted),
		cmocka_unit_test(interruptions_count_little),
		cmocka_unit_test(an_end_that_was_noticed_late_counts_little),
		cmocka_unit_test(no_average_gets_stuck),
		cmocka_unit_test(only_what_says_something_is_measured),
		cmocka_unit_test(a_chain_costs_what_its_devices_cost),
		cmocka_unit_test(costs_add_up_and_do_not_wrap),
		ON(requests_are_measured, "file:/var/tmp?size=16M"),
		ON(requests_are_measured, "faulty:file:/var/tmp?size=16M&engine=threads"),
		ON(requests_are_measured, "zram:?size=16M"),
		cmocka_unit_test(a_device_in_plain_memory_always_costs_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* Faults on demand: each fault comes when it was asked for, not before, and not after. */
#include "swapdev_world.h"

static void faulty_names_are_refused_with_a_reason(void **state)
{
	char why[512] = "";
	struct swapdev *dev;

	(void)state;
	assert_int_equal(swapdev_open("faulty:mem:?size=1M&fail_read=x", &dev, why, sizeof(why)), -EINVAL);
	assert_non_null(strstr(why, "fail_read=x is not a number"));
	assert_int_equal(swapdev_open("faulty:tape:?seed=1", &dev, why, sizeof(why)), -EINVAL);
	assert_non_null(strstr(why, "unknown scheme 'tape'"));
	assert_int_equal(swapdev_open("faulty:mem:?fail_reed=1", &dev, why, sizeof(why)), -EINVAL);
	assert_non_null(strstr(why, "unknown option 'fail_reed'"));
	assert_int_equal(swapdev_open("faulty:mem:?forever=2", &dev, why, sizeof(why)), -EINVAL);
	assert_int_equal(swapdev_open("faulty:", &dev, why, sizeof(why)), -EINVAL);
}

static void the_nth_request_fails_once_or_for_ever(void **state)
{
	for (int forever = 0; forever < 2; forever++) {
		for (unsigned nth = 1; nth < 6; nth++) {
			struct world *w = world_new(*state);

			assert_int_equal(write_slots(w, 0, 8, 1), 0);
			faulty_fail(w->dev, SWAP_READ, nth, EIO, forever);
			faulty_fail(w->dev, SWAP_WRITE, nth, ENOSPC, forever);
			for (unsigned i = 1; i < 10; i++) {
				bool fails = forever ? i >= nth : i == nth;

				assert_int_equal(read_slots(w, 0, 8), fails ? -EIO : 0);
				assert_int_equal(write_slots(w, 8, 8, i), fails ? -ENOSPC : 0);
			}
			assert_int_equal(faulty_requests(w->dev, SWAP_READ), 9);
			assert_int_equal(faulty_dealt(w->dev), forever ? 2 * (10 - nth) : 2);
			faulty_fail(w->dev, SWAP_READ, 0, EIO, false);
			assert_int_equal(read_slots(w, 0, 8), 0);
			world_free(w);
		}
	}
}

static int nr_wrong_bits(struct world *w, unsigned nr, unsigned version)
{
	uint8_t want[PAGE_BYTES];
	int wrong = 0;

	for (unsigned j = 0; j < nr; j++) {
		fill_page(want, j, version);
		for (unsigned b = 0; b < PAGE_BYTES; b++)
			wrong += __builtin_popcount(want[b] ^ io_page(w, 0, j, false)[b]);
	}
	return wrong;
}

static void a_corrupt_read_turns_one_bit(void **state)
{
	struct world *w = world_new(*state);

	assert_int_equal(write_slots(w, 0, 8, 1), 0);
	faulty_corrupt(w->dev, 2, false);
	for (int i = 1; i <= 3; i++) {
		assert_int_equal(read_slots(w, 0, 8), 0);
		assert_int_equal(nr_wrong_bits(w, 8, 1), i == 2);
	}
	world_free(w);
}

static void options_arm_what_calls_arm(void **state)
{
	struct world *w = world_new("faulty:mem:?size=16M&fail_write=2&corrupt_read=3&forever=1&error=28");

	(void)state;
	assert_int_equal(write_slots(w, 0, 8, 1), 0);
	assert_int_equal(write_slots(w, 0, 8, 2), -ENOSPC);
	assert_int_equal(write_slots(w, 0, 8, 3), -ENOSPC);
	for (int i = 1; i <= 5; i++) {
		assert_int_equal(read_slots(w, 0, 8), 0);
		assert_int_equal(nr_wrong_bits(w, 8, 1), i >= 3);
	}
	world_free(w);
}

static void a_full_device_takes_no_new_slot(void **state)
{
	struct world *w = world_new("faulty:mem:?size=16M&full=20");

	(void)state;
	assert_int_equal(write_slots(w, 0, 16, 1), 0);
	assert_int_equal(write_slots(w, 100, 8, 1), -ENOSPC);
	assert_int_equal(write_slots(w, 0, 16, 2), 0);
	assert_int_equal(write_slots(w, 100, 4, 1), 0);
	assert_int_equal(write_slots(w, 200, 1, 1), -ENOSPC);
	w->dev->ops->discard(w->dev, 2, 3);
	assert_int_equal(write_slots(w, 200, 3, 1), 0);
	assert_int_equal(write_slots(w, 300, 1, 1), -ENOSPC);
	faulty_full(w->dev, UINT32_MAX);
	assert_int_equal(write_slots(w, 300, 1, 1), 0);
	world_free(w);
}

static void what_is_held_ends_after_release(void **state)
{
	struct world *w = world_new(*state);

	assert_int_equal(write_slots(w, 0, 8, 1), 0);
	faulty_hold(w->dev, SWAP_READ, true);
	io_setup(w, 4, SWAP_READ, 0, 8, false);
	submit_one(w, 4);
	for (int i = 0; i < 20; i++)
		assert_int_equal(w->dev->ops->poll(w->dev, SWAP_READ, 2), 0);
	assert_int_equal(write_slots(w, 8, 8, 1), 0);
	assert_int_equal(atomic_load(&io_done[4]), 0);
	faulty_hold(w->dev, SWAP_READ, false);
	wait_for(w, 4);
	assert_int_equal(w->io[4]->result, 0);
	world_free(w);
}

static char order_text[NR_IO * 4];

static void note_order(struct swap_io *io)
{
	size_t used = strlen(order_text);

	snprintf(order_text + used, sizeof(order_text) - used, "%u ", io->slot);
	count_done(io);
}

static void run_order(unsigned seed, char *order, size_t len)
{
	char uri[128];
	struct world *w;

	snprintf(uri, sizeof(uri), "faulty:mem:?size=16M&delay=8&seed=%u", seed);
	w = world_new(uri);
	order_text[0] = '\0';
	for (int i = 0; i < NR_IO; i++) {
		io_setup(w, i, SWAP_READ, (uint32_t)i, 1, false);
		w->io[i]->done = note_order;
		submit_one(w, i);
	}
	for (int i = 0; i < NR_IO; i++)
		wait_for(w, i);
	snprintf(order, len, "%s", order_text);
	world_free(w);
}

static void a_seed_gives_one_order(void **state)
{
	char first[200], second[200], other[200];

	(void)state;
	run_order(7, first, sizeof(first));
	run_order(7, second, sizeof(second));
	run_order(8, other, sizeof(other));
	assert_string_equal(first, second);
	assert_string_not_equal(first, other);
	assert_int_not_equal(strncmp(first, "0 1 2 3 4 5 6 7 8 9 ", 20), 0);
}

#define ON(test, uri) cmocka_unit_test_prestate(test, (void *)(uintptr_t)(uri))

int main(void)
{
	static const char faulty_mem[] = "faulty:mem:?size=16M";
	static const char faulty_file[] = "faulty:file:/var/tmp?size=16M";
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(faulty_names_are_refused_with_a_reason),
		ON(the_nth_request_fails_once_or_for_ever, faulty_mem),
		ON(the_nth_request_fails_once_or_for_ever, faulty_file),
		ON(a_corrupt_read_turns_one_bit, faulty_mem),
		ON(a_corrupt_read_turns_one_bit, faulty_file),
		cmocka_unit_test(options_arm_what_calls_arm),
		cmocka_unit_test(a_full_device_takes_no_new_slot),
		ON(what_is_held_ends_after_release, faulty_mem),
		ON(what_is_held_ends_after_release, faulty_file),
		cmocka_unit_test(a_seed_gives_one_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

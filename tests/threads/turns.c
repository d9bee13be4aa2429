/* SPDX-License-Identifier: MIT */
/*
 * Turns of threads that fault: each gets its own, whoever holds one may stop, exit or wait for another thread, and when they end
 * nobody is left waiting. No memory is managed here: a fault is a call of uffd_turn().
 */
#include "machine/uffd_internal.h"

#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <string.h>

#define NR_THREADS 8
#define NR_FAULTS 3000

static struct uffd_machine m;
static sem_t held, go_on;

static void turns_begin(enum turns_state state)
{
	memset(&m.turns, 0, sizeof(m.turns));
	m.turns.until_ns = UINT64_MAX;
	m.turns.window_ns = host_now_ns();
	m.turns.state = state;
}

static void nobody_waits(void)
{
	assert_int_equal(m.turns.nr_waiting, 0);
	assert_int_equal(m.turns.heir, 0);
}

static void *fault_often(void *nr)
{
	for (uintptr_t i = 0; i < (uintptr_t)nr; i++) {
		uffd_turn(&m);
		if (i % 16 == 0)
			uffd_turn_waits(&m);
	}
	return NULL;
}

static void run_all(void)
{
	pthread_t threads[NR_THREADS];

	for (unsigned i = 0; i < NR_THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, fault_often,
					 (void *)(uintptr_t)(NR_FAULTS / (1 + i))),
			0);
	for (unsigned i = 0; i < NR_THREADS; i++)
		pthread_join(threads[i], NULL);
	nobody_waits();
}

static void all_get_their_turn(void **state)
{
	(void)state;
	turns_begin(TURNS_ON);
	run_all();
}

static void a_trial_begins_and_ends_while_threads_fault(void **state)
{
	(void)state;
	turns_begin(TURNS_OFF);
	m.turns.until_ns = 0;
	for (unsigned i = 0; i < 20; i++)
		run_all();
}

static void *hold_and_wait(void *unused)
{
	uffd_turn(&m);
	sem_post(&held);
	sem_wait(&go_on);
	return unused;
}

/* The other can only go on when we have had a turn while it holds one. */
static void who_holds_a_turn_may_wait_for_another(void **state)
{
	pthread_t other;

	(void)state;
	turns_begin(TURNS_ON);
	assert_int_equal(pthread_create(&other, NULL, hold_and_wait, NULL), 0);
	sem_wait(&held);
	assert_true(m.turns.holder == (uint64_t)other);
	uffd_turn(&m);
	assert_true(m.turns.holder == (uint64_t)pthread_self());
	sem_post(&go_on);
	pthread_join(other, NULL);
	nobody_waits();
}

static void *take_and_exit(void *unused)
{
	uffd_turn(&m);
	return unused;
}

static void a_turn_ends_with_its_thread(void **state)
{
	pthread_t other;

	(void)state;
	turns_begin(TURNS_ON);
	assert_int_equal(pthread_create(&other, NULL, take_and_exit, NULL), 0);
	pthread_join(other, NULL);
	uffd_turn(&m);
	assert_true(m.turns.holder == (uint64_t)pthread_self());
	nobody_waits();
}

static void who_waits_for_a_read_gives_its_turn_up(void **state)
{
	(void)state;
	turns_begin(TURNS_ON);
	uffd_turn(&m);
	uffd_turn_waits(&m);
	assert_true(m.turns.holder == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_get_their_turn),
		cmocka_unit_test(a_trial_begins_and_ends_while_threads_fault),
		cmocka_unit_test(who_holds_a_turn_may_wait_for_another),
		cmocka_unit_test(a_turn_ends_with_its_thread),
		cmocka_unit_test(who_waits_for_a_read_gives_its_turn_up),
	};

	sem_init(&held, 0, 0);
	sem_init(&go_on, 0, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * Threads that share a CPU with the pager thread: who is paired, on which CPU, and what is left when it is over. No
 * memory is managed here. The test's own thread is the pager thread, and a fault is a call of real_pair_note().
 */
#define _GNU_SOURCE
#include "machine/real/real_internal.h"

#include <sched.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "../needs.h"

static struct real_machine m;
static cpu_set_t own; /* what the test may use */

static struct {
	pthread_t thread;
	int tid;
	sem_t runs, end;
} other;

static void *be_there(void *unused)
{
	other.tid = host_tid();
	sem_post(&other.runs);
	sem_wait(&other.end);
	return unused;
}

static int set_up(void **state)
{
	(void)state;
	real_where_reset(&m);
	sched_getaffinity(0, sizeof(own), &own);
	sem_init(&other.runs, 0, 0);
	sem_init(&other.end, 0, 0);
	if (pthread_create(&other.thread, NULL, be_there, NULL))
		return -1;
	return sem_wait(&other.runs);
}

static int tear_down(void **state)
{
	(void)state;
	real_unpair_all(&m);
	sched_setaffinity(0, sizeof(own), &own);
	sem_post(&other.end);
	return pthread_join(other.thread, NULL);
}

/* The other thread faults as fast as it can: on a busy host several times, until it was fast enough. */
static void make_pair(void)
{
	for (int tries = 0; real_nr_paired(&m) == 0 && tries < 1000; tries++)
		for (int i = 0; i < 8; i++)
			real_pair_note(&m, other.tid);
	assert_int_equal(real_nr_paired(&m), 1);
}

/* The CPU that thread @tid is bound to; -1: it may use all that the test may. */
static int bound_to(int tid)
{
	cpu_set_t mask;

	assert_int_equal(sched_getaffinity(tid, sizeof(mask), &mask), 0);
	if (CPU_EQUAL(&mask, &own))
		return -1;
	assert_int_equal(CPU_COUNT(&mask), 1);
	for (int cpu = 0;; cpu++)
		if (CPU_ISSET(cpu, &mask))
			return cpu;
}

#define NEEDS_TWO_CPUS()                                                                                     \
	if (CPU_COUNT(&own) < 2)                                                                             \
	SKIP_WITHOUT("two-cpus", "there is one CPU for all threads")

static void a_pair_lives_where_its_waits_are_shortest(void **state)
{
	(void)state;
	NEEDS_TWO_CPUS();
	make_pair();
	unsigned nr = m.pair.trial.nr;
	int best = m.pair.trial.cpu[nr - 1];

	assert_int_equal(nr, min_u64((uint64_t)CPU_COUNT(&own), TRIAL_CPUS));
	for (unsigned i = 0; i < nr; i++) {
		assert_false(m.pair.trial.settled);
		assert_int_equal(bound_to(0), m.pair.trial.cpu[i]);
		assert_int_equal(bound_to(other.tid), m.pair.trial.cpu[i]);
		for (int waits = 0; waits < 64; waits++)
			real_pair_waited(&m, m.pair.cpu == best ? 20000 : 30000);
	}
	assert_true(m.pair.trial.settled);
	assert_int_equal(bound_to(0), best);
	assert_int_equal(bound_to(other.tid), best);
	for (int waits = 0; waits < 16384; waits++)
		real_pair_waited(&m, 20000);
	assert_false(m.pair.trial.settled); /* it is measured again */
	assert_int_equal(bound_to(0), m.pair.trial.cpu[0]);
	assert_int_equal(m.pair.trial.sum_ns[nr - 1], 0);
}

static void a_thread_that_faults_no_more_gets_its_cpus_back(void **state)
{
	cpu_set_t seen;

	(void)state;
	NEEDS_TWO_CPUS();
	make_pair();
	assert_int_equal(real_getaffinity(&m.machine, other.tid, sizeof(seen), &seen), 0);
	assert_true(CPU_EQUAL(&seen, &own));
	assert_int_not_equal(bound_to(other.tid), -1);
	host_sleep(15 * 1000000);
	real_pair_expire(&m);
	assert_int_equal(real_nr_paired(&m), 0);
	assert_int_equal(bound_to(other.tid), -1);
	assert_int_equal(bound_to(0), -1);
	real_pair_waited(&m, 20000); /* nobody is paired: nothing moves */
	assert_int_equal(bound_to(0), -1);
}

static void what_the_program_sets_ends_the_pair_and_stays(void **state)
{
	cpu_set_t one, seen;
	int cpu;

	(void)state;
	NEEDS_TWO_CPUS();
	make_pair();
	cpu = m.pair.trial.cpu[1];
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	assert_int_equal(real_setaffinity(&m.machine, other.tid, sizeof(one), &one), 0);
	assert_int_equal(real_nr_paired(&m), 0);
	assert_int_equal(bound_to(other.tid), cpu);
	host_sleep(15 * 1000000);
	real_pair_expire(&m);
	assert_int_equal(bound_to(other.tid), cpu);
	assert_int_equal(bound_to(0), -1);
	assert_int_equal(real_getaffinity(&m.machine, other.tid, sizeof(seen), &seen), 0);
	assert_true(CPU_EQUAL(&seen, &one));
}

static void a_thread_that_faults_now_and_then_is_not_paired(void **state)
{
	(void)state;
	for (int i = 0; i < 20; i++) {
		real_pair_note(&m, other.tid);
		host_sleep(1000000);
	}
	for (int i = 0; i < 20; i++)
		real_pair_note(&m, 0); /* nobody knows who it was */
	assert_int_equal(real_nr_paired(&m), 0);
	assert_int_equal(bound_to(0), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_pair_lives_where_its_waits_are_shortest, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			a_thread_that_faults_no_more_gets_its_cpus_back, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			what_the_program_sets_ends_the_pair_and_stays, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			a_thread_that_faults_now_and_then_is_not_paired, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

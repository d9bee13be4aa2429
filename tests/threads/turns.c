/* SPDX-License-Identifier: MIT */
/*
 * Turns of threads that fault: each thread gets its turn. The thread whose turn it is may stop, exit or wait for
 * another thread. When the threads end, nobody is left waiting. No memory is managed here: a fault is a call of
 * real_turn().
 */
#include "machine/real/real_internal.h"

#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <string.h>
#include <sys/wait.h>

#define NR_THREADS 8
#define NR_FAULTS 3000

static struct real_machine m;
static sem_t held, go_on;

/* ---- The clock is ours ---------------------------------------------------------------------- */

static _Atomic(long) clock_step_ns; /* 0: as fine as the host's */
static _Thread_local void (*after_look)(void); /* runs once, between a look at the clock and its answer */

int clock_gettime(clockid_t clock, struct timespec *t)
{
	void (*then)(void) = after_look;
	long step = atomic_load(&clock_step_ns), ret = syscall(SYS_clock_gettime, clock, t);

	after_look = NULL;
	if (step)
		t->tv_nsec -= t->tv_nsec % step;
	if (then)
		then();
	return (int)ret;
}

/* ---- Threads that take turns ---------------------------------------------------------------- */

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
		real_turn(&m);
		if (i % 16 == 0)
			real_turn_waits(&m);
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
	real_turn(&m);
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
	real_turn(&m);
	assert_true(m.turns.holder == (uint64_t)pthread_self());
	sem_post(&go_on);
	pthread_join(other, NULL);
	nobody_waits();
}

static void *take_and_exit(void *unused)
{
	real_turn(&m);
	return unused;
}

static void a_turn_ends_with_its_thread(void **state)
{
	pthread_t other;

	(void)state;
	turns_begin(TURNS_ON);
	assert_int_equal(pthread_create(&other, NULL, take_and_exit, NULL), 0);
	pthread_join(other, NULL);
	real_turn(&m);
	assert_true(m.turns.holder == (uint64_t)pthread_self());
	nobody_waits();
}

static void who_waits_for_a_read_gives_its_turn_up(void **state)
{
	(void)state;
	turns_begin(TURNS_ON);
	real_turn(&m);
	real_turn_waits(&m);
	assert_true(m.turns.holder == 0);
}

static void wait_until_they_wait(uint32_t nr)
{
	while (atomic_load(&m.turns.nr_waiting) < nr)
		sched_yield();
}

static void *fault_once(void *unused)
{
	real_turn(&m);
	return unused;
}

/* The child: those who held and waited are not there. Its own turn must come, and pass. */
static int child_of_fork(void)
{
	alarm(20);
	real_fork_child(&m);
	if (m.turns.holder || m.turns.heir || m.turns.nr_waiting)
		return 1;
	turns_begin(TURNS_ON);
	real_turn(&m);
	return m.turns.holder == (uint64_t)pthread_self() ? 0 : 2;
}

static void a_fork_child_does_not_wait_for_threads_of_its_parent(void **state)
{
	pthread_t holder, waiting[NR_THREADS];
	int status = -1;
	pid_t child;

	(void)state;
	m.kick = &m.own_kick;
	turns_begin(TURNS_ON);
	assert_int_equal(pthread_create(&holder, NULL, hold_and_wait, NULL), 0);
	sem_wait(&held);
	m.turns.used_ns = UINT64_MAX; /* nobody thinks that it is gone */
	for (unsigned i = 0; i < NR_THREADS; i++)
		assert_int_equal(pthread_create(&waiting[i], NULL, fault_once, NULL), 0);
	wait_until_they_wait(NR_THREADS);
	child = fork();
	if (child == 0)
		_exit(child_of_fork());
	m.turns.used_ns = 0;
	sem_post(&go_on);
	pthread_join(holder, NULL);
	for (unsigned i = 0; i < NR_THREADS; i++)
		pthread_join(waiting[i], NULL);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	nobody_waits();
}

/* A process that shares the memory (a child of vfork) may be killed in any place: what it leaves is this. */
static void who_is_killed_while_it_is_the_heir_leaves_the_turn_to_others(void **state)
{
	(void)state;
	turns_begin(TURNS_ON);
	m.turns.holder = 1;
	m.turns.heir = 1;
	m.turns.nr_waiting = 1;
	for (unsigned i = 0; i < 3; i++) {
		pthread_t other;

		assert_int_equal(pthread_create(&other, NULL, fault_once, NULL), 0);
		real_turn(&m);
		pthread_join(other, NULL);
	}
	assert_int_equal(m.turns.heir, 0);
	assert_int_equal(m.turns.nr_waiting, 1);
}

/* Two looks at the same time by the clock: nothing is divided by what lies between them. */
static void a_coarse_clock_is_a_clock(void **state)
{
	unsigned nr_asked = 0;

	(void)state;
	atomic_store(&clock_step_ns, 1000000000);
	for (unsigned i = 0; i < 4; i++) {
		turns_begin(TURNS_OFF);
		m.turns.until_ns = 0;
		m.turns.last = 1; /* another thread's */
		m.turns.nr_faults = UINT32_MAX; /* it is time to ask */
		real_turn(&m);
		nr_asked += m.turns.state == TURNS_APART;
	}
	atomic_store(&clock_step_ns, 0);
	assert_true(nr_asked > 0);
}

static void let_the_others_ask(void)
{
	sem_post(&held);
	sem_wait(&go_on);
}

static void *look_slowly(void *unused)
{
	after_look = let_the_others_ask;
	real_turn(&m);
	return unused;
}

/* Its time is from before the window that another begins meanwhile: that is no reason to end the trial. */
static void who_is_slow_to_look_at_the_clock_ends_no_trial(void **state)
{
	pthread_t slow;

	(void)state;
	turns_begin(TURNS_APART);
	m.turns.window_ns = host_now_ns() - 100000000; /* long enough to be measured */
	assert_int_equal(pthread_create(&slow, NULL, look_slowly, NULL), 0);
	sem_wait(&held);
	m.turns.nr_faults = 0; /* the next one asks */
	real_turn(&m);
	sem_post(&go_on);
	pthread_join(slow, NULL);
	assert_int_equal(m.turns.state, TURNS_TRIED);
	nobody_waits();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_get_their_turn),
		cmocka_unit_test(a_trial_begins_and_ends_while_threads_fault),
		cmocka_unit_test(who_holds_a_turn_may_wait_for_another),
		cmocka_unit_test(a_turn_ends_with_its_thread),
		cmocka_unit_test(who_waits_for_a_read_gives_its_turn_up),
		cmocka_unit_test(a_fork_child_does_not_wait_for_threads_of_its_parent),
		cmocka_unit_test(who_is_killed_while_it_is_the_heir_leaves_the_turn_to_others),
		cmocka_unit_test(a_coarse_clock_is_a_clock),
		cmocka_unit_test(who_is_slow_to_look_at_the_clock_ends_no_trial),
	};

	sem_init(&held, 0, 0);
	sem_init(&go_on, 0, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * Threads on real memory. Several threads load and store plainly, each its own words of the same pages. Another maps
 * and unmaps, and one gives advice about the pages that the others use.
 */
#include "../needs.h"
#include "lib/api.h"
#include "machine/real/real_internal.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <cmocka.h>

#ifndef MADV_COLD
#define MADV_COLD 20
#define MADV_PAGEOUT 21
#endif

#define PAGE 4096u
#define NR_PAGES 1536u /* 6 MiB in 4, of which some is bookkeeping */
#define NR_WRITERS 3u
#define ROUNDS 2u

static struct anonmm *mm;
static char *shared;
static _Atomic(unsigned) failures;
static sem_t go_on;

static _Atomic(uint64_t) *word_at(unsigned page, unsigned writer)
{
	return (_Atomic(uint64_t) *)(void *)(shared + (size_t)page * PAGE + writer * 1000);
}

static void *write_and_check(void *arg)
{
	unsigned writer = (unsigned)(uintptr_t)arg;

	for (unsigned round = 1; round <= ROUNDS; round++) {
		for (unsigned i = 0; i < NR_PAGES; i++) {
			unsigned page = (writer & 1 ? i * 1031 : i) % NR_PAGES; /* one in order, others not */
			uint64_t last = round == 1 ? 0 : (round - 1) * 1000003ull + page;

			failures += atomic_load_explicit(word_at(page, writer), memory_order_relaxed) != last;
			atomic_store_explicit(
				word_at(page, writer), round * 1000003ull + page, memory_order_relaxed);
		}
	}
	return NULL;
}

static void *map_and_unmap(void *arg)
{
	(void)arg;
	for (unsigned round = 0; round < 20 * ROUNDS; round++) {
		uint64_t *own = anonmm_mmap(mm, NULL, 64 * PAGE, PROT_READ | PROT_WRITE);

		if (!own) {
			failures++;
			continue;
		}
		for (unsigned i = 0; i < 64; i++)
			own[i * PAGE / 8] = i + round;
		failures += anonmm_madvise(mm, own, 32 * PAGE, MADV_PAGEOUT) != 0;
		failures += anonmm_mprotect(mm, own, 16 * PAGE, PROT_READ) != 0;
		for (unsigned i = 0; i < 64; i++)
			failures += own[i * PAGE / 8] != i + round;
		failures += anonmm_munmap(mm, own, 64 * PAGE) != 0;
	}
	return NULL;
}

static void *advise(void *arg)
{
	static const int hints[] = {MADV_COLD, MADV_PAGEOUT, MADV_WILLNEED};

	(void)arg;
	for (unsigned i = 0; i < 50 * ROUNDS; i++)
		failures += anonmm_madvise(mm, shared + (size_t)(i * 371 % (NR_PAGES - 32)) * PAGE, 32 * PAGE,
				    hints[i % 3]) != 0;
	return NULL;
}

/* Faults, and then waits until the others are done: it may be its turn. */
static void *read_and_wait(void *arg)
{
	failures += atomic_load_explicit(word_at(7, 3), memory_order_relaxed) != 0;
	sem_wait(&go_on);
	failures += atomic_load_explicit(word_at(NR_PAGES - 7, 3), memory_order_relaxed) != 0;
	return arg;
}

/* Until it is cancelled. Nobody writes these words. */
static void *read_for_ever(void *arg)
{
	for (unsigned i = (unsigned)(uintptr_t)arg;; i += 97) {
		failures += atomic_load_explicit(word_at(i % NR_PAGES, 3), memory_order_relaxed) != 0;
		pthread_testcancel();
	}
	return NULL;
}

/* Of those who fault only one goes on, from the first fault to the last. */
static void make_them_take_turns(void)
{
	struct turns *turns = &real_of(mm->machine)->turns;

	turns->until_ns = UINT64_MAX;
	turns->window_ns = host_now_ns();
	turns->state = TURNS_ON;
}

static void threads_share_real_memory(enum anonmm_faults faults, bool copy, bool turns)
{
	struct anonmm_config config = {.machine = ANONMM_UFFD,
		.memory = ANONMM_MEMORY_MIN,
		.address_space = 1ull << 30, /* sanitizers leave little room */
		.swap = "file:/var/tmp?size=64M",
		.faults = faults,
		.copy = copy};
	pthread_t threads[NR_WRITERS + 2], waits, reads;
	struct anonmm_stats stats;
	int error = anonmm_open(&config, &mm);

	if (error == -EPERM || error == -ENOSYS) {
		SKIP_WITHOUT(REAL_MEMORY, "%s", anonmm_error());
	}
	if (error)
		fail_msg("%s", anonmm_error());
	shared = anonmm_mmap(mm, NULL, (size_t)NR_PAGES * PAGE, PROT_READ | PROT_WRITE);
	assert_non_null(shared);
	failures = 0;
	if (turns)
		make_them_take_turns();
	sem_init(&go_on, 0, 0);
	assert_int_equal(pthread_create(&waits, NULL, read_and_wait, NULL), 0);
	assert_int_equal(pthread_create(&reads, NULL, read_for_ever, NULL), 0);
	for (unsigned i = 0; i < NR_WRITERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, write_and_check, (void *)(uintptr_t)i), 0);
	assert_int_equal(pthread_create(&threads[NR_WRITERS], NULL, map_and_unmap, NULL), 0);
	assert_int_equal(pthread_create(&threads[NR_WRITERS + 1], NULL, advise, NULL), 0);
	for (unsigned i = 0; i < NR_WRITERS + 2; i++)
		pthread_join(threads[i], NULL);
	pthread_cancel(reads);
	pthread_join(reads, NULL);
	sem_post(&go_on);
	pthread_join(waits, NULL);
	assert_int_equal(failures, 0);
	anonmm_get_stats(mm, &stats, sizeof(stats));
	assert_true(stats.swapped_out > 0 && stats.swapped_in > 0);
	assert_int_equal(stats.lost_pages, 0);
	anonmm_close(mm);
}

static void in_thread_mode(void **state)
{
	(void)state;
	threads_share_real_memory(ANONMM_FAULTS_THREAD, false, false);
}

static void in_signal_mode(void **state)
{
	(void)state;
	threads_share_real_memory(ANONMM_FAULTS_SIGNAL, false, false);
}

static void in_signal_mode_by_turns(void **state)
{
	(void)state;
	threads_share_real_memory(ANONMM_FAULTS_SIGNAL, false, true);
}

static void in_thread_mode_by_copy(void **state)
{
	(void)state;
	threads_share_real_memory(ANONMM_FAULTS_THREAD, true, false);
}

static void in_signal_mode_by_copy(void **state)
{
	(void)state;
	threads_share_real_memory(ANONMM_FAULTS_SIGNAL, true, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(in_thread_mode),
		cmocka_unit_test(in_signal_mode),
		cmocka_unit_test(in_signal_mode_by_turns),
		cmocka_unit_test(in_thread_mode_by_copy),
		cmocka_unit_test(in_signal_mode_by_copy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * ksmd beside threads that write to the pages that it merges, kswapd, forks and advice, for ThreadSanitizer. Writers
 * have their own words of the same pages, and write the same values to all pages, so that pages are equal again and
 * again.
 */
#define _GNU_SOURCE
#include "../world.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <cmocka.h>

#define NR_FRAMES 160u
#define NR_PAGES 256u
#define NR_WRITERS 3u
#define ROUNDS 8u

static struct world world;
static struct place shared;
static uint64_t shared_addr;
static _Atomic(unsigned) failures;
static _Atomic(bool) finished;

static uint64_t word_at(unsigned page, unsigned writer)
{
	return shared_addr + page * PAGE_BYTES + writer * 1000;
}

static void *write_and_check(void *arg)
{
	unsigned writer = (unsigned)(uintptr_t)arg;
	uint64_t found;

	for (unsigned round = 1; round <= ROUNDS; round++) {
		for (unsigned i = 0; i < NR_PAGES; i++) {
			unsigned page = (i * 17 + writer * 100) % NR_PAGES;

			if (soft_load64(shared.mmu, word_at(page, writer), &found) || found != round - 1 ||
				soft_store64(shared.mmu, word_at(page, writer), round))
				failures++;
		}
	}
	return NULL;
}

static void *merge(void *arg)
{
	(void)arg;
	while (!finished)
		if (ksmd_step(world.pager, 100) < 0)
			failures++;
	return NULL;
}

static void *advise(void *arg)
{
	static const int advice[] = {MADV_UNMERGEABLE, MADV_MERGEABLE, MADV_PAGEOUT, MADV_COLD};

	(void)arg;
	for (unsigned i = 0; i < 40 * ROUNDS; i++)
		if (place_madvise(&shared, shared_addr + (i * 37 % (NR_PAGES - 32)) * PAGE_BYTES,
			    32 * PAGE_BYTES, advice[i % 4]))
			failures++;
	return NULL;
}

/* A child keeps what it has of each writer: one round or the next. */
static void *fork_and_look(void *arg)
{
	struct place child;
	uint64_t before, after;

	(void)arg;
	for (unsigned i = 0; i < ROUNDS; i++) {
		if (place_fork(&shared, &child)) {
			failures++;
			continue;
		}
		for (unsigned page = 0; page < NR_PAGES; page++) {
			if (soft_load64(child.mmu, word_at(page, 1), &before) ||
				soft_store64(child.mmu, word_at(page, 0), 99) ||
				soft_load64(child.mmu, word_at(page, 1), &after) || before != after)
				failures++;
		}
		place_close(&child);
	}
	return NULL;
}

static void threads_write_to_what_ksmd_merges(void **state)
{
	struct world_config config = {.kind = ANONMM_SOFT,
		.nr_frames = NR_FRAMES,
		.threads = true,
		.space_bytes = 2 * NR_PAGES * PAGE_BYTES,
		.swap = "mem:?size=16M"};
	static void *(*const work[])(void *) = {merge, merge, advise, fork_and_look};
	pthread_t threads[NR_WRITERS], others[4];
	struct anonmm_stats stats;
	char buf[400];

	(void)state;
	assert_int_equal(world_open(&world, &config), 0);
	assert_int_equal(place_open(&shared, &world), 0);
	shared_addr = 0;
	assert_int_equal(
		place_mmap(&shared, &shared_addr, NR_PAGES * PAGE_BYTES, PROT_READ | PROT_WRITE, 0), 0);
	assert_int_equal(place_madvise(&shared, shared_addr, NR_PAGES * PAGE_BYTES, MADV_MERGEABLE), 0);
	for (unsigned i = 0; i < NR_WRITERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, write_and_check, (void *)(uintptr_t)i), 0);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&others[i], NULL, work[i], NULL), 0);
	for (unsigned i = 0; i < NR_WRITERS; i++)
		pthread_join(threads[i], NULL);
	pthread_join(others[2], NULL);
	pthread_join(others[3], NULL);
	finished = true;
	pthread_join(others[0], NULL);
	pthread_join(others[1], NULL);
	assert_int_equal(failures, 0);
	assert_null(pager_validate(world.pager, buf, sizeof(buf)));
	pager_stats(world.pager, &stats);
	print_message("%llu merged, %llu unmerged, %llu written\n", (unsigned long long)stats.merged,
		(unsigned long long)stats.unmerged, (unsigned long long)stats.written);
	assert_true(stats.merged > 0);
	place_close(&shared);
	assert_null(pager_validate(world.pager, buf, sizeof(buf)));
	world_close(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(threads_write_to_what_ksmd_merges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

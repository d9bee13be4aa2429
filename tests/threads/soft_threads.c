/* SPDX-License-Identifier: MIT */
/*
 * Threads on one soft pager beside kswapd, for ThreadSanitizer. Some threads share one space and write their own words
 * of the same pages. One has a space of its own that it maps and unmaps all the time. One forks the shared space. Two
 * share memory from spaces of their own.
 */
#define _GNU_SOURCE
#include "../world.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define NR_FRAMES 128u
#define NR_PAGES 512u
#define NR_WRITERS 3u
#define ROUNDS 6u

static struct world world;
static struct place shared;
static uint64_t shared_addr;
static _Atomic(int) failures;

static uint64_t word_at(unsigned page, unsigned writer)
{
	return shared_addr + page * PAGE_BYTES + writer * 1000;
}

/* Where writer @writer comes in step @i of a round. */
static unsigned page_at(unsigned writer, unsigned i)
{
	return (i * 17 + writer * 100) % NR_PAGES;
}

static void *write_and_check(void *arg)
{
	unsigned writer = (unsigned)(uintptr_t)arg;
	uint64_t found;

	for (unsigned round = 1; round <= ROUNDS; round++) {
		for (unsigned i = 0; i < NR_PAGES; i++) {
			unsigned page = page_at(writer, i);

			if (soft_load64(shared.mmu, word_at(page, writer), &found) ||
				(found != 0) != (round > 1) ||
				(found && found != (round - 1) * 1000003ull + page) ||
				soft_store64(shared.mmu, word_at(page, writer), round * 1000003ull + page))
				failures++;
		}
	}
	return NULL;
}

static void *map_and_unmap(void *arg)
{
	struct place own;
	uint64_t addr = 0, value;

	(void)arg;
	if (place_open(&own, &world)) {
		failures++;
		return NULL;
	}
	for (unsigned round = 0; round < 20 * ROUNDS; round++) {
		addr = 0;
		if (place_mmap(&own, &addr, 64 * PAGE_BYTES, PROT_READ | PROT_WRITE, 0))
			failures++;
		for (unsigned i = 0; i < 64; i++)
			if (soft_store64(own.mmu, addr + i * PAGE_BYTES, i + round))
				failures++;
		place_madvise(&own, addr, 32 * PAGE_BYTES, MADV_PAGEOUT);
		for (unsigned i = 0; i < 64; i++)
			if (soft_load64(own.mmu, addr + i * PAGE_BYTES, &value) || value != i + round)
				failures++;
		if (place_munmap(&own, addr, 64 * PAGE_BYTES))
			failures++;
	}
	place_close(&own);
	return NULL;
}

/* A snapshot holds each writer's work up to some step: this round's before it, the last round's behind it. */
static void check_snapshot(struct place *child, unsigned writer)
{
	uint64_t round = UINT64_MAX, found;
	unsigned drops = 0;

	for (unsigned i = 0; i < NR_PAGES; i++) {
		unsigned page = page_at(writer, i);

		if (soft_load64(child->mmu, word_at(page, writer), &found))
			failures++;
		uint64_t now = found ? (found - page) / 1000003 : 0;

		drops += now != round;
		if (now > round)
			failures++;
		round = now;
	}
	if (drops > 2)
		failures++;
}

/* Children of the space that others write to: each is of one moment, and what it writes is its own. */
static void *fork_and_check(void *arg)
{
	struct place child;

	(void)arg;
	for (unsigned i = 0; i < 2 * ROUNDS; i++) {
		if (place_fork(&shared, &child)) {
			failures++;
			continue;
		}
		for (unsigned writer = 0; writer < NR_WRITERS; writer++)
			check_snapshot(&child, writer);
		for (unsigned page = 0; page < NR_PAGES; page += 3)
			if (soft_store64(child.mmu, word_at(page, NR_WRITERS), 7))
				failures++;
		place_close(&child);
	}
	return NULL;
}

/* Two spaces on one piece of shared memory, each with words of its own; the file is held by the mappings alone. */
#define SHARED_PAGES 200u

static struct place sharers[2];
static uint64_t sharers_addr[2];

static void *share(void *arg)
{
	unsigned me = (unsigned)(uintptr_t)arg;
	uint64_t found;

	for (unsigned round = 1; round <= 4 * ROUNDS; round++)
		for (unsigned i = 0; i < SHARED_PAGES; i++) {
			uint64_t at = sharers_addr[me] + i * PAGE_BYTES;

			if (soft_load64(sharers[me].mmu, at + 8 * me, &found) || found != round - 1 ||
				soft_store64(sharers[me].mmu, at + 8 * me, round) ||
				soft_load64(sharers[me].mmu, at + 8 * !me, &found))
				failures++;
		}
	return NULL;
}

static void open_sharers(void)
{
	struct wait wait = {0};
	struct file *file;

	assert_int_equal(file_create(world.pager, NULL, NULL, SHARED_PAGES * PAGE_BYTES, &file), 0);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(place_open(&sharers[i], &world), 0);
		assert_int_equal(place_mmap_file(&sharers[i], &sharers_addr[i], SHARED_PAGES * PAGE_BYTES,
					 PROT_READ | PROT_WRITE, SPACE_SHARED, file, 0),
			0);
	}
	assert_int_equal(WORLD_RETRY(&world, &wait, file_close(file, &wait)), 0);
}

/* Advice on the pages that others are using. */
static void *advise(void *arg)
{
	static const int hints[] = {MADV_COLD, MADV_PAGEOUT, MADV_WILLNEED};

	(void)arg;
	for (unsigned i = 0; i < 60 * ROUNDS; i++)
		place_madvise(&shared, shared_addr + (i * 37 % (NR_PAGES - 32)) * PAGE_BYTES, 32 * PAGE_BYTES,
			hints[i % 3]);
	return NULL;
}

static void threads_share_a_pager_beside_kswapd(void **state)
{
	struct world_config config = {.kind = ANONMM_SOFT,
		.nr_frames = NR_FRAMES,
		.threads = true,
		.space_bytes = 2 * NR_PAGES * PAGE_BYTES,
		.swap = "mem:?size=16M"};
	pthread_t threads[NR_WRITERS + 5];
	struct anonmm_stats stats;
	char buf[400];

	(void)state;
	assert_int_equal(world_open(&world, &config), 0);
	assert_int_equal(place_open(&shared, &world), 0);
	shared_addr = 0;
	assert_int_equal(
		place_mmap(&shared, &shared_addr, NR_PAGES * PAGE_BYTES, PROT_READ | PROT_WRITE, 0), 0);
	open_sharers();
	for (unsigned i = 0; i < NR_WRITERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, write_and_check, (void *)(uintptr_t)i), 0);
	assert_int_equal(pthread_create(&threads[NR_WRITERS], NULL, map_and_unmap, NULL), 0);
	assert_int_equal(pthread_create(&threads[NR_WRITERS + 1], NULL, advise, NULL), 0);
	assert_int_equal(pthread_create(&threads[NR_WRITERS + 2], NULL, fork_and_check, NULL), 0);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(
			pthread_create(&threads[NR_WRITERS + 3 + i], NULL, share, (void *)(uintptr_t)i), 0);
	for (unsigned i = 0; i < NR_WRITERS + 5; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(failures, 0);
	assert_null(pager_validate(world.pager, buf, sizeof(buf)));
	pager_stats(world.pager, &stats);
	assert_true(stats.swapped_in > 0 && stats.kswapd_wakes > 0 && stats.forks > 0 && stats.copied > 0);
	place_close(&shared);
	for (unsigned i = 0; i < 2; i++)
		place_close(&sharers[i]);
	assert_null(pager_validate(world.pager, buf, sizeof(buf)));
	world_close(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(threads_share_a_pager_beside_kswapd),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

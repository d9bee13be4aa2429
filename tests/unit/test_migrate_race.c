/* SPDX-License-Identifier: MIT */
/* Migration at random beside an oracle, and while threads use the pages that move. */
#define _GNU_SOURCE
#include "migrate_world.h"

/* ---- At random, beside an oracle ---------------------------------------------------------------------------- */

static uint64_t random_state;

static unsigned pick(unsigned below)
{
	random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned)((random_state >> 33) % below);
}

#define FAMILY 4
#define STRESS_PAGES 96u

static struct place family[FAMILY];
static uint64_t oracle[FAMILY][STRESS_PAGES];

static void stress_access(struct place *p, unsigned page)
{
	uint64_t value = random_state | 1, addr = base + page * PAGE_BYTES, *expected = oracle[p - family];

	if (pick(2)) {
		store(p, addr, value);
		expected[page] = value;
	} else {
		assert_int_equal(load(p, addr), expected[page]);
	}
}

static void stress_generation(unsigned who)
{
	unsigned from = pick(FAMILY);

	if (family[who].space) {
		place_close(&family[who]);
		family[who].space = NULL;
	} else if (family[from].space) {
		assert_int_equal(place_fork(&family[from], &family[who]), 0);
		memcpy(oracle[who], oracle[from], sizeof(oracle[who]));
	}
}

/* A page of @p other than the one that moves: an access to that would wait for this very thread. */
static void stress_step(struct place *p, unsigned moving)
{
	unsigned page = pick(STRESS_PAGES);
	uint64_t addr = base + page * PAGE_BYTES;

	switch (pick(6)) {
	case 0:
		assert_int_equal(place_madvise(p, addr, PAGE_BYTES, MADV_DONTNEED), 0);
		oracle[p - family][page] = 0;
		break;
	case 1:
		place_madvise(p, addr, 4 * PAGE_BYTES, MADV_PAGEOUT);
		break;
	case 2:
		if (p != &family[0])
			stress_generation((unsigned)(p - family));
		break;
	case 3:
		assert_int_equal(place_mprotect(p, addr, PAGE_BYTES, pick(2) ? PROT_READ : PROT_NONE), 0);
		assert_int_equal(place_mprotect(p, addr, PAGE_BYTES, PROT_READ | PROT_WRITE), 0);
		break;
	case 4:
		assert_int_equal(place_mlock(p, addr, PAGE_BYTES, page != moving && pick(2)), 0);
		assert_int_equal(place_mlock(p, addr, PAGE_BYTES, false), 0);
		break;
	default:
		if (page != moving)
			stress_access(p, page);
		break;
	}
}

static struct place *pick_place(void)
{
	struct place *p = &family[pick(FAMILY)];

	return p->space ? p : &family[0];
}

static void stress_migrate(void)
{
	struct place *p = pick_place();
	unsigned page = pick(STRESS_PAGES);
	struct migration m;
	struct wait wait;

	if (migrate_begin(p->space, base + page * PAGE_BYTES, pick(2), &m, &wait))
		return;
	for (unsigned i = pick(4); i > 0; i--) {
		stress_step(pick_place(), page);
		valid();
	}
	migrate_copy(&m);
	for (unsigned i = pick(4); i > 0; i--) {
		stress_step(pick_place(), page);
		valid();
	}
	migrate_end(&m);
}

static void random_histories_lose_nothing(void **state)
{
	struct wait wait;

	(void)state;
	memset(oracle, 0, sizeof(oracle));
	memset(family, 0, sizeof(family));
	random_state = 20150413;
	family[0] = parent;
	for (unsigned step = 0; step < 3000; step++) {
		switch (pick(8)) {
		case 0:
			stress_generation(1 + pick(FAMILY - 1));
			break;
		case 1:
			migrate_pages(world.pager, pick(2), pick(2), 1 + pick(8), &wait);
			break;
		case 2:
			compact_node(world.pager, pick(2), 1 + pick(8));
			break;
		case 3:
		case 4:
			stress_migrate();
			break;
		default:
			stress_step(pick_place(), STRESS_PAGES);
		}
		valid();
	}
	for (unsigned who = 0; who < FAMILY; who++)
		for (unsigned i = 0; family[who].space && i < STRESS_PAGES; i++)
			assert_int_equal(load(&family[who], base + i * PAGE_BYTES), oracle[who][i]);
	for (unsigned who = 1; who < FAMILY; who++)
		if (family[who].space)
			place_close(&family[who]);
	assert_true(stats().migrated > 500);
}

/* ---- Threads: accesses wait through all phases ---------------------------------------------------------------- */

static _Atomic(bool) stop;
static _Atomic(unsigned) failures;

static void *count_up(void *arg)
{
	uint64_t at = base + (uintptr_t)arg * sizeof(uint64_t), value;

	for (uint64_t round = 0; !stop; round++)
		for (unsigned i = 0; i < 64; i++) {
			place_read(&parent, at + i * PAGE_BYTES, &value, sizeof(value));
			if (value != round)
				failures++;
			value = round + 1;
			place_write(&parent, at + i * PAGE_BYTES, &value, sizeof(value));
		}
	return NULL;
}

/* Moves go on until enough have met the threads' pages; how fast either side is does not matter. */
static void race(void)
{
	uint64_t enough = stats().migrated + 1000;
	pthread_t writers[3];
	struct wait wait;

	stop = false;
	failures = 0;
	for (uintptr_t i = 0; i < 3; i++)
		pthread_create(&writers[i], NULL, count_up, (void *)i);
	for (unsigned i = 0; stats().migrated < enough; i++) {
		migrate_pages(world.pager, i % 2, !(i % 2), 16, &wait);
		compact_node(world.pager, i % 2, 4);
	}
	stop = true;
	for (unsigned i = 0; i < 3; i++)
		pthread_join(writers[i], NULL);
	assert_int_equal(failures, 0);
	valid();
}

static void threads_find_what_they_wrote(void **state)
{
	(void)state;
	assert_int_equal(open_world((struct world_config){.kind = ANONMM_SOFT,
				 .nr_frames = 256,
				 .nr_nodes = 2,
				 .threads = true,
				 .space_bytes = 64 * MIB,
				 .swap = "mem:?size=32M"}),
		0);
	race();
	tear_down(NULL);
}

static void real_memory_moves(enum anonmm_faults faults)
{
	struct migration m;

	if (open_world((struct world_config){.kind = ANONMM_UFFD,
		    .nr_frames = NR_FRAMES,
		    .nr_nodes = 2,
		    .faults = faults,
		    .space_bytes = 64 * MIB,
		    .swap = "mem:?size=32M"}))
		SKIP_WITHOUT(REAL_MEMORY, "%s", world.why);
	store(&parent, base, 7);
	begin(&parent, base, &m);
	end(&m, 0);
	assert_false(view_of(&parent, base).pte_valid); /* armed: the next touch shows it */
	assert_int_equal(load(&parent, base), 7);
	store(&parent, base, 0);
	race();
	tear_down(NULL);
}

static void real_memory_moves_in_thread_mode(void **state)
{
	(void)state;
	real_memory_moves(ANONMM_FAULTS_THREAD);
}

static void real_memory_moves_in_signal_mode(void **state)
{
	(void)state;
	real_memory_moves(ANONMM_FAULTS_SIGNAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(random_histories_lose_nothing, set_up, tear_down),
		cmocka_unit_test(threads_find_what_they_wrote),
		cmocka_unit_test(real_memory_moves_in_thread_mode),
		cmocka_unit_test(real_memory_moves_in_signal_mode),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * KSM beside everything else: random operations on a family of spaces with few different contents, next to an oracle.
 * The validator looks after each step. And a fixed workload in which each allocation fails once, and from then on for
 * ever.
 *
 * `SEED=N unit test_ksm_stress` replays one run.
 */
#define _GNU_SOURCE
#include "../world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define RW (PROT_READ | PROT_WRITE)
#define NR_PLACES 4u
#define NR_CHUNKS 6u
#define CHUNK_PAGES 8u
#define CHUNK_BYTES (CHUNK_PAGES * PAGE_BYTES)
#define STEPS 10000u

static struct world world;
static uint64_t seed, given_seed;

static void valid(void)
{
	char why[200];
	const char *wrong = pager_validate(world.pager, why, sizeof(why));

	if (wrong)
		fail_msg("seed %llu: %s", (unsigned long long)given_seed, wrong);
}

static unsigned pick(unsigned nr)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned)((seed >> 11) % nr);
}

/* ---- The oracle ---------------------------------------------------------------------------- */

/* A chunk of pages at one of its two homes, and what each page holds: one word at its start, one at its end. */
struct chunk {
	bool mapped, away, locked, read_only;
	uint64_t words[CHUNK_PAGES][2];
};

struct actor {
	bool open;
	struct place place;
	struct chunk chunks[NR_CHUNKS];
};

static struct actor actors[NR_PLACES];

static uint64_t home(unsigned chunk, bool away)
{
	return TEST_BASE + (2 * chunk + away) * 2 * CHUNK_BYTES;
}

static uint64_t word_addr(const struct actor *actor, unsigned chunk, unsigned page, unsigned word)
{
	return home(chunk, actor->chunks[chunk].away) + page * PAGE_BYTES + (word ? PAGE_BYTES - 8 : 0);
}

static void check_page(struct actor *actor, unsigned chunk, unsigned page)
{
	for (unsigned word = 0; word < 2; word++) {
		uint64_t found = 0;
		int error = soft_load64(actor->place.mmu, word_addr(actor, chunk, page, word), &found);

		if (error || found != actor->chunks[chunk].words[page][word])
			fail_msg("seed %llu: a load says %d and %llx, expected %llx",
				(unsigned long long)given_seed, error, (unsigned long long)found,
				(unsigned long long)actor->chunks[chunk].words[page][word]);
	}
}

static void check_all(struct actor *actor)
{
	for (unsigned c = 0; c < NR_CHUNKS; c++)
		for (unsigned p = 0; actor->chunks[c].mapped && p < CHUNK_PAGES; p++)
			check_page(actor, c, p);
}

/* ---- Operations, each on a chunk that is mapped ------------------------------------------------ */

static void op_store(struct actor *actor, unsigned c)
{
	struct chunk *chunk = &actor->chunks[c];
	unsigned page = pick(CHUNK_PAGES), word = pick(2);
	uint64_t value = pick(3) ? pick(3) : pick(10000); /* many are equal, and the others need memory */
	int error = soft_store64(actor->place.mmu, word_addr(actor, c, page, word), value);

	assert_int_equal(error, chunk->read_only ? -EFAULT : 0);
	if (!error)
		chunk->words[page][word] = value;
}

static void op_load(struct actor *actor, unsigned c)
{
	check_page(actor, c, pick(CHUNK_PAGES));
}

static void op_scan(struct actor *actor, unsigned c)
{
	(void)actor, (void)c;
	assert_true(ksmd_step(world.pager, 1 + pick(100)) >= 0);
}

static void op_advise(struct actor *actor, unsigned c)
{
	static const int advice[] = {MADV_MERGEABLE, MADV_MERGEABLE, MADV_MERGEABLE, MADV_UNMERGEABLE,
		MADV_PAGEOUT, MADV_COLD, MADV_WILLNEED, MADV_RANDOM};
	unsigned first = pick(CHUNK_PAGES), nr = 1 + pick(CHUNK_PAGES - first), which = pick(8);
	int result =
		place_madvise(&actor->place, word_addr(actor, c, first, 0), nr * PAGE_BYTES, advice[which]);

	/* What is locked is not to go. */
	if (advice[which] != MADV_PAGEOUT && advice[which] != MADV_COLD)
		assert_int_equal(result, 0);
	else
		assert_true(result == 0 || result == -EINVAL);
}

static void op_drop(struct actor *actor, unsigned c)
{
	unsigned page = pick(CHUNK_PAGES);
	int error = place_madvise(&actor->place, word_addr(actor, c, page, 0), PAGE_BYTES, MADV_DONTNEED);

	assert_int_equal(error, actor->chunks[c].locked ? -EINVAL : 0);
	if (!error)
		memset(actor->chunks[c].words[page], 0, sizeof(actor->chunks[c].words[page]));
}

static void op_protect(struct actor *actor, unsigned c)
{
	struct chunk *chunk = &actor->chunks[c];

	chunk->read_only = pick(3) == 0;
	assert_int_equal(place_mprotect(&actor->place, word_addr(actor, c, 0, 0), CHUNK_BYTES,
				 chunk->read_only ? PROT_READ : RW),
		0);
}

static void op_lock(struct actor *actor, unsigned c)
{
	struct chunk *chunk = &actor->chunks[c];

	chunk->locked = pick(4) == 0;
	if (place_mlock(&actor->place, word_addr(actor, c, 0, 0), CHUNK_BYTES, chunk->locked))
		chunk->locked = true; /* in part: then it is unlocked here */
	if (chunk->locked && pick(2))
		return;
	chunk->locked = false;
	assert_int_equal(place_mlock(&actor->place, word_addr(actor, c, 0, 0), CHUNK_BYTES, false), 0);
}

static void op_move(struct actor *actor, unsigned c)
{
	struct place *p = &actor->place;
	uint64_t addr = word_addr(actor, c, 0, 0);
	struct wait wait = {0};
	int error = PLACE_CALL(p, &wait,
		space_mremap(p->space, &addr, CHUNK_BYTES, CHUNK_BYTES, MREMAP_MAYMOVE | MREMAP_FIXED,
			home(c, !actor->chunks[c].away), &wait));

	/* What was advised in parts lies in several VMAs, which cannot be moved as one. */
	assert_true(error == 0 || error == -EFAULT);
	if (!error)
		actor->chunks[c].away = !actor->chunks[c].away;
}

static void op_remap(struct actor *actor, unsigned c)
{
	uint64_t addr = word_addr(actor, c, 0, 0);

	assert_int_equal(place_munmap(&actor->place, addr, CHUNK_BYTES), 0);
	memset(&actor->chunks[c], 0, sizeof(actor->chunks[c]));
}

static void op_map(struct actor *actor, unsigned c)
{
	uint64_t addr = home(c, false);

	assert_int_equal(place_mmap(&actor->place, &addr, CHUNK_BYTES, RW, SPACE_FIXED), 0);
	assert_int_equal(place_madvise(&actor->place, addr, CHUNK_BYTES, MADV_MERGEABLE), 0);
	actor->chunks[c].mapped = true;
}

static void op_fork(struct actor *actor, unsigned c)
{
	struct actor *child = &actors[pick(NR_PLACES)];

	(void)c;
	if (child->open)
		return;
	*child = *actor;
	assert_int_equal(place_fork(&actor->place, &child->place), 0);
	for (unsigned i = 0; i < NR_CHUNKS; i++)
		child->chunks[i].locked = false;
}

static void op_exit(struct actor *actor, unsigned c)
{
	(void)c;
	if (pick(3))
		return;
	place_close(&actor->place);
	actor->open = false;
}

/* Whether shared or not. */
static void op_reclaim(struct actor *actor, unsigned c)
{
	(void)actor, (void)c;
	pager_reclaim(world.pager, pick(20));
}

static void op_poll(struct actor *actor, unsigned c)
{
	(void)actor, (void)c;
	pager_poll(world.pager, pick(2) ? SWAP_WRITE : SWAP_READ, 0);
}

static void random_step(void)
{
	static const struct {
		unsigned weight;
		void (*op)(struct actor *actor, unsigned c);
	} ops[] = {{40, op_store}, {10, op_load}, {20, op_scan}, {10, op_advise}, {3, op_drop},
		{3, op_protect}, {2, op_lock}, {4, op_move}, {2, op_remap}, {3, op_fork}, {2, op_exit},
		{4, op_poll}, {4, op_reclaim}};
	struct actor *actor = &actors[pick(NR_PLACES)];
	unsigned c = pick(NR_CHUNKS), at = pick(107), i = 0;

	if (!actor->open && pick(4) == 0) {
		memset(actor, 0, sizeof(*actor));
		assert_int_equal(place_open(&actor->place, &world), 0);
		actor->open = true;
	}
	if (!actor->open)
		return;
	if (!actor->chunks[c].mapped) {
		op_map(actor, c);
		return;
	}
	for (; at >= ops[i].weight; i++)
		at -= ops[i].weight;
	ops[i].op(actor, c);
}

static void random_run(uint64_t which)
{
	struct world_config config = {.kind = ANONMM_SOFT,
		.nr_frames = which % 2 ? 72 : 128, /* of 192 pages */
		.space_bytes = 64 * MIB,
		.swap = "faulty:mem:?size=4M&delay=3&seed=9"};
	struct anonmm_stats stats;

	given_seed = which;
	seed = which * 0x9e3779b97f4a7c15ull + 1;
	memset(actors, 0, sizeof(actors));
	assert_int_equal(world_open(&world, &config), 0);
	for (unsigned i = 0; i < STEPS; i++) {
		random_step();
		valid();
		if (i % 500 == 0)
			for (unsigned p = 0; p < NR_PLACES; p++)
				if (actors[p].open)
					check_all(&actors[p]);
	}
	for (unsigned p = 0; p < NR_PLACES; p++) {
		if (!actors[p].open)
			continue;
		check_all(&actors[p]);
		place_close(&actors[p].place);
		valid();
	}
	while (pager_poll(world.pager, SWAP_WRITE, 1) + pager_poll(world.pager, SWAP_READ, 1) > 0)
		;
	pager_stats(world.pager, &stats);
	print_message("seed %llu: %llu merged, %llu unmerged, %llu written\n", (unsigned long long)which,
		(unsigned long long)stats.merged, (unsigned long long)stats.unmerged,
		(unsigned long long)stats.written);
	assert_true(stats.merged > 500 && stats.unmerged > 5 && stats.written > 20);
	assert_int_equal(stats.frames_free, stats.frames - 1);
	assert_int_equal(stats.slots_used, 0);
	world_close(&world);
}

static void random_operations_lose_nothing(void **state)
{
	uint64_t *only = *state;

	if (*only) {
		random_run(*only);
		return;
	}
	for (uint64_t s = 1; s <= 4; s++)
		random_run(s);
}

/* ---- The Nth allocation fails --------------------------------------------------------------- */

static struct {
	unsigned asked, nth; /* nth 0: all succeed */
	bool forever;
} allocations;

static void *failing_alloc(struct machine *m, size_t bytes)
{
	unsigned asked = ++allocations.asked;
	void *chunk;

	(void)m;
	if (allocations.nth && (allocations.forever ? asked >= allocations.nth : asked == allocations.nth))
		return NULL;
	chunk = mmap(NULL, bytes, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return chunk == MAP_FAILED ? NULL : chunk;
}

static void valid_without_failures(void)
{
	unsigned nth = allocations.nth, asked = allocations.asked;

	allocations.nth = 0; /* the validator's own are not what is tested */
	valid();
	allocations.nth = nth;
	allocations.asked = asked;
}

#define MANY 400u

static bool fill(struct place *p, uint64_t *addr)
{
	*addr = 0;
	if (place_mmap(p, addr, MANY * PAGE_BYTES, RW, 0) ||
		place_madvise(p, *addr, MANY * PAGE_BYTES, MADV_MERGEABLE))
		return false;
	for (unsigned i = 0; i < MANY; i++)
		if (soft_store64(p->mmu, *addr + i * PAGE_BYTES, i / 2))
			return false;
	return true;
}

static void check_filled(struct place *p, uint64_t addr)
{
	for (unsigned i = 0; i < MANY; i++) {
		uint64_t found = i / 2;

		if (!soft_load64(p->mmu, addr + i * PAGE_BYTES, &found) && found != i / 2)
			fail_msg("page %u holds %llu", i, (unsigned long long)found);
	}
}

static void scan_twice(void)
{
	for (unsigned i = 0; i < 2; i++) {
		int merged = ksmd_step(world.pager, 1000000);

		assert_true(merged >= 0 || merged == -ENOMEM);
		valid_without_failures();
	}
}

static void merge_workload(void)
{
	struct place parent, child;
	uint64_t addr;
	int error;

	if (place_open(&parent, &world))
		return;
	if (fill(&parent, &addr)) {
		scan_twice();
		scan_twice();
		error = place_fork(&parent, &child);
		assert_true(error == 0 || error == -ENOMEM);
		valid_without_failures();
		if (!error) {
			scan_twice();
			error = place_madvise(&child, addr, 50 * PAGE_BYTES, MADV_UNMERGEABLE);
			assert_true(error == 0 || error == -ENOMEM);
			valid_without_failures();
			check_filled(&child, addr);
			place_close(&child);
		}
		error = place_madvise(&parent, addr + 10 * PAGE_BYTES, 100 * PAGE_BYTES, MADV_UNMERGEABLE);
		assert_true(error == 0 || error == -ENOMEM);
		valid_without_failures();
		check_filled(&parent, addr);
	}
	place_close(&parent);
	valid_without_failures();
}

/* Returns whether the Nth allocation was ever asked for. */
static bool run_with_failing_allocation(unsigned nth, bool forever)
{
	struct world_config config = {
		.kind = ANONMM_SOFT, .nr_frames = 1024, .space_bytes = 64 * MIB, .swap = "mem:?size=4M"};

	memset(&world, 0, sizeof(world));
	assert_int_equal(world_open_machine(&world, &config), 0);
	world.ops.chunk_alloc = failing_alloc;
	allocations.nth = 0;
	assert_int_equal(world_open_pager(&world, &config), 0);
	allocations.asked = 0;
	allocations.nth = nth;
	allocations.forever = forever;
	merge_workload();
	allocations.nth = 0;
	world_close(&world);
	return allocations.asked >= nth;
}

static void every_allocation_may_fail(void **state)
{
	unsigned nth = 1;

	(void)state;
	while (run_with_failing_allocation(nth, false))
		nth++;
	print_message("%u allocations failed, one at a time\n", nth - 1);
	assert_true(nth > 10);
	for (nth = 1; run_with_failing_allocation(nth, true); nth++)
		;
}

int main(void)
{
	const char *seed_text = getenv("SEED");
	uint64_t only = seed_text ? strtoull(seed_text, NULL, 0) : 0;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_prestate(random_operations_lose_nothing, &only),
		cmocka_unit_test(every_allocation_may_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

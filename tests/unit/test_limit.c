/* SPDX-License-Identifier: MIT */
/*
 * The limit of a running pager: lower, higher, refused, and changed among random accesses. The tests run on the soft
 * machine, and on real memory in each fault mode, by moving and by copying. Where userfaultfd is refused the latter are
 * skipped.
 */
#define _GNU_SOURCE
#include "../needs.h"
#include "../world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define NR_FRAMES 1024
#define NR_PAGES 900

struct variant {
	struct world_config config;
	const char *name;
};

static struct world world;
static struct place place;
static uint64_t area;
static char why[200], why_not[400];

static int set_up(void **state)
{
	const struct variant *v = *state;
	struct world_config config = v->config;

	if (!config.nr_frames)
		config.nr_frames = NR_FRAMES;
	config.space_bytes = 64 * MIB;
	if (world_open(&world, &config) || place_open(&place, &world)) {
		snprintf(why_not, sizeof(why_not), "%s", world.why);
		world.machine = NULL;
		return 0;
	}
	area = 0;
	return place_mmap(&place, &area, NR_PAGES * PAGE_BYTES, PROT_READ | PROT_WRITE, 0);
}

static void valid(void)
{
	char text[200];
	const char *wrong = pager_validate(world.pager, text, sizeof(text));

	if (wrong)
		fail_msg("%s", wrong);
}

static int tear_down(void **state)
{
	(void)state;
	if (!world.machine)
		return 0;
	place_close(&place);
	valid();
	world_close(&world);
	memset(&world, 0, sizeof(world));
	return 0;
}

/* The test's framework has put a SIGBUS handler of its own over the machine's. */
static void begin(void)
{
	if (!world.machine)
		SKIP_WITHOUT(REAL_MEMORY, "%s", why_not);
	if (world.kind == ANONMM_UFFD) {
		real_remove_sigbus(world.machine);
		assert_int_equal(real_install_sigbus(world.machine), 0);
	}
}

static void put(unsigned page, uint64_t value)
{
	assert_int_equal(place_write(&place, area + page * PAGE_BYTES + page % 500 * 8, &value, 8), 0);
}

static uint64_t get(unsigned page)
{
	uint64_t value = 0;

	assert_int_equal(place_read(&place, area + page * PAGE_BYTES + page % 500 * 8, &value, 8), 0);
	return value;
}

static struct pager_limit limit(void)
{
	struct pager_limit now;

	pager_limit(world.pager, &now);
	return now;
}

static uint32_t slots(void)
{
	struct anonmm_stats stats;

	pager_stats(world.pager, &stats);
	return (uint32_t)stats.slots;
}

/* The fewest bytes that pay for @frames. */
static uint64_t bytes_for(uint32_t frames)
{
	uint64_t low = 0, high = GIB;

	while (low < high) {
		uint64_t middle = (low + high) / 2;

		if (pager_frames_for(middle, slots()) >= frames)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

static int set(uint32_t frames)
{
	return pager_set_limit(world.pager, bytes_for(frames), why, sizeof(why));
}

/* As the machine's kswapd would; real memory has one, which must get there by itself. */
static void wait_until_reached(void)
{
	for (int i = 0; i < 5000 && limit().frames_missing > 0; i++) {
		if (world.kind == ANONMM_UFFD) {
			usleep(1000);
			continue;
		}
		kswapd_step(world.pager, KSWAPD_PAGES);
		pager_poll(world.pager, SWAP_WRITE, 0);
	}
	assert_int_equal(limit().frames_missing, 0);
}

/* Frames and metadata together. */
static void assert_honest(void)
{
	struct anonmm_stats stats;

	pager_stats(world.pager, &stats);
	assert_true(stats.frames * PAGE_BYTES + stats.metadata_bytes <= limit().bytes);
	assert_true(stats.frames_used <= stats.frames);
}

/* Pages of the pool and of the program's addresses that have memory of the host. */
static unsigned resident(void)
{
	unsigned char there[NR_FRAMES];
	unsigned nr = 0;

	if (world.kind == ANONMM_UFFD) {
		mincore((void *)(uintptr_t)area, NR_PAGES * PAGE_BYTES, there);
		for (unsigned i = 0; i < NR_PAGES; i++)
			nr += there[i] & 1;
	}
	mincore(world.machine->ops->frame_bytes(world.machine, 0), NR_FRAMES * PAGE_BYTES, there);
	for (unsigned i = 0; i < NR_FRAMES; i++)
		nr += there[i] & 1;
	return nr;
}

/* Where pages are copied kswapd has both copies for a moment. */
static void assert_resident_within_limit(void)
{
	for (int i = 0; i < 1000 && resident() > limit().frames; i++)
		usleep(1000);
	assert_in_range(resident(), 1, limit().frames);
}

/* ---- Lower and higher ---------------------------------------------------------------------- */

static void a_lower_limit_evicts_and_gives_memory_back(void **state)
{
	(void)state;
	begin();
	for (unsigned i = 0; i < NR_PAGES; i++)
		put(i, i + 1);
	assert_true(limit().frames_used > 800);
	assert_true(resident() > 800);
	assert_int_equal(set(240), 0);
	assert_in_range(limit().frames, 192, 242);
	wait_until_reached();
	assert_honest();
	assert_resident_within_limit();
	valid();
	for (unsigned i = 0; i < NR_PAGES; i++)
		assert_int_equal(get(i), i + 1);
	assert_true(limit().frames_used <= limit().frames);
	assert_resident_within_limit();
	valid();
}

static void a_higher_limit_holds_at_once(void **state)
{
	struct anonmm_stats stats;

	(void)state;
	begin();
	assert_int_equal(set(240), 0);
	wait_until_reached();
	for (unsigned i = 0; i < NR_PAGES; i++)
		put(i, i + 7);
	pager_stats(world.pager, &stats);
	assert_in_range(stats.frames, 192, 242);
	assert_true(stats.frames_used <= stats.frames);
	assert_true(stats.swapped_out >= NR_PAGES - 242);
	assert_int_equal(set(NR_FRAMES), 0);
	assert_in_range(limit().frames, 900, NR_FRAMES);
	assert_int_equal(limit().frames_missing, 0);
	for (unsigned i = 0; i < NR_PAGES; i++)
		assert_int_equal(get(i), i + 7);
	assert_true(limit().frames_used > 800);
	valid();
}

/* A limit that is raised while kswapd works towards a lower one. */
static void the_last_word_counts(void **state)
{
	(void)state;
	begin();
	for (unsigned i = 0; i < NR_PAGES; i++)
		put(i, i + 3);
	for (unsigned round = 0; round < 20; round++) {
		assert_int_equal(set(250 + round), 0);
		kswapd_step(world.pager, 32);
		assert_int_equal(set(NR_FRAMES), 0);
		valid();
	}
	wait_until_reached();
	for (unsigned i = 0; i < NR_PAGES; i++)
		assert_int_equal(get(i), i + 3);
	assert_in_range(limit().frames, 900, NR_FRAMES);
}

/* ---- What cannot work ------------------------------------------------------------------------ */

static void assert_unchanged(const struct pager_limit *before)
{
	struct pager_limit now = limit();

	assert_int_equal(now.frames, before->frames);
	assert_int_equal(now.bytes, before->bytes);
	assert_true(strlen(why) > 10);
	why[0] = '\0';
	valid();
}

static void what_cannot_work_is_refused_in_words(void **state)
{
	struct pager_limit before;

	(void)state;
	begin();
	before = limit();
	assert_int_equal(pager_set_limit(world.pager, 0, why, sizeof(why)), -EINVAL);
	assert_unchanged(&before);
	assert_int_equal(set(20), -EINVAL);
	assert_unchanged(&before);
	assert_int_equal(pager_set_limit(world.pager, bytes_for(NR_FRAMES + 1), why, sizeof(why)), -ERANGE);
	assert_unchanged(&before);
	assert_int_equal(place_mlock(&place, area, 400 * PAGE_BYTES, true), 0);
	assert_int_equal(set(300), -EBUSY);
	assert_unchanged(&before);
	assert_int_equal(set(600), 0);
	assert_int_equal(place_mlock(&place, area, 400 * PAGE_BYTES, false), 0);
	assert_int_equal(set(300), 0);
	wait_until_reached();
}

static void memory_that_has_nowhere_to_go_is_not_asked_to(void **state)
{
	struct pager_limit before;

	(void)state;
	begin();
	for (unsigned i = 0; i < 500; i++)
		put(i, i + 1);
	before = limit();
	assert_int_equal(set(300), -ENOSPC);
	assert_unchanged(&before);
	assert_int_equal(set(600), 0);
	wait_until_reached();
	for (unsigned i = 0; i < 500; i++)
		assert_int_equal(get(i), i + 1);
	valid();
}

/* ---- Room for more at the start ---------------------------------------------------------------- */

static void room_above_the_limit_costs_nothing_until_it_is_used(void **state)
{
	struct anonmm_stats before, after;

	(void)state;
	begin();
	pager_stats(world.pager, &before);
	assert_int_equal(before.frames, 256);
	assert_int_equal(limit().frames_missing, 0);
	for (unsigned i = 0; i < NR_PAGES; i++)
		put(i, i + 5);
	assert_true(limit().frames_used <= 256);
	assert_resident_within_limit();
	assert_int_equal(set(900), 0);
	for (unsigned i = 0; i < NR_PAGES; i++)
		assert_int_equal(get(i), i + 5);
	assert_true(limit().frames_used > 256);
	pager_stats(world.pager, &after);
	assert_in_range(after.metadata_bytes - before.metadata_bytes, 600 * 48, 2 * MIB);
	valid();
}

static void a_lower_limit_touches_no_struct_pages(void **state)
{
	struct anonmm_stats before, after;

	(void)state;
	begin();
	for (unsigned i = 0; i < 20; i++)
		put(i, i + 5);
	pager_stats(world.pager, &before);
	assert_int_equal(set(200), 0);
	wait_until_reached();
	for (unsigned i = 20; i < 150; i++)
		put(i, i + 5);
	pager_stats(world.pager, &after);
	assert_true(after.metadata_bytes - before.metadata_bytes < 250 * 48);
	for (unsigned i = 0; i < 150; i++)
		assert_int_equal(get(i), i + 5);
	valid();
}

/* ---- At random ---------------------------------------------------------------------------------- */

static uint64_t random_state;

static unsigned random_below(unsigned end)
{
	random_state = random_state * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(random_state >> 33) % end;
}

static void contents_survive_any_limits(void **state)
{
	static uint64_t oracle[NR_PAGES];

	(void)state;
	begin();
	memset(oracle, 0, sizeof(oracle));
	random_state = 42;
	for (unsigned step = 0; step < 20000; step++) {
		unsigned page = random_below(NR_PAGES), what = random_below(200);

		if (what == 0) {
			assert_int_equal(set(250 + random_below(NR_FRAMES - 250)), 0);
		} else if (what == 1) {
			unsigned nr = 1 + random_below(NR_PAGES - page);

			assert_int_equal(place_madvise(&place, area + page * PAGE_BYTES, nr * PAGE_BYTES,
						 MADV_DONTNEED),
				0);
			memset(oracle + page, 0, nr * sizeof(oracle[0]));
		} else if (what < 100) {
			put(page, ++oracle[page]);
		} else {
			assert_int_equal(get(page), oracle[page]);
		}
		if (step % 500 == 0)
			valid();
	}
	for (unsigned i = 0; i < NR_PAGES; i++)
		assert_int_equal(get(i), oracle[i]);
	wait_until_reached();
	valid();
}

/* ---- All of them, on each machine ---------------------------------------------------------------- */

#define SWAP "mem:?size=16M"

static struct variant variants[] = {
	{{.kind = ANONMM_SOFT, .swap = SWAP}, "soft"},
	{{.kind = ANONMM_SOFT, .swap = SWAP, .nr_nodes = 3}, "soft, three nodes"},
	{{.kind = ANONMM_SOFT, .swap = SWAP, .threads = true}, "soft with threads"},
	{{.kind = ANONMM_UFFD, .swap = SWAP, .faults = ANONMM_FAULTS_THREAD}, "thread"},
	{{.kind = ANONMM_UFFD, .swap = SWAP, .faults = ANONMM_FAULTS_SIGNAL}, "signal"},
	{{.kind = ANONMM_UFFD, .swap = SWAP, .faults = ANONMM_FAULTS_THREAD, .copy = true},
		"thread, copying"},
	{{.kind = ANONMM_UFFD, .swap = "file:/var/tmp?size=16M", .faults = ANONMM_FAULTS_SIGNAL},
		"signal, file"},
};

static struct variant without_swap = {{.kind = ANONMM_SOFT}, "no swap"};
static struct variant roomy_soft = {{.kind = ANONMM_SOFT, .swap = SWAP, .nr_limit = 256}, "soft, roomy"};
static struct variant roomy_uffd = {
	{.kind = ANONMM_UFFD, .swap = SWAP, .nr_limit = 256, .faults = ANONMM_FAULTS_SIGNAL},
	"signal, roomy"};

#define ON(test, variant) cmocka_unit_test_prestate_setup_teardown(test, set_up, tear_down, variant)

int main(void)
{
	const struct CMUnitTest alone[] = {
		ON(memory_that_has_nowhere_to_go_is_not_asked_to, &without_swap),
		ON(room_above_the_limit_costs_nothing_until_it_is_used, &roomy_soft),
		ON(room_above_the_limit_costs_nothing_until_it_is_used, &roomy_uffd),
	};
	int failed = cmocka_run_group_tests(alone, NULL, NULL);

	for (unsigned i = 0; i < ARRAY_SIZE(variants); i++) {
		const struct CMUnitTest tests[] = {
			ON(a_lower_limit_evicts_and_gives_memory_back, &variants[i]),
			ON(a_higher_limit_holds_at_once, &variants[i]),
			ON(a_lower_limit_touches_no_struct_pages, &variants[i]),
			ON(the_last_word_counts, &variants[i]),
			ON(what_cannot_work_is_refused_in_words, &variants[i]),
			ON(contents_survive_any_limits, &variants[i]),
		};

		failed += cmocka_run_group_tests_name(variants[i].name, tests, NULL, NULL);
	}
	return failed;
}

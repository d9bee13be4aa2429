/* SPDX-License-Identifier: MIT */
/*
 * The model test: random operations on a pager beside a byte-array oracle, the whole-world validator after each.
 *
 *      model [--seed N] [--ops N] [--machine soft|uffd] [--faults thread|signal] [--copy] [--threads]
 *            [--swap URI] [--lossy] [--verbose]
 *
 * Without arguments: a set of runs that covers all of these. A failure prints the arguments that repeat it; on soft
 * without --threads the same seed is the same run, to the last event, which is also checked here.
 *
 * Each actor owns one space and its oracle. On soft there are three: interleaved by the seed, or with --threads
 * each a thread beside kswapd's. --lossy: the device may fail, so an access may end in -EIO or -ENOMEM; but whenever
 * bytes come back they are the right ones.
 */
#define _GNU_SOURCE
#include "../world.h"
#include "swapdev/faulty.h"
#include "oracle.h"

#include <getopt.h>
#include <pthread.h>
#include <stdarg.h>
#include <unistd.h>

#define NR_FRAMES 192u
#define MAX_ACTORS 3u
#define EXIT_SKIP 77

struct run {
	enum anonmm_machine kind;
	enum anonmm_faults faults;
	bool copy, threads, lossy, verbose;
	uint64_t seed;
	unsigned long ops;
	char swap[256];
	uint64_t digest; /* out: of every event and result */
};

struct actor {
	struct run *run;
	struct place place;
	struct oracle *oracle;
	uint64_t rng;
	unsigned long op; /* how many were done */
	int result; /* the last one */
	const char *doing;
	char detail[200];
};

static struct world world;

/* ---- Small tools ----------------------------------------------------------------------- */

/* splitmix64 */
static uint64_t next_random(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

static unsigned below(struct actor *a, unsigned limit)
{
	return (unsigned)(next_random(&a->rng) % limit);
}

static void mix(struct run *run, uint64_t value)
{
	if (!run->threads && run->kind == ANONMM_SOFT)
		run->digest = (run->digest ^ value) * 0x100000001b3;
}

/* Every result of a call is part of what a replay must repeat. */
static void note(struct actor *a, int result)
{
	mix(a->run, (uint64_t)(unsigned)result);
	a->result = result;
}

static void print_run(FILE *file, const struct run *run)
{
	fprintf(file, "--machine %s%s%s%s%s --swap '%s' --ops %lu --seed %llu",
		run->kind == ANONMM_SOFT ? "soft" : "uffd",
		run->faults == ANONMM_FAULTS_THREAD   ? " --faults thread"
		: run->faults == ANONMM_FAULTS_SIGNAL ? " --faults signal"
						      : "",
		run->copy ? " --copy" : "", run->threads ? " --threads" : "", run->lossy ? " --lossy" : "",
		run->swap, run->ops, (unsigned long long)run->seed);
}

__attribute__((noreturn, format(printf, 2, 3))) static void fail(struct actor *a, const char *format, ...)
{
	va_list args;

	fprintf(stderr, "model: operation %lu of its actor, %s %s: ", a->op, a->doing, a->detail);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "\nmodel: repeat it with ");
	print_run(stderr, a->run);
	fprintf(stderr, "\n");
	abort();
}

static uint64_t address(const struct actor *a, unsigned page)
{
	return a->place.base + page * PAGE_BYTES;
}

static void detail(struct actor *a, unsigned first, unsigned nr, int more)
{
	snprintf(a->detail, sizeof(a->detail), "page %u + %u (%d)", first, nr, more);
}

/* A run of pages somewhere, mapped or not. */
static void pick_run(struct actor *a, unsigned longest, unsigned *first, unsigned *nr)
{
	*nr = 1 + below(a, below(a, 4) ? 8 : longest);
	*first = below(a, ORACLE_PAGES - *nr + 1);
	detail(a, *first, *nr, 0);
}

/* A page that is mapped, if a few tries find one. */
static unsigned pick_page(struct actor *a)
{
	unsigned page = below(a, ORACLE_PAGES);

	for (int tries = 0; tries < 20 && !a->oracle->pages[page].mapped; tries++)
		page = below(a, ORACLE_PAGES);
	detail(a, page, 1, a->oracle->pages[page].prot);
	return page;
}

/* What a failing device excuses. */
static bool excused(const struct actor *a, int result)
{
	return a->run->lossy && (result == -EIO || result == -ENOMEM);
}

static void want(struct actor *a, int result, int expected)
{
	note(a, result);
	if (result != expected && !excused(a, result))
		fail(a, "result %d (%s), expected %d", result, strerror(-result), expected);
}

/* ---- Accesses -------------------------------------------------------------------------- */

/* Real memory is not touched where it is forbidden: that would be the end of this program. */
static bool can_try(const struct actor *a, bool allowed)
{
	return allowed || a->run->kind == ANONMM_SOFT;
}

/* False: the content could not be had, excusably. */
static bool check_page(struct actor *a, unsigned number)
{
	struct oracle_page *page = &a->oracle->pages[number];
	static _Thread_local uint8_t found[PAGE_BYTES];
	bool may = oracle_may_read(page);
	int result;

	if (!can_try(a, may))
		return false;
	result = place_read(&a->place, address(a, number), found, PAGE_BYTES);
	want(a, result, may ? 0 : -EFAULT);
	if (result)
		return false;
	if (!oracle_agrees(page, found)) {
		unsigned i = 0;

		while (page->bytes[i] == found[i])
			i++;
		fail(a, "page %u, byte %u: found %02x, expected %02x%s", number, i, found[i], page->bytes[i],
			page->known == MAYBE_ZERO ? " or zeros" : "");
	}
	return true;
}

static void write_part(struct actor *a, unsigned number, unsigned offset, const uint8_t *bytes, unsigned len)
{
	struct oracle_page *page = &a->oracle->pages[number];
	uint8_t found[PAGE_BYTES];
	bool may = oracle_may_write(page);
	int result;

	if (!can_try(a, may))
		return;
	result = place_write(&a->place, address(a, number) + offset, bytes, len);
	want(a, result, may ? 0 : -EFAULT);
	if (result)
		return;
	result = place_read(&a->place, address(a, number), found, PAGE_BYTES);
	if (result && !excused(a, result))
		fail(a, "cannot read back: %d", result);
	if (result) {
		/* Written, then lost at once: which of the two it was cannot be known. Rare. */
		memcpy(page->bytes + offset, bytes, len);
		return;
	}
	if (!oracle_written(page, offset, bytes, len, found))
		fail(a, "page %u does not hold what was just written to it", number);
}

static void do_read(struct actor *a)
{
	check_page(a, pick_page(a));
}

static void do_write(struct actor *a)
{
	uint8_t bytes[PAGE_BYTES];
	unsigned page = pick_page(a), offset = below(a, PAGE_BYTES), len = 1 + below(a, PAGE_BYTES - offset);

	for (unsigned i = 0; i < len; i++)
		bytes[i] = (uint8_t)next_random(&a->rng);
	write_part(a, page, offset, bytes, len);
}

/* Whole pages of one byte, often zero: what needs no slot. */
static void do_fill(struct actor *a)
{
	uint8_t bytes[PAGE_BYTES];

	memset(bytes, below(a, 2) ? 0 : (int)below(a, 256), sizeof(bytes));
	write_part(a, pick_page(a), 0, bytes, PAGE_BYTES);
}

/* A store of what is there already: dirty, and yet the same. */
static void do_silent_store(struct actor *a)
{
	unsigned page = pick_page(a);

	if (a->oracle->pages[page].known == KNOWN)
		write_part(a, page, 0, a->oracle->pages[page].bytes, 8);
}

static void do_word(struct actor *a)
{
	unsigned page = pick_page(a), offset = below(a, PAGE_BYTES - 7);
	struct oracle_page *p = &a->oracle->pages[page];
	uint64_t value = 0;
	int result;

	if (!a->place.mmu || p->known != KNOWN)
		return;
	result = soft_load64(a->place.mmu, address(a, page) + offset, &value);
	want(a, result, oracle_may_read(p) ? 0 : -EFAULT);
	if (!result && memcmp(&value, p->bytes + offset, sizeof(value)))
		fail(a, "a 64-bit load at %u gives %016llx", offset, (unsigned long long)value);
	value = next_random(&a->rng);
	result = soft_store64(a->place.mmu, address(a, page) + offset, value);
	want(a, result, oracle_may_write(p) ? 0 : -EFAULT);
	if (!result)
		memcpy(p->bytes + offset, &value, sizeof(value));
}

/* One access over a page boundary. */
static void do_cross(struct actor *a)
{
	unsigned page = below(a, ORACLE_PAGES - 1), before = 1 + below(a, 7);
	struct oracle_page *p = &a->oracle->pages[page];
	uint8_t found[8];
	int result;

	detail(a, page, 2, (int)before);
	if (p[0].known != KNOWN || p[1].known != KNOWN || !a->place.mmu)
		return;
	result = soft_load64(a->place.mmu, address(a, page + 1) - before, (uint64_t *)(void *)found);
	want(a, result, oracle_may_read(&p[0]) && oracle_may_read(&p[1]) ? 0 : -EFAULT);
	if (result)
		return;
	if (memcmp(found, p[0].bytes + PAGE_BYTES - before, before) ||
		memcmp(found + before, p[1].bytes, 8 - before))
		fail(a, "a load across pages gives other bytes");
}

/* In order, as programs do: what readahead and runs of births are for. */
static void do_scan(struct actor *a)
{
	unsigned first, nr;

	pick_run(a, 128, &first, &nr);
	for (unsigned i = first; i < first + nr; i++)
		check_page(a, i);
}

static void do_fill_run(struct actor *a)
{
	uint8_t bytes[64];
	unsigned first, nr;

	pick_run(a, 128, &first, &nr);
	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)next_random(&a->rng);
	for (unsigned i = first; i < first + nr; i++)
		if (a->oracle->pages[i].mapped)
			write_part(a, i, below(a, PAGE_BYTES - sizeof(bytes)), bytes, sizeof(bytes));
}

/* ---- Mappings -------------------------------------------------------------------------- */

static int random_prot(struct actor *a)
{
	static const int prots[] = {
		PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE, PROT_READ, PROT_NONE};

	return prots[below(a, ARRAY_SIZE(prots))];
}

static void do_mmap(struct actor *a)
{
	int prot = below(a, 4) ? PROT_READ | PROT_WRITE : random_prot(a), result;
	bool fixed = below(a, 3) == 0;
	unsigned first, nr, got;
	uint64_t addr;

	pick_run(a, 96, &first, &nr);
	detail(a, first, nr, fixed);
	addr = fixed || below(a, 2) ? address(a, first) : 0;
	result = place_mmap(&a->place, &addr, nr * PAGE_BYTES, prot, fixed ? SPACE_FIXED : 0);
	note(a, result);
	if (result == -ENOMEM && !fixed && !oracle_has_hole(a->oracle, nr))
		return;
	want(a, result, 0);
	if (result)
		return;
	got = (unsigned)((addr - a->place.base) / PAGE_BYTES);
	if (addr < a->place.base || got + nr > ORACLE_PAGES || addr % PAGE_BYTES)
		fail(a, "mapped at %llx", (unsigned long long)addr);
	if (fixed ? got != first : !oracle_is_hole(a->oracle, got, nr))
		fail(a, "mapped over others, at page %u", got);
	oracle_map(a->oracle, got, nr, prot);
}

static void do_munmap(struct actor *a)
{
	unsigned first, nr;
	int result;

	pick_run(a, 64, &first, &nr);
	result = place_munmap(&a->place, address(a, first), nr * PAGE_BYTES);
	want(a, result, 0);
	if (!result)
		oracle_unmap(a->oracle, first, nr);
}

static void do_mprotect(struct actor *a)
{
	int prot = random_prot(a), result;
	unsigned first, nr;

	pick_run(a, 64, &first, &nr);
	detail(a, first, nr, prot);
	if (!oracle_is_mapped(a->oracle, first, nr)) {
		/* What comes before the hole may have changed already. */
		result = place_mprotect(&a->place, address(a, first), nr * PAGE_BYTES, prot);
		want(a, result, -ENOMEM);
		for (unsigned i = first; i < first + nr; i++) {
			uint64_t end;
			int now;

			if (space_kind_at(a->place.space, address(a, i), &end, &now) == SPACE_ANON)
				a->oracle->pages[i].prot = (uint8_t)now;
		}
		return;
	}
	result = place_mprotect(&a->place, address(a, first), nr * PAGE_BYTES, prot);
	want(a, result, 0);
	if (!result)
		for (unsigned i = first; i < first + nr; i++)
			a->oracle->pages[i].prot = (uint8_t)prot;
}

/* A range that is not of one VMA is refused; where VMAs begin is the core's own affair. */
static void do_mremap(struct actor *a)
{
	unsigned first, nr, new_nr = 1 + below(a, 64), to;
	struct oracle_page *moved;
	uint64_t addr;
	int result;

	pick_run(a, 32, &first, &nr);
	detail(a, first, nr, (int)new_nr);
	addr = address(a, first);
	result = place_mremap(&a->place, &addr, nr * PAGE_BYTES, new_nr * PAGE_BYTES);
	note(a, result);
	if (result == -EFAULT || excused(a, result) ||
		(result == -ENOMEM && !oracle_has_hole(a->oracle, new_nr))) {
		for (unsigned i = first; i < first + nr; i++)
			check_page(a, i);
		return;
	}
	if (result)
		fail(a, "result %d", result);
	if (!oracle_is_mapped(a->oracle, first, nr))
		fail(a, "a hole was moved");
	to = (unsigned)((addr - a->place.base) / PAGE_BYTES);
	if (to + new_nr > ORACLE_PAGES)
		fail(a, "moved to %llx", (unsigned long long)addr);
	moved = malloc(nr * sizeof(*moved));
	memcpy(moved, &a->oracle->pages[first], nr * sizeof(*moved));
	oracle_unmap(a->oracle, first, nr);
	if (!oracle_is_hole(a->oracle, to, new_nr))
		fail(a, "moved over others, to page %u", to);
	oracle_map(a->oracle, to, new_nr, moved[0].prot);
	memcpy(&a->oracle->pages[to], moved, (nr < new_nr ? nr : new_nr) * sizeof(*moved));
	free(moved);
}

/* ---- Advice and locks ------------------------------------------------------------------ */

/* Advice without a promise about content; results that a device or a shortage explains are fine. */
static void do_hint(struct actor *a)
{
	static const int hints[] = {MADV_COLD, MADV_PAGEOUT, MADV_PAGEOUT, MADV_WILLNEED, MADV_SEQUENTIAL,
		MADV_RANDOM, MADV_NORMAL, MADV_POPULATE_READ, MADV_POPULATE_WRITE};
	int advice = hints[below(a, ARRAY_SIZE(hints))], result;
	unsigned first, nr;
	bool mapped;

	pick_run(a, 48, &first, &nr);
	detail(a, first, nr, advice);
	mapped = oracle_is_mapped(a->oracle, first, nr);
	result = place_madvise(&a->place, address(a, first), nr * PAGE_BYTES, advice);
	note(a, result);
	if (result == -EINVAL || result == -EFAULT) /* locked, or not allowed to be populated */
		return;
	if (result == -ENOMEM && (advice == MADV_POPULATE_READ || advice == MADV_POPULATE_WRITE))
		return;
	want(a, result, mapped ? 0 : -ENOMEM);
}

/* Those that let content go. Refused on locked pages, perhaps in the middle of the range. */
static void do_drop(struct actor *a)
{
	int advice = below(a, 2) ? MADV_DONTNEED : MADV_FREE, result;
	unsigned first, nr;

	pick_run(a, 48, &first, &nr);
	detail(a, first, nr, advice);
	result = place_madvise(&a->place, address(a, first), nr * PAGE_BYTES, advice);
	note(a, result);
	if (result != -EINVAL)
		want(a, result, oracle_is_mapped(a->oracle, first, nr) ? 0 : -ENOMEM);
	for (unsigned i = first; i < first + nr; i++) {
		struct oracle_page *page = &a->oracle->pages[i];

		if (!page->mapped)
			continue;
		if (advice == MADV_DONTNEED && !result) {
			memset(page->bytes, 0, PAGE_BYTES);
			page->known = KNOWN;
		} else {
			page->known = MAYBE_ZERO;
		}
	}
}

static void do_mlock(struct actor *a)
{
	bool lock = below(a, 3) == 0;
	unsigned first, nr;
	int result;

	pick_run(a, lock ? 12 : 256, &first, &nr);
	detail(a, first, nr, lock);
	result = place_mlock(&a->place, address(a, first), nr * PAGE_BYTES, lock);
	note(a, result);
	if (lock && (result == -ENOMEM || result == -EFAULT ||
			    result == -EAGAIN)) /* too many, or PROT_NONE among them */
		return;
	want(a, result, oracle_is_mapped(a->oracle, first, nr) ? 0 : -ENOMEM);
}

/* ---- The device, time and pressure ----------------------------------------------------------------- */

static void do_kswapd(struct actor *a)
{
	if (a->run->kind == ANONMM_UFFD || a->run->threads)
		return;
	for (unsigned steps = 1 + below(a, 4); steps; steps--)
		mix(a->run, kswapd_step(world.pager, KSWAPD_PAGES));
}

static void do_poll(struct actor *a)
{
	(void)a;
	pager_poll(world.pager, below(a, 2) ? SWAP_READ : SWAP_WRITE, 0);
}

/* Some request soon ends with an error, or with a bit turned. */
static void do_device_fault(struct actor *a)
{
	unsigned nth = 1 + below(a, 40), what = below(a, 4);

	detail(a, nth, 0, (int)what);
	if (!a->run->lossy || !world.dev || !swapdev_is_faulty(world.dev))
		return;
	if (what == 0)
		faulty_corrupt(world.dev, nth, false);
	else
		faulty_fail(
			world.dev, what == 1 ? SWAP_READ : SWAP_WRITE, nth, what == 3 ? ENOSPC : EIO, false);
}

static const struct {
	const char *name;
	void (*run)(struct actor *);
	unsigned weight;
} operations[] = {
	{"read", do_read, 200},
	{"write", do_write, 200},
	{"fill", do_fill, 60},
	{"silent store", do_silent_store, 40},
	{"word", do_word, 100},
	{"cross", do_cross, 40},
	{"scan", do_scan, 30},
	{"fill run", do_fill_run, 40},
	{"mmap", do_mmap, 40},
	{"munmap", do_munmap, 20},
	{"mprotect", do_mprotect, 25},
	{"mremap", do_mremap, 20},
	{"hint", do_hint, 50},
	{"drop", do_drop, 15},
	{"mlock", do_mlock, 10},
	{"kswapd", do_kswapd, 40},
	{"poll", do_poll, 60},
	{"device fault", do_device_fault, 5},
};

static void validate(struct actor *a)
{
	char buf[400];
	const char *wrong = pager_validate(world.pager, buf, sizeof(buf));

	if (wrong)
		fail(a, "the world is not valid: %s", wrong);
}

static void step(struct actor *a)
{
	unsigned total = 0, pick;
	size_t i = 0;

	for (size_t n = 0; n < ARRAY_SIZE(operations); n++)
		total += operations[n].weight;
	pick = below(a, total);
	for (; pick >= operations[i].weight; i++)
		pick -= operations[i].weight;
	a->op++;
	a->doing = operations[i].name;
	a->detail[0] = '\0';
	mix(a->run, i);
	a->result = 0;
	operations[i].run(a);
	if (a->run->verbose)
		printf("%lu: %s %s: %d\n", a->op, a->doing, a->detail, a->result);
	validate(a);
}

static void *act(void *arg)
{
	struct actor *a = arg;

	while (a->op < a->run->ops)
		step(a);
	return NULL;
}

/* ---- A run ----------------------------------------------------------------------------- */

static void trace(void *ctx, const struct page_event *event)
{
	for (const char *c = event->function; *c; c++)
		mix(ctx, (uint64_t)*c);
	mix(ctx, event->pfn);
}

static void run_actors(struct run *run, struct actor *actors, unsigned nr)
{
	pthread_t threads[MAX_ACTORS];
	uint64_t rng = run->seed;

	if (!run->threads) {
		for (unsigned long i = 0; i < run->ops; i++)
			step(&actors[next_random(&rng) % nr]);
		return;
	}
	for (unsigned i = 0; i < nr; i++)
		pthread_create(&threads[i], NULL, act, &actors[i]);
	for (unsigned i = 0; i < nr; i++)
		pthread_join(threads[i], NULL);
}

static void check_all(struct actor *a)
{
	a->doing = "the last look at";
	for (unsigned page = 0; page < ORACLE_PAGES; page++) {
		detail(a, page, 1, a->oracle->pages[page].prot);
		check_page(a, page);
	}
}

/* After the last space nothing is left: all frames free, all slots free. */
static void check_empty(struct run *run)
{
	struct actor a = {.run = run, .doing = "after exit", .detail = ""};
	struct anonmm_stats stats;

	/* Writes of pages that are gone end by and by, perhaps in another thread's poll. */
	for (int tries = 0; tries < 1000; tries++) {
		pager_poll(world.pager, SWAP_READ, 1);
		pager_poll(world.pager, SWAP_WRITE, 1);
		pager_stats(world.pager, &stats);
		if (!stats.slots_used && stats.frames - stats.frames_free <= 1)
			break;
		usleep(1000);
	}
	if (stats.slots_used && !run->lossy)
		fail(&a, "%llu slots are still used", (unsigned long long)stats.slots_used);
	if (stats.frames - stats.frames_free > 1) /* the zero page */
		fail(&a, "%llu frames are still used",
			(unsigned long long)(stats.frames - stats.frames_free));
	validate(&a);
}

/* The seed says how tight it is: 64 frames, the least, to 256; the actors want up to 3072 pages. */
static uint32_t frames_of(const struct run *run)
{
	return PAGER_MIN_FRAMES * (1 + (uint32_t)(run->seed % 4));
}

static int run_once(struct run *run)
{
	struct world_config config = {
		.kind = run->kind,
		.nr_frames = frames_of(run),
		.nr_nodes = run->seed % 8 > 4 ? 2 : 1,
		.threads = run->threads,
		.faults = run->faults,
		.copy = run->copy,
		.space_bytes = ORACLE_PAGES * PAGE_BYTES,
		.swap = run->swap[0] ? run->swap : NULL, /* none: only zeros can go */
		.seed = run->seed,
	};
	unsigned nr = run->kind == ANONMM_SOFT ? MAX_ACTORS : 1;
	struct actor actors[MAX_ACTORS];
	int error = world_open(&world, &config);

	run->digest = 0xcbf29ce484222325;
	if (error) {
		fprintf(stderr, "model: %s (%s)\n", world.why, strerror(-error));
		return error == -EPERM || error == -ENOSYS ? EXIT_SKIP : 1;
	}
	if (run->kind == ANONMM_SOFT && !run->threads)
		pager_trace(world.pager, trace, run);
	for (unsigned i = 0; i < nr; i++) {
		actors[i] = (struct actor){
			.run = run, .rng = run->seed * 1000 + i, .oracle = calloc(1, sizeof(struct oracle))};
		error = place_open(&actors[i].place, &world);
		if (error) {
			fprintf(stderr, "model: a space cannot be opened: %s\n", strerror(-error));
			return 1;
		}
	}
	run_actors(run, actors, nr);
	for (unsigned i = 0; i < nr; i++) {
		check_all(&actors[i]);
		place_close(&actors[i].place);
		free(actors[i].oracle);
	}
	check_empty(run);
	world_close(&world);
	return 0;
}

/* ---- The command ----------------------------------------------------------------------- */

static int run_and_say(struct run run)
{
	int status;

	printf("model ");
	print_run(stdout, &run);
	fflush(stdout);
	status = run_once(&run);
	printf(": %s\n", status == 0 ? "ok" : status == EXIT_SKIP ? "skipped" : "FAILED");
	return status;
}

static int replays_exactly(struct run run)
{
	uint64_t first;

	if (run_once(&run))
		return 1;
	first = run.digest;
	if (run_once(&run))
		return 1;
	printf("model: seed %llu twice: digests %016llx and %016llx\n", (unsigned long long)run.seed,
		(unsigned long long)first, (unsigned long long)run.digest);
	return first != run.digest;
}

#define SWAP_GOOD "mem:?size=32M"
#define SWAP_LATE "faulty:mem:?size=32M&delay=4&seed=5"
#define SWAP_SMALL "mem:?size=4M"
#define SWAP_FILE "file:/var/tmp?size=32M"
#define SWAP_ZRAM "zram:?size=16M"
#define SWAP_TIERS                                                                                           \
	"zram:,faulty:mem:?size=32M&delay=4&seed=5" /* the store takes frames; for 128 of them or more */
#define SWAP_TIERS_FILE "zram:,file:/var/tmp?size=32M"

static struct run preset(enum anonmm_machine kind, const char *swap, unsigned long ops, uint64_t seed)
{
	struct run run = {.kind = kind, .ops = ops, .seed = seed};

	snprintf(run.swap, sizeof(run.swap), "%s", swap);
	return run;
}

static int run_all(void)
{
	int status = 0, one;

	for (uint64_t seed = 1; seed <= 8 && !status; seed++)
		status = run_and_say(preset(ANONMM_SOFT, seed & 1 ? SWAP_GOOD : SWAP_LATE, 4000, seed));
	for (uint64_t seed = 1; seed <= 4 && !status; seed++) {
		struct run run = preset(ANONMM_SOFT, seed & 1 ? SWAP_LATE : SWAP_SMALL, 4000, 100 + seed);

		run.lossy = true;
		status = run_and_say(run);
	}
	if (!status) {
		struct run run = preset(ANONMM_SOFT, "", 4000, 106);

		run.lossy = true;
		status = run_and_say(run);
	}
	for (uint64_t seed = 201; seed <= 206 && !status; seed++)
		status = run_and_say(preset(ANONMM_SOFT, seed & 1 ? SWAP_TIERS : SWAP_ZRAM, 3000, seed));
	for (uint64_t seed = 301; seed <= 302 && !status; seed++) {
		struct run run = preset(ANONMM_SOFT, SWAP_TIERS, 3000, seed);

		run.lossy = true;
		snprintf(run.swap, sizeof(run.swap),
			"zram:?size=512K,faulty:mem:?size=32M&fail_write=%d&forever=%d", seed & 1 ? 20 : 3,
			seed & 1 ? 0 : 1);
		status = run_and_say(run);
	}
	if (!status)
		status = replays_exactly(preset(ANONMM_SOFT, SWAP_LATE, 4000, 7));
	if (!status)
		status = replays_exactly(preset(ANONMM_SOFT, SWAP_TIERS, 3000, 7));
	if (!status) {
		struct run run = preset(ANONMM_SOFT, SWAP_GOOD, 1500, 9);

		run.threads = true;
		status = run_and_say(run);
	}
	for (int i = 0; i < 8 && !status; i++) {
		struct run run = preset(ANONMM_UFFD, SWAP_FILE, 3000, 20 + (uint64_t)i);

		if (i >= 4)
			snprintf(run.swap, sizeof(run.swap), "%s", SWAP_TIERS_FILE);

		run.faults = i & 1 ? ANONMM_FAULTS_SIGNAL : ANONMM_FAULTS_THREAD;
		run.copy = i & 2;
		one = run_and_say(run);
		status = one == EXIT_SKIP ? 0 : one; /* said above; the soft runs count */
	}
	return status;
}

static int usage(void)
{
	fprintf(stderr, "Usage: model [--seed N] [--ops N] [--machine soft|uffd] [--faults thread|signal] "
			"[--copy] [--threads]\n"
			"             [--swap URI] [--lossy] [--verbose]\n");
	return 2;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"seed", required_argument, NULL, 's'},
		{"ops", required_argument, NULL, 'o'}, {"machine", required_argument, NULL, 'm'},
		{"faults", required_argument, NULL, 'f'}, {"copy", no_argument, NULL, 'c'},
		{"threads", no_argument, NULL, 't'}, {"swap", required_argument, NULL, 'w'},
		{"lossy", no_argument, NULL, 'l'}, {"verbose", no_argument, NULL, 'v'}, {0}};
	struct run run = preset(ANONMM_SOFT, SWAP_GOOD, 10000, 1);
	int option;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc == 1)
		return run_all();
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 's':
			run.seed = strtoull(optarg, NULL, 0);
			break;
		case 'o':
			run.ops = strtoul(optarg, NULL, 0);
			break;
		case 'm':
			run.kind = strcmp(optarg, "uffd") ? ANONMM_SOFT : ANONMM_UFFD;
			break;
		case 'f':
			run.faults = strcmp(optarg, "signal") ? ANONMM_FAULTS_THREAD : ANONMM_FAULTS_SIGNAL;
			break;
		case 'c':
			run.copy = true;
			break;
		case 't':
			run.threads = true;
			break;
		case 'w':
			snprintf(run.swap, sizeof(run.swap), "%s", optarg);
			break;
		case 'v':
			run.verbose = true;
			break;
		case 'l':
			run.lossy = true;
			break;
		default:
			return usage();
		}
	}
	return optind < argc ? usage() : run_and_say(run);
}

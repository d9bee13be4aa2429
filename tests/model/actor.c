/* SPDX-License-Identifier: MIT */
/* An actor does one operation after the other. If an operation fails, all that is needed to repeat it is printed. */
#include "model.h"

#include <stdarg.h>

struct world world;

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
	{"stride", do_stride, 20},
	{"fill run", do_fill_run, 40},
	{"mmap", do_mmap, 40},
	{"munmap", do_munmap, 20},
	{"mprotect", do_mprotect, 25},
	{"mremap", do_mremap, 20},
	{"hint", do_hint, 50},
	{"drop", do_drop, 15},
	{"mlock", do_mlock, 10},
	{"fork", do_fork, 8},
	{"exit", do_exit, 6},
	{"space", do_space, 2},
	{"file open", do_file_open, 8},
	{"file close", do_file_close, 4},
	{"file map", do_file_map, 25},
	{"file truncate", do_file_truncate, 10},
	{"file fail", do_file_fail, 3},
	{"kswapd", do_kswapd, 40},
	{"ksmd", do_ksmd, 20},
	{"reclaim", do_reclaim, 5},
	{"poll", do_poll, 60},
	{"device fault", do_device_fault, 5},
	{"swapon", do_swapon, 3},
	{"swapoff", do_swapoff, 2},
	{"migrate", do_migrate, 6},
	{"compact", do_compact, 3},
	{"migrate one", do_migrate_one, 10},
};

/* ---- Choices ------------------------------------------------------------------------------ */

unsigned below(struct actor *a, unsigned limit)
{
	return choose(&a->choice, limit);
}

uint64_t any(struct actor *a)
{
	return next_random(&a->choice.content);
}

uint64_t address(const struct actor *a, unsigned page)
{
	return a->at->place.base + page * PAGE_BYTES;
}

void detail(struct actor *a, unsigned first, unsigned nr, int more)
{
	snprintf(a->detail, sizeof(a->detail), "of space %u, page %u + %u (%d)",
		(unsigned)(a->at - a->members), first, nr, more);
}

void pick_run(struct actor *a, unsigned longest, unsigned *first, unsigned *nr)
{
	*nr = 1 + below(a, below(a, 4) ? 8 : longest);
	*first = below(a, ORACLE_PAGES - *nr + 1);
	detail(a, *first, *nr, 0);
}

unsigned pick_page(struct actor *a)
{
	const struct oracle_page *pages = a->at->oracle->pages;
	unsigned page = below(a, ORACLE_PAGES);

	for (int tries = 0; tries < 20 && !pages[page].mapped; tries++)
		page = below(a, ORACLE_PAGES);
	detail(a, page, 1, pages[page].prot);
	return page;
}

int random_prot(struct actor *a)
{
	static const int prots[] = {
		PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE, PROT_READ, PROT_NONE};

	return prots[below(a, ARRAY_SIZE(prots))];
}

/* ---- Results ------------------------------------------------------------------------------ */

void mix(struct run *run, uint64_t value)
{
	if (!run->threads && run->kind == ANONMM_SOFT)
		run->digest = (run->digest ^ value) * 0x100000001b3;
}

void note(struct actor *a, int result)
{
	mix(a->run, (uint64_t)(unsigned)result);
	a->result = result;
}

bool excused(const struct actor *a, int result)
{
	return a->run->lossy && (result == -EIO || result == -ENOMEM);
}

void want(struct actor *a, int result, int expected)
{
	note(a, result);
	if (result != expected && !excused(a, result))
		fail(a, "result %d (%s), expected %d", result, strerror(-result), expected);
}

void fail(struct actor *a, const char *format, ...)
{
	va_list args;

	fprintf(stderr, "model: operation %lu of its actor, %s %s: ", a->op, a->doing, a->detail);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	if (!a->run->bytes) {
		fprintf(stderr, "\nmodel: repeat it with ");
		print_run(stderr, a->run);
	}
	fprintf(stderr, "\n");
	abort();
}

void actor_validate(struct actor *a)
{
	char buf[400];
	const char *wrong = pager_validate(world.pager, buf, sizeof(buf));

	if (wrong)
		fail(a, "the world is not valid: %s", wrong);
}

/* ---- Steps -------------------------------------------------------------------------------- */

static size_t pick_operation(struct actor *a)
{
	unsigned pick, total = 0;
	size_t i = 0;

	for (size_t n = 0; n < ARRAY_SIZE(operations); n++)
		total += operations[n].weight;
	for (pick = below(a, total); pick >= operations[i].weight; i++)
		pick -= operations[i].weight;
	return i;
}

static struct member *pick_member(struct actor *a)
{
	unsigned at = below(a, nr_members(a));

	for (struct member *m = a->members;; m++)
		if (m->oracle && at-- == 0)
			return m;
}

void actor_step(struct actor *a)
{
	size_t i;

	a->at = pick_member(a);
	i = pick_operation(a);
	a->op++;
	a->doing = operations[i].name;
	a->detail[0] = '\0';
	a->result = 0;
	mix(a->run, i);
	operations[i].run(a);
	if (a->run->verbose)
		printf("%lu: %s %s: %d\n", a->op, a->doing, a->detail, a->result);
	if (a->op % a->run->validate_every == 0)
		actor_validate(a);
}

void actor_check_all(struct actor *a)
{
	a->doing = "the last look";
	for (a->at = a->members; a->at < a->members + MAX_SPACES; a->at++)
		for (unsigned page = 0; a->at->oracle && page < ORACLE_PAGES; page++) {
			detail(a, page, 1, a->at->oracle->pages[page].prot);
			check_page(a, page);
		}
}

bool actor_open(struct actor *a, struct run *run, unsigned number, unsigned max_spaces)
{
	uint64_t seed = run->seed * 1000 + number;

	*a = (struct actor){.run = run, .max_spaces = max_spaces, .doing = "opening"};
	a->choice =
		(struct choice){.rng = seed, .content = ~seed, .bytes = run->bytes, .left = run->nr_bytes};
	a->at = member_free(a);
	a->at->oracle = calloc(1, sizeof(struct oracle));
	return a->at->oracle && place_open(&a->at->place, &world) == 0;
}

void actor_close(struct actor *a)
{
	a->doing = "the end";
	for (unsigned i = 0; i < MAX_OBJECTS; i++)
		if (a->objects[i].open)
			object_close(a, &a->objects[i]);
	for (unsigned i = 0; i < MAX_SPACES; i++)
		if (a->members[i].oracle)
			member_close(a, &a->members[i]);
	objects_reap(a);
}

/* SPDX-License-Identifier: MIT */
/*
 * The schedule: coroutines that switch at points, by seed.
 *
 * A thread that waits is not chosen before the event that it waits for has come. So after a lost wake-up no thread can
 * run, and that is reported. The clock counts points. When all threads wait, it jumps to the next moment at which a
 * device has an answer.
 *
 * Rule: a thread switches at points only. What it does between two points is one step for all others.
 */
#include "sim.h"
#include "../coro.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STACK_BYTES (256 * KIB)
#define MAX_POINTS 600000 /* of one run: some twenty times the longest that ends */
#define LOWEST_FIRST 1000000 /* priorities of who comes last go down from here, at most once for each point */
#define STALL_POINTS 1500 /* the longest */
#define TURN_POINTS 1000 /* with priorities: who runs so long without waiting comes last */

enum state { NOT_STARTED, READY, BLOCKED, ENDED };

struct thread {
	struct coro coro;
	enum state state;
	const char *where;
	bool (*can_run)(void *);
	void *ctx;
	uint64_t until;
	unsigned priority;
	char doing[120];
};

static struct {
	const struct config *config;
	struct outcome *outcome;
	const struct script *script;
	unsigned script_next;
	bool verbose, running, validating;
	struct coro main;
	struct thread threads[NR_COROS];
	unsigned me;
	uint32_t point;
	uint64_t clock, turn_since;
	unsigned lowest, next_validate;
	struct seed chance, stalls; /* the stalls are the same when a script is followed */
} sched;

static char *stacks;

static const char *thread_name(unsigned thread)
{
	static const char *const names[NR_COROS] = {"T0", "T1", "T2", "T3", "kswapd"};

	return names[thread];
}

void sched_open(const struct config *c, struct outcome *outcome, const struct script *script, bool verbose)
{
	if (!stacks)
		stacks = device_alloc(NR_COROS * STACK_BYTES);
	memset(&sched, 0, sizeof(sched));
	sched.config = c;
	sched.outcome = outcome;
	sched.script = script;
	sched.verbose = verbose;
	sched.chance = seed_stream(c->schedule, 1);
	sched.stalls = seed_stream(c->schedule, 3);
	sched.lowest = LOWEST_FIRST;
	sched.next_validate = c->validate_every;
	outcome->nr_decisions = 0;
}

void sched_start(unsigned thread, void (*run)(void *), void *arg)
{
	struct thread *t = &sched.threads[thread];

	coro_init(&t->coro, stacks + thread * STACK_BYTES, STACK_BYTES, run, arg);
	t->state = READY;
	t->where = "start";
	t->priority = LOWEST_FIRST + seed_below(&sched.chance, 1000);
}

bool sched_running(void)
{
	return sched.running && !sched.validating;
}

unsigned sched_me(void)
{
	return sched.me;
}

uint64_t sched_clock(void)
{
	return sched.clock;
}

bool sched_verbose(void)
{
	return sched.verbose;
}

void sched_doing(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(sched.threads[sched.me].doing, sizeof(sched.threads[0].doing), format, args);
	va_end(args);
	if (sched.verbose)
		printf("%8u %-6s   %s\n", sched.point, thread_name(sched.me), sched.threads[sched.me].doing);
}

void sched_told(const char *format, ...)
{
	va_list args;

	if (!sched.verbose)
		return;
	printf("%8u %-6s     ", sched.point, thread_name(sched.me));
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
}

/* ---- Failing ------------------------------------------------------------------------------------ */

void sim_fail(const char *format, ...)
{
	struct outcome *o = sched.outcome;
	va_list args;
	int n = 0;

	if (sched.running)
		n = snprintf(o->why, sizeof(o->why), "point %u, %s, %s: ", sched.point, thread_name(sched.me),
			sched.threads[sched.me].doing);
	va_start(args, format);
	vsnprintf(o->why + n, sizeof(o->why) - (size_t)n, format, args);
	va_end(args);
	o->failed = true;
	o->points = sched.point;
	fflush(NULL);
	if (getenv("SIM_ABORT")) /* for a debugger */
		abort();
	_exit(1);
}

static void fail_stuck(void)
{
	char text[900];
	size_t n = 0;

	text[0] = '\0';
	for (unsigned i = 0; i < NR_COROS && n < sizeof(text); i++)
		if (sched.threads[i].state == BLOCKED)
			n += (size_t)snprintf(text + n, sizeof(text) - n, "\n    %-6s waits at %s: %s",
				thread_name(i), sched.threads[i].where, sched.threads[i].doing);
	sim_fail("nobody can run:%s", text);
}

/* ---- Choosing ------------------------------------------------------------------------------------ */

static bool can_run(const struct thread *t)
{
	if (t->state == READY)
		return true;
	return t->state == BLOCKED &&
	       ((t->until && sched.clock >= t->until) || (t->can_run && t->can_run(t->ctx)));
}

static unsigned runnable(unsigned *list)
{
	unsigned nr = 0;

	for (unsigned i = 0; i < NR_COROS; i++)
		if (can_run(&sched.threads[i]))
			list[nr++] = i;
	return nr;
}

/* All wait: to the next moment at which time alone lets one go on. */
static void jump(void)
{
	uint64_t next = devices_next();

	for (unsigned i = 0; i < NR_COROS; i++) {
		const struct thread *t = &sched.threads[i];

		if (t->state == BLOCKED && t->until && (!next || t->until < next))
			next = t->until;
	}
	if (next <= sched.clock)
		fail_stuck();
	sched.clock = next;
	sched.outcome->jumps++;
}

static unsigned highest(const unsigned *list, unsigned nr)
{
	unsigned best = list[0];

	for (unsigned i = 1; i < nr; i++)
		if (sched.threads[list[i]].priority > sched.threads[best].priority)
			best = list[i];
	return best;
}

/* What the script says for this point; NR_COROS: nothing. */
static unsigned scripted(void)
{
	const struct script *s = sched.script;

	while (sched.script_next < s->nr && s->decisions[sched.script_next].point < sched.point)
		sched.script_next++;
	if (sched.script_next < s->nr && s->decisions[sched.script_next].point == sched.point)
		return s->decisions[sched.script_next].to;
	return NR_COROS;
}

static bool is_among(unsigned who, const unsigned *list, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++)
		if (list[i] == who)
			return true;
	return false;
}

/* The one after who runs now, in a circle. */
static unsigned next_in_circle(const unsigned *list, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++)
		if (list[i] > sched.me)
			return list[i];
	return list[0];
}

/* Who goes on when the running one cannot. */
static unsigned choose_forced(const unsigned *list, unsigned nr)
{
	if (sched.script) {
		unsigned to = scripted();

		return is_among(to, list, nr) ? to : next_in_circle(list, nr);
	}
	if (sched.config->priorities)
		return highest(list, nr);
	return list[seed_below(&sched.chance, nr)];
}

/* Who goes on at a point; mostly the one that runs. */
static unsigned choose(const unsigned *list, unsigned nr)
{
	if (sched.script) {
		unsigned to = scripted();

		return is_among(to, list, nr) ? to : sched.me;
	}
	if (!sched.config->priorities)
		return list[seed_below(&sched.chance, nr)];
	if (sched.clock - sched.turn_since > TURN_POINTS || seed_once_in(&sched.chance, 16)) {
		sched.threads[sched.me].priority = --sched.lowest;
		sched.turn_since = sched.clock;
	}
	return highest(list, nr);
}

static void note(unsigned to, bool forced)
{
	struct outcome *o = sched.outcome;

	if (o->nr_decisions < MAX_DECISIONS)
		o->decisions[o->nr_decisions++] =
			(struct decision){.point = sched.point, .to = (uint8_t)to, .forced = forced};
}

static void go_to(unsigned to, bool forced)
{
	struct coro *from = &sched.threads[sched.me].coro;

	note(to, forced);
	sched.threads[to].state = READY;
	if (to == sched.me)
		return;
	if (sched.verbose)
		printf("%8u %-6s %s at %s -> %s\n", sched.point, thread_name(sched.me),
			forced ? "waits" : "stops", sched.threads[sched.me].where, thread_name(to));
	sched.me = to;
	sched.turn_since = sched.clock;
	coro_switch(from, &sched.threads[to].coro);
}

static void count_point(void)
{
	sched.point++;
	sched.clock++;
	if (sched.point > MAX_POINTS)
		sim_fail("no end");
}

static void validate_if_due(void)
{
	if (!sched.config->validate_every || sched.point < sched.next_validate || sched.validating)
		return;
	sched.next_validate = sched.point + sched.config->validate_every;
	sched.validating = true;
	sim_validate("between two steps");
	sched.validating = false;
}

static void run_another(void)
{
	unsigned list[NR_COROS], nr;

	count_point();
	while ((nr = runnable(list)) == 0)
		jump();
	go_to(choose_forced(list, nr), true);
}

/*
 * As if the host did not let this thread run for a while: what others do meanwhile meets whatever it has left half
 * done.
 */
static void stall(const char *where)
{
	struct thread *t = &sched.threads[sched.me];

	t->where = where;
	t->can_run = NULL;
	t->until = sched.clock + 1 + seed_below(&sched.stalls, STALL_POINTS);
	t->state = BLOCKED;
	run_another();
}

void sched_point(const char *where)
{
	unsigned list[NR_COROS], nr, to;

	if (!sched.running || sched.validating)
		return;
	count_point();
	validate_if_due();
	if (seed_once_in(&sched.stalls, sched.config->stall_in)) {
		stall(where);
		return;
	}
	if (!sched.script && !seed_once_in(&sched.chance, sched.config->switch_in))
		return;
	sched.threads[sched.me].where = where;
	nr = runnable(list);
	to = choose(list, nr);
	if (to != sched.me)
		go_to(to, false);
}

void sched_block(const char *where, bool (*may_run)(void *), void *ctx, uint64_t until)
{
	struct thread *t = &sched.threads[sched.me];

	if (!sched.running)
		sim_fail("the last look at the world would have to wait at %s", where);
	t->where = where;
	t->can_run = may_run;
	t->ctx = ctx;
	t->until = until;
	t->state = BLOCKED;
	run_another();
}

static bool programs_ended(void)
{
	for (unsigned i = 0; i < MAX_THREADS; i++)
		if (sched.threads[i].state == READY || sched.threads[i].state == BLOCKED)
			return false;
	return true;
}

void sched_end(void)
{
	struct thread *t = &sched.threads[sched.me];

	t->state = ENDED;
	t->where = "its end";
	if (programs_ended())
		coro_switch(&t->coro, &sched.main);
	else
		run_another();
}

void sched_run(void)
{
	sched.running = true;
	sched.me = 0;
	coro_switch(&sched.main, &sched.threads[0].coro);
	sched.running = false;
	sched.outcome->points = sched.point;
	sched.outcome->points_total += sched.point;
}

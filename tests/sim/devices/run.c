/* SPDX-License-Identifier: MIT */
/* A run: the schedule that a seed makes, and who has the turn. */
#define _GNU_SOURCE
#include "sim.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct shared *shared;
static unsigned self;

/* ---- Turns ------------------------------------------------------------------------------------- */

static void wake(_Atomic(uint32_t) *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void wake_everybody(void)
{
	for (unsigned i = 0; i < MAX_PROCS; i++) {
		atomic_store(&shared->turn[i], 1);
		wake(&shared->turn[i]);
	}
}

/* One that takes longer than this hangs. */
#define HANG_S 20

void turn_wait(unsigned index)
{
	const struct timespec second = {1, 0};

	self = index;
	for (int waited = 0; !atomic_load(&shared->turn[index]);) {
		if (syscall(SYS_futex, &shared->turn[index], FUTEX_WAIT, 0, &second, NULL, 0) < 0 &&
			errno == ETIMEDOUT && index == 0 && ++waited == HANG_S)
			sim_fail("nobody gives the turn back");
		if (index != 0 && getppid() == 1 && atomic_load(&shared->over))
			_exit(1);
	}
	if (atomic_load(&shared->over))
		_exit(1);
	atomic_store(&shared->turn[index], 0);
}

void turn_give(unsigned index)
{
	atomic_store(&shared->turn[index], 1);
	wake(&shared->turn[index]);
}

void sim_fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	if (!shared->failed)
		vsnprintf(shared->why, sizeof(shared->why), format, args);
	va_end(args);
	shared->failed = true;
	atomic_store(&shared->over, true);
	wake_everybody();
	_exit(1);
}

/* In place of libc's: an assert of the core is a finding. */
void __assert_fail(const char *text, const char *file, unsigned line, const char *function)
	__attribute__((noreturn));

void __assert_fail(const char *text, const char *file, unsigned line, const char *function)
{
	sim_fail("process %u: %s:%u: %s: %s", self, file, line, function, text);
}

/* In place of libc's: time passes with each look at the clock. */
int clock_gettime(clockid_t clock, struct timespec *now)
{
	static uint64_t ns;

	(void)clock;
	ns += 1000 + seed_mix(ns) % 9000;
	*now = (struct timespec){(time_t)(ns / 1000000000), (long)(ns % 1000000000)};
	return 0;
}

/* ---- Schedules ------------------------------------------------------------------------------------ */

static enum op_kind op_choose(struct seed *s)
{
	static const uint8_t weights[NR_OPS] = {[OP_WRITE] = 22,
		[OP_READ] = 14,
		[OP_RECLAIM] = 12,
		[OP_PAGEOUT] = 12,
		[OP_DONTNEED] = 4,
		[OP_POLL] = 6,
		[OP_KSWAPD] = 6,
		[OP_FORK] = 8,
		[OP_EXIT] = 5,
		[OP_LEASES] = 4,
		[OP_TAKEOVER] = 4,
		[OP_FAULT] = 3,
		[OP_HEAL] = 2};
	unsigned sum = 0;

	for (unsigned k = 0; k < NR_OPS; k++)
		sum += weights[k];
	unsigned at = seed_below(s, sum), kind = 0;

	while (at >= weights[kind])
		at -= weights[kind++];
	return (enum op_kind)kind;
}

void schedule_make(struct schedule *schedule, uint64_t seed)
{
	struct seed s = seed_stream(seed, 1);
	unsigned chain = seed_below(&s, 4), delay = seed_below(&s, 2) * seed_below(&s, 7);
	bool faults = seed_once_in(&s, 2);
	char tail[120];

	*schedule = (struct schedule){.seed = seed};
	snprintf(tail, sizeof(tail), "faulty:mem:?size=%uK&shared=1&delay=%u&torn=%u&seed=%u",
		512 << seed_below(&s, 9) / 3, delay, seed_below(&s, 2), 1 + seed_below(&s, 1000));
	snprintf(schedule->uri, sizeof(schedule->uri), "%s%s",
		chain < 2    ? ""
		: chain == 2 ? "zram:?size=256K,"
			     : "zram:,",
		tail);
	schedule->frames = chain == 3 ? 160 : 64 + seed_below(&s, 33);
	schedule->pages = schedule->frames < MAX_PAGES
				  ? schedule->frames + seed_below(&s, MAX_PAGES - schedule->frames)
				  : MAX_PAGES;
	schedule->policy = seed_below(&s, 2) * 0x4; /* equal pages share a slot */
	schedule->nr = 16 + seed_below(&s, MAX_OPS - 16);
	for (unsigned i = 0; i < schedule->nr; i++) {
		struct op *op = &schedule->ops[i];

		do {
			op->kind = (uint8_t)op_choose(&s);
		} while (op->kind == OP_FAULT && !faults);
		op->pick = (uint8_t)seed_next(&s);
		op->a = (uint16_t)seed_next(&s);
		op->b = (uint16_t)seed_next(&s);
	}
}

/* ---- The run ----------------------------------------------------------------------------------------- */

static void do_op(const struct op *op, unsigned process)
{
	shared->op = *op;
	if (process == 0) {
		process_do(op);
		return;
	}
	turn_give(process);
	turn_wait(0);
}

static unsigned pick(unsigned nth)
{
	unsigned nr = 0, process = 0;

	for (unsigned i = 0; i < shared->nr_procs; i++)
		nr += shared->alive[i];
	nth %= nr;
	for (;; process++)
		if (shared->alive[process] && nth-- == 0)
			return process;
}

void run_schedule(const struct schedule *s)
{
	const struct op leave = {.kind = OP_EXIT};

	for (unsigned i = 0; i < MAX_PROCS; i++) {
		atomic_store(&shared->turn[i], 0);
		shared->alive[i] = i == 0;
	}
	shared->nr_procs = 1;
	shared->nr_leases = 0;
	for (unsigned i = 0; i < LEASE_IDS; i++)
		shared->holders[i] = 0;
	self = 0;
	process_begin(s);
	for (unsigned i = 0; i < s->nr; i++) {
		shared->step = i;
		if (!s->ops[i].off)
			do_op(&s->ops[i], pick(s->ops[i].pick));
	}
	for (unsigned i = 1; i < shared->nr_procs; i++) {
		unsigned process = 1 + (i + (unsigned)s->seed) % (shared->nr_procs - 1);

		shared->step = s->nr + i;
		if (shared->alive[process])
			do_op(&leave, process);
	}
	process_end();
}

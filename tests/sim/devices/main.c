/* SPDX-License-Identifier: MIT */
/* sim-devices: run seeds one after the other; shrink each that fails, and tell about it. */
#define _GNU_SOURCE
#include "sim.h"

#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define SHRINK_MOST 400 /* runs */

const char *const plant_names[NR_PLANTS] = {
	"none", "no-lease", "early-end", "never-end", "turned-bit", "heir-writes"};

static const char usage[] =
	"usage: sim-devices [--seeds N] [--from N] [--seed N] [-v] [--plant NAME]\n"
	"Random trees of forks over devices that fail, are full, late and out of order.\n"
	"  --seeds N    how many (10000)\n"
	"  --from N     the first (1)\n"
	"  --seed N     this one alone\n"
	"  -v           print each operation as it is done\n"
	"  --failures N  stop after so many failing seeds (5)\n"
	"  --no-shrink   do not look for what a failure needs\n"
	"  --plant NAME a bug to be found: no-lease, early-end, never-end, turned-bit, heir-writes\n"
	"Exit status 1 when a seed has failed.\n";

static void died(int signal)
{
	sim_fail("a process died of signal %d", signal);
}

/* Seeds @from to @to in a process of its own, which ends with the first that fails. Returns whether all were good. */
static bool work(uint64_t from, uint64_t to, const struct schedule *given)
{
	int status = 0;

	shared->failed = false;
	atomic_store(&shared->over, false);
	pid_t pid = fork();

	if (pid == 0) {
		setpgid(0, 0); /* with all that it forks */
		const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
		static struct schedule schedule;

		for (unsigned i = 0; i < sizeof(signals) / sizeof(*signals); i++)
			signal(signals[i], died);
		signal(SIGCHLD, SIG_IGN);
		for (uint64_t seed = from; seed < to; seed++) {
			shared->seed = seed;
			if (given)
				schedule = *given;
			else
				schedule_make(&schedule, seed);
			run_schedule(&schedule);
		}
		_exit(0);
	}
	waitpid(pid, &status, 0);
	if (status)
		kill(-pid, SIGKILL); /* its children, who wait for a turn */
	if (status && !shared->failed) {
		shared->failed = true;
		snprintf(shared->why, sizeof(shared->why), "status %x", status);
	}
	return !shared->failed;
}

/* Leave out what the failure does not need: halves, quarters ... single operations. */
static unsigned shrink(struct schedule *s)
{
	unsigned runs = 0, left = 0;

	for (unsigned size = s->nr / 2; size > 0; size /= 2) {
		for (unsigned at = 0; at < s->nr && runs < SHRINK_MOST; at += size) {
			struct schedule less = *s;
			bool any = false;

			for (unsigned i = at; i < at + size && i < s->nr; i++) {
				any = any || !less.ops[i].off;
				less.ops[i].off = true;
			}
			if (any && runs++ < SHRINK_MOST && !work(s->seed, s->seed + 1, &less))
				*s = less;
		}
	}
	for (unsigned i = 0; i < s->nr; i++)
		left += !s->ops[i].off;
	return left;
}

static void tell(const char *self, uint64_t seed, bool no_shrink)
{
	static struct schedule s;
	const char *plant = plant_names[shared->plant];
	bool verbose = shared->verbose;

	printf("seed %lu failed at step %u: %s\n", (unsigned long)seed, shared->step, shared->why);
	printf("  again: %s --seed %lu -v%s%s\n", self, (unsigned long)seed, shared->plant ? " --plant " : "",
		shared->plant ? plant : "");
	fflush(stdout);
	if (no_shrink)
		return;
	shared->verbose = false;
	schedule_make(&s, seed);
	unsigned left = shrink(&s);

	shared->verbose = true;
	printf("  shrunk to %u of %u operations: %u frames, %u pages, %s\n", left, s.nr, s.frames, s.pages,
		s.uri);
	fflush(stdout);
	work(seed, seed + 1, &s);
	printf("  %s\n", shared->failed ? shared->why : "it does not fail any more");
	shared->verbose = verbose;
}

/* One processor: a turn is a switch, not a wake-up of another one. */
static void stay_here(void)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET((unsigned)sched_getcpu(), &one);
	sched_setaffinity(0, sizeof(one), &one);
}

static enum plant plant_of(const char *name)
{
	for (unsigned i = 1; i < NR_PLANTS; i++)
		if (!strcmp(plant_names[i], name))
			return (enum plant)i;
	fputs(usage, stderr);
	exit(2);
}

int main(int argc, char **argv)
{
	const struct option options[] = {{"seeds", 1, NULL, 's'}, {"from", 1, NULL, 'f'},
		{"seed", 1, NULL, 'o'}, {"plant", 1, NULL, 'p'}, {"failures", 1, NULL, 'F'},
		{"no-shrink", 0, NULL, 'n'}, {"help", 0, NULL, 'h'}, {0}};
	uint64_t from = 1, seeds = 10000, failed = 0, most = 5;
	bool no_shrink = false;
	int c;

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		return 2;
	while ((c = getopt_long(argc, argv, "vh", options, NULL)) >= 0) {
		switch (c) {
		case 's':
			seeds = strtoull(optarg, NULL, 10);
			break;
		case 'f':
			from = strtoull(optarg, NULL, 10);
			break;
		case 'o':
			from = strtoull(optarg, NULL, 10);
			seeds = 1;
			break;
		case 'p':
			shared->plant = plant_of(optarg);
			break;
		case 'F':
			most = strtoull(optarg, NULL, 10);
			break;
		case 'n':
			no_shrink = true;
			break;
		case 'v':
			shared->verbose = true;
			break;
		default:
			fputs(usage, c == 'h' ? stdout : stderr);
			return c == 'h' ? 0 : 2;
		}
	}
	stay_here();
	for (uint64_t at = from; at < from + seeds && failed < most; at = shared->seed + 1) {
		if (work(at, from + seeds, NULL))
			break;
		uint64_t bad = shared->seed;

		failed++;
		tell(argv[0], bad, no_shrink);
		shared->seed = bad;
	}
	printf("forks %lu, pages lost with a reason %lu, without memory %lu, devices left %lu, leases shared "
	       "%lu\n",
		(unsigned long)shared->nr_forks, (unsigned long)shared->nr_lost,
		(unsigned long)shared->nr_oom, (unsigned long)shared->nr_taken,
		(unsigned long)shared->nr_joined);
	printf("%lu seeds, %lu failed\n", (unsigned long)seeds, (unsigned long)failed);
	return failed > 0;
}

/* SPDX-License-Identifier: MIT */
/* sim-machine: many seeds of the core under a scheduler that a seed repeats; see sim.h. */
#include "sim.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char usage[] = "usage: sim-machine [OPTION...]\n"
			    "Threads as coroutines on the core, a machine and devices of the simulation's "
			    "own; all follows from a seed.\n"
			    "\n"
			    "  --seeds N      run N seeds (default 1000)\n"
			    "  --from N       the first (default 1)\n"
			    "  --seed N       this one alone; if it fails it is shrunk, and the schedule of "
			    "what is left is printed\n"
			    "  --validate N   the whole world is checked every N steps (1: after each); 0: "
			    "at the end only (default 4000)\n"
			    "  --threads N    of the programs, 1 to 4, instead of the seed's choice\n"
			    "  --seconds N    as many seeds as fit\n"
			    "  --failures N   stop after so many that failed (default 5)\n"
			    "  --no-shrink    print what failed only\n"
			    "  --plant NAME   a deliberate fault of the machine: none, lost-wake, "
			    "wrong-frame, late-hide, no-flush,\n"
			    "                 two-inside, lost-write, early-done\n"
			    "  --stats        what was done, at the end\n"
			    "  -v             print the schedule: who ran, where it switched, what it did\n"
			    "\n"
			    "A failing seed alone: sim-machine --seed N -v. With SIM_ABORT=1 a failure is an "
			    "abort, for a debugger.\n"
			    "Exit status 1: a seed failed. The last line is \"N seeds, N failed\".\n";

static struct options {
	uint64_t seeds, from;
	unsigned validate, threads, failures, seconds;
	enum plant plant;
	bool one, no_shrink, verbose, stats;
} options = {.seeds = 1000, .from = 1, .validate = 4000, .failures = 5};

static struct outcome *outcome, *trial;
static struct config config;

static void make(struct config *c, uint64_t seed)
{
	config_make(c, seed);
	c->validate_every = options.validate;
	c->plant = options.plant;
	if (c->plant == PLANT_NO_FLUSH)
		c->shares = true, c->busy_in = c->no_memory_in = 0;
	for (unsigned i = c->nr_threads; i < options.threads; i++)
		c->nr_ops[i] = 0; /* the seed made none */
	if (options.threads)
		c->nr_threads = options.threads;
}

/* ---- Many seeds ------------------------------------------------------------------------------------- */

struct batch {
	uint64_t from, to;
	time_t until; /* 0: no end */
};

/* In a child: until one fails. */
static void run_batch(void *arg)
{
	const struct batch *b = arg;

	for (uint64_t seed = b->from; seed < b->to; seed++) {
		if (b->until && time(NULL) >= b->until)
			break;
		alarm(60);
		atomic_store(&outcome->seed, seed);
		make(&config, seed);
		sim_run(&config, outcome, NULL, options.verbose);
		outcome->done++;
	}
}

static void report(uint64_t seed)
{
	printf("seed %llu failed: %s\n", (unsigned long long)seed, outcome->why);
	printf("  alone: sim-machine --seed %llu%s%s -v\n", (unsigned long long)seed,
		options.plant ? " --plant " : "", options.plant ? plant_names[options.plant] : "");
	if (options.no_shrink)
		return;
	make(&config, seed);
	if (!sim_try(&config, trial, NULL, false)) {
		printf("  alone it does not fail: the state of a seed before it was left over\n");
		return;
	}
	memcpy(outcome->why, trial->why, sizeof(outcome->why));
	outcome->nr_decisions = trial->nr_decisions;
	memcpy(outcome->decisions, trial->decisions, trial->nr_decisions * sizeof(*trial->decisions));
	shrink(&config, outcome, trial);
}

static unsigned run_all(void)
{
	struct batch batch = {.from = options.from, .to = options.from + options.seeds};
	unsigned failed = 0;

	if (options.seconds) {
		batch.until = time(NULL) + options.seconds;
		batch.to = UINT64_MAX;
	}
	while (batch.from < batch.to && failed < options.failures &&
		sim_in_child(run_batch, &batch, outcome)) {
		failed++;
		outcome->done++;
		batch.from = outcome->seed + 1;
		report(outcome->seed);
		fflush(stdout);
	}
	return failed;
}

static void print_stats(void)
{
	const struct outcome *o = outcome;

	for (unsigned i = 0; i < NR_OPS; i++)
		printf("%-14s %8llu done %8llu refused\n", op_names[i], (unsigned long long)o->ops_done[i],
			(unsigned long long)o->ops_refused[i]);
	printf("points %llu, faults %llu, armed %llu, in %llu, out %llu, migrated %llu, merged %llu, waits "
	       "%llu, jumps %llu, kswapd %llu, "
	       "busy %llu\n",
		(unsigned long long)o->points_total, (unsigned long long)o->faults,
		(unsigned long long)o->armed, (unsigned long long)o->swapped_in,
		(unsigned long long)o->swapped_out, (unsigned long long)o->migrated,
		(unsigned long long)o->merged, (unsigned long long)o->waits, (unsigned long long)o->jumps,
		(unsigned long long)o->kswapd, (unsigned long long)o->busy);
}

/* ---- The command line --------------------------------------------------------------------------------- */

static void wrong_usage(const char *what)
{
	fprintf(stderr, "sim-machine: %s\n%s", what, usage);
	exit(2);
}

static uint64_t number(const char *text)
{
	char *end;
	uint64_t value = strtoull(text, &end, 0);

	if (*text < '0' || *text > '9' || *end)
		wrong_usage("a number is wanted");
	return value;
}

static enum plant plant(const char *name)
{
	for (unsigned i = 0; i < NR_PLANTS; i++)
		if (strcmp(plant_names[i], name) == 0)
			return (enum plant)i;
	wrong_usage("there is no such plant");
	return PLANT_NONE;
}

static void parse(int argc, char **argv)
{
	static const struct option longs[] = {{"seeds", 1, NULL, 's'}, {"from", 1, NULL, 'f'},
		{"seed", 1, NULL, 'o'}, {"validate", 1, NULL, 'c'}, {"threads", 1, NULL, 't'},
		{"seconds", 1, NULL, 'T'}, {"failures", 1, NULL, 'F'}, {"no-shrink", 0, NULL, 'n'},
		{"plant", 1, NULL, 'p'}, {"stats", 0, NULL, 'S'}, {"help", 0, NULL, 'h'}, {0}};

	for (int c; (c = getopt_long(argc, argv, "v", longs, NULL)) != -1;) {
		switch (c) {
		case 's':
			options.seeds = number(optarg);
			break;
		case 'f':
			options.from = number(optarg);
			break;
		case 'o':
			options.from = number(optarg);
			options.seeds = 1;
			options.one = true;
			break;
		case 'c':
			options.validate = (unsigned)number(optarg);
			break;
		case 't':
			options.threads = (unsigned)number(optarg);
			if (options.threads < 1 || options.threads > MAX_THREADS)
				wrong_usage("--threads: 1 to 4");
			break;
		case 'T':
			options.seconds = (unsigned)number(optarg);
			break;
		case 'F':
			options.failures = (unsigned)number(optarg);
			break;
		case 'n':
			options.no_shrink = true;
			break;
		case 'p':
			options.plant = plant(optarg);
			break;
		case 'S':
			options.stats = true;
			break;
		case 'v':
			options.verbose = true;
			break;
		case 'h':
			fputs(usage, stdout);
			exit(0);
		default:
			wrong_usage("an option is not known");
		}
	}
	if (optind < argc)
		wrong_usage("an argument is too much");
}

static struct outcome *new_outcome(void)
{
	void *p =
		mmap(NULL, sizeof(struct outcome), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED) {
		perror("sim-machine");
		exit(2);
	}
	return p;
}

int main(int argc, char **argv)
{
	unsigned failed;

	parse(argc, argv);
	outcome = new_outcome();
	trial = new_outcome();
	if (options.one) {
		make(&config, options.from);
		config_print(&config);
	}
	failed = run_all();
	if (options.stats)
		print_stats();
	printf("%llu seeds, %u failed\n", (unsigned long long)outcome->done, failed);
	return failed > 0;
}

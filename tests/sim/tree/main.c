/* SPDX-License-Identifier: MIT */
/*
 * sim-tree: the processes of a run that share one limit, by seed, with kills and stops between any two of their steps.
 * The deciding code is the library's own; world.h says how.
 */
#include "world.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const plant_names[NR_PLANTS] = {"nothing", "raise-first", "no-second-look", "no-reap",
	"no-zombies", "reap-stopped", "lost-kick", "first-leads", "own-limit", "torn-question",
	"lost-question"};

static const char usage[] =
	"usage: sim-tree [--seeds N] [--from N] [--seed N] [--plant NAME] [-v]\n"
	"\n"
	"Processes that share one limit, on a virtual clock. A seed chooses what they do, in what order "
	"their steps are\n"
	"mixed, and who is killed or stopped where.\n"
	"\n"
	"  --seeds N      try N seeds (1000)\n"
	"  --from N       the first of them (1)\n"
	"  --seed N       try this one alone\n"
	"  --processes N  at most so many at once (chosen by the seed)\n"
	"  --steps N      so many kills, stops and changes of the limit (chosen by the seed)\n"
	"  --plant NAME   with a bug planted, which must be found: raise-first, no-second-look, no-reap, "
	"no-zombies,\n"
	"                 reap-stopped, lost-kick, first-leads, own-limit,\n"
	"                 torn-question, lost-question\n"
	"  -v             print the schedule\n"
	"\n"
	"A seed that fails is tried again with fewer processes and steps; the smallest that still fails is "
	"printed with its\n"
	"schedule. Status 1: a seed has failed.\n";

static unsigned processes_most, steps_most; /* 0: as the seed has it */

static struct sim_config config_of(uint64_t seed)
{
	struct seed s = seed_stream(seed, 0);
	unsigned processes = 2 + seed_below(&s, 7), steps = seed_below(&s, 60);

	return (struct sim_config){.seed = seed,
		.processes = processes_most ? processes_most : processes,
		.steps = steps_most ? steps_most : steps};
}

static bool fails(struct sim_config *config, enum plant plant)
{
	return !world_run(config, plant);
}

/* Fewer steps and processes, as long as it fails. */
static struct sim_config shrink(struct sim_config config, enum plant plant)
{
	struct sim_config less;

	for (unsigned take = config.steps; take > 0; take /= 2)
		for (less = config; less.steps >= take; config = less) {
			less.steps -= take;
			if (!fails(&less, plant))
				break;
		}
	for (less = config; less.processes > 1; config = less) {
		less.processes--;
		if (!fails(&less, plant))
			break;
	}
	return config;
}

static void report(struct sim_config config, enum plant plant)
{
	char why[sizeof(world.why)];

	memcpy(why, world.why, sizeof(why));
	struct sim_config small = shrink(config, plant);

	printf("seed %lu failed: %s\n", config.seed, why);
	printf("the schedule of: sim-tree --seed %lu --processes %u --steps %u%s%s -v\n", small.seed,
		small.processes, small.steps, plant ? " --plant " : "", plant ? plant_names[plant] : "");
	small.verbose = true;
	fails(&small, plant);
}

static enum plant plant_of(const char *name)
{
	for (unsigned i = 0; i < NR_PLANTS; i++)
		if (!strcmp(plant_names[i], name))
			return (enum plant)i;
	fprintf(stderr, "sim-tree: no bug is called %s\n", name);
	exit(2);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"seeds", required_argument, NULL, 'n'},
		{"from", required_argument, NULL, 'f'}, {"seed", required_argument, NULL, 's'},
		{"processes", required_argument, NULL, 'p'}, {"steps", required_argument, NULL, 't'},
		{"plant", required_argument, NULL, 'b'}, {"help", no_argument, NULL, 'h'}, {0}};
	uint64_t seeds = 1000, from = 1, failed = 0;
	enum plant plant = PLANT_NOTHING;
	bool verbose = false;

	for (int o; (o = getopt_long(argc, argv, "vh", options, NULL)) != -1;) {
		switch (o) {
		case 'n':
			seeds = strtoull(optarg, NULL, 10);
			break;
		case 'f':
			from = strtoull(optarg, NULL, 10);
			break;
		case 's':
			from = strtoull(optarg, NULL, 10), seeds = 1;
			break;
		case 'p':
			processes_most = (unsigned)atoi(optarg);
			break;
		case 't':
			steps_most = (unsigned)atoi(optarg);
			break;
		case 'b':
			plant = plant_of(optarg);
			break;
		case 'v':
			verbose = true;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			fputs(usage, stderr);
			return 2;
		}
	}
	for (uint64_t seed = from; seed < from + seeds; seed++) {
		struct sim_config config = config_of(seed);

		config.verbose = verbose;
		if (fails(&config, plant) && failed++ == 0 && !verbose)
			report(config, plant);
	}
	printf("%lu seeds, %lu failed\n", seeds, failed);
	return failed != 0;
}

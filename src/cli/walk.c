/* SPDX-License-Identifier: MIT */
/*
 * `anonmm walk`: print the life of one page step by step, compared with the specification.
 *
 * The functions of src/trace/walk.h run the walk; walk_text.c and walk_json.c print it.
 */
#define _GNU_SOURCE
#include "cli/walk_tell.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int cmd_walk(int argc, char **argv);

#define EXIT_DIFFERS 1
#define EXIT_OURS 125

static const char usage[] =
	"Usage: anonmm walk [SCENARIO | all] [--machine soft|uffd] [--as linux-4.0] [--json]\n"
	"       anonmm walk --list\n"
	"\n"
	"Follow one page through a piece of its life, in a small pager with real memory pressure.\n"
	"For each step: the function that completed it, the page's _count and _mapcount, its list,\n"
	"its PTE and its flags, read from the live structures at that moment, what changed and why,\n"
	"and the article's words where it fixes the state. Each step is compared with the spec;\n"
	"what differs is marked and said.\n"
	"\n"
	"  SCENARIO         which history (default: life); 'all': one after the other\n"
	"  --list           the scenarios, what each shows, and the rows of the spec\n"
	"  --machine soft   frames in an arena, page tables walked by code (the default)\n"
	"  --machine uffd   real memory of this process, by userfaultfd\n"
	"  --as linux-4.0   print each state as that kernel prints it\n"
	"  --json           the same as JSON: one object, for 'all' an array of them\n"
	"  --help           this text\n"
	"\n"
	"Exit status: 0 all steps agree, 1 some differ, 125 the walk could not be made.\n";

static void tell(void *ctx, const struct walk_row *row)
{
	struct teller *teller = ctx;

	teller->nr_steps++;
	teller->nr_differing += row->verdict != WALK_AGREES;
	(teller->json ? json_row : text_row)(teller, row);
}

static void teller_next(struct teller *teller, const struct walk_scenario *scenario)
{
	teller->scenario = scenario;
	teller->nr_scenarios++;
	teller->nr_steps = teller->nr_differing = 0;
	memset(teller->has_before, 0, sizeof(teller->has_before));
}

/* The steps that differ, or EXIT_OURS as a negative number. */
static int walk_one(struct teller *teller, const struct walk_scenario *scenario, enum anonmm_machine machine)
{
	char why[400];
	int differing;

	teller_next(teller, scenario);
	(teller->json ? json_begin : text_begin)(teller);
	differing = walk_run(scenario, machine, tell, teller, why, sizeof(why));
	(teller->json ? json_end : text_end)(teller, differing == -EOPNOTSUPP ? why : NULL);
	teller->all_steps += teller->nr_steps;
	teller->all_differing += teller->nr_differing;
	teller->nr_untold += differing == -EOPNOTSUPP;
	if (differing < 0)
		fflush(stdout);
	if (differing < 0 && differing != -EOPNOTSUPP) /* what this machine cannot show was told already */
		fprintf(stderr, "anonmm walk: %s\n", why);
	return differing;
}

static int walk(struct teller *teller, const struct walk_scenario *scenario, enum anonmm_machine machine)
{
	int differing = walk_one(teller, scenario, machine);

	if (teller->json)
		printf("\n");
	if (differing < 0)
		return EXIT_OURS;
	return differing ? EXIT_DIFFERS : 0;
}

static int walk_all(struct teller *teller, enum anonmm_machine machine)
{
	bool failed = false;

	teller->all = true;
	if (teller->json)
		printf("[");
	for (unsigned i = 0; i < nr_walk_scenarios && !failed; i++) {
		int differing = walk_one(teller, walk_scenarios[i], machine);

		failed = differing < 0 && differing != -EOPNOTSUPP;
	}
	if (teller->json)
		printf("]\n");
	else
		text_end_all(teller);
	if (failed)
		return EXIT_OURS;
	return teller->all_differing ? EXIT_DIFFERS : 0;
}

static bool locale_is_utf8(void)
{
	static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const char *value = getenv(names[i]);

		if (value && *value)
			return strcasestr(value, "utf-8") || strcasestr(value, "utf8");
	}
	return false;
}

static int list_scenarios(void)
{
	for (unsigned i = 0; i < nr_walk_scenarios; i++)
		printf("%-14s  %-61s  %s\n", walk_scenarios[i]->name, walk_scenarios[i]->summary,
			walk_scenarios[i]->spec);
	return 0;
}

static int refuse(const char *what, const char *given, const char *known)
{
	fprintf(stderr, "anonmm walk: %s '%s' was asked for: %s\n", what, given, known);
	return EXIT_OURS;
}

/* => teller is set up */
static int walk_named(struct teller *teller, const char *name)
{
	enum anonmm_machine machine = strcmp(teller->machine, "uffd") ? ANONMM_SOFT : ANONMM_UFFD;
	const struct walk_scenario *scenario = walk_scenario_find(name);

	if (!strcmp(name, "all"))
		return walk_all(teller, machine);
	if (!strcmp(name, "list"))
		return list_scenarios();
	if (!scenario)
		return refuse("scenario", name, "see --list");
	return walk(teller, scenario, machine);
}

int cmd_walk(int argc, char **argv)
{
	static const struct option options[] = {
		{"machine", required_argument, NULL, 'm'},
		{"scenario", required_argument, NULL, 's'}, /* as SCENARIO */
		{"as", required_argument, NULL, 'a'},
		{"list", no_argument, NULL, 'l'},
		{"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	static struct teller teller = {.machine = "soft"};
	const char *name = "life";
	int option;

	optind = 1;
	while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (option) {
		case 'm':
			teller.machine = optarg;
			break;
		case 's':
			name = optarg;
			break;
		case 'a':
			if (strcmp(optarg, "linux-4.0"))
				return refuse("kernel", optarg, "there is linux-4.0");
			teller.as_linux = true;
			break;
		case 'l':
			return list_scenarios();
		case 'j':
			teller.json = true;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			fputs("Try 'anonmm walk --help'.\n", stderr);
			return EXIT_OURS;
		}
	}
	if (optind < argc)
		name = argv[optind++];
	if (optind < argc)
		return refuse("argument", argv[optind], "one scenario at a time, or all; see --list");
	if (strcmp(teller.machine, "soft") && strcmp(teller.machine, "uffd"))
		return refuse("machine", teller.machine, "there are soft and uffd");
	teller.utf8 = locale_is_utf8();
	teller.colour = isatty(STDOUT_FILENO) && !getenv("NO_COLOR");
	return walk_named(&teller, name);
}

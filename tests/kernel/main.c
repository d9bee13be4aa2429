/* SPDX-License-Identifier: MIT */
/*
 * The judge of today's kernel:
 *
 *      kernel-judge --all [--seeds N]          all scripts of the source tree, and random ones
 *      kernel-judge [-v] SCRIPT...
 *      kernel-judge [-v] --random SEED [--ops N] [--ksm] [--print] [--shrink]
 *      kernel-judge --differences              the table of what may differ
 *
 * Exit status: 0 no difference but declared ones, 1 others, 77 this machine cannot judge.
 */
#include "differences.h"
#include "judge.h"

#include <getopt.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>

#define EXIT_SKIP 77
#define SEEDS 24
#define RANDOM_OPS 60

static struct {
	bool all, ksm, print, shrink, random, list;
	uint64_t seed;
	unsigned ops, seeds;
	struct judge_options judge;
} options = {.ops = RANDOM_OPS, .seeds = SEEDS};

static unsigned failures, skips, judged;

static const char *verdict_name(enum verdict verdict)
{
	static const char *const names[] = {"agrees", "DIFFERS", "skipped", "BROKEN"};

	return names[verdict];
}

static void judge_and_tell(struct script *script)
{
	struct judgement j = judge_script(script, &options.judge);

	judged += j.verdict == AGREED;
	skips += j.verdict == SKIPPED;
	failures += j.verdict == DIFFERED || j.verdict == BROKEN;
	printf("%-32s %6u %8u   %s%s%s\n", script->name, j.ops, j.declared, verdict_name(j.verdict),
		j.verdict == SKIPPED ? ": " : "", j.why);
	if (j.verdict == DIFFERED && options.shrink) {
		judge_shrink(script);
		printf("# shrunk:\n");
		script_print(script, stdout);
		judge_script(script, &options.judge);
	}
	fflush(stdout);
}

static void judge_file(const char *path)
{
	static struct script script;

	if (script_load(&script, path))
		judge_and_tell(&script);
	else
		failures++;
}

static void judge_random(uint64_t seed, bool ksm)
{
	static struct script script;

	script_random(&script, seed, options.ops, ksm);
	if (options.print)
		script_print(&script, stdout);
	judge_and_tell(&script);
}

static void judge_all(void)
{
	const char *source = getenv("ANONMM_SOURCE");
	char pattern[400];
	glob_t found;

	snprintf(pattern, sizeof(pattern), "%s/tests/kernel/scripts/*.ops", source ? source : ".");
	if (glob(pattern, 0, NULL, &found) == 0) {
		for (size_t i = 0; i < found.gl_pathc; i++)
			judge_file(found.gl_pathv[i]);
		globfree(&found);
	} else {
		fprintf(stderr, "%s: no scripts there; set ANONMM_SOURCE\n", pattern);
		failures++;
	}
	for (unsigned seed = 1; seed <= options.seeds; seed++)
		judge_random(seed, false);
	for (unsigned seed = 1; seed <= options.seeds / 4; seed++)
		judge_random(seed, true);
}

/* Every declared difference is there because a script shows it: one that none shows is no longer true. */
static void tell_unused(void)
{
	for (unsigned i = 0; i < nr_differences; i++) {
		if (differences[i].used)
			continue;
		printf("declared, but never seen: %s\n", differences[i].name);
		failures += skips == 0;
	}
}

static bool parse(int argc, char **argv)
{
	static const struct option longs[] = {{"all", no_argument, NULL, 'a'},
		{"random", required_argument, NULL, 'r'}, {"ops", required_argument, NULL, 'o'},
		{"seeds", required_argument, NULL, 's'}, {"ksm", no_argument, NULL, 'k'},
		{"print", no_argument, NULL, 'p'}, {"shrink", no_argument, NULL, 'S'},
		{"differences", no_argument, NULL, 'd'}, {NULL, 0, NULL, 0}};
	int c;

	while ((c = getopt_long(argc, argv, "v", longs, NULL)) != -1) {
		options.all |= c == 'a';
		options.ksm |= c == 'k';
		options.print |= c == 'p';
		options.shrink |= c == 'S';
		options.list |= c == 'd';
		options.random |= c == 'r';
		options.judge.verbose |= c == 'v';
		if (c == 'r')
			options.seed = strtoull(optarg, NULL, 0);
		else if (c == 'o')
			options.ops = (unsigned)strtoul(optarg, NULL, 0);
		else if (c == 's')
			options.seeds = (unsigned)strtoul(optarg, NULL, 0);
		else if (c == '?')
			return false;
	}
	return options.all || options.random || options.list || optind < argc;
}

static void judge_what_was_asked(int argc, char **argv)
{
	printf("%-32s %6s %8s   %s\n", "script", "ops", "declared", "result");
	if (options.all)
		judge_all();
	if (options.random)
		judge_random(options.seed, options.ksm);
	for (int i = optind; i < argc; i++)
		judge_file(argv[i]);
	printf("\n");
	differences_print(true);
	if (options.all)
		tell_unused();
	printf("%u agree, %u differ, %u skipped\n", judged, failures, skips);
}

int main(int argc, char **argv)
{
	const char *why;

	if (!parse(argc, argv)) {
		fprintf(stderr, "usage: kernel-judge [-v] --all [--seeds N] | --random SEED [--ops N] "
				"[--ksm] [--print] "
				"[--shrink] | --differences | SCRIPT...\n");
		return 2;
	}
	if (options.list) {
		differences_print(false);
		return 0;
	}
	why = linux_open();
	if (why) {
		printf("skipped: needs swapon memory-group: %s\n", why);
		return EXIT_SKIP;
	}
	judge_what_was_asked(argc, argv);
	linux_close();
	if (failures)
		return 1;
	if (!judged)
		printf("skipped: needs swapon memory-group: no script could be judged\n");
	return judged ? 0 : EXIT_SKIP;
}

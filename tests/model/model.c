/* SPDX-License-Identifier: MIT */
/*
 * The model test: random operations on a pager beside a byte-array oracle, and the whole-world validator after each of
 * them.
 *
 *      model [--seed N] [--ops N] [--validate N] [--machine soft|uffd] [--faults thread|signal] [--copy] [--threads]
 *            [--swap URI] [--lossy] [--verbose] [--world N --record FILE]
 *      model --set soft|uffd
 *
 * --set: a set of runs that covers all of these, on that machine. A failure prints the arguments that repeat it. On
 * soft without --threads the same seed is the same run, to the last event, which is also checked here.
 *
 * --validate N: the validator looks after every N operations and at the end, for long runs. When such a run fails on
 * soft without --threads, it is repeated with the validator after each operation, and the first bad one is told.
 * --lossy: the device may fail, so an access may end in -EIO or -ENOMEM. But bytes that come back are always the right
 * ones. --world N --record FILE: run one of 256 worlds, and write its choices as bytes, which the fuzz target fuzz_ops
 * understands.
 */
#define _GNU_SOURCE
#include "model.h"

#include <getopt.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

/* ---- The first bad operation ------------------------------------------------------------- */

static char **again; /* the arguments of the run that looks closer */

static void look_closer(int signal)
{
	static const char words[] = "model: once more, validated after each operation\n";

	if (again && write(STDERR_FILENO, words, sizeof(words) - 1) > 0)
		execv("/proc/self/exe", again);
	_exit(128 + signal);
}

/* The same run ends the same way: find out after which operation the world was wrong. */
static void look_closer_on_failure(const struct run *run)
{
	static char seed[24], ops[24], swap[sizeof(run->swap)];
	static char *arguments[16];
	char **next = arguments;

	if (run->validate_every == 1 || run->threads || run->kind != ANONMM_SOFT)
		return;
	snprintf(seed, sizeof(seed), "%llu", (unsigned long long)run->seed);
	snprintf(ops, sizeof(ops), "%lu", run->ops);
	snprintf(swap, sizeof(swap), "%s", run->swap);
	*next++ = "model";
	*next++ = "--seed";
	*next++ = seed;
	*next++ = "--ops";
	*next++ = ops;
	*next++ = "--validate";
	*next++ = "1";
	*next++ = "--swap";
	*next++ = swap;
	if (run->lossy)
		*next++ = "--lossy";
	*next = NULL;
	again = arguments;
	signal(SIGABRT, look_closer);
	signal(SIGSEGV, look_closer);
}

/* ---- The runs ---------------------------------------------------------------------------- */

static double seconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int run_and_say(struct run run)
{
	double start = seconds_now();
	int status;

	printf("model ");
	print_run(stdout, &run);
	fflush(stdout);
	look_closer_on_failure(&run);
	status = run_once(&run);
	if (!status && !run.done)
		status = 1; /* nothing was tested */
	signal(SIGABRT, SIG_DFL);
	signal(SIGSEGV, SIG_DFL);
	printf(": %s", status == 0 ? "ok" : status == EXIT_SKIP ? "skipped" : "FAILED");
	if (!status)
		printf(", %.0f operations/s", (double)run.done / (seconds_now() - start));
	printf("\n");
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

#define SWAP_GOOD "mem:?size=64M"
#define SWAP_LATE "faulty:mem:?size=64M&delay=4&seed=5"
#define SWAP_SMALL "mem:?size=4M"
#define SWAP_FILE "file:/var/tmp?size=32M"
#define SWAP_ZRAM "zram:?size=16M"
#define SWAP_TIERS                                                                                           \
	"zram:,faulty:mem:?size=64M&delay=4&seed=5" /* the store takes frames; for 128 of them or more */
#define SWAP_TIERS_FILE "zram:,file:/var/tmp?size=32M"

static struct run preset(enum anonmm_machine kind, const char *swap, unsigned long ops, uint64_t seed)
{
	struct run run = {.kind = kind, .ops = ops, .seed = seed, .validate_every = 1};

	snprintf(run.swap, sizeof(run.swap), "%s", swap);
	return run;
}

static int run_plain(void)
{
	int status = 0;

	for (uint64_t seed = 1; seed <= 8 && !status; seed++)
		status = run_and_say(preset(ANONMM_SOFT, seed & 1 ? SWAP_GOOD : SWAP_LATE, 4000, seed));
	for (uint64_t seed = 1; seed <= 6 && !status; seed++) {
		const char *swap = seed == 6 ? "" : seed & 1 ? SWAP_LATE : SWAP_SMALL;
		struct run run = preset(ANONMM_SOFT, swap, 4000, 100 + seed);

		run.lossy = true;
		status = run_and_say(run);
	}
	for (uint64_t seed = 1; seed <= 4 && !status; seed++) {
		struct run run = preset(ANONMM_SOFT, seed & 1 ? SWAP_LATE : SWAP_GOOD, 40000, 400 + seed);

		run.validate_every = 100;
		status = run_and_say(run);
	}
	if (!status)
		status = replays_exactly(preset(ANONMM_SOFT, SWAP_LATE, 4000, 7));
	return status ? status : replays_exactly(preset(ANONMM_SOFT, SWAP_TIERS, 3000, 7));
}

/* Compressed memory alone, which may be full before the spaces are, and in front of a device that is late, or fails. */
static int run_zram(void)
{
	int status = 0;

	for (uint64_t seed = 201; seed <= 206 && !status; seed++) {
		struct run run = preset(ANONMM_SOFT, seed & 1 ? SWAP_TIERS : SWAP_ZRAM, 3000, seed);

		run.lossy = !(seed & 1);
		status = run_and_say(run);
	}
	for (uint64_t seed = 301; seed <= 302 && !status; seed++) {
		struct run run = preset(ANONMM_SOFT, SWAP_TIERS, 3000, seed);

		run.lossy = true;
		snprintf(run.swap, sizeof(run.swap),
			"zram:?size=512K,faulty:mem:?size=32M&fail_write=%d&forever=%d", seed & 1 ? 20 : 3,
			seed & 1 ? 0 : 1);
		status = run_and_say(run);
	}
	return status;
}

static int run_threads(void)
{
	struct run run = preset(ANONMM_SOFT, SWAP_GOOD, 1500, 9);

	run.threads = true;
	return run_and_say(run);
}

static int run_uffd(void)
{
	int status = 0;

	for (unsigned i = 0; i < 8 && !status; i++) {
		struct run run = preset(ANONMM_UFFD, i < 4 ? SWAP_FILE : SWAP_TIERS_FILE, 3000, 20 + i);

		run.faults = i & 1 ? ANONMM_FAULTS_SIGNAL : ANONMM_FAULTS_THREAD;
		run.copy = i & 2;
		status = run_and_say(run);
	}
	return status;
}

static int run_soft(void)
{
	int status = run_plain();

	if (!status)
		status = run_zram();
	return status ? status : run_threads();
}

static int usage(void)
{
	fprintf(stderr, "Usage: model [--seed N] [--ops N] [--validate N] [--machine soft|uffd] [--faults "
			"thread|signal]\n"
			"             [--copy] [--threads] [--swap URI] [--lossy] [--verbose] [--world N "
			"--record FILE]\n"
			"       model --set soft|uffd\n");
	return 2;
}

static int run_set(const char *name)
{
	if (!strcmp(name, "soft"))
		return run_soft();
	return strcmp(name, "uffd") ? usage() : run_uffd();
}

/* ---- The command ------------------------------------------------------------------------- */

static bool set_option(struct run *run, int option, const char *value)
{
	switch (option) {
	case 's':
		run->seed = strtoull(value, NULL, 0);
		return true;
	case 'o':
		run->ops = strtoul(value, NULL, 0);
		return true;
	case 'n':
		run->validate_every = strtoul(value, NULL, 0);
		return run->validate_every > 0;
	case 'm':
		run->kind = strcmp(value, "uffd") ? ANONMM_SOFT : ANONMM_UFFD;
		return true;
	case 'f':
		run->faults = strcmp(value, "signal") ? ANONMM_FAULTS_THREAD : ANONMM_FAULTS_SIGNAL;
		return true;
	case 'c':
		return run->copy = true;
	case 't':
		return run->threads = true;
	case 'l':
		return run->lossy = true;
	case 'v':
		return run->verbose = true;
	case 'w':
		snprintf(run->swap, sizeof(run->swap), "%s", value);
		return true;
	case 'W':
		run_set_world(run, (uint8_t)strtoul(value, NULL, 0));
		return true;
	case 'r':
		run->record = value;
		return true;
	default:
		return false;
	}
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"seed", required_argument, NULL, 's'},
		{"ops", required_argument, NULL, 'o'}, {"validate", required_argument, NULL, 'n'},
		{"machine", required_argument, NULL, 'm'}, {"faults", required_argument, NULL, 'f'},
		{"copy", no_argument, NULL, 'c'}, {"threads", no_argument, NULL, 't'},
		{"swap", required_argument, NULL, 'w'}, {"lossy", no_argument, NULL, 'l'},
		{"verbose", no_argument, NULL, 'v'}, {"world", required_argument, NULL, 'W'},
		{"record", required_argument, NULL, 'r'}, {0}};
	struct run run = preset(ANONMM_SOFT, SWAP_GOOD, 10000, 1);
	int option;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc == 3 && !strcmp(argv[1], "--set"))
		return run_set(argv[2]);
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		if (!set_option(&run, option, optarg))
			return usage();
	if (optind < argc)
		return usage();
	if (run.threads && run.kind == ANONMM_UFFD) {
		fprintf(stderr,
			"model: --threads: each has a space of its own, and real memory has one space\n");
		return 2;
	}
	return run_and_say(run);
}

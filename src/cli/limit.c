/* SPDX-License-Identifier: MIT */
/* `anonmm limit`: set another limit for a running program, and wait until it holds. */
#include "cli/cli.h"
#include "cli/live.h"
#include "run/tree/ledger.h"
#include "host/host.h"
#include "base/size.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_NS (50 * 1000000LL)
#define TIMEOUT_S 60

static const char help[] =
	"usage: anonmm limit [OPTION]... PID SIZE|PERCENT\n"
	"\n"
	"Change the limit of a program that runs under anonmm, and of all processes that share it, and wait "
	"until it holds. What is in use "
	"beyond a lower limit goes\n"
	"to swap in the background, and its memory back to the host. A higher one is possible up to what\n"
	"`anonmm run --memory-max` made room for. Of a program with --memory auto it changes the most that "
	"it takes.\n"
	"\n"
	"options:\n"
	"  --timeout SECONDS  how long to wait; default 60, 0: not at all\n"
	"  --help             this text\n"
	"\n"
	"exit status: 0: the limit holds; 1: it was refused, or is not reached yet. 125: anonmm failed.\n";

struct limit_options {
	pid_t pid;
	uint64_t bytes;
	long timeout_s;
};

static int take_arguments(struct limit_options *limit, char **argv)
{
	if (!live_parse_pid(argv[0], &limit->pid))
		return EXIT_OURS + 1;
	if (size_parse_share(argv[1], memory_of_host(), &limit->bytes) == 0)
		return 0;
	cli_say("'%s' is not a size; write it as 64M or 1.5G, or a share as 25%%", argv[1]);
	return EXIT_OURS + 1;
}

static int take_options(struct limit_options *limit, int argc, char **argv)
{
	static const struct option options[] = {{"timeout", required_argument, NULL, 't'},
		{"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
	int option;
	char *end;

	argv[0] = "anonmm limit";
	while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (option == 'h') {
			fputs(help, stdout);
			return 0 + 1;
		}
		if (option != 't') {
			fputs("anonmm: `anonmm limit --help` tells the options\n", stderr);
			return EXIT_OURS + 1;
		}
		limit->timeout_s = strtol(optarg, &end, 10);
		if (end == optarg || *end || limit->timeout_s < 0 || limit->timeout_s > 86400) {
			cli_say("--timeout %s: must be a number of seconds, 0 to 86400", optarg);
			return EXIT_OURS + 1;
		}
	}
	if (optind + 2 == argc)
		return take_arguments(limit, argv + optind);
	cli_say("limit takes the number of a process and a size; `anonmm limit --help` tells more");
	return EXIT_OURS + 1;
}

static int refuse(const struct live *live, uint64_t bytes, const char *why)
{
	char size[32];

	cli_say("process %d: a limit of %s cannot hold: %s", live->pid, size_text(bytes, size, sizeof(size)),
		why);
	return 1;
}

/* What the process itself cannot know, or says in frames. */
static int check(const struct live *live, uint64_t bytes)
{
	char why[200], most[32];

	if (bytes < ANONMM_MEMORY_MIN) {
		snprintf(why, sizeof(why), "at least %s are needed",
			size_text(ANONMM_MEMORY_MIN, most, sizeof(most)));
		return refuse(live, bytes, why);
	}
	if (bytes <= live->page->memory_max)
		return 0;
	snprintf(why, sizeof(why), "it was started with room for %s (anonmm run --memory-max)",
		size_text(live->page->memory_max, most, sizeof(most)));
	return refuse(live, bytes, why);
}

static bool is_reached(const struct status *seen, uint64_t bytes)
{
	if (seen->follows && live_limit(seen) > bytes)
		return false;
	if (seen->shared && seen->run_shares > max_u64(bytes, (uint64_t)seen->run_processes * LEDGER_FLOOR))
		return false;
	return seen->limit.frames_missing == 0;
}

/* Reached, stuck, ended, or out of patience. */
static int wait_until_reached(struct live *live, const struct limit_options *limit)
{
	uint64_t until = host_now_ns() + (uint64_t)limit->timeout_s * 1000000000;
	int error = 0;

	while (!error && !is_reached(&live->seen, limit->bytes) && host_now_ns() < until) {
		host_sleep(LOOK_NS);
		error = live_ask(live, STATUS_LOOK, 0, LIVE_TIMEOUT_MS);
		if (live->seen.limit.stalled && !live->seen.shared)
			break;
	}
	return error;
}

static int tell(const struct live *live, const struct limit_options *limit, int error, double seconds)
{
	const struct status *seen = &live->seen;
	char size[32], resident[32], missing[32];

	size_text(limit->bytes, size, sizeof(size));
	size_text(live_resident(seen), resident, sizeof(resident));
	if (error) {
		cli_say("process %d %s", live->pid,
			error == -ESRCH ? "has ended" : "does not answer any more");
		return 1;
	}
	if (is_reached(seen, limit->bytes)) {
		printf("process %d%s: limit %s, %s resident%s, after %.1f s\n", live->pid,
			seen->run_processes > 1 ? " and those that share with it" : "", size, resident,
			seen->run_processes > 1 ? " in this one" : "", seconds);
		return 0;
	}
	size_text((uint64_t)seen->limit.frames_missing * PAGE_BYTES, missing, sizeof(missing));
	cli_say("process %d: limit %s, not reached: %s resident, %s still to go%s", live->pid, size, resident,
		missing,
		seen->limit.stalled ? "; nothing more can leave: swap is full, or the rest is locked"
				    : "; it goes on in the background");
	return 1;
}

static int change(struct live *live, const struct limit_options *limit)
{
	int status = check(live, limit->bytes);

	if (status)
		return status;
	uint64_t start = host_now_ns();
	int error = live_ask(live, STATUS_LIMIT, limit->bytes, LIVE_TIMEOUT_MS);

	if (!error && live->seen.result)
		return refuse(live, limit->bytes, live->seen.why);
	if (!error)
		error = wait_until_reached(live, limit);
	return tell(live, limit, error, (double)(host_now_ns() - start) / 1e9);
}

int cmd_limit(int argc, char **argv)
{
	struct limit_options limit = {.timeout_s = TIMEOUT_S};
	struct live live = {0};
	char why[300];

	int done = take_options(&limit, argc, argv);
	if (done)
		return done - 1;
	if (live_open(limit.pid, &live, why, sizeof(why))) {
		cli_say("%s", why);
		return 1;
	}
	int status = change(&live, &limit);

	live_close(&live);
	return status;
}

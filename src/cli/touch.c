/* SPDX-License-Identifier: MIT */
/* `anonmm touch`: bring in pages of a running program, and print how many came in and how many did not. */
#include "cli/cli.h"
#include "cli/live.h"
#include "host/host.h"
#include "base/size.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#define TIMEOUT_S 60

static const char help[] =
	"usage: anonmm touch [OPTION]... PID [ADDRESS [SIZE]]\n"
	"\n"
	"Bring the memory of a program that runs under anonmm in, so that gdb and readers of /proc/PID/mem\n"
	"see it. Without ADDRESS all of it, as far as the limit has room: nothing goes out for it. With "
	"ADDRESS\n"
	"the SIZE bytes from there on (a page if SIZE is not given), for which others may go out.\n"
	"Pages may go out again as the program goes on. One that is stopped does not answer: touch first, "
	"then\n"
	"stop it; or use gdb's helper (share/gdb/anonmm.py).\n"
	"\n"
	"options:\n"
	"  --timeout SECONDS  how long to go on; default 60\n"
	"  --help             this text\n"
	"\n"
	"exit status: 0: all of it is in memory; 1: not all of it, or there is no such process. 125: anonmm "
	"failed.\n";

struct touch {
	struct live live;
	pid_t pid;
	uint64_t from, end;
	bool all; /* no range was given */
	long timeout_s;
	uint64_t until_ns;

	/* pages that were away before; pages that still are; how many of these cannot be brought in */
	uint64_t before, away, refused;
	bool full, late;
};

/* ---- Arguments ----------------------------------------------------------------------------------- */

static int take_range(struct touch *touch, int argc, char **argv)
{
	uint64_t bytes = PAGE_BYTES;
	char *end;

	touch->all = argc == 1;
	touch->end = UINT64_MAX;
	if (touch->all)
		return 0;
	touch->from = strtoull(argv[1], &end, 0);
	if (end == argv[1] || *end) {
		cli_say("'%s' is not an address; write it as 0x7f0012345000", argv[1]);
		return EXIT_OURS + 1;
	}
	if (argc > 2 && size_parse(argv[2], &bytes) < 0) {
		cli_say("'%s' is not a size; write it as 4096, 64K or 1M", argv[2]);
		return EXIT_OURS + 1;
	}
	touch->end = touch->from + bytes < touch->from ? UINT64_MAX : touch->from + bytes;
	touch->from = page_align_down(touch->from);
	return 0;
}

static int take_timeout(struct touch *touch)
{
	char *end;

	touch->timeout_s = strtol(optarg, &end, 10);
	if (end != optarg && !*end && touch->timeout_s > 0 && touch->timeout_s <= 86400)
		return 0;
	cli_say("--timeout %s: must be a number of seconds, 1 to 86400", optarg);
	return EXIT_OURS + 1;
}

static int take_options(struct touch *touch, int argc, char **argv)
{
	static const struct option options[] = {{"timeout", required_argument, NULL, 't'},
		{"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
	int option;

	argv[0] = "anonmm touch";
	while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (option == 'h') {
			fputs(help, stdout);
			return 0 + 1;
		}
		if (option != 't') {
			fputs("anonmm: `anonmm touch --help` tells the options\n", stderr);
			return EXIT_OURS + 1;
		}
		int done = take_timeout(touch);
		if (done)
			return done;
	}
	if (optind == argc || argc - optind > 3) {
		cli_say("touch takes the number of a process, perhaps an address and a size; `anonmm touch "
			"--help` tells "
			"more");
		return EXIT_OURS + 1;
	}
	if (!live_parse_pid(argv[optind], &touch->pid))
		return EXIT_OURS + 1;
	return take_range(touch, argc - optind, argv + optind);
}

/* ---- Asking -------------------------------------------------------------------------------------- */

static int answer_ms(const struct touch *touch)
{
	return (int)min_u64((uint64_t)touch->timeout_s * 1000, LIVE_TOUCH_MS);
}

/* Send requests until the range is done, there is no room, or the time is over. 0 or -errno */
static int go_through(struct touch *touch, enum touch_what what)
{
	const struct status *seen = &touch->live.seen;
	uint64_t at = touch->from;

	while (at < touch->end && !touch->full && !touch->late) {
		int error = live_touch(&touch->live, what, at, touch->end, answer_ms(touch));

		if (error)
			return error;
		if (what != TOUCH_ARMED)
			touch->refused += seen->touch_refused;
		touch->full = seen->touch_full;
		touch->late = host_now_ns() >= touch->until_ns;
		at = seen->touch_at;
	}
	return 0;
}

/*
 * Count the pages that are away. A fault also brings in pages beside its own, so only this tells how many came. 0 or
 * -errno
 */
static int count(struct touch *touch, uint64_t *away)
{
	int error = 0;

	for (uint64_t at = touch->from; at < touch->end && !error; at = touch->live.seen.touch_at) {
		error = live_touch(&touch->live, TOUCH_COUNT, at, touch->end, answer_ms(touch));
		*away += touch->live.seen.touch_pages;
	}
	return error;
}

/* What takes no room first. */
static int bring_in(struct touch *touch)
{
	int error = count(touch, &touch->before);

	if (!error)
		error = go_through(touch, TOUCH_ARMED);
	if (!error)
		error = go_through(touch, touch->all ? TOUCH_ROOM : TOUCH_ANYHOW);
	return error ? error : count(touch, &touch->away);
}

static const char *why_away(const struct touch *touch)
{
	if (touch->late)
		return "the time is over";
	if (touch->full)
		return "the limit has no room for more (`anonmm limit` changes it)";
	if (touch->refused >= touch->away)
		return "they may not be read, or they are lost";
	return "they went out again; the limit has no room for more";
}

static int tell(const struct touch *touch, int error)
{
	if (error) {
		cli_say("process %d %s", touch->pid,
			error == -ESRCH ? "has ended" : "does not answer: it is stopped, or very busy");
		return 1;
	}
	uint64_t in = touch->before > touch->away ? touch->before - touch->away : 0;

	if (!touch->away)
		printf("process %d: %lu pages brought in, none is away\n", touch->pid, in);
	else
		printf("process %d: %lu pages brought in, %lu are still away: %s\n", touch->pid, in,
			touch->away, why_away(touch));
	return touch->away ? 1 : 0;
}

int cmd_touch(int argc, char **argv)
{
	struct touch touch = {.timeout_s = TIMEOUT_S};
	char why[300];

	int done = take_options(&touch, argc, argv);
	if (done)
		return done - 1;
	if (live_open(touch.pid, &touch.live, why, sizeof(why))) {
		cli_say("%s", why);
		return 1;
	}
	touch.until_ns = host_now_ns() + (uint64_t)touch.timeout_s * 1000000000;
	int status = tell(&touch, bring_in(&touch));

	live_close(&touch.live);
	return status;
}

/* SPDX-License-Identifier: MIT */
/* `anonmm stat`: print all counters of one running program, once or at intervals. */
#include "cli/cli.h"
#include "cli/live.h"
#include "base/size.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define HEAD_EVERY 20

static const char help[] =
	"usage: anonmm stat [OPTION]... PID\n"
	"\n"
	"Show what the memory of a running program does. The counters are those of `anonmm run --stats "
	"--json`.\n"
	"\n"
	"options:\n"
	"  --interval SECONDS  a line each so many seconds, with what happened in them, until the program "
	"ends\n"
	"  --json              as a JSON object, with --interval one a line\n"
	"  --help              this text\n"
	"\n"
	"exit status: 0; 1: there is no such program, or it does not answer. 125: anonmm failed.\n";

struct stat_options {
	pid_t pid;
	double interval_s; /* 0: once */
	bool json;
};

/* As take_option() of run.c: 0, or the exit status plus one. */
static int take_options(struct stat_options *stat, int argc, char **argv)
{
	static const struct option options[] = {{"interval", required_argument, NULL, 'i'},
		{"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
	int option;
	char *end;

	argv[0] = "anonmm stat";
	while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (option == 'h') {
			fputs(help, stdout);
			return 0 + 1;
		}
		if (option == 'j') {
			stat->json = true;
		} else if (option == 'i') {
			stat->interval_s = strtod(optarg, &end);
			if (*end || !(stat->interval_s >= 0.01 && stat->interval_s <= 86400)) {
				cli_say("--interval %s: must be a number of seconds, 0.01 to 86400", optarg);
				return EXIT_OURS + 1;
			}
		} else {
			fputs("anonmm: `anonmm stat --help` tells the options\n", stderr);
			return EXIT_OURS + 1;
		}
	}
	if (optind + 1 == argc)
		return live_parse_pid(argv[optind], &stat->pid) ? 0 : EXIT_OURS + 1;
	cli_say("stat takes the number of one process; `anonmm ps` lists them");
	return EXIT_OURS + 1;
}

static void print_head(const struct live *live)
{
	const struct status *seen = &live->seen;
	char command[200], limit[32], share[32], most[32], resident[32], swapped[32];

	live_command(live, command, sizeof(command));
	printf("%-18s %d\n%-18s %s\n", "pid", live->pid, "command", command);
	printf("%-18s %s%s\n", "limit", size_text(live_limit(seen), limit, sizeof(limit)),
		seen->follows ? ", follows the host" : "");
	if (seen->shared)
		printf("%-18s %s, of %s that %u processes have\n", "share",
			size_text(seen->limit.bytes, share, sizeof(share)),
			size_text(seen->run_shares, limit, sizeof(limit)), seen->run_processes);
	printf("%-18s %s\n", "memory_max", size_text(seen->memory_max, most, sizeof(most)));
	printf("%-18s %s\n%-18s %s\n", "resident", size_text(live_resident(seen), resident, sizeof(resident)),
		"swapped", size_text(live_swapped(seen), swapped, sizeof(swapped)));
	printf("%-18s %s\n%-18s %s\n%-18s %s\n\n", "swap", seen->swap, "faults_mode",
		seen->record.faults == ANONMM_FAULTS_SIGNAL ? "signal" : "thread", "pages_are",
		seen->record.copies ? "copied" : "moved");
}

static void print_all(const struct live *live)
{
	const struct stats_field *field;

	print_head(live);
	for (size_t i = 0; (field = stats_field(i)); i++)
		printf("%-18s %15lu%s\n", field->name, stats_get(&live->seen.record.stats, field),
			field->is_state ? "  =" : "");
}

static void print_json(const struct live *live)
{
	const struct status *seen = &live->seen;
	char command[1024];

	live_command(live, command, sizeof(command));
	printf("{\"pid\": %d, \"command\": ", live->pid);
	json_text(stdout, command);
	printf(", \"limit_bytes\": %lu, \"shared\": %s, \"share_bytes\": %lu, \"run_shares_bytes\": %lu, "
	       "\"run_processes\": %u, \"follows_host\": %s, \"memory_max_bytes\": %lu, \"resident_bytes\": "
	       "%lu, "
	       "\"swapped_bytes\": %lu, \"frames_missing\": %u, \"faults_mode\": \"%s\", \"swap\": ",
		live_limit(seen), seen->shared ? "true" : "false", seen->limit.bytes, seen->run_shares,
		seen->run_processes, seen->follows ? "true" : "false", seen->memory_max, live_resident(seen),
		live_swapped(seen), seen->limit.frames_missing,
		seen->record.faults == ANONMM_FAULTS_SIGNAL ? "signal" : "thread");
	json_text(stdout, seen->swap);
	fputs(", \"stats\": ", stdout);
	json_stats(stdout, &seen->record.stats);
	puts("}");
}

static void print_line(const struct status *before, const struct status *now)
{
	double s = (double)(now->now_ns - before->now_ns) / 1e9;
	char limit[32], resident[32], swapped[32];

#define RATE(member) (s > 0 ? (double)(now->record.stats.member - before->record.stats.member) / s : 0.0)
	printf("%11s %11s %11s %9.0f %9.0f %9.0f %9.0f %9.0f %9.0f\n",
		size_text(now->limit.bytes, limit, sizeof(limit)),
		size_text(live_resident(now), resident, sizeof(resident)),
		size_text(live_swapped(now), swapped, sizeof(swapped)), RATE(faults), RATE(major_faults),
		RATE(born), RATE(swapped_in), RATE(swapped_out), RATE(written));
#undef RATE
}

static void print_line_head(void)
{
	printf("%11s %11s %11s %9s %9s %9s %9s %9s %9s\n", "limit", "resident", "swapped", "faults/s",
		"major/s", "born/s", "in/s", "out/s", "written/s");
}

/* Until the program ends, which is the good end of this. */
static int watch(struct live *live, const struct stat_options *stat)
{
	struct timespec pause = {(time_t)stat->interval_s,
		(long)((stat->interval_s - (double)(time_t)stat->interval_s) * 1e9)};

	for (unsigned line = 0;; line++) {
		struct status before = live->seen;

		if (stat->json)
			print_json(live);
		else if (line % HEAD_EVERY == 0)
			print_line_head();
		fflush(stdout);
		nanosleep(&pause, NULL);
		int error = live_ask(live, STATUS_LOOK, 0, LIVE_TIMEOUT_MS);

		if (error == -ESRCH)
			return 0;
		if (!error && !stat->json)
			print_line(&before, &live->seen);
		if (ferror(stdout))
			return EXIT_OURS;
	}
}

int cmd_stat(int argc, char **argv)
{
	struct stat_options stat = {0};
	struct live live = {0};
	char why[300];

	int done = take_options(&stat, argc, argv);
	if (done)
		return done - 1;
	if (live_open(stat.pid, &live, why, sizeof(why))) {
		cli_say("%s", why);
		return 1;
	}
	int status = 0, error = live_ask(&live, STATUS_LOOK, 0, LIVE_TIMEOUT_MS);

	if (error) {
		cli_say("process %d does not answer%s", stat.pid,
			error == -ESRCH ? ": it has ended" : ": is it stopped?");
		status = 1;
	} else if (stat.interval_s > 0) {
		status = watch(&live, &stat);
	} else if (stat.json) {
		print_json(&live);
	} else {
		print_all(&live);
	}
	live_close(&live);
	return status;
}

/* SPDX-License-Identifier: MIT */
/* `anonmm ps`: the managed processes of this user. */
#include "cli/cli.h"
#include "cli/live.h"
#include "base/size.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char help[] =
	"usage: anonmm ps [--json]\n"
	"\n"
	"List the programs of this user that run under anonmm, with what they did in one second.\n"
	"\n"
	"options:\n"
	"  --json  the same as a JSON array\n"
	"  --help  this text\n"
	"\n"
	"LIMIT is the limit, with a + where it follows the host (--memory auto). The processes of one "
	"`anonmm "
	"run` have it together,\n"
	"and SHARE is what each may take of it now; - where each has a limit of its own (--per-process). "
	"RESIDENT "
	"and SWAPPED\n"
	"are managed memory in RAM and in swap. A program that does not answer (it is stopped, or ends just "
	"now) has a - for its "
	"faults.\n";

/* A row: two looks a second apart. */
struct row {
	struct live *live;
	uint64_t first_faults, first_ns;
	int error;
	double faults_per_s;
};

static void look_first(struct row *row)
{
	row->error = live_ask(row->live, STATUS_LOOK, 0, LIVE_TIMEOUT_MS / 4);
	row->first_faults = row->live->seen.record.stats.faults;
	row->first_ns = row->live->seen.now_ns;
}

static void look_again(struct row *row)
{
	if (row->error)
		return;
	row->error = live_ask(row->live, STATUS_LOOK, 0, LIVE_TIMEOUT_MS / 4);
	uint64_t ns = row->live->seen.now_ns - row->first_ns;

	if (!row->error && ns > 0)
		row->faults_per_s =
			(double)(row->live->seen.record.stats.faults - row->first_faults) * 1e9 / (double)ns;
}

static void print_row(const struct row *row)
{
	const struct status *seen = &row->live->seen;
	char command[64], limit[32], share[32] = "-", resident[32], swapped[32], faults[32] = "-";

	live_command(row->live, command, sizeof(command));
	size_text(live_limit(seen), limit, sizeof(limit) - 1);
	if (seen->follows)
		memcpy(limit + strlen(limit), "+", 2);
	if (seen->shared)
		size_text(seen->limit.bytes, share, sizeof(share));
	if (!row->error)
		snprintf(faults, sizeof(faults), "%.0f", row->faults_per_s);
	printf("%7d  %-24.24s %11s %11s %11s %11s %9s  %s\n", row->live->pid, command, limit, share,
		size_text(live_resident(seen), resident, sizeof(resident)),
		size_text(live_swapped(seen), swapped, sizeof(swapped)), faults, seen->swap);
}

static void print_json_row(const struct row *row, bool first)
{
	const struct status *seen = &row->live->seen;
	char command[1024];

	live_command(row->live, command, sizeof(command));
	printf("%s\n  {\"pid\": %d, \"command\": ", first ? "" : ",", row->live->pid);
	json_text(stdout, command);
	printf(", \"answers\": %s, \"limit_bytes\": %lu, \"shared\": %s, \"share_bytes\": %lu, "
	       "\"follows_host\": %s, \"resident_bytes\": %lu, "
	       "\"swapped_bytes\": %lu, \"faults_per_second\": %.1f, \"swap\": ",
		row->error ? "false" : "true", live_limit(seen), seen->shared ? "true" : "false",
		seen->limit.bytes, seen->follows ? "true" : "false", live_resident(seen), live_swapped(seen),
		row->faults_per_s);
	json_text(stdout, seen->swap);
	putchar('}');
}

static void print_all(const struct row *rows, unsigned nr, bool json)
{
	bool first = true;

	if (json)
		putchar('[');
	else if (nr)
		printf("%7s  %-24s %11s %11s %11s %11s %9s  %s\n", "PID", "COMMAND", "LIMIT", "SHARE",
			"RESIDENT", "SWAPPED", "FAULTS/S", "SWAP");
	else
		puts("No program of this user is being managed.");
	for (unsigned i = 0; i < nr; i++) {
		if (rows[i].error == -ESRCH)
			continue;
		if (json)
			print_json_row(&rows[i], first);
		else
			print_row(&rows[i]);
		first = false;
	}
	if (json)
		puts("\n]");
}

static int list(bool json)
{
	struct live *all;
	unsigned nr = live_list(geteuid(), &all);
	struct row *rows = calloc(nr + 1, sizeof(*rows));

	if (!rows) {
		cli_say("no memory for %u rows", nr);
		return EXIT_OURS;
	}
	for (unsigned i = 0; i < nr; i++) {
		rows[i].live = &all[i];
		look_first(&rows[i]);
	}
	if (nr)
		nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
	for (unsigned i = 0; i < nr; i++)
		look_again(&rows[i]);
	print_all(rows, nr, json);
	for (unsigned i = 0; i < nr; i++)
		live_close(&all[i]);
	free(rows);
	free(all);
	return 0;
}

int cmd_ps(int argc, char **argv)
{
	static const struct option options[] = {
		{"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
	bool json = false;
	int option;

	argv[0] = "anonmm ps";
	while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (option == 'h') {
			fputs(help, stdout);
			return 0;
		}
		if (option != 'j') {
			fputs("anonmm: `anonmm ps --help` tells the options\n", stderr);
			return EXIT_OURS;
		}
		json = true;
	}
	if (optind < argc) {
		cli_say("ps takes no argument '%s'; `anonmm stat PID` shows one program", argv[optind]);
		return EXIT_OURS;
	}
	return list(json);
}

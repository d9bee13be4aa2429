/* SPDX-License-Identifier: MIT */
/*
 * The command line. One file per subcommand; main.c only looks its name up in a table.
 *
 * Exit statuses are those of env(1) and its kin: what we start passes its own on; 125 is our own
 * failure, with a line that says why; 126: it cannot be run; 127: it is not there.
 */
#ifndef ANONMM_CLI_H
#define ANONMM_CLI_H

#include "anonmm.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum {
	EXIT_OURS = 125,
	EXIT_CANNOT_RUN = 126,
	EXIT_NOT_FOUND = 127,
	EXIT_SIGNAL = 128, /* plus the signal's number */
};

#define DEFAULT_SWAP_PATH "/var/tmp"
#define DEFAULT_SWAP "zram:,file:" DEFAULT_SWAP_PATH

struct command {
	const char *name;
	int (*main)(int argc, char **argv); /* argv[0] is the subcommand's name */
	const char *help; /* one line */
};

int cmd_doctor(int argc, char **argv);
int cmd_limit(int argc, char **argv);
int cmd_ps(int argc, char **argv);
int cmd_run(int argc, char **argv);
int cmd_stat(int argc, char **argv);
int cmd_touch(int argc, char **argv);
int cmd_walk(int argc, char **argv);

/* "anonmm: ..." and a newline on standard error. */
void cli_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- program.c: what is to be started ------------------------------------------------------- */

/*
 * Find @name as execvp() would, and see that a library can be preloaded into it. 0, and the path; or the exit
 * status that it deserves, after a message.
 */
int program_check(const char *name, char *path, size_t path_len);

/* ---- machine.c: can it be managed here? ------------------------------------------------------ */

/* Open, and close again, what the library in a program will open. 0, or -errno and words. */
int machine_check(enum anonmm_faults faults, bool copy, char *why, size_t why_len);
/* The same, and AUTO becomes what it is on this host by src/run/faults.h (machine_open() in src/run/preload.c does alike). */
int machine_choose(enum anonmm_faults *faults, const char **reason, bool copy, char *why, size_t why_len);

/* ---- json.c ---------------------------------------------------------------------------------- */

/* In quotes. Whatever its encoding is, each byte beyond ASCII is the character of that number: valid always. */
void json_text(FILE *out, const char *text);

/* ---- memory.c: how much there is ------------------------------------------------------------ */

/* The smaller of physical memory and what the control groups (v1, v2) of this process allow. */
uint64_t memory_of_host(void);

/* ---- report.c: what was counted ------------------------------------------------------------- */

struct stats_field {
	const char *name;
	size_t offset; /* of a uint64_t in struct anonmm_stats */
	bool is_state; /* not a counter */
};

/* @i-th field; NULL: there is none. */
const struct stats_field *stats_field(size_t i);
uint64_t stats_get(const struct anonmm_stats *stats, const struct stats_field *field);
/* An object with all of them. */
void json_stats(FILE *out, const struct anonmm_stats *stats);

struct record_header;

struct report {
	char *const *command;
	const struct record_header *records; /* the shared file, mapped as a whole */
	const char *swap; /* URI, or "none" */
	uint64_t memory_bytes;
	uint64_t peak_bytes; /* the largest process as wait4 told it */
	double seconds;
	int status; /* as we pass it on */
};

/* As a table, or as JSON. 0 or -errno of writing. */
int report_write(int fd, const struct report *report, bool json);

#endif

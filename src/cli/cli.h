/* SPDX-License-Identifier: MIT */
/*
 * The command line. There is one file per subcommand. main.c looks its name up in a table.
 *
 * Exit statuses are as those of env(1): the status of the program that was started; 125 if anonmm itself failed, with
 * a line that says why; 126 if the program cannot be run; 127 if it does not exist.
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

/* Write "anonmm: ", the text and a newline to standard error. */
void cli_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- program.c: the program to start --------------------------------------------------------- */

/*
 * Find @name as execvp() would, and check that a library can be preloaded into it. 0 and @path; or an exit status,
 * after a message.
 */
int program_check(const char *name, char *path, size_t path_len);

/* ---- machine.c: can a program be managed on this host? --------------------------------------- */

/* Open what the library in a program will open, and close it again. 0, or -errno and @why. */
int machine_check(enum anonmm_faults faults, bool copy, char *why, size_t why_len);
/*
 * As machine_check(). If *faults is AUTO, it becomes the mode that src/run/faults.h chooses on this host, and *reason
 * says why. machine_open() in src/run/preload.c chooses in the same way.
 */
int machine_choose(enum anonmm_faults *faults, const char **reason, bool copy, char *why, size_t why_len);

/* ---- json.c ---------------------------------------------------------------------------------- */

/*
 * Write @text in quotes. Each byte beyond ASCII is written as the character of that number, so the output is always
 * valid.
 */
void json_text(FILE *out, const char *text);

/* ---- memory.c: memory of the host ------------------------------------------------------------ */

/* The smaller of physical memory and what the control groups (v1, v2) of this process allow, in bytes. */
uint64_t memory_of_host(void);

/* ---- report.c: the counters ------------------------------------------------------------------ */

struct stats_field {
	const char *name;
	size_t offset; /* of a uint64_t in struct anonmm_stats */
	bool is_state; /* a state of now; false: a counter */
};

/* The @i-th field; NULL: there is none. */
const struct stats_field *stats_field(size_t i);
uint64_t stats_get(const struct anonmm_stats *stats, const struct stats_field *field);
/* Write all fields as a JSON object. */
void json_stats(FILE *out, const struct anonmm_stats *stats);

struct ledger;

struct report {
	char *const *command;
	const struct ledger *ledger; /* of the run */
	const char *swap; /* URI, or "none" */
	uint64_t memory_bytes; /* the limit */
	uint64_t peak_bytes; /* peak resident memory of the largest process, from wait4() */
	double seconds;
	int status; /* the exit status that `anonmm run` will have */
};

/* Write the report as a table or as JSON. 0, or the -errno of writing. */
int report_write(int fd, const struct report *report, bool json);

#endif

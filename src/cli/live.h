/* SPDX-License-Identifier: MIT */
/* Managed processes that are running: find them by their status files, and send them requests (run/tree/status.h). */
#ifndef ANONMM_LIVE_H
#define ANONMM_LIVE_H

#include "run/tree/status.h"

struct live {
	pid_t pid;
	int fd; /* the status file, for its lock */
	struct status *page; /* the status file, mapped */
	struct status seen; /* a copy of the last answer */
};

/* Read a process number from @text. false: it is none, and a message was printed. */
bool live_parse_pid(const char *text, pid_t *pid);

/* Open the managed process @pid. 0, or -errno and @why. */
int live_open(pid_t pid, struct live *live, char *why, size_t why_len);
void live_close(struct live *live);

/*
 * Open all managed processes of user @uid, sorted by number, and remove the files of processes that have ended.
 * Returns how many there are. The caller closes each one and frees *@all.
 */
unsigned live_list(uid_t uid, struct live **all);

/* Remove the status files of processes of @uid that have ended. */
void live_sweep(uid_t uid);

/*
 * Send @request and wait for the answer. @bytes: of STATUS_LIMIT.
 * => 0: live->seen is the answer; seen.result is the result of the request
 * => -ETIMEDOUT: no answer within @timeout_ms, for example from a stopped process. live->seen is what the page has
 * now
 * => -ESRCH: the process has ended
 */
int live_ask(struct live *live, enum status_request request, uint64_t bytes, int timeout_ms);

/* Send STATUS_TOUCH for [from, end). As live_ask(). The next request goes on at seen.touch_at. */
int live_touch(struct live *live, enum touch_what what, uint64_t from, uint64_t end, int timeout_ms);

/* The limit that binds the process, in bytes: its own, or that of its run. */
uint64_t live_limit(const struct status *status);
/* Bytes of managed memory that are resident; that are in swap. */
uint64_t live_resident(const struct status *status);
uint64_t live_swapped(const struct status *status);

/* Write the process's command line from /proc, or the name that it had at its start. */
void live_command(const struct live *live, char *text, size_t len);

#define LIVE_TIMEOUT_MS 1000
#define LIVE_TOUCH_MS 10000 /* reading some hundred pages from a slow disk takes that long */

#endif

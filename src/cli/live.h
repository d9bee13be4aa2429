/* SPDX-License-Identifier: MIT */
/* Managed processes that are running: found by their status files, and asked (run/status.h). */
#ifndef ANONMM_LIVE_H
#define ANONMM_LIVE_H

#include "run/tree/status.h"

struct live {
	pid_t pid;
	int fd; /* [of the file, to lock it] */
	struct status *page; /* mapped */
	struct status seen; /* as it was answered last */
};

/* false: @text is no number of a process, and that was said. */
bool live_parse_pid(const char *text, pid_t *pid);

/* The managed process @pid. 0, or -errno and words. */
int live_open(pid_t pid, struct live *live, char *why, size_t why_len);
void live_close(struct live *live);

/*
 * Those of user @uid, sorted by number: *@all is to be freed after each was closed. Returns how many. Files of
 * processes that have gone are removed meanwhile.
 */
unsigned live_list(uid_t uid, struct live **all);

/* Remove what processes that were killed have left of themselves. */
void live_sweep(uid_t uid);

/*
 * Have @request done and see what there is then. 0: live->seen is the answer, its result among it. -ETIMEDOUT: it did not
 * answer in @timeout_ms (a stopped process does not); seen is what was there. -ESRCH: it has gone.
 */
int live_ask(struct live *live, enum status_request request, uint64_t bytes, int timeout_ms);

/* STATUS_TOUCH for [from, end): as live_ask(). seen->touch_at says where the next one goes on. */
int live_touch(struct live *live, enum touch_what what, uint64_t from, uint64_t end, int timeout_ms);

/* The limit that binds the process: its own, or that of its run. */
uint64_t live_limit(const struct status *status);
/* Bytes of managed memory that are resident, and that are in swap. */
uint64_t live_resident(const struct status *status);
uint64_t live_swapped(const struct status *status);

/* Its command line as /proc has it, or the name that it had at its start. */
void live_command(const struct live *live, char *text, size_t len);

#define LIVE_TIMEOUT_MS 1000
#define LIVE_TOUCH_MS 10000 /* some hundred pages from a slow disk */

#endif

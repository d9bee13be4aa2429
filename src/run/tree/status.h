/* SPDX-License-Identifier: MIT */
/*
 * What a managed process shows of itself while it runs, and where it takes requests: a page of a file. `anonmm ps`,
 * `stat`, `limit` and `touch` map the same page.
 *
 *      DIRECTORY/anonmm-UID/PID     DIRECTORY: $XDG_RUNTIME_DIR, /run/user/UID or /tmp, the first that works
 *
 * The directory has mode 0700 and the file 0600. Whoever opens one checks its owner and mode first. The process makes
 * the file when it starts and removes it when it ends. A process that was killed leaves the file behind: the reader
 * compares start_time with that of the process that has the number now.
 *
 * A request takes these steps:
 *
 *   asker    locks the file (flock), writes the question, increments asked, sets kick to 1 and wakes its sleeper
 *   kswapd   sleeps on kick. It copies the question, does what is asked, writes the answer, sets answered to asked and
 *            wakes its sleeper
 *
 * An asker that gets no answer unlocks the file after a while, or is killed. The next asker may then write its question
 * while kswapd reads the old one. So question_of says which request the question belongs to, and kswapd looks at it
 * before and after it copies.
 *
 * No thread of the program is interrupted, and no thread exists for requests alone.
 */
#ifndef ANONMM_STATUS_H
#define ANONMM_STATUS_H

#include "base/base.h"
#include "mm/pager.h"
#include "run/tree/ledger.h"

#include <sys/types.h>

#define STATUS_MAGIC 0x737461746d6e6f32ULL /* the lowest byte is the version of the format, a digit */
#define STATUS_BYTES PAGE_BYTES

enum status_request {
	STATUS_LOOK, /* write the fields from now_ns on */
	STATUS_LIMIT, /* set the limit to bytes, then as STATUS_LOOK */
	STATUS_TOUCH, /* go through some pages of [from, end) (touch.c), then as STATUS_LOOK */
};

enum touch_what {
	TOUCH_ARMED, /* show pages that are in memory and not at their addresses: this takes no frame */
	TOUCH_ROOM, /* bring in pages that are out, while there are free frames or the limit can grow */
	TOUCH_ANYHOW, /* bring in pages that are out; other pages may go out for them */
	TOUCH_COUNT, /* only count the pages that are armed or out */
};

struct status_question {
	uint32_t request; /* enum status_request */
	uint32_t touch_what; /* enum touch_what, of STATUS_TOUCH */
	uint64_t bytes; /* of STATUS_LIMIT */
	uint64_t from, end; /* addresses, of STATUS_TOUCH */
};

/* Locks: [I] set before magic  [f] the file's lock  [a] atomic  [k] kswapd, after asked and before answered */
struct status {
	_Atomic(uint64_t) magic; /* [a] written last */
	uint64_t bytes; /* [I] size of this structure: a reader of another build must not read further */
	uint64_t start_time; /* [I] of the process, as field 22 of /proc/PID/stat */
	uint64_t pid_ns; /* [I] inode of the process's PID namespace */
	uint64_t memory_max; /* [I] bytes: the limit can be set no higher */
	char swap[256]; /* [I] a device's URI, or "none" */

	_Atomic(uint32_t) kick; /* [a] 1: kswapd shall run, for a request or for reclaim. A futex */
	_Atomic(uint32_t) asked, answered; /* [a] counts of requests; equal: none is open. Futex: answered */
	_Atomic(uint32_t)
		question_of; /* [f] the value of asked that question belongs to; 0: it is being written */
	struct status_question question; /* [f] */

	uint32_t touch_full; /* [k] 1: there was no frame for the page at touch_at */
	uint64_t touch_at; /* [k] the next request goes on at this address; question.end: nothing is left */
	uint64_t touch_pages,
		touch_refused; /* [k] pages that were brought in or counted; pages that could not be read */

	int32_t result; /* [k] of STATUS_LIMIT: 0 or -errno */
	uint32_t follows; /* [I] 1: the limit follows the host (--memory auto) */
	char why[200]; /* [k] result in words */
	uint64_t now_ns; /* [k] CLOCK_MONOTONIC */
	uint32_t
		shared; /* [k] 1: all processes of the run share one limit, and limit.bytes is a share of it */
	uint32_t run_processes; /* [k] */
	uint64_t run_limit, run_shares; /* [k] bytes: the run's limit, and the sum of all shares */
	struct pager_limit limit; /* [k] */
	struct record record; /* a copy of the program's record. [k] its stats, [I] the rest */
};

_Static_assert(sizeof(struct status) <= STATUS_BYTES, "a status fits its page");

/* Write to @path the @i-th directory to search for files of user @uid. false: no @i-th exists, or @len is too small. */
bool status_directory(unsigned i, uid_t uid, char *path, size_t len);

/*
 * Open the directory @path. @make: make it first where it does not exist.
 * => a descriptor, or -errno. -EACCES: the directory is not @uid's, or its mode lets others in
 */
int status_open_directory(const char *path, uid_t uid, bool make);

/*
 * Ask the process of @page, and wait for the answer: 0, or -ETIMEDOUT. => the caller has the lock of the file; it keeps it
 * until it has read the answer
 */
int status_ask(struct status *page, const struct status_question *question, int timeout_ms);

/* Do what is asked of the process of @page, this one, and answer. => kswapd thread */
void status_serve(void *page);

/* Field 22 of /proc/PID/stat; 0: there is no such process, or /proc does not show it. */
uint64_t status_start_time(pid_t pid);

/*
 * Has process @pid ended, or has its number been given to another process? @started: the low 32 bits of its start
 * time; 0: not known. A zombie has ended: its memory is free. false also where /proc does not show the process.
 */
bool status_has_gone(pid_t pid, uint32_t started);

/* Inode of this process's PID namespace; 0: not known. */
uint64_t status_pid_ns(void);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * What a managed process shows of itself while it runs, and where it takes orders: a page of a file that
 * `anonmm ps`, `stat` and `limit` map as well.
 *
 *      DIRECTORY/anonmm-UID/PID     DIRECTORY: $XDG_RUNTIME_DIR, /run/user/UID or /tmp, the first that there is
 *
 * The directory has mode 0700, the file 0600; both are looked at before they are trusted. The process makes the file when
 * it starts and removes it when it ends. One that was killed leaves it behind: status_is_stale() tells.
 *
 * A request: the asker holds a lock on the file (flock), writes request and its argument, moves asked, sets kick and wakes
 * who sleeps on it: the process's kswapd, which does what is asked, writes the answer, moves answered and wakes
 * who sleeps on that. Nobody is interrupted, and no thread exists for it.
 */
#ifndef ANONMM_STATUS_H
#define ANONMM_STATUS_H

#include "base/base.h"
#include "anonmm.h"
#include "mm/pager.h"

#include <sys/types.h>

#define STATUS_MAGIC 0x737461746d6e6f6eULL
#define STATUS_BYTES PAGE_BYTES

enum status_request {
	STATUS_LOOK, /* write down what there is to see */
	STATUS_LIMIT, /* and first set the limit to request_bytes */
	STATUS_TOUCH, /* go through the pages of [request_from, request_end), or a part of them (touch.c) */
};

enum touch_what {
	TOUCH_ARMED, /* show what is in memory and not at its address: that takes no room */
	TOUCH_ROOM, /* bring in what is out, as long as there is room */
	TOUCH_ANYHOW, /* bring in what is out; others may go out for it */
	TOUCH_COUNT, /* only count what is away */
};

/* Locks: [I] set before magic  [f] the file's lock  [a] atomic  [k] kswapd, between asked and answered */
struct status {
	_Atomic(uint64_t) magic; /* [a] written last */
	uint64_t bytes; /* [I] of this structure: another build's is not ours to read */
	uint64_t start_time; /* [I] of the process, as /proc/PID/stat has it */
	uint64_t pid_ns; /* [I] inode of the process's namespace */
	int32_t pid; /* [I] */
	uint32_t faults, copies; /* [I] as in struct record */
	uint64_t memory_max; /* [I] */
	char name[64]; /* [I] */
	char swap[256]; /* [I] a device's URI, or "none" */

	_Atomic(uint32_t) kick; /* [a] 1: kswapd is wanted, for this or for its own work */
	_Atomic(uint32_t) asked, answered; /* [a] */
	uint32_t request; /* [f] */
	uint64_t request_bytes; /* [f] */
	uint64_t request_from, request_end; /* [f] */
	uint32_t touch_what; /* [f] enum touch_what */

	uint32_t touch_full; /* [k] 1: there was no room for more */
	uint64_t touch_at; /* [k] how far it got: where the next request goes on, or the end */
	uint64_t touch_pages,
		touch_refused; /* [k] pages that were brought in, or counted; that could not be */

	int32_t result; /* [k] 0 or -errno */
	uint32_t follows; /* [k] the limit follows the host (--memory auto) */
	char why[200]; /* [k] result in words */
	uint64_t now_ns; /* [k] CLOCK_MONOTONIC */
	uint32_t
		shared; /* [k] 1: the limit is one for all processes of the run, and limit.bytes a share of it */
	uint32_t run_processes; /* [k] */
	uint64_t run_limit, run_shares; /* [k] bytes: the limit, and what all have of it */
	struct pager_limit limit; /* [k] */
	struct anonmm_stats stats; /* [k] */
};

_Static_assert(sizeof(struct status) <= STATUS_BYTES, "a status fits its page");

/* The directories to look in, in order, for the files of user @uid. false: there is no @i-th. */
bool status_directory(unsigned i, uid_t uid, char *path, size_t len);

/* An open directory that nobody but @uid can write to, or -errno. @make: make it if need be. */
int status_open_directory(const char *path, uid_t uid, bool make);

/* Field 22 of /proc/PID/stat; 0: there is no such process. */
uint64_t status_start_time(pid_t pid);

/*
 * Has the process @pid gone that started at @started (the low bits of its start time; 0: not known)? One that is dead and
 * that nobody has waited for has gone: its memory is free.
 */
bool status_has_gone(pid_t pid, uint32_t started);

/* The namespace that this process's numbers of processes belong to. */
uint64_t status_pid_ns(void);

#endif

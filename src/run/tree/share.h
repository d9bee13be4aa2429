/* SPDX-License-Identifier: MIT */
/* This process's part of the run's limit: what share.c, share_thread.c and share_view.c share. */
#ifndef ANONMM_SHARE_H
#define ANONMM_SHARE_H

#include "host/lock.h"
#include "host/thread.h"
#include "run/run.h"
#include "run/tree/ledger.h"

#define SHARE_STACK_BYTES (64 * KIB)

/*
 * ledger->told: has the user been told that the floors do not fit the limit? TOLD_SOON: the next process that starts,
 * forks or ends prints it.
 */
enum { TOLD_NOTHING, TOLD_SOON, TOLD };

/* Locks: [I] set before threads start, and by a fork's child  [s] share.lock  [t] the thread's own  [a] atomic */
extern struct share {
	struct ledger *ledger; /* [I] NULL: this process has a limit of its own */
	struct ledger_slot *slot; /* [I] this process's */
	unsigned me; /* [I] the number of that slot */
	struct lock lock;
	uint64_t
		bytes; /* [s] the pager's limit. The slot's share is larger while pages leave, smaller while young */
	uint64_t young_ns; /* [s] when this child of a fork began; 0: it is not young */
	uint64_t first_minflt; /* [s] share_minor_faults() at young_ns */
	uint64_t slow_ns, reap_ns; /* [t] time of the last slow step, and of the last ledger_reap() */
	uint64_t over_ns; /* [t] since when the floors do not fit the limit; 0: they fit */
	bool gone; /* [s] the process ends or execs: the thread does not write to the slot any more */
	bool execs; /* [s] with gone: the exec still reads memory that must come in, so the share may grow */
	pid_t parent; /* [s] the process that pays for the stores inherited from it; 0: this process pays */
	struct host_thread thread; /* [I] */
	_Atomic(uint64_t) shrunk_ns,
		shrunk_faults; /* [a] time when the limit was last lowered, and share_faults() at that time */
	_Atomic(unsigned) urgent_waits; /* [a] waits of urgent faults since the share last grew */
	bool leads; /* the governor's own: the answer of ledger_lead() at its last look */
	uint8_t *stack; /* [I] the thread's, SHARE_STACK_BYTES */
	uint64_t pid_ns; /* [I] as status_pid_ns() */
} share;

/*
 * Grow the share and the pager's limit by a quarter, so that a process that wants all of the limit asks a few times
 * only. It asks for at least @least bytes, 1 MiB, and what the tables and the floor lack; a quarter counts up to 64
 * MiB.
 * => lock held
 * => true: the share grew, perhaps by less than was asked for
 * => false: the ledger had nothing free, or the pager refused; nothing has changed
 */
bool share_grow(uint64_t least, uint64_t now_ns);

/* Are free frames below the high watermark, and would a higher limit help? */
bool share_is_short(const struct pager_limit *limit, uint64_t now_ns);

/* Write to the slot how many bytes this process uses now. => lock not held */
void share_tell_used(void);

uint64_t share_faults(void); /* of the pager, so far */
uint64_t share_minor_faults(void); /* of the process, as the host counts them */

#endif

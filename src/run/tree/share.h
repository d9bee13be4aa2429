/* SPDX-License-Identifier: MIT */
/* This process's part of the run's limit: what share.c, share_thread.c and share_view.c have in common. */
#ifndef ANONMM_SHARE_H
#define ANONMM_SHARE_H

#include "host/lock.h"
#include "host/thread.h"
#include "run/run.h"
#include "run/tree/ledger.h"

#define SHARE_STACK_BYTES (64 * KIB)

/* What ledger->told says: that the floors do not fit. */
enum { TOLD_NOTHING, TOLD_SOON, TOLD };

/* Locks: [I] set before threads and by fork's child  [s] lock  [t] the thread's own  [a] atomic */
extern struct share {
	struct ledger *ledger; /* [I] NULL: this process has a limit of its own */
	struct ledger_slot *slot; /* [I] */
	unsigned me; /* [I] */
	struct lock lock;
	uint64_t
		bytes; /* [s] the pager's limit; the slot may say more while pages leave, or less while young */
	uint64_t young_ns; /* [s] since when; 0: not young */
	uint64_t first_minflt; /* [s] at that time */
	uint64_t slow_ns, reap_ns; /* [t] when that was done last */
	uint64_t over_ns; /* [t] since when the floors do not fit; 0: they do */
	bool gone; /* [s] the process ends or execs: the thread does not write to the slot any more */
	bool execs; /* [s] gone, but what the exec reads has to come in still */
	pid_t parent; /* [s] who pays for the stores that we have inherited; 0: we do */
	struct host_thread thread; /* [I] */
	_Atomic(uint64_t) shrunk_ns,
		shrunk_faults; /* [a] when the limit was last made lower, and the faults until then */
	_Atomic(unsigned) urgent_waits; /* [a] since memory was got last */
	uint8_t *stack; /* [I] */
	uint64_t pid_ns; /* [I] */
} share;

/* A quarter more, so that a process that wants all of it asks a few times only; @least at least. => lock held */
bool share_grow(uint64_t least, uint64_t now_ns);

/* Are frames so few that the limit should be higher? */
bool share_is_short(const struct pager_limit *limit, uint64_t now_ns);

uint64_t share_faults(void); /* of the pager, so far */
uint64_t share_minor_faults(void); /* of the process, as the host counts them */

#endif

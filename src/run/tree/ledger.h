/* SPDX-License-Identifier: MIT */
/*
 * The ledger of a run: one limit, and what each of its processes has of it.
 *
 * The ledger lies in memory that all processes of the run map (record.h). A process writes to its own slot alone. Nobody waits
 * for another process, and nobody holds a lock, so a process may be stopped or killed at any moment. The free part of the limit
 * is what no slot has:
 *
 *      free = limit - sum of share over the slots of processes that live
 *
 *   grow     announce the larger share, then look at the sum: who finds it too large takes the announcement back
 *   shrink   by the process itself (share_thread.c), which is told by a kick: ledger_target() says how far
 *   death    a slot says whose it is, by number and start time: whoever is short frees those of processes that have gone
 *
 * A process is hungry for a while after it wanted more and there was none. While somebody is hungry,
 *   - what others have and do not use comes back at once,
 *   - hungry processes come to equal shares of what the others leave,
 *   - the others come down to such a share too, and from there on slowly to their floors, unless they get hungry.
 * So a working set that is in use is defended by its faults, and one that nobody touches goes.
 *
 * Invariant: the sum of shares is at most the limit. One exception: every process has its floor, because it cannot go on with
 * less; so many processes with small shares may exceed the limit together.
 */
#ifndef ANONMM_LEDGER_H
#define ANONMM_LEDGER_H

#include "base/base.h"

#include <sys/types.h>

#define LEDGER_SLOTS 4096
#define LEDGER_FLOOR (512 * KIB) /* beside its tables, each process has at least so much */
#define LEDGER_GRAIN (64 * KIB) /* less is not worth a change */
#define LEDGER_HUNGRY_NS (500 * 1000000ULL)
#define LEDGER_NONE LEDGER_SLOTS

/* Locks: [o] its owner writes, all read  [a] atomic, all */
struct ledger_slot {
	_Atomic(uint64_t) owner; /* [a] ledger_owner(); 0: free */
	_Atomic(uint64_t) pid_ns; /* [o] where its number means something; 0: not known yet */
	_Atomic(uint64_t) share; /* [o] bytes */
	_Atomic(uint64_t) floor; /* [o] bytes */
	_Atomic(uint64_t) used; /* [o] bytes, as they were a moment ago */
	_Atomic(uint64_t) hungry_ns; /* [o] when it wanted more in vain; 0: it has what it wants */
	_Atomic(uint32_t) kick; /* [a] 1: somebody wants it to look */
	uint32_t unused[3];
};

_Static_assert(sizeof(struct ledger_slot) == 64, "a slot is a cache line");

struct ledger {
	_Atomic(uint64_t) limit; /* [a] bytes, for all */
	uint64_t most; /* [I] that the limit may ever become */
	_Atomic(uint64_t) cap; /* [a] that it may become by itself, where it follows the host */
	_Atomic(uint64_t) peak; /* [a] the largest sum of shares that was seen */
	_Atomic(uint32_t) top; /* [a] slots from here on were never used */
	_Atomic(uint32_t) told; /* [a] whether it was said that the floors do not fit (share.c) */
	uint64_t unused[3];
	struct ledger_slot slots[LEDGER_SLOTS];
};

#define LEDGER_BYTES page_align_up(sizeof(struct ledger))

struct ledger_sum {
	uint64_t shares, floors, used;
	uint64_t hungry_shares;
	unsigned processes, hungry;
	bool others_hungry; /* one that is not @me */
};

/*
 * Who owns a slot, in one word: start time (32 bits), number (22 bits, as many as Linux has), and 10 bits of the
 * namespace of that number. A process may be killed when it has claimed a slot and not yet written down its namespace:
 * these bits tell then.
 */
uint64_t ledger_owner(pid_t pid, uint64_t pid_ns);

#define LEDGER_PID_BITS 22

static inline pid_t ledger_owner_pid(uint64_t owner)
{
	return (pid_t)(owner >> 32 & ((1U << LEDGER_PID_BITS) - 1));
}

/* A slot for @owner, its own from before an exec if there is one; LEDGER_NONE: all are taken. Its share stays as it is. */
unsigned ledger_claim(struct ledger *ledger, uint64_t owner, uint64_t pid_ns);
void ledger_leave(struct ledger *ledger, unsigned slot);

/* Free the slots of processes that have gone. */
void ledger_reap(struct ledger *ledger, uint64_t pid_ns);

void ledger_look(const struct ledger *ledger, unsigned me, uint64_t now_ns, struct ledger_sum *sum);

/* Up to @want bytes more for @me. Returns how many it has got; less than a grain is none. */
uint64_t ledger_grow(struct ledger *ledger, unsigned me, uint64_t want, uint64_t now_ns);

/*
 * The share that @me should come down to, its share if it may keep it. @needed: as far as nothing has to leave memory.
 * @slowly: it is time for one of the slow steps.
 */
uint64_t ledger_target(
	const struct ledger *ledger, unsigned me, uint64_t needed, bool slowly, uint64_t now_ns);

void ledger_kick(struct ledger *ledger, unsigned slot);
/* Everybody but @me; @hungry: of those, who is. */
void ledger_kick_others(struct ledger *ledger, unsigned me, bool hungry, uint64_t now_ns);

/* Is @me the first of those who live? Then it does what one must do for all. */
bool ledger_is_first(const struct ledger *ledger, unsigned me);

#endif

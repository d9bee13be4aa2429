/* SPDX-License-Identifier: MIT */
/*
 * The ledger of a run: memory that all processes of the run map. It has the one limit of the run, a slot for each
 * process that lives, with its share of the limit, and a record for each program that was managed.
 *
 * The launcher makes the ledger (a memfd). The environment names it by a path in /proc, so it can be found when a
 * program has closed the descriptors that it inherited. A descriptor is inherited as well: the path ends with the
 * launcher, and a daemon may start programs after that.
 *
 * A slot belongs to a process. The process keeps it across an exec, and another process takes it after the first has
 * ended, so there are no more slots to add up than processes have lived at once. A record belongs to a program: an exec
 * begins another. It stays until the launcher's report. The core counts in the record itself, so the counters are there
 * even after the process was killed.
 *
 * A process writes the share in its own slot, and its own record, alone. A few fields of a slot and of the head are
 * written by all processes, each by one atomic operation; the comment of the field says so. Nobody waits for another
 * process, and nobody holds a lock, so a process may be stopped or killed at any moment. The free part of the limit is
 * what no slot has:
 *
 *      free = limit - sum of share over the slots of processes that live
 *
 *   grow     A process writes the larger share to its slot, then adds up all slots. If the sum is above the limit, it
 *            writes the old share back.
 *   shrink   A process shrinks its own share (share_thread.c) after somebody kicks it. ledger_target() says how far.
 *   death    A slot names its owner by process number and start time. A process that needs more memory frees the
 *            slots whose owners no longer exist.
 *
 * A process is hungry for LEDGER_HUNGRY_NS after it wanted more and the ledger had nothing free. While a process is
 * hungry:
 *   - the others give back at once what they have and do not use;
 *   - hungry processes come to equal shares of what the others leave;
 *   - a process that is not hungry comes down to an equal share at once, and then slowly to its floor.
 * So a process keeps a working set that it uses, because its faults make it hungry. It loses one that it does not
 * touch.
 *
 * A process stops being hungry at once when it does not use what it has. Otherwise LEDGER_HUNGRY_NS must pass since it
 * last wanted more in vain. The price is that for so long the others come to an even share and no further, although
 * memory may be free. This is a choice: a process that is short reclaims its own pages, so it has free frames now and
 * then, and free frames do not show that it is content.
 *
 * Invariant: the sum of shares is at most the limit. One exception: every process has its floor, because it cannot go
 * on with less; so many processes with small shares may exceed the limit together.
 */
#ifndef ANONMM_LEDGER_H
#define ANONMM_LEDGER_H

#include "base/base.h"
#include "anonmm.h"

#include <sys/types.h>

#define LEDGER_MAGIC 0x33636572616e6f6eULL /* the highest byte is the version of the format, a digit */
#define LEDGER_SLOTS 4096 /* processes that live at once */
#define LEDGER_RECORDS 4096 /* programs of a run. Later ones count for themselves */
#define LEDGER_FLOOR (512 * KIB) /* each process's least, beside its tables and compressed store */
#define LEDGER_GRAIN (64 * KIB) /* a share grows by no less */
#define LEDGER_HUNGRY_NS (500 * 1000000ULL)
#define LEDGER_LEAD_MS 3000
#define LEDGER_NONE LEDGER_SLOTS

/* Locks: [I] set by the launcher  [o] the slot's owner writes, all processes read  [a] atomic, all processes write */
struct ledger_slot {
	_Atomic(uint64_t) owner; /* [a] as ledger_owner(); 0: the slot is free */
	_Atomic(uint64_t) pid_ns; /* [o] namespace of the owner's process number; 0: not written yet */
	_Atomic(uint64_t) share; /* [o] bytes */
	_Atomic(uint64_t) floor; /* [o] bytes: the share does not go below it */
	_Atomic(uint64_t) used; /* [o] bytes, as of the owner's last look */
	_Atomic(uint64_t) hungry_ns; /* [o] when the owner last wanted more in vain; 0: it is content */
	_Atomic(uint32_t) kick; /* [a] 1: the owner's thread shall look at the ledger. A futex */
} __attribute__((aligned(64)));

_Static_assert(sizeof(struct ledger_slot) == 64, "a slot is a cache line");

enum record_end {
	RECORD_RUNNING, /* the program runs, or was killed */
	RECORD_EXECED, /* the process called exec: its next program has another record */
	RECORD_EXITED,
};

/* A program that a process runs, or ran. Locks: [o] its process writes, others read once it has ended */
struct record {
	_Atomic(int32_t) pid; /* [o] written last. 0: the record is not filled in yet */
	_Atomic(uint32_t) end; /* [o] enum record_end */
	uint32_t faults; /* [o] the enum anonmm_faults that was opened, never AUTO */
	uint32_t copies; /* [o] 1: the machine copies pages, as without UFFDIO_MOVE */
	uint64_t limit_bytes; /* [o] */
	uint64_t vm_hwm_bytes; /* [o] peak of resident memory by the host kernel, at the end; 0: not known */
	char name[64]; /* [o] as /proc/self/comm */
	struct anonmm_stats stats; /* [o] the core counts here; at the end, as pager_stats() */
} __attribute__((aligned(64)));

struct ledger {
	uint64_t magic; /* [I] */
	uint64_t id; /* [I] of this run */
	_Atomic(uint32_t) programs; /* [a] records asked for: the first LEDGER_RECORDS programs got one */
	uint32_t
		shared; /* [I] 1: the processes share the limit; 0: each has a limit of its own, and no slot */
	_Atomic(uint64_t) limit; /* [a] bytes, for all processes together */
	uint64_t most; /* [I] bytes: the limit is never set higher */
	_Atomic(uint64_t) cap; /* [a] bytes: the governor sets the limit no higher */
	_Atomic(uint64_t)
		leader; /* [a] the slot of ledger_lead(), and LEDGER_SLOTS times the ms when it asked last */
	_Atomic(uint64_t) peak; /* [a] bytes: the largest sum of shares after a share grew */
	_Atomic(uint32_t) top; /* [a] slots from this number on were never used */
	_Atomic(uint32_t) told; /* [a] was it said that the floors exceed the limit? (share.h) */
	struct ledger_slot slots[LEDGER_SLOTS];
	struct record records[LEDGER_RECORDS]; /* only pages that are used take memory */
};

#define LEDGER_BYTES page_align_up(sizeof(struct ledger))

/* Sums over the slots that have an owner. */
struct ledger_sum {
	uint64_t shares, floors, used; /* bytes */
	uint64_t hungry_shares; /* bytes: shares of the hungry processes */
	unsigned processes, hungry; /* processes: those with a floor. An unmanaged program has none */
	bool others_hungry; /* a process other than @me is hungry */
};

/*
 * The owner of a slot in one word: from the low end, 32 bits of the start time, the process number (22 bits, as many
 * as Linux has), and 10 bits of the namespace of that number. A process may be killed after it has claimed a slot and
 * before it has written pid_ns. The 10 bits then say which namespace the number belongs to.
 */
uint64_t ledger_owner(pid_t pid, uint64_t pid_ns);

#define LEDGER_PID_BITS 22

static inline pid_t ledger_owner_pid(uint64_t owner)
{
	return (pid_t)(owner >> 32 & ((1U << LEDGER_PID_BITS) - 1));
}

/*
 * Find the slot of @owner. A process keeps its slot, and the share in it, across an exec. Another process gets a free
 * slot, in which all fields but the owner and pid_ns are 0.
 * => the number of the slot, or LEDGER_NONE: all slots are taken
 */
unsigned ledger_claim(struct ledger *ledger, uint64_t owner, uint64_t pid_ns);
/* Free @slot. => the caller owns it */
void ledger_leave(struct ledger *ledger, unsigned slot);

/* Free the slots of processes that no longer exist. @pid_ns: the caller's. Slots of other namespaces stay. */
void ledger_reap(struct ledger *ledger, uint64_t pid_ns);

/* Add up the slots. */
void ledger_look(const struct ledger *ledger, unsigned me, uint64_t now_ns, struct ledger_sum *sum);

/*
 * Grow the share of @me by up to @want bytes. Returns the bytes that the share grew by: 0, or at least LEDGER_GRAIN.
 * While others are hungry, the share does not grow above an equal share.
 */
uint64_t ledger_grow(struct ledger *ledger, unsigned me, uint64_t want, uint64_t now_ns);

/*
 * The share in bytes that @me should come down to. It is the present share if @me may keep that. @needed: bytes with
 * which nothing has to leave memory. @slowly: a process that is not hungry may take one slow step now.
 */
uint64_t ledger_target(
	const struct ledger *ledger, unsigned me, uint64_t needed, bool slowly, uint64_t now_ns);

/* Make the owner of @slot look at the ledger. */
void ledger_kick(struct ledger *ledger, unsigned slot);
/* Kick every process but @me. @hungry: only those that are hungry. */
void ledger_kick_others(struct ledger *ledger, unsigned me, bool hungry, uint64_t now_ns);

/*
 * Does @me do what one process must do for all: does it follow the host? The leader asks once a second, and so says
 * that it still runs. Another process takes its place when the leader has not asked for LEDGER_LEAD_MS, because it is
 * stopped, was killed, or is another program now; and at once when the leader's slot is free.
 */
bool ledger_lead(struct ledger *ledger, unsigned me, uint64_t now_ns);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * This process's part of the run's limit (ledger.h). The pager's limit is the share; a thread keeps the two together.
 *
 *   more       A fault finds few free frames. The share grows at once, in the thread that faulted, by what the ledger
 *              has free.
 *   hungry     The ledger has nothing free. The thread kicks the other processes. Meanwhile the pager reclaims, as
 *              under any limit.
 *   kicked     Another process is hungry, or the run's limit has changed. This share comes down to ledger_target().
 *              The pager frees pages in the background, and the slot's share falls as they go.
 *
 * A fork's child maps its parent's pages, but they are the parent's memory until one of the two writes. So a child is
 * young for 200 ms: its share grows with the faults that it has had, up to its limit. Most children end or exec
 * within that time.
 *
 * The first process takes the whole limit at its start, so a process that is alone never waits for any of this.
 */
#include "run/run.h"
#include "run/tree/share.h"
#include "run/tree/status.h"
#include "host/lock.h"
#include "host/host.h"

#include <stdio.h>
#include <sys/resource.h>

#define START_BYTES (LEDGER_FLOOR + 512 * KIB) /* floor of a process that has no tables yet */
#define START_MODEST (8 * MIB) /* a new process that gets less asks the others for more */
#define START_WAIT_NS (1000000LL)
#define START_WAITS 4
#define GROW_MOST (64 * MIB)
#define URGENT_WAIT_NS (5 * 1000000LL)
#define URGENT_WAITS 100
#define KICK_NS (1000 * 1000ULL)
#define STUCK_NS (100 * 1000000ULL)
#define STUCK_FAULTS 256

struct share share;

uint64_t share_minor_faults(void)
{
	struct rusage usage;

	return getrusage(RUSAGE_SELF, &usage) == 0 ? (uint64_t)usage.ru_minflt : 0;
}

/* ---- Growing ------------------------------------------------------------------------------- */

/* Bytes that the limit lacks for the pager's tables and the floor. The tables grow without asking. */
static uint64_t lacks(void)
{
	struct anonmm_stats stats;

	pager_stats(run.pager, &stats);
	uint64_t floor = stats.metadata_bytes + LEDGER_FLOOR;

	return floor > share.bytes ? floor - share.bytes : 0;
}

bool share_grow(uint64_t least, uint64_t now_ns)
{
	uint64_t want = max_u64(least, min_u64(max_u64(share.bytes / 4, MIB), GROW_MOST)) + lacks();
	uint64_t got = ledger_grow(share.ledger, share.me, want, now_ns);
	char why[200];

	if (!got)
		return false;
	if (pager_set_limit(run.pager, share.bytes + got, why, sizeof(why))) {
		atomic_store(&share.slot->share, atomic_load(&share.slot->share) - got);
		return false;
	}
	share.bytes += got;
	atomic_store(&share.urgent_waits, 0);
	return true;
}

static void get_hungry(uint64_t now_ns)
{
	uint64_t last_ns = atomic_load(&share.slot->hungry_ns);

	atomic_store(&share.slot->hungry_ns, now_ns);
	/* Every fault comes here while frames are few. Most find that an earlier one has just kicked the thread. */
	if (now_ns - last_ns > KICK_NS || !atomic_load(&share.slot->kick))
		ledger_kick(share.ledger, share.me);
}

uint64_t share_faults(void)
{
	struct anonmm_stats stats;

	pager_stats(run.pager, &stats);
	return stats.faults;
}

/*
 * Frames are few while pages leave for a lower limit, which is no reason to raise it again. But a process that faults
 * pages in as fast as they leave would never reach that limit, and would stay small for ever while the ledger has
 * memory free.
 */
static bool is_stuck(uint64_t now_ns)
{
	return now_ns > atomic_load(&share.shrunk_ns) + STUCK_NS &&
	       share_faults() > atomic_load(&share.shrunk_faults) + STUCK_FAULTS;
}

bool share_is_short(const struct pager_limit *limit, uint64_t now_ns)
{
	return limit->low && limit->frames < limit->frames_max &&
	       (limit->frames_missing == 0 || is_stuck(now_ns));
}

static bool more(bool urgent)
{
	uint64_t now_ns = host_now_ns();
	struct pager_limit limit;
	bool grown = false;

	if (!share.ledger)
		return false;
	pager_limit(run.pager, &limit);
	if (!urgent && !share_is_short(&limit, now_ns))
		return false;
	if (lock_try(&share.lock)) {
		grown = (!share.gone || share.execs) && share_grow(0, now_ns);
		lock_drop(&share.lock);
	}
	if (grown)
		return true;
	get_hungry(now_ns);
	if (!urgent || atomic_fetch_add(&share.urgent_waits, 1) >= URGENT_WAITS)
		return false;
	host_sleep(URGENT_WAIT_NS);
	return true;
}

bool share_more(void)
{
	return more(false);
}

void share_want(uint64_t bytes)
{
	if (!share.ledger || !run.active)
		return;
	for (unsigned i = 0; i < URGENT_WAITS; i++) {
		uint64_t now_ns = host_now_ns();

		lock_take(&share.lock);
		uint64_t before = share.bytes;
		bool grown = share_grow(bytes, now_ns);
		uint64_t got = share.bytes - before;

		lock_drop(&share.lock);
		if (grown && got >= bytes)
			return;
		bytes -= got;
		if (share.bytes + bytes > atomic_load(&share.ledger->limit))
			return;
		get_hungry(now_ns);
		host_sleep(START_WAIT_NS);
	}
}

/* ---- Taking part ------------------------------------------------------------------------------ */

/* Print the message once for all processes. Called when a process starts, forks or ends. */
static void tell_if_too_many(void)
{
	uint32_t soon = TOLD_SOON;

	if (atomic_load(&share.ledger->told) == TOLD_SOON &&
		atomic_compare_exchange_strong(&share.ledger->told, &soon, TOLD))
		run_say("so many processes share %lu MiB that what each needs at least does not fit: "
			"together "
			"they take more than the limit",
			atomic_load(&share.ledger->limit) / MIB);
}

/* Claim a slot; share and floor are the least that works. false: all slots are taken. */
static bool claim(uint64_t floor)
{
	share.me = ledger_claim(share.ledger, ledger_owner(getpid(), share.pid_ns), share.pid_ns);
	if (share.me == LEDGER_NONE) {
		ledger_reap(share.ledger, share.pid_ns);
		share.me = ledger_claim(share.ledger, ledger_owner(getpid(), share.pid_ns), share.pid_ns);
	}
	if (share.me == LEDGER_NONE) {
		run_say("more than %d processes share one limit: process %d has a limit of its own",
			LEDGER_SLOTS, getpid());
		return false;
	}
	share.slot = &share.ledger->slots[share.me];
	atomic_store(&share.slot->hungry_ns, 0);
	atomic_store(&share.slot->floor, floor);
	atomic_store(&share.slot->share, floor);
	return true;
}

/*
 * The first share in bytes. The first process takes all that is free, others take half of it, and at least
 * START_MODEST. If a process gets less than START_MODEST, it kicks the others and tries again for some milliseconds.
 */
static uint64_t first_share(uint64_t floor)
{
	struct ledger_sum sum;
	uint64_t got = 0;

	for (unsigned i = 0; got + floor < START_MODEST && i <= START_WAITS; i++) {
		uint64_t now_ns = host_now_ns(), limit = atomic_load(&share.ledger->limit);

		ledger_look(share.ledger, share.me, now_ns, &sum);
		uint64_t free = limit > sum.shares ? limit - sum.shares : 0;

		got += ledger_grow(share.ledger, share.me,
			sum.processes == 1 ? free : min_u64(max_u64(free / 2, START_MODEST), free), now_ns);
		if (got + floor >= START_MODEST || got + floor >= limit / 2)
			break;
		if (i == 0)
			ledger_reap(share.ledger, share.pid_ns);
		atomic_store(&share.slot->hungry_ns, now_ns);
		ledger_kick_others(share.ledger, share.me, false, now_ns);
		if (i > 0)
			host_sleep(START_WAIT_NS);
	}
	atomic_store(&share.slot->hungry_ns, 0);
	return floor + got;
}

void share_enter(uint64_t *memory, uint64_t *memory_max)
{
	share.ledger = run.ledger && run.ledger->shared ? run.ledger : NULL;
	if (!share.ledger)
		return;
	share.pid_ns = status_pid_ns();
	if (!claim(START_BYTES)) {
		share.ledger = NULL;
		return;
	}
	tell_if_too_many();
	share.bytes = first_share(START_BYTES);
	*memory = share.bytes;
	*memory_max = max_u64(share.ledger->most, share.bytes);
}

int share_attach(void)
{
	if (!share.ledger)
		return 0;
	share.stack = host_mmap(0, SHARE_STACK_BYTES, PROT_READ | PROT_WRITE, MAP_NORESERVE | MAP_STACK);
	if (!share.stack)
		return -ENOMEM;
	uffd_machine_ask(run.machine, more);
	return 0;
}

/* A vfork's child runs in its parent's memory and has no share. */
static bool is_ours(void)
{
	return share.ledger && ledger_owner_pid(atomic_load(&share.slot->owner)) == getpid();
}

void share_leave(void)
{
	if (!is_ours())
		return;
	tell_if_too_many();
	lock_take(&share.lock);
	share.gone = true;
	ledger_leave(share.ledger, share.me);
	lock_drop(&share.lock);
	ledger_kick_others(share.ledger, share.me, true, host_now_ns());
}

/* The slot stays claimed for the next program. If that program is not managed, the slot has no share and no floor. */
void share_exec_begin(void)
{
	if (!is_ours())
		return;
	lock_take(&share.lock);
	share.gone = share.execs = true;
	atomic_store(&share.slot->floor, 0);
	atomic_store(&share.slot->share, 0);
	lock_drop(&share.lock);
}

void share_exec_failed(void)
{
	if (!is_ours())
		return;
	lock_take(&share.lock);
	atomic_store(&share.slot->share, share.bytes);
	share.gone = share.execs = false;
	lock_drop(&share.lock);
	ledger_kick(share.ledger, share.me);
}

/* ---- fork --------------------------------------------------------------------------------------- */

void share_fork_child(void)
{
	if (!share.ledger)
		return;
	lock_init(&share.lock);
	atomic_store(&share.urgent_waits, 0);
	share.gone = share.execs = false;
	if (!claim(LEDGER_FLOOR)) {
		share.ledger = NULL;
		return;
	}
	tell_if_too_many();
	share.young_ns = host_now_ns();
	share.first_minflt = share_minor_faults();
}

/* SPDX-License-Identifier: MIT */
/*
 * This process's part of the run's limit (ledger.h): the pager's limit is its share, and a thread keeps the two together.
 *
 *   more       a fault finds free frames low: the share grows by what is free, at once, in the thread that faulted
 *   hungry     there was nothing free: the others are kicked, and the pager reclaims meanwhile as under any limit
 *   kicked     somebody is hungry, or the limit has changed: this share comes down as far as ledger_target() says. The pager
 *              frees pages in the background; the ledger hears of it as they go
 *
 * A fork's child has its parent's pages, but they are the parent's memory until one of both writes. So a child is
 * young for a moment: it counts by the faults that it has had, at most by what it has. Most end or exec before it is over.
 *
 * The first process has the whole limit, so that one that is alone never meets any of this.
 */
#include "run/run.h"
#include "run/tree/share.h"
#include "run/tree/status.h"
#include "host/lock.h"
#include "host/host.h"

#include <stdio.h>
#include <sys/resource.h>

#define START_BYTES (LEDGER_FLOOR + 512 * KIB) /* floor of a process that has no tables yet */
#define START_MODEST (8 * MIB) /* with less than this free a new process asks the others first */
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

/* What the limit lacks for the tables, which grow on their own account, and the floor. */
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
	/* Each fault comes here while frames are few: most find that the thread has been kicked, by us, just now. */
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
 * Pages that leave since the limit is lower are no reason to raise it. But who faults them in as fast as they leave never gets
 * there, and would be kept small for ever, with memory free beside it.
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

/* Once for all processes, by the next that starts, forks or ends. */
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

/* A slot with the least that works. false: there is none. */
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

/* All, for the first; half of what is free for others. Where that is little the others are asked for a moment. */
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
	share.ledger = stats_map_ledger();
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

/* A vfork's child has no share. */
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

/* The slot stays ours: the next program finds it. If that one is not managed, it stands there with nothing. */
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

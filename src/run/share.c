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
#include "run/ledger.h"
#include "run/status.h"
#include "machine/lock.h"
#include "machine/uffd_host.h"

#include <linux/sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#define START_BYTES (LEDGER_FLOOR + 512 * KIB) /* floor of a process that has no tables yet */
#define START_MODEST (8 * MIB) /* with less than this free a new process asks the others first */
#define START_WAIT_NS (1000000LL)
#define START_WAITS 4
#define GROW_MOST (64 * MIB)
#define URGENT_WAIT_NS (5 * 1000000LL)
#define URGENT_WAITS 100
#define YOUNG_NS (200 * 1000000ULL)
#define YOUNG_LOOK_NS (20 * 1000000LL)
#define SHRINKING_LOOK_NS (2 * 1000000LL)
#define HUNGRY_LOOK_NS (10 * 1000000LL)
#define PRESSED_LOOK_NS (50 * 1000000LL)
#define IDLE_LOOK_NS (1000 * 1000000LL)
#define SLOW_NS (200 * 1000000ULL)
#define STUCK_NS (100 * 1000000ULL)
#define STUCK_FAULTS 256
enum { TOLD_NOTHING, TOLD_SOON, TOLD };

#define OVER_NS (1000 * 1000000ULL)
#define REAP_NS (20 * 1000000ULL)
#define STACK_BYTES (64 * KIB)
#define FOLLOW_TRIES 2000
#define FOLLOW_NAP_NS 50000LL

/* Locks: [I] set before threads and by fork's child  [s] lock  [t] the thread's own  [a] atomic */
static struct {
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
	_Atomic(bool) follows; /* [a] the thread shall make ids_call */
	const long *ids_call; /* [I] while follows */
	bool started; /* [I] there is a thread */
	_Atomic(uint64_t) shrunk_ns,
		shrunk_faults; /* [a] when the limit was last made lower, and the faults until then */
	_Atomic(unsigned) urgent_waits; /* [a] since memory was got last */
	uint8_t *stack; /* [I] */
	uint64_t pid_ns; /* [I] */
} share;

static uint64_t minor_faults(void)
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

/* A quarter more, so that a process that wants all of it asks a few times only. => lock held */
static bool grow(uint64_t least, uint64_t now_ns)
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
	atomic_store(&share.slot->hungry_ns, now_ns);
	ledger_kick(share.ledger, share.me);
}

static uint64_t faults_so_far(void)
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
	       faults_so_far() > atomic_load(&share.shrunk_faults) + STUCK_FAULTS;
}

static bool is_short(const struct pager_limit *limit, uint64_t now_ns)
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
	if (!urgent && !is_short(&limit, now_ns))
		return false;
	if (lock_try(&share.lock)) {
		grown = (!share.gone || share.execs) && grow(0, now_ns);
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
		bool grown = grow(bytes, now_ns);
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

/* ---- The thread's steps ---------------------------------------------------------------------- */

struct step {
	uint64_t now_ns;
	struct pager_limit limit;
	uint64_t metadata, used;
	int64_t rest_ns; /* until the next look */
};

static void rest_at_most(struct step *step, int64_t ns)
{
	step->rest_ns = min_u64((uint64_t)step->rest_ns, (uint64_t)ns);
}

static void look(struct step *step)
{
	struct anonmm_stats stats;

	pager_limit(run.pager, &step->limit);
	pager_stats(run.pager, &stats);
	step->metadata = stats.metadata_bytes;
	step->used = (uint64_t)step->limit.frames_used * PAGE_BYTES + step->metadata;
	/* Compressed pages stay where they are until they are wanted: they may be three of four frames. */
	uint64_t store = (uint64_t)step->limit.frames_lent * PAGE_BYTES;

	atomic_store(&share.slot->floor, step->metadata + store + store / 3 + LEDGER_FLOOR);
	atomic_store(&share.slot->used, step->used);
}

/* What the ledger is told that we have. */
static void account(struct step *step)
{
	uint64_t missing = (uint64_t)step->limit.frames_missing * PAGE_BYTES;
	uint64_t old = atomic_load(&share.slot->share), now = share.bytes + missing;
	if (share.young_ns && step->now_ns - share.young_ns < YOUNG_NS) {
		uint64_t touched = (minor_faults() - share.first_minflt) * PAGE_BYTES;

		now = max_u64(min_u64(now, LEDGER_FLOOR + touched), old);
		rest_at_most(step, YOUNG_LOOK_NS);
	} else if (share.young_ns) {
		share.young_ns = 0;
		atomic_store(&share.slot->share, now);
		ledger_kick_others(share.ledger, share.me, false, step->now_ns);
		return;
	}
	if (now == old)
		return;
	atomic_store(&share.slot->share, now);
	if (now < old)
		ledger_kick_others(share.ledger, share.me, true, step->now_ns);
}

static void feed(struct step *step)
{
	uint64_t since = atomic_load(&share.slot->hungry_ns);

	if (!since)
		return;
	if (step->now_ns > since + LEDGER_HUNGRY_NS) {
		atomic_store(&share.slot->hungry_ns, 0);
		return;
	}
	rest_at_most(step, HUNGRY_LOOK_NS);
	if (step->now_ns - share.reap_ns > REAP_NS) {
		share.reap_ns = step->now_ns;
		ledger_reap(share.ledger, share.pid_ns);
		ledger_kick_others(share.ledger, share.me, false, step->now_ns);
	}
	if (is_short(&step->limit, step->now_ns))
		grow(0, step->now_ns);
}

/* With less than this pages would have to leave. */
static uint64_t needed(const struct step *step)
{
	return step->used + step->used / 16 + LEDGER_FLOOR;
}

/* For longer than a moment the floors take more than there is. This thread has no standard error: others say it. */
static void note_too_many(const struct step *step)
{
	struct ledger *ledger = share.ledger;
	struct ledger_sum sum;
	uint32_t unknown = TOLD_NOTHING;

	ledger_look(ledger, share.me, step->now_ns, &sum);
	if (sum.floors <= atomic_load(&ledger->limit))
		share.over_ns = 0;
	else if (!share.over_ns)
		share.over_ns = step->now_ns;
	else if (step->now_ns - share.over_ns > OVER_NS)
		atomic_compare_exchange_strong(&ledger->told, &unknown, TOLD_SOON);
}

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

static void shrink(struct step *step)
{
	bool slowly = step->now_ns - share.slow_ns > SLOW_NS;
	uint64_t old = atomic_load(&share.slot->share);
	uint64_t target = ledger_target(share.ledger, share.me, needed(step), slowly, step->now_ns);
	char why[200];

	if (share.young_ns)
		return;
	if (target >= old) {
		struct ledger_sum sum;

		ledger_look(share.ledger, share.me, step->now_ns, &sum);
		if (sum.others_hungry || sum.shares > atomic_load(&share.ledger->limit))
			rest_at_most(step, PRESSED_LOOK_NS);
		return;
	}
	rest_at_most(step, SHRINKING_LOOK_NS);
	if (target >= share.bytes) /* pages are leaving for that already */
		return;
	if (slowly)
		share.slow_ns = step->now_ns;
	if (pager_set_limit(run.pager, target, why, sizeof(why))) {
		rest_at_most(step, PRESSED_LOOK_NS); /* locked memory, or no room in swap: as it is, then */
		return;
	}
	share.bytes = target;
	atomic_store(&share.shrunk_faults, faults_so_far());
	atomic_store(&share.shrunk_ns, step->now_ns);
}

/* The parent may go first: then its stores, which we read, are memory of ours. */
static void own_stores(struct step *step)
{
	if (!share.parent)
		return;
	if (getppid() == share.parent) {
		rest_at_most(step, IDLE_LOOK_NS);
		return;
	}
	share.parent = 0;
	pager_own(run.pager);
}

static int64_t step(void)
{
	struct step step = {.now_ns = host_now_ns(), .rest_ns = INT64_MAX};

	lock_take(&share.lock);
	if (share.gone) {
		lock_drop(&share.lock);
		return IDLE_LOOK_NS;
	}
	own_stores(&step);
	look(&step);
	account(&step);
	if (step.limit.frames_missing)
		rest_at_most(&step, step.limit.stalled ? PRESSED_LOOK_NS : SHRINKING_LOOK_NS);
	feed(&step);
	note_too_many(&step);
	shrink(&step);
	lock_drop(&share.lock);
	if (run.follows)
		rest_at_most(&step, IDLE_LOOK_NS);
	return step.rest_ns == INT64_MAX ? -1 : step.rest_ns;
}

static void *share_main(void *unused)
{
	prctl(PR_SET_NAME, "anonmm-share");
	(void)unused;
	host_admit_setxid();
	if (host_call(SYS_unshare, CLONE_FILES) == 0)
		host_call(SYS_close_range, 0, ~0U, 0);
	for (;;) {
		atomic_store(&share.slot->kick, 0);
		if (atomic_load(&share.follows)) {
			host_call(share.ids_call[0], share.ids_call[1], share.ids_call[2], share.ids_call[3]);
			atomic_store(&share.follows, false);
		}
		int64_t rest_ns = step();

		host_futex_wait_shared(&share.slot->kick, 0, rest_ns);
	}
	return NULL;
}

static int thread_start(void)
{
	uint64_t signals = host_block_signals();
	pthread_attr_t attr;
	pthread_t thread;

	pthread_attr_init(&attr);
	pthread_attr_setstack(&attr, share.stack, STACK_BYTES);
	int error = uffd_pthread_create(&thread, &attr, share_main, NULL);

	pthread_attr_destroy(&attr);
	host_restore_signals(signals);
	share.started = error == 0;
	return -error;
}

unsigned share_nr_threads(void)
{
	return share.started;
}

void share_ids_follow(const long call[4])
{
	if (!share.started)
		return;
	share.ids_call = call;
	atomic_store(&share.follows, true);
	for (unsigned i = 0; atomic_load(&share.follows) && i < FOLLOW_TRIES; i++) {
		atomic_store(&share.slot->kick, 1);
		host_futex_wake_shared(&share.slot->kick, 1);
		host_sleep(FOLLOW_NAP_NS);
	}
}

/* ---- Taking part ------------------------------------------------------------------------------ */

/* A slot with the least that works. false: there is none. */
static bool claim(uint64_t floor)
{
	share.me = ledger_claim(share.ledger, ledger_owner(getpid()), share.pid_ns);
	if (share.me == LEDGER_NONE) {
		ledger_reap(share.ledger, share.pid_ns);
		share.me = ledger_claim(share.ledger, ledger_owner(getpid()), share.pid_ns);
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
	share.stack = host_mmap(0, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_NORESERVE | MAP_STACK);
	if (!share.stack)
		return -ENOMEM;
	uffd_machine_ask(run.machine, more);
	return 0;
}

int share_start(void)
{
	return share.ledger ? thread_start() : 0;
}

/* A vfork's child has no share. */
static bool is_ours(void)
{
	return share.ledger && atomic_load(&share.slot->owner) >> 32 == (uint64_t)getpid();
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
	share.gone = share.execs = false;
	atomic_store(&share.slot->share, share.bytes);
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
	share.started = false;
	share.gone = share.execs = false;
	if (!claim(LEDGER_FLOOR)) {
		share.ledger = NULL;
		return;
	}
	tell_if_too_many();
	share.young_ns = host_now_ns();
	share.first_minflt = minor_faults();
}

/* What the parent had and did not use is not the child's. */
int share_fork_start(void)
{
	struct step step = {.now_ns = host_now_ns()};
	char why[200];

	if (!share.ledger)
		return 0;
	share.parent = getppid();
	pager_disown(run.pager);
	look(&step);
	if (needed(&step) < share.bytes && pager_set_limit(run.pager, needed(&step), why, sizeof(why)) == 0)
		share.bytes = needed(&step);
	return thread_start();
}

/* ---- Looking in ----------------------------------------------------------------------------------- */

/* The governor's of a run: it looks at all processes, and one of them acts for all. */
static uint64_t managed_by_all(void)
{
	struct ledger_sum sum;

	ledger_look(share.ledger, share.me, host_now_ns(), &sum);
	return sum.used;
}

static int set_for_all(uint64_t bytes)
{
	struct ledger *ledger = share.ledger;
	uint64_t most = atomic_load(&ledger->cap);

	ledger_reap(ledger, share.pid_ns);
	if (!ledger_is_first(ledger, share.me))
		return -EBUSY;
	atomic_store(&ledger->limit, min_u64(bytes, most));
	ledger_kick_others(ledger, share.me, false, host_now_ns());
	ledger_kick(ledger, share.me);
	return 0;
}

const struct governor_ops *share_governor_ops(void)
{
	static const struct governor_ops ops = {managed_by_all, set_for_all};

	return share.ledger ? &ops : NULL;
}

bool share_is_shared(void)
{
	return share.ledger;
}

uint64_t share_bytes(void)
{
	return share.ledger ? share.bytes : run.record->limit_bytes;
}

void share_view(struct share_view *view)
{
	struct ledger_sum sum;

	*view = (struct share_view){.shared = share.ledger};
	if (!share.ledger)
		return;
	ledger_reap(share.ledger, share.pid_ns);
	ledger_look(share.ledger, share.me, host_now_ns(), &sum);
	view->limit = atomic_load(&share.ledger->limit);
	view->most = share.ledger->most;
	view->peak = atomic_load(&share.ledger->peak);
	view->shares = sum.shares;
	view->processes = sum.processes;
}

/* One process alone is asked itself whether it can; of several each does what it can. */
int share_set_limit(uint64_t bytes, char *why, size_t why_len)
{
	struct ledger *ledger = share.ledger;
	struct ledger_sum sum;
	uint64_t now_ns = host_now_ns();
	int error = 0;

	if (run.follows) {
		atomic_store(&ledger->cap, bytes);
		if (bytes >= atomic_load(&ledger->limit))
			return 0;
	}
	if (bytes > ledger->most) {
		snprintf(why, why_len,
			"it is more than the %lu MiB that there was room made for at the start",
			ledger->most / MIB);
		return -ERANGE;
	}
	ledger_reap(ledger, share.pid_ns);
	ledger_look(ledger, share.me, now_ns, &sum);
	lock_take(&share.lock);
	if (sum.processes == 1 || bytes < share.bytes)
		error = pager_set_limit(run.pager, bytes, why, why_len);
	if (!error && (sum.processes == 1 || bytes < share.bytes))
		share.bytes = bytes;
	if (!error)
		atomic_store(&ledger->limit, bytes);
	lock_drop(&share.lock);
	if (!error) {
		ledger_kick_others(ledger, share.me, false, now_ns);
		ledger_kick(ledger, share.me);
	}
	return error;
}

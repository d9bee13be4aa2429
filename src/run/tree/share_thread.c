/* SPDX-License-Identifier: MIT */
/*
 * The thread that keeps this process's share and the pager's limit together; see share.c. A step reads the pager's
 * counters, writes them to the ledger, grows or shrinks the share, and computes how long the thread may sleep. A kick
 * ends the sleep.
 */
#include "run/run.h"
#include "run/tree/share.h"
#include "host/host.h"

#define YOUNG_NS (200 * 1000000ULL)
#define YOUNG_LOOK_NS (20 * 1000000LL)
#define SHRINKING_LOOK_NS (2 * 1000000LL)
#define HUNGRY_LOOK_NS (10 * 1000000LL)
#define PRESSED_LOOK_NS (50 * 1000000LL)
#define IDLE_LOOK_NS (1000 * 1000000LL)
#define LOOK_MOST_NS (2000 * 1000000LL) /* a process may have been killed before it kicked this one */
#define SLOW_NS (200 * 1000000ULL)
#define OVER_NS (1000 * 1000000ULL)
#define REAP_NS (20 * 1000000ULL)

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
	/*
	 * Reclaim cannot free the compressed store, and a store may take three of four frames: a third more for
	 * frames.
	 */
	uint64_t store = (uint64_t)step->limit.frames_lent * PAGE_BYTES;

	atomic_store(&share.slot->floor, step->metadata + store + store / 3 + LEDGER_FLOOR);
	atomic_store(&share.slot->used, step->used);
}

void share_tell_used(void)
{
	struct step step;

	lock_take(&share.lock);
	if (!share.gone)
		look(&step);
	lock_drop(&share.lock);
}

/* Write to the slot how many bytes this process has. */
static void account(struct step *step)
{
	uint64_t missing = (uint64_t)step->limit.frames_missing * PAGE_BYTES;
	uint64_t old = atomic_load(&share.slot->share), now = share.bytes + missing;
	if (share.young_ns && step->now_ns - share.young_ns < YOUNG_NS) {
		uint64_t touched = (share_minor_faults() - share.first_minflt) * PAGE_BYTES;

		now = max_u64(min_u64(now, LEDGER_FLOOR + touched), old);
		rest_at_most(step, YOUNG_LOOK_NS);
	} else if (share.young_ns) {
		atomic_store(&share.slot->share, now);
		share.young_ns = 0;
		ledger_kick_others(share.ledger, share.me, false, step->now_ns);
		return;
	}
	if (now == old)
		return;
	atomic_store(&share.slot->share, now);
	if (now < old)
		ledger_kick_others(share.ledger, share.me, true, step->now_ns);
}

/* With a limit of fewer bytes, pages would have to leave. */
static uint64_t needed(const struct step *step)
{
	return step->used + step->used / 16 + LEDGER_FLOOR;
}

static void feed(struct step *step)
{
	uint64_t since = atomic_load(&share.slot->hungry_ns);

	if (!since)
		return;
	/* What this process does not use it gives back, so it does not hold the others to an even share. */
	if (step->now_ns > since + LEDGER_HUNGRY_NS || needed(step) + LEDGER_GRAIN <= share.bytes) {
		atomic_compare_exchange_strong(&share.slot->hungry_ns, &since, 0);
		return;
	}
	rest_at_most(step, HUNGRY_LOOK_NS);
	if (step->now_ns - share.reap_ns > REAP_NS) {
		share.reap_ns = step->now_ns;
		ledger_reap(share.ledger, share.pid_ns);
		ledger_kick_others(share.ledger, share.me, false, step->now_ns);
	}
	if (share_is_short(&step->limit, step->now_ns))
		share_grow(0, step->now_ns);
}

/*
 * Note when the floors exceed the limit for longer than OVER_NS. This thread has no standard error: share.c prints
 * it.
 */
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
	atomic_store(&share.shrunk_faults, share_faults());
	atomic_store(&share.shrunk_ns, step->now_ns);
}

/* A child reads its parent's compressed stores. When the parent has ended, this process pays for them. */
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
	rest_at_most(&step, LOOK_MOST_NS);
	return step.rest_ns;
}

static void *share_main(void *unused)
{
	(void)unused;
	for (;;) {
		atomic_store(&share.slot->kick, 0);
		host_thread_serve(&share.thread);
		int64_t rest_ns = step();

		host_futex_wait_shared(&share.slot->kick, 0, rest_ns);
	}
	return NULL;
}

static void share_wake(void *unused)
{
	(void)unused;
	atomic_store(&share.slot->kick, 1);
	host_futex_wake_shared(&share.slot->kick, INT32_MAX);
}

static int thread_start(void)
{
	share.thread = (struct host_thread){.name = "anonmm-share",
		.main = share_main,
		.stack = share.stack,
		.stack_bytes = SHARE_STACK_BYTES,
		.wake = share_wake};
	return host_thread_start(&share.thread);
}

int share_start(void)
{
	return share.ledger ? thread_start() : 0;
}

/* The limit that the parent had and did not use is not the child's: lower it to what the child needs. */
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

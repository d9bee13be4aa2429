/* SPDX-License-Identifier: MIT */
/* Threads that share a CPU with the pager thread, and which CPU that is: real_where.h says why. */
#include "machine/real/real_internal.h"

#include <sched.h>
#include <string.h>

#define HOT_FAULTS 8
#define HOT_NS (4 * 1000000ULL)
#define COLD_NS (10 * 1000000ULL)
#define CROWD_NS (700 * 1000ULL)

#define TRIAL_WAITS 64
#define TRIAL_AGAIN 16384
#define WAIT_MOST_NS 400000ULL /* in a longer one there was a write as well as a wake-up */

/* ---- Masks ------------------------------------------------------------------------------- */

#define WORD_BITS (8 * (unsigned)sizeof(unsigned long))
#define MASK_CPUS (CPU_MASK_WORDS * (int)WORD_BITS)

static int mask_get(int tid, struct cpu_mask *mask)
{
	*mask = (struct cpu_mask){{0}};
	return (int)host_call(SYS_sched_getaffinity, tid, sizeof(*mask), mask);
}

static int mask_set(int tid, const struct cpu_mask *mask)
{
	return (int)host_call(SYS_sched_setaffinity, tid, sizeof(*mask), mask);
}

static bool mask_has(const struct cpu_mask *mask, int cpu)
{
	return mask->word[(unsigned)cpu / WORD_BITS] >> ((unsigned)cpu % WORD_BITS) & 1;
}

static struct cpu_mask mask_one(int cpu)
{
	struct cpu_mask mask = {{0}};

	mask.word[(unsigned)cpu / WORD_BITS] |= 1UL << ((unsigned)cpu % WORD_BITS);
	return mask;
}

static bool mask_is(const struct cpu_mask *a, const struct cpu_mask *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

static int bind_to(int tid, int cpu)
{
	struct cpu_mask one = mask_one(cpu);

	return mask_set(tid, &one);
}

/* ---- Binding ----------------------------------------------------------------------------- */

/* Let kswapd run on any CPU but @cpu, if the pager's mask has another; -1: on any. */
static void keep_kswapd_off(struct real_machine *m, int cpu)
{
	struct cpu_mask mask = m->pair.pager_mask, none = {{0}};

	if (cpu >= 0)
		mask.word[(unsigned)cpu / WORD_BITS] &= ~(1UL << ((unsigned)cpu % WORD_BITS));
	if (!mask_is(&mask, &none) && atomic_load(&m->kswapd_tid))
		mask_set(atomic_load(&m->kswapd_tid), &mask);
}

static int bind_pager(struct real_machine *m, int cpu)
{
	if (m->pair.cpu == cpu)
		return 0;
	if (bind_to(0, cpu))
		return -EINVAL;
	m->pair.cpu = cpu;
	keep_kswapd_off(m, cpu);
	return 0;
}

static void unbind_pager(struct real_machine *m)
{
	mask_set(0, &m->pair.pager_mask);
	m->pair.cpu = -1;
	keep_kswapd_off(m, -1);
}

/*
 * The CPUs that a new pair may live on become those of the trial: in front the one where the pager thread is, if the
 * thread's mask @own has it. false: there is none. => pager thread, which is not bound
 */
static bool trial_start(struct real_machine *m, const struct cpu_mask *own)
{
	struct trial trial = {.nr = 0};
	unsigned here = 0;

	if (mask_get(0, &m->pair.pager_mask) < 0)
		return false;
	if (host_call(SYS_getcpu, &here, NULL, NULL) == 0 && here < (unsigned)MASK_CPUS &&
		mask_has(own, (int)here))
		trial.cpu[trial.nr++] = (int)here;
	for (int cpu = 0; cpu < MASK_CPUS && trial.nr < TRIAL_CPUS; cpu++)
		if (mask_has(own, cpu) && mask_has(&m->pair.pager_mask, cpu) &&
			(trial.nr == 0 || cpu != trial.cpu[0]))
			trial.cpu[trial.nr++] = cpu;
	m->pair.trial = trial;
	return trial.nr > 0;
}

/* => lock held, pager thread */
static void pair(struct real_machine *m, struct hot *hot)
{
	struct pairing *p = &m->pair;

	if (mask_get(hot->tid, &hot->own) < 0 || (p->cpu < 0 && !trial_start(m, &hot->own)))
		return;
	int cpu = p->cpu < 0 ? p->trial.cpu[0] : p->cpu;

	if (!mask_has(&hot->own, cpu) || bind_pager(m, cpu) || bind_to(hot->tid, cpu))
		return;
	hot->paired = true;
	atomic_fetch_add(&p->nr, 1);
}

/* A thread that somebody else has bound meanwhile stays as that one wants it. => lock held */
static void unpair(struct real_machine *m, struct hot *hot)
{
	struct cpu_mask now, one = mask_one(m->pair.cpu);

	if (mask_get(hot->tid, &now) >= 0 && mask_is(&now, &one))
		mask_set(hot->tid, &hot->own);
	hot->paired = false;
	hot->nr_faults = 0;
	atomic_fetch_sub(&m->pair.nr, 1);
}

/* ---- The pager thread counts ------------------------------------------------------------- */

/* The entry of @tid. A new one takes the place of the unpaired thread that faulted least recently. NULL: none. */
static struct hot *hot_of(struct pairing *p, int tid)
{
	struct hot *oldest = NULL;

	for (struct hot *hot = p->hot; hot < p->hot + NR_HOT; hot++) {
		if (hot->tid == tid)
			return hot;
		if (!hot->paired && (!oldest || hot->last_ns < oldest->last_ns))
			oldest = hot;
	}
	if (oldest) {
		oldest->tid = tid;
		oldest->nr_faults = 0;
	}
	return oldest;
}

/* Count one more fault of @hot. Does it fault often enough to be paired? */
static bool count_fault(struct pairing *p, struct hot *hot, uint64_t now)
{
	hot->last_ns = now;
	if (hot->nr_faults++ == 0)
		hot->window_ns = now;
	if (hot->nr_faults < HOT_FAULTS)
		return false;
	hot->nr_faults = 0;
	return now - hot->window_ns <= (atomic_load(&p->nr) ? CROWD_NS : HOT_NS);
}

void real_pair_note(struct real_machine *m, int tid)
{
	struct pairing *p = &m->pair;

	if (tid == 0 || !lock_try(&p->lock))
		return;
	struct hot *hot = hot_of(p, tid);

	if (hot && count_fault(p, hot, host_now_ns()) && !hot->paired)
		pair(m, hot);
	lock_drop(&p->lock);
}

void real_pair_expire(struct real_machine *m)
{
	struct pairing *p = &m->pair;
	uint64_t now = host_now_ns();

	if (!lock_try(&p->lock))
		return;
	for (struct hot *hot = p->hot; hot < p->hot + NR_HOT; hot++)
		if (hot->paired && now - hot->last_ns > COLD_NS)
			unpair(m, hot);
	if (atomic_load(&p->nr) == 0 && p->cpu >= 0)
		unbind_pager(m);
	lock_drop(&p->lock);
}

/* ---- On which CPU? ------------------------------------------------------------------------ */

static bool all_may_use(const struct pairing *p, int cpu)
{
	for (const struct hot *hot = p->hot; hot < p->hot + NR_HOT; hot++)
		if (hot->paired && !mask_has(&hot->own, cpu))
			return false;
	return true;
}

/* Move the pager thread and all threads that are paired. false: not possible now, nothing has changed */
static bool pair_move(struct real_machine *m, int cpu)
{
	struct pairing *p = &m->pair;

	if (cpu == p->cpu)
		return true;
	if (!lock_try(&p->lock))
		return false;
	bool moved = p->cpu >= 0 && all_may_use(p, cpu) && bind_pager(m, cpu) == 0;

	for (struct hot *hot = p->hot; moved && hot < p->hot + NR_HOT; hot++)
		if (hot->paired)
			bind_to(hot->tid, cpu);
	lock_drop(&p->lock);
	return moved;
}

static unsigned shortest(const struct trial *trial)
{
	unsigned best = 0;

	for (unsigned i = 1; i < trial->nr; i++)
		if (trial->sum_ns[i] < trial->sum_ns[best])
			best = i;
	return best;
}

/* Enough waits were counted on the present CPU: go on with the next one, decide, or begin anew. */
static void trial_next(struct real_machine *m)
{
	struct trial *trial = &m->pair.trial;

	trial->waits = 0;
	if (trial->settled) {
		trial->settled = false;
		trial->turn = 0;
		memset(trial->sum_ns, 0, sizeof(trial->sum_ns));
	} else if (++trial->turn == trial->nr) {
		trial->settled = true;
		trial->turn = shortest(trial);
	}
	if (!pair_move(m, trial->cpu[trial->turn]) && !trial->settled)
		trial->sum_ns[trial->turn] = UINT64_MAX / 2; /* never the shortest */
}

void real_pair_waited(struct real_machine *m, uint64_t ns)
{
	struct trial *trial = &m->pair.trial;

	if (trial->nr < 2 || atomic_load(&m->pair.nr) == 0)
		return;
	if (!trial->settled)
		trial->sum_ns[trial->turn] += min_u64(ns, WAIT_MOST_NS);
	if (++trial->waits >= (trial->settled ? TRIAL_AGAIN : TRIAL_WAITS))
		trial_next(m);
}

/* ---- Other threads ask -------------------------------------------------------------------- */

static uint64_t enter(struct pairing *p)
{
	uint64_t signals = host_block_signals();

	lock_take(&p->lock);
	return signals;
}

static void leave(struct pairing *p, uint64_t signals)
{
	lock_drop(&p->lock);
	host_restore_signals(signals);
}

void real_unpair_all(struct real_machine *m)
{
	struct pairing *p = &m->pair;
	uint64_t signals = enter(p);

	for (struct hot *hot = p->hot; hot < p->hot + NR_HOT; hot++)
		if (hot->paired)
			unpair(m, hot);
	p->cpu = -1;
	leave(p, signals);
}

/* The entry of thread @tid (0: the calling thread), if it is paired; else NULL. => lock held */
static struct hot *paired_entry(struct pairing *p, int tid)
{
	if (!tid)
		tid = host_tid();
	for (struct hot *hot = p->hot; hot < p->hot + NR_HOT; hot++)
		if (hot->paired && hot->tid == tid)
			return hot;
	return NULL;
}

static void unpair_tid(struct real_machine *m, int tid)
{
	if (atomic_load(&m->pair.nr) == 0)
		return;
	uint64_t signals = enter(&m->pair);
	struct hot *hot = paired_entry(&m->pair, tid);

	if (hot)
		unpair(m, hot);
	leave(&m->pair, signals);
}

void real_unpair_self(struct machine *machine)
{
	unpair_tid(real_of(machine), 0);
}

int real_setaffinity(struct machine *machine, int tid, size_t bytes, const void *mask)
{
	unpair_tid(real_of(machine), tid);
	return (int)host_call(SYS_sched_setaffinity, tid, bytes, mask);
}

int real_getaffinity(struct machine *machine, int tid, size_t bytes, void *mask)
{
	struct pairing *p = &real_of(machine)->pair;
	int real = (int)host_call(SYS_sched_getaffinity, tid, bytes, mask);

	if (real < 0)
		return real;
	if ((size_t)real < bytes)
		memset((char *)mask + real, 0, bytes - (size_t)real);
	if (atomic_load(&p->nr) == 0)
		return 0;
	uint64_t signals = enter(p);
	struct hot *hot = paired_entry(p, tid);

	if (hot)
		memcpy(mask, &hot->own, min_u64(bytes, sizeof(hot->own)));
	leave(p, signals);
	return 0;
}

void real_where_reset(struct real_machine *m)
{
	memset(&m->pair, 0, sizeof(m->pair));
	lock_init(&m->pair.lock);
	m->pair.cpu = -1;
	memset(&m->turns, 0, sizeof(m->turns));
}

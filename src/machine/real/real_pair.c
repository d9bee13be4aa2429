/* SPDX-License-Identifier: MIT */
/*
 * Pairing: who faults often shares a CPU with the pager thread for a while.
 *
 * A hand-off between two CPUs is an interrupt each way, many times the work of a fault; on one CPU
 * it is a context switch. It is cheap only when both threads are bound: then the scheduler has no
 * choice to make.
 *
 * Rule: a thread that faults HOT_FAULTS times within HOT_NS is paired; when it has not faulted for
 * COLD_NS its own mask is restored. Threads that share the CPU take turns there while others may
 * idle, so a further one must do little else than fault: HOT_FAULTS times within CROWD_NS, which
 * leaves it no more time between two faults than the hand-off would cost. (Measured on two CPUs: four
 * threads that only fault take 8 us a page so and 15 otherwise; four that compute 50 us a page, 59 and 50.)
 *
 * What the program sees and sets is its own mask. The pager thread only tries pair_lock: a holder
 * could be stopped by a signal handler that faults. Holders block all signals, so it cannot; but
 * a thread of the program is not to be waited for all the same.
 */
#include "machine/real/real_internal.h"

#include <sched.h>
#include <string.h>

#define HOT_FAULTS 8
#define HOT_NS (4 * 1000000ULL)
#define COLD_NS (10 * 1000000ULL)
#define CROWD_NS (700 * 1000ULL)

#define BITS (8 * sizeof(unsigned long))

static int mask_get(int tid, unsigned long *mask)
{
	memset(mask, 0, CPU_MASK_BYTES);
	return (int)host_call(SYS_sched_getaffinity, tid, CPU_MASK_BYTES, mask);
}

static int mask_set(int tid, const unsigned long *mask)
{
	return (int)host_call(SYS_sched_setaffinity, tid, CPU_MASK_BYTES, mask);
}

static bool mask_has(const unsigned long *mask, int cpu)
{
	return mask[(unsigned)cpu / BITS] >> ((unsigned)cpu % BITS) & 1;
}

static void mask_one(unsigned long *mask, int cpu)
{
	memset(mask, 0, CPU_MASK_BYTES);
	mask[(unsigned)cpu / BITS] |= 1UL << ((unsigned)cpu % BITS);
}

static bool mask_is_one(const unsigned long *mask, int cpu)
{
	unsigned long one[CPU_MASK_BYTES / sizeof(unsigned long)];

	mask_one(one, cpu);
	return memcmp(mask, one, CPU_MASK_BYTES) == 0;
}

/* ---- Binding ----------------------------------------------------------------------------- */

/* kswapd works beside the pair, not between the two. */
static void keep_kswapd_off(struct real_machine *m, int cpu)
{
	unsigned long mask[CPU_MASK_BYTES / sizeof(unsigned long)];
	unsigned long any = 0;

	memcpy(mask, m->pager_mask, sizeof(mask));
	if (cpu >= 0)
		mask[(unsigned)cpu / BITS] &= ~(1UL << ((unsigned)cpu % BITS));
	for (unsigned i = 0; i < ARRAY_SIZE(mask); i++)
		any |= mask[i];
	if (any && atomic_load(&m->kswapd_tid))
		mask_set(atomic_load(&m->kswapd_tid), mask);
}

/* A CPU that @own allows: the pager's present one, or the first that both may use. -1: none. */
static int choose_cpu(struct real_machine *m, const unsigned long *own)
{
	unsigned here;

	if (m->pair_cpu >= 0)
		return mask_has(own, m->pair_cpu) ? m->pair_cpu : -1;
	if (host_call(SYS_getcpu, &here, NULL, NULL) == 0 && here < CPU_MASK_BYTES * 8 &&
		mask_has(own, (int)here))
		return (int)here;
	for (int cpu = 0; cpu < CPU_MASK_BYTES * 8; cpu++)
		if (mask_has(own, cpu) && mask_has(m->pager_mask, cpu))
			return cpu;
	return -1;
}

static int bind_pager(struct real_machine *m, int cpu)
{
	unsigned long one[CPU_MASK_BYTES / sizeof(unsigned long)];

	if (m->pair_cpu == cpu)
		return 0;
	mask_one(one, cpu);
	if (mask_set(0, one))
		return -EINVAL;
	m->pair_cpu = cpu;
	keep_kswapd_off(m, cpu);
	return 0;
}

static void unbind_pager(struct real_machine *m)
{
	mask_set(0, m->pager_mask);
	m->pair_cpu = -1;
	keep_kswapd_off(m, -1);
}

/* Where else the pair could live, @first being where it starts. */
static void trial_start(struct real_machine *m, const unsigned long *own, int first)
{
	int cpus[TRIAL_CPUS] = {first};
	unsigned nr = 1;

	for (int cpu = 0; cpu < CPU_MASK_BYTES * 8 && nr < TRIAL_CPUS; cpu++)
		if (cpu != first && mask_has(own, cpu) && mask_has(m->pager_mask, cpu))
			cpus[nr++] = cpu;
	real_trial_start(m, cpus, nr);
}

/* => pair_lock held, pager thread */
static void pair(struct real_machine *m, struct hot *hot)
{
	unsigned long one[CPU_MASK_BYTES / sizeof(unsigned long)];
	int cpu;

	if (m->pair_cpu < 0 && mask_get(0, m->pager_mask) < 0)
		return;
	if (mask_get(hot->tid, hot->own_mask) < 0)
		return;
	cpu = choose_cpu(m, hot->own_mask);
	if (cpu >= 0 && m->pair_cpu < 0)
		trial_start(m, hot->own_mask, cpu);
	if (cpu < 0 || bind_pager(m, cpu))
		return;
	mask_one(one, cpu);
	if (mask_set(hot->tid, one))
		return;
	hot->paired = true;
	atomic_fetch_add(&m->nr_paired, 1);
}

/* => pair_lock held. A thread that was bound by somebody else meanwhile stays as that one wants it. */
static void unpair(struct real_machine *m, struct hot *hot)
{
	unsigned long mask[CPU_MASK_BYTES / sizeof(unsigned long)];

	if (mask_get(hot->tid, mask) >= 0 && mask_is_one(mask, m->pair_cpu))
		mask_set(hot->tid, hot->own_mask);
	hot->paired = false;
	hot->nr_faults = 0;
	atomic_fetch_sub(&m->nr_paired, 1);
}

static bool all_may_use(const struct real_machine *m, int cpu)
{
	for (const struct hot *hot = m->hot; hot < m->hot + NR_HOT; hot++)
		if (hot->paired && !mask_has(hot->own_mask, cpu))
			return false;
	return true;
}

bool real_pair_move(struct real_machine *m, int cpu)
{
	unsigned long one[CPU_MASK_BYTES / sizeof(unsigned long)];
	bool moved;

	if (cpu == m->pair_cpu)
		return true;
	if (!lock_try(&m->pair_lock))
		return false;
	mask_one(one, cpu);
	moved = m->pair_cpu >= 0 && all_may_use(m, cpu) && bind_pager(m, cpu) == 0;
	for (struct hot *hot = m->hot; moved && hot < m->hot + NR_HOT; hot++)
		if (hot->paired)
			mask_set(hot->tid, one);
	lock_drop(&m->pair_lock);
	return moved;
}

/* ---- The pager thread counts ------------------------------------------------------------- */

/* The entry of @tid; a new one takes the place of the one that faulted least recently. */
static struct hot *hot_of(struct real_machine *m, int tid)
{
	struct hot *oldest = NULL;

	for (struct hot *hot = m->hot; hot < m->hot + NR_HOT; hot++) {
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

/* One more fault of @hot. True when it has become one too many to go on as it is. */
static bool count_fault(struct real_machine *m, struct hot *hot, uint64_t now)
{
	bool is_hot;

	hot->last_ns = now;
	if (hot->nr_faults++ == 0)
		hot->window_ns = now;
	if (hot->nr_faults < HOT_FAULTS)
		return false;
	is_hot = now - hot->window_ns <= (atomic_load(&m->nr_paired) ? CROWD_NS : HOT_NS);
	hot->nr_faults = 0;
	return is_hot;
}

void real_pair_note(struct real_machine *m, int tid)
{
	struct hot *hot;

	if (tid == 0 || !lock_try(&m->pair_lock))
		return;
	hot = hot_of(m, tid);
	if (hot && count_fault(m, hot, host_now_ns()) && !hot->paired)
		pair(m, hot);
	lock_drop(&m->pair_lock);
}

void real_pair_expire(struct real_machine *m)
{
	uint64_t now = host_now_ns();

	if (!lock_try(&m->pair_lock))
		return;
	for (struct hot *hot = m->hot; hot < m->hot + NR_HOT; hot++)
		if (hot->paired && now - hot->last_ns > COLD_NS)
			unpair(m, hot);
	if (atomic_load(&m->nr_paired) == 0 && m->pair_cpu >= 0)
		unbind_pager(m);
	lock_drop(&m->pair_lock);
}

void real_unpair_all(struct real_machine *m)
{
	uint64_t signals = host_block_signals();

	lock_take(&m->pair_lock);
	for (struct hot *hot = m->hot; hot < m->hot + NR_HOT; hot++)
		if (hot->paired)
			unpair(m, hot);
	m->pair_cpu = -1;
	lock_drop(&m->pair_lock);
	host_restore_signals(signals);
}

/* ---- The program asks -------------------------------------------------------------------- */

/* => pair_lock held */
static struct hot *paired_entry(struct real_machine *m, int tid)
{
	for (struct hot *hot = m->hot; hot < m->hot + NR_HOT; hot++)
		if (hot->paired && hot->tid == tid)
			return hot;
	return NULL;
}

static void unpair_tid(struct real_machine *m, int tid)
{
	uint64_t signals;
	struct hot *hot;

	if (atomic_load(&m->nr_paired) == 0)
		return;
	signals = host_block_signals();
	lock_take(&m->pair_lock);
	hot = paired_entry(m, tid);
	if (hot)
		unpair(m, hot);
	lock_drop(&m->pair_lock);
	host_restore_signals(signals);
}

void real_unpair_self(struct machine *machine)
{
	struct real_machine *m = real_of(machine);

	if (atomic_load(&m->nr_paired))
		unpair_tid(m, host_tid());
}

int real_setaffinity(struct machine *machine, int tid, size_t bytes, const void *mask)
{
	unpair_tid(real_of(machine), tid ? tid : host_tid());
	return (int)host_call(SYS_sched_setaffinity, tid, bytes, mask);
}

int real_getaffinity(struct machine *machine, int tid, size_t bytes, void *mask)
{
	struct real_machine *m = real_of(machine);
	int real = (int)host_call(SYS_sched_getaffinity, tid, bytes, mask);
	uint64_t signals;
	struct hot *hot;

	if (real < 0)
		return real;
	if ((size_t)real < bytes)
		memset((char *)mask + real, 0, bytes - (size_t)real);
	if (atomic_load(&m->nr_paired) == 0)
		return 0;
	signals = host_block_signals();
	lock_take(&m->pair_lock);
	hot = paired_entry(m, tid ? tid : host_tid());
	if (hot)
		memcpy(mask, hot->own_mask, bytes < CPU_MASK_BYTES ? bytes : CPU_MASK_BYTES);
	lock_drop(&m->pair_lock);
	host_restore_signals(signals);
	return 0;
}

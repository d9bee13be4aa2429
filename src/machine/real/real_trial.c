/* SPDX-License-Identifier: MIT */
/*
 * On which CPU shall the pair live?
 *
 * Where a device's completions arrive, the end of a read wakes the pager at once; elsewhere it takes an
 * interrupt to another CPU first, which on a virtual machine costs a sixth of a disk read. No call tells where
 * they arrive, so it is measured: the pair spends TRIAL_WAITS lone waits for a read on each CPU that it may
 * use, stays where they were shortest, and asks again after TRIAL_AGAIN.
 *
 * All of this is the pager thread's own.
 */
#include "machine/real/real_internal.h"

#define TRIAL_WAITS 64
#define TRIAL_AGAIN 16384
#define WAIT_MOST_NS 400000ULL /* a longer one tells of a write in between, not of a wake-up */

void real_trial_start(struct real_machine *m, const int *cpus, unsigned nr)
{
	struct trial *trial = &m->trial;

	*trial = (struct trial){.nr = nr};
	for (unsigned i = 0; i < nr; i++)
		trial->cpu[i] = cpus[i];
}

static unsigned shortest(const struct trial *trial)
{
	unsigned best = 0;

	for (unsigned i = 1; i < trial->nr; i++)
		if (trial->sum_ns[i] < trial->sum_ns[best])
			best = i;
	return best;
}

/* The present CPU has had its waits: the next one's turn, or the decision. */
static void next_turn(struct real_machine *m)
{
	struct trial *trial = &m->trial;

	trial->waits = 0;
	if (trial->settled) {
		*trial = (struct trial){
			.nr = trial->nr, .cpu = {trial->cpu[0], trial->cpu[1], trial->cpu[2], trial->cpu[3]}};
	} else if (++trial->turn == trial->nr) {
		trial->settled = true;
		trial->turn = shortest(trial);
	}
	if (!real_pair_move(m, trial->cpu[trial->turn]) && !trial->settled)
		trial->sum_ns[trial->turn] = UINT64_MAX / 2; /* not to be had: never the shortest */
}

void real_trial_waited(struct real_machine *m, uint64_t ns)
{
	struct trial *trial = &m->trial;

	if (trial->nr < 2 || atomic_load(&m->nr_paired) == 0)
		return;
	if (!trial->settled)
		trial->sum_ns[trial->turn] += min_u64(ns, WAIT_MOST_NS);
	if (++trial->waits >= (trial->settled ? TRIAL_AGAIN : TRIAL_WAITS))
		next_turn(m);
}

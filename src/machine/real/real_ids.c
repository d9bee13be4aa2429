/* SPDX-License-Identifier: MIT */
/*
 * Whom our threads act as: the user that the program has become.
 *
 * The kernel keeps users and capabilities by thread. libc has all threads make the call that one of them asks for, and ends the
 * process when one succeeds and another does not. A program with one thread may rely on what it set for that thread alone (to
 * keep its capabilities over setuid()), and then ours would fail. So such a program makes its call itself, and ours follow
 * as far as they may: no thread keeps a privilege that the program has given up.
 */
#include "machine/uffd/uffd_internal.h"

#define FOLLOW_TRIES 2000
#define FOLLOW_NAP_NS 50000LL

unsigned uffd_nr_threads(struct machine *machine)
{
	struct uffd_machine *m = uffd_of(machine);

	return (unsigned)m->started + m->has_pager;
}

void uffd_ids_follow(struct machine *machine, const long call[4])
{
	struct uffd_machine *m = uffd_of(machine);

	if (!m->started)
		return;
	for (unsigned i = 0; i < 4; i++)
		m->ids.call[i] = call[i];
	atomic_store(&m->ids.todo, IDS_KSWAPD | (m->has_pager ? IDS_PAGER : 0));
	for (unsigned i = 0; atomic_load(&m->ids.todo) && i < FOLLOW_TRIES; i++) {
		uffd_kick_kswapd(m);
		host_sleep(FOLLOW_NAP_NS);
	}
}

/* What a thread may not do it need not: it has given up more than that. */
void uffd_ids_serve(struct uffd_machine *m, uint32_t who)
{
	const long *call = m->ids.call;

	if (likely(!(atomic_load(&m->ids.todo) & who)))
		return;
	host_call(call[0], call[1], call[2], call[3]);
	atomic_fetch_and(&m->ids.todo, ~who);
	if (atomic_load(&m->ids.todo) & IDS_PAGER)
		uffd_poke_for_others(m);
}

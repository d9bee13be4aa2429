/* SPDX-License-Identifier: MIT */
/*
 * fork: the child gets a copy of the managed memory, a userfaultfd and threads of its own.
 *
 * Outside of this the range and the pool are not inherited at all, so a child made behind our
 * back gets a fault, never zeros. Between prepare and parent the forking thread holds the pager
 * lock: the child inherits the core as it stands between two steps. => that thread touches no
 * managed memory that could be out meanwhile.
 *
 * After the fork the pages are shared with the other process until one writes: they cannot be moved
 * while they are (uffd_move.c makes them exclusive).
 */
#include "machine/uffd/uffd_internal.h"

#include <string.h>

static int inherit(struct uffd_machine *m, bool on)
{
	int advice = on ? MADV_DOFORK : MADV_DONTFORK;
	int error = host_madvise(m->base, m->bytes, advice);

	return error ? error : host_madvise(frame_addr(m, 0), m->pool_bytes, advice);
}

int uffd_fork_prepare(struct machine *machine)
{
	struct uffd_machine *m = uffd_of(machine);
	int error;

	uffd_unpair_self(machine);
	error = inherit(m, true);
	if (error) {
		inherit(m, false);
		return error;
	}
	lock_take(&m->pager_lock);
	return 0;
}

void uffd_fork_parent(struct machine *machine)
{
	struct uffd_machine *m = uffd_of(machine);

	uffd_unlock(machine);
	inherit(m, false);
}

/* What the parent's threads were doing is nothing that this process does. */
static void forget_threads(struct uffd_machine *m)
{
	lock_init(&m->pager_lock);
	lock_init(&m->kswapd_lock);
	lock_init(&m->poison_lock);
	lock_init(&m->pair_lock);
	lock_init(&m->mail_lock);
	atomic_store(&m->mail.state, 0);
	atomic_store(&m->fds_lost, false);
	atomic_store(&m->poke_wanted, false);
	for (unsigned word = 0; word < WAIT_WORDS; word++)
		atomic_store(&m->nr_waiting[word], 0);
	atomic_store(&m->leader, 0);
	atomic_store(&m->leader_sleep.asleep, 0);
	atomic_store(&m->pager_sleep.asleep, 0);
	atomic_store(m->kick, 0);
	atomic_store(&m->kick_pending, false);
	atomic_store(&m->kswapd_asleep, false);
	atomic_store(&m->nr_poisoned, 0);
	atomic_store(&m->nr_paired, 0);
	memset(m->hot, 0, sizeof(m->hot));
	m->pair_cpu = -1;
	memset(&m->turns, 0, sizeof(m->turns));
	m->nr_parked = 0;
	m->started = m->has_pager = false;
}

void uffd_fork_child_begin(struct machine *machine)
{
	forget_threads(uffd_of(machine));
}

/* The stacks are memory that the parent's threads ran on: their copies here are free to use again. */
int uffd_fork_child(struct machine *machine)
{
	struct uffd_machine *m = uffd_of(machine);
	int error;

	host_close(m->fd);
	host_close(m->leader_sleep.fd);
	host_close(m->pager_sleep.fd);
	error = uffd_fd_reopen(m);
	if (error)
		return error;
	m->leader_sleep.fd = uffd_eventfd_open();
	m->pager_sleep.fd = uffd_eventfd_open();
	if (m->leader_sleep.fd < 0 || m->pager_sleep.fd < 0)
		return -EMFILE;
	error = uffd_register(m);
	if (!error)
		error = inherit(m, false);
	return error ? error : uffd_machine_start(machine, m->space);
}

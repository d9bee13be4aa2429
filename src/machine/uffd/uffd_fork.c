/* SPDX-License-Identifier: MIT */
/*
 * fork: the child gets a copy of the managed memory, a userfaultfd and threads of its own.
 *
 * Without uffd_fork_prepare() a child does not inherit the range and the pool at all. So a child that was made behind
 * our back gets a fault there, never zeros. Between prepare and parent the forking thread holds the pager lock, so the
 * child inherits the core as it is between two steps. Meanwhile that thread must touch no managed memory.
 *
 * After the fork parent and child share each page until one of them writes to it. A shared page cannot be moved:
 * uffd_move.c makes it exclusive first.
 */
#include "machine/uffd/uffd_internal.h"

static int inherit(struct uffd_machine *m, bool on)
{
	int advice = on ? MADV_DOFORK : MADV_DONTFORK;
	int error = host_madvise(m->real.base, m->real.bytes, advice);

	return error ? error : host_madvise(frame_addr(m, 0), m->pool_bytes, advice);
}

int uffd_fork_prepare(struct machine *machine)
{
	struct uffd_machine *m = uffd_of(machine);
	int error;

	real_unpair_self(machine);
	error = inherit(m, true);
	if (error) {
		inherit(m, false);
		return error;
	}
	lock_take(&m->real.pager_lock);
	return 0;
}

void uffd_fork_parent(struct machine *machine)
{
	struct uffd_machine *m = uffd_of(machine);

	real_unlock(machine);
	inherit(m, false);
}

void uffd_fork_child_begin(struct machine *machine)
{
	struct uffd_machine *m = uffd_of(machine);

	real_fork_child(&m->real);
	lock_init(&m->mail_lock);
	atomic_store(&m->mail.state, 0);
	atomic_store(&m->fds_lost, false);
}

/* The new threads use m->real.stacks. These are copies of the stacks of the parent's threads, which do not run here. */
int uffd_fork_child(struct machine *machine)
{
	struct uffd_machine *m = uffd_of(machine);
	int error;

	host_close(m->real.fd);
	host_close(m->real.leader_sleep.fd);
	host_close(m->real.pager_sleep.fd);
	error = uffd_fd_reopen(m);
	if (error)
		return error;
	m->real.leader_sleep.fd = uffd_eventfd_open();
	m->real.pager_sleep.fd = uffd_eventfd_open();
	if (m->real.leader_sleep.fd < 0 || m->real.pager_sleep.fd < 0)
		return -EMFILE;
	error = uffd_register(m);
	if (!error)
		error = inherit(m, false);
	return error ? error : uffd_machine_start(machine, m->space);
}

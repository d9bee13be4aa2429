/* SPDX-License-Identifier: MIT */
/*
 * epoll_wait() and poll(), where a program calls libc's functions: a copy without the trap, as in guard_data.c. If
 * there is no scratch memory, or the program's memory is not valid, the call is made with the program's pointer, and
 * traps.
 *
 * A program waits in such a call for most of its time. It keeps a slot of scratch memory meanwhile, of which only the
 * pages that were touched are in memory.
 */
#include "run/guard/guard.h"
#include "run/guard/guard_libc.h"

#include <string.h>
#include <sys/mman.h>

/* ---- epoll ---------------------------------------------------------------------------------------- */

static int wait_plain(int fd, struct epoll_event *events, int most, int timeout, const sigset_t *mask)
{
	return mask ? libc_own()->epoll_pwait(fd, events, most, timeout, mask)
		    : libc_own()->epoll_wait(fd, events, most, timeout);
}

/* Ask for as many events as fit into the valid part of the program's buffer. The kernel, too, stops there. */
static int wait_copied(int fd, struct epoll_event *user, int most, int timeout, const sigset_t *mask)
{
	size_t bytes = guard_valid((uintptr_t)user, (size_t)most * sizeof(*user), PROT_WRITE);
	int room = (int)(bytes / sizeof(*user)), nr;
	struct epoll_event *events = NULL;
	struct scratch scratch;

	scratch_open(&scratch);
	if (room)
		events = scratch_alloc(&scratch, bytes, SCRATCH_ANYWHERE);
	nr = wait_plain(fd, events ? events : user, events ? room : most, timeout, mask);
	if (events && nr > 0)
		memcpy(user, events, (size_t)nr * sizeof(*user));
	scratch_close(&scratch);
	return nr;
}

int guard_epoll_wait(int fd, struct epoll_event *events, int most, int timeout, const sigset_t *mask)
{
	if (most > 0 && (size_t)most <= GUARD_PIECE_BYTES / sizeof(*events) && guard_concerns(events, 1))
		return wait_copied(fd, events, most, timeout, mask);
	return wait_plain(fd, events, most, timeout, mask);
}

EXPORT int epoll_wait(int fd, struct epoll_event *events, int most, int timeout)
{
	return guard_epoll_wait(fd, events, most, timeout, NULL);
}

/* ---- poll ------------------------------------------------------------------------------------------ */

/* The kernel writes revents also when a signal ends the wait. */
static int poll_copied(struct pollfd *user, nfds_t nr_fds, int timeout)
{
	size_t bytes = nr_fds * sizeof(*user);
	struct pollfd *fds = NULL;
	struct scratch scratch;
	int nr;

	scratch_open(&scratch);
	if (guard_valid((uintptr_t)user, bytes, PROT_READ | PROT_WRITE) == bytes)
		fds = scratch_alloc(&scratch, bytes, SCRATCH_ANYWHERE);
	if (fds)
		memcpy(fds, user, bytes);
	nr = libc_own()->poll(fds ? fds : user, nr_fds, timeout);
	for (nfds_t i = 0; fds && i < nr_fds && (nr >= 0 || errno == EINTR); i++)
		user[i].revents = fds[i].revents;
	scratch_close(&scratch);
	return nr;
}

EXPORT int poll(struct pollfd *fds, nfds_t nr, int timeout)
{
	if (likely(!guard_concerns(fds, nr)) || nr > GUARD_PIECE_BYTES / sizeof(*fds))
		return libc_own()->poll(fds, nr, timeout);
	return poll_copied(fds, nr, timeout);
}

EXPORT int __poll_chk(struct pollfd *fds, nfds_t nr, int timeout, size_t room)
{
	libc_check_room(nr, room / sizeof(*fds));
	return poll(fds, nr, timeout);
}

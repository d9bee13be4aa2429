/* SPDX-License-Identifier: MIT */
/*
 * libc's own functions behind those that the guard interposes.
 *
 * All are found at once, by our constructor: later the first call may come from a signal handler, or from the child of a vfork,
 * where nothing may be looked up.
 */
#ifndef ANONMM_GUARD_LIBC_H
#define ANONMM_GUARD_LIBC_H

#include "base/base.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define GUARD_LIBC(X)                                                                                        \
	X(read)                                                                                              \
	X(write)                                                                                             \
	X(pread)                                                                                             \
	X(pwrite)                                                                                            \
	X(recv)                                                                                              \
	X(send)                                                                                              \
	X(recvfrom)                                                                                          \
	X(sendto)                                                                                            \
	X(epoll_wait)                                                                                        \
	X(epoll_pwait)                                                                                       \
	X(poll)                                                                                              \
	X(readv)                                                                                             \
	X(writev)                                                                                            \
	X(preadv)                                                                                            \
	X(pwritev)                                                                                           \
	X(preadv2)                                                                                           \
	X(pwritev2)                                                                                          \
	X(vmsplice)                                                                                          \
	X(sendmsg)                                                                                           \
	X(recvmsg)                                                                                           \
	X(sendmmsg)                                                                                          \
	X(recvmmsg)

#define GUARD_LIBC_MEMBER(name) __typeof__(&(name)) name;

/* What _FORTIFY_SOURCE makes of calls; libc declares them only there. */
ssize_t __read_chk(int fd, void *data, size_t bytes, size_t room);
ssize_t __pread_chk(int fd, void *data, size_t bytes, off_t offset, size_t room);
ssize_t __pread64_chk(int fd, void *data, size_t bytes, off64_t offset, size_t room);
ssize_t __recv_chk(int fd, void *data, size_t bytes, size_t room, int flags);
ssize_t __recvfrom_chk(
	int fd, void *data, size_t bytes, size_t room, int flags, struct sockaddr *name, socklen_t *name_len);
int __poll_chk(struct pollfd *fds, nfds_t nr, int timeout, size_t room);
void __chk_fail(void) __attribute__((noreturn));

/* Locks: [I] set once, to the same whoever does it */
struct guard_libc {
	GUARD_LIBC(GUARD_LIBC_MEMBER) /* [I] */
	atomic_bool found; /* set last */
};

extern struct guard_libc guard_libc;

void guard_libc_find(void);

/* Before our constructor others may call, one thread and no handler. */
static inline const struct guard_libc *libc_own(void)
{
	if (unlikely(!atomic_load_explicit(&guard_libc.found, memory_order_acquire)))
		guard_libc_find();
	return &guard_libc;
}

/* => as libc's: a program that says more than its buffer holds ends */
static inline void libc_check_room(size_t bytes, size_t room)
{
	if (unlikely(bytes > room))
		__chk_fail();
}

#endif

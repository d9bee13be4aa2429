/* SPDX-License-Identifier: MIT */
/*
 * libc's own functions behind those that the guard interposes.
 *
 * The constructor looks up all of them. Later the first call may come from a signal handler or from a vfork's child,
 * where dlsym() must not be called.
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

/* _FORTIFY_SOURCE replaces calls by these. libc declares them only then. */
ssize_t __read_chk(int fd, void *data, size_t bytes, size_t room);
ssize_t __pread_chk(int fd, void *data, size_t bytes, off_t offset, size_t room);
ssize_t __pread64_chk(int fd, void *data, size_t bytes, off64_t offset, size_t room);
ssize_t __recv_chk(int fd, void *data, size_t bytes, size_t room, int flags);
ssize_t __recvfrom_chk(
	int fd, void *data, size_t bytes, size_t room, int flags, struct sockaddr *name, socklen_t *name_len);
int __poll_chk(struct pollfd *fds, nfds_t nr, int timeout, size_t room);
void __chk_fail(void) __attribute__((noreturn));

/* Locks: [I] set once. Two threads may do it at once: both write the same values */
struct guard_libc {
	GUARD_LIBC(GUARD_LIBC_MEMBER) /* [I] */
	atomic_bool found; /* set after all others */
};

extern struct guard_libc guard_libc;

void guard_libc_find(void);

/* A call may come before the constructor. At that time the process has one thread and no handlers. */
static inline const struct guard_libc *libc_own(void)
{
	if (unlikely(!atomic_load_explicit(&guard_libc.found, memory_order_acquire)))
		guard_libc_find();
	return &guard_libc;
}

/* End the program if it asks for more @bytes than its buffer has @room for, as libc's checked functions do. */
static inline void libc_check_room(size_t bytes, size_t room)
{
	if (unlikely(bytes > room))
		__chk_fail();
}

#endif

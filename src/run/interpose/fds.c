/* SPDX-License-Identifier: MIT */
/*
 * The library's descriptors stay open, whatever the program closes.
 *
 * Programs close descriptors that they did not open: shells and daemons close "all from 3 on". The library's
 * descriptors look closed to the program: close() fails with EBADF. dup2() and dup3() to such a number fail with
 * EBUSY, as the kernel fails in a race for a number.
 */
#include "run/run.h"
#include "run/raw.h"

#include <sys/syscall.h>
#include <unistd.h>

#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1U << 2)
#endif

static bool ours(int fd)
{
	return run.active && fd > 2 &&
	       (uffd_owns_fd(run.machine, fd) || fork_owns_fd(fd) || ledger_owns_fd(fd));
}

EXPORT int close(int fd)
{
	if (unlikely(ours(fd))) {
		errno = EBADF;
		return -1;
	}
	return REAL(close)(fd);
}

EXPORT int dup2(int fd, int wanted)
{
	if (unlikely(ours(wanted))) {
		errno = EBUSY;
		return -1;
	}
	return REAL(dup2)(fd, wanted);
}

EXPORT int dup3(int fd, int wanted, int flags)
{
	if (unlikely(ours(wanted))) {
		errno = EBUSY;
		return -1;
	}
	return REAL(dup3)(fd, wanted, flags);
}

/* The library's descriptors have smaller numbers than this. */
static unsigned ours_end(void)
{
	long end = sysconf(_SC_OPEN_MAX);
	return end > 0 && end < 65536 ? (unsigned)end : 65536;
}

/*
 * Close the ranges between the library's descriptors. CLOSE_RANGE_UNSHARE, if asked for, works with the first range.
 */
EXPORT int close_range(unsigned first, unsigned last, int flags)
{
	unsigned end = ours_end();

	if (!run.active || first > last || (unsigned)flags & CLOSE_RANGE_CLOEXEC)
		return (int)syscall(SYS_close_range, first, last, flags);
	for (unsigned fd = first; fd <= last && fd < end; fd++) {
		if (!ours((int)fd))
			continue;
		if (fd > first && syscall(SYS_close_range, first, fd - 1, flags) < 0)
			return -1;
		first = fd + 1;
	}
	return first > last ? 0 : (int)syscall(SYS_close_range, first, last, flags);
}

EXPORT void closefrom(int first)
{
	close_range(first < 0 ? 0 : (unsigned)first, ~0U, 0);
}

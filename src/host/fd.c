/* SPDX-License-Identifier: MIT */
/* See fd.h. */
#include "host/fd.h"
#include "host/host.h"

#include <fcntl.h>
#include <sys/resource.h>

#define STDIO_FDS 3 /* these are the program's, however low the limit is */

/* The lowest number that will do. */
static int floor_of(int place, unsigned room)
{
	struct rlimit limit;

	if (host_call(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, &limit) < 0 ||
		limit.rlim_cur >= (rlim_t)place + room)
		return place;
	return limit.rlim_cur > STDIO_FDS + room ? (int)(limit.rlim_cur - room) : STDIO_FDS;
}

int host_fd_raise(int fd, int place, unsigned room)
{
	int high = fd < 0 ? -1 : (int)host_call(SYS_fcntl, fd, F_DUPFD_CLOEXEC, floor_of(place, room));

	if (high < 0)
		return fd;
	host_close(fd);
	return high;
}

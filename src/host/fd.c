/* SPDX-License-Identifier: MIT */
/* See fd.h. */
#include "host/fd.h"
#include "host/host.h"
#include "host/text.h"

#include <fcntl.h>
#include <sys/resource.h>

#define FDS_MOST 65536U /* how many numbers are tried where nothing tells which are open */
#define STDIO_FDS 3 /* numbers below are the program's, however low the limit is */

/* The lowest number that a descriptor of ours may get. */
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

/* ---- Closing the program's descriptors in a table of ours --------------------------------------- */

static bool is_kept(unsigned fd, const int *keep, unsigned nr_keep)
{
	for (unsigned i = 0; i < nr_keep; i++)
		if (keep[i] >= 0 && (unsigned)keep[i] == fd)
			return true;
	return false;
}

/* The smallest number in @keep that is at least @from; ~0U: none. */
static unsigned next_kept(unsigned from, const int *keep, unsigned nr_keep)
{
	unsigned next = ~0U;

	for (unsigned i = 0; i < nr_keep; i++)
		if (keep[i] >= 0 && (unsigned)keep[i] >= from && (unsigned)keep[i] < next)
			next = (unsigned)keep[i];
	return next;
}

static int close_ranges(const int *keep, unsigned nr_keep)
{
	for (unsigned from = 0;;) {
		unsigned next = next_kept(from, keep, nr_keep);
		long error =
			next > from ? host_call(SYS_close_range, from, next == ~0U ? ~0U : next - 1, 0) : 0;

		if (error || next == ~0U)
			return (int)error;
		from = next + 1;
	}
}

struct keeping {
	const int *keep;
	unsigned nr_keep;
};

static void close_unless_kept(void *ctx, int fd)
{
	const struct keeping *keeping = ctx;

	if (!is_kept((unsigned)fd, keeping->keep, keeping->nr_keep))
		host_close(fd);
}

/* Close what /proc lists for the calling thread's own table. /proc/self/fd would show the main thread's table. */
static int close_listed(const int *keep, unsigned nr_keep)
{
	struct keeping keeping = {keep, nr_keep};

	return host_each_number("/proc/thread-self/fd", close_unless_kept, &keeping);
}

/* Close every number that may be open. -EMFILE: only the first FDS_MOST were tried. */
static int close_possible(const int *keep, unsigned nr_keep)
{
	struct rlimit limit;
	int error = (int)host_call(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, &limit);

	if (error)
		return error;
	unsigned end = (unsigned)min_u64(limit.rlim_cur, FDS_MOST);

	for (unsigned fd = 0; fd < end; fd++)
		if (!is_kept(fd, keep, nr_keep))
			host_close((int)fd);
	return end < limit.rlim_cur ? -EMFILE : 0;
}

int host_close_others(const int *keep, unsigned nr_keep)
{
	int error = close_ranges(keep, nr_keep);

	if (error)
		error = close_listed(keep, nr_keep);
	return error ? close_possible(keep, nr_keep) : 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * read, write and their like, where a program calls libc's functions: the copy without the trap.
 *
 * The filter would catch these calls as well, for some 3 us each. It still does where libc calls itself (stdio), and for raw
 * calls; nothing but time depends on what is here.
 */
#include "run/guard.h"

#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- libc's own ------------------------------------------------------------------------------ */

/* One place for each name, so that guard_data_start() finds it. */
static ssize_t libc_read(int fd, void *data, size_t bytes)
{
	return REAL(read)(fd, data, bytes);
}

static ssize_t libc_write(int fd, const void *data, size_t bytes)
{
	return REAL(write)(fd, data, bytes);
}

static ssize_t libc_pread(int fd, void *data, size_t bytes, off_t offset)
{
	return REAL(pread)(fd, data, bytes, offset);
}

static ssize_t libc_pwrite(int fd, const void *data, size_t bytes, off_t offset)
{
	return REAL(pwrite)(fd, data, bytes, offset);
}

static ssize_t libc_recv(int fd, void *data, size_t bytes, int flags)
{
	return REAL(recv)(fd, data, bytes, flags);
}

static ssize_t libc_send(int fd, const void *data, size_t bytes, int flags)
{
	return REAL(send)(fd, data, bytes, flags);
}

static int libc_epoll_wait(int fd, struct epoll_event *events, int most, int timeout)
{
	return REAL(epoll_wait)(fd, events, most, timeout);
}

void guard_data_start(void)
{
	int saved_errno = errno;

	libc_read(-1, NULL, 0);
	libc_write(-1, NULL, 0);
	libc_pread(-1, NULL, 0, 0);
	libc_pwrite(-1, NULL, 0, 0);
	libc_recv(-1, NULL, 0, 0);
	libc_send(-1, NULL, 0, 0);
	libc_epoll_wait(-1, NULL, 1, 0);
	errno = saved_errno;
}

/* ---- One buffer ------------------------------------------------------------------------------- */

/* In the order of the kernel's arguments: descriptor, buffer, length, and what else there is. */
struct data_call {
	long nr;
	uint64_t args[6];
	bool out; /* the kernel writes */
};

static long data_libc(long nr, const uint64_t args[6])
{
	int fd = (int)args[0], flags = (int)args[3];
	void *data = (void *)args[1];
	size_t bytes = args[2];

	switch (nr) {
	case SYS_read:
		return guard_result(libc_read(fd, data, bytes));
	case SYS_write:
		return guard_result(libc_write(fd, data, bytes));
	case SYS_pread64:
		return guard_result(libc_pread(fd, data, bytes, (off_t)args[3]));
	case SYS_pwrite64:
		return guard_result(libc_pwrite(fd, data, bytes, (off_t)args[3]));
	case SYS_recvfrom:
		return guard_result(libc_recv(fd, data, bytes, flags));
	default:
		return guard_result(libc_send(fd, data, bytes, flags));
	}
}

static long data_issue(void *ctx, struct iovec *iov, unsigned nr, size_t total)
{
	const struct data_call *call = ctx;
	uint64_t args[6];

	(void)nr; /* one */
	memcpy(args, call->args, sizeof(args));
	args[1] = (uintptr_t)iov->iov_base;
	args[2] = iov->iov_len;
	if (call->nr == SYS_pread64 || call->nr == SYS_pwrite64)
		args[3] += total;
	return data_libc(call->nr, args);
}

static long data_run(struct data_call *call)
{
	uint64_t user = call->args[1];
	size_t valid = guard_valid(user, call->args[2], call->out ? PROT_WRITE : PROT_READ);
	struct iovec iov = {(void *)user, valid};
	struct scratch scratch;
	struct stream stream = {
		.scratch = &scratch,
		.iov = &iov,
		.nr = 1,
		.out = call->out,
		.fd = (int)call->args[0],
		.whole = call->nr == SYS_recvfrom && (int)call->args[3] & MSG_WAITALL,
		.issue = data_issue,
		.ctx = call,
	};
	long result;

	if (!valid) /* the kernel says what is wrong with it */
		return data_libc(call->nr, call->args);
	scratch_open(&scratch);
	result = stream_run(&stream);
	scratch_close(&scratch);
	/* No memory to go through: nothing has gone, and the trap does without. */
	return result == -ENOMEM ? data_libc(call->nr, call->args) : result;
}

static bool concerns_us(const void *data, size_t bytes)
{
	return unlikely(run.guarded) && bytes && run_manages(data);
}

/* ---- Interposed -------------------------------------------------------------------------------- */

EXPORT ssize_t read(int fd, void *data, size_t bytes)
{
	struct data_call call = {SYS_read, {(uint64_t)fd, (uintptr_t)data, bytes}, true};

	return concerns_us(data, bytes) ? guard_errno(data_run(&call)) : libc_read(fd, data, bytes);
}

EXPORT ssize_t write(int fd, const void *data, size_t bytes)
{
	struct data_call call = {SYS_write, {(uint64_t)fd, (uintptr_t)data, bytes}, false};

	return concerns_us(data, bytes) ? guard_errno(data_run(&call)) : libc_write(fd, data, bytes);
}

EXPORT ssize_t pread(int fd, void *data, size_t bytes, off_t offset)
{
	struct data_call call = {SYS_pread64, {(uint64_t)fd, (uintptr_t)data, bytes, (uint64_t)offset}, true};

	return concerns_us(data, bytes) ? guard_errno(data_run(&call)) : libc_pread(fd, data, bytes, offset);
}

EXPORT ssize_t pwrite(int fd, const void *data, size_t bytes, off_t offset)
{
	struct data_call call = {
		SYS_pwrite64, {(uint64_t)fd, (uintptr_t)data, bytes, (uint64_t)offset}, false};

	return concerns_us(data, bytes) ? guard_errno(data_run(&call)) : libc_pwrite(fd, data, bytes, offset);
}

/* The names that programs with 64-bit offsets call; the same functions where off_t has 64 bits anyway. */
EXPORT ssize_t pread64(int fd, void *data, size_t bytes, off64_t offset)
{
	return pread(fd, data, bytes, offset);
}

EXPORT ssize_t pwrite64(int fd, const void *data, size_t bytes, off64_t offset)
{
	return pwrite(fd, data, bytes, offset);
}

EXPORT ssize_t recv(int fd, void *data, size_t bytes, int flags)
{
	struct data_call call = {SYS_recvfrom, {(uint64_t)fd, (uintptr_t)data, bytes, (uint64_t)flags}, true};

	return concerns_us(data, bytes) ? guard_errno(data_run(&call)) : libc_recv(fd, data, bytes, flags);
}

/* What is sent without a copy is read after the call: that is the trap's to refuse. */
EXPORT ssize_t send(int fd, const void *data, size_t bytes, int flags)
{
	struct data_call call = {SYS_sendto, {(uint64_t)fd, (uintptr_t)data, bytes, (uint64_t)flags}, false};

	return concerns_us(data, bytes) && !(flags & MSG_ZEROCOPY) ? guard_errno(data_run(&call))
								   : libc_send(fd, data, bytes, flags);
}

/* ---- Events ------------------------------------------------------------------------------------- */

/*
 * The events are few, whatever there is room for. What comes back says how many there are; where the room is not all writable
 * the kernel, or the trap, is asked.
 */
static int wait_for_events(int fd, struct epoll_event *user, int most, int timeout)
{
	size_t bytes = (size_t)most * sizeof(*user);
	struct epoll_event *events = NULL;
	struct scratch scratch;
	int nr;

	scratch_open(&scratch);
	if (guard_valid((uintptr_t)user, bytes, PROT_WRITE) == bytes)
		events = scratch_alloc(&scratch, bytes, SCRATCH_ANYWHERE);
	nr = libc_epoll_wait(fd, events ? events : user, most, timeout);
	if (events && nr > 0)
		memcpy(user, events, (size_t)nr * sizeof(*user));
	scratch_close(&scratch);
	return nr;
}

static bool events_concern_us(const struct epoll_event *events, int most)
{
	return most > 0 && (size_t)most * sizeof(*events) <= GUARD_PIECE_BYTES && concerns_us(events, 1);
}

EXPORT int epoll_wait(int fd, struct epoll_event *events, int most, int timeout)
{
	return events_concern_us(events, most) ? wait_for_events(fd, events, most, timeout)
					       : libc_epoll_wait(fd, events, most, timeout);
}

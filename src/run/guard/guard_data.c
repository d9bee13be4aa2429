/* SPDX-License-Identifier: MIT */
/*
 * Calls with one buffer, of any length: read, write and their like.
 *
 * A trapped call comes here if its buffer is too long for a piece, or is valid in part. The trap costs a signal,
 * about 3 us. Where a program calls libc's function, the same copy is made without the trap: the kernel gets scratch
 * memory. The trap remains for raw calls, for calls that libc makes itself (stdio), and for what is not simple:
 * memory that is not all valid, a managed socket address.
 */
#include "run/guard/guard.h"
#include "run/guard/guard_libc.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#ifndef MSG_ZEROCOPY
#define MSG_ZEROCOPY 0x4000000
#endif

enum { ARG_FD, ARG_DATA, ARG_BYTES, ARG_OFFSET, ARG_FLAGS = 3, ARG_NAME, ARG_NAME_LEN };

struct data_call {
	long nr;
	uint64_t args[6]; /* the kernel's */
	make_fn make;
};

static bool is_out(const struct data_call *call)
{
	return call->nr == SYS_read || call->nr == SYS_pread64 || call->nr == SYS_recvfrom;
}

/* With MSG_PEEK the bytes stay in the socket, so a second window would read the same bytes again. */
static bool waits_for_all(const struct data_call *call)
{
	return call->nr == SYS_recvfrom && (call->args[ARG_FLAGS] & (MSG_WAITALL | MSG_PEEK)) == MSG_WAITALL;
}

static long data_issue(void *ctx, struct iovec *iov, unsigned nr, size_t total)
{
	const struct data_call *call = ctx;
	uint64_t args[6];

	(void)nr; /* it is always 1 */
	memcpy(args, call->args, sizeof(args));
	args[ARG_DATA] = (uintptr_t)iov->iov_base;
	args[ARG_BYTES] = iov->iov_len;
	if (call->nr == SYS_pread64 || call->nr == SYS_pwrite64)
		args[ARG_OFFSET] += total;
	return call->make(call->nr, args);
}

static size_t data_valid(const struct data_call *call)
{
	return guard_valid(
		call->args[ARG_DATA], call->args[ARG_BYTES], is_out(call) ? PROT_WRITE : PROT_READ);
}

static long data_run(struct data_call *call, struct scratch *scratch, size_t bytes)
{
	struct iovec iov = {(void *)call->args[ARG_DATA], bytes};
	struct stream stream = {
		.scratch = scratch,
		.iov = &iov,
		.nr = 1,
		.out = is_out(call),
		.fd = (int)call->args[ARG_FD],
		.whole = waits_for_all(call),
		.issue = data_issue,
		.ctx = call,
	};

	return stream_run(&stream);
}

/* ---- Trapped ----------------------------------------------------------------------------------- */

long guard_run_data(struct guard_call *trapped)
{
	struct data_call call = {.nr = trapped->nr, .make = guard_issue};

	if (call.nr == SYS_sendto && trapped->arg[ARG_FLAGS] & MSG_ZEROCOPY)
		return -ENOBUFS;
	if (!trapped->data)
		return guard_issue_touching(trapped);
	memcpy(call.args, trapped->now,
		sizeof(call.args)); /* the pointer to the data is still the program's */
	size_t valid = data_valid(&call);

	/* A message is sent whole or not at all: the kernel reports the part that cannot be read. */
	if (valid < call.args[ARG_BYTES] && call.nr == SYS_sendto &&
		!stream_takes_parts((int)call.args[ARG_FD]))
		valid = 0;
	return valid ? data_run(&call, &trapped->scratch, valid) : guard_issue(call.nr, call.args);
}

/* ---- Interposed --------------------------------------------------------------------------------- */

static long make_libc(long nr, const uint64_t args[6])
{
	int fd = (int)args[ARG_FD], flags = (int)args[ARG_FLAGS];
	void *data = (void *)args[ARG_DATA], *name = (void *)args[ARG_NAME];
	size_t bytes = args[ARG_BYTES];
	off_t offset = (off_t)args[ARG_OFFSET];

	switch (nr) {
	case SYS_read:
		return guard_result(libc_own()->read(fd, data, bytes));
	case SYS_write:
		return guard_result(libc_own()->write(fd, data, bytes));
	case SYS_pread64:
		return guard_result(libc_own()->pread(fd, data, bytes, offset));
	case SYS_pwrite64:
		return guard_result(libc_own()->pwrite(fd, data, bytes, offset));
	case SYS_recvfrom:
		return guard_result(
			libc_own()->recvfrom(fd, data, bytes, flags, name, (socklen_t *)args[ARG_NAME_LEN]));
	default:
		return guard_result(
			libc_own()->sendto(fd, data, bytes, flags, name, (socklen_t)args[ARG_NAME_LEN]));
	}
}

/* => the buffer is managed. As libc's function: errno changes only when it fails */
static ssize_t data_libc(struct data_call *call)
{
	int saved_errno = errno;
	struct scratch scratch;
	long result;

	call->make = make_libc;
	if (data_valid(call) < call->args[ARG_BYTES])
		return guard_errno(make_libc(call->nr, call->args));
	scratch_open(&scratch);
	result = data_run(call, &scratch, call->args[ARG_BYTES]);
	scratch_close(&scratch);
	/* No scratch memory: nothing was transferred yet. With the program's pointer the call traps, and works. */
	if (result == -ENOMEM)
		result = make_libc(call->nr, call->args);
	errno = saved_errno;
	return guard_errno(result);
}

EXPORT ssize_t read(int fd, void *data, size_t bytes)
{
	if (likely(!guard_concerns(data, bytes)))
		return libc_own()->read(fd, data, bytes);
	return data_libc(&(struct data_call){SYS_read, {(uint64_t)fd, (uintptr_t)data, bytes}, NULL});
}

EXPORT ssize_t write(int fd, const void *data, size_t bytes)
{
	if (likely(!guard_concerns(data, bytes)))
		return libc_own()->write(fd, data, bytes);
	return data_libc(&(struct data_call){SYS_write, {(uint64_t)fd, (uintptr_t)data, bytes}, NULL});
}

EXPORT ssize_t pread(int fd, void *data, size_t bytes, off_t offset)
{
	if (likely(!guard_concerns(data, bytes)))
		return libc_own()->pread(fd, data, bytes, offset);
	return data_libc(&(struct data_call){
		SYS_pread64, {(uint64_t)fd, (uintptr_t)data, bytes, (uint64_t)offset}, NULL});
}

EXPORT ssize_t pwrite(int fd, const void *data, size_t bytes, off_t offset)
{
	if (likely(!guard_concerns(data, bytes)))
		return libc_own()->pwrite(fd, data, bytes, offset);
	return data_libc(&(struct data_call){
		SYS_pwrite64, {(uint64_t)fd, (uintptr_t)data, bytes, (uint64_t)offset}, NULL});
}

EXPORT ssize_t recv(int fd, void *data, size_t bytes, int flags)
{
	if (likely(!guard_concerns(data, bytes)))
		return libc_own()->recv(fd, data, bytes, flags);
	return data_libc(&(struct data_call){
		SYS_recvfrom, {(uint64_t)fd, (uintptr_t)data, bytes, (uint32_t)flags}, NULL});
}

EXPORT ssize_t recvfrom(
	int fd, void *data, size_t bytes, int flags, struct sockaddr *name, socklen_t *name_len)
{
	if (likely(!guard_concerns(data, bytes)) || run_manages(name) || run_manages(name_len))
		return libc_own()->recvfrom(fd, data, bytes, flags, name, name_len);
	return data_libc(&(struct data_call){SYS_recvfrom,
		{(uint64_t)fd, (uintptr_t)data, bytes, (uint32_t)flags, (uintptr_t)name, (uintptr_t)name_len},
		NULL});
}

/* With MSG_ZEROCOPY the kernel reads the data after the call, so a copy is no use: the trap refuses such a call. */
static bool sends_copy(const void *data, size_t bytes, int flags)
{
	return guard_concerns(data, bytes) && !(flags & MSG_ZEROCOPY);
}

EXPORT ssize_t send(int fd, const void *data, size_t bytes, int flags)
{
	if (likely(!sends_copy(data, bytes, flags)))
		return libc_own()->send(fd, data, bytes, flags);
	return data_libc(&(struct data_call){
		SYS_sendto, {(uint64_t)fd, (uintptr_t)data, bytes, (uint32_t)flags}, NULL});
}

EXPORT ssize_t sendto(
	int fd, const void *data, size_t bytes, int flags, const struct sockaddr *name, socklen_t name_len)
{
	if (likely(!sends_copy(data, bytes, flags)) || run_manages(name))
		return libc_own()->sendto(fd, data, bytes, flags, name, name_len);
	return data_libc(&(struct data_call){SYS_sendto,
		{(uint64_t)fd, (uintptr_t)data, bytes, (uint32_t)flags, (uintptr_t)name, name_len}, NULL});
}

/* ---- The same by other names ---------------------------------------------------------------------- */

/* The names that programs with 64-bit offsets call. The functions are the same, because off_t has 64 bits anyway. */
EXPORT ssize_t pread64(int fd, void *data, size_t bytes, off64_t offset)
{
	return pread(fd, data, bytes, offset);
}

EXPORT ssize_t pwrite64(int fd, const void *data, size_t bytes, off64_t offset)
{
	return pwrite(fd, data, bytes, offset);
}

/* The names that programs built with _FORTIFY_SOURCE call. They pass the size of their buffer, too. */
EXPORT ssize_t __read_chk(int fd, void *data, size_t bytes, size_t room)
{
	libc_check_room(bytes, room);
	return read(fd, data, bytes);
}

EXPORT ssize_t __pread_chk(int fd, void *data, size_t bytes, off_t offset, size_t room)
{
	libc_check_room(bytes, room);
	return pread(fd, data, bytes, offset);
}

EXPORT ssize_t __pread64_chk(int fd, void *data, size_t bytes, off64_t offset, size_t room)
{
	libc_check_room(bytes, room);
	return pread(fd, data, bytes, offset);
}

EXPORT ssize_t __recv_chk(int fd, void *data, size_t bytes, size_t room, int flags)
{
	libc_check_room(bytes, room);
	return recv(fd, data, bytes, flags);
}

EXPORT ssize_t __recvfrom_chk(
	int fd, void *data, size_t bytes, size_t room, int flags, struct sockaddr *name, socklen_t *name_len)
{
	libc_check_room(bytes, room);
	return recvfrom(fd, data, bytes, flags, name, name_len);
}

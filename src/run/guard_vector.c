/* SPDX-License-Identifier: MIT */
/*
 * Calls whose buffers are named by an iovec or a msghdr.
 *
 * The filter sees such a structure's address, not what it names. So these calls are interposed, and where anything in them is
 * managed, the kernel gets copies. A raw call whose structure itself is managed is trapped and comes here as well; a raw call
 * with a native structure that names managed memory is not seen.
 */
#include "run/guard.h"
#include "run/raw.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>

#define NAME_MOST 4096
#define CONTROL_MOST (1 * MIB)

#ifndef MSG_ZEROCOPY
#define MSG_ZEROCOPY 0x4000000
#endif
#ifndef RWF_NOWAIT
#define RWF_NOWAIT 8
#endif

/* The kernel's call: guard_issue, or libc's function, which can be cancelled. Arguments are the kernel's. */
typedef long (*make_fn)(long nr, const uint64_t args[6]);

struct vector {
	long nr;
	uint64_t args[6];
	make_fn make;
	struct scratch scratch;
	struct iovec *iov;
	unsigned nr_iov;
};

/* ---- The list -------------------------------------------------------------------------------- */

static bool any_managed(const struct iovec *iov, size_t nr)
{
	for (size_t i = 0; i < nr; i++)
		if (iov[i].iov_len && run_manages(iov[i].iov_base))
			return true;
	return false;
}

/* Interposed functions have read it already. */
static bool fetch(const struct vector *v, void *to, uint64_t user, size_t bytes)
{
	if (v->make == guard_issue || run_manages((void *)user))
		return guard_read(to, user, bytes);
	memcpy(to, (void *)user, bytes);
	return true;
}

/* Up to where it is valid: the kernel stops there, too. */
static void list_trim(struct vector *v, int prot)
{
	for (unsigned i = 0; i < v->nr_iov; i++) {
		struct iovec *part = &v->iov[i];

		if (!run_manages(part->iov_base))
			continue;
		size_t valid = guard_valid((uintptr_t)part->iov_base, part->iov_len, prot);
		if (valid == part->iov_len)
			continue;
		part->iov_len = valid;
		v->nr_iov = i + (valid > 0);
	}
}

/* false: the kernel shall say what is wrong with it */
static bool list_take(struct vector *v, uint64_t user, size_t nr, bool out)
{
	if (nr == 0 || nr > IOV_MAX)
		return false;
	v->iov = scratch_alloc(&v->scratch, nr * sizeof(*v->iov), SCRATCH_ANYWHERE);
	if (!v->iov || !fetch(v, v->iov, user, nr * sizeof(*v->iov)))
		return false;
	v->nr_iov = (unsigned)nr;
	list_trim(v, out ? PROT_WRITE : PROT_READ);
	return v->nr_iov > 0;
}

/* ---- readv and its like ---------------------------------------------------------------------- */

static bool reads(long nr)
{
	return nr == SYS_readv || nr == SYS_preadv || nr == SYS_preadv2;
}

static bool has_offset(const struct vector *v)
{
	return v->nr != SYS_readv && v->nr != SYS_writev && (int64_t)v->args[3] >= 0;
}

static long vector_issue(void *ctx, struct iovec *iov, unsigned nr, size_t total)
{
	const struct vector *v = ctx;
	uint64_t args[6];

	memcpy(args, v->args, sizeof(args));
	args[1] = (uintptr_t)iov;
	args[2] = nr;
	if (has_offset(v))
		args[3] += total;
	return v->make(v->nr, args);
}

static long vector_run(long nr, const uint64_t args[6], make_fn make)
{
	struct vector v = {.nr = nr, .make = make};
	long result;

	memcpy(v.args, args, sizeof(v.args));
	scratch_open(&v.scratch);
	if (list_take(&v, args[1], args[2], reads(nr))) {
		struct stream stream = {
			.scratch = &v.scratch,
			.iov = v.iov,
			.nr = v.nr_iov,
			.out = reads(nr),
			.fd = (int)args[0],
			.issue = vector_issue,
			.ctx = &v,
		};
		result = stream_run(&stream);
	} else {
		result = make(nr, args);
	}
	scratch_close(&v.scratch);
	return result;
}

/* ---- sendmsg and recvmsg --------------------------------------------------------------------- */

struct message {
	struct vector v;
	struct msghdr *hdr; /* ours */
	struct msghdr asked; /* the program's */
	int fd, flags;
	bool out; /* received */
};

/* A stand-in for a part that is managed. false: it cannot be had, or is not valid. */
static bool part_take(struct message *m, void **part, size_t bytes, size_t most)
{
	if (!*part || !bytes || !run_manages(*part))
		return true;
	if (bytes > most || guard_valid((uintptr_t)*part, bytes, m->out ? PROT_WRITE : PROT_READ) < bytes)
		return false;
	void *native = scratch_alloc(&m->v.scratch, bytes, SCRATCH_ANYWHERE);
	if (!native)
		return false;
	if (!m->out)
		memcpy(native, *part, bytes);
	*part = native;
	return true;
}

static bool message_take(struct message *m, uint64_t user)
{
	m->hdr = scratch_alloc(&m->v.scratch, sizeof(*m->hdr), SCRATCH_ANYWHERE);
	if (!m->hdr || !fetch(&m->v, m->hdr, user, sizeof(*m->hdr)))
		return false;
	m->asked = *m->hdr;
	return part_take(m, &m->hdr->msg_name, m->hdr->msg_namelen, NAME_MOST) &&
	       part_take(m, &m->hdr->msg_control, m->hdr->msg_controllen, CONTROL_MOST) &&
	       (!m->hdr->msg_iovlen ||
		       list_take(&m->v, (uintptr_t)m->hdr->msg_iov, m->hdr->msg_iovlen, m->out));
}

static long message_issue(void *ctx, struct iovec *iov, unsigned nr, size_t total)
{
	struct message *m = ctx;
	uint64_t args[6] = {(uint64_t)m->fd, (uintptr_t)m->hdr, (uint64_t)m->flags};

	m->hdr->msg_iov = iov;
	m->hdr->msg_iovlen = nr;
	if (total) { /* what came with it has gone with the first part */
		m->hdr->msg_control = NULL;
		m->hdr->msg_controllen = 0;
	}
	return m->v.make(m->out ? SYS_recvmsg : SYS_sendmsg, args);
}

static void part_back(void *user, const void *native, size_t bytes, size_t room)
{
	if (user && user != native)
		memcpy(user, native, min_u64(bytes, room));
}

static void message_back(const struct message *m, struct msghdr *user)
{
	const struct msghdr *hdr = m->hdr;

	part_back(m->asked.msg_name, hdr->msg_name, hdr->msg_namelen, m->asked.msg_namelen);
	part_back(m->asked.msg_control, hdr->msg_control, hdr->msg_controllen, m->asked.msg_controllen);
	user->msg_namelen = hdr->msg_namelen;
	user->msg_controllen = hdr->msg_controllen;
	user->msg_flags = hdr->msg_flags;
}

static long message_run(int fd, struct msghdr *user, int flags, bool out, make_fn make)
{
	struct message m = {.v = {.make = make}, .fd = fd, .flags = flags, .out = out};
	uint64_t args[6] = {(uint64_t)fd, (uintptr_t)user, (uint64_t)flags};
	long result;

	scratch_open(&m.v.scratch);
	if (!message_take(&m, (uintptr_t)user)) {
		result = make(out ? SYS_recvmsg : SYS_sendmsg, args);
	} else if (!out && flags & MSG_ZEROCOPY && any_managed(m.v.iov, m.v.nr_iov)) {
		result =
			-ENOBUFS; /* the kernel would use the memory after the call: as when it may not pin that much */
	} else {
		struct stream stream = {
			.scratch = &m.v.scratch,
			.iov = m.v.iov,
			.nr = m.v.nr_iov,
			.out = out,
			.fd = fd,
			.whole = flags & MSG_WAITALL,
			.issue = message_issue,
			.ctx = &m,
		};
		result = stream_run(&stream);
		if (out && result >= 0)
			message_back(&m, user);
	}
	scratch_close(&m.v.scratch);
	return result;
}

static long messages_send(int fd, struct mmsghdr *user, unsigned nr, int flags, make_fn make)
{
	for (unsigned i = 0; i < nr; i++) {
		long result = message_run(fd, &user[i].msg_hdr, flags, false, make);

		if (result < 0)
			return i ? (long)i : result;
		user[i].msg_len = (unsigned)result;
	}
	return nr;
}

static bool is_over(const struct timespec *end)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec > end->tv_sec || (now.tv_sec == end->tv_sec && now.tv_nsec >= end->tv_nsec);
}

/* The kernel, too, looks at the time only between two messages. */
static long messages_receive(
	int fd, struct mmsghdr *user, unsigned nr, int flags, const struct timespec *timeout, make_fn make)
{
	struct timespec end = {0};

	if (timeout) {
		clock_gettime(CLOCK_MONOTONIC, &end);
		end.tv_sec += timeout->tv_sec + (end.tv_nsec + timeout->tv_nsec) / 1000000000;
		end.tv_nsec = (end.tv_nsec + timeout->tv_nsec) % 1000000000;
	}
	for (unsigned i = 0; i < nr; i++) {
		int more = i && flags & MSG_WAITFORONE ? MSG_DONTWAIT : 0;
		long result = message_run(fd, &user[i].msg_hdr, (flags & ~MSG_WAITFORONE) | more, true, make);

		if (result < 0)
			return i ? (long)i : result;
		user[i].msg_len = (unsigned)result;
		if (timeout && is_over(&end))
			return (long)i + 1;
	}
	return nr;
}

/* ---- Trapped --------------------------------------------------------------------------------- */

long guard_run_vector(struct guard_call *call)
{
	return vector_run(call->nr, call->arg, guard_issue);
}

long guard_run_message(struct guard_call *call)
{
	int fd = (int)call->arg[0];
	void *user = (void *)call->arg[1];

	if (guard_valid(call->arg[1], sizeof(struct msghdr), PROT_READ) < sizeof(struct msghdr))
		return -EFAULT;
	switch (call->nr) {
	case SYS_sendmsg:
		return message_run(fd, user, (int)call->arg[2], false, guard_issue);
	case SYS_recvmsg:
		return message_run(fd, user, (int)call->arg[2], true, guard_issue);
	case SYS_sendmmsg:
		return messages_send(fd, user, (unsigned)call->arg[2], (int)call->arg[3], guard_issue);
	default:
		return messages_receive(fd, user, (unsigned)call->arg[2], (int)call->arg[3],
			(const struct timespec *)call->arg[4], guard_issue);
	}
}

static long data_issue(void *ctx, struct iovec *iov, unsigned nr, size_t total)
{
	const struct guard_call *call = ctx;
	uint64_t args[6];

	(void)nr; /* one */
	memcpy(args, call->now, sizeof(args));
	args[call->data->arg] = (uintptr_t)iov->iov_base;
	args[call->data->with] = iov->iov_len;
	if (call->nr == SYS_pread64 || call->nr == SYS_pwrite64)
		args[3] += total;
	return guard_issue(call->nr, args);
}

long guard_run_data(struct guard_call *call)
{
	if (call->nr == SYS_sendto && (int)call->arg[3] & MSG_ZEROCOPY)
		return -ENOBUFS;
	if (!call->data)
		return guard_issue_touching(call);
	bool out = call->data->kind == KIND_DATA_OUT;
	uint64_t user = call->arg[call->data->arg];
	struct iovec iov = {
		(void *)user, guard_valid(user, call->arg[call->data->with], out ? PROT_WRITE : PROT_READ)};
	struct stream stream = {
		.scratch = &call->scratch,
		.iov = &iov,
		.nr = 1,
		.out = out,
		.fd = (int)call->arg[0],
		.whole = call->nr == SYS_recvfrom && (int)call->arg[3] & MSG_WAITALL,
		.issue = data_issue,
		.ctx = call,
	};
	return iov.iov_len ? stream_run(&stream) : guard_issue(call->nr, call->now);
}

/* vmsplice gives pages away; ours are not to be given. Copying is what the pipe's reader cannot tell from it. */
static long splice_by_copy(int fd, uint64_t iov, size_t nr, unsigned flags, make_fn make)
{
	uint64_t query[6] = {(uint64_t)fd, F_GETFL};
	long mode = guard_issue(SYS_fcntl, query);
	bool out = mode >= 0 && (mode & O_ACCMODE) == O_RDONLY;
	uint64_t args[6] = {(uint64_t)fd, iov, nr, (uint64_t)-1, (uint64_t)-1,
		flags & SPLICE_F_NONBLOCK ? RWF_NOWAIT : 0};

	return vector_run(out ? SYS_preadv2 : SYS_pwritev2, args, make);
}

long guard_run_vmsplice(struct guard_call *call)
{
	return splice_by_copy(
		(int)call->arg[0], call->arg[1], call->arg[2], (unsigned)call->arg[3], guard_issue);
}

/* ---- Interposed ------------------------------------------------------------------------------ */

/* @iov is read as libc reads its arguments: a bad pointer is the caller's fault. */
static bool concerns_us(const struct iovec *iov, int nr)
{
	if (likely(!run.guarded) || nr <= 0 || nr > IOV_MAX)
		return false;
	return run_manages(iov) || any_managed(iov, (size_t)nr);
}

/* The way from the kernel's arguments back to libc's functions, which are cancellation points. */
static long make_libc(long nr, const uint64_t args[6])
{
	int fd = (int)args[0], count = (int)args[2], flags = (int)args[5];
	const struct iovec *iov = (const struct iovec *)args[1];
	off_t offset = (off_t)args[3];

	switch (nr) {
	case SYS_readv:
		return guard_result(REAL(readv)(fd, iov, count));
	case SYS_writev:
		return guard_result(REAL(writev)(fd, iov, count));
	case SYS_preadv:
		return guard_result(REAL(preadv)(fd, iov, count, offset));
	case SYS_pwritev:
		return guard_result(REAL(pwritev)(fd, iov, count, offset));
	case SYS_preadv2:
		return guard_result(REAL(preadv2)(fd, iov, count, offset, flags));
	case SYS_pwritev2:
		return guard_result(REAL(pwritev2)(fd, iov, count, offset, flags));
	case SYS_sendmsg:
		return guard_result(REAL(sendmsg)(fd, (const struct msghdr *)args[1], (int)args[2]));
	default:
		return guard_result(REAL(recvmsg)(fd, (struct msghdr *)args[1], (int)args[2]));
	}
}

static ssize_t vector_libc(long nr, int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
	uint64_t args[6] = {
		(uint64_t)fd, (uintptr_t)iov, (uint64_t)count, (uint64_t)offset, 0, (uint64_t)flags};

	if (concerns_us(iov, count))
		return guard_errno(vector_run(nr, args, make_libc));
	return guard_errno(make_libc(nr, args));
}

EXPORT ssize_t readv(int fd, const struct iovec *iov, int count)
{
	return vector_libc(SYS_readv, fd, iov, count, 0, 0);
}

EXPORT ssize_t writev(int fd, const struct iovec *iov, int count)
{
	return vector_libc(SYS_writev, fd, iov, count, 0, 0);
}

EXPORT ssize_t preadv(int fd, const struct iovec *iov, int count, off_t offset)
{
	return vector_libc(SYS_preadv, fd, iov, count, offset, 0);
}

EXPORT ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t offset)
{
	return vector_libc(SYS_pwritev, fd, iov, count, offset, 0);
}

EXPORT ssize_t preadv2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
	return vector_libc(SYS_preadv2, fd, iov, count, offset, flags);
}

EXPORT ssize_t pwritev2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
	return vector_libc(SYS_pwritev2, fd, iov, count, offset, flags);
}

/* The names that programs with 64-bit offsets call; the same functions where off_t has 64 bits anyway. */
EXPORT ssize_t preadv64(int fd, const struct iovec *iov, int count, off64_t offset)
{
	return preadv(fd, iov, count, offset);
}

EXPORT ssize_t pwritev64(int fd, const struct iovec *iov, int count, off64_t offset)
{
	return pwritev(fd, iov, count, offset);
}

EXPORT ssize_t preadv64v2(int fd, const struct iovec *iov, int count, off64_t offset, int flags)
{
	return preadv2(fd, iov, count, offset, flags);
}

EXPORT ssize_t pwritev64v2(int fd, const struct iovec *iov, int count, off64_t offset, int flags)
{
	return pwritev2(fd, iov, count, offset, flags);
}

static bool message_concerns_us(const struct msghdr *hdr)
{
	if (likely(!run.guarded) || !hdr)
		return false;
	return run_manages(hdr) || run_manages(hdr->msg_name) || run_manages(hdr->msg_control) ||
	       concerns_us(hdr->msg_iov, (int)min_u64(hdr->msg_iovlen, INT_MAX));
}

EXPORT ssize_t sendmsg(int fd, const struct msghdr *hdr, int flags)
{
	if (message_concerns_us(hdr))
		return guard_errno(message_run(fd, (struct msghdr *)hdr, flags, false, make_libc));
	return REAL(sendmsg)(fd, hdr, flags);
}

EXPORT ssize_t recvmsg(int fd, struct msghdr *hdr, int flags)
{
	if (message_concerns_us(hdr))
		return guard_errno(message_run(fd, hdr, flags, true, make_libc));
	return REAL(recvmsg)(fd, hdr, flags);
}

static bool messages_concern_us(const struct mmsghdr *messages, unsigned nr)
{
	for (unsigned i = 0; run.guarded && i < nr; i++)
		if (message_concerns_us(&messages[i].msg_hdr))
			return true;
	return false;
}

EXPORT int sendmmsg(int fd, struct mmsghdr *messages, unsigned nr, int flags)
{
	if (messages_concern_us(messages, nr))
		return (int)guard_errno(messages_send(fd, messages, nr, flags, make_libc));
	return REAL(sendmmsg)(fd, messages, nr, flags);
}

EXPORT int recvmmsg(int fd, struct mmsghdr *messages, unsigned nr, int flags, struct timespec *timeout)
{
	if (messages_concern_us(messages, nr))
		return (int)guard_errno(messages_receive(fd, messages, nr, flags, timeout, make_libc));
	return REAL(recvmmsg)(fd, messages, nr, flags, timeout);
}

EXPORT ssize_t vmsplice(int fd, const struct iovec *iov, size_t count, unsigned flags)
{
	if (concerns_us(iov, (int)min_u64(count, INT_MAX)))
		return guard_errno(splice_by_copy(fd, (uintptr_t)iov, count, flags, make_libc));
	return REAL(vmsplice)(fd, iov, count, flags);
}

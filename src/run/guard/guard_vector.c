/* SPDX-License-Identifier: MIT */
/*
 * Calls whose buffers are named by an iovec.
 *
 * The filter sees the list's address, not the buffers that the list names. So libc's functions are interposed. Where
 * a buffer is managed, the kernel gets copies. A raw call whose list itself is managed is trapped, and comes here as
 * well. A raw call with a native list that names managed memory is not seen.
 */
#include "run/guard/guard_vector.h"
#include "run/guard/guard_libc.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#ifndef RWF_NOWAIT
#define RWF_NOWAIT 8
#endif

/* ---- The list -------------------------------------------------------------------------------- */

bool vector_any_managed(const struct iovec *iov, size_t nr)
{
	for (size_t i = 0; i < nr; i++)
		if (iov[i].iov_len && run_manages(iov[i].iov_base))
			return true;
	return false;
}

/* Cut the list at the first byte that is not valid: the kernel stops there, too. */
static void list_trim(struct vector *v, int prot)
{
	v->bytes = 0;
	v->bad.iov_len = 0;
	for (unsigned i = 0; i < v->nr_iov && !v->bad.iov_len; i++) {
		struct iovec *part = &v->iov[i];
		size_t valid = part->iov_len;

		if (run_manages(part->iov_base))
			valid = guard_valid((uintptr_t)part->iov_base, part->iov_len, prot);
		v->bytes += valid;
		if (valid == part->iov_len)
			continue;
		v->bad = (struct iovec){(uint8_t *)part->iov_base + valid, part->iov_len - valid};
		part->iov_len = valid;
		v->nr_iov = i + (valid > 0);
	}
}

unsigned vector_add_bad(const struct vector *v, struct iovec *iov, unsigned nr, size_t total)
{
	size_t bytes = total;

	for (unsigned i = 0; i < nr; i++)
		bytes += iov[i].iov_len;
	if (!v->bad.iov_len || bytes < v->bytes || nr == IOV_MAX)
		return nr;
	iov[nr] = v->bad;
	return nr + 1;
}

bool vector_take(struct vector *v, uint64_t user, size_t nr, bool out)
{
	if (nr == 0 || nr > IOV_MAX)
		return false;
	v->iov = scratch_alloc(&v->scratch, nr * sizeof(*v->iov), SCRATCH_ANYWHERE);
	if (!v->iov || !guard_read(v->iov, user, nr * sizeof(*v->iov)))
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
	args[2] = vector_add_bad(v, iov, nr, total);
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
	if (vector_take(&v, args[1], args[2], reads(nr))) {
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

/* ---- Trapped --------------------------------------------------------------------------------- */

long guard_run_vector(struct guard_call *call)
{
	return vector_run(call->nr, call->arg, guard_issue);
}

/*
 * vmsplice gives pages to the pipe. Managed pages cannot be given away, so they are copied: the pipe's reader sees
 * the same.
 */
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

bool vector_concerns_us(const struct iovec *iov, int nr)
{
	if (likely(!run.guarded) || nr <= 0 || nr > IOV_MAX)
		return false;
	if (run_manages(iov))
		return true;
	return user_readable(iov, (size_t)nr * sizeof(*iov)) && vector_any_managed(iov, (size_t)nr);
}

/* Call libc's function for call @nr: it is a cancellation point. The arguments are the kernel's. */
static long make_libc(long nr, const uint64_t args[6])
{
	int fd = (int)args[0], count = (int)args[2], flags = (int)args[5];
	const struct iovec *iov = (const struct iovec *)args[1];
	off_t offset = (off_t)args[3];

	switch (nr) {
	case SYS_readv:
		return guard_result(libc_own()->readv(fd, iov, count));
	case SYS_writev:
		return guard_result(libc_own()->writev(fd, iov, count));
	case SYS_preadv:
		return guard_result(libc_own()->preadv(fd, iov, count, offset));
	case SYS_pwritev:
		return guard_result(libc_own()->pwritev(fd, iov, count, offset));
	case SYS_preadv2:
		return guard_result(libc_own()->preadv2(fd, iov, count, offset, flags));
	default:
		return guard_result(libc_own()->pwritev2(fd, iov, count, offset, flags));
	}
}

static ssize_t vector_libc(long nr, int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
	uint64_t args[6] = {
		(uint64_t)fd, (uintptr_t)iov, (uint64_t)count, (uint64_t)offset, 0, (uint64_t)flags};

	if (vector_concerns_us(iov, count))
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

EXPORT ssize_t vmsplice(int fd, const struct iovec *iov, size_t count, unsigned flags)
{
	if (vector_concerns_us(iov, (int)min_u64(count, INT_MAX)))
		return guard_errno(splice_by_copy(fd, (uintptr_t)iov, count, flags, make_libc));
	return libc_own()->vmsplice(fd, iov, count, flags);
}

/* SPDX-License-Identifier: MIT */
/*
 * Calls whose buffers are named by a msghdr: a socket address, a list of buffers, and control data.
 *
 * libc's functions are interposed for the same reason as those with an iovec, and trapped in the same case
 * (guard_vector.c).
 */
#include "run/guard/guard_vector.h"
#include "run/guard/guard_libc.h"

#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>

#define NAME_MOST 4096
#define CONTROL_MOST (1 * MIB)
#define SECOND_NS 1000000000LL
#define TIMEOUT_MOST_S 1000000000ULL /* 30 years: a longer timeout makes no difference */

#ifndef MSG_ZEROCOPY
#define MSG_ZEROCOPY 0x4000000
#endif

/* ---- sendmsg and recvmsg --------------------------------------------------------------------- */

struct message {
	struct vector v;
	struct msghdr *hdr; /* ours */
	struct msghdr asked; /* the program's */
	int fd, flags;
	bool out; /* received */
};

/* Replace a managed part by scratch memory. false: there is none, or the part is too long or not valid. */
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
	if (!m->hdr || !guard_read(m->hdr, user, sizeof(*m->hdr)))
		return false;
	m->asked = *m->hdr;
	return part_take(m, &m->hdr->msg_name, m->hdr->msg_namelen, NAME_MOST) &&
	       part_take(m, &m->hdr->msg_control, m->hdr->msg_controllen, CONTROL_MOST) &&
	       (!m->hdr->msg_iovlen ||
		       vector_take(&m->v, (uintptr_t)m->hdr->msg_iov, m->hdr->msg_iovlen, m->out));
}

static long message_issue(void *ctx, struct iovec *iov, unsigned nr, size_t total)
{
	struct message *m = ctx;
	uint64_t args[6] = {(uint64_t)m->fd, (uintptr_t)m->hdr, (uint64_t)m->flags};

	m->hdr->msg_iov = iov;
	m->hdr->msg_iovlen = vector_add_bad(&m->v, iov, nr, total);
	if (total) { /* not the first part, which took the control data along */
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

/*
 * Copy a received message's parts to the program. -EFAULT: its msghdr is not writable. The message is lost, as
 * natively.
 */
static int message_back(const struct message *m, struct msghdr *user)
{
	const struct msghdr *hdr = m->hdr;
	struct msghdr now = m->asked;

	part_back(m->asked.msg_name, hdr->msg_name, hdr->msg_namelen, m->asked.msg_namelen);
	part_back(m->asked.msg_control, hdr->msg_control, hdr->msg_controllen, m->asked.msg_controllen);
	now.msg_namelen = hdr->msg_namelen;
	now.msg_controllen = hdr->msg_controllen;
	now.msg_flags = hdr->msg_flags;
	return user_write(user, &now, sizeof(now)) ? 0 : -EFAULT;
}

static long message_run(int fd, struct msghdr *user, int flags, bool out, make_fn make)
{
	struct message m = {.v = {.make = make}, .fd = fd, .flags = flags, .out = out};
	uint64_t args[6] = {(uint64_t)fd, (uintptr_t)user, (uint64_t)flags};
	long result;

	scratch_open(&m.v.scratch);
	if (!message_take(&m, (uintptr_t)user)) {
		result = make(out ? SYS_recvmsg : SYS_sendmsg, args);
	} else if (!out && flags & MSG_ZEROCOPY && vector_any_managed(m.v.iov, m.v.nr_iov)) {
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
		if (out && result >= 0 && message_back(&m, user))
			result = -EFAULT;
	}
	scratch_close(&m.v.scratch);
	return result;
}

static long length_back(struct mmsghdr *user, long result)
{
	unsigned length = (unsigned)result;

	return user_write(&user->msg_len, &length, sizeof(length)) ? result : -EFAULT;
}

static long messages_send(int fd, struct mmsghdr *user, unsigned nr, int flags, make_fn make)
{
	for (unsigned i = 0; i < nr; i++) {
		long result = message_run(fd, &user[i].msg_hdr, flags, false, make);

		if (result >= 0)
			result = length_back(&user[i], result);
		if (result < 0)
			return i ? (long)i : result;
	}
	return nr;
}

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * SECOND_NS + now.tv_nsec;
}

/* The kernel, too, looks at the time only between two messages. @end_ns 0: no timeout */
static long messages_receive_until(
	int fd, struct mmsghdr *user, unsigned nr, int flags, int64_t end_ns, make_fn make)
{
	for (unsigned i = 0; i < nr; i++) {
		int more = i && flags & MSG_WAITFORONE ? MSG_DONTWAIT : 0;
		long result = message_run(fd, &user[i].msg_hdr, (flags & ~MSG_WAITFORONE) | more, true, make);

		if (result >= 0)
			result = length_back(&user[i], result);
		if (result < 0)
			return i ? (long)i : result;
		if (end_ns && now_ns() >= end_ns)
			return (long)i + 1;
	}
	return nr;
}

/* Receive until the timeout. The time that is left is written back if there was a message. */
static long messages_receive(
	int fd, struct mmsghdr *user, unsigned nr, int flags, struct timespec *timeout, make_fn make)
{
	struct timespec asked;
	int64_t end, left;
	long result;

	if (!timeout)
		return messages_receive_until(fd, user, nr, flags, 0, make);
	if (!user_read(&asked, timeout, sizeof(asked)))
		return -EFAULT;
	if (asked.tv_sec < 0 || asked.tv_nsec < 0 || asked.tv_nsec >= SECOND_NS)
		return -EINVAL;
	end = now_ns() + (int64_t)min_u64((uint64_t)asked.tv_sec, TIMEOUT_MOST_S) * SECOND_NS + asked.tv_nsec;
	result = messages_receive_until(fd, user, nr, flags, end, make);
	left = end - now_ns();
	left = left > 0 ? left : 0;
	asked = (struct timespec){left / SECOND_NS, left % SECOND_NS};
	return result > 0 && !user_write(timeout, &asked, sizeof(asked)) ? -EFAULT : result;
}

/* ---- Trapped --------------------------------------------------------------------------------- */

long guard_run_message(struct guard_call *call)
{
	int fd = (int)call->arg[0];
	void *user = (void *)call->arg[1];

	switch (call->nr) {
	case SYS_sendmsg:
		return message_run(fd, user, (int)call->arg[2], false, guard_issue);
	case SYS_recvmsg:
		return message_run(fd, user, (int)call->arg[2], true, guard_issue);
	case SYS_sendmmsg:
		return messages_send(fd, user, (unsigned)call->arg[2], (int)call->arg[3], guard_issue);
	default:
		return messages_receive(fd, user, (unsigned)call->arg[2], (int)call->arg[3],
			(struct timespec *)call->arg[4], guard_issue);
	}
}

/* ---- Interposed ------------------------------------------------------------------------------ */

static long make_libc(long nr, const uint64_t args[6])
{
	int fd = (int)args[0], flags = (int)args[2];
	struct msghdr *hdr = (struct msghdr *)args[1];

	return guard_result(nr == SYS_sendmsg ? libc_own()->sendmsg(fd, hdr, flags)
					      : libc_own()->recvmsg(fd, hdr, flags));
}

/* => readable */
static bool hdr_concerns_us(const struct msghdr *hdr)
{
	return run_manages(hdr->msg_name) || run_manages(hdr->msg_control) ||
	       vector_concerns_us(hdr->msg_iov, (int)min_u64(hdr->msg_iovlen, INT_MAX));
}

static bool message_concerns_us(const struct msghdr *hdr)
{
	if (likely(!run.guarded))
		return false;
	return run_manages(hdr) || (user_readable(hdr, sizeof(*hdr)) && hdr_concerns_us(hdr));
}

EXPORT ssize_t sendmsg(int fd, const struct msghdr *hdr, int flags)
{
	if (message_concerns_us(hdr))
		return guard_errno(message_run(fd, (struct msghdr *)hdr, flags, false, make_libc));
	return libc_own()->sendmsg(fd, hdr, flags);
}

EXPORT ssize_t recvmsg(int fd, struct msghdr *hdr, int flags)
{
	if (message_concerns_us(hdr))
		return guard_errno(message_run(fd, hdr, flags, true, make_libc));
	return libc_own()->recvmsg(fd, hdr, flags);
}

/* The kernel handles messages up to the first that it cannot read. */
static bool messages_concern_us(const struct mmsghdr *messages, unsigned nr)
{
	for (unsigned i = 0; run.guarded && i < nr; i++) {
		if (run_manages(&messages[i]))
			return true;
		if (!user_readable(&messages[i], sizeof(messages[i])))
			return false;
		if (hdr_concerns_us(&messages[i].msg_hdr))
			return true;
	}
	return false;
}

EXPORT int sendmmsg(int fd, struct mmsghdr *messages, unsigned nr, int flags)
{
	if (messages_concern_us(messages, nr))
		return (int)guard_errno(messages_send(fd, messages, nr, flags, make_libc));
	return libc_own()->sendmmsg(fd, messages, nr, flags);
}

EXPORT int recvmmsg(int fd, struct mmsghdr *messages, unsigned nr, int flags, struct timespec *timeout)
{
	if (messages_concern_us(messages, nr))
		return (int)guard_errno(messages_receive(fd, messages, nr, flags, timeout, make_libc));
	return libc_own()->recvmmsg(fd, messages, nr, flags, timeout);
}

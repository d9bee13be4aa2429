/* SPDX-License-Identifier: MIT */
/*
 * The host kernel's calls, and nothing of pages. They are raw system calls: the C library's functions may be replaced
 * by a preload library (ours is one), and some are not safe in signal handlers. Each returns 0 or more, or -errno;
 * errno itself stays as it was.
 */
#ifndef ANONMM_HOST_H
#define ANONMM_HOST_H

#include "base/base.h"

#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* For builds with older kernel headers. */
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif

static inline long host_result(long ret, int saved_errno)
{
	if (ret == -1) {
		ret = -errno;
		errno = saved_errno;
	}
	return ret;
}

#define host_call(...)                                                                                       \
	({                                                                                                   \
		int saved_errno_ = errno;                                                                    \
		host_result(syscall(__VA_ARGS__), saved_errno_);                                             \
	})

/* NULL: the host has no memory, or the place is taken. */
static inline void *host_mmap(uint64_t addr, size_t bytes, int prot, int flags)
{
	long ret = host_call(SYS_mmap, addr, bytes, prot, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0L);

	return ret < 0 && ret > -4096 ? NULL : (void *)ret;
}

static inline int host_munmap(void *addr, size_t bytes)
{
	return (int)host_call(SYS_munmap, addr, bytes);
}

static inline int host_mprotect(uint64_t addr, uint64_t bytes, int prot)
{
	return (int)host_call(SYS_mprotect, addr, bytes, prot);
}

static inline int host_madvise(uint64_t addr, uint64_t bytes, int advice)
{
	return (int)host_call(SYS_madvise, addr, bytes, advice);
}

static inline int host_close(int fd)
{
	return (int)host_call(SYS_close, fd);
}

static inline int host_ioctl(int fd, unsigned long request, void *arg)
{
	return (int)host_call(SYS_ioctl, fd, request, arg);
}

static inline long host_read(int fd, void *buf, size_t bytes)
{
	return host_call(SYS_read, fd, buf, bytes);
}

static inline long host_write(int fd, const void *buf, size_t bytes)
{
	return host_call(SYS_write, fd, buf, bytes);
}

/* @timeout_ns, here and below: -1 waits for ever. */
static inline int host_poll(struct pollfd *fds, unsigned nr, int64_t timeout_ns)
{
	struct timespec t = {timeout_ns / 1000000000, timeout_ns % 1000000000};

	return (int)host_call(SYS_ppoll, fds, nr, timeout_ns < 0 ? NULL : &t, NULL, 0L);
}

static inline int host_futex_wait(_Atomic(uint32_t) *word, uint32_t value, int64_t timeout_ns)
{
	struct timespec t = {timeout_ns / 1000000000, timeout_ns % 1000000000};

	return (int)host_call(
		SYS_futex, word, FUTEX_WAIT_PRIVATE, value, timeout_ns < 0 ? NULL : &t, NULL, 0);
}

/* For words in memory that other processes may map. They work on private memory, too. */
static inline int host_futex_wait_shared(_Atomic(uint32_t) *word, uint32_t value, int64_t timeout_ns)
{
	struct timespec t = {timeout_ns / 1000000000, timeout_ns % 1000000000};

	return (int)host_call(SYS_futex, word, FUTEX_WAIT, value, timeout_ns < 0 ? NULL : &t, NULL, 0);
}

static inline int host_futex_wake_shared(_Atomic(uint32_t) *word, int nr)
{
	return (int)host_call(SYS_futex, word, FUTEX_WAKE, nr, NULL, NULL, 0);
}

static inline int host_futex_wake(_Atomic(uint32_t) *word, int nr)
{
	return (int)host_call(SYS_futex, word, FUTEX_WAKE_PRIVATE, nr, NULL, NULL, 0);
}

static inline void host_sleep(int64_t ns)
{
	struct timespec t = {ns / 1000000000, ns % 1000000000};

	host_call(SYS_nanosleep, &t, NULL);
}

static inline uint64_t host_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static inline int host_tid(void)
{
	return (int)host_call(SYS_gettid);
}

/* Block all signals of the calling thread. Returns the old set, in the kernel's form of 64 bits. */
static inline uint64_t host_block_signals(void)
{
	uint64_t all = ~0ULL, old = 0;

	host_call(SYS_rt_sigprocmask, SIG_SETMASK, &all, &old, sizeof(old));
	return old;
}

static inline void host_restore_signals(uint64_t old)
{
	host_call(SYS_rt_sigprocmask, SIG_SETMASK, &old, NULL, sizeof(old));
}

/*
 * The signal by which the C library has every thread change its user, in setuid() and its family. The caller of
 * setuid() waits for all threads, so our threads must admit the signal. Its handler makes one system call and takes no
 * lock.
 */
#define HOST_SIGNAL_SETXID 33

/* => a thread of ours, which has all signals blocked */
static inline void host_admit_setxid(void)
{
	uint64_t one = 1ULL << (HOST_SIGNAL_SETXID - 1);

	host_call(SYS_rt_sigprocmask, SIG_UNBLOCK, &one, NULL, sizeof(one));
}

#endif

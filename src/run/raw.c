/* SPDX-License-Identifier: MIT */
/*
 * Raw calls. Some of them exist for the allocator alone (scripts/jemalloc-private.sh makes it call them). They give
 * it no memory from sbrk(), no settings from the program's environment, and no thread of its own.
 */
#include "run/raw.h"
#include "run/run.h"

#include <fcntl.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What the kernel takes for a signal set. */
#define KERNEL_SIGSET_BYTES 8

void *raw_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset)
{
	return (void *)syscall(SYS_mmap, addr, len, prot, flags, fd, offset);
}

int raw_munmap(void *addr, size_t len)
{
	return (int)syscall(SYS_munmap, addr, len);
}

int raw_mprotect(void *addr, size_t len, int prot)
{
	return (int)syscall(SYS_mprotect, addr, len, prot);
}

int raw_madvise(void *addr, size_t len, int advice)
{
	return (int)syscall(SYS_madvise, addr, len, advice);
}

void *raw_mremap(void *old, size_t old_len, size_t new_len, int flags, void *new_addr)
{
	return (void *)syscall(SYS_mremap, old, old_len, new_len, flags, new_addr);
}

void *raw_sbrk(intptr_t increment)
{
	(void)increment;
	errno = ENOMEM;
	return (void *)-1;
}

int raw_open(const char *path, int flags, ...)
{
	va_list args;
	va_start(args, flags);
	mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
	va_end(args);
	return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int raw_creat(const char *path, mode_t mode)
{
	return raw_open(path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

int raw_close(int fd)
{
	return (int)syscall(SYS_close, fd);
}

/* The allocator asks for /etc/malloc.conf, which is the program's, not ours. */
ssize_t raw_readlink(const char *path, char *buf, size_t len)
{
	(void)path;
	(void)buf;
	(void)len;
	errno = ENOENT;
	return -1;
}

/* And for MALLOC_CONF. */
char *raw_secure_getenv(const char *name)
{
	(void)name;
	return NULL;
}

int raw_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *), void *arg)
{
	return REAL(pthread_create)(thread, attr, start, arg);
}

int raw_pthread_sigmask(int how, const sigset_t *set, sigset_t *old)
{
	return REAL(pthread_sigmask)(how, set, old);
}

/* fork.c calls the allocator's handlers itself: the order matters. */
int raw_pthread_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void))
{
	(void)prepare;
	(void)parent;
	(void)child;
	return 0;
}

int raw_sched_getaffinity(pid_t tid, size_t bytes, cpu_set_t *mask)
{
	return syscall(SYS_sched_getaffinity, tid, bytes, mask) < 0 ? -1 : 0;
}

int raw_sched_setaffinity(pid_t tid, size_t bytes, const cpu_set_t *mask)
{
	return (int)syscall(SYS_sched_setaffinity, tid, bytes, mask);
}

/* Only its heap profiler would look at stacks; nobody can switch that on here. */
int raw__Unwind_Backtrace(int (*each)(struct _Unwind_Context *, void *), void *arg)
{
	(void)each;
	(void)arg;
	return 0;
}

uintptr_t raw__Unwind_GetIP(struct _Unwind_Context *context)
{
	(void)context;
	return 0;
}

void raw_block_signals(sigset_t *old)
{
	sigset_t all;
	raw_fill(&all);
	if (run.signal_mode) { /* these two are the call of our own handlers, blocked they would kill */
		sigdelset(&all, SIGBUS);
		sigdelset(&all, SIGSYS);
	}
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, old, KERNEL_SIGSET_BYTES);
}

void raw_restore_signals(const sigset_t *old)
{
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, old, NULL, KERNEL_SIGSET_BYTES);
	signals_send_kept();
}

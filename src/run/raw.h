/* SPDX-License-Identifier: MIT */
/*
 * System calls that do not pass by libc's names. The library and its allocator call these functions where the plain
 * name would lead back to a function that the library interposes. Results and errno are as libc's.
 */
#ifndef ANONMM_RAW_H
#define ANONMM_RAW_H

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

void *raw_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset);
int raw_munmap(void *addr, size_t len);
int raw_mprotect(void *addr, size_t len, int prot);
int raw_madvise(void *addr, size_t len, int advice);
void *raw_mremap(void *old, size_t old_len, size_t new_len, int flags, void *new_addr);
void *raw_sbrk(intptr_t increment);
int raw_open(const char *path, int flags, ...);
int raw_creat(const char *path, mode_t mode);
int raw_close(int fd);
ssize_t raw_readlink(const char *path, char *buf, size_t len);
char *raw_secure_getenv(const char *name);
int raw_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *), void *arg);
int raw_pthread_sigmask(int how, const sigset_t *set, sigset_t *old);
int raw_pthread_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void));
int raw_sched_getaffinity(pid_t tid, size_t bytes, cpu_set_t *mask);
int raw_sched_setaffinity(pid_t tid, size_t bytes, const cpu_set_t *mask);

struct _Unwind_Context;
int raw__Unwind_Backtrace(int (*each)(struct _Unwind_Context *, void *), void *arg);
uintptr_t raw__Unwind_GetIP(struct _Unwind_Context *context);

/*
 * Fill @set with every signal. sigfillset() leaves out two: those by which libc cancels threads and changes their
 * users.
 */
static inline void raw_fill(sigset_t *set)
{
	memset(set, 0xff, sizeof(*set));
}

/*
 * Block every signal of this thread, also those that sigfillset() leaves out: a thread must not be cancelled while it
 * holds locks of the library. In signal mode SIGBUS and SIGSYS stay unblocked: they are the library's traps, and a
 * blocked trap kills the process.
 */
void raw_block_signals(sigset_t *old);
void raw_restore_signals(const sigset_t *old);

#endif

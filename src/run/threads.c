/* SPDX-License-Identifier: MIT */
/*
 * Threads of the program, and the CPUs they believe to run on.
 *
 * In signal mode a thread needs its alternate stack before it touches managed memory, so its first function is ours.
 * A thread starts with the program's own affinity: its creator may be bound to the pager's CPU for the moment.
 *
 * A stack that the program provides may be managed. Its frames may come and go, but the end where libc keeps
 * the thread's control block and variables is pinned: code that holds our locks uses them (errno).
 */
#include "run/run.h"
#include "run/raw.h"

/* What libc puts at the end of a stack: static TLS, which is 1664 bytes and up, and the control block. */
#define CONTROL_BYTES (64 * KIB)

struct thread_start {
	void *(*start)(void *);
	void *arg;
};

static void thread_leave(void *arg)
{
	(void)arg;
	uffd_thread_exit(run.machine);
}

static void *thread_main(void *p)
{
	struct thread_start start = *(struct thread_start *)p;
	void *result;

	own_free(p);
	if (uffd_thread_enter(run.machine))
		run_die("no memory for a thread's alternate stack");
	pthread_cleanup_push(thread_leave, NULL);
	result = start.start(start.arg);
	pthread_cleanup_pop(1);
	return result;
}

/* => 0 or an errno value: libc's control block would fault */
static int pin_control(const pthread_attr_t *attr)
{
	void *stack;
	size_t bytes;

	if (!attr || pthread_attr_getstack(attr, &stack, &bytes) || !stack || !run_manages(stack))
		return 0;
	size_t pinned = min_u64(bytes, CONTROL_BYTES);
	return maps_pin((char *)stack + bytes - pinned, pinned) ? EAGAIN : 0;
}

EXPORT int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *), void *arg)
{
	if (!run.active)
		return REAL(pthread_create)(thread, attr, start, arg);
	int error = pin_control(attr);
	struct thread_start *ours = error ? NULL : own_alloc(sizeof(*ours));
	if (!ours)
		return EAGAIN;
	*ours = (struct thread_start){start, arg};
	uffd_unpair_self(run.machine);
	error = REAL(pthread_create)(thread, attr, thread_main, ours);
	if (error)
		own_free(ours);
	return error;
}

/* ---- Affinity --------------------------------------------------------------------------- */

static int result_errno(int result)
{
	if (result >= 0)
		return result;
	errno = -result;
	return -1;
}

EXPORT int sched_getaffinity(pid_t tid, size_t bytes, cpu_set_t *mask)
{
	if (!run.active)
		return REAL(sched_getaffinity)(tid, bytes, mask);
	return result_errno(uffd_getaffinity(run.machine, tid, bytes, mask));
}

EXPORT int sched_setaffinity(pid_t tid, size_t bytes, const cpu_set_t *mask)
{
	if (!run.active)
		return REAL(sched_setaffinity)(tid, bytes, mask);
	return result_errno(uffd_setaffinity(run.machine, tid, bytes, mask));
}

/* Another thread's number is libc's secret: of those the kernel's answer has to do. */
EXPORT int pthread_getaffinity_np(pthread_t thread, size_t bytes, cpu_set_t *mask)
{
	if (!run.active || !pthread_equal(thread, pthread_self()))
		return REAL(pthread_getaffinity_np)(thread, bytes, mask);
	return -uffd_getaffinity(run.machine, 0, bytes, mask);
}

EXPORT int pthread_setaffinity_np(pthread_t thread, size_t bytes, const cpu_set_t *mask)
{
	if (!run.active || !pthread_equal(thread, pthread_self()))
		return REAL(pthread_setaffinity_np)(thread, bytes, mask);
	return -uffd_setaffinity(run.machine, 0, bytes, mask);
}

/* SPDX-License-Identifier: MIT */
/*
 * Threads of the program, and the CPUs that they believe to run on.
 *
 * In signal mode a thread needs its alternate stack before it touches managed memory, so the library's function runs
 * first. A thread starts with the program's own affinity: the thread that creates it may be bound to the pager's CPU
 * at that time.
 *
 * A stack that the program provides may be managed. In thread mode its frames may come and go. The end of the stack
 * is pinned: libc keeps the thread's control block and variables (errno) there, and code that holds the library's
 * locks uses them. In signal mode the thread gets a stack of libc's of the same size instead: libc passes the control
 * block to system calls while all signals are blocked, and a fault there would end the program.
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
	real_thread_exit(run.machine);
	core_thread_exit();
}

static void *thread_main(void *p)
{
	struct thread_start start = *(struct thread_start *)p;
	void *result;

	own_free(p);
	if (real_thread_enter(run.machine))
		run_die("no memory for a thread's alternate stack");
	core_thread_enter();
	pthread_cleanup_push(thread_leave, NULL);
	result = start.start(start.arg);
	pthread_cleanup_pop(1);
	return result;
}

/* Pin the end of a managed stack. 0; or an errno value: it cannot be pinned, so libc's control block could go out */
static int pin_control(const pthread_attr_t *attr)
{
	void *stack;
	size_t bytes;

	if (!attr || pthread_attr_getstack(attr, &stack, &bytes) || !stack || !run_manages(stack))
		return 0;
	size_t pinned = min_u64(bytes, CONTROL_BYTES);
	return maps_pin((char *)stack + bytes - pinned, pinned) ? EAGAIN : 0;
}

/* Make @to equal to @from, except that libc makes the stack, of @bytes. 0 or an errno value */
static int attr_without_stack(const pthread_attr_t *from, pthread_attr_t *to, size_t bytes)
{
	struct sched_param param;
	cpu_set_t cpus;
	sigset_t mask;
	int value;

	int error = pthread_attr_init(to);
	if (error)
		return error;
	error = pthread_attr_setstacksize(to, bytes);
	if (pthread_attr_getdetachstate(from, &value) == 0)
		pthread_attr_setdetachstate(to, value);
	if (pthread_attr_getinheritsched(from, &value) == 0)
		pthread_attr_setinheritsched(to, value);
	if (pthread_attr_getschedpolicy(from, &value) == 0)
		pthread_attr_setschedpolicy(to, value);
	if (pthread_attr_getschedparam(from, &param) == 0)
		pthread_attr_setschedparam(to, &param);
	if (pthread_attr_getaffinity_np(from, sizeof(cpus), &cpus) == 0 && CPU_COUNT(&cpus) < CPU_SETSIZE)
		pthread_attr_setaffinity_np(to, sizeof(cpus), &cpus);
	if (pthread_attr_getsigmask_np(from, &mask) == 0)
		pthread_attr_setsigmask_np(to, &mask);
	return error;
}

/*
 * libc blocks all signals while it creates a thread. What it reads meanwhile must be accessible without a fault, so the
 * attributes are copied here. (It writes *thread before it blocks the signals.)
 */
struct creation {
	pthread_t *thread; /* the program's pointer */
	pthread_attr_t attr;
	bool has_attr, own_attr;
	struct thread_start *start;
	int error;
};

static int creation_attr(struct creation *creation, const pthread_attr_t *attr)
{
	void *stack;
	size_t bytes;

	if (!attr)
		return 0;
	creation->has_attr = true;
	if (run.signal_mode && pthread_attr_getstack(attr, &stack, &bytes) == 0 && stack &&
		run_manages(stack)) {
		creation->own_attr = true;
		return attr_without_stack(attr, &creation->attr, bytes);
	}
	creation->attr = *attr; /* a plain copy is enough, because libc only reads it */
	return pin_control(attr);
}

static void create_work(void *p)
{
	struct creation *creation = p;

	real_unpair_self(run.machine);
	creation->error = REAL(pthread_create)(
		creation->thread, creation->has_attr ? &creation->attr : NULL, thread_main, creation->start);
}

EXPORT int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *), void *arg)
{
	if (!run.active)
		return REAL(pthread_create)(thread, attr, start, arg);
	struct creation *creation = own_alloc(sizeof(*creation));
	if (!creation)
		return EAGAIN;
	*creation = (struct creation){.thread = thread, .start = own_alloc(sizeof(*creation->start))};
	int error = creation->start ? creation_attr(creation, attr) : EAGAIN;
	if (!error) {
		*creation->start = (struct thread_start){start, arg};
		call_off_managed_stack(create_work, creation);
		error = creation->error;
	}
	if (error)
		own_free(creation->start);
	if (creation->own_attr)
		pthread_attr_destroy(&creation->attr);
	own_free(creation);
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
	return result_errno(real_getaffinity(run.machine, tid, bytes, mask));
}

EXPORT int sched_setaffinity(pid_t tid, size_t bytes, const cpu_set_t *mask)
{
	if (!run.active)
		return REAL(sched_setaffinity)(tid, bytes, mask);
	return result_errno(real_setaffinity(run.machine, tid, bytes, mask));
}

/* libc does not tell the kernel's number of another thread, so for other threads the kernel's own answer is given. */
EXPORT int pthread_getaffinity_np(pthread_t thread, size_t bytes, cpu_set_t *mask)
{
	if (!run.active || !pthread_equal(thread, pthread_self()))
		return REAL(pthread_getaffinity_np)(thread, bytes, mask);
	return -real_getaffinity(run.machine, 0, bytes, mask);
}

EXPORT int pthread_setaffinity_np(pthread_t thread, size_t bytes, const cpu_set_t *mask)
{
	if (!run.active || !pthread_equal(thread, pthread_self()))
		return REAL(pthread_setaffinity_np)(thread, bytes, mask);
	return -real_setaffinity(run.machine, 0, bytes, mask);
}

/* SPDX-License-Identifier: MIT */
/* Threads of ours; see thread.h. */
#include "host/thread.h"
#include "host/fd.h"
#include "host/host.h"
#include "host/lock.h"

#include <sched.h>
#include <sys/prctl.h>

#define FOLLOW_NAP_NS (1000 * 1000LL)

int (*host_pthread_create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) = pthread_create;

/* Locks: [l] lock, taken with all signals blocked  [a] atomic */
static struct {
	struct lock lock;
	pid_t pid; /* [l] the process whose threads are listed: a fork's child has none of them */
	struct host_thread *first; /* [l] */
	/* [a] how many changes of user, groups or capabilities the program has made */
	_Atomic(uint32_t) asked;
	long call[4]; /* [l] the last of these changes; not changed while a thread has yet to make it */
} ours;

/* ---- Start and end --------------------------------------------------------------------------- */

/* Block all signals and take the lock. Returns the old set of signals, for drop(). */
static uint64_t take(void)
{
	uint64_t signals = host_block_signals();
	pid_t pid = (pid_t)host_call(SYS_getpid);

	/*
	 * Only a fork's child finds another number here, and it has one thread then. Its copy of the lock may be held
	 * by a thread of the parent, so it is made anew.
	 */
	if (ours.pid != pid) {
		lock_init(&ours.lock);
		ours.first = NULL;
		ours.pid = pid;
	}
	lock_take(&ours.lock);
	return signals;
}

static void drop(uint64_t signals)
{
	lock_drop(&ours.lock);
	host_restore_signals(signals);
}

/*
 * Give the thread a descriptor table of its own and close there what it does not keep. If it gets no table of its own,
 * nothing is closed: it would be closed for the program, too.
 */
static void settle(struct host_thread *t)
{
	prctl(PR_SET_NAME, t->name);
	host_admit_setxid();
	if (host_call(SYS_unshare, CLONE_FILES) == 0)
		host_close_others(t->keep, t->nr_keep);
	atomic_store(&t->settled, 1);
	host_futex_wake(&t->settled, 1);
}

static void *thread_main(void *thread)
{
	struct host_thread *t = thread;

	atomic_store(&t->tid, host_tid());
	settle(t);
	void *result = t->main(t->arg);

	atomic_store(&t->ended, true);
	host_futex_wake(&t->followed, 1);
	return result;
}

static int create(struct host_thread *t)
{
	pthread_attr_t attr;

	pthread_attr_init(&attr);
	if (t->stack)
		pthread_attr_setstack(&attr, t->stack, t->stack_bytes);
	else
		pthread_attr_setstacksize(&attr, t->stack_bytes);
	int error = host_pthread_create(&t->id, &attr, thread_main, t);

	pthread_attr_destroy(&attr);
	return -error;
}

/* A thread starts as the user that its creator is, so it need not make the changes that the program has made so far. */
int host_thread_start(struct host_thread *t)
{
	uint64_t signals = take();

	atomic_store(&t->tid, 0);
	atomic_store(&t->settled, 0);
	atomic_store(&t->ended, false);
	atomic_store(&t->followed, atomic_load(&ours.asked));
	int error = create(t);

	if (!error) {
		t->next = ours.first;
		ours.first = t;
	}
	drop(signals);
	return error;
}

void host_thread_wait_settled(struct host_thread *t)
{
	while (!atomic_load(&t->settled))
		host_futex_wait(&t->settled, 0, -1);
}

void host_thread_join(struct host_thread *t)
{
	pthread_join(t->id, NULL);
	uint64_t signals = take();

	for (struct host_thread **at = &ours.first; *at; at = &(*at)->next)
		if (*at == t) {
			*at = t->next;
			break;
		}
	drop(signals);
}

unsigned host_threads_nr(void)
{
	uint64_t signals = take();
	unsigned nr = 0;

	for (struct host_thread *t = ours.first; t; t = t->next)
		nr += !atomic_load(&t->ended);
	drop(signals);
	return nr;
}

/* ---- Users ------------------------------------------------------------------------------------- */

void host_thread_serve(struct host_thread *t)
{
	uint32_t asked = atomic_load(&ours.asked);

	if (likely(atomic_load_explicit(&t->followed, memory_order_relaxed) == asked))
		return;
	host_call(ours.call[0], ours.call[1], ours.call[2], ours.call[3]);
	atomic_store(&t->followed, asked);
	host_futex_wake(&t->followed, 1);
}

/*
 * The signal is HOST_SIGNAL_SETXID, the only one whose handler is not the program's. That handler returns at once if
 * the C library has not sent the signal. si_code tells it so.
 */
void host_thread_interrupt(struct host_thread *t)
{
	siginfo_t info = {.si_signo = HOST_SIGNAL_SETXID, .si_code = SI_QUEUE};
	int tid = atomic_load(&t->tid);

	info.si_pid = getpid();
	info.si_uid = getuid();
	if (tid)
		host_call(SYS_rt_tgsigqueueinfo, info.si_pid, tid, info.si_signo, &info);
}

/*
 * This waits without a time limit: after it, the program relies on it that no thread of its process still has the
 * rights that the program gave up. It ends: our threads wait for nothing that the caller holds, and for a device only
 * as long as a request takes.
 */
static void wait_followed(struct host_thread *t, uint32_t asked)
{
	uint32_t followed;

	while ((followed = atomic_load(&t->followed)) != asked && !atomic_load(&t->ended)) {
		t->wake(t->arg);
		host_futex_wait(&t->followed, followed, FOLLOW_NAP_NS);
	}
}

void host_threads_follow(const long call[4])
{
	uint64_t signals = take();

	for (unsigned i = 0; i < 4; i++)
		ours.call[i] = call[i];
	uint32_t asked = atomic_fetch_add(&ours.asked, 1) + 1;

	for (struct host_thread *t = ours.first; t; t = t->next)
		wait_followed(t, asked);
	drop(signals);
}

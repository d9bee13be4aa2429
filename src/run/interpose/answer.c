/* SPDX-License-Identifier: MIT */
/*
 * What the child of a fork answers to the fork() that waits in the parent: it has all that it needs, or why not.
 *
 * Some of what a child needs can be made in the child alone: its userfaultfd, its threads, its readers of the parent's
 * devices. So the parent's fork() returns when the child has answered. A child that failed stays until the parent is
 * ready to reap it. Then fork() returns -1, and no child is left: no zombie, and no SIGCHLD.
 *
 *      WAITING --child--> READY
 *              --child--> FAILED --parent--> END, and the child ends
 *              --parent-> LEFT: the child did not answer for a long time (somebody stops it). fork() returns its number
 *
 * The word is memory that both processes map. A child that ends without an answer was killed: fork() returns its
 * number, and the program sees how it ended.
 */
#include "run/run.h"
#include "host/host.h"
#include "run/raw.h"

#include <sys/resource.h>
#include <sys/wait.h>

#define WAIT_MOST_NS (10 * 1000000000ULL)
#define LOOK_NS (20 * 1000000LL) /* how often the parent looks whether the child lives */

enum answer_state { ANSWER_WAITING, ANSWER_READY, ANSWER_FAILED, ANSWER_END, ANSWER_LEFT };

/* Locks: [a] atomic  [c] the child's, and the parent's once the state is FAILED */
struct answer {
	_Atomic(uint32_t) state; /* [a] enum answer_state */
	int error; /* [c] -errno */
};

struct answer *answer_new(void)
{
	void *p = raw_mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

void answer_free(struct answer *answer)
{
	raw_munmap(answer, PAGE_BYTES);
}

static bool change(struct answer *answer, uint32_t from, uint32_t to)
{
	bool changed = atomic_compare_exchange_strong(&answer->state, &from, to);

	if (changed)
		host_futex_wake_shared(&answer->state, 1);
	return changed;
}

/* ---- The child ------------------------------------------------------------------------------ */

void answer_ready(struct answer *answer)
{
	change(answer, ANSWER_WAITING, ANSWER_READY);
}

/* A parent that has ended does not say END, so the child waits for a limited time. */
bool answer_failed(struct answer *answer, int error)
{
	uint64_t until_ns = host_now_ns() + WAIT_MOST_NS;

	answer->error = error;
	if (!change(answer, ANSWER_WAITING, ANSWER_FAILED))
		return false;
	while (atomic_load(&answer->state) == ANSWER_FAILED && host_now_ns() < until_ns)
		host_futex_wait_shared(&answer->state, ANSWER_FAILED, WAIT_MOST_NS);
	return true;
}

/* ---- The parent ----------------------------------------------------------------------------- */

static bool has_ended(pid_t pid)
{
	siginfo_t info = {.si_pid = 0};
	long error = host_call(SYS_waitid, P_PID, pid, &info, WEXITED | WNOHANG | WNOWAIT | __WALL, NULL);

	return error == -ECHILD || info.si_pid == pid;
}

/* Does another child have something to tell? Then *@info is what the kernel says of it in a SIGCHLD. */
static bool another_tells(siginfo_t *info)
{
	*info = (siginfo_t){.si_pid = 0};
	return host_call(SYS_waitid, P_ALL, 0, info, WEXITED | WSTOPPED | WCONTINUED | WNOHANG | WNOWAIT,
		       NULL) == 0 &&
	       info->si_pid != 0;
}

/*
 * Take back the SIGCHLD of @pid. One pending SIGCHLD stands for all children that had something to tell, so it is sent
 * again when it was another child's, or when another child tells something now. => SIGCHLD is blocked in this thread
 */
static void take_signal_back(pid_t pid)
{
	uint64_t set = 1ULL << (SIGCHLD - 1);
	siginfo_t info;

	if (host_call(SYS_rt_sigtimedwait, &set, &info, &(struct timespec){0}, sizeof(set)) != SIGCHLD)
		return;
	if (info.si_pid == pid && info.si_code > 0 && !another_tells(&info))
		return;
	/* Only the first thread may send to the process what looks like a signal of the kernel's. */
	if (host_call(SYS_rt_sigqueueinfo, getpid(), SIGCHLD, &info))
		host_call(SYS_kill, getpid(), SIGCHLD);
}

/* The child ends and is forgotten. => all signals are blocked */
static void bury(struct answer *answer, pid_t pid)
{
	change(answer, ANSWER_FAILED, ANSWER_END);
	while (host_call(SYS_wait4, pid, NULL, __WALL, NULL) == -EINTR)
		;
	take_signal_back(pid);
}

static void wait_for_answer(struct answer *answer, pid_t pid)
{
	uint64_t until_ns = host_now_ns() + WAIT_MOST_NS;

	while (atomic_load(&answer->state) == ANSWER_WAITING && !has_ended(pid)) {
		if (host_now_ns() > until_ns)
			change(answer, ANSWER_WAITING, ANSWER_LEFT);
		else
			host_futex_wait_shared(&answer->state, ANSWER_WAITING, LOOK_NS);
	}
}

int answer_take(struct answer *answer, pid_t pid)
{
	sigset_t signals;
	int error = 0;

	raw_block_signals(&signals);
	wait_for_answer(answer, pid);
	if (atomic_load(&answer->state) == ANSWER_FAILED) {
		error = answer->error;
		bury(answer, pid);
	}
	raw_restore_signals(&signals);
	return error;
}

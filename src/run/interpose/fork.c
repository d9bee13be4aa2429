/* SPDX-License-Identifier: MIT */
/*
 * fork: both processes go on with all of the memory.
 *
 * Handlers of pthread_atfork do the work, not a wrapper of fork(), so that forks from inside libc (daemon, forkpty)
 * are no different. The library's handlers are registered before all others. So they run last before the fork and
 * first after it, and no other handler meets a frozen pager.
 *
 *   before   Undo the CPU pairing. Lock libc's list of FILEs and the allocator, because a thread that holds their
 *            locks may fault. Block signals, lock the space, freeze the pager, and lease to the child what is on the
 *            devices.
 *   parent   Thaw the pager. The lease ends when the child, and all its descendants, have ended or become other
 *            programs, or have nothing on the parent's devices any more (heritage.c). They hold the write end of a
 *            pipe until then. It is closed on exec, and nobody else holds it.
 *   child    The parent's devices become read-only. A new device takes what the child swaps out. Start new threads,
 *            thaw.
 *
 * A fork that fails inside is one that fails: fork() returns -1, and no child is left (answer.c). What failed before
 * the fork is known then, but libc cannot be kept from the fork. So there is a child for a moment. Forks from inside
 * libc have nobody who could return -1: their child ends with 125 and says why.
 *
 * No managed memory is touched between "before" and the thaw. libc's own memory is not managed (extents.c).
 */
#include "run/run.h"
#include "host/fd.h"
#include "host/host.h"
#include "run/interpose/jemalloc.h"
#include "run/raw.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <sys/syscall.h>
#include <unistd.h>

/* libc's: the part of <libio.h> that is exported and not declared any more. */
void _IO_list_lock(void);
void _IO_list_unlock(void);
void _IO_list_resetlock(void);

int __register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void), void *dso);
extern void *__dso_handle __attribute__((visibility("hidden")));

/* Leases at one time. Further children share the youngest lease, which ends with the last of them. */
#define LEASES_MAX 64
#define LEASE_CHECK_MS 100
#define LEASES_ROOM 192 /* descriptor numbers that are kept for leases below a low limit */

struct lease {
	struct swap_lease *swap;
	int fd; /* read end of the pipe: it hangs up when nobody holds the write end. -1: the lease never ends */
};

/* Locks: [S] space lock */
static struct lease leases[LEASES_MAX]; /* [S] the first nr_leases */
static _Atomic(unsigned) nr_leases; /* changed under [S] */
static int64_t next_check_ms; /* [S] */

/* The fork that is under way. All [S] */
static struct {
	sigset_t signals;
	struct lease lease;
	bool joined; /* the lease is one of leases[] */
	int child_end; /* write end of the pipe, for the child; -1: none, and the lease never ends */
	int lease_error; /* 0: there is a lease */
	int error;
	struct answer *answer; /* what a fork() waits for; NULL: libc forks by itself, and nobody waits */
} forking = {.child_end = -1};

/* What this thread's fork() will wait for. fork_before() takes it. */
static THREAD_LOCAL struct answer *asked;

static _Atomic(bool) registered;

static int64_t now_ms(void)
{
	return (int64_t)(host_now_ns() / 1000000);
}

/* ---- Leases ----------------------------------------------------------------------------- */

/* One more pipe, for one more lease. */
static int lease_new(void)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	int error = pager_lease_begin(run.pager, &forking.lease.swap);
	if (error) {
		raw_close(ends[0]);
		raw_close(ends[1]);
		return error;
	}
	forking.lease.fd = host_fd_raise(ends[0], FD_PLACE_RUN, LEASES_ROOM);
	forking.child_end = host_fd_raise(ends[1], FD_PLACE_RUN, LEASES_ROOM);
	return 0;
}

/*
 * Open one more write end of the youngest lease's pipe, by /proc. Where that fails the lease never ends, which costs
 * slots and nothing else.
 */
static int lease_share(struct lease *youngest)
{
	char path[64];
	int error = pager_lease_join(run.pager, youngest->swap);

	if (error)
		return error;
	snprintf(path, sizeof(path), "/proc/thread-self/fd/%d", youngest->fd);
	int fd = youngest->fd < 0 ? -1 : open(path, O_WRONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 && youngest->fd >= 0) {
		raw_close(youngest->fd);
		youngest->fd = -1;
	}
	forking.child_end = fd < 0 ? -1 : host_fd_raise(fd, FD_PLACE_RUN, LEASES_ROOM);
	forking.joined = true;
	return 0;
}

static int lease_begin(void)
{
	unsigned nr = atomic_load(&nr_leases);
	int error = nr < LEASES_MAX ? lease_new() : -EMFILE;

	forking.joined = false;
	if ((error == -EMFILE || error == -ENFILE) && nr > 0)
		error = lease_share(&leases[nr - 1]);
	return error;
}

static bool lease_is_over(const struct lease *lease)
{
	struct pollfd poll_fd = {.fd = lease->fd}; /* below 0: never */

	return syscall(SYS_ppoll, &poll_fd, 1, &(struct timespec){0}, NULL, 0) > 0 &&
	       poll_fd.revents & (POLLHUP | POLLNVAL);
}

static void leases_check(void)
{
	unsigned kept = 0, nr = atomic_load(&nr_leases);

	for (unsigned i = 0; i < nr; i++) {
		if (!lease_is_over(&leases[i])) {
			leases[kept++] = leases[i];
			continue;
		}
		raw_close(leases[i].fd);
		pager_lease_end(run.pager, leases[i].swap);
	}
	atomic_store(&nr_leases, kept);
}

void fork_end_leases(void)
{
	if (likely(!atomic_load_explicit(&nr_leases, memory_order_relaxed) && !heritage_any()))
		return;
	int64_t now = now_ms();
	if (now < next_check_ms)
		return;
	next_check_ms = now + LEASE_CHECK_MS;
	leases_check();
	heritage_leave_empty();
}

static void lease_keep(void)
{
	unsigned nr = atomic_load(&nr_leases);

	if (forking.child_end >= 0)
		raw_close(forking.child_end);
	if (forking.joined)
		return;
	leases[nr] = forking.lease;
	atomic_store(&nr_leases, nr + 1);
}

/*
 * In the child: drop the parent's leases. Hold the write end until this process reads nothing of the parent's any
 * more.
 */
static void lease_hold(void)
{
	unsigned nr = atomic_load(&nr_leases);

	for (unsigned i = 0; i < nr; i++)
		if (leases[i].fd >= 0)
			raw_close(leases[i].fd);
	atomic_store(&nr_leases, 0);
	if (!forking.joined)
		raw_close(forking.lease.fd);
	heritage_begin(forking.child_end);
}

bool fork_owns_fd(int fd)
{
	unsigned nr = atomic_load(&nr_leases);

	for (unsigned i = 0; i < nr; i++)
		if (leases[i].fd == fd)
			return true;
	return heritage_owns_fd(fd);
}

/* ---- The three handlers ----------------------------------------------------------------- */

static void freeze(void)
{
	call_space_lock();
	leases_check();
	heritage_leave_empty();
	heritage_make_room();
	(void)retry(pager_freeze(run.pager, &wait));
}

static void thaw(void)
{
	sigset_t signals = forking.signals;

	pager_thaw(run.pager);
	call_space_unlock();
	raw_restore_signals(&signals);
}

/* Prepare the devices. After an error no child can have them. */
static int devices_prepare(void)
{
	int error = 0;

	for (unsigned i = 0; i < RUN_SWAPS && !error; i++)
		if (run.swaps[i] && run.swaps[i]->ops->fork_prepare)
			error = run.swaps[i]->ops->fork_prepare(run.swaps[i]);
	return error;
}

static void devices_parent(void)
{
	for (unsigned i = 0; i < RUN_SWAPS; i++)
		if (run.swaps[i] && run.swaps[i]->ops->fork_parent)
			run.swaps[i]->ops->fork_parent(run.swaps[i]);
}

static void fork_before(void)
{
	sigset_t signals;

	if (!run.active) {
		je_jemalloc_prefork();
		return;
	}
	real_unpair_self(run.machine);
	_IO_list_lock();
	je_jemalloc_prefork();
	raw_block_signals(&signals);
	freeze();
	forking.signals = signals;
	forking.answer = asked;
	asked = NULL;
	forking.error = forking.lease_error = lease_begin();
	if (!forking.error)
		forking.error = devices_prepare();
	if (!forking.error)
		forking.error = uffd_fork_prepare(run.machine);
}

static void fork_parent(void)
{
	if (!run.active) {
		je_jemalloc_postfork_parent();
		return;
	}
	if (!forking.error)
		uffd_fork_parent(run.machine);
	devices_parent();
	if (!forking.lease_error)
		lease_keep();
	forking.child_end = -1;
	thaw();
	je_jemalloc_postfork_parent();
	_IO_list_unlock();
}

/* Open the child's own swap. Without one the child goes on, as long as its memory suffices. */
static void child_swap(void)
{
	char why[512];

	if (run_add_swap(1, why, sizeof(why)))
		run_say("the child of a fork has no swap of its own: %s", why);
}

/*
 * Let go of what is the parent's, and take a status page, a slot of the ledger and a record. 0 or -errno. => after an
 * error nothing of these is taken
 */
static int child_begin(void)
{
	shell_fork_child();
	signals_fork_child();
	int error = status_fork_child();
	if (error)
		return error;
	share_fork_child();
	uffd_fork_child_begin(run.machine);
	lease_hold();
	forking.child_end = -1;
	record_fork_child();
	return 0;
}

/*
 * Devices come first: the machine's threads inherit their descriptors when they start. Starting a thread allocates
 * its thread-local storage, so the allocator must work again by now. That storage must not be managed, and the
 * interposed functions must pass through to libc. => run.active is false
 */
static int child_go_on(void)
{
	int error = pager_fork_child(run.pager);

	if (!error)
		child_swap();
	if (!error)
		error = uffd_fork_child(run.machine);
	if (!error)
		error = share_fork_start();
	if (!error && run.governor)
		error = governor_fork_child(run.governor);
	if (error) {
		record_end(RECORD_EXITED);
		share_leave();
		status_end();
	}
	return error;
}

/* Nothing of this child's may run: what it has is not its memory. */
static _Noreturn void child_end(int error)
{
	if (!forking.answer || !answer_failed(forking.answer, error))
		run_die("process %d, the child of a fork, cannot have its memory: %s", getpid(),
			strerrordesc_np(-error));
	syscall(SYS_exit_group, 125);
	__builtin_unreachable();
}

static void fork_child(void)
{
	int saved_errno = errno;

	if (run.active && forking.error) /* the memory may not be there at all */
		child_end(forking.error);
	je_jemalloc_postfork_child();
	if (!run.active)
		return;
	run.active = false;
	int error = child_begin();
	if (!error)
		error = child_go_on();
	if (error)
		child_end(error);
	run.active = true;
	if (forking.answer)
		answer_ready(forking.answer);
	thaw();
	_IO_list_resetlock();
	errno = saved_errno;
}

/* ---- In front of libc ------------------------------------------------------------------- */

void fork_register(void)
{
	if (!atomic_exchange(&registered, true))
		REAL(__register_atfork)(fork_before, fork_parent, fork_child, __dso_handle);
}

/* pthread_atfork() is linked into every object, and calls this. */
EXPORT int __register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void), void *dso)
{
	fork_register();
	return REAL(__register_atfork)(prepare, parent, child, dso);
}

/* The errno value for a program. An error that no fork() has is ENOMEM, and the reason goes to standard error. */
static int errno_of(int error)
{
	if (error == -EAGAIN || error == -ENOMEM || error == -EMFILE || error == -ENFILE)
		return -error;
	run_say("fork failed, because the child cannot have its memory: %s", strerrordesc_np(-error));
	return ENOMEM;
}

struct fork_result {
	pid_t (*fork)(void); /* libc's, or as libc's */
	pid_t pid;
	int error; /* an errno value */
};

/* Fork, and wait until the child has what it needs. => on a stack that is not managed */
static void fork_work(void *arg)
{
	struct fork_result *result = arg;
	struct answer *outer = asked; /* a handler of the program's may fork while this thread forks */
	struct answer *answer = answer_new();

	result->pid = -1;
	result->error = ENOMEM;
	if (!answer)
		return;
	asked = answer;
	result->pid = result->fork();
	result->error = errno;
	asked = outer;
	int error = result->pid > 0 ? answer_take(answer, result->pid) : 0;
	if (error) {
		result->pid = -1;
		result->error = errno_of(error);
	}
	answer_free(answer);
}

/*
 * The caller's stack may be managed, and no managed memory may be touched during the fork. So the fork runs on
 * another stack.
 */
static pid_t fork_by(pid_t (*libc_fork)(void))
{
	struct fork_result result = {.fork = libc_fork};

	if (!run.active)
		return libc_fork();
	call_off_managed_stack(fork_work, &result);
	if (result.pid < 0)
		errno = result.error;
	return result.pid;
}

EXPORT pid_t fork(void)
{
	return fork_by(REAL(fork));
}

/* _Fork() runs no fork handlers. The library's run all the same: both processes need them. */
static pid_t bare_fork(void)
{
	pid_t pid = -1;

	fork_before();
	int error = run.active ? forking.error : 0;
	if (!error)
		pid = REAL(_Fork)();
	int saved_errno = errno;
	if (pid == 0)
		fork_child();
	else
		fork_parent();
	errno = error ? errno_of(error) : saved_errno;
	return pid;
}

EXPORT pid_t _Fork(void)
{
	return fork_by(bare_fork);
}

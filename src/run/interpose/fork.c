/* SPDX-License-Identifier: MIT */
/*
 * fork: both processes go on with all of the memory.
 *
 * The work is done in handlers of pthread_atfork, not in a wrapper of fork(), so that forks from
 * inside libc (daemon, forkpty) are no different. Ours are registered before anybody else's, which makes
 * them the last before the fork and the first after it; nobody's handler meets a frozen pager.
 *
 *   before   CPU pairing undone, libc's list of FILEs and the allocator locked (their holders may fault), signals blocked
 *            space locked, pager frozen, what is on the devices leased to the child
 *   parent   thawed. The lease ends when the child, and all that it forks, have ended or become other programs:
 *            they hold the write end of a pipe that is closed on exec, and nobody else does; or when nothing that they name is
 *            on the parent's devices any more (heritage.c)
 *   child    devices are the parent's, read-only; a new one takes what the child swaps out; new threads; thawed
 *
 * Between "before" and the thaw no managed memory is touched. libc's own memory is not managed (extents.c).
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

/* Children that are watched one by one. While there are more, new ones share the youngest lease: it ends with the last of them. */
#define LEASES_MAX 64
#define LEASE_CHECK_MS 100
#define LEASES_ROOM 192 /* numbers for these below a low limit of descriptors */

struct lease {
	struct swap_lease *swap;
	int fd; /* readable end: hangs up when nobody holds the other */
};

/* Locks: [S] space lock */
static struct lease leases[LEASES_MAX]; /* [S] the first nr_leases */
static _Atomic(unsigned) nr_leases; /* changed under [S] */
static int64_t next_check_ms; /* [S] */

/* The fork that is being made. [S] */
static struct {
	sigset_t signals;
	struct lease lease;
	bool joined; /* the lease is one of leases[] */
	int child_end; /* -1: none, and the lease is for ever */
	int lease_error; /* 0: there is a lease */
	int error;
} forking = {.child_end = -1};

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
 * Another writing end of the youngest lease's pipe. Where /proc does not show it that lease is for ever, which costs slots and
 * nothing else.
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

/* The child holds its end until it reads nothing of the parent's, or ends; and is nobody's lessor yet. */
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

/* In the child what fails here fails later there, where it can be said. */
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

/* Without one it can go on, as long as memory and what it has inherited suffice. */
static void child_swap(void)
{
	char why[512];

	if (run_add_swap(1, why, sizeof(why)))
		run_say("the child of a fork has no swap of its own: %s", why);
}

/*
 * Devices first: the machine's threads take their descriptors along when they start. Starting a thread
 * allocates (its thread-local storage), hence the allocator is whole again by now; and what
 * it allocates must not be managed, nor must our own wrappers have a part in it: inactive meanwhile.
 */
static int child_go_on(void)
{
	int error = forking.error;

	if (!error)
		error = pager_fork_child(run.pager);
	if (!error)
		child_swap();
	if (!error)
		error = uffd_fork_child(run.machine);
	if (!error)
		error = share_fork_start();
	if (!error && run.governor)
		error = governor_fork_child(run.governor);
	return error;
}

static void fork_child(void)
{
	int saved_errno = errno;

	je_jemalloc_postfork_child();
	if (!run.active)
		return;
	run.active = false;
	shell_fork_child();
	status_fork_child();
	share_fork_child();
	if (!forking.error)
		uffd_fork_child_begin(run.machine);
	if (!forking.lease_error)
		lease_hold();
	forking.child_end = -1;
	stats_fork_child();
	int error = child_go_on();
	if (error)
		run_die("process %d, the child of a fork, cannot have its memory: %s", getpid(),
			strerrordesc_np(-error));
	run.active = true;
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

/* What pthread_atfork() is in every object. */
EXPORT int __register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void), void *dso)
{
	fork_register();
	return REAL(__register_atfork)(prepare, parent, child, dso);
}

struct fork_result {
	pid_t pid;
	int error;
};

static void fork_work(void *arg)
{
	struct fork_result *result = arg;
	result->pid = REAL(fork)();
	result->error = errno;
}

/* The stack of the caller may be managed: no frame of the fork itself may be on it. */
EXPORT pid_t fork(void)
{
	struct fork_result result;

	call_off_managed_stack(fork_work, &result);
	if (result.pid < 0)
		errno = result.error;
	return result.pid;
}

static void bare_fork_work(void *arg)
{
	struct fork_result *result = arg;

	fork_before();
	result->pid = REAL(_Fork)();
	result->error = errno;
	if (result->pid == 0)
		fork_child();
	else
		fork_parent();
}

/* fork without handlers: ours are not among those that it is meant to leave out. */
EXPORT pid_t _Fork(void)
{
	struct fork_result result;

	call_off_managed_stack(bare_fork_work, &result);
	if (result.pid < 0)
		errno = result.error;
	return result.pid;
}

/* SPDX-License-Identifier: MIT */
/*
 * Signal mode: SIGBUS is the trap, so it is ours.
 *
 * The program may believe that it has installed a handler for it, blocks it, and has an alternate stack:
 * what it says is remembered and shown back. In truth our handler stays, SIGBUS is never blocked while
 * the program runs, and the alternate stack of every thread is ours (large enough, never managed); the
 * program's own SA_ONSTACK handlers run there. A SIGBUS that is not ours goes to the program's handler.
 *
 * In thread mode everything passes through.
 */
#include "run/run.h"
#include "run/raw.h"

#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>

/* What the program thinks SIGBUS does. Whoever sets it last wins, as in libc. */
static struct sigaction program_bus;

static THREAD_LOCAL bool bus_blocked; /* what it thinks of its mask */
static THREAD_LOCAL stack_t program_stack; /* and of its alternate stack */
static THREAD_LOCAL bool has_program_stack;

static bool mask_is_ours(void)
{
	return run.active && run.signal_mode;
}

/* @set without SIGBUS, in @copy; @set itself when there is nothing to take out. */
static const sigset_t *without_bus(const sigset_t *set, sigset_t *copy)
{
	if (!set || !mask_is_ours() || sigismember(set, SIGBUS) != 1)
		return set;
	*copy = *set;
	sigdelset(copy, SIGBUS);
	return copy;
}

/* ---- The handler ------------------------------------------------------------------------ */

/* The kernel would have ended the process: let it, at the same instruction. */
static void die_of_bus(void)
{
	struct sigaction action = {.sa_handler = SIG_DFL};
	REAL(sigaction)(SIGBUS, &action, NULL);
}

static void pass_on(int sig, siginfo_t *info, void *context)
{
	struct sigaction action = program_bus;
	bool sent = info->si_code <= 0;

	if (action.sa_handler == SIG_IGN && sent)
		return;
	if (action.sa_handler == SIG_DFL || action.sa_handler == SIG_IGN) {
		die_of_bus();
		if (sent)
			raise(SIGBUS);
		return;
	}
	if (action.sa_flags & SA_RESETHAND)
		program_bus.sa_handler = SIG_DFL;
	sigset_t mask = ((ucontext_t *)context)->uc_sigmask;
	sigorset(&mask, &mask, &action.sa_mask);
	sigdelset(&mask, SIGBUS);
	REAL(pthread_sigmask)(SIG_SETMASK, &mask, NULL);
	if (action.sa_flags & SA_SIGINFO)
		action.sa_sigaction(sig, info, context);
	else
		action.sa_handler(sig);
}

static void on_bus(int sig, siginfo_t *info, void *context)
{
	int saved_errno = errno;

	if (!uffd_handle_sigbus(run.machine, info, context))
		pass_on(sig, info, context);
	errno = saved_errno;
}

int signals_start(void)
{
	struct sigaction action = {.sa_sigaction = on_bus, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};

	if (!run.signal_mode)
		return 0;
	sigfillset(&action.sa_mask);
	if (REAL(sigaction)(SIGBUS, &action, &program_bus) < 0)
		return -errno;
	sigset_t bus;
	sigemptyset(&bus);
	sigaddset(&bus, SIGBUS);
	return -REAL(pthread_sigmask)(SIG_UNBLOCK, &bus, NULL);
}

/* ---- Actions ---------------------------------------------------------------------------- */

EXPORT int sigaction(int sig, const struct sigaction *action, struct sigaction *old)
{
	if (!mask_is_ours())
		return REAL(sigaction)(sig, action, old);
	if (sig == SIGBUS) {
		struct sigaction was = program_bus;
		if (action)
			program_bus = *action;
		if (old)
			*old = was;
		return 0;
	}
	if (!action)
		return REAL(sigaction)(sig, NULL, old);
	struct sigaction copy = *action;
	sigdelset(&copy.sa_mask, SIGBUS);
	return REAL(sigaction)(sig, &copy, old);
}

EXPORT __sighandler_t signal(int sig, __sighandler_t handler)
{
	if (!mask_is_ours() || sig != SIGBUS)
		return REAL(signal)(sig, handler);
	__sighandler_t was = program_bus.sa_handler;
	program_bus = (struct sigaction){.sa_handler = handler, .sa_flags = SA_RESTART};
	return was;
}

EXPORT int sigaltstack(const stack_t *stack, stack_t *old)
{
	if (!mask_is_ours())
		return REAL(sigaltstack)(stack, old);
	stack_t was = has_program_stack ? program_stack : (stack_t){.ss_flags = SS_DISABLE};
	if (stack && !(stack->ss_flags & SS_DISABLE) && stack->ss_size < (size_t)MINSIGSTKSZ) {
		errno = ENOMEM;
		return -1;
	}
	if (stack) {
		program_stack = *stack;
		has_program_stack = !(stack->ss_flags & SS_DISABLE);
	}
	if (old)
		*old = was;
	return 0;
}

/* ---- Masks ------------------------------------------------------------------------------ */

/* What the program believes about SIGBUS after it has set its mask so. */
static void believe(int how, const sigset_t *set)
{
	if (!set)
		return;
	bool named = sigismember(set, SIGBUS) == 1;
	if (how == SIG_SETMASK)
		bus_blocked = named;
	else if (named)
		bus_blocked = how == SIG_BLOCK;
}

EXPORT int pthread_sigmask(int how, const sigset_t *set, sigset_t *old)
{
	sigset_t copy;

	if (!mask_is_ours())
		return REAL(pthread_sigmask)(how, set, old);
	/* @old may be @set. */
	bool was_blocked = bus_blocked, has_set = set != NULL;
	sigset_t asked = has_set ? *set : (sigset_t){0};
	int error = REAL(pthread_sigmask)(how, has_set ? without_bus(&asked, &copy) : NULL, old);
	if (error)
		return error;
	believe(how, has_set ? &asked : NULL);
	if (old && was_blocked)
		sigaddset(old, SIGBUS);
	return 0;
}

EXPORT int sigprocmask(int how, const sigset_t *set, sigset_t *old)
{
	int error = pthread_sigmask(how, set, old);

	if (!error)
		return 0;
	errno = error;
	return -1;
}

EXPORT int sigsuspend(const sigset_t *mask)
{
	sigset_t copy;
	return REAL(sigsuspend)(without_bus(mask, &copy));
}

EXPORT int ppoll(struct pollfd *fds, nfds_t nr, const struct timespec *timeout, const sigset_t *mask)
{
	sigset_t copy;
	return REAL(ppoll)(fds, nr, timeout, without_bus(mask, &copy));
}

EXPORT int pselect(int nr, fd_set *reads, fd_set *writes, fd_set *others, const struct timespec *timeout,
	const sigset_t *mask)
{
	sigset_t copy;
	return REAL(pselect)(nr, reads, writes, others, timeout, without_bus(mask, &copy));
}

EXPORT int epoll_pwait(int fd, struct epoll_event *events, int nr, int timeout, const sigset_t *mask)
{
	sigset_t copy;
	return REAL(epoll_pwait)(fd, events, nr, timeout, without_bus(mask, &copy));
}

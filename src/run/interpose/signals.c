/* SPDX-License-Identifier: MIT */
/*
 * Signal mode: SIGBUS is the trap of memory, SIGSYS that of system calls. The library handles both.
 *
 * The program may install handlers for them, block them, and set an alternate stack. What it sets is remembered, and
 * shown when it asks. In truth the library's handlers stay installed, neither signal is ever blocked while the
 * program runs, and each thread's alternate stack is the library's: it is large enough and never managed. The
 * program's own SA_ONSTACK handlers run there, too. A SIGBUS or SIGSYS that is not a trap goes to the program's
 * handler.
 *
 * One that somebody sent (kill, sigqueue, raise) may come while the library's own code runs, which may hold locks. The
 * program's handler could fault, and wait for these locks for ever. It may also come while the program's handler for it
 * runs, where the kernel would block it. In both cases it is kept, one of each as the kernel keeps them, and sent again
 * when the program goes on.
 *
 * In thread mode everything passes through.
 */
#include "run/run.h"
#include "host/host.h"
#include "run/raw.h"

#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>

static const int ours[] = {SIGBUS, SIGSYS};
#define NR_OURS ARRAY_SIZE(ours)

/* The actions that the program has set. The last thread to set one wins, as in libc. */
static struct sigaction program_action[NR_OURS];

static THREAD_LOCAL bool program_blocks[NR_OURS]; /* has the program blocked it in its mask? */
static THREAD_LOCAL stack_t program_stack; /* the alternate stack that the program has set */
static THREAD_LOCAL bool has_program_stack;

/* Signals that were sent and are kept. */
static THREAD_LOCAL siginfo_t kept[NR_OURS];
static THREAD_LOCAL bool is_kept[NR_OURS], any_kept;
/* A place on the stack: the program's handlers that run below it block the signal. 0: there is none */
static THREAD_LOCAL uint64_t blocked_below[NR_OURS];

static bool mask_is_ours(void)
{
	return run.active && run.signal_mode;
}

/* The place of @sig in the tables above, or -1. */
static int number_of(int sig)
{
	return sig == SIGBUS ? 0 : sig == SIGSYS ? 1 : -1;
}

static void remove_ours(sigset_t *set)
{
	for (unsigned i = 0; i < NR_OURS; i++)
		sigdelset(set, ours[i]);
}

/* The kernel reads so many bytes of a set. */
#define KERNEL_SIGSET_BYTES 8

/*
 * @set without the library's signals, in @copy. @set itself in thread mode, and where it is invalid: the kernel
 * reports that.
 */
static const sigset_t *without_ours(const sigset_t *set, sigset_t *copy)
{
	if (!set || !mask_is_ours())
		return set;
	*copy = (sigset_t){0};
	if (!user_read(copy, set, KERNEL_SIGSET_BYTES))
		return set;
	remove_ours(copy);
	return copy;
}

/* ---- The handlers ------------------------------------------------------------------------ */

/*
 * Natively the signal would have ended the process. Restore the default action: the same instruction raises it again.
 */
static void die_of(int sig)
{
	struct sigaction action = {.sa_handler = SIG_DFL};

	core_bring_in(sig);
	REAL(sigaction)(sig, &action, NULL);
}

/*
 * Was the library's code interrupted? It blocks all signals but these two, also one that libc keeps for itself and lets
 * no program block.
 */
static bool is_our_mask(const sigset_t *mask)
{
	uint64_t bits;

	memcpy(&bits, mask, sizeof(bits)); /* the kernel's form */
	return bits >> (HOST_SIGNAL_SETXID - 1) & 1;
}

/*
 * Was a handler interrupted that blocks the signal? The library's handlers, and the program's in them, run on the
 * alternate stack. Of one that was left by siglongjmp() the stack is unwound.
 */
static bool in_blocking_handler(const ucontext_t *uc, unsigned nr)
{
	uint64_t sp = (uint64_t)uc->uc_mcontext.gregs[REG_RSP], start = (uintptr_t)uc->uc_stack.ss_sp;

	return sp < blocked_below[nr] && sp - start < uc->uc_stack.ss_size;
}

/* Keep the signal if its handler must not run now. Another one of its kind is lost, as in the kernel. */
static bool keep(int sig, const siginfo_t *info, const ucontext_t *uc)
{
	unsigned nr = (unsigned)number_of(sig);

	if (info->si_code > 0 || !(is_our_mask(&uc->uc_sigmask) || in_blocking_handler(uc, nr)))
		return false;
	if (!is_kept[nr]) {
		is_kept[nr] = true; /* first: another one may come here meanwhile */
		kept[nr] = *info;
	}
	any_kept = true;
	return true;
}

/* If one of them must not come yet, its handler keeps it again. */
static void send_kept(void)
{
	any_kept = false;
	for (unsigned nr = 0; nr < NR_OURS; nr++) {
		if (!is_kept[nr])
			continue;
		siginfo_t info = kept[nr];

		is_kept[nr] = false;
		host_call(SYS_rt_tgsigqueueinfo, getpid(), host_tid(), ours[nr], &info);
	}
}

void signals_send_kept(void)
{
	if (unlikely(any_kept))
		send_kept();
}

void signals_fork_child(void)
{
	any_kept = false;
	memset(is_kept, 0, sizeof(is_kept));
}

/* Run the program's handler, with its mask. Afterwards all signals are blocked, until the library's handler returns. */
static void run_handler(const struct sigaction *action, int sig, siginfo_t *info, void *context)
{
	sigset_t mask = ((ucontext_t *)context)->uc_sigmask;
	uint64_t before[NR_OURS], here = (uintptr_t)__builtin_frame_address(0);

	memcpy(before, blocked_below, sizeof(before));
	for (unsigned nr = 0; nr < NR_OURS; nr++)
		if (sigismember(&action->sa_mask, ours[nr]) == 1 ||
			(ours[nr] == sig && !(action->sa_flags & SA_NODEFER)))
			blocked_below[nr] = here;
	sigorset(&mask, &mask, &action->sa_mask);
	remove_ours(&mask);
	REAL(pthread_sigmask)(SIG_SETMASK, &mask, NULL);
	if (action->sa_flags & SA_SIGINFO)
		action->sa_sigaction(sig, info, context);
	else
		action->sa_handler(sig);
	host_block_signals();
	memcpy(blocked_below, before, sizeof(before));
	signals_send_kept();
}

void signals_pass_on(int sig, siginfo_t *info, void *context)
{
	if (keep(sig, info, context))
		return;
	struct sigaction *program = &program_action[number_of(sig)], action = *program;
	bool sent = info->si_code <= 0;

	if (action.sa_handler == SIG_IGN && sent)
		return;
	if (action.sa_handler == SIG_DFL || action.sa_handler == SIG_IGN) {
		die_of(sig);
		if (sent || sig == SIGSYS)
			raise(sig);
		return;
	}
	if (action.sa_flags & SA_RESETHAND)
		program->sa_handler = SIG_DFL;
	run_handler(&action, sig, info, context);
}

static void on_bus(int sig, siginfo_t *info, void *context)
{
	int saved_errno = errno;

	if (!real_handle_sigbus(run.machine, info, context))
		signals_pass_on(sig, info, context);
	errno = saved_errno;
}

int signals_take(int sig, const struct sigaction *action)
{
	sigset_t one;

	if (REAL(sigaction)(sig, action, &program_action[number_of(sig)]) < 0)
		return -errno;
	sigemptyset(&one);
	sigaddset(&one, sig);
	return -REAL(pthread_sigmask)(SIG_UNBLOCK, &one, NULL);
}

int signals_start(void)
{
	struct sigaction action = {.sa_sigaction = on_bus, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};

	if (!run.signal_mode)
		return 0;
	/* With SIGSYS: a fault is served without a system call on managed memory. */
	raw_fill(&action.sa_mask);
	return signals_take(SIGBUS, &action);
}

/* ---- Actions ---------------------------------------------------------------------------- */

EXPORT int sigaction(int sig, const struct sigaction *action, struct sigaction *old)
{
	if (!mask_is_ours())
		return core_watches(sig) ? core_sigaction(sig, action, old)
					 : REAL(sigaction)(sig, action, old);
	if (number_of(sig) >= 0) {
		struct sigaction *program = &program_action[number_of(sig)], was = *program;
		if (action)
			*program = *action;
		if (old)
			*old = was;
		return 0;
	}
	struct sigaction copy = action ? *action : (struct sigaction){.sa_flags = 0};
	remove_ours(&copy.sa_mask);
	if (core_watches(sig))
		return core_sigaction(sig, action ? &copy : NULL, old);
	return REAL(sigaction)(sig, action ? &copy : NULL, old);
}

/* As libc's, with the BSD semantics that it has. */
static __sighandler_t core_signal(int sig, __sighandler_t handler)
{
	struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART}, old;

	sigemptyset(&action.sa_mask);
	sigaddset(&action.sa_mask, sig);
	if (mask_is_ours())
		remove_ours(&action.sa_mask);
	return core_sigaction(sig, &action, &old) < 0 ? SIG_ERR : old.sa_handler;
}

EXPORT __sighandler_t signal(int sig, __sighandler_t handler)
{
	if (!mask_is_ours() || number_of(sig) < 0)
		return core_watches(sig) ? core_signal(sig, handler) : REAL(signal)(sig, handler);
	struct sigaction *program = &program_action[number_of(sig)];
	__sighandler_t was = program->sa_handler;
	*program = (struct sigaction){.sa_handler = handler, .sa_flags = SA_RESTART};
	return was;
}

EXPORT int sigaltstack(const stack_t *stack, stack_t *old)
{
	if (!mask_is_ours()) {
		int result = REAL(sigaltstack)(stack, old);
		if (result == 0 && old && core_owns_stack(old))
			*old = (stack_t){.ss_flags = SS_DISABLE};
		return result;
	}
	stack_t asked, was = has_program_stack ? program_stack : (stack_t){.ss_flags = SS_DISABLE};
	int error = stack && !user_read(&asked, stack, sizeof(asked)) ? EFAULT : 0;

	if (stack && !error && !(asked.ss_flags & SS_DISABLE) && asked.ss_size < (size_t)MINSIGSTKSZ)
		error = ENOMEM;
	if (stack && !error && !(asked.ss_flags & SS_DISABLE))
		error = -real_thread_room(run.machine, asked.ss_size);
	if (stack && !error) {
		program_stack = asked;
		has_program_stack = !(asked.ss_flags & SS_DISABLE);
	}
	if (old && !error && !user_write(old, &was, sizeof(was)))
		error = EFAULT;
	if (error)
		errno = error;
	return error ? -1 : 0;
}

/* ---- Masks ------------------------------------------------------------------------------ */

/* What the program believes about ours after it has set its mask so. */
static void believe(int how, const sigset_t *set)
{
	for (unsigned i = 0; set && i < NR_OURS; i++) {
		bool named = sigismember(set, ours[i]) == 1;
		if (how == SIG_SETMASK)
			program_blocks[i] = named;
		else if (named)
			program_blocks[i] = how == SIG_BLOCK;
	}
}

EXPORT int pthread_sigmask(int how, const sigset_t *set, sigset_t *old)
{
	sigset_t copy;

	if (!mask_is_ours())
		return REAL(pthread_sigmask)(how, set, old);
	/* @old may be @set. */
	bool has_set = set != NULL, was_blocked[NR_OURS];
	memcpy(was_blocked, program_blocks, sizeof(was_blocked));
	sigset_t asked = copy = has_set ? *set : (sigset_t){0};
	remove_ours(&copy);
	int error = REAL(pthread_sigmask)(how, has_set ? &copy : NULL, old);
	if (error)
		return error;
	believe(how, has_set ? &asked : NULL);
	for (unsigned i = 0; old && i < NR_OURS; i++)
		if (was_blocked[i])
			sigaddset(old, ours[i]);
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
	return REAL(sigsuspend)(without_ours(mask, &copy));
}

EXPORT int ppoll(struct pollfd *fds, nfds_t nr, const struct timespec *timeout, const sigset_t *mask)
{
	sigset_t copy;
	return REAL(ppoll)(fds, nr, timeout, without_ours(mask, &copy));
}

EXPORT int pselect(int nr, fd_set *reads, fd_set *writes, fd_set *others, const struct timespec *timeout,
	const sigset_t *mask)
{
	sigset_t copy;
	return REAL(pselect)(nr, reads, writes, others, timeout, without_ours(mask, &copy));
}

EXPORT int epoll_pwait(int fd, struct epoll_event *events, int nr, int timeout, const sigset_t *mask)
{
	sigset_t copy;
	return guard_epoll_wait(fd, events, nr, timeout, without_ours(mask, &copy));
}

/* SPDX-License-Identifier: MIT */
/*
 * The older functions for signals, in terms of the newer ones.
 *
 * libc's versions reach the kernel without the interposed sigaction() and pthread_sigmask(). In signal mode a handler
 * of SIGBUS or SIGSYS that a program sets by them would replace the library's. Programs in strict ISO C call one of
 * them unknowingly: their signal() is __sysv_signal().
 */
#include "run/run.h"

#include <signal.h>
/* Today's headers do not declare these. */
__sighandler_t bsd_signal(int sig, __sighandler_t handler);
int __sigaction(int sig, const struct sigaction *action, struct sigaction *old);

/* signal() as it was before BSD: the handler serves one signal, and the signal is not blocked meanwhile. */
EXPORT __sighandler_t __sysv_signal(int sig, __sighandler_t handler)
{
	struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESETHAND | SA_NODEFER}, old;

	return sigaction(sig, &action, &old) ? SIG_ERR : old.sa_handler;
}

EXPORT __sighandler_t sysv_signal(int sig, __sighandler_t handler)
{
	return __sysv_signal(sig, handler);
}

EXPORT __sighandler_t bsd_signal(int sig, __sighandler_t handler)
{
	return signal(sig, handler);
}

EXPORT __sighandler_t ssignal(int sig, __sighandler_t handler)
{
	return signal(sig, handler);
}

EXPORT int __sigaction(int sig, const struct sigaction *action, struct sigaction *old)
{
	return sigaction(sig, action, old);
}

/* ---- System V --------------------------------------------------------------------------- */

static int change_one(int how, int sig, sigset_t *old)
{
	sigset_t one;

	sigemptyset(&one);
	return sigaddset(&one, sig) ? -1 : sigprocmask(how, &one, old);
}

EXPORT int sighold(int sig)
{
	return change_one(SIG_BLOCK, sig, NULL);
}

EXPORT int sigrelse(int sig)
{
	return change_one(SIG_UNBLOCK, sig, NULL);
}

EXPORT int sigignore(int sig)
{
	struct sigaction action = {.sa_handler = SIG_IGN};

	return sigaction(sig, &action, NULL);
}

/*
 * SIG_HOLD: block the signal. Otherwise set its action, and unblock it. Returns the action before the call, or SIG_HOLD
 * if the signal was blocked.
 */
EXPORT __sighandler_t sigset(int sig, __sighandler_t disposition)
{
	bool hold = disposition == SIG_HOLD;
	struct sigaction action = {.sa_handler = disposition}, old;
	sigset_t mask;

	if (sigaction(sig, hold ? NULL : &action, &old) ||
		change_one(hold ? SIG_BLOCK : SIG_UNBLOCK, sig, &mask))
		return SIG_ERR;
	return sigismember(&mask, sig) == 1 ? SIG_HOLD : old.sa_handler;
}

EXPORT int siginterrupt(int sig, int interrupts)
{
	struct sigaction action;

	if (sigaction(sig, NULL, &action))
		return -1;
	if (interrupts)
		action.sa_flags &= ~SA_RESTART;
	else
		action.sa_flags |= SA_RESTART;
	return sigaction(sig, &action, NULL);
}

/* ---- BSD: the first 32 signals as bits ------------------------------------------------------ */

static sigset_t set_of(int mask)
{
	sigset_t set;

	sigemptyset(&set);
	for (int sig = 1; sig <= 32; sig++)
		if ((unsigned)mask >> (sig - 1) & 1)
			sigaddset(&set, sig);
	return set;
}

static int mask_of(const sigset_t *set)
{
	unsigned mask = 0;

	for (int sig = 1; sig <= 32; sig++)
		if (sigismember(set, sig) == 1)
			mask |= 1U << (sig - 1);
	return (int)mask;
}

static int change_mask(int how, int mask)
{
	sigset_t set = set_of(mask), old;

	return sigprocmask(how, &set, &old) ? -1 : mask_of(&old);
}

EXPORT int sigblock(int mask)
{
	return change_mask(SIG_BLOCK, mask);
}

EXPORT int sigsetmask(int mask)
{
	return change_mask(SIG_SETMASK, mask);
}

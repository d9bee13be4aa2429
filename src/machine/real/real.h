/* SPDX-License-Identifier: MIT */
/* What the library and the preload library ask of any machine on real memory. */
#ifndef ANONMM_REAL_H
#define ANONMM_REAL_H

#include "anonmm.h"
#include "contract/machine.h"

#include <signal.h>

/*
 * Signal mode, for programs that use the library themselves. install puts our SIGBUS handler before the program's,
 * which gets the signals that are not ours. 0; -ENOSPC: too many machines; or what sigaction() says. remove: the
 * handler no longer serves faults of this machine. Closing the machine does this, too. In thread mode both do nothing.
 */
int real_install_sigbus(struct machine *m);
void real_remove_sigbus(struct machine *m);

/*
 * Signal mode. Every thread needs an alternate stack in unmanaged memory before it touches managed memory. A thread
 * calls enter at its start, and exit at its end, which takes the stack away. 0 or -errno. In thread mode both do
 * nothing.
 */
int real_thread_enter(struct machine *m);
void real_thread_exit(struct machine *m);

/*
 * Signal mode. The calling thread's handlers want a stack of @bytes: the alternate stack of real_thread_enter() gets so
 * much more. 0, also where a handler runs on it now: it stays as it is; or -ENOMEM.
 */
int real_thread_room(struct machine *m, size_t bytes);

/*
 * The SIGBUS handler's work. true: the fault was ours and is served; the handler must return. false: the fault is not
 * ours, or the page cannot be had. In the second case a message was said, and @info is as the program should see it.
 */
bool real_handle_sigbus(struct machine *m, siginfo_t *info, void *ucontext);

/*
 * In thread mode, threads that fault often are bound to the pager thread's CPU for a while ("paired"). The program must
 * not see that, and its children must not inherit it:
 *   - real_unpair_self() gives the calling thread its own affinity back. It is called before fork, exec, spawn and
 *     pthread_create.
 *   - The other two do the work of sched_getaffinity() and sched_setaffinity() for a thread of this process (@tid 0:
 *     the calling thread), in terms of the affinity that the program has set. Results as the system calls'.
 */
void real_unpair_self(struct machine *m);
int real_getaffinity(struct machine *m, int tid, size_t bytes, void *mask);
int real_setaffinity(struct machine *m, int tid, size_t bytes, const void *mask);

#endif

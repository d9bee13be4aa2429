/* SPDX-License-Identifier: MIT */
/* What programs and the preload library ask of any machine on real memory. */
#ifndef ANONMM_REAL_H
#define ANONMM_REAL_H

#include "anonmm.h"
#include "contract/machine.h"

#include <signal.h>

/*
 * Signal mode, for programs that use the library themselves: put a SIGBUS handler before the program's, which gets
 * what is not ours. No-ops in thread mode. -ENOSPC: too many machines. remove: close does it too.
 */
int real_install_sigbus(struct machine *m);
void real_remove_sigbus(struct machine *m);

/*
 * Signal mode. Every thread needs an alternate stack in unmanaged memory before it touches managed
 * memory: call at its start. Undone at its end by real_thread_exit(). No-ops in thread mode.
 */
int real_thread_enter(struct machine *m);
void real_thread_exit(struct machine *m);

/*
 * The SIGBUS handler's work: true when the fault was ours and is resolved (return from the handler). false: not
 * ours, or the page cannot be had: then *si_addr and si_code stand as the program should see them, and the message was said.
 */
bool real_handle_sigbus(struct machine *m, siginfo_t *info, void *ucontext);

/*
 * In thread mode threads that fault often are bound to the pager's CPU for a while. What the program may see
 * and inherit is its own affinity: release the calling thread before fork, exec, spawn and pthread_create,
 * and let these stand behind sched_getaffinity/sched_setaffinity of a thread of this process (tid 0: the caller).
 */
void real_unpair_self(struct machine *m);
int real_getaffinity(struct machine *m, int tid, size_t bytes, void *mask);
int real_setaffinity(struct machine *m, int tid, size_t bytes, const void *mask);

#endif

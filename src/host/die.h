/* SPDX-License-Identifier: MIT */
/*
 * The end of a process that cannot go on.
 *
 * This is not abort(). abort() runs handlers of SIGABRT: the program's, and ours, which brings in memory for a core
 * dump. The thread that dies may hold a lock or a page that such a handler waits for. host_die() resets the signal to
 * its default action, which ends the process whatever its threads hold. The kernel's core dump has the pages that are
 * in memory, and waits for no other.
 */
#ifndef ANONMM_DIE_H
#define ANONMM_DIE_H

/* End the process by SIGABRT, without a message. => any thread, any locks held, any signal mask */
void host_die(void) __attribute__((noreturn));

#endif

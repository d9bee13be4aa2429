/* SPDX-License-Identifier: MIT */
/*
 * The end of a process that cannot go on.
 *
 * Not abort(): that runs handlers of SIGABRT, the program's and ours that brings in memory for a core dump, and who dies may hold
 * any lock and any page that such a handler waits for. Here the signal's default action ends the process, whatever
 * other threads hold; the kernel's core dump takes what is in memory and waits for nobody.
 */
#ifndef ANONMM_DIE_H
#define ANONMM_DIE_H

/* What was to be said has been said. => any thread, any locks held, any signal mask */
void host_die(void) __attribute__((noreturn));

#endif

/* SPDX-License-Identifier: MIT */
/* Which fault mode `auto` stands for, in a program whose system calls the guard would serve (guard.h). */
#ifndef ANONMM_RUN_FAULTS_H
#define ANONMM_RUN_FAULTS_H

#include "anonmm.h"
#include "base/base.h"

/*
 * The mode to try first where AUTO was asked for: THREAD or SIGNAL. *@why becomes the reason, a constant text. If the
 * mode does not open, faults_next() says what to try then. @traces: the program is a debugger. The launcher calls
 * this function, and each program that it started, so that they agree.
 */
enum anonmm_faults faults_first(bool traces, const char **why);
/* Does this host accept seccomp filters? The guard needs one. */
bool faults_filters(void);
/* Does this process run under a guard's filter already? A program that was started by one in signal mode does. */
bool faults_filtered(void);
/* Whether that filter covers the largest range that there can be. */
bool faults_filtered_far(void);

/*
 * A process asks for the filter by a prctl() with an option that does not exist; the filter makes it fail with this
 * error. A system call number that does not exist would not do: some sandboxes kill for it.
 */
#define FILTER_PROBE_OPTION 0x616e6f6e
#define FILTER_PROBE_ANSWER EUCLEAN
#define FILTER_PROBE_FAR ENOTNAM /* the filter covers RUN_MANAGED_MOST, not only RUN_MANAGED_BYTES */

/* The mode to try after @first did not open, and *@why. AUTO: none, because the other mode would not be safe here. */
enum anonmm_faults faults_next(enum anonmm_faults first, const char **why);

#endif

/* SPDX-License-Identifier: MIT */
/* Which fault mode `auto` is, for a program whose system calls would be guarded (guard.h). */
#ifndef ANONMM_RUN_FAULTS_H
#define ANONMM_RUN_FAULTS_H

#include "anonmm.h"
#include "base/base.h"

/*
 * What AUTO is to be tried as first, for this process; the other one is next where that does not open. *@why says the reason.
 * @traces: the program is a debugger. => called by the launcher and by each program that it started, so that they agree
 */
enum anonmm_faults faults_first(bool traces, const char **why);
/* Whether this host takes seccomp filters, which the guard needs. */
bool faults_filters(void);
/* Whether this process is under the guard's filter already, as what a program in signal mode starts is. */
bool faults_filtered(void);
/* Whether that filter covers the largest range that there can be. */
bool faults_filtered_far(void);

/* How one asks the filter: by a prctl() that does not exist. A number of no call at all would be death in some sandboxes. */
#define FILTER_PROBE_OPTION 0x616e6f6e
#define FILTER_PROBE_ANSWER EUCLEAN
#define FILTER_PROBE_FAR ENOTNAM /* the filter covers RUN_MANAGED_MOST, not only RUN_MANAGED_BYTES */

/* What is next, and why; AUTO: nothing, it would not be safe. */
enum anonmm_faults faults_next(enum anonmm_faults first, const char **why);

#endif

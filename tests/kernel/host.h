/* SPDX-License-Identifier: MIT */
/*
 * What the Linux side takes from this machine: a swap file, a memory cgroup, and three global settings. A guardian
 * process in a session of its own puts all of it back when the test has ended, however it ended.
 */
#ifndef ANONMM_KERNEL_HOST_H
#define ANONMM_KERNEL_HOST_H

#include <stdint.h>
#include <sys/types.h>

/* NULL, or why this machine cannot judge. */
const char *host_open(void);
void host_close(void);
/* In a process that must not keep the guardian waiting. */
void host_leave(void);

/* @pid is charged to our cgroup from now on. 0 or -errno */
int host_join(pid_t pid);
/* Have the kernel put onto their lists the pages that wait in per-CPU batches. */
void host_drain(void);
/* Have it reclaim what our cgroup has. Not all may go at once. */
void host_squeeze(void);

const char *host_ksm_missing(void);
/* KSM, until it has seen everything a few times. 0 or -errno */
int host_merge(void);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Descriptors of ours in a program that knows nothing of them. The kernel gives out the lowest free number, and some
 * programs rely on that, or close all numbers from 3 to some number. So our descriptors get high numbers.
 */
#ifndef ANONMM_HOST_FD_H
#define ANONMM_HOST_FD_H

#include "base/base.h"

/* Each kind of descriptor gets numbers from its place on, if RLIMIT_NOFILE allows it. */
#define FD_PLACE_SWAP 500 /* swap files and their queues */
#define FD_PLACE_RUN 3900 /* the run's ledger, leases of forks */
#define FD_PLACE_MACHINE 4000 /* userfaultfd, and the eventfds that the machine's threads sleep on */

/*
 * Give the descriptor @fd a number of at least @place. If RLIMIT_NOFILE is lower, use one of the last @room numbers
 * below the limit. exec closes the descriptor.
 * => success: returns the new number; @fd is closed
 * => failure: returns @fd, which is as it was. So a negative @fd is returned as it is
 */
int host_fd_raise(int fd, int place, unsigned room);

/*
 * Close every descriptor of the calling thread's table except the @nr_keep ones in @keep. Returns 0, or -errno: some
 * may still be open.
 */
int host_close_others(const int *keep, unsigned nr_keep);

#endif

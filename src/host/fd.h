/* SPDX-License-Identifier: MIT */
/*
 * Descriptors of ours in a program that knows nothing of them. Programs take the lowest free numbers, and some close
 * all that they find from 3 on; so ours get high numbers.
 */
#ifndef ANONMM_HOST_FD_H
#define ANONMM_HOST_FD_H

#include "base/base.h"

/* From which number on each kind lies, where RLIMIT_NOFILE allows it. */
#define FD_PLACE_SWAP 500 /* swap files and their queues */
#define FD_PLACE_RUN 3900 /* the run's records, leases of forks */
#define FD_PLACE_MACHINE 4000 /* userfaultfd, what its threads sleep on */

/*
 * Give @fd a number from @place on; where the limit is lower, one of the last @room below the limit. The new descriptor
 * is closed by exec; @fd itself is closed. Returns the new number, or @fd when there is none: it is as it was.
 */
int host_fd_raise(int fd, int place, unsigned room);

/*
 * Close every descriptor of the calling thread's table but @keep, with close_range() or one by one. Returns 0, or
 * -errno: some may be open still.
 */
int host_close_others(const int *keep, unsigned nr_keep);

#endif

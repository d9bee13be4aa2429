/* SPDX-License-Identifier: MIT */
/*
 * Faults on demand, for tests. "faulty:URI" wraps the device that URI names. Its own options stand among those of the
 * inner device:
 *
 *   fail_read=N fail_write=N   the Nth request of that direction ends with an error
 *   corrupt_read=N             the Nth read succeeds, with one bit of one page changed
 *   fail_fork=N                the child of the Nth fork cannot have the device
 *   forever=1                  every later request or fork fails, or is corrupted, as well
 *   error=N                    the errno of failures; without it EIO
 *   full=N                     only N different slots can be written; a write to another one ends with ENOSPC.
 *                              discard() makes room
 *   delay=N                    a request that has ended is held back for 0 to N polls, so requests are reordered
 *   torn=1                     a failing request of several pages moves some of them first
 *   seed=N                     of delays and corruptions
 *
 * Example: faulty:file:/var/tmp?size=64M&fail_write=3&delay=4&seed=7
 *
 * The functions below do the same in a running test.
 */
#ifndef ANONMM_SWAPDEV_FAULTY_H
#define ANONMM_SWAPDEV_FAULTY_H

#include "contract/swapdev.h"

/*
 * Make the @nth request of @dir from now on fail with @error, a positive errno, and later ones if @forever. 1 is the
 * next request; 0 stops the faults. => here and below: @dev was opened as "faulty:URI"
 */
void faulty_fail(struct swapdev *dev, enum swap_dir dir, uint64_t nth, int error, bool forever);
void faulty_corrupt(struct swapdev *dev, uint64_t nth, bool forever);

/* From now on only @slots different slots can be written, slots in use included. UINT32_MAX: all. */
void faulty_full(struct swapdev *dev, uint32_t slots);

/* @hold: requests of @dir do not end. Not @hold: those that were held back end in a later poll(). */
void faulty_hold(struct swapdev *dev, enum swap_dir dir, bool hold);

/* The number of requests of @dir since the device was opened, and the number of faults that were injected. */
uint64_t faulty_requests(struct swapdev *dev, enum swap_dir dir);
uint64_t faulty_dealt(struct swapdev *dev);

bool swapdev_is_faulty(const struct swapdev *dev);

#endif

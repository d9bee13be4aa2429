/* SPDX-License-Identifier: MIT */
/*
 * Faults on demand, for tests. "faulty:URI" wraps the device that URI names; its own options may stand among
 * those of the inner one:
 *
 *   fail_read=N fail_write=N   the Nth request of that direction ends with an error
 *   corrupt_read=N             the Nth read succeeds with one bit of one page turned
 *   forever=1                  ... and so does every later one
 *   error=N                    the errno of failures, EIO when not given
 *   full=N                     a write to an (N+1)th different slot ends with ENOSPC; discard() makes room
 *   delay=N                    a request that has ended is held back for up to N polls, seeded, and so reordered
 *   torn=1                     what fails of several pages has moved a part of them first
 *   seed=N                     of delays and corruptions
 *
 *   faulty:file:/var/tmp?size=64M&fail_write=3&delay=4&seed=7
 *
 * The same can be armed in a running test:
 */
#ifndef ANONMM_SWAPDEV_FAULTY_H
#define ANONMM_SWAPDEV_FAULTY_H

#include "contract/swapdev.h"

/* => @dev was opened as "faulty:...". @nth counts from now, 1 is the next request; 0 disarms. @error: a positive errno. */
void faulty_fail(struct swapdev *dev, enum swap_dir dir, uint64_t nth, int error, bool forever);
void faulty_corrupt(struct swapdev *dev, uint64_t nth, bool forever);

/* From now on @slots different slots can be written, those that are in use already included. UINT32_MAX: all. */
void faulty_full(struct swapdev *dev, uint32_t slots);

/* Hold all requests of @dir back until it is called with false. They end in a poll() after that. */
void faulty_hold(struct swapdev *dev, enum swap_dir dir, bool hold);

/* Requests of @dir that were submitted since the device was opened, and faults that were dealt. */
uint64_t faulty_requests(struct swapdev *dev, enum swap_dir dir);
uint64_t faulty_dealt(struct swapdev *dev);

bool swapdev_is_faulty(const struct swapdev *dev);

#endif

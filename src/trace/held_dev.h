/* SPDX-License-Identifier: MIT */
/*
 * A swap device in memory that ends its writes when it is told to: what makes "under writeback" a state
 * that can be looked at. Reads end at the next poll. One thread.
 */
#ifndef ANONMM_HELD_DEV_H
#define ANONMM_HELD_DEV_H

#include "contract/swapdev.h"

/* -ENOMEM */
int held_dev_open(uint32_t nr_slots, struct swapdev **out);

/* From now on writes end when polled (@hold false), or stay in flight (@hold true: as after open). */
void held_dev_hold(struct swapdev *dev, bool hold);

/* From now on requests of @dir end with an error, or no more. */
void held_dev_fail(struct swapdev *dev, enum swap_dir dir, bool fail);

#endif

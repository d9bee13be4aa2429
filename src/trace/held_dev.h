/* SPDX-License-Identifier: MIT */
/*
 * A swap device in memory that ends its writes only when it is told to. So a walk can look at a page under writeback.
 * Reads end at the next poll. => one thread uses it
 */
#ifndef ANONMM_HELD_DEV_H
#define ANONMM_HELD_DEV_H

#include "contract/swapdev.h"

/* 0 or -ENOMEM. Writes are held after open. */
int held_dev_open(uint32_t nr_slots, struct swapdev **out);

/* @hold: writes stay in flight. Not @hold: they end at the next poll. */
void held_dev_hold(struct swapdev *dev, bool hold);

/* @fail: requests of @dir end with an error from now on. */
void held_dev_fail(struct swapdev *dev, enum swap_dir dir, bool fail);

#endif

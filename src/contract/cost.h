/* SPDX-License-Identifier: MIT */
/*
 * What a swap device costs: the facts that a device tells (contract/swapdev.h) and a policy judges
 * (contract/policy.h). A device measures itself, and begins with values that were measured elsewhere.
 */
#ifndef ANONMM_COST_H
#define ANONMM_COST_H

#include "base/base.h"

struct swap_cost {
	/*
	 * a read of one page of which nothing is known, start to end: from the slowest place where the device may have
	 * it
	 */
	uint32_t read_ns;
	uint32_t neighbour_read_ns; /* a page's part of a read of a long run of slots */
	uint32_t write_ns; /* a page's part of a write, until it is in the slowest place where it may get */
	/*
	 * memory that the device may still fill with content, in 1/COST_WHOLE of all that it may have. COST_WHOLE: the
	 * device is empty, or memory is not what it lives on
	 */
	uint32_t room;
};

#define COST_WHOLE 1024
#define COST_NEVER UINT32_MAX /* read_ns: there is no device, so a page cannot leave */

/*
 * A disk: what counts for a device that measures nothing, and for a file until it has been measured. The reads are
 * those of bench/touch (docs/architecture.md): in disorder 35 us a page and in order 5.5 us where the machine has
 * nothing else to do, and up to three times as much in a queue with writes.
 */
#define COST_OF_DISK                                                                                         \
	((struct swap_cost){                                                                                 \
		.read_ns = 100000, .neighbour_read_ns = 6000, .write_ns = 6000, .room = COST_WHOLE})

#endif

/* SPDX-License-Identifier: MIT */
/*
 * How a device measures what it costs: moving averages of what its requests took. Any thread may note a time. If two
 * do so at once, one of the two times is lost, which does no harm to an average.
 */
#ifndef ANONMM_SWAPDEV_COST_H
#define ANONMM_SWAPDEV_COST_H

#include "contract/swapdev.h"

/* Take a time into an average: an eighth of it counts. A thread that was interrupted doubles it at most. */
void cost_note(_Atomic(uint32_t) *average, uint64_t ns);

/*
 * As cost_note(), for times that include a delay which is not the device's: nobody may have looked when the request
 * ended. A shorter time counts a quarter, a longer one a 64th. So one request in ten whose end was noticed at once
 * makes the average right.
 */
void cost_note_late(_Atomic(uint32_t) *average, uint64_t ns);

/* For requests that move bytes between memory and a disk. Locks: all [a] */
struct cost_meter {
	_Atomic(uint32_t) read_ns, neighbour_read_ns, write_ns; /* as in struct swap_cost */
};

void cost_meter_init(struct cost_meter *meter); /* COST_OF_DISK */
void cost_meter_begin(struct swap_io *io);
/* Note what @io took since cost_meter_begin(), if it ended well. @now_ns: host_now_ns() */
void cost_meter_end(struct cost_meter *meter, const struct swap_io *io, uint64_t now_ns);
void cost_meter_tell(const struct cost_meter *meter, struct swap_cost *out);

/* What a page costs that goes through one device to another: @out, the costs of the first, gets those of @behind. */
void cost_add(struct swap_cost *out, const struct swap_cost *behind);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * What a fork's child has from its ancestors: devices that it reads from, and for each the write end of a pipe. While
 * the end is open, the owner of the device knows that somebody still reads there.
 *
 * When a device holds nothing of this process any more, it is closed and its place is free. The pipe's end is closed
 * with the last device of that ancestor.
 *
 * Before a fork, places must be free for the devices that the child will add. If they are not, the pager's swapoff
 * empties inherited devices: pages come in, and go out to this process's own devices later. The device with the
 * fewest pages goes first. So a process has at most RUN_SWAPS devices after any number of generations, and a page
 * moves once in several.
 */
#include "run/run.h"
#include "run/raw.h"

/* Locks: [S] space lock. The arrays are indexed by the place in run.swaps */
static _Atomic(int) ends[RUN_SWAPS]; /* changed under [S]. The pipe's end, plus 1; 0: none */
static bool inherited[RUN_SWAPS]; /* [S] */
static _Atomic(unsigned) nr_inherited; /* changed under [S] */

bool heritage_any(void)
{
	return atomic_load_explicit(&nr_inherited, memory_order_relaxed) > 0;
}

bool heritage_owns_fd(int fd)
{
	for (unsigned i = 0; i < RUN_SWAPS; i++)
		if (fd >= 0 && atomic_load(&ends[i]) == fd + 1)
			return true;
	return false;
}

void heritage_begin(int fd)
{
	unsigned nr = 0, new = 0;

	for (unsigned i = 0; i < RUN_SWAPS; i++) {
		if (run.swaps[i] && !inherited[i]) {
			inherited[i] = true;
			atomic_store(&ends[i], fd + 1);
			new ++;
		}
		nr += inherited[i];
	}
	atomic_store(&nr_inherited, nr);
	if (new == 0 && fd >= 0)
		raw_close(fd);
}

/* The pager has closed the device at @place: free the place. */
static void forget(unsigned place)
{
	int end = atomic_exchange(&ends[place], 0);

	uffd_forget_device(run.machine, run.swaps[place]);
	run.swaps[place] = NULL;
	inherited[place] = false;
	atomic_fetch_sub(&nr_inherited, 1);
	if (end > 0 && !heritage_owns_fd(end - 1))
		raw_close(end - 1);
}

void heritage_leave_empty(void)
{
	struct wait wait;

	for (unsigned i = 0; i < RUN_SWAPS; i++) {
		if (!inherited[i] || pager_slots_used(run.pager, run.swaps[i]) > 0)
			continue;
		int error = pager_swapoff_device(run.pager, run.swaps[i], &wait);

		if (!error)
			forget(i);
		else if (error == -EAGAIN)
			pager_swapoff_cancel(run.pager); /* the device is in use: the next call tries again */
	}
}

/* The inherited device with the fewest pages of this process, of those not @tried. RUN_SWAPS: there is none */
static unsigned smallest(const bool tried[RUN_SWAPS])
{
	unsigned best = RUN_SWAPS;
	uint32_t fewest = UINT32_MAX;

	for (unsigned i = 0; i < RUN_SWAPS; i++) {
		if (!inherited[i] || tried[i])
			continue;
		uint32_t used = pager_slots_used(run.pager, run.swaps[i]);

		if (used < fewest || best == RUN_SWAPS) {
			fewest = used;
			best = i;
		}
	}
	return best;
}

/* How many places are lacking for a child's devices, which are as many as this process's own. */
static unsigned places_lacking(void)
{
	unsigned ours = 0, all = 0;

	for (unsigned i = 0; i < RUN_SWAPS; i++) {
		all += run.swaps[i] != NULL;
		ours += run.swaps[i] && !inherited[i];
	}
	return all + ours > RUN_SWAPS ? all + ours - RUN_SWAPS : 0;
}

void heritage_make_room(void)
{
	bool tried[RUN_SWAPS] = {false};
	unsigned place;

	while (places_lacking() > 0 && (place = smallest(tried)) < RUN_SWAPS) {
		tried[place] = true;
		if (!retry(pager_swapoff_device(run.pager, run.swaps[place], &wait))) {
			forget(place);
			tried[place] = false;
		}
	}
}

/* SPDX-License-Identifier: MIT */
/* The library's own code, on the shims' host. */
#include "shims.h"

#include "run/tree/ledger.c"

#define ledger_grow shim_ledger_grow
static void planted_reap(struct ledger *ledger, uint64_t pid_ns)
{
	if (world.plant != PLANT_NO_REAP)
		ledger_reap(ledger, pid_ns);
}
#define ledger_reap planted_reap

#include "run/tree/share.c"
#include "run/tree/share_thread.c"
#include "run/tree/share_view.c"

/* A governor's thread: what the host has is chosen by the seed. */
void real_governor_main(void *unused)
{
	const struct governor_ops *ops = share_governor_ops();

	(void)unused;
	for (;;) {
		uint64_t bytes = max_u64(world.ledger.most / (1 + seed_below(&world.programs, 4)), 8 * MIB);

		if (!world.calm)
			ops->set(bytes);
		world_sleep(world.now_ns + 1000 * MS, NULL);
	}
}

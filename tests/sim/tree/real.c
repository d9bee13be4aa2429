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

static bool planted_lead(struct ledger *ledger, unsigned me, uint64_t now_ns)
{
	if (world.plant != PLANT_FIRST_LEADS)
		return ledger_lead(ledger, me, now_ns);
	for (unsigned i = 0; i < me; i++)
		if (atomic_load(&ledger->slots[i].owner))
			return false;
	return true;
}
#define ledger_lead planted_lead

static bool planted_worth_it(uint64_t now, uint64_t wanted)
{
	uint64_t *last = &world.now->governor_set;

	world_stop_leader();
	bool worth_it = governor_worth_it(world.plant == PLANT_OWN_LIMIT && *last ? *last : now, wanted);

	if (worth_it)
		*last = wanted;
	return worth_it;
}
#define governor_worth_it planted_worth_it

#include "run/tree/share.c"
#include "run/tree/share_thread.c"
#include "run/tree/share_view.c"

/* SPDX-License-Identifier: MIT */
/* What other processes see of the run's limit, and how they set another limit for all processes; see share.c. */
#include "run/run.h"
#include "run/tree/share.h"
#include "host/host.h"

#include <stdio.h>

/*
 * The governors of all processes look at the host, and the one of the leader sets the limit. Processes that were killed
 * must not count as memory in use: the host has it again.
 */
static uint64_t managed_by_all(void)
{
	uint64_t now_ns = host_now_ns();
	struct ledger_sum sum;

	share.leads = ledger_lead(share.ledger, share.me, now_ns);
	if (share.leads)
		ledger_reap(share.ledger, share.pid_ns);
	/* The host is looked at now, too: what this process used a second ago would be a difference that is not there. */
	share_tell_used();
	ledger_look(share.ledger, share.me, now_ns, &sum);
	return sum.used;
}

/* A leader that was stopped may set an old limit later. The next look of the new leader sees it and sets its own. */
static void follow_for_all(uint64_t wanted)
{
	struct ledger *ledger = share.ledger;

	wanted = min_u64(wanted, atomic_load(&ledger->cap));
	if (!share.leads || !governor_worth_it(atomic_load(&ledger->limit), wanted))
		return;
	atomic_store(&ledger->limit, wanted);
	ledger_kick_others(ledger, share.me, false, host_now_ns());
	ledger_kick(ledger, share.me);
}

const struct governor_ops *share_governor_ops(void)
{
	static const struct governor_ops ops = {managed_by_all, follow_for_all};

	return share.ledger ? &ops : NULL;
}

bool share_is_shared(void)
{
	return share.ledger;
}

uint64_t share_bytes(void)
{
	return share.ledger ? share.bytes : run.record->limit_bytes;
}

void share_view(struct share_view *view)
{
	struct ledger_sum sum;

	*view = (struct share_view){.shared = share.ledger};
	if (!share.ledger)
		return;
	ledger_reap(share.ledger, share.pid_ns);
	ledger_look(share.ledger, share.me, host_now_ns(), &sum);
	view->limit = atomic_load(&share.ledger->limit);
	view->most = share.ledger->most;
	view->peak = atomic_load(&share.ledger->peak);
	view->shares = sum.shares;
	view->processes = sum.processes;
}

/*
 * This process checks whether its own pager can live with a smaller limit, and refuses the limit if not. The other
 * processes shrink as far as they can.
 */
int share_set_limit(uint64_t bytes, char *why, size_t why_len)
{
	struct ledger *ledger = share.ledger;
	struct ledger_sum sum;
	uint64_t now_ns = host_now_ns();
	int error = 0;

	if (run.follows && bytes >= atomic_load(&ledger->limit)) {
		atomic_store(&ledger->cap, bytes);
		return 0;
	}
	if (bytes > ledger->most) {
		snprintf(why, why_len,
			"it is more than the %lu MiB that there was room made for at the start",
			ledger->most / MIB);
		return -ERANGE;
	}
	ledger_reap(ledger, share.pid_ns);
	ledger_look(ledger, share.me, now_ns, &sum);
	lock_take(&share.lock);
	if (bytes < share.bytes)
		error = pager_set_limit(run.pager, bytes, why, why_len);
	if (!error) {
		share.bytes = min_u64(share.bytes, bytes);
		if (run.follows)
			atomic_store(&ledger->cap, bytes);
		atomic_store(&ledger->limit, bytes);
	}
	/*
	 * A process that is alone takes all of the limit. It asks the ledger, because another process may be
	 * starting.
	 */
	if (!error && sum.processes == 1 && bytes > share.bytes)
		share_grow(bytes - share.bytes, now_ns);
	lock_drop(&share.lock);
	if (!error) {
		ledger_kick_others(ledger, share.me, false, now_ns);
		ledger_kick(ledger, share.me);
	}
	return error;
}

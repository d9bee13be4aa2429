/* SPDX-License-Identifier: MIT */
/* What other processes see of the run's limit, and how they set another limit for all processes; see share.c. */
#include "run/run.h"
#include "run/tree/share.h"
#include "host/host.h"

#include <stdio.h>

/* Bytes of managed memory in use by all processes of the run. The governor of one process acts for all of them. */
static uint64_t managed_by_all(void)
{
	struct ledger_sum sum;

	ledger_look(share.ledger, share.me, host_now_ns(), &sum);
	return sum.used;
}

static int set_for_all(uint64_t bytes)
{
	struct ledger *ledger = share.ledger;
	uint64_t most = atomic_load(&ledger->cap);

	ledger_reap(ledger, share.pid_ns);
	if (!ledger_is_first(ledger, share.me))
		return -EBUSY;
	atomic_store(&ledger->limit, min_u64(bytes, most));
	ledger_kick_others(ledger, share.me, false, host_now_ns());
	ledger_kick(ledger, share.me);
	return 0;
}

const struct governor_ops *share_governor_ops(void)
{
	static const struct governor_ops ops = {managed_by_all, set_for_all};

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

	if (run.follows) {
		atomic_store(&ledger->cap, bytes);
		if (bytes >= atomic_load(&ledger->limit))
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

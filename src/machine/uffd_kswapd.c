/* SPDX-License-Identifier: MIT */
/*
 * The kswapd thread: calls kswapd_step() while there is something to do, sleeps when there is
 * not. It also reaps reads that nobody waits for, and makes the requests of threads that lost
 * our descriptors.
 */
#include "machine/uffd_internal.h"

#define WRITE_WAIT_MS 10
#define MEANWHILE_PAGES 16 /* about as long as a read takes */
#define STUCK_SLEEP_NS (50 * 1000000LL)
#define IDLE_SLEEP_NS (20 * 1000000LL)

/* Sleep until kicked. A kick after @kick was cleared ends it at once. */
static void kswapd_sleep(struct uffd_machine *m, int64_t timeout_ns)
{
	atomic_store(&m->kswapd_asleep, true);
	if (!atomic_load(m->kick) && !atomic_load(&m->stop))
		host_futex_wait_shared(m->kick, 0, timeout_ns);
	atomic_store(&m->kswapd_asleep, false);
}

/* What is in flight when the work is done shall still end; when nothing is, sleep without end. */
static void kswapd_rest(struct uffd_machine *m)
{
	do {
		kswapd_sleep(m, IDLE_SLEEP_NS);
		if (atomic_load(m->kick) || atomic_load(&m->stop))
			return;
		uffd_reap(m, true);
	} while (pager_in_flight(m->machine.pager, SWAP_READ) ||
		 pager_in_flight(m->machine.pager, SWAP_WRITE));
	kswapd_sleep(m, -1);
}

static enum kswapd_result step(struct uffd_machine *m, unsigned pages)
{
	enum kswapd_result result;

	lock_take(&m->kswapd_lock);
	result = kswapd_step(m->machine.pager, pages);
	lock_drop(&m->kswapd_lock);
	return result;
}

/*
 * A thread that waits for a read does a little of kswapd's work in the meantime: on its CPU, where the pages that it
 * takes away need no interrupt to another one. Short enough to be over when, or soon after, the read is.
 */
void uffd_kswapd_meanwhile(struct uffd_machine *m)
{
	if (!lock_try(&m->kswapd_lock))
		return;
	if (kswapd_step(m->machine.pager, MEANWHILE_PAGES) == KSWAPD_WAIT)
		pager_poll(m->machine.pager, SWAP_WRITE, 0);
	lock_drop(&m->kswapd_lock);
}

void *uffd_kswapd_main(void *machine)
{
	struct uffd_machine *m = machine;

	uffd_thread_settle(m, "anonmm-kswapd");
	atomic_store(&m->kswapd_tid, host_tid());
	while (!atomic_load(&m->stop)) {
		atomic_store(m->kick, 0);
		uffd_serve_mail(m);
		uffd_ids_serve(m, IDS_KSWAPD);
		if (m->serve)
			m->serve(m->serve_ctx);
		if (atomic_exchange(&m->poke_wanted, false))
			uffd_poke_for_others(m);
		uffd_reap(m, true);
		switch (step(m, KSWAPD_PAGES)) {
		case KSWAPD_PROGRESS:
			break;
		case KSWAPD_WAIT:
			pager_poll(m->machine.pager, SWAP_WRITE, WRITE_WAIT_MS);
			break;
		case KSWAPD_STUCK:
			kswapd_sleep(m, STUCK_SLEEP_NS);
			break;
		case KSWAPD_BALANCED:
			kswapd_rest(m);
			break;
		}
	}
	uffd_poke_for_others(m); /* the pager thread is to end too */
	return NULL;
}

/* SPDX-License-Identifier: MIT */
/*
 * Who calls kswapd_step(): whoever has just served a fault, mostly; and the kswapd thread, when nobody faults, when
 * many threads do, and when there is little to gain. That one also reaps reads that nobody waits for, and makes the
 * requests of threads that lost our descriptors.
 */
#include "machine/real/real_internal.h"

#define WRITE_WAIT_MS 10
#define MEANWHILE_PAGES 16 /* about as long as a read takes */
#define HELP_PAGES 64
#define STUCK_SLEEP_NS (50 * 1000000LL)
#define IDLE_SLEEP_NS (20 * 1000000LL)

/* Sleep until kicked. A kick after @kick was cleared ends it at once. */
static void kswapd_sleep(struct real_machine *m, int64_t timeout_ns)
{
	atomic_store(&m->kswapd_asleep, true);
	if (!atomic_load(m->kick) && !atomic_load(&m->stop))
		host_futex_wait_shared(m->kick, 0, timeout_ns);
	atomic_store(&m->kswapd_asleep, false);
}

/* What is in flight when the work is done shall still end; when nothing is, sleep without end. */
static void kswapd_rest(struct real_machine *m)
{
	do {
		kswapd_sleep(m, IDLE_SLEEP_NS);
		if (atomic_load(m->kick) || atomic_load(&m->stop))
			return;
		real_reap(m, true);
	} while (pager_in_flight(m->machine.pager, SWAP_READ) ||
		 pager_in_flight(m->machine.pager, SWAP_WRITE));
	atomic_store(&m->kswapd_idle, true);
	if (!pager_in_flight(m->machine.pager, SWAP_WRITE))
		kswapd_sleep(m, -1);
	atomic_store(&m->kswapd_idle, false);
}

static enum kswapd_result step(struct real_machine *m, unsigned pages)
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
void real_kswapd_meanwhile(struct real_machine *m)
{
	/* Before the step: it would end the shortage that is the reason to ask. */
	if (m->more && m->more(false))
		return;
	if (!lock_try(&m->kswapd_lock))
		return;
	if (kswapd_step(m->machine.pager, MEANWHILE_PAGES) == KSWAPD_WAIT)
		pager_poll(m->machine.pager, SWAP_WRITE, 0);
	lock_drop(&m->kswapd_lock);
}

/* Several threads that share one pager thread are not kept waiting; nor is it tried again and again in vain. */
bool real_kswapd_may_help(struct real_machine *m)
{
	return !atomic_load(&m->help_in_vain) &&
	       (m->faults == ANONMM_FAULTS_SIGNAL || atomic_load(&m->nr_paired) <= 1);
}

/*
 * Whoever has served a fault does some of kswapd's work, on the CPU of the thread that faulted. kswapd on another CPU
 * would have to interrupt this one for every page that it takes away, and so would every page shown here interrupt that one:
 * on a virtual machine that costs more than all the rest. (Measured, half of 256 MiB in compressed memory, us a page, beside
 * and here: scans 2.8 and 1.8, random reads 10 and 6; on a file no difference beyond noise.)
 */
void real_kswapd_help(struct real_machine *m)
{
	enum kswapd_result result;

	if (!atomic_load_explicit(&m->help_due, memory_order_relaxed))
		return;
	if (m->more && m->more(false)) {
		atomic_store(&m->help_due, false);
		return;
	}
	if (!lock_try(&m->kswapd_lock))
		return;
	atomic_store(
		&m->help_due, false); /* before the step, which may find a reason to set the flag again */
	result = kswapd_step(m->machine.pager, HELP_PAGES);
	if (result == KSWAPD_WAIT)
		pager_poll(m->machine.pager, SWAP_WRITE, 0);
	lock_drop(&m->kswapd_lock);
	if (result == KSWAPD_PROGRESS || result == KSWAPD_WAIT)
		atomic_store(&m->help_due, true);
	/* The kswapd thread tries now and then, and clears help_in_vain when there is a gain. If nobody faults any more, it also ends
	 * the writes that are done. */
	if (result == KSWAPD_STUCK)
		atomic_store(&m->help_in_vain, true);
	if (result == KSWAPD_STUCK ||
		(atomic_load(&m->kswapd_idle) && pager_in_flight(m->machine.pager, SWAP_WRITE)))
		real_kick_kswapd(m);
}

void *real_kswapd_main(void *machine)
{
	struct real_machine *m = machine;
	enum kswapd_result result;

	atomic_store(&m->kswapd_tid, host_tid());
	while (!atomic_load(&m->stop)) {
		atomic_store(m->kick, 0);
		m->real_ops->serve_mail(m);
		host_thread_serve(&m->kswapd_thread);
		if (m->serve)
			m->serve(m->serve_ctx);
		if (atomic_exchange(&m->poke_wanted, false))
			real_poke_for_others(m);
		real_reap(m, true);
		if (m->more)
			m->more(false);
		result = step(m, KSWAPD_PAGES);
		atomic_store(&m->help_in_vain, result == KSWAPD_STUCK);
		switch (result) {
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
	real_poke_for_others(m); /* the pager thread is to end too */
	return NULL;
}

bool real_more(struct machine *machine)
{
	struct real_machine *m = real_of(machine);

	return m->more && m->more(true);
}

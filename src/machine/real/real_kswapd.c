/* SPDX-License-Identifier: MIT */
/*
 * Who calls kswapd_step():
 *
 *   - Mostly the thread that has just served a fault (real_kswapd_help). The core's request for it, wake_kswapd() with
 *     by_fault, only sets the flag help_due. The thread looks at the flag when its fault is served, and does
 *     HELP_PAGES pages. It does nothing if another thread is at it.
 *   - A thread that waits for a lone read does a little (real_kswapd_meanwhile).
 *   - The kswapd thread does the work when nobody faults, when several threads are paired with the pager thread, and
 *     when the last step could reclaim nothing (help_in_vain).
 *
 * The kswapd thread also ends requests that nobody waits for, and makes the requests of threads that lost our
 * descriptors.
 */
#include "machine/real/real_internal.h"

/* the longest that the kswapd thread waits for a write to end, before its next step */
#define WRITE_WAIT_MS 10
#define MEANWHILE_PAGES 16 /* takes about as long as a read */
#define HELP_PAGES 64
/* before the kswapd thread tries again when nothing could be reclaimed */
#define STUCK_SLEEP_NS (50 * 1000000LL)
#define IDLE_SLEEP_NS (20 * 1000000LL) /* between two looks for the end of what is in flight */

/* Sleep until *m->kick is 1, or stop is set, at most @timeout_ns (-1: for ever). May return earlier. */
static void kswapd_sleep(struct real_machine *m, int64_t timeout_ns)
{
	atomic_store(&m->kswapd_asleep, true);
	if (!atomic_load(m->kick) && !atomic_load(&m->stop))
		host_futex_wait_shared(m->kick, 0, timeout_ns);
	atomic_store(&m->kswapd_asleep, false);
}

/*
 * The work is done. Sleep until kicked. While requests are in flight, look every IDLE_SLEEP_NS for their end; nobody
 * else may do so. When nothing is in flight, sleep without a time limit.
 */
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
 * A thread that waits for a read does a little of kswapd's work meanwhile. The pages that it takes away are mostly
 * those of its own CPU, so no other CPU must be interrupted. The step takes about as long as the read.
 */
void real_kswapd_meanwhile(struct real_machine *m)
{
	/* Ask before the step: the step would end the shortage that is the reason to ask. */
	if (m->more && m->more(false))
		return;
	if (!lock_try(&m->kswapd_lock))
		return;
	if (kswapd_step(m->machine.pager, MEANWHILE_PAGES) == KSWAPD_WAIT)
		pager_poll(m->machine.pager, SWAP_WRITE, 0);
	lock_drop(&m->kswapd_lock);
}

/*
 * No, if several threads are paired with one pager thread: they would wait while it does kswapd's work. No, if the last
 * step could reclaim nothing: the kswapd thread tries that.
 */
bool real_kswapd_may_help(struct real_machine *m)
{
	return !atomic_load(&m->help_in_vain) &&
	       (m->faults == ANONMM_FAULTS_SIGNAL || real_nr_paired(m) <= 1);
}

/*
 * The thread that has served a fault does some of kswapd's work, on the CPU of the thread that faulted. kswapd on
 * another CPU would have to interrupt this CPU for every page that it takes away, and every page shown here would
 * interrupt that CPU. On a virtual machine such interrupts cost more than the work itself. (Measured with half of 256
 * MiB in compressed memory, us a page, kswapd on another CPU and here: scans 2.8 and 1.8, random reads 10 and 6. With a
 * swap file there is no difference beyond noise.)
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
	/*
	 * Stuck: the kswapd thread tries every STUCK_SLEEP_NS, and clears help_in_vain when it is no longer stuck.
	 * Writes in flight: if nobody faults any more, only the kswapd thread notices their end.
	 */
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
	real_poke_for_others(m); /* wake the pager thread, so that it ends, too */
	return NULL;
}

bool real_more(struct machine *machine)
{
	struct real_machine *m = real_of(machine);

	return m->more && m->more(true);
}

/* SPDX-License-Identifier: MIT */
/*
 * The pager thread (thread mode), and how the machine's threads start and end.
 *
 * The pager thread runs one loop. It serves the faults that the host tells of. A fault that must wait is parked, and is
 * tried again when its wait is over. When there is nothing else to do, the thread sleeps in poll, and nowhere else.
 * pager_sleep.asleep is 0 while the thread does not sleep: then nobody needs to write its eventfd.
 *
 * The machine's threads never touch managed memory. Otherwise they are as host/thread.h says. The descriptors that they
 * keep are the machine's and its devices'.
 */
#include "machine/real/real_internal.h"

#include <string.h>

#define FAULT_BATCH 16
/* The longest sleep of the pager thread, so that an event that is missed costs only time: */
#define PARKED_MOST_NS (5 * 1000000LL) /* while faults are parked */
#define PARKED_BLIND_NS (500 * 1000LL) /* while faults are parked, and no device can be polled */
#define TIDY_NS (10 * 1000000LL) /* while threads are paired or pages poisoned */

/* ---- Faults ------------------------------------------------------------------------------ */

/* True: the fault is over. False: it has to wait. */
static bool serve(struct real_machine *m, struct told_fault *fault)
{
	uint64_t page = page_align_down(fault->addr);
	enum fault_result result;

	m->woken_end = 0;
	result = pager_fault(m->machine.pager, fault->addr, fault->access, &fault->wait);
	if (result == FAULT_WAIT)
		return false;
	if (result != FAULT_DONE)
		real_fault_fails(m, fault, result);
	else if (page < m->woken_start || page >= m->woken_end)
		m->real_ops->wake_range(m, page, 1);
	return true;
}

static void serve_told(struct real_machine *m, struct told_fault fault)
{
	real_pair_note(m, fault.tid);
	if (serve(m, &fault))
		return;
	m->parked[m->nr_parked++] = fault;
	m->pair.parked_ns = fault.wait.what == WAIT_PAGE && real_nr_paired(m) ? host_now_ns() : 0;
}

/* Read as many faults as could be parked, and serve or park each. Returns how many. */
static unsigned serve_faults(struct real_machine *m)
{
	struct told_fault faults[FAULT_BATCH];
	unsigned nr =
		m->real_ops->read_faults(m, faults, (unsigned)min_u64(NR_PARKED - m->nr_parked, FAULT_BATCH));

	for (unsigned i = 0; i < nr; i++)
		serve_told(m, faults[i]);
	return nr;
}

/* Try the parked faults again whose wait is over. Returns how many were tried. */
static unsigned retry_parked(struct real_machine *m)
{
	unsigned tried = 0, kept = 0, nr = m->nr_parked;

	for (unsigned i = 0; i < nr; i++) {
		struct told_fault fault = m->parked[i];
		bool over = wait_is_over(m->machine.pager, &fault.wait);

		tried += over;
		if (!over || !serve(m, &fault))
			m->parked[kept++] = fault;
	}
	m->nr_parked = kept;
	return tried;
}

static bool any_parked_over(struct real_machine *m)
{
	for (unsigned i = 0; i < m->nr_parked; i++)
		if (wait_is_over(m->machine.pager, &m->parked[i].wait))
			return true;
	return false;
}

static bool parked_want_writes(struct real_machine *m)
{
	for (unsigned i = 0; i < m->nr_parked; i++)
		if (wait_wants_writes(&m->parked[i].wait))
			return true;
	return false;
}

/* ---- The loop ---------------------------------------------------------------------------- */

static unsigned parked_device_fds(struct real_machine *m, struct pollfd *fds, unsigned nr)
{
	struct wait waits[NR_PARKED];

	for (unsigned i = 0; i < m->nr_parked; i++)
		waits[i] = m->parked[i].wait;
	return m->nr_parked ? real_device_fds(m, waits, m->nr_parked, fds, nr) : 0;
}

static uint64_t parked_words(const struct real_machine *m)
{
	uint64_t words = 0;

	for (unsigned i = 0; i < m->nr_parked; i++)
		words |= 1ull << m->parked[i].wait.word;
	return words;
}

static int64_t sleep_limit(struct real_machine *m, unsigned nr_devices)
{
	if (m->nr_parked)
		return nr_devices ? PARKED_MOST_NS : PARKED_BLIND_NS;
	return real_nr_paired(m) || atomic_load(&m->nr_poisoned) ? TIDY_NS : -1;
}

/*
 * Sleep until there are faults to read, a device has something, or an event of the words that parked faults wait for.
 * True: there are faults to read.
 */
static bool sleep_in_poll(struct real_machine *m)
{
	struct pollfd fds[2 + 32] = {
		{.fd = m->nr_parked < NR_PARKED ? m->fd : -1, .events = POLLIN},
		{.fd = m->pager_sleep.fd, .events = POLLIN},
	};
	unsigned nr_devices = parked_device_fds(m, fds + 2, 32);
	uint64_t drained;

	atomic_store(&m->pager_sleep.asleep, parked_words(m) | 1ull << WAIT_WORD_COMMON);
	if (!any_parked_over(m) && !atomic_load(&m->stop))
		host_poll(fds, 2 + nr_devices, sleep_limit(m, nr_devices));
	atomic_store(&m->pager_sleep.asleep, 0);
	if (fds[1].revents & POLLIN)
		host_read(m->pager_sleep.fd, &drained, sizeof(drained));
	return fds[0].revents & POLLIN;
}

/*
 * Is the only paired thread waiting for a read, and no other fault is parked? Then nobody else needs the pager thread,
 * nor probably its CPU.
 */
static bool lone_read(struct real_machine *m)
{
	return m->nr_parked == 1 && real_nr_paired(m) == 1 && m->parked[0].wait.what == WAIT_PAGE;
}

static void tidy(struct real_machine *m)
{
	if (real_nr_paired(m))
		real_pair_expire(m);
	if (atomic_load(&m->nr_poisoned))
		real_poison_expire(m);
}

static void *pager_main(void *machine)
{
	struct real_machine *m = machine;

	m->pager_tid = host_tid();
	bool look = true;

	while (!atomic_load(&m->stop)) {
		unsigned faults = m->nr_parked;

		host_thread_serve(&m->pager_thread);
		if (look)
			faults += serve_faults(m);
		if (m->nr_parked) {
			real_reap(m, parked_want_writes(m));
			retry_parked(m);
			if (faults == 1 && m->nr_parked == 0 && m->pair.parked_ns)
				real_pair_waited(m, host_now_ns() - m->pair.parked_ns);
		}
		if (real_nr_paired(m) <= 1)
			real_kswapd_help(m);
		/*
		 * A thread whose fault has just been served may have faulted again already, so look for faults before
		 * sleeping. A thread whose fault is parked cannot fault.
		 */
		look = m->nr_parked < faults;
		if (look || (lone_read(m) && real_spin_for_read(m, &m->parked[0].wait)))
			continue;
		tidy(m);
		look = sleep_in_poll(m);
	}
	return NULL;
}

/* ---- Start and stop ---------------------------------------------------------------------- */

static void wake_kswapd(void *machine)
{
	real_kick_kswapd(machine);
}

/* kswapd wakes the pager thread, because the caller may have lost the eventfd that it sleeps on. */
static void wake_pager(void *machine)
{
	struct real_machine *m = machine;

	atomic_store(&m->poke_wanted, true);
	real_kick_kswapd(m);
}

static int thread_start(
	struct real_machine *m, struct host_thread *thread, const struct host_thread *what, unsigned slot)
{
	*thread = *what;
	thread->arg = m;
	thread->stack = m->stacks + slot * STACK_BYTES;
	thread->stack_bytes = STACK_BYTES;
	thread->keep = m->own_fds;
	thread->nr_keep = m->nr_own_fds;
	return host_thread_start(thread);
}

int real_threads_start(struct real_machine *m)
{
	const struct host_thread kswapd = {
		.name = "anonmm-kswapd", .main = real_kswapd_main, .wake = wake_kswapd};
	const struct host_thread pager = {.name = "anonmm-pager", .main = pager_main, .wake = wake_pager};

	atomic_store(&m->stop, false);
	m->has_pager = false;
	int error = thread_start(m, &m->kswapd_thread, &kswapd, 1);

	m->started = error == 0;
	if (!error && m->faults == ANONMM_FAULTS_THREAD) {
		error = thread_start(m, &m->pager_thread, &pager, 0);
		m->has_pager = error == 0;
	}
	if (m->started)
		host_thread_wait_settled(&m->kswapd_thread);
	if (m->has_pager)
		host_thread_wait_settled(&m->pager_thread);
	if (error)
		real_threads_stop(m);
	return error;
}

void real_threads_stop(struct real_machine *m)
{
	if (!m->started)
		return;
	atomic_store(&m->stop, true);
	atomic_store(m->kick, 1);
	host_futex_wake_shared(m->kick, 1);
	host_thread_join(&m->kswapd_thread); /* at its end kswapd wakes the pager thread */
	if (m->has_pager) {
		host_thread_join(&m->pager_thread);
		real_unpair_all(m);
	}
	m->started = m->has_pager = false;
}

void real_fork_child(struct real_machine *m)
{
	lock_init(&m->pager_lock);
	lock_init(&m->kswapd_lock);
	lock_init(&m->poison_lock);
	atomic_store(&m->poke_wanted, false);
	for (unsigned word = 0; word < WAIT_WORDS; word++)
		atomic_store(&m->nr_waiting[word], 0);
	atomic_store(&m->leader, 0);
	atomic_store(&m->leader_sleep.asleep, 0);
	atomic_store(&m->pager_sleep.asleep, 0);
	atomic_store(m->kick, 0);
	atomic_store(&m->kick_pending, false);
	atomic_store(&m->kswapd_asleep, false);
	atomic_store(&m->nr_poisoned, 0);
	real_where_reset(m);
	m->nr_parked = 0;
	m->started = m->has_pager = false;
}

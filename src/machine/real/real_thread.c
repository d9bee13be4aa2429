/* SPDX-License-Identifier: MIT */
/*
 * The pager thread (thread mode) and how our threads live.
 *
 * One loop: serve the faults that the userfaultfd tells of, park those that must wait, try the
 * parked ones again when their wait is over, sleep in poll when there is nothing else. It never
 * blocks elsewhere. While it serves it does not look at the eventfd: who moves the event counter
 * then need not write it.
 *
 * Our threads block all signals, never touch managed memory, and keep only our own descriptors,
 * in a table of their own: whatever the program closes, they can go on; whatever it expects to
 * see closed (the end of a pipe) they do not hold open.
 */
#include "machine/uffd/uffd_internal.h"

#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/prctl.h>

#define MSG_BATCH 16
#define PARKED_MOST_NS (5 * 1000000LL)
#define PARKED_BLIND_NS (500 * 1000LL)
#define TIDY_NS (10 * 1000000LL)

int (*uffd_pthread_create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) = pthread_create;

/* ---- Life of a thread -------------------------------------------------------------------- */

/* Descriptors are closed in ranges, between those that stay. */
static void close_others(const struct uffd_machine *m)
{
	unsigned from = 0;

	for (;;) {
		unsigned next = ~0U;

		for (unsigned i = 0; i < m->nr_own_fds; i++)
			if ((unsigned)m->own_fds[i] >= from && (unsigned)m->own_fds[i] < next)
				next = (unsigned)m->own_fds[i];
		if (next > from)
			host_call(SYS_close_range, from, next == ~0U ? ~0U : next - 1, 0);
		if (next == ~0U)
			return;
		from = next + 1;
	}
}

void uffd_thread_settle(struct uffd_machine *m, const char *name)
{
	prctl(PR_SET_NAME, name);
	host_admit_setxid();
	if (host_call(SYS_unshare, CLONE_FILES) == 0)
		close_others(m);
	atomic_fetch_add(&m->nr_settled, 1);
	host_futex_wake(&m->nr_settled, 1);
}

/* Until then the program could close the descriptors that the thread is about to keep. */
static void wait_until_settled(struct uffd_machine *m, uint32_t nr)
{
	uint32_t settled;

	while ((settled = atomic_load(&m->nr_settled)) < nr)
		host_futex_wait(&m->nr_settled, settled, -1);
}

static int thread_create(struct uffd_machine *m, pthread_t *thread, void *(*main)(void *), unsigned slot)
{
	pthread_attr_t attr;
	int error;

	pthread_attr_init(&attr);
	pthread_attr_setstack(&attr, m->stacks + slot * STACK_BYTES, STACK_BYTES);
	error = uffd_pthread_create(thread, &attr, main, m);
	pthread_attr_destroy(&attr);
	return -error;
}

/* ---- Faults ------------------------------------------------------------------------------ */

/* True: the fault is over. False: it has to wait. */
static bool serve(struct uffd_machine *m, struct fault *fault)
{
	uint64_t page = page_align_down(fault->addr);
	enum fault_result result;

	m->woken_end = 0;
	result = pager_fault(m->machine.pager, fault->addr, fault->access, &fault->wait);
	if (result == FAULT_WAIT)
		return false;
	if (result != FAULT_DONE)
		uffd_fault_fails(m, fault, result);
	else if (page < m->woken_start || page >= m->woken_end)
		uffd_wake_range(m, page, 1);
	return true;
}

static void serve_message(struct uffd_machine *m, const struct uffd_msg *msg)
{
	struct fault fault = {
		.addr = msg->arg.pagefault.address,
		.access = msg->arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WRITE ? ACCESS_WRITE : ACCESS_READ,
		.tid = (int)msg->arg.pagefault.feat.ptid,
	};

	if (msg->event != UFFD_EVENT_PAGEFAULT)
		return;
	if (msg->arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP)
		fault.access = ACCESS_WRITE;
	uffd_pair_note(m, fault.tid);
	if (serve(m, &fault))
		return;
	m->parked[m->nr_parked++] = fault;
	m->parked_ns = fault.wait.what == WAIT_PAGE && atomic_load(&m->nr_paired) ? host_now_ns() : 0;
}

/* Read what there is room to park. Returns how many faults were served or parked. */
static unsigned serve_messages(struct uffd_machine *m)
{
	struct uffd_msg msgs[MSG_BATCH];
	unsigned room = NR_PARKED - m->nr_parked;
	long bytes;

	if (room > MSG_BATCH)
		room = MSG_BATCH;
	if (room == 0)
		return 0;
	bytes = host_read(m->fd, msgs, room * sizeof(msgs[0]));
	if (bytes <= 0)
		return 0;
	for (unsigned i = 0; i < (unsigned)bytes / sizeof(msgs[0]); i++)
		serve_message(m, &msgs[i]);
	return (unsigned)bytes / sizeof(msgs[0]);
}

/* Returns how many were tried. */
static unsigned retry_parked(struct uffd_machine *m)
{
	unsigned tried = 0, kept = 0, nr = m->nr_parked;

	for (unsigned i = 0; i < nr; i++) {
		struct fault fault = m->parked[i];
		bool over = wait_is_over(m->machine.pager, &fault.wait);

		tried += over;
		if (!over || !serve(m, &fault))
			m->parked[kept++] = fault;
	}
	m->nr_parked = kept;
	return tried;
}

static bool any_parked_over(struct uffd_machine *m)
{
	for (unsigned i = 0; i < m->nr_parked; i++)
		if (wait_is_over(m->machine.pager, &m->parked[i].wait))
			return true;
	return false;
}

static bool parked_want_writes(struct uffd_machine *m)
{
	for (unsigned i = 0; i < m->nr_parked; i++)
		if (wait_wants_writes(&m->parked[i].wait))
			return true;
	return false;
}

/* ---- The loop ---------------------------------------------------------------------------- */

static unsigned parked_device_fds(struct uffd_machine *m, struct pollfd *fds, unsigned nr)
{
	struct wait waits[NR_PARKED];

	for (unsigned i = 0; i < m->nr_parked; i++)
		waits[i] = m->parked[i].wait;
	return m->nr_parked ? uffd_device_fds(m, waits, m->nr_parked, fds, nr) : 0;
}

static int64_t sleep_limit(struct uffd_machine *m, unsigned nr_devices)
{
	if (m->nr_parked)
		return nr_devices ? PARKED_MOST_NS : PARKED_BLIND_NS;
	return atomic_load(&m->nr_paired) || atomic_load(&m->nr_poisoned) ? TIDY_NS : -1;
}

/* True: there are faults to read. */
static bool sleep_in_poll(struct uffd_machine *m)
{
	struct pollfd fds[2 + 32] = {
		{.fd = m->nr_parked < NR_PARKED ? m->fd : -1, .events = POLLIN},
		{.fd = m->pager_sleep.fd, .events = POLLIN},
	};
	unsigned nr_devices = parked_device_fds(m, fds + 2, 32);
	uint64_t drained;

	atomic_store(&m->pager_sleep.asleep, true);
	if (!any_parked_over(m) && !atomic_load(&m->stop))
		host_poll(fds, 2 + nr_devices, sleep_limit(m, nr_devices));
	atomic_store(&m->pager_sleep.asleep, false);
	if (fds[1].revents & POLLIN)
		host_read(m->pager_sleep.fd, &drained, sizeof(drained));
	return fds[0].revents & POLLIN;
}

/* One thread faults, and waits for a read: nobody else needs us, nor, most likely, this CPU. */
static bool lone_read(struct uffd_machine *m)
{
	return m->nr_parked == 1 && atomic_load(&m->nr_paired) == 1 && m->parked[0].wait.what == WAIT_PAGE;
}

static void tidy(struct uffd_machine *m)
{
	if (atomic_load(&m->nr_paired))
		uffd_pair_expire(m);
	if (atomic_load(&m->nr_poisoned))
		uffd_poison_expire(m);
}

static void *pager_main(void *machine)
{
	struct uffd_machine *m = machine;

	m->pager_tid = host_tid();
	uffd_thread_settle(m, "anonmm-pager");
	bool look = true;

	while (!atomic_load(&m->stop)) {
		unsigned faults = m->nr_parked;

		uffd_ids_serve(m, IDS_PAGER);
		if (look)
			faults += serve_messages(m);
		if (m->nr_parked) {
			uffd_reap(m, parked_want_writes(m));
			retry_parked(m);
			if (faults == 1 && m->nr_parked == 0 && m->parked_ns)
				uffd_trial_waited(m, host_now_ns() - m->parked_ns);
		}
		if (atomic_load(&m->nr_paired) <= 1)
			uffd_kswapd_help(m);
		/* Whom we have just let go may well have faulted again; one that was parked cannot. */
		look = m->nr_parked < faults;
		if (look || (lone_read(m) && uffd_spin_for_read(m, &m->parked[0].wait)))
			continue;
		tidy(m);
		look = sleep_in_poll(m);
	}
	return NULL;
}

/* ---- Start and stop ---------------------------------------------------------------------- */

int uffd_threads_start(struct uffd_machine *m)
{
	uint64_t signals = host_block_signals();
	int error;

	atomic_store(&m->stop, false);
	atomic_store(&m->nr_settled, 0);
	m->has_pager = false;
	error = thread_create(m, &m->kswapd_thread, uffd_kswapd_main, 1);
	m->started = error == 0;
	if (!error && m->faults == ANONMM_FAULTS_THREAD) {
		error = thread_create(m, &m->pager_thread, pager_main, 0);
		m->has_pager = error == 0;
	}
	wait_until_settled(m, (uint32_t)m->started + m->has_pager);
	host_restore_signals(signals);
	if (error)
		uffd_threads_stop(m);
	return error;
}

void uffd_threads_stop(struct uffd_machine *m)
{
	if (!m->started)
		return;
	atomic_store(&m->stop, true);
	atomic_store(m->kick, 1);
	host_futex_wake_shared(m->kick, 1);
	pthread_join(m->kswapd_thread, NULL); /* which wakes the pager thread */
	if (m->has_pager) {
		pthread_join(m->pager_thread, NULL);
		uffd_unpair_all(m);
	}
	m->started = m->has_pager = false;
}

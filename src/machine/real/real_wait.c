/* SPDX-License-Identifier: MIT */
/*
 * Waiting and waking.
 *
 * What is waited for ends with its event counter moving on. It moves when a device's
 * completion is reaped, so somebody who waits must poll the devices: one at a time does, the
 * leader; the others sleep, each on the counter of what it waits for. Who has led has one of them lead next. In thread mode the pager thread polls too, for the
 * faults that it has parked. Every sleep has an end of its own: a wake that is lost costs
 * milliseconds, not the program.
 *
 * No wake is lost: a sleeper says that it sleeps, then looks at the counter again; a waker moves
 * the counter, then looks who sleeps. Both with sequential consistency.
 */
#include "machine/real/real_internal.h"

/* About 3 us: what another CPU's work on a few pages takes. */
#define WAIT_SPINS 60
#define SLEEP_MOST_NS (5 * 1000000LL)
#define SLEEP_BLIND_NS (200 * 1000LL) /* when a device or our descriptor cannot be polled */
#define MAX_DEVICE_FDS 32
#define SPIN_NS 100000ULL /* a flash disk's read of one page, and a little */
#define SPIN_MISSES 8 /* in a row, after which SPIN_PAUSE waits sleep at once */
#define SPIN_PAUSE 256

void real_lock(struct machine *machine)
{
	lock_take(&real_of(machine)->pager_lock);
}

/* kswapd is woken after the lock is dropped: it would run into it. */
void real_unlock(struct machine *machine)
{
	struct real_machine *m = real_of(machine);

	lock_drop(&m->pager_lock);
	if (unlikely(atomic_load_explicit(&m->kick_pending, memory_order_relaxed)) &&
		atomic_exchange(&m->kick_pending, false))
		host_futex_wake_shared(m->kick, 1);
}

void real_wake_kswapd(struct machine *machine, bool by_fault)
{
	struct real_machine *m = real_of(machine);

	if (by_fault && real_kswapd_may_help(m)) {
		atomic_store(&m->help_due, true);
		return;
	}
	atomic_store(m->kick, 1);
	if (atomic_load(&m->kswapd_asleep))
		atomic_store(&m->kick_pending, true);
}

/* As above, for callers without the pager lock. */
void real_kick_kswapd(struct real_machine *m)
{
	atomic_store(m->kick, 1);
	if (atomic_load(&m->kswapd_asleep))
		host_futex_wake_shared(m->kick, 1);
}

/* A thread that lost our descriptors has kswapd write. */
static void poke(struct real_machine *m, struct sleeper *sleeper, unsigned word)
{
	uint64_t one = 1;

	if (!(atomic_load(&sleeper->asleep) >> word & 1) || !atomic_exchange(&sleeper->asleep, 0))
		return;
	if (host_write(sleeper->fd, &one, sizeof(one)) < 0) {
		atomic_store(&m->poke_wanted, true);
		real_kick_kswapd(m);
	}
}

/* => kswapd thread */
void real_poke_for_others(struct real_machine *m)
{
	uint64_t one = 1;

	host_write(m->pager_sleep.fd, &one, sizeof(one));
	host_write(m->leader_sleep.fd, &one, sizeof(one));
}

void real_wake(struct machine *machine, unsigned word)
{
	struct real_machine *m = real_of(machine);

	if (atomic_load(&m->nr_waiting[word]))
		host_futex_wake(pager_events(m->machine.pager, word), INT32_MAX);
	poke(m, &m->leader_sleep, word);
	poke(m, &m->pager_sleep, word);
}

bool wait_wants_writes(const struct wait *wait)
{
	return wait->what == WAIT_WRITE || wait->what == WAIT_FRAMES;
}

/* The devices' descriptors that matter to any of @waits. */
unsigned real_device_fds(
	struct real_machine *m, const struct wait *waits, unsigned nr_waits, struct pollfd *fds, unsigned nr)
{
	int numbers[MAX_DEVICE_FDS];
	bool writes = false;
	int found;

	for (unsigned i = 0; i < nr_waits; i++)
		writes |= wait_wants_writes(&waits[i]);
	found = pager_poll_fds(m->machine.pager, SWAP_READ, numbers, MAX_DEVICE_FDS);
	if (writes && found < MAX_DEVICE_FDS)
		found +=
			pager_poll_fds(m->machine.pager, SWAP_WRITE, numbers + found, MAX_DEVICE_FDS - found);
	if ((unsigned)found > nr)
		found = (int)nr;
	for (int i = 0; i < found; i++)
		fds[i] = (struct pollfd){.fd = numbers[i], .events = POLLIN};
	return (unsigned)found;
}

/* How many requests have ended just now. */
int real_reap(struct real_machine *m, bool writes_too)
{
	int reads = pager_poll(m->machine.pager, SWAP_READ, 0);
	int writes = writes_too ? pager_poll(m->machine.pager, SWAP_WRITE, 0) : 0;

	return (reads > 0 ? reads : 0) + (writes > 0 ? writes : 0);
}

static bool spin_for(struct real_machine *m, const struct wait *wait)
{
	for (int i = 0; i < WAIT_SPINS; i++) {
		if (wait_is_over(m->machine.pager, wait))
			return true;
		cpu_relax();
	}
	return false;
}

/*
 * Look for the end of one read without sleeping. A CPU that sleeps has to be woken by an interrupt, which on a virtual
 * machine costs 15 to 25 us of the 60 that a read takes: less time is spent in looking than in waking. Only while it
 * pays: a device that is slower than SPIN_NS is soon slept for, and tried again now and then.
 * Measured, 4 KiB at random, us: sleeping 50-70, looking 35-40.
 */
bool real_spin_for_read(struct real_machine *m, const struct wait *wait)
{
	uint64_t until;

	if (wait->what != WAIT_PAGE || !pager_lone_read(m->machine.pager))
		return false;
	unsigned pause = atomic_load(&m->spin_pause);

	if (pause > 0) {
		atomic_store(
			&m->spin_pause, pause - 1); /* two that count at once count one: nothing is lost */
		return false;
	}
	until = host_now_ns() + SPIN_NS;
	real_kswapd_meanwhile(m);
	do {
		real_reap(m, false);
		if (wait_is_over(m->machine.pager, wait)) {
			atomic_store(&m->spin_misses, 0);
			return true;
		}
		for (int i = 0; i < 8; i++)
			cpu_relax();
	} while (host_now_ns() < until);
	if (atomic_fetch_add(&m->spin_misses, 1) + 1 >= SPIN_MISSES) {
		atomic_store(&m->spin_misses, 0);
		atomic_store(&m->spin_pause, SPIN_PAUSE);
	}
	return false;
}

/* Poll the devices, for all who wait. */
static void lead(struct real_machine *m, const struct wait *wait)
{
	struct pollfd fds[1 + MAX_DEVICE_FDS] = {{.fd = m->leader_sleep.fd, .events = POLLIN}};
	bool writes = wait_wants_writes(wait);
	unsigned nr_devices;
	uint64_t drained;

	if (real_reap(m, writes) || real_spin_for_read(m, wait))
		return;
	nr_devices = real_device_fds(m, wait, 1, fds + 1, MAX_DEVICE_FDS);
	atomic_store(&m->leader_sleep.asleep, 1ull << wait->word);
	if (!wait_is_over(m->machine.pager, wait)) {
		host_poll(fds, 1 + nr_devices, nr_devices ? SLEEP_MOST_NS : SLEEP_BLIND_NS);
		if (fds[0].revents & POLLNVAL)
			host_sleep(SLEEP_BLIND_NS);
	}
	atomic_store(&m->leader_sleep.asleep, 0);
	if (fds[0].revents & POLLIN)
		host_read(m->leader_sleep.fd, &drained, sizeof(drained));
	real_reap(m, writes);
}

static void follow(struct real_machine *m, const struct wait *wait)
{
	atomic_fetch_add(&m->nr_waiting[wait->word], 1);
	if (!wait_is_over(m->machine.pager, wait) && atomic_load(&m->leader))
		host_futex_wait(pager_events(m->machine.pager, wait->word), wait->seq, SLEEP_MOST_NS);
	atomic_fetch_sub(&m->nr_waiting[wait->word], 1);
}

/* Nobody polls for those who still wait: one of them is woken to do so. */
static void call_leader(struct real_machine *m)
{
	for (unsigned word = 0; word < WAIT_WORDS && !atomic_load(&m->leader); word++)
		if (atomic_load(&m->nr_waiting[word]) &&
			host_futex_wake(pager_events(m->machine.pager, word), 1) > 0)
			return;
}

void real_wait(struct machine *machine, const struct wait *wait)
{
	struct real_machine *m = real_of(machine);

	if (wait_wants_writes(wait))
		real_kick_kswapd(m);
	if (spin_for(m, wait))
		return;
	if (atomic_exchange(&m->leader, 1)) {
		follow(m, wait);
		/* Woken to lead, or by the event, or both: the one whose wait is over leaves that to another. */
		if (wait_is_over(m->machine.pager, wait)) {
			call_leader(m);
			return;
		}
		if (atomic_exchange(&m->leader, 1))
			return;
	}
	lead(m, wait);
	atomic_store(&m->leader, 0);
	call_leader(m);
}

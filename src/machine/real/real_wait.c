/* SPDX-License-Identifier: MIT */
/*
 * Waiting and waking.
 *
 * A wait ends when its event counter moves on. Most counters move on when somebody polls a device and takes a request
 * that has ended. So one of the threads that wait, the leader, polls the devices. The others, the followers, sleep,
 * each on the counter of what it waits for. A leader whose wait is over wakes a follower to lead next. In thread mode
 * the pager thread polls the devices, too, for the faults that it has parked.
 *
 * No wake is lost: a sleeper notes that it sleeps, then looks at the counter again. A waker moves the counter, then
 * looks who sleeps. Both with sequential consistency. And every sleep has a time limit, so a bug here costs
 * milliseconds, not the program.
 */
#include "machine/real/real_internal.h"

/* looks at the counter before a wait sleeps: about 3 us, in which another CPU maps a few pages */
#define WAIT_SPINS 60
#define SLEEP_MOST_NS (5 * 1000000LL)
#define SLEEP_BLIND_NS (200 * 1000LL) /* where no device, or not our eventfd, can be polled */
#define MAX_DEVICE_FDS 32
/* real_spin_for_read(): */
#define SPIN_NS 100000ULL /* the longest spin: a little more than a flash disk's read of one page */
#define SPIN_MISSES 8 /* after so many spins in a row that did not see the end of the read, */
#define SPIN_PAUSE 256 /* so many waits sleep without a spin */

void real_lock(struct machine *machine)
{
	lock_take(&real_of(machine)->pager_lock);
}

void real_rest(struct machine *machine)
{
	lock_rest(&real_of(machine)->pager_lock);
}

/* A kick of kswapd that fell due under the lock comes after the lock is dropped: kswapd takes the lock at once. */
void real_unlock(struct machine *machine)
{
	struct real_machine *m = real_of(machine);

	lock_drop(&m->pager_lock);
	if (unlikely(atomic_load_explicit(&m->kick_pending, memory_order_relaxed)) &&
		atomic_exchange(&m->kick_pending, false))
		host_futex_wake_shared(m->kick, 1);
}

/*
 * If the work may wait for the next fault, and faults may do it, only set the flag for them. Otherwise set the word
 * that kswapd sleeps on; real_unlock() wakes it. => pager lock held
 */
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

/* Have the kswapd thread do its round soon. => pager lock not held */
void real_kick_kswapd(struct real_machine *m)
{
	atomic_store(m->kick, 1);
	if (atomic_load(&m->kswapd_asleep))
		host_futex_wake_shared(m->kick, 1);
}

/* If @sleeper sleeps for events of @word, wake it. If this thread lost our descriptors, kswapd writes the eventfds. */
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

/* Wake both sleepers, for a thread that could not. => kswapd thread */
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

/* Fill @fds with the devices' descriptors to poll for @waits, at most @nr. Returns how many. */
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

/* Take the reads, and with @writes_too the writes, that have ended. Returns how many. Does not wait. */
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
 * Look for the end of one read without sleeping, for SPIN_NS at most. True: the wait is over.
 *
 * A CPU that sleeps must be woken by an interrupt. On a virtual machine that costs 15 to 25 us of the 60 us that a read
 * takes, so looking costs less time than waking. (Measured, 4 KiB at random: 50 to 70 us with a sleep, 35 to 40 us with
 * looking.) If a device is slower than SPIN_NS, waits soon sleep without looking, and looking is tried again after
 * SPIN_PAUSE of them.
 */
bool real_spin_for_read(struct real_machine *m, const struct wait *wait)
{
	uint64_t until;

	if (wait->what != WAIT_PAGE || !pager_lone_read(m->machine.pager))
		return false;
	unsigned pause = atomic_load(&m->spin_pause);

	if (pause > 0) {
		atomic_store(
			&m->spin_pause, pause - 1); /* two threads at once may count one: that does no harm */
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

/* Poll the devices once, for all who wait. => m->leader is this thread's */
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

/* Sleep on the counter, while there is a leader. */
static void follow(struct real_machine *m, const struct wait *wait)
{
	atomic_fetch_add(&m->nr_waiting[wait->word], 1);
	if (!wait_is_over(m->machine.pager, wait) && atomic_load(&m->leader))
		host_futex_wait(pager_events(m->machine.pager, wait->word), wait->seq, SLEEP_MOST_NS);
	atomic_fetch_sub(&m->nr_waiting[wait->word], 1);
}

/* If nobody leads, wake one follower to lead. */
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
		/*
		 * This thread was woken by its event, or to lead, or both. If its wait is over, it must not lead, and
		 * wakes another follower to do so.
		 */
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

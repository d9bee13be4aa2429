/* SPDX-License-Identifier: MIT */
#include "host/lock.h"
#include "host/host.h"

/* 10 to 40 us, depending on the CPU. That is longer than the core's sections, and shorter than a sleep and a wake. */
#define LOCK_SPINS 1000

void lock_slow(struct lock *lock)
{
	for (int i = 0; i < LOCK_SPINS; i++) {
		if (atomic_load_explicit(&lock->word, memory_order_relaxed) == 0 && lock_try(lock))
			return;
		cpu_relax();
	}
	/* From here on the word is 2 while we hold the lock, even if nobody sleeps: a wake too many is harmless. */
	while (atomic_exchange_explicit(&lock->word, 2, memory_order_acquire) != 0)
		host_futex_wait(&lock->word, 2, -1);
}

void lock_wake_one(struct lock *lock)
{
	host_futex_wake(&lock->word, 1);
}

/*
 * Who drops the lock and takes it at once takes it before any other thread has seen that it is free. So the caller
 * watches until another thread has it: as long as a sleeper needs to wake, if there is one; else as long as a spinner
 * needs to look.
 */
void lock_rest(struct lock *lock)
{
	bool sleeper = atomic_exchange_explicit(&lock->word, 0, memory_order_release) == 2;
	int spins = sleeper ? LOCK_SPINS : LOCK_SPINS / 32;

	if (sleeper)
		lock_wake_one(lock);
	while (spins-- > 0 && atomic_load_explicit(&lock->word, memory_order_relaxed) == 0)
		cpu_relax();
	lock_take(lock);
}

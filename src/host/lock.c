/* SPDX-License-Identifier: MIT */
#include "host/lock.h"
#include "host/host.h"

/* 10 to 40 us by CPU: longer than the core's longest section, shorter than a sleep and a wake across CPUs. */
#define LOCK_SPINS 1000

void lock_slow(struct lock *lock)
{
	for (int i = 0; i < LOCK_SPINS; i++) {
		if (atomic_load_explicit(&lock->word, memory_order_relaxed) == 0 && lock_try(lock))
			return;
		cpu_relax();
	}
	/* From here on the word says 2 while we hold it: a wake too many is harmless, one too few is not. */
	while (atomic_exchange_explicit(&lock->word, 2, memory_order_acquire) != 0)
		host_futex_wait(&lock->word, 2, -1);
}

void lock_wake_one(struct lock *lock)
{
	host_futex_wake(&lock->word, 1);
}

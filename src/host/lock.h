/* SPDX-License-Identifier: MIT */
/*
 * A lock of one word: spin first, sleep in the host kernel after.
 *
 * Made for short critical sections of threads on several CPUs: waking a sleeper on another
 * CPU costs more than the section itself, so the spin outlasts any of them. The holder may
 * have been preempted: then the spin ends and the waiter sleeps.
 *
 * May be used in a signal handler that runs with all signals blocked, when whoever takes the
 * lock elsewhere blocks them too.
 */
#ifndef ANONMM_LOCK_H
#define ANONMM_LOCK_H

#include "base/base.h"

struct lock {
	_Atomic(uint32_t) word; /* 0: free, 1: held, 2: held, and somebody may sleep */
};

void lock_slow(struct lock *lock);
void lock_wake_one(struct lock *lock);

static inline void lock_init(struct lock *lock)
{
	atomic_store(&lock->word, 0);
}

static inline bool lock_try(struct lock *lock)
{
	uint32_t free_word = 0;

	return atomic_compare_exchange_strong_explicit(
		&lock->word, &free_word, 1, memory_order_acquire, memory_order_relaxed);
}

static inline void lock_take(struct lock *lock)
{
	if (unlikely(!lock_try(lock)))
		lock_slow(lock);
}

static inline void lock_drop(struct lock *lock)
{
	if (unlikely(atomic_exchange_explicit(&lock->word, 0, memory_order_release) == 2))
		lock_wake_one(lock);
}

static inline void cpu_relax(void)
{
	__builtin_ia32_pause();
}

#endif

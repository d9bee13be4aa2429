/* SPDX-License-Identifier: MIT */
/*
 * A lock of one word. A waiter spins first, then sleeps in the host kernel.
 *
 * The lock is made for short critical sections. To wake a sleeper on another CPU costs more than such a section takes,
 * so the spin is longer than the sections are. The holder may have been preempted: then the spin ends, and the waiter
 * sleeps.
 *
 * A signal handler may take the lock if it runs with all signals blocked, and if every other thread that takes the lock
 * blocks all signals, too.
 */
#ifndef ANONMM_LOCK_H
#define ANONMM_LOCK_H

#include "base/base.h"

struct lock {
	_Atomic(uint32_t) word; /* 0: free, 1: held, 2: held, and somebody may sleep */
};

/* The slow paths of lock_take() and lock_drop(). */
void lock_slow(struct lock *lock);
void lock_wake_one(struct lock *lock);

/* Drop the lock, and take it again, so that a thread that waits for it gets it in between. => held by the caller */
void lock_rest(struct lock *lock);

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

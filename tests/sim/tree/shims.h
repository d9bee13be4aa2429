/* SPDX-License-Identifier: MIT */
/*
 * The host as the library's code sees it inside sim-tree. This is included before the library's sources, after all
 * headers. At each atomic operation the world may let another thread go on.
 */
#ifndef ANONMM_SIM_SHIMS_H
#define ANONMM_SIM_SHIMS_H

#include "world.h"
#include "host/host.h"
#include "run/tree/status.h"

#include <sys/resource.h>

void shim_stored(const void *word, uint64_t before, uint64_t after);
void shim_exchanged(const void *word, uint64_t before, uint64_t after);
int shim_futex_wait(_Atomic(uint32_t) *word, uint32_t value, int64_t timeout_ns);
void shim_futex_wake(const void *word);
void shim_lock_take(struct lock *lock);
bool shim_lock_try(struct lock *lock);
void shim_lock_drop(struct lock *lock);
int shim_getrusage(struct rusage *usage);
uint64_t shim_ledger_grow(struct ledger *ledger, unsigned me, uint64_t want, uint64_t now_ns);

#define POINT() world_point(__func__, __LINE__)

#undef atomic_load
#define atomic_load(word) (POINT(), atomic_load_explicit((word), memory_order_seq_cst))

#undef atomic_store
#define atomic_store(word, value)                                                                            \
	({                                                                                                   \
		__typeof__(word) word_ = (word);                                                             \
		__auto_type value_ = (value);                                                                \
		POINT();                                                                                     \
		uint64_t before_ = (uint64_t)atomic_load_explicit(word_, memory_order_seq_cst);              \
		atomic_store_explicit(word_, value_, memory_order_seq_cst);                                  \
		shim_stored((const void *)word_, before_,                                                    \
			(uint64_t)atomic_load_explicit(word_, memory_order_seq_cst));                        \
	})

#undef atomic_exchange
#define atomic_exchange(word, value)                                                                         \
	(POINT(), atomic_exchange_explicit((word), (value), memory_order_seq_cst))

#undef atomic_fetch_add
#define atomic_fetch_add(word, value)                                                                        \
	(POINT(), atomic_fetch_add_explicit((word), (value), memory_order_seq_cst))

#undef atomic_compare_exchange_strong
#define atomic_compare_exchange_strong(word, expected, value)                                                \
	({                                                                                                   \
		__typeof__(word) word_ = (word);                                                             \
		POINT();                                                                                     \
		bool done_ = atomic_compare_exchange_strong_explicit(                                        \
			word_, (expected), (value), memory_order_seq_cst, memory_order_seq_cst);             \
		if (done_)                                                                                   \
			shim_exchanged((const void *)word_, (uint64_t) * (expected),                         \
				(uint64_t)atomic_load_explicit(word_, memory_order_seq_cst));                \
		done_;                                                                                       \
	})
#undef atomic_compare_exchange_weak
#define atomic_compare_exchange_weak atomic_compare_exchange_strong

#define host_now_ns() (world.now_ns)
#define host_futex_wait_shared shim_futex_wait
#define host_futex_wake_shared(word, nr) shim_futex_wake(word)
#define host_sleep(ns) ((void)world_sleep(world.now_ns + (uint64_t)(ns), NULL))
#define getpid() (world.now->pid)
#define getppid() (world.now->parent >= 0 ? world.processes[world.now->parent].pid : 1)
#define getrusage(who, usage) shim_getrusage(usage)
#define lock_take shim_lock_take
#define lock_try shim_lock_try
#define lock_drop shim_lock_drop

#endif

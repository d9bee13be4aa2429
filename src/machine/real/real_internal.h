/* SPDX-License-Identifier: MIT */
/*
 * What every machine on real memory does besides showing and hiding pages: waiting, kswapd, the two fault modes, and
 * which thread runs where. A machine embeds struct real_machine as its first member and fills in struct real_ops.
 *
 *   real_wait.c     waiting and waking       real_kswapd.c  the kswapd thread, and who else does its work
 *   real_thread.c   the pager thread         real_signal.c  the SIGBUS handler
 *   real_fault.c    faults that cannot be served            real_say.c     words for the person who runs this
 *   real_stack.c    room for the SIGBUS handler where the program's alternate stack is small
 *   real_where.h    which thread runs where, and when: real_pair.c in thread mode, real_turns.c in signal mode
 *
 * Two threads are started (real_thread.c): kswapd, and in thread mode the pager thread. In signal mode each thread
 * serves its own faults.
 */
#ifndef ANONMM_REAL_INTERNAL_H
#define ANONMM_REAL_INTERNAL_H

#include "contract/core.h"
#include "host/host.h"
#include "host/lock.h"
#include "host/thread.h"
#include "machine/real/real.h"
#include "machine/real/real_where.h"

/*
 * A thread that sleeps in poll, until events of some words (contract/machine.h). Who clears the set writes the eventfd.
 */
struct sleeper {
	/* [a] bit n is set: the thread sleeps for events of word n; 0: it does not sleep */
	_Atomic(uint64_t) asleep;
	int fd; /* the eventfd, one of the descriptors of the poll */
};

/* A fault that the pager thread serves (thread mode). */
struct told_fault {
	uint64_t addr;
	enum access access;
	int tid; /* the thread that faulted */
	struct wait wait; /* while the fault is parked: what it waits for */
};

#define NR_PARKED 64 /* faults that wait; further faults stay in the host kernel's queue */
#define NR_POISONED 16
#define NR_OWN_FDS 128
#define NR_DEVICES 32

/* A page that is poisoned for a short time, so that an access that cannot be served ends (real_fault.c). */
struct poisoned {
	uint64_t addr;
	uint64_t until_ns; /* on the clock of host_now_ns() */
};

struct real_machine;

/* What differs between machines on real memory. */
struct real_ops {
	/*
	 * Read up to @max faults that the host tells of, without waiting. Returns how many. NULL: the machine has no
	 * thread mode. => pager thread
	 */
	unsigned (*read_faults)(struct real_machine *, struct told_fault *faults, unsigned max);
	/* Wake the threads that wait for the @nr pages from @addr on: they repeat their accesses. */
	void (*wake_range)(struct real_machine *, uint64_t addr, unsigned nr);
	/*
	 * Make accesses to the missing page at @addr fail until drop(). 0; -errno: there is a page, or the host cannot.
	 */
	int (*poison)(struct real_machine *, uint64_t addr);
	/* Make the @nr pages from @addr on missing, poisoned or not. => the core shows nothing there */
	void (*drop)(struct real_machine *, uint64_t addr, unsigned nr);
	/* Make the request that a thread without our descriptors has left, if there is one. => kswapd thread */
	void (*serve_mail)(struct real_machine *);
};

/* Locks: [I] set before threads start  [a] atomic  [p] pager thread  [x] poison_lock */
struct real_machine {
	struct machine machine; /* first: a pointer to its first member is the core's handle */
	const struct real_ops *real_ops; /* [I] */
	enum anonmm_faults faults; /* [I] never AUTO */
	int fd; /* [I] the descriptor by which the host tells of faults; readable while there are any */
	uint64_t base, bytes; /* [I] the managed range */
	struct lock pager_lock; /* the lock of contract/machine.h */

	/* Waiting (real_wait.c) */
	/* [a] threads that sleep on the futex of each event counter */
	_Atomic(uint32_t) nr_waiting[WAIT_WORDS];
	_Atomic(uint32_t) leader; /* [a] 1: a thread polls devices for all who wait */
	struct sleeper leader_sleep, pager_sleep;
	struct lock kswapd_lock; /* held by the one caller of kswapd_step() */
	/* [a] spins in a row without success; waits that shall not spin. The leader and the pager thread count both */
	_Atomic(unsigned) spin_misses, spin_pause;

	/* kswapd (real_kswapd.c) */
	/*
	 * [I] the pointer, [a] the word that the kswapd thread sleeps on. 1: the thread shall do its round. The word is
	 * own_kick, or lies in memory that other processes map (uffd_machine_serve)
	 */
	_Atomic(uint32_t) *kick;
	_Atomic(uint32_t) own_kick; /* [a] */
	void (*serve)(void *); /* [I] called in each round; NULL: no other process asks for anything */
	void *serve_ctx; /* [I] */
	bool (*more)(bool urgent); /* [I] uffd_machine_ask(); NULL: nobody raises the limit */
	_Atomic(bool) kswapd_asleep; /* [a] the thread sleeps, or is about to: a kick must wake it */
	/* [a] the last step could reclaim nothing: faults leave it to the kswapd thread */
	_Atomic(bool) help_in_vain;
	_Atomic(bool) help_due; /* [a] the next fault does some of kswapd's work */
	/* [a] the thread does not look for the end of requests: it found none in flight */
	_Atomic(bool) kswapd_idle;
	_Atomic(bool) kick_pending; /* [a] real_unlock() wakes the thread */

	/* Threads */
	_Atomic(bool) stop; /* [a] both threads must end */
	bool started; /* the kswapd thread runs */
	bool has_pager; /* the pager thread runs */
	struct host_thread pager_thread, kswapd_thread;
	int pager_tid; /* set by the pager thread at its start, before any fault is served */
	_Atomic(int) kswapd_tid; /* [a] */
	uint8_t *stacks; /* [I] the pager thread's STACK_BYTES, then the kswapd thread's */
	int own_fds[NR_OWN_FDS]; /* [I] descriptors that our threads keep in their private tables */
	unsigned nr_own_fds; /* [I] */
	struct swapdev *devices[NR_DEVICES]; /* [I] the devices whose descriptors are among own_fds */
	unsigned nr_devices; /* [I] 0: nobody has named the devices (uffd_keep_device) */

	struct told_fault parked[NR_PARKED]; /* [p] faults that wait */
	unsigned nr_parked; /* [p] */
	uint64_t woken_start, woken_end; /* [p] the addresses whose threads this thread's last map() woke */
	struct told_fault segv; /* [p] the last fault that ended in FAULT_SIGSEGV */
	unsigned nr_segv; /* [p] how often in a row that fault came */

	struct lock poison_lock;
	struct poisoned poisoned[NR_POISONED]; /* [x] */
	_Atomic(unsigned) nr_poisoned; /* [a], changed under [x] */

	struct pairing pair; /* real_where.h, as the next */
	struct turns turns;

	/* [a] the kswapd thread shall write the eventfds of leader_sleep and pager_sleep */
	_Atomic(bool) poke_wanted;
};

#define STACK_BYTES (256 * KIB)

static inline struct real_machine *real_of(struct machine *machine)
{
	return (struct real_machine *)machine;
}

/* How many threads share a CPU with the pager thread. */
static inline unsigned real_nr_paired(const struct real_machine *m)
{
	return atomic_load(&m->pair.nr);
}

/* Is the caller one of our own threads? The stack that it runs on tells, so no thread-local storage is needed. */
static inline bool on_own_thread(const struct real_machine *m)
{
	uint8_t *here = __builtin_frame_address(0);

	return m->stacks && here >= m->stacks && here < m->stacks + 2 * STACK_BYTES;
}

static inline bool on_pager_thread(const struct real_machine *m)
{
	uint8_t *here = __builtin_frame_address(0);

	return m->stacks && here >= m->stacks && here < m->stacks + STACK_BYTES;
}

/*
 * real_say.c: one line, without a newline, to the standard error output of thread @tid, or with @tid 0 of the process.
 * real_die() then ends the process.
 */
void real_say(struct real_machine *m, int tid, const char *format, ...) __attribute__((format(printf, 3, 4)));
void real_die(struct real_machine *m, const char *format, ...)
	__attribute__((format(printf, 2, 3), noreturn));

/* real_wait.c: the operations of these names (contract/machine.h), and what other files need of waiting. */
void real_wake(struct machine *machine, unsigned word);
void real_wait(struct machine *machine, const struct wait *wait);
void real_wake_kswapd(struct machine *machine, bool by_fault);
void real_lock(struct machine *machine);
void real_unlock(struct machine *machine);
void real_rest(struct machine *machine);
void real_poke_for_others(struct real_machine *m);
unsigned real_device_fds(
	struct real_machine *m, const struct wait *waits, unsigned nr_waits, struct pollfd *fds, unsigned nr);
int real_reap(struct real_machine *m, bool writes_too);
bool wait_wants_writes(const struct wait *wait);
/* Poll devices for a short time without sleeping. true: the wait is over. => the leader, or the pager thread */
bool real_spin_for_read(struct real_machine *m, const struct wait *wait);

/* real_thread.c, real_kswapd.c */
int real_threads_start(struct real_machine *m);
void real_threads_stop(struct real_machine *m);
/*
 * Run work(arg), on a stack of the machine's if the thread's alternate stack has little room, or on this one where the
 * host has no memory for another. => in the handler of @ucontext, all signals blocked
 */
void real_with_room(const void *ucontext, void (*work)(void *), void *arg);
/* The first call in a fork's child: reset what the parent's threads were doing, because they do not exist here. */
void real_fork_child(struct real_machine *m);
void *real_kswapd_main(void *machine);
void real_kswapd_meanwhile(struct real_machine *m);
/* Will threads that serve faults do kswapd's work? => pager lock held */
bool real_kswapd_may_help(struct real_machine *m);
/* If kswapd's work is due, do some. => a fault has just been served, no lock held */
void real_kswapd_help(struct real_machine *m);
bool real_more(struct machine *machine); /* the operation more (contract/machine.h) */
void real_kick_kswapd(struct real_machine *m); /* => pager lock not held */

/* real_fault.c */
/* End the access of a fault that cannot be served. => pager thread */
void real_fault_fails(struct real_machine *m, struct told_fault *fault, enum fault_result result);
/* Why such a fault cannot be served: a constant text. */
const char *real_fault_words(enum fault_result result);
unsigned real_poison_clear(struct real_machine *m, uint64_t addr, unsigned nr, bool shown);
void real_poison_expire(struct real_machine *m);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * What a machine on real memory does beside showing and hiding pages: waiting, kswapd, the two fault modes, who runs where.
 * A machine embeds struct real_machine as its first member and fills in struct real_ops.
 *
 *   real_wait.c     waiting and waking       real_kswapd.c  the kswapd thread, and who else does its work
 *   real_thread.c   the pager thread         real_signal.c  the SIGBUS handler
 *   real_fault.c    faults that cannot be served            real_say.c     words for the person who runs this
 *   real_pair.c     who shares a CPU with the pager thread  real_trial.c   which CPU
 *   real_turns.c    which thread faults next
 *
 * Two threads are started (real_thread.c): kswapd, and in thread mode the pager thread. Whoever faults in signal mode serves
 * the fault in its own thread.
 */
#ifndef ANONMM_REAL_INTERNAL_H
#define ANONMM_REAL_INTERNAL_H

#include "contract/core.h"
#include "host/host.h"
#include "host/lock.h"
#include "host/thread.h"
#include "machine/real/real.h"

/* Somebody who sleeps in poll, for events of the words in asleep: whoever clears the set writes the eventfd. */
struct sleeper {
	_Atomic(uint64_t) asleep; /* [a] bit set: that word; 0: awake */
	int fd;
};

/* A fault that the pager thread serves (thread mode). */
struct told_fault {
	uint64_t addr;
	enum access access;
	int tid;
	struct wait wait;
};

/* real_trial.c: the CPUs that a pair may live on, and what a wait for a read took on each. */
#define TRIAL_CPUS 4
struct trial {
	unsigned nr, turn, waits;
	bool settled;
	int cpu[TRIAL_CPUS];
	uint64_t sum_ns[TRIAL_CPUS];
};

#define NR_PARKED 64 /* faults that wait; more stay in the host kernel's queue */
#define NR_HOT 16 /* threads whose faults are counted */
#define NR_POISONED 16
#define NR_OWN_FDS 128
#define NR_DEVICES 32
#define CPU_MASK_BYTES 1024 /* 8192 CPUs */

/* A page that was poisoned for a moment, so that an access that cannot be served ends. */
struct poisoned {
	uint64_t addr;
	uint64_t until_ns;
};

/* A thread that faults; paired: bound to the pager's CPU for now. */
struct hot {
	int tid;
	bool paired;
	unsigned nr_faults; /* since window_ns */
	uint64_t window_ns;
	uint64_t last_ns;
	unsigned long own_mask[CPU_MASK_BYTES / sizeof(unsigned long)]; /* paired: what the program set */
};

/*
 * real_turns.c. [n] lock
 *
 *   TURNS_OFF --faults of many threads--> TURNS_APART --measured--> TURNS_TRIED --better--> TURNS_ON
 *       ^                                      ^                        |                      |
 *       +--- it was not; nobody faults --------|------------------------+                      |
 *                                              +--- asked again -------------------------------+
 */
enum turns_state { TURNS_OFF, TURNS_APART, TURNS_TRIED, TURNS_ON };

struct turns {
	_Atomic(enum turns_state) state; /* [a], changed under [n] */
	_Atomic(uint64_t) holder; /* [a] whose turn it is; 0: nobody's */
	_Atomic(uint64_t) since_ns, used_ns; /* [a] when it began, when the holder last faulted */
	_Atomic(uint64_t) patience_ns; /* [a] between two looks of the heir's */
	_Atomic(uint32_t) nr_passed; /* [a] the heir sleeps on it */
	_Atomic(uint32_t) heir; /* [a] 1: somebody waits for the holder; the others sleep on it */
	_Atomic(uint32_t) nr_waiting; /* [a] */
	_Atomic(uint64_t) last; /* [a] a guess: who faulted last */
	_Atomic(uint32_t)
		nr_faults; /* [a] since window_ns; OFF: only those of another thread than the one before */
	_Atomic(uint64_t) window_ns; /* [a], changed under [n] */
	struct lock lock; /* only tried; all signals are blocked */
	uint64_t rate_apart, rate_turns; /* [n] faults a second */
	uint64_t hold_ns, until_ns; /* [n] */
};

struct real_machine;

/* What differs between machines on real memory. */
struct real_ops {
	/*
	 * Up to @max faults that the host tells of, without waiting. Returns how many. => pager thread. NULL: the machine has no
	 * thread mode
	 */
	unsigned (*read_faults)(struct real_machine *, struct told_fault *faults, unsigned max);
	/* Let threads that wait for these pages try again. */
	void (*wake_range)(struct real_machine *, uint64_t addr, unsigned nr);
	/* Make an access to the missing page fail until drop(); -errno: there is a page, or the host cannot. */
	int (*poison)(struct real_machine *, uint64_t addr);
	/* The pages are missing again. => nothing is shown there */
	void (*drop)(struct real_machine *, uint64_t addr, unsigned nr);
	/* Make the request that a thread without our descriptors has left. => kswapd */
	void (*serve_mail)(struct real_machine *);
};

/* Locks: [I] set before threads start  [a] atomic  [p] pager thread  [h] pair_lock  [x] poison_lock */
struct real_machine {
	struct machine machine; /* first: the core's handle is ours */
	const struct real_ops *real_ops; /* [I] */
	enum anonmm_faults faults; /* [I] never AUTO */
	int fd; /* [I] where the host tells of faults; readable when there are any */
	uint64_t base, bytes; /* [I] the managed range */
	struct lock pager_lock;

	/* Waiting (real_wait.c) */
	_Atomic(uint32_t) nr_waiting[WAIT_WORDS]; /* [a] threads in a futex on each event counter */
	_Atomic(uint32_t) leader; /* [a] 1: a thread polls devices for all who wait */
	struct sleeper leader_sleep, pager_sleep;
	struct lock kswapd_lock; /* kswapd_step() has one caller at a time */
	_Atomic(unsigned) spin_misses,
		spin_pause; /* [a] a guess: the leader and the pager thread may both count */

	/* kswapd */
	_Atomic(uint32_t) *
		kick; /* [I] the pointer, [a] the word. 1: kswapd is wanted. Maybe outside: uffd_machine_serve() */
	_Atomic(uint32_t) own_kick; /* [a] */
	void (*serve)(void *); /* [I] NULL: nothing outside asks */
	void *serve_ctx; /* [I] */
	bool (*more)(bool urgent); /* [I] NULL: nobody raises the limit */
	_Atomic(bool) kswapd_asleep; /* [a] */
	_Atomic(bool) help_in_vain; /* [a] nothing could be reclaimed: leave it to the thread */
	_Atomic(bool) help_due; /* [a] the next fault does some of kswapd's work */
	_Atomic(bool) kswapd_idle; /* [a] it sleeps until it is kicked: nothing was in flight */
	_Atomic(bool) kick_pending; /* [a] wake it when the pager lock is dropped */

	/* Threads */
	_Atomic(bool) stop;
	bool started;
	bool has_pager;
	struct host_thread pager_thread, kswapd_thread;
	int pager_tid; /* [a by being set before it is of use] */
	_Atomic(int) kswapd_tid;
	uint8_t *stacks; /* [I] the pager's, then kswapd's */
	int own_fds[NR_OWN_FDS]; /* [I] descriptors that our threads keep in their private table */
	unsigned nr_own_fds;
	struct swapdev *devices[NR_DEVICES]; /* [I] whose descriptors these are; none: not told */
	unsigned nr_devices;

	struct told_fault parked[NR_PARKED]; /* [p] */
	unsigned nr_parked; /* [p] */
	uint64_t woken_start, woken_end; /* [p] addresses that this thread's last map() woke */
	struct told_fault segv; /* [p] the last fault outside any VMA, and how often in a row */
	unsigned nr_segv;

	struct lock poison_lock;
	struct poisoned poisoned[NR_POISONED]; /* [x] */
	_Atomic(unsigned) nr_poisoned; /* [a], changed under [x] */

	struct lock pair_lock; /* taken with all signals blocked; the pager thread only tries it */
	struct hot hot[NR_HOT]; /* [h] paired entries; others [p] */
	_Atomic(unsigned) nr_paired; /* [a], changed under [h] */
	int pair_cpu; /* [p] -1: the pager is not bound */
	struct trial trial; /* [p] */
	struct turns turns;
	uint64_t parked_ns; /* [p] when the one parked fault came */
	unsigned long pager_mask[CPU_MASK_BYTES / sizeof(unsigned long)]; /* [p] */

	_Atomic(bool) poke_wanted; /* [a] kswapd shall write the eventfds */
};

#define STACK_BYTES (256 * KIB)

static inline struct real_machine *real_of(struct machine *machine)
{
	return (struct real_machine *)machine;
}

/* Whether the caller is one of our own threads, by the stack it runs on: works before and without thread-local storage. */
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

void real_say(struct real_machine *m, int tid, const char *format, ...) __attribute__((format(printf, 3, 4)));
void real_die(struct real_machine *m, const char *format, ...)
	__attribute__((format(printf, 2, 3), noreturn));

/* real_wait.c */
void real_wake(struct machine *machine, unsigned word);
void real_wait(struct machine *machine, const struct wait *wait);
void real_wake_kswapd(struct machine *machine, bool by_fault);
void real_lock(struct machine *machine);
void real_unlock(struct machine *machine);
void real_poke_for_others(struct real_machine *m);
unsigned real_device_fds(
	struct real_machine *m, const struct wait *waits, unsigned nr_waits, struct pollfd *fds, unsigned nr);
int real_reap(struct real_machine *m, bool writes_too);
bool wait_wants_writes(const struct wait *wait);

/* real_thread.c, real_kswapd.c */
int real_threads_start(struct real_machine *m);
void real_threads_stop(struct real_machine *m);
/* First in a fork's child: what the parent's threads were doing is nothing that this process does. */
void real_fork_child(struct real_machine *m);
void *real_kswapd_main(void *machine);
void real_kswapd_meanwhile(struct real_machine *m);
/* => the pager lock held: will those who serve faults do kswapd's work? */
bool real_kswapd_may_help(struct real_machine *m);
/* => a fault has just been served, no lock held */
void real_kswapd_help(struct real_machine *m);
bool real_more(struct machine *machine);
void real_kick_kswapd(struct real_machine *m); /* => the pager lock not held */

/* real_pair.c: => pager thread */
/* True: the wait is over. => the leader, or the pager thread */
bool real_spin_for_read(struct real_machine *m, const struct wait *wait);
/* The pair and all its threads to another CPU. false: not possible now, nothing changed. => pager thread */
bool real_pair_move(struct real_machine *m, int cpu);
/* A new pair may live on any of @cpus; it starts on the first. */
void real_trial_start(struct real_machine *m, const int *cpus, unsigned nr);
/* A lone fault of a paired thread waited this long for a read. */
void real_trial_waited(struct real_machine *m, uint64_t ns);
void real_pair_note(struct real_machine *m, int tid);
void real_pair_expire(struct real_machine *m);
void real_unpair_all(struct real_machine *m); /* => no pager thread any more */

/* real_turns.c: => signal mode, all signals blocked, no lock held */
void real_turn(struct real_machine *m); /* Before a fault is served. May sleep */
void real_turn_waits(struct real_machine *m); /* Before the caller waits for something else */

/* For the core. A turn must not be kept while its holder waits. */
bool real_faults_block(struct machine *machine);

/* real_fault.c */
void real_fault_fails(struct real_machine *m, struct told_fault *fault, enum fault_result result);
const char *real_fault_words(enum fault_result result);
unsigned real_poison_clear(struct real_machine *m, uint64_t addr, unsigned nr, bool shown);
void real_poison_expire(struct real_machine *m);

#endif

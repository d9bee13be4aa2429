/* SPDX-License-Identifier: MIT */
/*
 * What the files of the uffd machine share. The picture:
 *
 *   managed range   one reservation, PROT_NONE but where a region is mapped; registered once, as a
 *                   whole, for missing pages: registration stays when mprotect splits it
 *   pool            frame n is page n of it; registered too, because MOVE wants its target registered
 *                   and because a stray touch of an empty page must not pass for memory
 *
 *   uffd.c          open, start, stop, close; regions; the table of operations
 *   uffd_pool.c     memory behind frames; memory for the core
 *   uffd_map.c      map and unmap: runs, and which way each goes
 *   uffd_move.c     by UFFDIO_MOVE: no copy. Only between writable areas of equal protection
 *   uffd_copy.c     by UFFDIO_COPY: older kernels, and regions that are not plain read-write
 *   uffd_host.c     the userfaultfd itself and its requests    uffd_probe.c   what the host allows
 *   real_wait.c     waiting and waking
 *   real_thread.c   the pager thread     real_kswapd.c  the kswapd thread     real_pair.c  who shares a CPU
 *   real_fault.c    faults that cannot be served
 *   real_signal.c   the SIGBUS handler   real_turns.c   which thread faults next   uffd_fork.c    fork
 *
 * Frames: place[n] says where the memory of frame n is. Only who owns frame n (holds its page
 * lock, or has just allocated it) looks at it or changes it.
 *
 *   NONE --populate--> POOL --map--> SHOWN --unmap keep--> POOL
 *   NONE --map zero--> SHOWN --unmap drop--> NONE
 *                                           POOL --release--> NONE
 */
#ifndef ANONMM_UFFD_INTERNAL_H
#define ANONMM_UFFD_INTERNAL_H

#include "contract/core.h"
#include "host/host.h"
#include "host/lock.h"
#include "host/thread.h"
#include "machine/uffd/uffd.h"
#include "machine/uffd/uffd_abi.h"

#include <pthread.h>

enum frame_place { PLACE_NONE, PLACE_POOL, PLACE_SHOWN };

/* Neighbours in address and frame. */
struct run {
	uint64_t addr;
	pfn_t pfn;
	unsigned nr;
	int prot;
};

struct uffd_machine;

/* The internal switch: how bytes get from the pool to an address and back. */
struct uffd_way {
	/* => frames in the pool. Returns how many pages, from the first, are at their addresses now; all, or *error says why. */
	unsigned (*show)(struct uffd_machine *, const struct run *, int *error);
	/* => frames shown. Returns how many pages, from the first, are in the pool now; the next one is pinned. */
	unsigned (*hide)(struct uffd_machine *, const struct run *);
};

extern const struct uffd_way uffd_way_move, uffd_way_copy;

/* Somebody who sleeps in poll, for events of the words in asleep: whoever clears the set writes the eventfd. */
struct sleeper {
	_Atomic(uint64_t) asleep; /* [a] bit set: that word; 0: awake */
	int fd;
};

struct fault {
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

/* Locks: [I] set before threads start  [a] atomic  [o] the frame's owner  [p] pager thread  [h] pair_lock  [x] poison_lock  [m] mail_lock */
struct uffd_machine {
	struct machine machine; /* first: the core's handle is ours */
	struct space *space; /* [I] over the whole managed range */
	enum anonmm_faults faults; /* [I] never AUTO */
	const struct uffd_way *way; /* [I] */
	int fd; /* [I] the userfaultfd */
	int node; /* [I] /dev/userfaultfd, which gives a child of a fork its own; -1: none */
	uint64_t features; /* [I] UFFD_FEATURE_* that the kernel granted */
	uint64_t base, bytes; /* [I] the managed range */
	uint8_t *pool; /* [I] */
	uint64_t pool_bytes; /* [I] the frames, and one page more that is always empty */
	uint8_t *zeros; /* [I] ZERO_PAGES pages, all of them the host's zero page */
	uint32_t nr_frames; /* [I] */
	uint8_t *place; /* [o] enum frame_place, by frame */
	size_t place_bytes;

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

	struct fault parked[NR_PARKED]; /* [p] */
	unsigned nr_parked; /* [p] */
	uint64_t woken_start, woken_end; /* [p] addresses that this thread's last map() woke */
	struct fault segv; /* [p] the last fault outside any VMA, and how often in a row */
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

	/* Requests of threads whose descriptor table lost ours: kswapd makes them. */
	struct lock mail_lock;
	struct mail {
		_Atomic(uint32_t) state; /* 0: empty, 1: posted, 2: answered */
		unsigned long request;
		void *arg;
		int result;
	} mail;
	_Atomic(bool) fds_lost;
	_Atomic(bool) poke_wanted; /* [a] kswapd shall write the eventfds */
};

#define STACK_BYTES (256 * KIB)
#define ZERO_PAGES 64
#define RUN_PAGES 256

static inline struct uffd_machine *uffd_of(struct machine *machine)
{
	return (struct uffd_machine *)machine;
}

static inline uint64_t frame_addr(const struct uffd_machine *m, pfn_t pfn)
{
	return (uint64_t)(uintptr_t)m->pool + (uint64_t)pfn * PAGE_BYTES;
}

/* Whether the caller is one of our own threads, by the stack it runs on: works before and without thread-local storage. */
static inline bool on_own_thread(const struct uffd_machine *m)
{
	uint8_t *here = __builtin_frame_address(0);

	return m->stacks && here >= m->stacks && here < m->stacks + 2 * STACK_BYTES;
}

static inline bool on_pager_thread(const struct uffd_machine *m)
{
	uint8_t *here = __builtin_frame_address(0);

	return m->stacks && here >= m->stacks && here < m->stacks + STACK_BYTES;
}

/* uffd_probe.c: a userfaultfd, or -errno. *@by_device (may be NULL): it came from the device node. */
int uffd_fd_ask(bool kernel_faults, bool *by_device);

/* uffd_host.c */
int uffd_fd_open(struct uffd_machine *m, bool copy, char *why, size_t why_len);
int uffd_fd_reopen(struct uffd_machine *m);
int uffd_register(struct uffd_machine *m);
int uffd_register_area(struct uffd_machine *m, uint64_t start, uint64_t bytes);
int uffd_eventfd_open(void);
/* Each returns pages done from the first; when fewer than asked for, *error is set. */
unsigned uffd_move(struct uffd_machine *m, uint64_t dst, uint64_t src, unsigned nr, bool wake, int *error);
unsigned uffd_copy(struct uffd_machine *m, uint64_t dst, uint64_t src, unsigned nr, bool wake, int *error);
int uffd_write_protect(struct uffd_machine *m, uint64_t addr, unsigned nr);
int uffd_poison_page(struct uffd_machine *m, uint64_t addr);
void uffd_wake_range(struct uffd_machine *m, uint64_t addr, unsigned nr);
void uffd_drop(struct uffd_machine *m, uint64_t addr, unsigned nr);
void uffd_serve_mail(struct uffd_machine *m);
void uffd_say(struct uffd_machine *m, int tid, const char *format, ...) __attribute__((format(printf, 3, 4)));
void uffd_die(struct uffd_machine *m, const char *format, ...)
	__attribute__((format(printf, 2, 3), noreturn));

/* uffd_pool.c */
void *uffd_frame_bytes(struct machine *machine, pfn_t pfn);
int uffd_frame_populate(struct machine *machine, pfn_t first, unsigned nr);
void uffd_frame_drop(struct machine *machine, pfn_t first, unsigned nr);
unsigned uffd_copy_zeros(struct uffd_machine *m, uint64_t addr, unsigned nr, bool wake, int *error);
void *uffd_chunk_alloc(struct machine *machine, size_t bytes);
void uffd_chunk_free(struct machine *machine, void *chunk, size_t bytes);

/* uffd_map.c, uffd_move.c, uffd_copy.c */
void uffd_map(struct machine *machine, struct mapping *maps, unsigned nr);
void uffd_unmap(struct machine *machine, struct mapping *maps, unsigned nr, enum unmap_content content);
void uffd_make_exclusive(uint64_t addr);

/* real_wait.c */
void uffd_wake(struct machine *machine, unsigned word);
void uffd_wait(struct machine *machine, const struct wait *wait);
void uffd_wake_kswapd(struct machine *machine, bool by_fault);
void uffd_lock(struct machine *machine);
void uffd_unlock(struct machine *machine);
void uffd_poke_for_others(struct uffd_machine *m);
unsigned uffd_device_fds(
	struct uffd_machine *m, const struct wait *waits, unsigned nr_waits, struct pollfd *fds, unsigned nr);
int uffd_reap(struct uffd_machine *m, bool writes_too);
bool wait_wants_writes(const struct wait *wait);

/* real_thread.c, real_kswapd.c */
int uffd_threads_start(struct uffd_machine *m);
void uffd_threads_stop(struct uffd_machine *m);
void *uffd_kswapd_main(void *machine);
void uffd_kswapd_meanwhile(struct uffd_machine *m);
/* => the pager lock held: will those who serve faults do kswapd's work? */
bool uffd_kswapd_may_help(struct uffd_machine *m);
/* => a fault has just been served, no lock held */
void uffd_kswapd_help(struct uffd_machine *m);
bool uffd_more(struct machine *machine);
void uffd_kick_kswapd(struct uffd_machine *m); /* => the pager lock not held */

/* real_pair.c: => pager thread */
/* True: the wait is over. => the leader, or the pager thread */
bool uffd_spin_for_read(struct uffd_machine *m, const struct wait *wait);
/* The pair and all its threads to another CPU. false: not possible now, nothing changed. => pager thread */
bool uffd_pair_move(struct uffd_machine *m, int cpu);
/* A new pair may live on any of @cpus; it starts on the first. */
void uffd_trial_start(struct uffd_machine *m, const int *cpus, unsigned nr);
/* A lone fault of a paired thread waited this long for a read. */
void uffd_trial_waited(struct uffd_machine *m, uint64_t ns);
void uffd_pair_note(struct uffd_machine *m, int tid);
void uffd_pair_expire(struct uffd_machine *m);
void uffd_unpair_all(struct uffd_machine *m); /* => no pager thread any more */

/* real_turns.c: => signal mode, all signals blocked, no lock held */
void uffd_turn(struct uffd_machine *m); /* Before a fault is served. May sleep */
void uffd_turn_waits(struct uffd_machine *m); /* Before the caller waits for something else */

/* For the core. A turn must not be kept while its holder waits. */
bool uffd_faults_block(struct machine *machine);

/* real_fault.c */
void uffd_fault_fails(struct uffd_machine *m, struct fault *fault, enum fault_result result);
const char *uffd_fault_words(enum fault_result result);
unsigned uffd_poison_clear(struct uffd_machine *m, uint64_t addr, unsigned nr, bool shown);
void uffd_poison_expire(struct uffd_machine *m);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Which thread runs where, and when. Everything here is a guess that makes faults cheaper. Nothing is safe because of
 * it, so each guess may be wrong, or given up at any time.
 *
 *   thread                            runs                                                         decided in
 *   thread mode, pager thread         on the CPU of the pair; on any CPU while nobody is paired    real_pair.c
 *   thread mode, faults often         on the CPU of the pair                                       real_pair.c
 *   thread mode, kswapd               on any CPU but that of the pair, if there is another         real_pair.c
 *   signal mode, faults, with turns   when it has the turn: one thread at a time                   real_turns.c
 *   all others                        where and when the program and the scheduler want
 *
 * Pairs. In thread mode a fault is handed to the pager thread and back. Between two CPUs that is an interrupt each way,
 * many times the work of the fault. On one CPU it is a context switch. That is cheap only if both threads are bound:
 * then the scheduler has no choice to make. A thread that faults HOT_FAULTS times within HOT_NS is paired: it is bound
 * to the pager thread's CPU. When it has not faulted for COLD_NS it gets its own affinity back. Threads that share
 * the CPU work one after the other, and other CPUs may be idle meanwhile. So a further thread is paired only if it does
 * little but fault: HOT_FAULTS times within CROWD_NS, which leaves it no more time between two faults than the hand-off
 * would cost. (Measured on two CPUs: four threads that only fault take 8 us a page if they are paired, and 15
 * otherwise. Four threads that compute 50 us a page take 59 and 50.)
 *
 * The CPU of the pair. A pager thread that runs where a device's completions arrive is woken at once when a read ends.
 * Elsewhere it takes an interrupt to another CPU first, which on a virtual machine costs a sixth of a disk read. No
 * call tells where completions arrive, so it is measured: the pair spends TRIAL_WAITS waits for a single read on each
 * CPU that it may use, stays where the waits were shortest, and measures again after TRIAL_AGAIN waits.
 *
 * Turns. When a page is shown or taken away, a page table changes, and every other CPU that runs a thread of the
 * program must forget the old entry: that is an interrupt, for which the sender waits. On a virtual machine it costs
 * more than all the rest of a fault, so two CPUs serve half of what one does alone. A CPU whose threads sleep is not
 * interrupted. So in signal mode a thread that faults keeps the turn for TURN_NS, whatever it does between its faults,
 * and the other threads that fault sleep. If the holder of the turn waits, it passes the turn on. It may also exit, or
 * wait for another thread: when it has not faulted for STALE_NS, the heir takes the turn. The heir is the first of
 * those who wait; the others sleep until there is no heir. To look at the holder costs an interrupt, too: the more
 * looks were in vain, the fewer the heir takes.
 *
 * Whether turns pay is measured. They do not where interrupts are cheap, or where threads compute between their faults.
 * When faults of different threads follow each other often, faults are counted for MEASURE_NS without turns, and for
 * MEASURE_NS with turns. Turns stay if they were better by an eighth. The first answer holds for HOLD_FIRST_NS, each
 * further one for twice as long, HOLD_MOST_NS at most:
 *
 *   TURNS_OFF --faults of many threads--> TURNS_APART --measured--> TURNS_TRIED --better--> TURNS_ON
 *       ^                                      ^                        |                      |
 *       +--- not better; nobody faults --------|------------------------+                      |
 *                                              +--- measured again ----------------------------+
 *
 * The program sees and sets only its own affinity (real.h), never that of a pair.
 */
#ifndef ANONMM_REAL_WHERE_H
#define ANONMM_REAL_WHERE_H

#include "base/base.h"
#include "host/lock.h"

struct machine;
struct real_machine;

/* ---- Pairs (thread mode) ------------------------------------------------------------------ */

#define NR_HOT 16 /* threads whose faults are counted */
#define CPU_MASK_WORDS 128 /* 8192 CPUs */
#define TRIAL_CPUS 4 /* CPUs that are tried for a pair */

struct cpu_mask {
	unsigned long word[CPU_MASK_WORDS];
};

/* A thread that faults; paired: bound to the pager thread's CPU. */
struct hot {
	int tid;
	bool paired;
	unsigned nr_faults; /* since window_ns */
	uint64_t window_ns;
	uint64_t last_ns; /* its last fault */
	struct cpu_mask own; /* paired: what the program has set */
};

/*
 * Locks: [a] atomic  [p] pager thread  [h] lock. The lock is held with all signals blocked: a signal handler that
 * faults would stop its holder. The pager thread only tries it, because it must not wait for a thread of the program.
 */
struct pairing {
	struct lock lock;
	struct hot hot[NR_HOT]; /* [h] paired entries; [p] the others */
	_Atomic(unsigned) nr; /* [a] paired threads; changed under [h] */
	int cpu; /* [p] the pair's; -1: the pager thread is not bound */
	struct cpu_mask pager_mask; /* [p] the pager thread's own, while it is bound */
	uint64_t
		parked_ns; /* [p] when the last parked fault came, if it waits for a page and threads are paired; else 0 */
	struct trial {
		unsigned nr; /* CPUs */
		unsigned turn; /* the one that is measured, or settled for */
		unsigned waits; /* counted there */
		bool settled;
		int cpu[TRIAL_CPUS];
		uint64_t sum_ns[TRIAL_CPUS]; /* of the waits on each */
	} trial; /* [p] */
};

/* => pager thread, in the following three */
void real_pair_note(struct real_machine *m, int tid); /* thread @tid has faulted; 0: not known which */
void real_pair_waited(
	struct real_machine *m, uint64_t ns); /* a paired thread waited so long for a single read */
void real_pair_expire(struct real_machine *m); /* who has not faulted for a while is not paired any more */
void real_unpair_all(struct real_machine *m); /* => the pager thread has ended */

/* ---- Turns (signal mode) -------------------------------------------------------------------- */

enum turns_state { TURNS_OFF, TURNS_APART, TURNS_TRIED, TURNS_ON };

/* Locks: [a] atomic  [n] lock, which is only tried. All times are in ns on the clock of host_now_ns() */
struct turns {
	_Atomic(enum turns_state) state; /* [a], changed under [n] */
	_Atomic(uint64_t) holder; /* [a] pthread_self() of the thread that has the turn; 0: nobody */
	_Atomic(uint64_t) since_ns, used_ns; /* [a] when the turn began, when its holder last faulted */
	_Atomic(uint64_t) patience_ns; /* [a] how long the heir sleeps between two looks at the holder */
	_Atomic(uint32_t) nr_passed; /* [a] the heir sleeps on it */
	_Atomic(uint32_t) heir; /* [a] 1: there is an heir; the others who wait sleep on it */
	_Atomic(uint32_t) nr_waiting; /* [a] the heir and the others */
	_Atomic(uint64_t) last; /* [a] a guess: who faulted last */
	/* [a] faults since window_ns; with TURNS_OFF only those of another thread than the one before */
	_Atomic(uint32_t) nr_faults;
	_Atomic(uint64_t) window_ns; /* [a], changed under [n] */
	struct lock lock;
	uint64_t rate_apart, rate_turns; /* [n] faults a second, as measured */
	uint64_t hold_ns, until_ns; /* [n] how long the next decision will hold; when the present one ends */
};

/* => signal mode, all signals blocked, no lock held, in the following two */
void real_turn(struct real_machine *m); /* the caller is about to serve a fault. May sleep */
void real_turn_waits(
	struct real_machine *m); /* the caller is about to wait for something else: it passes the turn on */

/* The operation faults_block (contract/machine.h). False with turns: a thread must not keep its turn in a wait. */
bool real_faults_block(struct machine *machine);

/* ---- Both ----------------------------------------------------------------------------------- */

/* Nobody is paired, and nobody takes turns. => at open, or in a fork's child: no other thread of ours exists */
void real_where_reset(struct real_machine *m);

#endif

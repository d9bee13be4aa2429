/* SPDX-License-Identifier: MIT */
/*
 * sim-devices: random trees of forks over devices that fail, are full, late and out of order.
 *
 * Each simulated process is a process of the host, with the core and its devices on the soft machine. A simulated fork
 * is a fork. Only one process runs at a time: process 0 hands the turn to one, with one operation, and gets it back. So
 * the run follows from its schedule alone, and the schedule follows from the seed.
 *
 * The last device of a chain is memory that the processes share ("mem:?shared=1"), as they would share a file. What a
 * parent writes to a slot that its child reads is seen by the child.
 *
 * Checked after each operation: the whole-world validator of the process that did it. Checked at each look: the page
 * has what this process, or its ancestors before the fork, wrote last; or it is lost, which must have a reason. Checked
 * at the end: no lease outlives its children, and every slot in use is named.
 */
#ifndef ANONMM_SIM_DEVICES_H
#define ANONMM_SIM_DEVICES_H

#include "base/base.h"
#include "../seed.h"

#define MAX_PROCS 8
#define MAX_OPS 96
#define MAX_PAGES 192
#define LEASES 3 /* that a process watches; children beyond share the youngest */
#define LEASE_IDS 32 /* of a run */
#define PLACES 5 /* for devices, in a process */

enum op_kind {
	OP_WRITE,
	OP_READ,
	OP_RECLAIM,
	OP_PAGEOUT,
	OP_DONTNEED,
	OP_POLL,
	OP_KSWAPD,
	OP_FORK,
	OP_EXIT,
	OP_LEASES, /* end those whose children have gone, leave what is empty */
	OP_TAKEOVER, /* swapoff of an inherited device, or of our own */
	OP_FAULT, /* the next requests of a device fail */
	OP_HEAL,
	NR_OPS
};

struct op {
	uint8_t kind;
	uint8_t pick; /* which of those that are alive does it */
	uint16_t a, b;
	bool off; /* left out, by the shrinker */
};

enum plant {
	PLANT_NONE,
	PLANT_NO_LEASE,
	PLANT_EARLY_END,
	PLANT_NEVER_END,
	PLANT_TURNED_BIT,
	PLANT_HEIR_WRITES,
	NR_PLANTS
};
extern const char *const plant_names[NR_PLANTS];

struct schedule {
	uint64_t seed;
	unsigned frames, pages;
	unsigned policy;
	char uri[200];
	bool shares_memory;
	unsigned nr;
	struct op ops[MAX_OPS];
};

/* In memory that all processes of a run share. */
struct shared {
	_Atomic(uint32_t) turn[MAX_PROCS]; /* 1: it is this one's */
	_Atomic(bool) over;
	bool failed;
	char why[400];
	uint64_t seed; /* that is being run */
	unsigned step;
	struct op op;
	unsigned nr_procs;
	bool alive[MAX_PROCS];
	unsigned nr_leases;
	unsigned holders[LEASE_IDS]; /* processes that may read what the lease keeps */
	enum plant plant;
	bool verbose;
	uint64_t nr_forks, nr_lost, nr_oom, nr_taken, nr_joined; /* over all seeds: what was reached */
};
extern struct shared *shared;

/* This run has failed, and this process ends. */
void sim_fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* Let process @index run, and wait until it is our turn again. */
void turn_give(unsigned index);
void turn_wait(unsigned self);

void schedule_make(struct schedule *s, uint64_t seed);
void op_print(const struct op *op, unsigned step, unsigned process);

/* process.c: process 0 begins with the first, ends with the last. */
void process_begin(const struct schedule *s);
void process_do(const struct op *op);
void process_end(void);

/* In process 0. => on failure does not return */
void run_schedule(const struct schedule *s);

#endif

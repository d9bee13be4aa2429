/* SPDX-License-Identifier: MIT */
/*
 * One simulated world: a pager on a machine of the simulation's own, swap devices whose answers come late and in any
 * order, and a few threads as coroutines. Everything follows from the seed.
 *
 *      config.c    what a seed is: the machine's facts, sizes, what goes wrong, the threads' operations
 *      sched.c     coroutines, the points where they switch, "nobody can run"
 *      machine.c   the machine contract, as strict as real memory or as soft
 *      device.c    the device contract
 *      oracle.c    what each page must hold
 *      ops.c       the operations of the threads
 *      ops_world.c those on the whole world: limits, devices, rest, moves
 *      run.c       one run from its opening to its end
 *      shrink.c    a failing run, made small
 *      main.c      many seeds
 */
#ifndef ANONMM_SIM_H
#define ANONMM_SIM_H

#include "mm/pager.h"
#include "swap/device.h"
#include "../seed.h"

#include <sys/mman.h>

#define MAX_THREADS 4
#define MAX_OPS 128 /* of one thread */
#define MAX_SPACES 5 /* together less than the slots of a roomy world */
#define MAX_DEVICES 3
#define AREA_PAGES 40 /* a thread's own part of each space; one more page behind it is a hole */
#define SHARED_PAGES 8
#define SPACE_PAGES (MAX_THREADS * (AREA_PAGES + 1) + SHARED_PAGES)
#define SIM_BASE (16 * MIB)
#define MAX_FRAMES 256
#define FILE_PAGES 64
#define FILE_VALUE 0x10000000u
#define MAX_SLOTS 1024

/* ---- What a seed is (config.c) ---------------------------------------------------------------- */

enum op_kind {
	OP_READ,
	OP_WRITE,
	OP_SCAN,
	OP_FILL,
	OP_READ_SHARED,
	OP_WRITE_SHARED,
	OP_MMAP,
	OP_MUNMAP,
	OP_MPROTECT,
	OP_MREMAP,
	OP_DONTNEED,
	OP_FREE,
	OP_HINT,
	OP_MLOCK,
	OP_MUNLOCK,
	OP_DROP_SHARED,
	OP_REMAP_SHARED,
	OP_FORK,
	OP_EXIT,
	OP_RECLAIM,
	OP_KSWAPD,
	OP_KSMD,
	OP_POLL,
	OP_LIMIT,
	OP_SWAPOFF,
	OP_SWAPON,
	OP_MIGRATE,
	OP_MIGRATE_MANY,
	OP_COMPACT,
	OP_FREEZE,
	OP_LEASE_END,
	OP_PEEK,
	OP_HINT_ANY,
	OP_LOOK,
	OP_TRUNCATE,
	NR_OPS,
};

extern const char *const op_names[NR_OPS];

/* An operation is its kind and the numbers that it makes its choices from: what others do changes none of them. */
struct op {
	uint8_t kind;
	bool dropped; /* by shrinking */
	uint16_t number; /* in its thread, for people */
	uint32_t a, b, c, d;
};

/* Deliberate faults of the machine and the devices, to show that such faults are found. */
enum plant {
	PLANT_NONE,
	PLANT_LOST_WAKE, /* wake() does nothing, now and then */
	PLANT_WRONG_FRAME, /* map() shows another frame's bytes */
	PLANT_LATE_HIDE, /* unmap() takes the bytes while the page can still be written */
	PLANT_NO_FLUSH, /* flush() does nothing, now and then */
	PLANT_TWO_INSIDE, /* lock() lets a second one in */
	PLANT_LOST_WRITE, /* a device says that it wrote, and did not */
	PLANT_EARLY_DONE, /* a device says that it read before the bytes are there */
	NR_PLANTS,
};

extern const char *const plant_names[NR_PLANTS];

struct config {
	uint64_t seed;
	enum plant plant;
	unsigned validate_every; /* points; 0: only at the end */

	/* The machine. */
	bool shares; /* can_share, sees_access, sees_write, flush: as soft; false: as real memory */
	bool drops; /* has frame_drop */
	bool truncates; /* the file becomes shorter and longer: what its mappings hold is not known then */
	bool shmem; /* the shared pages are shared memory: children have them, too */
	unsigned busy_in, no_memory_in,
		no_chunk_in; /* once in so many: -EBUSY of unmap, -ENOMEM of map and populate, of chunks */
	unsigned more_in; /* ops->more: true once in so many; 0: NULL */
	bool faults_block;

	/* The pager. */
	uint32_t nr_frames, nr_limit;
	unsigned nr_nodes, policy;
	int swappiness;

	/* The devices. */
	unsigned nr_devices;
	struct device_config {
		uint32_t nr_slots, room; /* room: slots that can be written at the same time */
		unsigned delay; /* the longest, in points */
		unsigned depth; /* requests that it works on at a time */
		unsigned error_in; /* -EIO once in so many */
		bool store; /* it lives on the pager's memory */
		bool at_once, peeks, stable, late; /* late: looks at what it writes when it ends only */
		int priority;
	} devices[MAX_DEVICES];

	/* Every fault must be served: there is room for everything, and nothing fails. */
	bool roomy;

	/* The schedule. */
	unsigned switch_in; /* at a point: another thread's turn, once in so many */
	bool priorities; /* the highest that can run runs, but for some changes */
	unsigned stall_in; /* at a point: the thread stays there for long, once in so many; 0: never */
	uint64_t schedule; /* seed of the schedule alone */

	unsigned nr_threads;
	unsigned nr_ops[MAX_THREADS];
	bool looks_not
		[MAX_THREADS]; /* the last look at the thread's pages, and at shared ones, was left out by shrinking */
	struct op ops[MAX_THREADS][MAX_OPS];
};

void config_make(struct config *c, uint64_t seed);
void config_print(const struct config *c);

/* ---- The schedule (sched.c) -------------------------------------------------------------------- */

/* Where another thread went on. Those of a failed run, in order, repeat it. */
struct decision {
	uint32_t point;
	uint8_t to;
	bool forced; /* the one that ran could not go on */
};

#define MAX_DECISIONS 65536

/* What a run leaves behind, in memory that outlives its process. */
struct outcome {
	_Atomic(uint64_t) seed; /* under way */
	uint64_t done; /* seeds */
	bool failed;
	char why[1200];
	uint64_t points;
	unsigned nr_decisions;
	struct decision decisions[MAX_DECISIONS];
	uint64_t ops_done[NR_OPS], ops_refused[NR_OPS];
	uint64_t points_total, faults, armed, swapped_in, swapped_out, migrated, waits, jumps, kswapd, busy,
		merged;
};

/* A schedule to be followed: where no decision of it says otherwise, who runs goes on, or else the next one does. */
struct script {
	unsigned nr;
	const struct decision *decisions;
};

/* Threads of the simulation: the programs', then kswapd. */
#define KSWAPD_THREAD MAX_THREADS
#define NR_COROS (MAX_THREADS + 1)

void sched_open(const struct config *c, struct outcome *outcome, const struct script *script, bool verbose);
void sched_start(unsigned thread, void (*run)(void *), void *arg);
/* Let them run until those of the programs have ended. */
void sched_run(void);
/* The last look at the world needs no thread. While nobody runs, lock and wait work for the caller alone. */
bool sched_running(void);
/* The running thread has ended. Does not return. */
void sched_end(void);
unsigned sched_me(void);
uint64_t sched_clock(void);

/* Another thread may go on here. */
void sched_point(const char *where);
/* Until can_run(ctx). @until: the clock at which it may go on anyway; 0: never. */
void sched_block(const char *where, bool (*can_run)(void *), void *ctx, uint64_t until);
/* What the running thread does, for people. */
void sched_doing(const char *format, ...) __attribute__((format(printf, 1, 2)));
void sched_told(const char *format, ...) __attribute__((format(printf, 1, 2)));
bool sched_verbose(void);
/* The run has failed. Does not return. */
void sim_fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* ---- The machine (machine.c) --------------------------------------------------------------------- */

struct sim_space {
	struct space *space; /* NULL: not there */
	unsigned number;
	bool used; /* perhaps not yet, or no more, with a space */
	uint8_t *bytes; /* what is at its addresses, where frames have one place */
	struct sim_page {
		pfn_t shown; /* at this address; PFN_NONE. shares: what the TLB knows */
		bool writable; /* shares: by the TLB */
		bool region;
		uint8_t prot; /* of the region */
		uint64_t pinned_until; /* the clock */
	} pages[SPACE_PAGES];
};

struct machine *machine_open(const struct config *c);
void machine_close(void);
void machine_space_open(struct sim_space *s, unsigned number);
/* Nothing is shown there any more. */
void machine_check_gone(struct sim_space *s);
/* Chunks that were allocated since the mark are free again: the validator's. */
size_t machine_chunks_mark(void);
void machine_chunks_reset(size_t mark);

/* The bytes of page @page if an access goes through without a trap, or NULL. */
uint8_t *machine_look(struct sim_space *s, unsigned page, enum access access);
void machine_wait(const struct wait *wait);
bool machine_lock_is_free(void);

bool kswapd_try_lock(void);
void kswapd_unlock(void);
void kswapd_main(void *arg);
void kswapd_stop(void);
/* Wait until kswapd sleeps and no device is at work. */
void kswapd_await_rest(void);

/* ---- Devices (device.c) --------------------------------------------------------------------------- */

struct swapdev *device_open(unsigned number, const struct device_config *c);
/* Has any request of these directions ended that nobody has polled for? */
bool devices_ready(bool reads, bool writes);
/* The clock at which the next one ends; 0: none is under way. */
uint64_t devices_next(void);
void devices_init(const struct config *c);
bool devices_idle(void);

/* ---- What each page must hold (oracle.c) --------------------------------------------------------- */

struct cell {
	uint32_t value; /* 0: zeros */
	uint32_t behind; /* what is there when its content was dropped: zeros, or a file's page */
	uint8_t prot;
	bool mapped;
	bool locked; /* perhaps */
	bool fading; /* MADV_FREE: zeros from some moment on, until it is written */
	/* Shared pages only. */
	uint8_t changing; /* calls under way that drop the content */
	uint8_t unmapping; /* calls under way between whose begin and end it may not be mapped */
	uint16_t unmaps; /* how many such calls there have been */
	bool written; /* since the first of them began */
	bool kept; /* shared memory: what is dropped is only the mapping */
	bool may_be_zero; /* it was dropped while others wrote */
};

/* What a page holds must be what the cell says; the cell learns from it. */
void cell_found(struct cell *cell, uint32_t found);
void cell_written(struct cell *cell, uint32_t value);
/* Shared pages: a call that drops their content begins, and has ended. */
void cell_drop_begins(struct cell *cell, bool unmaps);
void cell_drop_ended(struct cell *cell, bool unmaps, bool done);
/* A page of the file that is behind its end: mremap has made the mapping longer. */
static inline bool cell_is_past_end(const struct cell *cell)
{
	return cell->behind >= FILE_VALUE + FILE_PAGES;
}
/* Of a file that becomes shorter: its pages, and copies of them, go and come back. */
bool cell_is_vague(const struct cell *cell);
/* What an access must say: 0, -EFAULT or -EIO. */
int cell_access(const struct cell *cell, enum access access);

/* ---- One run (run.c) ----------------------------------------------------------------------------------- */

struct sim_thread {
	unsigned number;
	struct sim_space *spaces[3]; /* everybody's, and its children */
	struct cell cells[3][AREA_PAGES]; /* its part of the first space, and of its children */
};

struct sim {
	const struct config *config;
	struct outcome *outcome;
	struct machine *machine;
	struct pager *pager;
	struct sim_space spaces[MAX_SPACES]; /* the first is everybody's */
	struct cell shared[SHARED_PAGES];
	struct sim_thread threads[MAX_THREADS];
	struct seed chance; /* of the machine and the devices */
	uint32_t next_value;
	bool has_device[MAX_DEVICES];
	bool ksmd_busy, swapoff_busy, thread_ended[MAX_THREADS];
	struct swap_lease *lease;
	struct file *file, *shmem;
	unsigned hot_first, hot_nr; /* pages of the first space that a call was last asked to change */
	unsigned users, resting; /* of the list of spaces: who changes it, who needs it as it is */
};

extern struct sim sim;

/* Runs the world in this process; returns when all was well, sim_fail() ends it otherwise. */
void sim_run(const struct config *c, struct outcome *outcome, const struct script *script, bool verbose);
void sim_validate(const char *when);

/* => retried until it is not -EAGAIN */
#define SIM_RETRY(wait, call)                                                                                \
	({                                                                                                   \
		int sim_result_;                                                                             \
		while ((sim_result_ = (call)) == -EAGAIN)                                                    \
			machine_wait(wait);                                                                  \
		sim_result_;                                                                                 \
	})

void op_run(struct sim_thread *t, const struct op *op);
void op_world(struct sim_thread *t, const struct op *op);
/* The last look: every page that is known is read. */
void op_check_all(struct sim_thread *t);
void op_close_children(struct sim_thread *t);
void space_close(struct sim_space *s);
/* Map the shared pages from *@addr on. */
int map_shared(uint64_t *addr, uint64_t bytes, struct wait *wait);
/* A file whose page @index holds FILE_VALUE + index. */
extern const struct file_ops sim_file_ops;
/* Note the result, and fail the run if it is not @fine. */
void op_result(const struct op *op, int result, bool fine);

/* Those who make and end spaces keep out who needs all of them as they are. */
void spaces_enter(void);
void spaces_leave(void);

/* ---- A failing run, made small (shrink.c) ---------------------------------------------------------------- */

/* run(arg) in a process of its own. true: it failed, and @outcome says how. */
bool sim_in_child(void (*run)(void *), void *arg, struct outcome *outcome);
/* The same for one run. */
bool sim_try(const struct config *c, struct outcome *outcome, const struct script *script, bool verbose);
/*
 * Leaves of @c what still fails as @outcome says, and prints its schedule. @trial: for the tries, in shared memory,
 * too.
 */
void shrink(struct config *c, struct outcome *outcome, struct outcome *trial);

#endif

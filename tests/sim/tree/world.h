/* SPDX-License-Identifier: MIT */
/*
 * A world of processes that share one limit, for sim-tree: processes, their threads as coroutines, a virtual clock, and
 * random kills and stops by seed. The code that decides is the library's own (real.c). world.c is the kernel and the
 * programs around it.
 *
 * A thread runs until it reaches a point where the world may take over: each atomic operation of the library's code,
 * each sleep and each lock. There another thread may run on, and any process may be killed, stopped or continued.
 *
 * Each process has a copy of the library's global variables. The world exchanges the copies when it switches between
 * processes.
 */
#ifndef ANONMM_SIM_WORLD_H
#define ANONMM_SIM_WORLD_H

#include "run/run.h"
#include "run/tree/share.h"
#include "run/tree/status.h"
#include "../coro.h"
#include "../seed.h"

#define WORLD_PROCESSES 16 /* that exist at once, dead ones that nobody has waited for among them */
#define WORLD_PAGES 512
#define MS 1000000ULL

enum role { PROGRAM, SHARE, GOVERNOR, KSWAPD, NR_ROLES };

struct thread {
	struct coro coro;
	bool exists;
	uint64_t wake_ns; /* when it may run again; UINT64_MAX: when it is woken */
	const void *key; /* what it waits for; NULL: the clock alone */
	uint64_t ran_ns; /* that it has had, stops not counted: what it waited in one call */
};

/* The pager of a process, as far as shares are concerned. Units: pages, where not bytes. */
struct model_pager {
	uint64_t limit_bytes;
	uint64_t used, locked,
		want; /* in memory; of these, what cannot leave; that the program goes through */
	uint64_t metadata_bytes, most_bytes;
	uint64_t faults;
	uint64_t settled_ns; /* until when pages have left */
};

/* A status page. It is the file: a process that asks may have it when the process of the page has ended. */
struct page_file {
	struct status status;
	pid_t locked; /* the process that has the file's lock; 0: none */
};

enum state { NONE, ALIVE, ZOMBIE };

struct process {
	enum state state;
	pid_t pid;
	uint32_t started;
	int parent; /* index; -1: none that waits */
	bool stopped;
	bool managed; /* its program has the library, and has started */
	bool restart; /* it has become another program */
	bool waits; /* for its children */
	struct page_file *page; /* NULL: none */
	uint32_t asked; /* the last that it has read of its page */
	bool child; /* it begins as a fork's child */
	int64_t limit_asked; /* bytes for all, by `anonmm limit`; 0: none */
	bool growing; /* in ledger_grow(): its slot may say what it has not got */
	uint64_t share_before; /* then */
	uint64_t governor_set; /* PLANT_OWN_LIMIT: bytes, the limit that its governor set last */
	uint64_t idle_ns,
		idle_hungry_ns; /* since when it has needed nothing and is hungry; its hungry_ns then */
	bool starved; /* it had too little at each look of the calm */
	struct share share;
	struct run run;
	struct model_pager pager;
	struct thread threads[NR_ROLES];
};

struct sim_config {
	uint64_t seed;
	unsigned processes; /* at most, at once */
	unsigned steps; /* of chaos */
	bool verbose;
};

enum plant {
	PLANT_NOTHING,
	PLANT_RAISE_FIRST,
	PLANT_NO_SECOND_LOOK,
	PLANT_NO_REAP,
	PLANT_NO_ZOMBIES,
	PLANT_REAP_STOPPED,
	PLANT_LOST_KICK,
	PLANT_FIRST_LEADS,
	PLANT_OWN_LIMIT,
	PLANT_TORN_QUESTION,
	PLANT_LOST_QUESTION,
	NR_PLANTS,
};

extern const char *const plant_names[NR_PLANTS];

extern struct world {
	struct sim_config config;
	enum plant plant;
	struct ledger ledger;
	struct page_file pages[WORLD_PAGES]; /* each is used once */
	struct process processes[WORLD_PROCESSES];
	unsigned nr_pages;
	struct process *now; /* who runs */
	struct thread *thread;
	struct coro scheduler;
	struct seed seed, programs;
	uint64_t now_ns;
	unsigned points; /* until the world takes over */
	unsigned steps; /* of chaos, so far */
	bool calm;
	uint64_t quiet_ns; /* there is no chaos until then */
	struct process *stopped_leader; /* by world_stop_leader(), once */
	bool failed;
	char why[400];
	pid_t next_pid;
	uint32_t last_started;
	uint64_t jumps_bytes; /* by how much shares and limit have moved apart without anybody's asking */
	uint64_t least_free, least_over; /* bytes, of all looks in the calm */
	bool looked;
	bool follows; /* the limit follows the host, which has ledger.most bytes */
	uint64_t outside_bytes; /* of the host's memory that others use */
	int64_t stalled_us; /* how long tasks of the host have waited for memory */
	uint64_t
		least_off; /* bytes, of all looks in the calm: how far the limit is from what the host allows */
	bool (*more)(bool urgent);
	char at[80]; /* the point, for -v */
	uint64_t nr_switches;
} world;

/* One world from start to end. true: nothing is wrong; false: world.why says what. */
bool world_run(const struct sim_config *config, enum plant plant);

/* What is wrong ends the run. */
void world_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
void world_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The running thread may be preempted. */
void world_point(const char *function, int line);
/* The running thread sleeps until @until_ns, or until somebody wakes @key. true: it was woken. */
bool world_sleep(uint64_t until_ns, const void *key);
void world_wake(const void *key, bool same_process);
void world_end_thread(void) __attribute__((noreturn));
/* A leader is about to set the limit. Now and then it is stopped here, for longer than another process waits to lead. */
void world_stop_leader(void);
void world_start_thread(enum role role, void (*run)(void *), void *arg);

/* Dead; until its parent has waited for it its number stays. */
void process_dies(struct process *p);

/* real_governor.c: the governor of the process that runs; and of a fork's child, before it runs and in it */
void real_governor_start(void);
void real_governor_fork(const struct process *parent, const struct process *child);
void real_governor_fork_child(void);

/* ask.c: a page for the process that runs; and a process that asks others by their pages */
void ask_page(void);
/* A process begins that asks. */
void ask_begin(void);

/* program.c: what programs do, and the model of their pagers */
void program_main(void *unused);
void program_settle(struct process *p);
uint64_t program_frames(const struct process *p);

/* check.c */
struct process *world_owner(uint64_t owner);
void check_always(void);
void check_grown(uint64_t jumps_before);
void check_freed(uint64_t owner);
/* In the second half of the calm, now and then. */
void check_sample(void);
void check_end(void);

#endif

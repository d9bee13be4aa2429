/* SPDX-License-Identifier: MIT */
/*
 * The model test's parts.
 *
 *      model.c        the command, and the set of runs without arguments
 *      run.c          one run: a world, its actors, the look at what is left
 *      actor.c        one operation after the other; a failure is told with all that repeats it
 *      ops_*.c        the operations
 *      choice.h       where choices come from          oracle.[ch]   what memory must contain
 *
 * An actor owns a family of spaces and the files that these map. Without threads one actor has all spaces. With threads
 * each actor is a thread, and the actors share the pager.
 */
#ifndef ANONMM_TEST_MODEL_H
#define ANONMM_TEST_MODEL_H

#include "../world.h"
#include "choice.h"
#include "oracle.h"

#define MAX_ACTORS 3u
#define MAX_SPACES 8u
#define MAX_OBJECTS 6u
#define MAX_AREAS 3u /* that come and go */
#define EXIT_SKIP 77

struct run {
	enum anonmm_machine kind;
	enum anonmm_faults faults;
	bool copy, threads, lossy, verbose;
	uint64_t seed;
	unsigned long ops;
	unsigned long validate_every; /* operations */
	const uint8_t *bytes; /* instead of the seed; NULL: the seed */
	size_t nr_bytes;
	const char *record; /* the file to record choices to, or NULL */
	int world; /* the byte of run_set_world(); a recording begins with it */
	char swap[256];
	uint64_t digest; /* out: of every event and result */
	unsigned long done; /* out: operations */
};

/* One space of a family. */
struct member {
	struct place place;
	struct oracle *oracle; /* NULL: there is none */
};

struct actor {
	struct run *run;
	struct choice choice;
	struct member members[MAX_SPACES];
	unsigned max_spaces;
	struct member *at; /* whose turn it is */
	struct object objects[MAX_OBJECTS];
	unsigned nr_objects_ever;
	bool areas[MAX_AREAS]; /* swap areas that it has added */
	unsigned long op; /* how many were done */
	int result; /* the last one */
	const char *doing;
	char detail[200];
};

extern struct world world;

/* ---- actor.c ---- */

/* Say what is wrong and what repeats it, and abort. */
__attribute__((noreturn, format(printf, 2, 3))) void fail(struct actor *a, const char *format, ...);

/* Every event and result is part of what a replay must repeat. */
void mix(struct run *run, uint64_t value);
void note(struct actor *a, int result);
/* The result must be the expected one; or one that a failing device excuses. */
void want(struct actor *a, int result, int expected);
bool excused(const struct actor *a, int result);

unsigned below(struct actor *a, unsigned limit);
/* Content: not a choice. */
uint64_t any(struct actor *a);
void detail(struct actor *a, unsigned first, unsigned nr, int more);
uint64_t address(const struct actor *a, unsigned page);
/* A run of pages somewhere, mapped or not. */
void pick_run(struct actor *a, unsigned longest, unsigned *first, unsigned *nr);
/* A page that is mapped, if a few tries find one. */
unsigned pick_page(struct actor *a);
int random_prot(struct actor *a);

bool actor_open(struct actor *a, struct run *run, unsigned number, unsigned max_spaces);
void actor_step(struct actor *a);
/* Every page of every space. */
void actor_check_all(struct actor *a);
void actor_validate(struct actor *a);
void actor_close(struct actor *a);

/* ---- run.c ---- */

/* 0, 1: it could not be begun, or EXIT_SKIP. What is wrong aborts. */
int run_once(struct run *run);
/*
 * The world of a recorded or fuzzed run, as one byte: a small seed and one of four devices, of which the first is good.
 */
void run_set_world(struct run *run, uint8_t byte);
void print_run(FILE *file, const struct run *run);

/* ---- ops_*.c ---- */

/* One page read and compared. False: it could not be had, excusably. */
bool check_page(struct actor *a, unsigned number);
struct member *member_free(struct actor *a);
unsigned nr_members(const struct actor *a);
void member_close(struct actor *a, struct member *m);
/* Objects that nobody holds any more are gone, and the core knows it. */
void objects_reap(struct actor *a);
struct object *object_pick(struct actor *a);
void object_close(struct actor *a, struct object *object);

void do_read(struct actor *a);
void do_write(struct actor *a);
void do_fill(struct actor *a);
void do_silent_store(struct actor *a);
void do_word(struct actor *a);
void do_cross(struct actor *a);
void do_scan(struct actor *a);
void do_stride(struct actor *a);
void do_fill_run(struct actor *a);

void do_mmap(struct actor *a);
void do_munmap(struct actor *a);
void do_mprotect(struct actor *a);
void do_mremap(struct actor *a);

void do_hint(struct actor *a);
void do_drop(struct actor *a);
void do_mlock(struct actor *a);

void do_fork(struct actor *a);
void do_exit(struct actor *a);
void do_space(struct actor *a);

void do_file_open(struct actor *a);
void do_file_close(struct actor *a);
void do_file_map(struct actor *a);
void do_file_truncate(struct actor *a);
void do_file_fail(struct actor *a);

void do_kswapd(struct actor *a);
void do_ksmd(struct actor *a);
void do_reclaim(struct actor *a);
void do_poll(struct actor *a);
void do_device_fault(struct actor *a);
void do_migrate(struct actor *a);
void do_compact(struct actor *a);
void do_migrate_one(struct actor *a);
void do_swapon(struct actor *a);
void do_swapoff(struct actor *a);

#endif

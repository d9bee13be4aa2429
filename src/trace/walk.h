/* SPDX-License-Identifier: MIT */
/*
 * Walk: follow one page through its life, and compare each step with the specification.
 *
 * A scenario is a list of scenes. A scene drives a small real pager until something has happened to the page: a
 * write, memory pressure, the end of a write to the device, munmap. It names the steps that must be seen meanwhile:
 * which function, and the state of the page just after that function. The states are read from the live structures,
 * at the moment of an event of the core. Only the scene drives the pager: there is no thread, and the swap device
 * ends a write only when it is told to.
 *
 * A page may be seen from several places, the world's eyes: the program, its child, a second address, the page cache.
 * The PTE of a state is that of the eye that the step names. A page is followed from the first time that an eye's PTE
 * leads to it until its frame is free.
 *
 * To add a scenario, write an array in one of the scenarios_*.c, and add its line to scenarios.c.
 */
#ifndef ANONMM_WALK_H
#define ANONMM_WALK_H

#include "anonmm.h"
#include "mm/pager.h"

struct walk_world;

enum walk_eye {
	WALK_PROGRAM, /* the program, and after a fork the parent */
	WALK_CHILD,
	WALK_SECOND, /* another address of the program */
	WALK_CACHE, /* a file's page cache */
	WALK_NR_EYES,
};

/* The state of a page, as LIFECYCLE 4.3 writes it. */
struct walk_state {
	int count;
	int mapcount;
	uint32_t flags; /* PG_*, all of them */
	const char *list;
	enum walk_pte {
		WALK_PTE_NONE,
		WALK_PTE_PRESENT,
		WALK_PTE_READ_ONLY, /* present without the right to write; where writes are not seen: present */
		WALK_PTE_SWAP,
		WALK_PTE_MIGRATION,
	} pte;
	unsigned slot; /* WALK_NAMED_BY(n): n PTEs name the page's slot; 0: not compared */
};

#define WALK_NAMED_BY(n) ((n) + 1u)

/* In place of a function: the page as it is when the scene's drive has returned. */
#define WALK_LOOK "look"

struct walk_expect {
	const char *step; /* the specification's name of the step */
	const char *function; /* the step is the completion of this function; or WALK_LOOK */
	struct walk_state state;
	const char *why; /* what changed and why, for a reader of the article */
	const char *without; /* a function that must not have run since the step before; NULL: any may */
	enum walk_eye eye;
	const char *article; /* the article's words that fix this state; NULL: it does not fix it */
};

struct walk_scene {
	const char *title;
	int (*drive)(struct walk_world *); /* 0 or -errno */
	const struct walk_expect *expects;
	unsigned nr_expects;
	enum walk_where {
		WALK_ANYWHERE,
		/* Only on machines that see writes: they can show a page while it is being written */
		WALK_WRITES_SEEN,
		WALK_WRITES_UNSEEN, /* only on the other machines */
	} where;
	int ends; /* the result that @drive must have */
};

#define WALK_EXPECTS(array) .expects = (array), .nr_expects = ARRAY_SIZE(array)

/* What a scenario's world needs: two memory nodes. */
#define WALK_TWO_NODES 0x1

struct walk_scenario {
	const char *name;
	const char *summary;
	const char *spec; /* the rows and sections of the specification that it shows */
	const struct walk_scene *scenes;
	unsigned nr_scenes;
	unsigned world; /* WALK_TWO_NODES */
	const char *not_unshared; /* why a machine that cannot share frames cannot show it; NULL: it can */
};

extern const struct walk_scenario *const walk_scenarios[];
extern const unsigned nr_walk_scenarios;

/* The scenario @name; NULL: there is none. */
const struct walk_scenario *walk_scenario_find(const char *name);

enum walk_verdict {
	WALK_AGREES,
	WALK_DIFFERS,
	WALK_MISSING, /* the function did not run for this page */
};

struct walk_row {
	unsigned number; /* of the step, from 1 */
	const struct walk_scene *scene;
	bool scene_begins;
	const struct walk_expect *expect;
	const char *eye; /* whose PTE it is: "parent", "child"; NULL: there is one eye only */
	char frame; /* letter of the frame: 'A' is the first of this walk; '0' the zero page, '-' none */
	enum walk_verdict verdict;
	struct page_view view; /* AGREES, DIFFERS: the state that was found */
	char difference[240]; /* DIFFERS: in words; else "" */
};

typedef void (*walk_row_fn)(void *ctx, const struct walk_row *row);

/*
 * Run @scenario on a world of its own, and call @fn for each step. Returns how many steps do not agree, or -errno and
 * @why: the world cannot be set up. -EPERM, -ENOSYS: the host refuses userfaultfd. -EOPNOTSUPP: the machine cannot
 * show @scenario.
 */
int walk_run(const struct walk_scenario *scenario, enum anonmm_machine machine, walk_row_fn fn, void *ctx,
	char *why, size_t why_len);

/* A PTE in words, for example "present, writable, dirty", "swap entry 0:17", "none". */
const char *walk_pte_text(const struct page_view *view, char *buf, size_t len);
const char *walk_expected_pte_text(enum walk_pte pte);

/* ---- For scenes: what can be done to the world. 0 or -errno ---------------------------------- */

/* @eye reads or writes the watched page. -EFAULT: SIGSEGV. -EIO: SIGBUS. -ENOMEM. */
int walk_read_by(struct walk_world *world, enum walk_eye eye);
int walk_write_by(struct walk_world *world, enum walk_eye eye);
/* The program reads or writes the watched page. */
int walk_read(struct walk_world *world);
int walk_write(struct walk_world *world);

/* The program tries to read once. -EAGAIN: the fault has to wait, and is not made again. */
int walk_try_read(struct walk_world *world);

/* Other pages are born until @function has completed for the watched page. -ETIME: it never did. */
int walk_press_until(struct walk_world *world, const char *function);

/* @nr other pages are born. */
int walk_press(struct walk_world *world, unsigned nr);

/* Other pages are born, and the device ends no write, until a scan has met the watched page and put it back. */
int walk_scan_again(struct walk_world *world);

/* The device ends all writes that it holds. */
int walk_finish_writes(struct walk_world *world);

/* @fails: the device's requests of @dir fail from now on. */
int walk_device_fails(struct walk_world *world, enum swap_dir dir, bool fails);

/* The program unmaps the watched page, locks or unlocks it, or gives advice about it. */
int walk_unmap(struct walk_world *world);
int walk_unmap_by(struct walk_world *world, enum walk_eye eye);
int walk_mlock(struct walk_world *world, bool lock);
int walk_advise(struct walk_world *world, int advice);

/* The program forks: WALK_CHILD is open from now on. The child exits. */
int walk_fork(struct walk_world *world);
int walk_child_exits(struct walk_world *world);

/* The program exits: its whole space goes. */
int walk_exit(struct walk_world *world);

/*
 * make_twin: a second page with the content of the first, at another address (WALK_SECOND). Both are mergeable.
 * merge: ksmd scans until it has merged them. unmerge: the program asks for a page of its own for each again.
 */
int walk_make_twin(struct walk_world *world);
int walk_merge(struct walk_world *world);
int walk_unmerge(struct walk_world *world);

/*
 * begin: the watched page is on its way to a frame of the other node, and its PTEs are migration entries. end: the
 * page has moved.
 */
int walk_migrate_begin(struct walk_world *world);
int walk_migrate_end(struct walk_world *world);

/* The program unmaps the other pages, which makes room. */
int walk_drop_others(struct walk_world *world);

/* swapoff: everything on the swap device comes back to memory. */
int walk_swapoff(struct walk_world *world);

/*
 * From now on the watched page is one of a file in a private mapping, or of shared anonymous memory. @shared: the
 * mapping of that memory is shared. truncate: the file becomes shorter, and the watched page is behind its end.
 */
int walk_map_file(struct walk_world *world);
int walk_map_shmem(struct walk_world *world, bool shared);
int walk_truncate(struct walk_world *world);

#endif

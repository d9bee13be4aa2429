/* SPDX-License-Identifier: MIT */
/*
 * Walk: follow one page through its life and compare each step with what the spec says.
 *
 * A scenario is a list of scenes. A scene drives a small real pager until something has happened to
 * the page (a write, memory pressure, the end of a write to the device, munmap), and names the steps
 * that must be seen meanwhile: which function, and the page's state just after it. The states come from the
 * core's own event stream, read from the live structures at that moment. Nothing runs but what a scene
 * drives: there is no thread, and the swap device ends a write only when it is told to.
 *
 * A page may be looked at from several places, the world's eyes: the program, its child, a second address,
 * the page cache. A state's PTE is that of the eye that the step names; a page is followed while any eye's
 * PTE leads to it, and from then on until its frame is free.
 *
 * To add a history: one more array in one of the scenarios_*.c, and its line in scenarios.c.
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

/* What LIFECYCLE 4.3 writes down of a page. */
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
	unsigned slot; /* WALK_NAMED_BY(n): n PTEs name its slot; 0: not compared */
};

#define WALK_NAMED_BY(n) ((n) + 1u)

/* Not a step of the core: the page as it is when the scene's drive is over. */
#define WALK_LOOK "look"

struct walk_expect {
	const char *step; /* as the spec calls it */
	const char *function; /* whose completion is the step, or WALK_LOOK */
	struct walk_state state;
	const char *why; /* what changed and why, for a reader of the article */
	const char *without; /* a function that must not have run since the step before; NULL: any may */
	enum walk_eye eye;
	const char *article; /* its words, where it fixes this state; NULL: it is silent */
};

struct walk_scene {
	const char *title;
	int (*drive)(struct walk_world *); /* 0 or -errno */
	const struct walk_expect *expects;
	unsigned nr_expects;
	enum walk_where {
		WALK_ANYWHERE,
		/* Only on machines with a write bit, which can show a page that is being written ... */
		WALK_WRITES_SEEN,
		WALK_WRITES_UNSEEN, /* ... and what happens instead on the others */
	} where;
	int ends; /* what @drive has to return */
};

#define WALK_EXPECTS(array) .expects = (array), .nr_expects = ARRAY_SIZE(array)

/* What a scenario's world has besides the one program. */
#define WALK_TWO_NODES 0x1

struct walk_scenario {
	const char *name;
	const char *summary;
	const char *spec; /* the rows and sections that it shows */
	const struct walk_scene *scenes;
	unsigned nr_scenes;
	unsigned world; /* WALK_TWO_NODES */
	const char *
		not_unshared; /* why a machine whose frames have one address only cannot show it; NULL: it can */
};

extern const struct walk_scenario *const walk_scenarios[];
extern const unsigned nr_walk_scenarios;

/* NULL: there is none of that name. */
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
	const char *eye; /* who looks: "parent", "child"; NULL when there is one only */
	char frame; /* which frame of this walk: 'A' is the first; '0' the zero page, '-' none */
	enum walk_verdict verdict;
	struct page_view view; /* AGREES, DIFFERS: what was found */
	char difference[240]; /* DIFFERS: in words; else "" */
};

typedef void (*walk_row_fn)(void *ctx, const struct walk_row *row);

/*
 * Run @scenario on a world of its own. Returns how many steps do not agree, or -errno with words in @why
 * when the world cannot be set up (-EPERM, -ENOSYS: the host refuses userfaultfd; -EOPNOTSUPP: this machine
 * cannot show it).
 */
int walk_run(const struct walk_scenario *scenario, enum anonmm_machine machine, walk_row_fn fn, void *ctx,
	char *why, size_t why_len);

/* "present, writable, dirty", "swap entry 0:17", "none" */
const char *walk_pte_text(const struct page_view *view, char *buf, size_t len);
const char *walk_expected_pte_text(enum walk_pte pte);

/* ---- For scenes: what can be done to the world ---------------------------------------------- */

/* Who @eye is reads or writes the watched page. 0, -EFAULT, -EIO: SIGBUS, -ENOMEM. */
int walk_read_by(struct walk_world *world, enum walk_eye eye);
int walk_write_by(struct walk_world *world, enum walk_eye eye);
/* The same by the program. */
int walk_read(struct walk_world *world);
int walk_write(struct walk_world *world);

/* One attempt of a read, which is left to wait: -EAGAIN, as walk_read() otherwise. */
int walk_try_read(struct walk_world *world);

/* Other pages are born until @function has completed for the watched page. -ETIME: it never did. */
int walk_press_until(struct walk_world *world, const char *function);

/* @nr other pages are born. */
int walk_press(struct walk_world *world, unsigned nr);

/*
 * More pages are born while the device ends no write, until a scan has come to the watched page and put it
 * back.
 */
int walk_scan_again(struct walk_world *world);

/* The device ends all writes that it holds. */
int walk_finish_writes(struct walk_world *world);

/* From now on the device's writes or reads fail. */
int walk_device_fails(struct walk_world *world, enum swap_dir dir, bool fails);

/* The program unmaps the watched page, locks or unlocks it, or gives advice about it. */
int walk_unmap(struct walk_world *world);
int walk_unmap_by(struct walk_world *world, enum walk_eye eye);
int walk_mlock(struct walk_world *world, bool lock);
int walk_advise(struct walk_world *world, int advice);

/* The program forks: WALK_CHILD from now on. The child exits. */
int walk_fork(struct walk_world *world);
int walk_child_exits(struct walk_world *world);

/* The program exits: everything of it goes. */
int walk_exit(struct walk_world *world);

/*
 * A second page, of the same content as the first and at another address: WALK_SECOND. Both are mergeable.
 * Then: ksmd scans until it has merged them; the program asks for pages of its own again.
 */
int walk_make_twin(struct walk_world *world);
int walk_merge(struct walk_world *world);
int walk_unmerge(struct walk_world *world);

/*
 * The watched page is on its way to a frame of the other node, its PTEs are migration entries; then it has
 * moved.
 */
int walk_migrate_begin(struct walk_world *world);
int walk_migrate_end(struct walk_world *world);

/* The other pages go, and make room. */
int walk_drop_others(struct walk_world *world);

/* The swap device is taken out of use: what is on it comes back. */
int walk_swapoff(struct walk_world *world);

/*
 * The watched page is from now on one of a file's, in a private mapping; with @shared of shared anonymous
 * memory.
 */
int walk_map_file(struct walk_world *world);
int walk_map_shmem(struct walk_world *world, bool shared);
int walk_truncate(struct walk_world *world);

#endif

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
 * To add a history: one more array in scenarios.c.
 */
#ifndef ANONMM_WALK_H
#define ANONMM_WALK_H

#include "anonmm.h"
#include "mm/pager.h"

struct walk_world;

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
	} pte;
};

struct walk_expect {
	const char *step; /* as the spec calls it */
	const char *function; /* whose completion is the step */
	struct walk_state state;
	const char *why; /* what changed and why, for a reader of the article */
	const char *without; /* a function that must not have run since the step before; NULL: any may */
};

struct walk_scene {
	const char *title;
	int (*drive)(struct walk_world *); /* 0 or -errno */
	const struct walk_expect *expects;
	unsigned nr_expects;
	enum walk_where {
		WALK_ANYWHERE,
		WALK_WRITES_SEEN, /* only on machines with a write bit, which can show a page that is being written */
		WALK_WRITES_UNSEEN, /* what happens instead on the others */
	} where;
};

struct walk_scenario {
	const char *name;
	const char *summary;
	const struct walk_scene *scenes;
	unsigned nr_scenes;
};

extern const struct walk_scenario walk_scenarios[];
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
	enum walk_verdict verdict;
	struct page_view view; /* AGREES, DIFFERS: what was found */
	char difference[160]; /* DIFFERS: in words; else "" */
};

typedef void (*walk_row_fn)(void *ctx, const struct walk_row *row);

/*
 * Run @scenario on a world of its own. Returns how many steps do not agree, or -errno with words in @why
 * when the world cannot be set up (-EPERM, -ENOSYS: the host refuses userfaultfd).
 */
int walk_run(const struct walk_scenario *scenario, enum anonmm_machine machine, walk_row_fn fn, void *ctx,
	char *why, size_t why_len);

/* "present, writable, dirty", "swap entry 0:17", "none" */
const char *walk_pte_text(const struct page_view *view, char *buf, size_t len);
const char *walk_expected_pte_text(enum walk_pte pte);

/* ---- For scenes: what can be done to the world ---------------------------------------------- */

/* The program reads or writes the watched page. */
int walk_read(struct walk_world *world);
int walk_write(struct walk_world *world);

/* Other pages are born until @function has completed for the watched page. -ETIME: it never did. */
int walk_press_until(struct walk_world *world, const char *function);

/* The device ends all writes that it holds. */
int walk_finish_writes(struct walk_world *world);

/* The program unmaps the watched page, or gives advice about it. */
int walk_unmap(struct walk_world *world);
int walk_advise(struct walk_world *world, int advice);

#endif

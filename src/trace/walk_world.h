/* SPDX-License-Identifier: MIT */
/*
 * The world that a walk happens in: a small pager, one space or two, one watched page and the many others
 * that press it out. See walk.h; this is what walk.c, walk_act.c and walk_world.c share.
 */
#ifndef ANONMM_WALK_WORLD_H
#define ANONMM_WALK_WORLD_H

#include "machine/soft/soft.h"
#include "trace/walk.h"

#define WALK_FRAMES 256
#define WALK_MAX_EVENTS 2048

/* A place from which the watched page is seen. */
struct walk_place {
	const char *name; /* NULL: this eye is shut */
	struct space *space;
	struct soft_space *mmu; /* soft only */
	uint64_t addr;
	struct file *file; /* the page cache's eye has no space */
};

/* One event of a watched page, and what every eye saw just then. */
struct walk_event {
	const char *function;
	enum walk_eye eye; /* of a note: who looks */
	pfn_t pfn;
	struct page_view view[WALK_NR_EYES];
};

struct walk_world {
	enum anonmm_machine kind;
	unsigned nr_nodes;
	unsigned policy; /* the pager's */
	struct machine *machine;
	struct machine_ops ops; /* the machine's, and silent: what fails here is meant to */
	struct pager *pager;
	struct swapdev *dev; /* the pager's; kept to hold and release writes */
	struct walk_place eyes[WALK_NR_EYES];
	struct file *file; /* open */
	struct migration migration; /* while migrating */
	bool migrating;
	uint64_t others; /* where the others begin */
	uint64_t next_other, nr_others; /* pages */
	bool watched[WALK_FRAMES];
	char letter[WALK_FRAMES]; /* of watched frames; 0: none yet */
	char next_letter;
	unsigned nr_events;
	unsigned next_event; /* the first that no step has claimed */
	struct walk_event events[WALK_MAX_EVENTS];
};

/*
 * 0, or -errno with words in @why; nothing is left behind then. @needs: WALK_TWO_NODES. @policy: PAGER_*.
 */
int walk_world_open(struct walk_world *world, enum anonmm_machine kind, unsigned needs, unsigned policy,
	char *why, size_t why_len);
void walk_world_close(struct walk_world *world);

/* The first unclaimed event of @function, or NULL. */
const struct walk_event *walk_world_find(const struct walk_world *world, const char *function);

/* Put what every eye sees now among the events, as one of @function; @eye: whose page it is. */
void walk_world_note(struct walk_world *world, const char *function, enum walk_eye eye);

/* What @eye sees now. */
void walk_world_look(struct walk_world *world, enum walk_eye eye, struct page_view *view);

/* Forget what was recorded. */
void walk_world_forget(struct walk_world *world);

/* 'A', 'B' ... in the order in which frames were first watched. */
char walk_world_letter(struct walk_world *world, const struct page_view *view);

/* While a call says -EAGAIN: have the devices end what they may end. */
void walk_world_wait(struct walk_world *world, const struct wait *wait);

/* space_lock() with its waiting. */
int walk_world_lock(struct walk_world *world, struct space *space);

/* Make the call again until it has an answer; @wait_ is a struct wait. */
#define WALK_RETRY(world_, wait_, call)                                                                      \
	({                                                                                                   \
		int walk_result_;                                                                            \
		while ((walk_result_ = (call)) == -EAGAIN)                                                   \
			walk_world_wait(world_, &(wait_));                                                   \
		walk_result_;                                                                                \
	})

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The world of a walk: a small pager, one space or two, one watched page, and many other pages that press it out. See
 * walk.h. This is what walk.c, walk_act.c and walk_world.c share.
 */
#ifndef ANONMM_WALK_WORLD_H
#define ANONMM_WALK_WORLD_H

#include "machine/soft/soft.h"
#include "trace/walk.h"

#define WALK_FRAMES 256
#define WALK_MAX_EVENTS 2048

/* A place from which the watched page is seen. */
struct walk_place {
	const char *name; /* NULL: this eye is not used */
	struct space *space;
	struct soft_space *mmu; /* soft only */
	uint64_t addr;
	struct file *file; /* of the page cache's eye, which has no space */
};

/* One event of a watched page, and what every eye saw at that moment. */
struct walk_event {
	const char *function;
	enum walk_eye eye; /* of walk_world_note(): whose page it is */
	pfn_t pfn;
	struct page_view view[WALK_NR_EYES];
};

struct walk_world {
	enum anonmm_machine kind;
	unsigned nr_nodes;
	unsigned policy; /* the pager's */
	struct machine *machine;
	struct machine_ops ops; /* the machine's, without messages: scenarios make things fail on purpose */
	struct pager *pager;
	struct swapdev *dev; /* owned by the pager; used here to hold and release writes */
	struct walk_place eyes[WALK_NR_EYES];
	struct file *file; /* NULL: no file is open */
	struct migration migration; /* valid while migrating */
	bool migrating;
	uint64_t others; /* address of the first of the other pages */
	uint64_t next_other, nr_others; /* counts of other pages: touched so far; that are mapped */
	bool watched[WALK_FRAMES];
	char letter[WALK_FRAMES]; /* of watched frames; 0: none yet */
	char next_letter;
	unsigned nr_events;
	unsigned next_event; /* the first event that no step has claimed */
	struct walk_event events[WALK_MAX_EVENTS];
};

/* 0, or -errno and @why; then nothing stays open. @needs: WALK_TWO_NODES or 0. @policy: PAGER_* bits. */
int walk_world_open(struct walk_world *world, enum anonmm_machine kind, unsigned needs, unsigned policy,
	char *why, size_t why_len);
void walk_world_close(struct walk_world *world);

/* The first unclaimed event of @function, or NULL. */
const struct walk_event *walk_world_find(const struct walk_world *world, const char *function);

/* Record what every eye sees now as an event of @function. @eye: whose page it is. */
void walk_world_note(struct walk_world *world, const char *function, enum walk_eye eye);

/* Write to @view what @eye sees now. */
void walk_world_look(struct walk_world *world, enum walk_eye eye, struct page_view *view);

/* Forget all recorded events. */
void walk_world_forget(struct walk_world *world);

/* The letter of the frame in @view: 'A', 'B' and so on, in the order in which frames were first watched. */
char walk_world_letter(struct walk_world *world, const struct page_view *view);

/* After a call returned -EAGAIN: poll the devices, so that requests end. */
void walk_world_wait(struct walk_world *world, const struct wait *wait);

/* space_lock(), until it has the lock. */
int walk_world_lock(struct walk_world *world, struct space *space);

/* Make @call until it does not return -EAGAIN. @wait_ is the struct wait that it fills. */
#define WALK_RETRY(world_, wait_, call)                                                                      \
	({                                                                                                   \
		int walk_result_;                                                                            \
		while ((walk_result_ = (call)) == -EAGAIN)                                                   \
			walk_world_wait(world_, &(wait_));                                                   \
		walk_result_;                                                                                \
	})

#endif

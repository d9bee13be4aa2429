/* SPDX-License-Identifier: MIT */
/*
 * The world that a walk happens in: a small pager, one space, one watched page and the many others that
 * press it out. See walk.h; this is what walk.c and walk_world.c share.
 */
#ifndef ANONMM_WALK_WORLD_H
#define ANONMM_WALK_WORLD_H

#include "machine/soft.h"
#include "trace/walk.h"

#define WALK_MAX_EVENTS 512

/* One event of the watched page, and what the page was just then. */
struct walk_event {
	const char *function;
	struct page_view view;
};

struct walk_world {
	enum anonmm_machine kind;
	struct machine *machine;
	struct pager *pager;
	struct swapdev *dev; /* the pager's; kept to hold and release writes */
	struct space *space;
	struct soft_space *mmu; /* soft only */
	uint64_t watched; /* its address */
	uint64_t others; /* where the others begin */
	uint64_t next_other, nr_others; /* pages */
	pfn_t watched_pfn; /* the frame that holds it now, or PFN_NONE */
	unsigned nr_events;
	unsigned next_event; /* the first that no step has claimed */
	struct walk_event events[WALK_MAX_EVENTS];
};

/* 0, or -errno with words in @why; nothing is left behind then. */
int walk_world_open(struct walk_world *world, enum anonmm_machine kind, char *why, size_t why_len);
void walk_world_close(struct walk_world *world);

/* The first unclaimed event of @function, or NULL. */
const struct walk_event *walk_world_find(const struct walk_world *world, const char *function);

#endif

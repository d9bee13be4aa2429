/* SPDX-License-Identifier: MIT */
/*
 * The governor: a limit that follows the host (--memory auto, ANONMM_MEMORY_AUTO).
 *
 * Once a second, or when the control group or pressure says that something has changed, it looks at how much there is:
 *
 *      room  = managed memory in use + what the tightest limit up the tree (or the host) still has
 *      limit = (room - a margin) * share
 *
 * What the process needs besides, and what others take, is in use and not ours: it makes the room smaller by itself.
 * share goes down by 5 % at each sign of pressure, and up again by as much after each CALM_S seconds without.
 */
#ifndef ANONMM_GOVERNOR_H
#define ANONMM_GOVERNOR_H

#include "base/base.h"

struct pager;
struct governor;

#define GOVERNOR_SHARE_STEP 5
#define GOVERNOR_SHARE_LEAST 25
#define GOVERNOR_CALM_S 5

/* What is remembered from one look to the next. */
struct governor_state {
	unsigned share; /* percent */
	uint64_t calm_since_ns;
};

/* What a look finds. */
struct governor_look {
	uint64_t now_ns;
	int64_t slack; /* hostmem.h */
	uint64_t managed; /* bytes in use by the pager */
	bool pressed;
};

/* The limit that should hold now, at most @most bytes. Never less than ANONMM_MEMORY_MIN. */
uint64_t governor_decide(struct governor_state *state, const struct governor_look *look, uint64_t most);

/* Before there is a pager. @root: as in hostmem.h */
uint64_t governor_first(const char *root, uint64_t most);

/* As much as there could ever be: the host's memory. */
uint64_t governor_most(void);

/* Where the limit is not that of one pager. */
struct governor_ops {
	uint64_t (*managed)(void); /* bytes in use */
	int (*set)(uint64_t bytes); /* 0 or -errno */
};

struct governor_config {
	struct pager *pager;
	const struct governor_ops *ops; /* NULL: the pager's */
	const char *root; /* must outlive it */
	uint64_t most; /* bytes */
	bool hidden; /* in a program that knows nothing of us: it has no descriptor there, and cannot be stopped */
};

/* A thread of its own: signals blocked, descriptors private. 0 or -errno. */
int governor_start(const struct governor_config *config, struct governor **out);
/* => not hidden */
void governor_stop(struct governor *governor);
/* In a fork's child: the same governor, another thread. */
int governor_fork_child(struct governor *governor);

/* From now on at most @bytes: somebody has set a limit by hand. */
void governor_set_most(struct governor *governor, uint64_t bytes);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The governor: a limit that follows the host (--memory auto, ANONMM_MEMORY_AUTO).
 *
 * The governor is a thread. Once a second, and when the control group or the host reports a change, it computes:
 *
 *      room  = managed memory in use + what the tightest limit up the tree (or the host) has left
 *      limit = (room - a margin) * share
 *
 * Unmanaged memory of the process and memory of others is not in the room. share goes down by 5 % at each sign of
 * pressure, and up by 5 % after each GOVERNOR_CALM_S seconds without pressure.
 */
#ifndef ANONMM_GOVERNOR_H
#define ANONMM_GOVERNOR_H

#include "base/base.h"

struct pager;
struct governor;

#define GOVERNOR_SHARE_STEP 5 /* percent */
#define GOVERNOR_SHARE_LEAST 25 /* percent */
#define GOVERNOR_CALM_S 5

/* The state between two looks. */
struct governor_state {
	unsigned share; /* percent */
	uint64_t calm_since_ns; /* time of the last pressure, or of the last step up */
};

/* What one look finds. */
struct governor_look {
	uint64_t now_ns;
	int64_t slack; /* bytes, as in struct hostmem (host/memory.h) */
	uint64_t managed; /* bytes of managed memory in use */
	bool pressed; /* there was pressure since the last look */
};

/* The limit in bytes that should hold now, ANONMM_MEMORY_MIN to @most. Updates @state. */
uint64_t governor_decide(struct governor_state *state, const struct governor_look *look, uint64_t most);

/* The first limit, before a pager exists. @root: as in host/memory.h */
uint64_t governor_first(const char *root, uint64_t most);

/* The host's memory in bytes: the limit can never be more. */
uint64_t governor_most(void);

/*
 * Is it worth the work to set another limit, @wanted bytes instead of @now? A lower limit always is, and one that is
 * higher by more than 2 %.
 */
bool governor_worth_it(uint64_t now, uint64_t wanted);

/* For a limit that is not that of one pager: the run's. At each look the governor calls both, in this order. */
struct governor_ops {
	uint64_t (*managed)(void); /* bytes in use */
	void (*follow)(uint64_t
			wanted); /* set the limit to @wanted bytes, if this process shall do so and it is worth it */
};

struct governor_config {
	struct pager *pager;
	const struct governor_ops *ops; /* NULL: the limit of @pager */
	const char *root; /* as in host/memory.h. It must outlive the governor */
	uint64_t most; /* bytes */
	bool hidden; /* under `anonmm run`: the governor opens no descriptor in the program's table */
};

/* Start the governor's thread, with signals blocked and a descriptor table of its own. 0 or -errno. */
int governor_start(const struct governor_config *config, struct governor **out);
/* End the thread and free the governor. A hidden one ends at its next look: the call takes up to a second. */
void governor_stop(struct governor *governor);
/* In a fork's child: start another thread for the same governor. 0 or -errno. */
int governor_fork_child(struct governor *governor);

/* The limit is at most @bytes from now on: a user has set it. It changes at the next look. */
void governor_set_most(struct governor *governor, uint64_t bytes);

#endif

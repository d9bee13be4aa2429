/* SPDX-License-Identifier: MIT */
/* What the files of scenarios share. Each file defines some scenarios; scenarios.c lists all of them. */
#ifndef ANONMM_SCENARIOS_H
#define ANONMM_SCENARIOS_H

#include "mm/page/page.h"
#include "trace/walk.h"

/*
 * Sets of flags. USED: a page in use. CACHED: in the swap cache. LEAVING: in the swap cache, and not written yet.
 * WRITTEN: being written. GONE: without references.
 */
#define USED (PG_lru | PG_swapbacked | PG_uptodate)
#define CACHED (USED | PG_swapcache)
#define LEAVING (CACHED | PG_dirty)
#define WRITTEN (LEAVING | PG_reclaim | PG_writeback)
#define GONE (PG_swapbacked | PG_uptodate)

/*
 * STEP(step, function, STATE(_count, _mapcount, flags, list, PTE [, .slot = N]), why [, .eye = EYE] [, .without =
 * NAME])
 */
#define STEP(step_, function_, state_, ...)                                                                  \
	{                                                                                                    \
		.step = (step_), .function = (function_), .state = state_, .why = __VA_ARGS__                \
	}
#define STATE(count_, mapcount_, flags_, list_, ...)                                                         \
	{                                                                                                    \
		.count = (count_), .mapcount = (mapcount_), .flags = (flags_), .list = (list_),              \
		.pte = __VA_ARGS__                                                                           \
	}

#define SCENES(array) .scenes = (array), .nr_scenes = ARRAY_SIZE(array)

/* scenarios_birth.c */
extern const struct walk_scenario walk_birth, walk_zero, walk_zero_write;
/* scenarios_life.c */
extern const struct walk_scenario walk_life, walk_clean, walk_second_chance, walk_exit_scenario,
	walk_exit_swapped;
/* scenarios_swap.c */
extern const struct walk_scenario walk_swapin_cache, walk_swapin_device, walk_second_scan, walk_write_error,
	walk_read_error;
/* scenarios_share.c */
extern const struct walk_scenario walk_fork_scenario, walk_shared_out, walk_fork_out;
/* scenarios_file.c */
extern const struct walk_scenario walk_file, walk_cow, walk_cow_shmem, walk_shmem, walk_truncate_scenario;
/* scenarios_ksm.c */
extern const struct walk_scenario walk_ksm, walk_ksm_out, walk_unmerge_scenario;
/* scenarios_move.c */
extern const struct walk_scenario walk_migrate, walk_migrate_wait, walk_swapoff_scenario;
/* scenarios_advice.c */
extern const struct walk_scenario walk_mlock_scenario, walk_free_scenario;

/* ---- Drivers that several files use. 0 or -errno ---- */

/* Pressure, until the page is being written to the device; until its frame is free. */
int walk_press_to_pageout(struct walk_world *world);
int walk_press_to_removal(struct walk_world *world);
/* The program writes; then as walk_press_to_pageout(). */
int walk_write_and_page_out(struct walk_world *world);
/* The program writes; then pressure until the page is on the device only. */
int walk_write_and_swap_out(struct walk_world *world);

#endif

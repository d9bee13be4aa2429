/* SPDX-License-Identifier: MIT */
/* All scenarios that `anonmm walk` knows, in the order of the specification. */
#include "trace/scenarios.h"

const struct walk_scenario *const walk_scenarios[] = {
	&walk_life,
	&walk_birth,
	&walk_zero,
	&walk_zero_write,
	&walk_fork_scenario,
	&walk_file,
	&walk_ksm,
	&walk_cow,
	&walk_cow_shmem,
	&walk_swapin_cache,
	&walk_swapin_device,
	&walk_migrate,
	&walk_migrate_wait,
	&walk_second_scan,
	&walk_second_chance,
	&walk_clean,
	&walk_shared_out,
	&walk_fork_out,
	&walk_ksm_out,
	&walk_unmerge_scenario,
	&walk_shmem,
	&walk_swapoff_scenario,
	&walk_write_error,
	&walk_read_error,
	&walk_mlock_scenario,
	&walk_free_scenario,
	&walk_truncate_scenario,
	&walk_exit_scenario,
	&walk_exit_swapped,
};
const unsigned nr_walk_scenarios = ARRAY_SIZE(walk_scenarios);

int walk_press_to_pageout(struct walk_world *world)
{
	return walk_press_until(world, "pageout");
}

int walk_press_to_removal(struct walk_world *world)
{
	return walk_press_until(world, "free_page");
}

int walk_write_and_page_out(struct walk_world *world)
{
	int error = walk_write(world);

	return error ? error : walk_press_to_pageout(world);
}

int walk_write_and_swap_out(struct walk_world *world)
{
	int error = walk_write_and_page_out(world);

	if (!error)
		error = walk_finish_writes(world);
	return error ? error : walk_press_to_removal(world);
}

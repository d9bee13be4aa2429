/* SPDX-License-Identifier: MIT */
/* One run: a world is opened, its threads do their operations, everything is looked at and closed again. */
#include "sim.h"

#include <string.h>

struct sim sim;

void sim_validate(const char *when)
{
	char buf[400];

	if (!machine_lock_is_free())
		return;
	size_t chunks = machine_chunks_mark();
	const char *wrong = pager_validate(sim.pager, buf, sizeof(buf));

	machine_chunks_reset(chunks);

	if (wrong)
		sim_fail("the world is not valid %s: %s", when, wrong);
}

/* ---- Opening ----------------------------------------------------------------------------------------- */

static void map_part(unsigned first, unsigned nr, struct cell *cells)
{
	uint64_t addr = SIM_BASE + first * PAGE_BYTES;
	struct wait wait = {0};
	int result = space_mmap(
		sim.spaces[0].space, &addr, nr * PAGE_BYTES, PROT_READ | PROT_WRITE, SPACE_FIXED, &wait);

	if (result)
		sim_fail("the first mmap: %d", result);
	for (unsigned i = 0; i < nr; i++)
		cells[i] = (struct cell){.mapped = true, .prot = PROT_READ | PROT_WRITE};
}

static void open_space(const struct config *c)
{
	uint64_t shared = SIM_BASE + MAX_THREADS * (AREA_PAGES + 1) * PAGE_BYTES;
	struct wait wait = {0};

	machine_space_open(&sim.spaces[0], 0);
	sim.spaces[0].used = true;
	if (space_create(sim.pager, SIM_BASE, SPACE_PAGES * PAGE_BYTES, &sim.spaces[0], &sim.spaces[0].space))
		sim_fail("space_create");
	if (file_create(sim.pager, &sim_file_ops, NULL, FILE_PAGES * PAGE_BYTES, &sim.file))
		sim_fail("file_create");
	if (c->shmem && file_create(sim.pager, NULL, NULL, SHARED_PAGES * PAGE_BYTES, &sim.shmem))
		sim_fail("file_create of shared memory");
	if (map_shared(&shared, SHARED_PAGES * PAGE_BYTES, &wait))
		sim_fail("the first mmap of shared pages");
	for (unsigned i = 0; i < SHARED_PAGES; i++)
		sim.shared[i] =
			(struct cell){.mapped = true, .prot = PROT_READ | PROT_WRITE, .kept = c->shmem};
	for (unsigned i = 0; i < c->nr_threads; i++) {
		sim.threads[i].number = i;
		sim.threads[i].spaces[0] = &sim.spaces[0];
		map_part(i * (AREA_PAGES + 1), AREA_PAGES, sim.threads[i].cells[0]);
	}
}

static void open_world(const struct config *c)
{
	struct pager_config pager = {.nr_frames = c->nr_frames,
		.nr_limit = c->nr_limit,
		.nr_nodes = c->nr_nodes,
		.swappiness = c->swappiness,
		.seed = c->seed + 1,
		.policy = c->policy};

	sim.machine = pager.machine = machine_open(c);
	if (pager_open(&pager, &sim.pager))
		sim_fail("pager_open");
	devices_init(c);
	for (unsigned i = 0; i < c->nr_devices; i++) {
		if (pager_add_swap(sim.pager, device_open(i, &c->devices[i]), c->devices[i].priority))
			sim_fail("pager_add_swap");
		sim.has_device[i] = true;
	}
	open_space(c);
}

/* ---- The threads ----------------------------------------------------------------------------------------- */

static bool all_ended(void *unused)
{
	(void)unused;
	for (unsigned i = 1; i < sim.config->nr_threads; i++)
		if (!sim.thread_ended[i])
			return false;
	return true;
}

static void check_shared(void)
{
	for (unsigned i = 0; i < SHARED_PAGES; i++) {
		const struct op op = {.kind = OP_READ_SHARED, .b = i};

		op_run(&sim.threads[0], &op);
	}
}

static void await_io(enum swap_dir dir)
{
	while (pager_in_flight(sim.pager, dir))
		if (pager_poll(sim.pager, dir, 10) <= 0)
			sched_point("the end");
}

static void close_file(struct file *file)
{
	struct wait wait = {0};
	int result = SIM_RETRY(&wait, file_close(file, &wait));

	if (result)
		sim_fail("file_close: %d", result);
}

/* Nobody does anything any more: a lowered limit must have been reached, or nothing can be done for it. */
static void check_limit(void)
{
	struct pager_limit limit;

	sched_doing("the limit at rest");
	kswapd_await_rest();
	pager_limit(sim.pager, &limit);
	if (limit.frames_missing && !limit.stalled)
		sim_fail("all rest, but %u frames are missing for the limit of %u", limit.frames_missing,
			limit.frames);
}

/* The first thread, when all others have ended. */
static void end_world(void)
{
	while (!all_ended(NULL))
		sched_block("the others' end", all_ended, NULL, 0);
	if (!sim.config->looks_not[0])
		check_shared();
	check_limit();
	sched_doing("the end of the world");
	if (sim.lease)
		pager_lease_end(sim.pager, sim.lease);
	for (unsigned i = 0; i < MAX_SPACES; i++)
		while (sim.spaces[i].space)
			space_close(&sim.spaces[i]);
	close_file(sim.file);
	if (sim.shmem)
		close_file(sim.shmem);
	await_io(SWAP_READ);
	await_io(SWAP_WRITE);
	kswapd_stop();
}

static void thread_main(void *arg)
{
	struct sim_thread *t = arg;

	for (unsigned i = 0; i < sim.config->nr_ops[t->number]; i++)
		if (!sim.config->ops[t->number][i].dropped)
			op_run(t, &sim.config->ops[t->number][i]);
	if (!sim.config->looks_not[t->number])
		op_check_all(t);
	if (sim.config->seed % 2 || t->number % 2) /* others are left behind by their parent's end */
		op_close_children(t);
	sim.thread_ended[t->number] = true;
	sched_doing("its end");
	if (t->number == 0)
		end_world();
	sched_end();
}

/* ---- Closing -------------------------------------------------------------------------------------------------- */

static bool has_errors(const struct config *c)
{
	for (unsigned i = 0; i < c->nr_devices; i++)
		if (c->devices[i].error_in)
			return true;
	return false;
}

static void close_world(const struct config *c)
{
	struct anonmm_stats stats;
	int result;

	sim_validate("at the end");
	pager_stats(sim.pager, &stats);
	if (stats.frames_used != (c->shares ? 1 : 0))
		sim_fail("%llu frames are still in use", (unsigned long long)stats.frames_used);
	if (stats.slots_used && !has_errors(c))
		sim_fail("%llu slots are still in use", (unsigned long long)stats.slots_used);
	if (!devices_idle())
		sim_fail("a device is still at work");
	result = pager_close(sim.pager);
	if (result)
		sim_fail("pager_close: %d", result);
	machine_close();
	sim.outcome->faults += stats.faults;
	sim.outcome->armed += stats.armed_faults;
	sim.outcome->swapped_in += stats.swapped_in;
	sim.outcome->swapped_out += stats.swapped_out;
	sim.outcome->migrated += stats.migrated;
	sim.outcome->merged += stats.merged;
}

void sim_run(const struct config *c, struct outcome *outcome, const struct script *script, bool verbose)
{
	memset(&sim, 0, sizeof(sim));
	sim.config = c;
	sim.outcome = outcome;
	sim.chance = seed_stream(c->seed, 2);
	sim.next_value = 100;
	sched_open(c, outcome, script, verbose);
	open_world(c);
	for (unsigned i = 0; i < c->nr_threads; i++)
		sched_start(i, thread_main, &sim.threads[i]);
	sched_start(KSWAPD_THREAD, kswapd_main, NULL);
	sched_run();
	close_world(c);
}

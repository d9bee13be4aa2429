/* SPDX-License-Identifier: MIT */
/*
 * The operations of the threads on the whole world: reclaim, limits, devices that come and go, rest, pages that move.
 */
#include "sim.h"

#include <stdio.h>
#include <string.h>

#define SWAPOFF_TRIES 300 /* then who waits gives up */
#define MIGRATE_TRIES 20

static void simple(const struct op *op, unsigned more)
{
	sched_doing("%u: %s (%u)", op->number, op_names[op->kind], more);
}

static void op_reclaim(const struct op *op)
{
	unsigned pages = 1 + op->b % 40;

	simple(op, pages);
	op_result(op, (int)pager_reclaim(sim.pager, pages), true);
}

static void op_kswapd(const struct op *op)
{
	simple(op, 0);
	if (!kswapd_try_lock())
		return;
	op_result(op, (int)kswapd_step(sim.pager, 1 + op->b % 64), true);
	kswapd_unlock();
}

static void op_ksmd(const struct op *op)
{
	int result;

	simple(op, 0);
	if (sim.ksmd_busy)
		return;
	sim.ksmd_busy = true;
	result = ksmd_step(sim.pager, 1 + op->b % 400);
	sim.ksmd_busy = false;
	op_result(op, result,
		result >= 0 || (result == -ENOMEM && (sim.config->no_chunk_in || !sim.config->roomy)));
}

static void op_poll(const struct op *op)
{
	simple(op, 0);
	pager_poll(sim.pager, op->b % 2 ? SWAP_READ : SWAP_WRITE, op->c % 3 ? 0 : 1);
	op_result(op, 0, true);
}

static void nothing(void *ctx, const char *text)
{
	(void)ctx, (void)text;
}

/* What looks at a world that others change must not be led astray. */
static void op_look(struct sim_thread *t, const struct op *op)
{
	unsigned which = t->spaces[op->a % 3] ? op->a % 3 : 0;
	struct space *space = t->spaces[which]->space;
	uint64_t addr = SIM_BASE + op->b % SPACE_PAGES * PAGE_BYTES,
		 end = SIM_BASE + SPACE_PAGES * PAGE_BYTES;
	struct page_view view;
	struct pager_limit limit;
	uint64_t found;

	simple(op, op->c % 5);
	switch (op->c % 5) {
	case 0:
		space_view(space, addr, &view);
		break;
	case 1:
		for (found = addr; found < end && space_next_out(space, SPACE_AWAY, found, end, &found);)
			found += PAGE_BYTES;
		break;
	case 2:
		pager_memory_report(sim.pager, nothing, NULL);
		break;
	case 3:
		pager_limit(sim.pager, &limit);
		space_longest_chain(space);
		break;
	default:
		file_view(sim.file, op->b % FILE_PAGES, &view);
	}
	op_result(op, 0, true);
}

/* ---- The limit ------------------------------------------------------------------------------------------- */

static void op_limit(const struct op *op)
{
	unsigned least = PAGER_MIN_FRAMES * sim.config->nr_nodes - 4;
	unsigned frames = least + op->b % (sim.config->nr_frames + 8 - least);
	uint64_t bytes = 64 * sizeof(struct swap_io) + 72 * KIB + frames * (PAGE_BYTES + 400);
	struct anonmm_stats stats;
	char why[200];

	simple(op, frames);
	pager_stats(sim.pager, &stats);
	if (bytes < stats.metadata_bytes + frames * PAGE_BYTES)
		bytes = stats.metadata_bytes + frames * PAGE_BYTES;
	int result = pager_set_limit(sim.pager, bytes, why, sizeof(why));

	op_result(op, result,
		result == 0 || result == -EINVAL || result == -ERANGE || result == -EBUSY ||
			result == -ENOSPC);
}

/* ---- Devices -------------------------------------------------------------------------------------------------- */

static int call_swapoff(const char *uri)
{
	struct wait wait = {0};

	for (unsigned tries = 0; tries < SWAPOFF_TRIES; tries++) {
		int result = pager_swapoff(sim.pager, uri, &wait);

		if (result != -EAGAIN)
			return result;
		machine_wait(&wait);
	}
	pager_swapoff_cancel(sim.pager);
	return -EINTR;
}

static bool swapoff_may_fail(int result)
{
	bool lossy = false;

	for (unsigned i = 0; i < sim.config->nr_devices; i++)
		lossy = lossy || sim.config->devices[i].error_in;
	return result == -ENOMEM || result == -EINTR || (result == -EBUSY) || (result == -EIO && lossy);
}

static void op_swapoff(const struct op *op)
{
	unsigned number = op->b % sim.config->nr_devices;
	bool there = sim.has_device[number];
	char uri[20];
	int result;

	simple(op, number);
	if (sim.swapoff_busy) {
		if (op->c % 3 == 0)
			pager_swapoff_cancel(sim.pager);
		return;
	}
	sim.swapoff_busy = true;
	snprintf(uri, sizeof(uri), "sim:%u", number);
	result = call_swapoff(uri);
	if (result == 0)
		sim.has_device[number] = false;
	sim.swapoff_busy = false;
	op_result(op, result, there ? result == 0 || swapoff_may_fail(result) : result == -ENOENT);
}

static void op_swapon(const struct op *op)
{
	unsigned number = op->b % sim.config->nr_devices;

	simple(op, number);
	if (sim.has_device[number] || sim.swapoff_busy)
		return;
	sim.swapoff_busy = true;
	struct swapdev *dev = device_open(number, &sim.config->devices[number]);
	int result = pager_add_swap(sim.pager, dev, sim.config->devices[number].priority);

	if (result)
		dev->ops->close(dev);
	sim.has_device[number] = !result;
	sim.swapoff_busy = false;
	op_result(op, result, result == 0 || (result == -ENOMEM && sim.config->no_chunk_in));
}

/* ---- Moves ------------------------------------------------------------------------------------------------------ */

static int begin_migration(struct space *space, uint64_t addr, unsigned node, struct migration *m)
{
	struct wait wait = {0};
	int result = -EAGAIN;

	for (unsigned tries = 0; tries < MIGRATE_TRIES && result == -EAGAIN; tries++) {
		result = migrate_begin(space, addr, node, m, &wait);
		if (result == -EAGAIN)
			machine_wait(&wait);
	}
	return result;
}

static void op_migrate(struct sim_thread *t, const struct op *op)
{
	unsigned which = t->spaces[op->a % 3] ? op->a % 3 : 0;
	unsigned page = t->number * (AREA_PAGES + 1) + op->b % AREA_PAGES;
	struct migration m;

	sched_doing("%u: migrate, space %u, page %u", op->number, t->spaces[which]->number, page);
	int result = begin_migration(
		t->spaces[which]->space, SIM_BASE + page * PAGE_BYTES, op->c % sim.config->nr_nodes, &m);

	if (result == 0) {
		sched_point("migration");
		migrate_copy(&m);
		sched_point("migration");
		result = migrate_end(&m);
	}
	op_result(op, result,
		result == 0 || result == -EAGAIN || result == -ENOENT || result == -EBUSY ||
			result == -ENOMEM);
}

static void op_migrate_many(const struct op *op)
{
	unsigned from = op->b % 2, to = op->c % 2;
	struct wait wait = {0};

	simple(op, from);
	int result = migrate_pages(sim.pager, from, to, 1 + op->d % 32, &wait);
	bool possible = from != to && sim.config->nr_nodes == 2;

	op_result(op, result,
		possible ? result >= 0 || result == -EAGAIN || result == -ENOMEM : result == -EINVAL);
}

static void op_compact(const struct op *op)
{
	simple(op, 0);
	int result = compact_node(sim.pager, op->b % sim.config->nr_nodes, 1 + op->c % 32);

	op_result(op, result, result >= 0);
}

static bool nobody_uses(void *unused)
{
	(void)unused;
	return sim.resting == 0 && sim.users == 0;
}

/* Whole pages: what is left of one is zeros, and a page is whole or none here. No space may end meanwhile. */
static void op_truncate(const struct op *op)
{
	unsigned pages = op->b % (FILE_PAGES + 1);
	struct wait wait = {0};

	simple(op, pages);
	if (!sim.config->truncates)
		return;
	while (!nobody_uses(NULL))
		sched_block("all spaces", nobody_uses, NULL, 0);
	sim.resting = 1;
	int result = SIM_RETRY(&wait, file_truncate(sim.file, pages * PAGE_BYTES, &wait));

	sim.resting = 0;
	op_result(op, result, result == 0);
}

/* ---- Rest -------------------------------------------------------------------------------------------------------- */

static void lock_all(bool lock)
{
	struct wait wait = {0};

	for (unsigned i = 0; i < MAX_SPACES; i++) {
		if (!sim.spaces[i].space)
			continue;
		if (lock)
			SIM_RETRY(&wait, space_lock(sim.spaces[i].space, &wait));
		else
			space_unlock(sim.spaces[i].space);
	}
}

static void op_freeze(const struct op *op)
{
	struct wait wait = {0};

	simple(op, 0);
	while (!nobody_uses(NULL))
		sched_block("all spaces", nobody_uses, NULL, 0);
	sim.resting = 1;
	lock_all(true);
	SIM_RETRY(&wait, pager_freeze(sim.pager, &wait));
	for (unsigned i = op->c % 8; i > 0; i--) {
		if (pager_in_flight(sim.pager, SWAP_READ) || pager_in_flight(sim.pager, SWAP_WRITE) ||
			!devices_idle())
			sim_fail("something is in flight while the pager is frozen");
		sched_point("frozen");
	}
	if (op->b % 2 && !sim.lease) {
		int result = pager_lease_begin(sim.pager, &sim.lease);

		if (result)
			sim.lease = NULL;
		op_result(op, result, result == 0 || (result == -ENOMEM && sim.config->no_chunk_in));
	}
	pager_thaw(sim.pager);
	lock_all(false);
	sim.resting = 0;
	op_result(op, 0, true);
}

static void op_lease_end(const struct op *op)
{
	struct swap_lease *lease = sim.lease;

	simple(op, 0);
	if (!lease)
		return;
	sim.lease = NULL;
	pager_lease_end(sim.pager, lease);
	op_result(op, 0, true);
}

void op_world(struct sim_thread *t, const struct op *op)
{
	switch ((enum op_kind)op->kind) {
	case OP_TRUNCATE:
		op_truncate(op);
		break;
	case OP_LOOK:
		op_look(t, op);
		break;
	case OP_RECLAIM:
		op_reclaim(op);
		break;
	case OP_KSWAPD:
		op_kswapd(op);
		break;
	case OP_KSMD:
		op_ksmd(op);
		break;
	case OP_POLL:
		op_poll(op);
		break;
	case OP_LIMIT:
		op_limit(op);
		break;
	case OP_SWAPOFF:
		op_swapoff(op);
		break;
	case OP_SWAPON:
		op_swapon(op);
		break;
	case OP_MIGRATE:
		op_migrate(t, op);
		break;
	case OP_MIGRATE_MANY:
		op_migrate_many(op);
		break;
	case OP_COMPACT:
		op_compact(op);
		break;
	case OP_FREEZE:
		op_freeze(op);
		break;
	case OP_LEASE_END:
		op_lease_end(op);
		break;
	default:
		break;
	}
}

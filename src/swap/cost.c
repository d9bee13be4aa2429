/* SPDX-License-Identifier: MIT */
/* Measured costs of a device; see cost.h. */
#include "swap/cost.h"
#include "host/host.h"

#define RUN_LEAST 16 /* pages: the part of a request that does not grow with its pages is small then */
/* An average stays where its steps are whole numbers, and far from the end of its type. */
#define LEAST_NS 64
#define MOST_NS 100000000

static void note(_Atomic(uint32_t) *average, uint64_t ns, int64_t part_shorter, int64_t part_longer)
{
	int64_t now = atomic_load_explicit(average, memory_order_relaxed);
	int64_t more = (int64_t)min_u64(ns, 2 * (uint64_t)now) - now;

	now += more / (more < 0 ? part_shorter : part_longer);
	atomic_store_explicit(
		average, (uint32_t)min_u64(max_u64((uint64_t)now, LEAST_NS), MOST_NS), memory_order_relaxed);
}

void cost_note(_Atomic(uint32_t) *average, uint64_t ns)
{
	note(average, ns, 8, 8);
}

void cost_note_late(_Atomic(uint32_t) *average, uint64_t ns)
{
	note(average, ns, 4, 64);
}

void cost_meter_init(struct cost_meter *meter)
{
	const struct swap_cost disk = COST_OF_DISK;

	meter->read_ns = disk.read_ns;
	meter->neighbour_read_ns = disk.neighbour_read_ns;
	meter->write_ns = disk.write_ns;
}

void cost_meter_begin(struct swap_io *io)
{
	io->since_ns = host_now_ns();
}

void cost_meter_end(struct cost_meter *meter, const struct swap_io *io, uint64_t now_ns)
{
	uint64_t ns = now_ns - io->since_ns;

	if (io->result)
		return;
	if (io->dir == SWAP_WRITE)
		cost_note_late(&meter->write_ns, ns / io->nr);
	else if (io->nr >= RUN_LEAST)
		cost_note_late(&meter->neighbour_read_ns, ns / io->nr);
	else if (io->nr == 1 && !io->ahead)
		cost_note(&meter->read_ns, ns);
}

void cost_meter_tell(const struct cost_meter *meter, struct swap_cost *out)
{
	out->read_ns = atomic_load_explicit(&meter->read_ns, memory_order_relaxed);
	out->neighbour_read_ns = atomic_load_explicit(&meter->neighbour_read_ns, memory_order_relaxed);
	out->write_ns = atomic_load_explicit(&meter->write_ns, memory_order_relaxed);
	out->room = COST_WHOLE;
}

static uint32_t add_ns(uint32_t a, uint32_t b)
{
	return (uint32_t)min_u64((uint64_t)a + b, COST_NEVER - 1);
}

void cost_add(struct swap_cost *out, const struct swap_cost *behind)
{
	out->read_ns = add_ns(out->read_ns, behind->read_ns);
	out->neighbour_read_ns = add_ns(out->neighbour_read_ns, behind->neighbour_read_ns);
	out->write_ns = add_ns(out->write_ns, behind->write_ns);
}

/* SPDX-License-Identifier: MIT */
/*
 * A swap device of the simulation: requests end in any order, after a while, when somebody polls.
 *
 * The device works on a few requests at a time, and refuses those that it has no room for. Its configuration says when
 * it looks at the bytes to write: when the request comes, or only when it ends. It fails the run if the core does what
 * the contract forbids: a write and a read of one slot at the same time, a read of a slot that holds nothing, a write
 * whose bytes change meanwhile.
 */
#include "sim.h"

#include <stdio.h>
#include <string.h>

#define MAX_REQUESTS 80 /* more than a pager makes */
#define POINTS_OF_MS 40
#define STORE_RATIO 3
#define STORE_GROWTH 6 /* pages of memory that a store likes to have before it needs them */

struct request {
	struct swap_io *io; /* NULL: free */
	uint64_t ends; /* the clock; 0: it waits for others */
	uint64_t seen; /* of a write: what its bytes were when it came */
	bool taken; /* a poll is about to end it */
};

struct device {
	struct swapdev dev; /* first */
	const struct device_config *config;
	uint8_t *bytes;
	uint32_t used; /* slots that are written */
	uint32_t granted; /* a store: pages of memory that it may use */
	bool polling[SWAP_DIRS];
	struct request requests[MAX_REQUESTS];
	struct slot {
		bool written;
		uint8_t reads, writes; /* under way */
	} slots[MAX_SLOTS];
};

/* A place each: opened again it is another device. */
static struct device devices[MAX_DEVICES];
static uint8_t *memory[MAX_DEVICES];

static struct device *device_of(struct swapdev *dev)
{
	return container_of(dev, struct device, dev);
}

static uint8_t *slot_bytes(struct device *d, uint32_t slot)
{
	return d->bytes + slot * PAGE_BYTES;
}

/* ---- What is under way --------------------------------------------------------------------------- */

static bool has_ended(const struct request *r)
{
	return r->io && !r->taken && r->ends && r->ends <= sched_clock();
}

static bool device_ready(const struct device *d, enum swap_dir dir)
{
	if (d->polling[dir]) /* who polls ends it */
		return false;
	for (unsigned i = 0; i < MAX_REQUESTS; i++)
		if (has_ended(&d->requests[i]) && d->requests[i].io->dir == dir)
			return true;
	return false;
}

bool devices_ready(bool reads, bool writes)
{
	for (unsigned n = 0; n < MAX_DEVICES; n++)
		if (devices[n].dev.ops && ((reads && device_ready(&devices[n], SWAP_READ)) ||
						  (writes && device_ready(&devices[n], SWAP_WRITE))))
			return true;
	return false;
}

uint64_t devices_next(void)
{
	uint64_t next = 0;

	for (unsigned n = 0; n < MAX_DEVICES; n++)
		for (unsigned i = 0; devices[n].dev.ops && i < MAX_REQUESTS; i++) {
			const struct request *r = &devices[n].requests[i];

			if (r->io && !r->taken && r->ends > sched_clock() && (!next || r->ends < next))
				next = r->ends;
		}
	return next;
}

bool devices_idle(void)
{
	for (unsigned n = 0; n < MAX_DEVICES; n++)
		for (unsigned i = 0; devices[n].dev.ops && i < MAX_REQUESTS; i++)
			if (devices[n].requests[i].io)
				return false;
	return true;
}

static unsigned nr_inside(const struct device *d, enum swap_dir dir)
{
	unsigned nr = 0;

	for (unsigned i = 0; i < MAX_REQUESTS; i++)
		nr += d->requests[i].io && d->requests[i].io->dir == dir;
	return nr;
}

/* Let as many be worked on as the device can. */
static void work(struct device *d)
{
	unsigned busy = 0;

	for (unsigned i = 0; i < MAX_REQUESTS; i++)
		busy += d->requests[i].io && d->requests[i].ends > 0;
	for (unsigned i = 0; i < MAX_REQUESTS && busy < d->config->depth; i++) {
		struct request *r = &d->requests[i];

		if (!r->io || r->ends)
			continue;
		r->ends = sched_clock() + 1 + seed_below(&sim.chance, d->config->delay + 1);
		busy++;
	}
}

/* ---- Bytes ------------------------------------------------------------------------------------------ */

static uint64_t sum_of(const struct swap_io *io)
{
	uint64_t sum = io->nr;

	for (unsigned i = 0; i < io->nr; i++)
		for (unsigned w = 0; w < PAGE_BYTES / 8; w += 16)
			sum = sum * 0x9e3779b97f4a7c15 + ((const uint64_t *)io->iov[i].base)[w];
	return sum;
}

static void write_bytes(struct device *d, struct swap_io *io)
{
	if (sim.config->plant == PLANT_LOST_WRITE && seed_once_in(&sim.chance, 20))
		return;
	for (unsigned i = 0; i < io->nr; i++)
		if (io->result == 0 || (io->result == -ENOSPC && !swap_io_refused(io, i)))
			memcpy(slot_bytes(d, io->slot + i), io->iov[i].base, PAGE_BYTES);
}

static void read_bytes(struct device *d, struct swap_io *io)
{
	if (sim.config->plant == PLANT_EARLY_DONE && seed_once_in(&sim.chance, 20))
		return;
	for (unsigned i = 0; io->result == 0 && i < io->nr; i++)
		memcpy(io->iov[i].base, slot_bytes(d, io->slot + i), PAGE_BYTES);
}

/* ---- A request's way ---------------------------------------------------------------------------------- */

static void check_begin(struct device *d, const struct swap_io *io)
{
	if (!swap_io_fits(&d->dev, io))
		sim_fail("a request names slots %u + %u of %u", io->slot, io->nr, d->dev.nr_slots);
	for (uint32_t at = io->slot; at < io->slot + io->nr; at++) {
		struct slot *slot = &d->slots[at];

		if (slot->writes || (io->dir == SWAP_WRITE && slot->reads))
			sim_fail("slot %u is read and written at the same time", at);
		if (io->dir == SWAP_READ && !slot->written)
			sim_fail("slot %u is read, but it holds nothing", at);
		slot->reads += io->dir == SWAP_READ;
		slot->writes += io->dir == SWAP_WRITE;
	}
}

/* A store keeps STORE_RATIO pages in one of memory. */
static uint32_t store_pages(uint32_t slots)
{
	return (slots + STORE_RATIO - 1) / STORE_RATIO;
}

static bool has_room(const struct device *d, uint32_t fresh)
{
	return d->used + fresh <= d->config->room &&
	       (!d->config->store || store_pages(d->used + fresh) <= d->granted);
}

/* Not all of it, perhaps: what there is no room for is named, or all of it is refused. */
static void take_room(struct device *d, struct swap_io *io)
{
	bool tells = seed_below(&sim.chance, 4) > 0;
	uint32_t fresh = 0;

	for (unsigned i = 0; i < io->nr; i++)
		fresh += !d->slots[io->slot + i].written;
	if (!has_room(d, fresh) && !tells) {
		io->result = -ENOSPC;
		return;
	}
	for (unsigned i = 0; i < io->nr; i++) {
		struct slot *slot = &d->slots[io->slot + i];

		if (!slot->written && !has_room(d, 1)) {
			swap_io_refuse(io, i);
			continue;
		}
		d->used += !slot->written;
		slot->written = true;
	}
}

static void begin(struct device *d, struct swap_io *io)
{
	check_begin(d, io);
	io->result = seed_once_in(&sim.chance, d->config->error_in) ? -EIO : 0;
	if (io->dir == SWAP_READ || io->result)
		return;
	take_room(d, io);
	if (!d->config->late)
		write_bytes(d, io);
}

static void check_stable(const struct device *d, const struct request *r)
{
	if ((d->config->stable || !sim.config->shares) && sum_of(r->io) != r->seen)
		sim_fail("what slots %u + %u are written with has changed meanwhile", r->io->slot, r->io->nr);
}

/* The bytes are where they belong; the request is the submitter's again. */
static void end(struct device *d, struct swap_io *io)
{
	if (io->dir == SWAP_READ)
		read_bytes(d, io);
	else if (d->config->late)
		write_bytes(d, io);
	for (uint32_t at = io->slot; at < io->slot + io->nr; at++) {
		d->slots[at].reads -= io->dir == SWAP_READ;
		d->slots[at].writes -= io->dir == SWAP_WRITE;
	}
	sched_told("%s of slots %u + %u of device %u ends: %d", io->dir == SWAP_READ ? "read" : "write",
		io->slot, io->nr, (unsigned)(d - devices), io->result);
	io->done(io);
}

static struct request *free_request(struct device *d)
{
	for (unsigned i = 0; i < MAX_REQUESTS; i++)
		if (!d->requests[i].io)
			return &d->requests[i];
	sim_fail("more than %u requests are under way", MAX_REQUESTS);
}

static void sim_submit(struct swapdev *dev, struct swap_io_list *list)
{
	struct device *d = device_of(dev);
	struct swap_io *io;

	sched_point("submit");
	while ((io = STAILQ_FIRST(list))) {
		STAILQ_REMOVE_HEAD(list, link);
		begin(d, io);
		if (d->config->at_once || (io->alone && seed_once_in(&sim.chance, 2))) {
			end(d, io);
			continue;
		}
		*free_request(d) = (struct request){.io = io, .seen = io->dir == SWAP_WRITE ? sum_of(io) : 0};
		work(d);
	}
	sched_point("submitted");
}

/* ---- Polling --------------------------------------------------------------------------------------------- */

/* One that has ended, any of them. */
static struct request *pick(struct device *d, enum swap_dir dir)
{
	struct request *found[MAX_REQUESTS];
	unsigned nr = 0;

	for (unsigned i = 0; i < MAX_REQUESTS; i++)
		if (has_ended(&d->requests[i]) && d->requests[i].io->dir == dir)
			found[nr++] = &d->requests[i];
	return nr ? found[seed_below(&sim.chance, nr)] : NULL;
}

static int end_some(struct device *d, enum swap_dir dir)
{
	struct request *r;
	int nr = 0;

	while ((r = pick(d, dir)) && !(nr > 0 && seed_once_in(&sim.chance, 4))) {
		struct swap_io *io = r->io;

		if (dir == SWAP_WRITE)
			check_stable(d, r);
		r->taken = true;
		r->io = NULL;
		work(d);
		end(d, io);
		r->taken = false;
		nr++;
	}
	return nr;
}

struct polling {
	struct device *device;
	enum swap_dir dir;
};

static bool poll_is_over(void *ctx)
{
	const struct polling *p = ctx;

	return pick(p->device, p->dir) || nr_inside(p->device, p->dir) == 0;
}

static int sim_poll(struct swapdev *dev, enum swap_dir dir, int timeout_ms)
{
	struct device *d = device_of(dev);
	struct polling p = {d, dir};

	sched_point("poll");
	if (d->polling[dir])
		return -EBUSY;
	d->polling[dir] = true;
	if (timeout_ms > 0 && nr_inside(d, dir) > 0 && !pick(d, dir))
		sched_block(
			"a device", poll_is_over, &p, sched_clock() + (unsigned)timeout_ms * POINTS_OF_MS);
	d->polling[dir] = false;
	return end_some(d, dir);
}

static int sim_poll_fd(struct swapdev *dev, enum swap_dir dir)
{
	(void)dev, (void)dir;
	return -1;
}

static void sim_discard(struct swapdev *dev, uint32_t slot, uint32_t nr)
{
	struct device *d = device_of(dev);

	for (uint32_t at = slot; at < slot + nr; at++) {
		if (d->slots[at].writes)
			sim_fail("slot %u is discarded while it is written", at);
		d->used -= d->slots[at].written;
		d->slots[at].written = false;
	}
}

static bool sim_peek(struct swapdev *dev, uint32_t slot, void *page)
{
	struct device *d = device_of(dev);

	if (!d->config->peeks)
		return false;
	if (d->slots[slot].writes)
		sim_fail("slot %u is peeked at while it is written", slot);
	memcpy(page, slot_bytes(d, slot), PAGE_BYTES);
	return true;
}

static uint32_t sim_memory_wanted(struct swapdev *dev)
{
	return store_pages(device_of(dev)->used) + STORE_GROWTH;
}

static uint32_t sim_memory_grant(struct swapdev *dev, uint32_t pages, uint32_t most)
{
	struct device *d = device_of(dev);
	uint32_t needs = store_pages(d->used);

	(void)most;
	d->granted = pages > needs ? pages : needs;
	return d->granted;
}

static void sim_close(struct swapdev *dev)
{
	struct device *d = device_of(dev);

	for (unsigned i = 0; i < MAX_REQUESTS; i++)
		if (d->requests[i].io || d->requests[i].taken)
			sim_fail("a device is closed while requests are under way");
	if (d->polling[SWAP_READ] || d->polling[SWAP_WRITE])
		sim_fail("a device is closed while somebody polls it");
	d->dev.ops = NULL;
}

static const struct swapdev_ops device_ops = {
	.scheme = "sim",
	.submit = sim_submit,
	.poll = sim_poll,
	.poll_fd = sim_poll_fd,
	.discard = sim_discard,
	.peek = sim_peek,
	.memory_wanted = sim_memory_wanted,
	.memory_grant = sim_memory_grant,
	.close = sim_close,
};

struct swapdev *device_open(unsigned number, const struct device_config *c)
{
	struct device *d = &devices[number];

	if (!memory[number])
		memory[number] = device_alloc(MAX_SLOTS * PAGE_BYTES);
	memset(d, 0, sizeof(*d));
	d->config = c;
	d->bytes = memory[number];
	d->dev.ops = &device_ops;
	d->dev.nr_slots = c->nr_slots;
	d->dev.stable_writes = c->stable;
	d->dev.shares_memory = c->store;
	snprintf(d->dev.uri, sizeof(d->dev.uri), "sim:%u", number);
	return &d->dev;
}

void devices_init(const struct config *c)
{
	(void)c;
	memset(devices, 0, sizeof(devices));
}

/* SPDX-License-Identifier: MIT */
/*
 * The world that a seed makes. Its numbers are drawn in a fixed order. A new number must be drawn after all others:
 * otherwise old seeds mean other worlds.
 */
#include "sim.h"

#include <stdio.h>
#include <string.h>

const char *const op_names[NR_OPS] = {
	[OP_READ] = "read",
	[OP_WRITE] = "write",
	[OP_SCAN] = "scan",
	[OP_FILL] = "fill",
	[OP_READ_SHARED] = "read shared",
	[OP_WRITE_SHARED] = "write shared",
	[OP_MMAP] = "mmap",
	[OP_MUNMAP] = "munmap",
	[OP_MPROTECT] = "mprotect",
	[OP_MREMAP] = "mremap",
	[OP_DONTNEED] = "dontneed",
	[OP_FREE] = "free",
	[OP_HINT] = "hint",
	[OP_MLOCK] = "mlock",
	[OP_MUNLOCK] = "munlock",
	[OP_DROP_SHARED] = "drop shared",
	[OP_REMAP_SHARED] = "remap shared",
	[OP_FORK] = "fork",
	[OP_EXIT] = "exit",
	[OP_RECLAIM] = "reclaim",
	[OP_KSWAPD] = "kswapd",
	[OP_KSMD] = "ksmd",
	[OP_POLL] = "poll",
	[OP_LIMIT] = "limit",
	[OP_SWAPOFF] = "swapoff",
	[OP_SWAPON] = "swapon",
	[OP_MIGRATE] = "migrate",
	[OP_MIGRATE_MANY] = "migrate many",
	[OP_COMPACT] = "compact",
	[OP_FREEZE] = "freeze",
	[OP_LEASE_END] = "lease end",
	[OP_PEEK] = "peek",
	[OP_HINT_ANY] = "hint any",
	[OP_LOOK] = "look",
	[OP_TRUNCATE] = "truncate",
};

const char *const plant_names[NR_PLANTS] = {
	[PLANT_NONE] = "none",
	[PLANT_LOST_WAKE] = "lost-wake",
	[PLANT_WRONG_FRAME] = "wrong-frame",
	[PLANT_LATE_HIDE] = "late-hide",
	[PLANT_NO_FLUSH] = "no-flush",
	[PLANT_TWO_INSIDE] = "two-inside",
	[PLANT_LOST_WRITE] = "lost-write",
	[PLANT_EARLY_DONE] = "early-done",
};

/* How often an operation is chosen, and how often where every fault must be served. */
static const uint8_t weights[NR_OPS][2] = {
	[OP_READ] = {24, 24},
	[OP_WRITE] = {30, 30},
	[OP_SCAN] = {8, 8},
	[OP_FILL] = {12, 12},
	[OP_READ_SHARED] = {8, 8},
	[OP_WRITE_SHARED] = {10, 10},
	[OP_MMAP] = {10, 10},
	[OP_MUNMAP] = {5, 5},
	[OP_MPROTECT] = {7, 7},
	[OP_MREMAP] = {7, 7},
	[OP_DONTNEED] = {5, 5},
	[OP_FREE] = {4, 4},
	[OP_HINT] = {16, 16},
	[OP_MLOCK] = {3, 0},
	[OP_MUNLOCK] = {4, 0},
	[OP_DROP_SHARED] = {4, 4},
	[OP_REMAP_SHARED] = {3, 3},
	[OP_FORK] = {5, 3},
	[OP_EXIT] = {4, 3},
	[OP_RECLAIM] = {8, 8},
	[OP_KSWAPD] = {5, 5},
	[OP_KSMD] = {4, 4},
	[OP_POLL] = {4, 4},
	[OP_LIMIT] = {4, 0},
	[OP_SWAPOFF] = {3, 0},
	[OP_SWAPON] = {3, 0},
	[OP_MIGRATE] = {5, 5},
	[OP_MIGRATE_MANY] = {3, 3},
	[OP_COMPACT] = {3, 3},
	[OP_FREEZE] = {3, 3},
	[OP_LEASE_END] = {3, 3},
	[OP_PEEK] = {20, 20},
	[OP_HINT_ANY] = {8, 8},
	[OP_LOOK] = {4, 4},
	[OP_TRUNCATE] = {5, 5},
};

/* A value in [@least, @most]. */
static unsigned between(struct seed *s, unsigned least, unsigned most)
{
	return least + seed_below(s, most - least + 1);
}

static unsigned sometimes(struct seed *s, unsigned in, unsigned least, unsigned most)
{
	unsigned value = between(s, least, most);

	return seed_once_in(s, in) ? value : 0;
}

static void make_machine(struct config *c, struct seed *s)
{
	c->shares = seed_once_in(s, 3);
	c->drops = seed_below(s, 4) > 0;
	c->busy_in = sometimes(s, 3, 5, 60);
	c->no_memory_in = sometimes(s, 5, 10, 100);
	c->no_chunk_in = sometimes(s, 8, 3, 20);
	c->more_in = sometimes(s, 5, 2, 4);
	c->faults_block = seed_once_in(s, 3);
	if (c->shares)
		c->busy_in = c->no_memory_in = 0;
}

static void make_pager(struct config *c, struct seed *s)
{
	static const unsigned policies[] = {0, PAGER_SHARE_SLOTS, PAGER_BIRTH_INACTIVE,
		PAGER_NO_SHADOWS | PAGER_SHARE_SLOTS, PAGER_BIRTH_INACTIVE | PAGER_SHARE_SLOTS};

	c->nr_nodes = 1 + seed_once_in(s, 4);
	c->nr_frames = PAGER_MIN_FRAMES * c->nr_nodes + seed_below(s, 80);
	c->nr_limit = seed_once_in(s, 3) ? between(s, PAGER_MIN_FRAMES * c->nr_nodes, c->nr_frames) : 0;
	c->policy = policies[seed_below(s, ARRAY_SIZE(policies))];
	c->swappiness = seed_once_in(s, 4) ? (int)seed_below(s, 201) : -1;
}

static void make_device(struct device_config *d, struct seed *s, bool roomy)
{
	d->nr_slots = roomy ? MAX_SLOTS : between(s, 64, seed_once_in(s, 3) ? 128 : 512);
	d->room = d->nr_slots;
	if (seed_once_in(s, 4) && !roomy)
		d->room = between(s, 16, d->nr_slots);
	d->delay = seed_once_in(s, 3) ? between(s, 0, 10) : between(s, 10, 600);
	d->depth = between(s, 1, seed_once_in(s, 2) ? 2 : 16);
	d->error_in = seed_once_in(s, 8) && !roomy ? between(s, 5, 60) : 0;
	d->at_once = seed_once_in(s, 8);
	d->peeks = seed_once_in(s, 3);
	d->stable = seed_once_in(s, 4);
	d->late = seed_once_in(s, 2);
	d->priority = (int)seed_below(s, 3) - 1;
}

static uint8_t pick_kind(const struct config *c, struct seed *s)
{
	unsigned total = 0, pick, kind = 0;

	for (unsigned i = 0; i < NR_OPS; i++)
		total += weights[i][c->roomy];
	for (pick = seed_below(s, total); pick >= weights[kind][c->roomy]; kind++)
		pick -= weights[kind][c->roomy];
	return (uint8_t)kind;
}

static void make_ops(struct config *c, unsigned thread, struct seed *s)
{
	for (unsigned i = 0; i < c->nr_ops[thread]; i++)
		c->ops[thread][i] = (struct op){.kind = pick_kind(c, s),
			.number = (uint16_t)i,
			.a = (uint32_t)seed_next(s),
			.b = (uint32_t)seed_next(s),
			.c = (uint32_t)seed_next(s),
			.d = (uint32_t)seed_next(s)};
}

void config_make(struct config *c, uint64_t seed)
{
	static const unsigned rates[] = {2, 4, 10, 10, 30, 100};
	struct seed s = seed_stream(seed, 0);

	memset(c, 0, sizeof(*c));
	c->seed = seed;
	c->validate_every = 4000;
	c->roomy = seed_once_in(&s, 4);
	make_machine(c, &s);
	if (c->roomy)
		c->busy_in = c->no_memory_in = c->no_chunk_in = 0;
	make_pager(c, &s);
	c->nr_devices = c->roomy ? 1 : 1 + seed_below(&s, MAX_DEVICES);
	for (unsigned i = 0; i < MAX_DEVICES; i++)
		make_device(&c->devices[i], &s, c->roomy);
	c->switch_in = rates[seed_below(&s, ARRAY_SIZE(rates))];
	c->priorities = seed_once_in(&s, 3);
	c->schedule = seed;
	c->nr_threads = 2 + (seed_below(&s, 3) > 0) + (seed_below(&s, 3) == 0);
	for (unsigned i = 0; i < c->nr_threads; i++)
		c->nr_ops[i] = between(&s, 15, 60);
	for (unsigned i = 0; i < c->nr_threads; i++)
		make_ops(c, i, &s);
	for (unsigned i = 0; i < MAX_DEVICES; i++)
		c->devices[i].store = seed_once_in(&s, 6) && !c->roomy;
	if (seed_once_in(&s, 2)) { /* few frames, so that most pages are out */
		c->nr_frames = PAGER_MIN_FRAMES * c->nr_nodes + seed_below(&s, 8);
		c->nr_limit = 0;
	}
	c->truncates = seed_once_in(&s, 5);
	c->stall_in = sometimes(&s, 2, 30, 600);
	c->shmem = c->shares && seed_once_in(&s, 2);
}

void config_print(const struct config *c)
{
	printf("seed %llu: %s, %u frames (limit %u) in %u node(s), policy %#x, swappiness %d%s%s\n",
		(unsigned long long)c->seed, c->shares ? "frames are shared" : "frames move", c->nr_frames,
		c->nr_limit, c->nr_nodes, c->policy, c->swappiness, c->roomy ? ", roomy" : "",
		c->drops ? "" : ", no frame_drop");
	printf("  once in: -EBUSY %u, -ENOMEM %u, no chunk %u, more %u; a switch in %u points%s, a stall in "
	       "%u\n",
		c->busy_in, c->no_memory_in, c->no_chunk_in, c->more_in, c->switch_in,
		c->priorities ? ", by priority" : "", c->stall_in);
	for (unsigned i = 0; i < c->nr_devices; i++) {
		const struct device_config *d = &c->devices[i];

		printf("  device %u: %u slots, room for %u, %u points, %u at a time, an error in "
		       "%u%s%s%s%s%s, "
		       "priority %d\n",
			i, d->nr_slots, d->room, d->delay, d->depth, d->error_in, d->store ? ", a store" : "",
			d->at_once ? ", at once" : "", d->peeks ? ", can be peeked at" : "",
			d->stable ? ", needs stable bytes" : "", d->late ? ", looks late" : "", d->priority);
	}
}

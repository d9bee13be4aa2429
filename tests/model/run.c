/* SPDX-License-Identifier: MIT */
/* One run: a world, its actors, and the look at what is left of it. */
#include "model.h"
#include "../needs.h"

#include <pthread.h>
#include <unistd.h>

void print_run(FILE *file, const struct run *run)
{
	fprintf(file, "--machine %s%s%s%s%s --swap '%s' --ops %lu --validate %lu --seed %llu",
		run->kind == ANONMM_SOFT ? "soft" : "uffd",
		run->faults == ANONMM_FAULTS_THREAD   ? " --faults thread"
		: run->faults == ANONMM_FAULTS_SIGNAL ? " --faults signal"
						      : "",
		run->copy ? " --copy" : "", run->threads ? " --threads" : "", run->lossy ? " --lossy" : "",
		run->swap, run->ops, run->validate_every, (unsigned long long)run->seed);
}

#define WORLD_SEEDS 64

void run_set_world(struct run *run, uint8_t byte)
{
	static const char *const devices[] = {
		"mem:?size=16M", "faulty:mem:?size=16M&delay=4&seed=5", "mem:?size=256K", ""};
	unsigned device = byte / WORLD_SEEDS;

	run->world = byte;
	run->seed = byte % WORLD_SEEDS;
	run->lossy = device > 0;
	snprintf(run->swap, sizeof(run->swap), "%s", devices[device]);
}

static void trace(void *ctx, const struct page_event *event)
{
	for (const char *c = event->function; *c; c++)
		mix(ctx, (uint64_t)*c);
	mix(ctx, event->pfn);
}

static void *act(void *arg)
{
	struct actor *a = arg;

	while (a->op < a->run->ops)
		actor_step(a);
	return NULL;
}

static void run_actors(struct run *run, struct actor *actors, unsigned nr)
{
	pthread_t threads[MAX_ACTORS];

	for (unsigned i = 0; run->threads && i < nr; i++)
		pthread_create(&threads[i], NULL, act, &actors[i]);
	for (unsigned i = 0; run->threads && i < nr; i++)
		pthread_join(threads[i], NULL);
	while (!run->threads && actors[0].op < run->ops && !actors[0].choice.ended)
		actor_step(&actors[0]);
	run->done = 0;
	for (unsigned i = 0; i < nr; i++)
		run->done += actors[i].op;
}

/* After the last space nothing is left: all frames free, all slots free. */
static void check_empty(struct run *run)
{
	struct actor a = {.run = run, .doing = "after exit", .detail = ""};
	struct anonmm_stats stats;

	/* Writes of pages that are gone end by and by, perhaps in another thread's poll. */
	for (int tries = 0; tries < 10000; tries++) {
		pager_poll(world.pager, SWAP_READ, 1);
		pager_poll(world.pager, SWAP_WRITE, 1);
		pager_stats(world.pager, &stats);
		if (!stats.slots_used && stats.frames - stats.frames_free <= 1)
			break;
		usleep(1000);
	}
	if (stats.slots_used && !run->lossy)
		fail(&a, "%llu slots are still used", (unsigned long long)stats.slots_used);
	if (stats.frames - stats.frames_free > 1) /* the zero page */
		fail(&a, "%llu frames are still used",
			(unsigned long long)(stats.frames - stats.frames_free));
	actor_validate(&a);
}

/*
 * The seed says how tight it is: 64 frames, the least, to 256, on up to three nodes, where the spaces want thousands
 * of pages; and how anonymous and file pages are weighed against each other.
 */
static struct world_config config_of(const struct run *run)
{
	static const int swappiness[] = {0, 0, 0, -1, 200, 100, 10};
	uint64_t seed = run->seed;
	unsigned sixtyfours = 1 + (unsigned)(seed % 4), nodes = seed % 8 > 4 ? 2 + seed / 8 % 2 : 1;

	return (struct world_config){
		.kind = run->kind,
		.nr_frames = PAGER_MIN_FRAMES * sixtyfours,
		.nr_nodes = nodes < sixtyfours ? nodes : sixtyfours,
		.swappiness = swappiness[seed % ARRAY_SIZE(swappiness)],
		.threads = run->threads,
		.faults = run->faults,
		.copy = run->copy,
		.space_bytes = ORACLE_PAGES * PAGE_BYTES,
		.swap = run->swap[0] ? run->swap : NULL, /* none: only zeros can go */
		.seed = seed,
		.policy = seed % 3 ? PAGER_SHARE_SLOTS : 0,
	};
}

static int open_actors(struct run *run, struct actor *actors, unsigned nr)
{
	unsigned spaces = run->kind == ANONMM_UFFD ? 1 : run->threads ? 3 : MAX_SPACES;

	for (unsigned i = 0; i < nr; i++)
		if (!actor_open(&actors[i], run, i, spaces)) {
			fprintf(stderr, "model: a space cannot be opened\n");
			return 1;
		}
	if (!run->record)
		return 0;
	actors[0].choice.record = fopen(run->record, "wb");
	if (!actors[0].choice.record)
		return 1;
	putc(run->world, actors[0].choice.record);
	return 0;
}

static void end_actors(struct actor *actors, unsigned nr)
{
	if (actors[0].choice.record)
		fclose(actors[0].choice.record);
	for (unsigned i = 0; i < nr; i++) {
		actor_check_all(&actors[i]);
		actor_validate(&actors[i]);
		actor_close(&actors[i]);
	}
}

int run_once(struct run *run)
{
	static struct actor actors[MAX_ACTORS];
	struct world_config config = config_of(run);
	unsigned nr = run->threads ? MAX_ACTORS : 1;
	int error = world_open(&world, &config);

	run->digest = 0xcbf29ce484222325;
	if (error) {
		bool skip = run->kind == ANONMM_UFFD && (error == -EPERM || error == -ENOSYS);

		fprintf(stderr, "model: %s%s (%s)\n", skip ? "needs " REAL_MEMORY ": " : "", world.why,
			strerror(-error));
		return skip ? EXIT_SKIP : 1;
	}
	if (run->kind == ANONMM_SOFT && !run->threads)
		pager_trace(world.pager, trace, run);
	if (open_actors(run, actors, nr))
		return 1;
	run_actors(run, actors, nr);
	end_actors(actors, nr);
	check_empty(run);
	world_close(&world);
	return 0;
}

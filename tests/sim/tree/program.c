/* SPDX-License-Identifier: MIT */
/* What the programs of sim-tree do, and a model of their pagers: how memory fills and leaves. */
#include "world.h"

#include "mm/pager.h"
#include "run/tree/status.h"

#include <stdio.h>
#include <string.h>

#define PAGE_OUT_NS 3000ULL /* a page leaves memory */
#define METADATA_BYTES (100 * KIB)

static struct process *of(struct pager *pager)
{
	return (struct process *)pager;
}

/* ---- The pager ------------------------------------------------------------------------------------- */

uint64_t program_frames(const struct process *p)
{
	uint64_t bytes = p->pager.limit_bytes;

	return bytes > p->pager.metadata_bytes ? (bytes - p->pager.metadata_bytes) / PAGE_BYTES : 0;
}

/* Free frames that kswapd keeps. */
static uint64_t spare(uint64_t frames)
{
	return frames / 32 + 8;
}

/* What has left memory since the last look. */
void program_settle(struct process *p)
{
	struct model_pager *m = &p->pager;
	uint64_t frames = program_frames(p), keep = frames > spare(frames) ? frames - spare(frames) : 0;
	uint64_t can = (world.now_ns - m->settled_ns) / PAGE_OUT_NS;

	keep = max_u64(keep, m->locked);
	m->settled_ns += can * PAGE_OUT_NS;
	if (m->used > keep)
		m->used -= min_u64(m->used - keep, can);
}

void pager_limit(struct pager *pager, struct pager_limit *out)
{
	struct process *p = of(pager);

	program_settle(p);
	uint64_t frames = program_frames(p), used = p->pager.used;

	*out = (struct pager_limit){
		.bytes = p->pager.limit_bytes,
		.frames = (uint32_t)frames,
		.frames_max = (uint32_t)(p->pager.most_bytes / PAGE_BYTES),
		.frames_used = (uint32_t)used,
		.frames_missing = (uint32_t)(used > frames ? used - frames : 0),
		.low = used + spare(frames) > frames,
	};
}

void pager_stats(struct pager *pager, struct anonmm_stats *out)
{
	struct process *p = of(pager);

	*out = (struct anonmm_stats){.faults = p->pager.faults, .metadata_bytes = p->pager.metadata_bytes};
}

int pager_set_limit(struct pager *pager, uint64_t bytes, char *why, size_t why_len)
{
	struct process *p = of(pager);

	snprintf(why, why_len, "no");
	program_settle(p);
	if (bytes > p->pager.most_bytes)
		return -ERANGE;
	if (bytes < p->pager.locked * PAGE_BYTES + p->pager.metadata_bytes + LEDGER_FLOOR / 2)
		return -EBUSY;
	p->pager.limit_bytes = bytes;
	return 0;
}

void pager_disown(struct pager *pager)
{
	(void)pager;
}

void pager_own(struct pager *pager)
{
	(void)pager;
}

static void model_open(struct process *p, uint64_t bytes, uint64_t most)
{
	p->pager = (struct model_pager){.limit_bytes = bytes,
		.metadata_bytes = METADATA_BYTES,
		.most_bytes = max_u64(most, bytes),
		.settled_ns = world.now_ns};
	run.pager = (struct pager *)p;
}

/* ---- What a program does ----------------------------------------------------------------------------- */

static void nap(unsigned most_us)
{
	world_sleep(world.now_ns + 1000ULL * (1 + seed_below(&world.programs, most_us)), NULL);
}

/* Go through memory a little: what is missing comes in, while there are frames for it. */
static void touch(struct process *p)
{
	unsigned chunk = 1 + seed_below(&world.programs, 256);

	program_settle(p);
	uint64_t frames = program_frames(p);

	if (p->pager.used >= p->pager.want)
		return;
	p->pager.faults += chunk;
	if (p->pager.used + chunk <= frames)
		p->pager.used += min_u64(chunk, p->pager.want - p->pager.used);
	else if (p->managed && share.ledger)
		world.more(true);
	if (p->managed && share.ledger)
		share_more();
}

static int free_process(void)
{
	unsigned alive = 0;
	int free = -1;

	for (int i = 0; i < WORLD_PROCESSES; i++) {
		alive += world.processes[i].state == ALIVE;
		if (world.processes[i].state == NONE)
			free = i;
	}
	return alive < world.config.processes ? free : -1;
}

/* The child is a copy, but for its threads. Numbers of processes are used again. */
static void make_child(struct process *parent)
{
	int at = free_process();

	if (at < 0)
		return;
	struct process *child = &world.processes[at];

	*child = *parent;
	child->share = share;
	child->run = run;
	if (child->managed)
		child->run.pager = (struct pager *)child;
	real_governor_fork(parent, child);
	child->state = NONE;
	child->pid = 100 + seed_below(&world.programs, WORLD_PROCESSES + 1);
	while (status_start_time(child->pid))
		child->pid = 100 + (child->pid - 100 + 1) % (WORLD_PROCESSES + 1);
	child->started = ++world.last_started; /* no kernel gives out a number twice within a tick */
	child->parent = (int)(parent - world.processes);
	child->stopped = child->growing = false;
	child->limit_asked = 0;
	child->waits = seed_below(&world.programs, 2);
	child->pager.faults = 0;
	child->child = parent->managed;
	child->restart = false;
	child->page = NULL;
	memset(child->threads, 0, sizeof(child->threads));
	world_say("process %d forks %d", parent->pid, child->pid);

	/* Its thread begins when it is scheduled first: world.now must be the child for that. */
	struct thread *mine = world.thread;
	child->state = ALIVE;
	world.now = child;
	world_start_thread(PROGRAM, program_main, NULL);
	world.now = parent;
	world.thread = mine;
}

static void wait_for_children(struct process *p)
{
	for (unsigned i = 0; i < WORLD_PROCESSES; i++) {
		struct process *child = &world.processes[i];

		if (child->state == ZOMBIE && child->parent == (int)(p - world.processes))
			child->state = NONE;
	}
}

static void end(struct process *p)
{
	if (p->managed)
		share_leave();
	world_say("process %d ends", p->pid);
	process_dies(p);
	world_end_thread();
}

static void exec(struct process *p)
{
	world_say("process %d execs", p->pid);
	if (p->managed)
		share_exec_begin();
	nap(300);
	if (p->managed && seed_once_in(&world.programs, 3)) {
		touch(p);
		share_exec_failed();
		return;
	}
	p->restart = true;
	nap(100);
	assert(false);
}

static void set_limit(struct process *p)
{
	uint64_t bytes = (uint64_t)p->limit_asked;
	char why[200];

	p->limit_asked = 0;
	int error = share_set_limit(max_u64(bytes, 4 * MIB), why, sizeof(why));

	world_say("process %d has set the limit to %lu KiB: %d", p->pid, bytes / KIB, error);
}

static void want_other(struct process *p)
{
	uint64_t most = world.ledger.most / PAGE_BYTES;

	p->pager.want = seed_below(&world.programs, (unsigned)most * 3 / 2);
	if (seed_once_in(&world.programs, 2))
		p->pager.want /= 16;
	p->pager.used = min_u64(p->pager.used, p->pager.want);
	p->pager.locked = min_u64(p->pager.locked, p->pager.used);
}

static void lock_some(struct process *p)
{
	uint64_t bytes = seed_below(&world.programs, 2 * MIB);

	share_want(bytes);
	p->pager.locked = min_u64(p->pager.used, bytes / PAGE_BYTES);
}

static void act(struct process *p)
{
	switch (seed_below(&world.programs, 40)) {
	case 0:
	case 1:
		make_child(p);
		break;
	case 2:
		if (p->parent >= 0)
			end(p);
		break;
	case 3:
		exec(p);
		break;
	case 4:
	case 5:
		want_other(p);
		break;
	case 6:
		if (p->managed && share.ledger)
			lock_some(p);
		break;
	case 7:
		nap(50000);
		break;
	default:
		for (int i = 0; i < 8; i++)
			touch(p);
	}
}

/* In the calm each program goes through its memory slowly, or sleeps. */
static void act_calmly(struct process *p)
{
	p->pager.locked = 0;
	if (p->managed && share.ledger)
		for (int i = 0; i < 8; i++)
			touch(p);
	nap(20000);
}

static void start(struct process *p)
{
	uint64_t memory = 0, most = 0;

	if (!seed_once_in(&world.programs, 8) || p == &world.processes[0]) {
		run.ledger = &world.ledger;
		share_enter(&memory, &most);
		if (share.ledger) {
			model_open(p, memory, most);
			share_attach();
			share_start();
			run.record = &world.ledger.records[0];
			ask_page();
			p->managed = true;
		}
	}
	world_say("process %d runs %s, %lu KiB", p->pid, p->managed ? "managed" : "unmanaged", memory / KIB);
}

static void start_as_child(struct process *p)
{
	share_fork_child();
	if (share.ledger)
		share_fork_start();
	ask_page();
	p->child = false;
	world_say("process %d runs as a child, %lu KiB", p->pid, share.bytes / KIB);
}

static void start_governor(void)
{
	if (world.follows && share.ledger && run.governor)
		real_governor_fork_child();
	else if (world.follows && share.ledger)
		real_governor_start();
}

void program_main(void *unused)
{
	struct process *p = world.now;

	(void)unused;
	run.active = false;
	run.follows = world.follows;
	p->waits = seed_below(&world.programs, 2);
	if (p->child)
		start_as_child(p);
	else
		start(p);
	if (p->managed)
		start_governor();
	run.active = p->managed;
	want_other(p);
	for (;;) {
		if (p->waits)
			wait_for_children(p);
		if (p->limit_asked && p->managed && share.ledger)
			set_limit(p);
		if (world.calm)
			act_calmly(p);
		else
			act(p);
		nap(world.now_ns < world.quiet_ns ? 20000 : 500);
	}
}

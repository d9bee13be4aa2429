/* SPDX-License-Identifier: MIT */
/*
 * The world of a walk: opening and closing it, and recording the events of the watched page. walk_act.c has what can
 * be done in it.
 */
#include "trace/walk_world.h"
#include "machine/uffd/uffd.h"
#include "trace/held_dev.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define WALK_OTHERS (8 * WALK_FRAMES)
#define WALK_SLOTS (16 * WALK_FRAMES) /* far from half full: a page read back keeps its slot */
#define WALK_SPACE (64 * MIB)

/* ---- What is recorded ------------------------------------------------------------------ */

/* => pager lock held */
static void look_locked(const struct walk_place *place, pfn_t pfn, struct page_view *view)
{
	if (place->space)
		space_view_locked(place->space, place->addr, pfn, view);
	else if (place->file)
		file_view_locked(place->file, 0, pfn, view);
	else
		*view = (struct page_view){.pfn = PFN_NONE, .list = "none", .mapcount = -1, .swap_count = -1};
}

static bool leads_to(const struct walk_world *world, pfn_t pfn)
{
	struct page_view view;

	for (int eye = 0; eye < WALK_NR_EYES; eye++) {
		look_locked(&world->eyes[eye], PFN_NONE, &view);
		if (view.pfn == pfn)
			return true;
	}
	return false;
}

/* => pager lock held */
static void record(void *ctx, const struct page_event *event)
{
	struct walk_world *world = ctx;
	struct walk_event *slot = &world->events[world->nr_events];

	if (!world->watched[event->pfn])
		world->watched[event->pfn] = leads_to(world, event->pfn);
	if (!world->watched[event->pfn] || world->nr_events == WALK_MAX_EVENTS)
		return;
	slot->function = event->function;
	slot->pfn = event->pfn;
	for (int eye = 0; eye < WALK_NR_EYES; eye++)
		look_locked(&world->eyes[eye], event->pfn, &slot->view[eye]);
	world->nr_events++;
	if (!strcmp(event->function, "free_page") || slot->view[WALK_PROGRAM].zero_page)
		world->watched[event->pfn] = false;
}

const struct walk_event *walk_world_find(const struct walk_world *world, const char *function)
{
	for (unsigned i = world->next_event; i < world->nr_events; i++)
		if (!strcmp(world->events[i].function, function))
			return &world->events[i];
	return NULL;
}

void walk_world_look(struct walk_world *world, enum walk_eye eye, struct page_view *view)
{
	world->machine->ops->lock(world->machine);
	look_locked(&world->eyes[eye], PFN_NONE, view);
	world->machine->ops->unlock(world->machine);
}

void walk_world_note(struct walk_world *world, const char *function, enum walk_eye eye)
{
	struct walk_event *event = &world->events[world->nr_events];

	if (world->nr_events == WALK_MAX_EVENTS)
		return;
	*event = (struct walk_event){.function = function, .eye = eye};
	for (int other = 0; other < WALK_NR_EYES; other++)
		walk_world_look(world, (enum walk_eye)other, &event->view[other]);
	event->pfn = event->view[eye].pfn;
	world->nr_events++;
}

void walk_world_forget(struct walk_world *world)
{
	world->nr_events = world->next_event = 0;
}

char walk_world_letter(struct walk_world *world, const struct page_view *view)
{
	if (view->pfn == PFN_NONE)
		return '-';
	if (view->zero_page)
		return '0';
	if (!world->letter[view->pfn])
		world->letter[view->pfn] = world->next_letter++;
	return world->letter[view->pfn];
}

/* ---- Waiting ------------------------------------------------------------------------------ */

/* Wait. The device ends the writes that it holds only if the wait is for a write or a frame. */
void walk_world_wait(struct walk_world *world, const struct wait *wait)
{
	if (wait->what == WAIT_WRITE || wait->what == WAIT_FRAMES)
		walk_finish_writes(world);
	pager_poll(world->pager, SWAP_READ, 0);
	pager_poll(world->pager, SWAP_WRITE, 0);
}

int walk_world_lock(struct walk_world *world, struct space *space)
{
	struct wait wait = {0};

	return WALK_RETRY(world, wait, space_lock(space, &wait));
}

/* ---- Open and close -------------------------------------------------------------------- */

static int open_machine(struct walk_world *world, char *why, size_t why_len)
{
	struct soft_config soft = {.nr_frames = WALK_FRAMES};
	struct uffd_config uffd = {
		.bytes = WALK_SPACE, .nr_frames = WALK_FRAMES, .faults = ANONMM_FAULTS_SIGNAL};

	if (world->kind == ANONMM_SOFT)
		return soft_machine_open(&soft, &world->machine, why, why_len);
	return uffd_machine_open(&uffd, &world->machine, why, why_len);
}

static int open_pager(struct walk_world *world)
{
	struct pager_config config = {.machine = world->machine,
		.nr_frames = WALK_FRAMES,
		.nr_nodes = world->nr_nodes,
		.swappiness = -1,
		.seed = 1,
		.policy = world->policy};
	int error = pager_open(&config, &world->pager);

	if (!error)
		error = held_dev_open(WALK_SLOTS, &world->dev);
	if (!error)
		error = pager_add_swap(world->pager, world->dev, 0);
	return error;
}

/* On real memory the upper half of the range is left to a child. */
static int open_space(struct walk_world *world)
{
	struct walk_place *program = &world->eyes[WALK_PROGRAM];
	uint64_t bytes = (WALK_OTHERS + 1) * PAGE_BYTES;
	struct wait wait = {0};
	int error;

	if (world->kind == ANONMM_SOFT) {
		error = soft_space_open(world->machine, MIB, WALK_SPACE / 2, &program->mmu);
		program->space = error ? NULL : program->mmu->space;
	} else {
		error = space_create(world->pager, uffd_machine_base(world->machine), WALK_SPACE / 2, NULL,
			&program->space);
	}
	if (!error)
		error = walk_world_lock(world, program->space);
	if (error)
		return error;
	program->addr = 0;
	error = space_mmap(program->space, &program->addr, bytes, PROT_READ | PROT_WRITE, 0, &wait);
	space_unlock(program->space);
	program->name = "program";
	world->others = program->addr + PAGE_BYTES;
	world->nr_others = WALK_OTHERS;
	return error;
}

int walk_world_open(struct walk_world *world, enum anonmm_machine kind, unsigned needs, unsigned policy,
	char *why, size_t why_len)
{
	int error;

	memset(world, 0, sizeof(*world));
	world->kind = kind;
	world->nr_nodes = needs & WALK_TWO_NODES ? 2 : 1;
	world->policy = policy;
	world->next_letter = 'A';
	error = open_machine(world, why, why_len);
	if (error)
		return error;
	world->ops = *world->machine->ops;
	world->ops.say = NULL;
	world->machine->ops = &world->ops;
	error = open_pager(world);
	if (!error)
		error = open_space(world);
	if (error) {
		snprintf(why, why_len, "a pager of %d frames was asked for: %s", WALK_FRAMES,
			strerror(-error));
		walk_world_close(world);
		return error;
	}
	pager_trace(world->pager, record, world);
	return 0;
}

/* Close the world. First let all requests end: the device stops holding writes and failing. */
void walk_world_close(struct walk_world *world)
{
	struct wait wait = {0};

	if (world->pager)
		pager_trace(world->pager, NULL, NULL);
	if (world->dev) {
		held_dev_hold(world->dev, false);
		held_dev_fail(world->dev, SWAP_WRITE, false);
		held_dev_fail(world->dev, SWAP_READ, false);
	}
	if (world->migrating)
		walk_migrate_end(world);
	if (world->eyes[WALK_CHILD].space)
		walk_child_exits(world);
	if (world->eyes[WALK_PROGRAM].space)
		walk_exit(world);
	if (world->file)
		WALK_RETRY(world, wait, file_close(world->file, &wait));
	while (world->pager && pager_close(world->pager) == -EBUSY)
		walk_world_wait(world, &(struct wait){.what = WAIT_WRITE});
	if (world->kind == ANONMM_SOFT)
		soft_machine_close(world->machine);
	else
		uffd_machine_close(world->machine);
}

/* SPDX-License-Identifier: MIT */
/*
 * The comparison: run a scene, then find its steps among the recorded events, in order. Events that no step names are
 * passed over, because a scenario names only the steps that matter to it.
 */
#include "mm/page/page.h"
#include "trace/walk.h"
#include "trace/walk_world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct walk_scenario *walk_scenario_find(const char *name)
{
	for (unsigned i = 0; i < nr_walk_scenarios; i++)
		if (!strcmp(walk_scenarios[i]->name, name))
			return walk_scenarios[i];
	return NULL;
}

const char *walk_pte_text(const struct page_view *view, char *buf, size_t len)
{
	switch (view->pte) {
	case PTE_KIND_NONE:
		return "none";
	case PTE_KIND_MIGRATION:
		return "migration entry";
	case PTE_KIND_SWAP:
		snprintf(buf, len, "swap entry %u:%u", view->swap_type, view->swap_slot);
		return buf;
	case PTE_KIND_PRESENT:
		snprintf(buf, len, "present%s%s%s", view->pte_valid ? "" : " armed",
			view->pte_write ? " rw" : " ro", view->pte_dirty ? " dirty" : "");
		return buf;
	}
	return "?";
}

const char *walk_expected_pte_text(enum walk_pte pte)
{
	static const char *const text[] = {
		[WALK_PTE_NONE] = "none",
		[WALK_PTE_PRESENT] = "present",
		[WALK_PTE_READ_ONLY] = "present ro",
		[WALK_PTE_SWAP] = "swap entry",
		[WALK_PTE_MIGRATION] = "migration entry",
	};

	return text[pte];
}

static bool pte_agrees(enum walk_pte expected, const struct page_view *view, bool sees_write)
{
	switch (expected) {
	case WALK_PTE_NONE:
		return view->pte == PTE_KIND_NONE;
	case WALK_PTE_PRESENT:
		return view->pte == PTE_KIND_PRESENT;
	case WALK_PTE_READ_ONLY:
		return view->pte == PTE_KIND_PRESENT && !(sees_write && view->pte_write);
	case WALK_PTE_SWAP:
		return view->pte == PTE_KIND_SWAP;
	case WALK_PTE_MIGRATION:
		return view->pte == PTE_KIND_MIGRATION;
	}
	return false;
}

/* Add "what: expected X, found Y" to the row's words. */
__attribute__((format(printf, 2, 3))) static void differs(struct walk_row *row, const char *format, ...)
{
	size_t used = strlen(row->difference);
	va_list args;

	row->verdict = WALK_DIFFERS;
	if (used && used + 2 < sizeof(row->difference)) {
		memcpy(row->difference + used, "; ", 3);
		used += 2;
	}
	va_start(args, format);
	vsnprintf(row->difference + used, sizeof(row->difference) - used, format, args);
	va_end(args);
}

/* Flags that only this implementation has: the states of the specification do not name them. */
#define PG_UNNAMED (PG_waiters | PG_readahead | PG_fresh | PG_recall)

static void compare_flags(struct walk_row *row, uint32_t expected, uint32_t found)
{
	char missing[128], surplus[128];

	found &= ~(uint32_t)PG_UNNAMED;
	if (expected == found)
		return;
	page_flags_text(expected & ~found, missing, sizeof(missing));
	page_flags_text(found & ~expected, surplus, sizeof(surplus));
	differs(row, "flags:%s%s%s%s", missing[0] ? " without " : "", missing, surplus[0] ? " with " : "",
		surplus);
}

static void compare(struct walk_row *row, bool sees_write)
{
	const struct walk_state *expected = &row->expect->state;
	const struct page_view *found = &row->view;
	char pte[64];

	row->verdict = WALK_AGREES;
	if (found->count != expected->count)
		differs(row, "_count %d, not %d", found->count, expected->count);
	if (found->mapcount != expected->mapcount)
		differs(row, "_mapcount %d, not %d", found->mapcount, expected->mapcount);
	compare_flags(row, expected->flags, found->flags);
	if (strcmp(found->list, expected->list))
		differs(row, "list %s, not %s", found->list, expected->list);
	if (!pte_agrees(expected->pte, found, sees_write))
		differs(row, "PTE %s, not %s", walk_pte_text(found, pte, sizeof(pte)),
			walk_expected_pte_text(expected->pte));
	if (expected->slot && found->swap_count + 1 != (int)expected->slot)
		differs(row, "slot named by %d PTEs, not %u", found->swap_count, expected->slot - 1);
}

/* Does this step look at the event of the step before? Yes, if it names the same function, but another eye. */
static bool is_same_event(const struct walk_row *row)
{
	const struct walk_expect *expect = row->expect;

	return !row->scene_begins && !strcmp(expect[-1].function, expect->function) &&
	       expect[-1].eye != expect->eye;
}

/* Find the step's event among the recorded ones. A step WALK_LOOK has no event: take what its eye sees now. */
static void claim(struct walk_world *world, struct walk_row *row)
{
	const struct walk_expect *expect = row->expect;
	bool look = !strcmp(expect->function, WALK_LOOK);

	if (!look && is_same_event(row) && world->next_event > 0)
		world->next_event--;
	const struct walk_event *event = look ? NULL : walk_world_find(world, expect->function);
	const struct walk_event *unwanted = expect->without ? walk_world_find(world, expect->without) : NULL;

	row->verdict = WALK_MISSING;
	if (look)
		walk_world_look(world, expect->eye, &row->view);
	else if (event)
		row->view = event->view[expect->eye];
	else
		return;
	row->frame = walk_world_letter(world, &row->view);
	compare(row, world->machine->ops->sees_write);
	if (unwanted && (look || unwanted < event))
		differs(row, "%s() ran before it", unwanted->function);
	if (event)
		world->next_event = (unsigned)(event - world->events) + 1;
}

static bool happens_here(const struct walk_scene *scene, const struct walk_world *world)
{
	bool sees_write = world->machine->ops->sees_write;

	return scene->where == WALK_ANYWHERE || (scene->where == WALK_WRITES_SEEN) == sees_write;
}

/* NULL while there is only one eye: eyes need names once there is a child, a second address or a page cache. */
static const char *eye_name(const struct walk_world *world, enum walk_eye eye)
{
	bool alone = true;

	for (int other = WALK_PROGRAM + 1; other < WALK_NR_EYES; other++)
		alone = alone && !world->eyes[other].name;
	return alone ? NULL : world->eyes[eye].name;
}

/*
 * Returns how many steps do not agree. If the drive ended in another way than expected, the first step does not agree.
 */
static int run_scene(
	struct walk_world *world, const struct walk_scene *scene, unsigned *number, walk_row_fn fn, void *ctx)
{
	int differing = 0, ended;

	walk_world_forget(world);
	ended = scene->drive(world);
	for (unsigned i = 0; i < scene->nr_expects; i++) {
		struct walk_row row = {
			.number = ++*number,
			.scene = scene,
			.scene_begins = i == 0,
			.expect = &scene->expects[i],
			.eye = eye_name(world, scene->expects[i].eye),
			.frame = '-',
		};

		claim(world, &row);
		if (i == 0 && ended != scene->ends && row.verdict != WALK_MISSING)
			differs(&row, "the scene ended with \"%s\", not \"%s\"", strerror(-ended),
				strerror(-scene->ends));
		differing += row.verdict != WALK_AGREES;
		fn(ctx, &row);
	}
	return differing;
}

int walk_run(const struct walk_scenario *scenario, enum anonmm_machine machine, walk_row_fn fn, void *ctx,
	char *why, size_t why_len)
{
	struct walk_world *world = malloc(sizeof(*world));
	unsigned number = 0;
	int differing = 0, error;

	if (!world) {
		snprintf(why, why_len, "the host has no memory for the record of a walk");
		return -ENOMEM;
	}
	error = walk_world_open(world, machine, scenario->world, 0, why, why_len);
	if (!error && scenario->not_unshared && !world->machine->ops->can_share) {
		snprintf(why, why_len, "%s", scenario->not_unshared);
		walk_world_close(world);
		error = -EOPNOTSUPP;
	}
	if (error) {
		free(world);
		return error;
	}
	for (unsigned i = 0; i < scenario->nr_scenes; i++)
		if (happens_here(&scenario->scenes[i], world))
			differing += run_scene(world, &scenario->scenes[i], &number, fn, ctx);
	walk_world_close(world);
	free(world);
	return differing;
}

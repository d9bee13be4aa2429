/* SPDX-License-Identifier: MIT */
/*
 * Operations: files and shared memory. The oracle makes a file's bytes from the file's number, so a page that is read
 * again must be the same again. Shared memory exists where frames can be shared, that is on soft.
 */
#include "model.h"

static int model_read(void *ctx, uint64_t index, void *bytes)
{
	const struct object *object = ctx;

	if (object_read_fails(object, index))
		return -EIO;
	object_file_bytes(object, index, bytes);
	return 0;
}

static void model_release(void *ctx)
{
	((struct object *)ctx)->released = true;
}

static const struct file_ops model_file_ops = {model_read, model_release};

/* ---- Which there are ------------------------------------------------------------------------ */

struct object *object_pick(struct actor *a)
{
	struct object *object = &a->objects[below(a, MAX_OBJECTS)];

	return object->open ? object : NULL;
}

void objects_reap(struct actor *a)
{
	for (unsigned i = 0; i < MAX_OBJECTS; i++) {
		struct object *object = &a->objects[i];

		if (!object->used)
			continue;
		if (!object->shmem && object->released != (!object->open && !object->mapped))
			fail(a, "file %u is %s, while %u pages map it", object->number,
				object->released ? "gone" : "still there", object->mapped);
		if (!object->open && !object->mapped)
			object_destroy(object);
	}
}

void object_close(struct actor *a, struct object *object)
{
	struct wait wait = {0};
	int result = WORLD_RETRY(&world, &wait, file_close(object->file, &wait));

	want(a, result, 0);
	object->open = false;
	objects_reap(a);
}

/* On real memory an access that fails would be the end of this program: whole pages, and no failing reads. */
static uint64_t random_size(struct actor *a)
{
	uint64_t bytes = (uint64_t)below(a, OBJECT_PAGES) * PAGE_BYTES;
	unsigned part = below(a, 2) ? below(a, PAGE_BYTES) : 0;

	return a->run->kind == ANONMM_SOFT ? bytes + part : bytes;
}

/* ---- The operations ------------------------------------------------------------------------- */

void do_file_open(struct actor *a)
{
	struct object *object = &a->objects[below(a, MAX_OBJECTS)];
	bool shmem = below(a, 2) && a->run->kind == ANONMM_SOFT;
	uint64_t bytes = random_size(a);
	int result;

	snprintf(a->detail, sizeof(a->detail), "%llu bytes", (unsigned long long)bytes);
	if (object->used)
		return;
	object_init(object, shmem, bytes, ++a->nr_objects_ever);
	result = file_create(world.pager, shmem ? NULL : &model_file_ops, object, bytes, &object->file);
	want(a, result, 0);
}

void do_file_close(struct actor *a)
{
	struct object *object = object_pick(a);

	if (object)
		object_close(a, object);
}

void do_file_map(struct actor *a)
{
	struct object *object = object_pick(a);
	bool fixed = below(a, 3) == 0, shared = below(a, 2);
	int prot = below(a, 4) ? PROT_READ | PROT_WRITE : random_prot(a), result;
	unsigned first, nr, index = below(a, OBJECT_PAGES), got;
	struct place *p = &a->at->place;
	uint64_t addr;

	pick_run(a, 96, &first, &nr);
	detail(a, first, nr, (int)index);
	if (!object)
		return;
	index = index + nr > OBJECT_PAGES ? OBJECT_PAGES - nr : index;
	shared = shared && object->shmem;
	addr = fixed ? address(a, first) : 0;
	result = place_mmap_file(p, &addr, nr * PAGE_BYTES, prot,
		(fixed ? SPACE_FIXED : 0) | (shared ? SPACE_SHARED : 0), object->file, index);
	note(a, result);
	if (result == -ENOMEM && !fixed && !oracle_has_hole(a->at->oracle, nr))
		return;
	want(a, result, 0);
	if (result)
		return;
	got = (unsigned)((addr - p->base) / PAGE_BYTES);
	if (fixed ? got != first : !oracle_is_hole(a->at->oracle, got, nr))
		fail(a, "mapped over others, at page %u", got);
	oracle_map(a->at->oracle, got, nr, prot, object, shared, index);
	objects_reap(a);
}

void do_file_truncate(struct actor *a)
{
	struct object *object = object_pick(a);
	uint64_t bytes = random_size(a);
	struct wait wait = {0};
	int result;

	snprintf(a->detail, sizeof(a->detail), "%llu bytes", (unsigned long long)bytes);
	if (!object)
		return;
	object_truncate(object, bytes); /* first: pages are read from now on */
	result = WORLD_RETRY(&world, &wait, file_truncate(object->file, bytes, &wait));
	want(a, result, 0);
	for (unsigned i = 0; i < MAX_SPACES; i++)
		if (a->members[i].oracle)
			oracle_truncate(a->members[i].oracle, object);
}

/* From now on reads of some of its pages fail; or no more. */
void do_file_fail(struct actor *a)
{
	struct object *object = object_pick(a);

	if (object && a->run->kind == ANONMM_SOFT)
		object->failing = !object->failing;
}

/* SPDX-License-Identifier: MIT */
/*
 * What can be done in the world of a walk. A fault is a call of handle_mm_fault(), also on the uffd machine, whose
 * threads are not started. After FAULT_DONE the page is at its address, and a plain store reaches it.
 */
#include "mm/page/page.h"
#include "trace/held_dev.h"
#include "trace/walk_world.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* More rounds than any scene needs, so that a walk ends even if the core makes no progress. */
#define WALK_MAX_ROUNDS 100000

/* ---- Accesses -------------------------------------------------------------------------- */

/* 0, -EAGAIN with *wait filled, or what the signal means. */
static int fault_once(struct space *space, uint64_t addr, enum access access, struct wait *wait)
{
	switch (handle_mm_fault(space, addr, access, wait)) {
	case FAULT_DONE:
		return 0;
	case FAULT_WAIT:
		return -EAGAIN;
	case FAULT_SIGSEGV:
		return -EFAULT;
	case FAULT_SIGBUS:
		return -EIO;
	case FAULT_OOM:
		return -ENOMEM;
	}
	return -EINVAL;
}

static int fault_in(struct walk_world *world, struct space *space, uint64_t addr, enum access access)
{
	for (int round = 0; round < WALK_MAX_ROUNDS; round++) {
		struct wait wait = {0};
		int error = fault_once(space, addr, access, &wait);

		if (error != -EAGAIN)
			return error;
		walk_world_wait(world, &wait);
	}
	return -ETIME;
}

/* A touch of real memory: by the core where the page is missing or armed, then by the program. */
static int touch_real(struct walk_world *world, struct space *space, uint64_t addr, enum access access)
{
	volatile uint64_t *word = (volatile uint64_t *)(uintptr_t)addr;
	struct page_view view;
	int error = 0;

	space_view(space, addr, &view);
	if (view.pte != PTE_KIND_PRESENT || !view.pte_valid || (view.zero_page && access == ACCESS_WRITE))
		error = fault_in(world, space, addr, access);
	if (error)
		return error;
	if (access == ACCESS_WRITE)
		*word = addr ^ *word;
	else
		(void)*word;
	return 0;
}

/*
 * The soft machine's accesses wait by themselves, and while they wait the device does not end a write that it holds. So
 * the fault is served here first, by a call that waits in the walk's own way.
 */
static int touch_soft(struct walk_world *world, struct soft_space *mmu, uint64_t addr, enum access access)
{
	struct page_view view;
	uint64_t value;

	space_view(mmu->space, addr, &view);
	if (view.pte != PTE_KIND_PRESENT || (access == ACCESS_WRITE && !view.pte_write)) {
		int error = fault_in(world, mmu->space, addr, access);

		if (error)
			return error;
	}
	if (access == ACCESS_WRITE)
		return soft_store64(mmu, addr, addr);
	return soft_load64(mmu, addr, &value);
}

static int touch(struct walk_world *world, const struct walk_place *place, uint64_t addr, enum access access)
{
	if (!place->space)
		return -EFAULT;
	if (world->kind == ANONMM_UFFD)
		return touch_real(world, place->space, addr, access);
	return touch_soft(world, place->mmu, addr, access);
}

int walk_read_by(struct walk_world *world, enum walk_eye eye)
{
	return touch(world, &world->eyes[eye], world->eyes[eye].addr, ACCESS_READ);
}

int walk_write_by(struct walk_world *world, enum walk_eye eye)
{
	return touch(world, &world->eyes[eye], world->eyes[eye].addr, ACCESS_WRITE);
}

int walk_read(struct walk_world *world)
{
	return walk_read_by(world, WALK_PROGRAM);
}

int walk_write(struct walk_world *world)
{
	return walk_write_by(world, WALK_PROGRAM);
}

int walk_try_read(struct walk_world *world)
{
	const struct walk_place *program = &world->eyes[WALK_PROGRAM];
	struct wait wait = {0};

	return fault_once(program->space, program->addr, ACCESS_READ, &wait);
}

/* ---- Pressure and the device ------------------------------------------------------------ */

/* Give birth to one more page beside the watched one. */
static int another(struct walk_world *world)
{
	if (world->next_other == world->nr_others)
		return -ETIME;
	return touch(world, &world->eyes[WALK_PROGRAM], world->others + PAGE_BYTES * world->next_other++,
		ACCESS_WRITE);
}

/*
 * Call kswapd_step() until @function has changed the watched page. One more page is born when kswapd has nothing to do,
 * so no fault has to reclaim by itself. When kswapd waits for writes, some of them end. With @held the device stays
 * slow, and one more page is born instead.
 */
static int press(struct walk_world *world, const char *function, bool held)
{
	for (int round = 0; round < WALK_MAX_ROUNDS; round++) {
		enum kswapd_result result;
		int error = 0;

		if (walk_world_find(world, function))
			return 0;
		result = kswapd_step(world->pager, KSWAPD_PAGES);
		if (result == KSWAPD_WAIT && !held)
			error = walk_finish_writes(world);
		else if (result != KSWAPD_PROGRESS)
			error = another(world);
		if (error)
			return error;
	}
	return -ETIME;
}

int walk_press_until(struct walk_world *world, const char *function)
{
	return press(world, function, false);
}

int walk_press(struct walk_world *world, unsigned nr)
{
	for (; nr > 0; nr--) {
		int error = another(world);

		if (error)
			return error;
		while (kswapd_step(world->pager, KSWAPD_PAGES) == KSWAPD_PROGRESS)
			walk_finish_writes(world);
	}
	return 0;
}

int walk_scan_again(struct walk_world *world)
{
	return press(world, "putback_lru_page", true);
}

int walk_finish_writes(struct walk_world *world)
{
	if (!world->dev)
		return 0;
	held_dev_hold(world->dev, false);
	while (pager_poll(world->pager, SWAP_WRITE, 0) > 0)
		;
	held_dev_hold(world->dev, true);
	return 0;
}

int walk_device_fails(struct walk_world *world, enum swap_dir dir, bool fails)
{
	held_dev_fail(world->dev, dir, fails);
	return 0;
}

/* ---- System calls of the program ---------------------------------------------------------- */

/* Calls on the space of a place that is locked for them. */
#define PLACE_CALL(world_, place_, wait_, call)                                                              \
	({                                                                                                   \
		int place_result_ = walk_world_lock(world_, (place_)->space);                                \
		if (!place_result_) {                                                                        \
			place_result_ = WALK_RETRY(world_, wait_, call);                                     \
			space_unlock((place_)->space);                                                       \
		}                                                                                            \
		place_result_;                                                                               \
	})

int walk_unmap_by(struct walk_world *world, enum walk_eye eye)
{
	struct walk_place *place = &world->eyes[eye];
	struct wait wait = {0};

	return PLACE_CALL(world, place, wait, space_munmap(place->space, place->addr, PAGE_BYTES, &wait));
}

int walk_unmap(struct walk_world *world)
{
	return walk_unmap_by(world, WALK_PROGRAM);
}

int walk_mlock(struct walk_world *world, bool lock)
{
	struct walk_place *place = &world->eyes[WALK_PROGRAM];
	struct wait wait = {0};

	return PLACE_CALL(
		world, place, wait, space_mlock(place->space, place->addr, PAGE_BYTES, lock, &wait));
}

int walk_advise(struct walk_world *world, int advice)
{
	struct walk_place *place = &world->eyes[WALK_PROGRAM];
	struct wait wait = {0};

	return PLACE_CALL(
		world, place, wait, space_madvise(place->space, place->addr, PAGE_BYTES, advice, &wait));
}

/* ---- KSM, migration, swapoff ----------------------------------------------------------------- */

/* The distance of the twins in pages. A fault does not give birth to pages that far away. */
#define WALK_TWIN 256

static int fill(struct walk_world *world, enum walk_eye eye)
{
	static const char words[] = "the same content";
	const struct walk_place *place = &world->eyes[eye];
	int error = walk_write_by(world, eye);

	if (error)
		return error;
	if (world->kind == ANONMM_UFFD)
		memcpy((void *)(uintptr_t)place->addr, words, sizeof(words));
	else
		error = soft_write(place->mmu, place->addr, words, sizeof(words));
	return error;
}

static int advise_place(struct walk_world *world, struct walk_place *place, int advice)
{
	struct wait wait = {0};

	return PLACE_CALL(
		world, place, wait, space_madvise(place->space, place->addr, PAGE_BYTES, advice, &wait));
}

int walk_make_twin(struct walk_world *world)
{
	struct walk_place *first = &world->eyes[WALK_PROGRAM], *second = &world->eyes[WALK_SECOND];
	int error;

	*second = *first;
	world->nr_others -= WALK_TWIN;
	second->addr = world->others + PAGE_BYTES * world->nr_others;
	first->name = "first";
	second->name = "second";
	error = fill(world, WALK_SECOND);
	if (!error)
		error = fill(world, WALK_PROGRAM);
	if (!error)
		error = advise_place(world, first, MADV_MERGEABLE);
	return error ? error : advise_place(world, second, MADV_MERGEABLE);
}

int walk_merge(struct walk_world *world)
{
	for (int scan = 0; scan < 8; scan++) {
		int merged = ksmd_step(world->pager, WALK_FRAMES);

		if (merged)
			return merged < 0 ? merged : 0;
	}
	return -ETIME;
}

int walk_unmerge(struct walk_world *world)
{
	int error = advise_place(world, &world->eyes[WALK_PROGRAM], MADV_UNMERGEABLE);

	return error ? error : advise_place(world, &world->eyes[WALK_SECOND], MADV_UNMERGEABLE);
}

int walk_migrate_begin(struct walk_world *world)
{
	const struct walk_place *program = &world->eyes[WALK_PROGRAM];
	struct page_view view;
	struct wait wait = {0};
	int error;

	space_view(program->space, program->addr, &view);
	error = WALK_RETRY(world, wait,
		migrate_begin(program->space, program->addr, view.pfn < WALK_FRAMES / 2 ? 1 : 0,
			&world->migration, &wait));
	world->migrating = !error;
	if (!error)
		world->watched[page_pfn(world->pager, world->migration.to)] = true;
	return error;
}

int walk_migrate_end(struct walk_world *world)
{
	world->migrating = false;
	migrate_copy(&world->migration);
	return migrate_end(&world->migration);
}

int walk_drop_others(struct walk_world *world)
{
	struct walk_place *program = &world->eyes[WALK_PROGRAM];
	struct wait wait = {0};

	return PLACE_CALL(world, program, wait,
		space_munmap(program->space, world->others, PAGE_BYTES * (world->next_other + 1), &wait));
}

int walk_swapoff(struct walk_world *world)
{
	struct wait wait = {0};
	int error = WALK_RETRY(world, wait, pager_swapoff(world->pager, world->dev->uri, &wait));

	if (!error)
		world->dev = NULL; /* closed */
	return error;
}

/* ---- Fork and exit -------------------------------------------------------------------------- */

/* On real memory parent and child live in one process: the child has the upper half of the range. */
static int fork_real(struct walk_world *world, struct walk_place *parent, struct walk_place *child)
{
	uint64_t bytes = space_bytes(parent->space), base = space_base(parent->space);
	struct fork_place place = {base, base + bytes, bytes};
	struct wait wait = {0};

	child->addr = parent->addr + bytes;
	return PLACE_CALL(world, parent, wait, space_fork(parent->space, &place, NULL, &child->space, &wait));
}

int walk_fork(struct walk_world *world)
{
	struct walk_place *parent = &world->eyes[WALK_PROGRAM], *child = &world->eyes[WALK_CHILD];
	int error;

	child->addr = parent->addr;
	if (world->kind == ANONMM_UFFD) {
		error = fork_real(world, parent, child);
	} else {
		error = soft_space_fork(parent->mmu, &child->mmu);
		child->space = error ? NULL : child->mmu->space;
	}
	if (error)
		return error;
	parent->name = "parent";
	child->name = "child";
	return 0;
}

/* End the space. The eye stays open until its pages are gone, so that their end is seen. */
static int place_exit(struct walk_world *world, struct walk_place *place)
{
	struct wait wait = {0};
	int error = walk_world_lock(world, place->space);
	struct space *space = place->space;

	if (error)
		return error;
	/* First unmap everything, while the eye can see it. Then end the space itself. */
	error = WALK_RETRY(world, wait, space_munmap(space, space_base(space), space_bytes(space), &wait));
	if (error)
		return error;
	place->space = NULL;
	error = WALK_RETRY(world, wait, space_exit(space, &wait));
	free(place->mmu);
	place->mmu = NULL;
	return error;
}

int walk_child_exits(struct walk_world *world)
{
	return place_exit(world, &world->eyes[WALK_CHILD]);
}

int walk_exit(struct walk_world *world)
{
	world->eyes[WALK_SECOND].space = NULL;
	return place_exit(world, &world->eyes[WALK_PROGRAM]);
}

/* ---- Files ------------------------------------------------------------------------------------ */

static int letters_read(void *ctx, uint64_t index, void *bytes)
{
	(void)ctx;
	memset(bytes, (int)('a' + index % 26), PAGE_BYTES);
	return 0;
}

static const struct file_ops letters = {.read = letters_read};

#define WALK_FILE_PAGES 4

static int map_file(struct walk_world *world, const struct file_ops *ops, unsigned flags)
{
	struct walk_place *program = &world->eyes[WALK_PROGRAM], *cache = &world->eyes[WALK_CACHE];
	struct wait wait = {0};
	uint64_t addr = 0, bytes = WALK_FILE_PAGES * PAGE_BYTES;
	int error = world->file ? 0 : file_create(world->pager, ops, NULL, bytes, &world->file);

	if (!error)
		error = PLACE_CALL(world, program, wait,
			space_mmap_file(program->space, &addr, bytes, PROT_READ | PROT_WRITE, flags,
				world->file, 0, &wait));
	if (error)
		return error;
	program->addr = addr;
	cache->name = "page cache";
	cache->file = world->file;
	return 0;
}

int walk_map_file(struct walk_world *world)
{
	return map_file(world, &letters, 0);
}

int walk_map_shmem(struct walk_world *world, bool shared)
{
	return map_file(world, NULL, shared ? SPACE_SHARED : 0);
}

int walk_truncate(struct walk_world *world)
{
	struct wait wait = {0};

	return WALK_RETRY(world, wait, file_truncate(world->file, 0, &wait));
}

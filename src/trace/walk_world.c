/* SPDX-License-Identifier: MIT */
/*
 * The world of a walk, driven by hand. Faults are calls of handle_mm_fault() also on the uffd machine, whose
 * threads are not started: after FAULT_DONE the page is really there and a plain store reaches it.
 */
#include "trace/walk_world.h"
#include "machine/uffd.h"
#include "trace/held_dev.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define WALK_FRAMES 256
#define WALK_OTHERS (8 * WALK_FRAMES)
#define WALK_SLOTS (16 * WALK_FRAMES) /* far from half full: a page read back keeps its slot */
#define WALK_SPACE (64 * MIB)

/* More than any scene needs; a core that makes no progress ends here instead of never. */
#define WALK_MAX_ROUNDS 100000

/* ---- What is recorded ------------------------------------------------------------------ */

/* => pager lock held */
static void record(void *ctx, const struct page_event *event)
{
	struct walk_world *world = ctx;
	struct walk_event *slot = &world->events[world->nr_events];

	if (event->addr && page_align_down(event->addr) == world->watched)
		world->watched_pfn = event->pfn;
	if (event->pfn != world->watched_pfn || world->nr_events == WALK_MAX_EVENTS)
		return;
	slot->function = event->function;
	space_view_locked(world->space, world->watched, event->pfn, &slot->view);
	world->nr_events++;
	if (!strcmp(event->function, "free_page"))
		world->watched_pfn = PFN_NONE;
}

const struct walk_event *walk_world_find(const struct walk_world *world, const char *function)
{
	for (unsigned i = world->next_event; i < world->nr_events; i++)
		if (!strcmp(world->events[i].function, function))
			return &world->events[i];
	return NULL;
}

/* ---- Accesses -------------------------------------------------------------------------- */

/* The device ends what it holds only when somebody really waits for it. */
static void let_time_pass(struct walk_world *world, const struct wait *wait)
{
	if (wait->what == WAIT_WRITE || wait->what == WAIT_FRAMES)
		walk_finish_writes(world);
	pager_poll(world->pager, SWAP_READ, 0);
	pager_poll(world->pager, SWAP_WRITE, 0);
}

static int fault_in(struct walk_world *world, uint64_t addr, enum access access)
{
	for (int round = 0; round < WALK_MAX_ROUNDS; round++) {
		struct wait wait = {0};

		switch (handle_mm_fault(world->space, addr, access, &wait)) {
		case FAULT_DONE:
			return 0;
		case FAULT_WAIT:
			let_time_pass(world, &wait);
			break;
		case FAULT_SIGSEGV:
			return -EFAULT;
		case FAULT_SIGBUS:
			return -EIO;
		case FAULT_OOM:
			return -ENOMEM;
		}
	}
	return -ETIME;
}

/* A touch of real memory: by the core where the page is missing or armed, then by the program. */
static int touch_real(struct walk_world *world, uint64_t addr, enum access access)
{
	volatile uint64_t *word = (volatile uint64_t *)(uintptr_t)addr;
	struct page_view view;
	int error = 0;

	space_view(world->space, addr, &view);
	if (view.pte != PTE_KIND_PRESENT || !view.pte_valid || (view.zero_page && access == ACCESS_WRITE))
		error = fault_in(world, addr, access);
	if (error)
		return error;
	if (access == ACCESS_WRITE)
		*word = addr ^ *word;
	else
		(void)*word;
	return 0;
}

static int touch(struct walk_world *world, uint64_t addr, enum access access)
{
	uint64_t value;

	if (world->kind == ANONMM_UFFD)
		return touch_real(world, addr, access);
	if (access == ACCESS_WRITE)
		return soft_store64(world->mmu, addr, addr);
	return soft_load64(world->mmu, addr, &value);
}

int walk_read(struct walk_world *world)
{
	return touch(world, world->watched, ACCESS_READ);
}

int walk_write(struct walk_world *world)
{
	return touch(world, world->watched, ACCESS_WRITE);
}

/* ---- Pressure, the device, destruction ------------------------------------------------- */

/*
 * kswapd by hand. Another page is born only when it is content, so that no fault has to reclaim by itself; it waits
 * for writes that the device holds only when nothing else can move, and then some must end.
 */
int walk_press_until(struct walk_world *world, const char *function)
{
	for (int round = 0; round < WALK_MAX_ROUNDS; round++) {
		int error = 0;

		if (walk_world_find(world, function))
			return 0;
		switch (kswapd_step(world->pager, KSWAPD_PAGES)) {
		case KSWAPD_PROGRESS:
			break;
		case KSWAPD_WAIT:
			error = walk_finish_writes(world);
			break;
		case KSWAPD_BALANCED:
		case KSWAPD_STUCK:
			if (world->next_other == world->nr_others)
				return -ETIME;
			error = touch(world, world->others + PAGE_BYTES * world->next_other++, ACCESS_WRITE);
			break;
		}
		if (error)
			return error;
	}
	return -ETIME;
}

int walk_finish_writes(struct walk_world *world)
{
	held_dev_hold(world->dev, false);
	while (pager_poll(world->pager, SWAP_WRITE, 0) > 0)
		;
	held_dev_hold(world->dev, true);
	return 0;
}

static int lock_space(struct walk_world *world)
{
	struct wait wait = {0};
	int error;

	while ((error = space_lock(world->space, &wait)) == -EAGAIN)
		let_time_pass(world, &wait);
	return error;
}

int walk_unmap(struct walk_world *world)
{
	struct wait wait = {0};
	int error = lock_space(world);

	if (error)
		return error;
	while ((error = space_munmap(world->space, world->watched, PAGE_BYTES, &wait)) == -EAGAIN)
		let_time_pass(world, &wait);
	space_unlock(world->space);
	return error;
}

int walk_advise(struct walk_world *world, int advice)
{
	struct wait wait = {0};
	int error = lock_space(world);

	if (error)
		return error;
	while ((error = space_madvise(world->space, world->watched, PAGE_BYTES, advice, &wait)) == -EAGAIN)
		let_time_pass(world, &wait);
	space_unlock(world->space);
	return error;
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
	struct pager_config config = {
		.machine = world->machine, .nr_frames = WALK_FRAMES, .swappiness = -1, .seed = 1};
	int error = pager_open(&config, &world->pager);

	if (!error)
		error = held_dev_open(WALK_SLOTS, &world->dev);
	if (!error)
		error = pager_add_swap(world->pager, world->dev, 0);
	return error;
}

static int open_space(struct walk_world *world)
{
	struct wait wait = {0};
	uint64_t addr = 0, bytes = (WALK_OTHERS + 1) * PAGE_BYTES;
	int error;

	if (world->kind == ANONMM_SOFT) {
		error = soft_space_open(world->machine, MIB, WALK_SPACE, &world->mmu);
		world->space = error ? NULL : world->mmu->space;
	} else {
		error = space_create(world->pager, uffd_machine_base(world->machine),
			uffd_machine_bytes(world->machine), NULL, &world->space);
	}
	if (error)
		return error;
	error = lock_space(world);
	if (error)
		return error;
	error = space_mmap(world->space, &addr, bytes, PROT_READ | PROT_WRITE, 0, &wait);
	space_unlock(world->space);
	world->watched = addr;
	world->others = addr + PAGE_BYTES;
	world->nr_others = WALK_OTHERS;
	return error;
}

int walk_world_open(struct walk_world *world, enum anonmm_machine kind, char *why, size_t why_len)
{
	int error;

	memset(world, 0, sizeof(*world));
	world->kind = kind;
	world->watched_pfn = PFN_NONE;
	error = open_machine(world, why, why_len);
	if (error)
		return error;
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

static void close_space(struct walk_world *world)
{
	struct wait wait = {0};

	if (world->mmu) {
		soft_space_close(world->mmu);
	} else if (!lock_space(world)) {
		while (space_exit(world->space, &wait) == -EAGAIN)
			let_time_pass(world, &wait);
	}
}

/* Whatever is still in flight ends: the device holds nothing back any more. */
void walk_world_close(struct walk_world *world)
{
	if (world->pager)
		pager_trace(world->pager, NULL, NULL);
	if (world->dev)
		held_dev_hold(world->dev, false);
	if (world->space)
		close_space(world);
	while (world->pager && pager_close(world->pager) == -EBUSY)
		let_time_pass(world, &(struct wait){.what = WAIT_WRITE});
	if (world->kind == ANONMM_SOFT)
		soft_machine_close(world->machine);
	else
		uffd_machine_close(world->machine);
}

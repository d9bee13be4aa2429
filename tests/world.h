/* SPDX-License-Identifier: MIT */
/*
 * A world for tests: a pager on either machine with one swap device, and helpers that call its spaces and wait as the
 * calls demand. The machine's ops (to fail allocations) and the device may be wrapped or replaced before the world is
 * used.
 */
#ifndef ANONMM_TEST_WORLD_H
#define ANONMM_TEST_WORLD_H

#include "machine/soft/soft.h"
#include "machine/uffd/uffd.h"
#include "mm/pager.h"
#include "contract/swapdev.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct world_config {
	enum anonmm_machine kind;
	uint32_t nr_frames;
	uint32_t nr_limit; /* 0: all of them */
	unsigned nr_nodes; /* 0: one */
	int swappiness; /* 0: the pager's own choice; -1: none at all */
	bool threads; /* soft: with its kswapd thread */
	enum anonmm_faults faults;
	bool copy;
	uint64_t space_bytes; /* of each space (uffd: of the one) */
	const char *swap; /* a URI, or NULL: @dev, or none */
	struct swapdev *dev;
	uint64_t seed;
	unsigned policy; /* PAGER_* */
};

struct world {
	enum anonmm_machine kind;
	struct machine *machine;
	struct pager *pager;
	struct swapdev *dev; /* the pager's: to arm faults in it */
	uint64_t space_bytes;
	struct machine_ops ops; /* a copy of the machine's, for who wraps one */
	const struct machine_ops *real; /* the machine's own */
	char why[400];
};

/* One space of a world. */
struct place {
	struct world *world;
	struct space *space;
	struct soft_space *mmu; /* soft */
	uint64_t base;
};

#define TEST_BASE (16 * MIB)

static inline void world_wait(struct world *w, const struct wait *wait)
{
	w->machine->ops->wait(w->machine, wait);
}

/* Make the call again until it has an answer. */
#define WORLD_RETRY(w, wait, call)                                                                           \
	({                                                                                                   \
		int world_result_;                                                                           \
		while ((world_result_ = (call)) == -EAGAIN)                                                  \
			world_wait(w, wait);                                                                 \
		world_result_;                                                                               \
	})

/* The same on a space that is locked for it. */
#define PLACE_CALL(p, wait, call)                                                                            \
	({                                                                                                   \
		int place_result_ = WORLD_RETRY((p)->world, wait, space_lock((p)->space, wait));             \
		if (!place_result_) {                                                                        \
			place_result_ = WORLD_RETRY((p)->world, wait, call);                                 \
			space_unlock((p)->space);                                                            \
		}                                                                                            \
		place_result_;                                                                               \
	})

static inline int world_open_machine(struct world *w, const struct world_config *config)
{
	struct soft_config soft = {.nr_frames = config->nr_frames, .threads = config->threads};
	struct uffd_config uffd = {.bytes = config->space_bytes,
		.nr_frames = config->nr_frames,
		.faults = config->faults,
		.copy = config->copy};
	int error;

	w->kind = config->kind;
	w->space_bytes = config->space_bytes;
	error = w->kind == ANONMM_SOFT ? soft_machine_open(&soft, &w->machine, w->why, sizeof(w->why))
				       : uffd_machine_open(&uffd, &w->machine, w->why, sizeof(w->why));
	if (error)
		return error;
	w->real = w->machine->ops;
	w->ops = *w->real;
	w->ops.say = NULL; /* failures are what is tested here */
	w->machine->ops = &w->ops;
	return 0;
}

static inline void world_close_machine(struct world *w)
{
	if (w->kind == ANONMM_SOFT)
		soft_machine_close(w->machine);
	else
		uffd_machine_close(w->machine);
}

/* => the machine is open. On failure the machine still is. */
static inline int world_open_pager(struct world *w, const struct world_config *config)
{
	struct pager_config pager = {.machine = w->machine,
		.nr_frames = config->nr_frames,
		.nr_limit = config->nr_limit,
		.nr_nodes = config->nr_nodes,
		.swappiness = config->swappiness > 0 ? config->swappiness
			      : config->swappiness   ? 0
						     : -1,
		.seed = config->seed + 1,
		.policy = config->policy};
	struct swapdev *dev = config->dev;
	int error = config->swap ? swapdev_open(config->swap, &dev, w->why, sizeof(w->why)) : 0;

	if (error)
		return error;
	error = pager_open(&pager, &w->pager);
	if (!error && dev)
		error = pager_add_swap(w->pager, dev, 0);
	if (error) {
		if (dev)
			dev->ops->close(dev);
		if (w->pager)
			pager_close(w->pager);
		w->pager = NULL;
		dev = NULL;
	}
	w->dev = dev;
	return error;
}

static inline int world_open(struct world *w, const struct world_config *config)
{
	int error;

	memset(w, 0, sizeof(*w));
	error = world_open_machine(w, config);
	if (error)
		return error;
	error = world_open_pager(w, config);
	if (error) {
		world_close_machine(w);
		return error;
	}
	if (w->kind == ANONMM_SOFT && config->threads)
		error = soft_machine_start(w->machine);
	return error;
}

static inline void world_close(struct world *w)
{
	(w->kind == ANONMM_SOFT ? soft_machine_stop : uffd_machine_stop)(w->machine);
	while (pager_close(w->pager) == -EBUSY) {
		pager_poll(w->pager, SWAP_READ, 1);
		pager_poll(w->pager, SWAP_WRITE, 1);
	}
	world_close_machine(w);
}

static inline int place_open(struct place *p, struct world *w)
{
	int error;

	*p = (struct place){.world = w};
	if (w->kind == ANONMM_SOFT) {
		error = soft_space_open(w->machine, TEST_BASE, w->space_bytes, &p->mmu);
		p->space = error ? NULL : p->mmu->space;
	} else {
		error = space_create(w->pager, uffd_machine_base(w->machine), uffd_machine_bytes(w->machine),
			NULL, &p->space);
		if (!error)
			error = uffd_machine_start(w->machine, p->space);
		if (!error)
			error = real_install_sigbus(w->machine);
	}
	p->base = error ? 0 : space_base(p->space);
	return error;
}

static inline void place_close(struct place *p)
{
	struct wait wait = {0};

	if (p->mmu) {
		soft_space_close(p->mmu);
		return;
	}
	WORLD_RETRY(p->world, &wait, space_lock(p->space, &wait));
	WORLD_RETRY(p->world, &wait, space_exit(p->space, &wait));
}

/* fork, where addresses are the machine's own: the child has the same. */
static inline int place_fork(struct place *parent, struct place *child)
{
	int error;

	*child = (struct place){.world = parent->world, .base = parent->base};
	error = soft_space_fork(parent->mmu, &child->mmu);
	if (!error)
		child->space = child->mmu->space;
	return error;
}

static inline int place_mmap(struct place *p, uint64_t *addr, uint64_t len, int prot, unsigned flags)
{
	struct wait wait = {0};

	return PLACE_CALL(p, &wait, space_mmap(p->space, addr, len, prot, flags, &wait));
}

static inline int place_mmap_file(struct place *p, uint64_t *addr, uint64_t len, int prot, unsigned flags,
	struct file *file, uint64_t pgoff)
{
	struct wait wait = {0};

	return PLACE_CALL(p, &wait, space_mmap_file(p->space, addr, len, prot, flags, file, pgoff, &wait));
}

static inline int place_munmap(struct place *p, uint64_t addr, uint64_t len)
{
	struct wait wait = {0};

	return PLACE_CALL(p, &wait, space_munmap(p->space, addr, len, &wait));
}

static inline int place_mprotect(struct place *p, uint64_t addr, uint64_t len, int prot)
{
	struct wait wait = {0};

	return PLACE_CALL(p, &wait, space_mprotect(p->space, addr, len, prot, &wait));
}

static inline int place_mremap(struct place *p, uint64_t *addr, uint64_t old_len, uint64_t new_len)
{
	struct wait wait = {0};

	return PLACE_CALL(p, &wait, space_mremap(p->space, addr, old_len, new_len, MREMAP_MAYMOVE, 0, &wait));
}

static inline int place_madvise(struct place *p, uint64_t addr, uint64_t len, int advice)
{
	struct wait wait = {0};

	return PLACE_CALL(p, &wait, space_madvise(p->space, addr, len, advice, &wait));
}

static inline int place_mlock(struct place *p, uint64_t addr, uint64_t len, bool lock)
{
	struct wait wait = {0};

	return PLACE_CALL(p, &wait, space_mlock(p->space, addr, len, lock, &wait));
}

/* Everything that can go out goes out, and is written. */
static inline void world_squeeze(struct world *w)
{
	unsigned more;

	do {
		more = pager_reclaim(w->pager, UINT16_MAX);
		while (pager_poll(w->pager, SWAP_WRITE, 1) > 0)
			;
	} while (more > 0);
}

/* An access, by the machine's own way: plain pointers on real memory, which must be allowed there. */
static inline int place_read(struct place *p, uint64_t addr, void *buf, size_t len)
{
	if (p->mmu)
		return soft_read(p->mmu, addr, buf, len);
	memcpy(buf, (const void *)(uintptr_t)addr, len);
	return 0;
}

static inline int place_write(struct place *p, uint64_t addr, const void *buf, size_t len)
{
	if (p->mmu)
		return soft_write(p->mmu, addr, buf, len);
	memcpy((void *)(uintptr_t)addr, buf, len);
	return 0;
}

#endif

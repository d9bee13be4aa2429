/* SPDX-License-Identifier: MIT */
/*
 * Where malloc's memory comes from: extents for jemalloc's arenas.
 *
 *   arena            extents                       who allocates from it
 *   0                jemalloc's own way, native    jemalloc itself; the time before the pager exists
 *   libc             native, at most LIBC_BYTES    libc and the dynamic linker, for themselves
 *   1 ..             the managed space             the program's threads
 *
 * jemalloc's metadata, caches and locks stay native for all arenas (metadata_use_hooks is off). The allocator may
 * hold its locks during a fault, so a fault must never need memory behind them.
 *
 * libc has an arena of its own because it touches its FILEs and tables between fork's last handler and the fork
 * itself, and in the child before its first handler. No managed memory can be brought in then. The arena also keeps
 * stdio's buffers in native memory, where any system call may use them. When it is full, libc shares the program's
 * arenas.
 *
 * An arena keeps address space that it once got ("retained"), without pages, and uses it again: mapping costs more
 * than a page table that stays. Extents follow each other in the space, so that they are few mappings.
 */
#include "run/run.h"
#include "run/raw.h"
#include "run/interpose/jemalloc.h"

#include <sys/mman.h>

#define LIBC_BYTES (8 * MIB)

/* The argument of "experimental.arenas_create_ext", as jemalloc's private header declares it. */
struct arena_config {
	extent_hooks_t *hooks;
	bool metadata_use_hooks;
};

static uint64_t next_extent; /* under the space lock: the address that is tried first for the next extent */

static _Atomic(uint64_t) libc_bytes;

/* => space locked */
static int map_at(uint64_t *addr, uint64_t len, unsigned flags)
{
	return retry(space_mmap(run.space, addr, len, PROT_READ | PROT_WRITE, flags, &wait));
}

/* => space locked */
static void unmap(uint64_t addr, uint64_t len)
{
	if (len)
		retry(space_munmap(run.space, addr, len, &wait));
}

/* Map at any aligned address: map more than is needed, and unmap both ends. => space locked */
static int map_aligned(uint64_t *addr, uint64_t len, uint64_t alignment)
{
	uint64_t slack = alignment - PAGE_BYTES;
	uint64_t whole = 0;

	int error = map_at(&whole, len + slack, 0);
	if (error)
		return error;
	*addr = (whole + alignment - 1) & ~(alignment - 1);
	unmap(whole, *addr - whole);
	unmap(*addr + len, whole + slack - *addr);
	return 0;
}

/* other_len: the alignment. addr: where it must be, or 0. => space locked */
static long extent_map(struct call *call)
{
	int error;

	if (call->addr) {
		error = map_at(&call->addr, call->len, SPACE_FIXED_NOREPLACE);
		return error ? error : (long)call->addr;
	}
	uint64_t addr = (next_extent + call->other_len - 1) & ~(call->other_len - 1);
	error = next_extent ? map_at(&addr, call->len, SPACE_FIXED_NOREPLACE) : -EEXIST;
	if (error)
		error = map_aligned(&addr, call->len, call->other_len);
	if (error)
		return error;
	next_extent = addr + call->len;
	return (long)addr;
}

static void *managed_alloc(extent_hooks_t *hooks, void *at, size_t size, size_t alignment, bool *zero,
	bool *commit, unsigned arena)
{
	(void)hooks;
	(void)arena;
	struct call call = {
		.work = extent_map,
		.addr = (uintptr_t)at,
		.len = size,
		.other_len = alignment,
	};
	if (size + alignment < size || call_run_locked(&call) < 0)
		return NULL;
	*zero = true;
	*commit = true;
	return (void *)call.result;
}

static long extent_purge(struct call *call)
{
	return retry(space_madvise(run.space, call->addr, call->len, MADV_DONTNEED, &wait));
}

/* Hooks return false for success. After this one the pages read as zeros. */
static bool managed_purge(
	extent_hooks_t *hooks, void *addr, size_t size, size_t offset, size_t len, unsigned arena)
{
	(void)hooks;
	(void)size;
	(void)arena;
	struct call call = {.work = extent_purge, .addr = (uintptr_t)addr + offset, .len = len};
	return call_run_locked(&call) != 0;
}

/* Returns false: extents may be split and merged anywhere, because the space knows nothing of extents. */
static bool extent_split(
	extent_hooks_t *hooks, void *addr, size_t size, size_t a, size_t b, bool committed, unsigned arena)
{
	(void)hooks, (void)addr, (void)size, (void)a, (void)b, (void)committed, (void)arena;
	return false;
}

static bool extent_merge(
	extent_hooks_t *hooks, void *a, size_t size_a, void *b, size_t size_b, bool committed, unsigned arena)
{
	(void)hooks, (void)a, (void)size_a, (void)b, (void)size_b, (void)committed, (void)arena;
	return false;
}

/* Without the other hooks jemalloc keeps the extents that it once got. */
static extent_hooks_t managed_hooks = {
	.alloc = managed_alloc,
	.purge_forced = managed_purge,
	.split = extent_split,
	.merge = extent_merge,
};

static void *native_alloc(extent_hooks_t *hooks, void *at, size_t size, size_t alignment, bool *zero,
	bool *commit, unsigned arena)
{
	(void)hooks;
	(void)arena;
	if (at || size + alignment < size || atomic_load(&libc_bytes) + size > LIBC_BYTES)
		return NULL;
	size_t slack = alignment - PAGE_BYTES;
	char *whole =
		raw_mmap(NULL, size + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (whole == MAP_FAILED)
		return NULL;
	char *start = (char *)(((uintptr_t)whole + alignment - 1) & ~(alignment - 1));
	if (start != whole)
		raw_munmap(whole, (size_t)(start - whole));
	if (slack != (size_t)(start - whole))
		raw_munmap(start + size, slack - (size_t)(start - whole));
	atomic_fetch_add(&libc_bytes, size);
	*zero = true;
	*commit = true;
	return start;
}

static bool native_purge(
	extent_hooks_t *hooks, void *addr, size_t size, size_t offset, size_t len, unsigned arena)
{
	(void)hooks, (void)size, (void)arena;
	return raw_madvise((char *)addr + offset, len, MADV_DONTNEED) != 0;
}

static extent_hooks_t native_hooks = {
	.alloc = native_alloc,
	.purge_forced = native_purge,
	.split = extent_split,
	.merge = extent_merge,
};

static int arena_create(extent_hooks_t *hooks, unsigned *index)
{
	struct arena_config config = {.hooks = hooks, .metadata_use_hooks = false};
	size_t len = sizeof(*index);
	return -jem_mallctl("experimental.arenas_create_ext", index, &len, &config, sizeof(config));
}

int extents_create_arenas(unsigned nr, unsigned *first, unsigned *libc_arena)
{
	int error = arena_create(&native_hooks, libc_arena);

	for (unsigned i = 0; i < nr && !error; i++) {
		unsigned index;
		error = arena_create(&managed_hooks, &index);
		if (!i)
			*first = index;
		else if (index != *first + i)
			error = -EINVAL; /* cannot happen: nobody else makes arenas */
	}
	return error;
}

/* SPDX-License-Identifier: MIT */
/*
 * The public library on a soft machine: spaces and typed access.
 *
 * An access that traps runs kswapd at its end. The calls below do the same, so that reclaim also runs in a program
 * that only maps and advises.
 */
#define _GNU_SOURCE
#include "lib/api.h"

#include <stdlib.h>
#include <sys/mman.h>

/* Addresses start here, so that 0 and addresses near it are never valid. */
#define SOFT_BASE (64 * KIB)

int anonmm_space_create(struct anonmm *mm, struct anonmm_space **out)
{
	struct anonmm_space *space;
	int error;

	*out = NULL;
	if (mm->kind != ANONMM_SOFT)
		return -EINVAL;
	space = calloc(1, sizeof(*space));
	if (!space)
		return -ENOMEM;
	error = soft_space_open(mm->machine, SOFT_BASE, mm->address_space - SOFT_BASE, &space->soft);
	if (error) {
		free(space);
		return error;
	}
	space->mm = mm;
	space->space = space->soft->space;
	space_list_add(space);
	*out = space;
	return 0;
}

void space_list_add(struct anonmm_space *space)
{
	pthread_mutex_lock(&space->mm->spaces_lock);
	LIST_INSERT_HEAD(&space->mm->spaces, space, link);
	pthread_mutex_unlock(&space->mm->spaces_lock);
}

void anonmm_space_destroy(struct anonmm_space *space)
{
	if (!space)
		return;
	pthread_mutex_lock(&space->mm->spaces_lock);
	LIST_REMOVE(space, link);
	pthread_mutex_unlock(&space->mm->spaces_lock);
	if (space->soft)
		soft_space_close(space->soft);
	else
		snapshot_destroy(space);
	free(space);
}

static void begin(struct api_call *call, struct anonmm_space *space)
{
	call_begin(call, space->mm, space->space);
}

static int end(struct api_call *call)
{
	int result = call_end(call);

	if (call->mm->kind == ANONMM_SOFT)
		soft_machine_tick(call->mm->machine);
	return result;
}

static bool prot_is_known(int prot)
{
	return !(prot & ~(PROT_READ | PROT_WRITE | PROT_EXEC));
}

int anonmm_space_mmap(struct anonmm_space *space, uint64_t *addr, uint64_t length, int prot)
{
	struct api_call call;

	if (!prot_is_known(prot))
		return -EINVAL;
	begin(&call, space);
	while (call_again(&call, space_mmap(call.space, addr, length, prot, 0, &call.wait)))
		;
	return end(&call);
}

int anonmm_space_munmap(struct anonmm_space *space, uint64_t addr, uint64_t length)
{
	struct api_call call;

	begin(&call, space);
	while (call_again(&call, space_munmap(call.space, addr, length, &call.wait)))
		;
	return end(&call);
}

int anonmm_space_mprotect(struct anonmm_space *space, uint64_t addr, uint64_t length, int prot)
{
	struct api_call call;

	if (!prot_is_known(prot))
		return -EINVAL;
	begin(&call, space);
	while (call_again(&call, space_mprotect(call.space, addr, length, prot, &call.wait)))
		;
	return end(&call);
}

int anonmm_space_mremap(struct anonmm_space *space, uint64_t *addr, uint64_t old_length, uint64_t new_length)
{
	struct api_call call;

	begin(&call, space);
	while (call_again(
		&call, space_mremap(call.space, addr, old_length, new_length, MREMAP_MAYMOVE, 0, &call.wait)))
		;
	return end(&call);
}

int anonmm_space_madvise(struct anonmm_space *space, uint64_t addr, uint64_t length, int advice)
{
	struct api_call call;

	begin(&call, space);
	while (call_again(&call, space_madvise(call.space, addr, length, advice, &call.wait)))
		;
	return end(&call);
}

static int set_lock(struct anonmm_space *space, uint64_t addr, uint64_t length, bool lock)
{
	struct api_call call;

	begin(&call, space);
	while (call_again(&call, space_mlock(call.space, addr, length, lock, &call.wait)))
		;
	return end(&call);
}

int anonmm_space_mlock(struct anonmm_space *space, uint64_t addr, uint64_t length)
{
	return set_lock(space, addr, length, true);
}

int anonmm_space_munlock(struct anonmm_space *space, uint64_t addr, uint64_t length)
{
	return set_lock(space, addr, length, false);
}

/* ---- Typed access ---------------------------------------------------------------------- */

int anonmm_read(struct anonmm_space *space, uint64_t addr, void *buf, size_t length)
{
	if (!space->soft)
		return -EINVAL;
	return soft_read(space->soft, addr, buf, length);
}

int anonmm_write(struct anonmm_space *space, uint64_t addr, const void *buf, size_t length)
{
	if (!space->soft)
		return -EINVAL;
	return soft_write(space->soft, addr, buf, length);
}

int anonmm_load64(struct anonmm_space *space, uint64_t addr, uint64_t *value)
{
	if (!space->soft)
		return -EINVAL;
	return soft_load64(space->soft, addr, value);
}

int anonmm_store64(struct anonmm_space *space, uint64_t addr, uint64_t value)
{
	if (!space->soft)
		return -EINVAL;
	return soft_store64(space->soft, addr, value);
}

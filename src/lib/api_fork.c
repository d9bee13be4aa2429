/* SPDX-License-Identifier: MIT */
/*
 * The public library: fork of a space.
 *
 * On a soft machine the child has the same addresses. On real memory it is a snapshot at other addresses of the same
 * process. Its range is taken from the high end of the managed range, and is a foreign range of the main space.
 */
#define _GNU_SOURCE
#include "lib/api.h"

#include <stdlib.h>
#include <sys/mman.h>

static int fork_soft(struct anonmm_space *parent, struct anonmm_space *child)
{
	int error = soft_space_fork(parent->soft, &child->soft);

	if (!error)
		child->space = child->soft->space;
	return error;
}

/* Take the highest free range of @bytes. 0 and *@to, or -errno. */
static int take_range(struct api_call *call, uint64_t bytes, uint64_t *to)
{
	struct space *space = call->space;
	uint64_t at = space_base(space) + space_bytes(space);
	int error = -ENOMEM;

	while (at - space_base(space) >= bytes) {
		at -= bytes;
		*to = at;
		while (call_again(
			call, space_mmap(space, to, bytes, PROT_NONE,
				      SPACE_FIXED_NOREPLACE | SPACE_FOREIGN | SPACE_NORESERVE, &call->wait)))
			;
		error = call->result;
		if (error != -EEXIST)
			return error;
	}
	return error == -EEXIST ? -ENOMEM : error;
}

static void give_range_back(struct api_call *call, uint64_t to, uint64_t bytes)
{
	while (call_again(call, space_munmap(call->space, to, bytes, &call->wait)))
		;
}

static int fork_real(struct anonmm *mm, struct space *parent, struct anonmm_space *child)
{
	struct fork_place place;
	struct api_call call;
	int error;

	call_begin(&call, mm, parent);
	error = space_extent(parent, &place.from, &place.bytes);
	if (!error)
		error = take_range(&call, place.bytes, &place.to);
	if (!error) {
		while (call_again(&call, space_fork(parent, &place, NULL, &child->space, &call.wait)))
			;
		error = call.result;
		if (error)
			give_range_back(&call, place.to, place.bytes);
	}
	child->from = place.from;
	call_end(&call);
	return error;
}

int anonmm_fork(struct anonmm *mm, struct anonmm_space *space, struct anonmm_space **out)
{
	struct anonmm_space *child;
	int error;

	*out = NULL;
	if (!space && mm->kind == ANONMM_SOFT)
		return -EINVAL;
	child = calloc(1, sizeof(*child));
	if (!child)
		return -ENOMEM;
	child->mm = mm;
	if (mm->kind == ANONMM_SOFT)
		error = fork_soft(space, child);
	else
		error = space ? -EOPNOTSUPP : fork_real(mm, mm->space, child);
	if (error) {
		free(child);
		return error;
	}
	space_list_add(child);
	*out = child;
	return 0;
}

void *anonmm_space_pointer(struct anonmm_space *space, const void *p)
{
	uint64_t offset = (uint64_t)(uintptr_t)p - space->from;

	if (space->soft || offset >= space_bytes(space->space))
		return NULL;
	return (void *)(uintptr_t)(space_base(space->space) + offset);
}

/* The range must not be free before the child's space has ended. */
void snapshot_destroy(struct anonmm_space *space)
{
	uint64_t base = space_base(space->space), bytes = space_bytes(space->space);
	struct anonmm *mm = space->mm;
	struct api_call call;

	space_destroy(mm, space->space);
	call_begin(&call, mm, mm->space);
	give_range_back(&call, base, bytes);
	call_end(&call);
}

/* SPDX-License-Identifier: MIT */
/*
 * The public library on real memory: the mmap family on the one space of a uffd machine. On a soft machine, where
 * addresses are numbers, these functions fail with -EINVAL.
 */
#define _GNU_SOURCE
#include "lib/api.h"

#include <sys/mman.h>

static bool prot_is_known(int prot)
{
	return !(prot & ~(PROT_READ | PROT_WRITE | PROT_EXEC));
}

static uint64_t number(const void *addr)
{
	return (uint64_t)(uintptr_t)addr;
}

/* The result of functions that return a pointer: NULL and errno on failure. */
static void *pointer(int error, uint64_t addr)
{
	if (!error)
		return (void *)(uintptr_t)addr;
	errno = -error;
	return NULL;
}

void *anonmm_mmap(struct anonmm *mm, void *addr, size_t length, int prot)
{
	uint64_t place = number(addr);
	struct api_call call;

	if (!mm->space || !prot_is_known(prot))
		return pointer(-EINVAL, 0);
	call_begin(&call, mm, mm->space);
	while (call_again(&call, space_mmap(mm->space, &place, length, prot, 0, &call.wait)))
		;
	return pointer(call_end(&call), place);
}

int anonmm_munmap(struct anonmm *mm, void *addr, size_t length)
{
	struct api_call call;

	if (!mm->space)
		return -EINVAL;
	call_begin(&call, mm, mm->space);
	while (call_again(&call, space_munmap(mm->space, number(addr), length, &call.wait)))
		;
	return call_end(&call);
}

int anonmm_mprotect(struct anonmm *mm, void *addr, size_t length, int prot)
{
	struct api_call call;

	if (!mm->space || !prot_is_known(prot))
		return -EINVAL;
	call_begin(&call, mm, mm->space);
	while (call_again(&call, space_mprotect(mm->space, number(addr), length, prot, &call.wait)))
		;
	return call_end(&call);
}

void *anonmm_mremap(struct anonmm *mm, void *addr, size_t old_length, size_t new_length)
{
	uint64_t place = number(addr);
	struct api_call call;

	if (!mm->space)
		return pointer(-EINVAL, 0);
	call_begin(&call, mm, mm->space);
	while (call_again(&call,
		space_mremap(mm->space, &place, old_length, new_length, MREMAP_MAYMOVE, 0, &call.wait)))
		;
	return pointer(call_end(&call), place);
}

int anonmm_madvise(struct anonmm *mm, void *addr, size_t length, int advice)
{
	struct api_call call;

	if (!mm->space)
		return -EINVAL;
	call_begin(&call, mm, mm->space);
	while (call_again(&call, space_madvise(mm->space, number(addr), length, advice, &call.wait)))
		;
	return call_end(&call);
}

static int set_lock(struct anonmm *mm, void *addr, size_t length, bool lock)
{
	struct api_call call;

	if (!mm->space)
		return -EINVAL;
	call_begin(&call, mm, mm->space);
	while (call_again(&call, space_mlock(mm->space, number(addr), length, lock, &call.wait)))
		;
	return call_end(&call);
}

int anonmm_mlock(struct anonmm *mm, void *addr, size_t length)
{
	return set_lock(mm, addr, length, true);
}

int anonmm_munlock(struct anonmm *mm, void *addr, size_t length)
{
	return set_lock(mm, addr, length, false);
}

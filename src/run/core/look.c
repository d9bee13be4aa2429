/* SPDX-License-Identifier: MIT */
/*
 * For debuggers: bring memory in.
 *
 * A debugger reads the memory of a stopped program without page faults, so a page that is out is an error to it. The
 * debugger calls this function in the program (share/gdb/anonmm.py). The program itself then touches the pages,
 * within the limit.
 */
#include "run/run.h"
#include "run/raw.h"

#include <sys/mman.h>

EXPORT __attribute__((used)) long anonmm_touch(const void *from, const void *end);

static bool is_readable(uint64_t at)
{
	sigset_t signals;
	uint64_t run_end;
	int prot = PROT_NONE;

	if (!run.active || !run_manages((void *)at))
		return false;
	raw_block_signals(&signals);
	bool anon = space_kind_at(run.space, at, &run_end, &prot) == SPACE_ANON;
	raw_restore_signals(&signals);
	return anon && prot & PROT_READ;
}

/*
 * => a thread of the program's, with our own threads running. How many pages of [from, end) are in memory that may be
 * read.
 */
long anonmm_touch(const void *from, const void *end)
{
	uint64_t at = page_align_down((uintptr_t)from);
	long touched = 0;

	for (; at < (uintptr_t)end; at += PAGE_BYTES) {
		if (!is_readable(at))
			continue;
		(void)*(volatile uint8_t *)at;
		touched++;
	}
	return touched;
}

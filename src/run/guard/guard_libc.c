/* SPDX-License-Identifier: MIT */
/* Find libc's own functions; see guard_libc.h. */
#include "run/guard/guard_libc.h"
#include "run/run.h"

struct guard_libc guard_libc;

#define FIND(name) guard_libc.name = (__typeof__(guard_libc.name))run_symbol(#name);

void guard_libc_find(void)
{
	GUARD_LIBC(FIND)
	atomic_store_explicit(&guard_libc.found, true, memory_order_release);
}

void guard_libc_start(void)
{
	guard_libc_find();
}

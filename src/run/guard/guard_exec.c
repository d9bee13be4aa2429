/* SPDX-License-Identifier: MIT */
/*
 * execve reads strings that are named by arrays. The strings are brought in. The call is made again while it fails
 * because some went out before the kernel read them. Copies would not do: if a vfork's child makes the call, they
 * would stay in the parent after it.
 */
#include "run/guard/guard.h"
#include "run/raw.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#define TEXT_MOST (128 * KIB) /* the kernel's own limit of one string */
#define ARRAY_MOST (1U << 20)
#define TRIES 256

void guard_touch_text(const char *text)
{
	volatile size_t len; /* volatile: the compiler must not remove the look at the text */

	if (!text || !run_manages(text))
		return;
	len = strnlen(text, guard_valid((uintptr_t)text, TEXT_MOST, PROT_READ));
	(void)len;
}

static void touch_array(uint64_t array)
{
	uint64_t text;

	for (unsigned i = 0; array && i < ARRAY_MOST; i++, array += sizeof(text)) {
		if (!guard_read(&text, array, sizeof(text)) || !text)
			return;
		guard_touch_text((const char *)text);
	}
}

long guard_run_exec(struct guard_call *call)
{
	unsigned path = call->nr == SYS_execveat;
	long result = -EFAULT;

	for (int tries = 0; result == -EFAULT && tries < TRIES; tries++) {
		guard_touch_text((const char *)call->arg[path]);
		touch_array(call->arg[path + 1]);
		touch_array(call->arg[path + 2]);
		result = guard_issue(call->nr, call->now);
	}
	return result;
}

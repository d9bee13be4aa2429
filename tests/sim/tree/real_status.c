/* SPDX-License-Identifier: MIT */
/* The status page, on the shims' host: both sides of it are the library's own. A copy of memory has points, too. */
#include "shims.h"

#include <stdio.h>
#include <string.h>

static void shim_copy(void *to, const void *from, size_t bytes)
{
	uint64_t *t = to;
	const uint64_t *f = from;

	assert(bytes % sizeof(*t) == 0);
	for (size_t i = 0; i < bytes / sizeof(*t); i++) {
		POINT();
		t[i] = f[i];
	}
}

static void shim_wake(const void *word, const struct status *page)
{
	if (world.plant != PLANT_LOST_QUESTION || word != &page->kick)
		shim_futex_wake(word);
}

/* What the process of a page reads of it. */
static uint32_t shim_load(const void *word, uint32_t value)
{
	const struct status *page = &world.now->page->status;

	if (word == &page->asked)
		world.now->asked = value;
	return world.plant == PLANT_TORN_QUESTION && word == &page->question_of ? world.now->asked : value;
}

static int checked_set_limit(uint64_t bytes, char *why, size_t why_len)
{
	if (!bytes)
		world_fail("process %d sets a limit that nobody has asked for", world.now->pid);
	return share_set_limit(bytes, why, why_len);
}

#define memcpy shim_copy
#undef host_futex_wake_shared
#define host_futex_wake_shared(word, nr) shim_wake(word, page)
#include "run/tree/status_ask.c"

#undef atomic_load
#define atomic_load(word) (POINT(), shim_load(word, atomic_load_explicit(word, memory_order_seq_cst)))
#define share_set_limit checked_set_limit
#include "run/tree/status_serve.c"

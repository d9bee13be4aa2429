/* SPDX-License-Identifier: MIT */
/* The asker's side of a status page; see status.h. */
#include "run/tree/status.h"
#include "host/host.h"

#include <string.h>

#define LOOK_NS 50000000 /* a process that was killed before it woke the asker has answered all the same */

static int wait_for_answer(struct status *page, uint32_t asked, int timeout_ms)
{
	uint64_t until = host_now_ns() + (uint64_t)timeout_ms * 1000000;

	for (;;) {
		uint32_t answered = atomic_load(&page->answered);
		uint64_t now = host_now_ns();

		if (answered == asked)
			return 0;
		if (now >= until)
			return -ETIMEDOUT;
		host_futex_wait_shared(&page->answered, answered, (int64_t)min_u64(until - now, LOOK_NS));
	}
}

/* 0 is no request: question_of says by it that the question is not whole. */
static uint32_t next_number(const struct status *page)
{
	uint32_t next = atomic_load(&page->asked) + 1;

	return next ? next : 1;
}

int status_ask(struct status *page, const struct status_question *question, int timeout_ms)
{
	uint32_t asked = next_number(page);

	atomic_store(&page->question_of, 0);
	memcpy(&page->question, question, sizeof(*question));
	atomic_store(&page->question_of, asked);
	atomic_store(&page->asked, asked);
	atomic_store(&page->kick, 1);
	host_futex_wake_shared(&page->kick, INT32_MAX);
	return wait_for_answer(page, asked, timeout_ms);
}

/* SPDX-License-Identifier: MIT */
/* What kswapd does for those who ask by the status page; see status.h. */
#include "run/run.h"
#include "host/host.h"
#include "lib/governor.h"
#include "run/tree/status.h"

#include <string.h>

static void publish(struct status *page)
{
	struct share_view view;

	page->now_ns = host_now_ns();
	pager_stats(run.pager, &page->record.stats);
	pager_limit(run.pager, &page->limit);
	if (!page->limit.bytes)
		page->limit.bytes = share_bytes();
	share_view(&view);
	page->shared = view.shared;
	page->run_limit = view.shared ? view.limit : page->limit.bytes;
	page->run_shares = view.shares;
	page->run_processes = view.processes;
}

static void set_limit(struct status *page, uint64_t bytes)
{
	page->why[0] = '\0';
	page->result = 0;
	if (share_is_shared())
		page->result = share_set_limit(bytes, page->why, sizeof(page->why));
	else if (run.governor)
		governor_set_most(run.governor, bytes);
	else
		page->result = pager_set_limit(run.pager, bytes, page->why, sizeof(page->why));
	if (!page->result && !run.governor)
		run.record->limit_bytes = bytes;
}

static bool is_question_of(const struct status *page, uint32_t asked)
{
	atomic_thread_fence(memory_order_acquire); /* what was read before stays before */
	return atomic_load(&page->question_of) == asked;
}

/* Copy the question of request @asked. false: its asker has given up, and another one writes. That one will kick. */
static bool take_question(const struct status *page, uint32_t asked, struct status_question *question)
{
	if (!is_question_of(page, asked))
		return false;
	memcpy(question, &page->question, sizeof(*question));
	return is_question_of(page, asked);
}

void status_serve(void *status)
{
	struct status *page = status;
	struct status_question question;
	uint32_t asked = atomic_load(&page->asked);

	if (likely(asked == atomic_load(&page->answered)) || !take_question(page, asked, &question))
		return;
	if (question.request == STATUS_TOUCH && !touch_step(page, &question, asked)) {
		atomic_store(&page->kick, 1); /* it goes on when kswapd has done some of its other work */
		return;
	}
	if (question.request == STATUS_LIMIT)
		set_limit(page, question.bytes);
	publish(page);
	atomic_store(&page->answered, asked);
	host_futex_wake_shared(&page->answered, INT32_MAX);
}

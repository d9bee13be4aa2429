/* SPDX-License-Identifier: MIT */
/*
 * `anonmm touch`: bring in pages of this process because another process asks for it.
 *
 * kswapd does it between two rounds of its other work, and never waits: it looks at a page under I/O again in its
 * next round. The command sends one request after another. Each brings in PAGES_MOST pages at most.
 */
#include "run/run.h"
#include "run/tree/status.h"

#define PAGES_MOST 256 /* brought in for one request */
#define COUNT_MOST 65536
#define POLL_MS 1

static uint32_t begun; /* number of the last request that was begun; its progress is on the status page */

static void begin(struct status *page, uint64_t from, uint32_t asked)
{
	begun = asked;
	page->touch_at = from;
	page->touch_pages = page->touch_refused = 0;
	page->touch_full = 0;
}

static enum space_away away(enum touch_what what)
{
	switch (what) {
	case TOUCH_ARMED:
		return SPACE_ARMED;
	case TOUCH_ROOM:
	case TOUCH_ANYHOW:
		return SPACE_OUT;
	default:
		return SPACE_AWAY;
	}
}

static bool has_room(void)
{
	struct pager_limit limit;

	pager_limit(run.pager, &limit);
	return !limit.low || share_more();
}

static enum fault_result bring_in(uint64_t addr)
{
	struct wait wait;

	return handle_mm_fault(run.space, addr, ACCESS_READ, &wait);
}

/* Bring in or count the page at touch_at, which is away. false: it is under I/O, try again later. */
static bool do_page(struct status *page, enum touch_what what)
{
	enum fault_result result = FAULT_DONE;

	if (what == TOUCH_ROOM && !has_room())
		result = FAULT_OOM;
	else if (what != TOUCH_COUNT)
		result = bring_in(page->touch_at);
	if (result == FAULT_WAIT)
		return false;
	page->touch_full = result == FAULT_OOM;
	if (page->touch_full)
		return true;
	if (result == FAULT_DONE)
		page->touch_pages++;
	else
		page->touch_refused++; /* may not be read, or is lost */
	page->touch_at += PAGE_BYTES;
	return true;
}

bool touch_step(struct status *page, const struct status_question *question, uint32_t asked)
{
	enum touch_what what = question->touch_what;
	uint64_t most = what == TOUCH_COUNT ? COUNT_MOST : PAGES_MOST;
	uint64_t end = min_u64(question->end, run.end);

	if (begun != asked)
		begin(page, question->from, asked);
	while (page->touch_pages + page->touch_refused < most && !page->touch_full) {
		if (!space_next_out(run.space, away(what), page->touch_at, end, &page->touch_at)) {
			page->touch_at = question->end;
			return true;
		}
		if (!do_page(page, what)) {
			pager_poll(run.pager, SWAP_READ, POLL_MS);
			return false;
		}
	}
	return true;
}

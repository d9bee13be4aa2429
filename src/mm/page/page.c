/* SPDX-License-Identifier: MIT */
/*
 * The helpers that change a page's state, and the one place where such changes are reported.
 *
 * The helpers assert what must hold before a change. page_step() asserts what must hold after it, and tells the tracer.
 * When nobody traces, that costs one branch that is never taken.
 */
#include "mm/mm.h"

#include <stdio.h>
#include <string.h>

pfn_t page_pfn(const struct pager *pager, const struct page *page)
{
	return (pfn_t)(page - pager->pages);
}

struct page *pfn_page(const struct pager *pager, pfn_t pfn)
{
	assert(pfn < pager->nr_frames);
	return &pager->pages[pfn];
}

void page_set(struct page *page, uint32_t flags)
{
	page->word |= flags;
}

void page_clear(struct page *page, uint32_t flags)
{
	page->word &= ~flags;
}

void page_set_list(struct page *page, enum page_list list)
{
	page->word = (page->word & FLAGS_MASK) | ((uint32_t)list << LIST_SHIFT);
}

void page_init(struct page *page)
{
	assert(page->_count == 0 && page->_mapcount == -1);
	page->_count = 1;
	page->word = 0; /* no flag, LIST_NONE */
	page->index = 0;
	page->mapping = NULL;
	page->private = 0;
}

void page_get(struct page *page)
{
	assert(page->_count > 0);
	page->_count++;
}

void page_put(struct pager *pager, struct page *page)
{
	assert(page->_count > 0);
	if (--page->_count > 0)
		return;
	assert(!page_has_any(page, PG_swapcache | PG_locked | PG_writeback));
	lru_del_page(pager, page);
	free_page(pager, page);
}

bool page_freeze_refs(struct page *page, int expected)
{
	if (page->_count != expected)
		return false;
	page->_count = 0;
	return true;
}

void free_page(struct pager *pager, struct page *page)
{
	assert(page->_count == 0 && !page_mapped(page));
	assert(!page_has_any(page, PG_swapcache | PG_locked | PG_writeback | PG_lru));
	page_clear(page, FLAGS_MASK & ~(PG_swapbacked | PG_uptodate));
	page->mapping = NULL;
	frame_free(pager, page);
	page_step(pager, page, "free_page", 0);
}

bool page_trylock(struct pager *pager, struct page *page)
{
	if (page_has(page, PG_locked))
		return false;
	page_set(page, PG_locked);
	pager->nr_locked++;
	return true;
}

void page_unlock(struct pager *pager, struct page *page)
{
	assert(page_has(page, PG_locked));
	page_clear(page, PG_locked);
	pager->nr_locked--;
	wake_up_page(pager, page);
	if (unlikely(pager->frozen || pager->frame_waiters) && pager->nr_locked == 0)
		pager_is_quiet(pager);
}

void wake_up_page(struct pager *pager, struct page *page)
{
	if (!page_has(page, PG_waiters))
		return;
	page_clear(page, PG_waiters);
	page_event(pager, page);
}

void page_step(struct pager *pager, struct page *page, const char *function, uint64_t addr)
{
	assert(page_check(page) == NULL);
	if (unlikely(pager->tracer != NULL)) {
		struct page_event event = {function, page_pfn(pager, page), addr};

		pager->tracer(pager->tracer_ctx, &event);
	}
}

const char *page_check(const struct page *page)
{
	enum page_list list = page_list(page);
	int named = (page->_mapcount + 1) + page_has(page, PG_swapcache) + (page_file(page) != NULL) +
		    (list == LIST_ISOLATED);

	if (page->_mapcount < -1)
		return "_mapcount below -1";
	if (page->_count == 0)
		return page_mapped(page) ? "a page without references is mapped" : NULL;
	if (page->_count < named)
		return "fewer references than holders";
	if (page_has(page, PG_lru) != (list >= LIST_ISOLATED))
		return "PG_lru and the list disagree";
	if (page_has(page, PG_active) && list != LIST_ACTIVE_ANON && list != LIST_ACTIVE_FILE &&
		list != LIST_ISOLATED)
		return "PG_active and the list disagree";
	if (list == LIST_UNEVICTABLE && !page_has(page, PG_unevictable))
		return "on the unevictable list without PG_unevictable";
	if (page_has(page, PG_swapcache) && page_file(page))
		return "in the swap cache and in a page cache";
	if (page_has(page, PG_writeback) && !page_has(page, PG_swapcache))
		return "under writeback outside the swap cache";
	return NULL;
}

static const struct {
	uint32_t flag;
	const char *name;
} flag_names[] = {
	{PG_lru, "lru"},
	{PG_active, "active"},
	{PG_referenced, "referenced"},
	{PG_swapbacked, "swapbacked"},
	{PG_swapcache, "swapcache"},
	{PG_dirty, "dirty"},
	{PG_uptodate, "uptodate"},
	{PG_locked, "locked"},
	{PG_reclaim, "reclaim"},
	{PG_writeback, "writeback"},
	{PG_unevictable, "unevictable"},
	{PG_mlocked, "mlocked"},
	{PG_ksm, "ksm"},
	{PG_workingset, "workingset"},
	{PG_error, "error"},
};

const char *page_flags_text(uint32_t flags, char *buf, size_t len)
{
	size_t used = 0;

	if (len == 0)
		return "";
	buf[0] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(flag_names); i++) {
		if (!(flags & flag_names[i].flag))
			continue;
		int n = snprintf(buf + used, len - used, "%s%s", used ? "|" : "", flag_names[i].name);

		if (n < 0 || (size_t)n >= len - used)
			break;
		used += (size_t)n;
	}
	return buf;
}

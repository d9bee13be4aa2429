/* SPDX-License-Identifier: MIT */
/* The lists of reclaim; see lru.h. */
#include "mm/mm.h"

static enum page_list lru_of(const struct page *page)
{
	if (page_has(page, PG_unevictable))
		return LIST_UNEVICTABLE;
	if (page_has(page, PG_swapbacked))
		return page_has(page, PG_active) ? LIST_ACTIVE_ANON : LIST_INACTIVE_ANON;
	return page_has(page, PG_active) ? LIST_ACTIVE_FILE : LIST_INACTIVE_FILE;
}

static void list_insert(struct pager *pager, struct page *page, enum page_list list, bool at_tail)
{
	struct node *node = page_node(pager, page);

	if (at_tail)
		TAILQ_INSERT_TAIL(&node->lists[list], page, lru);
	else
		TAILQ_INSERT_HEAD(&node->lists[list], page, lru);
	node->nr_pages[list]++;
	page_set_list(page, list);
}

static void list_remove(struct pager *pager, struct page *page)
{
	struct node *node = page_node(pager, page);
	enum page_list list = page_list(page);

	assert(list > LIST_ISOLATED);
	TAILQ_REMOVE(&node->lists[list], page, lru);
	node->nr_pages[list]--;
}

void lru_cache_add(struct pager *pager, struct page *page)
{
	assert(page_list(page) == LIST_NONE);
	page_set(page, PG_lru);
	list_insert(pager, page, lru_of(page), false);
}

uint32_t birth_list(const struct pager *pager)
{
	return pager->policy & PAGER_BIRTH_INACTIVE ? 0 : PG_active;
}

void lru_del_page(struct pager *pager, struct page *page)
{
	assert(page_list(page) != LIST_ISOLATED);
	if (page_list(page) == LIST_NONE)
		return;
	list_remove(pager, page);
	page_clear(page, PG_lru | PG_active | PG_unevictable);
	page_set_list(page, LIST_NONE);
}

bool isolate_lru_page(struct pager *pager, struct page *page, struct page_head *to)
{
	if (page_list(page) <= LIST_ISOLATED)
		return false;
	list_remove(pager, page);
	page_set_list(page, LIST_ISOLATED);
	page_get(page);
	TAILQ_INSERT_TAIL(to, page, lru);
	return true;
}

unsigned isolate_lru_pages(
	struct pager *pager, struct node *node, enum page_list list, unsigned nr, struct page_head *to)
{
	unsigned taken = 0;

	while (taken < nr && !TAILQ_EMPTY(&node->lists[list])) {
		struct page *page = TAILQ_LAST(&node->lists[list], page_head);

		isolate_lru_page(pager, page, to);
		page_step(pager, page, "isolate_lru_pages", 0);
		taken++;
	}
	return taken;
}

void putback_lru_page(struct pager *pager, struct page *page, struct page_head *from)
{
	assert(page_list(page) == LIST_ISOLATED);
	TAILQ_REMOVE(from, page, lru);
	list_insert(pager, page, lru_of(page), false);
	if (page->_count > 1)
		page->_count--;
	else
		page_put(pager, page);
	if (page->_count > 0)
		page_step(pager, page, "putback_lru_page", 0);
}

void rotate_reclaimable_page(struct pager *pager, struct page *page)
{
	if (page_list(page) != LIST_INACTIVE_ANON && page_list(page) != LIST_INACTIVE_FILE)
		return;
	enum page_list list = page_list(page);

	list_remove(pager, page);
	list_insert(pager, page, list, true);
}

void lru_requeue(struct pager *pager, struct page *page)
{
	if (page_list(page) <= LIST_ISOLATED)
		return;
	list_remove(pager, page);
	list_insert(pager, page, lru_of(page), false);
}

void page_mlock(struct pager *pager, struct page *page)
{
	if (page_has(page, PG_mlocked | PG_unevictable))
		return;
	page_clear(page, PG_active);
	page_set(page, PG_mlocked | PG_unevictable);
	lru_requeue(pager, page);
}

void clear_page_mlock(struct pager *pager, struct page *page)
{
	page_clear(page, PG_mlocked | PG_unevictable);
	lru_requeue(pager, page);
}

/* SPDX-License-Identifier: MIT */
/*
 * The lists of reclaim. A page is on one of them; or isolated: on no list of reclaim, PG_lru still set, and held by its
 * isolator's reference; or on none.
 */
#ifndef ANONMM_LRU_H
#define ANONMM_LRU_H

#include "mm/page/frames.h"

/*
 * Put a new page at the head of the list that its flags name (PG_active, PG_unevictable, PG_swapbacked). => on no list
 */
void lru_cache_add(struct pager *pager, struct page *page);

/* PG_active, or 0: the list on which the pager's policy has new anonymous pages start. */
uint32_t birth_list(const struct pager *pager);

/* Take a page off its list at the end of its life. Does nothing if it is on none. => not isolated */
void lru_del_page(struct pager *pager, struct page *page);

/*
 * Isolate up to @nr pages from the tail of @list, the oldest first: they go to the tail of @to, each with one more
 * reference. Returns how many.
 */
unsigned isolate_lru_pages(
	struct pager *pager, struct node *node, enum page_list list, unsigned nr, struct page_head *to);

/* Isolate one page, from whichever list it is on. Returns false if it is on none. */
bool isolate_lru_page(struct pager *pager, struct page *page, struct page_head *to);

/*
 * Take an isolated page from @from back to the head of the list that its flags name. The isolator's reference goes; if
 * it was the last, the page is freed.
 */
void putback_lru_page(struct pager *pager, struct page *page, struct page_head *from);

/*
 * The end of a write keeps PG_reclaim's promise: a page on an inactive list goes to its tail, to be reclaimed next. Any
 * other page stays where it is.
 */
void rotate_reclaimable_page(struct pager *pager, struct page *page);

/*
 * A locked VMA maps the page: move it to the unevictable list. Does nothing if the page is marked already. A page that
 * is on no list is marked, and joins that list later.
 */
void page_mlock(struct pager *pager, struct page *page);

/*
 * A locked VMA maps the page no more: the page is evictable. If another locked VMA still maps it, reclaim finds that
 * out.
 */
void clear_page_mlock(struct pager *pager, struct page *page);

/* Move a page to the head of the list that its flags name now. Does nothing if it is isolated, or on no list. */
void lru_requeue(struct pager *pager, struct page *page);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The lists of reclaim. A page is on one of them, isolated (on no list of reclaim, held by
 * its isolator's reference, PG_lru still set), or on none.
 */
#ifndef ANONMM_LRU_H
#define ANONMM_LRU_H

#include "mm/page/frames.h"

/* A new page joins: the head of the list that its flags name (PG_active, PG_unevictable, PG_swapbacked). */
void lru_cache_add(struct pager *pager, struct page *page);

/* PG_active, or 0: where the pager's policy has new anonymous pages start. */
uint32_t birth_list(const struct pager *pager);

/* Off the list, at the end of its life. No-op for a page that is on none. => not isolated */
void lru_del_page(struct pager *pager, struct page *page);

/*
 * Take up to @nr pages from the tail of @list into @to (oldest first), each with a reference.
 * Returns how many.
 */
unsigned isolate_lru_pages(
	struct pager *pager, struct node *node, enum page_list list, unsigned nr, struct page_head *to);

/* One page, from wherever it is. false: it is on no list. */
bool isolate_lru_page(struct pager *pager, struct page *page, struct page_head *to);

/* Back to the head of the list that its flags name, and the isolation's reference goes (with the page, if it was the last). */
void putback_lru_page(struct pager *pager, struct page *page, struct page_head *from);

/* PG_reclaim's promise: to the tail of the inactive list, next to be reclaimed. Where the page is isolated: nothing. */
void rotate_reclaimable_page(struct pager *pager, struct page *page);

/* A locked VMA maps the page: it belongs to the unevictable list. No-op if it is there. A new page joins that list later. */
void page_mlock(struct pager *pager, struct page *page);

/* A VMA that locked the page maps it no more. Should another one lock it still, reclaim finds that out. */
void clear_page_mlock(struct pager *pager, struct page *page);

/* Move a page between lists after its flags have changed. No-op when isolated. */
void lru_requeue(struct pager *pager, struct page *page);

#endif

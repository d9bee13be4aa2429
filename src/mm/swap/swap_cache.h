/* SPDX-License-Identifier: MIT */
/*
 * The swap cache: pages that are in memory and have a slot. It is no tree of its own. The slot's word names the page,
 * and page->private names the slot.
 */
#ifndef ANONMM_SWAP_CACHE_H
#define ANONMM_SWAP_CACHE_H

#include "mm/page/page.h"
#include "mm/space/pgtable.h"

/*
 * Give @page a slot and put it into the swap cache.
 * => page locked, anonymous, not yet in the swap cache
 * => on success the cache holds one more reference, and the page is dirty
 * => -ENOSPC: no device has room; the page is as it was
 */
int add_to_swap(struct pager *pager, struct page *page);

/* A page that is about to be read takes the place of its slot's shadow. => page locked, not in the swap cache */
void add_to_swap_cache(struct pager *pager, struct page *page, swp_entry_t entry);

/*
 * Take a page out of the swap cache. Its slot gets the @shadow (NO_SHADOW: none), and is freed if nobody names it. The
 * cache's reference is given back; it is not the last one.
 * => page locked, or nobody can lock it: the caller keeps the pager lock; not under writeback
 */
void delete_from_swap_cache(struct pager *pager, struct page *page, uint32_t shadow);

/* The cached page of the slot, or NULL. */
struct page *lookup_swap_cache(struct pager *pager, swp_entry_t entry);

/*
 * The last PTE that named the page's slot may have gone. A page that only the cache holds ends here then. Nothing is
 * done while the page is mapped, named, locked, isolated or under writeback: who ends that calls again.
 */
void free_swap_cache(struct pager *pager, struct page *page);

/*
 * A PTE gives up its swap entry: the slot's count drops. With the last name the slot ends, and its page if it is
 * cached.
 */
void free_swap_and_cache(struct pager *pager, swp_entry_t entry);

/*
 * May a write go into this page itself? true: nobody else has the page or its slot. The page has left the swap cache
 * then, and is dirty, unless it is under writeback. @own_entries: how many swap entries for the page are the caller's
 * own.
 * => page locked, mapped by the caller's PTE alone or not yet mapped
 */
bool reuse_swap_page(struct pager *pager, struct page *page, unsigned own_entries);

/*
 * A PTE at @addr names the slot of this cached page: must the PTE get a copy of the page? Where a frame has one place
 * only, yes if the page is mapped or others name its slot: one PTE could write to the page unseen. Elsewhere all PTEs
 * of the family may map the cached page. A page that KSM had merged is named by strangers, too: the first of them has
 * mapped it as an ordinary page, and the others copy.
 */
bool swap_must_copy(struct pager *pager, const struct page *page, const struct vma *vma, uint64_t addr);

/*
 * The page is active, or its slot is wanted: take it out of the swap cache, if no PTE names its slot. The page is dirty
 * then. Returns false if it must stay. => page locked
 */
bool try_to_free_swap(struct pager *pager, struct page *page);

#endif

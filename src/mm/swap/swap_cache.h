/* SPDX-License-Identifier: MIT */
/*
 * The swap cache: pages that are in memory and have a slot. It is the slots' words, no tree of its own:
 * slot -> page by the word, page -> slot by page->private.
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

/* A page that is about to be read takes the place of its slot's shadow. => page locked */
void add_to_swap_cache(struct pager *pager, struct page *page, swp_entry_t entry);

/* Out of the cache, the cache's reference given back (it is not the last one). => page locked or frozen world, not under writeback */
void delete_from_swap_cache(struct pager *pager, struct page *page, uint32_t shadow);

struct page *lookup_swap_cache(struct pager *pager, swp_entry_t entry);

/*
 * The slot's last PTE may have gone: a page that only the cache holds ends here.
 * Not while it is locked or under writeback: then reclaim, or the end of the write, drops it.
 */
void free_swap_cache(struct pager *pager, struct page *page);

/* A PTE gives up its swap entry: the slot's count drops, and slot and page go with the last one. */
void free_swap_and_cache(struct pager *pager, swp_entry_t entry);

/*
 * May a write go into this page itself? true: nobody else has it or its slot; it has left the swap cache then, if
 * it was there and may. => page locked, mapped by the caller's PTE alone or not yet mapped (@own_entries: how
 * many swap entries for it are the caller's own)
 */
bool reuse_swap_page(struct pager *pager, struct page *page, unsigned own_entries);

/*
 * A PTE at @addr names the slot of this cached page: must it get a copy of the page? Where a frame has one place only,
 * nobody may map a page whose slot others name: it could be written unseen. Elsewhere a cached page can be mapped by all
 * of the family. One that KSM had merged is named by strangers, too: the first of them has mapped it as an ordinary
 * page, the others copy.
 */
bool swap_must_copy(struct pager *pager, const struct page *page, const struct vma *vma, uint64_t addr);

/* The page is active or its slot wanted: give the slot back if nothing else needs it. => page locked */
bool try_to_free_swap(struct pager *pager, struct page *page);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * struct page: one physical frame and what is known of it.
 *
 * _count      references: who may still look at this page. One for its allocation (it becomes the
 *             first mapping's), one for each further mapping, one while isolated, one while in the
 *             swap cache or a page cache, one for any temporary holder. 0: free.
 * _mapcount   number of PTEs that map it, minus one.
 *
 * Every change of _count, _mapcount, flags or list goes through the helpers below; page_step() then
 * says which function has completed which change, to whoever watches (LIFECYCLE 4.3, pager_trace).
 *
 * Equations, checked by page_check() and pager_validate():
 *   _count >= (_mapcount + 1) + (in the swap cache or a page cache ? 1 : 0) + (isolated ? 1 : 0)    while allocated
 *   _count == 0  <=>  on the free list
 *   PG_lru       <=>  on a list, or isolated;   PG_active => on the active list, or isolated
 *   PG_writeback  =>  PG_swapcache
 */
#ifndef ANONMM_PAGE_H
#define ANONMM_PAGE_H

#include "base/base.h"

#include <sys/queue.h>

struct pager;
struct file;

enum pageflags {
	PG_locked = 1u << 0,
	PG_uptodate = 1u << 1,
	PG_dirty = 1u << 2,
	PG_lru = 1u << 3,
	PG_active = 1u << 4,
	PG_referenced = 1u << 5,
	PG_swapbacked = 1u << 6,
	PG_swapcache = 1u << 7,
	PG_writeback = 1u << 8,
	PG_reclaim = 1u << 9,
	PG_unevictable = 1u << 10,
	PG_mlocked = 1u << 11,
	PG_ksm = 1u << 12,
	PG_workingset = 1u << 13,
	PG_error = 1u << 14,
	/* Ours, never part of a state that the spec names. */
	PG_waiters = 1u << 15, /* somebody waits for PG_locked or PG_writeback to go */
	PG_readahead = 1u << 16, /* read before anybody asked, not mapped since */
	PG_fresh = 1u << 17, /* read in, and never mapped: nobody's page yet */
	PG_recall =
		1u
		<< 18, /* read from a slow device, and likely to be wanted again: the quick one in front is to have it */
	PG_lent = 1u << 20, /* its memory is a swap device's for the time being; lend.h */
};

/* The five lists of reclaim, and the three ways of being on none. */
enum page_list {
	LIST_NONE, /* allocated, not on the LRU yet (or no more) */
	LIST_FREE,
	LIST_ISOLATED,
	LIST_INACTIVE_ANON,
	LIST_ACTIVE_ANON,
	LIST_INACTIVE_FILE,
	LIST_ACTIVE_FILE,
	LIST_UNEVICTABLE,
	NR_LISTS,
};

#define LIST_SHIFT 28 /* the list is kept in the top bits of the flags' word */
#define FLAGS_MASK ((1u << LIST_SHIFT) - 1)

/* Locks: [L] pager lock  [P] pager lock, and the page locked by who changes it.  48 bytes: 1.2 % of a frame. */
struct page {
	int32_t _count; /* [L] */
	int32_t _mapcount; /* [P] */
	uint32_t word; /* [L] flags, and the list above LIST_SHIFT */
	uint32_t index; /* [P] its place in its mapping, in pages: finds its address in any VMA (rmap.h) */
	TAILQ_ENTRY(page) lru; /* [L] a list of reclaim, or of its isolator */
	void *mapping; /* [P] anon_vma or stable node, tagged as below; untagged: the file in whose page cache it is; NULL: none */
	uint64_t private; /* [P] PG_swapcache: the swap entry */
};

_Static_assert(sizeof(struct page) == 48, "metadata stays within 1.5 % of the memory managed");

TAILQ_HEAD(page_head, page);

#define PAGE_MAPPING_ANON 1ul /* anonymous: an anon_vma */
#define PAGE_MAPPING_KSM 2ul /* and merged: a stable node (ksm.h) */
#define PAGE_MAPPING_FLAGS (PAGE_MAPPING_ANON | PAGE_MAPPING_KSM)

static inline uint32_t page_flags(const struct page *page)
{
	return page->word & FLAGS_MASK;
}

static inline bool page_has(const struct page *page, uint32_t flags)
{
	return (page->word & flags) == flags;
}

static inline bool page_has_any(const struct page *page, uint32_t flags)
{
	return (page->word & flags) != 0;
}

static inline enum page_list page_list(const struct page *page)
{
	return (enum page_list)(page->word >> LIST_SHIFT);
}

static inline bool page_mapped(const struct page *page)
{
	return page->_mapcount >= 0;
}

static inline bool page_is_anon(const struct page *page)
{
	return ((uintptr_t)page->mapping & PAGE_MAPPING_ANON) != 0;
}

/* What a merged page is mapped through (ksm.h), or NULL: it is none, or not mapped any more. */
static inline struct stable_node *page_stable_node(const struct page *page)
{
	uintptr_t mapping = (uintptr_t)page->mapping;

	return mapping & PAGE_MAPPING_KSM ? (struct stable_node *)(mapping & ~PAGE_MAPPING_FLAGS) : NULL;
}

/* The file in whose page cache the page is, or NULL. */
static inline struct file *page_file(const struct page *page)
{
	return page_is_anon(page) ? NULL : page->mapping;
}

pfn_t page_pfn(const struct pager *pager, const struct page *page);
struct page *pfn_page(const struct pager *pager, pfn_t pfn);

void page_set(struct page *page, uint32_t flags);
void page_clear(struct page *page, uint32_t flags);
void page_set_list(struct page *page, enum page_list list);

/* A frame that was just taken from the free list: _count 1, unmapped, no flag. */
void page_init(struct page *page);

void page_get(struct page *page);

/* Give a reference back; the last one frees the page (free_page). => unlocked, or not the last reference */
void page_put(struct pager *pager, struct page *page);

/* __remove_mapping's freeze: expected -> 0, or false and nothing changed. The caller frees the page then. */
bool page_freeze_refs(struct page *page, int expected);

/* To the free list. => _count 0, unmapped, not in the swap cache, unlocked, on no list of reclaim */
void free_page(struct pager *pager, struct page *page);

/* The page lock: tried, never waited for while the pager lock is held. */
bool page_trylock(struct pager *pager, struct page *page);
void page_unlock(struct pager *pager, struct page *page);

/* Wake who waits for this page: the lock or the writeback bit has just gone. */
void wake_up_page(struct pager *pager, struct page *page);

/* @function has completed a change of this page; @addr: the address that it came from, or 0. */
void page_step(struct pager *pager, struct page *page, const char *function, uint64_t addr);

/* NULL, or which equation does not hold for this page. */
const char *page_check(const struct page *page);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * struct page: one physical frame, and what is known of it.
 *
 * _count      references: who may still look at this page. One for its allocation (it becomes the first mapping's), one
 *             for each further mapping, one while it is isolated, one while it is in the swap cache or in a page cache,
 *             one for any temporary holder. 0: the page is free.
 * _mapcount   the number of PTEs that map it, minus one.
 *
 * Flags and lists change in the helpers below and in lru.h. _count and _mapcount change there, too, and where PTEs are
 * made, moved and taken away (rmap.c, fork.c, migrate.c, ksmd.c, ksmd_swap.c) and where pages enter and leave a cache
 * (swap_cache.c, filemap.c, shmem.c). page_step() then says which function has completed which change, to whoever
 * watches (LIFECYCLE 4.3, pager_trace).
 *
 * Equations, checked by page_check() and pager_validate(). The first four hold while the page is allocated:
 *   _count >= (_mapcount + 1) + (in the swap cache or a page cache ? 1 : 0) + (isolated ? 1 : 0)
 *   PG_lru       <=>  on a list of reclaim, or isolated
 *   PG_active     =>  on an active list, or isolated
 *   PG_writeback  =>  PG_swapcache
 *   _count == 0  <=>  free (a bit in the map of free frames), reserved, or never used
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
	/* Ours: never part of a state that the spec names. */
	PG_waiters = 1u << 15, /* somebody waits for PG_locked or PG_writeback to go */
	PG_readahead = 1u << 16, /* read before anybody asked, and not mapped since */
	PG_fresh = 1u << 17, /* read in, and never mapped: it belongs to no VMA yet */
	/* read from a slow device, and likely to be wanted again: the quick device in front is to have the page */
	PG_recall = 1u << 18,
};

/* The five lists of reclaim, and the three ways of being on none of them. */
enum page_list {
	LIST_NONE, /* allocated, and not on a list of reclaim: not yet, or no more */
	LIST_FREE,
	LIST_ISOLATED,
	LIST_INACTIVE_ANON,
	LIST_ACTIVE_ANON,
	LIST_INACTIVE_FILE,
	LIST_ACTIVE_FILE,
	LIST_UNEVICTABLE,
	NR_LISTS,
};

#define LIST_SHIFT 28 /* the list is kept in the top bits of page->word */
#define FLAGS_MASK ((1u << LIST_SHIFT) - 1)

/* Locks: [L] pager lock  [P] pager lock, and the page locked by who changes it.  48 bytes: 1.2 % of a frame. */
struct page {
	int32_t _count; /* [L] */
	int32_t _mapcount; /* [P] */
	uint32_t word; /* [L] flags; from bit LIST_SHIFT on the list */
	uint32_t index; /* [P] its place in its mapping, in pages; gives its address in any VMA (rmap.h) */
	TAILQ_ENTRY(page) lru; /* [L] on a list of reclaim, or on its isolator's */
	/*
	 * [P] an anon_vma or a stable node, tagged as below; untagged: the file in whose page cache the page is; NULL:
	 * none
	 */
	void *mapping;
	uint64_t private; /* [P] with PG_swapcache: the swap entry (entry_word) */
};

_Static_assert(sizeof(struct page) == 48, "metadata stays within 1.5 % of the memory managed");

TAILQ_HEAD(page_head, page);

#define PAGE_MAPPING_ANON 1ul /* an anonymous page: the rest is its anon_vma */
#define PAGE_MAPPING_KSM 2ul /* a merged page as well: the rest is its stable node (ksm.h) */
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

/* The stable node of a merged page that is mapped (ksm.h). NULL: the page is not merged, or not mapped any more. */
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

/* A frame was just taken from the free ones: _count becomes 1, no mapping, no flag, on no list. */
void page_init(struct page *page);

void page_get(struct page *page);

/*
 * Give a reference back. The last one takes the page off its list and frees it. => unlocked, or not the last reference
 */
void page_put(struct pager *pager, struct page *page);

/*
 * __remove_mapping's freeze: if _count is @expected it becomes 0, and the caller frees the page. Otherwise nothing
 * changes, and the result is false.
 */
bool page_freeze_refs(struct page *page, int expected);

/* The frame becomes free. => _count 0, unmapped, not in the swap cache, unlocked, on no list of reclaim */
void free_page(struct pager *pager, struct page *page);

/*
 * The page lock (PG_locked). The rule for it, to which all other places refer:
 *   - A page lock is only tried. A function that meets a locked page passes over that page, or fills a struct wait and
 *     returns. So nobody waits for a page lock inside the core, and page locks cannot deadlock among themselves.
 *   - page_unlock() wakes the threads that wait for the page.
 * => page_unlock(): page locked
 */
bool page_trylock(struct pager *pager, struct page *page);
void page_unlock(struct pager *pager, struct page *page);

/* Wake who waits for this page, because its lock or its writeback has just ended. */
void wake_up_page(struct pager *pager, struct page *page);

/* @function has completed a change of this page. @addr: the address that the change came from, or 0. */
void page_step(struct pager *pager, struct page *page, const char *function, uint64_t addr);

/* NULL, or a text: which equation does not hold for this page. */
const char *page_check(const struct page *page);

#endif

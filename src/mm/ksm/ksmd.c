/* SPDX-License-Identifier: MIT */
/*
 * ksmd: looks for pages of equal content and merges them (LIFECYCLE 8); see ksm.h for what it remembers.
 *
 *      a page that ksmd meets                                     what becomes of it
 *      equal to a stable page                                     its PTEs map that page, it is freed
 *      another content than in the last scan                      remembered by its hash
 *      the same as in the last scan                               put into the unstable tree
 *      and equal to a page of that tree                           that page becomes a stable page, this one is freed
 *
 * Hashes only find candidates. Two pages are compared byte by byte while both are locked and all their PTEs are read-only.
 * All of that is one hold of the pager lock: nothing here waits. A page that is busy, or that somebody else holds, is
 * passed over; the next scan comes by again.
 *
 * What differs where a frame has one place only is in ksmd_swap.c.
 */
#include "mm/mm.h"

#include <string.h>

/* ---- May this page be merged? ------------------------------------------------------------------ */

static bool page_is_candidate(const struct page *page)
{
	return page_is_anon(page) && !page_has(page, PG_ksm) && page_has(page, PG_uptodate | PG_swapbacked) &&
	       !page_has_any(page, PG_locked | PG_writeback) && page->_mapcount + 1 < KSM_MAX_SHARING;
}

/* Every VMA that maps it agrees, and every PTE has its item, so that nothing can fail later. */
static bool prepare_one(void *ctx, struct page *page, struct vma *vma, uint64_t addr, pte_slot_t *ptep)
{
	(void)ctx, (void)page, (void)ptep;
	return vma_is_mergeable(vma) && ksm_item_make(vma->space, space_index(vma->space, addr));
}

/* => page locked */
static bool page_is_ours(struct pager *pager, struct page *page)
{
	if (page_has(page, PG_swapcache) && !try_to_free_swap(pager, page))
		return false; /* somebody names its slot */
	return page->_count == page->_mapcount + 1;
}

static bool write_protect_one(void *ctx, struct page *page, struct vma *vma, uint64_t addr, pte_slot_t *ptep)
{
	struct pager *pager = ctx;

	if (pte_clear_bits(ptep, PTE_WRITE | PTE_DIRTY) & PTE_DIRTY)
		page_set(page, PG_dirty);
	pager->machine->ops->flush(pager->machine, vma->space, addr);
	return true;
}

/* Lock a page that is not merged yet, and forbid writes. A write that comes later finds it read-only and alone: reused. */
static bool page_hold(struct pager *pager, struct page *page)
{
	if (!page_is_candidate(page) || !page_trylock(pager, page))
		return false;
	if (page_is_ours(pager, page) && rmap_walk(pager, page, prepare_one, NULL)) {
		rmap_walk(pager, page, write_protect_one, pager);
		return true;
	}
	page_unlock(pager, page);
	return false;
}

static bool pages_identical(struct pager *pager, const struct page *a, const struct page *b)
{
	return memcmp(frame_bytes(pager, a), frame_bytes(pager, b), PAGE_BYTES) == 0;
}

/* ---- Merging --------------------------------------------------------------------------------------- */

struct replacement {
	struct pager *pager;
	struct page *kpage;
};

/* One PTE of a page becomes a PTE of the merged page. */
static bool replace_one(void *ctx, struct page *page, struct vma *vma, uint64_t addr, pte_slot_t *ptep)
{
	struct replacement *r = ctx;
	struct pager *pager = r->pager;
	pte_t kept = pte_load(ptep) & (PTE_VALID | PTE_ACCESSED);

	page_get(r->kpage);
	r->kpage->_mapcount++;
	pte_store(ptep, pte_present(page_pfn(pager, r->kpage), kept));
	pager->machine->ops->flush(pager->machine, vma->space, addr);
	stable_tree_append(
		pager, page_stable_node(r->kpage), ksm_item_find(vma->space, space_index(vma->space, addr)));
	page_remove_rmap(page, vma, addr);
	page->_count--;
	page_step(pager, r->kpage, "replace_page", addr);
	return true;
}

/* => both locked, equal; @page is held by page_hold(). It is freed. */
static int replace_page(struct pager *pager, struct page *page, struct page *kpage)
{
	struct replacement r = {pager, kpage};
	int nr = page->_mapcount + 1;

	page_get(page);
	rmap_walk(pager, page, replace_one, &r);
	page_unlock(pager, page);
	page_put(pager, page);
	return nr;
}

/* => @page is held by page_hold(), which is over then */
static int try_to_merge_with_ksm_page(struct pager *pager, struct page *page, struct page *kpage)
{
	if (page_trylock(pager, kpage)) {
		bool same = pages_identical(pager, page, kpage);
		int merged = same ? replace_page(pager, page, kpage) : 0;

		page_unlock(pager, kpage);
		if (same)
			return merged;
	}
	page_unlock(pager, page);
	return 0;
}

/* The page that another PTE's item was made for, if that is still there to be merged. */
static struct page *get_mergeable_page(struct pager *pager, const struct ksm_item *item)
{
	pte_slot_t *ptep = pgtable_find(&item->space->pgtable, item->index);
	pte_t pte = ptep ? pte_load(ptep) : 0;

	return pte_is_present(pte) && !(pte & PTE_ZERO) ? pfn_page(pager, pte_pfn(pte)) : NULL;
}

/*
 * The first of the two, unless it is NULL, becomes a merged page, the second one's PTEs map it.
 * => @page is held by page_hold(), which is over then
 */
static int try_to_merge_two_pages(
	struct pager *pager, struct page *tree_page, struct page *page, const uint64_t hash[2])
{
	int nr = tree_page ? tree_page->_mapcount + 1 : 0, merged = 0;

	if (!tree_page || nr + page->_mapcount + 1 > KSM_MAX_SHARING || !page_hold(pager, tree_page)) {
		page_unlock(pager, page);
		return 0;
	}
	if (pages_identical(pager, tree_page, page) && stable_tree_insert(pager, tree_page, hash))
		merged = nr + replace_page(pager, page, tree_page);
	else
		page_unlock(pager, page);
	page_unlock(pager, tree_page);
	return merged;
}

/* What was seen of it last time, compared with what it is now. */
static bool content_is_calm(struct ksm_item *item, const uint64_t hash[2])
{
	bool calm = item->hash[0] == hash[0] && item->hash[1] == hash[1];

	item->hash[0] = hash[0];
	item->hash[1] = hash[1];
	return calm;
}

struct ksm_item *ksm_look(struct pager *pager, struct space *space, uint64_t index, const uint64_t hash[2],
	struct ksm_item **twin)
{
	struct ksm_item *item = ksm_item_make(space, index);

	*twin = NULL;
	if (!item)
		return NULL;
	unstable_tree_remove(pager, item);
	if (content_is_calm(item, hash))
		*twin = unstable_tree_search_insert(pager, item);
	return item;
}

int cmp_and_merge_page(struct pager *pager, struct space *space, uint64_t index, pte_t pte)
{
	struct page *page = pfn_page(pager, pte_pfn(pte)), *other;
	struct stable_node *stable;
	struct content content;
	struct ksm_item *item, *twin;
	int merged;

	if (!page_is_candidate(page))
		return 0;
	page_content(pager, page, &content);
	stable = stable_tree_search(pager, content.hash, (unsigned)page->_mapcount + 1);
	if (stable)
		return page_hold(pager, page)
			       ? try_to_merge_with_ksm_page(pager, page, pfn_page(pager, stable->pfn))
			       : 0;
	item = ksm_look(pager, space, index, content.hash, &twin);
	if (!item)
		return -ENOMEM;
	if (!twin || !page_hold(pager, page))
		return 0;
	other = get_mergeable_page(pager, twin);
	merged = try_to_merge_two_pages(pager, other, page, content.hash);
	if (!merged)
		unstable_tree_replace(pager, twin, item);
	return merged;
}

/* ---- The scan ---------------------------------------------------------------------------------------- */

/* The next PTE of the space at the cursor that is not none, in a mergeable VMA. What is known of pages that went is forgotten. */
static pte_slot_t *next_in_space(struct ksm *ksm)
{
	struct space *space = ksm->space;

	for (struct vma *vma = find_vma_from(space, index_addr(space, ksm->index)); vma;
		vma = vma_next(vma)) {
		uint64_t index = max_u64(ksm->index, space_index(space, vma->start)), found;
		uint64_t end = space_index(space, vma->end);
		pte_slot_t *ptep;

		if (!vma_is_mergeable(vma))
			continue;
		ptep = pgtable_next(&space->pgtable, index, end, &found);
		ksm_forget(space, index, ptep ? found : end);
		ksm->index = ptep ? found + 1 : end;
		if (ptep)
			return ptep;
	}
	return NULL;
}

/* NULL: the scan has ended. Otherwise the PTE is that of page ksm->index - 1. */
static pte_slot_t *scan_get_next(struct pager *pager)
{
	struct ksm *ksm = &pager->ksm;

	if (!ksm->space) {
		ksm->space = TAILQ_FIRST(&pager->spaces);
		ksm->index = 0;
	}
	while (ksm->space) {
		pte_slot_t *ptep = next_in_space(ksm);

		if (ptep)
			return ptep;
		ksm->space = TAILQ_NEXT(ksm->space, link);
		ksm->index = 0;
	}
	unstable_tree_forget(pager);
	return NULL;
}

static int scan_one(struct pager *pager, pte_slot_t *ptep)
{
	struct space *space = pager->ksm.space;
	uint64_t index = pager->ksm.index - 1;
	pte_t pte = pte_load(ptep);

	if (pte & PTE_ZERO)
		return 0;
	if (!pager->machine->ops->can_share)
		return cmp_and_merge_slot(pager, space, index);
	return pte_is_present(pte) ? cmp_and_merge_page(pager, space, index, pte) : 0;
}

int ksmd_step(struct pager *pager, unsigned pages)
{
	int merged = 0, result = 0;

	pager_lock(pager);
	for (unsigned i = 0; i < pages && result >= 0 && !pager->frozen; i++) {
		pte_slot_t *ptep = scan_get_next(pager);

		if (!ptep)
			break;
		result = scan_one(pager, ptep);
		merged += result > 0 ? result : 0;
		pager->stats->merged += result > 0 ? (uint64_t)result : 0;
		/* Others want it, too. */
		pager_unlock(pager);
		pager_lock(pager);
	}
	pager_unlock(pager);
	return merged == 0 && result < 0 ? result : merged;
}

/* SPDX-License-Identifier: MIT */
/*
 * KSM where a frame has one place only: equal pages share a slot instead.
 *
 *      on a device            the slot's hash is that of what it holds
 *      in the swap cache      unmapped: nobody can write to it
 *      armed                  its bytes are at the frame, the next touch waits for the page lock
 *      anything else          in use: passed over
 *
 * Two pages of one content come to be named by one swap entry. A touch of either finds a slot that others name, and
 * copies (fault_swap.c); when one alone is left it has the page. Two pages in memory are compared byte by byte; one that is
 * on a device is known by its keyed hash of 128 bits alone, by which its content would be proven at swap-in, too.
 */
#include "mm/mm.h"

#include <string.h>

/* One of the two that may be merged. */
struct side {
	struct vma *vma;
	uint64_t addr;
	pte_slot_t *ptep;
	struct page *page; /* in memory, and locked by us; NULL: on a device */
	bool armed; /* the PTE maps it; else it has the entry */
	swp_entry_t entry;
	uint64_t hash[2];
};

static void side_hash_page(struct pager *pager, struct side *side)
{
	struct content content;

	page_content(pager, side->page, &content);
	memcpy(side->hash, content.hash, sizeof(side->hash));
}

static bool side_take_entry(struct pager *pager, struct side *side)
{
	const struct swap_slot *slot;

	side->armed = false;
	side->entry = pte_entry(pte_load(side->ptep));
	side->page = lookup_swap_cache(pager, side->entry);
	slot = swap_slot(pager, side->entry);
	if ((slot->flags & SLOT_POISONED) || !slot_writable(pager, side->entry))
		return false;
	if (!side->page) {
		memcpy(side->hash, slot->hash, sizeof(side->hash));
		return slot->flags & SLOT_HASHED;
	}
	if (page_mapped(side->page) || !page_has(side->page, PG_uptodate) || !page_trylock(pager, side->page))
		return false;
	side_hash_page(pager, side);
	return true;
}

/* Nobody else holds it, and its slot, if it has one, is ours to fill. */
static bool page_is_ours(struct pager *pager, const struct page *page)
{
	if (!page_is_anon(page) || !page_has(page, PG_uptodate | PG_swapbacked) ||
		page_has_any(page, PG_writeback | PG_mlocked))
		return false;
	if (page_has(page, PG_swapcache) && (swap_slot(pager, word_entry(page->private))->count > 0 ||
						    !slot_writable(pager, word_entry(page->private))))
		return false;
	return page->_mapcount == 0 && page->_count == 1 + page_has(page, PG_swapcache);
}

static bool side_take_armed(struct pager *pager, struct side *side)
{
	side->armed = true;
	side->page = pfn_page(pager, pte_pfn(pte_load(side->ptep)));
	if (!page_is_ours(pager, side->page) || !page_trylock(pager, side->page))
		return false;
	side_hash_page(pager, side);
	return true;
}

/* false: it cannot be merged now. => side_end() follows a success */
static bool side_begin(struct pager *pager, struct space *space, uint64_t index, struct side *side)
{
	side->addr = index_addr(space, index);
	side->vma = find_vma(space, side->addr);
	side->ptep = pgtable_find(&space->pgtable, index);
	if (!side->vma || !vma_is_mergeable(side->vma) || !side->ptep)
		return false;
	pte_t pte = pte_load(side->ptep);

	if (pte_is_swap(pte))
		return side_take_entry(pager, side);
	return pte_is_present(pte) && !pte_is_valid(pte) && side_take_armed(pager, side);
}

static void side_end(struct pager *pager, struct side *side)
{
	if (side->page)
		page_unlock(pager, side->page);
	side->page = NULL;
}

static bool sides_identical(struct pager *pager, const struct side *a, const struct side *b)
{
	if (memcmp(a->hash, b->hash, sizeof(a->hash)) != 0)
		return false;
	return !a->page || !b->page ||
	       memcmp(frame_bytes(pager, a->page), frame_bytes(pager, b->page), PAGE_BYTES) == 0;
}

/* The armed page goes to the swap cache, dirty, and its PTE becomes its entry: reclaim writes it. -ENOSPC */
static int keep_armed(struct pager *pager, struct side *side)
{
	struct page *page = side->page;
	int error = page_has(page, PG_swapcache) ? 0 : add_to_swap(pager, page);

	if (error)
		return error;
	side->entry = word_entry(page->private);
	page_set(page, PG_dirty); /* what its slot held before may be older */
	swap_duplicate(pager, side->entry);
	pte_store(side->ptep, pte_swap(side->entry));
	page_remove_rmap(page, side->vma, side->addr);
	page->_count--;
	page_step(pager, page, "try_to_merge_one_page", side->addr);
	return 0;
}

/* Its PTE takes @entry; what it had ends: the armed page, or the other entry if nobody else names it. */
static void join(struct pager *pager, struct side *side, swp_entry_t entry)
{
	struct page *page = side->page;

	swap_duplicate(pager, entry);
	pte_store(side->ptep, pte_swap(entry));
	side_end(pager, side);
	if (!side->armed) {
		free_swap_and_cache(pager, side->entry);
		return;
	}
	page_remove_rmap(page, side->vma, side->addr);
	page_step(pager, page, "replace_page", side->addr);
	if (page_has(page, PG_swapcache))
		free_swap_cache(pager, page);
	page_put(pager, page);
}

/* One of them keeps its entry, or gets one: rather one that has it already. Returns PTEs that came to share. */
static int merge_sides(struct pager *pager, struct side *a, struct side *b)
{
	struct side *keeps = a->armed && !b->armed ? b : a;
	struct side *joins = keeps == a ? b : a;
	bool alone;

	if (!keeps->armed && swap_slot(pager, keeps->entry)->count >= KSM_MAX_SHARING)
		return 0;
	if (keeps->armed && keep_armed(pager, keeps))
		return 0;
	alone = swap_slot(pager, keeps->entry)->count == 1;
	join(pager, joins, keeps->entry);
	return alone ? 2 : 1;
}

static bool shares_already(const struct ksm_item *twin, const struct side *side)
{
	pte_slot_t *ptep = pgtable_find(&twin->space->pgtable, twin->index);

	return !side->armed && ptep && pte_load(ptep) == pte_load(side->ptep);
}

static int merge_with_twin(struct pager *pager, struct ksm_item *twin, struct side *side)
{
	struct side other;
	int merged = 0;

	if (shares_already(twin, side) || !side_begin(pager, twin->space, twin->index, &other))
		return 0;
	if (sides_identical(pager, &other, side))
		merged = merge_sides(pager, &other, side);
	side_end(pager, &other);
	return merged;
}

int cmp_and_merge_slot(struct pager *pager, struct space *space, uint64_t index)
{
	struct ksm_item *item, *twin;
	struct side side;
	int merged = 0;

	if (!side_begin(pager, space, index, &side))
		return 0;
	item = ksm_look(pager, space, index, side.hash, &twin);
	if (!item)
		merged = -ENOMEM;
	else if (twin)
		merged = merge_with_twin(pager, twin, &side);
	if (twin && !merged)
		unstable_tree_replace(pager, twin, item);
	side_end(pager, &side);
	return merged;
}

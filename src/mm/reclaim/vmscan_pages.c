/* SPDX-License-Identifier: MIT */
/*
 * shrink_page_list: what becomes of isolated pages, one by one.
 *
 *      page_judge            keep, activate, free, or a candidate
 *      try_to_unmap_begin    the candidates' PTEs are hidden, the machine takes the pages away, their content is hashed
 *      candidate_finish      dropped, written, sharing another's slot, or back on a list
 *
 * While the pager lock is dropped, the candidates stay locked.
 */
#include "mm/mm.h"
#include "mm/reclaim/scan.h"

/* A page between try_to_unmap and its fate. */
struct candidate {
	struct page *page;
	bool wanted; /* the content must be hashed, because it may go to a device */
	struct content content;
};

enum page_fate {
	FATE_KEEP, /* back to the inactive list */
	FATE_ACTIVATE, /* in use: to the active list */
	FATE_UNEVICTABLE,
	FATE_FREE, /* clean and unmapped: __remove_mapping */
	FATE_CANDIDATE, /* try_to_unmap and pageout */
};

static bool slot_is_unwanted(struct pager *pager, const struct page *page)
{
	return page_has(page, PG_swapcache) && !page_mapped(page) &&
	       swap_slot(pager, word_entry(page->private))->count == 0;
}

/*
 * Was the page used? Anonymous and shared memory that was used becomes active again. A page of a file that was used
 * once stays on the inactive list for another round. It becomes active if it was used in two rounds, through two PTEs,
 * or as program text. => page locked
 */
static enum page_fate page_check_references(struct scan *scan, struct page *page)
{
	struct referenced ref = page_referenced(scan->pager, page);
	bool again = page_has(page, PG_referenced);

	if (ref.vm_locked)
		return FATE_UNEVICTABLE;
	if (!ref.nr || scan->ignore_references)
		return FATE_CANDIDATE;
	if (page_has(page, PG_swapbacked))
		return FATE_ACTIVATE;
	page_set(page, PG_referenced);
	return again || ref.nr > 1 || ref.vm_exec ? FATE_ACTIVATE : FATE_KEEP;
}

static bool page_is_lazyfree(const struct page *page)
{
	return page_is_anon(page) && !page_has(page, PG_swapbacked);
}

static bool page_needs_slot(const struct page *page)
{
	return page_is_anon(page) && !page_has(page, PG_swapcache) && page_has(page, PG_swapbacked);
}

/* The fate of a page that no PTE maps, and only its cache holds: must something be written before it is freed? */
static enum page_fate judge_unmapped(struct pager *pager, struct page *page)
{
	if (page_file(page))
		return page_has(page, PG_swapbacked) ? FATE_CANDIDATE : FATE_FREE;
	if (!page_has(page, PG_dirty))
		return FATE_FREE;
	return slot_has_room(pager, word_entry(page->private)) ? FATE_CANDIDATE : FATE_ACTIVATE;
}

/* Decide the page's fate. Changes nothing, except that an anonymous page gets its slot. => page isolated and locked */
static enum page_fate page_judge(struct scan *scan, struct page *page)
{
	struct pager *pager = scan->pager;

	if (page_has(page, PG_mlocked))
		return FATE_UNEVICTABLE;
	if (page_has(page, PG_writeback)) {
		page_set(page, PG_reclaim); /* when the write ends, the page goes to the tail of its list */
		return FATE_KEEP;
	}
	if (!page_has(page, PG_uptodate) ||
		(!page_mapped(page) && !page_has(page, PG_swapcache) && !page_file(page)))
		return FATE_KEEP; /* another thread still holds the page, or has just let go of it */
	if (slot_is_unwanted(pager, page))
		return FATE_FREE;
	if (page_has(page, PG_swapcache) && pager->areas[word_entry(page->private).type].off)
		return FATE_ACTIVATE; /* swapoff is about to map it; if it were freed, swapoff would read it again */

	enum page_fate fate = page_check_references(scan, page);

	if (fate != FATE_CANDIDATE)
		return fate;
	if (page_needs_slot(page) && add_to_swap(pager, page))
		return FATE_ACTIVATE; /* no room on any device */
	return page_mapped(page) ? FATE_CANDIDATE : judge_unmapped(pager, page);
}

/* Unlock the page and put it back to the list that @fate says. */
static void page_keep(struct scan *scan, struct page *page, struct page_head *list, enum page_fate fate)
{
	struct pager *pager = scan->pager;

	if (page_has(page, PG_mlocked)) /* it may have become so after it was judged */
		fate = FATE_UNEVICTABLE;
	if (fate == FATE_ACTIVATE) {
		if (vm_swap_full(pager))
			try_to_free_swap(pager, page);
		page_set(page, PG_active);
		pager->stats->activated++;
	} else if (fate == FATE_UNEVICTABLE) {
		page_mlock(pager, page);
	}
	if (page_has(page, PG_locked))
		page_unlock(pager, page);
	page_step(pager, page, "page_keep", 0);
	putback_page(pager, page, list);
}

/*
 * The page leaves its cache and is free, unless somebody else holds it or it is dirty again.
 * => page locked, isolated, unmapped, in the swap cache or a page cache
 */
static bool __remove_mapping(struct pager *pager, struct page *page, struct page_head *list)
{
	if (page_has(page, PG_dirty) && !slot_is_unwanted(pager, page))
		return false;
	if (!page_freeze_refs(page, 2)) /* the references of the isolation and of the cache */
		return false;
	page_step(pager, page, "page_freeze_refs", 0);
	struct node *node = page_node(pager, page);
	bool wanted = !slot_is_unwanted(pager, page) && page_has(page, PG_swapcache);
	uint32_t clock = (uint32_t)node->evictions++ & SHADOW_MASK;

	TAILQ_REMOVE(list, page, lru);
	page_set_list(page, LIST_NONE);
	page_clear(page, PG_lru);
	if (page_has(page, PG_swapcache))
		delete_from_swap_cache(pager, page, clock);
	else
		delete_from_page_cache(pager, page, page_cache_shadow(clock));
	page_unlock(pager, page);
	page_clear(page,
		PG_dirty | PG_active | PG_referenced | PG_workingset | PG_reclaim | PG_readahead | PG_recall);
	pager->stats->swapped_out += wanted;
	pager->stats->freed += !wanted && page_is_anon(page);
	page_step(pager, page, "__remove_mapping", 0);
	free_page(pager, page);
	return true;
}

static bool has_no_file(void *ctx, struct page *page, struct vma *vma, uint64_t addr, pte_slot_t *ptep)
{
	(void)ctx, (void)page, (void)addr, (void)ptep;
	return !vma->file;
}

/*
 * Free a page that is all zeros: its PTEs become none, and it needs no slot. false: it must go another way.
 * => PTEs hidden, the page is taken away from its addresses
 */
static bool drop_zero_page(struct scan *scan, struct page *page, struct page_head *list)
{
	struct pager *pager = scan->pager;

	if (swap_slot(pager, word_entry(page->private))->count > 0 || page->_count > 2 + page->_mapcount + 1)
		return false; /* others name the slot, or hold the page */
	if (!rmap_walk(pager, page, has_no_file, NULL))
		return false; /* in a file's VMA, none would mean the file's page, not zeros */
	if (try_to_unmap_end(pager, page, true) != UNMAP_DONE)
		return false;
	page_clear(page, PG_dirty);
	if (!__remove_mapping(pager, page, list))
		return false;
	/* __remove_mapping() counted an end, but the page is born again at the next touch */
	pager->stats->freed--;
	pager->stats->zero_dropped++;
	scan->nr_reclaimed++;
	return true;
}

/* Start the write. true: PG_writeback and PG_reclaim are set, and the page is unlocked. false: no request is free. */
static bool pageout(struct scan *scan, struct candidate *c)
{
	struct page *page = c->page;

	page_set(page, PG_dirty);
	if (swap_writepage(scan->pager, page, &c->content, &scan->plug))
		return false;
	page_clear(page, PG_recall);
	scan->nr_written++;
	page_step(scan->pager, page, "pageout", 0);
	return true;
}

/*
 * Free the page, if its slot holds exactly this content. Otherwise write it. The second is not possible if the device
 * is full, or if swapoff has begun since the page was judged. => page unmapped, in the swap cache
 */
static void swap_candidate_finish(struct scan *scan, struct candidate *c, struct page_head *list)
{
	struct pager *pager = scan->pager;
	struct page *page = c->page;
	swp_entry_t entry = word_entry(page->private);
	bool holds = slot_holds(pager, entry, &c->content);
	enum page_fate fate = FATE_KEEP;

	/* Also if no write follows: a page that is unmapped and clean is freed without a look at its content. */
	if (!holds)
		page_set(page, PG_dirty);
	if (holds && !c->content.zero && !page_has(page, PG_recall)) {
		page_clear(page, PG_dirty);
		if (__remove_mapping(pager, page, list)) {
			pager->stats->clean_dropped++;
			scan->nr_reclaimed++;
			return;
		}
	} else if (slot_has_room(pager, entry)) {
		pageout(scan, c);
	} else {
		fate = FATE_ACTIVATE;
	}
	page_keep(scan, page, list, fate);
}

/* Shared memory gets its slot now, because no PTE maps it any more. => page unmapped, in its page cache */
static void shmem_candidate_finish(struct scan *scan, struct candidate *c, struct page_head *list)
{
	struct pager *pager = scan->pager;
	struct page *page = c->page;

	if (c->content.zero && page->_count == 2) {
		shmem_drop_zero(pager, page);
		pager->stats->zero_dropped++;
		scan->nr_reclaimed++;
		page_keep(scan, page, list, FATE_KEEP); /* frees it: the isolation's reference was the last */
	} else if (shmem_writepage(pager, page)) {
		page_keep(scan, page, list, FATE_ACTIVATE);
	} else {
		swap_candidate_finish(scan, c, list);
	}
}

static bool pte_is_clean(void *ctx, struct page *page, struct vma *vma, uint64_t addr, pte_slot_t *ptep)
{
	(void)ctx, (void)page, (void)vma, (void)addr;
	return !(pte_load(ptep) & PTE_DIRTY);
}

/*
 * A page that MADV_FREE gave up. If it was not written since, it ends. If it was, it is an ordinary page again.
 * => page mapped
 */
static void lazyfree_finish(struct scan *scan, struct candidate *c, struct page_head *list)
{
	struct pager *pager = scan->pager;
	struct page *page = c->page;

	if (page_has(page, PG_dirty) || !rmap_walk(pager, page, pte_is_clean, NULL)) {
		page_set(page, PG_swapbacked | PG_dirty);
		page_keep(scan, page, list, FATE_ACTIVATE);
		return;
	}
	if (try_to_unmap_end(pager, page, true) == UNMAP_DONE) {
		pager->stats->freed++;
		scan->nr_reclaimed++;
	}
	page_keep(scan, page, list, FATE_KEEP); /* frees it, if the isolation's reference is the last */
}

/*
 * If another slot holds this content, the page's PTEs come to name that slot. The page is freed, its own slot goes with
 * it, and nothing is written. false: there is no such slot.
 */
static bool share_slot(struct scan *scan, struct candidate *c, struct page_head *list)
{
	struct pager *pager = scan->pager;
	struct page *page = c->page;
	swp_entry_t own = word_entry(page->private), entry;

	if (!page_has(page, PG_swapcache) || swap_slot(pager, own)->count > 0 || page_stable_node(page) ||
		slot_holds(pager, own, &c->content) || !twin_find(pager, page, &c->content, &entry) ||
		(entry.type == own.type && entry.slot == own.slot))
		return false;
	if (try_to_unmap_to(pager, page, entry) != UNMAP_DONE)
		return false;
	pager->stats->shared_slots++;
	if (__remove_mapping(pager, page, list)) {
		pager->stats->freed--; /* __remove_mapping() counted an end, but the content is on a device */
		pager->stats->swapped_out++;
		scan->nr_reclaimed++;
	} else {
		page_keep(scan, page, list, FATE_KEEP);
	}
	return true;
}

/* Decide what becomes of a candidate, whose content is known now, and do it. => its PTEs are hidden */
static void candidate_finish(struct scan *scan, struct candidate *c, struct page_head *list)
{
	struct pager *pager = scan->pager;
	struct page *page = c->page;

	if (c->content.zero && page_mapped(page) && page_is_anon(page) && drop_zero_page(scan, page, list))
		return;
	if (page_mapped(page) && page_is_lazyfree(page))
		lazyfree_finish(scan, c, list);
	else if (page_mapped(page) && page_is_anon(page) && share_slot(scan, c, list))
		return;
	else if (page_mapped(page) && try_to_unmap_end(pager, page, false) != UNMAP_DONE)
		page_keep(scan, page, list, FATE_ACTIVATE);
	else if (page_has(page, PG_swapcache))
		swap_candidate_finish(scan, c, list);
	else if (page_has(page, PG_swapbacked))
		shmem_candidate_finish(scan, c, list);
	else if (__remove_mapping(pager, page, list))
		scan->nr_reclaimed++;
	else
		page_keep(scan, page, list, FATE_KEEP);
}

/*
 * Pages that are pinned stay at their addresses, and go back to the active list. Returns how many candidates are left.
 */
static unsigned keep_pinned(
	struct scan *scan, struct candidate *candidates, unsigned nr, struct page_head *list)
{
	unsigned left = 0;

	for (unsigned i = 0; i < nr; i++) {
		if (page_is_shown(scan->pager, candidates[i].page))
			page_keep(scan, candidates[i].page, list, FATE_ACTIVATE);
		else
			candidates[left++].page = candidates[i].page;
	}
	return left;
}

/*
 * Hash the candidates' content. The pager lock is dropped meanwhile: nobody can write to these pages. A clean page of a
 * file needs no hash, because its content is in the file.
 */
static void candidates_content(struct pager *pager, struct candidate *candidates, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++) {
		candidates[i].wanted = page_has(candidates[i].page, PG_swapbacked);
		candidates[i].content.zero = false;
	}
	pager_unlock(pager);
	for (unsigned i = 0; i < nr; i++)
		if (candidates[i].wanted)
			page_content(pager, candidates[i].page, &candidates[i].content);
	pager_lock(pager);
}

void shrink_page_list(struct scan *scan, struct page_head *list)
{
	struct pager *pager = scan->pager;
	struct candidate candidates[SWAP_CLUSTER_MAX];
	struct unmap_batch batch;
	struct page *page, *next;
	unsigned nr = 0;

	batch.nr = 0;
	for (page = TAILQ_FIRST(list); page; page = next) {
		next = TAILQ_NEXT(page, lru);
		scan->nr_scanned++;
		if (!page_trylock(pager, page)) {
			putback_page(pager, page, list);
			continue;
		}
		page_step(pager, page, "shrink_page_list", 0);
		enum page_fate fate = page_judge(scan, page);

		if (fate == FATE_CANDIDATE && page_mapped(page)) {
			enum unmap_result result = try_to_unmap_begin(pager, page, &batch);

			if (result != UNMAP_DONE)
				fate = FATE_ACTIVATE;
		}
		if (fate == FATE_CANDIDATE)
			candidates[nr++].page = page;
		else if (fate == FATE_FREE && __remove_mapping(pager, page, list))
			scan->nr_reclaimed++;
		else
			page_keep(scan, page, list, fate);
	}
	if (nr == 0)
		return;
	if (unmap_batch_run(pager, &batch, UNMAP_KEEP) > 0)
		nr = keep_pinned(scan, candidates, nr, list);
	candidates_content(pager, candidates, nr);
	for (unsigned i = 0; i < nr; i++)
		candidate_finish(scan, &candidates[i], list);
	assert(TAILQ_EMPTY(list));
}

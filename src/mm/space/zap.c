/* SPDX-License-Identifier: MIT */
/*
 * Clearing and hiding the PTEs of a range, in batches; see space.h. The machine takes the pages of a batch away in one
 * call.
 *
 * When a busy page is met, the batch that was gathered is finished first; then the call returns -EAGAIN. What was done
 * stays done.
 */
#include "mm/mm.h"

/* how often in a row a call is repeated for a pinned page, before it fails */
#define HIDE_TRIES 200

/* Pages of a range that are taken away together. */
struct zap {
	struct space *space;
	bool rests; /* the caller holds the space lock, so the walk may drop the pager lock between two pages */
	unsigned nr;
	struct zapped {
		struct page *page;
		pte_slot_t *ptep;
		uint64_t addr;
	} at[UNMAP_BATCH];
	struct unmap_batch batch;
};

static bool zap_full(const struct zap *zap)
{
	return zap->nr == UNMAP_BATCH;
}

/* Lock the page and hide its PTE. Returns false if the page is busy. */
static bool zap_add(struct zap *zap, uint64_t index, pte_slot_t *ptep)
{
	struct pager *pager = zap->space->pager;
	struct page *page = pfn_page(pager, pte_pfn(pte_load(ptep)));
	uint64_t addr = index_addr(zap->space, index);

	if (!page_trylock(pager, page))
		return false;
	pte_hide(pager, find_vma(zap->space, addr), addr, ptep, &zap->batch);
	zap->at[zap->nr++] = (struct zapped){page, ptep, addr};
	return true;
}

/* The next word that is not none, from *index on. What the batch has is locked, so the lock may be dropped. */
static pte_slot_t *zap_next(struct zap *zap, uint64_t *index, uint64_t end)
{
	struct space *space = zap->space;

	return zap->rests ? space_next(space, *index, end, index)
			  : pgtable_next(&space->pgtable, *index, end, index);
}

/* Is the page anonymous, without a slot? Then it is written when it leaves memory, whether it is dirty or not. */
static bool page_is_swapless(const struct page *page)
{
	return page_is_anon(page) && page_has(page, PG_swapbacked) && !page_has(page, PG_swapcache);
}

/* End one mapping. The page ends when nobody else holds it. => the page is locked, its PTE hidden */
static void zap_page(struct zap *zap, struct zapped *z)
{
	struct pager *pager = zap->space->pager;
	bool last = z->page->_mapcount == 0;

	if ((pte_load(z->ptep) & PTE_DIRTY) && !page_is_swapless(z->page))
		page_set(z->page, PG_dirty);
	pte_store(z->ptep, 0);
	page_remove_rmap(z->page, find_vma(zap->space, z->addr), z->addr);
	if (last && page_has(z->page, PG_mlocked))
		clear_page_mlock(pager, z->page);
	page_unlock(pager, z->page);
	page_step(pager, z->page, "zap_pte_range", z->addr);
	if (page_has(z->page, PG_swapcache))
		free_swap_cache(pager, z->page);
	else if (last && page_is_anon(z->page))
		pager->stats->freed++;
	page_put(pager, z->page);
}

/*
 * Will nobody read the bytes again? Yes, if each page of the batch has this mapping alone, and no other PTE names its
 * slot.
 */
static enum unmap_content zap_content(const struct zap *zap)
{
	struct pager *pager = zap->space->pager;

	for (unsigned i = 0; i < zap->nr; i++) {
		struct page *page = zap->at[i].page;

		if (page->_mapcount > 0 || page_file(page) ||
			(page_has(page, PG_swapcache) &&
				swap_slot(pager, word_entry(page->private))->count > 0))
			return UNMAP_KEEP;
	}
	return UNMAP_DROP;
}

/* Take the batch away. A page that is pinned, and whose content others want, stays. Returns one such page, or NULL. */
static struct page *zap_run(struct zap *zap)
{
	bool busy = unmap_batch_run(zap->space->pager, &zap->batch, zap_content(zap)) > 0;
	struct page *pinned = NULL;

	for (unsigned i = 0; i < zap->nr; i++) {
		if (busy && pte_is_valid(pte_load(zap->at[i].ptep))) {
			pinned = zap->at[i].page;
			page_unlock(zap->space->pager, pinned);
		} else {
			zap_page(zap, &zap->at[i]);
		}
	}
	zap->nr = 0;
	return pinned;
}

/*
 * Fill one batch from *index on. Returns the busy page that stopped it. NULL: the end was reached, or the batch is
 * full.
 */
static struct page *zap_gather(struct zap *zap, uint64_t *index, uint64_t end)
{
	struct space *space = zap->space;
	struct pager *pager = space->pager;
	pte_slot_t *ptep;

	while (!zap_full(zap) && (ptep = zap_next(zap, index, end)) != NULL) {
		pte_t pte = pte_load(ptep);

		if (pte_is_swap(pte)) {
			pte_store(ptep, 0);
			free_swap_and_cache(pager, pte_entry(pte));
		} else if (pte_is_migration(pte)) {
			pte_store(ptep, 0); /* the move holds the page, and ends it when no PTE is left */
		} else if (pte & PTE_ZERO) {
			pte_store(ptep, 0);
			pager->machine->ops->flush(pager->machine, space, index_addr(space, *index));
		} else if (!zap_add(zap, *index, ptep)) {
			return pfn_page(pager, pte_pfn(pte));
		}
		(*index)++;
	}
	if (!zap_full(zap))
		*index = end;
	return NULL;
}

static int zap_range(struct space *space, uint64_t start, uint64_t end, bool rests, struct wait *wait)
{
	uint64_t index = space_index(space, start), last = space_index(space, end);
	struct zap zap;

	zap.space = space;
	zap.rests = rests;
	zap.nr = zap.batch.nr = 0;
	while (index < last) {
		struct page *busy = zap_gather(&zap, &index, last);

		if (busy && zap.nr == 0) {
			wait_on_page(space->pager, busy, WAIT_PAGE, wait);
			return -EAGAIN;
		}
		if (zap_run(&zap)) {
			wait_set(space->pager, wait, WAIT_SPACE, PFN_NONE);
			return -EAGAIN;
		}
	}
	return 0;
}

int unmap_vmas(struct space *space, uint64_t start, uint64_t end, struct wait *wait)
{
	return zap_range(space, start, end, true, wait);
}

int unmap_vma_of_other(struct space *space, uint64_t start, uint64_t end, struct wait *wait)
{
	return zap_range(space, start, end, false, wait);
}

/*
 * As zap_gather(): lock and hide the pages of one batch from *index on. The zero page is not hidden: its PTE becomes
 * none, and the next touch maps it again. A page that is moving is hidden already; it comes back armed.
 */
static struct page *hide_gather(struct zap *zap, uint64_t *index, uint64_t end)
{
	struct space *space = zap->space;
	struct pager *pager = space->pager;
	pte_slot_t *ptep;

	while (!zap_full(zap) && (ptep = zap_next(zap, index, end)) != NULL) {
		pte_t pte = pte_load(ptep);

		if (pte & PTE_ZERO) {
			pte_store(ptep, 0);
			pager->machine->ops->flush(pager->machine, space, index_addr(space, *index));
		} else if (pte_is_migration(pte)) {
			pte_clear_bits(ptep, PTE_WAS_VALID | PTE_WRITE);
		} else if (pte_is_present(pte) && !zap_add(zap, *index, ptep)) {
			return pfn_page(pager, pte_pfn(pte));
		}
		(*index)++;
	}
	if (!zap_full(zap))
		*index = end;
	return NULL;
}

/* A page is pinned for I/O. Usually that ends soon. -EBUSY: it did not end for HIDE_TRIES calls. */
static int hide_wait(struct space *space, struct wait *wait)
{
	if (++space->pinned_tries > HIDE_TRIES) {
		space->pinned_tries = 0;
		return -EBUSY;
	}
	wait_set(space->pager, wait, WAIT_SPACE, PFN_NONE);
	return -EAGAIN;
}

int hide_range(struct space *space, uint64_t start, uint64_t end, struct wait *wait)
{
	uint64_t index = space_index(space, start), last = space_index(space, end);
	struct pager *pager = space->pager;
	struct zap zap;

	zap.space = space;
	zap.rests = true;
	while (index < last) {
		zap.nr = zap.batch.nr = 0;
		struct page *busy = hide_gather(&zap, &index, last);

		if (busy && zap.nr == 0) {
			wait_on_page(pager, busy, WAIT_PAGE, wait);
			return -EAGAIN;
		}
		bool pinned = unmap_batch_run(pager, &zap.batch, UNMAP_KEEP) > 0;

		for (unsigned i = 0; i < zap.nr; i++) {
			if (!pte_is_valid(pte_load(zap.at[i].ptep)))
				pte_clear_bits(zap.at[i].ptep, PTE_WRITE);
			page_unlock(pager, zap.at[i].page);
		}
		if (pinned)
			return hide_wait(space, wait);
	}
	space->pinned_tries = 0;
	return 0;
}

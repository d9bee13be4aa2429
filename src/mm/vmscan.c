/* SPDX-License-Identifier: MIT */
/*
 * Reclaim: turn cold pages into free frames.
 *
 * Pages are isolated in batches of 32, so no lock is held while the machine takes them away or
 * their content is hashed; what is held then is their page locks. A page touched after isolation simply
 * goes back to the active list.
 *
 * Invariant: an isolated page is on its isolator's list and the isolator holds a reference.
 * Invariant: between two statements that drop the lock, a page of the batch is locked or under writeback.
 */
#include "mm/mm.h"

#define STUCK_PAGES 1024 /* that kswapd looks at before it gives up again */

/* One thread's pass over a node. */
struct scan {
	struct pager *pager;
	struct plug plug;
	bool ignore_references; /* the program itself has said that the pages are cold */
	unsigned nr_scanned, nr_reclaimed, nr_written;
};

/* A page between try_to_unmap and its fate. */
struct candidate {
	struct page *page;
	bool wanted; /* its content, for a device */
	struct content content;
};

static void scan_init(struct scan *scan, struct pager *pager)
{
	*scan = (struct scan){.pager = pager};
	plug_init(&scan->plug);
}

/* Back to its list. If the last PTE that named its slot went while it was isolated, nobody else ends it: it ends here. */
static void putback_page(struct pager *pager, struct page *page, struct page_head *list)
{
	putback_lru_page(pager, page, list);
	if (page->_count > 0 && page_has(page, PG_swapcache))
		free_swap_cache(pager, page);
}

/* ---- Ageing ---------------------------------------------------------------------------- */

/* Lock what can be locked of @list; the array gets them. */
static unsigned lock_pages(struct pager *pager, struct page_head *list, struct page **pages, unsigned max)
{
	struct page *page;
	unsigned nr = 0;

	TAILQ_FOREACH (page, list, lru) {
		if (nr < max && page_mapped(page) && page_trylock(pager, page))
			pages[nr++] = page;
	}
	return nr;
}

void deactivate_pages(struct pager *pager, struct page_head *list)
{
	struct page *pages[UNMAP_BATCH];
	unsigned nr = lock_pages(pager, list, pages, UNMAP_BATCH);

	pages_age(pager, pages, nr);
	for (unsigned i = 0; i < nr; i++)
		page_unlock(pager, pages[i]);
	while (!TAILQ_EMPTY(list)) {
		struct page *page = TAILQ_FIRST(list);

		page_clear(page, PG_active | PG_referenced);
		pager->stats->deactivated++;
		putback_page(pager, page, list);
		if (page->_count > 0)
			page_step(pager, page, "shrink_active_list", 0);
	}
}

/*
 * Pages of executable file mappings that were used stay active: a program's text is worth more than its data. Returns
 * how many do.
 */
static unsigned keep_executable(struct pager *pager, struct page_head *list)
{
	struct page *page, *next;
	unsigned kept = 0;

	for (page = TAILQ_FIRST(list); page; page = next) {
		struct referenced ref;

		next = TAILQ_NEXT(page, lru);
		if (page_has(page, PG_locked))
			continue;
		ref = page_referenced(pager, page);
		if (!ref.nr || !ref.vm_exec)
			continue;
		putback_page(pager, page, list);
		kept++;
	}
	return kept;
}

/* All pages looked at, and nothing gained. */
static bool node_is_desperate(const struct scan *scan, const struct node *node);

/*
 * From the active tail to the inactive head, accessed marks cleared. What is kept was looked at, too: else text that is
 * always in use would be gone through for ever. Drops the lock. Returns how many stay.
 */
static unsigned shrink_active_list(struct scan *scan, struct node *node, enum page_list from, unsigned nr)
{
	struct page_head list = TAILQ_HEAD_INITIALIZER(list);
	unsigned kept = 0;

	isolate_lru_pages(scan->pager, node, from, nr, &list);
	if (from == LIST_ACTIVE_FILE && !node_is_desperate(scan, node))
		kept = keep_executable(scan->pager, &list);
	deactivate_pages(scan->pager, &list);
	scan->nr_scanned += kept;
	return kept;
}

/* ---- shrink_page_list, page by page ----------------------------------------------------- */

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
 * page_check_references, and what there is to check besides. Anonymous and shared memory that was used goes back to the
 * active list. A page of a file that was used once only gets another round; used twice, by two, or as program text
 * it is active. => page locked
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

/* Its cache is all that holds it: is there something to write first? */
static enum page_fate judge_unmapped(struct pager *pager, struct page *page)
{
	if (page_file(page))
		return page_has(page, PG_swapbacked) ? FATE_CANDIDATE : FATE_FREE;
	if (!page_has(page, PG_dirty))
		return FATE_FREE;
	return slot_has_room(pager, word_entry(page->private)) ? FATE_CANDIDATE : FATE_ACTIVATE;
}

/* Decide, without doing anything yet but give an anonymous page its slot. => page isolated and locked */
static enum page_fate page_judge(struct scan *scan, struct page *page)
{
	struct pager *pager = scan->pager;

	if (page_has(page, PG_mlocked))
		return FATE_UNEVICTABLE;
	if (page_has(page, PG_writeback)) {
		page_set(page, PG_reclaim); /* at its end: to the tail */
		return FATE_KEEP;
	}
	if (!page_has(page, PG_uptodate) ||
		(!page_mapped(page) && !page_has(page, PG_swapcache) && !page_file(page)))
		return FATE_KEEP; /* its holder lets go of it soon, or has just done so */
	if (slot_is_unwanted(pager, page))
		return FATE_FREE;
	if (page_has(page, PG_swapcache) && pager->areas[word_entry(page->private).type].off)
		return FATE_ACTIVATE; /* swapoff has read it and is about to map it: it would read it for ever */

	enum page_fate fate = page_check_references(scan, page);

	if (fate != FATE_CANDIDATE)
		return fate;
	if (page_needs_slot(page) && add_to_swap(pager, page))
		return FATE_ACTIVATE; /* no room on any device */
	return page_mapped(page) ? FATE_CANDIDATE : judge_unmapped(pager, page);
}

/* Unlock and put back, as the fate says. */
static void page_keep(struct scan *scan, struct page *page, struct page_head *list, enum page_fate fate)
{
	struct pager *pager = scan->pager;

	if (page_has(page, PG_mlocked)) /* perhaps only since it was judged */
		fate = FATE_UNEVICTABLE;
	if (fate == FATE_ACTIVATE) {
		if (vm_swap_full(pager))
			try_to_free_swap(pager, page);
		page_set(page, PG_active);
		pager->stats->activated++;
	} else if (fate == FATE_UNEVICTABLE) {
		page_clear(page, PG_active);
		page_set(page, PG_unevictable | PG_mlocked);
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
	if (!page_freeze_refs(page, 2)) /* the isolation's and the cache's */
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

/* All zeros: no PTE needs it, no slot either. => unmapped at the machine, PTEs hidden */
static bool drop_zero_page(struct scan *scan, struct page *page, struct page_head *list)
{
	struct pager *pager = scan->pager;

	if (swap_slot(pager, word_entry(page->private))->count > 0 || page->_count > 2 + page->_mapcount + 1)
		return false; /* others name the slot, or hold the page */
	if (!rmap_walk(pager, page, has_no_file, NULL))
		return false; /* a none PTE there means the file's page */
	if (try_to_unmap_end(pager, page, true) != UNMAP_DONE)
		return false;
	page_clear(page, PG_dirty);
	if (!__remove_mapping(pager, page, list))
		return false;
	pager->stats->freed--; /* not an end: it is born again at the next touch */
	pager->stats->zero_dropped++;
	scan->nr_reclaimed++;
	return true;
}

/* Start the write; PG_writeback and PG_reclaim stand, the page is unlocked. false: no request is free */
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

/* The slot holds exactly this content, or gets it now. => page unmapped, in the swap cache */
static void swap_candidate_finish(struct scan *scan, struct candidate *c, struct page_head *list)
{
	struct pager *pager = scan->pager;
	struct page *page = c->page;
	swp_entry_t entry = word_entry(page->private);

	if (!c->content.zero && !page_has(page, PG_recall) && slot_holds(pager, entry, &c->content)) {
		page_clear(page, PG_dirty);
		if (__remove_mapping(pager, page, list)) {
			pager->stats->clean_dropped++;
			scan->nr_reclaimed++;
			return;
		}
	} else if (slot_writable(pager, entry)) {
		pageout(scan, c);
	}
	page_keep(scan, page, list, FATE_KEEP);
}

/* Shared memory gets its slot only now that no PTE is left. => page unmapped, in its page cache */
static void shmem_candidate_finish(struct scan *scan, struct candidate *c, struct page_head *list)
{
	struct pager *pager = scan->pager;
	struct page *page = c->page;

	if (c->content.zero && page->_count == 2) {
		shmem_drop_zero(pager, page);
		pager->stats->zero_dropped++;
		scan->nr_reclaimed++;
		page_keep(scan, page, list, FATE_KEEP); /* the isolation's reference was the last */
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

/* MADV_FREE: a page that was not written since ends; one that was is an ordinary page again. => page mapped */
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
	page_keep(scan, page, list, FATE_KEEP); /* the isolation's reference is the last */
}

/* Another slot holds this content: its PTEs come to name that one, its own slot goes with it, and nothing is written. */
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
		pager->stats->freed--; /* not an end: it is on a device */
		pager->stats->swapped_out++;
		scan->nr_reclaimed++;
	} else {
		page_keep(scan, page, list, FATE_KEEP);
	}
	return true;
}

/* try_to_unmap has hidden its PTEs and the content is known: finish. */
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

/* What is pinned stays where it is, and goes back to the active list. Returns how many candidates are left. */
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

/* Hash what was taken away, without the pager lock: nobody can write to these pages. A file's page is on its file. */
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

/* Every page of @list ends free, under writeback, or back on a list. Drops the lock. */
static void shrink_page_list(struct scan *scan, struct page_head *list)
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

static void shrink_inactive_list(struct scan *scan, struct node *node, enum page_list from, unsigned nr)
{
	struct page_head list = TAILQ_HEAD_INITIALIZER(list);
	unsigned before = scan->nr_scanned;

	isolate_lru_pages(scan->pager, node, from, nr, &list);
	shrink_page_list(scan, &list);
	scan->pager->stats->scanned += scan->nr_scanned - before;
}

void reclaim_pages(struct pager *pager, struct page_head *pages)
{
	struct scan scan;

	scan_init(&scan, pager);
	scan.ignore_references = true;
	pager->nr_reclaimers++;
	while (!TAILQ_EMPTY(pages)) {
		struct page_head some = TAILQ_HEAD_INITIALIZER(some);

		for (unsigned i = 0; i < SWAP_CLUSTER_MAX && !TAILQ_EMPTY(pages); i++) {
			struct page *page = TAILQ_FIRST(pages);

			TAILQ_REMOVE(pages, page, lru);
			TAILQ_INSERT_TAIL(&some, page, lru);
		}
		shrink_page_list(&scan, &some);
	}
	plug_submit(pager, &scan.plug);
	pager->nr_reclaimers--;
}

/* ---- One round over a node, for kswapd and for direct reclaim ----------------------------- */

static uint32_t node_file_pages(const struct node *node)
{
	return node->nr_pages[LIST_ACTIVE_FILE] + node->nr_pages[LIST_INACTIVE_FILE];
}

static uint32_t node_anon_pages(const struct node *node)
{
	return node->nr_pages[LIST_ACTIVE_ANON] + node->nr_pages[LIST_INACTIVE_ANON];
}

static uint32_t node_reclaimable(const struct node *node)
{
	return node_anon_pages(node) + node_file_pages(node);
}

static bool node_is_desperate(const struct scan *scan, const struct node *node)
{
	return scan->nr_reclaimed + scan->nr_written == 0 &&
	       scan->nr_scanned + node->fruitless > node_reclaimable(node);
}

/*
 * get_scan_count: how many of @nr pages to take from the file lists. Without room on the devices all of them; else in
 * proportion to swappiness, each side weighed down by what its last scans found in use. What does not make a whole
 * page is carried over. Before there is no memory at all, swappiness counts no more: half and half.
 */
static unsigned file_share(struct scan *scan, struct node *node, unsigned nr)
{
	struct pager *pager = scan->pager;

	if (node_file_pages(node) == 0)
		return 0;
	if (node_anon_pages(node) == 0 || pager->slots_used == pager->slots_total)
		return nr;
	if (node_is_desperate(scan, node))
		return (nr + 1) / 2;
	uint64_t anon = (uint64_t)pager->swappiness * (node->scanned[0] + 1) / (node->rotated[0] + 1);
	uint64_t file = (200 - (uint64_t)pager->swappiness) * (node->scanned[1] + 1) / (node->rotated[1] + 1);
	uint64_t share = nr * 1024 * file / (anon + file + 1) + node->share_carry;

	node->share_carry = share % 1024;
	return (unsigned)min_u64(share / 1024, nr);
}

/* Recent history only: older scans count half. */
static void note_scanned(struct node *node, bool file, unsigned scanned, unsigned rotated)
{
	node->scanned[file] += scanned;
	node->rotated[file] += rotated;
	if (node->scanned[file] > node->nr / 4 + SWAP_CLUSTER_MAX) {
		node->scanned[file] /= 2;
		node->rotated[file] /= 2;
	}
}

/*
 * A page on the inactive list is looked at before it goes. Where there is no accessed bit a look at a page in use costs a
 * fault, and where the device is memory a wrong choice costs little more: fewer pages are looked at then.
 */
static bool looks_are_dear(const struct pager *pager)
{
	const struct swapdev *dev = pager->areas[0].dev;

	return !pager->machine->ops->sees_access && dev && dev->quick;
}

static void shrink_lists(struct scan *scan, struct node *node, bool file, unsigned nr)
{
	enum page_list active = file ? LIST_ACTIVE_FILE : LIST_ACTIVE_ANON;
	enum page_list inactive = file ? LIST_INACTIVE_FILE : LIST_INACTIVE_ANON;
	unsigned before = scan->nr_scanned;
	uint64_t activated = scan->pager->stats->activated;
	unsigned kept = 0;

	if (nr == 0)
		return;
	if (inactive_is_low(node, file, looks_are_dear(scan->pager)) || node->nr_pages[inactive] == 0)
		kept = shrink_active_list(scan, node, active, nr);
	shrink_inactive_list(scan, node, inactive, nr);
	note_scanned(node, file, scan->nr_scanned - before,
		kept + (unsigned)(scan->pager->stats->activated - activated));
}

/* @nr: at most SWAP_CLUSTER_MAX */
static void shrink_node(struct scan *scan, struct node *node, unsigned nr)
{
	unsigned nr_file = file_share(scan, node, nr);

	shrink_lists(scan, node, true, nr_file);
	shrink_lists(scan, node, false, nr - nr_file);
}

static uint32_t hopeless_after(const struct node *node)
{
	return 2 * node_reclaimable(node) + 4 * SWAP_CLUSTER_MAX;
}

/* Twice through both lists without a gain: every page was aged once and then looked at. */
static bool node_hopeless(const struct node *node, unsigned scanned)
{
	return scanned > hopeless_after(node);
}

static bool node_balanced(const struct node *node)
{
	return node->nr_free >= node->wmark_high && reserve_missing(node) == 0;
}

/* What is under writeback will be free soon: no need to scan for more. */
static bool node_will_be_balanced(const struct pager *pager, const struct node *node)
{
	return node->nr_free + pager->nr_writeback / pager->nr_nodes >=
	       node->wmark_high + reserve_missing(node);
}

static enum kswapd_result kswapd_node(struct pager *pager, struct node *node, unsigned pages)
{
	struct scan scan;

	reserve_fill(pager, node);
	if (node_balanced(node))
		return KSWAPD_BALANCED;
	/* Rotated pages at the tail are clean: they are free after one look. Otherwise let the writes end. */
	if (node_will_be_balanced(pager, node) && pager->nr_inflight[SWAP_WRITE] > 0 && !pager->rotated)
		return KSWAPD_WAIT;
	scan_init(&scan, pager);
	pager->rotated = false;
	for (unsigned done = 0; done < pages && !node_balanced(node); done += SWAP_CLUSTER_MAX)
		shrink_node(&scan, node, (unsigned)min_u64(pages - done, SWAP_CLUSTER_MAX));
	plug_submit(pager, &scan.plug);
	if (scan.nr_reclaimed + scan.nr_written > 0) {
		node->fruitless = 0;
		return KSWAPD_PROGRESS;
	}
	node->fruitless += scan.nr_scanned + 1;
	if (pager->nr_inflight[SWAP_WRITE] > 0)
		return KSWAPD_WAIT;
	return node_hopeless(node, node->fruitless) ? KSWAPD_STUCK : KSWAPD_PROGRESS;
}

/*
 * Nothing can be reclaimed: let the limit be until something changes. Who calls again looks at a few pages only, from
 * where it stopped, until there is a gain: else all pages would be aged, and touched again, for nothing all the time.
 */
static void node_give_up(struct node *node)
{
	node->fruitless = hopeless_after(node) - (uint32_t)min_u64(STUCK_PAGES, hopeless_after(node));
	node->stalled = node->nr_reserved < node->wanted;
}

static enum kswapd_result worse(enum kswapd_result a, enum kswapd_result b)
{
	/* Any progress means: call again. Otherwise waiting is better than giving up. */
	static const int rank[] = {
		[KSWAPD_BALANCED] = 0, [KSWAPD_STUCK] = 1, [KSWAPD_WAIT] = 2, [KSWAPD_PROGRESS] = 3};

	return rank[a] > rank[b] ? a : b;
}

/* From its wake-up until it may sleep again. No clock: a round is as long as its work. */
static void kswapd_round_ends(struct pager *pager)
{
	bool outrun = pager->stats->direct_reclaims != pager->direct_seen;

	pager->direct_seen = pager->stats->direct_reclaims;
	for (unsigned n = 0; n < pager->nr_nodes; n++)
		node_adapt_watermarks(&pager->nodes[n], outrun);
	pager->kswapd_woken = false;
}

enum kswapd_result kswapd_step(struct pager *pager, unsigned pages)
{
	enum kswapd_result result = KSWAPD_BALANCED;

	pager_lock(pager);
	if (!pager->frozen) {
		pager->nr_reclaimers++;
		lend_upkeep(pager);
		lend_settle(pager);
		for (unsigned n = 0; n < pager->nr_nodes; n++)
			result = worse(result, kswapd_node(pager, &pager->nodes[n], pages));
		pager->nr_reclaimers--;
	}
	if (pager->kswapd_woken && (result == KSWAPD_BALANCED || result == KSWAPD_STUCK))
		kswapd_round_ends(pager);
	if (result == KSWAPD_STUCK)
		for (unsigned n = 0; n < pager->nr_nodes; n++)
			node_give_up(&pager->nodes[n]);
	if (pager->nr_reclaimers == 0 && (pager->frame_waiters || pager->frozen))
		pager_event(pager);
	pager_unlock(pager);
	return result;
}

unsigned pager_reclaim(struct pager *pager, unsigned pages)
{
	struct scan scan;

	pager_lock(pager);
	scan_init(&scan, pager);
	pager->nr_reclaimers++;
	for (unsigned n = 0; n < pager->nr_nodes && !pager->frozen; n++) {
		struct node *node = &pager->nodes[n];
		unsigned before = scan.nr_scanned;

		while (scan.nr_reclaimed + scan.nr_written < pages && node_reclaimable(node) > 0 &&
			!node_hopeless(node, scan.nr_scanned - before))
			shrink_node(&scan, node,
				(unsigned)min_u64(
					pages - scan.nr_reclaimed - scan.nr_written, SWAP_CLUSTER_MAX));
	}
	plug_submit(pager, &scan.plug);
	pager->nr_reclaimers--;
	if (pager->nr_reclaimers == 0)
		pager_event(pager);
	pager_unlock(pager);
	return scan.nr_reclaimed + scan.nr_written;
}

/* ---- Direct reclaim ------------------------------------------------------------------------ */

static struct node *fullest_node(struct pager *pager)
{
	struct node *best = &pager->nodes[0];

	for (unsigned n = 1; n < pager->nr_nodes; n++)
		if (node_reclaimable(&pager->nodes[n]) > node_reclaimable(best))
			best = &pager->nodes[n];
	return best;
}

static bool others_may_free(const struct pager *pager)
{
	return pager->nr_inflight[SWAP_WRITE] + pager->nr_inflight[SWAP_READ] + pager->nr_locked > 0 ||
	       pager->nr_reclaimers > 1;
}

enum reclaim_result try_to_free_pages(struct pager *pager)
{
	struct node *node = fullest_node(pager);
	struct scan scan;
	enum reclaim_result result;

	scan_init(&scan, pager);
	pager->stats->direct_reclaims++;
	pager->nr_reclaimers++;
	lend_settle(pager);
	do {
		shrink_node(&scan, node, SWAP_CLUSTER_MAX);
		/* Writes are under way and there are frames to go on with: leave the rest to kswapd. */
		if ((scan.nr_written > 0 || pager->nr_inflight[SWAP_WRITE] > 0) && frames_free(pager) > 0)
			break;
	} while (scan.nr_reclaimed < SWAP_CLUSTER_MAX && scan.nr_written < SWAP_IO_PAGES &&
		 !node_hopeless(node, scan.nr_scanned) && node_reclaimable(node) > 0);
	plug_submit(pager, &scan.plug);
	if (frames_free(pager) > 0)
		result = RECLAIM_FREED;
	else if (scan.nr_written > 0 || others_may_free(pager))
		result = RECLAIM_WAIT;
	else
		result = RECLAIM_NOTHING;
	pager->nr_reclaimers--;
	return result;
}

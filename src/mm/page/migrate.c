/* SPDX-License-Identifier: MIT */
/* Page migration; see migrate.h. */
#include "mm/mm.h"

#include <string.h>

#define MIGRATE_TRIES                                                                                        \
	10 /* how often a page that is in use may be met before it is left alone, as Linux does */

/* Flags that the new page takes over from the old one. */
#define MOVED_FLAGS                                                                                          \
	(PG_uptodate | PG_dirty | PG_active | PG_referenced | PG_swapbacked | PG_unevictable | PG_mlocked |  \
		PG_workingset | PG_readahead | PG_fresh | PG_recall | PG_error)

/* ---- Begin: from PTEs to migration entries ------------------------------------------------------ */

/* A merged page belongs to KSM's trees, too, which would have to learn of the new page. So it is not moved. */
static bool page_is_movable(const struct page *page)
{
	return !page_has(page, PG_ksm);
}

struct migrating {
	struct pager *pager;
	struct unmap_batch batch;
};

static bool hide_one(void *ctx, struct page *page, struct vma *vma, uint64_t addr, pte_slot_t *ptep)
{
	struct migrating *h = ctx;
	pte_t was = pte_load(ptep);

	(void)page;
	pte_hide(h->pager, vma, addr, ptep, &h->batch);
	/* A machine with flush() does nothing to hide a page: what it showed before, it will show again. */
	if (pte_is_valid(was) && h->pager->machine->ops->flush)
		pte_set_bits(ptep, PTE_WAS_VALID);
	return true;
}

static bool entry_one(void *ctx, struct page *page, struct vma *vma, uint64_t addr, pte_slot_t *ptep)
{
	pte_t pte = pte_load(ptep);

	(void)ctx;
	pte_store(ptep, pte_to_migration(pte));
	if (pte & PTE_DIRTY)
		page_set(page, PG_dirty);
	page_remove_rmap(page, vma, addr);
	page->_count--; /* never the last: the isolation holds one */
	return true;
}

/*
 * Every PTE of the page becomes a migration entry. Drops the lock where the machine must take the page away. -EBUSY:
 * the page is pinned.
 */
static int try_to_migrate(struct pager *pager, struct page *page)
{
	struct migrating h = {.pager = pager, .batch = {.nr = 0}};

	rmap_walk(pager, page, hide_one, &h);
	if (unmap_batch_run(pager, &h.batch, UNMAP_KEEP) > 0)
		return -EBUSY;
	rmap_walk(pager, page, entry_one, NULL);
	page_step(pager, page, "try_to_unmap", 0);
	return 0;
}

/* Do only the isolation and its cache hold the page? => unmapped */
static bool has_expected_refs(const struct page *page)
{
	return page->_count == 1 + page_has(page, PG_swapcache) + (page_file(page) != NULL);
}

/* ---- End: from migration entries to PTEs ------------------------------------------------------------ */

struct removing {
	struct pager *pager;
	struct page *from, *to;
};

static bool remove_migration_pte(void *ctx, struct vma *vma)
{
	struct removing *r = ctx;
	uint64_t addr = vma->start + ((uint64_t)(r->to->index - vma->pgoff) << PAGE_SHIFT);
	pte_slot_t *ptep = pgtable_find(&vma->space->pgtable, space_index(vma->space, addr));
	pte_t pte = ptep ? pte_load(ptep) : 0;

	if (!pte_is_migration(pte) || pte_pfn(pte) != page_pfn(r->pager, r->from))
		return true;
	pte_store(ptep, pte_from_migration(pte, page_pfn(r->pager, r->to)));
	r->to->_count++;
	/* the mapping is the old page's: the entry proves that the page was mapped through it */
	r->to->_mapcount++;
	if (vma->flags &
		VM_LOCKED) /* the last locked mapping took the mark with it when it became an entry */
		page_mlock(r->pager, r->to);
	return true;
}

/*
 * Every migration entry of m->from that is left maps @to, which is m->to, or m->from to undo the move.
 * => @to has its index, and is in its cache
 */
static void remove_migration_ptes(struct migration *m, struct page *to)
{
	struct removing r = {m->pager, m->from, to};

	if (m->anon_vma) {
		links_walk(&m->anon_vma->links, to->index, to->index, remove_migration_pte, &r);
		to->mapping = page_mapped(to) ? (void *)((uintptr_t)m->anon_vma | PAGE_MAPPING_ANON)
					      : (void *)PAGE_MAPPING_ANON;
		anon_vma_unpin(m->pager, m->anon_vma);
	} else if (page_file(to)) {
		links_walk(&page_file(to)->i_mmap, to->index, to->index, remove_migration_pte, &r);
	}
	if (!page_mapped(to) && page_has(to, PG_mlocked)) /* its last mapping went while it moved */
		page_clear(to, PG_mlocked | PG_unevictable);
}

/* ---- What a page is goes over ------------------------------------------------------------------------ */

/* The word of the swap cache or page cache names the new page, and the cache's reference goes over to it. */
static void migrate_page_move_mapping(struct pager *pager, struct page *from, struct page *to)
{
	to->mapping = from->mapping;
	to->index = from->index;
	if (page_has(from, PG_swapcache)) {
		to->private = from->private;
		slot_set_page(pager, word_entry(to->private), to);
		page_clear(from, PG_swapcache);
		page_set(to, PG_swapcache);
		from->private = 0;
	} else if (page_file(from)) {
		pte_store(pgtable_find(&page_file(from)->cache, from->index),
			pte_present(page_pfn(pager, to), 0));
	} else {
		from->mapping = NULL;
		return;
	}
	from->mapping = NULL;
	from->_count--;
	to->_count++;
}

static void move_to_new_page(struct pager *pager, struct page *from, struct page *to)
{
	migrate_page_move_mapping(pager, from, to);
	page_set(to, page_flags(from) & MOVED_FLAGS);
	page_clear(from, PG_active | PG_dirty);
	lru_cache_add(pager, to);
	page_step(pager, from, "migrate_page_copy", 0);
	page_step(pager, to, "move_to_new_page", 0);
}

/* Isolate a page, and put it on nobody's list: so migration keeps it. */
static void isolate_alone(struct pager *pager, struct page *page)
{
	struct page_head list = TAILQ_HEAD_INITIALIZER(list);
	bool isolated = isolate_lru_page(pager, page, &list);

	assert(isolated);
	(void)isolated;
	TAILQ_REMOVE(&list, page, lru);
}

/*
 * The page goes back to its list. If its last mapping, or the last name of its slot, went while it was isolated, it
 * ends here.
 */
static void putback_movable_page(struct pager *pager, struct page *page)
{
	struct page_head list = TAILQ_HEAD_INITIALIZER(list);

	TAILQ_INSERT_TAIL(&list, page, lru);
	pager->stats->freed += page->_count == 1 && page_is_anon(page);
	putback_lru_page(pager, page, &list);
	if (page->_count > 0 && page_has(page, PG_swapcache))
		free_swap_cache(pager, page);
}

/* The old page is free. => only the isolation holds it */
static void free_old_page(struct pager *pager, struct page *page)
{
	page_clear(page, PG_lru);
	page_set_list(page, LIST_NONE);
	page_unlock(pager, page);
	page_put(pager, page);
}

static void free_new_page(struct pager *pager, struct page *page)
{
	page_unlock(pager, page);
	page_put(pager, page);
}

/* The new page's mappings and its cache hold it now; the reference of its allocation goes. => locked, on its list */
static void release_new_page(struct pager *pager, struct page *page)
{
	page_unlock(pager, page);
	if (page->_count > 1) {
		page->_count--;
		page_step(pager, page, "remove_migration_ptes", 0);
		if (page_has(page, PG_swapcache))
			free_swap_cache(pager, page);
	} else {
		pager->stats->freed += page_is_anon(page);
		page_put(pager, page);
	}
}

/* ---- The three phases --------------------------------------------------------------------------------- */

int page_migrate_check(struct pager *pager, struct page *page, struct wait *wait)
{
	if (pager->frozen) {
		wait_set(pager, wait, WAIT_SPACE, PFN_NONE);
		return -EAGAIN;
	}
	if (page_has(page, PG_locked)) {
		wait_on_page(pager, page, WAIT_PAGE, wait);
		return -EAGAIN;
	}
	if (!page_is_movable(page) || page_has(page, PG_writeback) || !page_has(page, PG_uptodate))
		return -EBUSY;
	if (!page_mapped(page) && !page_has(page, PG_swapcache) && !page_file(page))
		return -EBUSY; /* unmapped and uncached: its holder lets go of it soon */
	return page_list(page) <= LIST_ISOLATED ? -EBUSY : 0;
}

int page_migrate_begin(struct pager *pager, struct page *page, struct page *to, struct migration *m)
{
	isolate_alone(pager, page);
	page_trylock(pager, page);
	page_trylock(pager, to);
	page_step(pager, page, "isolate_lru_page", 0);
	*m = (struct migration){.pager = pager, .from = page, .to = to};
	if (page_mapped(page) && page_is_anon(page)) {
		m->anon_vma = page_anon_vma(page);
		anon_vma_pin(m->anon_vma);
	}
	if (try_to_migrate(pager, page) == 0 && has_expected_refs(page))
		return 0;
	m->error = -EBUSY;
	return page_migrate_end(m);
}

void migrate_copy(struct migration *m)
{
	struct machine *machine = m->pager->machine;

	m->error = machine->ops->frame_populate(machine, page_pfn(m->pager, m->to), 1);
	if (!m->error)
		memcpy(frame_bytes(m->pager, m->to), frame_bytes(m->pager, m->from), PAGE_BYTES);
}

static void migrate_undo(struct migration *m)
{
	struct pager *pager = m->pager;

	remove_migration_ptes(m, m->from);
	free_new_page(pager, m->to);
	page_unlock(pager, m->from);
	putback_movable_page(pager, m->from);
}

int page_migrate_end(struct migration *m)
{
	struct pager *pager = m->pager;

	assert(page_has(m->from, PG_locked) && page_list(m->from) == LIST_ISOLATED);
	if (!m->error && !has_expected_refs(m->from)) /* somebody has come to hold it while it was copied */
		m->error = -EBUSY;
	if (m->error) {
		migrate_undo(m);
		return m->error;
	}
	move_to_new_page(pager, m->from, m->to);
	remove_migration_ptes(m, m->to);
	lru_requeue(pager, m->to); /* it may have ceased to be mlocked */
	free_old_page(pager, m->from);
	release_new_page(pager, m->to);
	pager->stats->migrated++;
	return 0;
}

int migrate_end(struct migration *m)
{
	struct pager *pager = m->pager;

	pager_lock(pager);
	int error = page_migrate_end(m);

	pager->stats->migrate_failed += error != 0;
	pager_unlock(pager);
	return error;
}

/* The page in memory that the PTE at @addr leads to, or NULL. */
static struct page *page_at(struct space *space, uint64_t addr)
{
	pte_slot_t *ptep = pgtable_find(&space->pgtable, space_index(space, addr));
	pte_t pte = ptep ? pte_load(ptep) : 0;

	if (pte_is_swap(pte))
		return lookup_swap_cache(space->pager, pte_entry(pte));
	if (!(pte & (PTE_PRESENT | PTE_MIGRATION)) || (pte & PTE_ZERO))
		return NULL;
	return pfn_page(space->pager, pte_pfn(pte));
}

int migrate_begin(struct space *space, uint64_t addr, unsigned node, struct migration *m, struct wait *wait)
{
	struct pager *pager = space->pager;
	int error = -ENOENT;

	if (node >= pager->nr_nodes || addr - space->base >= space->bytes)
		return -EINVAL;
	pager_lock(pager);
	struct page *page = page_at(space, addr);

	if (page)
		error = page_migrate_check(pager, page, wait);
	if (!error) {
		struct page *to = frame_alloc_node(pager, node);

		error = to ? page_migrate_begin(pager, page, to, m) : -ENOMEM;
	}
	pager->stats->migrate_failed += error == -EBUSY;
	pager_unlock(pager);
	return error;
}

/* ---- Many pages ------------------------------------------------------------------------------------------ */

/* All three phases for one page. Drops the lock. => page_migrate_check() was 0 */
static int migrate_page(struct pager *pager, struct page *page, struct page *to)
{
	struct migration m;
	int error = page_migrate_begin(pager, page, to, &m);

	if (error)
		return error;
	pager_unlock(pager);
	migrate_copy(&m);
	pager_lock(pager);
	return page_migrate_end(&m);
}

/* One walk over many pages, by list or by frame. */
struct moving {
	struct pager *pager;
	unsigned max, moved, failed;
	bool again; /* a page was locked: a later try may move it */
	struct wait *wait;
};

static void note_result(struct moving *moving, int error)
{
	moving->moved += error == 0;
	moving->failed += error != 0;
	moving->again = moving->again || error == -EAGAIN;
}

/*
 * Look once at each page of a list, the coldest first. A page that cannot be moved goes to the head, so that it is not
 * met again. -ENOMEM: the target has no frame to spare. Drops the lock.
 */
static int migrate_list(struct moving *moving, struct node *node, enum page_list list, unsigned target)
{
	struct pager *pager = moving->pager;

	for (uint32_t nr = node->nr_pages[list]; nr > 0 && moving->moved < moving->max; nr--) {
		struct page *page = TAILQ_LAST(&node->lists[list], page_head);

		if (!page)
			break;
		int error = page_migrate_check(pager, page, moving->wait);

		if (!error) {
			struct page *to = frame_alloc_node(pager, target);

			if (!to)
				return -ENOMEM;
			error = migrate_page(pager, page, to);
		}
		note_result(moving, error);
		if (error && page_list(page) == list && page_node(pager, page) == node)
			lru_requeue(pager, page);
	}
	return 0;
}

static int migrate_node(struct moving *moving, struct node *node, unsigned target)
{
	static const enum page_list coldest_first[] = {
		LIST_INACTIVE_FILE, LIST_INACTIVE_ANON, LIST_ACTIVE_FILE, LIST_ACTIVE_ANON, LIST_UNEVICTABLE};
	int error = 0;

	moving->failed = 0;
	moving->again = false;
	for (size_t i = 0; !error && i < ARRAY_SIZE(coldest_first); i++)
		error = migrate_list(moving, node, coldest_first[i], target);
	return error;
}

/* Pages are isolated while this works. pager_freeze() waits for that as it waits for reclaim. */
static void moving_begin(struct moving *moving, struct pager *pager, unsigned max, struct wait *wait)
{
	*moving = (struct moving){.pager = pager, .max = max, .wait = wait};
	pager->nr_reclaimers++;
}

static void moving_end(struct moving *moving)
{
	struct pager *pager = moving->pager;

	pager->stats->migrate_failed += moving->failed;
	if (--pager->nr_reclaimers == 0 && (pager->frame_waiters || pager->frozen))
		pager_event(pager);
}

int migrate_pages(struct pager *pager, unsigned from, unsigned to, unsigned max, struct wait *wait)
{
	struct moving moving;
	int error = 0;

	if (from >= pager->nr_nodes || to >= pager->nr_nodes || from == to)
		return -EINVAL;
	pager_lock(pager);
	moving_begin(&moving, pager, max, wait);
	for (unsigned i = 0; i < MIGRATE_TRIES && !error && moving.moved < max; i++) {
		unsigned before = moving.moved;

		error = migrate_node(&moving, &pager->nodes[from], to);
		if (moving.moved == before) /* another look would find the same */
			break;
	}
	moving_end(&moving);
	pager_unlock(pager);
	if (moving.moved > 0)
		return (int)moving.moved;
	return error ? error : moving.again ? -EAGAIN : 0;
}

int compact_node(struct pager *pager, unsigned node, unsigned max)
{
	struct moving moving;
	struct wait wait;

	if (node >= pager->nr_nodes)
		return -EINVAL;
	pager_lock(pager);
	struct node *n = &pager->nodes[node];

	moving_begin(&moving, pager, max, &wait);
	/*
	 * Two scanners: one looks for frames in use, from the end down; the other for free frames, from the start up.
	 * They are done where they meet.
	 */
	for (pfn_t pfn = n->first + n->nr_ready; pfn-- > n->first && moving.moved < max && !pager->frozen;) {
		struct page *page = pfn_page(pager, pfn);

		if (page_list(page) <= LIST_ISOLATED)
			continue;
		int error = page_migrate_check(pager, page, &wait);

		if (!error) {
			struct page *to = frame_alloc_below(pager, n, pfn);

			if (!to)
				break;
			error = migrate_page(pager, page, to);
		}
		note_result(&moving, error);
	}
	moving_end(&moving);
	pager_unlock(pager);
	return (int)moving.moved;
}

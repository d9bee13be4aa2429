/* SPDX-License-Identifier: MIT */
/* The reverse map; see rmap.h. */
#include "mm/mm.h"

#include <sys/mman.h>

/* ---- The interval tree --------------------------------------------------------------- */

static uint32_t link_first(const struct anon_vma_chain *link)
{
	return link->vma->pgoff;
}

static uint32_t link_last(const struct anon_vma_chain *link)
{
	return link->vma->pgoff + (uint32_t)((link->vma->end - link->vma->start) >> PAGE_SHIFT) - 1;
}

static int link_order(const struct anon_vma_chain *a, const struct anon_vma_chain *b)
{
	if (link_first(a) != link_first(b))
		return link_first(a) < link_first(b) ? -1 : 1;
	return a < b ? -1 : a > b;
}

RB_PROTOTYPE_INTERNAL(anon_vma_tree, anon_vma_chain, rb, link_order, RB_LOCAL)

/* The tree's code calls this where a subtree has changed. All links above it have changed, too. */
void anon_vma_chain_augment(struct anon_vma_chain *link)
{
	for (; link; link = RB_PARENT(link, rb)) {
		uint32_t last = link_last(link);
		const struct anon_vma_chain *left = RB_LEFT(link, rb), *right = RB_RIGHT(link, rb);

		if (left && left->subtree_last > last)
			last = left->subtree_last;
		if (right && right->subtree_last > last)
			last = right->subtree_last;
		link->subtree_last = last;
	}
}

RB_GENERATE_INTERNAL(anon_vma_tree, anon_vma_chain, rb, link_order, RB_LOCAL)

static struct anon_vma_tree *link_tree(const struct anon_vma_chain *link)
{
	return link->anon_vma ? &link->anon_vma->links : &link->vma->file->i_mmap;
}

static void link_insert(struct anon_vma_chain *link)
{
	RB_INSERT(anon_vma_tree, link_tree(link), link);
	anon_vma_chain_augment(link);
}

static void link_remove(struct anon_vma_chain *link)
{
	struct anon_vma_chain *parent = RB_PARENT(link, rb);

	RB_REMOVE(anon_vma_tree, link_tree(link), link);
	anon_vma_chain_augment(parent);
}

/* ---- anon_vma and its links ---------------------------------------------------------- */

static int link_add(struct pager *pager, struct vma *vma, struct anon_vma *anon_vma)
{
	struct anon_vma_chain *link = pool_alloc(pager, &pager->avc_pool);

	if (!link)
		return -ENOMEM;
	link->vma = vma;
	link->anon_vma = anon_vma;
	TAILQ_INSERT_TAIL(&vma->chain, link, same_vma);
	link_insert(link);
	return 0;
}

/* Make an anon_vma for @vma, and link them. @parent NULL: it founds a family. */
static int anon_vma_make(struct pager *pager, struct vma *vma, struct anon_vma *parent)
{
	struct anon_vma *anon_vma = pool_alloc(pager, &pager->anon_vma_pool);

	if (!anon_vma)
		return -ENOMEM;
	RB_INIT(&anon_vma->links);
	anon_vma->parent = parent ? parent : anon_vma;
	anon_vma->root = anon_vma->parent == anon_vma ? anon_vma : parent->root;
	if (link_add(pager, vma, anon_vma)) {
		pool_free(&pager->anon_vma_pool, anon_vma);
		return -ENOMEM;
	}
	anon_vma->parent->nr_children++;
	anon_vma->nr_active = 1;
	vma->anon_vma = anon_vma;
	return 0;
}

int anon_vma_prepare(struct pager *pager, struct vma *vma)
{
	return vma->anon_vma ? 0 : anon_vma_make(pager, vma, NULL);
}

static int links_copy(struct pager *pager, struct vma *vma, const struct vma *from)
{
	struct anon_vma_chain *link;

	TAILQ_FOREACH (link, &from->chain, same_vma) {
		if (link_add(pager, vma, link->anon_vma)) {
			unlink_anon_vmas(pager, vma);
			return -ENOMEM;
		}
	}
	return 0;
}

int anon_vma_clone(struct pager *pager, struct vma *vma, const struct vma *from)
{
	int error = links_copy(pager, vma, from);

	if (error)
		return error;
	vma->anon_vma = from->anon_vma;
	if (vma->anon_vma)
		vma->anon_vma->nr_active++;
	return 0;
}

/*
 * An anon_vma linked to @vma that no VMA's pages are born to any more, and that has at most one child: @vma can take it
 * over.
 * NULL: there is none.
 */
static struct anon_vma *orphan_of(const struct vma *vma)
{
	struct anon_vma_chain *link;

	TAILQ_FOREACH (link, &vma->chain, same_vma)
		if (link->anon_vma->nr_active == 0 && link->anon_vma->nr_children < 2)
			return link->anon_vma;
	return NULL;
}

int anon_vma_fork(struct pager *pager, struct vma *vma, const struct vma *parent)
{
	if (!parent->anon_vma)
		return 0;
	int error = links_copy(pager, vma, parent);

	if (error)
		return error;
	vma->anon_vma = orphan_of(vma);
	if (vma->anon_vma) {
		vma->anon_vma->nr_active++;
		return 0;
	}
	error = anon_vma_make(pager, vma, parent->anon_vma);
	if (error)
		unlink_anon_vmas(pager, vma);
	return error;
}

static void anon_vma_free(struct pager *pager, struct anon_vma *anon_vma)
{
	if (anon_vma->pins == 0)
		pool_free(&pager->anon_vma_pool, anon_vma);
}

/* Remove all links first, then free the anon_vmas that have none left: so each of them still finds its parent. */
void unlink_anon_vmas(struct pager *pager, struct vma *vma)
{
	struct anon_vma_chain *link;

	if (vma->anon_vma)
		vma->anon_vma->nr_active--;
	vma->anon_vma = NULL;
	TAILQ_FOREACH (link, &vma->chain, same_vma) {
		link_remove(link);
		if (RB_EMPTY(&link->anon_vma->links))
			link->anon_vma->parent->nr_children--;
	}
	while (!TAILQ_EMPTY(&vma->chain)) {
		link = TAILQ_FIRST(&vma->chain);
		TAILQ_REMOVE(&vma->chain, link, same_vma);
		if (RB_EMPTY(&link->anon_vma->links))
			anon_vma_free(pager, link->anon_vma);
		pool_free(&pager->avc_pool, link);
	}
}

void anon_vma_pin(struct anon_vma *anon_vma)
{
	anon_vma->pins++;
}

void anon_vma_unpin(struct pager *pager, struct anon_vma *anon_vma)
{
	if (--anon_vma->pins == 0 && RB_EMPTY(&anon_vma->links))
		anon_vma_free(pager, anon_vma);
}

int vma_link_file(struct pager *pager, struct vma *vma)
{
	struct anon_vma_chain *link = pool_alloc(pager, &pager->avc_pool);

	if (!link)
		return -ENOMEM;
	link->vma = vma;
	vma->file_link = link;
	link_insert(link);
	return 0;
}

void vma_unlink_file(struct pager *pager, struct vma *vma)
{
	link_remove(vma->file_link);
	pool_free(&pager->avc_pool, vma->file_link);
	vma->file_link = NULL;
}

void anon_vma_interval_tree_pre_update(struct vma *vma)
{
	struct anon_vma_chain *link;

	TAILQ_FOREACH (link, &vma->chain, same_vma)
		link_remove(link);
	if (vma->file_link)
		link_remove(vma->file_link);
}

void anon_vma_interval_tree_post_update(struct vma *vma)
{
	struct anon_vma_chain *link;

	TAILQ_FOREACH (link, &vma->chain, same_vma)
		link_insert(link);
	if (vma->file_link)
		link_insert(vma->file_link);
}

/* ---- Pages and their PTEs ------------------------------------------------------------- */

static void set_anon_mapping(struct page *page, struct anon_vma *anon_vma, uint32_t index)
{
	page->mapping = (void *)((uintptr_t)anon_vma | PAGE_MAPPING_ANON);
	page_clear(page, PG_fresh);
	page->index = index;
	/* the page may have been merged once; since then it was in the swap cache */
	page_clear(page, PG_ksm);
}

void page_add_anon_rmap(struct page *page, struct vma *vma, uint64_t addr, bool exclusive)
{
	assert(page->_mapcount < 0 || page_is_of_family(page, vma, addr));
	if (page->_mapcount++ < 0)
		set_anon_mapping(
			page, exclusive ? vma->anon_vma : vma->anon_vma->root, vma_page_index(vma, addr));
}

void page_add_file_rmap(struct page *page)
{
	assert(page_file(page));
	page->_mapcount++;
}

static bool vma_is_not_locked(void *ctx, struct page *page, struct vma *vma, uint64_t addr, pte_slot_t *ptep)
{
	(void)ctx, (void)page, (void)addr, (void)ptep;
	return !(vma->flags & VM_LOCKED);
}

void page_munlock(struct pager *pager, struct page *page)
{
	if (page_has(page, PG_mlocked) && rmap_walk(pager, page, vma_is_not_locked, NULL))
		clear_page_mlock(pager, page);
}

void page_remove_rmap(struct page *page, struct vma *vma, uint64_t addr)
{
	assert(page_mapped(page));
	if (page_stable_node(page))
		ksm_remove_rmap(page, vma->space, space_index(vma->space, addr));
	/*
	 * An anon_vma may go before a page that it does not map any more. Only the tag stays, which says that the page
	 * is anonymous. The next first mapping gives the page an anon_vma again.
	 */
	if (--page->_mapcount < 0 && page_is_anon(page))
		page->mapping = (void *)((uintptr_t)page->mapping & PAGE_MAPPING_FLAGS);
	if (vma->flags & VM_LOCKED)
		page_munlock(vma->space->pager, page);
}

void page_move_anon_rmap(struct page *page, struct vma *vma, uint64_t addr)
{
	assert(page_has(page, PG_locked) && page->_mapcount == 0);
	set_anon_mapping(page, vma->anon_vma, vma_page_index(vma, addr));
}

struct anon_vma *page_anon_vma(const struct page *page)
{
	assert(page_is_anon(page) && !page_stable_node(page));
	return (struct anon_vma *)((uintptr_t)page->mapping & ~PAGE_MAPPING_FLAGS);
}

bool page_is_of_family(const struct page *page, const struct vma *vma, uint64_t addr)
{
	const struct anon_vma *anon_vma = page_anon_vma(page);
	const struct anon_vma_chain *link;

	if (page->index != vma_page_index(vma, addr))
		return false;
	TAILQ_FOREACH (link, &vma->chain, same_vma)
		if (link->anon_vma == anon_vma)
			return true;
	return false;
}

/* ---- Walks ------------------------------------------------------------------------------ */

static bool walk_links(struct anon_vma_chain *link, uint32_t first, uint32_t last, link_one one, void *ctx)
{
	if (!link || link->subtree_last < first)
		return true;
	if (!walk_links(RB_LEFT(link, rb), first, last, one, ctx))
		return false;
	if (link_first(link) > last)
		return true;
	if (link_last(link) >= first && !one(ctx, link->vma))
		return false;
	return walk_links(RB_RIGHT(link, rb), first, last, one, ctx);
}

bool links_walk(struct anon_vma_tree *links, uint32_t first, uint32_t last, link_one one, void *ctx)
{
	return walk_links(RB_ROOT(links), first, last, one, ctx);
}

struct rmap_walk {
	struct pager *pager;
	struct page *page;
	rmap_one one;
	void *ctx;
};

static bool walk_vma(void *ctx, struct vma *vma)
{
	struct rmap_walk *walk = ctx;
	struct page *page = walk->page;
	uint64_t addr = vma->start + ((uint64_t)(page->index - vma->pgoff) << PAGE_SHIFT);
	pte_slot_t *ptep = pgtable_find(&vma->space->pgtable, space_index(vma->space, addr));
	pte_t pte = ptep ? pte_load(ptep) : 0;

	if (!pte_is_present(pte) || (pte & PTE_ZERO) || pte_pfn(pte) != page_pfn(walk->pager, page))
		return true;
	return walk->one(walk->ctx, page, vma, addr, ptep);
}

bool rmap_walk(struct pager *pager, struct page *page, rmap_one one, void *ctx)
{
	struct rmap_walk walk = {pager, page, one, ctx};

	if (!page_mapped(page))
		return true;
	if (page_stable_node(page))
		return ksm_walk(pager, page, one, ctx);
	return links_walk(page_is_anon(page) ? &page_anon_vma(page)->links : &page_file(page)->i_mmap,
		page->index, page->index, walk_vma, &walk);
}

struct asking {
	struct pager *pager;
	struct referenced ref;
};

static bool referenced_one(void *ctx, struct page *page, struct vma *vma, uint64_t addr, pte_slot_t *ptep)
{
	struct asking *asking = ctx;

	(void)page;
	if (vma->flags & VM_LOCKED) {
		asking->ref.vm_locked = true;
		return false;
	}
	/* A page that is read in order is not read again soon, so an accessed mark does not keep it. */
	if ((pte_clear_bits(ptep, PTE_ACCESSED) & PTE_ACCESSED) && !(vma->flags & VM_SEQ_READ)) {
		asking->ref.nr++;
		asking->ref.vm_exec |= vma->file && (vma->prot & PROT_EXEC);
		if (asking->pager->machine->ops->flush)
			asking->pager->machine->ops->flush(asking->pager->machine, vma->space, addr);
	}
	return true;
}

struct referenced page_referenced(struct pager *pager, struct page *page)
{
	struct asking asking = {.pager = pager};

	rmap_walk(pager, page, referenced_one, &asking);
	return asking.ref;
}

void pte_hide(
	struct pager *pager, struct vma *vma, uint64_t addr, pte_slot_t *ptep, struct unmap_batch *batch)
{
	pte_t was = pte_clear_bits(ptep, PTE_VALID);

	if (!pte_is_valid(was))
		return;
	if (pager->machine->ops->flush) {
		pager->machine->ops->flush(pager->machine, vma->space, addr);
		return;
	}
	assert(batch->nr < UNMAP_BATCH);
	batch->maps[batch->nr++] = (struct mapping){
		.space = vma->space, .addr = addr, .pfn = pte_pfn(was), .prot = (uint8_t)vma->prot};
}

/* The page stays at its address: make its PTE valid again. */
static void batch_show_again(const struct mapping *map)
{
	pte_set_bits(pgtable_find(&map->space->pgtable, space_index(map->space, map->addr)),
		PTE_VALID | PTE_ACCESSED);
}

unsigned unmap_batch_run(struct pager *pager, struct unmap_batch *batch, enum unmap_content content)
{
	unsigned busy = 0;

	if (batch->nr == 0)
		return 0;
	pager_unlock(pager);
	pager->machine->ops->unmap(pager->machine, batch->maps, batch->nr, content);
	pager_lock(pager);
	for (unsigned i = 0; i < batch->nr; i++) {
		if (batch->maps[i].result == 0)
			continue;
		batch_show_again(&batch->maps[i]);
		busy++;
	}
	batch->nr = 0;
	pager->stats->pinned += busy;
	return busy;
}

static bool pte_is_hidden(void *ctx, struct page *page, struct vma *vma, uint64_t addr, pte_slot_t *ptep)
{
	(void)ctx, (void)page, (void)vma, (void)addr;
	return !pte_is_valid(pte_load(ptep));
}

bool page_is_shown(struct pager *pager, struct page *page)
{
	return !rmap_walk(pager, page, pte_is_hidden, NULL);
}

struct hiding {
	struct pager *pager;
	struct unmap_batch *batch;
	enum unmap_result result;
};

static bool age_one(void *ctx, struct page *page, struct vma *vma, uint64_t addr, pte_slot_t *ptep)
{
	struct hiding *h = ctx;

	(void)page;
	pte_clear_bits(ptep, PTE_ACCESSED);
	if (h->pager->machine->ops->sees_access)
		h->pager->machine->ops->flush(h->pager->machine, vma->space, addr);
	else
		pte_hide(h->pager, vma, addr, ptep, h->batch);
	return true;
}

void pages_age(struct pager *pager, struct page **pages, unsigned nr)
{
	struct unmap_batch batch = {.nr = 0};
	struct hiding h = {.pager = pager, .batch = &batch};

	for (unsigned i = 0; i < nr; i++)
		rmap_walk(pager, pages[i], age_one, &h);
	unmap_batch_run(pager, &batch, UNMAP_KEEP);
}

static bool unmap_begin_one(void *ctx, struct page *page, struct vma *vma, uint64_t addr, pte_slot_t *ptep)
{
	struct hiding *h = ctx;

	(void)page;
	assert(!(vma->flags & VM_LOCKED));
	if (pte_load(ptep) & PTE_ACCESSED)
		h->result = UNMAP_ACCESSED;
	else
		pte_hide(h->pager, vma, addr, ptep, h->batch);
	return h->result == UNMAP_DONE;
}

static bool show_again_one(void *ctx, struct page *page, struct vma *vma, uint64_t addr, pte_slot_t *ptep)
{
	(void)ctx, (void)page, (void)vma, (void)addr;
	pte_set_bits(ptep, PTE_VALID);
	return true;
}

enum unmap_result try_to_unmap_begin(struct pager *pager, struct page *page, struct unmap_batch *batch)
{
	struct hiding h = {.pager = pager, .batch = batch, .result = UNMAP_DONE};

	assert(page_has(page, PG_locked));
	rmap_walk(pager, page, unmap_begin_one, &h);
	/*
	 * The page stays, so show its hidden PTEs again. A machine with flush() needs the bit alone. On other machines
	 * a page has one PTE, so nothing was hidden before the one that was in use.
	 */
	if (h.result != UNMAP_DONE && pager->machine->ops->flush)
		rmap_walk(pager, page, show_again_one, NULL);
	return h.result;
}

struct unmapping {
	struct pager *pager;
	bool zero;
	swp_entry_t entry; /* what the PTEs become, if not none */
};

static bool unmap_end_one(void *ctx, struct page *page, struct vma *vma, uint64_t addr, pte_slot_t *ptep)
{
	struct unmapping *u = ctx;
	pte_t old = pte_load(ptep);

	if (u->zero || !page_is_anon(page)) {
		pte_store(ptep, 0);
	} else {
		swap_duplicate(u->pager, u->entry);
		pte_store(ptep, pte_swap(u->entry));
	}
	if (old & PTE_DIRTY)
		page_set(page, PG_dirty);
	page_remove_rmap(page, vma, addr);
	page->_count--;
	return true;
}

static enum unmap_result unmap_end(struct pager *pager, struct page *page, struct unmapping *u)
{
	/* A thread has touched the page after it was hidden, and waits for its lock: the page is in use. */
	if (page_has(page, PG_waiters) && page_mapped(page))
		return UNMAP_ACCESSED;
	rmap_walk(pager, page, unmap_end_one, u);
	page_step(pager, page, "try_to_unmap", 0);
	return page_mapped(page) ? UNMAP_ACCESSED : UNMAP_DONE;
}

enum unmap_result try_to_unmap_end(struct pager *pager, struct page *page, bool zero)
{
	struct unmapping u = {.pager = pager, .zero = zero, .entry = word_entry(page->private)};

	return unmap_end(pager, page, &u);
}

enum unmap_result try_to_unmap_to(struct pager *pager, struct page *page, swp_entry_t entry)
{
	struct unmapping u = {.pager = pager, .entry = entry};

	return unmap_end(pager, page, &u);
}

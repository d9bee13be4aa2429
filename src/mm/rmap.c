/* SPDX-License-Identifier: MIT */
/* The reverse map; see rmap.h. */
#include "mm/mm.h"

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

/* The tree's own calls name the places where a subtree has changed; everything above has, too. */
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

static void link_insert(struct anon_vma_chain *link)
{
	RB_INSERT(anon_vma_tree, &link->anon_vma->links, link);
	anon_vma_chain_augment(link);
}

static void link_remove(struct anon_vma_chain *link)
{
	struct anon_vma_chain *parent = RB_PARENT(link, rb);

	RB_REMOVE(anon_vma_tree, &link->anon_vma->links, link);
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

int anon_vma_prepare(struct pager *pager, struct vma *vma)
{
	if (vma->anon_vma)
		return 0;
	struct anon_vma *anon_vma = pool_alloc(pager, &pager->anon_vma_pool);

	if (!anon_vma)
		return -ENOMEM;
	RB_INIT(&anon_vma->links);
	if (link_add(pager, vma, anon_vma)) {
		pool_free(&pager->anon_vma_pool, anon_vma);
		return -ENOMEM;
	}
	vma->anon_vma = anon_vma;
	return 0;
}

int anon_vma_clone(struct pager *pager, struct vma *vma, const struct vma *from)
{
	struct anon_vma_chain *link;

	TAILQ_FOREACH (link, &from->chain, same_vma) {
		if (link_add(pager, vma, link->anon_vma)) {
			unlink_anon_vmas(pager, vma);
			return -ENOMEM;
		}
	}
	vma->anon_vma = from->anon_vma;
	return 0;
}

void unlink_anon_vmas(struct pager *pager, struct vma *vma)
{
	while (!TAILQ_EMPTY(&vma->chain)) {
		struct anon_vma_chain *link = TAILQ_FIRST(&vma->chain);
		struct anon_vma *anon_vma = link->anon_vma;

		link_remove(link);
		TAILQ_REMOVE(&vma->chain, link, same_vma);
		pool_free(&pager->avc_pool, link);
		if (RB_EMPTY(&anon_vma->links))
			pool_free(&pager->anon_vma_pool, anon_vma);
	}
	vma->anon_vma = NULL;
}

void anon_vma_interval_tree_pre_update(struct vma *vma)
{
	struct anon_vma_chain *link;

	TAILQ_FOREACH (link, &vma->chain, same_vma)
		link_remove(link);
}

void anon_vma_interval_tree_post_update(struct vma *vma)
{
	struct anon_vma_chain *link;

	TAILQ_FOREACH (link, &vma->chain, same_vma)
		link_insert(link);
}

/* ---- Pages and their PTEs ------------------------------------------------------------- */

void page_add_anon_rmap(struct page *page, struct vma *vma, uint64_t addr)
{
	if (page->_mapcount++ >= 0)
		return;
	page->mapping = (void *)((uintptr_t)vma->anon_vma | PAGE_MAPPING_ANON);
	page->index = vma->pgoff + (uint32_t)((addr - vma->start) >> PAGE_SHIFT);
}

void page_remove_rmap(struct page *page)
{
	assert(page_mapped(page));
	/*
	 * Without a mapping the anon_vma may go before the page does. What remains is that the page is
	 * anonymous; the next first mapping says where.
	 */
	if (--page->_mapcount < 0)
		page->mapping = (void *)PAGE_MAPPING_ANON;
}

static bool walk_vma(struct pager *pager, struct page *page, struct vma *vma, rmap_one one, void *ctx)
{
	uint64_t addr = vma->start + ((uint64_t)(page->index - vma->pgoff) << PAGE_SHIFT);
	pte_slot_t *ptep = pgtable_find(&vma->space->pgtable, space_index(vma->space, addr));

	if (!ptep)
		return true;
	pte_t pte = pte_load(ptep);

	if (!pte_is_present(pte) || (pte & PTE_ZERO) || pte_pfn(pte) != page_pfn(pager, page))
		return true;
	return one(ctx, page, vma, addr, ptep);
}

static bool walk_links(
	struct pager *pager, struct page *page, struct anon_vma_chain *link, rmap_one one, void *ctx)
{
	if (!link || link->subtree_last < page->index)
		return true;
	if (!walk_links(pager, page, RB_LEFT(link, rb), one, ctx))
		return false;
	if (link_first(link) > page->index)
		return true;
	if (link_last(link) >= page->index && !walk_vma(pager, page, link->vma, one, ctx))
		return false;
	return walk_links(pager, page, RB_RIGHT(link, rb), one, ctx);
}

bool rmap_walk(struct pager *pager, struct page *page, rmap_one one, void *ctx)
{
	if (!page_mapped(page))
		return true;
	assert(page_is_anon(page));
	struct anon_vma *anon_vma = (struct anon_vma *)((uintptr_t)page->mapping & ~PAGE_MAPPING_ANON);

	return walk_links(pager, page, RB_ROOT(&anon_vma->links), one, ctx);
}

struct referenced {
	struct pager *pager;
	unsigned nr;
	bool vm_locked;
};

static bool referenced_one(void *ctx, struct page *page, struct vma *vma, uint64_t addr, pte_slot_t *ptep)
{
	struct referenced *r = ctx;

	(void)page;
	if (vma->flags & VM_LOCKED) {
		r->vm_locked = true;
		return false;
	}
	if (pte_clear_bits(ptep, PTE_ACCESSED) & PTE_ACCESSED) {
		r->nr++;
		if (r->pager->machine->ops->flush)
			r->pager->machine->ops->flush(r->pager->machine, vma->space, addr);
	}
	return true;
}

unsigned page_referenced(struct pager *pager, struct page *page, bool *vm_locked)
{
	struct referenced r = {.pager = pager};

	rmap_walk(pager, page, referenced_one, &r);
	*vm_locked = r.vm_locked;
	return r.nr;
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

void unmap_batch_run(struct pager *pager, struct unmap_batch *batch, enum unmap_content content)
{
	if (batch->nr == 0)
		return;
	pager_unlock(pager);
	pager->machine->ops->unmap(pager->machine, batch->maps, batch->nr, content);
	pager_lock(pager);
	batch->nr = 0;
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
	if (vma->flags & VM_LOCKED)
		h->result = UNMAP_LOCKED;
	else if (pte_load(ptep) & PTE_ACCESSED)
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
	/* Hidden PTEs of a page that stays: a machine with flush() shows them again by the bit alone. The others
	 * have one PTE to a page, so nothing was hidden before the one that was in use. */
	if (h.result != UNMAP_DONE && pager->machine->ops->flush)
		rmap_walk(pager, page, show_again_one, NULL);
	return h.result;
}

struct unmapping {
	struct pager *pager;
	bool zero;
};

static bool unmap_end_one(void *ctx, struct page *page, struct vma *vma, uint64_t addr, pte_slot_t *ptep)
{
	struct unmapping *u = ctx;
	pte_t old = pte_load(ptep);

	(void)vma, (void)addr;
	if (u->zero) {
		pte_store(ptep, 0);
	} else {
		swap_duplicate(u->pager, word_entry(page->private));
		pte_store(ptep, pte_swap(word_entry(page->private)));
	}
	if (old & PTE_DIRTY)
		page_set(page, PG_dirty);
	page_remove_rmap(page);
	page->_count--;
	return true;
}

enum unmap_result try_to_unmap_end(struct pager *pager, struct page *page, bool zero)
{
	struct unmapping u = {.pager = pager, .zero = zero};

	/* A thread has touched it while it went, and waits for the lock: the page is in use. */
	if (page_has(page, PG_waiters) && page_mapped(page))
		return UNMAP_ACCESSED;
	rmap_walk(pager, page, unmap_end_one, &u);
	page_step(pager, page, "try_to_unmap", 0);
	return page_mapped(page) ? UNMAP_ACCESSED : UNMAP_DONE;
}

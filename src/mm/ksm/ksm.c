/* SPDX-License-Identifier: MIT */
/* KSM's structures: items, the two trees, and the exact reverse map of merged pages; see ksm.h. */
#include "mm/mm.h"
#include "mm/fault/fault.h"

#include <stdio.h>

/* ---- The trees ----------------------------------------------------------------------------- */

static int index_order(const struct ksm_item *a, const struct ksm_item *b)
{
	return a->index < b->index ? -1 : a->index > b->index;
}

static int hash_order(const uint64_t a[2], const uint64_t b[2])
{
	unsigned at = a[0] == b[0];

	return a[at] < b[at] ? -1 : a[at] > b[at];
}

static int unstable_order(const struct ksm_item *a, const struct ksm_item *b)
{
	return hash_order(a->hash, b->hash);
}

/* Pages of one content are several when one would have too many PTEs. */
static int stable_order(const struct stable_node *a, const struct stable_node *b)
{
	int order = hash_order(a->hash, b->hash);

	return order ? order : a->pfn < b->pfn ? -1 : a->pfn > b->pfn;
}

/* These trees keep no sums: the other one's augmentation is not their own. */
#undef RB_AUGMENT
#define RB_AUGMENT(element) ((void)(element))
RB_GENERATE_INTERNAL(ksm_item_tree, ksm_item, node, index_order, RB_LOCAL)
RB_GENERATE_INTERNAL(ksm_unstable_tree, ksm_item, unstable, unstable_order, RB_LOCAL)
RB_GENERATE_INTERNAL(ksm_stable_tree, stable_node, node, stable_order, RB_LOCAL)

void ksm_init(struct pager *pager)
{
	struct ksm *ksm = &pager->ksm;

	RB_INIT(&ksm->stable);
	RB_INIT(&ksm->unstable);
	ksm->scan = 1;
	pool_init(&ksm->item_pool, sizeof(struct ksm_item), 4 * PAGE_BYTES);
	pool_init(&ksm->node_pool, sizeof(struct stable_node), PAGE_BYTES);
}

void ksm_destroy(struct pager *pager)
{
	pool_destroy(pager, &pager->ksm.item_pool);
	pool_destroy(pager, &pager->ksm.node_pool);
}

/* ---- Items --------------------------------------------------------------------------------- */

struct ksm_item *ksm_item_find(struct space *space, uint64_t index)
{
	struct ksm_item key = {.index = (uint32_t)index};

	return RB_FIND(ksm_item_tree, &space->ksm_items, &key);
}

static struct ksm_item *item_from(struct space *space, uint64_t index)
{
	struct ksm_item key = {.index = (uint32_t)index};

	return RB_NFIND(ksm_item_tree, &space->ksm_items, &key);
}

struct ksm_item *ksm_item_make(struct space *space, uint64_t index)
{
	struct ksm_item *item = ksm_item_find(space, index);

	if (item)
		return item;
	item = pool_alloc(space->pager, &space->pager->ksm.item_pool);
	if (!item)
		return NULL;
	item->space = space;
	item->index = (uint32_t)index;
	RB_INSERT(ksm_item_tree, &space->ksm_items, item);
	return item;
}

static void item_free(struct pager *pager, struct ksm_item *item)
{
	assert(!item->stable);
	unstable_tree_remove(pager, item);
	RB_REMOVE(ksm_item_tree, &item->space->ksm_items, item);
	pool_free(&pager->ksm.item_pool, item);
}

void ksm_forget(struct space *space, uint64_t index, uint64_t end)
{
	struct ksm_item *item, *next;

	if (RB_EMPTY(&space->ksm_items) || index >= end)
		return;
	for (item = item_from(space, index); item && item->index < end; item = next) {
		next = RB_NEXT(ksm_item_tree, &space->ksm_items, item);
		item_free(space->pager, item);
	}
}

void ksm_move(struct space *space, uint64_t from, uint64_t to, uint64_t nr)
{
	uint64_t end = from + nr, shift = to - from;
	struct ksm_item *item;

	while (from < end && !RB_EMPTY(&space->ksm_items)) {
		item = item_from(space, from);
		if (!item || item->index >= end)
			break;
		from = item->index + 1ull;
		RB_REMOVE(ksm_item_tree, &space->ksm_items, item);
		item->index += (uint32_t)shift;
		RB_INSERT(ksm_item_tree, &space->ksm_items, item);
	}
}

void ksm_exit(struct space *space)
{
	struct ksm *ksm = &space->pager->ksm;

	assert(RB_EMPTY(&space->ksm_items));
	if (ksm->space != space)
		return;
	ksm->space = TAILQ_NEXT(space, link);
	ksm->index = 0;
}

/* ---- The unstable tree ----------------------------------------------------------------------- */

static bool item_is_unstable(const struct pager *pager, const struct ksm_item *item)
{
	assert(!item->stable || item->scan == 0);
	return item->scan == pager->ksm.scan;
}

struct ksm_item *unstable_tree_search_insert(struct pager *pager, struct ksm_item *item)
{
	struct ksm_item *same = RB_INSERT(ksm_unstable_tree, &pager->ksm.unstable, item);

	assert(!item_is_unstable(pager, item));
	if (!same)
		item->scan = pager->ksm.scan;
	return same;
}

void unstable_tree_remove(struct pager *pager, struct ksm_item *item)
{
	if (item_is_unstable(pager, item))
		RB_REMOVE(ksm_unstable_tree, &pager->ksm.unstable, item);
	item->scan = 0;
}

void unstable_tree_replace(struct pager *pager, struct ksm_item *item, struct ksm_item *by)
{
	unstable_tree_remove(pager, item);
	unstable_tree_search_insert(pager, by);
}

/* The items' own links are left as they are: the number of their scan says that they mean nothing. */
void unstable_tree_forget(struct pager *pager)
{
	RB_INIT(&pager->ksm.unstable);
	if (++pager->ksm.scan == 0)
		pager->ksm.scan = 1;
}

/* ---- The stable tree, and the reverse map of its pages ----------------------------------------- */

struct stable_node *stable_tree_search(struct pager *pager, const uint64_t hash[2], unsigned nr)
{
	struct stable_node key = {.pfn = 0, .hash = {hash[0], hash[1]}};
	struct stable_node *stable = RB_NFIND(ksm_stable_tree, &pager->ksm.stable, &key);

	for (; stable && hash_order(stable->hash, hash) == 0;
		stable = RB_NEXT(ksm_stable_tree, &pager->ksm.stable, stable))
		if ((unsigned)pfn_page(pager, stable->pfn)->_mapcount + 1 + nr <= KSM_MAX_SHARING)
			return stable;
	return NULL;
}

static bool append_one(void *ctx, struct page *page, struct vma *vma, uint64_t addr, pte_slot_t *ptep)
{
	struct ksm_item *item = ksm_item_find(vma->space, space_index(vma->space, addr));

	(void)page, (void)ptep;
	stable_tree_append(vma->space->pager, ctx, item);
	return true;
}

struct stable_node *stable_tree_insert(struct pager *pager, struct page *page, const uint64_t hash[2])
{
	struct stable_node *stable = pool_alloc(pager, &pager->ksm.node_pool);

	if (!stable)
		return NULL;
	stable->pfn = page_pfn(pager, page);
	stable->hash[0] = hash[0];
	stable->hash[1] = hash[1];
	LIST_INIT(&stable->items);
	rmap_walk(pager, page, append_one, stable); /* the last that its anon_vma is asked for */
	RB_INSERT(ksm_stable_tree, &pager->ksm.stable, stable);
	page->mapping = (void *)((uintptr_t)stable | PAGE_MAPPING_ANON | PAGE_MAPPING_KSM);
	page_set(page, PG_ksm | PG_referenced);
	page_step(pager, page, "stable_tree_insert", 0);
	return stable;
}

void stable_tree_append(struct pager *pager, struct stable_node *stable, struct ksm_item *item)
{
	unstable_tree_remove(pager, item);
	item->stable = stable;
	LIST_INSERT_HEAD(&stable->items, item, same_page);
}

bool ksm_walk(struct pager *pager, struct page *page, rmap_one one, void *ctx)
{
	struct ksm_item *item, *next;

	(void)pager;
	for (item = LIST_FIRST(&page_stable_node(page)->items); item; item = next) {
		struct space *space = item->space;
		uint64_t addr = index_addr(space, item->index);
		pte_slot_t *ptep = pgtable_find(&space->pgtable, item->index);

		next = LIST_NEXT(item, same_page);
		assert(ptep && pte_is_present(pte_load(ptep)) &&
			pte_pfn(pte_load(ptep)) == page_pfn(pager, page));
		if (!one(ctx, page, find_vma(space, addr), addr, ptep))
			return false;
	}
	return true;
}

static void remove_node_from_stable_tree(struct pager *pager, struct page *page, struct stable_node *stable)
{
	RB_REMOVE(ksm_stable_tree, &pager->ksm.stable, stable);
	page->mapping = (void *)(PAGE_MAPPING_ANON | PAGE_MAPPING_KSM);
	pool_free(&pager->ksm.node_pool, stable);
}

void ksm_remove_rmap(struct page *page, struct space *space, uint64_t index)
{
	struct stable_node *stable = page_stable_node(page);
	struct ksm_item *item = ksm_item_find(space, index);

	assert(stable && item && item->stable == stable);
	LIST_REMOVE(item, same_page);
	item->stable = NULL;
	item_free(space->pager, item);
	if (LIST_EMPTY(&stable->items))
		remove_node_from_stable_tree(space->pager, page, stable);
}

int ksm_copy_rmap(struct page *page, struct space *child, uint64_t index)
{
	struct ksm_item *item = ksm_item_make(child, index);

	if (!item)
		return -ENOMEM;
	assert(!item->stable);
	stable_tree_append(child->pager, page_stable_node(page), item);
	return 0;
}

/* ---- Advice ------------------------------------------------------------------------------------ */

bool vma_is_mergeable(const struct vma *vma)
{
	return (vma->flags & (VM_MERGEABLE | VM_LOCKED | VM_CHANGING)) == VM_MERGEABLE;
}

/* Shared and foreign memory is passed over. Returns -ENOMEM for a hole; what is there has the mark all the same. */
static int set_mergeable(struct space *space, uint64_t start, uint64_t end, bool mergeable)
{
	uint64_t at = start;
	bool hole = false;

	for (struct vma *vma = find_vma_from(space, start); vma && vma->start < end; vma = vma_next(vma)) {
		hole = hole || vma->start > at;
		at = vma->end;
		if (mergeable && !(vma->flags & (VM_SHARED | VM_FOREIGN)))
			vma->flags |= VM_MERGEABLE;
		else
			vma->flags &= ~(uint32_t)VM_MERGEABLE;
	}
	return hole || at < end ? -ENOMEM : 0;
}

/* The first page of [index, end) whose PTE maps a merged page. */
static bool next_merged(struct space *space, uint64_t *index, uint64_t end)
{
	struct ksm_item *item = *index < end ? item_from(space, *index) : NULL;

	while (item && item->index < end && !item->stable)
		item = RB_NEXT(ksm_item_tree, &space->ksm_items, item);
	if (!item || item->index >= end)
		return false;
	*index = item->index;
	return true;
}

/*
 * Each merged mapping gets a page of its own. Its fault may have had to wait, and the lock was dropped: the page is looked
 * at once more. Drops the lock.
 */
static int unmerge_range(struct space *space, uint64_t start, uint64_t end, struct wait *wait)
{
	uint64_t index = space_index(space, start), last = space_index(space, end);

	while (next_merged(space, &index, last)) {
		switch (break_ksm(space, index_addr(space, index), wait)) {
		case FAULT_DONE:
			break;
		case FAULT_WAIT:
			return -EAGAIN;
		default:
			return -ENOMEM;
		}
	}
	ksm_forget(space, space_index(space, start), last);
	return 0;
}

int ksm_madvise(struct space *space, uint64_t start, uint64_t end, bool mergeable, struct wait *wait)
{
	int error = vma_split_range(space, start, end), hole = 0;

	if (!error)
		hole = set_mergeable(space, start, end, mergeable);
	vma_merge_range(space, start, end);
	if (!error && !mergeable)
		error = unmerge_range(space, start, end, wait);
	return error ? error : hole;
}

/* ---- The validator's part ------------------------------------------------------------------------ */

static const char *check_item(struct pager *pager, struct ksm_item *item)
{
	struct space *space = item->space;
	struct vma *vma = find_vma(space, index_addr(space, item->index));
	pte_slot_t *ptep = pgtable_find(&space->pgtable, item->index);
	pte_t pte = ptep ? pte_load(ptep) : 0;

	if (!vma || (vma->flags & (VM_SHARED | VM_FOREIGN)))
		return "is in no VMA that can be merged";
	if (!item->stable)
		return item_is_unstable(pager, item) &&
				       RB_FIND(ksm_unstable_tree, &pager->ksm.unstable, item) != item
			       ? "is not in the unstable tree"
			       : NULL;
	if (!pte_is_present(pte) || (pte & (PTE_ZERO | PTE_WRITE)) || pte_pfn(pte) != item->stable->pfn)
		return "has a PTE that does not map the merged page read-only";
	return RB_FIND(ksm_stable_tree, &pager->ksm.stable, item->stable) == item->stable
		       ? NULL
		       : "has a node that is not in the stable tree";
}

static const char *check_stable(struct pager *pager, struct stable_node *stable)
{
	struct page *page = pfn_page(pager, stable->pfn);
	struct ksm_item *item;
	int nr = 0;

	LIST_FOREACH (item, &stable->items, same_page) {
		if (item->stable != stable || ksm_item_find(item->space, item->index) != item)
			return "has an item that does not know it";
		nr++;
	}
	if (!page_has(page, PG_ksm) || page_stable_node(page) != stable)
		return "has a page that does not know it";
	if (page->_mapcount + 1 != nr || nr == 0)
		return "has not as many items as PTEs map its page";
	if (page_has(page, PG_swapcache) && swap_slot(pager, word_entry(page->private))->count > 0)
		return "has a page whose slot somebody names";
	return NULL;
}

const char *ksm_check(struct pager *pager, char *buf, size_t len)
{
	struct stable_node *stable;
	struct ksm_item *item;
	struct space *space;
	const char *why;

	TAILQ_FOREACH (space, &pager->spaces, link) {
		RB_FOREACH (item, ksm_item_tree, &space->ksm_items) {
			why = item->space != space ? "is another space's" : check_item(pager, item);
			if (why) {
				snprintf(buf, len, "the KSM item at index %u %s", item->index, why);
				return buf;
			}
		}
	}
	RB_FOREACH (item, ksm_unstable_tree, &pager->ksm.unstable) {
		if (!item_is_unstable(pager, item) || ksm_item_find(item->space, item->index) != item)
			return "the unstable tree has an item that is none";
	}
	RB_FOREACH (stable, ksm_stable_tree, &pager->ksm.stable) {
		why = check_stable(pager, stable);
		if (why) {
			snprintf(buf, len, "the stable node of page %u %s", stable->pfn, why);
			return buf;
		}
	}
	return NULL;
}

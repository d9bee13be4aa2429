/* SPDX-License-Identifier: MIT */
/*
 *
 * KSM: pages of equal content become one.
 *
 *      space ---> items, by page index            what ksmd knows of each page that it has looked at
 *      pager ---> unstable tree, by hash          items of pages that were not written for a while; for one scan
 *            ---> stable tree, by hash            stable nodes
 *      stable node ---> page (PG_ksm)             page->mapping is the node, tagged
 *                  ---> items                     exactly one for each PTE that maps the page
 *
 * ksm.c keeps these structures. ksmd.c scans, and merges where several PTEs can map a frame. ksmd_swap.c merges where
 * only one can.
 *
 *   Invariant: a page is mapped and PG_ksm  <=>  it has a stable node; the node's items are the page's PTEs.
 *   Invariant: a PTE that maps such a page forbids writes, and no swap entry names the page's slot.
 *   Invariant: items lie in VMAs. The VMA of an item whose PTE maps a merged page is mergeable, unless MADV_UNMERGEABLE
 *              is under way.
 *
 * A merged page that loses its last PTE loses its node. In the swap cache it still is PG_ksm, until somebody maps it
 * again: then it is an ordinary page, and others who name its slot copy it.
 */
#ifndef ANONMM_KSM_H
#define ANONMM_KSM_H

#include "mm/page/page.h"
#include "mm/space/rmap.h"

struct space;
struct vma;

/*
 * PTEs that come to map one page by merging, at most: reclaim walks all of them. More pages of that content get another
 * stable page.
 */
#define KSM_MAX_SHARING 256

/* Locks: all [L] */
struct ksm_item {
	RB_ENTRY(ksm_item) node; /* in its space's tree, by index */
	struct space *space;
	uint32_t index; /* page index in the space */
	uint32_t scan; /* the scan that put it into the unstable tree; 0: it is not there */
	uint64_t hash[2]; /* hash of the content that was seen last */
	struct stable_node *stable; /* the node of the merged page that its PTE maps, or NULL */
	union {
		RB_ENTRY(ksm_item) unstable;
		LIST_ENTRY(ksm_item) same_page;
	};
};

RB_HEAD(ksm_item_tree, ksm_item);
RB_HEAD(ksm_unstable_tree, ksm_item);
LIST_HEAD(ksm_item_list, ksm_item);

/* Locks: all [L] */
struct stable_node {
	RB_ENTRY(stable_node) node;
	pfn_t pfn;
	uint64_t hash[2];
	struct ksm_item_list items;
};

RB_HEAD(ksm_stable_tree, stable_node);

/* Locks: all [L] */
struct ksm {
	struct ksm_stable_tree stable;
	struct ksm_unstable_tree unstable;
	struct space *space; /* where ksmd goes on; NULL: a scan begins */
	uint64_t index; /* the page index in that space */
	uint32_t scan; /* the number of this scan; not 0 */
	struct pool item_pool, node_pool;
};

void ksm_init(struct pager *pager);
void ksm_destroy(struct pager *pager);

/* ---- For the reverse map, fork, and the calls that change VMAs --------------------------------- */

/* Call @one for each PTE that maps the merged page, as rmap_walk() does. @one may take that PTE away. */
bool ksm_walk(struct pager *pager, struct page *page, rmap_one one, void *ctx);

/*
 * The PTE of @space at page @index maps the merged page no more: its item is freed. With the last item the stable node
 * ends.
 */
void ksm_remove_rmap(struct page *page, struct space *space, uint64_t index);

/* A fork gives @child one more PTE of the merged page, at @index. -ENOMEM: no host memory; nothing has changed. */
int ksm_copy_rmap(struct page *page, struct space *child, uint64_t index);

/* Free the items of [index, end). => no PTE there maps a merged page */
void ksm_forget(struct space *space, uint64_t index, uint64_t end);

/* The PTE words of [from, from + nr) go to @to, and their items with them. */
void ksm_move(struct space *space, uint64_t from, uint64_t to, uint64_t nr);

/* The space ends: if ksmd's cursor is there, it goes on at the next space. => the space has no item */
void ksm_exit(struct space *space);

/* MADV_MERGEABLE and MADV_UNMERGEABLE; space_madvise() has the results. Drops the lock. */
int ksm_madvise(struct space *space, uint64_t start, uint64_t end, bool mergeable, struct wait *wait);

/* ---- For ksmd ------------------------------------------------------------------------------------- */

/* The item of page @index, or NULL. */
struct ksm_item *ksm_item_find(struct space *space, uint64_t index);
/* The same; a missing item is made. NULL: no host memory. */
struct ksm_item *ksm_item_make(struct space *space, uint64_t index);

/* An item of the same content in the unstable tree. If there is none, @item is put there, and the result is NULL. */
struct ksm_item *unstable_tree_search_insert(struct pager *pager, struct ksm_item *item);
/* @by takes the place of @item, which cannot be merged now and must not keep others from being merged. */
void unstable_tree_replace(struct pager *pager, struct ksm_item *item, struct ksm_item *by);
void unstable_tree_remove(struct pager *pager, struct ksm_item *item);
/* A full scan has ended. The content of every page in the tree may have changed, so the tree is emptied. */
void unstable_tree_forget(struct pager *pager);

/* A stable node of this content whose page can have @nr more PTEs, or NULL. */
struct stable_node *stable_tree_search(struct pager *pager, const uint64_t hash[2], unsigned nr);
/*
 * @page becomes a merged page, and has no anon_vma any more. NULL: no host memory; nothing has changed.
 * => page locked, mapped; all its PTEs are read-only and have items
 */
struct stable_node *stable_tree_insert(struct pager *pager, struct page *page, const uint64_t hash[2]);
/* The item's PTE maps the node's page now. */
void stable_tree_append(struct pager *pager, struct stable_node *stable, struct ksm_item *item);

/* May a page of this VMA be merged? Locked memory is not merged: who locks it wants no fault. */
bool vma_is_mergeable(const struct vma *vma);

/*
 * Page @index holds content of this hash now. Returns its item; NULL: no host memory. If the hash is the one of the
 * last scan, *twin is the item of another page of equal hash; or NULL, and the item is in the unstable tree now.
 */
struct ksm_item *ksm_look(struct pager *pager, struct space *space, uint64_t index, const uint64_t hash[2],
	struct ksm_item **twin);

/* Look at the page of one PTE. Returns how many PTEs came to share a page, or -ENOMEM. */
int cmp_and_merge_page(struct pager *pager, struct space *space, uint64_t index, pte_t pte);
/* ksmd_swap.c: the same where a frame has one place only; PTEs come to share a slot. */
int cmp_and_merge_slot(struct pager *pager, struct space *space, uint64_t index);

/* NULL, or a text: which of the invariants above does not hold. */
const char *ksm_check(struct pager *pager, char *buf, size_t len);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The reverse map: from a page to every PTE that maps it.
 *
 *      page->mapping ---> anon_vma <--- anon_vma_chain ---> vma      anonymous pages
 *      page->mapping ---> file (i_mmap) <------ a link ---> vma      pages of a page cache
 *      page->mapping ---> stable node <--- one item for each PTE     merged pages (ksm.h)
 *
 * A page is born into its VMA's anon_vma. A chain link joins one anon_vma and one VMA whose PTEs may
 * map its pages: after a split both halves are linked, after a fork (of a space) the child's VMAs are too. The links
 * of an anon_vma form an interval tree over page indexes, so a walk meets only VMAs that cover the page. A file
 * keeps the links of all VMAs that map it in such a tree, too.
 *
 * A fork gives the child's VMA an anon_vma of its own besides the links to its parent's, so that pages born after it
 * are looked for in the child alone. Those anon_vmas form a tree; a page that several of the family may map is filed
 * under the root, to which every VMA of the family is linked. Where an anon_vma has lost its last VMA and has one child
 * at most, the child takes it over instead: the chains of a program that forks for ever stay short.
 *
 * page->index and vma->pgoff count pages from a common origin: the page is at
 * vma->start + (page->index - vma->pgoff) pages. It survives mremap, since the new VMA keeps its pgoff.
 */
#ifndef ANONMM_RMAP_H
#define ANONMM_RMAP_H

#include "mm/page/page.h"
#include "mm/space/pgtable.h"

#define RB_AUGMENT(link) anon_vma_chain_augment(link)
#include <bsd/sys/tree.h>
#define RB_LOCAL __attribute__((unused)) static

struct vma;

/* Locks: [L] pager lock */
struct anon_vma_chain {
	struct vma *vma; /* [L] */
	struct anon_vma *anon_vma; /* [L] NULL: the VMA's link to its file */
	TAILQ_ENTRY(anon_vma_chain) same_vma; /* [L] the links of one VMA */
	RB_ENTRY(anon_vma_chain) rb; /* [L] the links of one anon_vma, by first page index */
	uint32_t subtree_last; /* [L] largest last index below and including this one */
};

void anon_vma_chain_augment(struct anon_vma_chain *link);

RB_HEAD(anon_vma_tree, anon_vma_chain);

struct anon_vma {
	struct anon_vma_tree links; /* [L] empty: it lives for its pins alone */
	struct anon_vma *root; /* [I] the oldest of the family */
	struct anon_vma *parent; /* [I] the root's is itself */
	uint32_t nr_children; /* [L] whose parent it is; the root counts itself */
	uint32_t nr_active; /* [L] VMAs whose pages are born to it */
	uint32_t pins; /* [L] holders besides the links */
};

/* Before a page is born in @vma. -ENOMEM */
int anon_vma_prepare(struct pager *pager, struct vma *vma);
/* @vma becomes one more that may map the pages of @from's anon_vmas. -ENOMEM: @vma has no link then */
int anon_vma_clone(struct pager *pager, struct vma *vma, const struct vma *from);
/* @vma is @parent's copy after a fork: linked to all that @parent is, with an anon_vma of its own. -ENOMEM: as above */
int anon_vma_fork(struct pager *pager, struct vma *vma, const struct vma *parent);
/* Unlink @vma from all; an anon_vma goes with its last link. => no page of it is mapped there */
void unlink_anon_vmas(struct pager *pager, struct vma *vma);
/* Keep an anon_vma beyond its last link: for who has taken its page from all PTEs and will give it back to them. */
void anon_vma_pin(struct anon_vma *anon_vma);
void anon_vma_unpin(struct pager *pager, struct anon_vma *anon_vma);
struct anon_vma *page_anon_vma(const struct page *page);

/* Link @vma to vma->file, and back. -ENOMEM */
int vma_link_file(struct pager *pager, struct vma *vma);
void vma_unlink_file(struct pager *pager, struct vma *vma);
/* Called for each VMA that maps page @index of the file; false ends the walk. */
typedef bool (*link_one)(void *ctx, struct vma *vma);
bool links_walk(struct anon_vma_tree *links, uint32_t first, uint32_t last, link_one one, void *ctx);

/* Around a change of vma->start, end or pgoff. */
void anon_vma_interval_tree_pre_update(struct vma *vma);
void anon_vma_interval_tree_post_update(struct vma *vma);

/*
 * A PTE has come to map the page, or has ceased to; _mapcount only. The first mapping of an anonymous page gives it
 * its anon_vma: the VMA's own, or the family's root when others of it may come to map the page (!@exclusive).
 */
void page_add_anon_rmap(struct page *page, struct vma *vma, uint64_t addr, bool exclusive);
void page_add_file_rmap(struct page *page);
void page_remove_rmap(struct page *page, struct vma *vma, uint64_t addr);

/* Evictable again, unless a VMA that is locked still maps it. */
void page_munlock(struct pager *pager, struct page *page);
/* The page is this VMA's alone now: later walks look nowhere else. => page locked, mapped once */
void page_move_anon_rmap(struct page *page, struct vma *vma, uint64_t addr);
/* May a PTE of @vma at @addr map this anonymous page, so that a walk finds it? */
bool page_is_of_family(const struct page *page, const struct vma *vma, uint64_t addr);

/* Called for each PTE that maps the page; false ends the walk. */
typedef bool (*rmap_one)(void *ctx, struct page *page, struct vma *vma, uint64_t addr, pte_slot_t *ptep);
/* Returns false when a call ended the walk. => page locked, or only to count */
bool rmap_walk(struct pager *pager, struct page *page, rmap_one one, void *ctx);

/* How many PTEs were accessed since last looked at (their marks are cleared), and who maps it. */
struct referenced {
	unsigned nr;
	bool vm_locked; /* one of the VMAs is mlocked: the others were not asked */
	bool vm_exec; /* one that accessed it is executable and of a file */
};
struct referenced page_referenced(struct pager *pager, struct page *page);

/*
 * Pages that are taken from their addresses together, for machines without flush().
 * Full batches are the caller's to avoid: one entry for each page at most.
 */
#define UNMAP_BATCH 64
struct unmap_batch {
	unsigned nr;
	struct mapping maps[UNMAP_BATCH];
};

/* Make one PTE not valid; what the machine must then do is added to the batch (or done, by flush). */
void pte_hide(
	struct pager *pager, struct vma *vma, uint64_t addr, pte_slot_t *ptep, struct unmap_batch *batch);

/*
 * Have the machine take them away. Drops the lock. Returns how many it could not, because they are pinned: their PTEs
 * are valid again, and accessed. => pages locked
 */
unsigned unmap_batch_run(struct pager *pager, struct unmap_batch *batch, enum unmap_content content);

/* Does a machine without flush() show the page? Then it was pinned, and is not to be touched. => page locked */
bool page_is_shown(struct pager *pager, struct page *page);

/*
 * Watch @nr pages for a touch from now on: clears the accessed marks; where the machine has none, arms the
 * pages. Drops the lock. => pages locked, at most UNMAP_BATCH
 */
void pages_age(struct pager *pager, struct page **pages, unsigned nr);

enum unmap_result {
	UNMAP_DONE, /* no PTE is left */
	UNMAP_ACCESSED, /* in use: to the active list */
};

/*
 * First half of try_to_unmap: may it be taken away? If so its PTEs are hidden. => page locked, no VMA that maps it is
 * VM_LOCKED: page_referenced() has asked, and the lock was not dropped since
 */
enum unmap_result try_to_unmap_begin(struct pager *pager, struct page *page, struct unmap_batch *batch);
/* Second half, after unmap_batch_run: each PTE becomes the page's swap entry (@zero: none), the slot's count rises, dirt moves to the page. */
enum unmap_result try_to_unmap_end(struct pager *pager, struct page *page, bool zero);
/* The same, but its PTEs come to name @entry, which is not its own slot. => anonymous */
enum unmap_result try_to_unmap_to(struct pager *pager, struct page *page, swp_entry_t entry);

#endif

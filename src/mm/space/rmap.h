/* SPDX-License-Identifier: MIT */
/*
 * The reverse map: from a page to every PTE that maps it.
 *
 *      page->mapping ---> anon_vma <--- anon_vma_chain ---> vma      anonymous pages
 *      page->mapping ---> file (i_mmap) <------ a link ---> vma      pages of a page cache
 *      page->mapping ---> stable node <--- one item for each PTE     merged pages (ksm.h)
 *
 * A page is born into its VMA's anon_vma. A chain link joins one anon_vma and one VMA whose PTEs may map its pages.
 * After a split both halves are linked; after a fork (of a space) the child's VMAs are linked, too. The links of an
 * anon_vma form an interval tree over page indexes, so a walk meets only VMAs that cover the page. A file keeps the
 * links of all VMAs that map it in such a tree, too.
 *
 * A fork links the child's VMA to the parent's anon_vmas and gives it an anon_vma of its own, so that pages born after
 * the fork are looked for in the child alone. Those anon_vmas form a tree. A page that several VMAs of the family may
 * map is filed under the root, to which every VMA of the family is linked. Where an anon_vma has no VMA left whose
 * pages are born to it, and has one child at most, the forked VMA takes it over in place of a new one. So the chains of
 * a program that forks for ever stay short.
 *
 * page->index and vma->pgoff count pages from a common origin: the page is at
 * vma->start + (page->index - vma->pgoff) pages. That survives mremap, since the new VMA keeps the old one's pgoff.
 */
#ifndef ANONMM_RMAP_H
#define ANONMM_RMAP_H

#include "mm/page/page.h"
#include "mm/space/pgtable.h"

#define RB_AUGMENT(link) anon_vma_chain_augment(link)
#include <bsd/sys/tree.h>
#define RB_LOCAL __attribute__((unused)) static

struct vma;

/* Locks: [L] pager lock  [I] set once */
struct anon_vma_chain {
	struct vma *vma; /* [L] */
	struct anon_vma *anon_vma; /* [L] NULL: this is the VMA's link to its file */
	TAILQ_ENTRY(anon_vma_chain) same_vma; /* [L] the links of one VMA */
	RB_ENTRY(anon_vma_chain) rb; /* [L] the links of one anon_vma, by first page index */
	uint32_t subtree_last; /* [L] the largest last index of this link and of those below it */
};

void anon_vma_chain_augment(struct anon_vma_chain *link);

RB_HEAD(anon_vma_tree, anon_vma_chain);

struct anon_vma {
	struct anon_vma_tree links; /* [L] empty: the anon_vma lives only for its pins */
	struct anon_vma *root; /* [I] the oldest anon_vma of the family */
	struct anon_vma *parent; /* [I] the root is its own parent */
	uint32_t nr_children; /* [L] anon_vmas whose parent this is; the root counts itself */
	uint32_t nr_active; /* [L] VMAs whose pages are born to it */
	uint32_t pins; /* [L] holders besides the links */
};

/* Give @vma an anon_vma, if it has none. Called before a page is born in @vma. -ENOMEM: no host memory. */
int anon_vma_prepare(struct pager *pager, struct vma *vma);
/*
 * @vma becomes one more VMA that may map the pages of @from's anon_vmas. -ENOMEM: no host memory; @vma has no link
 * then.
 * => @vma has no link
 */
int anon_vma_clone(struct pager *pager, struct vma *vma, const struct vma *from);
/*
 * @vma is the copy of @parent that a fork makes: link it to all that @parent is linked to, and give it an anon_vma of
 * its own, if @parent has one. -ENOMEM: as above.
 */
int anon_vma_fork(struct pager *pager, struct vma *vma, const struct vma *parent);
/* Unlink @vma from all its anon_vmas. An anon_vma without links and pins is freed. => @vma maps none of their pages */
void unlink_anon_vmas(struct pager *pager, struct vma *vma);
/*
 * A pin keeps an anon_vma without links. For a caller that has taken a page from all its PTEs, and will give it back to
 * them.
 */
void anon_vma_pin(struct anon_vma *anon_vma);
void anon_vma_unpin(struct pager *pager, struct anon_vma *anon_vma);
/* => an anonymous page that is not merged */
struct anon_vma *page_anon_vma(const struct page *page);

/* Link @vma to vma->file, or unlink it. -ENOMEM: no host memory. */
int vma_link_file(struct pager *pager, struct vma *vma);
void vma_unlink_file(struct pager *pager, struct vma *vma);
/*
 * Call @one for each VMA of the tree that covers a page of [first, last]; false ends the walk. Returns false if it was
 * ended.
 */
typedef bool (*link_one)(void *ctx, struct vma *vma);
bool links_walk(struct anon_vma_tree *links, uint32_t first, uint32_t last, link_one one, void *ctx);

/*
 * Before and after a change of vma->start, end or pgoff: take the VMA's links out of their trees, and put them in
 * again.
 */
void anon_vma_interval_tree_pre_update(struct vma *vma);
void anon_vma_interval_tree_post_update(struct vma *vma);

/*
 * A PTE of @vma has come to map the page, or has ceased to. The first mapping of an anonymous page gives the page its
 * anon_vma: that of @vma if @exclusive; otherwise the root's, because other VMAs of the family may come to map the
 * page. They change _mapcount; the caller changes _count.
 */
void page_add_anon_rmap(struct page *page, struct vma *vma, uint64_t addr, bool exclusive);
void page_add_file_rmap(struct page *page);
void page_remove_rmap(struct page *page, struct vma *vma, uint64_t addr);

/* Make an mlocked page evictable, unless a locked VMA still maps it. */
void page_munlock(struct pager *pager, struct page *page);
/* The page belongs to @vma alone now, so later walks look in no other VMA. => page locked, mapped once */
void page_move_anon_rmap(struct page *page, struct vma *vma, uint64_t addr);
/* Does a walk from this anonymous page find @addr in @vma? Then a PTE there may map the page. */
bool page_is_of_family(const struct page *page, const struct vma *vma, uint64_t addr);

/* Called for each PTE that maps the page; false ends the walk. */
typedef bool (*rmap_one)(void *ctx, struct page *page, struct vma *vma, uint64_t addr, pte_slot_t *ptep);
/*
 * Call @one for each PTE that maps the page. Returns false if a call ended the walk. => page locked, unless the call
 * only counts
 */
bool rmap_walk(struct pager *pager, struct page *page, rmap_one one, void *ctx);

/* How many PTEs were accessed since they were last looked at, and what kind of VMAs map the page. */
struct referenced {
	unsigned nr;
	bool vm_locked; /* a VMA that maps the page is mlocked: the others were not asked */
	bool vm_exec; /* a VMA that accessed the page maps a file and is executable */
};
/* Ask that, and clear the accessed marks that are found. */
struct referenced page_referenced(struct pager *pager, struct page *page);

/*
 * Pages that a machine without flush() takes from their addresses in one call. The caller takes care that a batch never
 * has more than UNMAP_BATCH pages; there each page has one PTE at most.
 */
#define UNMAP_BATCH 64
struct unmap_batch {
	unsigned nr;
	struct mapping maps[UNMAP_BATCH];
};

/*
 * Make one PTE not valid. A machine with flush() flushes it at once; for others the mapping is added to the batch, and
 * unmap_batch_run() must follow.
 */
void pte_hide(
	struct pager *pager, struct vma *vma, uint64_t addr, pte_slot_t *ptep, struct unmap_batch *batch);

/*
 * Have the machine take the batch's pages from their addresses. Drops the lock. Returns how many pages stay because
 * they are pinned for I/O: their PTEs are valid again, and accessed. The batch is empty afterwards. => pages locked
 */
unsigned unmap_batch_run(struct pager *pager, struct unmap_batch *batch, enum unmap_content content);

/*
 * Is a PTE of the page still valid? After unmap_batch_run() that means: the page is pinned, and must be left alone.
 * => page locked
 */
bool page_is_shown(struct pager *pager, struct page *page);

/*
 * Watch @nr pages for a touch from now on: clear the accessed marks; where the machine has none, arm the pages. Drops
 * the lock.
 * => pages locked, at most UNMAP_BATCH
 */
void pages_age(struct pager *pager, struct page **pages, unsigned nr);

enum unmap_result {
	UNMAP_DONE, /* no PTE maps the page */
	UNMAP_ACCESSED, /* the page is in use: it belongs to the active list */
};

/*
 * First half of try_to_unmap: hide the page's PTEs, unless one was accessed. UNMAP_ACCESSED: all are as they were.
 * => page locked; no VMA that maps it is VM_LOCKED: page_referenced() has asked, and the lock was not dropped since
 */
enum unmap_result try_to_unmap_begin(struct pager *pager, struct page *page, struct unmap_batch *batch);
/*
 * Second half, after unmap_batch_run(): each PTE becomes the page's swap entry, and the slot's count rises. @zero, or a
 * page of a file: each PTE becomes none. A dirty PTE makes the page dirty. UNMAP_ACCESSED: a thread waits for the page,
 * so nothing has changed; or a PTE is left.
 */
enum unmap_result try_to_unmap_end(struct pager *pager, struct page *page, bool zero);
/* As the second half, but the PTEs come to name @entry, which is not the page's own slot. => the page is anonymous */
enum unmap_result try_to_unmap_to(struct pager *pager, struct page *page, swp_entry_t entry);

#endif

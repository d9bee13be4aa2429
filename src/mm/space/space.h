/* SPDX-License-Identifier: MIT */
/*
 * Address spaces: a tree of VMAs over page tables.
 *
 * Only the holder of the space lock changes VMAs; faults and the reverse map read them under the pager lock.
 * A VMA that is being unmapped, moved, protected or forked has VM_CHANGING for as long as that takes: faults in it wait.
 */
#ifndef ANONMM_SPACE_H
#define ANONMM_SPACE_H

#include "mm/page/page.h"
#include "mm/space/pgtable.h"
#include "mm/fault/readahead.h"
#include "mm/ksm/ksm.h"
#include "mm/space/rmap.h"

enum vma_flags {
	VM_LOCKED = 1 << 0,
	VM_FOREIGN = 1 << 1, /* addresses only: somebody else's memory is there */
	VM_NORESERVE = 1 << 2,
	VM_CHANGING = 1 << 3,
	VM_SEQ_READ = 1 << 4,
	VM_RAND_READ = 1 << 5,
	VM_SHARED = 1 << 6, /* writes go to the file */
	VM_MERGEABLE = 1 << 7, /* ksmd looks here */
};

/* Locks: [S] space lock to change, pager lock to change or read  [L] pager lock */
struct vma {
	RB_ENTRY(vma) node; /* [S] */
	struct space *space; /* [I] */
	uint64_t start, end; /* [S] */
	uint32_t pgoff; /* [S] page index of start (rmap.h) */
	uint32_t flags; /* [S] */
	int prot; /* [S] */
	struct anon_vma *anon_vma; /* [L] where its new pages are born to; NULL until the first */
	TAILQ_HEAD(, anon_vma_chain) chain; /* [L] */
	struct file *file; /* [S] what none PTEs are filled from; NULL: zeros */
	struct anon_vma_chain *file_link; /* [L] in the file's i_mmap */
	struct fault_streams streams; /* [L] */
};

RB_HEAD(vma_tree, vma);

struct space {
	struct pager *pager; /* [I] */
	TAILQ_ENTRY(space) link; /* [L] */
	uint64_t base, bytes; /* [I] */
	void *machine_data; /* [I] */
	struct pgtable pgtable; /* [L] */
	struct vma_tree vmas; /* [S] */
	struct ksm_item_tree ksm_items; /* [L] by page index */
	uint64_t search_from; /* [S] where the next hole is looked for */
	bool locked; /* [L] the space lock */
	bool exits; /* [L] who ends it waits for nr_faults to be 0 */
	uint32_t
		nr_faults; /* [L] faults that have begun and not ended: they come back to the space after they dropped the lock */
	_Atomic(uint64_t) changes; /* [L] to change: VMAs that have gone, or have other rights now */
	uint64_t moving_to; /* [S] mremap under way: the new address, 0: none */
	uint64_t populated_to; /* [S] madvise(POPULATE) or mprotect under way: where it goes on, 0: none */
	unsigned pinned_tries; /* [S] how often in a row hide_range() met a pinned page */
	struct space *fork_child; /* [S] fork under way: who it will be */
	uint64_t forked_to; /* [S] and the page index where it goes on */
	int fork_failed; /* [S] why it is being undone */
};

static inline uint64_t space_index(const struct space *space, uint64_t addr)
{
	return (addr - space->base) >> PAGE_SHIFT;
}

/* The page index of @addr: where it is in the VMA's file, and by what its anonymous page is found (rmap.h). */
static inline uint32_t vma_page_index(const struct vma *vma, uint64_t addr)
{
	return vma->pgoff + (uint32_t)((addr - vma->start) >> PAGE_SHIFT);
}

static inline uint64_t vma_nr_pages(const struct vma *vma)
{
	return (vma->end - vma->start) >> PAGE_SHIFT;
}

static inline uint64_t index_addr(const struct space *space, uint64_t index)
{
	return space->base + (index << PAGE_SHIFT);
}

struct vma *find_vma(struct space *space, uint64_t addr); /* that contains addr, or NULL */
struct vma *find_vma_from(struct space *space, uint64_t addr); /* the first that ends behind addr */
struct vma *vma_next(struct vma *vma);

/* The innermost space that covers @addr, or NULL. */
struct space *find_space(struct pager *pager, uint64_t addr);

/* vma.c, for those who change VMAs. => space lock held by the call */
int vma_split_range(struct space *space, uint64_t start, uint64_t end);
void vma_merge_range(struct space *space, uint64_t start, uint64_t end);
bool range_is_mapped(struct space *space, uint64_t start, uint64_t end);
void range_set_changing(struct space *space, uint64_t start, uint64_t end, bool changing);
uint64_t find_hole(struct space *space, uint64_t len);
bool hole_at(struct space *space, uint64_t addr, uint64_t len);
/*
 * A new VMA at @start that is as @like says: end, pgoff, prot, flags, file (which it holds, too). NULL: no host memory.
 */
struct vma *vma_insert(struct space *space, uint64_t start, const struct vma *like);
void vma_remove(struct vma *vma);
/* As vma_remove(), for a VMA that got no region of the machine's: faults that wait since it is VM_CHANGING look again. */
void vma_unmake(struct vma *vma);
/* VM_LOCKED comes and goes by this call alone, or with the VMA: pager->nr_mlocked counts the pages of such VMAs. */
void vma_set_locked(struct vma *vma, bool locked);

/* space.c */
int range_check(const struct space *space, uint64_t addr, uint64_t *len);
int unmap_region(struct space *space, uint64_t start, uint64_t end, struct wait *wait);

/*
 * zap.c. unmap_vmas -> zap_pte_range: clear every PTE in the range; pages end when nobody else holds them. Drops the lock.
 * -EAGAIN with *wait: a page is busy; progress is kept.
 */
int unmap_vmas(struct space *space, uint64_t start, uint64_t end, struct wait *wait);

/* Hide every page of the range: armed, its bytes at its frame, before the region changes. As above. -EBUSY: one stays pinned for I/O. */
int hide_range(struct space *space, uint64_t start, uint64_t end, struct wait *wait);

#endif

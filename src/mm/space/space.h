/* SPDX-License-Identifier: MIT */
/*
 * Address spaces: a tree of VMAs over page tables.
 *
 * Only the holder of the space lock changes VMAs. Faults and the reverse map read them under the pager lock. A VMA that
 * is being mapped, unmapped, moved, protected or forked has VM_CHANGING for as long as that takes: faults in it wait.
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
	VM_FOREIGN = 1 << 1, /* addresses only: memory that is not managed is there */
	VM_NORESERVE = 1 << 2, /* mapped with SPACE_NORESERVE */
	VM_CHANGING = 1 << 3, /* faults wait */
	VM_SEQ_READ = 1 << 4, /* MADV_SEQUENTIAL */
	VM_RAND_READ = 1 << 5, /* MADV_RANDOM */
	VM_SHARED = 1 << 6, /* writes go to the file */
	VM_MERGEABLE = 1 << 7, /* ksmd looks here */
};

/* Locks: [I] set once  [S] space lock and pager lock to change, pager lock to read  [L] pager lock */
struct vma {
	RB_ENTRY(vma) node; /* [S] */
	struct space *space; /* [I] */
	uint64_t start, end; /* [S] */
	uint32_t pgoff; /* [S] page index of start (rmap.h) */
	uint32_t flags; /* [S] */
	int prot; /* [S] */
	struct anon_vma *anon_vma; /* [L] the one that its new pages are born to; NULL until the first is */
	TAILQ_HEAD(, anon_vma_chain) chain; /* [L] */
	struct file *file; /* [S] what its none PTEs are filled from; NULL: zeros */
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
	bool locked; /* [L] somebody holds the space lock */
	bool exits; /* [L] space_exit() waits until nr_faults is 0 */
	/*
	 * [L] faults that have begun and not ended: each comes back to the space after it has dropped the lock
	 */
	uint32_t nr_faults;
	/* [L] to change: counts VMAs that have gone or got other rights; space_changes() */
	_Atomic(uint64_t) changes;
	uint64_t moving_to; /* [S] the new address of an mremap under way; 0: none */
	/* [S] where a populate under way goes on (madvise, mprotect), as an address; 0: none */
	uint64_t populated_to;
	unsigned pinned_tries; /* [S] how many times in a row hide_range() met a pinned page */
	struct space *fork_child; /* [S] the half-made child of a fork under way; NULL: none */
	uint64_t forked_to; /* [S] the page index where that fork goes on */
	int fork_failed; /* [S] why that fork is being undone; 0: it is not */
};

static inline uint64_t space_index(const struct space *space, uint64_t addr)
{
	return (addr - space->base) >> PAGE_SHIFT;
}

/* The page index of @addr: its place in the VMA's file, and what its anonymous page is found by (rmap.h). */
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

struct vma *find_vma(struct space *space, uint64_t addr); /* the VMA that contains @addr, or NULL */
/* the first VMA that ends behind @addr, or NULL */
struct vma *find_vma_from(struct space *space, uint64_t addr);
struct vma *vma_next(struct vma *vma);

/* The innermost space that covers @addr: the youngest. NULL: none does. */
struct space *find_space(struct pager *pager, uint64_t addr);

/* vma.c, for calls that change VMAs. => the call holds the space lock */
int vma_split_range(struct space *space, uint64_t start, uint64_t end);
void vma_merge_range(struct space *space, uint64_t start, uint64_t end);
bool range_is_mapped(struct space *space, uint64_t start, uint64_t end);
void range_set_changing(struct space *space, uint64_t start, uint64_t end, bool changing);
uint64_t find_hole(struct space *space, uint64_t len);
bool hole_at(struct space *space, uint64_t addr, uint64_t len);
/*
 * Make a VMA at @start: end, pgoff, prot, flags and file are as in @like, and the VMA holds the file. NULL: no host
 * memory.
 */
struct vma *vma_insert(struct space *space, uint64_t start, const struct vma *like);
void vma_remove(struct vma *vma);
/*
 * As vma_remove(), for a VMA that got no region from the machine. Faults that wait because the VMA is VM_CHANGING look
 * again.
 */
void vma_unmake(struct vma *vma);
/* Nothing else sets or clears VM_LOCKED of a VMA that exists: pager->nr_mlocked counts the pages of such VMAs. */
void vma_set_locked(struct vma *vma, bool locked);

/* space.c: check and round a range (range_check); unmap everything in a range. Drops the lock, may say -EAGAIN. */
int range_check(const struct space *space, uint64_t addr, uint64_t *len);
int unmap_region(struct space *space, uint64_t start, uint64_t end, struct wait *wait);

/*
 * zap.c. unmap_vmas -> zap_pte_range: clear every PTE in the range. A page ends when nobody else holds it. Drops the
 * lock.
 * -EAGAIN with *wait: a page is busy; progress is kept.
 */
int unmap_vmas(struct space *space, uint64_t start, uint64_t end, struct wait *wait);
/* The same for a caller that does not hold the space lock (truncation): the lock is dropped for the machine alone. */
int unmap_vma_of_other(struct space *space, uint64_t start, uint64_t end, struct wait *wait);

/*
 * Hide every page of the range, before its region changes: the pages are armed afterwards, with their bytes at their
 * frames. Drops the lock. -EAGAIN as above. -EBUSY: a page stays pinned for I/O.
 */
int hide_range(struct space *space, uint64_t start, uint64_t end, struct wait *wait);

#endif

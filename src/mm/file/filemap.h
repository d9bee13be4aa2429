/* SPDX-License-Identifier: MIT */
/*
 * Files and their page cache: what private file mappings read from, and what shared anonymous memory (shmem) is.
 *
 *      file->cache     page index -> a page (the cache holds one reference), a swap entry (shmem; its slot counts it),
 *                      or a shadow: when the page was removed
 *      file->i_mmap    the VMAs that map the file
 *
 * A page of the cache is filled while it is locked and not PG_uptodate; who wants it waits for it. It leaves the cache
 * under its page lock.
 *
 * A file lives as long as its opener or a VMA holds it. Who gives up the last hold empties the cache first
 * (truncate_inode_pages), and may have to wait for a busy page.
 */
#ifndef ANONMM_FILEMAP_H
#define ANONMM_FILEMAP_H

#include "mm/page/page.h"
#include "mm/pager.h"
#include "mm/space/pgtable.h"
#include "mm/space/rmap.h"

/* Locks: [I] set once  [L] pager lock */
struct file {
	struct pager *pager; /* [I] */
	const struct file_ops *ops; /* [I] NULL: shared memory, whose pages are born zero */
	void *ctx; /* [I] for the functions of ops */
	TAILQ_ENTRY(file) link; /* [L] */
	uint64_t bytes; /* [L] */
	bool shrinking; /* [L] file_truncate() has begun, and will be called again */
	struct pgtable cache; /* [L] */
	struct anon_vma_tree i_mmap; /* [L] */
	uint32_t refs; /* [L] holds: one for the opener, one for each VMA */
};

TAILQ_HEAD(file_list, file);

/* Page indexes have 32 bits, as in struct page. */
#define FILE_MAX_BYTES (1ull << (32 + PAGE_SHIFT))

static inline uint64_t file_nr_pages(const struct file *file)
{
	return (file->bytes + PAGE_BYTES - 1) >> PAGE_SHIFT;
}

/* The cached page at @index, or NULL. */
struct page *find_page(const struct file *file, uint32_t index);

/*
 * @page becomes the file's page at @index, and the cache holds a reference to it. -ENOMEM: no host memory.
 * => page locked, in no cache; no page is cached at @index
 */
int add_to_page_cache(struct file *file, struct page *page, uint32_t index);

/*
 * Take a page out of the cache. @word takes its place. The cache's reference is given back, unless the page is frozen
 * at 0.
 * => page locked, unmapped
 */
void delete_from_page_cache(struct pager *pager, struct page *page, pte_t word);

/* The word for a page that was removed when its node's refault clock was @clock. */
pte_t page_cache_shadow(uint32_t clock);

/* Empty the cache from page @first on. Drops the lock. -EAGAIN: a page is busy. => no PTE maps these pages */
int truncate_inode_pages(struct file *file, uint32_t first, struct wait *wait);

/*
 * Clear every PTE that maps the file from page @first on, those of private copies included. Drops the lock. -EAGAIN as
 * above.
 */
int unmap_mapping_range(struct file *file, uint32_t first, struct wait *wait);

void file_get(struct file *file);
/* Give up one hold. Drops the lock when the file ends. => not the last hold, or the cache is empty */
void file_drop(struct file *file);

/*
 * shmem.c: bring the page at @index back from the swap cache or a device, if it is there. Drops the lock. -EAGAIN.
 * -ENOMEM: no frame. -EIO: the content is lost.
 */
int shmem_bring_in(struct file *file, uint32_t index, struct wait *wait);
/*
 * shmem.c: the page leaves the page cache for the swap cache. -ENOSPC: no slot is free. => page locked, unmapped,
 * shmem's
 */
int shmem_writepage(struct pager *pager, struct page *page);
/*
 * The page goes from the swap cache back to the page cache, and its slot is free. It was read, or has never left
 * memory.
 * => page up to date, unlocked, not under writeback
 */
void shmem_move_in(struct pager *pager, struct file *file, uint32_t index, struct page *page, uint64_t addr);
/*
 * The page is all zero: its word becomes none, and it is born again at its next touch. => page locked, unmapped,
 * shmem's
 */
void shmem_drop_zero(struct pager *pager, struct page *page);

#endif

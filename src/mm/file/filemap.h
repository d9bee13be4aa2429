/* SPDX-License-Identifier: MIT */
/*
 * Files and their page cache: what private file mappings read from, and what shared anonymous memory (shmem) is.
 *
 *      file->cache     page index -> the page (one reference), or for shmem a swap entry (counted by its slot), or a
 *                      shadow: when the page was removed
 *      file->i_mmap    the VMAs that map it
 *
 * A page of the cache is filled while it is locked and not PG_uptodate; who wants it waits for it. It leaves the cache
 * under its lock.
 *
 * A file lives as long as its opener or a VMA holds it. Whoever gives up the last hold empties the cache first, and may
 * have to wait for a busy page: truncate_inode_pages().
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
	const struct file_ops *ops; /* [I] NULL: shared memory, its pages are born zero */
	void *ctx; /* [I] for ops */
	TAILQ_ENTRY(file) link; /* [L] */
	uint64_t bytes; /* [L] */
	bool shrinking; /* [L] file_truncate() has begun and is called again */
	struct pgtable cache; /* [L] */
	struct anon_vma_tree i_mmap; /* [L] */
	uint32_t refs; /* [L] the opener and the VMAs */
};

TAILQ_HEAD(file_list, file);

/* Page indexes are 32 bits, as in struct page. */
#define FILE_MAX_BYTES (1ull << (32 + PAGE_SHIFT))

static inline uint64_t file_nr_pages(const struct file *file)
{
	return (file->bytes + PAGE_BYTES - 1) >> PAGE_SHIFT;
}

/* The cached page at @index, or NULL. */
struct page *find_page(const struct file *file, uint32_t index);

/* @page becomes the file's at @index, with a reference of the cache. -ENOMEM: no host memory. => page locked, in no cache, nothing cached there */
int add_to_page_cache(struct file *file, struct page *page, uint32_t index);

/* Out of the cache, the cache's reference given back (unless frozen at 0); @word takes its place. => page locked, unmapped */
void delete_from_page_cache(struct pager *pager, struct page *page, pte_t word);

/* The word for a page that was removed at this time of its node's clock. */
pte_t page_cache_shadow(uint32_t clock);

/* Empty the cache from page @first on. Drops the lock. -EAGAIN: a page is busy. => no PTE maps these pages */
int truncate_inode_pages(struct file *file, uint32_t first, struct wait *wait);

/* Clear every PTE that maps the file from page @first on, private copies included. Drops the lock. -EAGAIN as above */
int unmap_mapping_range(struct file *file, uint32_t first, struct wait *wait);

void file_get(struct file *file);
/* Drops the lock when the file goes. => not the last hold, or the cache is empty */
void file_drop(struct file *file);

/*
 * shmem.c: what is at @index comes back from the swap cache or a device, if it is there. Drops the lock. -EAGAIN.
 * -ENOMEM: no frame. -EIO: the content is lost.
 */
int shmem_bring_in(struct file *file, uint32_t index, struct wait *wait);
/* shmem.c: the page leaves the page cache for the swap cache. -ENOSPC: no slot. => page locked, unmapped, shmem's */
int shmem_writepage(struct pager *pager, struct page *page);
/* It has been read, or never left memory: from the swap cache back to the page cache; its slot is free. => up to date, unlocked, not under writeback */
void shmem_move_in(struct pager *pager, struct file *file, uint32_t index, struct page *page, uint64_t addr);
/* All zero: the word becomes none, and the page is born again at its next touch. => as above */
void shmem_drop_zero(struct pager *pager, struct page *page);

#endif

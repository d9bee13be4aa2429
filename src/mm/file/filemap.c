/* SPDX-License-Identifier: MIT */
/* Files and their page cache; see filemap.h. */
#include "mm/mm.h"

#include <string.h>

/* ---- The cache ------------------------------------------------------------------------------- */

struct page *find_page(const struct file *file, uint32_t index)
{
	pte_slot_t *slot = pgtable_find(&file->cache, index);
	pte_t word = slot ? pte_load(slot) : 0;

	return pte_is_present(word) ? pfn_page(file->pager, pte_pfn(word)) : NULL;
}

pte_t page_cache_shadow(uint32_t clock)
{
	return ((pte_t)(clock & SHADOW_MASK) << PTE_PFN_SHIFT) | PTE_SHADOW;
}

/* Mark the page as a part of the working set, if no more pages than the active list has were removed after it. */
static void refault(struct pager *pager, struct page *page, pte_t word)
{
	struct node *node = page_node(pager, page);
	uint32_t distance = ((uint32_t)node->evictions - pte_pfn(word)) & SHADOW_MASK;

	if ((word & PTE_SHADOW) && distance <= node->nr_pages[LIST_ACTIVE_FILE])
		page_set(page, PG_active | PG_workingset);
}

int add_to_page_cache(struct file *file, struct page *page, uint32_t index)
{
	pte_slot_t *slot = pgtable_make(file->pager, &file->cache, index);

	assert(page_has(page, PG_locked) && !page_has(page, PG_swapcache) && !page->mapping);
	if (!slot)
		return -ENOMEM;
	refault(file->pager, page, pte_load(slot));
	pte_store(slot, pte_present(page_pfn(file->pager, page), 0));
	page->mapping = file;
	page->index = index;
	page_get(page);
	return 0;
}

void delete_from_page_cache(struct pager *pager, struct page *page, pte_t word)
{
	struct file *file = page_file(page);

	(void)pager;
	assert(page_has(page, PG_locked) && !page_mapped(page) && find_page(file, page->index) == page);
	pte_store(pgtable_find(&file->cache, page->index), word);
	page->mapping = NULL;
	/* If _count is 0, __remove_mapping() has frozen it, and the cache's reference is gone already. */
	if (page->_count > 0)
		page->_count--;
}

/* ---- Truncation -------------------------------------------------------------------------------- */

static int truncate_page(struct pager *pager, struct page *page, struct wait *wait)
{
	if (!page_trylock(pager, page)) {
		wait_on_page(pager, page, WAIT_PAGE, wait);
		return -EAGAIN;
	}
	page_get(page);
	delete_from_page_cache(pager, page, 0);
	page_clear(page, PG_dirty);
	page_unlock(pager, page);
	page_step(pager, page, "truncate_inode_pages", 0);
	page_put(pager, page);
	return 0;
}

int truncate_inode_pages(struct file *file, uint32_t first, struct wait *wait)
{
	uint64_t index = first;
	pte_slot_t *slot;

	for (; (slot = pgtable_next(&file->cache, index, 1ull << 32, &index)) != NULL; index++) {
		pte_t word = pte_load(slot);
		int error = 0;

		if (pte_is_present(word)) {
			error = truncate_page(file->pager, pfn_page(file->pager, pte_pfn(word)), wait);
		} else {
			pte_store(slot, 0);
			if (pte_is_swap(word))
				free_swap_and_cache(file->pager, pte_entry(word));
		}
		if (error)
			return error;
	}
	free_pgtables(file->pager, &file->cache, first, 1ull << 32);
	return 0;
}

/* A VMA that still has a PTE at or behind page @first. */
struct mapped_vma {
	uint32_t first;
	struct vma *vma;
	uint64_t start;
};

static bool find_mapped(void *ctx, struct vma *vma)
{
	struct mapped_vma *m = ctx;
	uint64_t found;

	m->start = vma->start;
	if (m->first > vma->pgoff)
		m->start += (uint64_t)(m->first - vma->pgoff) << PAGE_SHIFT;
	if (!pgtable_next(&vma->space->pgtable, space_index(vma->space, m->start),
		    space_index(vma->space, vma->end), &found))
		return true;
	m->vma = vma;
	return false;
}

/* Each search begins at the start: the lock may be dropped for a VMA, and then the links may change. */
int unmap_mapping_range(struct file *file, uint32_t first, struct wait *wait)
{
	struct mapped_vma m = {.first = first};
	int error = 0;

	while (!error && !links_walk(&file->i_mmap, first, UINT32_MAX, find_mapped, &m))
		error = unmap_vma_of_other(m.vma->space, m.start, m.vma->end, wait);
	return error;
}

/* Fill the last page behind the file's end with zeros, in case the file grows again. Drops the lock. */
static int truncate_partial_page(struct file *file, struct wait *wait)
{
	uint32_t index = (uint32_t)(file->bytes >> PAGE_SHIFT);
	uint64_t used = file->bytes % PAGE_BYTES;
	int error = used && !file->ops ? shmem_bring_in(file, index, wait) : 0;
	struct page *page = used ? find_page(file, index) : NULL;

	if (error)
		return error == -EIO ? 0 : error; /* -EIO: the page is lost, so there is nothing to fill */
	if (!page)
		return 0;
	if (page_has(page, PG_locked)) {
		wait_on_page(file->pager, page, WAIT_PAGE, wait);
		return -EAGAIN;
	}
	memset((char *)frame_bytes(file->pager, page) + used, 0, PAGE_BYTES - used);
	return 0;
}

int file_truncate(struct file *file, uint64_t bytes, struct wait *wait)
{
	struct pager *pager = file->pager;
	int error = 0;

	if (bytes > FILE_MAX_BYTES)
		return -EFBIG;
	pager_lock(pager);
	bool shrinks = bytes < file->bytes || (file->shrinking && bytes == file->bytes);

	file->bytes = bytes; /* before all else, so that faults from now on see the new end */
	file->shrinking = shrinks;
	if (shrinks) {
		uint32_t first = (uint32_t)file_nr_pages(file);

		error = unmap_mapping_range(file, first, wait);
		if (!error)
			error = truncate_inode_pages(file, first, wait);
		if (!error)
			error = truncate_partial_page(file, wait);
	}
	if (error != -EAGAIN)
		file->shrinking = false;
	pager_unlock(pager);
	return error;
}

/* ---- Coming and going ----------------------------------------------------------------------------- */

int file_create(struct pager *pager, const struct file_ops *ops, void *ctx, uint64_t bytes, struct file **out)
{
	*out = NULL;
	if (bytes > FILE_MAX_BYTES)
		return -EFBIG;
	if (!ops && !pager->machine->ops->can_share)
		return -EOPNOTSUPP;
	pager_lock(pager);
	struct file *file = pool_alloc(pager, &pager->file_pool);

	if (file) {
		file->pager = pager;
		file->ops = ops;
		file->ctx = ctx;
		file->bytes = bytes;
		file->refs = 1;
		RB_INIT(&file->i_mmap);
		TAILQ_INSERT_TAIL(&pager->files, file, link);
		*out = file;
	}
	pager_unlock(pager);
	return file ? 0 : -ENOMEM;
}

void file_get(struct file *file)
{
	file->refs++;
}

void file_drop(struct file *file)
{
	struct pager *pager = file->pager;

	if (--file->refs > 0)
		return;
	assert(RB_EMPTY(&file->i_mmap) && !file->cache.root);
	TAILQ_REMOVE(&pager->files, file, link);
	if (file->ops && file->ops->release) {
		pager_unlock(pager);
		file->ops->release(file->ctx);
		pager_lock(pager);
	}
	pool_free(&pager->file_pool, file);
}

int file_close(struct file *file, struct wait *wait)
{
	struct pager *pager = file->pager;
	int error = 0;

	pager_lock(pager);
	if (file->refs == 1)
		error = truncate_inode_pages(file, 0, wait);
	if (!error)
		file_drop(file);
	pager_unlock(pager);
	return error;
}

uint64_t file_bytes(struct file *file)
{
	pager_lock(file->pager);
	uint64_t bytes = file->bytes;

	pager_unlock(file->pager);
	return bytes;
}

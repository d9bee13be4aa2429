/* SPDX-License-Identifier: MIT */
/*
 * The first touch of a page that has a file, or shared memory, behind it:
 *
 *      mapping     access
 *      private     read      do_read_fault      the cached page itself, read-only (B5 follows when it is written)
 *      private     write     do_cow_page        B7: a copy; the cached page stays as it was
 *      shared      any       do_shared_fault    the cached page itself
 *
 * Where a frame has one place only, a read of a private mapping gets its copy at once, by do_cow_page.
 */
#include "mm/fault/fault.h"

#include <string.h>
#include <sys/mman.h>

/* ---- The page cache ----------------------------------------------------------------------- */

/* The file's page is not in the cache: read it. Drops the lock; other threads that want the page wait for it. */
static int filemap_read_page(struct fault *f, struct file *file, uint32_t index)
{
	struct pager *pager = f->pager;
	struct page *page;

	if (!fault_frames(f, 1, &page))
		return FAULT_NO_FRAME;
	page_trylock(pager, page);
	if (add_to_page_cache(file, page, index)) {
		page_unlock(pager, page);
		page_put(pager, page);
		return FAULT_OOM;
	}
	lru_cache_add(pager, page);
	pager->stats->file_reads++;
	pager_unlock(pager);
	int error = pager->machine->ops->frame_populate(pager->machine, page_pfn(pager, page), 1);

	if (!error)
		error = file->ops->read(file->ctx, index, frame_bytes(pager, page));
	pager_lock(pager);
	if (error)
		delete_from_page_cache(pager, page, 0);
	else
		page_set(page, PG_uptodate);
	page_unlock(pager, page);
	page_step(pager, page, "filemap_read_page", f->addr);
	page_put(pager, page);
	if (error)
		pager->stats->file_errors++;
	return error == 0 ? FAULT_RETRY : error == -ENOMEM ? FAULT_OOM : FAULT_SIGBUS;
}

static int filemap_fault(struct fault *f, struct file *file, uint32_t index, struct page **out)
{
	*out = find_page(file, index);
	return *out ? FAULT_DONE : filemap_read_page(f, file, index);
}

/* ---- Mapping what is cached ------------------------------------------------------------------ */

/* => frames can be shared: only the PTE needs to be set */
static int map_cached_page(struct fault *f, struct page *page, bool writable, const char *function)
{
	pte_t bits = PTE_VALID | PTE_ACCESSED | (writable ? PTE_WRITE : 0) |
		     (writable && f->write ? PTE_DIRTY : 0);

	page_get(page);
	page_add_file_rmap(page);
	if (f->vma->flags & VM_LOCKED)
		page_mlock(f->pager, page);
	if (writable && f->write)
		page_set(page, PG_dirty); /* a write that is trapped makes the page dirty at once */
	pte_store(f->ptep, pte_present(page_pfn(f->pager, page), bits));
	f->pager->stats->file_mapped++;
	page_step(f->pager, page, function, f->addr);
	return FAULT_DONE;
}

static int do_read_fault(struct fault *f, struct page *page)
{
	return map_cached_page(f, page, false, "do_read_fault");
}

static int do_shared_fault(struct fault *f, struct page *page)
{
	return map_cached_page(f, page, (f->vma->prot & PROT_WRITE) != 0, "do_shared_fault");
}

/* LIFECYCLE B7: a private mapping gets a copy of the cached page. */
static int do_cow_page(struct fault *f, struct page *cached)
{
	struct page *page;

	if (anon_vma_prepare(f->pager, f->vma))
		return FAULT_OOM;
	if (!fault_frame_for_copy(f, cached, &page))
		return FAULT_NO_FRAME;
	page_trylock(f->pager, cached);
	int result = fault_copy(f, page, cached);

	page_unlock(f->pager, cached);
	if (result == FAULT_DONE) {
		f->pager->stats->copied++;
		f->pager->stats->copied_early += !f->write;
		page_step(f->pager, page, "do_cow_page", f->addr);
	}
	return result;
}

/* ---- Which of them ----------------------------------------------------------------------------- */

int do_fault(struct fault *f)
{
	struct file *file = f->vma->file;
	uint32_t index = vma_page_index(f->vma, f->addr);
	struct page *page;

	if (index >= file_nr_pages(file))
		return FAULT_SIGBUS;
	int result = file->ops ? filemap_fault(f, file, index, &page) : shmem_fault(f, file, index, &page);

	if (result != FAULT_DONE)
		return result;
	if (page_has(page, PG_locked))
		return fault_wait_page(f, page);
	if (f->vma->flags & VM_SHARED)
		return do_shared_fault(f, page);
	if (!f->write && f->pager->machine->ops->can_share)
		return do_read_fault(f, page);
	return do_cow_page(f, page);
}

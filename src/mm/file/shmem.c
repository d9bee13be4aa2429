/* SPDX-License-Identifier: MIT */
/*
 * Shared anonymous memory: a struct file with no file behind it. Its pages live in its page cache, and go to swap
 * through the swap cache:
 *
 *      page cache word        the page
 *      none                   never touched, or all zero when it was taken
 *      present                in memory: PG_swapbacked, the page cache holds a reference
 *      swap entry             in the swap cache on its way out or in, or on the device; the slot counts this word
 *
 * A page is in one of the two caches at a time. PTEs never hold shmem's swap entries: they are cleared to none, and the
 * next touch asks here.
 */
#include "mm/fault/fault.h"

#include <string.h>

/*
 * Give birth to the page at @index, all zeros. frame_bytes() may be used at once: shared memory exists only on machines
 * where frames can be shared, and there a frame always has memory.
 */
static int shmem_alloc_page(struct fault *f, struct file *file, uint32_t index, struct page **out)
{
	struct page *page;

	if (!fault_frames(f, 1, &page))
		return FAULT_NO_FRAME;
	page_trylock(f->pager, page);
	page_set(page, PG_swapbacked | PG_uptodate);
	int error = add_to_page_cache(file, page, index);

	page_unlock(f->pager, page);
	if (!error) {
		memset(frame_bytes(f->pager, page), 0, PAGE_BYTES);
		lru_cache_add(f->pager, page);
		f->pager->stats->born++;
	}
	page_put(f->pager, page); /* the page cache has a reference of its own now */
	*out = page;
	return error ? FAULT_OOM : FAULT_DONE;
}

void shmem_move_in(struct pager *pager, struct file *file, uint32_t index, struct page *page, uint64_t addr)
{
	swp_entry_t entry = word_entry(page->private);

	page_trylock(pager, page);
	page_get(page);
	readahead_hit(pager, page);
	delete_from_swap_cache(pager, page, NO_SHADOW);
	page->mapping = NULL;
	int error = add_to_page_cache(file, page, index); /* cannot fail: the swap entry's table is there */

	assert(!error);
	(void)error;
	swap_free(pager, entry);
	page_clear(page, PG_fresh);
	page_set(page, PG_dirty);
	page_unlock(pager, page);
	page_step(pager, page, "shmem_swapin_page", addr);
	page_put(pager, page);
}

static int shmem_wait(struct pager *pager, struct page *page, struct wait *wait)
{
	wait_on_page(pager, page, page_has(page, PG_locked) ? WAIT_PAGE : WAIT_WRITE, wait);
	return -EAGAIN;
}

static int shmem_swapin(
	struct fault *f, struct file *file, uint32_t index, swp_entry_t entry, struct page **out)
{
	struct page *page = lookup_swap_cache(f->pager, entry);

	if (swap_slot(f->pager, entry)->flags & SLOT_POISONED)
		return FAULT_SIGBUS;
	if (!page)
		return fault_read_swap(f, entry);
	if (page_has_any(page, PG_locked | PG_writeback)) {
		shmem_wait(f->pager, page, f->wait);
		return FAULT_WAIT;
	}
	*out = page;
	shmem_move_in(f->pager, file, index, page, f->addr);
	return FAULT_DONE;
}

/* The page is on a device: start its read. 0: the caller must look again. Drops the lock. */
static int shmem_read(struct pager *pager, swp_entry_t entry, struct wait *wait)
{
	struct plug plug;

	plug_init(&plug);
	int error = read_swap_cache_async(pager, entry, READ_ASKED, &plug);

	if (error == -ENOMEM)
		return try_to_free_or_wait(pager, wait);
	if (error) { /* no request is free: wait until one has ended */
		wait_set(pager, wait, WAIT_FRAMES, PFN_NONE);
		return -EAGAIN;
	}
	plug_submit(pager, &plug);
	/* The lock was dropped: a swapoff may have ended, and then the entry names no slot. */
	struct page *page = swap_entry_exists(pager, entry) ? lookup_swap_cache(pager, entry) : NULL;

	if (page && page_has(page, PG_locked))
		return shmem_wait(pager, page, wait);
	return !page && plug.starved ? -ENOMEM : 0;
}

int shmem_bring_in(struct file *file, uint32_t index, struct wait *wait)
{
	struct pager *pager = file->pager;
	int error = 0;

	while (!error) {
		pte_slot_t *slot = pgtable_find(&file->cache, index);
		pte_t word = slot ? pte_load(slot) : 0;

		if (!pte_is_swap(word))
			return 0;
		struct page *page = lookup_swap_cache(pager, pte_entry(word));

		if (swap_slot(pager, pte_entry(word))->flags & SLOT_POISONED)
			error = -EIO;
		else if (!page)
			error = shmem_read(pager, pte_entry(word), wait);
		else if (page_has_any(page, PG_locked | PG_writeback))
			error = shmem_wait(pager, page, wait);
		else
			shmem_move_in(pager, file, index, page, 0);
	}
	return error;
}

int shmem_fault(struct fault *f, struct file *file, uint32_t index, struct page **out)
{
	pte_slot_t *slot = pgtable_make(f->pager, &file->cache, index);

	if (!slot)
		return FAULT_OOM;
	pte_t word = pte_load(slot);

	if (pte_is_swap(word))
		return shmem_swapin(f, file, index, pte_entry(word), out);
	if (!pte_is_present(word))
		return shmem_alloc_page(f, file, index, out);
	*out = pfn_page(f->pager, pte_pfn(word));
	return FAULT_DONE;
}

int shmem_writepage(struct pager *pager, struct page *page)
{
	swp_entry_t entry;
	int error = get_swap_page(pager, page, &entry);

	if (error)
		return error;
	page_get(page);
	delete_from_page_cache(pager, page, pte_swap(entry));
	add_to_swap_cache(pager, page, entry);
	page->_count--;
	swap_duplicate(pager, entry);
	swap_slot(pager, entry)->flags |= SLOT_FILE;
	page_set(page, PG_dirty);
	page_step(pager, page, "shmem_writepage", 0);
	return 0;
}

void shmem_drop_zero(struct pager *pager, struct page *page)
{
	page_clear(page, PG_dirty);
	delete_from_page_cache(pager, page, 0);
}

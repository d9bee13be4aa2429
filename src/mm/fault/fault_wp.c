/* SPDX-License-Identifier: MIT */
/*
 * A write through a PTE that forbids it, in a VMA that allows it:
 *
 *      the zero page                         a zeroed page takes its place          B3
 *      anonymous, not alone                  copied                                 B4
 *      anonymous, alone                      reused in place                        B4
 *      of a page cache, private mapping      copied                                 B5
 *      merged (KSM)                          copied, also by its last mapper        B6
 *      of a page cache, shared mapping       made writable
 */
#include "mm/fault/fault.h"

#include <string.h>
#include <sys/mman.h>

/* The new PTE is in place before the old page loses its mapping. */
static int wp_page_copy(struct fault *f, struct page *old)
{
	struct page *page;

	if (anon_vma_prepare(f->pager, f->vma))
		return FAULT_OOM;
	if (!fault_frame_for_copy(f, old, &page))
		return FAULT_NO_FRAME;
	page_trylock(f->pager, page);
	page_set(page, PG_uptodate | PG_swapbacked | birth_list(f->pager));
	if (old)
		memcpy(frame_bytes(f->pager, page), frame_bytes(f->pager, old), PAGE_BYTES);
	run_add(f, page, old ? FRAME_KEEP : FRAME_ZERO);
	f->maps[0].result = 0;
	/* A machine that traps writes has flush(). Its map() only fills a frame, so the lock is kept. */
	f->pager->machine->ops->map(f->pager->machine, f->maps, 1);
	page_add_anon_rmap(page, f->vma, f->addr, true);
	lru_cache_add_vma(f, page);
	pte_store(f->ptep, new_pte(f, page, true, (f->vma->prot & PROT_WRITE) != 0, true) | PTE_VALID);
	f->pager->machine->ops->flush(f->pager->machine, f->space, f->addr);
	f->pager->stats->copied += old != NULL;
	f->pager->stats->born += old == NULL;
	page_unlock(f->pager, page);
	page_step(f->pager, page, "do_wp_page", f->addr);
	if (old) {
		page_remove_rmap(old, f->vma, f->addr);
		page_unlock(f->pager, old);
		page_step(f->pager, old, "page_remove_rmap", f->addr);
		if (page_has(old, PG_swapcache)) /* a merged page may have had its last mapper here */
			free_swap_cache(f->pager, old);
		page_put(f->pager, old);
	}
	return FAULT_DONE;
}

/*
 * The page is this PTE's alone: it becomes writable in place. Later walks of the reverse map look in this VMA's own
 * anon_vma only.
 */
static int wp_page_reuse(struct fault *f, struct page *page)
{
	page_move_anon_rmap(page, f->vma, f->addr);
	pte_set_bits(f->ptep, PTE_WRITE | PTE_DIRTY | PTE_ACCESSED | PTE_VALID);
	f->pager->machine->ops->flush(f->pager->machine, f->space, f->addr);
	page_unlock(f->pager, page);
	page_step(f->pager, page, "do_wp_page", f->addr);
	return FAULT_DONE;
}

static int wp_page_shared(struct fault *f, struct page *page)
{
	page_set(page, PG_dirty);
	pte_set_bits(f->ptep, PTE_WRITE | PTE_DIRTY | PTE_ACCESSED | PTE_VALID);
	f->pager->machine->ops->flush(f->pager->machine, f->space, f->addr);
	page_unlock(f->pager, page);
	page_step(f->pager, page, "do_wp_page", f->addr);
	return FAULT_DONE;
}

int do_wp_page(struct fault *f)
{
	if (f->pte & PTE_ZERO)
		return wp_page_copy(f, NULL);
	struct page *page = pfn_page(f->pager, pte_pfn(f->pte));

	if (!page_trylock(f->pager, page))
		return fault_wait_page(f, page);
	if (f->vma->flags & VM_SHARED)
		return wp_page_shared(f, page);
	if (page_is_anon(page) && !page_has(page, PG_ksm) && reuse_swap_page(f->pager, page, 0))
		return wp_page_reuse(f, page);
	int result = wp_page_copy(f, page);

	if (result != FAULT_DONE)
		page_unlock(f->pager, page);
	return result;
}

/* SPDX-License-Identifier: MIT */
/* LIFECYCLE B1, B2: the birth of an anonymous page at its first touch. */
#include "mm/fault/fault.h"

#include <sys/mman.h>

/*
 * How many pages to give birth to: those that the stream wants, as long as their PTEs are none and their tables can be
 * made. A stream with a stride gets one page.
 */
static unsigned births_wanted(struct fault *f)
{
	unsigned want = stream_around(f->vma, f->stream, f->index), n;

	if (f->step != 1 && f->step != -1)
		return 1;
	for (n = 1; n < want; n++) {
		pte_slot_t *ptep =
			pgtable_make(f->pager, &f->space->pgtable, f->index + n * (uint32_t)f->step);

		if (!ptep || !pte_is_none(pte_load(ptep)))
			break;
	}
	return n;
}

static void birth(struct fault *f, struct page *page, pte_slot_t *ptep)
{
	uint64_t addr = run_addr(f, f->nr);
	bool writable = (f->vma->prot & PROT_WRITE) != 0;
	uint32_t list = f->vma->flags & VM_SEQ_READ ? 0 : birth_list(f->pager);

	page_trylock(f->pager, page);
	page_set(page, PG_uptodate | PG_swapbacked | list);
	page_add_anon_rmap(page, f->vma, addr, true);
	pte_store(ptep, new_pte(f, page, f->nr == 0, writable, true));
	run_add(f, page, FRAME_ZERO);
}

/* The machine had no memory for the page: undo its birth. */
static void unbirth(struct fault *f, struct page *page, pte_slot_t *ptep, uint64_t addr)
{
	pte_store(ptep, 0);
	page_remove_rmap(page, find_vma(f->space, addr), addr);
	page_unlock(f->pager, page);
	page_put(f->pager, page);
}

static int births_finish(struct fault *f)
{
	int result = f->maps[0].result == 0 ? FAULT_DONE : FAULT_OOM;

	for (unsigned i = 0; i < f->nr; i++) {
		struct page *page = pfn_page(f->pager, f->maps[i].pfn);

		if (f->maps[i].result) {
			unbirth(f, page, run_ptep(f, i), f->maps[i].addr);
			continue;
		}
		pte_set_bits(run_ptep(f, i), PTE_VALID);
		page_unlock(f->pager, page);
		f->pager->stats->born++;
		page_step(f->pager, page, "do_anonymous_page", f->maps[i].addr);
	}
	return result;
}

static int map_zero_page(struct fault *f)
{
	pte_store(f->ptep, pte_present(f->pager->zero_pfn, PTE_ZERO | PTE_VALID | PTE_ACCESSED));
	f->pager->stats->zero_mapped++;
	if (f->pager->tracer)
		page_step(f->pager, pfn_page(f->pager, f->pager->zero_pfn), "do_anonymous_page", f->addr);
	return FAULT_DONE;
}

int do_anonymous_page(struct fault *f)
{
	struct page *first;

	if (!f->write && f->pager->zero_pfn != PFN_NONE && !(f->vma->flags & VM_LOCKED))
		return map_zero_page(f);
	if (anon_vma_prepare(f->pager, f->vma))
		return FAULT_OOM;
	unsigned got = fault_frames(f, births_wanted(f), &first);

	if (got == 0)
		return FAULT_NO_FRAME;
	for (unsigned i = 0; i < got; i++) /* frames ascend with the addresses */
		birth(f, first + (f->step > 0 ? i : got - 1 - i), run_ptep(f, i));
	for (unsigned i = 0; i < got; i++) /* in order of their frames, so that reclaim meets them together */
		lru_cache_add_vma(f, first + i);
	run_served(f);
	run_map(f);
	return births_finish(f);
}

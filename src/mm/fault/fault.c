/* SPDX-License-Identifier: MIT */
/* The fault: classify it, then call one handler for each case; see fault.h. */
#include "mm/fault/fault.h"

#include <string.h>
#include <sys/mman.h>

/*
 * Below the min watermark a fault reclaims by itself before it takes a frame: once, and only if a slot is free. Without
 * a free slot it would look through all pages for nothing.
 */
bool fault_must_reclaim(const struct fault *f)
{
	return frames_below_min(f->pager) && !f->reclaimed && f->pager->slots_used < f->pager->slots_total;
}

unsigned fault_frames(struct fault *f, unsigned want, struct page **first)
{
	return fault_must_reclaim(f) ? 0 : frame_alloc_run(f->pager, want, first);
}

bool fault_frame_for_copy(struct fault *f, struct page *source, struct page **page)
{
	f->source = source;
	return fault_frames(f, 1, page) == 1;
}

int fault_wait_page(struct fault *f, struct page *page)
{
	wait_on_page(f->pager, page, WAIT_PAGE, f->wait);
	return FAULT_WAIT;
}

/* ---- Making a run of pages visible ----------------------------------------------------------- */

uint64_t run_addr(const struct fault *f, unsigned i)
{
	return f->addr + (uint64_t)((int64_t)i * f->step) * PAGE_BYTES;
}

pte_slot_t *run_ptep(struct fault *f, unsigned i)
{
	return pgtable_find(&f->space->pgtable, f->index + i * (uint32_t)f->step);
}

void run_add(struct fault *f, struct page *page, enum frame_content content)
{
	f->maps[f->nr] = (struct mapping){
		.space = f->space,
		.addr = run_addr(f, f->nr),
		.pfn = page_pfn(f->pager, page),
		.prot = (uint8_t)f->vma->prot,
		.content = (uint8_t)content,
	};
	f->nr++;
}

void run_served(struct fault *f)
{
	stream_served(f->stream, f->index, f->nr);
}

/*
 * While the lock is not held, the VMA may be split, or merged with another and freed; its streams go with it. So
 * whoever needs the VMA afterwards calls find_vma(). The PTEs of the run stay where they are, because their pages are
 * locked.
 */
static void fault_unlock(struct fault *f)
{
	f->vma = NULL;
	f->stream = NULL;
	pager_unlock(f->pager);
}

static void run_turn(struct fault *f)
{
	for (unsigned i = 0; i < f->nr / 2; i++) {
		struct mapping map = f->maps[i];

		f->maps[i] = f->maps[f->nr - 1 - i];
		f->maps[f->nr - 1 - i] = map;
	}
}

/* Machines join mappings that ascend, so a run that goes down is turned round for the call. */
void run_map(struct fault *f)
{
	bool down = f->step < 0;

	fault_unlock(f);
	if (down)
		run_turn(f);
	f->pager->machine->ops->map(f->pager->machine, f->maps, f->nr);
	if (down)
		run_turn(f);
	pager_lock(f->pager);
}

int run_finish(struct fault *f)
{
	for (unsigned i = 0; i < f->nr; i++) {
		if (f->maps[i].result == 0)
			pte_set_bits(run_ptep(f, i), PTE_VALID);
		page_unlock(f->pager, pfn_page(f->pager, f->maps[i].pfn));
	}
	return f->maps[0].result == 0 ? FAULT_DONE : FAULT_OOM;
}

pte_t new_pte(const struct fault *f, const struct page *page, bool asked_for, bool write, bool dirty)
{
	bool seen = asked_for && f->pager->machine->ops->sees_access;

	return pte_present(page_pfn(f->pager, page),
		(seen ? PTE_ACCESSED : 0) | (write ? PTE_WRITE : 0) | (dirty ? PTE_DIRTY : 0));
}

void lru_cache_add_vma(struct fault *f, struct page *page)
{
	if (f->vma->flags & VM_LOCKED)
		page_mlock(f->pager, page);
	lru_cache_add(f->pager, page);
}

/* ---- Touches of armed pages ------------------------------------------------------------------------ */

/* Take an armed page into the run. Returns false if the page is busy. */
static bool armed_add(struct fault *f, pte_slot_t *ptep)
{
	struct page *page = pfn_page(f->pager, pte_pfn(pte_load(ptep)));

	if (!page_trylock(f->pager, page))
		return false;
	pte_set_bits(ptep, PTE_ACCESSED | (f->nr == 0 && f->write ? PTE_DIRTY : 0));
	run_add(f, page, FRAME_KEEP);
	return true;
}

int fault_copy(struct fault *f, struct page *page, struct page *source)
{
	struct machine *machine = f->pager->machine;

	page_trylock(f->pager, page);
	page_set(page, PG_uptodate | PG_swapbacked | birth_list(f->pager));
	page_add_anon_rmap(page, f->vma, f->addr, true);
	lru_cache_add_vma(f, page);
	pte_store(f->ptep, new_pte(f, page, true, (f->vma->prot & PROT_WRITE) != 0, true));
	run_add(f, page, FRAME_KEEP);
	run_served(f);
	fault_unlock(f);
	f->maps[0].result = machine->ops->frame_populate(machine, f->maps[0].pfn, 1);
	if (f->maps[0].result == 0) {
		memcpy(frame_bytes(f->pager, page), frame_bytes(f->pager, source), PAGE_BYTES);
		machine->ops->map(machine, f->maps, 1);
	}
	pager_lock(f->pager);
	page_unlock(f->pager, page);
	if (f->maps[0].result == 0) {
		pte_set_bits(f->ptep, PTE_VALID);
		return FAULT_DONE;
	}
	pte_store(f->ptep, f->pte);
	page_remove_rmap(page, find_vma(f->space, f->addr), f->addr);
	page_put(f->pager, page);
	return FAULT_OOM;
}

static bool pte_is_armed(pte_t pte)
{
	return pte_is_present(pte) && !pte_is_valid(pte);
}

/*
 * A touch of an armed page: where there is no accessed bit, this fault serves as one. The page is shown where it was.
 */
static int do_armed_page(struct fault *f)
{
	unsigned want = stream_around(f->vma, f->stream, f->index);

	if (!armed_add(f, f->ptep))
		return fault_wait_page(f, pfn_page(f->pager, pte_pfn(f->pte)));
	while (f->nr < want) {
		pte_slot_t *ptep = run_ptep(f, f->nr);

		if (!ptep || !pte_is_armed(pte_load(ptep)) || !armed_add(f, ptep))
			break;
	}
	run_served(f);
	run_map(f);
	f->pager->stats->armed_faults++;
	return run_finish(f);
}

/* ---- Classification -------------------------------------------------------------------------------------- */

static int check_vma(struct fault *f)
{
	f->vma = find_vma(f->space, f->addr);
	if (!f->vma || (f->vma->flags & VM_FOREIGN))
		return FAULT_SIGSEGV;
	if (f->vma->flags & VM_CHANGING) {
		wait_on_space(f->space, f->wait);
		return FAULT_WAIT;
	}
	if (!f->unshare && !(f->vma->prot & (f->write ? PROT_WRITE : PROT_READ | PROT_WRITE | PROT_EXEC)))
		return FAULT_SIGSEGV;
	return FAULT_DONE;
}

/* Meanwhile the page may have been written, swapped out or unmapped: then there is nothing to do. */
static int do_unshare(struct fault *f)
{
	if (!pte_is_present(f->pte) || (f->pte & PTE_ZERO) ||
		!page_stable_node(pfn_page(f->pager, pte_pfn(f->pte))))
		return FAULT_DONE;
	int result = do_wp_page(f);

	if (result == FAULT_DONE)
		f->pager->stats->unmerged++;
	return result;
}

static int handle_pte_fault(struct fault *f)
{
	if (f->unshare)
		return do_unshare(f);
	if (pte_is_swap(f->pte))
		return do_swap_page(f);
	if (pte_is_migration(f->pte)) /* the page is locked for as long as it moves */
		return fault_wait_page(f, pfn_page(f->pager, pte_pfn(f->pte)));
	if (pte_is_none(f->pte))
		return f->vma->file ? do_fault(f) : do_anonymous_page(f);
	if (pte_is_armed(f->pte))
		return do_armed_page(f);
	if (f->write && !(f->pte & PTE_WRITE) && f->pager->machine->ops->sees_write)
		return do_wp_page(f);
	pte_set_bits(f->ptep, PTE_ACCESSED); /* another thread's fault has been served in between */
	return FAULT_DONE;
}

static int fault_resolve(struct fault *f)
{
	if (f->pager->frozen) {
		wait_set(f->pager, f->wait, WAIT_SPACE, PFN_NONE);
		return FAULT_WAIT;
	}
	int result = check_vma(f);

	if (result != FAULT_DONE)
		return result;
	f->ptep = pgtable_make(f->pager, &f->space->pgtable, f->index);
	if (!f->ptep)
		return FAULT_OOM;
	f->pte = pte_load(f->ptep);
	f->stream = stream_for(f->vma, f->index);
	f->step = stream_step(f->stream);
	f->nr = 0;
	f->source = NULL;
	return handle_pte_fault(f);
}

/* No frame is free, or few are: this fault reclaims by itself. */
static int fault_find_frame(struct fault *f)
{
	struct page_head kept = TAILQ_HEAD_INITIALIZER(kept);
	bool keeps = f->source && isolate_lru_page(f->pager, f->source, &kept);
	int error = try_to_free_or_wait(f->pager, f->wait);

	f->reclaimed = true;
	if (keeps)
		putback_lru_page(f->pager, f->source, &kept);
	if (error == 0)
		return FAULT_RETRY;
	if (error == -EAGAIN)
		return FAULT_WAIT;
	f->pager->stats->oom++;
	return FAULT_OOM;
}

/* Set only the fields that are used: the array at the end is large. */
static void fault_init(struct fault *f, struct space *space, uint64_t addr, bool write, struct wait *wait)
{
	f->pager = space->pager;
	f->space = space;
	f->addr = page_align_down(addr);
	f->index = (uint32_t)space_index(space, f->addr);
	f->write = write;
	f->unshare = false;
	f->wait = wait;
	f->reclaimed = false;
}

static int fault_run(struct fault *f)
{
	int result;

	do {
		result = fault_resolve(f);
		if (result == FAULT_NO_FRAME)
			result = fault_find_frame(f);
	} while (result == FAULT_RETRY);
	return result;
}

enum fault_result break_ksm(struct space *space, uint64_t addr, struct wait *wait)
{
	struct fault f;

	fault_init(&f, space, addr, true, wait);
	f.unshare = true;
	return (enum fault_result)fault_run(&f);
}

/* The fault at @addr. => entered with the pager lock, left without it */
static enum fault_result fault_handle(
	struct pager *pager, struct space *space, uint64_t addr, enum access access, struct wait *wait)
{
	struct fault f;
	int result;

	fault_init(&f, space, addr, access == ACCESS_WRITE, wait);
	space->nr_faults++;
	result = fault_run(&f);
	if (--space->nr_faults == 0 && unlikely(space->exits))
		space_event(space);
	if (result == FAULT_DONE)
		pager->stats->faults++;
	pager_unlock(pager);
	return (enum fault_result)result;
}

/* No frame was to be had. Returns true if the machine has raised the limit, or hopes to: try again. */
static bool has_more(struct pager *pager, uint64_t addr)
{
	struct machine *machine = pager->machine;

	if (machine->ops->more && machine->ops->more(machine))
		return true;
	out_of_memory(pager, page_align_down(addr));
	return false;
}

enum fault_result handle_mm_fault(struct space *space, uint64_t addr, enum access access, struct wait *wait)
{
	struct pager *pager = space->pager;
	enum fault_result result;

	do {
		pager_lock(pager);
		result = fault_handle(pager, space, addr, access, wait);
	} while (unlikely(result == FAULT_OOM) && has_more(pager, addr));
	return result;
}

static enum fault_result fault_in(struct pager *pager, uint64_t addr, enum access access, struct wait *wait)
{
	pager_lock(pager);
	struct space *space = find_space(pager, addr);

	if (likely(space != NULL))
		return fault_handle(pager, space, addr, access, wait);
	pager_unlock(pager);
	return FAULT_SIGSEGV;
}

enum fault_result pager_fault(struct pager *pager, uint64_t addr, enum access access, struct wait *wait)
{
	enum fault_result result;

	do {
		result = fault_in(pager, addr, access, wait);
	} while (unlikely(result == FAULT_OOM) && has_more(pager, addr));
	return result;
}

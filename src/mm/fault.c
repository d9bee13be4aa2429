/* SPDX-License-Identifier: MIT */
/*
 * The trap: classify, then one handler per case.
 *
 *      PTE            access          handler                 LIFECYCLE
 *      none           any             do_anonymous_page       B1, B2
 *      zero page      write           do_wp_page              B3
 *      read-only      write           do_wp_page              B4
 *      armed          any             do_armed_page           4.1, on machines without accessed bits
 *      swap entry     any             do_swap_page            B8, section 5
 *
 * A handler that needs a frame and finds none says FAULT_NO_FRAME; one that meets a busy page says FAULT_WAIT.
 * Nothing is held then, and the fault is classified anew: whoever slept looks again.
 *
 * Handlers serve a run of pages where the stream of faults says so (readahead.h): all of them go to the machine in one
 * call, their pages locked, their PTEs present but not valid; nobody can come between.
 */
#include "mm/mm.h"

#include <string.h>
#include <sys/mman.h>

/* What a handler says besides enum fault_result. */
enum { FAULT_RETRY = 100, FAULT_NO_FRAME };

struct fault {
	struct pager *pager;
	struct space *space;
	struct vma *vma;
	uint64_t addr; /* of the page */
	uint32_t index; /* its number in the space */
	bool write;
	bool reclaimed; /* this fault has done its share of reclaim: it may go below the min watermark */
	pte_slot_t *ptep;
	pte_t pte;
	struct fault_stream *stream;
	struct wait *wait;

	/* The run that is being made visible. */
	unsigned nr;
	struct mapping maps[FAULT_AROUND];
};

/*
 * Below the min watermark a fault reclaims by itself before it takes a frame: once, and not where no slot is
 * free, since it would then look through all pages for nothing.
 */
static bool must_reclaim(const struct fault *f)
{
	return frames_below_min(f->pager) && !f->reclaimed && f->pager->slots_used < f->pager->slots_total;
}

static unsigned fault_frames(struct fault *f, unsigned want, struct page **first)
{
	return must_reclaim(f) ? 0 : frame_alloc_run(f->pager, want, first);
}

/* ---- Making a run of pages visible ----------------------------------------------------------- */

static pte_slot_t *run_ptep(struct fault *f, unsigned i)
{
	return pgtable_find(&f->space->pgtable, f->index + i);
}

static void run_add(struct fault *f, struct page *page, enum frame_content content)
{
	f->maps[f->nr] = (struct mapping){
		.space = f->space,
		.addr = f->addr + f->nr * PAGE_BYTES,
		.pfn = page_pfn(f->pager, page),
		.prot = (uint8_t)f->vma->prot,
		.content = (uint8_t)content,
	};
	f->nr++;
}

/* Drops the lock. => the run's pages are locked, their PTEs present and not valid */
static void run_map(struct fault *f)
{
	pager_unlock(f->pager);
	f->pager->machine->ops->map(f->pager->machine, f->maps, f->nr);
	pager_lock(f->pager);
}

/*
 * The pages that the machine shows are valid; those it could not show stay armed, and the next touch tries again.
 * Returns FAULT_OOM if that is the page that was asked for.
 */
static int run_finish(struct fault *f)
{
	for (unsigned i = 0; i < f->nr; i++) {
		if (f->maps[i].result == 0)
			pte_set_bits(run_ptep(f, i), PTE_VALID);
		page_unlock(f->pager, pfn_page(f->pager, f->maps[i].pfn));
	}
	stream_served(f->stream, f->index + f->nr);
	return f->maps[0].result == 0 ? FAULT_DONE : FAULT_OOM;
}

/* Only the page that was asked for counts as accessed. */
static pte_t new_pte(const struct fault *f, const struct page *page, bool asked_for, bool write, bool dirty)
{
	return pte_present(page_pfn(f->pager, page),
		(asked_for ? PTE_ACCESSED : 0) | (write ? PTE_WRITE : 0) | (dirty ? PTE_DIRTY : 0));
}

/* A page in a locked VMA belongs to the unevictable list from its first mapping on. */
static void lru_cache_add_vma(struct fault *f, struct page *page)
{
	if (f->vma->flags & VM_LOCKED) {
		page_clear(page, PG_active);
		page_set(page, PG_mlocked | PG_unevictable);
	}
	lru_cache_add(f->pager, page);
}

/* ---- Birth ------------------------------------------------------------------------------------ */

/* How many pages from here on are none, wanted, and in tables that exist or can be made. */
static unsigned births_wanted(struct fault *f)
{
	unsigned want = stream_around(f->vma, f->stream, f->index), n;

	for (n = 1; n < want; n++) {
		pte_slot_t *ptep = pgtable_make(f->pager, &f->space->pgtable, f->index + n);

		if (!ptep || !pte_is_none(pte_load(ptep)))
			break;
	}
	return n;
}

static void birth(struct fault *f, struct page *page, pte_slot_t *ptep)
{
	uint64_t addr = f->addr + f->nr * PAGE_BYTES;
	bool writable = (f->vma->prot & PROT_WRITE) != 0;

	page_trylock(f->pager, page);
	page_set(page, PG_uptodate | PG_swapbacked | PG_active);
	page_add_anon_rmap(page, f->vma, addr);
	lru_cache_add_vma(f, page);
	pte_store(ptep, new_pte(f, page, f->nr == 0, writable, true));
	run_add(f, page, FRAME_ZERO);
}

/* The machine had no memory for it: as if it had never been. */
static void unbirth(struct fault *f, struct page *page, pte_slot_t *ptep)
{
	pte_store(ptep, 0);
	page_remove_rmap(page);
	page_unlock(f->pager, page);
	page_put(f->pager, page);
}

static int births_finish(struct fault *f)
{
	int result = f->maps[0].result == 0 ? FAULT_DONE : FAULT_OOM;

	for (unsigned i = 0; i < f->nr; i++) {
		struct page *page = pfn_page(f->pager, f->maps[i].pfn);

		if (f->maps[i].result) {
			unbirth(f, page, run_ptep(f, i));
			continue;
		}
		pte_set_bits(run_ptep(f, i), PTE_VALID);
		page_unlock(f->pager, page);
		f->pager->stats->born++;
		page_step(f->pager, page, "do_anonymous_page", f->maps[i].addr);
	}
	stream_served(f->stream, f->index + f->nr);
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

/* B1, B2: the first touch of an anonymous page. */
static int do_anonymous_page(struct fault *f)
{
	struct page *first;

	if (!f->write && f->pager->zero_pfn != PFN_NONE && !(f->vma->flags & VM_LOCKED))
		return map_zero_page(f);
	if (anon_vma_prepare(f->pager, f->vma))
		return FAULT_OOM;
	unsigned got = fault_frames(f, births_wanted(f), &first);

	if (got == 0)
		return FAULT_NO_FRAME;
	for (unsigned i = 0; i < got; i++)
		birth(f, first + i, run_ptep(f, i));
	run_map(f);
	return births_finish(f);
}

/* ---- Write protection -------------------------------------------------------------------------- */

/* The new PTE is in place before the old page loses its mapping. */
static int wp_page_copy(struct fault *f, struct page *old)
{
	struct page *page;

	if (anon_vma_prepare(f->pager, f->vma))
		return FAULT_OOM;
	if (!fault_frames(f, 1, &page))
		return FAULT_NO_FRAME;
	page_trylock(f->pager, page);
	page_set(page, PG_uptodate | PG_swapbacked | PG_active);
	if (old)
		memcpy(frame_bytes(f->pager, page), frame_bytes(f->pager, old), PAGE_BYTES);
	run_add(f, page, old ? FRAME_KEEP : FRAME_ZERO);
	f->maps[0].result = 0;
	/* Machines that trap writes have flush(), and what map() does for them takes no time: no need to let go. */
	f->pager->machine->ops->map(f->pager->machine, f->maps, 1);
	page_add_anon_rmap(page, f->vma, f->addr);
	lru_cache_add_vma(f, page);
	pte_store(f->ptep, new_pte(f, page, true, true, true) | PTE_VALID);
	f->pager->machine->ops->flush(f->pager->machine, f->space, f->addr);
	f->pager->stats->copied += old != NULL;
	f->pager->stats->born += old == NULL;
	page_unlock(f->pager, page);
	page_step(f->pager, page, "do_wp_page", f->addr);
	if (old) {
		page_remove_rmap(old);
		page_unlock(f->pager, old);
		page_put(f->pager, old);
	}
	return FAULT_DONE;
}

static int wp_page_reuse(struct fault *f, struct page *page)
{
	pte_set_bits(f->ptep, PTE_WRITE | PTE_DIRTY | PTE_ACCESSED | PTE_VALID);
	f->pager->machine->ops->flush(f->pager->machine, f->space, f->addr);
	page_unlock(f->pager, page);
	page_step(f->pager, page, "do_wp_page", f->addr);
	return FAULT_DONE;
}

/* B3, B4: a write through a PTE that forbids it, in a VMA that allows it. */
static int do_wp_page(struct fault *f)
{
	if (f->pte & PTE_ZERO)
		return wp_page_copy(f, NULL);
	struct page *page = pfn_page(f->pager, pte_pfn(f->pte));

	if (!page_trylock(f->pager, page)) {
		wait_on_page(f->pager, page, WAIT_PAGE, f->wait);
		return FAULT_WAIT;
	}
	if (reuse_swap_page(f->pager, page, 0))
		return wp_page_reuse(f, page);
	int result = wp_page_copy(f, page);

	if (result != FAULT_DONE)
		page_unlock(f->pager, page);
	return result;
}

/* ---- Touches of armed pages ------------------------------------------------------------------------ */

/* Take an armed page into the run. false: it is busy. */
static bool armed_add(struct fault *f, pte_slot_t *ptep)
{
	struct page *page = pfn_page(f->pager, pte_pfn(pte_load(ptep)));

	if (!page_trylock(f->pager, page))
		return false;
	if (f->nr == 0)
		pte_set_bits(ptep, PTE_ACCESSED | (f->write ? PTE_DIRTY : 0));
	run_add(f, page, FRAME_KEEP);
	return true;
}

static bool pte_is_armed(pte_t pte)
{
	return pte_is_present(pte) && !pte_is_valid(pte);
}

/* The accessed bit of machines that have none. The page is where it was: it is shown again, and was used. */
static int do_armed_page(struct fault *f)
{
	unsigned want = stream_around(f->vma, f->stream, f->index);

	if (!armed_add(f, f->ptep)) {
		wait_on_page(f->pager, pfn_page(f->pager, pte_pfn(f->pte)), WAIT_PAGE, f->wait);
		return FAULT_WAIT;
	}
	while (f->nr < want) {
		pte_slot_t *ptep = run_ptep(f, f->nr);

		if (!ptep || !pte_is_armed(pte_load(ptep)) || !armed_add(f, ptep))
			break;
	}
	run_map(f);
	f->pager->stats->armed_faults++;
	return run_finish(f);
}

/* ---- Swap-in ------------------------------------------------------------------------------------------ */

/* The cached page for @entry if it can be mapped now: read, unlocked, and not on its way out where that matters. */
static struct page *mappable(struct fault *f, swp_entry_t entry)
{
	struct page *page = lookup_swap_cache(f->pager, entry);

	if (!page || !page_has(page, PG_uptodate) || page_has(page, PG_locked))
		return NULL;
	/* A machine that moves frames cannot show one that a device is reading from. */
	if (page_has(page, PG_writeback) && !f->pager->machine->ops->sees_write)
		return NULL;
	return page;
}

static bool must_leave_cache(struct fault *f, struct page *page, bool write)
{
	return write || vm_swap_full(f->pager) || !slot_writable(f->pager, word_entry(page->private));
}

/*
 * One page from the swap cache into the run: the PTE's entry becomes the page, the slot's count drops.
 * Whether the page may be reused is decided before that.
 */
static void swap_add(struct fault *f, struct page *page, pte_slot_t *ptep)
{
	swp_entry_t entry = pte_entry(pte_load(ptep));
	bool asked_for = f->nr == 0;
	bool write = asked_for && f->write;
	bool own = false;

	page_trylock(f->pager, page);
	if (page_has(page, PG_readahead)) {
		page_clear(page, PG_readahead);
		f->pager->stats->readahead_hits++;
	}
	page_get(page); /* before the cache's reference may go */
	if (anon_vma_prepare(f->pager, f->vma) == 0 && must_leave_cache(f, page, write))
		own = reuse_swap_page(f->pager, page, 1);
	page_add_anon_rmap(page, f->vma, f->addr + f->nr * PAGE_BYTES);
	pte_store(ptep, new_pte(f, page, asked_for, own && (f->vma->prot & PROT_WRITE), write));
	swap_free(f->pager, entry);
	if ((f->vma->flags & VM_LOCKED) && !page_has(page, PG_mlocked)) {
		page_clear(page, PG_active);
		page_set(page, PG_mlocked | PG_unevictable);
		lru_requeue(f->pager, page);
	}
	run_add(f, page, FRAME_KEEP);
}

/* Map the cached page, and those behind it that readahead has brought. */
static int swap_map(struct fault *f, struct page *page)
{
	unsigned want = stream_around(f->vma, f->stream, f->index);
	struct plug plug;

	if (anon_vma_prepare(f->pager, f->vma))
		return FAULT_OOM;
	swap_add(f, page, f->ptep);
	while (f->nr < want) {
		pte_slot_t *ptep = run_ptep(f, f->nr);

		if (!ptep || !pte_is_swap(pte_load(ptep)))
			break;
		page = mappable(f, pte_entry(pte_load(ptep)));
		if (!page)
			break;
		swap_add(f, page, ptep);
	}
	/* Have the device at work on what follows before the program is let go. */
	plug_init(&plug);
	swapin_ahead(f->pager, f->vma, f->stream, f->index + f->nr, &plug);
	plug_submit(f->pager, &plug);
	run_map(f);
	int result = run_finish(f);

	for (unsigned i = 0; i < f->nr; i++)
		page_step(f->pager, pfn_page(f->pager, f->maps[i].pfn), "do_swap_page", f->maps[i].addr);
	return result;
}

/* The page has to be read: ask for it, and wait for it. Exactly one asks. */
static int swap_read(struct fault *f, swp_entry_t entry)
{
	struct plug plug;

	if (must_reclaim(f))
		return FAULT_NO_FRAME;
	plug_init(&plug);
	int error = swapin_readahead(f->pager, f->vma, f->stream, f->index, &plug);

	if (error == -ENOMEM)
		return FAULT_NO_FRAME;
	f->pager->stats->major_faults++;
	if (error) { /* no request is free: after any has ended */
		wait_set(f->pager, f->wait, WAIT_FRAMES, PFN_NONE);
		return FAULT_WAIT;
	}
	plug_submit(f->pager, &plug);
	struct page *page = lookup_swap_cache(f->pager, entry);

	if (page && page_has(page, PG_locked)) {
		wait_on_page(f->pager, page, WAIT_PAGE, f->wait);
		return FAULT_WAIT;
	}
	return FAULT_RETRY; /* the device was ready at once */
}

/* B8: the PTE is not present but not empty. */
static int do_swap_page(struct fault *f)
{
	swp_entry_t entry = pte_entry(f->pte);
	struct page *page = lookup_swap_cache(f->pager, entry);

	if (swap_slot(f->pager, entry)->flags & SLOT_POISONED)
		return FAULT_SIGBUS;
	if (!page)
		return swap_read(f, entry);
	if (!mappable(f, entry)) {
		wait_on_page(f->pager, page, page_has(page, PG_locked) ? WAIT_PAGE : WAIT_WRITE, f->wait);
		return FAULT_WAIT;
	}
	return swap_map(f, page);
}

/* ---- Classification -------------------------------------------------------------------------------------- */

static int check_vma(struct fault *f)
{
	f->vma = find_vma(f->space, f->addr);
	if (!f->vma || (f->vma->flags & VM_FOREIGN))
		return FAULT_SIGSEGV;
	if (f->vma->flags & VM_CHANGING) {
		wait_set(f->pager, f->wait, WAIT_SPACE, PFN_NONE);
		return FAULT_WAIT;
	}
	if (!(f->vma->prot & (f->write ? PROT_WRITE : PROT_READ | PROT_WRITE | PROT_EXEC)))
		return FAULT_SIGSEGV;
	return FAULT_DONE;
}

static int handle_pte_fault(struct fault *f)
{
	if (pte_is_swap(f->pte))
		return do_swap_page(f);
	if (pte_is_none(f->pte))
		return do_anonymous_page(f);
	if (pte_is_armed(f->pte))
		return do_armed_page(f);
	if (f->write && !(f->pte & PTE_WRITE) && f->pager->machine->ops->sees_write)
		return do_wp_page(f);
	pte_set_bits(f->ptep, PTE_ACCESSED); /* another thread's fault was served in between */
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
	f->nr = 0;
	return handle_pte_fault(f);
}

/* No frame was free, or few are: reclaim by ourselves. */
static int fault_find_frame(struct fault *f)
{
	f->reclaimed = true;
	switch (try_to_free_pages(f->pager)) {
	case RECLAIM_FREED:
		return FAULT_RETRY;
	case RECLAIM_WAIT:
		f->pager->frame_waiters = true;
		wait_set(f->pager, f->wait, WAIT_FRAMES, PFN_NONE);
		return FAULT_WAIT;
	case RECLAIM_NOTHING:
		break;
	}
	f->pager->stats->oom++;
	return FAULT_OOM;
}

enum fault_result handle_mm_fault(struct space *space, uint64_t addr, enum access access, struct wait *wait)
{
	struct pager *pager = space->pager;
	struct fault f; /* its array is large: only what is used gets set */
	int result;

	f.pager = pager;
	f.space = space;
	f.addr = page_align_down(addr);
	f.index = (uint32_t)space_index(space, f.addr);
	f.write = access == ACCESS_WRITE;
	f.wait = wait;
	f.reclaimed = false;
	pager_lock(pager);
	do {
		result = fault_resolve(&f);
		if (result == FAULT_NO_FRAME)
			result = fault_find_frame(&f);
	} while (result == FAULT_RETRY);
	if (result == FAULT_DONE)
		pager->stats->faults++;
	pager_unlock(pager);
	return (enum fault_result)result;
}

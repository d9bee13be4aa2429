/* SPDX-License-Identifier: MIT */
/* LIFECYCLE B8: the PTE is a swap entry. */
#include "mm/fault/fault.h"

#include <sys/mman.h>

/*
 * Must a page not be mapped while it is being written? A machine that moves frames cannot show a frame that a device is
 * reading from, and some devices need content that does not change.
 */
static bool must_be_stable(struct pager *pager, swp_entry_t entry)
{
	return !pager->machine->ops->sees_write || pager->areas[entry.type].dev->stable_writes;
}

/*
 * The cached page for @entry, if it can be mapped now: it is read, unlocked, and not being written where that matters.
 */
static struct page *mappable(struct fault *f, swp_entry_t entry)
{
	struct page *page = lookup_swap_cache(f->pager, entry);

	if (!page || !page_has(page, PG_uptodate) || page_has(page, PG_locked))
		return NULL;
	if (page_has(page, PG_writeback) && must_be_stable(f->pager, entry))
		return NULL;
	return page;
}

/* The PTE gets a page of its own, with the content of the cached page, and gives up its entry. */
static int swap_copy(struct fault *f, struct page *cached, swp_entry_t entry)
{
	struct page *page;

	if (!fault_frame_for_copy(f, cached, &page))
		return FAULT_NO_FRAME;
	page_trylock(f->pager, cached);
	readahead_hit(f->pager, cached);
	int result = fault_copy(f, page, cached);

	page_unlock(f->pager, cached);
	if (result != FAULT_DONE)
		return result;
	page_set(page, PG_dirty); /* no device holds this page's content */
	f->pager->stats->copied++;
	f->pager->stats->copied_early += !f->pager->machine->ops->can_share;
	page_step(f->pager, page, "do_swap_page", f->addr);
	free_swap_and_cache(f->pager, entry);
	return FAULT_DONE;
}

/*
 * Must the page give up its slot? A page of locked memory will not leave memory soon, so a slot is of no use to it. A
 * slot that cannot get the page's content is of no use either: without it the page may go to another device.
 */
static bool must_leave_cache(struct fault *f, struct page *page, bool write)
{
	return write || (f->vma->flags & VM_LOCKED) || vm_swap_full(f->pager) ||
	       !slot_has_room(f->pager, word_entry(page->private));
}

/*
 * Was the page on its way out when the program wanted it? With an accessed bit, reclaim sees that at its next look.
 * Without one, the page would stay at the tail of its list, where the end of its write has put it, and would be the
 * first to go again. So the caller moves such a page to the head.
 */
static bool was_going(struct fault *f, const struct page *page)
{
	return !f->pager->machine->ops->sees_access &&
	       !page_has_any(page, PG_fresh | PG_active | PG_unevictable);
}

/*
 * Pages of locked memory are unevictable. Pages that are read in order stay on the inactive list, where they end soon.
 */
static void choose_list(struct fault *f, struct page *page, bool back)
{
	if (f->vma->flags & VM_LOCKED)
		page_mlock(f->pager, page);
	if (page_has(page, PG_unevictable))
		return;
	if ((f->vma->flags & VM_SEQ_READ) && page_has(page, PG_active))
		page_clear(page, PG_active);
	else if (!back)
		return;
	lru_requeue(f->pager, page);
}

/*
 * Take one page from the swap cache into the run. Its PTE comes to map the page, and the slot's count drops. Before
 * that it is decided whether the page may be written.
 */
static void swap_add(struct fault *f, struct page *page, pte_slot_t *ptep)
{
	swp_entry_t entry = pte_entry(pte_load(ptep));
	bool asked_for = f->nr == 0;
	bool write = asked_for && f->write;
	bool sees_write = f->pager->machine->ops->sees_write;
	bool others = swap_slot(f->pager, entry)->count > 1;
	bool own = false, back = was_going(f, page);

	page_trylock(f->pager, page);
	readahead_hit(f->pager, page);
	page_get(page); /* before the cache's reference may go */
	if (must_leave_cache(f, page, write))
		own = reuse_swap_page(f->pager, page, 1);
	page_add_anon_rmap(page, f->vma, run_addr(f, f->nr), !others);
	pte_store(ptep, new_pte(f, page, asked_for, own && (f->vma->prot & PROT_WRITE),
				write && (own || !sees_write)));
	page_step(f->pager, page, "page_add_anon_rmap", run_addr(f, f->nr));
	swap_free(f->pager, entry);
	page_step(f->pager, page, "swap_free", run_addr(f, f->nr));
	if (!slot_has_room(f->pager, entry))
		try_to_free_swap(f->pager, page);
	choose_list(f, page, back);
	run_add(f, page, FRAME_KEEP);
}

/* Map the cached page, and those after it in the stream that readahead has brought. */
static int swap_map(struct fault *f, struct page *page)
{
	unsigned want = stream_around(f->vma, f->stream, f->index);
	struct plug plug;

	swap_add(f, page, f->ptep);
	while (f->nr < want) {
		pte_slot_t *ptep = run_ptep(f, f->nr);

		if (!ptep || !pte_is_swap(pte_load(ptep)))
			break;
		swp_entry_t entry = pte_entry(pte_load(ptep));

		page = mappable(f, entry);
		if (!page || swap_must_copy(f->pager, page, f->vma, run_addr(f, f->nr)))
			break;
		swap_add(f, page, ptep);
	}
	run_served(f);
	/* Start the reads of what follows before the program goes on. */
	plug_init(&plug);
	swapin_ahead(f->pager, f->vma, f->stream, &plug);
	plug_submit(f->pager, &plug);
	run_map(f);
	int result = run_finish(f);

	for (unsigned i = 0; i < f->nr; i++)
		page_step(f->pager, pfn_page(f->pager, f->maps[i].pfn), "do_swap_page", f->maps[i].addr);
	return result;
}

int fault_read_swap(struct fault *f, swp_entry_t entry)
{
	struct plug plug;

	if (fault_must_reclaim(f))
		return FAULT_NO_FRAME;
	plug_init(&plug);
	int error = swapin_readahead(f->pager, f->vma, f->stream, f->index, entry, &plug);

	if (error == -ENOMEM)
		return FAULT_NO_FRAME;
	f->pager->stats->major_faults++;
	if (error) { /* no request is free: wait until one has ended */
		wait_set(f->pager, f->wait, WAIT_FRAMES, PFN_NONE);
		return FAULT_WAIT;
	}
	plug_alone(f->pager, &plug);
	plug_submit(f->pager, &plug);
	/* The lock was dropped: a swapoff may have ended, and then the entry names no slot. */
	struct page *page = swap_entry_exists(f->pager, entry) ? lookup_swap_cache(f->pager, entry) : NULL;

	if (page && page_has(page, PG_locked))
		return fault_wait_page(f, page);
	if (!page && plug.starved)
		return FAULT_OOM;
	return FAULT_RETRY; /* the device was ready at once, or the page must be read by itself */
}

int do_swap_page(struct fault *f)
{
	swp_entry_t entry = pte_entry(f->pte);
	struct page *page = lookup_swap_cache(f->pager, entry);

	if (swap_slot(f->pager, entry)->flags & SLOT_POISONED)
		return FAULT_SIGBUS;
	if (!page)
		return fault_read_swap(f, entry);
	if (!mappable(f, entry)) {
		wait_on_page(f->pager, page, page_has(page, PG_locked) ? WAIT_PAGE : WAIT_WRITE, f->wait);
		return FAULT_WAIT;
	}
	if (anon_vma_prepare(f->pager, f->vma))
		return FAULT_OOM;
	return swap_must_copy(f->pager, page, f->vma, f->addr) ? swap_copy(f, page, entry)
							       : swap_map(f, page);
}

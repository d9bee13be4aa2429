/* SPDX-License-Identifier: MIT */
/*
 * What a program can ask of memory that it has: mprotect, mremap, madvise, mlock.
 *
 * All of them are entered with the space locked, and may be called again after -EAGAIN.
 */
#define _GNU_SOURCE
#include "mm/mm.h"

#include <sys/mman.h>

#ifndef MADV_COLD
#define MADV_COLD 20
#define MADV_PAGEOUT 21
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

/* ---- mprotect ----------------------------------------------------------------------------- */

/*
 * Give one VMA other rights. Its pages are hidden, and come back with the new rights when they are touched. Drops the
 * lock.
 */
static int vma_protect(struct vma *vma, int prot, struct wait *wait)
{
	struct space *space = vma->space;
	struct pager *pager = space->pager;
	uint64_t start = vma->start, end = vma->end;
	int error;

	if (vma->prot == prot)
		return 0;
	vma->flags |= VM_CHANGING;
	error = hide_range(space, start, end, wait);
	if (error == -EBUSY)
		range_set_changing(space, start, end, false);
	if (error)
		return error;
	if (pager->machine->ops->region_protect) {
		pager_unlock(pager);
		error = pager->machine->ops->region_protect(pager->machine, space, start, end, prot);
		pager_lock(pager);
	}
	if (!error) {
		atomic_fetch_add(&space->changes, 1);
		vma->prot = prot;
	}
	range_set_changing(space, start, end, false);
	return error;
}

/* Private locked memory becomes writable: make its copies now, as mlock() would. Drops the lock. */
static int populate_locked(struct space *space, uint64_t end, struct wait *wait);

static bool is_private_locked(const struct vma *vma)
{
	return (vma->flags & (VM_LOCKED | VM_SHARED | VM_FOREIGN)) == VM_LOCKED;
}

static bool locked_gains_write(struct space *space, uint64_t start, uint64_t end, int prot)
{
	for (struct vma *vma = find_vma_from(space, start); vma && vma->start < end; vma = vma_next(vma))
		if (is_private_locked(vma) && (prot & ~vma->prot & PROT_WRITE))
			return true;
	return false;
}

int space_mprotect(struct space *space, uint64_t addr, uint64_t len, int prot, struct wait *wait)
{
	int error = range_check(space, addr, &len);
	uint64_t end = addr + len;

	if (error)
		return error;
	pager_lock(space->pager);
	error = range_is_mapped(space, addr, end) ? vma_split_range(space, addr, end) : -ENOMEM;
	if (!error && locked_gains_write(space, addr, end, prot))
		space->populated_to = addr;
	for (struct vma *vma = find_vma_from(space, addr); !error && vma && vma->start < end;
		vma = vma_next(vma))
		error = vma_protect(vma, prot, wait);
	if (!error && space->populated_to)
		error = populate_locked(space, end, wait);
	if (error != -EAGAIN)
		space->populated_to = 0;
	if (error != -EAGAIN)
		vma_merge_range(space, addr, end);
	pager_unlock(space->pager);
	return error;
}

/* ---- mremap --------------------------------------------------------------------------------- */

/*
 * May @nr more pages be locked? At most half of the frames that devices do not hold, because devices cannot give theirs
 * back for that. A page counts from the call that locks it, in memory or not: a PROT_NONE page may have to come in
 * later.
 */
static bool may_lock(const struct pager *pager, uint64_t nr)
{
	return nr == 0 || pager->nr_mlocked + nr + pager->nr_lent / 2 <= pager->nr_limit / 2;
}

/* What a locked VMA gains is locked, too, so the limit of mlock holds here as well. */
static bool may_grow(struct space *space, uint64_t addr, uint64_t old_len, uint64_t new_len)
{
	return new_len <= old_len || !(find_vma(space, addr)->flags & VM_LOCKED) ||
	       may_lock(space->pager, (new_len - old_len) >> PAGE_SHIFT);
}

/* Make tables for all words that will be moved: this can fail, so it comes before what cannot be undone. */
static int make_page_tables(struct space *space, uint64_t from, uint64_t to, uint64_t len)
{
	uint64_t index = space_index(space, from), end = space_index(space, from + len);
	uint64_t shift = space_index(space, to) - index;

	for (; space_next(space, index, end, &index); index++)
		if (!pgtable_make(space->pager, &space->pgtable, index + shift))
			return -ENOMEM;
	return 0;
}

/*
 * Move PTE words to another place. The pages are hidden, so no address shows them. Drops the lock: faults wait, and the
 * reverse map asks both VMAs, so it finds each word at the old place or at the new one. => tables are made
 */
static void move_page_tables(struct space *space, uint64_t from, uint64_t to, uint64_t len)
{
	uint64_t index = space_index(space, from), end = space_index(space, from + len);
	uint64_t shift = space_index(space, to) - index;
	pte_slot_t *ptep;

	for (; (ptep = space_next(space, index, end, &index)) != NULL; index++) {
		pte_store(pgtable_find(&space->pgtable, index + shift), pte_load(ptep));
		pte_store(ptep, 0);
		ksm_move(space, index, index + shift, 1);
	}
	ksm_move(space, space_index(space, from), space_index(space, to), end - space_index(space, from));
}

static bool same_vma_covers(struct space *space, uint64_t addr, uint64_t len)
{
	struct vma *vma = find_vma(space, addr);

	return vma && !(vma->flags & VM_FOREIGN) && vma->end >= addr + len;
}

/* Make the VMA at the new place: it has the same pages, so the same page indexes and anon_vmas. Drops the lock. */
static int copy_vma(struct space *space, struct vma *old, uint64_t to, uint64_t len)
{
	struct pager *pager = space->pager;
	struct vma like = *old;
	int prot = old->prot;
	int error;

	like.end = to + len;
	like.flags |= VM_CHANGING;
	struct vma *vma = vma_insert(space, to, &like);

	if (!vma)
		return -ENOMEM;
	error = anon_vma_clone(pager, vma, old);
	if (!error && pager->machine->ops->region_map) {
		pager_unlock(pager);
		error = pager->machine->ops->region_map(pager->machine, space, to, to + len, prot);
		pager_lock(pager);
	}
	if (error)
		vma_unmake(vma);
	return error;
}

/* Nothing was moved: unmap the new place; the old one is as it was. Returns @error. */
static int move_undo(struct space *space, uint64_t from, uint64_t end, uint64_t new_len, int error)
{
	unmap_region(space, space->moving_to, space->moving_to + new_len, &(struct wait){0});
	range_set_changing(space, from, end, false);
	vma_merge_range(space, from, end);
	space->moving_to = 0;
	return error;
}

/*
 * mremap to another place. The steps can be repeated: the first one sets space->moving_to, and the last one sets *to.
 * What does not fit at the new place ends. Drops the lock.
 */
static int move_vma(struct space *space, uint64_t from, uint64_t old_len, uint64_t *to, uint64_t new_len,
	struct wait *wait)
{
	uint64_t moved = min_u64(old_len, new_len), end = from + old_len;
	int error = 0;

	if (!space->moving_to) {
		error = vma_split_range(space, from, end);
		if (error)
			return error;
		/*
		 * This must come first. A fault in between could be the first one of the old VMA, and would give it an
		 * anon_vma that the new VMA does not have.
		 */
		range_set_changing(space, from, end, true);
		error = copy_vma(space, find_vma(space, from), *to, new_len);
		if (error) {
			range_set_changing(space, from, end, false);
			vma_merge_range(space, from, end);
			return error;
		}
		space->moving_to = *to;
	}
	range_set_changing(space, from, end, true);
	error = hide_range(space, from, from + moved, wait);
	if (error == -EBUSY)
		return move_undo(space, from, end, new_len, error);
	if (error)
		return error;
	error = make_page_tables(space, from, space->moving_to, moved);
	if (error)
		return move_undo(space, from, end, new_len, error);
	error = unmap_vmas(space, from + moved, end, wait);
	if (error)
		return error;
	/*
	 * The pages are hidden, and no fault can come in between, because of VM_CHANGING. Only reclaim may have one
	 * locked, and it finds the page by its index in the VMA where the PTE is.
	 */
	move_page_tables(space, from, space->moving_to, moved);
	*to = space->moving_to;
	space->moving_to = 0;
	range_set_changing(space, *to, *to + new_len, false);
	/* no PTE is left there, so this does not have to wait */
	error = unmap_region(space, from, end, wait);
	vma_merge_range(space, *to, *to + new_len);
	return error;
}

/*
 * Does one VMA cover the old range? Or did one, and this is a repeated call whose first call has begun to unmap the
 * end?
 */
static bool same_vma_covered(struct space *space, uint64_t addr, uint64_t old_len, uint64_t new_len)
{
	if (same_vma_covers(space, addr, old_len))
		return true;
	return new_len < old_len && same_vma_covers(space, addr, new_len) &&
	       same_vma_covers(space, addr + new_len, old_len - new_len) &&
	       (find_vma(space, addr + new_len)->flags & VM_CHANGING);
}

static bool can_grow(struct space *space, uint64_t addr, uint64_t old_len, uint64_t new_len)
{
	struct vma *vma = find_vma(space, addr);
	struct vma *next = vma_next(vma);

	return vma->end == addr + old_len && addr + new_len <= space->base + space->bytes &&
	       (!next || next->start >= addr + new_len);
}

/* Drops the lock. */
static int grow_vma(struct space *space, uint64_t addr, uint64_t old_len, uint64_t new_len)
{
	struct pager *pager = space->pager;
	struct vma *vma = find_vma(space, addr);
	uint64_t from = addr + old_len, to = addr + new_len;
	struct vma like = *vma;
	int error = 0;

	like.end = to;
	like.pgoff = vma_page_index(vma, from);
	like.flags |= VM_CHANGING;
	struct vma *more = vma_insert(space, from, &like);

	if (!more)
		return -ENOMEM;
	if (pager->machine->ops->region_map) {
		pager_unlock(pager);
		error = pager->machine->ops->region_map(pager->machine, space, from, to, more->prot);
		pager_lock(pager);
	}
	if (error) {
		vma_unmake(more);
		return error;
	}
	range_set_changing(space, from, to, false);
	vma_merge_range(space, addr, to);
	return 0;
}

static int remap_locked(struct space *space, uint64_t *addr, uint64_t old_len, uint64_t new_len, int flags,
	uint64_t new_addr, struct wait *wait)
{
	uint64_t to = new_addr;
	int error;

	if (space->moving_to) /* this is a repeated call */
		return move_vma(space, *addr, old_len, addr, new_len, wait);
	if (!same_vma_covered(space, *addr, old_len, new_len))
		return -EFAULT;
	if (!may_grow(space, *addr, old_len, new_len))
		return -ENOMEM;
	if (flags & MREMAP_FIXED) {
		if (to < *addr + old_len && *addr < to + new_len)
			return -EINVAL;
		error = unmap_region(space, to, to + new_len, wait);
		if (error)
			return error;
	} else if (new_len <= old_len) {
		return new_len < old_len ? unmap_region(space, *addr + new_len, *addr + old_len, wait) : 0;
	} else if (can_grow(space, *addr, old_len, new_len)) {
		return grow_vma(space, *addr, old_len, new_len);
	} else if (!(flags & MREMAP_MAYMOVE) || !(to = find_hole(space, new_len))) {
		return -ENOMEM;
	}
	error = move_vma(space, *addr, old_len, &to, new_len, wait);
	if (!error)
		*addr = to;
	return error;
}

int space_mremap(struct space *space, uint64_t *addr, uint64_t old_len, uint64_t new_len, int flags,
	uint64_t new_addr, struct wait *wait)
{
	int error = range_check(space, *addr, &old_len);

	if (error)
		return error;
	if (new_len == 0 || page_align_up(new_len) < new_len || (flags & ~(MREMAP_MAYMOVE | MREMAP_FIXED)))
		return -EINVAL;
	new_len = page_align_up(new_len);
	if (new_len > space->bytes)
		return -ENOMEM;
	if ((flags & MREMAP_FIXED) && (!(flags & MREMAP_MAYMOVE) || range_check(space, new_addr, &new_len)))
		return -EINVAL;
	pager_lock(space->pager);
	error = remap_locked(space, addr, old_len, new_len, flags, new_addr, wait);
	pager_unlock(space->pager);
	return error;
}

/* ---- madvise ------------------------------------------------------------------------------------ */

/* Isolate pages of [index, end) for the advice, up to a batch, or what is near. *index becomes the page where it stopped. */
static void isolate_range(struct space *space, uint64_t *index, uint64_t end, struct page_head *list)
{
	pte_slot_t *ptep;
	unsigned nr = 0, steps = WALK_STEPS;

	while (nr < SWAP_CLUSTER_MAX &&
		(ptep = pgtable_next_near(&space->pgtable, *index, end, &steps, index)) != NULL) {
		pte_t pte = pte_load(ptep);

		(*index)++;
		if (!pte_is_present(pte) || (pte & PTE_ZERO))
			continue;
		struct page *page = pfn_page(space->pager, pte_pfn(pte));

		/* A page that others map, too, is not for one program to judge. */
		if (page->_mapcount == 0 && !page_has(page, PG_unevictable) &&
			isolate_lru_page(space->pager, page, list))
			nr++;
	}
}

static void advise_reclaim(struct space *space, uint64_t start, uint64_t end, bool pageout)
{
	uint64_t index = space_index(space, start), last = space_index(space, end);

	while (index < last) {
		struct page_head list = TAILQ_HEAD_INITIALIZER(list);

		isolate_range(space, &index, last, &list);
		if (pageout)
			reclaim_pages(space->pager, &list);
		else
			deactivate_pages(space->pager, &list);
		walk_rest_now(space->pager); /* nothing is isolated now */
	}
}

static void advise_willneed(struct space *space, uint64_t start, uint64_t end)
{
	for (struct vma *vma = find_vma_from(space, start); vma && vma->start < end; vma = vma_next(vma))
		swapin_willneed(space->pager, vma, (uint32_t)space_index(space, max_u64(start, vma->start)),
			(uint32_t)space_index(space, min_u64(end, vma->end)));
}

enum populate { POPULATE_READ, POPULATE_WRITE, POPULATE_LOCK };

/* To lock private memory is to write to it: otherwise a copy would be made later, which would not be locked. */
static bool populate_writes(struct space *space, uint64_t addr, enum populate how)
{
	const struct vma *vma = how == POPULATE_LOCK ? find_vma(space, addr) : NULL;

	return how == POPULATE_WRITE || (vma && (vma->prot & PROT_WRITE) && !(vma->flags & VM_SHARED));
}

/* Is the page as if it had been touched, or written? A write to a page that MADV_FREE gave up keeps the page. */
static bool is_populated(struct space *space, uint64_t addr, bool write)
{
	pte_slot_t *ptep = pgtable_find(&space->pgtable, space_index(space, addr));
	pte_t pte = ptep ? pte_load(ptep) : 0;

	if (!pte_is_valid(pte))
		return false;
	if (!write || !space->pager->machine->ops->sees_write)
		return true;
	if (pte & PTE_WRITE)
		pte_set_bits(ptep, PTE_DIRTY | PTE_ACCESSED);
	return pte & PTE_WRITE;
}

/* Fault in the pages that are not there yet; *addr becomes the page where it stopped. Drops the lock. */
static int populate(struct space *space, uint64_t *addr, uint64_t end, enum populate how, struct wait *wait)
{
	struct pager *pager = space->pager;

	while (*addr < end) {
		walk_rest(pager);
		bool write = populate_writes(space, *addr, how);

		if (is_populated(space, *addr, write)) {
			*addr += PAGE_BYTES;
			continue;
		}
		pager_unlock(pager);
		enum fault_result result =
			handle_mm_fault(space, *addr, write ? ACCESS_WRITE : ACCESS_READ, wait);

		pager_lock(pager);
		switch (result) {
		case FAULT_DONE: /* perhaps the page was only swapped in, and must be copied next */
			break;
		case FAULT_WAIT:
			return -EAGAIN;
		case FAULT_OOM:
			return -ENOMEM;
		case FAULT_SIGBUS:
			return -EFAULT;
		case FAULT_SIGSEGV:
			return -EINVAL;
		}
	}
	return 0;
}

/*
 * A repeated call goes on where the last one stopped. If frames are few, the first pages have left memory again by
 * then, so a call that started over would never reach the end.
 */
static int advise_populate(
	struct space *space, uint64_t start, uint64_t end, enum populate how, struct wait *wait)
{
	uint64_t from = max_u64(start, space->populated_to);
	int error = populate(space, &from, end, how, wait);

	space->populated_to = error == -EAGAIN ? from : 0;
	return error;
}

static int populate_locked(struct space *space, uint64_t end, struct wait *wait)
{
	struct vma *vma = find_vma_from(space, space->populated_to);
	int error = 0;

	for (; vma && vma->start < end && error != -EAGAIN; vma = vma_next(vma)) {
		uint64_t from = max_u64(space->populated_to, vma->start);

		if (is_private_locked(vma))
			error = populate(space, &from, min_u64(end, vma->end), POPULATE_LOCK, wait);
		space->populated_to = from;
	}
	return error == -EAGAIN ? error : 0; /* a page that cannot be had now will fault later */
}

static int set_read_flags(struct space *space, uint64_t start, uint64_t end, uint32_t flags)
{
	int error = vma_split_range(space, start, end);

	if (error)
		return error;
	for (struct vma *vma = find_vma_from(space, start); vma && vma->start < end; vma = vma_next(vma))
		vma->flags = (vma->flags & ~(uint32_t)(VM_SEQ_READ | VM_RAND_READ)) | flags;
	vma_merge_range(space, start, end);
	return 0;
}

/* Advice that locked memory should go is an error, as on Linux. */
static bool range_is_locked(struct space *space, uint64_t start, uint64_t end)
{
	for (struct vma *vma = find_vma_from(space, start); vma && vma->start < end; vma = vma_next(vma))
		if (vma->flags & VM_LOCKED)
			return true;
	return false;
}

static int advise_dontneed(struct space *space, uint64_t start, uint64_t end, struct wait *wait)
{
	return range_is_locked(space, start, end) ? -EINVAL : unmap_vmas(space, start, end, wait);
}

/*
 * The page may be dropped at any time, unless it is written before that. Until then it is on the lists of file pages.
 */
static void mark_lazyfree(struct space *space, uint64_t addr, pte_slot_t *ptep)
{
	struct pager *pager = space->pager;
	struct page *page = pfn_page(pager, pte_pfn(pte_load(ptep)));

	if (page->_mapcount > 0 || !page_is_anon(page) || page_has_any(page, PG_ksm) ||
		!page_trylock(pager, page))
		return; /* the page is in use, and advice need not be followed */
	if (!page_has(page, PG_swapcache) || try_to_free_swap(pager, page)) {
		pte_clear_bits(ptep, PTE_DIRTY | PTE_ACCESSED);
		pager->machine->ops->flush(pager->machine, space, addr);
		page_clear(page, PG_dirty | PG_swapbacked | PG_active | PG_referenced);
		lru_requeue(pager, page);
	}
	page_unlock(pager, page);
	page_step(pager, page, "madvise_free_pte_range", addr);
}

/* A machine that does not see writes cannot tell which pages are written later, so the pages end at once. */
static int advise_free(struct space *space, uint64_t start, uint64_t end, struct wait *wait)
{
	uint64_t index = space_index(space, start), last = space_index(space, end);
	pte_slot_t *ptep;

	for (struct vma *vma = find_vma_from(space, start); vma && vma->start < end; vma = vma_next(vma))
		if ((vma->flags & VM_LOCKED) || vma->file)
			return -EINVAL;
	if (!space->pager->machine->ops->sees_write)
		return unmap_vmas(space, start, end, wait);
	for (; (ptep = space_next(space, index, last, &index)) != NULL; index++) {
		pte_t pte = pte_load(ptep);

		if (pte_is_swap(pte)) {
			pte_store(ptep, 0);
			free_swap_and_cache(space->pager, pte_entry(pte));
		} else if (pte_is_present(pte) && !(pte & PTE_ZERO)) {
			mark_lazyfree(space, index_addr(space, index), ptep);
		}
	}
	return 0;
}

static int advise(struct space *space, uint64_t start, uint64_t end, int advice, struct wait *wait)
{
	switch (advice) {
	case MADV_DONTNEED:
		return advise_dontneed(space, start, end, wait);
	case MADV_FREE:
		return advise_free(space, start, end, wait);
	case MADV_COLD:
	case MADV_PAGEOUT:
		if (range_is_locked(space, start, end))
			return -EINVAL;
		advise_reclaim(space, start, end, advice == MADV_PAGEOUT);
		return 0;
	case MADV_WILLNEED:
		advise_willneed(space, start, end);
		return 0;
	case MADV_POPULATE_READ:
	case MADV_POPULATE_WRITE:
		return advise_populate(space, start, end,
			advice == MADV_POPULATE_WRITE ? POPULATE_WRITE : POPULATE_READ, wait);
	case MADV_NORMAL:
		return set_read_flags(space, start, end, 0);
	case MADV_SEQUENTIAL:
		return set_read_flags(space, start, end, VM_SEQ_READ);
	case MADV_RANDOM:
		return set_read_flags(space, start, end, VM_RAND_READ);
	case MADV_HUGEPAGE:
	case MADV_NOHUGEPAGE:
	case MADV_DONTDUMP:
	case MADV_DODUMP:
		return 0; /* hints that need nothing here */
	default:
		return -EINVAL;
	}
}

int space_madvise(struct space *space, uint64_t addr, uint64_t len, int advice, struct wait *wait)
{
	int error;

	if (len == 0)
		return addr % PAGE_BYTES ? -EINVAL : 0;
	error = range_check(space, addr, &len);
	if (error)
		return error;
	pager_lock(space->pager);
	if (advice == MADV_MERGEABLE || advice == MADV_UNMERGEABLE)
		error = ksm_madvise(space, addr, addr + len, advice == MADV_MERGEABLE, wait);
	else
		error = range_is_mapped(space, addr, addr + len)
				? advise(space, addr, addr + len, advice, wait)
				: -ENOMEM;
	pager_unlock(space->pager);
	return error;
}

/* ---- mlock ---------------------------------------------------------------------------------------- */

static int set_locked(struct space *space, uint64_t start, uint64_t end, bool lock)
{
	int error = vma_split_range(space, start, end);

	for (struct vma *vma = find_vma_from(space, start); !error && vma && vma->start < end;
		vma = vma_next(vma))
		vma_set_locked(vma, lock);
	vma_merge_range(space, start, end);
	return error;
}

/*
 * Move the pages that are in memory to the list where they belong now. Drops the lock: the VMAs have their mark already,
 * so what comes in meanwhile is on the right list. For an isolated page, reclaim does that when it
 * looks at the page next.
 */
static void requeue_range(struct space *space, uint64_t start, uint64_t end, bool lock)
{
	uint64_t index = space_index(space, start), last = space_index(space, end);
	pte_slot_t *ptep;

	for (; (ptep = space_next(space, index, last, &index)) != NULL; index++) {
		pte_t pte = pte_load(ptep);

		if (!(pte & (PTE_PRESENT | PTE_MIGRATION)) || (pte & PTE_ZERO))
			continue;
		struct page *page =
			pfn_page(space->pager, pte_pfn(pte)); /* moving: the new page will get its flags */

		if (lock)
			page_mlock(space->pager, page);
		else
			page_munlock(space->pager, page);
	}
}

/* How many pages of the range are in VMAs that are not locked yet. */
static uint64_t not_locked_yet(struct space *space, uint64_t start, uint64_t end)
{
	uint64_t nr = 0;

	for (struct vma *vma = find_vma_from(space, start); vma && vma->start < end; vma = vma_next(vma))
		if (!(vma->flags & VM_LOCKED))
			nr += (min_u64(end, vma->end) - max_u64(start, vma->start)) >> PAGE_SHIFT;
	return nr;
}

int space_mlock(struct space *space, uint64_t addr, uint64_t len, bool lock, struct wait *wait)
{
	struct pager *pager = space->pager;
	int error;

	if (len == 0)
		return 0;
	error = range_check(space, addr, &len);
	if (error)
		return error;
	pager_lock(pager);
	if (!range_is_mapped(space, addr, addr + len))
		error = -ENOMEM;
	else if (lock && !may_lock(pager, not_locked_yet(space, addr, addr + len)))
		error = -ENOMEM;
	else
		error = set_locked(space, addr, addr + len, lock);
	if (!error) {
		requeue_range(space, addr, addr + len, lock);
		if (lock)
			error = populate(space, &(uint64_t){addr}, addr + len, POPULATE_LOCK, wait);
		if (error == -EFAULT || error == -EINVAL)
			error = -ENOMEM;
	}
	pager_unlock(pager);
	return error;
}

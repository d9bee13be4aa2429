/* SPDX-License-Identifier: MIT */
/*
 *
 * Fork of a space: dup_mmap copies the VMAs, copy_page_range the PTEs (LIFECYCLE 7).
 *
 *      parent's PTE        child's PTE                  and
 *      none                none
 *      zero page           zero page
 *      swap entry          the same                     the slot counts one more: nothing is read or written
 *      migration entry     the same                     both lose the right to write; if !can_share, fork waits for it
 *      present             the same, read-only          so is the parent's; _mapcount and _count rise; for a merged
 *                                                       page the child gets an item, too (ksm.h)
 *      present             a copy, armed                where a frame has one place only (!can_share)
 *
 * VMAs of shared memory, and VMAs without an anon_vma, are made without PTEs: faults fill them again.
 *
 * Faults in the parent wait until all is copied (VM_CHANGING). A write that needs no fault may still go to a page that
 * is not copied yet. No such write can follow from one that the child does not see, so the child is a snapshot.
 */
#include "mm/mm.h"

#include <string.h>
#include <sys/mman.h>

/* One call of space_fork(). Pages of the child are @shift pages further on. */
struct fork {
	struct pager *pager;
	struct space *parent, *child;
	uint64_t shift; /* of page indexes; may wrap */
	struct wait *wait;
};

/* ---- VMAs -------------------------------------------------------------------------------------- */

/* Copy one VMA and give it a region. => the VMA does not cross the ends of the child's range */
static int dup_vma(struct fork *fork, const struct vma *vma)
{
	struct machine *machine = fork->pager->machine;
	struct space *child = fork->child;
	uint64_t start = index_addr(child, space_index(fork->parent, vma->start) + fork->shift);
	struct vma like = *vma;
	int error = 0;

	like.end = start + (vma->end - vma->start);
	like.flags &= ~(uint32_t)(VM_LOCKED | VM_CHANGING);
	struct vma *copy = vma_insert(child, start, &like);

	if (!copy)
		return -ENOMEM;
	error = anon_vma_fork(fork->pager, copy, vma);
	if (!error && machine->ops->region_map) {
		pager_unlock(fork->pager);
		error = machine->ops->region_map(machine, child, start, like.end, like.prot);
		pager_lock(fork->pager);
	}
	if (error)
		vma_unmake(copy);
	return error;
}

static int dup_mmap(struct fork *fork, uint64_t from, uint64_t to)
{
	int error = 0;

	for (struct vma *vma = find_vma_from(fork->parent, from); !error && vma && vma->start < to;
		vma = vma_next(vma))
		if (!(vma->flags & VM_FOREIGN))
			error = dup_vma(fork, vma);
	return error;
}

/* ---- PTEs --------------------------------------------------------------------------------------- */

static int fork_wait_page(struct fork *fork, struct page *page)
{
	wait_on_page(fork->pager, page, WAIT_PAGE, fork->wait);
	return -EAGAIN;
}

/* Both PTEs lose the right to write. The child's is not accessed, so its page may go early. */
static int copy_present_pte(struct fork *fork, uint64_t index, pte_slot_t *from, pte_slot_t *to)
{
	pte_t pte = pte_load(from);
	struct page *page = pfn_page(fork->pager, pte_pfn(pte));

	if (page_has(page, PG_locked))
		return fork_wait_page(fork, page);
	if (page->_mapcount >= UINT16_MAX - 1) /* the page's slot must be able to count all of its PTEs */
		return -ENOMEM;
	if (page_stable_node(page) && ksm_copy_rmap(page, fork->child, index + fork->shift))
		return -ENOMEM;
	if (pte & PTE_WRITE) {
		pte = pte_clear_bits(from, PTE_WRITE) & ~PTE_WRITE;
		fork->pager->machine->ops->flush(
			fork->pager->machine, fork->parent, index_addr(fork->parent, index));
	}
	pte_store(to, pte & ~PTE_ACCESSED);
	page->_mapcount++; /* its anon_vma is linked to the child's VMA: dup_mmap() came first */
	page->_count++;
	if (fork->pager->tracer)
		page_step(fork->pager, page, "copy_one_pte", index_addr(fork->child, index + fork->shift));
	return 0;
}

static int copy_swap_pte(struct fork *fork, pte_t pte, pte_slot_t *to)
{
	if (swap_slot(fork->pager, pte_entry(pte))->count == UINT16_MAX)
		return -ENOMEM;
	swap_duplicate(fork->pager, pte_entry(pte));
	pte_store(to, pte);
	return 0;
}

static int copy_one_pte(struct fork *fork, uint64_t index, pte_slot_t *from, pte_slot_t *to)
{
	pte_t pte = pte_load(from);

	if (pte_is_swap(pte))
		return copy_swap_pte(fork, pte, to);
	if (pte_is_migration(pte) && !fork->pager->machine->ops->can_share)
		return fork_wait_page(fork, pfn_page(fork->pager, pte_pfn(pte)));
	if (pte_is_migration(pte)) {
		pte_clear_bits(from, PTE_WRITE);
		pte_store(to, pte & ~PTE_WRITE);
		return 0;
	}
	if (pte & PTE_ZERO) {
		pte_store(to, pte & ~PTE_ACCESSED);
		return 0;
	}
	return copy_present_pte(fork, index, from, to);
}

static bool vma_needs_copy(const struct vma *vma)
{
	return !(vma->flags & (VM_SHARED | VM_FOREIGN)) && vma->anon_vma;
}

/*
 * Copy the PTEs of pages [index, end) of one VMA. *index becomes the page where it stopped. Drops the lock now and then:
 * the VMA is VM_CHANGING, and a page that leaves memory meanwhile is found by both PTEs.
 */
static int copy_page_range(struct fork *fork, uint64_t *index, uint64_t end)
{
	pte_slot_t *from, *to = NULL;
	uint64_t last = 0;
	int error;

	for (; (from = space_next(fork->parent, *index, end, index)) != NULL; ++*index) {
		uint64_t at = *index + fork->shift;

		/* Words of one table follow each other, so a search from the root is not needed for each. */
		to = to && at / PT_ENTRIES == last / PT_ENTRIES
			     ? to + (at - last)
			     : pgtable_make(fork->pager, &fork->child->pgtable, at);
		last = at;
		if (!to)
			return -ENOMEM;
		if (!pte_is_none(pte_load(to)))
			continue; /* copied by an earlier call, before it had to wait */
		error = copy_one_pte(fork, *index, from, to);
		if (error)
			return error;
	}
	*index = end;
	return 0;
}

/* ---- Where frames cannot be shared ------------------------------------------------------------------ */

#define EARLY_BATCH 16

/* Present pages that are copied together: the machine takes them away in one call. */
struct early {
	unsigned nr;
	struct early_copy {
		struct page *page, *copy;
		pte_slot_t *to;
		struct vma *vma;
		uint64_t addr; /* in the child */
	} at[EARLY_BATCH];
	struct unmap_batch batch;
};

/* Results of early_add() besides 0 and -errno. */
enum {
	EARLY_LOOK_AGAIN = 1, /* the PTE has changed while the lock was dropped */
	EARLY_RUN_FIRST, /* there is no frame: copy the pages of the batch, which are locked, before reclaim */
};

/*
 * A frame for the child's copy: 0, -errno or EARLY_RUN_FIRST. May reclaim, and drop the lock for that. Reclaim may take
 * long, and the program's threads wait for locked pages. So it is entered with none of the batch.
 */
static int early_frame(struct fork *fork, const struct early *early, struct page **page)
{
	if (frame_alloc_run(fork->pager, 1, page))
		return 0;
	if (early->nr > 0)
		return EARLY_RUN_FIRST;
	int error = try_to_free_or_wait(fork->pager, fork->wait);

	if (error)
		return error;
	return frame_alloc_run(fork->pager, 1, page) ? 0 : -ENOMEM;
}

/* Hide the page, so that nobody writes to it, and make the child's PTE; both pages are locked. */
static int early_add(struct fork *fork, struct early *early, uint64_t index, struct vma *vma, pte_slot_t *to)
{
	struct page *copy;
	int error =
		early_frame(fork, early, &copy); /* may drop the lock, so the PTE is looked at afterwards */

	if (error)
		return error;
	pte_slot_t *from = pgtable_find(&fork->parent->pgtable, index);
	struct page *page =
		pte_is_present(pte_load(from)) ? pfn_page(fork->pager, pte_pfn(pte_load(from))) : NULL;

	if (!page || !page_trylock(fork->pager, page)) {
		page_put(fork->pager, copy);
		return page ? fork_wait_page(fork, page) : EARLY_LOOK_AGAIN;
	}
	uint64_t addr = index_addr(fork->child, index + fork->shift);

	pte_hide(fork->pager, find_vma(fork->parent, index_addr(fork->parent, index)),
		index_addr(fork->parent, index), from, &early->batch);
	page_trylock(fork->pager, copy);
	page_set(copy, PG_uptodate | PG_swapbacked | PG_active);
	page_add_anon_rmap(copy, vma, addr, true);
	lru_cache_add(fork->pager, copy);
	pte_store(to, pte_present(page_pfn(fork->pager, copy),
			      PTE_DIRTY | (vma->prot & PROT_WRITE ? PTE_WRITE : 0)));
	early->at[early->nr++] = (struct early_copy){page, copy, to, vma, addr};
	return 0;
}

/* Copy the batch's pages. => pager lock not held, all pages locked, their bytes at their frames */
static int early_fill(struct fork *fork, const struct early *early)
{
	for (unsigned i = 0; i < early->nr; i++) {
		const struct early_copy *e = &early->at[i];
		int error = fork->pager->machine->ops->frame_populate(
			fork->pager->machine, page_pfn(fork->pager, e->copy), 1);

		if (error)
			return error;
		memcpy(frame_bytes(fork->pager, e->copy), frame_bytes(fork->pager, e->page), PAGE_BYTES);
	}
	return 0;
}

static int early_run(struct fork *fork, struct early *early)
{
	int error = unmap_batch_run(fork->pager, &early->batch, UNMAP_KEEP) > 0 ? -EBUSY : 0;

	if (!error) {
		pager_unlock(fork->pager);
		error = early_fill(fork, early);
		pager_lock(fork->pager);
	}
	for (unsigned i = 0; i < early->nr; i++) {
		struct early_copy *e = &early->at[i];

		if (error) {
			pte_store(e->to, 0);
			page_remove_rmap(e->copy, e->vma, e->addr);
		}
		page_unlock(fork->pager, e->page);
		page_unlock(fork->pager, e->copy);
		if (error) {
			page_put(fork->pager, e->copy);
			continue;
		}
		fork->pager->stats->copied_early++;
		page_step(fork->pager, e->copy, "copy_one_pte", e->addr);
	}
	early->nr = 0;
	return error;
}

/* One PTE of the parent's, whose page may be in memory. As early_add() */
static int early_pte(struct fork *fork, struct early *early, uint64_t index, pte_slot_t *from)
{
	uint64_t at = index + fork->shift;
	pte_slot_t *to = pgtable_make(fork->pager, &fork->child->pgtable, at);

	if (!to)
		return -ENOMEM;
	if (!pte_is_none(pte_load(to)))
		return 0; /* copied by an earlier call, before it had to wait */
	if (!pte_is_present(pte_load(from)))
		return copy_one_pte(fork, index, from, to);
	return early_add(fork, early, index, find_vma(fork->child, index_addr(fork->child, at)), to);
}

/*
 * Gather one batch from *index on. A page may leave memory while its copy's frame is made: then its word is a swap
 * entry, and is looked at once more.
 */
static int early_gather(struct fork *fork, struct early *early, uint64_t *index, uint64_t end)
{
	while (early->nr < EARLY_BATCH) {
		pte_slot_t *from = space_next(fork->parent, *index, end, index);

		if (!from) {
			*index = end;
			return 0;
		}
		int error = early_pte(fork, early, *index, from);

		if (error == EARLY_RUN_FIRST)
			return 0;
		if (error < 0)
			return error;
		*index += !error;
	}
	return 0;
}

static int copy_early(struct fork *fork, uint64_t *index, uint64_t end)
{
	struct early early;
	int error = 0;

	early.nr = early.batch.nr = 0;
	while (!error && *index < end) {
		error = early_gather(fork, &early, index, end);
		int failed = early_run(fork, &early);

		error = failed ? failed : error;
	}
	return error;
}

/* ---- The whole ----------------------------------------------------------------------------------------- */

static int copy_vmas(struct fork *fork, uint64_t to)
{
	struct space *parent = fork->parent;
	int error = 0;

	for (struct vma *vma = find_vma_from(parent, index_addr(parent, parent->forked_to));
		!error && vma && vma->start < to; vma = vma_next(vma)) {
		uint64_t index = max_u64(parent->forked_to, space_index(parent, vma->start));
		uint64_t end = space_index(parent, vma->end);

		if (vma_needs_copy(vma) && fork->pager->machine->ops->can_share)
			error = copy_page_range(fork, &index, end);
		else if (vma_needs_copy(vma))
			error = copy_early(fork, &index, end);
		else
			index = end;
		parent->forked_to = index;
	}
	return error;
}

/* End the half-made child: what it maps goes, too. -EAGAIN: call again, parent->fork_child stays. Drops the lock. */
static int fork_undo(struct fork *fork, struct wait *wait)
{
	pager_unlock(fork->pager);
	int error = space_exit(fork->child, wait);

	pager_lock(fork->pager);
	return error;
}

static int fork_begin(struct fork *fork, const struct fork_place *place, void *machine_data)
{
	struct space *parent = fork->parent;
	int error = vma_split_range(parent, place->from, place->from + place->bytes);

	if (error)
		return error;
	pager_unlock(fork->pager);
	error = space_create(fork->pager, place->to, place->bytes, machine_data, &fork->child);
	pager_lock(fork->pager);
	if (error)
		return error;
	parent->fork_child = fork->child;
	parent->forked_to = space_index(parent, place->from);
	range_set_changing(parent, place->from, place->from + place->bytes, true);
	return dup_mmap(fork, place->from, place->from + place->bytes);
}

static int fork_step(struct fork *fork, const struct fork_place *place, void *machine_data)
{
	struct space *parent = fork->parent;
	int error = 0;

	if (!parent->fork_child)
		error = fork_begin(fork, place, machine_data);
	if (!error && !parent->fork_failed)
		error = copy_vmas(fork, place->from + place->bytes);
	if (error == -EAGAIN)
		return error;
	error = error ? error : parent->fork_failed;
	parent->fork_failed = error;
	if (error && fork->child && fork_undo(fork, fork->wait) == -EAGAIN)
		return -EAGAIN;
	range_set_changing(parent, place->from, place->from + place->bytes, false);
	vma_merge_range(parent, place->from, place->from + place->bytes);
	parent->fork_child = NULL;
	parent->fork_failed = 0;
	return error;
}

int space_fork(struct space *space, const struct fork_place *place, void *machine_data, struct space **child,
	struct wait *wait)
{
	struct fork_place same = {space->base, space->base, space->bytes};
	struct fork fork = {.pager = space->pager, .parent = space, .wait = wait};
	uint64_t bytes;
	int error;

	*child = NULL;
	if (!place)
		place = &same;
	bytes = place->bytes;
	error = range_check(space, place->from, &bytes);
	if (error || bytes != place->bytes || place->to % PAGE_BYTES)
		return -EINVAL;
	pager_lock(space->pager);
	fork.child = space->fork_child;
	fork.shift = space_index(space, space->base) - space_index(space, place->from);
	error = fork_step(&fork, place, machine_data);
	if (!error) {
		*child = fork.child;
		space->pager->stats->forks++;
	}
	pager_unlock(space->pager);
	return error;
}

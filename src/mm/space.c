/* SPDX-License-Identifier: MIT */
/*
 * Address spaces: VMAs come, are split and merged, and go; see space.h.
 *
 * Calls that must wait for a busy page say so and are called again: each of them first does what can be done again
 * without harm (splitting, marking), then the long work in steps, and last what cannot fail.
 */
#include "mm/mm.h"

#include <sys/mman.h>

static int vma_order(const struct vma *a, const struct vma *b)
{
	return a->start < b->start ? -1 : a->start > b->start;
}

/* This tree keeps no sums: the other one's augmentation is not its own. */
#undef RB_AUGMENT
#define RB_AUGMENT(vma) ((void)(vma))
RB_GENERATE_INTERNAL(vma_tree, vma, node, vma_order, RB_LOCAL)

/* ---- Finding ------------------------------------------------------------------------------ */

struct vma *find_vma_from(struct space *space, uint64_t addr)
{
	struct vma *vma = RB_ROOT(&space->vmas), *best = NULL;

	while (vma) {
		if (vma->end > addr) {
			best = vma;
			vma = RB_LEFT(vma, node);
		} else {
			vma = RB_RIGHT(vma, node);
		}
	}
	return best;
}

struct vma *find_vma(struct space *space, uint64_t addr)
{
	struct vma *vma = find_vma_from(space, addr);

	return vma && vma->start <= addr ? vma : NULL;
}

struct vma *vma_next(struct vma *vma)
{
	return RB_NEXT(vma_tree, NULL, vma);
}

static bool hole_at(struct space *space, uint64_t addr, uint64_t len)
{
	struct vma *vma = find_vma_from(space, addr);

	return addr + len <= space->base + space->bytes && (!vma || vma->start >= addr + len);
}

static uint64_t first_hole(struct space *space, uint64_t from, uint64_t to, uint64_t len)
{
	uint64_t at = from;

	for (struct vma *vma = find_vma_from(space, from); vma && vma->start < at + len; vma = vma_next(vma))
		at = max_u64(at, vma->end);
	return at + len <= to ? at : 0;
}

/* A hole of @len bytes; next fit, so that a search does not pass all VMAs each time. 0: none */
uint64_t find_hole(struct space *space, uint64_t len)
{
	uint64_t end = space->base + space->bytes;
	/* Address 0 stays free: it is the value for "none". */
	uint64_t base = space->base ? space->base : PAGE_BYTES;
	uint64_t at;

	if (len > space->bytes)
		return 0;
	at = first_hole(space, max_u64(space->search_from, base), end, len);
	if (!at)
		at = first_hole(space, base, end, len);
	return at;
}

/* ---- Making, splitting, merging -------------------------------------------------------------- */

static void count_mapped(struct vma *vma, int sign)
{
	if (!(vma->flags & VM_FOREIGN))
		vma->space->pager->stats->mapped_bytes += (uint64_t)sign * (vma->end - vma->start);
}

/* A VMA in no tree yet. NULL: no host memory. */
static struct vma *vma_make(struct space *space, uint64_t start, const struct vma *like)
{
	struct vma *vma = pool_alloc(space->pager, &space->pager->vma_pool);

	if (!vma)
		return NULL;
	*vma = (struct vma){.space = space,
		.start = start,
		.end = like->end,
		.pgoff = like->pgoff,
		.prot = like->prot,
		.flags = like->flags,
		.file = like->file};
	TAILQ_INIT(&vma->chain);
	if (vma->file && vma_link_file(space->pager, vma)) {
		pool_free(&space->pager->vma_pool, vma);
		return NULL;
	}
	if (vma->file)
		file_get(vma->file);
	return vma;
}

static void vma_free(struct vma *vma)
{
	struct pager *pager = vma->space->pager;

	unlink_anon_vmas(pager, vma);
	if (vma->file) {
		vma_unlink_file(pager, vma);
		file_drop(vma->file);
	}
	pool_free(&pager->vma_pool, vma);
}

struct vma *vma_insert(struct space *space, uint64_t start, const struct vma *like)
{
	struct vma *vma = vma_make(space, start, like);

	if (!vma)
		return NULL;
	RB_INSERT(vma_tree, &space->vmas, vma);
	count_mapped(vma, 1);
	return vma;
}

static void vma_remove(struct vma *vma)
{
	atomic_fetch_add(&vma->space->changes, 1);
	count_mapped(vma, -1);
	RB_REMOVE(vma_tree, &vma->space->vmas, vma);
	vma_free(vma);
}

/* Cut @vma in two at @addr. -ENOMEM: it is as it was. */
static int vma_split(struct vma *vma, uint64_t addr)
{
	struct space *space = vma->space;
	struct vma like = *vma;

	like.pgoff = vma_page_index(vma, addr);
	struct vma *upper = vma_make(space, addr, &like);

	if (!upper)
		return -ENOMEM;
	if (anon_vma_clone(space->pager, upper, vma)) {
		vma_free(upper);
		return -ENOMEM;
	}
	anon_vma_interval_tree_pre_update(vma);
	vma->end = addr;
	anon_vma_interval_tree_post_update(vma);
	RB_INSERT(vma_tree, &space->vmas, upper);
	return 0;
}

static int split_at(struct space *space, uint64_t addr)
{
	struct vma *vma = find_vma(space, addr);

	return vma && vma->start < addr ? vma_split(vma, addr) : 0;
}

/* No VMA crosses start or end afterwards. */
int vma_split_range(struct space *space, uint64_t start, uint64_t end)
{
	int error = split_at(space, start);

	return error ? error : split_at(space, end);
}

static bool same_links(const struct vma *a, const struct vma *b)
{
	const struct anon_vma_chain *x = TAILQ_FIRST(&a->chain), *y = TAILQ_FIRST(&b->chain);

	for (; x && y && x->anon_vma == y->anon_vma; x = TAILQ_NEXT(x, same_vma), y = TAILQ_NEXT(y, same_vma))
		;
	return !x && !y && a->anon_vma == b->anon_vma;
}

static bool can_merge(const struct vma *lower, const struct vma *upper)
{
	return lower->end == upper->start && lower->prot == upper->prot && lower->flags == upper->flags &&
	       lower->file == upper->file &&
	       lower->pgoff + (uint32_t)((lower->end - lower->start) >> PAGE_SHIFT) == upper->pgoff &&
	       (same_links(lower, upper) || TAILQ_EMPTY(&lower->chain) || TAILQ_EMPTY(&upper->chain));
}

/* One VMA where two were; the one that has links keeps them. */
static void vma_merge(struct vma *lower, struct vma *upper)
{
	struct vma *keep = TAILQ_EMPTY(&lower->chain) ? upper : lower;
	struct vma *gone = keep == lower ? upper : lower;
	uint64_t start = lower->start, end = upper->end;
	uint32_t pgoff = lower->pgoff;
	struct space *space = keep->space;

	RB_REMOVE(vma_tree, &space->vmas, gone);
	vma_free(gone);
	anon_vma_interval_tree_pre_update(keep);
	/* The order in the tree is by start, and nothing lies between the two: it stays right. */
	keep->start = start;
	keep->end = end;
	keep->pgoff = pgoff;
	anon_vma_interval_tree_post_update(keep);
}

/* Undo splits that are no longer needed, from the VMA before @start to the one behind @end. */
void vma_merge_range(struct space *space, uint64_t start, uint64_t end)
{
	struct vma *vma = find_vma_from(space, start > space->base ? start - 1 : start);

	while (vma && vma->start <= end) {
		struct vma *next = vma_next(vma);

		if (next && can_merge(vma, next)) {
			uint64_t at = vma->start;

			vma_merge(vma, next);
			vma = find_vma(space, at);
		} else {
			vma = next;
		}
	}
}

bool range_is_mapped(struct space *space, uint64_t start, uint64_t end)
{
	for (struct vma *vma = find_vma(space, start); vma; vma = vma_next(vma)) {
		if (vma->start > start || (vma->flags & VM_FOREIGN))
			return false;
		start = vma->end;
		if (start >= end)
			return true;
	}
	return false;
}

void range_set_changing(struct space *space, uint64_t start, uint64_t end, bool changing)
{
	for (struct vma *vma = find_vma_from(space, start); vma && vma->start < end; vma = vma_next(vma)) {
		if (changing)
			vma->flags |= VM_CHANGING;
		else
			vma->flags &= ~(uint32_t)VM_CHANGING;
	}
	if (!changing)
		pager_event(space->pager);
}

/* Page aligned, not empty, inside the space; *len is rounded up. */
int range_check(const struct space *space, uint64_t addr, uint64_t *len)
{
	uint64_t bytes = page_align_up(*len);

	if (addr % PAGE_BYTES || *len == 0 || bytes < *len)
		return -EINVAL;
	if (addr < space->base || bytes > space->bytes || addr - space->base > space->bytes - bytes)
		return -EINVAL;
	*len = bytes;
	return 0;
}

/* How often a call waits for a pin to go, a moment each time. */
#define HIDE_TRIES 200

/* ---- Clearing PTEs ------------------------------------------------------------------------------ */

/* Pages of a range that are taken from it together. */
struct zap {
	struct space *space;
	unsigned nr;
	struct zapped {
		struct page *page;
		pte_slot_t *ptep;
		uint64_t addr;
	} at[UNMAP_BATCH];
	struct unmap_batch batch;
};

static bool zap_full(const struct zap *zap)
{
	return zap->nr == UNMAP_BATCH;
}

/* Lock the page and hide its PTE. false: it is busy */
static bool zap_add(struct zap *zap, uint64_t index, pte_slot_t *ptep)
{
	struct pager *pager = zap->space->pager;
	struct page *page = pfn_page(pager, pte_pfn(pte_load(ptep)));
	uint64_t addr = index_addr(zap->space, index);

	if (!page_trylock(pager, page))
		return false;
	pte_hide(pager, find_vma(zap->space, addr), addr, ptep, &zap->batch);
	zap->at[zap->nr++] = (struct zapped){page, ptep, addr};
	return true;
}

/* Anonymous, and without a slot: it is written when it goes out, whatever its PTEs say. */
static bool page_is_swapless(const struct page *page)
{
	return page_is_anon(page) && page_has(page, PG_swapbacked) && !page_has(page, PG_swapcache);
}

/* One mapping less; the page ends when nobody else holds it. => its PTE is hidden, the page locked */
static void zap_page(struct zap *zap, struct zapped *z)
{
	struct pager *pager = zap->space->pager;
	bool last = z->page->_mapcount == 0;

	if ((pte_load(z->ptep) & PTE_DIRTY) && !page_is_swapless(z->page))
		page_set(z->page, PG_dirty);
	pte_store(z->ptep, 0);
	page_remove_rmap(z->page, find_vma(zap->space, z->addr), z->addr);
	if (last && page_has(z->page, PG_mlocked))
		clear_page_mlock(pager, z->page);
	page_unlock(pager, z->page);
	page_step(pager, z->page, "zap_pte_range", z->addr);
	if (page_has(z->page, PG_swapcache))
		free_swap_cache(pager, z->page);
	else if (last && page_is_anon(z->page))
		pager->stats->freed++;
	page_put(pager, z->page);
}

/* Nobody reads the bytes again when this was the only mapping and no slot's count speaks for them. */
static enum unmap_content zap_content(const struct zap *zap)
{
	struct pager *pager = zap->space->pager;

	for (unsigned i = 0; i < zap->nr; i++) {
		struct page *page = zap->at[i].page;

		if (page->_mapcount > 0 || page_file(page) ||
			(page_has(page, PG_swapcache) &&
				swap_slot(pager, word_entry(page->private))->count > 0))
			return UNMAP_KEEP;
	}
	return UNMAP_DROP;
}

/* A pinned page whose content others want stays for now. Returns one such, or NULL. */
static struct page *zap_run(struct zap *zap)
{
	bool busy = unmap_batch_run(zap->space->pager, &zap->batch, zap_content(zap)) > 0;
	struct page *pinned = NULL;

	for (unsigned i = 0; i < zap->nr; i++) {
		if (busy && pte_is_valid(pte_load(zap->at[i].ptep))) {
			pinned = zap->at[i].page;
			page_unlock(zap->space->pager, pinned);
		} else {
			zap_page(zap, &zap->at[i]);
		}
	}
	zap->nr = 0;
	return pinned;
}

/* Fill one batch from @index on. Returns the page that stopped it, or NULL: the end was reached, or the batch is full. */
static struct page *zap_gather(struct zap *zap, uint64_t *index, uint64_t end)
{
	struct space *space = zap->space;
	struct pager *pager = space->pager;
	pte_slot_t *ptep;

	while (!zap_full(zap) && (ptep = pgtable_next(&space->pgtable, *index, end, index)) != NULL) {
		pte_t pte = pte_load(ptep);

		if (pte_is_swap(pte)) {
			pte_store(ptep, 0);
			free_swap_and_cache(pager, pte_entry(pte));
		} else if (pte_is_migration(pte)) {
			pte_store(ptep, 0); /* who moves the page holds it, and ends it when no PTE is left */
		} else if (pte & PTE_ZERO) {
			pte_store(ptep, 0);
			pager->machine->ops->flush(pager->machine, space, index_addr(space, *index));
		} else if (!zap_add(zap, *index, ptep)) {
			return pfn_page(pager, pte_pfn(pte));
		}
		(*index)++;
	}
	if (!zap_full(zap))
		*index = end;
	return NULL;
}

int unmap_vmas(struct space *space, uint64_t start, uint64_t end, struct wait *wait)
{
	uint64_t index = space_index(space, start), last = space_index(space, end);
	struct zap zap;

	zap.space = space;
	zap.nr = zap.batch.nr = 0;
	while (index < last) {
		struct page *busy = zap_gather(&zap, &index, last);

		if (busy && zap.nr == 0) {
			wait_on_page(space->pager, busy, WAIT_PAGE, wait);
			return -EAGAIN;
		}
		if (zap_run(&zap)) {
			wait_set(space->pager, wait, WAIT_SPACE, PFN_NONE);
			return -EAGAIN;
		}
	}
	return 0;
}

/*
 * As zap_gather(): lock and hide one batch from @index on. The zero page needs no hiding: the next touch has it again.
 * A page that is moving is hidden already, and comes back armed.
 */
static struct page *hide_gather(struct zap *zap, uint64_t *index, uint64_t end)
{
	struct space *space = zap->space;
	struct pager *pager = space->pager;
	pte_slot_t *ptep;

	while (!zap_full(zap) && (ptep = pgtable_next(&space->pgtable, *index, end, index)) != NULL) {
		pte_t pte = pte_load(ptep);

		if (pte & PTE_ZERO) {
			pte_store(ptep, 0);
			pager->machine->ops->flush(pager->machine, space, index_addr(space, *index));
		} else if (pte_is_migration(pte)) {
			pte_clear_bits(ptep, PTE_WAS_VALID | PTE_WRITE);
		} else if (pte_is_present(pte) && !zap_add(zap, *index, ptep)) {
			return pfn_page(pager, pte_pfn(pte));
		}
		(*index)++;
	}
	if (!zap_full(zap))
		*index = end;
	return NULL;
}

/* Something is pinned for I/O: it ends soon, or the program keeps the pin; then -EBUSY. */
static int hide_wait(struct space *space, struct wait *wait)
{
	if (++space->pinned_tries > HIDE_TRIES) {
		space->pinned_tries = 0;
		return -EBUSY;
	}
	wait_set(space->pager, wait, WAIT_SPACE, PFN_NONE);
	return -EAGAIN;
}

int hide_range(struct space *space, uint64_t start, uint64_t end, struct wait *wait)
{
	uint64_t index = space_index(space, start), last = space_index(space, end);
	struct pager *pager = space->pager;
	struct zap zap;

	zap.space = space;
	while (index < last) {
		zap.nr = zap.batch.nr = 0;
		struct page *busy = hide_gather(&zap, &index, last);

		if (busy && zap.nr == 0) {
			wait_on_page(pager, busy, WAIT_PAGE, wait);
			return -EAGAIN;
		}
		bool pinned = unmap_batch_run(pager, &zap.batch, UNMAP_KEEP) > 0;

		for (unsigned i = 0; i < zap.nr; i++) {
			if (!pte_is_valid(pte_load(zap.at[i].ptep)))
				pte_clear_bits(zap.at[i].ptep, PTE_WRITE);
			page_unlock(pager, zap.at[i].page);
		}
		if (pinned)
			return hide_wait(space, wait);
	}
	space->pinned_tries = 0;
	return 0;
}

/* ---- munmap and mmap -------------------------------------------------------------------------------- */

/* Take VMAs out of the space and their regions from the machine, one by one. Drops the lock. => their PTEs are none */
static int remove_vmas(struct space *space, uint64_t start, uint64_t end, struct wait *wait)
{
	struct pager *pager = space->pager;
	struct vma *vma;
	int error = 0;

	while ((vma = find_vma_from(space, start)) && vma->start < end) {
		uint64_t from = vma->start, to = vma->end;
		bool foreign = vma->flags & VM_FOREIGN;

		if (vma->file && vma->file->refs == 1 && truncate_inode_pages(vma->file, 0, wait))
			return -EAGAIN;
		vma_remove(vma);
		if (foreign || !pager->machine->ops->region_unmap)
			continue;
		pager_unlock(pager);
		int failed = pager->machine->ops->region_unmap(pager->machine, space, from, to);

		pager_lock(pager);
		if (failed)
			error = failed;
	}
	free_pgtables(space->pager, &space->pgtable, space_index(space, start), space_index(space, end));
	return error;
}

/* Drops the lock. */
int unmap_region(struct space *space, uint64_t start, uint64_t end, struct wait *wait)
{
	int error = vma_split_range(space, start, end);

	if (error)
		return error;
	range_set_changing(space, start, end, true);
	error = unmap_vmas(space, start, end, wait);
	if (error)
		return error;
	ksm_forget(space, space_index(space, start), space_index(space, end));
	error = remove_vmas(space, start, end, wait);
	if (error == -EAGAIN)
		return error;
	space->search_from = min_u64(space->search_from, start);
	pager_event(space->pager);
	return error;
}

int space_munmap(struct space *space, uint64_t addr, uint64_t len, struct wait *wait)
{
	int error = range_check(space, addr, &len);

	if (error)
		return error;
	pager_lock(space->pager);
	error = unmap_region(space, addr, addr + len, wait);
	pager_unlock(space->pager);
	return error;
}

/* As Linux's default: refuse only what could never be there at once. */
static bool could_ever_hold(struct pager *pager, uint64_t len, int prot, unsigned flags)
{
	if ((flags & (SPACE_NORESERVE | SPACE_FOREIGN)) || !(prot & PROT_WRITE))
		return true;
	return len >> PAGE_SHIFT <= (uint64_t)pager->nr_frames + pager->slots_total;
}

/* Where the mapping goes; what is there is unmapped, if the caller insists. */
static int place(struct space *space, uint64_t *addr, uint64_t len, unsigned flags, struct wait *wait)
{
	if (flags & (SPACE_FIXED | SPACE_FIXED_NOREPLACE)) {
		int error = range_check(space, *addr, &len);

		if (error)
			return error;
		if (hole_at(space, *addr, len))
			return 0;
		return flags & SPACE_FIXED ? unmap_region(space, *addr, *addr + len, wait) : -EEXIST;
	}
	if (*addr && range_check(space, *addr, &len) == 0 && hole_at(space, *addr, len))
		return 0;
	*addr = find_hole(space, len);
	return *addr ? 0 : -ENOMEM;
}

/* The VMA first, then the machine's region: until both stand, faults wait. Drops the lock. */
static int map_region(struct space *space, uint64_t addr, const struct vma *like)
{
	struct pager *pager = space->pager;
	struct vma *vma = vma_insert(space, addr, like);
	uint64_t end = like->end;
	int error = 0;

	if (!vma)
		return -ENOMEM;
	vma->flags |= VM_CHANGING;
	if (!(vma->flags & VM_FOREIGN) && pager->machine->ops->region_map) {
		pager_unlock(pager);
		error = pager->machine->ops->region_map(pager->machine, space, addr, end, like->prot);
		pager_lock(pager);
	}
	if (error) {
		vma_remove(vma);
		return error;
	}
	range_set_changing(space, addr, end, false);
	vma_merge_range(space, addr, end);
	return 0;
}

/* @like: prot, flags, file and pgoff of the new VMA. An anonymous one counts its pages from the space's start. */
static int do_mmap(struct space *space, uint64_t *addr, uint64_t len, unsigned flags, struct vma *like,
	struct wait *wait)
{
	uint64_t at = *addr;
	bool fixed = flags & (SPACE_FIXED | SPACE_FIXED_NOREPLACE);
	int error;

	if (len == 0 || page_align_up(len) < len)
		return -EINVAL;
	len = page_align_up(len);
	if (len > space->bytes)
		return -ENOMEM;
	if (!fixed)
		at = page_align_down(at);
	pager_lock(space->pager);
	error = could_ever_hold(space->pager, len, like->prot, flags) ? place(space, &at, len, flags, wait)
								      : -ENOMEM;
	if (!error) {
		like->end = at + len;
		if (!like->file)
			like->pgoff = (uint32_t)space_index(space, at);
		error = map_region(space, at, like);
	}
	if (!error) {
		*addr = at;
		if (!fixed)
			space->search_from = at + len;
	}
	pager_unlock(space->pager);
	return error;
}

int space_mmap(struct space *space, uint64_t *addr, uint64_t len, int prot, unsigned flags, struct wait *wait)
{
	struct vma like = {.prot = prot};

	if (flags & ~(SPACE_FIXED | SPACE_FIXED_NOREPLACE | SPACE_NORESERVE | SPACE_FOREIGN))
		return -EINVAL;
	if (flags & SPACE_FOREIGN)
		like.flags |= VM_FOREIGN;
	if (flags & SPACE_NORESERVE)
		like.flags |= VM_NORESERVE;
	return do_mmap(space, addr, len, flags, &like, wait);
}

int space_mmap_file(struct space *space, uint64_t *addr, uint64_t len, int prot, unsigned flags,
	struct file *file, uint64_t pgoff, struct wait *wait)
{
	struct vma like = {.prot = prot, .file = file, .pgoff = (uint32_t)pgoff};

	if (flags & ~(SPACE_FIXED | SPACE_FIXED_NOREPLACE | SPACE_NORESERVE | SPACE_SHARED))
		return -EINVAL;
	if (len > FILE_MAX_BYTES || pgoff > (FILE_MAX_BYTES - page_align_up(len)) >> PAGE_SHIFT)
		return -EINVAL;
	if ((flags & SPACE_SHARED) && file->ops)
		return -EOPNOTSUPP;
	if (flags & SPACE_SHARED)
		like.flags |= VM_SHARED;
	if (flags & SPACE_NORESERVE)
		like.flags |= VM_NORESERVE;
	return do_mmap(space, addr, len, flags, &like, wait);
}

/* ---- The space itself ---------------------------------------------------------------------------------- */

int space_create(struct pager *pager, uint64_t base, uint64_t bytes, void *machine_data, struct space **out)
{
	if (base % PAGE_BYTES || bytes % PAGE_BYTES || bytes == 0 || bytes > 1ull << 44 ||
		base + bytes < base)
		return -EINVAL;
	pager_lock(pager);
	struct space *space = pager_chunk_alloc(pager, page_align_up(sizeof(*space)));

	if (space) {
		space->pager = pager;
		space->base = base;
		space->bytes = bytes;
		space->machine_data = machine_data;
		RB_INIT(&space->vmas);
		RB_INIT(&space->ksm_items);
		TAILQ_INSERT_TAIL(&pager->spaces, space, link);
	}
	pager_unlock(pager);
	*out = space;
	return space ? 0 : -ENOMEM;
}

/* exit_mmap: every VMA, every mapping, every table. */
int space_exit(struct space *space, struct wait *wait)
{
	struct pager *pager = space->pager;

	pager_lock(pager);
	assert(!space->fork_child);
	int error = unmap_region(space, space->base, space->base + space->bytes, wait);

	if (!error) {
		ksm_exit(space);
		TAILQ_REMOVE(&pager->spaces, space, link);
		pager_chunk_free(pager, space, page_align_up(sizeof(*space)));
	}
	pager_unlock(pager);
	return error;
}

int space_lock(struct space *space, struct wait *wait)
{
	int error = 0;

	pager_lock(space->pager);
	if (space->locked) {
		wait_set(space->pager, wait, WAIT_SPACE, PFN_NONE);
		error = -EAGAIN;
	}
	space->locked = true;
	pager_unlock(space->pager);
	return error;
}

void space_unlock(struct space *space)
{
	pager_lock(space->pager);
	assert(space->locked);
	space->locked = false;
	pager_event(space->pager);
	pager_unlock(space->pager);
}

void *space_machine_data(const struct space *space)
{
	return space->machine_data;
}

uint64_t space_base(const struct space *space)
{
	return space->base;
}

uint64_t space_bytes(const struct space *space)
{
	return space->bytes;
}

struct pager *space_pager(const struct space *space)
{
	return space->pager;
}

struct pgtable *space_pgtable(struct space *space)
{
	return &space->pgtable;
}

int space_extent(struct space *space, uint64_t *from, uint64_t *bytes)
{
	uint64_t to = 0;
	struct vma *vma;

	pager_lock(space->pager);
	RB_FOREACH (vma, vma_tree, &space->vmas) {
		if (vma->flags & VM_FOREIGN)
			continue;
		if (!to)
			*from = vma->start;
		to = vma->end;
	}
	pager_unlock(space->pager);
	if (!to)
		return -ENOENT;
	*bytes = to - *from;
	return 0;
}

unsigned space_longest_chain(struct space *space)
{
	unsigned longest = 0;
	struct vma *vma;

	pager_lock(space->pager);
	RB_FOREACH (vma, vma_tree, &space->vmas) {
		const struct anon_vma_chain *link;
		unsigned nr = 0;

		TAILQ_FOREACH (link, &vma->chain, same_vma)
			nr++;
		longest = nr > longest ? nr : longest;
	}
	pager_unlock(space->pager);
	return longest;
}

/* A snapshot is younger than the space in whose range it lies. */
struct space *find_space(struct pager *pager, uint64_t addr)
{
	struct space *space;

	TAILQ_FOREACH_REVERSE(space, &pager->spaces, space_list, link)
	if (addr - space->base < space->bytes)
		break;
	return space;
}

struct space *pager_space_at(struct pager *pager, uint64_t addr)
{
	pager_lock(pager);
	struct space *space = find_space(pager, addr);

	pager_unlock(pager);
	return space;
}

enum space_kind space_kind_at(struct space *space, uint64_t addr, uint64_t *run_end, int *prot)
{
	enum space_kind kind = SPACE_HOLE;

	pager_lock(space->pager);
	struct vma *vma = find_vma_from(space, addr);

	if (!vma) {
		*run_end = space->base + space->bytes;
	} else if (vma->start > addr) {
		*run_end = vma->start;
	} else {
		kind = vma->flags & VM_FOREIGN ? SPACE_IS_FOREIGN : SPACE_ANON;
		*run_end = vma->end;
		*prot = vma->prot;
	}
	pager_unlock(space->pager);
	return kind;
}

uint64_t space_changes(struct space *space)
{
	return atomic_load_explicit(&space->changes, memory_order_acquire);
}

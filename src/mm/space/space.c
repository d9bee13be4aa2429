/* SPDX-License-Identifier: MIT */
/*
 * Address spaces: VMAs are made, split and merged, and end; see space.h.
 *
 * A call that meets a busy page returns -EAGAIN and is made again. So each call first does what can be repeated without
 * harm (splitting, marking), then the long work in steps, and last what cannot fail.
 */
#include "mm/mm.h"

#include <sys/mman.h>

/* The range must be page aligned, not empty, and inside the space. *len is rounded up to pages. 0 or -EINVAL. */
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

/* ---- munmap and mmap -------------------------------------------------------------------------------- */

/* Take VMAs out of the space, and their regions from the machine, one by one. Drops the lock. => their PTEs are none */
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
	space_event(space);
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

/*
 * As Linux's default: refuse only a mapping that could never be in memory and swap at once, whatever the limit becomes.
 */
static bool could_ever_hold(struct pager *pager, uint64_t len, int prot, unsigned flags)
{
	if ((flags & (SPACE_NORESERVE | SPACE_FOREIGN)) || !(prot & PROT_WRITE))
		return true;
	return len >> PAGE_SHIFT <= (uint64_t)pager->nr_frames + pager->slots_total;
}

/* Choose where the mapping goes. With SPACE_FIXED, what is there is unmapped. */
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

/* Make the VMA, then the machine's region. Faults wait until both are there. Drops the lock. */
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
		vma_unmake(vma);
		return error;
	}
	range_set_changing(space, addr, end, false);
	vma_merge_range(space, addr, end);
	return 0;
}

/* @like: prot, flags, file and pgoff of the new VMA. An anonymous VMA counts its pages from the space's start. */
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

	space->exits = true;
	if (!error && space->nr_faults > 0) {
		wait_on_space(space, wait);
		error = -EAGAIN;
	}
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
		wait_on_space(space, wait);
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
	space_event(space);
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
	for (vma = find_vma_from(space, 0); vma; vma = vma_next(vma)) {
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
	for (vma = find_vma_from(space, 0); vma; vma = vma_next(vma)) {
		const struct anon_vma_chain *link;
		unsigned nr = 0;

		TAILQ_FOREACH (link, &vma->chain, same_vma)
			nr++;
		longest = nr > longest ? nr : longest;
	}
	pager_unlock(space->pager);
	return longest;
}

/* The list is in order of age. A fork's child that lies in the range of its parent is the younger one. */
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

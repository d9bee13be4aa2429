/* SPDX-License-Identifier: MIT */
/* The VMAs of a space: found, made, split and merged; see space.h. */
#include "mm/mm.h"

static int vma_order(const struct vma *a, const struct vma *b)
{
	return a->start < b->start ? -1 : a->start > b->start;
}

/* This tree keeps no sums, but the interval tree of rmap.h does, by the same macros. */
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

bool hole_at(struct space *space, uint64_t addr, uint64_t len)
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

/* A hole of @len bytes, or 0. The search goes on where the last one ended, so it does not pass all VMAs each time. */
uint64_t find_hole(struct space *space, uint64_t len)
{
	uint64_t end = space->base + space->bytes;
	/* Address 0 is never handed out, because 0 means "none". */
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

static void count_mlocked(struct vma *vma, int sign)
{
	if (vma->flags & VM_LOCKED)
		vma->space->pager->nr_mlocked += (uint64_t)sign * vma_nr_pages(vma);
}

static void count_mapped(struct vma *vma, int sign)
{
	if (!(vma->flags & VM_FOREIGN))
		vma->space->pager->stats->mapped_bytes += (uint64_t)sign * (vma->end - vma->start);
	count_mlocked(vma, sign);
}

void vma_set_locked(struct vma *vma, bool locked)
{
	count_mlocked(vma, -1);
	if (locked)
		vma->flags |= VM_LOCKED;
	else
		vma->flags &= ~(uint32_t)VM_LOCKED;
	count_mlocked(vma, 1);
}

/* Make a VMA that is in no tree yet. NULL: no host memory. */
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

void vma_remove(struct vma *vma)
{
	atomic_fetch_add(&vma->space->changes, 1);
	count_mapped(vma, -1);
	RB_REMOVE(vma_tree, &vma->space->vmas, vma);
	vma_free(vma);
}

void vma_unmake(struct vma *vma)
{
	struct space *space = vma->space;

	vma_remove(vma);
	space_event(space);
}

/* Cut @vma in two at @addr. -ENOMEM: @vma is as it was. */
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

/* Split VMAs so that none crosses @start or @end. */
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

/* Make one VMA of two. If one has links to anon_vmas, it is the one that is kept. */
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
	/* The tree is ordered by start, and nothing lies between the two, so the order still holds. */
	keep->start = start;
	keep->end = end;
	keep->pgoff = pgoff;
	anon_vma_interval_tree_post_update(keep);
}

/* Merge VMAs that need not be apart, from the one before @start to the one behind @end. */
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
		space_event(space);
}

/* SPDX-License-Identifier: MIT */
/* Readahead and birth-around; see readahead.h. */
#include "mm/mm.h"

/* ---- What the policy of streams is told (contract/policy.h) ------------------------------ */

static uint32_t vma_start_index(const struct vma *vma)
{
	return (uint32_t)space_index(vma->space, vma->start);
}

static uint32_t vma_end_index(const struct vma *vma)
{
	return (uint32_t)space_index(vma->space, vma->end);
}

/*
 * The PTE at @index of the space. PTEs hold no swap entries of shared memory, so there it is the word of the page
 * cache.
 */
static pte_t word_at(const struct vma *vma, uint32_t index)
{
	pte_slot_t *ptep = pgtable_find(&vma->space->pgtable, index);
	pte_t pte = ptep ? pte_load(ptep) : 0;

	if (!pte_is_none(pte) || !vma->file)
		return pte;
	ptep = pgtable_find(&vma->file->cache, vma_page_index(vma, index_addr(vma->space, index)));
	return ptep ? pte_load(ptep) : 0;
}

static bool vma_has(const struct vma *vma, uint32_t index)
{
	return index >= vma_start_index(vma) && index < vma_end_index(vma);
}

static bool is_present(void *vma, uint32_t index)
{
	return pte_is_present(word_at(vma, index));
}

static uint32_t pages_left(const struct vma *vma, const struct fault_stream *s, uint32_t index)
{
	return stream_pages_left(s, vma_start_index(vma), vma_end_index(vma), index);
}

/* Pages that were read for the next @nr pages of the stream, and not used, are the next that reclaim takes. */
static void cancel(void *ctx, const struct fault_stream *s, unsigned nr)
{
	struct vma *vma = ctx;
	struct pager *pager = vma->space->pager;

	for (unsigned i = 0; i < nr && i < pages_left(vma, s, s->next); i++) {
		pte_t pte = word_at(vma, stream_page(s, i));
		struct page *page = pte_is_swap(pte) ? slot_page(pager, pte_entry(pte)) : NULL;

		if (page && page_has(page, PG_readahead)) {
			page_clear(page, PG_active);
			lru_requeue(pager, page);
			rotate_reclaimable_page(pager, page);
		}
	}
}

struct fault_stream *stream_for(struct vma *vma, uint32_t index)
{
	return stream_find(&vma->streams,
		&(struct stream_look){.first = vma_start_index(vma),
			.end = vma_end_index(vma),
			.frames = vma->space->pager->nr_limit,
			.requests = vma->space->pager->nr_io,
			.random = vma->flags & VM_RAND_READ,
			.sequential = vma->flags & VM_SEQ_READ,
			.ctx = vma,
			.is_present = is_present,
			.cancel = cancel},
		index);
}

unsigned stream_around(const struct vma *vma, const struct fault_stream *stream, uint32_t index)
{
	if (!stream)
		return 1;
	return (unsigned)min_u64(min_u64(stream->window, FAULT_AROUND), pages_left(vma, stream, index));
}

/* ---- Reading ------------------------------------------------------------------------------ */

/* Flags for a page that comes back, by how many pages have left memory after it. */
static uint32_t workingset_refault(
	struct pager *pager, struct page *page, swp_entry_t entry, enum read_why why)
{
	struct node *node = page_node(pager, page);
	uint32_t then;

	if ((pager->policy & PAGER_NO_SHADOWS) || !slot_shadow(pager, entry, &then))
		return 0;
	uint32_t distance = ((uint32_t)node->evictions - then) & SHADOW_MASK;

	uint32_t flags = ageing_in_working_set(distance, node->nr_pages[LIST_ACTIVE_ANON])
				 ? PG_active | PG_workingset
				 : 0;

	if (why == READ_ASKED && tier_refault(pager, entry, distance))
		flags |= PG_recall;
	return flags;
}

void readahead_hit(struct pager *pager, struct page *page)
{
	if (!page_has(page, PG_readahead))
		return;
	page_clear(page, PG_readahead);
	pager->stats->readahead_hits++;
}

int read_swap_cache_async(struct pager *pager, swp_entry_t entry, enum read_why why, struct plug *plug)
{
	struct page *page = frame_alloc(pager);

	if (!page)
		return -ENOMEM;
	page_trylock(pager, page);
	page_set(page, PG_swapbacked | PG_fresh | (why == READ_AHEAD ? PG_readahead : 0));
	/* before the page takes the shadow's place in the slot */
	uint32_t refaulted = workingset_refault(pager, page, entry, why);

	page->mapping = (void *)PAGE_MAPPING_ANON;
	add_to_swap_cache(pager, page, entry);
	page_step(pager, page, "add_to_swap_cache", 0);
	int error = swap_readpage(pager, page, plug);

	if (error) {
		page_unlock(pager, page);
		page_clear(page, PG_readahead); /* it was never read */
		delete_from_swap_cache(pager, page, NO_SHADOW);
		page_put(pager, page);
		return error;
	}
	page_set(page, refaulted);
	lru_cache_add(pager, page);
	page_step(pager, page, "read_swap_cache_async", 0);
	if (why == READ_AHEAD)
		pager->stats->readahead++;
	return 0;
}

/* Is the page at @index on a device, and not in memory? Then *entry is its slot. */
static bool wants_reading(struct pager *pager, struct vma *vma, uint32_t index, swp_entry_t *entry)
{
	pte_t pte = word_at(vma, index);

	if (!pte_is_swap(pte))
		return false;
	*entry = pte_entry(pte);
	return !slot_page(pager, *entry) && !(swap_slot(pager, *entry)->flags & (SLOT_POISONED | SLOT_ALONE));
}

/* Read the page at @index ahead, if it needs that. Returns false if no more pages can be read for now. */
static bool read_one(struct pager *pager, struct vma *vma, uint32_t index, struct plug *plug)
{
	swp_entry_t entry;

	if (frames_below_low(pager))
		return false;
	return !wants_reading(pager, vma, index, &entry) ||
	       !read_swap_cache_async(pager, entry, READ_AHEAD, plug);
}

/*
 * For a stream that goes down, start at the far end, so that frames ascend with the addresses, and machines move the
 * pages in one call. => there are frames for all of them
 */
static void read_upwards(
	struct pager *pager, struct vma *vma, struct fault_stream *stream, unsigned want, struct plug *plug)
{
	for (unsigned i = want; i-- > stream->ahead && read_one(pager, vma, stream_page(stream, i), plug);)
		;
	stream->ahead = (uint16_t)max_u64(stream->ahead, want);
}

/*
 * Frames become free in batches, and a request for only a few of them would cost the device more than it brings. So a
 * stream that still has half a window ahead waits until there are frames for another half.
 */
static bool can_wait(struct pager *pager, const struct fault_stream *stream)
{
	return stream->ahead > stream->window / 2 && frames_above_low(pager) < stream->window / 2u;
}

void swapin_ahead(struct pager *pager, struct vma *vma, struct fault_stream *stream, struct plug *plug)
{
	if (!stream || stream->window < 2 || stream->ahead > stream->window || !vma_has(vma, stream->next))
		return;
	unsigned want = (unsigned)min_u64(2u * stream->window, pages_left(vma, stream, stream->next));

	if (stream->ahead < want && !can_wait(pager, stream)) {
		if (stream->step == -1 && frames_above_low(pager) >= want)
			read_upwards(pager, vma, stream, want, plug);
		while (stream->ahead < want && read_one(pager, vma, stream_page(stream, stream->ahead), plug))
			stream->ahead++;
	}
	if (frames_below_low(pager)) /* before the next fault asks for frames */
		pager_wake_kswapd(pager);
}

int swapin_readahead(struct pager *pager, struct vma *vma, struct fault_stream *stream, uint32_t index,
	swp_entry_t entry, struct plug *plug)
{
	bool alone = swap_slot(pager, entry)->flags & SLOT_ALONE;
	bool expected = !alone && stream && stream->next == index;
	int error = read_swap_cache_async(
		pager, entry, expected && stream->window > 1 ? READ_EXPECTED : READ_ASKED, plug);

	if (error || !expected)
		return error;
	if (stream->ahead > 0) /* it was read ahead, and evicted before anybody used it */
		stream_too_early(stream);
	stream->ahead = 1;
	swapin_ahead(pager, vma, stream, plug);
	return 0;
}

unsigned swapin_willneed(struct pager *pager, struct vma *vma, uint32_t index, uint32_t end)
{
	uint64_t before = pager->stats->readahead;
	bool more = true;

	while (more && index < end) {
		struct plug plug;

		plug_init(&plug);
		for (unsigned i = 0; more && i < SWAP_IO_PAGES && index < end; i++)
			more = read_one(pager, vma, index++, &plug);
		plug_submit(pager, &plug);
		walk_rest_now(pager); /* the caller holds the space lock: the VMA stays */
	}
	return (unsigned)(pager->stats->readahead - before);
}

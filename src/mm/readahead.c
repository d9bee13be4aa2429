/* SPDX-License-Identifier: MIT */
/* Readahead and birth-around; see readahead.h. */
#include "mm/mm.h"

static uint32_t vma_end_index(const struct vma *vma)
{
	return (uint32_t)space_index(vma->space, vma->end);
}

/* Small pagers must not fill themselves with what may be needed. */
static unsigned window_max(const struct pager *pager)
{
	return (unsigned)min_u64(READAHEAD_MAX, max_u64(pager->nr_frames / 64, 1));
}

/* Pages of the run that were never evicted do not fault: a stream may skip up to a window of them. */
static bool stream_continues(const struct fault_stream *s, uint32_t index)
{
	return s->window && (index - s->next <= s->window || index == s->last);
}

struct fault_stream *stream_for(struct vma *vma, uint32_t index)
{
	struct fault_stream *oldest = &vma->streams.at[0], *found = NULL;
	unsigned max = window_max(vma->space->pager);

	for (unsigned i = 0; i < NR_STREAMS; i++) {
		struct fault_stream *s = &vma->streams.at[i];

		if (s->age < UINT16_MAX)
			s->age++;
		if (!found && stream_continues(s, index))
			found = s;
		if (s->age > oldest->age || (!s->window && oldest->window))
			oldest = s;
	}
	if (vma->flags & VM_RAND_READ)
		found = NULL;
	if (!found) {
		found = oldest;
		*found = (struct fault_stream){.next = index, .ahead = index, .window = 1};
	} else if (index != found->last) {
		found->window = (uint16_t)min_u64(found->window * 2u, max);
	}
	found->last = index;
	if (vma->flags & VM_SEQ_READ)
		found->window = (uint16_t)max;
	found->age = 0;
	return found;
}

unsigned stream_around(const struct vma *vma, const struct fault_stream *stream, uint32_t index)
{
	return (unsigned)min_u64(min_u64(stream->window, FAULT_AROUND), vma_end_index(vma) - index);
}

void stream_served(struct fault_stream *stream, uint32_t next)
{
	stream->next = next;
	if ((int32_t)(stream->ahead - next) < 0)
		stream->ahead = next;
}

/* ---- Reading ------------------------------------------------------------------------------ */

/* Refault distance: was the page removed more recently than the active list is long? Then it is part of the working set. */
static uint32_t workingset_refault(struct pager *pager, struct page *page, swp_entry_t entry)
{
	struct node *node = page_node(pager, page);
	uint32_t then;

	if ((pager->policy & PAGER_NO_SHADOWS) || !slot_shadow(pager, entry, &then))
		return 0;
	uint32_t distance = ((uint32_t)node->evictions - then) & SHADOW_MASK;

	return distance <= node->nr_pages[LIST_ACTIVE_ANON] ? PG_active | PG_workingset : 0;
}

int read_swap_cache_async(struct pager *pager, swp_entry_t entry, bool ahead, struct plug *plug)
{
	struct page *page = frame_alloc(pager);

	if (!page)
		return -ENOMEM;
	page_trylock(pager, page);
	page_set(page, PG_swapbacked | PG_fresh | (ahead ? PG_readahead : 0));
	uint32_t refaulted = workingset_refault(pager, page, entry); /* the slot's shadow goes now */

	page->mapping = (void *)PAGE_MAPPING_ANON;
	add_to_swap_cache(pager, page, entry);
	page_step(pager, page, "add_to_swap_cache", 0);
	int error = swap_readpage(pager, page, plug);

	if (error) {
		page_unlock(pager, page);
		delete_from_swap_cache(pager, page, NO_SHADOW);
		page_put(pager, page);
		return error;
	}
	page_set(page, refaulted);
	lru_cache_add(pager, page);
	page_step(pager, page, "read_swap_cache_async", 0);
	if (ahead)
		pager->stats->readahead++;
	return 0;
}

/* The PTE at @index of the space; for shmem, whose PTEs hold no swap entries, the page cache's word. */
static pte_t word_at(const struct vma *vma, uint32_t index)
{
	pte_slot_t *ptep = pgtable_find(&vma->space->pgtable, index);
	pte_t pte = ptep ? pte_load(ptep) : 0;

	if (!pte_is_none(pte) || !vma->file)
		return pte;
	ptep = pgtable_find(&vma->file->cache, vma_page_index(vma, index_addr(vma->space, index)));
	return ptep ? pte_load(ptep) : 0;
}

/* Is there something at @index to read ahead? */
static bool wants_reading(struct pager *pager, struct vma *vma, uint32_t index, swp_entry_t *entry)
{
	pte_t pte = word_at(vma, index);

	if (!pte_is_swap(pte))
		return false;
	*entry = pte_entry(pte);
	return !slot_page(pager, *entry) && !(swap_slot(pager, *entry)->flags & (SLOT_POISONED | SLOT_ALONE));
}

static unsigned read_range(
	struct pager *pager, struct vma *vma, uint32_t index, uint32_t end, struct plug *plug)
{
	unsigned nr = 0;

	for (; index < end && !frames_below_low(pager); index++) {
		swp_entry_t entry;

		if (!wants_reading(pager, vma, index, &entry))
			continue;
		if (read_swap_cache_async(pager, entry, true, plug))
			break;
		nr++;
	}
	return nr;
}

void swapin_ahead(
	struct pager *pager, struct vma *vma, struct fault_stream *stream, uint32_t index, struct plug *plug)
{
	uint32_t end = (uint32_t)min_u64(index + 2ull * stream->window, vma_end_index(vma));

	if (stream->window < 2 || stream->ahead > index + stream->window || stream->ahead >= end)
		return;
	uint32_t from = (uint32_t)max_u64(stream->ahead, index);

	read_range(pager, vma, from, end, plug);
	stream->ahead = end;
}

int swapin_readahead(struct pager *pager, struct vma *vma, struct fault_stream *stream, uint32_t index,
	swp_entry_t entry, struct plug *plug)
{
	bool alone = swap_slot(pager, entry)->flags & SLOT_ALONE;
	int error = read_swap_cache_async(pager, entry, false, plug);

	if (error || alone)
		return error;
	stream->ahead = index + 1;
	swapin_ahead(pager, vma, stream, index, plug);
	return 0;
}

unsigned swapin_willneed(
	struct pager *pager, struct vma *vma, uint32_t index, uint32_t end, struct plug *plug)
{
	return read_range(pager, vma, index, end, plug);
}

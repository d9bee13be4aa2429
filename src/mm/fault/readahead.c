/* SPDX-License-Identifier: MIT */
/* Readahead and birth-around; see readahead.h. */
#include "mm/mm.h"

#include <stdlib.h>
#include <string.h>

/* Faults of others after which a stream is over: pages behind a dead one must not be met by chance. */
#define STREAM_LIFE 64
#define NEIGHBOURS 2 /* so many of the recent faults begin a stream if one was beside this one */

static uint32_t vma_start_index(const struct vma *vma)
{
	return (uint32_t)space_index(vma->space, vma->start);
}

static uint32_t vma_end_index(const struct vma *vma)
{
	return (uint32_t)space_index(vma->space, vma->end);
}

/* Small pagers must not fill themselves with what may be needed. A stride takes a request for each page: a quarter of all, at most. */
static unsigned window_max(const struct pager *pager, int step)
{
	unsigned max = (unsigned)min_u64(READAHEAD_MAX, max_u64(pager->nr_limit / 64, 1));

	return step == 1 || step == -1 ? max : (unsigned)min_u64(max, pager->nr_io / 8);
}

/* How many pages of the stream there are in the VMA from @index on, itself included. => @index in the VMA */
static uint32_t pages_left(const struct vma *vma, const struct fault_stream *s, uint32_t index)
{
	uint32_t room = s->step > 0 ? vma_end_index(vma) - 1 - index : index - vma_start_index(vma);

	return room / (uint32_t)abs(s->step) + 1;
}

static uint32_t page_at(const struct fault_stream *s, unsigned i)
{
	return s->next + i * (uint32_t)s->step;
}

/* ---- Which stream a fault belongs to ---------------------------------------------------- */

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

/* What was read for @nr pages, from the next one on, and is still unread goes before all others. */
static void stream_cancel(struct vma *vma, const struct fault_stream *s, unsigned nr)
{
	struct pager *pager = vma->space->pager;

	for (unsigned i = 0; i < nr && i < pages_left(vma, s, s->next); i++) {
		pte_t pte = word_at(vma, page_at(s, i));
		struct page *page = pte_is_swap(pte) ? slot_page(pager, pte_entry(pte)) : NULL;

		if (page && page_has(page, PG_readahead)) {
			page_clear(page, PG_active);
			lru_requeue(pager, page);
			rotate_reclaimable_page(pager, page);
		}
	}
}

static bool in_vma(const struct vma *vma, uint32_t index)
{
	return index >= vma_start_index(vma) && index < vma_end_index(vma);
}

static void stream_end(struct vma *vma, struct fault_stream *s)
{
	if (in_vma(vma, s->next))
		stream_cancel(vma, s, s->ahead);
	s->window = 0;
}

/*
 * Is @index where the stream was expected, or behind that within its window? Pages of the run that were never evicted
 * do not fault, so it may skip some.
 */
static bool stream_reaches(const struct fault_stream *s, uint32_t index, uint32_t *skipped)
{
	uint32_t stride = (uint32_t)(s->step > 0 ? s->step : -s->step);
	uint32_t way = s->step > 0 ? index - s->next : s->next - index;

	if (way > s->window * stride || way % stride)
		return false;
	*skipped = way / stride;
	return true;
}

/* If the page that was expected is out, and the program has gone past it, the window closes. */
static void stream_go_on(struct vma *vma, struct fault_stream *s, uint32_t index, uint32_t skipped)
{
	unsigned max = window_max(vma->space->pager, s->step);
	bool missed = skipped > 0 && in_vma(vma, s->next) && !pte_is_present(word_at(vma, s->next));

	if (missed)
		stream_cancel(vma, s, (unsigned)min_u64(skipped, s->ahead));
	s->window = (uint16_t)(missed ? 1 : min_u64(s->window * 2u, max));
	s->ahead -= (uint16_t)min_u64(s->ahead, skipped);
	s->next = s->last = index;
}

static struct fault_stream *stream_find(struct vma *vma, uint32_t index)
{
	struct fault_streams *streams = &vma->streams;

	for (unsigned i = 0; i < NR_STREAMS; i++) {
		struct fault_stream *s = &streams->at[i];
		uint32_t skipped;

		if (!s->window)
			continue;
		if (index == s->last)
			return s;
		if (stream_reaches(s, index, &skipped)) {
			stream_go_on(vma, s, index, skipped);
			return s;
		}
		if ((uint16_t)(streams->clock - s->used) > STREAM_LIFE)
			stream_end(vma, s);
	}
	return NULL;
}

/* ---- How one begins ------------------------------------------------------------------------ */

static bool was_recent(const struct fault_streams *streams, uint32_t index)
{
	bool found = false;

	for (unsigned i = 0; i < NR_RECENT; i++)
		found |= streams->recent[i] == ~index;
	return found;
}

/* What led from the recent faults to @index: 1 or -1 from one of the latest, or three equal steps. 0: nothing. */
static int step_to(const struct fault_streams *streams, uint32_t index)
{
	for (unsigned i = 0; i < NR_RECENT && streams->recent[i]; i++) {
		uint32_t step = index - ~streams->recent[i];

		if (step + STRIDE_MAX > 2 * STRIDE_MAX)
			continue;
		if (i < NEIGHBOURS && step + 1 <= 2)
			return (int)step;
		if (was_recent(streams, index - 2 * step) && was_recent(streams, index - 3 * step))
			return (int)step;
	}
	return 0;
}

/* What lies further back than a stream's life has nothing to do with now. */
static void forget(struct fault_streams *streams)
{
	if ((uint16_t)(streams->clock - streams->remembered) > STREAM_LIFE)
		memset(streams->recent, 0, sizeof(streams->recent));
	streams->remembered = streams->clock;
}

static void remember(struct fault_streams *streams, uint32_t index)
{
	memmove(&streams->recent[1], &streams->recent[0], (NR_RECENT - 1) * sizeof(streams->recent[0]));
	streams->recent[0] = ~index;
}

/*
 * In place of an unused one, or the one that has been quiet for longest. Two pages beside each other are often one object, so
 * nothing is read ahead until a third follows; four at equal distances are proof enough. (A join in sqlite3, half of
 * its memory on a file: 8.2 s when the second page began to read, 5.2 so, 7.3 without any readahead.)
 */
static struct fault_stream *stream_begin(struct vma *vma, uint32_t index, int step)
{
	struct fault_streams *streams = &vma->streams;
	struct fault_stream *oldest = &streams->at[0];

	for (unsigned i = 1; i < NR_STREAMS && oldest->window; i++) {
		struct fault_stream *s = &streams->at[i];

		if (!s->window ||
			(uint16_t)(streams->clock - s->used) > (uint16_t)(streams->clock - oldest->used))
			oldest = s;
	}
	if (oldest->window)
		stream_end(vma, oldest);
	*oldest = (struct fault_stream){.next = index,
		.last = index,
		.window = step == 1 || step == -1 ? 1
						  : (uint16_t)min_u64(2, window_max(vma->space->pager, step)),
		.step = (int16_t)step};
	return oldest;
}

/* A fault of no stream: does one begin here? */
static struct fault_stream *stream_new(struct vma *vma, uint32_t index)
{
	struct fault_streams *streams = &vma->streams;

	forget(streams);
	if (was_recent(streams, index))
		return NULL;
	int step = step_to(streams, index);

	if (!step && (vma->flags & VM_SEQ_READ))
		step = 1;
	remember(streams, index);
	return step ? stream_begin(vma, index, step) : NULL;
}

struct fault_stream *stream_for(struct vma *vma, uint32_t index)
{
	struct fault_streams *streams = &vma->streams;

	if (vma->flags & VM_RAND_READ)
		return NULL;
	streams->clock++;
	struct fault_stream *s = stream_find(vma, index);

	if (!s)
		s = stream_new(vma, index);
	if (!s)
		return NULL;
	if (vma->flags & VM_SEQ_READ)
		s->window = (uint16_t)window_max(vma->space->pager, s->step);
	s->used = streams->clock;
	return s;
}

unsigned stream_around(const struct vma *vma, const struct fault_stream *stream, uint32_t index)
{
	if (!stream)
		return 1;
	return (unsigned)min_u64(min_u64(stream->window, FAULT_AROUND), pages_left(vma, stream, index));
}

void stream_served(struct fault_stream *stream, uint32_t index, unsigned nr)
{
	if (!stream || stream->next != index) /* it came back to a page behind */
		return;
	stream->next = index + nr * (uint32_t)stream->step;
	stream->ahead -= (uint16_t)min_u64(stream->ahead, nr);
}

/* ---- Reading ------------------------------------------------------------------------------ */

/* Refault distance: was the page removed more recently than the active list is long? Then it is part of the working set. */
static uint32_t workingset_refault(
	struct pager *pager, struct page *page, swp_entry_t entry, enum read_why why)
{
	struct node *node = page_node(pager, page);
	uint32_t then;

	if ((pager->policy & PAGER_NO_SHADOWS) || !slot_shadow(pager, entry, &then))
		return 0;
	uint32_t distance = ((uint32_t)node->evictions - then) & SHADOW_MASK;

	uint32_t flags = distance <= node->nr_pages[LIST_ACTIVE_ANON] ? PG_active | PG_workingset : 0;

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
	uint32_t refaulted = workingset_refault(pager, page, entry, why); /* the slot's shadow goes now */

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

/* Is there something at @index to read ahead? */
static bool wants_reading(struct pager *pager, struct vma *vma, uint32_t index, swp_entry_t *entry)
{
	pte_t pte = word_at(vma, index);

	if (!pte_is_swap(pte))
		return false;
	*entry = pte_entry(pte);
	return !slot_page(pager, *entry) && !(swap_slot(pager, *entry)->flags & (SLOT_POISONED | SLOT_ALONE));
}

/* false: no more pages for now. */
static bool read_one(struct pager *pager, struct vma *vma, uint32_t index, struct plug *plug)
{
	swp_entry_t entry;

	if (frames_below_low(pager))
		return false;
	return !wants_reading(pager, vma, index, &entry) ||
	       !read_swap_cache_async(pager, entry, READ_AHEAD, plug);
}

/*
 * A window behind is read from its far end on, so that frames ascend with the addresses and machines move the pages in
 * one go. => there are frames for all of it
 */
static void read_upwards(
	struct pager *pager, struct vma *vma, struct fault_stream *stream, unsigned want, struct plug *plug)
{
	for (unsigned i = want; i-- > stream->ahead && read_one(pager, vma, page_at(stream, i), plug);)
		;
	stream->ahead = (uint16_t)max_u64(stream->ahead, want);
}

/*
 * Frames come back in batches. A request for each few of them would cost the device more than it brings: while it has half a
 * window to do, it waits until there are frames for half a window more.
 */
static bool can_wait(struct pager *pager, const struct fault_stream *stream)
{
	return stream->ahead > stream->window / 2 && frames_above_low(pager) < stream->window / 2u;
}

void swapin_ahead(struct pager *pager, struct vma *vma, struct fault_stream *stream, struct plug *plug)
{
	if (!stream || stream->window < 2 || stream->ahead > stream->window || !in_vma(vma, stream->next))
		return;
	unsigned want = (unsigned)min_u64(2u * stream->window, pages_left(vma, stream, stream->next));

	if (stream->ahead < want && !can_wait(pager, stream)) {
		if (stream->step == -1 && frames_above_low(pager) >= want)
			read_upwards(pager, vma, stream, want, plug);
		while (stream->ahead < want && read_one(pager, vma, page_at(stream, stream->ahead), plug))
			stream->ahead++;
	}
	if (frames_below_low(pager)) /* before the next request asks for them */
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
	if (stream->ahead > 0) /* it was read, and evicted before anybody came: too early */
		stream->window = (uint16_t)max_u64(stream->window / 2u, 1);
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
	}
	return (unsigned)(pager->stats->readahead - before);
}

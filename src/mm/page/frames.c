/* SPDX-License-Identifier: MIT */
/* Free frames and watermarks; see frames.h. */
#include "mm/mm.h"

#include <string.h>

#define POISON 0x5a

/* The bytes of struct pages that were never touched: the host has given no memory for them, so they are not counted. */
static uint64_t untouched_bytes(const struct node *node)
{
	return (uint64_t)(node->nr - node->nr_ready) * sizeof(struct page);
}

static int node_init(struct pager *pager, struct node *node, pfn_t first, uint32_t nr, uint32_t reserved)
{
	node->first = first;
	node->nr = nr;
	node->nr_words = (nr + 63) / 64;
	node->free_map = pager_chunk_alloc(pager, page_align_up(node->nr_words * sizeof(uint64_t)));
	if (!node->free_map)
		return -ENOMEM;
	for (int i = 0; i < NR_LISTS; i++)
		TAILQ_INIT(&node->lists[i]);
	pager->metadata_bytes -= untouched_bytes(node);
	watermarks_set(&node->wmark, nr - reserved);
	return reserve_init(pager, node, reserved);
}

uint32_t node_share(const struct pager *pager, unsigned n, uint32_t nr)
{
	uint32_t each = nr / pager->nr_nodes;

	return n + 1 == pager->nr_nodes ? nr - n * each : each;
}

int frames_init(struct pager *pager)
{
	uint32_t each = pager->nr_frames / pager->nr_nodes;
	uint32_t reserved = pager->nr_frames - pager->nr_limit;

	pager->pages = pager_chunk_alloc(pager, page_align_up(pager->nr_frames * sizeof(struct page)));
	if (!pager->pages)
		return -ENOMEM;
	for (unsigned n = 0; n < pager->nr_nodes; n++) {
		int error = node_init(pager, &pager->nodes[n], n * each,
			node_share(pager, n, pager->nr_frames), node_share(pager, n, reserved));

		if (error)
			return error;
	}
	return 0;
}

void frames_destroy(struct pager *pager)
{
	for (unsigned n = 0; n < pager->nr_nodes; n++) {
		struct node *node = &pager->nodes[n];

		reserve_destroy(pager, node);
		pager->metadata_bytes += untouched_bytes(node);
		if (node->free_map)
			pager_chunk_free(
				pager, node->free_map, page_align_up(node->nr_words * sizeof(uint64_t)));
	}
	if (pager->pages)
		pager_chunk_free(pager, pager->pages, page_align_up(pager->nr_frames * sizeof(struct page)));
}

struct node *page_node(struct pager *pager, const struct page *page)
{
	uint32_t each = pager->nr_frames / pager->nr_nodes;
	uint32_t n = page_pfn(pager, page) / each;

	return &pager->nodes[n < pager->nr_nodes ? n : pager->nr_nodes - 1];
}

/* The first free frame at or after the cursor; after the last frame the search goes on at the first. => one is free */
static uint32_t node_next_free(const struct node *node)
{
	uint32_t w = node->cursor / 64;
	uint64_t word = node->free_map[w] & (~0ull << (node->cursor % 64));

	while (!word) {
		w = w + 1 == node->nr_words ? 0 : w + 1;
		word = node->free_map[w];
	}
	return w * 64 + (uint32_t)__builtin_ctzll(word);
}

static bool node_is_free(const struct node *node, uint32_t frame)
{
	return node->free_map[frame / 64] >> (frame % 64) & 1;
}

static unsigned node_take_free(struct node *node, unsigned want, uint32_t *first)
{
	uint32_t at = node_next_free(node);
	unsigned got = 0;

	*first = at;
	while (got < want && at + got < node->nr && node_is_free(node, at + got)) {
		node->free_map[(at + got) / 64] &= ~(1ull << ((at + got) % 64));
		got++;
	}
	node->nr_free -= got;
	node->cursor = at + got < node->nr ? at + got : 0;
	return got;
}

/* => a frame is free */
static uint32_t node_last_free(const struct node *node)
{
	uint32_t w = (node->free_end - 1) / 64;

	while (!node->free_map[w])
		w--;
	return w * 64 + 63 - (uint32_t)__builtin_clzll(node->free_map[w]);
}

unsigned node_take_top(struct node *node, unsigned want, uint32_t *first)
{
	uint32_t at = node_last_free(node);
	unsigned got = 0;

	while (got < want && got <= at && node_is_free(node, at - got)) {
		node->free_map[(at - got) / 64] &= ~(1ull << ((at - got) % 64));
		got++;
	}
	node->nr_free -= got;
	*first = node->free_end = at + 1 - got;
	return got;
}

/* Make the struct pages of the frames below @end, as those of free frames, if they were never made. */
static void make_ready(struct pager *pager, struct node *node, uint32_t end)
{
	for (; node->nr_ready < end; node->nr_ready++) {
		struct page *page = &pager->pages[node->first + node->nr_ready];

		page->_mapcount = -1;
		page_set_list(page, LIST_FREE);
		pager->metadata_bytes += sizeof(struct page);
	}
}

bool frame_is_ready(struct pager *pager, const struct page *page)
{
	const struct node *node = page_node(pager, page);

	return page_pfn(pager, page) - node->first < node->nr_ready;
}

/* Count the frames, and init their pages. => @nr frames from @frame on have just left the map of free frames */
static void frames_taken(struct pager *pager, struct node *node, uint32_t frame, unsigned nr)
{
	make_ready(pager, node, frame + nr);
	for (unsigned i = 0; i < nr; i++)
		page_init(&pager->pages[node->first + frame + i]);
	pager->nr_used += nr;
	frames_note_peak(pager);
}

static unsigned node_take_run(struct pager *pager, struct node *node, unsigned want, struct page **first)
{
	uint32_t at;
	unsigned got = node_take_free(node, want, &at);

	*first = &pager->pages[node->first + at];
	frames_taken(pager, node, at, got);
	return got;
}

struct node *node_with_most_free(struct pager *pager)
{
	struct node *best = &pager->nodes[0];

	for (unsigned n = 1; n < pager->nr_nodes; n++)
		if (pager->nodes[n].nr_free > best->nr_free)
			best = &pager->nodes[n];
	return best;
}

unsigned frame_alloc_run(struct pager *pager, unsigned want, struct page **first)
{
	struct node *node = node_with_most_free(pager);
	unsigned got = 0;

	if (frames_to_give(pager) > 0) {
		uint32_t spare = node->nr_free > node->wmark.low ? node->nr_free - node->wmark.low : 1;

		got = node_take_run(pager, node, (unsigned)min_u64(want, spare), first);
	}
	if (node->nr_free < node->wmark.low)
		pager_wake_kswapd(pager);
	return got;
}

struct page *frame_alloc(struct pager *pager)
{
	struct page *page = NULL;

	return frame_alloc_run(pager, 1, &page) ? page : NULL;
}

struct page *frame_alloc_node(struct pager *pager, unsigned nr)
{
	struct node *node = &pager->nodes[nr];
	struct page *page = NULL;

	if (node->nr_free > node->wmark.low)
		node_take_run(pager, node, 1, &page);
	else
		pager_wake_kswapd(pager);
	return page;
}

struct page *frame_alloc_below(struct pager *pager, struct node *node, pfn_t below)
{
	if (node->nr_free <= node->wmark.min)
		return NULL;
	for (uint32_t w = 0; w < node->nr_words && node->first + w * 64 < below; w++) {
		if (!node->free_map[w])
			continue;
		uint32_t frame = w * 64 + (uint32_t)__builtin_ctzll(node->free_map[w]);

		if (node->first + frame >= below)
			return NULL;
		node->free_map[w] &= ~(1ull << (frame % 64));
		node->nr_free--;
		frames_taken(pager, node, frame, 1);
		return &pager->pages[node->first + frame];
	}
	return NULL;
}

void node_gained(struct pager *pager, struct node *node)
{
	if (unlikely(node->stalled)) {
		node->stalled = false;
		pager_have_reclaimed(pager);
	}
	if (node->nr_free > 0)
		pager_frame_event(pager);
}

void frame_free(struct pager *pager, struct page *page)
{
	struct node *node = page_node(pager, page);
	uint32_t frame = page_pfn(pager, page) - node->first;

	assert(!node_is_free(node, frame));
	node->free_map[frame / 64] |= 1ull << (frame % 64);
	node->free_end = frame < node->free_end ? node->free_end : frame + 1;
	node->nr_free++;
	pager->nr_used--;
	page_set_list(page, LIST_FREE);
#ifndef NDEBUG
	if (pager->machine->ops->can_share) /* its frames always have memory */
		memset(pager->machine->ops->frame_bytes(pager->machine, page_pfn(pager, page)), POISON,
			PAGE_BYTES);
#endif
	node_gained(pager, node);
}

uint32_t frames_in_use(const struct pager *pager)
{
	return pager->nr_used + pager->nr_lent;
}

void frames_note_peak(struct pager *pager)
{
	pager->stats->frames_peak = max_u64(pager->stats->frames_peak, frames_in_use(pager));
}

uint32_t frames_free(const struct pager *pager)
{
	return pager->nr_frames - pager->nr_used - pager->nr_reserved;
}

uint32_t frames_to_give(const struct pager *pager)
{
	uint32_t nr = frames_free(pager);

	return nr - (uint32_t)min_u64(nr, pager->owed);
}

bool frames_below_min(const struct pager *pager)
{
	for (unsigned n = 0; n < pager->nr_nodes; n++)
		if (pager->nodes[n].nr_free > pager->nodes[n].wmark.min)
			return false;
	return true;
}

uint32_t frames_above_low(const struct pager *pager)
{
	uint32_t nr = 0;

	for (unsigned n = 0; n < pager->nr_nodes; n++)
		if (pager->nodes[n].nr_free > pager->nodes[n].wmark.low)
			nr += pager->nodes[n].nr_free - pager->nodes[n].wmark.low;
	return nr;
}

bool frames_below_low(const struct pager *pager)
{
	return frames_above_low(pager) == 0;
}

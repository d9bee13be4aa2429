/* SPDX-License-Identifier: MIT */
/* Frames that the limit does not pay for; see reserve.h. */
#include "mm/mm.h"

/* frames whose memory one call of the machine gives back, at most: the pager lock is taken in between */
#define RELEASE_MAX 256

static size_t map_bytes(const struct node *node)
{
	return page_align_up(node->nr_words * sizeof(uint64_t));
}

static void set_bits(uint64_t *map, uint32_t first, uint32_t nr)
{
	for (uint32_t i = first; i < first + nr; i++)
		map[i / 64] |= 1ull << (i % 64);
}

int reserve_init(struct pager *pager, struct node *node, uint32_t nr)
{
	node->reserved_map = pager_chunk_alloc(pager, map_bytes(node));
	if (!node->reserved_map)
		return -ENOMEM;
	set_bits(node->reserved_map, node->nr - nr, nr);
	node->nr_reserved = node->wanted = nr;
	pager->nr_reserved += nr;
	set_bits(node->free_map, 0, node->nr - nr);
	node->nr_free = node->nr - nr;
	return 0;
}

void reserve_destroy(struct pager *pager, struct node *node)
{
	if (node->reserved_map)
		pager_chunk_free(pager, node->reserved_map, map_bytes(node));
}

/* The reserved frames @bits of word @w become free. */
static void word_back(struct pager *pager, struct node *node, uint32_t w, uint64_t bits)
{
	uint32_t nr = (uint32_t)__builtin_popcountll(bits);

	node->reserved_map[w] &= ~bits;
	node->free_map[w] |= bits;
	node->nr_reserved -= nr;
	node->nr_free += nr;
	pager->nr_reserved -= nr;
}

/* Free the reserved frames that are too many. The lowest go first, so that the struct pages in use stay together. */
static void reserve_trim(struct pager *pager, struct node *node)
{
	for (uint32_t w = 0; w < node->nr_words && node->nr_reserved > node->wanted; w++) {
		uint64_t bits = node->reserved_map[w];

		while ((uint32_t)__builtin_popcountll(bits) > node->nr_reserved - node->wanted)
			bits &= ~(1ull << (63 - __builtin_clzll(bits)));
		if (bits)
			word_back(pager, node, w, bits);
	}
	if (node->nr_free > 0)
		pager_frame_event(pager);
}

void reserve_want(struct pager *pager, struct node *node, uint32_t nr)
{
	node->wanted = nr;
	node->stalled = false;
	watermarks_set(&node->wmark, node->nr - nr);
	reserve_trim(pager, node);
}

uint32_t reserve_missing(const struct node *node)
{
	return node->stalled || node->nr_reserved >= node->wanted ? 0 : node->wanted - node->nr_reserved;
}

/* The machine gives the memory of frames that nobody can reach back to the host. Drops the lock. */
static void release(struct pager *pager, struct page *first, unsigned nr)
{
	struct machine *machine = pager->machine;

	if (!machine->ops->frame_drop)
		return;
	pager_unlock(pager);
	machine->ops->frame_drop(machine, page_pfn(pager, first), nr);
	pager_lock(pager);
}

/* The highest free frames are taken first, so that struct pages which were never touched stay untouched. */
void reserve_fill(struct pager *pager, struct node *node)
{
	uint32_t at = node->nr;

	while (reserve_missing(node) > 0 && node->nr_free > node->wmark.min) {
		uint32_t spare = node->nr_free - node->wmark.min;
		unsigned nr = node_take_top(
			node, (unsigned)min_u64(min_u64(spare, reserve_missing(node)), RELEASE_MAX), &at);
		uint32_t first = at;

		node->nr_reserved += nr;
		pager->nr_reserved += nr;
		release(pager, &pager->pages[node->first + first], nr);
		set_bits(node->reserved_map, first, nr);
		reserve_trim(pager, node); /* the limit may have been raised meanwhile */
	}
}

bool frame_is_reserved(struct pager *pager, const struct page *page)
{
	const struct node *node = page_node(pager, page);
	uint32_t frame = page_pfn(pager, page) - node->first;

	return node->reserved_map[frame / 64] >> (frame % 64) & 1;
}

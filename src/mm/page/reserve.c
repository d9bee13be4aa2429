/* SPDX-License-Identifier: MIT */
/* Frames whose memory is elsewhere: above the limit, or lent to swap devices; see reserve.h. */
#include "mm/mm.h"

/* What goes on its way in one go: runs of frames that follow each other, and frames of one run. */
#define GOING_RUNS 32
#define GOING_RUN 256

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
	node->nr_free = node->free_end = node->nr - nr;
	return 0;
}

void reserve_destroy(struct pager *pager, struct node *node)
{
	if (node->reserved_map)
		pager_chunk_free(pager, node->reserved_map, map_bytes(node));
}

bool frame_is_reserved(struct pager *pager, const struct page *page)
{
	const struct node *node = page_node(pager, page);
	uint32_t frame = page_pfn(pager, page) - node->first;

	return node->reserved_map[frame / 64] >> (frame % 64) & 1;
}

/* ---- From reserved to free ------------------------------------------------------------------------------ */

/* The reserved frames @bits of word @w become free. */
static void word_back(struct pager *pager, struct node *node, uint32_t w, uint64_t bits)
{
	uint32_t nr = (uint32_t)__builtin_popcountll(bits),
		 end = w * 64 + 64 - (uint32_t)__builtin_clzll(bits);

	node->reserved_map[w] &= ~bits;
	node->free_map[w] |= bits;
	node->free_end = end > node->free_end ? end : node->free_end;
	node->nr_reserved -= nr;
	node->nr_free += nr;
	pager->nr_reserved -= nr;
}

/* How many reserved frames nobody wants. */
static uint32_t too_many(const struct node *node)
{
	uint32_t owned = node->wanted + node->nr_lent;

	return node->nr_reserved > owned ? node->nr_reserved - owned : 0;
}

/* Free the reserved frames that are too many. The lowest go first, so that the struct pages in use stay together. */
static void reserve_trim(struct pager *pager, struct node *node)
{
	for (uint32_t w = 0; w < node->nr_words && too_many(node) > 0; w++) {
		uint64_t bits = node->reserved_map[w];

		while ((uint32_t)__builtin_popcountll(bits) > too_many(node))
			bits &= ~(1ull << (63 - __builtin_clzll(bits)));
		if (bits)
			word_back(pager, node, w, bits);
	}
	node_gained(pager, node);
}

/* ---- From free to reserved ------------------------------------------------------------------------------ */

/* Runs of frames on their way: they are in neither map, so nobody can reach them, and their memory is still there. */
struct going {
	pfn_t first[GOING_RUNS];
	unsigned run[GOING_RUNS];
	unsigned nr;
	uint32_t total; /* frames in all runs */
};

/*
 * One more run, of up to @want free frames of the node. The highest free frames are taken first, so that struct pages
 * which were never touched stay untouched. Returns how many. => the node has a free frame, @going has room for a run
 */
static unsigned going_add(struct pager *pager, struct node *node, uint32_t want, struct going *going)
{
	uint32_t first;
	unsigned nr = node_take_top(node, (unsigned)min_u64(want, GOING_RUN), &first);

	node->nr_reserved += nr;
	pager->nr_reserved += nr;
	going->first[going->nr] = node->first + first;
	going->run[going->nr++] = nr;
	going->total += nr;
	return nr;
}

/* The machine gives the memory of frames that nobody can reach back to the host; they are reserved then. Drops the lock. */
static void frames_go(struct pager *pager, const struct going *going)
{
	struct machine *machine = pager->machine;

	if (machine->ops->frame_drop) {
		pager_unlock(pager);
		for (unsigned i = 0; i < going->nr; i++)
			machine->ops->frame_drop(machine, going->first[i], going->run[i]);
		pager_lock(pager);
	}
	for (unsigned i = 0; i < going->nr; i++) {
		struct node *node = page_node(pager, pfn_page(pager, going->first[i]));

		set_bits(node->reserved_map, going->first[i] - node->first, going->run[i]);
	}
}

/* ---- For the limit -------------------------------------------------------------------------------------- */

void reserve_want(struct pager *pager, struct node *node, uint32_t nr)
{
	node->wanted = nr;
	node->stalled = false;
	watermarks_set(&node->wmark, node->nr - nr);
	reserve_trim(pager, node);
}

uint32_t reserve_lacks(const struct node *node)
{
	uint32_t owned = node->wanted + node->nr_lent;

	return node->nr_reserved < owned ? owned - node->nr_reserved : 0;
}

uint32_t reserve_missing(const struct node *node)
{
	return node->stalled ? 0 : reserve_lacks(node);
}

void reserve_fill(struct pager *pager, struct node *node)
{
	while (reserve_missing(node) > 0 && node->nr_free > node->wmark.min) {
		uint32_t want = (uint32_t)min_u64(node->nr_free - node->wmark.min, reserve_missing(node));
		struct going going = {.nr = 0};

		while (going.total < want && going.nr < GOING_RUNS)
			going_add(pager, node, want - going.total, &going);
		frames_go(pager, &going);
		reserve_trim(pager, node); /* the limit may have been raised meanwhile */
	}
}

/* ---- For devices ---------------------------------------------------------------------------------------- */

static bool area_shares(const struct swap_area *area)
{
	return area->dev && area->dev->shares_memory && !area->inherited;
}

/* Frames whose memory the stores of a fork's parent hold. This process cannot take them back. */
static uint32_t inherited_lent(const struct pager *pager)
{
	uint32_t nr = 0;

	for (unsigned type = 0; type < pager->nr_areas; type++)
		if (pager->areas[type].inherited)
			nr += pager->areas[type].nr_lent;
	return nr;
}

/*
 * How many frames @area may have at most. Of the frames that reclaim can free, a quarter stays with the program, and at
 * least PAGER_MIN_FRAMES, whatever the devices want.
 */
static uint32_t most_lent(struct pager *pager, struct swap_area *area)
{
	uint64_t stay = inherited_lent(pager) + pager->nr_mlocked;
	uint32_t frames = pager->nr_limit - (uint32_t)min_u64(stay, pager->nr_limit);
	uint32_t most =
		frames > PAGER_MIN_FRAMES ? (uint32_t)min_u64(frames / 4 * 3, frames - PAGER_MIN_FRAMES) : 0;

	return (uint32_t)min_u64(most, tier_most(pager, area));
}

static uint32_t area_wanted(struct pager *pager, struct swap_area *area)
{
	return (uint32_t)min_u64(area->dev->ops->memory_wanted(area->dev), most_lent(pager, area));
}

static uint32_t area_has(const struct swap_area *area)
{
	return area->nr_lent + area->lending;
}

/* Lend up to @want free frames, whatever the watermarks say; the device is told when they are there. Drops the lock. */
static uint32_t area_lend(struct pager *pager, struct swap_area *area, uint32_t want)
{
	struct going going = {.nr = 0};
	struct node *node;

	while (going.total < want && going.nr < GOING_RUNS &&
		(node = node_with_most_free(pager))->nr_free > 0)
		node->nr_lent += going_add(pager, node, want - going.total, &going);
	if (going.nr == 0)
		return 0;
	pager->nr_lent += going.total;
	area->lending += going.total;
	frames_note_peak(pager);
	frames_go(pager, &going);
	area->lending -= going.total;
	area->nr_lent += going.total;
	if (area->off) /* swapoff waits for this */
		pager_event(pager);
	if (area->inherited)
		return going.total;
	area->dev->ops->memory_grant(area->dev, area->nr_lent, most_lent(pager, area));
	area->full = false;
	return going.total;
}

/* Lent frames become free, or the limit's, until the area has @keeps of them. */
static void take_back(struct pager *pager, struct swap_area *area, uint32_t keeps)
{
	for (unsigned n = 0; n < pager->nr_nodes && area->nr_lent > keeps; n++) {
		struct node *node = &pager->nodes[n];
		uint32_t nr = (uint32_t)min_u64(area->nr_lent - keeps, node->nr_lent);

		area->nr_lent -= nr;
		node->nr_lent -= nr;
		pager->nr_lent -= nr;
		reserve_trim(pager, node);
	}
}

void lend_end(struct pager *pager, struct swap_area *area)
{
	assert(area->lending == 0);
	take_back(pager, area, 0);
}

/* Lend to one area, or take back from it. Returns how many frames it is still to get. Drops the lock. */
static uint32_t area_settle(struct pager *pager, struct swap_area *area)
{
	uint32_t wanted = area_wanted(pager, area), has = area_has(area);

	/*
	 * A little too much is not taken back: the device would ask for it again soon. The grant is repeated because
	 * its @most may have changed: if the device's tables grow, its store may have less.
	 */
	if (has > wanted + wanted / 16 + 16)
		take_back(
			pager, area, area->dev->ops->memory_grant(area->dev, wanted, most_lent(pager, area)));
	else
		area->dev->ops->memory_grant(area->dev, area->nr_lent, most_lent(pager, area));
	if (has >= wanted || area->off) /* with area->off its content is on its way out */
		return 0;
	return wanted - has - area_lend(pager, area, wanted - has);
}

void lend_settle(struct pager *pager)
{
	uint32_t owed = 0;

	for (unsigned type = 0; type < pager->nr_areas; type++) {
		struct swap_area *area = &pager->areas[type];

		if (area_shares(area))
			owed += area_settle(pager, area);
		else if (area->inherited && !pager->disowns && area_has(area) < area->nr_disowned)
			area_lend(pager, area, area->nr_disowned - area_has(area)); /* we pay for it now */
	}
	pager->owed = owed;
}

void pager_disown(struct pager *pager)
{
	pager_lock(pager);
	for (unsigned type = 0; type < pager->nr_areas; type++) {
		struct swap_area *area = &pager->areas[type];

		if (!area->inherited || area->nr_lent == 0)
			continue;
		area->nr_disowned = area->nr_lent;
		take_back(pager, area, 0);
	}
	pager->disowns = true;
	pager_unlock(pager);
}

void pager_own(struct pager *pager)
{
	pager_lock(pager);
	pager->disowns = false;
	pager_have_reclaimed(pager);
	pager_unlock(pager);
}

static void area_upkeep(struct pager *pager, unsigned type)
{
	struct swapdev *dev = area_enter(pager, type);

	if (!dev)
		return;
	pager_unlock(pager);
	dev->ops->background(dev);
	pager_lock(pager);
	area_leave(pager, type);
}

void lend_upkeep(struct pager *pager)
{
	for (unsigned type = 0; type < pager->nr_areas; type++)
		if (pager->areas[type].dev && !pager->areas[type].inherited &&
			pager->areas[type].dev->ops->background)
			area_upkeep(pager, type);
}

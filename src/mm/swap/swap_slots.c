/* SPDX-License-Identifier: MIT */
/* Swap areas, slots and leases; see swap_slots.h. */
#include "mm/mm.h"

#include <string.h>

/* A slot's word: two bits say its kind, thirty are its content. */
enum { WORD_FREE = 0, WORD_USED = 1, WORD_PAGE = 2, WORD_SHADOW = 3 };

static unsigned word_kind(const struct swap_slot *slot)
{
	return slot->word & 3;
}

static size_t slots_bytes(const struct swap_area *area)
{
	return page_align_up(area->nr_slots * sizeof(struct swap_slot));
}

void area_count_in(struct pager *pager, const struct swap_area *area)
{
	pager->slots_total += area->nr_slots;
	pager->slots_used += area->nr_used;
}

void area_count_out(struct pager *pager, const struct swap_area *area)
{
	assert(pager->slots_total >= area->nr_slots && pager->slots_used >= area->nr_used);
	pager->slots_total -= area->nr_slots;
	pager->slots_used -= area->nr_used;
}

int swap_area_init(struct pager *pager, struct swap_area *area, struct swapdev *dev, int priority)
{
	*area = (struct swap_area){
		.pager = pager, .dev = dev, .priority = priority, .nr_slots = dev->nr_slots};
	/* Not pager_chunk_alloc(): the table costs memory only where it is touched, so slot_take() counts it. */
	area->slots = pager->machine->ops->chunk_alloc(pager->machine, slots_bytes(area));
	area->cluster_memory = pager_chunk_alloc(pager, clusters_bytes(area->nr_slots));
	if (!area->slots || !area->cluster_memory) {
		swap_area_destroy(pager, area);
		*area = (struct swap_area){.pager = pager}; /* the caller keeps the device */
		return -ENOMEM;
	}
	clusters_init(&area->clusters, area->nr_slots, area->cluster_memory);
	area_count_in(pager, area);
	return 0;
}

void swap_area_destroy(struct pager *pager, struct swap_area *area)
{
	if (area->slots)
		pager->machine->ops->chunk_free(pager->machine, area->slots, slots_bytes(area));
	if (area->cluster_memory)
		pager_chunk_free(pager, area->cluster_memory, clusters_bytes(area->nr_slots));
	area->slots = NULL;
	area->cluster_memory = NULL;
}

void swap_area_remove(struct pager *pager, uint8_t type)
{
	struct swap_area *area = &pager->areas[type];
	unsigned kept = 0;

	for (unsigned i = 0; i < pager->nr_ranked; i++)
		if (pager->by_priority[i] != type)
			pager->by_priority[kept++] = pager->by_priority[i];
	pager->nr_ranked = kept;
	pager->metadata_bytes -= area->touched * sizeof(struct swap_slot);
	swap_area_destroy(pager, area);
	*area = (struct swap_area){.pager = pager};
}

/* ---- Doors: which threads are inside a device --------------------------------------------- */

void area_open_door(struct pager *pager, uint8_t type)
{
	struct area_door *door = &pager->doors[type];

	atomic_store(&door->awaited, false);
	atomic_store(&door->open, true);
}

/*
 * A thread that enters counts itself first, then looks whether the door is open. The thread that closes the door closes
 * it first, then looks at the count. With sequential consistency at least one of the two sees the other. The same holds
 * between the last thread that leaves and the thread that waits for it (awaited).
 */
bool area_close_door(struct pager *pager, uint8_t type)
{
	struct area_door *door = &pager->doors[type];

	atomic_store(&door->open, false);
	atomic_store(&door->awaited, true);
	if (atomic_load(&door->holders) > 0)
		return false;
	atomic_store(&door->awaited, false);
	return true;
}

struct swapdev *area_enter(struct pager *pager, unsigned type)
{
	atomic_fetch_add(&pager->doors[type].holders, 1);
	if (atomic_load(&pager->doors[type].open))
		return pager->areas[type].dev;
	area_leave(pager, type);
	return NULL;
}

void area_leave(struct pager *pager, unsigned type)
{
	struct area_door *door = &pager->doors[type];

	if (atomic_fetch_sub(&door->holders, 1) == 1 && unlikely(atomic_load(&door->awaited)))
		pager_event(pager);
}

bool swap_entry_exists(const struct pager *pager, swp_entry_t entry)
{
	return entry.type < pager->nr_areas && entry.slot < pager->areas[entry.type].nr_slots;
}

struct swap_slot *swap_slot(struct pager *pager, swp_entry_t entry)
{
	assert(swap_entry_exists(pager, entry));
	return &pager->areas[entry.type].slots[entry.slot];
}

/* ---- Costs ---------------------------------------------------------------------------- */

bool area_is_quick(struct swap_area *area)
{
	struct swap_cost cost = swapdev_cost(area->dev);

	area->quick = cost_is_quick(&cost, area->quick);
	return area->quick;
}

static bool area_is_flat(struct swap_area *area)
{
	struct swap_cost cost = swapdev_cost(area->dev);

	area->flat = cost_is_flat(&cost, area->flat);
	return area->flat;
}

static bool area_is_short(const struct swap_area *area)
{
	struct swap_cost cost = swapdev_cost(area->dev);

	return cost_room_is_short(&cost);
}

/* ---- Handing out ---------------------------------------------------------------------- */

/*
 * An area is spread when it has touched many more slots than are in use. Then half-free clusters are filled up, rather
 * than new clusters begun. These numbers are the bounds: touched slots for each slot in use.
 *
 *   SPREAD_FLAT   For an area in which neighbours do not matter. Only the memory of the slots' table counts.
 *   SPREAD_FILE   For other areas. Whole clusters make large writes, which is worth some more table and file. But under
 *                 random rewriting no cluster ever gets whole. Without a bound, table and file would grow up to the
 *                 area's size.
 */
#define SPREAD_FLAT 2
#define SPREAD_FILE 3
#define SPREAD_FILE_LEAST (4 * SWAP_CLUSTER) /* slots: below this a file may be sparse */

static bool is_spread(struct swap_area *area)
{
	if (area_is_flat(area))
		return area->touched / SPREAD_FLAT > area->nr_used;
	return area->touched > SPREAD_FILE_LEAST && area->touched / SPREAD_FILE > area->nr_used;
}

/*
 * Move the cursor to the next cluster to take slots from. false: no slot is free. In order of preference:
 *   1. if the area is spread: a half-free cluster. There is one, because more than half of the touched slots are free
 *   2. a whole cluster that was written before: the file system has its blocks ready, and the slots' table its memory
 *   3. a cluster that was never touched
 *   4. a cluster with any free slot
 */
static bool next_cluster(struct swap_area *area)
{
	const struct clusters *c = &area->clusters;
	uint32_t from = area->cursor / SWAP_CLUSTER, next = NO_CLUSTER;
	uint32_t touched = (area->touched + SWAP_CLUSTER - 1) / SWAP_CLUSTER;

	if (is_spread(area))
		next = cluster_next(c, CLUSTER_HALF, from, touched);
	if (next == NO_CLUSTER)
		next = cluster_next(c, CLUSTER_WHOLE, from, touched);
	if (next == NO_CLUSTER && touched < c->nr)
		next = touched;
	if (next == NO_CLUSTER)
		next = cluster_next(c, CLUSTER_SOME, from, touched);
	if (next == NO_CLUSTER)
		return false;
	area->cursor = next * SWAP_CLUSTER;
	return true;
}

/* Find a free slot in the cursor's cluster, at the cursor or behind it. */
static bool slot_in_cluster(struct swap_area *area, uint32_t *slot)
{
	uint32_t c = area->cursor / SWAP_CLUSTER;
	uint32_t end = c * SWAP_CLUSTER + cluster_slots(&area->clusters, c);

	if (area->clusters.free[c] == 0)
		return false;
	for (; area->cursor < end; area->cursor++) {
		if (word_kind(&area->slots[area->cursor]) == WORD_FREE) {
			*slot = area->cursor;
			return true;
		}
	}
	/* Free slots before the cursor are not for now: the next look begins in another cluster (next_cluster). */
	area->cursor = c * SWAP_CLUSTER;
	return false;
}

static bool area_find_slot(struct swap_area *area, uint32_t *slot)
{
	if (area->inherited || area->full || area->off || area->nr_used == area->nr_slots)
		return false;
	if (area->cursor >= area->nr_slots)
		area->cursor = 0;
	return slot_in_cluster(area, slot) || (next_cluster(area) && slot_in_cluster(area, slot));
}

static void slot_take(struct pager *pager, struct swap_area *area, uint32_t at)
{
	struct swap_slot *slot = &area->slots[at];

	*slot = (struct swap_slot){.word = WORD_USED, .flags = SLOT_EMPTY};
	cluster_take(&area->clusters, at / SWAP_CLUSTER);
	area->nr_used++;
	pager->slots_used++; /* without asking area_counts(): slots are only handed out in areas that count */
	if (at >= area->touched) {
		pager->metadata_bytes += (at + 1 - area->touched) * sizeof(*slot);
		area->touched = at + 1;
	}
	/* The cursor must stay in its cluster: only next_cluster() moves it to another one. */
	if (++area->cursor % SWAP_CLUSTER == 0 || area->cursor >= area->nr_slots)
		area->cursor = at;
}

int get_swap_page(struct pager *pager, struct page *page, swp_entry_t *entry)
{
	for (unsigned i = 0; i < pager->nr_ranked; i++) {
		uint8_t type = pager->by_priority[i];
		uint32_t slot;

		if (!area_find_slot(&pager->areas[type], &slot))
			continue;
		slot_take(pager, &pager->areas[type], slot);
		*entry = (swp_entry_t){type, slot};
		slot_set_page(pager, *entry, page);
		return 0;
	}
	return -ENOSPC;
}

/* ---- Giving back ---------------------------------------------------------------------- */

static bool slot_leased(struct pager *pager, swp_entry_t entry)
{
	struct swap_lease *lease;

	TAILQ_FOREACH (lease, &pager->leases, link) {
		const uint64_t *map = lease->map[entry.type];

		if (map && !lease->ends && entry.slot < lease->nr[entry.type] &&
			map[entry.slot / 64] >> (entry.slot % 64) & 1)
			return true;
	}
	return false;
}

static void slot_release(struct pager *pager, swp_entry_t entry)
{
	struct swap_area *area = &pager->areas[entry.type];
	struct swap_slot *slot = swap_slot(pager, entry);
	bool empty = slot->flags & SLOT_EMPTY;

	slot->flags &= SLOT_RETIRED;
	if ((slot->flags & SLOT_RETIRED) && !area->inherited) {
		slot->word = WORD_USED; /* for ever */
		return;
	}
	if (slot_leased(pager, entry)) {
		slot->word = WORD_USED;
		slot->flags = SLOT_DEFERRED;
		return;
	}
	slot->word = WORD_FREE;
	slot->flags = 0;
	/* A slot that was never written frees nothing on the device: the refused pages would be refused again. */
	if (!empty)
		area->full = false;
	if (!area->inherited)
		area->dev->ops->discard(area->dev, entry.slot, 1);
	cluster_give(&area->clusters, entry.slot / SWAP_CLUSTER);
	area->nr_used--;
	if (area_counts(area))
		pager->slots_used--;
}

void swap_duplicate(struct pager *pager, swp_entry_t entry)
{
	struct swap_area *area = &pager->areas[entry.type];
	struct swap_slot *slot = swap_slot(pager, entry);

	assert(word_kind(slot) != WORD_FREE && slot->count < UINT16_MAX);
	area->nr_names++;
	if (slot->count++ > 0)
		return;
	area->nr_named++;
	area->nr_named_cached += word_kind(slot) == WORD_PAGE;
}

void swap_free(struct pager *pager, swp_entry_t entry)
{
	struct swap_area *area = &pager->areas[entry.type];
	struct swap_slot *slot = swap_slot(pager, entry);

	assert(slot->count > 0);
	area->nr_names--;
	if (--slot->count > 0)
		return;
	area->nr_named--;
	area->nr_named_cached -= word_kind(slot) == WORD_PAGE;
	if (word_kind(slot) != WORD_PAGE)
		slot_release(pager, entry);
}

struct page *slot_page(struct pager *pager, swp_entry_t entry)
{
	struct swap_slot *slot = swap_slot(pager, entry);

	return word_kind(slot) == WORD_PAGE ? pfn_page(pager, slot->word >> 2) : NULL;
}

void slot_set_page(struct pager *pager, swp_entry_t entry, struct page *page)
{
	struct swap_area *area = &pager->areas[entry.type];
	struct swap_slot *slot = swap_slot(pager, entry);

	if (word_kind(slot) != WORD_PAGE) {
		area->nr_cached++;
		area->nr_named_cached += slot->count > 0;
	}
	slot->word = (page_pfn(pager, page) << 2) | WORD_PAGE;
}

void slot_clear_page(struct pager *pager, swp_entry_t entry, uint32_t shadow)
{
	struct swap_area *area = &pager->areas[entry.type];
	struct swap_slot *slot = swap_slot(pager, entry);

	assert(word_kind(slot) == WORD_PAGE);
	area->nr_cached--;
	area->nr_named_cached -= slot->count > 0;
	slot->word = shadow == NO_SHADOW ? WORD_USED : ((shadow & SHADOW_MASK) << 2) | WORD_SHADOW;
	if (slot->count == 0)
		slot_release(pager, entry);
}

bool slot_shadow(struct pager *pager, swp_entry_t entry, uint32_t *clock)
{
	struct swap_slot *slot = swap_slot(pager, entry);

	*clock = slot->word >> 2;
	return word_kind(slot) == WORD_SHADOW;
}

bool slot_writable(struct pager *pager, swp_entry_t entry)
{
	const struct swap_area *area = &pager->areas[entry.type];

	return !area->inherited && !area->off && !(swap_slot(pager, entry)->flags & SLOT_RETIRED) &&
	       (TAILQ_EMPTY(&pager->leases) || !slot_leased(pager, entry));
}

void slot_refused(struct pager *pager, swp_entry_t entry)
{
	swap_slot(pager, entry)->flags &= (uint16_t)~SLOT_HASHED;
	pager->areas[entry.type].full = true;
}

bool slot_has_room(struct pager *pager, swp_entry_t entry)
{
	return slot_writable(pager, entry) &&
	       (!pager->areas[entry.type].full || (swap_slot(pager, entry)->flags & SLOT_HASHED));
}

bool vm_swap_full(const struct pager *pager)
{
	for (unsigned type = 0; type < pager->nr_areas; type++)
		if (pager->areas[type].dev && area_is_short(&pager->areas[type]))
			return true;
	return pager->slots_used * 2 > pager->slots_total;
}

/* ---- Leases --------------------------------------------------------------------------- */

static size_t lease_map_bytes(uint32_t nr_slots)
{
	return page_align_up((nr_slots + 63ul) / 64 * sizeof(uint64_t));
}

static void lease_map_free(struct pager *pager, struct swap_lease *lease, unsigned type)
{
	if (lease->map[type])
		pager_chunk_free(pager, lease->map[type], lease_map_bytes(lease->nr[type]));
}

static void lease_free(struct pager *pager, struct swap_lease *lease)
{
	for (unsigned type = 0; type < MAX_SWAP_AREAS; type++)
		lease_map_free(pager, lease, type);
	pager_chunk_free(pager, lease, page_align_up(sizeof(*lease)));
}

/*
 * Add the slots of area @type that are named now to the lease's map. Drops the lock: no name changes while the pager is
 * frozen. false: no memory, and the map is as it was.
 */
static bool lease_fill(struct pager *pager, struct swap_lease *lease, unsigned type)
{
	struct swap_area *area = &pager->areas[type];

	if (area->nr_used == 0 || area->inherited)
		return true;
	uint64_t *map = pager_chunk_alloc(pager, lease_map_bytes(area->touched));

	if (!map)
		return false;
	if (lease->map[type])
		memcpy(map, lease->map[type], (lease->nr[type] + 63ul) / 64 * sizeof(uint64_t));
	for (uint32_t slot = 0; slot < area->touched; slot++) {
		if (area->slots[slot].count > 0)
			map[slot / 64] |= 1ull << (slot % 64);
		walk_rest(pager);
	}
	lease_map_free(pager, lease, type);
	lease->map[type] = map;
	lease->nr[type] = area->touched;
	return true;
}

/*
 * The rule at the head of swap_slots.h: mapped pages leave the swap cache, because their slots can no longer be written
 * once they are leased. Drops the lock: no mapping changes while the pager is frozen.
 */
static void unshare_mapped_pages(struct pager *pager, const struct node *node)
{
	for (uint32_t frame = 0; frame < node->nr_ready; frame++) {
		struct page *page = pfn_page(pager, node->first + frame);

		if (page->_count > 0 && page_mapped(page) && page_has(page, PG_swapcache) &&
			swap_slot(pager, word_entry(page->private))->count == 0) {
			delete_from_swap_cache(pager, page, NO_SHADOW);
			page_set(page, PG_dirty);
		}
		walk_rest(pager);
	}
}

/* Lease all slots that are named now. -ENOMEM: some of them may be leased all the same. */
static int lease_extend(struct pager *pager, struct swap_lease *lease)
{
	assert(pager->frozen);
	for (unsigned n = 0; n < pager->nr_nodes && pager->nr_swapcache > 0; n++)
		unshare_mapped_pages(pager, &pager->nodes[n]);
	for (unsigned type = 0; type < pager->nr_areas; type++)
		if (!lease_fill(pager, lease, type))
			return -ENOMEM;
	return 0;
}

int pager_lease_begin(struct pager *pager, struct swap_lease **out)
{
	int error = -ENOMEM;

	pager_lock(pager);
	struct swap_lease *lease = pager_chunk_alloc(pager, page_align_up(sizeof(*lease)));

	if (lease)
		error = lease_extend(pager, lease);
	if (!error)
		TAILQ_INSERT_TAIL(&pager->leases, lease, link);
	else if (lease)
		lease_free(pager, lease);
	*out = error ? NULL : lease;
	pager_unlock(pager);
	return error;
}

int pager_lease_join(struct pager *pager, struct swap_lease *lease)
{
	pager_lock(pager);
	int error = lease_extend(pager, lease);

	pager_unlock(pager);
	return error;
}

/* Drops the lock. The area stays: swapoff refuses one that a lease in the list has a map of. */
static void free_deferred(struct pager *pager, unsigned type, const struct swap_lease *lease)
{
	struct swap_area *area = &pager->areas[type];

	for (uint32_t slot = 0; lease->map[type] && slot < lease->nr[type]; slot++) {
		if ((lease->map[type][slot / 64] >> (slot % 64) & 1) &&
			(area->slots[slot].flags & SLOT_DEFERRED))
			slot_release(pager, (swp_entry_t){(uint8_t)type, slot});
		walk_rest(pager);
	}
}

void pager_lease_end(struct pager *pager, struct swap_lease *lease)
{
	pager_lock(pager);
	lease->ends = true;
	for (unsigned type = 0; type < pager->nr_areas; type++)
		free_deferred(pager, type, lease);
	TAILQ_REMOVE(&pager->leases, lease, link);
	lease_free(pager, lease);
	pager_event(pager);
	pager_unlock(pager);
}

/* ---- What is inherited ------------------------------------------------------------------ */

/* Free the inherited slots that no PTE names: the parent had a reason to keep them, the child has none. */
static void heir_lets_go(struct pager *pager, struct swap_area *area, uint8_t type)
{
	for (uint32_t at = 0; at < area->touched; at++) {
		struct swap_slot *slot = &area->slots[at];

		if (word_kind(slot) != WORD_FREE && word_kind(slot) != WORD_PAGE && slot->count == 0)
			slot_release(pager, (swp_entry_t){type, at});
	}
}

static int area_inherit(struct pager *pager, uint8_t type)
{
	struct swap_area *area = &pager->areas[type];

	if (!area->inherited) {
		area_count_out(pager, area);
		area->inherited = true;
		heir_lets_go(pager, area, type);
	}
	return area->dev->ops->fork_child ? area->dev->ops->fork_child(area->dev) : -EOPNOTSUPP;
}

uint32_t pager_slots_used(struct pager *pager, const struct swapdev *dev)
{
	uint32_t nr = 0;

	pager_lock(pager);
	for (unsigned type = 0; type < pager->nr_areas; type++)
		if (pager->areas[type].dev == dev)
			nr = pager->areas[type].nr_used;
	pager_unlock(pager);
	return nr;
}

int pager_fork_child(struct pager *pager)
{
	struct space *space;
	int error = 0;

	pager_swapoff_cancel(pager);
	pager_lock(pager);
	TAILQ_FOREACH (space, &pager->spaces, link)
		space->nr_faults = 0; /* the threads that served these faults exist in the parent alone */
	/* The parent keeps its leases. The child writes nothing to inherited areas, so it needs none of them. */
	while (!TAILQ_EMPTY(&pager->leases)) {
		struct swap_lease *lease = TAILQ_FIRST(&pager->leases);

		TAILQ_REMOVE(&pager->leases, lease, link);
		lease_free(pager, lease);
	}
	for (unsigned type = 0; !error && type < pager->nr_areas; type++) {
		atomic_store(
			&pager->doors[type].holders, 0); /* those who were inside are the parent's threads */
		if (pager->areas[type].dev)
			error = area_inherit(pager, (uint8_t)type);
	}
	pager_unlock(pager);
	return error;
}

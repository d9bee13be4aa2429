/* SPDX-License-Identifier: MIT */
/*
 * swapoff: an area gives back all that it holds, and goes.
 *
 *      begin      nothing new comes to it (area->off); enough room elsewhere? Else -ENOMEM at once
 *      unuse      every PTE, and every word of a page cache, that names a slot of it becomes the page: present, dirty
 *      let go     pages whose slot nobody names leave the swap cache
 *      close      no slot is named or cached, nobody is inside the device: it is closed
 *
 * Entries come to other places while this goes on (fork, mremap), but never to new slots: passes are made until none is
 * left. Whenever it fails, or is cancelled, the area takes pages again, and what has come in stays in.
 *
 * The page is mapped armed: rights and marks are the next fault's to give, so VMAs are not asked (they may be PROT_NONE).
 */
#include "mm/mm.h"

#include <string.h>

/* What a step says besides 0 and -errno: the lock was dropped, look again. */
enum { OFF_LOOK_AGAIN = 1 };

static struct swap_area *off_area(struct pager *pager)
{
	return &pager->areas[pager->off.type];
}

static bool is_off_entry(const struct pager *pager, pte_t word)
{
	return pte_is_swap(word) && pte_entry(word).type == pager->off.type;
}

/* ---- Is there room? ------------------------------------------------------------------------------ */

/* Frames that its content will take: what is cached has one; where frames cannot be shared each user needs its own. */
static uint64_t frames_needed(const struct pager *pager, const struct swap_area *area)
{
	return (pager->machine->ops->can_share ? area->nr_named : area->nr_names) - area->nr_named_cached;
}

/* Free frames, pages of files that can be read again, and free slots elsewhere that pages of ours can go to. */
static uint64_t room_elsewhere(struct pager *pager, const struct swap_area *area)
{
	uint64_t nr = 0;

	for (unsigned n = 0; n < pager->nr_nodes; n++) {
		const struct node *node = &pager->nodes[n];

		nr += node->nr_pages[LIST_INACTIVE_FILE] + node->nr_pages[LIST_ACTIVE_FILE];
		nr += node->nr_free - min_u64(node->nr_free, node->wmark.min);
	}
	for (unsigned type = 0; type < pager->nr_areas; type++) {
		const struct swap_area *other = &pager->areas[type];

		if (other != area && other->dev && !other->inherited)
			nr += other->nr_slots - other->nr_used;
	}
	return nr;
}

/* ---- One user of a slot ---------------------------------------------------------------------------- */

static int off_wait_page(struct pager *pager, struct page *page, struct wait *wait)
{
	wait_on_page(pager, page, page_has(page, PG_locked) ? WAIT_PAGE : WAIT_WRITE, wait);
	return -EAGAIN;
}

static int off_wait(struct pager *pager, enum wait_for what, struct wait *wait)
{
	wait_set(pager, wait, what, PFN_NONE);
	return -EAGAIN;
}

/* Below the min watermark, or without a frame, reclaim comes first, to the other areas. Drops the lock then: OFF_LOOK_AGAIN */
static int off_reclaim(struct pager *pager, struct wait *wait)
{
	if (frames_to_give(pager) > 0 && (!frames_below_min(pager) || pager->off.reclaimed)) {
		pager->off.reclaimed = false;
		return 0;
	}
	pager->off.reclaimed = true;
	int error = try_to_free_or_wait(pager, wait);

	return error ? error : OFF_LOOK_AGAIN;
}

static int off_lost(struct pager *pager, swp_entry_t entry)
{
	pager_say(pager, "swapoff of %s: the content of slot %u is lost, so it stays in use",
		off_area(pager)->dev->uri, entry.slot);
	return -EIO;
}

static bool wants_reading(struct pager *pager, pte_t word)
{
	return is_off_entry(pager, word) && !slot_page(pager, pte_entry(word)) &&
	       !(swap_slot(pager, pte_entry(word))->flags & (SLOT_POISONED | SLOT_ALONE));
}

/* Read the page of the word at @index, and some of those behind it while frames are plenty. Drops the lock. */
static int off_read(struct pager *pager, struct pgtable *words, uint64_t index, uint64_t end,
	swp_entry_t entry, struct wait *wait)
{
	bool alone = swap_slot(pager, entry)->flags & SLOT_ALONE;
	int error = off_reclaim(pager, wait);
	pte_slot_t *slot;
	struct plug plug;

	if (error)
		return error;
	plug_init(&plug);
	error = read_swap_cache_async(pager, entry, READ_ASKED, &plug);
	for (unsigned nr = 1; !error && !alone && nr < SWAP_CLUSTER_MAX && !frames_below_low(pager); nr++) {
		slot = pgtable_next(words, index + 1, end, &index);
		if (!slot)
			break;
		if (wants_reading(pager, pte_load(slot)) &&
			read_swap_cache_async(pager, pte_entry(pte_load(slot)), READ_AHEAD, &plug))
			break;
	}
	plug_submit(pager, &plug);
	if (error == -EBUSY)
		return off_wait(pager, WAIT_FRAMES, wait);
	if (alone && plug.starved)
		return -ENOMEM;
	return OFF_LOOK_AGAIN; /* also without a frame: reclaim is asked again */
}

/* The page of @entry, in memory, up to date, nobody's at the moment; or a step's answer. */
static int off_page(struct pager *pager, struct pgtable *words, uint64_t index, uint64_t end,
	swp_entry_t entry, struct page **out, struct wait *wait)
{
	*out = lookup_swap_cache(pager, entry);
	if (swap_slot(pager, entry)->flags & SLOT_POISONED)
		return off_lost(pager, entry);
	if (!*out)
		return off_read(pager, words, index, end, entry, wait);
	if (page_has_any(*out, PG_locked | PG_writeback))
		return off_wait_page(pager, *out, wait);
	return 0;
}

/* The last name of the slot has gone: the page is nobody's but those who map it. */
static void off_free_slot(struct pager *pager, struct page *page)
{
	readahead_hit(pager, page);
	if (try_to_free_swap(pager, page))
		page_step(pager, page, "try_to_free_swap", 0);
}

/* This PTE and the cached page come together. */
static void unuse_map(
	struct pager *pager, struct vma *vma, uint64_t addr, pte_slot_t *ptep, struct page *page)
{
	swp_entry_t entry = pte_entry(pte_load(ptep));

	page_trylock(pager, page);
	page_get(page);
	page_add_anon_rmap(page, vma, addr, swap_slot(pager, entry)->count == 1);
	pte_store(ptep, pte_present(page_pfn(pager, page), 0));
	swap_free(pager, entry);
	if (vma->flags & VM_LOCKED)
		page_mlock(pager, page);
	page_unlock(pager, page);
	page_step(pager, page, "unuse_pte", addr);
	if (page_has(page, PG_swapcache))
		off_free_slot(pager, page);
}

/* A page of its own for this PTE, where the cached one cannot be mapped here. Drops the lock. */
static int unuse_copy(struct pager *pager, struct vma *vma, uint64_t addr, pte_slot_t *ptep,
	struct page *cached, struct wait *wait)
{
	struct space *space = vma->space;
	pte_t was = pte_load(ptep);

	if (vma->flags & VM_CHANGING) { /* the word may be moved while the lock is dropped */
		wait_on_space(space, wait);
		return -EAGAIN;
	}
	int error = off_reclaim(pager, wait);
	struct page *page = error ? NULL : frame_alloc(pager);

	if (!page)
		return error ? error : OFF_LOOK_AGAIN;
	page_trylock(pager, page);
	page_trylock(pager, cached);
	page_set(page, PG_uptodate | PG_swapbacked | PG_dirty);
	page_add_anon_rmap(page, vma, addr, true);
	lru_cache_add(pager, page);
	if (vma->flags & VM_LOCKED)
		page_mlock(pager, page);
	pte_store(ptep, pte_present(page_pfn(pager, page), 0));
	pager_unlock(pager);
	error = pager->machine->ops->frame_populate(pager->machine, page_pfn(pager, page), 1);
	if (!error)
		memcpy(frame_bytes(pager, page), frame_bytes(pager, cached), PAGE_BYTES);
	pager_lock(pager);
	if (error) {
		pte_store(ptep, was);
		/* The VMA may have been split or merged meanwhile. The page was locked, so some VMA still has it. */
		page_remove_rmap(page, find_vma(space, addr), addr);
	}
	page_unlock(pager, page);
	page_unlock(pager, cached);
	if (error) {
		page_put(pager, page);
		return error;
	}
	pager->stats->copied++;
	pager->stats->copied_early += !pager->machine->ops->can_share;
	page_step(pager, page, "unuse_pte", addr);
	free_swap_and_cache(pager, pte_entry(was));
	return OFF_LOOK_AGAIN;
}

static int unuse_pte(
	struct pager *pager, struct space *space, uint64_t index, pte_slot_t *ptep, struct wait *wait)
{
	swp_entry_t entry = pte_entry(pte_load(ptep));
	uint64_t addr = index_addr(space, index);
	struct vma *vma = find_vma(space, addr);
	struct page *page;
	int error = off_page(pager, &space->pgtable, index, space->bytes >> PAGE_SHIFT, entry, &page, wait);

	if (error)
		return error;
	if (anon_vma_prepare(pager, vma))
		return -ENOMEM;
	if (swap_must_copy(pager, page, vma, addr))
		return unuse_copy(pager, vma, addr, ptep, page, wait);
	unuse_map(pager, vma, addr, ptep, page);
	return 0;
}

/* ---- All of them ---------------------------------------------------------------------------------------- */

/* Where the last step left off, if that space is still there. */
static struct space *off_space(struct pager *pager)
{
	struct space *space;

	TAILQ_FOREACH (space, &pager->spaces, link)
		if (space == pager->off.space)
			return space;
	pager->off.index = 0;
	return TAILQ_FIRST(&pager->spaces);
}

/* A stretch of one space, from off.index on. OFF_LOOK_AGAIN: there is more of it. Drops the lock. */
static int unuse_space(struct pager *pager, struct space *space, struct wait *wait)
{
	uint64_t end = space->bytes >> PAGE_SHIFT, index = pager->off.index;
	unsigned steps = WALK_STEPS;
	pte_slot_t *ptep;
	int error = 0;

	pager->off.space = space;
	for (; !error && (ptep = pgtable_next_near(&space->pgtable, index, end, &steps, &index)) != NULL;
		index++) {
		pager->off.index = index; /* before the lock may drop: the space may be gone after */
		if (is_off_entry(pager, pte_load(ptep)))
			error = unuse_pte(pager, space, index, ptep, wait);
	}
	if (error || index >= end)
		return error;
	pager->off.index = index;
	walk_rest_now(pager);
	return OFF_LOOK_AGAIN;
}

static int unuse_spaces(struct pager *pager, struct wait *wait)
{
	struct space *space = off_space(pager);

	while (space) {
		int error = unuse_space(pager, space, wait);

		if (error)
			return error;
		space = TAILQ_NEXT(space, link);
		pager->off.index = 0;
	}
	pager->off.space = NULL;
	return 0;
}

static int unuse_file(struct pager *pager, struct file *file, struct wait *wait)
{
	uint64_t index = 0;
	pte_slot_t *slot;

	for (; (slot = pgtable_next(&file->cache, index, 1ull << 32, &index)) != NULL; index++) {
		struct page *page;

		if (!is_off_entry(pager, pte_load(slot)))
			continue;
		int error = off_page(
			pager, &file->cache, index, 1ull << 32, pte_entry(pte_load(slot)), &page, wait);

		if (error)
			return error;
		shmem_move_in(pager, file, (uint32_t)index, page, 0);
	}
	return 0;
}

static int unuse_files(struct pager *pager, struct wait *wait)
{
	struct file *file;

	TAILQ_FOREACH (file, &pager->files, link) {
		int error = file->ops ? 0 : unuse_file(pager, file, wait);

		if (error)
			return error;
	}
	return 0;
}

/*
 * Pages that are only cached, or mapped and cached by a slot that nobody names, from off.slot on. Drops the lock.
 * OFF_LOOK_AGAIN: there is more to look at, or at the end of the pass a slot is still named or cached.
 */
static int unuse_cache(struct pager *pager, struct wait *wait)
{
	struct swap_area *area = off_area(pager);

	while (pager->off.slot < area->touched) {
		struct page *page = slot_page(pager, (swp_entry_t){pager->off.type, pager->off.slot});

		if (page && page_has_any(page, PG_locked | PG_writeback))
			return off_wait_page(pager, page, wait);
		if (page) {
			page_get(page);
			off_free_slot(pager, page);
			page_put(pager, page);
		}
		pager->off.slot++;
		if (walk_rest(pager))
			return OFF_LOOK_AGAIN; /* this swapoff may have ended meanwhile: off_run() looks */
	}
	pager->off.caches = false;
	pager->off.slot = 0;
	return area->nr_named + area->nr_cached > 0 ? OFF_LOOK_AGAIN : 0;
}

/* ---- Begin, end ------------------------------------------------------------------------------------------- */

static bool area_is_leased(struct pager *pager, uint8_t type)
{
	struct swap_lease *lease;

	TAILQ_FOREACH (lease, &pager->leases, link)
		if (lease->map[type])
			return true;
	return false;
}

static int off_begin(struct pager *pager, uint8_t type)
{
	struct swap_area *area = &pager->areas[type];

	if (area_is_leased(pager, type))
		return -EBUSY;
	if (frames_needed(pager, area) > room_elsewhere(pager, area))
		return -ENOMEM;
	pager->off = (struct swapoff){.running = true, .type = type};
	if (area_counts(area))
		area_count_out(pager, area);
	area->off = true;
	return 0;
}

/* All as it was, but what has come in. */
static void off_undo(struct pager *pager)
{
	struct swap_area *area = off_area(pager);

	area->off = false;
	if (area_counts(area))
		area_count_in(pager, area);
	area_open_door(pager, pager->off.type);
	pager->off = (struct swapoff){.running = false};
	pager_event(pager);
}

static int off_step(struct pager *pager, struct wait *wait)
{
	if (off_area(pager)->nr_used == 0)
		return 0; /* nobody names a slot: no page table needs a look */
	int error = pager->off.caches ? 0 : unuse_spaces(pager, wait);

	if (!error && !pager->off.caches)
		error = unuse_files(pager, wait);
	if (error)
		return error;
	pager->off.caches = true;
	return unuse_cache(pager, wait);
}

/* Nobody may be inside the device any more. -EAGAIN: somebody is */
static int off_close(struct pager *pager, struct swapdev **dev, struct wait *wait)
{
	struct swap_area *area = off_area(pager);

	if (area_is_leased(pager, pager->off.type))
		return -EBUSY;
	struct wait until_left; /* from before the look: whoever leaves after it moves the counter on */

	off_wait(pager, WAIT_WRITE, &until_left);
	if (!area_close_door(pager, pager->off.type) || area->lending > 0) {
		*wait = until_left;
		return -EAGAIN;
	}
	*dev = area->dev;
	lend_end(pager, area);
	swap_area_remove(pager, pager->off.type);
	pager->off = (struct swapoff){.running = false};
	pager_event(pager);
	return 0;
}

static int find_area(struct pager *pager, const char *uri)
{
	for (unsigned type = 0; type < pager->nr_areas; type++)
		if (pager->areas[type].dev && strcmp(pager->areas[type].dev->uri, uri) == 0)
			return (int)type;
	return -ENOENT;
}

/*
 * Until it is done, has to wait, or another has ended it or frozen the pager while the lock was dropped: who has frozen it counts on
 * nothing being read, and on no page gaining or losing a slot.
 */
static int off_run(struct pager *pager, uint8_t type, struct swapdev **dev, struct wait *wait)
{
	int error;

	do {
		error = pager->frozen ? off_wait(pager, WAIT_SPACE, wait) : off_step(pager, wait);
		if (!pager->off.running || pager->off.type != type)
			return -EINTR;
	} while (error == OFF_LOOK_AGAIN);
	if (!error)
		error = off_close(pager, dev, wait);
	if (error && error != -EAGAIN)
		off_undo(pager);
	return error;
}

/* @type: of an area, or -ENOENT. => lets go of the lock that it is entered with */
static int off_call(struct pager *pager, int type, struct wait *wait)
{
	struct swapdev *dev = NULL;
	int error = 0;

	if (type < 0)
		error = type;
	else if (pager->frozen)
		error = off_wait(pager, WAIT_SPACE, wait);
	else if (pager->off.running && pager->off.type != type)
		error = -EBUSY;
	else if (!pager->off.running)
		error = off_begin(pager, (uint8_t)type);
	if (!error)
		error = off_run(pager, (uint8_t)type, &dev, wait);
	pager_unlock(pager);
	if (dev)
		dev->ops->close(dev);
	return error;
}

int pager_swapoff(struct pager *pager, const char *uri, struct wait *wait)
{
	pager_lock(pager);
	return off_call(pager, find_area(pager, uri), wait);
}

int pager_swapoff_device(struct pager *pager, const struct swapdev *dev, struct wait *wait)
{
	int type = -ENOENT;

	pager_lock(pager);
	for (unsigned i = 0; i < pager->nr_areas; i++)
		if (pager->areas[i].dev == dev)
			type = (int)i;
	return off_call(pager, type, wait);
}

void pager_swapoff_cancel(struct pager *pager)
{
	pager_lock(pager);
	if (pager->off.running)
		off_undo(pager);
	pager_unlock(pager);
}

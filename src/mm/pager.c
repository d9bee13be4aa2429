/* SPDX-License-Identifier: MIT */
/* The pager: opening, closing, waiting, looking in. mm.h has a picture of its parts. */
#include "mm/mm.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- Services of the machine, for the rest of the core ---------------------------------------- */

void *pager_chunk_alloc(struct pager *pager, size_t bytes)
{
	void *chunk = pager->machine->ops->chunk_alloc(pager->machine, bytes);

	if (chunk)
		pager->metadata_bytes += bytes;
	return chunk;
}

void pager_chunk_free(struct pager *pager, void *chunk, size_t bytes)
{
	pager->metadata_bytes -= bytes;
	pager->machine->ops->chunk_free(pager->machine, chunk, bytes);
}

void walk_rest_now(struct pager *pager)
{
	if (pager->machine->ops->rest)
		pager->machine->ops->rest(pager->machine);
	else {
		pager_unlock(pager);
		pager_lock(pager);
	}
	pager->walked = 0;
}

static void word_event(struct pager *pager, unsigned word)
{
	atomic_fetch_add(&pager->events[word], 1);
	pager->machine->ops->wake(pager->machine, word);
}

/* Frames that follow each other are often waited for at the same time, so they get different words. */
static unsigned page_word(pfn_t pfn)
{
	return 1 + pfn % (WAIT_WORDS - 1);
}

static unsigned space_word(const struct space *space)
{
	return 1 + (unsigned)((uintptr_t)space / PAGE_BYTES % (WAIT_WORDS - 1));
}

void pager_event(struct pager *pager)
{
	word_event(pager, WAIT_WORD_COMMON);
}

void page_event(struct pager *pager, const struct page *page)
{
	word_event(pager, page_word(page_pfn(pager, page)));
}

void space_event(struct space *space)
{
	word_event(space->pager, space_word(space));
}

void pager_frame_event(struct pager *pager)
{
	if (!pager->frame_waiters)
		return;
	pager->frame_waiters = false;
	pager_event(pager);
}

/* A request that ends is an event by itself (end_swap_bio). */
void pager_is_quiet(struct pager *pager)
{
	if (pager->frozen)
		pager_event(pager);
	else if (!pager->nr_locked && !pager->nr_reclaimers && !pager->nr_inflight[SWAP_READ] &&
		 !pager->nr_inflight[SWAP_WRITE])
		pager_frame_event(pager);
}

_Atomic(uint32_t) *pager_events(struct pager *pager, unsigned word)
{
	return &pager->events[word];
}

static void wait_fill(struct pager *pager, struct wait *wait, enum wait_for what, pfn_t pfn, unsigned word)
{
	*wait = (struct wait){
		.what = what, .pfn = pfn, .word = word, .seq = atomic_load(&pager->events[word])};
}

void wait_set(struct pager *pager, struct wait *wait, enum wait_for what, pfn_t pfn)
{
	wait_fill(pager, wait, what, pfn, WAIT_WORD_COMMON);
}

void wait_on_page(struct pager *pager, struct page *page, enum wait_for what, struct wait *wait)
{
	pfn_t pfn = page_pfn(pager, page);

	assert(page_has(page, what == WAIT_PAGE ? PG_locked : PG_writeback));
	page_set(page, PG_waiters);
	wait_fill(pager, wait, what, pfn, page_word(pfn));
}

void wait_on_space(struct space *space, struct wait *wait)
{
	wait_fill(space->pager, wait, WAIT_SPACE, PFN_NONE, space_word(space));
}

bool wait_is_over(struct pager *pager, const struct wait *wait)
{
	return atomic_load(&pager->events[wait->word]) != wait->seq;
}

void pager_wake_kswapd(struct pager *pager)
{
	if (pager->kswapd_woken)
		return;
	pager->kswapd_woken = true;
	pager->stats->kswapd_wakes++;
	pager->machine->ops->wake_kswapd(pager->machine, true);
}

void pager_have_reclaimed(struct pager *pager)
{
	pager->kswapd_woken = true;
	pager->stats->kswapd_wakes++;
	pager->machine->ops->wake_kswapd(pager->machine, false);
}

void pager_say(struct pager *pager, const char *format, ...)
{
	char text[512];
	va_list args;

	if (!pager->machine->ops->say)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	pager->machine->ops->say(pager->machine, text);
}

/* ---- Opening and closing ------------------------------------------------------------------------ */

/*
 * How many frames a limit pays for. One frame costs itself, its struct page, its PTE and its part of the twins.
 * Besides, four pages are assumed to be swapped out for each frame (a program that runs in a quarter of its memory);
 * each of them costs a PTE and a slot.
 */
uint32_t pager_frames_for(uint64_t limit_bytes, uint64_t swap_slots)
{
	uint64_t each = PAGE_BYTES + sizeof(struct page) + sizeof(pte_t) + TWINS_BYTES_EACH;
	uint64_t swapped_each = sizeof(struct swap_slot) + sizeof(pte_t);
	uint64_t fixed = 64 * sizeof(struct swap_io) + 72 * KIB;

	if (limit_bytes <= fixed)
		return 0;
	uint64_t plain = (limit_bytes - fixed) / each;
	uint64_t swapped = min_u64(swap_slots, 4 * plain);
	uint64_t frames =
		(limit_bytes - fixed - min_u64(swapped * swapped_each, (limit_bytes - fixed) / 2)) / each;

	return (uint32_t)min_u64(frames, 1u << 30);
}

static void pools_init(struct pager *pager)
{
	pool_init(&pager->table_pool, PT_ENTRIES * sizeof(pte_t), 16 * PAGE_BYTES);
	pool_init(&pager->vma_pool, sizeof(struct vma), 4 * PAGE_BYTES);
	pool_init(&pager->anon_vma_pool, sizeof(struct anon_vma), PAGE_BYTES);
	pool_init(&pager->avc_pool, sizeof(struct anon_vma_chain), PAGE_BYTES);
	pool_init(&pager->file_pool, sizeof(struct file), PAGE_BYTES);
	ksm_init(pager);
}

static void pools_destroy(struct pager *pager)
{
	pool_destroy(pager, &pager->table_pool);
	pool_destroy(pager, &pager->vma_pool);
	pool_destroy(pager, &pager->anon_vma_pool);
	pool_destroy(pager, &pager->avc_pool);
	pool_destroy(pager, &pager->file_pool);
	ksm_destroy(pager);
}

/* The zero page: where several PTEs can map a frame, reads of pages that were never written share this one. */
static int zero_page_init(struct pager *pager)
{
	pager->zero_pfn = PFN_NONE;
	if (!pager->machine->ops->can_share)
		return 0;
	struct page *page = frame_alloc(pager);

	if (!page)
		return -ENOMEM;
	memset(frame_bytes(pager, page), 0, PAGE_BYTES);
	page_set(page, PG_uptodate);
	pager->zero_pfn = page_pfn(pager, page);
	return 0;
}

static void pager_free(struct pager *pager)
{
	struct machine *machine = pager->machine;

	for (unsigned type = 0; type < pager->nr_areas; type++) {
		struct swapdev *dev = pager->areas[type].dev;

		if (!dev)
			continue;
		swap_area_destroy(pager, &pager->areas[type]);
		dev->ops->close(dev);
	}
	pools_destroy(pager);
	twins_destroy(pager);
	page_io_destroy(pager);
	frames_destroy(pager);
	machine->pager = NULL;
	machine->ops->chunk_free(machine, pager, page_align_up(sizeof(*pager)));
}

int pager_open(const struct pager_config *config, struct pager **out)
{
	struct machine *machine = config->machine;
	unsigned nr_nodes = config->nr_nodes ? config->nr_nodes : 1;

	*out = NULL;
	if (!machine || nr_nodes > MAX_NODES || config->nr_frames < PAGER_MIN_FRAMES * nr_nodes)
		return -EINVAL;
	if (config->nr_limit &&
		(config->nr_limit < PAGER_MIN_FRAMES * nr_nodes || config->nr_limit > config->nr_frames))
		return -EINVAL;
	struct pager *pager = machine->ops->chunk_alloc(machine, page_align_up(sizeof(*pager)));

	if (!pager)
		return -ENOMEM;
	pager->machine = machine;
	pager->metadata_bytes = page_align_up(sizeof(*pager));
	pager->nr_frames = config->nr_frames;
	pager->nr_limit = config->nr_limit ? config->nr_limit : config->nr_frames;
	pager->nr_nodes = nr_nodes;
	pager->seed = config->seed;
	pager->policy = config->policy;
	pager->swappiness = config->swappiness < 0 ? 60 : config->swappiness;
	pager->stats = config->stats ? config->stats : &pager->own_stats;
	TAILQ_INIT(&pager->spaces);
	TAILQ_INIT(&pager->files);
	TAILQ_INIT(&pager->leases);
	pools_init(pager);
	machine->pager = pager;
	int error = frames_init(pager);

	if (!error)
		error = page_io_init(pager);
	if (!error)
		error = twins_init(pager);
	if (!error)
		error = zero_page_init(pager);
	if (error)
		pager_free(pager);
	else
		*out = pager;
	return error;
}

/* Rank an area behind those of the same priority: areas of one priority are filled one after the other. */
static void rank_area(struct pager *pager, uint8_t type)
{
	unsigned at = pager->nr_ranked++;

	for (; at > 0; at--) {
		uint8_t before = pager->by_priority[at - 1];

		if (pager->areas[before].priority >= pager->areas[type].priority)
			break;
		pager->by_priority[at] = before;
	}
	pager->by_priority[at] = type;
}

int pager_add_swap(struct pager *pager, struct swapdev *dev, int priority)
{
	unsigned type = 0;
	int error = -ENOSPC;

	pager_lock(pager);
	while (type < pager->nr_areas && pager->areas[type].dev)
		type++;
	if (dev->nr_slots > 0 && type < MAX_SWAP_AREAS)
		error = swap_area_init(pager, &pager->areas[type], dev, priority);
	if (!error) {
		rank_area(pager, (uint8_t)type);
		area_open_door(pager, (uint8_t)type);
		if (type == pager->nr_areas)
			pager->nr_areas = type + 1;
		pager->nr_reclaimers++; /* frames on their way to a device are not seen by a fork */
		lend_settle(pager);
		reclaim_leave(pager);
	}
	pager_unlock(pager);
	return error;
}

int pager_close(struct pager *pager)
{
	pager_lock(pager);
	bool busy = !TAILQ_EMPTY(&pager->spaces) || !TAILQ_EMPTY(&pager->files) ||
		    pager->nr_inflight[SWAP_READ] || pager->nr_inflight[SWAP_WRITE];

	pager_unlock(pager);
	if (busy)
		return -EBUSY;
	pager_free(pager);
	return 0;
}

/* ---- Driving the devices -------------------------------------------------------------------------- */

/* How many areas there are, up to the last one that is open: pager_poll() may wait in that one. */
static unsigned last_area(struct pager *pager)
{
	unsigned nr = pager->nr_areas;

	while (nr > 0 && !atomic_load(&pager->doors[nr - 1].open))
		nr--;
	return nr;
}

int pager_poll(struct pager *pager, enum swap_dir dir, int timeout_ms)
{
	unsigned nr_areas = last_area(pager);
	int ended = 0;
	bool busy = false;

	for (unsigned type = 0; type < nr_areas; type++) {
		struct swapdev *dev = area_enter(pager, type);
		bool last = type + 1 == nr_areas;

		if (!dev)
			continue;
		int n = dev->ops->poll(dev, dir, last && ended == 0 ? timeout_ms : 0);

		area_leave(pager, type);
		if (n > 0)
			ended += n;
		busy = busy || n == -EBUSY;
	}
	return ended == 0 && busy ? -EBUSY : ended;
}

int pager_poll_fds(struct pager *pager, enum swap_dir dir, int *fds, int nr)
{
	int found = 0;

	for (unsigned type = 0; type < pager->nr_areas && found < nr; type++) {
		struct swapdev *dev = area_enter(pager, type);
		int fd = dev && dev->ops->poll_fd ? dev->ops->poll_fd(dev, dir) : -1;

		if (dev)
			area_leave(pager, type);
		if (fd >= 0)
			fds[found++] = fd;
	}
	return found;
}

/* ---- Rest, for a fork ---------------------------------------------------------------------------------- */

int pager_freeze(struct pager *pager, struct wait *wait)
{
	int error = 0;

	pager_lock(pager);
	pager->frozen = true;
	if (pager->nr_locked || pager->nr_writeback || pager->nr_reclaimers ||
		pager->nr_inflight[SWAP_READ] || pager->nr_inflight[SWAP_WRITE]) {
		/* A write ends only if somebody polls for it, and the machine polls for what the wait is for. */
		wait_set(pager, wait, pager->nr_inflight[SWAP_WRITE] ? WAIT_WRITE : WAIT_PAGE, PFN_NONE);
		error = -EAGAIN;
	}
	pager_unlock(pager);
	return error;
}

bool pager_in_flight(struct pager *pager, enum swap_dir dir)
{
	pager_lock(pager);
	bool some = pager->nr_inflight[dir] > 0;

	pager_unlock(pager);
	return some;
}

bool pager_lone_read(struct pager *pager)
{
	pager_lock(pager);
	bool lone = pager->nr_inflight[SWAP_READ] == 1 && pager->nr_locked == 1;

	pager_unlock(pager);
	return lone;
}

/* Was the limit lowered just before the rest, so that kswapd has not reached it? */
static bool limit_not_reached(const struct pager *pager)
{
	for (unsigned n = 0; n < pager->nr_nodes; n++)
		if (reserve_missing(&pager->nodes[n]) > 0)
			return true;
	return false;
}

void pager_thaw(struct pager *pager)
{
	pager_lock(pager);
	pager->frozen = false;
	pager_event(pager);
	if (frames_below_low(pager) || limit_not_reached(pager))
		pager_have_reclaimed(pager);
	pager_unlock(pager);
}

/* ---- Looking in ------------------------------------------------------------------------------------------ */

static uint64_t store_bytes(struct pager *pager)
{
	uint64_t bytes = 0;

	for (unsigned type = 0; type < pager->nr_areas; type++) {
		struct swapdev *dev = pager->areas[type].dev;

		if (dev && dev->ops->memory_used)
			bytes += dev->ops->memory_used(dev);
	}
	return bytes;
}

/* Of the device that is used first; zeros: there is none. */
static struct swap_cost swap_cost(const struct pager *pager)
{
	if (pager->nr_ranked == 0)
		return (struct swap_cost){.read_ns = 0};
	return swapdev_cost(pager->areas[pager->by_priority[0]].dev);
}

void pager_stats(struct pager *pager, struct anonmm_stats *out)
{
	pager_lock(pager);
	struct anonmm_stats *s = pager->stats;

	s->minor_faults = s->faults - min_u64(s->major_faults, s->faults);
	s->frames = pager->nr_limit - pager->nr_lent;
	s->frames_used = pager->nr_used;
	s->frames_free = frames_free(pager);
	s->slots = pager->slots_total;
	s->slots_used = pager->slots_used;
	s->metadata_bytes = pager->metadata_bytes;
	s->store_bytes = store_bytes(pager);
	s->swap_read_ns = swap_cost(pager).read_ns;
	s->swap_write_ns = swap_cost(pager).write_ns;
	if (out && out != s)
		*out = *s;
	pager_unlock(pager);
}

void pager_count_in(struct pager *pager, struct anonmm_stats *stats)
{
	pager_lock(pager);
	pager->stats = stats;
	pager_unlock(pager);
}

void pager_trace(struct pager *pager, page_tracer fn, void *ctx)
{
	pager_lock(pager);
	pager->tracer_ctx = ctx;
	pager->tracer = fn;
	pager_unlock(pager);
}

static const char *list_name(const struct page *page)
{
	switch (page_list(page)) {
	case LIST_FREE:
		return "free";
	case LIST_ISOLATED:
		return "isolated";
	case LIST_INACTIVE_ANON:
	case LIST_INACTIVE_FILE:
		return "inactive";
	case LIST_ACTIVE_ANON:
	case LIST_ACTIVE_FILE:
		return "active";
	case LIST_UNEVICTABLE:
		return "unevictable";
	default:
		return "none";
	}
}

static void view_slot(struct pager *pager, swp_entry_t entry, struct page_view *view)
{
	view->swap_type = entry.type;
	view->swap_slot = entry.slot;
	view->swap_count = swap_slot(pager, entry)->count;
}

static enum page_kind kind_of(const struct page *page)
{
	if (page_has(page, PG_ksm))
		return PAGE_KIND_KSM;
	if (page_has(page, PG_fresh))
		return PAGE_KIND_NONE;
	if (page_is_anon(page))
		return PAGE_KIND_ANON;
	if (page_file(page))
		return page_has(page, PG_swapbacked) ? PAGE_KIND_SHMEM : PAGE_KIND_FILE;
	return page_has(page, PG_swapcache) ? PAGE_KIND_SHMEM : PAGE_KIND_NONE; /* shared memory, read in */
}

static void view_word(struct pager *pager, pte_t pte, struct page_view *view)
{
	if (pte_is_present(pte)) {
		view->pte = PTE_KIND_PRESENT;
		view->pte_valid = pte_is_valid(pte);
		view->pte_write = pte & PTE_WRITE;
		view->pte_dirty = pte & PTE_DIRTY;
		view->pte_accessed = pte & PTE_ACCESSED;
		view->pfn = pte_pfn(pte);
	} else if (pte_is_swap(pte)) {
		struct page *cached = lookup_swap_cache(pager, pte_entry(pte));

		view->pte = PTE_KIND_SWAP;
		view_slot(pager, pte_entry(pte), view);
		if (cached)
			view->pfn = page_pfn(pager, cached);
	} else if (pte_is_migration(pte)) {
		view->pte = PTE_KIND_MIGRATION;
		view->pte_write = pte & PTE_WRITE;
		view->pfn = pte_pfn(pte);
	}
}

static void view_page(struct pager *pager, struct page_view *view)
{
	if (view->pfn == PFN_NONE)
		return;
	struct page *page = pfn_page(pager, view->pfn);

	view->count = page->_count;
	view->mapcount = page->_mapcount;
	view->flags = page_flags(page);
	view->list = list_name(page);
	view->kind = kind_of(page);
	if (page_has(page, PG_swapcache))
		view_slot(pager, word_entry(page->private), view);
}

static void view_at(
	struct pager *pager, const struct pgtable *pgtable, uint64_t index, pfn_t pfn, struct page_view *view)
{
	pte_slot_t *ptep = pgtable_find(pgtable, index);

	*view = (struct page_view){.pfn = pfn, .list = "none", .swap_count = -1, .mapcount = -1};
	view_word(pager, ptep ? pte_load(ptep) : 0, view);
	if (pfn != PFN_NONE)
		view->pfn = pfn;
	view->zero_page = view->pfn != PFN_NONE && view->pfn == pager->zero_pfn;
	view_page(pager, view);
}

void space_view_locked(struct space *space, uint64_t addr, pfn_t pfn, struct page_view *view)
{
	view_at(space->pager, &space->pgtable, space_index(space, addr), pfn, view);
}

void file_view_locked(struct file *file, uint64_t index, pfn_t pfn, struct page_view *view)
{
	view_at(file->pager, &file->cache, index, pfn, view);
	if (view->pte == PTE_KIND_SWAP && (view->flags & PG_swapcache))
		view->kind = PAGE_KIND_SHMEM; /* read in: the slot is named by shared memory */
}

void file_view(struct file *file, uint64_t index, struct page_view *view)
{
	pager_lock(file->pager);
	file_view_locked(file, index, PFN_NONE, view);
	pager_unlock(file->pager);
}

void space_view(struct space *space, uint64_t addr, struct page_view *view)
{
	pager_lock(space->pager);
	space_view_locked(space, addr, PFN_NONE, view);
	pager_unlock(space->pager);
}

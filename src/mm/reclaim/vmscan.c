/* SPDX-License-Identifier: MIT */
/*
 * Reclaim: turn cold pages into free frames.
 *
 * Pages are isolated in batches of 32. So the pager lock need not be held while the machine takes them away or their
 * content is hashed: their page locks are. A page that was touched after its isolation goes back to the active list.
 *
 * Invariant: an isolated page is on its isolator's list and the isolator holds a reference.
 * Invariant: between two statements that drop the lock, a page of the batch is locked or under writeback.
 */
#include "mm/mm.h"
#include "mm/reclaim/scan.h"

void scan_init(struct scan *scan, struct pager *pager)
{
	*scan = (struct scan){.pager = pager};
	plug_init(&scan->plug);
}

unsigned newest_to_keep(const struct pager *pager)
{
	if (pager->machine->ops->sees_access)
		return 0;
	return (unsigned)max_u64(NEWEST_PAGES / 2 / pager->nr_nodes, 2);
}

void putback_page(struct pager *pager, struct page *page, struct page_head *list)
{
	putback_lru_page(pager, page, list);
	if (page->_count > 0 && page_has(page, PG_swapcache))
		free_swap_cache(pager, page);
}

/* ---- Ageing ---------------------------------------------------------------------------- */

/* Lock the mapped pages of @list that can be locked, at most @max, and put them into @pages. Returns how many. */
static unsigned lock_pages(struct pager *pager, struct page_head *list, struct page **pages, unsigned max)
{
	struct page *page;
	unsigned nr = 0;

	TAILQ_FOREACH (page, list, lru) {
		if (nr < max && page_mapped(page) && page_trylock(pager, page))
			pages[nr++] = page;
	}
	return nr;
}

void deactivate_pages(struct pager *pager, struct page_head *list)
{
	struct page *pages[UNMAP_BATCH];
	unsigned nr = lock_pages(pager, list, pages, UNMAP_BATCH);

	pages_age(pager, pages, nr);
	for (unsigned i = 0; i < nr; i++)
		page_unlock(pager, pages[i]);
	while (!TAILQ_EMPTY(list)) {
		struct page *page = TAILQ_FIRST(list);

		page_clear(page, PG_active | PG_referenced);
		pager->stats->deactivated++;
		putback_page(pager, page, list);
		if (page->_count > 0)
			page_step(pager, page, "shrink_active_list", 0);
	}
}

/*
 * Pages of executable file mappings that were used stay active, because a program's text is worth more than its data.
 * Returns how many stay.
 */
static unsigned keep_executable(struct pager *pager, struct page_head *list)
{
	struct page *page, *next;
	unsigned kept = 0;

	for (page = TAILQ_FIRST(list); page; page = next) {
		struct referenced ref;

		next = TAILQ_NEXT(page, lru);
		if (page_has(page, PG_locked))
			continue;
		ref = page_referenced(pager, page);
		if (!ref.nr || !ref.vm_exec)
			continue;
		putback_page(pager, page, list);
		kept++;
	}
	return kept;
}

/* Have all pages of the node been looked at without a gain? */
static bool node_is_desperate(const struct scan *scan, const struct node *node);

/* How many pages of a list @scan may take. */
static uint32_t spare(const struct scan *scan, const struct node *node, enum page_list list)
{
	return node->nr_pages[list] - (uint32_t)min_u64(scan->keeps, node->nr_pages[list]);
}

static void isolate(
	struct scan *scan, struct node *node, enum page_list from, unsigned nr, struct page_head *list)
{
	isolate_lru_pages(scan->pager, node, from, (unsigned)min_u64(nr, spare(scan, node, from)), list);
}

/*
 * Move pages from the active tail to the inactive head, and clear their accessed marks. Returns how many pages stay
 * active. These count as scanned, too: otherwise reclaim would go through text that is always in use for ever. Drops
 * the lock.
 */
static unsigned shrink_active_list(struct scan *scan, struct node *node, enum page_list from, unsigned nr)
{
	struct page_head list = TAILQ_HEAD_INITIALIZER(list);
	unsigned kept = 0;

	isolate(scan, node, from, nr, &list);
	if (from == LIST_ACTIVE_FILE && !node_is_desperate(scan, node))
		kept = keep_executable(scan->pager, &list);
	deactivate_pages(scan->pager, &list);
	scan->nr_scanned += kept;
	return kept;
}

static void shrink_inactive_list(struct scan *scan, struct node *node, enum page_list from, unsigned nr)
{
	struct page_head list = TAILQ_HEAD_INITIALIZER(list);
	unsigned before = scan->nr_scanned;

	isolate(scan, node, from, nr, &list);
	shrink_page_list(scan, &list);
	scan->pager->stats->scanned += scan->nr_scanned - before;
}

void reclaim_leave(struct pager *pager)
{
	if (--pager->nr_reclaimers == 0)
		pager_is_quiet(pager);
}

void reclaim_pages(struct pager *pager, struct page_head *pages)
{
	struct scan scan;

	scan_init(&scan, pager);
	scan.ignore_references = true;
	pager->nr_reclaimers++;
	while (!TAILQ_EMPTY(pages)) {
		struct page_head some = TAILQ_HEAD_INITIALIZER(some);

		for (unsigned i = 0; i < SWAP_CLUSTER_MAX && !TAILQ_EMPTY(pages); i++) {
			struct page *page = TAILQ_FIRST(pages);

			TAILQ_REMOVE(pages, page, lru);
			TAILQ_INSERT_TAIL(&some, page, lru);
		}
		shrink_page_list(&scan, &some);
	}
	plug_submit(pager, &scan.plug);
	reclaim_leave(pager);
}

/* ---- One round over a node, for kswapd (kswapd.c) and for direct reclaim ------------------ */

static uint32_t node_file_pages(const struct node *node)
{
	return node->nr_pages[LIST_ACTIVE_FILE] + node->nr_pages[LIST_INACTIVE_FILE];
}

static uint32_t node_anon_pages(const struct node *node)
{
	return node->nr_pages[LIST_ACTIVE_ANON] + node->nr_pages[LIST_INACTIVE_ANON];
}

uint32_t node_reclaimable(const struct node *node)
{
	return node_anon_pages(node) + node_file_pages(node);
}

static bool node_is_desperate(const struct scan *scan, const struct node *node)
{
	return scan->nr_reclaimed + scan->nr_written == 0 &&
	       scan->nr_scanned + node->fruitless > node_reclaimable(node);
}

/* What the policy is told of one kind of pages (contract/policy.h). */
static struct ageing_side side_of(const struct node *node, bool file)
{
	return (struct ageing_side){.active = node->nr_pages[file ? LIST_ACTIVE_FILE : LIST_ACTIVE_ANON],
		.inactive = node->nr_pages[file ? LIST_INACTIVE_FILE : LIST_INACTIVE_ANON],
		.scanned = node->scanned[file],
		.rotated = node->rotated[file]};
}

/*
 * get_scan_count: how many of @nr pages to take from the file lists. All of them, if no slot is free. Half of them,
 * whatever swappiness says, if all pages were looked at without a gain: any page is better than no memory.
 */
static unsigned file_share(struct scan *scan, struct node *node, unsigned nr)
{
	struct pager *pager = scan->pager;
	struct ageing_side anon = side_of(node, false), file = side_of(node, true);

	if (node_file_pages(node) == 0)
		return 0;
	if (node_anon_pages(node) == 0 || pager->slots_used == pager->slots_total)
		return nr;
	if (node_is_desperate(scan, node))
		return (nr + 1) / 2;
	return ageing_file_share(&anon, &file, pager->swappiness, nr, &node->share_carry);
}

/* Must the active list give pages? Of file pages, the active list keeps up to half. */
static bool inactive_is_low(const struct node *node, bool file, bool dear)
{
	struct ageing_side side = side_of(node, file);

	return file ? side.inactive < side.active : ageing_inactive_is_low(&side, dear);
}

/*
 * Is a look at a page dear, compared with a wrong choice? A page on the inactive list is looked at before it goes. On a
 * machine without an accessed bit, a look at a page in use costs a fault. If a read from the device that is used first
 * costs no more than a fault, a wrong choice costs little. Then fewer pages are looked at.
 */
static bool looks_are_dear(struct pager *pager)
{
	return !pager->machine->ops->sees_access && pager->nr_ranked > 0 &&
	       area_is_quick(&pager->areas[pager->by_priority[0]]);
}

static void shrink_lists(struct scan *scan, struct node *node, bool file, unsigned nr)
{
	enum page_list active = file ? LIST_ACTIVE_FILE : LIST_ACTIVE_ANON;
	enum page_list inactive = file ? LIST_INACTIVE_FILE : LIST_INACTIVE_ANON;
	unsigned before = scan->nr_scanned;
	uint64_t activated = scan->pager->stats->activated;
	unsigned kept = 0;

	if (nr == 0)
		return;
	if (inactive_is_low(node, file, looks_are_dear(scan->pager)) || spare(scan, node, inactive) == 0)
		kept = shrink_active_list(scan, node, active, nr);
	shrink_inactive_list(scan, node, inactive, nr);
	ageing_scanned(&node->scanned[file], &node->rotated[file], node->nr, scan->nr_scanned - before,
		kept + (unsigned)(scan->pager->stats->activated - activated));
}

void shrink_node(struct scan *scan, struct node *node, unsigned nr)
{
	unsigned nr_file = file_share(scan, node, nr), before = scan->nr_scanned;

	shrink_lists(scan, node, true, nr_file);
	shrink_lists(scan, node, false, nr - nr_file);
	if (scan->nr_scanned == before)
		scan->nr_scanned++; /* so that a node with nothing to take becomes hopeless, too */
}

uint32_t hopeless_after(const struct node *node)
{
	return ageing_hopeless_after(node_reclaimable(node));
}

bool node_hopeless(const struct node *node, unsigned scanned)
{
	return scanned > hopeless_after(node);
}

unsigned pager_reclaim(struct pager *pager, unsigned pages)
{
	struct scan scan;

	pager_lock(pager);
	scan_init(&scan, pager);
	pager->nr_reclaimers++;
	for (unsigned n = 0; n < pager->nr_nodes && !pager->frozen; n++) {
		struct node *node = &pager->nodes[n];
		unsigned before = scan.nr_scanned;

		while (scan.nr_reclaimed + scan.nr_written < pages && node_reclaimable(node) > 0 &&
			!node_hopeless(node, scan.nr_scanned - before)) {
			shrink_node(&scan, node,
				(unsigned)min_u64(
					pages - scan.nr_reclaimed - scan.nr_written, SWAP_CLUSTER_MAX));
			walk_rest_now(pager);
		}
	}
	plug_submit(pager, &scan.plug);
	pager->nr_reclaimers--;
	if (pager->nr_reclaimers == 0)
		pager_event(pager);
	pager_unlock(pager);
	return scan.nr_reclaimed + scan.nr_written;
}

/* ---- Direct reclaim ------------------------------------------------------------------------ */

static struct node *fullest_node(struct pager *pager)
{
	struct node *best = &pager->nodes[0];

	for (unsigned n = 1; n < pager->nr_nodes; n++)
		if (node_reclaimable(&pager->nodes[n]) > node_reclaimable(best))
			best = &pager->nodes[n];
	return best;
}

static bool others_may_free(const struct pager *pager)
{
	return pager->nr_inflight[SWAP_WRITE] + pager->nr_inflight[SWAP_READ] + pager->nr_locked > 0 ||
	       pager->nr_reclaimers > 1;
}

static void direct_pass(struct scan *scan, struct node *node)
{
	struct pager *pager = scan->pager;

	scan->nr_scanned = 0;
	do {
		shrink_node(scan, node, SWAP_CLUSTER_MAX);
		/* Writes are under way, and a frame is free for this fault: kswapd does the rest. */
		if ((scan->nr_written > 0 || pager->nr_inflight[SWAP_WRITE] > 0) && frames_free(pager) > 0)
			break;
	} while (scan->nr_reclaimed < SWAP_CLUSTER_MAX && scan->nr_written < SWAP_IO_PAGES &&
		 !swap_writes_congested(pager) && !node_hopeless(node, scan->nr_scanned) &&
		 node_reclaimable(node) > 0);
	plug_submit(pager, &scan->plug);
}

enum reclaim_result try_to_free_pages(struct pager *pager)
{
	struct node *node = fullest_node(pager);
	struct scan scan;
	enum reclaim_result result;

	scan_init(&scan, pager);
	scan.keeps = newest_to_keep(pager);
	pager->stats->direct_reclaims++;
	pager->nr_reclaimers++;
	lend_settle(pager);
	direct_pass(&scan, node);
	if (scan.keeps > 0 && frames_free(pager) == 0 && scan.nr_written == 0 && !others_may_free(pager)) {
		scan.keeps = 0; /* to take the newest pages is better than to end the program */
		direct_pass(&scan, node);
	}
	if (frames_free(pager) > 0)
		result = RECLAIM_FREED;
	else if (scan.nr_written > 0 || others_may_free(pager))
		result = RECLAIM_WAIT;
	else
		result = RECLAIM_NOTHING;
	reclaim_leave(pager);
	return result;
}

int try_to_free_or_wait(struct pager *pager, struct wait *wait)
{
	enum reclaim_result result = try_to_free_pages(pager);

	if (result == RECLAIM_FREED)
		return 0;
	if (result == RECLAIM_NOTHING)
		return -ENOMEM;
	pager->frame_waiters = true;
	wait_set(pager, wait, WAIT_FRAMES, PFN_NONE);
	return -EAGAIN;
}

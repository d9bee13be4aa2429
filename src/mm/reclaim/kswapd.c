/* SPDX-License-Identifier: MIT */
/*
 * kswapd: reclaim in the background, a step at a time, until each node has free frames up to its high watermark.
 *
 * Which thread calls kswapd_step() is the machine's choice (contract/machine.h: wake_kswapd). Where nothing can be
 * reclaimed kswapd gives up. From then on it looks at a few pages only, each time it is called, until there is a gain.
 */
#include "mm/mm.h"
#include "mm/reclaim/scan.h"

#define STUCK_PAGES 1024 /* pages that kswapd looks at before it gives up again */

/*
 * Has the node as many free frames as it should? Usually that is the high watermark. If the newest pages are almost all
 * that reclaim could take, the min watermark is enough: for the high one, those pages would have to go, too.
 */
static bool node_balanced(const struct node *node, unsigned keeps)
{
	bool has_others = keeps == 0 || node_reclaimable(node) > 2 * keeps;

	return node->nr_free >= (has_others ? node->wmark.high : node->wmark.min) &&
	       reserve_missing(node) == 0;
}

/* Will the node have enough free frames when the writes under way have ended? Then nothing more must be scanned. */
static bool node_will_be_balanced(const struct pager *pager, const struct node *node)
{
	return node->nr_free + pager->nr_writeback / pager->nr_nodes >=
	       node->wmark.high + reserve_missing(node);
}

static enum kswapd_result kswapd_node(struct pager *pager, struct node *node, unsigned pages)
{
	unsigned keeps = newest_to_keep(pager);
	struct scan scan;

	reserve_fill(pager, node);
	if (node_balanced(node, keeps))
		return KSWAPD_BALANCED;
	/*
	 * Pages that were rotated to the tail are clean, so a scan frees them at once. Without them, let the writes
	 * end.
	 */
	if (node_will_be_balanced(pager, node) && pager->nr_inflight[SWAP_WRITE] > 0 && !pager->rotated)
		return KSWAPD_WAIT;
	scan_init(&scan, pager);
	scan.keeps = keeps;
	if (keeps > 0) /* a smaller step, so that a page stays among the newest for some faults */
		pages = (unsigned)min_u64(pages, node_reclaimable(node) / 8 + 1);
	pager->rotated = false;
	for (unsigned done = 0; done < pages && !node_balanced(node, keeps); done += SWAP_CLUSTER_MAX)
		shrink_node(&scan, node, (unsigned)min_u64(pages - done, SWAP_CLUSTER_MAX));
	plug_submit(pager, &scan.plug);
	if (scan.nr_reclaimed + scan.nr_written > 0) {
		node->fruitless = 0;
		return KSWAPD_PROGRESS;
	}
	node->fruitless += scan.nr_scanned + 1;
	if (pager->nr_inflight[SWAP_WRITE] > 0)
		return KSWAPD_WAIT;
	return node_hopeless(node, node->fruitless) ? KSWAPD_STUCK : KSWAPD_PROGRESS;
}

/*
 * Nothing can be reclaimed, so a lower limit cannot be reached until something changes. The next steps look at
 * STUCK_PAGES pages each, going on where this one stopped, until there is a gain. Otherwise every step would age all
 * pages for nothing, and the program would touch them all again.
 */
static void node_give_up(struct node *node)
{
	node->fruitless = hopeless_after(node) - (uint32_t)min_u64(STUCK_PAGES, hopeless_after(node));
	node->stalled = reserve_lacks(node) > 0;
}

static enum kswapd_result worse(enum kswapd_result a, enum kswapd_result b)
{
	/* Any progress means: call again. Otherwise waiting is better than giving up. */
	static const int rank[] = {
		[KSWAPD_BALANCED] = 0, [KSWAPD_STUCK] = 1, [KSWAPD_WAIT] = 2, [KSWAPD_PROGRESS] = 3};

	return rank[a] > rank[b] ? a : b;
}

/*
 * A round lasts from the request for kswapd's work until kswapd may sleep again. Its length is not measured by a clock:
 * it is as long as its work.
 */
static void kswapd_round_ends(struct pager *pager)
{
	bool outrun = pager->stats->direct_reclaims != pager->direct_seen;

	pager->direct_seen = pager->stats->direct_reclaims;
	for (unsigned n = 0; n < pager->nr_nodes; n++)
		watermarks_adapt(&pager->nodes[n].wmark, outrun);
	pager->kswapd_woken = false;
}

enum kswapd_result kswapd_step(struct pager *pager, unsigned pages)
{
	enum kswapd_result result = KSWAPD_BALANCED;

	pager_lock(pager);
	if (!pager->frozen) {
		pager->nr_reclaimers++;
		lend_upkeep(pager);
		lend_settle(pager);
		for (unsigned n = 0; n < pager->nr_nodes; n++)
			result = worse(result, kswapd_node(pager, &pager->nodes[n], pages));
		pager->nr_reclaimers--;
	}
	if (pager->kswapd_woken && (result == KSWAPD_BALANCED || result == KSWAPD_STUCK))
		kswapd_round_ends(pager);
	if (result == KSWAPD_STUCK)
		for (unsigned n = 0; n < pager->nr_nodes; n++)
			node_give_up(&pager->nodes[n]);
	if (pager->nr_reclaimers == 0 && (pager->frame_waiters || pager->frozen))
		pager_event(pager);
	pager_unlock(pager);
	return result;
}

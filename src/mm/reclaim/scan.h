/* SPDX-License-Identifier: MIT */
/* A pass over a node: what vmscan.c, vmscan_pages.c and kswapd.c share. */
#ifndef ANONMM_SCAN_H
#define ANONMM_SCAN_H

#include "mm/mm.h"

/*
 * On machines without an accessed bit, reclaim leaves the newest pages of each list alone. There nothing tells whether
 * a page was used since its fault. If all older pages must stay, reclaim would take the page that a fault has just
 * brought, before the program has used it. The program would fault on that page again, for ever. Several pages are
 * left, because one instruction may need several.
 */
#define NEWEST_PAGES 16 /* pages, over all nodes and lists */

/* One thread's pass over a node. */
struct scan {
	struct pager *pager;
	struct plug plug; /* writes that were started, for plug_submit() */
	bool ignore_references; /* the program has said that the pages are cold */
	unsigned keeps; /* pages of the head of each list that are left alone */
	/* pages looked at; pages freed; pages whose write was started */
	unsigned nr_scanned, nr_reclaimed, nr_written;
};

void scan_init(struct scan *scan, struct pager *pager);

/* scan->keeps for kswapd, and for reclaim by a thread that needs a frame. 0: the machine has an accessed bit. */
unsigned newest_to_keep(const struct pager *pager);

/*
 * An isolated page goes back to its list. If the last PTE that named its slot went while the page was isolated, nobody
 * else ends the page, so it ends here.
 */
void putback_page(struct pager *pager, struct page *page, struct page_head *list);

/* Every page of @list ends up free, under writeback, or back on a list. Drops the lock. */
void shrink_page_list(struct scan *scan, struct page_head *list);

/* One round over @node, of up to @nr pages. Drops the lock. => @nr at most SWAP_CLUSTER_MAX */
void shrink_node(struct scan *scan, struct node *node, unsigned nr);

/* How many pages of the node's lists reclaim may take. */
uint32_t node_reclaimable(const struct node *node);

/*
 * hopeless_after(): how many pages of the node reclaim looks at without a gain before it gives up. The number is
 * somewhat more than twice the node's pages, so every page was aged once, and then looked at. node_hopeless(): has
 * reclaim looked at more pages than that?
 */
bool node_hopeless(const struct node *node, unsigned scanned);
uint32_t hopeless_after(const struct node *node);

#endif

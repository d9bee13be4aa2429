/* SPDX-License-Identifier: MIT */
/* A pass over a node: what vmscan.c, vmscan_pages.c and kswapd.c share. */
#ifndef ANONMM_SCAN_H
#define ANONMM_SCAN_H

#include "mm/mm.h"

/*
 * An instruction may need several pages at once. Where there is no accessed bit to tell that a page was used since its fault,
 * so many of the newest are nothing for reclaim that a fault waits for or that follows one: where all others have to stay,
 * what a fault has just brought would go before it is used, and the program would fault on it for ever.
 */
#define NEWEST_PAGES 16 /* over all nodes and lists */

/* One thread's pass over a node. */
struct scan {
	struct pager *pager;
	struct plug plug;
	bool ignore_references; /* the program itself has said that the pages are cold */
	unsigned keeps; /* of the newest pages of each list */
	unsigned nr_scanned, nr_reclaimed, nr_written;
};

void scan_init(struct scan *scan, struct pager *pager);

/* scan->keeps, for such reclaim */
unsigned newest_to_keep(const struct pager *pager);

/* An isolated page goes back to its list. If the last PTE that named its slot went while it was isolated, nobody else ends it: it ends here. */
void putback_page(struct pager *pager, struct page *page, struct page_head *list);

/* Every page of @list ends free, under writeback, or back on a list. Drops the lock. */
void shrink_page_list(struct scan *scan, struct page_head *list);

/* One round over @node. Drops the lock. => @nr: at most SWAP_CLUSTER_MAX */
void shrink_node(struct scan *scan, struct node *node, unsigned nr);

/* The pages on its lists that reclaim may take. */
uint32_t node_reclaimable(const struct node *node);

/* Twice through both lists without a gain: every page was aged once and then looked at. */
bool node_hopeless(const struct node *node, unsigned scanned);
uint32_t hopeless_after(const struct node *node);

#endif

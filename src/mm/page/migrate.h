/* SPDX-License-Identifier: MIT */
/*
 * A page moves to another frame (LIFECYCLE B9): to another node, or down within its node, so that free ones form a run.
 *
 *      phase      the page                                             its PTEs             meanwhile
 *      begin      isolated and locked; besides that only its cache     migration entries    faults wait for its lock
 *                 holds it
 *      copy       the same; its content is copied with no lock held    migration entries
 *      end        all that it is goes to the new page; the old frame   those of the new
 *                 is free                                              page
 *
 * Between two phases the pager lock is not held. Meanwhile migration entries may be dropped (munmap, exit), moved
 * (mremap), copied (fork), or lose rights (mprotect). The end finds those that are left through the reverse map.
 *
 * A page that somebody else holds, that is pinned for I/O, under writeback or merged, stays where it was.
 */
#ifndef ANONMM_MIGRATE_H
#define ANONMM_MIGRATE_H

#include "mm/pager.h"

struct page;

/*
 * May the page be moved now? 0: yes. -EAGAIN with *wait: when somebody has unlocked it, or has thawed the pager.
 * -EBUSY: not now, and there is nothing to wait for.
 */
int page_migrate_check(struct pager *pager, struct page *page, struct wait *wait);

/*
 * The phases for a page that the caller has found on its list or by its frame. Begin takes over @to, a frame that was
 * just allocated, also when it fails. Begin may drop the lock. The results are those of migrate_begin() and
 * migrate_end().
 * => begin: page_migrate_check() was 0, and the lock was not dropped since
 */
int page_migrate_begin(struct pager *pager, struct page *page, struct page *to, struct migration *m);
int page_migrate_end(struct migration *m);

#endif

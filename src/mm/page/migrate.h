/* SPDX-License-Identifier: MIT */
/*
 * A page moves to another frame (LIFECYCLE B9): to another node, or down within its node so that free frames form a run.
 *
 *      phase      the page                                                   its PTEs           meanwhile
 *      begin      isolated, locked; nobody but the cache holds it besides    migration entries  faults wait for its lock
 *      copy       the same; the new frame is filled, no lock held            migration entries
 *      end        what it is goes over to the new one, the old one is free   the new page's
 *
 * Between two phases the pager lock is not held. Migration entries may be dropped (munmap, exit), moved (mremap), copied
 * (fork) or lose rights (mprotect) meanwhile; the end finds those that are left through the reverse map.
 *
 * A page that somebody else holds, that is pinned for I/O, under writeback or merged stays where it was.
 */
#ifndef ANONMM_MIGRATE_H
#define ANONMM_MIGRATE_H

#include "mm/pager.h"

struct page;

/* May it be tried? -EAGAIN: after somebody has unlocked it, or thawed the pager. -EBUSY: not now. */
int page_migrate_check(struct pager *pager, struct page *page, struct wait *wait);

/*
 * The phases for a page that the caller has found, by its list or its frame. @to is a frame just allocated, and taken
 * whatever comes of it. => begin: page_migrate_check() was 0, drops the lock
 */
int page_migrate_begin(struct pager *pager, struct page *page, struct page *to, struct migration *m);
int page_migrate_end(struct migration *m);

#endif

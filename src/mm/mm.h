/* SPDX-License-Identifier: MIT */
/*
 * The core's inside: the pager, and how its parts see each other.
 *
 *      pager --- nodes --- frames, LRU lists             frames.h lru.h page.h reserve.h
 *        |------ areas --- slots, swap cache             swap_slots.h clusters.h swap_cache.h page_io.h
 *        |------ twins                                   twins.h
 *        |------ files --- page cache, i_mmap            filemap.h
 *        '------ spaces -- VMAs --- anon_vma chains      space.h rmap.h
 *                  |------ KSM's items                   ksm.h
 *                  '------ page tables                   pgtable.h
 *
 * fault.c, vmscan.c with kswapd.c, and space.c call the other parts; the other parts never call them.
 *
 * Unless a comment says otherwise, every function in src/mm is entered and left with the pager lock held. A function
 * that lets go of the lock in between says "drops the lock". README.md (rule 2) lists what stays across that.
 */
#ifndef ANONMM_MM_H
#define ANONMM_MM_H

#include "mm/pager.h"
#include "mm/pool.h"
#include "mm/page/page.h"
#include "mm/page/frames.h"
#include "mm/page/reserve.h"
#include "mm/page/lru.h"
#include "mm/space/pgtable.h"
#include "mm/space/rmap.h"
#include "mm/file/filemap.h"
#include "mm/ksm/ksm.h"
#include "mm/space/space.h"
#include "mm/swap/swap_slots.h"
#include "mm/swap/swap_cache.h"
#include "mm/swap/tiers.h"
#include "mm/swap/page_io.h"
#include "mm/swap/twins.h"
#include "mm/fault/readahead.h"
#include "mm/reclaim/vmscan.h"
#include "mm/page/migrate.h"
#include "mm/reclaim/oom.h"

/*
 * The door of a swap area: who wants to call its device without the pager lock must be inside. A closed door lets
 * nobody in.
 */
struct area_door {
	_Atomic(bool) open; /* [a] somebody may enter */
	_Atomic(bool) awaited; /* [a] swapoff has closed the door, and waits until nobody is inside */
	_Atomic(unsigned) holders; /* [a] */
};

/* A swapoff under way (swapoff.c). Locks: all [L] */
struct swapoff {
	bool running;
	uint8_t type; /* the area that is being emptied */
	bool reclaimed; /* the swapoff has already reclaimed for the frame that it takes next */
	/* where the swapoff goes on. The pointer is only compared, never followed: the space may be gone */
	struct space *space;
	uint64_t index;
	bool caches; /* the spaces have been looked at; pages leave the swap cache now */
	uint32_t slot; /* the slot where that goes on */
};

/* Locks: [I] set once  [L] pager lock  [a] atomic */
struct pager {
	struct machine *machine; /* [I] */
	struct anonmm_stats *stats; /* [L] */
	struct anonmm_stats own_stats;
	uint64_t seed; /* [I] */
	int swappiness; /* [I] */
	unsigned policy; /* [I] PAGER_* */

	struct page *pages; /* [I] */
	uint32_t nr_frames; /* [I] */
	uint32_t nr_limit; /* [L] how many of these frames the limit pays for */
	uint64_t limit_bytes; /* [L] the limit as it was set last; 0: never set as bytes */
	unsigned nr_nodes; /* [I] */
	struct node nodes[MAX_NODES];
	uint32_t nr_used; /* [L] frames that are neither free nor reserved */
	uint32_t nr_reserved; /* [L] frames that the limit does not pay for, and lent ones; reserve.h */
	uint32_t nr_locked; /* [L] pages with PG_locked */
	uint64_t nr_mlocked; /* [L] pages of VMAs with VM_LOCKED, in memory or not */
	uint32_t nr_writeback; /* [L] pages with PG_writeback */
	uint32_t nr_swapcache; /* [L] pages with PG_swapcache */
	pfn_t zero_pfn; /* [I] the zero page; PFN_NONE where frames cannot be shared */

	/* [L] by number, which swap entries name; a new area takes the lowest free number */
	struct swap_area areas[MAX_SWAP_AREAS];
	struct area_door doors[MAX_SWAP_AREAS];
	uint8_t by_priority[MAX_SWAP_AREAS]; /* [L] numbers of areas, the one to be asked first in front */
	unsigned nr_ranked; /* [L] length of by_priority: without the numbers that swapoff has freed */
	/* [a], changed under [L]: numbers in use, freed ones in between (dev NULL) included */
	_Atomic(unsigned) nr_areas;
	struct swapoff off;
	uint64_t slots_total, slots_used; /* [L] sums over the areas where area_counts() */
	struct swap_lease_list leases; /* [L] */
	uint32_t nr_lent; /* [L] frames whose memory devices have, or are about to have; reserve.h */
	uint32_t owed; /* [L] free frames that are promised to devices */
	bool disowns; /* [L] the parent pays for what inherited areas hold; pager_disown() */

	struct twin *twins; /* [I] the array (NULL: slots are not shared), [L] what is in it; twins.h */
	uint32_t twin_mask; /* [I] the array's length minus one */

	struct swap_io *io_array; /* [I] all requests */
	unsigned nr_io; /* [I] their number */
	struct swap_io_list io_free; /* [L] those that are not in use */
	uint32_t nr_inflight[SWAP_DIRS]; /* [L] requests that were made and have not ended */

	struct pool table_pool, vma_pool, anon_vma_pool, avc_pool, file_pool; /* [L] */

	TAILQ_HEAD(space_list, space) spaces; /* [L] */
	struct ksm ksm; /* [L] */
	struct file_list files; /* [L] */

	page_tracer tracer; /* [L] */
	void *tracer_ctx;

	/* [a] by word; a counter moves on when somebody who waits with that word may go on */
	_Atomic(uint32_t) events[WAIT_WORDS];
	bool frame_waiters; /* [L] somebody waits for a free frame */
	bool kswapd_woken; /* [L] kswapd's work was asked for, and its round has not ended */
	uint64_t direct_seen; /* [L] stats->direct_reclaims at the end of kswapd's last round */
	bool rotated; /* [L] written pages have gone to the inactive tail since kswapd looked */
	bool frozen; /* [L] at rest for a fork: faults and kswapd only wait */
	uint32_t nr_reclaimers; /* [L] threads inside reclaim */
	uint64_t metadata_bytes; /* [L] host memory that the core's structures take */
	uint64_t nr_oom; /* [L] faults that ended in FAULT_OOM */
	unsigned walked; /* [L] steps of walks since the lock was taken; walk_rest() */
};

static inline void pager_lock(struct pager *pager)
{
	pager->machine->ops->lock(pager->machine);
	pager->walked = 0;
}

static inline void pager_unlock(struct pager *pager)
{
	pager->machine->ops->unlock(pager->machine);
}

/*
 * A walk whose length grows with the memory does at most WALK_STEPS steps (of some 100 instructions) in one hold of the
 * pager lock: some 20 us. walk_rest() is one step of such a walk: drops the lock, so that others can take it, and takes
 * it again, when that many steps have been done since the lock was taken. Returns true if it has dropped the lock.
 * walk_rest_now() does so whatever was done.
 */
#define WALK_STEPS 512u
void walk_rest_now(struct pager *pager);

static inline bool walk_rest(struct pager *pager)
{
	if (likely(++pager->walked < WALK_STEPS))
		return false;
	walk_rest_now(pager);
	return true;
}

/* Wake the threads that wait for anything else than a page or a space (WAIT_WORD_COMMON). */
void pager_event(struct pager *pager);
/* Wake the threads that wait for this page, or for this space. Those that wait for another one sleep on. */
void page_event(struct pager *pager, const struct page *page);
void space_event(struct space *space);

/*
 * The last locked page was unlocked, or the last thread has left reclaim. If the pager is frozen, pager_freeze() waits
 * for this: wake it. Otherwise, if nothing is in flight either, no thread is left that could free a frame: wake the
 * threads that wait for one, so that they look again.
 */
void pager_is_quiet(struct pager *pager);
/* A frame is free: threads that wait for one look again. */
void pager_frame_event(struct pager *pager);

/* Fill *wait: the wait is over at the next pager_event(). */
void wait_set(struct pager *pager, struct wait *wait, enum wait_for what, pfn_t pfn);
/* Fill *wait: until @page is unlocked (WAIT_PAGE), or written (WAIT_WRITE). => it is locked, or under writeback */
void wait_on_page(struct pager *pager, struct page *page, enum wait_for what, struct wait *wait);
/* Fill *wait: until the space is unlocked, VM_CHANGING goes, or the space's faults end. */
void wait_on_space(struct space *space, struct wait *wait);

/*
 * Ask the machine for kswapd's work, because a fault found frames few. The thread that serves the fault may do the
 * work afterwards: on real memory this normally only sets a flag for it (real_kswapd.c).
 */
void pager_wake_kswapd(struct pager *pager);
/* Ask for kswapd's work when it must be done even if nobody ever faults again: the kswapd thread does it. */
void pager_have_reclaimed(struct pager *pager);

void *pager_chunk_alloc(struct pager *pager, size_t bytes);
void pager_chunk_free(struct pager *pager, void *chunk, size_t bytes);

void pager_say(struct pager *pager, const char *format, ...) __attribute__((format(printf, 2, 3)));

static inline void *frame_bytes(struct pager *pager, const struct page *page)
{
	return pager->machine->ops->frame_bytes(pager->machine, page_pfn(pager, page));
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The core's inside: the pager, and how its parts see each other.
 *
 *      pager --- nodes --- frames, LRU lists             frames.h lru.h page.h
 *        |------ areas --- slots, swap cache             swap_slots.h swap_cache.h page_io.h lend.h
 *        |------ files --- page cache, i_mmap            filemap.h
 *        '------ spaces -- VMAs --- anon_vma chains      space.h rmap.h
 *                  |------ KSM's items                   ksm.h
 *                  '------ page tables                   pgtable.h
 *
 * fault.c, vmscan.c with kswapd.c, and space.c orchestrate; the others never call up.
 *
 * Unless a comment says otherwise every function in src/mm is entered and left with the pager
 * lock held. Those that let go of it in between say "drops the lock"; what they hold across
 * that is locked pages, isolated pages, or nothing.
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
#include "mm/page/lend.h"
#include "mm/swap/tiers.h"
#include "mm/swap/page_io.h"
#include "mm/swap/twins.h"
#include "mm/fault/readahead.h"
#include "mm/reclaim/vmscan.h"
#include "mm/page/migrate.h"
#include "mm/reclaim/oom.h"

/* How devices are asked without the pager lock: who is inside holds the door, and a closed one stays closed to newcomers. */
struct area_door {
	_Atomic(bool) open; /* [a] */
	_Atomic(bool) awaited; /* [a] swapoff has closed it and waits until nobody is inside */
	_Atomic(unsigned) holders; /* [a] */
};

/* A swapoff under way (swapoff.c). Locks: all [L] */
struct swapoff {
	bool running;
	uint8_t type; /* the area that is being emptied */
	bool reclaimed; /* it has reclaimed for the frame that it takes next */
	struct space *space; /* where it goes on; only to be compared: it may be gone */
	uint64_t index;
};

/* Locks: [I] set once  [L] pager lock  [a] atomic */
struct pager {
	struct machine *machine; /* [I] */
	struct anonmm_stats *stats; /* [I] the pointer, [L] the counters */
	struct anonmm_stats own_stats;
	uint64_t seed; /* [I] */
	int swappiness; /* [I] */
	unsigned policy; /* [I] PAGER_* */

	struct page *pages; /* [I] */
	uint32_t nr_frames; /* [I] */
	uint32_t nr_limit; /* [L] of them, how many the limit pays for */
	uint64_t limit_bytes; /* [L] 0: never set as bytes */
	unsigned nr_nodes; /* [I] */
	struct node nodes[MAX_NODES];
	uint32_t nr_used; /* [L] frames that are neither free nor reserved */
	uint32_t nr_reserved; /* [L] */
	uint32_t nr_locked; /* [L] pages with PG_locked */
	uint64_t nr_mlocked; /* [L] pages of VMAs with VM_LOCKED, in memory or not */
	uint32_t nr_writeback; /* [L] pages with PG_writeback */
	uint32_t nr_swapcache; /* [L] pages with PG_swapcache */
	pfn_t zero_pfn; /* [I] the zero page; PFN_NONE where frames cannot be shared */

	struct swap_area areas[MAX_SWAP_AREAS]; /* [L] numbered as they came: entries name them */
	struct area_door doors[MAX_SWAP_AREAS];
	uint8_t by_priority[MAX_SWAP_AREAS]; /* [L] numbers of areas, the first to be asked first */
	unsigned nr_ranked; /* [L] how many those are: without the holes that swapoff leaves */
	_Atomic(unsigned) nr_areas; /* [a], changed under [L]; holes (dev NULL) included */
	struct swapoff off;
	uint64_t slots_total, slots_used; /* [L] */
	struct swap_lease_list leases; /* [L] */
	uint32_t nr_lent; /* [L] frames whose memory devices have; lend.h */
	uint32_t owed; /* [L] free frames that they are to have next */
	bool disowns; /* [L] somebody else pays for what inherited areas hold */

	struct twin *twins; /* [I] the array, NULL: none, [L] what is in it; twins.h */
	uint32_t twin_mask; /* [I] how many there are, minus one */

	struct swap_io *io_array; /* [I] */
	unsigned nr_io; /* [I] */
	struct swap_io_list io_free; /* [L] */
	uint32_t nr_inflight[SWAP_DIRS]; /* [L] requests between their making and their done() */

	struct pool table_pool, vma_pool, anon_vma_pool, avc_pool, file_pool; /* [L] */

	TAILQ_HEAD(space_list, space) spaces; /* [L] */
	struct ksm ksm; /* [L] */
	struct file_list files; /* [L] */

	page_tracer tracer; /* [L] */
	void *tracer_ctx;

	_Atomic(uint32_t)
		events[WAIT_WORDS]; /* [a] one moves on when somebody who waits with its word may go on */
	bool frame_waiters; /* [L] somebody waits for a free frame */
	bool kswapd_woken; /* [L] */
	uint64_t direct_seen; /* [L] direct reclaims until kswapd's last round */
	bool rotated; /* [L] written pages went to the inactive tail since kswapd looked */
	bool frozen; /* [L] for a fork */
	uint32_t nr_reclaimers; /* [L] threads inside reclaim */
	uint64_t metadata_bytes; /* [L] */
	uint64_t nr_oom; /* [L] faults that ended without memory */
};

static inline void pager_lock(struct pager *pager)
{
	pager->machine->ops->lock(pager->machine);
}

static inline void pager_unlock(struct pager *pager)
{
	pager->machine->ops->unlock(pager->machine);
}

/* Something that somebody waits for has happened: to no page and no space (WAIT_WORD_COMMON). */
void pager_event(struct pager *pager);
/* The same, to this page or this space; who waits for another one sleeps on. */
void page_event(struct pager *pager, const struct page *page);
void space_event(struct space *space);

/*
 * The last page was unlocked, or the last reclaimer has left. pager_freeze() waits for that; who waits for a frame must look
 * again when nobody is left who could free one.
 */
void pager_is_quiet(struct pager *pager);
/* A frame is free: who waits for one may go on. */
void pager_frame_event(struct pager *pager);

/* Fill *wait: over at the next pager_event(). */
void wait_set(struct pager *pager, struct wait *wait, enum wait_for what, pfn_t pfn);
/* Wait for @page to be unlocked (WAIT_PAGE) or written (WAIT_WRITE). */
void wait_on_page(struct pager *pager, struct page *page, enum wait_for what, struct wait *wait);
/* Wait for the space's lock, for VM_CHANGING to go, or for its faults to end. */
void wait_on_space(struct space *space, struct wait *wait);

void pager_wake_kswapd(struct pager *pager); /* frames are few; who faults may do the work */
void pager_have_reclaimed(struct pager *pager); /* also if nobody faults any more */

void *pager_chunk_alloc(struct pager *pager, size_t bytes);
void pager_chunk_free(struct pager *pager, void *chunk, size_t bytes);

void pager_say(struct pager *pager, const char *format, ...) __attribute__((format(printf, 2, 3)));

static inline void *frame_bytes(struct pager *pager, const struct page *page)
{
	return pager->machine->ops->frame_bytes(pager->machine, page_pfn(pager, page));
}

#endif

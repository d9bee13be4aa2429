/* SPDX-License-Identifier: MIT */
/*
 * Swap areas and their slots: who is where on which device.
 *
 * A slot has a count of the PTEs that name it (Linux's swap_map), and one typed word:
 *
 *      free | used | the cached page (SWAP_HAS_CACHE) | a shadow: when its page was removed
 *
 * Slots are handed out in ascending runs, from clusters that are wholly free where there are such (clusters.h;
 * next_cluster() in swap_slots.c says when not). So pages that are evicted together lie together, and one write carries many pages.
 *
 * A slot can be written by us unless one of these holds: its area is inherited (we are a fork's child, and the slots
 * are the parent's); its area is being given up (swapoff); the slot is leased (we are the parent, and a child still
 * reads it); the slot is retired (a write to it failed).
 *   Rule: a page that is mapped and in the swap cache must not keep a slot that cannot be written. A fault and a lease
 *   take such pages out of the cache at once, swapoff does before it ends. After a failed write the next fault does; so
 *   does the next fault after a write for which there was no room, while the area is full.
 */
#ifndef ANONMM_SWAP_SLOTS_H
#define ANONMM_SWAP_SLOTS_H

#include "mm/page/page.h"
#include "mm/swap/clusters.h"
#include "contract/policy.h"
#include "mm/space/pgtable.h"
#include "contract/swapdev.h"

#define MAX_SWAP_AREAS 30

enum slot_flags {
	/* the slot's hash is that of the content on the device, or of a write on its way there */
	SLOT_HASHED = 1 << 0,
	SLOT_RETIRED = 1 << 1, /* a write to it failed: it is never handed out again */
	SLOT_POISONED = 1 << 2, /* its content is lost: readers get SIGBUS */
	SLOT_DEFERRED = 1 << 3, /* it is free for us, but leased to a child */
	/* a read of many pages failed: this one is read by itself, so that one bad page harms no other */
	SLOT_ALONE = 1 << 4,
	SLOT_FILE = 1 << 5, /* a file's: shmem takes the page away when it comes in, so no PTE may name it */
	SLOT_EMPTY = 1 << 6, /* nothing was ever written to it: its end makes no room on the device */
};

/* Locks: all [L] */
struct swap_slot {
	uint32_t word; /* what it is: WORD_* in swap_slots.c */
	uint16_t count; /* PTEs, and words of shared memory, that name it */
	uint16_t flags;
	uint64_t hash[2]; /* keyed XXH3 of the content */
};

/* Locks: [I] set once  [L] pager lock */
struct swap_area {
	struct pager *pager; /* [I] */
	struct swapdev *dev; /* [I] NULL: no area has this number now */
	int priority; /* [I] higher is used first */
	bool inherited; /* [L] the parent's area, for reading only */
	bool full; /* [L] the device had no room for a page: no slot is handed out until there may be room */
	/* [L] swapoff has begun: the area gets nothing new, and does not count in the pager's sums */
	bool off;
	uint32_t nr_slots; /* [I] */
	struct swap_slot *slots; /* [I] the array */
	struct clusters clusters; /* [L] */
	void *cluster_memory; /* [I] memory of @clusters */
	uint32_t cursor; /* [L] slot to try next */
	uint32_t nr_used; /* [L] slots whose word is not free */
	/* [L] names of slots (their counts' sum); slots that are named; cached ones; slots that are both */
	uint64_t nr_names;
	uint32_t nr_named, nr_cached, nr_named_cached;
	uint64_t nr_refused; /* [L] writes for which the device had no room */
	/* [L] slots below this one were used at some time: the part of the table that takes memory */
	uint32_t touched;
	uint32_t nr_lent; /* [L] frames whose memory the device has; reserve.h */
	uint32_t lending; /* [L] frames whose memory it is about to have */
	uint32_t nr_disowned; /* [L] inherited: frames that the parent pays for while it lives */
	struct tier tier; /* [L] what the policy keeps of the area's share */
	/*
	 * [L] the policy's last answers: a read costs no more than a fault; slots far apart cost no more than
	 * neighbours
	 */
	bool quick, flat;
};

/*
 * What children of forks may still read: a bitmap for each area of ours. Inherited areas are leased by the process that
 * owns them.
 */
struct swap_lease {
	TAILQ_ENTRY(swap_lease) link;
	bool ends; /* [L] nobody reads there any more; what was deferred for it is being freed */
	uint64_t *map[MAX_SWAP_AREAS]; /* NULL: nothing is leased there */
	uint32_t nr[MAX_SWAP_AREAS]; /* slots that the map has a bit for; no slot behind them is leased */
};

TAILQ_HEAD(swap_lease_list, swap_lease);

/*
 * Do the area's slots count in pager->slots_total, and its used slots in slots_used? No while the area is being given
 * up, and no if it is inherited: what is used there takes nothing from our devices, and what is free there is not ours
 * to fill.
 */
static inline bool area_counts(const struct swap_area *area)
{
	return area->dev && !area->off && !area->inherited;
}

/* Add the area to those sums, or take it out. => called just before or after @area starts or stops to count */
void area_count_in(struct pager *pager, const struct swap_area *area);
void area_count_out(struct pager *pager, const struct swap_area *area);

int swap_area_init(struct pager *pager, struct swap_area *area, struct swapdev *dev, int priority);
void swap_area_destroy(struct pager *pager, struct swap_area *area);

/* The end of swapoff: the number is free again; the caller closes the device. => no slot in use, the door closed */
void swap_area_remove(struct pager *pager, uint8_t type);

/* From now on area_enter() hands out the device, so pager_poll() asks it. */
void area_open_door(struct pager *pager, uint8_t type);
/*
 * Nobody can enter any more. Returns true if nobody is inside either. Otherwise pager_event() is called when the last
 * one has left.
 */
bool area_close_door(struct pager *pager, uint8_t type);
/* The device, for use without the pager lock until area_leave(). NULL: the door is closed. => pager lock held or not */
struct swapdev *area_enter(struct pager *pager, unsigned type);
void area_leave(struct pager *pager, unsigned type);

/* Does the slot exist? A caller that has dropped the lock since it met the entry must ask. */
bool swap_entry_exists(const struct pager *pager, swp_entry_t entry);
struct swap_slot *swap_slot(struct pager *pager, swp_entry_t entry);

/* A free slot, from the area that comes first by priority. Its word becomes @page. -ENOSPC: no area has one. */
int get_swap_page(struct pager *pager, struct page *page, swp_entry_t *entry);

/* One more PTE names the slot; one fewer does. A slot that is neither named nor cached is freed. */
void swap_duplicate(struct pager *pager, swp_entry_t entry);
void swap_free(struct pager *pager, swp_entry_t entry);

/* The cached page of the slot, or NULL; make @page the slot's cached page. */
struct page *slot_page(struct pager *pager, swp_entry_t entry);
void slot_set_page(struct pager *pager, swp_entry_t entry, struct page *page);
/* The slot has no cached page any more: its word becomes a shadow (NO_SHADOW: none). It is freed if nobody names it. */
void slot_clear_page(struct pager *pager, swp_entry_t entry, uint32_t shadow);
/* *clock: the node's refault clock when the slot's page was removed. Returns false if the slot has no shadow. */
bool slot_shadow(struct pager *pager, swp_entry_t entry, uint32_t *clock);
#define NO_SHADOW UINT32_MAX
#define SHADOW_MASK 0x3fffffffu

bool slot_writable(struct pager *pager, swp_entry_t entry);

/* The device had no room for this slot's page. The page keeps its slot, and the area hands out no slot for now. */
void slot_refused(struct pager *pager, swp_entry_t entry);

/*
 * Would a write to the slot be of use now? The slot must be writable. Where the area is full, the device must hold a
 * content of the slot already, whose place the new one can take.
 */
bool slot_has_room(struct pager *pager, swp_entry_t entry);

/* Is the area's device as quick as a fault (cost_is_quick())? => pager lock held */
bool area_is_quick(struct swap_area *area);

/* Is swap more than half full, or a device short of room? Then pages that come in give their slots back. */
bool vm_swap_full(const struct pager *pager);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Swap areas and their slots: who is where on which device.
 *
 * A slot has a count of the PTEs that name it (Linux's swap_map) and one typed word:
 *
 *      free | used | the cached page (SWAP_HAS_CACHE) | a shadow: when its page was removed
 *
 * Slots are handed out in ascending runs from clusters that are wholly free, so that what is evicted
 * together lies together and one write carries many pages.
 *
 * A slot can be written by us unless its area is inherited (we are the child of a fork and the slots are
 * the parent's) or being given up (swapoff), it is leased (we are the parent and a child still reads it), or retired (a write to it failed).
 *   Invariant: a mapped page is in the swap cache only if its slot can be written.
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
	SLOT_HASHED = 1 << 0, /* hash is that of the content on the device */
	SLOT_RETIRED = 1 << 1, /* a write failed: never handed out again */
	SLOT_POISONED = 1 << 2, /* content lost: readers get SIGBUS */
	SLOT_DEFERRED = 1 << 3, /* free for us, but leased to a child */
	SLOT_ALONE =
		1 << 4, /* a read of many failed: read it by itself, so that one bad page harms no other */
	SLOT_FILE = 1 << 5, /* a file's: shmem takes the page away when it comes in, so no PTE may name it */
	SLOT_EMPTY = 1 << 6, /* nothing was ever written to it: no room is won when it is given back */
};

/* Locks: all [L] */
struct swap_slot {
	uint32_t word;
	uint16_t count; /* PTEs that name it */
	uint16_t flags;
	uint64_t hash[2]; /* keyed XXH3 of the content */
};

struct swap_area {
	struct pager *pager; /* [I] */
	struct swapdev *dev; /* [I], NULL: no area has this number now */
	int priority; /* [I] */
	bool inherited; /* [L] read only: the parent's */
	bool full; /* [L] the device had no room for a page: no slot is handed out until it may have */
	bool off; /* [L] swapoff has begun: it gets nothing new, and the pager's sums leave it out */
	uint32_t nr_slots; /* [I] */
	struct swap_slot *slots; /* [I] the array */
	struct clusters clusters; /* [L] */
	void *cluster_memory; /* [I] */
	uint32_t cursor; /* [L] the slot to try next */
	uint32_t nr_used; /* [L] */
	uint64_t nr_refused; /* [L] writes for which the device had no room */
	uint32_t touched; /* [L] slots that were ever used: what the table costs */
	struct page_head lent; /* [L] frames whose memory the device has; lend.h */
	uint32_t nr_lent, lending; /* [L] how many, and how many are about to be */
	uint32_t nr_disowned; /* [L] inherited: how many the parent pays for while it lives */
	struct tier tier; /* [L] its share of them */
};

/* What children of forks may still read: a bitmap for each area of ours. What is inherited its owner leases. */
struct swap_lease {
	TAILQ_ENTRY(swap_lease) link;
	uint64_t *map[MAX_SWAP_AREAS]; /* NULL: nothing there */
	uint32_t nr[MAX_SWAP_AREAS]; /* slots that the map has a bit for; those behind are not leased */
};

TAILQ_HEAD(swap_lease_list, swap_lease);

/*
 * Are its slots among the pager's slots_total, and those in use among slots_used? Not while it is being given up, and
 * not where it is inherited: what is used there fills no device of ours, and what is free there is not ours to fill.
 */
static inline bool area_counts(const struct swap_area *area)
{
	return area->dev && !area->off && !area->inherited;
}

/* Into those sums, and out of them. => before @area starts to count, or just before or after it stops */
void area_count_in(struct pager *pager, const struct swap_area *area);
void area_count_out(struct pager *pager, const struct swap_area *area);

int swap_area_init(struct pager *pager, struct swap_area *area, struct swapdev *dev, int priority);
void swap_area_destroy(struct pager *pager, struct swap_area *area);

/* swapoff's end: the number is free again, the device the caller's to close. => no slot in use, door closed */
void swap_area_remove(struct pager *pager, uint8_t type);

/* From now on pager_poll() asks the device. */
void area_open_door(struct pager *pager, uint8_t type);
/* Nobody comes in any more. Returns whether nobody is inside either; if somebody is, an event will tell that the last has left. */
bool area_close_door(struct pager *pager, uint8_t type);
/* The device, to be used without the lock until area_leave(); NULL: the door is closed. => lock held or not */
struct swapdev *area_enter(struct pager *pager, unsigned type);
void area_leave(struct pager *pager, unsigned type);

/* Is there such a slot? Only who has dropped the lock since it met the entry needs to ask. */
bool swap_entry_exists(const struct pager *pager, swp_entry_t entry);
struct swap_slot *swap_slot(struct pager *pager, swp_entry_t entry);

/* A free slot, by priority of the areas; it becomes @page's. -ENOSPC */
int get_swap_page(struct pager *pager, struct page *page, swp_entry_t *entry);

/* One more PTE names it / one fewer: at 0, and not cached, it is free. */
void swap_duplicate(struct pager *pager, swp_entry_t entry);
void swap_free(struct pager *pager, swp_entry_t entry);

/* The cached page, or NULL. */
struct page *slot_page(struct pager *pager, swp_entry_t entry);
void slot_set_page(struct pager *pager, swp_entry_t entry, struct page *page);
/* The cached page has gone: leave a shadow (or nothing) and free the slot when nobody names it. */
void slot_clear_page(struct pager *pager, swp_entry_t entry, uint32_t shadow);
/* The shadow: the clock at removal; false: there is none. */
bool slot_shadow(struct pager *pager, swp_entry_t entry, uint32_t *clock);
#define NO_SHADOW UINT32_MAX
#define SHADOW_MASK 0x3fffffffu

bool slot_writable(struct pager *pager, swp_entry_t entry);

/* The device had no room for this slot's page: it keeps its slot, and none is handed out there for now. */
void slot_refused(struct pager *pager, swp_entry_t entry);

/* Would writing to it be of any use now? */
bool slot_has_room(struct pager *pager, swp_entry_t entry);

/* Is swap more than half full? Then pages that come in give their slots back. */
bool vm_swap_full(const struct pager *pager);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The core as its drivers see it: the machines, the public library, the tools.
 *
 * A pager is one world: frames, swap areas, spaces. The core never starts a thread, reads
 * a clock or waits: these functions are called, do what can be done now, and return. What
 * has to wait is told by a value (struct wait) and is simply called again later.
 *
 * Results: 0, -errno, or -EAGAIN with *wait filled: "wait, then call again with the same
 * arguments". Progress made so far is kept.
 *
 * Locks, outermost first:
 *
 *   space lock        one writer of a space's VMAs at a time   (a value: space_lock)
 *     page lock       PG_locked: a page's mappings, its I/O    (a value: trylock or -EAGAIN)
 *       pager lock    every field of the core                  (machine->ops->lock)
 *         device locks                                         (inside a device)
 *
 * Page locks are only ever tried, so they cannot deadlock among themselves. The functions
 * here take the pager lock themselves: => the caller does not hold it.
 */
#ifndef ANONMM_PAGER_H
#define ANONMM_PAGER_H

#include "base/base.h"
#include "anonmm.h"
#include "contract/core.h"

struct file;
struct page;
struct anon_vma;

struct pager_config {
	struct machine *machine; /* stays the caller's */
	uint32_t nr_frames; /* at least PAGER_MIN_FRAMES */
	uint32_t nr_limit; /* of them, how many may be used until pager_set_limit() says otherwise; 0: all */
	unsigned nr_nodes; /* memory nodes that share the frames evenly; 0 means 1 */
	int swappiness; /* 0..200, as Linux's; -1: 60 */
	uint64_t seed; /* keys the content hashes */
	unsigned policy; /* PAGER_* below */
	struct anonmm_stats *stats; /* where to count; stays the caller's, zeroed by it. NULL: inside */
};

/* Where kernels differ (LIFECYCLE 9). 0: as the article, and shadows as Linux 6. */
#define PAGER_BIRTH_INACTIVE 0x1 /* Linux 5.9 and later: new anonymous pages start on the inactive list */
#define PAGER_NO_SHADOWS                                                                                     \
	0x2 /* Linux 4.0: anonymous pages leave no shadow, refaults start on the inactive list */

/* Ours, no kernel's: */
#define PAGER_SHARE_SLOTS 0x4 /* equal pages share a swap slot (twins.h) */

/* -EINVAL: too few frames or no machine. -ENOMEM. */
int pager_open(const struct pager_config *config, struct pager **out);

/*
 * Use @dev for swap. Higher priority is used first. The device is the pager's from now on.
 * -ENOMEM, -ENOSPC (too many devices, or one without slots).
 */
int pager_add_swap(struct pager *pager, struct swapdev *dev, int priority);

/*
 * swapoff: the area of the device that was opened as @uri takes nothing new; all that it holds comes back, present and
 * dirty, shared memory too; then the device is closed and its number is free for another. -EAGAIN: call again.
 * -ENOENT: no such device. -EBUSY: another swapoff is under way, or a child of a fork still reads there.
 * -ENOMEM: memory and the other areas have no room for it. -EIO: a page is lost; said which. -EINTR: cancelled by another.
 * After an error the area is in use as before; what came in stays in until it is reclaimed.
 */
int pager_swapoff(struct pager *pager, const char *uri, struct wait *wait);
/* The same of the area of @dev: an heir's devices may all have one name. */
int pager_swapoff_device(struct pager *pager, const struct swapdev *dev, struct wait *wait);
/* How many slots of @dev somebody here names or has in memory. Of an inherited device 0 means: nobody will read there again. */
uint32_t pager_slots_used(struct pager *pager, const struct swapdev *dev);
/* End a swapoff that said -EAGAIN, in place of calling it again. No-op if there is none. */
void pager_swapoff_cancel(struct pager *pager);

/* => no space and no file is left, nothing is in flight (else -EBUSY and nothing done). Closes the devices. */
int pager_close(struct pager *pager);

/* How many frames @limit_bytes pays for, their own and the swap's metadata set aside; 0: none. */
uint32_t pager_frames_for(uint64_t limit_bytes, uint64_t swap_slots);

/*
 * From now on the pager lives within @bytes, metadata included. What is in use beyond that goes in the background
 * (kswapd_step), and the memory of the frames goes back to the host; a higher limit holds at once. On failure nothing has changed,
 * and @why says the reason in words: -EINVAL: too little to work with. -ERANGE: more than nr_frames.
 * -EBUSY: more is locked. -ENOSPC: what must go has no room on the devices.
 */
int pager_set_limit(struct pager *pager, uint64_t bytes, char *why, size_t why_len);

struct pager_limit {
	uint64_t bytes; /* as it was set last; 0: never */
	uint32_t frames, frames_max; /* that it pays for, and that it could ever pay for */
	uint32_t frames_used;
	uint32_t frames_lent; /* of these, to swap devices that keep compressed pages there */
	uint32_t frames_missing; /* still to be freed and given back: 0 when the limit is reached */
	bool stalled; /* nothing more can be reclaimed for it now */
	bool low; /* free frames are below the high watermark: kswapd has, or will soon have, something to do */
};

void pager_limit(struct pager *pager, struct pager_limit *out);

/*
 * A child of a fork shares the memory of its parent's compressed stores with it. disown: the parent pays for that; the
 * child's frames are its own again. own: the parent has gone. The frames go back as they get free. => after pager_fork_child()
 */
void pager_disown(struct pager *pager);
void pager_own(struct pager *pager);

/* ---- Driving ------------------------------------------------------------------------- */

/*
 * One step of ksmd (LIFECYCLE 8): looks at up to @pages pages of mergeable VMAs, from where the last step stopped; a step
 * ends where a full scan of all spaces does. Pages that held the same content in two scans and are equal are merged.
 * Returns how many mappings came to share a page (where a frame has one place only: a swap slot). -ENOMEM
 */
int ksmd_step(struct pager *pager, unsigned pages);

/*
 * Reclaim about @pages pages now, whatever the watermarks say: as writing to a cgroup's memory.reclaim does. Returns how
 * many frames were freed or are being written; 0: nothing can be reclaimed.
 */
unsigned pager_reclaim(struct pager *pager, unsigned pages);

/*
 * Bring everything to rest for a fork: no page locked, nothing in flight, and while frozen faults and
 * kswapd only wait. -EAGAIN: call again. => the caller holds the locks of all spaces.
 */
int pager_freeze(struct pager *pager, struct wait *wait);
void pager_thaw(struct pager *pager);

/*
 * In the child of a fork, frozen: the swap areas become read-only heirs of the parent's, and new areas must be
 * added for what the child swaps out. => single-threaded. 0 or -errno (the child cannot go on).
 */
int pager_fork_child(struct pager *pager);

/*
 * In the parent, frozen, before the fork: what is on the devices now must stay readable by the child until
 * pager_lease_end() is called with the returned lease. -ENOMEM.
 */
struct swap_lease;
int pager_lease_begin(struct pager *pager, struct swap_lease **out);
/* The same for one child more, by a lease that there is: it ends when all its children have ended. */
int pager_lease_join(struct pager *pager, struct swap_lease *lease);
void pager_lease_end(struct pager *pager, struct swap_lease *lease);

void pager_stats(struct pager *pager, struct anonmm_stats *out);

/*
 * Who uses what, in lines without newlines: each node's frames by kind, each space's mapped, resident and swapped pages,
 * each swap area's slots, the core's own structures. The same is said through machine->ops->say when a fault ends in
 * FAULT_OOM, the 1st, 2nd, 4th, 8th ... time. Looks at every frame and PTE. @line is called without the pager lock.
 */
void pager_memory_report(struct pager *pager, void (*line)(void *ctx, const char *text), void *ctx);

/* Check every equation that must hold, at rest or not. NULL: all hold; else what does not (static text or @buf). */
const char *pager_validate(struct pager *pager, char *buf, size_t len);

/* ---- Migration (LIFECYCLE B9) --------------------------------------------------------- */

/*
 * Move up to @max pages of node @from to node @to, cold ones first. What is mapped stays mapped, what has a slot keeps
 * it; a page that is in use otherwise is tried a few times and then left (stats: migrated, migrate_failed).
 * Returns how many were moved; or, if none was: -EAGAIN, -ENOMEM: the target is at its low watermark (kswapd is woken).
 * -EINVAL: no such node, or the same one.
 */
int migrate_pages(struct pager *pager, unsigned from, unsigned to, unsigned max, struct wait *wait);

/*
 * Move up to @max pages of the node from its highest frames to its lowest free ones, so that free frames form a run at its
 * end. Returns how many were moved; none: it is compact, or at its min watermark. -EINVAL: no such node.
 */
int compact_node(struct pager *pager, unsigned node, unsigned max);

/*
 * One page's move in its three phases; between them the pager lock is not held, faults at the page wait, and everything
 * else goes on. The value is the caller's, its fields are not. A begin that returned 0 must be followed by an end:
 * until then nobody can freeze the pager.
 *
 * begin: the page at @addr, or in the swap cache for it, to a frame of @node. -EAGAIN; -ENOENT: nothing is in memory
 *        there; -EBUSY: it is under writeback, merged, pinned for I/O, or held by somebody: it is as it was;
 *        -ENOMEM: the node is at its low watermark; -EINVAL: no such node, or address.
 * copy:  the content.
 * end:   0: moved, or nobody wants the page any more. -EBUSY: somebody has come to hold it; -ENOMEM: the host has no
 *        memory for the frame: the page is where it was.
 */
struct migration {
	struct pager *pager;
	struct page *from, *to; /* both locked */
	struct anon_vma *anon_vma; /* pinned: through which it was mapped; NULL: a file's, or not mapped */
	int error;
};
int migrate_begin(struct space *space, uint64_t addr, unsigned node, struct migration *m, struct wait *wait);
void migrate_copy(struct migration *m);
int migrate_end(struct migration *m);

/* ---- Spaces -------------------------------------------------------------------------- */

#define SPACE_FIXED 0x1 /* exactly at *addr; what was there goes */
#define SPACE_FIXED_NOREPLACE 0x2 /* exactly at *addr, or -EEXIST */
#define SPACE_NORESERVE 0x4 /* no check against what memory and swap could ever hold */
#define SPACE_FOREIGN 0x8 /* only take the addresses: the caller maps something of its own there */
#define SPACE_SHARED 0x10 /* space_mmap_file: writes go to the file; shmem only, where frames can be shared */

uint64_t space_base(const struct space *space);
uint64_t space_bytes(const struct space *space);
struct pager *space_pager(const struct space *space);
/*
 * The calls of the same names; all => space locked, all may return -EAGAIN with progress kept.
 * Lengths are rounded up to pages; a length of 0, one that wraps, or an unaligned address is -EINVAL.
 *
 * mmap: *addr is a hint, or exact with SPACE_FIXED. -ENOMEM: no room, or larger than memory and swap together.
 * munmap: of holes is fine.
 * mprotect: -ENOMEM: a hole in the range.
 *          -EBUSY (mremap too): the program keeps a page of it pinned for I/O, on machines that must move it.
 * mremap: flags MREMAP_MAYMOVE, MREMAP_FIXED as Linux's; *addr in: old, out: new. -EFAULT: holes, or foreign.
 *          -ENOMEM also: locked memory would grow beyond what mlock allows. What it gains is locked, and comes in when it is touched.
 * madvise: MADV_NORMAL, RANDOM, SEQUENTIAL, WILLNEED, DONTNEED, FREE, COLD, PAGEOUT,
 *          POPULATE_READ, POPULATE_WRITE, MERGEABLE, UNMERGEABLE, and the advice that changes nothing here (HUGEPAGE, DONTDUMP, ...).
 *          -EINVAL: advice that is not known, that locked memory forbids, or POPULATE against the rights. -ENOMEM: a hole.
 *          -EFAULT: POPULATE of a page that cannot be had.
 *          MERGEABLE passes over shared and foreign memory. UNMERGEABLE gives each merged mapping a page of its own;
 *          -ENOMEM also: no frame for that, what was done so far stays, and the call may be made again.
 * mlock/munlock: pages come in and stay; -ENOMEM when more than half of all frames would be locked, or a page cannot be had.
 *          Each page of a locked VMA counts once, in memory or not; what is locked already is not counted again.
 */
int space_mmap(
	struct space *space, uint64_t *addr, uint64_t len, int prot, unsigned flags, struct wait *wait);
int space_munmap(struct space *space, uint64_t addr, uint64_t len, struct wait *wait);
int space_mprotect(struct space *space, uint64_t addr, uint64_t len, int prot, struct wait *wait);
int space_mremap(struct space *space, uint64_t *addr, uint64_t old_len, uint64_t new_len, int flags,
	uint64_t new_addr, struct wait *wait);
int space_madvise(struct space *space, uint64_t addr, uint64_t len, int advice, struct wait *wait);
int space_mlock(struct space *space, uint64_t addr, uint64_t len, bool lock, struct wait *wait);

/*
 * mmap of a file from its page @pgoff on; the VMA holds the file. Private: writes go to copies (do_cow_page, do_wp_page).
 * SPACE_SHARED: shared anonymous memory. A touch behind the file's end is FAULT_SIGBUS, so is one whose read fails.
 * As space_mmap; -EINVAL also: pgoff out of range. -EOPNOTSUPP: SPACE_SHARED of a file that is not shmem.
 */
int space_mmap_file(struct space *space, uint64_t *addr, uint64_t len, int prot, unsigned flags,
	struct file *file, uint64_t pgoff, struct wait *wait);

/* The range from the first to the last VMA that is not foreign. -ENOENT: there is none. */
int space_extent(struct space *space, uint64_t *from, uint64_t *bytes);

/* ---- Files ---------------------------------------------------------------------------- */

/* Where a file's content comes from. */
struct file_ops {
	/*
	 * Fill PAGE_BYTES at @bytes with page @index of the file, zeros behind its end. => called by the thread
	 * that faults, no lock held. 0, or -errno: the fault is FAULT_SIGBUS, and the next one asks again.
	 */
	int (*read)(void *ctx, uint64_t index, void *bytes);
	void (*release)(void *ctx); /* the file is gone. => no lock held. May be NULL */
};

/*
 * A file of @bytes, its page cache empty. @ops NULL: shared anonymous memory, born zero, swapped like anonymous pages.
 * -EFBIG: more than 16 TiB. -ENOMEM. -EOPNOTSUPP: shared memory on a machine where a frame cannot be shared.
 */
int file_create(
	struct pager *pager, const struct file_ops *ops, void *ctx, uint64_t bytes, struct file **out);

/* The opener lets go; the file stays while a VMA maps it. -EAGAIN. */
int file_close(struct file *file, struct wait *wait);

/*
 * The file is @bytes long from now on. When it shrinks, pages behind the end go, and the private copies of them too.
 * -EAGAIN, -EFBIG. -ENOMEM: no frame to cut shared memory's last page in. => no space that maps it exits meanwhile
 */
int file_truncate(struct file *file, uint64_t bytes, struct wait *wait);
uint64_t file_bytes(struct file *file);

/*
 * While this stays what it was before space_kind_at() was asked, what that has said of a VMA is still so: none has gone since,
 * or was given other rights. No lock is taken.
 */
uint64_t space_changes(struct space *space);

enum space_away {
	SPACE_AWAY, /* either */
	SPACE_ARMED, /* in memory, and the next touch shows it */
	SPACE_OUT, /* on a device, or on its way */
};

/*
 * The first page of [addr, end) whose content is not at its address: it is on a device, in the swap cache, or armed.
 * false: there is none now.
 */
bool space_next_out(struct space *space, enum space_away what, uint64_t addr, uint64_t end, uint64_t *found);

/* ---- Looking in ---------------------------------------------------------------------- */

/* What one page is, at one moment; @list and @pte as LIFECYCLE 4.3 writes them. */
struct page_view {
	pfn_t pfn; /* PFN_NONE: no frame now */
	int count;
	int mapcount;
	uint32_t flags; /* PG_* of mm/page/page.h */
	const char *list; /* "active", "inactive", "isolated", "unevictable", "free", "none" */
	enum pte_kind { PTE_KIND_NONE, PTE_KIND_PRESENT, PTE_KIND_SWAP, PTE_KIND_MIGRATION } pte;
	bool pte_write, pte_dirty, pte_accessed, pte_valid;
	unsigned swap_type;
	uint32_t swap_slot;
	int swap_count; /* PTEs that name the slot, -1: no slot */
	bool zero_page;
	enum page_kind {
		PAGE_KIND_NONE,
		PAGE_KIND_ANON,
		PAGE_KIND_KSM,
		PAGE_KIND_FILE,
		PAGE_KIND_SHMEM
	} kind;
};

/* One legal change of a page's state (design decision 3): which function, which page, after the change. */
struct page_event {
	const char *function;
	pfn_t pfn;
	uint64_t addr; /* where the change came from an address, else 0 */
};

/* @fn is called for every event, with the pager lock held: it may call space_view_locked(), nothing else. */
typedef void (*page_tracer)(void *ctx, const struct page_event *event);
void pager_trace(struct pager *pager, page_tracer fn, void *ctx);

/* The page at @addr, or @pfn whatever the PTE at @addr says; PFN_NONE: the one that the PTE leads to. */
void space_view(struct space *space, uint64_t addr, struct page_view *view);
void space_view_locked(struct space *space, uint64_t addr, pfn_t pfn, struct page_view *view);
/* The most anon_vmas that one VMA of the space is linked to: what forks have made of it. */
unsigned space_longest_chain(struct space *space);

/* The page of the file's cache at @index; pte: what the cache's word is (shmem that is out: a swap entry). */
void file_view(struct file *file, uint64_t index, struct page_view *view);
void file_view_locked(struct file *file, uint64_t index, pfn_t pfn, struct page_view *view);
const char *page_flags_text(uint32_t flags, char *buf, size_t len);

#endif

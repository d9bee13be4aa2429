/* SPDX-License-Identifier: MIT */
/*
 * The core as its drivers see it: the machines, the public library, the tools.
 *
 * A pager is one world: frames, swap areas, spaces. The core never starts a thread and never reads a clock. A function
 * here does what can be done now, and returns. What has to wait for something says so by a value (struct wait), and is
 * called again later.
 *
 * Results: 0 or -errno. -EAGAIN fills *wait: wait, then call again with the same arguments. The progress that was made
 * is kept.
 *
 * Locks, outermost first:
 *
 *   space lock        one writer of a space's VMAs at a time   (a value: space_lock)
 *     page lock       PG_locked: a page's mappings, its I/O    (a value: page_trylock in page.h has the rule)
 *       pager lock    every field of the core                  (machine->ops->lock)
 *         device locks                                         (inside a device)
 *
 * The functions here take the pager lock themselves: => the caller does not hold it.
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
	struct machine *machine; /* the caller owns it; it must live as long as the pager */
	uint32_t nr_frames; /* at least PAGER_MIN_FRAMES */
	uint32_t nr_limit; /* how many of them may be used until pager_set_limit() says otherwise; 0: all */
	unsigned nr_nodes; /* memory nodes, which share the frames evenly; 0: 1 */
	int swappiness; /* 0..200, as Linux's; below 0: 60 */
	uint64_t seed; /* keys the content hashes */
	unsigned policy; /* a set of PAGER_* below */
	struct anonmm_stats *stats; /* where to count: the caller's, zeroed by it; NULL: inside the pager */
};

/* Where kernels differ (LIFECYCLE 9). 0: as the article, and shadows as in Linux 6. */
#define PAGER_BIRTH_INACTIVE 0x1 /* Linux 5.9 and later: new anonymous pages start on the inactive list */
#define PAGER_NO_SHADOWS 0x2 /* Linux 4.0: anonymous pages leave no shadow; refaults start inactive */

/* Ours, no kernel's: */
#define PAGER_SHARE_SLOTS 0x4 /* equal pages share a swap slot (twins.h) */

/*
 * Open a pager. -EINVAL: no machine, or too few frames or too many nodes. -ENOMEM: no host memory. *out is NULL on
 * failure.
 */
int pager_open(const struct pager_config *config, struct pager **out);

/*
 * Use @dev for swap. A device of higher priority is used first; devices of equal priority are filled in the order in
 * which they came. 0: the pager owns the device, and closes it.
 * -ENOMEM: no host memory. -ENOSPC: too many devices, or @dev has no slots. The device stays the caller's then.
 */
int pager_add_swap(struct pager *pager, struct swapdev *dev, int priority);

/*
 * swapoff: empty the area of the device that was opened as @uri, then close the device; its number is free for another.
 * The area gets nothing new meanwhile. Its pages come back to memory, present and dirty; so do those of shared memory.
 * -EAGAIN: call again.
 * -ENOENT: no such device. -EBUSY: another swapoff is under way, or a fork's child still reads from the device.
 * -ENOMEM: memory and the other areas have no room for its pages. -EIO: a page is lost (machine->ops->say says which).
 * -EINTR: another thread has cancelled this swapoff.
 * After an error the area is in use as before. Pages that came in stay in memory until they are reclaimed.
 */
int pager_swapoff(struct pager *pager, const char *uri, struct wait *wait);
/* The same for the area of @dev: in a fork's child several inherited devices may have one name. */
int pager_swapoff_device(struct pager *pager, const struct swapdev *dev, struct wait *wait);
/*
 * How many slots of @dev this process names in PTEs or has in the swap cache. 0 for an inherited device: this process
 * will not read from it any more.
 */
uint32_t pager_slots_used(struct pager *pager, const struct swapdev *dev);
/* End a swapoff that said -EAGAIN, instead of calling it again. Does nothing if none is under way. */
void pager_swapoff_cancel(struct pager *pager);

/* Close the pager and its devices. -EBUSY: a space or a file is left, or a request is in flight; nothing was done. */
int pager_close(struct pager *pager);

/* How many frames @limit_bytes pays for after the metadata of frames and of @swap_slots slots. 0: none. */
uint32_t pager_frames_for(uint64_t limit_bytes, uint64_t swap_slots);

/*
 * From now on the pager lives within @bytes, metadata included. kswapd_step() frees what is in use beyond that in the
 * background, and the machine gives the memory of those frames back to the host. A higher limit holds at once. On
 * failure nothing has changed, and @why (of @why_len bytes) says the reason in words.
 * -EINVAL: too little to work with. -ERANGE: more frames than nr_frames. -EBUSY: more memory is locked (mlock).
 * -ENOSPC: the devices have no room for what must go.
 */
int pager_set_limit(struct pager *pager, uint64_t bytes, char *why, size_t why_len);

struct pager_limit {
	uint64_t bytes; /* the limit as it was set last; 0: never */
	/* frames that the limit pays for; frames that a limit could ever pay for */
	uint32_t frames, frames_max;
	uint32_t frames_used;
	/* of frames_used: lent to swap devices, which keep compressed pages in their memory */
	uint32_t frames_lent;
	uint32_t frames_missing; /* frames still to be freed and given back; 0: the limit is reached */
	bool stalled; /* reclaim finds nothing more to free for the limit now */
	bool low; /* free frames are below the high watermark: kswapd works, or will soon */
};

void pager_limit(struct pager *pager, struct pager_limit *out);

/*
 * A fork's child shares the memory of its parent's compressed stores with the parent. pager_disown(): the parent pays
 * for that memory, so the child's frames are all its own. pager_own(): the parent has ended, so the child pays again;
 * its frames go to the stores as they get free. => after pager_fork_child()
 */
void pager_disown(struct pager *pager);
void pager_own(struct pager *pager);

/* ---- Driving ------------------------------------------------------------------------- */

/*
 * One step of ksmd (LIFECYCLE 8): look at up to @pages pages of mergeable VMAs, from where the last step stopped. A
 * step ends where a scan of all spaces ends. Pages that are equal, and had the same content in two scans, are merged.
 * Returns how many mappings came to share a page (where a frame has one place only: a swap slot), or -ENOMEM.
 */
int ksmd_step(struct pager *pager, unsigned pages);

/*
 * Reclaim about @pages pages now, whatever the watermarks say, as a write to a cgroup's memory.reclaim does. Returns
 * how many frames were freed or are being written; 0: nothing can be reclaimed.
 */
unsigned pager_reclaim(struct pager *pager, unsigned pages);

/*
 * Bring everything to rest for a fork: no page is locked, nothing is in flight, and faults and kswapd only wait until
 * pager_thaw(). -EAGAIN: not yet at rest, call again. => the caller holds the locks of all spaces
 */
int pager_freeze(struct pager *pager, struct wait *wait);
void pager_thaw(struct pager *pager);

/*
 * In the child of a fork, while the pager is frozen: the swap areas become read-only, as heirs of the parent's. The
 * child's own devices must be added for what it swaps out. 0 or -errno; after an error the child cannot go on.
 * => only one thread runs
 */
int pager_fork_child(struct pager *pager);

/*
 * In the parent, frozen, before the fork: what is on the devices now stays readable for the child until
 * pager_lease_end() is called with the lease. -ENOMEM: no host memory.
 */
struct swap_lease;
int pager_lease_begin(struct pager *pager, struct swap_lease **out);
/* The same for one more child, by a lease that exists. Such a lease ends when all of its children have ended. */
int pager_lease_join(struct pager *pager, struct swap_lease *lease);
void pager_lease_end(struct pager *pager, struct swap_lease *lease);

void pager_stats(struct pager *pager, struct anonmm_stats *out);
/* Count at @stats from now on, from the numbers that are there. It is the caller's, as pager_config.stats. */
void pager_count_in(struct pager *pager, struct anonmm_stats *stats);

/*
 * Who uses what, in lines without newlines: each node's frames by kind; each space's mapped, resident and swapped
 * pages; each swap area's slots; the core's own structures. When a fault ends in FAULT_OOM, the same lines go to
 * machine->ops->say, the 1st, 2nd, 4th, 8th ... time. This looks at every frame and PTE. @line is called without the
 * pager lock.
 */
void pager_memory_report(struct pager *pager, void (*line)(void *ctx, const char *text), void *ctx);

/*
 * Check every equation that must hold at any time. NULL: all hold. Otherwise a text (static, or in @buf) that says
 * which does not.
 */
const char *pager_validate(struct pager *pager, char *buf, size_t len);

/* ---- Migration (LIFECYCLE B9) --------------------------------------------------------- */

/*
 * Move up to @max pages of node @from to node @to, cold ones first. What is mapped stays mapped, and what has a slot
 * keeps it. A page that is in use otherwise is tried a few times, then left where it is (stats: migrated,
 * migrate_failed). Returns how many were moved. If none was: -EAGAIN, or -ENOMEM: the target is at its low watermark,
 * and kswapd's work was asked for.
 * -EINVAL: no such node, or both are the same.
 */
int migrate_pages(struct pager *pager, unsigned from, unsigned to, unsigned max, struct wait *wait);

/*
 * Move up to @max pages of the node from its highest frames to its lowest free ones, so that the free frames form a run
 * at its end. Returns how many were moved; 0: the node is compact, or at its min watermark. -EINVAL: no such node.
 */
int compact_node(struct pager *pager, unsigned node, unsigned max);

/*
 *
 * One page's move in three phases. Between them the pager lock is not held, faults at the page wait, and everything
 * else goes on. The value is the caller's; its fields are the core's. A begin that returned 0 must be followed by an
 * end: until then nobody can freeze the pager.
 *
 * begin: the page at @addr, or the one in the swap cache for it, is to move to a frame of @node. On failure the page is
 *        as it was. -EAGAIN. -ENOENT: nothing is in memory there. -EBUSY: the page is under writeback, merged, pinned
 *        for I/O, or held by somebody. -ENOMEM: the node is at its low watermark. -EINVAL: no such node, or address.
 * copy:  copies the content.
 * end:   0: the page has moved, or nobody wants it any more. On failure the page is where it was. -EBUSY: somebody has
 *        come to hold it. -ENOMEM: the host has no memory for the frame.
 */
struct migration {
	struct pager *pager;
	struct page *from, *to; /* both locked */
	struct anon_vma *anon_vma; /* the one that mapped @from, pinned; NULL: a file's page, or not mapped */
	int error; /* 0, or why the move is to be undone */
};
int migrate_begin(struct space *space, uint64_t addr, unsigned node, struct migration *m, struct wait *wait);
void migrate_copy(struct migration *m);
int migrate_end(struct migration *m);

/* ---- Spaces -------------------------------------------------------------------------- */

#define SPACE_FIXED 0x1 /* exactly at *addr; what was there is unmapped */
#define SPACE_FIXED_NOREPLACE 0x2 /* exactly at *addr, or -EEXIST */
#define SPACE_NORESERVE 0x4 /* do not check the length against what memory and swap could ever hold */
#define SPACE_FOREIGN 0x8 /* only reserve the addresses: the caller maps memory of its own there */
/* for space_mmap_file(): writes go to the file. Shared memory only, where frames can be shared */
#define SPACE_SHARED 0x10

uint64_t space_base(const struct space *space);
uint64_t space_bytes(const struct space *space);
struct pager *space_pager(const struct space *space);
/*
 *
 * The calls of the same names. All: => space locked. All may return -EAGAIN, with progress kept. A length is rounded up
 * to pages. -EINVAL: a length of 0 or one that wraps, or an unaligned address.
 *
 * mmap:      *addr is a hint, or exact with SPACE_FIXED. -ENOMEM: no room, or larger than memory and swap together.
 * munmap:    holes in the range are fine.
 * mprotect:  -ENOMEM: a hole in the range. -EBUSY: the program keeps a page of it pinned for I/O, and the machine must
 *            move that page.
 * mremap:    flags are MREMAP_MAYMOVE and MREMAP_FIXED, as Linux's. *addr is the old address before, the new one after.
 *            -EFAULT: holes, or a foreign range. -EBUSY: as mprotect. -ENOMEM also: locked memory would grow beyond
 *            what mlock allows. What locked memory gains is locked, and comes in when it is touched.
 * madvise:   MADV_NORMAL, RANDOM, SEQUENTIAL, WILLNEED, DONTNEED, FREE, COLD, PAGEOUT, POPULATE_READ, POPULATE_WRITE,
 *            MERGEABLE, UNMERGEABLE, and the advice that changes nothing here (HUGEPAGE, DONTDUMP, ...).
 *            -EINVAL: advice that is not known, that locked memory forbids, or POPULATE against the rights of the VMA.
 *            -ENOMEM: a hole. -EFAULT: POPULATE of a page that cannot be had.
 *            MERGEABLE passes over shared and foreign memory. UNMERGEABLE gives each merged mapping a page of its own;
 *            -ENOMEM also: there is no frame for that. What was done so far stays, and the call may be made again.
 * mlock:     the pages come in and stay. -ENOMEM: more than half of the frames that devices do not hold would be
 * locked,
 *            or a page cannot be had.
 *            Each page of a locked VMA counts once, in memory or not. What is locked already is not counted again.
 *            @lock false: munlock.
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
 * mmap of a file from its page @pgoff on; the VMA holds the file. Private mapping: writes go to copies (do_cow_page,
 * do_wp_page). SPACE_SHARED: shared anonymous memory. A touch behind the file's end, or of a page whose read fails,
 * ends in FAULT_SIGBUS. Results as space_mmap().
 * -EINVAL also: @pgoff is out of range. -EOPNOTSUPP: SPACE_SHARED for a file that is not shared memory.
 */
int space_mmap_file(struct space *space, uint64_t *addr, uint64_t len, int prot, unsigned flags,
	struct file *file, uint64_t pgoff, struct wait *wait);

/* The range from the first to the last VMA that is not foreign. -ENOENT: there is no such VMA. */
int space_extent(struct space *space, uint64_t *from, uint64_t *bytes);

/* ---- Files ---------------------------------------------------------------------------- */

/* How the core reads a file. The opener gives these functions. */
struct file_ops {
	/*
	 * Fill the PAGE_BYTES at @bytes with page @index of the file, and with zeros behind the file's end. 0, or
	 * -errno: the fault becomes FAULT_SIGBUS, and the next fault asks again. => called by the thread that faults,
	 * no lock held
	 */
	int (*read)(void *ctx, uint64_t index, void *bytes);
	void (*release)(void *ctx); /* the core has freed the file; may be NULL => no lock held */
};

/*
 * A file of @bytes, with an empty page cache. @ops NULL: shared anonymous memory, which is born zero and swapped as
 * anonymous pages are. -EFBIG: more than 16 TiB. -ENOMEM: no host memory. -EOPNOTSUPP: shared memory, but a frame
 * cannot be shared here.
 */
int file_create(
	struct pager *pager, const struct file_ops *ops, void *ctx, uint64_t bytes, struct file **out);

/* The opener gives up the file. The file stays while a VMA maps it. -EAGAIN: call again. */
int file_close(struct file *file, struct wait *wait);

/*
 * The file is @bytes long from now on. When it shrinks, the pages behind its end go, and so do private copies of them.
 * -EAGAIN. -EFBIG: more than 16 TiB. -ENOMEM: no frame for the last page of shared memory, which must be cut.
 * => no space that maps the file exits meanwhile
 */
int file_truncate(struct file *file, uint64_t bytes, struct wait *wait);
uint64_t file_bytes(struct file *file);

/*
 * A counter for callers that remember what space_kind_at() said. While the counter is what it was before the question,
 * the answer still holds for a VMA: none has gone since, or got other rights. No lock is taken.
 */
uint64_t space_changes(struct space *space);

enum space_away {
	SPACE_AWAY, /* SPACE_ARMED or SPACE_OUT */
	SPACE_ARMED, /* in memory; the next touch shows it */
	SPACE_OUT, /* on a device, or on its way there or back */
};

/*
 * The first page of [addr, end) whose content is not at its address: it is on a device, in the swap cache, or armed.
 * *found: its address. Returns false if there is none now.
 */
bool space_next_out(struct space *space, enum space_away what, uint64_t addr, uint64_t end, uint64_t *found);

/* ---- Looking in ---------------------------------------------------------------------- */

/* The state of one page at one moment. @list and @pte as LIFECYCLE 4.3 writes them. */
struct page_view {
	pfn_t pfn; /* PFN_NONE: no frame holds the page now */
	int count;
	int mapcount;
	uint32_t flags; /* PG_* of mm/page/page.h */
	const char *list; /* "active", "inactive", "isolated", "unevictable", "free", "none" */
	enum pte_kind { PTE_KIND_NONE, PTE_KIND_PRESENT, PTE_KIND_SWAP, PTE_KIND_MIGRATION } pte;
	bool pte_write, pte_dirty, pte_accessed, pte_valid;
	unsigned swap_type;
	uint32_t swap_slot;
	int swap_count; /* PTEs that name the slot; -1: the page has no slot */
	bool zero_page;
	enum page_kind {
		PAGE_KIND_NONE,
		PAGE_KIND_ANON,
		PAGE_KIND_KSM,
		PAGE_KIND_FILE,
		PAGE_KIND_SHMEM
	} kind;
};

/*
 * One legal change of a page's state (design decision 3): which function made it, to which page. Sent after the change.
 */
struct page_event {
	const char *function;
	pfn_t pfn;
	uint64_t addr; /* the address that the change came from, or 0 */
};

/* @fn is called for every event. => pager lock held: @fn may call space_view_locked(), and nothing else */
typedef void (*page_tracer)(void *ctx, const struct page_event *event);
void pager_trace(struct pager *pager, page_tracer fn, void *ctx);

/*
 * The page at @addr, or the page @pfn whatever the PTE at @addr says. @pfn PFN_NONE: the page that the PTE leads to.
 * => _locked: pager lock held
 */
void space_view(struct space *space, uint64_t addr, struct page_view *view);
void space_view_locked(struct space *space, uint64_t addr, pfn_t pfn, struct page_view *view);
/* How many anon_vmas the VMA with the most of them is linked to: it shows what forks have made of the space. */
unsigned space_longest_chain(struct space *space);

/*
 * The page of the file's cache at @index. view->pte is what the cache's word is: a swap entry for shared memory that is
 * out.
 * => _locked: pager lock held
 */
void file_view(struct file *file, uint64_t index, struct page_view *view);
void file_view_locked(struct file *file, uint64_t index, pfn_t pfn, struct page_view *view);
const char *page_flags_text(uint32_t flags, char *buf, size_t len);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The machine contract: what the core needs of the place where pages really are.
 *
 * The core (src/mm) decides, a machine acts. The machine owns the bytes of the frames. It makes a frame appear at an
 * address and disappear from it. It brings traps to handle_mm_fault(), and gives the core a lock, memory and a way to
 * wait.
 *
 * Two machines exist:
 *
 *                      soft                          uffd
 *   frames             an arena                      pages of a pool mapping
 *   map                nothing: its MMU walks the    UFFDIO_MOVE from the pool to the address
 *                      core's page tables
 *   unmap              flush the TLB entry           UFFDIO_MOVE from the address to the pool
 *   can_share          yes                           no: a frame is at one address at most. What other machines
 *                                                    share is copied early (stats.copied_early):
 *                                                    - there is no zero page
 *                                                    - a fork copies the pages that are in memory
 *                                                    - a private file mapping copies at its first read
 *                                                    - a page is copied when it comes in and others name its slot
 *                                                    - there is no shared memory
 *                                                    - KSM lets equal pages share a slot (ksmd_swap.c)
 *   sees_access        yes: the accessed bit         no: aged pages are *armed* (below)
 *   sees_write         yes: the dirty bit, and       no: a mapped page may become dirty at any time.
 *                      read-only PTEs trap           Only its content tells (page_io.c); MADV_FREE
 *                                                    frees at once
 *   migration          the PTE is valid again at     the page comes back armed: one more cheap fault,
 *                      once, for all who map it      also where it is mlocked
 *   swapoff            the users of a slot share     each user but the last gets a copy
 *                      its page again
 *
 * How the core changes a mapping, with no lock held while the machine works:
 *
 *   1. under the pager lock: lock the page (PG_locked), and make the PTE present but not PTE_VALID;
 *   2. without the pager lock: ops->map() or ops->unmap();
 *   3. under the pager lock: set PTE_VALID after a map, or store the new PTE word after an unmap; unlock the page, and
 *      wake who waits for it.
 *
 * Whoever meets a present PTE whose page is locked waits for the page. Therefore:
 *
 *   Invariant: PTE_VALID => the machine shows frame pfn at that address.
 *   Invariant: present, not valid, page not locked => the page is *armed*: the frame's bytes are at frame_bytes(), the
 *              next touch traps, and that trap serves as the accessed bit.
 */
#ifndef ANONMM_MACHINE_H
#define ANONMM_MACHINE_H

#include "base/base.h"

struct machine;
struct space;

/* What a frame must hold when it appears. */
enum frame_content {
	FRAME_KEEP, /* the bytes that are at frame_bytes() */
	FRAME_ZERO, /* zeros, whatever frame_bytes() held */
};

/* What becomes of the bytes of a frame that disappears. */
enum unmap_content {
	UNMAP_KEEP, /* the bytes are at frame_bytes() afterwards */
	UNMAP_DROP, /* nobody will read them again */
};

/* One PTE's translation, as it is handed to the machine. */
struct mapping {
	struct space *space;
	uint64_t addr; /* page aligned */
	pfn_t pfn;
	uint8_t prot; /* PROT_* of the VMA, as region_map() or region_protect() gave them to the region */
	uint8_t content; /* for map(): enum frame_content */
	int result; /* out: 0 or -errno */
};

/*
 * Event counters. A page and a space have one of the words 1 .. WAIT_WORDS - 1 each, by a hash. Word 0 is for
 * everything else: a free frame, a request that ends, rest for a fork, swapoff. An event moves one counter on, and
 * wakes who sleeps on that counter. So N threads that wait for N pages are woken about once each, not N times each.
 *
 * No wake-up is lost. The core reads the counter into seq while it holds the pager lock, and while it sees that what it
 * needs is not there. Whoever brings that about takes the lock later, so the counter moves on from seq, and then wake()
 * is called. A machine that sleeps first notes that it sleeps on the word, then compares the counter with seq
 * (wait_is_over), then sleeps. wake() looks for sleepers after the counter has moved. With sequential consistency one
 * of the two sees the other.
 */
#define WAIT_WORDS 64 /* as many as the bits of a set of words in 64 bits */
#define WAIT_WORD_COMMON 0

/* A reason to wait, as a value. The wait is over when the counter of @word differs from @seq. */
struct wait {
	enum wait_for {
		WAIT_NOTHING,
		WAIT_PAGE, /* for a page to be unlocked: usually a read, or another thread's work on it */
		WAIT_WRITE, /* for a write to end */
		WAIT_FRAMES, /* for a free frame, which reclaim or the end of a write brings */
		WAIT_SPACE, /* for another thread's mmap, munmap, ... on the same space, or for a fork */
	} what;
	pfn_t pfn;
	uint32_t seq;
	uint32_t word; /* below WAIT_WORDS */
};

struct machine_ops {
	const char *name;
	bool can_share; /* several PTEs may map a frame at once */
	bool sees_access; /* the MMU sets PTE_ACCESSED by itself */
	/* the MMU sets PTE_DIRTY by itself, and traps writes through PTEs without PTE_WRITE */
	bool sees_write;

	/*
	 * The PAGE_BYTES bytes of frame @pfn, aligned to PAGE_BYTES. They are there while no valid PTE maps the frame
	 * (soft: always). There may be no memory behind them after UNMAP_DROP, and before the first frame_populate() of
	 * a frame that was never mapped.
	 */
	void *(*frame_bytes)(struct machine *, pfn_t pfn);

	/*
	 * Put memory behind @nr frames from @first on, so that a device may read into them. Their content is undefined
	 * afterwards. 0 or -ENOMEM. => pager lock not held
	 */
	int (*frame_populate)(struct machine *, pfn_t first, unsigned nr);

	/*
	 * Give the memory behind @nr frames from @first on back to the host. They are then as frames that were never
	 * used. NULL: a frame always has memory. => pager lock not held, nobody uses the frames
	 */
	void (*frame_drop)(struct machine *, pfn_t first, unsigned nr);

	/*
	 * A fault found no free frame, and reclaim found no page to free. May the fault be tried again? true: the limit
	 * was raised, or may be raised soon; the call may have slept for some milliseconds. The machine must return
	 * false eventually, because the fault is tried again while it returns true. NULL: the limit is never raised.
	 * => no lock held
	 */
	bool (*more)(struct machine *);

	/*
	 * Does the faulting thread serve its own fault? Then a read may keep that thread waiting inside the device, and
	 * no other thread waits with it. NULL: a thread of the machine serves the faults of all. => any thread, pager
	 * lock held
	 */
	bool (*faults_block)(struct machine *);

	/*
	 * Show frames at addresses. Entries that continue each other in space, address and pfn are cheapest together,
	 * in order. Each entry's result is set: 0, or the frame was not shown (-ENOMEM: no host memory). FRAME_ZERO:
	 * the machine fills the frame with zeros. Threads that wait for these addresses are woken.
	 * => pager lock not held, pages locked, PTEs present and not valid
	 */
	void (*map)(struct machine *, struct mapping *, unsigned nr);

	/*
	 * Make frames disappear from their addresses: no thread can read or write them there afterwards. Not called on
	 * machines with flush(), for which the changed PTE and the flush are enough; nor for an entry whose PTE was
	 * armed already. With UNMAP_KEEP an entry may get the result -EBUSY: somebody has pinned the page for I/O. The
	 * page is where it was then, and the core makes its PTE valid again. Nothing else may fail: a machine that
	 * cannot do this ends the program with a message.
	 * => pager lock not held, pages locked, PTEs present and not valid
	 */
	void (*unmap)(struct machine *, struct mapping *, unsigned nr, enum unmap_content);

	/*
	 * The PTE at @addr has lost a right or its accessed bit: forget what the TLB knows of it. Machines that see
	 * access or writes have this function; for others it is NULL. => pager lock held
	 */
	void (*flush)(struct machine *, struct space *, uint64_t addr);

	/*
	 * Begin, change and end a region: [start, end), page aligned, whole VMAs. A region is mapped before faults come
	 * from it. No frame is mapped in it when its protection changes or when it ends. Mapped regions never overlap.
	 * 0 or -errno. A region_map() that fails has mapped nothing, so nothing needs to be unmapped. Each may be NULL.
	 * => pager lock not held, space locked (space_lock)
	 */
	int (*region_map)(struct machine *, struct space *, uint64_t start, uint64_t end, int prot);
	int (*region_protect)(struct machine *, struct space *, uint64_t start, uint64_t end, int prot);
	int (*region_unmap)(struct machine *, struct space *, uint64_t start, uint64_t end);

	/*
	 * The pager lock: one for each pager. It is never held across a device's I/O, nor across a call above, except
	 * flush(), frame_bytes(), faults_block(), and map() on machines with flush(), where map() only fills a frame.
	 */
	void (*lock)(struct machine *);
	void (*unlock)(struct machine *);

	/*
	 * unlock(), then lock(), as the core does in a long walk. A thread that waits for the lock should get it in
	 * between. NULL: the core calls the two. => pager lock held
	 */
	void (*rest)(struct machine *);

	/*
	 * The event counter @word has moved on: wake all who wait with that word, and nobody else. => pager lock held
	 * or not
	 */
	void (*wake)(struct machine *, unsigned word);

	/*
	 * Wait until @wait may be over; it may return too early. The core never calls this. The library's calls do when
	 * the core returned -EAGAIN, and so does the machine's own fault handler. When @wait is for frames, the machine has
	 * kswapd_step() called, too: only reclaim frees what was written, and a device that is memory
	 * has ended its writes before anybody waits. soft: runs kswapd and the devices itself, so that time passes. =>
	 * pager lock not held
	 */
	void (*wait)(struct machine *, const struct wait *);

	/*
	 * Have kswapd_step() called soon. @by_fault: a fault took the free frames below the low watermark; whoever
	 * serves faults may do the work after them. Otherwise the work must be done even if nobody ever faults again.
	 * Real memory: with @by_fault this normally sets a flag, which the thread that serves a fault sees when it is
	 * done; otherwise it wakes the kswapd thread. => pager lock held
	 */
	void (*wake_kswapd)(struct machine *, bool by_fault);

	/*
	 * Tell the person who runs the program one line, without a newline: an I/O error, a lost page. May be NULL. =>
	 * pager lock held or not
	 */
	void (*say)(struct machine *, const char *text);

	/*
	 * Memory for the core's own structures: zeroed, page aligned, never managed memory, and never from an allocator
	 * that the program uses. NULL: the host has none. => pager lock held or not
	 */
	void *(*chunk_alloc)(struct machine *, size_t bytes);
	void (*chunk_free)(struct machine *, void *, size_t bytes);
};

/* A machine embeds this as its first member. */
struct machine {
	const struct machine_ops *ops;
	struct pager *pager; /* set by pager_open() */
};

#endif

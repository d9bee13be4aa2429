/* SPDX-License-Identifier: MIT */
/*
 * The machine contract: what the core needs of the place where pages really are.
 *
 * The core (src/mm) decides; a machine does. It owns the bytes of the frames, it makes
 * a frame appear at an address and disappear from it, it brings traps to
 * handle_mm_fault(), and it gives the core a lock, memory and a way to wait.
 *
 * Two machines exist:
 *
 *                      soft                          uffd
 *   frames             an arena                      pages of a pool mapping
 *   map                nothing: its MMU walks our    UFFDIO_MOVE pool -> address
 *                      page tables
 *   unmap              flush the TLB entry           UFFDIO_MOVE address -> pool
 *   can_share          yes                           no: a frame is at one address at most. Where the core
 *                                                    would share one it copies early (stats.copied_early):
 *                                                    no zero page; a fork copies what is in memory, a
 *                                                    private file mapping at its first read, a page whose
 *                                                    slot others name when it comes in; no shared memory;
 *                                                    KSM lets equal pages share a slot (ksmd_swap.c)
 *   sees_access        yes: accessed bit             no: aged pages are *armed* (below)
 *   sees_write         yes: dirty bit, read-only     no: a mapped page may be dirty at any
 *                      PTEs trap                     time; its content says so (page_io.c);
 *                                                    MADV_FREE frees at once
 *   migration          the PTE is valid again at     the page comes back armed: one more
 *                      once, in all who map it       cheap fault, also where it is mlocked
 *   swapoff            users of a slot share its     each user gets a copy but the last
 *                      page again
 *
 * How the core drives a mapping (so that no lock is held while the machine works):
 *
 *   1. under the pager lock: lock the page (PG_locked), make the PTE present but not
 *      PTE_VALID;
 *   2. without the pager lock: ops->map() or ops->unmap();
 *   3. under the pager lock: PTE_VALID after a map, the new PTE word after an unmap;
 *      unlock the page, wake who waited.
 *
 * Whoever meets a present PTE whose page is locked waits for the page. Therefore:
 *
 *   Invariant: PTE_VALID      => the machine shows frame pfn at that address.
 *   Invariant: present, not valid, page not locked => *armed*: the frame's bytes are at
 *              frame_bytes(), the next touch traps, and that trap is the accessed bit.
 */
#ifndef ANONMM_MACHINE_H
#define ANONMM_MACHINE_H

#include "base/base.h"

struct machine;
struct space;

/* What a frame must hold when it appears. */
enum frame_content {
	FRAME_KEEP, /* the bytes that are at frame_bytes() */
	FRAME_ZERO, /* zeros; what frame_bytes() held is of no interest */
};

/* What becomes of the bytes of a frame that disappears. */
enum unmap_content {
	UNMAP_KEEP, /* they are at frame_bytes() afterwards */
	UNMAP_DROP, /* nobody will read them again */
};

/* One PTE's translation, as it is handed to the machine. */
struct mapping {
	struct space *space;
	uint64_t addr; /* page aligned */
	pfn_t pfn;
	uint8_t prot; /* PROT_* of the VMA: what the region was given by region_map/protect */
	uint8_t content; /* map: enum frame_content */
	int result; /* out: 0 or -errno */
};

/*
 * Event counters. What is waited for has one of WAIT_WORDS by its hash: each page and each space one of those from 1 on;
 * word 0 is for all else: a free frame, a request that ends, rest for a fork, swapoff. An event moves one counter and
 * wakes who sleeps on that one. So N threads that wait for N pages are woken about once each, not N times each.
 *
 * No wake is lost. The core reads the counter into seq while it holds the pager lock and sees that what it needs is not
 * there; whoever brings that about holds the lock later, so it moves the counter on from seq, then calls wake(). A machine
 * that sleeps says first that it sleeps on the word, then compares the counter with seq (wait_is_over), then sleeps;
 * wake() looks who sleeps after the counter has moved. With sequential consistency one of the two sees the other.
 */
#define WAIT_WORDS 64 /* bits of a set of words */
#define WAIT_WORD_COMMON 0

/* A reason to wait, as a value. Over when the counter of the word has moved on from seq. */
struct wait {
	enum wait_for {
		WAIT_NOTHING,
		WAIT_PAGE, /* a page to be unlocked: usually a read, or work of another thread */
		WAIT_WRITE, /* a write to end */
		WAIT_FRAMES, /* reclaim, or a write, to give a frame */
		WAIT_SPACE, /* another thread's mmap, munmap, ... on the same space */
	} what;
	pfn_t pfn;
	uint32_t seq;
	uint32_t word; /* below WAIT_WORDS */
};

struct machine_ops {
	const char *name;
	bool can_share; /* a frame may be mapped by several PTEs at once */
	bool sees_access; /* the MMU sets PTE_ACCESSED by itself */
	bool sees_write; /* the MMU sets PTE_DIRTY and traps writes through PTEs without PTE_WRITE */

	/*
	 * The bytes of frame @pfn while no valid PTE maps it (soft: always). PAGE_BYTES
	 * long, aligned to them. Before the first frame_populate() of a frame that was
	 * never mapped, and after UNMAP_DROP, there may be no memory behind it.
	 */
	void *(*frame_bytes)(struct machine *, pfn_t pfn);

	/*
	 * Put memory behind @nr frames from @first, so that a device may read into them.
	 * Content is undefined. => pager lock not held. 0 or -ENOMEM.
	 */
	int (*frame_populate)(struct machine *, pfn_t first, unsigned nr);

	/*
	 * Give the memory behind @nr frames from @first back to the host: they are as if never used. NULL: a frame always has
	 * memory. => pager lock not held, nobody uses them
	 */
	void (*frame_drop)(struct machine *, pfn_t first, unsigned nr);

	/*
	 * A fault found no free frame, and reclaim found no page to free. May the fault be tried again? true: the limit was raised,
	 * or may be raised soon; the call may have slept for some milliseconds. The machine must return false eventually, because
	 * the fault is tried again while it returns true. NULL: the limit is never raised. => no lock held
	 */
	bool (*more)(struct machine *);

	/*
	 * Does the faulting thread serve its own fault? Then a read may keep that thread waiting inside the device, and no other thread
	 * waits with it. NULL: a thread of the machine serves the faults of all. => any thread, pager lock held
	 */
	bool (*faults_block)(struct machine *);

	/*
	 * Show frames at addresses; neighbours that continue each other in space, address
	 * and pfn are worth handing over together, in order. => pager lock not held, pages
	 * locked, PTEs present and not valid. Each entry's result is set; a frame whose
	 * result is not 0 was not shown (-ENOMEM: no host memory). FRAME_ZERO with a soft
	 * machine fills the frame. Threads that wait for these addresses are woken.
	 */
	void (*map)(struct machine *, struct mapping *, unsigned nr);

	/*
	 * Make frames disappear from their addresses, after which no thread can read or
	 * write them there. Machines with flush() are not asked: for them the changed PTE and
	 * the flush are all. => pager lock not held, pages locked, PTEs present and not
	 * valid. UNMAP_KEEP may leave an entry with result -EBUSY: somebody has pinned the page for I/O, it is where
	 * it was, and the core puts it back. Otherwise it cannot fail: a machine that cannot do this
	 * ends the program with a message. An entry whose PTE was armed already is not handed over.
	 */
	void (*unmap)(struct machine *, struct mapping *, unsigned nr, enum unmap_content);

	/*
	 * The PTEs of these mappings have changed in a way that removes a right or an
	 * accessed bit: forget what the TLB knows. Only machines that see access or writes
	 * have it; others NULL. => pager lock held.
	 */
	void (*flush)(struct machine *, struct space *, uint64_t addr);

	/*
	 * Whole VMAs, page aligned. A region must be mapped before faults come from it; no
	 * frame is mapped in it when its protection changes or when it goes. mapped regions
	 * never overlap. A region_map that fails has mapped nothing, and there is nothing to unmap.
	 * => pager lock not held, space locked (space_lock). 0 or -errno.
	 */
	int (*region_map)(struct machine *, struct space *, uint64_t start, uint64_t end, int prot);
	int (*region_protect)(struct machine *, struct space *, uint64_t start, uint64_t end, int prot);
	int (*region_unmap)(struct machine *, struct space *, uint64_t start, uint64_t end);

	/*
	 * The pager lock. One per pager; never held across any call above but flush and
	 * frame_bytes (and map, on machines with flush: there it only fills a frame), nor across a device's I/O.
	 */
	void (*lock)(struct machine *);
	void (*unlock)(struct machine *);

	/* The event counter @word moved on: wake all who wait with that word, nobody else. => pager lock held or not. */
	void (*wake)(struct machine *, unsigned word);

	/*
	 * Wait until @wait may be over (spurious returns are allowed). The core never calls this:
	 * the library's calls do, when the core returned -EAGAIN, and the machine's own fault
	 * handler. For a wait for frames, or for a write, it has kswapd_step() called, too: that frees
	 * what was written, and a device that is memory has written before anybody waits. soft: runs
	 * kswapd and the devices itself, so that time passes. => pager lock not held.
	 */
	void (*wait)(struct machine *, const struct wait *);

	/*
	 * Have kswapd_step() called soon. @by_fault: free frames fell below the low watermark, and there is time until the
	 * next fault. Otherwise nobody may ever fault again. => pager lock held.
	 */
	void (*wake_kswapd)(struct machine *, bool by_fault);

	/* One line for the person who runs this, without a newline: an I/O error, a lost page. May be NULL. => pager lock held or not. */
	void (*say)(struct machine *, const char *text);

	/*
	 * Memory for the core's own structures, zeroed, page aligned, never managed memory,
	 * never from an allocator that the program uses. NULL when the host has none.
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

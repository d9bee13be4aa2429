/* SPDX-License-Identifier: MIT */
/*
 * The core's half of the machine contract: what a machine may ask of the core. The other half is machine.h: what the
 * core asks of a machine. Everything else that the core offers is in mm/pager.h, which machines do not see.
 *
 * The core never starts a thread and never reads a clock. A function here does what can be done now, and returns. It
 * takes the pager lock itself.
 * => the caller does not hold the pager lock, unless a comment says otherwise
 *
 * -EAGAIN, with *wait filled, means: wait, then call again with the same arguments. The progress that was made is kept.
 */
#ifndef ANONMM_CORE_H
#define ANONMM_CORE_H

#include "base/pte.h"
#include "contract/machine.h"
#include "contract/swapdev.h"

struct pager;
struct space;
struct pgtable;

#define PAGER_MIN_FRAMES 64 /* the fewest frames that a pager works with */

/* ---- Faults and background work ------------------------------------------------------- */

enum access { ACCESS_READ, ACCESS_WRITE };

enum fault_result {
	FAULT_DONE, /* the fault was served: the access may be tried again, and usually succeeds */
	FAULT_WAIT, /* *wait is filled: wait, then call again */
	FAULT_SIGSEGV, /* no VMA covers the address, or the VMA forbids this access */
	FAULT_SIGBUS, /* the page's content is lost: an I/O error, or its check failed */
	FAULT_OOM, /* no frame is free, and reclaim found no page to free */
};

/*
 * Serve the fault at @addr (LIFECYCLE 2); @addr may be any byte of the page. *wait is filled when the result is
 * FAULT_WAIT. The call waits for nothing, with two exceptions: a device may read the page inside submit()
 * (swap_io.alone), and when no frame is to be had the core calls ops->more(), which may sleep.
 */
enum fault_result handle_mm_fault(struct space *space, uint64_t addr, enum access access, struct wait *wait);

/*
 * As handle_mm_fault(), for machines where several spaces share one range of real addresses: the fault goes to the
 * innermost space that covers @addr. FAULT_SIGSEGV also: no space covers @addr. The space may have ended since the
 * thread touched it.
 */
enum fault_result pager_fault(struct pager *pager, uint64_t addr, enum access access, struct wait *wait);

enum kswapd_result {
	KSWAPD_BALANCED, /* enough frames are free, or the pager is frozen: sleep until woken */
	KSWAPD_PROGRESS, /* there was a gain, or there may be one: call again */
	KSWAPD_WAIT, /* only writes in flight can help now: call pager_poll(), then call again */
	KSWAPD_STUCK, /* nothing can be reclaimed: sleep until woken, do not spin */
};

/*
 * One batch of background reclaim (LIFECYCLE 4). It looks at up to @pages pages of each node; KSWAPD_PAGES pages fill
 * one write.
 * => one caller at a time
 */
#define KSWAPD_PAGES SWAP_IO_PAGES
enum kswapd_result kswapd_step(struct pager *pager, unsigned pages);

/*
 * Have all devices end the requests in @dir that are done. If none is, wait for one up to @timeout_ms (milliseconds),
 * in the last device. Returns how many requests were ended. -EBUSY: none, and another thread is already waiting in a
 * device's poll().
 */
int pager_poll(struct pager *pager, enum swap_dir dir, int timeout_ms);

/* Is a request in @dir in flight: made, and not ended? */
bool pager_in_flight(struct pager *pager, enum swap_dir dir);

/*
 * Is one read in flight, and is its page the only one that is locked? Then a waiting thread gains nothing by going to
 * sleep.
 */
bool pager_lone_read(struct pager *pager);

/*
 * Descriptors that become readable when pager_poll(@dir) has something to end. Writes up to @nr to @fds; returns how
 * many.
 */
int pager_poll_fds(struct pager *pager, enum swap_dir dir, int *fds, int nr);

/*
 * The event counter @word: the one that wait->seq was read from when wait->word is @word. It lives as long as the
 * pager.
 */
_Atomic(uint32_t) *pager_events(struct pager *pager, unsigned word);
bool wait_is_over(struct pager *pager, const struct wait *wait);

/* ---- Spaces --------------------------------------------------------------------------- */

/*
 * A space of the addresses [base, base + bytes): page aligned, at most 16 TiB. The core keeps @machine_data for the
 * machine.
 * -EINVAL: such a range is not allowed. -ENOMEM: no host memory.
 */
int space_create(struct pager *pager, uint64_t base, uint64_t bytes, void *machine_data, struct space **out);
void *space_machine_data(const struct space *space);

/*
 * exit_mmap (LIFECYCLE 6): unmap everything and free the space. 0: the space is gone. -EAGAIN: call again. Any other
 * error is one that the machine's region_unmap() gave: the space stays.
 * => space locked
 */
int space_exit(struct space *space, struct wait *wait);

/* The space lock: its holder is the only one who changes the space's VMAs. -EAGAIN: somebody else holds it. */
int space_lock(struct space *space, struct wait *wait);
void space_unlock(struct space *space);

/*
 * fork (LIFECYCLE 7): *child becomes a space with the same VMAs and content. Where a frame can be shared, nothing is
 * copied: PTEs become read-only in both spaces, and slots count one more name. Elsewhere the pages that are in memory
 * are copied now. From the first call to the last one (while it returns -EAGAIN) faults in @space wait, so the child is
 * a snapshot of one moment. The half-made child is kept in @space meanwhile.
 * @place: the child shows at [to, to + bytes) what @space has at [from, from + bytes). NULL: all of @space, at the same
 * addresses. Memory that is locked (mlock) in @space is not locked in the child. Foreign ranges are holes in the child.
 * -EINVAL: @place is not in @space, or not aligned. -ENOMEM: no host memory, or no frame for a copy. -EBUSY: a page
 * must be copied, and the program keeps it pinned for I/O. After these errors there is no child, and @space is as it
 * was.
 * => space locked
 */
struct fork_place {
	uint64_t from, to, bytes;
};
int space_fork(struct space *space, const struct fork_place *place, void *machine_data, struct space **child,
	struct wait *wait);

/* The innermost space that covers @addr, or NULL. For machines where spaces share one range of real addresses. */
struct space *pager_space_at(struct pager *pager, uint64_t addr);

/*
 * What covers @addr: no VMA, a VMA of managed memory, or a foreign one, which the caller must treat itself. *run_end:
 * where that VMA or hole ends. *prot: PROT_* of the VMA; untouched for a hole.
 */
enum space_kind { SPACE_HOLE, SPACE_ANON, SPACE_IS_FOREIGN };
enum space_kind space_kind_at(struct space *space, uint64_t addr, uint64_t *run_end, int *prot);

/* The page tables, for an MMU in software. => pager lock held by who looks inside */
struct pgtable *space_pgtable(struct space *space);

/*
 * The word of page @index. NULL: there is no table for that page, so its word is none.
 * => the rules of base/pte.h for who may read the word
 */
pte_slot_t *pgtable_find(const struct pgtable *pgtable, uint64_t index);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The core's half of the machine contract: what a machine may ask of the core. The other half, what the core asks of a
 * machine, is machine.h. Everything else that the core offers is in mm/pager.h, which machines do not see.
 *
 * The core never starts a thread, reads a clock or waits: these functions are called, do what can be done now, and
 * return. They take the pager lock themselves. => the caller does not hold it
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
	FAULT_DONE, /* the access may be tried again, and will usually succeed */
	FAULT_WAIT, /* wait, then call again */
	FAULT_SIGSEGV, /* no VMA there, or one that forbids this access */
	FAULT_SIGBUS, /* the content is lost: an I/O error, or a failed check */
	FAULT_OOM, /* no frame, and nothing that could be reclaimed */
};

/*
 * The trap (LIFECYCLE 2). @addr: any byte of the page. Never blocks. *wait is set when the result is FAULT_WAIT.
 */
enum fault_result handle_mm_fault(struct space *space, uint64_t addr, enum access access, struct wait *wait);

/*
 * The same where spaces share one range of real addresses: in the innermost space that covers @addr. FAULT_SIGSEGV: there is
 * none, perhaps no more; who was late may ask for a space that has gone.
 */
enum fault_result pager_fault(struct pager *pager, uint64_t addr, enum access access, struct wait *wait);

enum kswapd_result {
	KSWAPD_BALANCED, /* free frames are above the high watermark: sleep until woken */
	KSWAPD_PROGRESS, /* call again */
	KSWAPD_WAIT, /* writes are in flight and nothing else can be done: poll, then call again */
	KSWAPD_STUCK, /* nothing can be reclaimed: sleep until woken, do not spin */
};

/*
 * One batch of background reclaim (LIFECYCLE 4): looks at up to @pages pages; KSWAPD_PAGES fill one write.
 * One caller at a time.
 */
#define KSWAPD_PAGES SWAP_IO_PAGES
enum kswapd_result kswapd_step(struct pager *pager, unsigned pages);

/* Have all devices end what has ended. Waits up to @timeout_ms when nothing has. Returns how many ended. */
int pager_poll(struct pager *pager, enum swap_dir dir, int timeout_ms);

/* Has any request of this direction been made and not ended? */
bool pager_in_flight(struct pager *pager, enum swap_dir dir);

/* Is one page being read, and nothing else on its way? Then nothing is gained by going to sleep meanwhile. */
bool pager_lone_read(struct pager *pager);

/* Descriptors to poll for that; returns how many were written to @fds. */
int pager_poll_fds(struct pager *pager, enum swap_dir dir, int *fds, int nr);

/* The event counter @word that struct wait's seq refers to. */
_Atomic(uint32_t) *pager_events(struct pager *pager, unsigned word);
bool wait_is_over(struct pager *pager, const struct wait *wait);

/* ---- Spaces --------------------------------------------------------------------------- */

/* Addresses [base, base + bytes), page aligned, bytes at most 16 TiB. @machine_data: the machine's own. */
int space_create(struct pager *pager, uint64_t base, uint64_t bytes, void *machine_data, struct space **out);
void *space_machine_data(const struct space *space);

/* exit_mmap: everything goes (LIFECYCLE 6). -EAGAIN. After 0 the space is gone. => space locked */
int space_exit(struct space *space, struct wait *wait);

/* One writer at a time. -EAGAIN. */
int space_lock(struct space *space, struct wait *wait);
void space_unlock(struct space *space);

/*
 * fork (LIFECYCLE 7): *child becomes a space with the same VMAs and content. Where a frame can be shared nothing is
 * copied: PTEs become read-only in both, swap entries are counted; elsewhere present pages are copied early. While this
 * says -EAGAIN faults in @space wait, so that the child is a snapshot of one moment; the copy is kept in @space.
 * @place: the child's addresses [to, to + bytes) show what @space has at [from, from + bytes); NULL: the same.
 * Locked memory is not locked in the child. Foreign ranges are holes there.
 * -ENOMEM: no host memory, or no frame to copy to. -EBUSY: a page is pinned for I/O where it must be copied.
 * There is no child then, @space is as it was. => space locked
 */
struct fork_place {
	uint64_t from, to, bytes;
};
int space_fork(struct space *space, const struct fork_place *place, void *machine_data, struct space **child,
	struct wait *wait);

/* The innermost space that covers @addr, or NULL: on machines where spaces share one range of real addresses. */
struct space *pager_space_at(struct pager *pager, uint64_t addr);

/* What kind of VMA covers @addr: for callers that must treat foreign ranges themselves. */
enum space_kind { SPACE_HOLE, SPACE_ANON, SPACE_IS_FOREIGN };
enum space_kind space_kind_at(struct space *space, uint64_t addr, uint64_t *run_end, int *prot);

/* What an MMU in software walks. => pager lock held to look inside */
struct pgtable *space_pgtable(struct space *space);

/* The word for page @index of the table; NULL: there is no table for it, so the word is none. => as pte.h says */
pte_slot_t *pgtable_find(const struct pgtable *pgtable, uint64_t index);

#endif

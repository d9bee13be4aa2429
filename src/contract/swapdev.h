/* SPDX-License-Identifier: MIT */
/*
 * The swap device contract: where the content of pages goes.
 *
 * A device is a row of slots of PAGE_BYTES each, numbered from 0. It is asynchronous in
 * form: submit() takes requests and returns at once, poll() runs the done() of those that
 * have ended. The two directions have queues of their own, so that who waits for a read
 * never takes away the completion that another waits for.
 *
 * Threads: every function may be called from any thread at any time, also from a signal
 * handler that runs with all signals blocked: no allocation, no lock that a caller could
 * hold already. done() is called from poll() (or from submit(), for a device that is ready
 * at once) with no lock of the device held.
 *
 * Ownership: a request belongs to the device from submit() to done(). Slots are handed out
 * by the core (src/mm/swap/swap_slots.c); a device never sees a write and a read of one slot at
 * the same time.
 */
#ifndef ANONMM_SWAPDEV_H
#define ANONMM_SWAPDEV_H

#include "base/base.h"

#include <sys/queue.h>

enum swap_dir { SWAP_READ, SWAP_WRITE, SWAP_DIRS };

/* 256 pages: one request moves up to 1 MiB. */
#define SWAP_IO_PAGES 256

struct swap_io {
	enum swap_dir dir;
	uint32_t slot; /* of the first page; the others follow it on the device */
	uint16_t nr; /* pages, 1 .. SWAP_IO_PAGES */
	bool alone; /* in: the submitter will only wait for it, so the device may be through with it before submit() returns */
	int result; /* out: 0, or -errno when any page of it failed */
	void (*done)(struct swap_io *);
	void *owner; /* the submitter's */
	/*
	 * out, of a write with -ENOSPC: the pages that there was no room for, zeroed by the submitter. The others were
	 * written. A device that does not tell them apart leaves it: none was written.
	 */
	uint64_t refused[SWAP_IO_PAGES / 64];
	STAILQ_ENTRY(swap_io) link; /* the owner's before submit and after done, the device's between */
	uint64_t device_word[2]; /* the device's, while it has the request */
	pfn_t pfn[SWAP_IO_PAGES]; /* the submitter's */
	struct swap_iov { /* layout of struct iovec */
		void *base;
		size_t bytes;
	} iov[SWAP_IO_PAGES]; /* one page each, aligned to PAGE_BYTES; a device may use it as scratch */
};

STAILQ_HEAD(swap_io_list, swap_io);

static inline void swap_io_refuse(struct swap_io *io, unsigned page)
{
	io->refused[page / 64] |= 1ull << (page % 64);
	if (io->result == 0)
		io->result = -ENOSPC;
}

/* Was there no room for @page? => the result is -ENOSPC */
static inline bool swap_io_refused(const struct swap_io *io, unsigned page)
{
	uint64_t any = 0;

	for (size_t w = 0; w < SWAP_IO_PAGES / 64; w++)
		any |= io->refused[w];
	return !any || (io->refused[page / 64] >> (page % 64) & 1);
}

struct swapdev;

/* A device in memory that stands in front of another. */
struct swap_tier {
	uint32_t pages; /* that are kept in memory */
	uint32_t tables; /* pages of memory that it takes beside */
	bool behind; /* the slot that was asked about is with the device behind */
	uint32_t own_ns; /* what it takes, of late, to put a page there and to get it back */
	uint32_t behind_ns; /* and to read one from the device behind */
};

struct swapdev_ops {
	const char *scheme; /* "file", "faulty", ... */

	/*
	 * Start all requests of @list (emptied). Never refuses: a request that cannot be
	 * started ends with a result. Order between requests is not kept.
	 */
	void (*submit)(struct swapdev *, struct swap_io_list *list);

	/*
	 * End what has ended in @dir: result, then done(). Waits up to @timeout_ms for the first
	 * one (0: not at all; never longer than asked for), but only while something is in flight in
	 * @dir: what the caller waits for may have been ended by another thread just now. May return
	 * early. Returns how many were ended.
	 * When another thread is already waiting in poll(@dir), returns -EBUSY at once: that
	 * thread ends the requests, and whoever waits for a page is woken by their done(). So who
	 * waited and got 0 while others may rely on it must poll again.
	 */
	int (*poll)(struct swapdev *, enum swap_dir, int timeout_ms);

	/* A descriptor that is readable when poll(@dir) has something to end; -1: none, call poll. */
	int (*poll_fd)(struct swapdev *, enum swap_dir);

	/*
	 * Slots hold nothing of interest any more. A hint; may do nothing. The core calls it for every slot that it
	 * frees, with its lock held: it must be cheap and not sleep. Never in an heir (fork_child), whose slots
	 * the parent may want.
	 */
	void (*discard)(struct swapdev *, uint32_t slot, uint32_t nr);

	/*
	 * What the slot holds, to @page, if that takes no I/O: the device is memory. false: it would. The core calls it with its lock
	 * held, not while the slot is being written. NULL: always false.
	 */
	bool (*peek)(struct swapdev *, uint32_t slot, void *page);

	/* A little upkeep, called now and then by the reclaimer without any lock; never in an heir. NULL: none. */
	void (*background)(struct swapdev *);

	/*
	 * For a device with shares_memory, which lives on memory of the pager. Units are pages of memory.
	 * memory_wanted: how many pages the device would like to have now, with some to grow into.
	 * memory_grant: the device may use @pages from now on, and will never be granted more than @most. Returns how many it
	 * uses at most from now on: @pages, or more if it uses more already and cannot give them back at once.
	 * => the caller may hold any lock; the device takes no lock but its own
	 */
	uint32_t (*memory_wanted)(struct swapdev *);
	uint32_t (*memory_grant)(struct swapdev *, uint32_t pages, uint32_t most);

	/* Of a device with shares_memory, and of @slot. false, and NULL: nothing stands behind it. => any lock may be held */
	bool (*tier)(struct swapdev *, uint32_t slot, struct swap_tier *out);

	/* Bytes of memory that it takes for content and tables. NULL: few. */
	uint64_t (*memory_used)(struct swapdev *);

	/*
	 * The descriptors that the device lives by, to be kept from a program that closes what is
	 * not its own (and to be let through by a system call filter). Writes up to @max to @fds,
	 * returns how many there are. NULL: none.
	 */
	int (*fds)(struct swapdev *, int *fds, int max);

	/*
	 * The calling thread's descriptor table holds the originals from now on; until the first call
	 * the opener's does. NULL: does not care.
	 */
	void (*adopt)(struct swapdev *);

	/*
	 * Around a fork, with nothing in flight, in the thread that forks. prepare: whatever
	 * fork_child() will need is in this thread's descriptor table afterwards. 0 or -errno (the fork
	 * may go on, fork_child() will fail). parent: the fork is over, or failed. NULL: not needed.
	 */
	int (*fork_prepare)(struct swapdev *);
	void (*fork_parent)(struct swapdev *);

	/*
	 * In the child of a fork, with nothing in flight: make this copy a reader of the
	 * parent's slots. Queues are the child's own afterwards; it must not write (the core does not).
	 * The calling thread is as after adopt(). 0 or -errno. NULL: cannot.
	 */
	int (*fork_child)(struct swapdev *);

	/* Free everything; nothing is in flight. */
	void (*close)(struct swapdev *);
};

/* A device embeds this as its first member. */
struct swapdev {
	const struct swapdev_ops *ops;
	uint32_t nr_slots;
	bool shares_memory; /* has memory_wanted() and memory_grant() */
	bool stable_writes; /* what it is given to write must not change before done(): it looks more than once */
	bool anywhere; /* slots that lie apart cost it no more than neighbours */
	bool quick; /* a read costs no more than a fault does: it is memory, all of it */
	_Atomic(bool) crowded; /* slots of pages that are in memory as well would better be freed */
	char uri[256]; /* as it was asked for, for messages */
};

/*
 * Open the device that @uri names. "file:PATH?size=SIZE[&...]" is in file.c, "zram:" in zram.c, "faulty:..." in faulty.c.
 * On failure returns -errno and writes to @why (of @why_len bytes) one line that says what was asked,
 * what was found and what to do. The device is the caller's, to close with ops->close().
 */
int swapdev_open(const char *uri, struct swapdev **out, char *why, size_t why_len);

/*
 * Open the devices that @uris names: several URIs with commas between them, the first to be used first. A device that
 * can stand in front of another ("zram:") takes the one behind it as its own: both are one device then, and what
 * gets old in the first goes on to the second. @memory: what "zram:" and "size=25%" of it refer to; 0: not known.
 * Returns how many there are, at most @max, or -errno as above.
 */
int swapdev_open_all(
	const char *uris, uint64_t memory, struct swapdev **devs, unsigned max, char *why, size_t why_len);
#define SWAPDEV_CHAIN 8 /* URIs in a list */

#endif

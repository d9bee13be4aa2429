/* SPDX-License-Identifier: MIT */
/*
 * The swap device contract: where the content of pages goes.
 *
 * A device is a row of slots of PAGE_BYTES each, numbered from 0. It is asynchronous: submit() takes requests and
 * returns, poll() calls the done() of those that have ended. Reads and writes have a queue each, so who waits for a
 * read never takes away a completion that somebody else's write waits for.
 *
 * Threads: every function may be called by any thread at any time, also in a signal handler that runs with all signals
 * blocked. So a device does not allocate there, and takes no lock that its caller could hold already. done() is called
 * by poll(), or by submit() if the device is ready at once. No lock of the device is held then.
 *
 * Ownership: a request belongs to the device from submit() to done(). The core hands out the slots
 * (src/mm/swap/swap_slots.c). A device never sees a write and a read of one slot at the same time.
 */
#ifndef ANONMM_SWAPDEV_H
#define ANONMM_SWAPDEV_H

#include "base/base.h"
#include "contract/cost.h"

#include <sys/queue.h>

enum swap_dir { SWAP_READ, SWAP_WRITE, SWAP_DIRS };

/* A request has up to 256 pages: 1 MiB. */
#define SWAP_IO_PAGES 256

struct swap_io {
	enum swap_dir dir;
	uint32_t slot; /* the slot of the first page; the slots of the others follow it on the device */
	uint16_t nr; /* pages, 1 .. SWAP_IO_PAGES */
	/*
	 * in: the submitter will wait for this request and for nothing else, so the device may serve it inside submit()
	 */
	bool alone;
	bool ahead; /* in: nobody waits for this read, so its end may be noticed late: its time says nothing */
	int result; /* out: 0, or -errno if any page of the request failed */
	void (*done)(struct swap_io *);
	void *owner; /* for the submitter's own use */
	/*
	 * out, for a write that ended with -ENOSPC: bit i is set if there was no room for page i; the other pages were
	 * written. The submitter zeroes the field. If the device leaves it at 0, no page was written.
	 */
	uint64_t refused[SWAP_IO_PAGES / 64];
	/* the submitter's before submit() and after done(), the device's in between */
	STAILQ_ENTRY(swap_io) link;
	uint64_t device_word[2]; /* for the device's own use while it has the request */
	uint64_t since_ns; /* the device's, too: when it got the request, if it measures the time */
	pfn_t pfn[SWAP_IO_PAGES]; /* for the submitter's own use */
	struct swap_iov { /* same layout as struct iovec */
		void *base;
		size_t bytes;
	} iov[SWAP_IO_PAGES]; /* one page each, aligned to PAGE_BYTES; a device may overwrite the array */
};

STAILQ_HEAD(swap_io_list, swap_io);

static inline void swap_io_refuse(struct swap_io *io, unsigned page)
{
	io->refused[page / 64] |= 1ull << (page % 64);
	if (io->result == 0)
		io->result = -ENOSPC;
}

/* Was page @page refused for want of room? => the request's result is -ENOSPC */
static inline bool swap_io_refused(const struct swap_io *io, unsigned page)
{
	uint64_t any = 0;

	for (size_t w = 0; w < SWAP_IO_PAGES / 64; w++)
		any |= io->refused[w];
	return !any || (io->refused[page / 64] >> (page % 64) & 1);
}

struct swapdev;

/* What the core learns of a device in memory that stands in front of another. */
struct swap_tier {
	uint32_t pages; /* pages that the store in memory holds */
	uint32_t tables; /* pages of memory that the device takes for its tables */
	bool behind; /* the content of the slot in question is on the device behind */
	uint32_t own_ns; /* how long it lately took to put one page into the store and get it back */
	uint32_t behind_ns; /* how long one page's read from the device behind lately took */
};

struct swapdev_ops {
	const char *scheme; /* the URI's scheme: "file", "faulty", ... */

	/*
	 * Start all requests of @list, and empty the list. A request that cannot be started ends with a result other
	 * than 0. The device keeps no order between requests. A done() that a device in front has given may call
	 * submit() again, from inside this device's submit() or poll().
	 * => pager lock not held; page locks, the space lock and kswapd's lock may be. The submitter has set result to 0
	 */
	void (*submit)(struct swapdev *, struct swap_io_list *list);

	/*
	 * End the requests in @dir that are done: set the result, then call done(). Returns how many were ended. If
	 * none is done, poll() waits for the first one up to @timeout_ms (0: not at all). It waits only while a request
	 * in @dir is in flight, because another thread may just have ended what the caller waits for. It may return
	 * earlier.
	 * -EBUSY, at once: another thread is waiting in poll(@dir). That thread ends the requests, and done() wakes who
	 * waits for their pages. Other threads therefore rely on the one that waits: if it gets 0, it must poll again.
	 */
	int (*poll)(struct swapdev *, enum swap_dir, int timeout_ms);

	/*
	 * A descriptor that becomes readable when poll(@dir) has something to end. -1: there is none, call poll().
	 * NULL: always -1.
	 */
	int (*poll_fd)(struct swapdev *, enum swap_dir);

	/*
	 * The content of these slots is not needed any more. This is a hint; the device may ignore it. The core calls
	 * it for every slot that it frees, with the pager lock held, so it must be cheap and must not sleep. It is
	 * never called in an heir (fork_child), because the parent may want the slots.
	 */
	void (*discard)(struct swapdev *, uint32_t slot, uint32_t nr);

	/*
	 * Copy the slot's content to @page, if that takes no I/O because the device is memory. Returns false if it
	 * would take I/O.
	 * NULL: always false. => pager lock held, the slot is not being written
	 */
	bool (*peek)(struct swapdev *, uint32_t slot, void *page);

	/*
	 * What the device costs now. A device in front of another includes the other's costs.
	 * NULL: COST_OF_DISK, for ever. => any lock may be held; the device takes none, and never sleeps
	 */
	void (*cost)(const struct swapdev *, struct swap_cost *out);

	/*
	 * A little upkeep. The reclaimer calls it now and then; never in an heir. NULL: none is needed. => no lock held
	 */
	void (*background)(struct swapdev *);

	/*
	 * For a device with shares_memory, which lives on memory of the pager. Units are pages of memory.
	 *   - memory_wanted: how many pages the device would like to have now, with some to grow into.
	 *   - memory_grant: the device may use @pages from now on, and will never be granted more than @most. Returns
	 *     how many it uses at most from now on: @pages, or more if it uses more already and cannot give them back
	 *     at once.
	 * => the caller may hold any lock; the device takes no lock but its own
	 */
	uint32_t (*memory_wanted)(struct swapdev *);
	uint32_t (*memory_grant)(struct swapdev *, uint32_t pages, uint32_t most);

	/*
	 * What the store has, and where @slot is. Returns false if no device stands behind this one. NULL: always
	 * false.
	 * => the device has shares_memory; any lock may be held
	 */
	bool (*tier)(struct swapdev *, uint32_t slot, struct swap_tier *out);

	/* Bytes of memory that the device takes for content and tables. NULL: few. */
	uint64_t (*memory_used)(struct swapdev *);

	/*
	 * The descriptors that the device needs. The caller keeps them from a program that closes descriptors which are
	 * not its own, and lets them through its system call filter. Writes up to @max of them to @fds; returns how
	 * many the device has. NULL: none.
	 */
	int (*fds)(struct swapdev *, int *fds, int max);

	/*
	 * From now on the device uses the descriptor table of the calling thread; before the first call, that of the
	 * opener.
	 * NULL: the device has no use for that.
	 */
	void (*adopt)(struct swapdev *);

	/*
	 * Called around a fork in the thread that forks, with nothing in flight. fork_prepare() puts what fork_child()
	 * will need into this thread's descriptor table. 0 or -errno; after an error no child can have
	 * the device. fork_parent(): the fork is over, or has failed, also in fork_prepare(). NULL: nothing is needed.
	 */
	int (*fork_prepare)(struct swapdev *);
	void (*fork_parent)(struct swapdev *);

	/*
	 * Called in the child of a fork, with nothing in flight: make this copy of the device a reader of the parent's
	 * slots. Its queues are the child's own afterwards. The core never writes to it. The calling thread is as after
	 * adopt(). 0 or -errno.
	 * NULL: the device cannot be inherited.
	 */
	int (*fork_child)(struct swapdev *);

	/* Free everything. => nothing is in flight */
	void (*close)(struct swapdev *);
};

/* A device embeds this as its first member. */
struct swapdev {
	const struct swapdev_ops *ops;
	uint32_t nr_slots;
	bool shares_memory; /* the device has memory_wanted() and memory_grant() */
	/* a page must not change between submit() of its write and done(): the device reads it more than once */
	bool stable_writes;
	char uri[256]; /* the URI that was asked for, for messages */
};

static inline struct swap_cost swapdev_cost(const struct swapdev *dev)
{
	struct swap_cost cost = COST_OF_DISK;

	if (dev->ops->cost)
		dev->ops->cost(dev, &cost);
	return cost;
}

/*
 * Open the device that @uri names. "file:PATH?size=SIZE[&...]" is in file.c, "zram:" in zram.c, "faulty:..." in
 * faulty.c.
 * 0: the caller owns *out, and closes it with ops->close(). -errno: @why (of @why_len bytes) has one line that says
 * what was asked, what was found and what to do.
 */
int swapdev_open(const char *uri, struct swapdev **out, char *why, size_t why_len);

/*
 * Open the devices that @uris names: several URIs with commas between them, the one to be used first in front. A device
 * that can stand in front of another ("zram:") takes the next one as its own: both are one device then, and what gets
 * old in the first goes on to the second. @memory (bytes): what "zram:" and "size=25%" of it refer to; 0: not known.
 * Returns how many devices there are, at most @max, or -errno as swapdev_open(); on failure none is left open.
 */
int swapdev_open_all(
	const char *uris, uint64_t memory, struct swapdev **devs, unsigned max, char *why, size_t why_len);
#define SWAPDEV_CHAIN 8 /* URIs in a list, at most */

#endif

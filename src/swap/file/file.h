/* SPDX-License-Identifier: MIT */
/*
 * Inside the file device: one file, one queue for each direction, and an engine that moves bytes between memory and
 * the file.
 *
 * The life of a request:
 *
 *   submit      file_submit    Merge pages that are neighbours in memory, put the request on queue.pending.
 *   start       engine.start   Take requests from pending, as far as the engine has room.
 *   reap        engine.reap    A piece has ended. Put the request on "ended", or back on pending for the rest.
 *   end         file_poll      Call done(), with no lock held.
 *
 * A read with `alone` set takes another way: file_submit() does it, and calls done() before it returns.
 *
 * One thread per queue sleeps for the end of requests: the leader. poll() returns -EBUSY to other threads. Two rules
 * keep a waiter from sleeping through the end of its request:
 *   - The leader increments queue.ending before it ceases to be the leader, and decrements it after the last done()
 *     of its batch.
 *   - A thread that would become the leader while queue.ending is not 0 waits until it is 0 instead.
 */
#ifndef ANONMM_SWAPDEV_FILE_H
#define ANONMM_SWAPDEV_FILE_H

#include "host/thread.h"
#include "swap/cost.h"
#include "swap/device.h"

#include <liburing.h>
#include <linux/aio_abi.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/uio.h>

/* Requests in flight per queue. A disk reaches its full rate with 8 requests of 1 MiB, or with 128 of 4 KiB. */
#define FILE_DEPTH 128

/* Threads per queue of file_threads.c. A disk needs a few requests at once; more threads only cost stacks. */
#define FILE_THREADS 4

/* Completions that aio takes from the kernel in one call. */
#define FILE_AIO_EVENTS 32

struct file_dev;

/* Locks: [I] set at open or in fork_child  [Q] queue lock  [a] atomic  [L] the leader alone */
struct file_queue {
	struct file_dev *file; /* [I] */
	enum swap_dir dir; /* [I] */
	pthread_mutex_t lock;
	struct swap_io_list pending; /* [Q] requests that the engine does not have yet */
	unsigned in_flight; /* [Q] requests that the engine has */
	bool leader; /* [Q] a thread sleeps in engine.sleep */
	_Atomic(uint32_t) ending; /* [a] batches whose done() are running */
	_Atomic(uint32_t) watchers; /* [a] threads that sleep on ending */
	union { /* private to the engine */
		struct io_uring ring; /* [Q]. The sleeping leader reads completions without it */
		struct file_aio {
			aio_context_t context; /* [I] */
			int event_fd; /* [I] */
			unsigned nr_slept; /* [L] completions that the leader's last sleep brought */
			struct io_event slept[FILE_AIO_EVENTS]; /* [L] */
		} aio;
		struct file_threads {
			struct file_worker {
				struct host_thread thread;
				struct file_queue *queue;
			} worker[FILE_THREADS]; /* [I] the first nr */
			int keep[2]; /* [I] descriptors that the workers keep: the file and event_fd */
			unsigned nr; /* [I] workers */
			int event_fd; /* [I] */
			bool stop; /* [Q] the workers shall end */
			pthread_cond_t work; /* signalled when pending gets a request, and when stop is set */
			pthread_cond_t news; /* signalled when ended gets a request */
			struct swap_io_list ended; /* [Q] requests that are over and not yet reaped */
		} threads;
	};
};

struct file_engine {
	const char *name;

	/* 0, or -errno: the engine does not work on this host. => no other thread uses the queue */
	int (*open)(struct file_queue *);
	void (*close)(struct file_queue *);

	/*
	 * In the child of a fork: the queue is the parent's. Drop it without touching memory that it shares with the
	 * parent. @close_fds: the queue's descriptors are in this process's table, and are to be closed.
	 */
	void (*abandon)(struct file_queue *, bool close_fds);

	/*
	 * Start pending requests, as far as there is room. A request that fails to start goes to @ended. => queue
	 * lock held
	 */
	void (*start)(struct file_queue *, struct swap_io_list *ended);

	/*
	 * Move requests that are over to @ended, and those of which a part is left back to pending. => queue lock
	 * held
	 */
	void (*reap)(struct file_queue *, struct swap_io_list *ended);

	/* Sleep until there is something to reap, @timeout_ms at most. It may return early. => queue lock not held */
	void (*sleep)(struct file_queue *, int timeout_ms);

	/* A descriptor that is readable while there is something to reap. */
	int (*event_fd)(struct file_queue *);
};

extern const struct file_engine file_uring, file_aio, file_threads;

struct file_dev {
	struct swapdev dev; /* first */
	const struct file_engine *engine; /* [I] */
	const struct file_engine *wish; /* [I] the only engine that may be used; NULL: any */
	int fd; /* [I] */
	bool direct; /* [I] O_DIRECT: the host moves bytes while the caller goes on */
	pid_t owner; /* the thread whose descriptor table has fd. Set by adopt() */
	int fork_fd; /* a copy of fd in the forking thread's descriptor table; -1: none */
	struct stat identity; /* [I] of fd: file_is_ours() compares with it */
	struct cost_meter meter; /* [a] */
	struct file_queue queue[SWAP_DIRS];
};

/*
 * file_place.c: open the PATH of @uri as an unlinked file or a block device. Sets fd, direct and nr_slots. 0, or
 * -errno and @why.
 */
int file_place(struct swap_uri *uri, struct file_dev *file, struct swap_why *why);

/* Is @fd, in the calling thread's descriptor table, the device's file? */
bool file_is_ours(const struct file_dev *file, int fd);

/* Move @fd to a high number, away from the program's descriptors. Returns the new number; @fd itself if that fails. */
int file_fd_move_high(int fd);

/*
 * ---- One request, piece by piece -------------------------------------------------------------------
 *
 * device_word[0]: offset in the file of the next byte. device_word[1]: the next iovec << 32 | number of iovecs left.
 */

static inline off_t file_io_offset(const struct swap_io *io)
{
	return (off_t)io->device_word[0];
}

static inline struct iovec *file_io_iov(struct swap_io *io)
{
	_Static_assert(sizeof(struct swap_iov) == sizeof(struct iovec), "swap_iov is an iovec");
	return (struct iovec *)&io->iov[io->device_word[1] >> 32];
}

static inline unsigned file_io_nr_iov(const struct swap_io *io)
{
	return (unsigned)(uint32_t)io->device_word[1];
}

/*
 * Take the host's answer for one piece: bytes moved, or -errno. true: the request is over, and its result is set.
 * false: the rest must be started again.
 */
bool file_io_settle(struct swap_io *io, long answer);

#endif

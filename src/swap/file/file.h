/* SPDX-License-Identifier: MIT */
/*
 * Inside the file device: one file, one queue for each direction, and an engine that moves
 * bytes between the two.
 *
 * The life of a request:
 *
 *   submit      file_submit    merged, put on queue.pending
 *   start       engine.start   taken from pending as far as the engine has room
 *   reap        engine.reap    a piece has ended: the rest back on pending, or onto "ended"
 *   end         file_poll      done(), with no lock held
 *
 * Who sleeps: one thread a queue, the leader. Others get -EBUSY. Two rules keep a waiter from
 * sleeping through the end of its request:
 *   - the leader counts its batch in queue.ending before it ceases to be the leader, and
 *     uncounts it after the last done();
 *   - who would become the leader while something is ending waits for that instead.
 */
#ifndef ANONMM_SWAPDEV_FILE_H
#define ANONMM_SWAPDEV_FILE_H

#include "host/thread.h"
#include "swap/device.h"

#include <liburing.h>
#include <linux/aio_abi.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/uio.h>

/* Requests in flight at once: 8 give the full rate for 1 MiB each, 128 for 4 KiB each. */
#define FILE_DEPTH 128

/* Threads a queue of the fallback has. The disk wants a few at once; more only cost stacks. */
#define FILE_THREADS 4

/* Events that aio takes at once. */
#define FILE_AIO_EVENTS 32

struct file_dev;

/* Locks: [I] set at open or in fork_child  [Q] queue lock  [a] atomic  [L] the leader's */
struct file_queue {
	struct file_dev *file; /* [I] */
	enum swap_dir dir; /* [I] */
	pthread_mutex_t lock;
	struct swap_io_list pending; /* [Q] submitted, not yet with the engine */
	unsigned in_flight; /* [Q] with the engine */
	bool leader; /* [Q] a thread sleeps in engine.sleep */
	_Atomic(uint32_t) ending; /* [a] batches whose done() are running */
	_Atomic(uint32_t) watchers; /* [a] threads that sleep on ending */
	union { /* the engine's own */
		struct io_uring ring; /* [Q], its completion side read by the leader's sleep */
		struct file_aio {
			aio_context_t context; /* [I] */
			int event_fd; /* [I] */
			unsigned nr_slept; /* [L] events that the leader's sleep brought */
			struct io_event slept[FILE_AIO_EVENTS]; /* [L] */
		} aio;
		struct file_threads {
			struct file_worker {
				struct host_thread thread;
				struct file_queue *queue;
			} worker[FILE_THREADS]; /* [I] the first nr */
			int keep[2]; /* [I] the workers' descriptors */
			unsigned nr; /* [I] */
			int event_fd; /* [I] */
			bool stop; /* [Q] */
			pthread_cond_t work; /* pending has one more, or stop */
			pthread_cond_t news; /* ended has one more */
			struct swap_io_list ended; /* [Q] settled, not yet reaped */
		} threads;
	};
};

struct file_engine {
	const char *name;

	/* 0, or -errno: cannot work here. => single-threaded as far as this queue goes */
	int (*open)(struct file_queue *);
	void (*close)(struct file_queue *);

	/*
	 * In the child of a fork: the queue is the parent's. Let go of it without touching its memory;
	 * @close_fds: its descriptors are in this process' table, under their numbers.
	 */
	void (*abandon)(struct file_queue *, bool close_fds);

	/* Start what is pending, as far as there is room; what cannot start goes onto @ended. => queue lock held */
	void (*start)(struct file_queue *, struct swap_io_list *ended);

	/* Move what has ended onto @ended, what must go on back to pending. => queue lock held */
	void (*reap)(struct file_queue *, struct swap_io_list *ended);

	/* Until there is something to reap, or @timeout_ms have passed, or earlier. => queue lock not held */
	void (*sleep)(struct file_queue *, int timeout_ms);

	/* Readable when there is something to reap. */
	int (*event_fd)(struct file_queue *);
};

extern const struct file_engine file_uring, file_aio, file_threads;

struct file_dev {
	struct swapdev dev; /* first */
	const struct file_engine *engine; /* [I] */
	const struct file_engine *wish; /* [I] the only one that may be used; NULL: any */
	int fd; /* [I] */
	bool direct; /* [I] O_DIRECT: the host moves bytes while the caller goes on */
	pid_t owner; /* whose descriptor table has fd; adopt() */
	int fork_fd; /* the forking thread's copy of fd; -1: none */
	struct stat identity; /* [I] of fd: to know it again */
	struct file_queue queue[SWAP_DIRS];
};

/* file_place.c: PATH to an unlinked file, or a block device, of at least @uri's size. Sets fd, direct, nr_slots. */
int file_place(struct swap_uri *uri, struct file_dev *file, struct swap_why *why);

/* Is @fd, in the calling thread's descriptor table, our file? */
bool file_is_ours(const struct file_dev *file, int fd);

/* Out of the way of a program's own descriptors. Returns the new one; @fd itself when that fails. */
int file_fd_move_high(int fd);

/* ---- One request, piece by piece: device_word[0] is the next byte on the device, [1] first << 32 | number of iovecs left. */

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
 * The host's answer for one piece: bytes moved, or -errno. Returns true when the request is over, with its result;
 * false: the rest has to be started again.
 */
bool file_io_settle(struct swap_io *io, long answer);

#endif

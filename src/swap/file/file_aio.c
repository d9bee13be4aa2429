/* SPDX-License-Identifier: MIT */
/*
 * The file device on the kernel's older asynchronous I/O (io_submit).
 *
 * With O_DIRECT it is as fast as io_uring, and many containers that refuse io_uring allow it. The interrupt writes
 * completions straight into memory, so no thread is disturbed for them. That makes it the right engine where threads
 * of the program submit requests and go on. Without O_DIRECT submission would block, so the engine is not used then.
 *
 * A context belongs to the memory of the process, not to a descriptor. The kernel looks up only the file and the
 * eventfd in the submitter's descriptor table.
 *
 * The first request makes the context. A process that has one waits for its end when it exits: about 30 ms, for an
 * RCU grace period. Most programs and children never swap, and need not wait. If the host refuses a context, submit
 * serves the requests itself, one by one.
 */
#define _GNU_SOURCE
#include "swap/file/file.h"

#include <string.h>
#include <sys/eventfd.h>

/* Requests passed to the host in one call. Small, because submitters may run on a signal stack. */
#define BATCH 8

/* The start of the page that io_setup() maps. It is only read here, to save a system call when nothing has ended. */
struct completion_page {
	uint32_t id, nr;
	_Atomic(uint32_t) head, tail;
	uint32_t magic;
};

#define COMPLETION_MAGIC 0xa10a10a1

static struct completion_page *completions(struct file_queue *q)
{
	return (struct completion_page *)q->aio.context;
}

static bool maybe_ended(struct file_queue *q)
{
	struct completion_page *page = completions(q);

	return page->magic != COMPLETION_MAGIC || atomic_load(&page->head) != atomic_load(&page->tail);
}

/* Keep the completions from a fork's child. The page says how many there are. Errors do not matter: this is a hint. */
static void keep_from_children(struct file_queue *q)
{
	struct completion_page *page = completions(q);
	size_t head_bytes = sizeof(struct io_event);

	if (page->magic == COMPLETION_MAGIC)
		madvise(page, page_align_up(head_bytes + page->nr * sizeof(struct io_event)), MADV_DONTFORK);
}

static int aio_open(struct file_queue *q)
{
	if (!q->file->direct)
		return -EOPNOTSUPP;
	/* This context does not exist, so the call fails. EINVAL: the host allows aio; another error: it does not. */
	if (syscall(SYS_io_destroy, 0ul) != 0 && errno != EINVAL)
		return -errno;
	q->aio.context = 0;
	q->aio.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (q->aio.event_fd < 0)
		return -errno;
	q->aio.event_fd = file_fd_move_high(q->aio.event_fd);
	return 0;
}

static bool has_context(struct file_queue *q)
{
	if (q->aio.context)
		return true;
	if (syscall(SYS_io_setup, FILE_DEPTH, &q->aio.context) != 0) {
		q->aio.context = 0;
		return false;
	}
	keep_from_children(q);
	return true;
}

static void aio_close(struct file_queue *q)
{
	if (q->aio.context)
		syscall(SYS_io_destroy, q->aio.context);
	host_close(q->aio.event_fd);
}

static void aio_abandon(struct file_queue *q, bool close_fds)
{
	if (close_fds)
		host_close(q->aio.event_fd);
}

static void fill_iocb(struct file_queue *q, struct iocb *cb, struct swap_io *io)
{
	memset(cb, 0, sizeof(*cb));
	cb->aio_data = (uint64_t)(uintptr_t)io;
	cb->aio_lio_opcode = q->dir == SWAP_READ ? IOCB_CMD_PREADV : IOCB_CMD_PWRITEV;
	cb->aio_fildes = (uint32_t)q->file->fd;
	cb->aio_buf = (uint64_t)(uintptr_t)file_io_iov(io);
	cb->aio_nbytes = file_io_nr_iov(io);
	cb->aio_offset = file_io_offset(io);
	cb->aio_flags = IOCB_FLAG_RESFD;
	cb->aio_resfd = (uint32_t)q->aio.event_fd;
}

static struct swap_io *take_first(struct swap_io_list *list)
{
	struct swap_io *io = STAILQ_FIRST(list);

	STAILQ_REMOVE_HEAD(list, link);
	return io;
}

/* Returns how many requests the host took, or -errno for the first one. They stay on pending. */
static long submit_batch(struct file_queue *q)
{
	struct iocb cbs[BATCH], *ptrs[BATCH];
	unsigned room = FILE_DEPTH - q->in_flight;
	unsigned nr = 0;
	struct swap_io *io;
	long answer;

	STAILQ_FOREACH (io, &q->pending, link) {
		if (nr == BATCH || nr == room)
			break;
		fill_iocb(q, &cbs[nr], io);
		ptrs[nr] = &cbs[nr];
		nr++;
	}
	if (nr == 0)
		return 0;
	/* Another file may have taken the number, and a write would destroy it. The check costs 0.2 us, a read 60. */
	if (!file_is_ours(q->file, q->file->fd))
		return -EBADF;
	answer = syscall(SYS_io_submit, q->aio.context, nr, ptrs);
	return answer < 0 ? -errno : answer;
}

/* Serve the pending requests without a context. */
static void serve_at_once(struct file_queue *q, struct swap_io_list *ended)
{
	while (!STAILQ_EMPTY(&q->pending)) {
		struct swap_io *io = take_first(&q->pending);
		struct iocb cb;
		long done = -EBADF;

		fill_iocb(q, &cb, io);
		if (file_is_ours(q->file, q->file->fd))
			done = syscall(q->dir == SWAP_READ ? SYS_preadv : SYS_pwritev, q->file->fd,
				cb.aio_buf, cb.aio_nbytes, cb.aio_offset, 0);
		if (done < 0)
			done = done == -EBADF ? done : -errno;
		if (file_io_settle(io, done))
			STAILQ_INSERT_TAIL(ended, io, link);
		else
			STAILQ_INSERT_HEAD(&q->pending, io, link);
	}
}

/*
 * => queue lock held: a request may end at once, and nobody reaps it before it is off pending
 */
static void aio_start(struct file_queue *q, struct swap_io_list *ended)
{
	long answer;

	if (!STAILQ_EMPTY(&q->pending) && !has_context(q)) {
		serve_at_once(q, ended);
		return;
	}
	while ((answer = submit_batch(q)) != 0) {
		if (answer == -EAGAIN || answer == -ENOMEM || answer == -EINTR)
			return;
		if (answer < 0) {
			struct swap_io *io = take_first(&q->pending);

			io->result = (int)answer;
			STAILQ_INSERT_TAIL(ended, io, link);
		}
		for (; answer > 0; answer--) {
			take_first(&q->pending);
			q->in_flight++;
		}
	}
}

static void settle_events(
	struct file_queue *q, const struct io_event *events, unsigned nr, struct swap_io_list *ended)
{
	for (unsigned i = 0; i < nr; i++) {
		struct swap_io *io = (struct swap_io *)(uintptr_t)events[i].data;

		if (file_io_settle(io, (long)events[i].res))
			STAILQ_INSERT_TAIL(ended, io, link);
		else
			STAILQ_INSERT_HEAD(&q->pending, io, link);
	}
	q->in_flight -= nr;
}

static void aio_reap(struct file_queue *q, struct swap_io_list *ended)
{
	struct timespec at_once = {0};
	uint64_t count;
	long nr;

	if (q->aio.nr_slept == 0 && (q->in_flight == 0 || !maybe_ended(q)))
		return;
	/* Clear the eventfd before looking: a request that ends after the look makes it readable again. */
	if (device_read(q->aio.event_fd, &count, sizeof(count)) < 0)
		count = 0;
	do {
		settle_events(q, q->aio.slept, q->aio.nr_slept, ended);
		q->aio.nr_slept = 0;
		if (!maybe_ended(q))
			return;
		nr = syscall(SYS_io_getevents, q->aio.context, 0, FILE_AIO_EVENTS, q->aio.slept, &at_once);
		q->aio.nr_slept = nr > 0 ? (unsigned)nr : 0;
	} while (nr > 0);
}

/* Sleeping takes completions from the kernel: they wait in slept for reap. Only the leader reaps while it sleeps. */
static void aio_sleep(struct file_queue *q, int timeout_ms)
{
	struct timespec timeout = {timeout_ms / 1000, timeout_ms % 1000 * 1000000L};
	long nr = syscall(SYS_io_getevents, q->aio.context, 1, FILE_AIO_EVENTS, q->aio.slept, &timeout);

	q->aio.nr_slept = nr > 0 ? (unsigned)nr : 0;
}

static int aio_event_fd(struct file_queue *q)
{
	return q->aio.event_fd;
}

const struct file_engine file_aio = {
	.name = "aio",
	.open = aio_open,
	.close = aio_close,
	.abandon = aio_abandon,
	.start = aio_start,
	.reap = aio_reap,
	.sleep = aio_sleep,
	.event_fd = aio_event_fd,
};

/* SPDX-License-Identifier: MIT */
/*
 * The file device on the kernel's older asynchronous I/O (io_submit).
 *
 * For O_DIRECT it is as fast as io_uring, many containers that refuse io_uring allow it, and its completions come from
 * the interrupt straight into memory: no thread is disturbed for them. That makes it the engine for
 * program threads that submit by themselves and go on. Without O_DIRECT submission would block: not used then.
 *
 * A context belongs to the memory of the process, not to a descriptor; only the file and the eventfd are
 * looked up in the submitter's table.
 *
 * The context is made by the first request: whoever has had one waits for it at its end, some 30 ms for an RCU grace period, and most
 * programs and children never swap. Should the host refuse one then, requests are served in submit, one by one.
 */
#define _GNU_SOURCE
#include "swap/file/file.h"

#include <string.h>
#include <sys/eventfd.h>

/* Handed over in one call: small, because submitters may run on a signal stack. */
#define BATCH 8

/* The page that io_setup() maps begins so. Only ever read here, to save a system call when nothing has ended. */
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

/* What a child of fork must not see. Its size follows from what the page says of itself; a hint, so errors do not matter. */
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
	/* There is no such context; what the host says tells whether we may have one at all. */
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

/* Returns how many the host took, or -errno for the first. They stay on pending. */
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
	/* Another file may have taken the number: a write there would be somebody's loss. 0.2 us against the 60 of a read. */
	if (!file_is_ours(q->file, q->file->fd))
		return -EBADF;
	answer = syscall(SYS_io_submit, q->aio.context, nr, ptrs);
	return answer < 0 ? -errno : answer;
}

/* Without a context. */
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
 * => the queue lock is held from here to the reaper, so a request that has ended already cannot be touched before it
 * is off pending.
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
	/* First quiet the eventfd, then look: what ends in between makes it readable again. */
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

/* Waiting takes the events along; nobody else reaps while there is a leader. */
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

/* SPDX-License-Identifier: MIT */
/*
 * The file device on io_uring: one ring for each direction.
 *
 * Room: a queue has at most FILE_DEPTH requests in flight, and the ring has as many entries. Every submission is
 * complete before the queue lock is released, so the submission ring is empty then. The completion ring is twice as
 * large and cannot overflow.
 *
 * The file is registered with the ring. A thread whose descriptor table has lost the descriptors gets -EBADF for the
 * ring, and can never write to another file that took the file's number.
 *
 * The thread that submitted a request finishes its completion: the host interrupts that thread, whatever system call
 * it is in. Most calls go on by themselves. epoll_wait() and a few more return EINTR. So this engine is best where
 * only the library's threads submit. engine=auto takes it where aio does not work.
 */
#include "swap/file/file.h"

#include <string.h>

/* The host is asked so often to start requests, before they wait for the next poll(). */
#define START_TRIES 64

static void ring_use_high_fd(struct io_uring *ring)
{
	ring->ring_fd = ring->enter_ring_fd = file_fd_move_high(ring->ring_fd);
}

static int uring_open(struct file_queue *q)
{
	int error = io_uring_queue_init(FILE_DEPTH, &q->ring, 0);

	if (error)
		return error;
	/* Without EXT_ARG a wait with a timeout would need the submission ring, and so the queue lock. */
	if (!(q->ring.features & IORING_FEAT_EXT_ARG)) {
		io_uring_queue_exit(&q->ring);
		return -ENOSYS;
	}
	ring_use_high_fd(&q->ring);
	error = io_uring_register_files(&q->ring, &q->file->fd, 1);
	if (!error)
		error = io_uring_ring_dontfork(&q->ring);
	if (error)
		io_uring_queue_exit(&q->ring);
	return error;
}

static void uring_close(struct file_queue *q)
{
	io_uring_queue_exit(&q->ring);
}

/*
 * The ring's memory does not exist in the child (MADV_DONTFORK). Its addresses may hold other mappings: do not unmap
 * them.
 */
static void uring_abandon(struct file_queue *q, bool close_fds)
{
	if (close_fds)
		host_close(q->ring.ring_fd);
	memset(&q->ring, 0, sizeof(q->ring));
}

static void queue_sqe(struct file_queue *q, struct swap_io *io)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&q->ring);
	struct iovec *iov = file_io_iov(io);
	unsigned nr = file_io_nr_iov(io);
	const int registered = 0;

	assert(sqe);
	if (q->dir == SWAP_READ && nr == 1)
		io_uring_prep_read(
			sqe, registered, iov->iov_base, (unsigned)iov->iov_len, (uint64_t)file_io_offset(io));
	else if (q->dir == SWAP_READ)
		io_uring_prep_readv(sqe, registered, iov, nr, (uint64_t)file_io_offset(io));
	else if (nr == 1)
		io_uring_prep_write(
			sqe, registered, iov->iov_base, (unsigned)iov->iov_len, (uint64_t)file_io_offset(io));
	else
		io_uring_prep_writev(sqe, registered, iov, nr, (uint64_t)file_io_offset(io));
	io_uring_sqe_set_flags(sqe, IOSQE_FIXED_FILE);
	io_uring_sqe_set_data(sqe, io);
}

/*
 * Take back the entries that the host did not accept. The host reads the tail only inside io_uring_enter(), which has
 * returned. The newest entry comes first, so that pending keeps its order.
 */
static void take_back(struct file_queue *q, int error, struct swap_io_list *ended)
{
	struct io_uring_sq *sq = &q->ring.sq;
	unsigned head = __atomic_load_n(sq->khead, __ATOMIC_ACQUIRE);

	for (unsigned i = sq->sqe_tail; i != head; i--) {
		struct swap_io *io =
			(struct swap_io *)(uintptr_t)sq->sqes[(i - 1) & *sq->kring_mask].user_data;

		q->in_flight--;
		if (error) {
			io->result = error;
			STAILQ_INSERT_TAIL(ended, io, link);
		} else {
			STAILQ_INSERT_HEAD(&q->pending, io, link);
		}
	}
	__atomic_store_n(sq->ktail, head, __ATOMIC_RELEASE);
	sq->sqe_head = sq->sqe_tail = head;
}

/* The error with which requests fail that the host did not start. 0: the host may start them later. */
static int refusal(int answer)
{
	if (answer == -EAGAIN || answer == -EBUSY || answer == -EINTR || answer == -ENOMEM)
		return 0;
	/* The descriptor is closed, belongs to another file, or is no ring any more. */
	return -EBADF;
}

static void uring_start(struct file_queue *q, struct swap_io_list *ended)
{
	unsigned queued = 0;
	struct swap_io *io;
	int answer = 0;

	while (q->in_flight < FILE_DEPTH && (io = STAILQ_FIRST(&q->pending))) {
		STAILQ_REMOVE_HEAD(&q->pending, link);
		queue_sqe(q, io);
		q->in_flight++;
		queued++;
	}
	for (int tries = 0; queued > 0 && tries < START_TRIES; tries++) {
		answer = io_uring_submit(&q->ring);
		if (answer < 0 && refusal(answer))
			break;
		if (answer > 0)
			queued -= (unsigned)answer;
	}
	if (queued > 0)
		take_back(q, answer < 0 ? refusal(answer) : 0, ended);
}

static void uring_reap(struct file_queue *q, struct swap_io_list *ended)
{
	struct io_uring_cqe *cqe;
	unsigned head, nr = 0;

	io_uring_for_each_cqe(&q->ring, head, cqe)
	{
		struct swap_io *io = io_uring_cqe_get_data(cqe);

		if (file_io_settle(io, cqe->res))
			STAILQ_INSERT_TAIL(ended, io, link);
		else
			STAILQ_INSERT_HEAD(&q->pending, io, link);
		nr++;
	}
	io_uring_cq_advance(&q->ring, nr);
	q->in_flight -= nr;
}

static void uring_sleep(struct file_queue *q, int timeout_ms)
{
	struct __kernel_timespec timeout = {timeout_ms / 1000, timeout_ms % 1000 * 1000000LL};
	struct io_uring_getevents_arg arg = {.ts = (uint64_t)(uintptr_t)&timeout};
	int answer;

	/* Not io_uring_wait_cqe_timeout(): it would look at the submission ring without the lock. */
	answer = io_uring_enter2((unsigned)q->ring.enter_ring_fd, 0, 1,
		IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, (sigset_t *)(void *)&arg, sizeof(arg));
	/* A thread without the ring's descriptor still sees the ring's memory. It looks again after a short sleep. */
	if (answer < 0 && answer != -ETIME && answer != -EINTR)
		syscall(SYS_nanosleep, &(struct timespec){.tv_nsec = 200000}, NULL);
}

static int uring_event_fd(struct file_queue *q)
{
	return q->ring.ring_fd;
}

const struct file_engine file_uring = {
	.name = "uring",
	.open = uring_open,
	.close = uring_close,
	.abandon = uring_abandon,
	.start = uring_start,
	.reap = uring_reap,
	.sleep = uring_sleep,
	.event_fd = uring_event_fd,
};

/* SPDX-License-Identifier: MIT */
/*
 * The file device on threads that read and write: for hosts that refuse every kind of asynchronous I/O.
 *
 * The workers have descriptor tables of their own (host/thread.h). So a program can neither close their file, nor
 * wait for ever for the end of a pipe that they would hold open.
 */
#define _GNU_SOURCE
#include "swap/file/file.h"

#include <sched.h>
#include <string.h>
#include <sys/eventfd.h>

/* A worker's deepest call is preadv(). */
#define STACK_BYTES (256 * KIB)

static long transfer(struct file_queue *q, struct swap_io *io)
{
	int nr = (int)file_io_nr_iov(io);
	ssize_t answer;

	if (q->dir == SWAP_READ)
		answer = preadv(q->file->fd, file_io_iov(io), nr, file_io_offset(io));
	else
		answer = pwritev(q->file->fd, file_io_iov(io), nr, file_io_offset(io));
	return answer < 0 ? -errno : answer;
}

static void transfer_all(struct file_queue *q, struct swap_io *io)
{
	long answer;

	while (!file_io_settle(io, answer = transfer(q, io))) {
		if (answer == -EAGAIN)
			sched_yield();
	}
}

/* => queue lock held */
static void publish(struct file_queue *q, struct swap_io *io)
{
	const uint64_t one = 1;

	if (STAILQ_EMPTY(&q->threads.ended) && write(q->threads.event_fd, &one, sizeof(one)) < 0)
		assert(errno == EAGAIN || errno == EBADF);
	STAILQ_INSERT_TAIL(&q->threads.ended, io, link);
	pthread_cond_signal(&q->threads.news);
}

static void *worker_main(void *arg)
{
	struct file_worker *worker = arg;
	struct file_queue *q = worker->queue;

	pthread_mutex_lock(&q->lock);
	while (!q->threads.stop) {
		host_thread_serve(&worker->thread);
		struct swap_io *io = STAILQ_FIRST(&q->pending);

		if (!io) {
			pthread_cond_wait(&q->threads.work, &q->lock);
			continue;
		}
		STAILQ_REMOVE_HEAD(&q->pending, link);
		q->in_flight++;
		pthread_mutex_unlock(&q->lock);
		transfer_all(q, io);
		pthread_mutex_lock(&q->lock);
		q->in_flight--;
		publish(q, io);
	}
	pthread_mutex_unlock(&q->lock);
	return NULL;
}

static void worker_wake(void *arg)
{
	struct file_queue *q = ((struct file_worker *)arg)->queue;

	pthread_mutex_lock(&q->lock);
	pthread_cond_broadcast(&q->threads.work);
	pthread_mutex_unlock(&q->lock);
}

static int start_worker(struct file_queue *q, struct file_worker *worker)
{
	worker->queue = q;
	worker->thread = (struct host_thread){.name = "anonmm-io",
		.main = worker_main,
		.arg = worker,
		.stack_bytes = STACK_BYTES,
		.keep = q->threads.keep,
		.nr_keep = ARRAY_SIZE(q->threads.keep),
		.wake = worker_wake};
	return host_thread_start(&worker->thread);
}

static int start_workers(struct file_queue *q)
{
	int error = 0;

	q->threads.keep[0] = q->file->fd;
	q->threads.keep[1] = q->threads.event_fd;
	while (!error && q->threads.nr < FILE_THREADS) {
		error = start_worker(q, &q->threads.worker[q->threads.nr]);
		if (!error)
			q->threads.nr++;
	}
	for (unsigned i = 0; i < q->threads.nr; i++)
		host_thread_wait_settled(&q->threads.worker[i].thread);
	/* One worker is enough. */
	return q->threads.nr ? 0 : error;
}

static void stop_workers(struct file_queue *q)
{
	pthread_mutex_lock(&q->lock);
	q->threads.stop = true;
	pthread_cond_broadcast(&q->threads.work);
	pthread_mutex_unlock(&q->lock);
	while (q->threads.nr > 0)
		host_thread_join(&q->threads.worker[--q->threads.nr].thread);
}

static int threads_open(struct file_queue *q)
{
	pthread_condattr_t attr;
	int error;

	q->threads.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (q->threads.event_fd < 0)
		return -errno;
	q->threads.event_fd = file_fd_move_high(q->threads.event_fd);
	STAILQ_INIT(&q->threads.ended);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&q->threads.work, &attr);
	pthread_cond_init(&q->threads.news, &attr);
	pthread_condattr_destroy(&attr);
	error = start_workers(q);
	if (error)
		host_close(q->threads.event_fd);
	return error;
}

static void threads_close(struct file_queue *q)
{
	stop_workers(q);
	pthread_cond_destroy(&q->threads.work);
	pthread_cond_destroy(&q->threads.news);
	host_close(q->threads.event_fd);
}

/* The workers do not exist in the child. */
static void threads_abandon(struct file_queue *q, bool close_fds)
{
	if (close_fds)
		host_close(q->threads.event_fd);
}

static void threads_start(struct file_queue *q, struct swap_io_list *ended)
{
	struct swap_io *io;
	unsigned waiting = 0;

	(void)ended;
	STAILQ_FOREACH (io, &q->pending, link) {
		if (waiting++ == q->threads.nr)
			break;
		pthread_cond_signal(&q->threads.work);
	}
}

static void threads_reap(struct file_queue *q, struct swap_io_list *ended)
{
	uint64_t count;

	if (STAILQ_EMPTY(&q->threads.ended))
		return;
	if (device_read(q->threads.event_fd, &count, sizeof(count)) < 0)
		count = 0;
	STAILQ_CONCAT(ended, &q->threads.ended);
}

static void threads_sleep(struct file_queue *q, int timeout_ms)
{
	struct timespec until;
	int error = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += timeout_ms / 1000;
	until.tv_nsec += timeout_ms % 1000 * 1000000L;
	if (until.tv_nsec >= 1000000000L) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000L;
	}
	pthread_mutex_lock(&q->lock);
	while (!error && STAILQ_EMPTY(&q->threads.ended))
		error = pthread_cond_timedwait(&q->threads.news, &q->lock, &until);
	pthread_mutex_unlock(&q->lock);
}

static int threads_event_fd(struct file_queue *q)
{
	return q->threads.event_fd;
}

const struct file_engine file_threads = {
	.name = "threads",
	.open = threads_open,
	.close = threads_close,
	.abandon = threads_abandon,
	.start = threads_start,
	.reap = threads_reap,
	.sleep = threads_sleep,
	.event_fd = threads_event_fd,
};

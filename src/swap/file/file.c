/* SPDX-License-Identifier: MIT */
/*
 * The file device: slots in an unlinked file or a block device. See file.h for the way of a request.
 *
 * Slot n is the PAGE_BYTES bytes from offset n * PAGE_BYTES. The file is sparse: on ext4, writing pieces of 1 MiB
 * into holes is as fast as into preallocated space. A disk that fills up later fails the write with -ENOSPC in both
 * cases.
 *
 * Descriptors. Threads may have different descriptor tables, and a program may close descriptors that are not its
 * own. So the device remembers the thread whose table has its file (adopt), and copies the descriptor from there for
 * a fork. It never uses a number without checking which file is behind it.
 */
#define _GNU_SOURCE
#include "swap/file/file.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <stdio.h>
#include <string.h>

static struct file_dev *file_of(struct swapdev *dev)
{
	return container_of(dev, struct file_dev, dev);
}

/* ---- One request ---------------------------------------------------------------------- */

/* Merge pages that are neighbours in memory into one iovec: the host then walks one range, not 256. */
static void file_io_prepare(struct swap_io *io)
{
	unsigned last = 0;

	for (unsigned i = 1; i < io->nr; i++) {
		if ((char *)io->iov[last].base + io->iov[last].bytes == io->iov[i].base)
			io->iov[last].bytes += io->iov[i].bytes;
		else
			io->iov[++last] = io->iov[i];
	}
	io->device_word[0] = (uint64_t)io->slot << PAGE_SHIFT;
	io->device_word[1] = last + 1;
	io->result = 0;
}

/* @bytes more are done. true: nothing is left. */
static bool file_io_advance(struct swap_io *io, size_t bytes)
{
	uint64_t first = io->device_word[1] >> 32;
	uint64_t left = (uint32_t)io->device_word[1];

	io->device_word[0] += bytes;
	while (left > 0 && bytes >= io->iov[first].bytes) {
		bytes -= io->iov[first].bytes;
		first++;
		left--;
	}
	if (left > 0) {
		io->iov[first].base = (char *)io->iov[first].base + bytes;
		io->iov[first].bytes -= bytes;
	}
	io->device_word[1] = first << 32 | left;
	return left == 0;
}

bool file_io_settle(struct swap_io *io, long answer)
{
	if (answer > 0)
		return file_io_advance(io, (size_t)answer);
	/* The exit of a thread cancels the requests that it started: start them again, as after an interruption. */
	if (answer == -EINTR || answer == -EAGAIN || answer == -ECANCELED)
		return false;
	/* Nothing moved and no error: the file ends before the slot's end. */
	io->result = answer ? (int)answer : -EIO;
	return true;
}

bool file_is_ours(const struct file_dev *file, int fd)
{
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 && st.st_dev == file->identity.st_dev &&
	       st.st_ino == file->identity.st_ino;
}

/* ---- Queues --------------------------------------------------------------------------- */

static void queue_init(struct file_dev *file, enum swap_dir dir)
{
	struct file_queue *q = &file->queue[dir];

	memset(q, 0, sizeof(*q));
	q->file = file;
	q->dir = dir;
	pthread_mutex_init(&q->lock, NULL);
	STAILQ_INIT(&q->pending);
}

static long futex(_Atomic(uint32_t) *word, int op, uint32_t value, const struct timespec *timeout)
{
	return syscall(SYS_futex, word, op | FUTEX_PRIVATE_FLAG, value, timeout, NULL, 0);
}

/* Call done() of a batch that queue_reap() counted in ending. Returns how many there were. */
static int queue_end(struct file_queue *q, struct swap_io_list *ended)
{
	uint64_t now_ns = host_now_ns();
	struct swap_io *io;
	unsigned nr;

	STAILQ_FOREACH (io, ended, link)
		cost_meter_end(&q->file->meter, io, now_ns);
	nr = swap_io_end(ended);

	atomic_fetch_sub(&q->ending, 1);
	if (atomic_load(&q->watchers))
		futex(&q->ending, FUTEX_WAKE, INT32_MAX, NULL);
	return (int)nr;
}

/* Reap, and start what is pending. true: @ended is a batch, and counted in ending. => queue lock held */
static bool queue_reap(struct file_queue *q, struct swap_io_list *ended)
{
	q->file->engine->reap(q, ended);
	if (!STAILQ_EMPTY(&q->pending))
		q->file->engine->start(q, ended);
	if (STAILQ_EMPTY(ended))
		return false;
	atomic_fetch_add(&q->ending, 1);
	return true;
}

/* Wait until a batch of another thread has ended: the caller's request may be in it. */
static void queue_watch_ending(struct file_queue *q, uint32_t seen, int timeout_ms)
{
	struct timespec timeout = {timeout_ms / 1000, timeout_ms % 1000 * 1000000L};

	atomic_fetch_add(&q->watchers, 1);
	if (atomic_load(&q->ending) == seen)
		futex(&q->ending, FUTEX_WAIT, seen, &timeout);
	atomic_fetch_sub(&q->watchers, 1);
}

/* => queue lock held */
static bool queue_idle(const struct file_queue *q)
{
	return q->in_flight == 0 && STAILQ_EMPTY(&q->pending);
}

/*
 * How long the leader may sleep. If the host has started nothing, nothing will wake the leader: 1 ms. => queue lock
 * held
 */
static int queue_nap_ms(const struct file_queue *q, int timeout_ms)
{
	bool stuck = q->in_flight == 0 && !STAILQ_EMPTY(&q->pending);

	return stuck && timeout_ms > 1 ? 1 : timeout_ms;
}

enum queue_step { QUEUE_ENDED, QUEUE_BUSY, QUEUE_EMPTY, QUEUE_RETRY };

/*
 * Reap. If that brings nothing, sleep once and reap again. There is no sleep with @timeout_ms 0, and none when
 * nothing is in flight or pending: another thread may have ended everything since the caller looked.
 * => QUEUE_ENDED: @ended is a batch, counted in ending. QUEUE_BUSY: there is a leader. QUEUE_EMPTY: nothing to wait
 *    for. QUEUE_RETRY: the sleep brought no whole request
 */
static enum queue_step queue_step(struct file_queue *q, struct swap_io_list *ended, int timeout_ms)
{
	enum queue_step step = QUEUE_EMPTY;
	uint32_t ending;

	pthread_mutex_lock(&q->lock);
	if (q->leader) {
		step = QUEUE_BUSY;
	} else if (queue_reap(q, ended)) {
		step = QUEUE_ENDED;
	} else if (timeout_ms > 0 && (ending = atomic_load(&q->ending))) {
		pthread_mutex_unlock(&q->lock);
		queue_watch_ending(q, ending, timeout_ms);
		return QUEUE_EMPTY;
	} else if (timeout_ms > 0 && !queue_idle(q)) {
		int nap = queue_nap_ms(q, timeout_ms);

		q->leader = true;
		pthread_mutex_unlock(&q->lock);
		q->file->engine->sleep(q, nap);
		pthread_mutex_lock(&q->lock);
		q->leader = false;
		step = queue_reap(q, ended) ? QUEUE_ENDED : QUEUE_RETRY;
	}
	pthread_mutex_unlock(&q->lock);
	return step;
}

static int file_poll(struct swapdev *dev, enum swap_dir dir, int timeout_ms)
{
	struct file_queue *q = &file_of(dev)->queue[dir];
	struct swap_io_list ended = STAILQ_HEAD_INITIALIZER(ended);
	int64_t until = timeout_ms > 0 ? (int64_t)(host_now_ns() / 1000000) + timeout_ms : 0;
	int left = timeout_ms;
	enum queue_step step;

	/* A sleep also ends when a piece of a request has ended. The caller then waits for the rest of its time. */
	while ((step = queue_step(q, &ended, left)) == QUEUE_RETRY) {
		left = (int)(until - (int64_t)(host_now_ns() / 1000000));
		if (left <= 0)
			return 0;
	}
	if (step == QUEUE_ENDED)
		return queue_end(q, &ended);
	return step == QUEUE_BUSY ? -EBUSY : 0;
}

/* ---- The other operations ---------------------------------------------------------------- */

static void file_submit_dir(struct file_dev *file, enum swap_dir dir, struct swap_io_list *list)
{
	struct file_queue *q = &file->queue[dir];
	struct swap_io_list refused = STAILQ_HEAD_INITIALIZER(refused);

	if (STAILQ_EMPTY(list))
		return;
	pthread_mutex_lock(&q->lock);
	STAILQ_CONCAT(&q->pending, list);
	file->engine->start(q, &refused);
	pthread_mutex_unlock(&q->lock);
	swap_io_end(&refused);
}

/* Do a read in the submitter's own thread, which sleeps in the host until the page is there. */
static void read_alone(struct file_dev *file, struct swap_io *io)
{
	long answer;

	do {
		answer = -EBADF;
		if (file_is_ours(file, file->fd)) {
			answer = syscall(SYS_preadv, file->fd, file_io_iov(io), file_io_nr_iov(io),
				file_io_offset(io), 0);
			answer = answer < 0 ? -errno : answer;
		}
	} while (!file_io_settle(io, answer));
	cost_meter_end(&file->meter, io, host_now_ns());
	io->done(io);
}

static void file_submit(struct swapdev *dev, struct swap_io_list *list)
{
	struct swap_io_list by_dir[SWAP_DIRS] = {
		STAILQ_HEAD_INITIALIZER(by_dir[SWAP_READ]), STAILQ_HEAD_INITIALIZER(by_dir[SWAP_WRITE])};
	struct swap_io_list wrong = STAILQ_HEAD_INITIALIZER(wrong);
	struct swap_io *io;

	while ((io = STAILQ_FIRST(list))) {
		STAILQ_REMOVE_HEAD(list, link);
		if (swap_io_fits(dev, io)) {
			file_io_prepare(io);
			cost_meter_begin(io);
			if (io->alone && io->dir == SWAP_READ)
				read_alone(file_of(dev), io);
			else
				STAILQ_INSERT_TAIL(&by_dir[io->dir], io, link);
		} else {
			io->result = -EINVAL;
			STAILQ_INSERT_TAIL(&wrong, io, link);
		}
	}
	file_submit_dir(file_of(dev), SWAP_READ, &by_dir[SWAP_READ]);
	file_submit_dir(file_of(dev), SWAP_WRITE, &by_dir[SWAP_WRITE]);
	swap_io_end(&wrong);
}

static int file_poll_fd(struct swapdev *dev, enum swap_dir dir)
{
	struct file_dev *file = file_of(dev);

	return file->engine->event_fd(&file->queue[dir]);
}

/* Keep the blocks: punching a hole costs a journal transaction, and the next write would allocate again. */
static void file_discard(struct swapdev *dev, uint32_t slot, uint32_t nr)
{
	(void)dev;
	(void)slot;
	(void)nr;
}

static void file_cost(const struct swapdev *dev, struct swap_cost *out)
{
	cost_meter_tell(&container_of(dev, const struct file_dev, dev)->meter, out);
}

static int file_fds(struct swapdev *dev, int *fds, int max)
{
	struct file_dev *file = file_of(dev);
	const int ours[] = {file->fd, file_poll_fd(dev, SWAP_READ), file_poll_fd(dev, SWAP_WRITE)};

	for (int i = 0; i < (int)ARRAY_SIZE(ours) && i < max; i++)
		fds[i] = ours[i];
	return ARRAY_SIZE(ours);
}

static void file_adopt(struct swapdev *dev)
{
	file_of(dev)->owner = (pid_t)syscall(SYS_gettid);
}

/* ---- Fork ----------------------------------------------------------------------------------- */

static int file_fork_prepare(struct swapdev *dev)
{
	struct file_dev *file = file_of(dev);
	char path[64];
	int fd;

	if (file_is_ours(file, file->fd))
		return 0;
	snprintf(path, sizeof(path), "/proc/self/task/%d/fd/%d", (int)file->owner, file->fd);
	fd = open(path, O_RDWR | O_CLOEXEC | (file->direct ? O_DIRECT : 0));
	if (fd < 0)
		return -errno;
	if (!file_is_ours(file, fd)) {
		host_close(fd);
		return -EBADF;
	}
	file->fork_fd = file_fd_move_high(fd);
	return 0;
}

static void file_fork_parent(struct swapdev *dev)
{
	struct file_dev *file = file_of(dev);

	host_close(file->fork_fd);
	file->fork_fd = -1;
}

static int engines_open(struct file_dev *file);

static int file_fork_child(struct swapdev *dev)
{
	struct file_dev *file = file_of(dev);
	/* If the file is still behind its number, the engine's descriptors are behind theirs. */
	bool intact = file_is_ours(file, file->fd);

	file->engine->abandon(&file->queue[SWAP_READ], intact);
	file->engine->abandon(&file->queue[SWAP_WRITE], intact);
	file->engine = NULL;
	if (file->fork_fd >= 0)
		file->fd = file->fork_fd;
	file->fork_fd = -1;
	file_adopt(dev);
	if (!file_is_ours(file, file->fd))
		return -EBADF;
	return engines_open(file);
}

/* ---- Open and close ------------------------------------------------------------------------- */

static int engine_open(struct file_dev *file, const struct file_engine *engine)
{
	int error;

	for (int dir = 0; dir < SWAP_DIRS; dir++) {
		queue_init(file, (enum swap_dir)dir);
		error = engine->open(&file->queue[dir]);
		if (error) {
			while (dir-- > 0)
				engine->close(&file->queue[dir]);
			return error;
		}
	}
	file->engine = engine;
	return 0;
}

/*
 * Open the engine that was asked for, or the first that works here. aio comes before io_uring. They are equally fast,
 * but completions of io_uring run in the thread that submitted, which may be one of the program's. They make
 * epoll_wait() return EINTR there. A thread that cannot be woken, because it waits for its vfork child, would also
 * keep back a page that the child or others wait for.
 */
static int engines_open(struct file_dev *file)
{
	static const struct file_engine *const order[] = {&file_aio, &file_uring, &file_threads};
	int error = -ENOSYS;

	if (file->wish)
		return engine_open(file, file->wish);
	for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
		error = engine_open(file, order[i]);
		if (!error)
			break;
	}
	return error;
}

static void file_close(struct swapdev *dev)
{
	struct file_dev *file = file_of(dev);

	for (int dir = 0; dir < SWAP_DIRS; dir++) {
		assert(STAILQ_EMPTY(&file->queue[dir].pending) && file->queue[dir].in_flight == 0);
		if (file->engine)
			file->engine->close(&file->queue[dir]);
	}
	host_close(file->fd);
	device_free(file, sizeof(*file));
}

static const struct swapdev_ops file_ops = {
	.scheme = "file",
	.submit = file_submit,
	.poll = file_poll,
	.poll_fd = file_poll_fd,
	.discard = file_discard,
	.cost = file_cost,
	.fds = file_fds,
	.adopt = file_adopt,
	.fork_prepare = file_fork_prepare,
	.fork_parent = file_fork_parent,
	.fork_child = file_fork_child,
	.close = file_close,
};

static int take_engine(struct swap_uri *uri, struct file_dev *file, struct swap_why *why)
{
	static const struct file_engine *const all[] = {&file_uring, &file_aio, &file_threads};
	const char *name = swap_uri_take(uri, "engine");

	if (!name || strcmp(name, "auto") == 0)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		if (strcmp(all[i]->name, name) == 0) {
			file->wish = all[i];
			return 0;
		}
	}
	return swap_why(why, -EINVAL, "engine=%s does not exist; write auto, uring, aio or threads", name);
}

static int start_engines(struct file_dev *file, struct swap_why *why)
{
	int error = engines_open(file);

	if (error)
		return swap_why(why, error,
			"engine=%s cannot start here: %s; use engine=auto, or engine=threads",
			file->wish ? file->wish->name : "auto", strerror(-error));
	return 0;
}

int file_open(struct swap_uri *uri, struct swapdev **out, struct swap_why *why)
{
	struct file_dev *file = device_alloc(sizeof(*file));
	int error;

	if (!file)
		return swap_why(why, -ENOMEM, "no memory for the device itself");
	file->dev.ops = &file_ops;
	file->fd = file->fork_fd = -1;
	cost_meter_init(&file->meter);
	error = take_engine(uri, file, why);
	if (!error)
		error = file_place(uri, file, why);
	if (!error)
		error = start_engines(file, why);
	if (error) {
		host_close(file->fd);
		device_free(file, sizeof(*file));
		return error;
	}
	file_adopt(&file->dev);
	*out = &file->dev;
	return 0;
}

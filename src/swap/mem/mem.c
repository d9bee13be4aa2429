/* SPDX-License-Identifier: MIT */
/*
 * A device in plain memory, for tests and the simulator: mem:?size=SIZE&when=poll|submit&shared=0|1
 *
 * The bytes move when a request is submitted. The request ends at the next poll() of its direction, in the order of
 * submission; with when=submit it ends at once. No time passes and no thread runs, so the same calls give the same
 * run.
 *
 * The device's memory is its own: nobody swaps it, and it does not count against the limit. A fork's child has a copy
 * of it. With shared=1 parent and child have the same memory, as with a file.
 */
#include "swap/device.h"

#include <pthread.h>
#include <string.h>

#define DEFAULT_BYTES (64 * MIB)

/* Locks: [I] set once  [Q] lock */
struct mem_dev {
	struct swapdev dev; /* first */
	uint8_t *bytes; /* [I] */
	bool at_once; /* [I] */
	pthread_mutex_t lock;
	struct swap_io_list ended[SWAP_DIRS]; /* [Q] requests whose bytes have moved; done() comes next */
};

static struct mem_dev *mem_of(struct swapdev *dev)
{
	return container_of(dev, struct mem_dev, dev);
}

static size_t mem_bytes(const struct mem_dev *mem)
{
	return (size_t)mem->dev.nr_slots << PAGE_SHIFT;
}

__attribute__((noinline)) static void move_pages(struct mem_dev *mem, struct swap_io *io)
{
	uint8_t *slot = mem->bytes + ((size_t)io->slot << PAGE_SHIFT);

	for (unsigned i = 0; i < io->nr; i++, slot += PAGE_BYTES) {
		if (io->dir == SWAP_READ)
			memcpy(io->iov[i].base, slot, PAGE_BYTES);
		else
			memcpy(slot, io->iov[i].base, PAGE_BYTES);
	}
}

static void mem_submit(struct swapdev *dev, struct swap_io_list *list)
{
	struct mem_dev *mem = mem_of(dev);
	struct swap_io_list at_once = STAILQ_HEAD_INITIALIZER(at_once);
	struct swap_io *io;

	pthread_mutex_lock(&mem->lock);
	while ((io = STAILQ_FIRST(list))) {
		STAILQ_REMOVE_HEAD(list, link);
		io->result = swap_io_fits(dev, io) ? 0 : -EINVAL;
		if (io->result == 0)
			move_pages(mem, io);
		STAILQ_INSERT_TAIL(mem->at_once ? &at_once : &mem->ended[io->dir], io, link);
	}
	pthread_mutex_unlock(&mem->lock);
	swap_io_end(&at_once);
}

/* Never waits: requests end only by calls. */
static int mem_poll(struct swapdev *dev, enum swap_dir dir, int timeout_ms)
{
	struct mem_dev *mem = mem_of(dev);
	struct swap_io_list ended = STAILQ_HEAD_INITIALIZER(ended);

	(void)timeout_ms;
	pthread_mutex_lock(&mem->lock);
	STAILQ_CONCAT(&ended, &mem->ended[dir]);
	pthread_mutex_unlock(&mem->lock);
	return (int)swap_io_end(&ended);
}

static int mem_poll_fd(struct swapdev *dev, enum swap_dir dir)
{
	(void)dev;
	(void)dir;
	return -1;
}

/*
 * The memory stays: giving it back to the host slot by slot costs more than it saves, as slots are soon written
 * again.
 */
static void mem_discard(struct swapdev *dev, uint32_t slot, uint32_t nr)
{
	(void)dev, (void)slot, (void)nr;
}

static int mem_fork_child(struct swapdev *dev)
{
	pthread_mutex_init(&mem_of(dev)->lock, NULL);
	return 0;
}

static void mem_close(struct swapdev *dev)
{
	struct mem_dev *mem = mem_of(dev);

	assert(STAILQ_EMPTY(&mem->ended[SWAP_READ]) && STAILQ_EMPTY(&mem->ended[SWAP_WRITE]));
	device_free(mem->bytes, mem_bytes(mem));
	device_free(mem, sizeof(*mem));
}

static bool mem_peek(struct swapdev *dev, uint32_t slot, void *page)
{
	memcpy(page, mem_of(dev)->bytes + ((size_t)slot << PAGE_SHIFT), PAGE_BYTES);
	return true;
}

static const struct swapdev_ops mem_ops = {
	.scheme = "mem",
	.submit = mem_submit,
	.poll = mem_poll,
	.poll_fd = mem_poll_fd,
	.discard = mem_discard,
	.peek = mem_peek,
	.fork_child = mem_fork_child,
	.close = mem_close,
};

static uint8_t *bytes_alloc(uint64_t bytes, bool shared)
{
	int flags = (shared ? MAP_SHARED : MAP_PRIVATE) | MAP_ANONYMOUS | MAP_NORESERVE;
	long p = syscall(SYS_mmap, NULL, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);

	return p == -1 ? NULL : (uint8_t *)p;
}

static int take_when(struct swap_uri *uri, bool *at_once, struct swap_why *why)
{
	const char *when = swap_uri_take(uri, "when");

	*at_once = when && strcmp(when, "submit") == 0;
	if (when && !*at_once && strcmp(when, "poll") != 0)
		return swap_why(why, -EINVAL, "when=%s does not exist; write poll or submit", when);
	return 0;
}

int mem_open(struct swap_uri *uri, struct swapdev **out, struct swap_why *why)
{
	struct mem_dev *mem;
	uint64_t bytes = 0, shared = 0;
	bool at_once = false;
	int error = swap_uri_take_size(uri, DEFAULT_BYTES, &bytes, why);

	if (!error)
		error = take_when(uri, &at_once, why);
	if (!error)
		error = swap_uri_take_number(uri, "shared", &shared, why);
	if (!error)
		error = swap_uri_finish(uri, "size, when and shared", why);
	if (error)
		return error;
	if (uri->path[0])
		return swap_why(why, -EINVAL, "memory has no path '%s'; write mem:?size=64M", uri->path);
	if (bytes == 0)
		bytes = DEFAULT_BYTES;
	mem = device_alloc(sizeof(*mem));
	if (!mem || !(mem->bytes = bytes_alloc(bytes, shared))) {
		device_free(mem, sizeof(*mem));
		return swap_why(why, -ENOMEM, "no memory for it; use a smaller size=");
	}
	mem->dev.ops = &mem_ops;
	mem->dev.nr_slots = (uint32_t)(bytes / PAGE_BYTES);
	mem->at_once = at_once;
	pthread_mutex_init(&mem->lock, NULL);
	STAILQ_INIT(&mem->ended[SWAP_READ]);
	STAILQ_INIT(&mem->ended[SWAP_WRITE]);
	*out = &mem->dev;
	return 0;
}

/* SPDX-License-Identifier: MIT */
/* See held_dev.h. A write's content is copied when the write ends: a real device may read the buffer until then. */
#include "trace/held_dev.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct held_dev {
	struct swapdev dev; /* first member */
	bool hold;
	bool fail[SWAP_DIRS];
	struct swap_io_list queue[SWAP_DIRS];
	char *content;
};

static struct held_dev *held_of(struct swapdev *dev)
{
	return container_of(dev, struct held_dev, dev);
}

static void held_submit(struct swapdev *dev, struct swap_io_list *list)
{
	struct held_dev *held = held_of(dev);
	struct swap_io *io;

	while ((io = STAILQ_FIRST(list))) {
		STAILQ_REMOVE_HEAD(list, link);
		STAILQ_INSERT_TAIL(&held->queue[io->dir], io, link);
	}
}

static void transfer(struct held_dev *held, struct swap_io *io)
{
	for (unsigned i = 0; i < io->nr; i++) {
		char *slot = held->content + (size_t)(io->slot + i) * PAGE_BYTES;

		if (io->dir == SWAP_WRITE)
			memcpy(slot, io->iov[i].base, PAGE_BYTES);
		else
			memcpy(io->iov[i].base, slot, PAGE_BYTES);
	}
}

static int held_poll(struct swapdev *dev, enum swap_dir dir, int timeout_ms)
{
	struct held_dev *held = held_of(dev);
	struct swap_io *io;
	int ended = 0;

	(void)timeout_ms;
	if (dir == SWAP_WRITE && held->hold)
		return 0;
	for (; (io = STAILQ_FIRST(&held->queue[dir])); ended++) {
		STAILQ_REMOVE_HEAD(&held->queue[dir], link);
		if (!held->fail[dir])
			transfer(held, io);
		io->result = held->fail[dir] ? -EIO : 0;
		io->done(io);
	}
	return ended;
}

static int held_poll_fd(struct swapdev *dev, enum swap_dir dir)
{
	(void)dev, (void)dir;
	return -1;
}

static void held_discard(struct swapdev *dev, uint32_t slot, uint32_t nr)
{
	(void)dev, (void)slot, (void)nr;
}

static void held_close(struct swapdev *dev)
{
	free(held_of(dev)->content);
	free(held_of(dev));
}

static const struct swapdev_ops held_ops = {
	.scheme = "held",
	.submit = held_submit,
	.poll = held_poll,
	.poll_fd = held_poll_fd,
	.discard = held_discard,
	.close = held_close,
};

int held_dev_open(uint32_t nr_slots, struct swapdev **out)
{
	struct held_dev *held = calloc(1, sizeof(*held));
	char *content = calloc(nr_slots, PAGE_BYTES);

	if (!held || !content) {
		free(content);
		free(held);
		return -ENOMEM;
	}
	held->dev.ops = &held_ops;
	held->dev.nr_slots = nr_slots;
	snprintf(held->dev.uri, sizeof(held->dev.uri), "held:");
	held->hold = true;
	held->content = content;
	STAILQ_INIT(&held->queue[SWAP_READ]);
	STAILQ_INIT(&held->queue[SWAP_WRITE]);
	*out = &held->dev;
	return 0;
}

void held_dev_hold(struct swapdev *dev, bool hold)
{
	held_of(dev)->hold = hold;
}

void held_dev_fail(struct swapdev *dev, enum swap_dir dir, bool fail)
{
	held_of(dev)->fail[dir] = fail;
}

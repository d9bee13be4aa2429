/* SPDX-License-Identifier: MIT */
/*
 * What the tests of swap devices share: a device with a few requests, memory behind them, and content that belongs to
 * one slot at one version only.
 */
#ifndef ANONMM_TESTS_SWAPDEV_WORLD_H
#define ANONMM_TESTS_SWAPDEV_WORLD_H

#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../needs.h"
#include "swap/faulty.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define __SANITIZE_THREAD__ 1
#endif
#endif

#define SLOTS 4096
#define NR_IO 32
#define LONG_MS 5000

struct world {
	struct swapdev *dev;
	struct swap_io *io[NR_IO];
	uint8_t *pages[NR_IO]; /* SWAP_IO_PAGES each */
	uint8_t version[SLOTS]; /* what was last written there; 0: nothing */
};

static _Atomic(int) nr_done;

static inline void count_done(struct swap_io *io)
{
	atomic_store((_Atomic(int) *)io->owner, 1);
	atomic_fetch_add(&nr_done, 1);
}

static inline int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static inline struct swapdev *open_or_skip(const char *uri)
{
	char why[512] = "";
	struct swapdev *dev = NULL;
	int error = swapdev_open(uri, &dev, why, sizeof(why));

	if (error == -EPERM || error == -ENOSYS || error == -EOPNOTSUPP) {
		SKIP_WITHOUT("aio io_uring direct mount", "%s", why);
	}
	if (error)
		fail_msg("%s", why);
	return dev;
}

static inline struct world *world_new(const char *uri)
{
	struct world *w = calloc(1, sizeof(*w));

	w->dev = open_or_skip(uri);
	for (int i = 0; i < NR_IO; i++) {
		w->io[i] = calloc(1, sizeof(*w->io[i]));
		w->pages[i] = mmap(NULL, SWAP_IO_PAGES * PAGE_BYTES, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		assert_ptr_not_equal(w->pages[i], MAP_FAILED);
	}
	return w;
}

static inline void world_free(struct world *w)
{
	w->dev->ops->close(w->dev);
	for (int i = 0; i < NR_IO; i++) {
		munmap(w->pages[i], SWAP_IO_PAGES * PAGE_BYTES);
		free(w->io[i]);
	}
	free(w);
}

/* Content that belongs to one slot at one version only. Version 0 is zeros. */
static inline void fill_page(uint8_t *page, uint32_t slot, unsigned version)
{
	uint64_t *words = (uint64_t *)page;

	for (size_t i = 0; i < PAGE_BYTES / 8; i++)
		words[i] = version ? (((uint64_t)slot << 32 | version << 16 | i) *
					     UINT64_C(0x9e3779b97f4a7c15)) |
					     1
				   : 0;
}

static inline bool page_is(const uint8_t *page, uint32_t slot, unsigned version)
{
	uint8_t want[PAGE_BYTES];

	fill_page(want, slot, version);
	return memcmp(page, want, PAGE_BYTES) == 0;
}

static _Atomic(int) io_done[NR_IO];

/* Page j of the request is page order(j) of its memory: @scatter makes neighbours lie apart. */
static inline void io_setup(
	struct world *w, int i, enum swap_dir dir, uint32_t slot, uint16_t nr, bool scatter)
{
	struct swap_io *io = w->io[i];

	memset(io, 0, sizeof(*io));
	io->dir = dir;
	io->slot = slot;
	io->nr = nr;
	io->result = -12345;
	io->done = count_done;
	io->owner = &io_done[i];
	atomic_store(&io_done[i], 0);
	for (unsigned j = 0; j < nr; j++) {
		unsigned at = scatter ? (j * 7 + 3) % SWAP_IO_PAGES : j;

		io->iov[j] = (struct swap_iov){w->pages[i] + at * PAGE_BYTES, PAGE_BYTES};
		if (dir == SWAP_READ)
			memset(io->iov[j].base, 0xa5, PAGE_BYTES);
	}
}

static inline uint8_t *io_page(struct world *w, int i, unsigned j, bool scatter)
{
	return w->pages[i] + (scatter ? (j * 7 + 3) % SWAP_IO_PAGES : j) * PAGE_BYTES;
}

static inline void submit_one(struct world *w, int i)
{
	struct swap_io_list list = STAILQ_HEAD_INITIALIZER(list);

	STAILQ_INSERT_TAIL(&list, w->io[i], link);
	w->dev->ops->submit(w->dev, &list);
	assert_true(STAILQ_EMPTY(&list));
}

static inline void wait_for(struct world *w, int i)
{
	int64_t until = now_ms() + LONG_MS;

	while (!atomic_load(&io_done[i])) {
		w->dev->ops->poll(w->dev, w->io[i]->dir, 100);
		if (now_ms() > until)
			fail_msg("%s: request %d has not ended", w->dev->uri, i);
	}
}

static inline int write_slots(struct world *w, uint32_t slot, uint16_t nr, unsigned version)
{
	io_setup(w, 0, SWAP_WRITE, slot, nr, false);
	for (unsigned j = 0; j < nr; j++)
		fill_page(io_page(w, 0, j, false), slot + j, version);
	submit_one(w, 0);
	wait_for(w, 0);
	return w->io[0]->result;
}

static inline int read_slots(struct world *w, uint32_t slot, uint16_t nr)
{
	io_setup(w, 0, SWAP_READ, slot, nr, false);
	submit_one(w, 0);
	wait_for(w, 0);
	return w->io[0]->result;
}

/* ---- Fork ------------------------------------------------------------------------ */

#define CHECK(condition)                                                                                     \
	do {                                                                                                 \
		if (!(condition)) {                                                                          \
			fprintf(stderr, "child: %s, line %d\n", #condition, __LINE__);                       \
			_exit(1);                                                                            \
		}                                                                                            \
	} while (0)

static inline void read_everything(struct world *w)
{
	for (uint32_t slot = 0; slot < 1024; slot += SWAP_IO_PAGES) {
		io_setup(w, 1, SWAP_READ, slot, SWAP_IO_PAGES, true);
		submit_one(w, 1);
		for (int64_t until = now_ms() + LONG_MS; !atomic_load(&io_done[1]);) {
			w->dev->ops->poll(w->dev, SWAP_READ, 100);
			CHECK(now_ms() < until);
		}
		CHECK(w->io[1]->result == 0);
		for (unsigned j = 0; j < SWAP_IO_PAGES; j++)
			CHECK(page_is(io_page(w, 1, j, true), slot + j, 5));
	}
}

/* ThreadSanitizer ends a child that starts threads. */
static inline void skip_where_a_child_may_not_start_threads(const char *uri)
{
#ifdef __SANITIZE_THREAD__
	if (strstr(uri, "engine=threads")) {
		SKIP_WITHOUT("unsanitized", "ThreadSanitizer ends a child that starts threads");
	}
#else
	(void)uri;
#endif
}

static inline pid_t fork_device(struct world *w)
{
	pid_t pid;

	if (w->dev->ops->fork_prepare && w->dev->ops->fork_prepare(w->dev) != 0)
		return -1;
	pid = fork();
	if (pid != 0 && w->dev->ops->fork_parent)
		w->dev->ops->fork_parent(w->dev);
	if (pid == 0)
		CHECK(w->dev->ops->fork_child(w->dev) == 0);
	return pid;
}

static inline void assert_child_is_well(pid_t pid)
{
	int status = -1;

	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Every device keeps the same promises (src/swapdev/swapdev.h): what was written is what is read, errors are told, a
 * poll never sleeps through an end, a child of fork reads its parent's slots.
 *
 * The general tests run on each device of "devices" below; what only one device does has tests of its own.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "swapdev/faulty.h"

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

/* ---- A device under test, and a few requests with memory behind them -------------------- */

struct world {
	struct swapdev *dev;
	struct swap_io *io[NR_IO];
	uint8_t *pages[NR_IO]; /* SWAP_IO_PAGES each */
	uint8_t version[SLOTS]; /* what was last written there; 0: nothing */
};

static _Atomic(int) nr_done;

static void count_done(struct swap_io *io)
{
	atomic_store((_Atomic(int) *)io->owner, 1);
	atomic_fetch_add(&nr_done, 1);
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static struct swapdev *open_or_skip(const char *uri)
{
	char why[512] = "";
	struct swapdev *dev = NULL;
	int error = swapdev_open(uri, &dev, why, sizeof(why));

	if (error == -EPERM || error == -ENOSYS || error == -EOPNOTSUPP) {
		print_message("%s\n", why);
		skip();
	}
	if (error)
		fail_msg("%s", why);
	return dev;
}

static struct world *world_new(const char *uri)
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

static void world_free(struct world *w)
{
	w->dev->ops->close(w->dev);
	for (int i = 0; i < NR_IO; i++) {
		munmap(w->pages[i], SWAP_IO_PAGES * PAGE_BYTES);
		free(w->io[i]);
	}
	free(w);
}

/* Content that belongs to one slot at one version only. Version 0 is zeros. */
static void fill_page(uint8_t *page, uint32_t slot, unsigned version)
{
	uint64_t *words = (uint64_t *)page;

	for (size_t i = 0; i < PAGE_BYTES / 8; i++)
		words[i] = version ? (((uint64_t)slot << 32 | version << 16 | i) *
					     UINT64_C(0x9e3779b97f4a7c15)) |
					     1
				   : 0;
}

static bool page_is(const uint8_t *page, uint32_t slot, unsigned version)
{
	uint8_t want[PAGE_BYTES];

	fill_page(want, slot, version);
	return memcmp(page, want, PAGE_BYTES) == 0;
}

static _Atomic(int) io_done[NR_IO];

/* Page j of the request is page order(j) of its memory: @scatter makes neighbours lie apart. */
static void io_setup(struct world *w, int i, enum swap_dir dir, uint32_t slot, uint16_t nr, bool scatter)
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

static uint8_t *io_page(struct world *w, int i, unsigned j, bool scatter)
{
	return w->pages[i] + (scatter ? (j * 7 + 3) % SWAP_IO_PAGES : j) * PAGE_BYTES;
}

static void submit_one(struct world *w, int i)
{
	struct swap_io_list list = STAILQ_HEAD_INITIALIZER(list);

	STAILQ_INSERT_TAIL(&list, w->io[i], link);
	w->dev->ops->submit(w->dev, &list);
	assert_true(STAILQ_EMPTY(&list));
}

static void wait_for(struct world *w, int i)
{
	int64_t until = now_ms() + LONG_MS;

	while (!atomic_load(&io_done[i])) {
		w->dev->ops->poll(w->dev, w->io[i]->dir, 100);
		if (now_ms() > until)
			fail_msg("%s: request %d has not ended", w->dev->uri, i);
	}
}

static int write_slots(struct world *w, uint32_t slot, uint16_t nr, unsigned version)
{
	io_setup(w, 0, SWAP_WRITE, slot, nr, false);
	for (unsigned j = 0; j < nr; j++)
		fill_page(io_page(w, 0, j, false), slot + j, version);
	submit_one(w, 0);
	wait_for(w, 0);
	return w->io[0]->result;
}

static int read_slots(struct world *w, uint32_t slot, uint16_t nr)
{
	io_setup(w, 0, SWAP_READ, slot, nr, false);
	submit_one(w, 0);
	wait_for(w, 0);
	return w->io[0]->result;
}

/* ---- Tests for every device ---------------------------------------------------------------- */

/* Many requests at once, of all lengths, in memory that is contiguous or not. */
static void what_was_written_is_read(void **state)
{
	struct world *w = world_new(*state);
	bool scatter[NR_IO];
	unsigned seed = 42;

	for (int round = 0; round < 12; round++) {
		struct swap_io_list list = STAILQ_HEAD_INITIALIZER(list);
		uint32_t slot = (uint32_t)rand_r(&seed) % 64;
		int nr_io = 0;

		for (; nr_io < NR_IO && slot < SLOTS - SWAP_IO_PAGES; nr_io++) {
			bool write = rand_r(&seed) % 2;
			uint16_t nr = (uint16_t)(rand_r(&seed) % 3 ? 1 + rand_r(&seed) % 8
								   : 1 + rand_r(&seed) % SWAP_IO_PAGES);

			scatter[nr_io] = rand_r(&seed) % 2;
			io_setup(w, nr_io, write ? SWAP_WRITE : SWAP_READ, slot, nr, scatter[nr_io]);
			for (unsigned j = 0; write && j < nr; j++) {
				w->version[slot + j]++;
				fill_page(
					io_page(w, nr_io, j, scatter[nr_io]), slot + j, w->version[slot + j]);
			}
			STAILQ_INSERT_TAIL(&list, w->io[nr_io], link);
			slot += nr + (uint32_t)rand_r(&seed) % 128;
		}
		w->dev->ops->submit(w->dev, &list);
		for (int i = 0; i < nr_io; i++) {
			struct swap_io *io = w->io[i];

			wait_for(w, i);
			assert_int_equal(io->result, 0);
			for (unsigned j = 0; io->dir == SWAP_READ && j < io->nr; j++)
				assert_true(page_is(io_page(w, i, j, scatter[i]), io->slot + j,
					w->version[io->slot + j]));
		}
	}
	world_free(w);
}

static void full_batches_reach_the_last_slot(void **state)
{
	struct world *w = world_new(*state);
	uint32_t last = w->dev->nr_slots - SWAP_IO_PAGES;

	assert_int_equal(w->dev->nr_slots, SLOTS);
	assert_int_equal(write_slots(w, last, SWAP_IO_PAGES, 9), 0);
	assert_int_equal(read_slots(w, last, SWAP_IO_PAGES), 0);
	for (unsigned j = 0; j < SWAP_IO_PAGES; j++)
		assert_true(page_is(io_page(w, 0, j, false), last + j, 9));
	world_free(w);
}

static void slots_that_do_not_exist_are_refused(void **state)
{
	struct world *w = world_new(*state);

	assert_int_equal(read_slots(w, SLOTS, 1), -EINVAL);
	assert_int_equal(read_slots(w, SLOTS - 1, 2), -EINVAL);
	assert_int_equal(read_slots(w, UINT32_MAX, 1), -EINVAL);
	assert_int_equal(write_slots(w, SLOTS - 3, 4, 1), -EINVAL);
	assert_int_equal(read_slots(w, 0, 0), -EINVAL);
	world_free(w);
}

/* More requests than any engine has room for at once. */
static void a_flood_is_served(void **state)
{
	enum { FLOOD = 1500 };
	struct world *w = world_new(*state);
	struct swap_io *many = calloc(FLOOD, sizeof(*many));
	uint8_t *memory =
		mmap(NULL, FLOOD * PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int64_t until = now_ms() + 4 * LONG_MS;

	for (enum swap_dir dir = SWAP_WRITE;; dir = SWAP_READ) {
		struct swap_io_list list = STAILQ_HEAD_INITIALIZER(list);
		_Atomic(int) sink;

		atomic_store(&nr_done, 0);
		for (uint32_t i = 0; i < FLOOD; i++) {
			many[i] = (struct swap_io){
				.dir = dir, .slot = i * 2, .nr = 1, .done = count_done, .owner = &sink};
			many[i].iov[0] = (struct swap_iov){memory + i * PAGE_BYTES, PAGE_BYTES};
			if (dir == SWAP_WRITE)
				fill_page(memory + i * PAGE_BYTES, i * 2, 3);
			else
				memset(memory + i * PAGE_BYTES, 0, PAGE_BYTES);
			STAILQ_INSERT_TAIL(&list, &many[i], link);
		}
		w->dev->ops->submit(w->dev, &list);
		while (atomic_load(&nr_done) < FLOOD) {
			w->dev->ops->poll(w->dev, dir, 100);
			assert_true(now_ms() < until);
		}
		for (uint32_t i = 0; i < FLOOD; i++) {
			assert_int_equal(many[i].result, 0);
			assert_true(page_is(memory + i * PAGE_BYTES, i * 2, 3));
		}
		if (dir == SWAP_READ)
			break;
	}
	munmap(memory, FLOOD * PAGE_BYTES);
	free(many);
	world_free(w);
}

/* The count that poll() returns is the number of done() that ran. */
static void poll_counts_what_it_ended(void **state)
{
	struct world *w = world_new(*state);
	int64_t until = now_ms() + LONG_MS;
	int ended = 0;

	atomic_store(&nr_done, 0);
	for (int i = 0; i < NR_IO; i++) {
		io_setup(w, i, SWAP_READ, (uint32_t)i * 8, 4, false);
		submit_one(w, i);
	}
	ended = atomic_load(&nr_done);
	while (ended < NR_IO && now_ms() < until) {
		int nr = w->dev->ops->poll(w->dev, SWAP_READ, 50);

		assert_true(nr >= 0);
		ended += nr;
		assert_int_equal(atomic_load(&nr_done), ended);
	}
	assert_int_equal(ended, NR_IO);
	assert_int_equal(w->dev->ops->poll(w->dev, SWAP_READ, 0), 0);
	world_free(w);
}

static void poll_with_nothing_to_do_comes_back_in_time(void **state)
{
	struct world *w = world_new(*state);
	int64_t start = now_ms();

	assert_int_equal(w->dev->ops->poll(w->dev, SWAP_WRITE, 0), 0);
	assert_true(now_ms() - start < 1000);
	start = now_ms();
	assert_int_equal(w->dev->ops->poll(w->dev, SWAP_WRITE, 60), 0);
	assert_true(now_ms() - start < 1500);
	world_free(w);
}

static void poll_fd_becomes_readable(void **state)
{
	struct world *w = world_new(*state);
	struct pollfd p = {.fd = w->dev->ops->poll_fd(w->dev, SWAP_READ), .events = POLLIN};

	assert_true(p.fd >= 0);
	for (int round = 0; round < 3; round++) {
		assert_int_equal(poll(&p, 1, 0), 0);
		io_setup(w, 1, SWAP_READ, 5, 3, false);
		submit_one(w, 1);
		assert_int_equal(poll(&p, 1, LONG_MS), 1);
		assert_true(p.revents & POLLIN);
		while (!atomic_load(&io_done[1]))
			w->dev->ops->poll(w->dev, SWAP_READ, 0);
	}
	world_free(w);
}

/* ---- Two threads on one queue ------------------------------------------------------------------ */

struct sleeper {
	struct world *w;
	_Atomic(bool) stop;
	_Atomic(int) ended;
};

static void *wait_in_poll(void *arg)
{
	struct sleeper *s = arg;

	while (!atomic_load(&s->stop)) {
		int nr = s->w->dev->ops->poll(s->w->dev, SWAP_READ, 2000);

		if (nr > 0)
			atomic_fetch_add(&s->ended, nr);
		usleep(100);
	}
	return NULL;
}

/* While one thread waits, another gets -EBUSY at once, and the first ends what the second has submitted. */
static void one_waits_and_others_are_busy(void **state)
{
	struct world *w = world_new(*state);
	struct sleeper s = {.w = w};
	int64_t until = now_ms() + LONG_MS;
	int busy = 0, submitted = 0, ended = 0;
	pthread_t thread;

	/* Holes would be read without any I/O. */
	assert_int_equal(write_slots(w, 0, SWAP_IO_PAGES, 1), 0);
	pthread_create(&thread, NULL, wait_in_poll, &s);
	for (int round = 0; round < 300 && busy < 5 && now_ms() < until; round++) {
		int64_t start = now_ms();
		int answer;

		io_setup(w, 2, SWAP_READ, 0, SWAP_IO_PAGES, true);
		submit_one(w, 2);
		submitted++;
		usleep(300);
		while (!atomic_load(&io_done[2])) {
			answer = w->dev->ops->poll(w->dev, SWAP_READ, 2000);
			assert_true(answer == -EBUSY || answer >= 0);
			assert_true(now_ms() - start < 1500);
			busy += answer == -EBUSY;
			ended += answer > 0 ? answer : 0;
			/* The other direction is not concerned. */
			assert_int_equal(w->dev->ops->poll(w->dev, SWAP_WRITE, 0), 0);
		}
	}
	atomic_store(&s.stop, true);
	pthread_join(thread, NULL);
	assert_int_equal(ended + atomic_load(&s.ended), submitted);
	assert_true(busy > 0);
	world_free(w);
}

/*
 * Threads that wait for their own reads as a fault handler does: poll; when busy, sleep until an event. Nobody may
 * sleep through the end of his own.
 */
struct reader {
	struct world *w;
	int index;
	unsigned seed;
	int wrong;
	int64_t slowest_ms;
};

static void *read_at_random(void *arg)
{
	struct reader *r = arg;
	struct swapdev *dev = r->w->dev;

	for (int round = 0; round < 300; round++) {
		uint32_t slot = (uint32_t)rand_r(&r->seed) % (SLOTS / 2);
		uint16_t nr = (uint16_t)(1 + rand_r(&r->seed) % 4);
		int64_t start = now_ms();

		io_setup(r->w, r->index, SWAP_READ, slot, nr, false);
		submit_one(r->w, r->index);
		while (!atomic_load(&io_done[r->index])) {
			if (dev->ops->poll(dev, SWAP_READ, 1000) == -EBUSY)
				sched_yield();
		}
		if (now_ms() - start > r->slowest_ms)
			r->slowest_ms = now_ms() - start;
		r->wrong += r->w->io[r->index]->result != 0;
		for (unsigned j = 0; j < nr; j++)
			r->wrong += !page_is(io_page(r->w, r->index, j, false), slot + j, 4);
	}
	return NULL;
}

static void readers_share_a_queue(void **state)
{
	enum { READERS = 4 };
	struct world *w = world_new(*state);
	struct reader readers[READERS];
	pthread_t threads[READERS];

	for (uint32_t slot = 0; slot < SLOTS; slot += SWAP_IO_PAGES)
		assert_int_equal(write_slots(w, slot, SWAP_IO_PAGES, 4), 0);
	for (int i = 0; i < READERS; i++) {
		readers[i] = (struct reader){.w = w, .index = i + 1, .seed = (unsigned)i};
		pthread_create(&threads[i], NULL, read_at_random, &readers[i]);
	}
	for (int i = 0; i < READERS; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(readers[i].wrong, 0);
		/* A second would be a sleep that nobody ended. */
		assert_true(readers[i].slowest_ms < 900);
	}
	world_free(w);
}

/* ---- Fork ------------------------------------------------------------------------------------------ */

#define CHECK(condition)                                                                                     \
	do {                                                                                                 \
		if (!(condition)) {                                                                          \
			fprintf(stderr, "child: %s, line %d\n", #condition, __LINE__);                       \
			_exit(1);                                                                            \
		}                                                                                            \
	} while (0)

static void read_everything(struct world *w)
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
static void skip_where_a_child_may_not_start_threads(const char *uri)
{
#ifdef __SANITIZE_THREAD__
	if (strstr(uri, "engine=threads")) {
		print_message("skipped: ThreadSanitizer ends a child that starts threads\n");
		skip();
	}
#else
	(void)uri;
#endif
}

static pid_t fork_device(struct world *w)
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

static void assert_child_is_well(pid_t pid)
{
	int status = -1;

	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* A child, and a child of it, while the parent goes on reading and writing elsewhere. */
static void a_child_reads_its_parents_slots(void **state)
{
	struct world *w;
	pid_t pid;

	skip_where_a_child_may_not_start_threads(*state);
	w = world_new(*state);
	for (uint32_t slot = 0; slot < 1024; slot += SWAP_IO_PAGES)
		assert_int_equal(write_slots(w, slot, SWAP_IO_PAGES, 5), 0);
	assert_int_equal(read_slots(w, 0, 8), 0);
	pid = fork_device(w);
	if (pid == 0) {
		pid_t grandchild;
		int status = -1;

		read_everything(w);
		grandchild = fork_device(w);
		if (grandchild == 0) {
			read_everything(w);
			_exit(0);
		}
		CHECK(grandchild > 0 && waitpid(grandchild, &status, 0) == grandchild && status == 0);
		read_everything(w);
		w->dev->ops->close(w->dev);
		_exit(0);
	}
	for (int round = 0; round < 20; round++) {
		assert_int_equal(write_slots(w, 2048, SWAP_IO_PAGES, 6), 0);
		assert_int_equal(read_slots(w, 0, SWAP_IO_PAGES), 0);
	}
	assert_child_is_well(pid);
	assert_int_equal(read_slots(w, 2048, 1), 0);
	assert_true(page_is(io_page(w, 0, 0, false), 2048, 6));
	world_free(w);
}

struct keeper {
	struct swapdev *dev;
	pthread_barrier_t ready, over;
};

/* A pager thread: a descriptor table of its own, and the device adopted. */
static void *keep_descriptors(void *arg)
{
	struct keeper *k = arg;

	if (unshare(CLONE_FILES) == 0)
		k->dev->ops->adopt(k->dev);
	pthread_barrier_wait(&k->ready);
	pthread_barrier_wait(&k->over);
	return NULL;
}

/* The program closes every descriptor; what other threads hold still serves fork. */
static void a_fork_survives_closed_descriptors(void **state)
{
	struct keeper k;
	struct world *w;
	int fds[16], nr;
	pthread_t thread;
	pid_t pid;

	skip_where_a_child_may_not_start_threads(*state);
	w = world_new(*state);
	k.dev = w->dev;
	for (uint32_t slot = 0; slot < 1024; slot += SWAP_IO_PAGES)
		assert_int_equal(write_slots(w, slot, SWAP_IO_PAGES, 5), 0);
	pthread_barrier_init(&k.ready, NULL, 2);
	pthread_barrier_init(&k.over, NULL, 2);
	pthread_create(&thread, NULL, keep_descriptors, &k);
	pthread_barrier_wait(&k.ready);
	nr = w->dev->ops->fds(w->dev, fds, 16);
	assert_in_range(nr, 1, 16);
	/* Something else takes their numbers. */
	for (int i = 0; i < nr; i++)
		assert_int_equal(dup2(STDERR_FILENO, fds[i]), fds[i]);
	pid = fork_device(w);
	if (pid == 0) {
		for (int i = 0; i < nr; i++)
			CHECK(fcntl(fds[i], F_GETFD) >= 0);
		read_everything(w);
		_exit(0);
	}
	assert_child_is_well(pid);
	for (int i = 0; i < nr; i++)
		close(fds[i]);
	pthread_barrier_wait(&k.over);
	pthread_join(thread, NULL);
	world_free(w);
}

/* A request in a thread that has lost the descriptors ends, with an error or with the content. */
static void lost_descriptors_are_an_error_not_wrong_data(void **state)
{
	struct world *w = world_new(*state);
	struct keeper k = {.dev = w->dev};
	char name[] = "/tmp/test-swapdev-XXXXXX";
	int fds[16], nr, bystander, result;
	struct stat st;
	pthread_t thread;

	assert_int_equal(write_slots(w, 0, 8, 5), 0);
	pthread_barrier_init(&k.ready, NULL, 2);
	pthread_barrier_init(&k.over, NULL, 2);
	pthread_create(&thread, NULL, keep_descriptors, &k);
	pthread_barrier_wait(&k.ready);
	nr = w->dev->ops->fds(w->dev, fds, 16);
	for (int i = 0; i < nr; i++)
		close(fds[i]);
	result = read_slots(w, 0, 8);
	if (result == 0)
		assert_true(page_is(io_page(w, 0, 7, false), 7, 5));
	else
		assert_int_equal(result, -EBADF);
	/* Worse: the number is a file of the program now. It must stay as it is. */
	bystander = mkstemp(name);
	unlink(name);
	for (int i = 0; i < nr; i++)
		dup2(bystander, fds[i]);
	result = write_slots(w, 0, 8, 6);
	assert_true(result == 0 || result == -EBADF);
	assert_int_equal(fstat(bystander, &st), 0);
	assert_int_equal(st.st_size, 0);
	for (int i = 0; i < nr; i++)
		close(fds[i]);
	close(bystander);
	pthread_barrier_wait(&k.over);
	pthread_join(thread, NULL);
	world_free(w);
}

/* ---- Only files ---------------------------------------------------------------------------------------- */

static void refused(const char *uri, int error, const char *says)
{
	char why[512] = "";
	struct swapdev *dev = NULL;
	int answer = swapdev_open(uri, &dev, why, sizeof(why));

	if (answer != error || !strstr(why, says))
		fail_msg("%s: %d instead of %d: %s", uri, answer, error, why);
	assert_non_null(strstr(why, uri));
	assert_null(strchr(why, '\n'));
}

static void bad_names_are_refused_with_a_reason(void **state)
{
	char longer[400];

	(void)state;
	refused("", -EINVAL, "no scheme");
	refused("/var/tmp", -EINVAL, "no scheme");
	refused("tape:/dev/st0", -EINVAL, "there are file:, mem:, faulty:");
	refused("file:/tmp?sise=3M", -EINVAL, "unknown option 'sise'");
	refused("file:/tmp?size=3M&size=4M", -EINVAL, "twice");
	refused("file:/tmp?size", -EINVAL, "no option");
	refused("file:/tmp?size=", -EINVAL, "not a size");
	refused("file:/tmp?size=lots", -EINVAL, "not a size");
	refused("file:/tmp?size=-1M", -EINVAL, "not a size");
	refused("file:/tmp?size=1000", -EINVAL, "less than one page");
	refused("file:/tmp?size=17T", -ERANGE, "16T");
	refused("file:/tmp?size=9999P", -ERANGE, "larger");
	refused("file:/tmp?size=15T", -ENOSPC, "free there");
	refused("file:/tmp?engine=steam", -EINVAL, "auto, uring, aio or threads");
	refused("file:/tmp?direct=maybe", -EINVAL, "auto, on or off");
	refused("file:?size=1M", -EINVAL, "no path");
	refused("file:/no/such/place?size=1M", -ENOENT, "/no/such/place");
	refused("file:/proc?size=1M", -ENOENT, "cannot make a file");
	refused("file:/etc/passwd?size=1M", -EEXIST, "exists");
	refused("file:/dev/null?size=1M", -EEXIST, "neither");
	refused("mem:here?size=1M", -EINVAL, "no path");
	refused("mem:?size=1M&when=never", -EINVAL, "poll or submit");
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	memcpy(longer, "file:", 5);
	refused(longer, -ENAMETOOLONG, "longer than");

	char why[8];
	struct swapdev *dev;

	assert_int_equal(swapdev_open("x", &dev, why, sizeof(why)), -EINVAL);
	assert_int_equal(swapdev_open("x", &dev, NULL, 0), -EINVAL);
}

static void faulty_names_are_refused_with_a_reason(void **state)
{
	char why[512] = "";
	struct swapdev *dev;

	(void)state;
	assert_int_equal(swapdev_open("faulty:mem:?size=1M&fail_read=x", &dev, why, sizeof(why)), -EINVAL);
	assert_non_null(strstr(why, "fail_read=x is not a number"));
	assert_int_equal(swapdev_open("faulty:tape:?seed=1", &dev, why, sizeof(why)), -EINVAL);
	assert_non_null(strstr(why, "unknown scheme 'tape'"));
	assert_int_equal(swapdev_open("faulty:mem:?fail_reed=1", &dev, why, sizeof(why)), -EINVAL);
	assert_non_null(strstr(why, "unknown option 'fail_reed'"));
	assert_int_equal(swapdev_open("faulty:mem:?forever=2", &dev, why, sizeof(why)), -EINVAL);
	assert_int_equal(swapdev_open("faulty:", &dev, why, sizeof(why)), -EINVAL);
}

static bool leaves_no_name(const char *dir)
{
	char command[256];

	snprintf(command, sizeof(command), "test -z \"$(ls -A %s)\"", dir);
	return system(command) == 0;
}

static void a_file_has_no_name_and_is_private(void **state)
{
	char dir[] = "/tmp/test-swapdev-XXXXXX", uri[128];
	const char *const names[] = {"", "/new"};

	(void)state;
	assert_non_null(mkdtemp(dir));
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct stat st;
		struct swapdev *dev;
		int fd;

		snprintf(uri, sizeof(uri), "file:%s%s?size=1M&engine=threads", dir, names[i]);
		dev = open_or_skip(uri);
		assert_string_equal(dev->uri, uri);
		assert_true(leaves_no_name(dir));
		assert_int_equal(dev->ops->fds(dev, &fd, 1), 3);
		assert_true(fd >= 100);
		assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
		assert_int_equal(fstat(fd, &st), 0);
		assert_int_equal(st.st_mode & 07777, 0600);
		assert_int_equal(st.st_nlink, 0);
		dev->ops->close(dev);
		assert_int_equal(fcntl(fd, F_GETFD), -1);
	}
	rmdir(dir);
}

static void without_a_size_it_is_half_of_what_is_free(void **state)
{
	struct swapdev *dev = open_or_skip("file:/tmp");

	(void)state;
	assert_in_range(dev->nr_slots, 1, 16 * GIB / PAGE_BYTES);
	dev->ops->close(dev);
	dev = open_or_skip("file:/tmp?size=0.01%");
	assert_in_range(dev->nr_slots, 1, 16 * GIB / PAGE_BYTES);
	dev->ops->close(dev);
}

static int nr_open_fds(void)
{
	int nr = 0;

	for (int fd = 0; fd < 1024; fd++)
		nr += fcntl(fd, F_GETFD) >= 0;
	return nr;
}

static void closing_gives_every_descriptor_back(void **state)
{
	int before = nr_open_fds();
	struct swapdev *dev = open_or_skip(*state);

	dev->ops->close(dev);
	assert_int_equal(nr_open_fds(), before);
}

/* Room for more than the device at open, gone later: writes fail with -ENOSPC, what is there stays right. */
static void a_disk_that_fills_up_is_told(void **state)
{
	char dir[] = "/tmp/test-swapdev-XXXXXX", uri[200], hog[64];
	uint8_t *junk = calloc(1, MIB);
	struct world *w;
	int fd;

	assert_non_null(mkdtemp(dir));
	if (mount("none", dir, "tmpfs", 0, "size=24m") != 0) {
		rmdir(dir);
		free(junk);
		print_message("cannot mount a tmpfs\n");
		skip();
	}
	snprintf(uri, sizeof(uri), "file:%s?size=25M", dir);
	refused(uri, -ENOSPC, "25 MiB asked for, but only 24 MiB free");
	snprintf(uri, sizeof(uri), "file:%s?size=16M&engine=%s", dir, (const char *)*state);
	w = world_new(uri);
	snprintf(hog, sizeof(hog), "%s/hog", dir);
	fd = open(hog, O_CREAT | O_WRONLY, 0600);
	for (int i = 0; i < 20; i++)
		assert_true(write(fd, junk, MIB) > 0);
	close(fd);

	int error = 0;
	uint32_t good = 0;

	for (uint32_t slot = 0; slot < SLOTS && !error; slot += SWAP_IO_PAGES) {
		error = write_slots(w, slot, SWAP_IO_PAGES, 8);
		if (!error)
			good = slot + SWAP_IO_PAGES;
	}
	assert_int_equal(error, -ENOSPC);
	assert_in_range(good, 256, 1024);
	for (uint32_t slot = 0; slot < good; slot += SWAP_IO_PAGES) {
		assert_int_equal(read_slots(w, slot, SWAP_IO_PAGES), 0);
		for (unsigned j = 0; j < SWAP_IO_PAGES; j++)
			assert_true(page_is(io_page(w, 0, j, false), slot + j, 8));
	}
	unlink(hog);
	assert_int_equal(write_slots(w, good, SWAP_IO_PAGES, 8), 0);
	world_free(w);
	umount(dir);
	rmdir(dir);
	free(junk);
}

/* RLIMIT_FSIZE makes a write short at first, then refuses it: the rest is tried, the error is told, nobody is killed. */
static void a_short_write_goes_on_to_its_error(void **state)
{
	struct rlimit small = {6 * MIB + 5 * PAGE_BYTES, RLIM_INFINITY}, before;
	struct world *w = world_new(*state);
	void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);

	getrlimit(RLIMIT_FSIZE, &before);
	small.rlim_max = before.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	assert_int_equal(write_slots(w, 1280, SWAP_IO_PAGES, 2), 0);
	assert_int_equal(write_slots(w, 1536, SWAP_IO_PAGES, 2), -EFBIG);
	setrlimit(RLIMIT_FSIZE, &before);
	signal(SIGXFSZ, handler);
	/* The short part arrived, in its place. */
	assert_int_equal(read_slots(w, 1536, 8), 0);
	for (unsigned j = 0; j < 8; j++)
		assert_true(page_is(io_page(w, 0, j, false), 1536 + j, j < 5 ? 2 : 0));
	world_free(w);
}

/* The file ends early (somebody truncated it): an error, not what was in memory. */
static void a_read_beyond_the_end_is_an_error(void **state)
{
	struct world *w = world_new(*state);
	int fd;

	assert_int_equal(write_slots(w, 0, 16, 2), 0);
	assert_in_range(w->dev->ops->fds(w->dev, &fd, 1), 1, 16);
	assert_int_equal(ftruncate(fd, 10 * PAGE_BYTES), 0);
	assert_int_equal(read_slots(w, 0, 16), -EIO);
	assert_true(page_is(io_page(w, 0, 9, false), 9, 2));
	assert_int_equal(read_slots(w, 12, 1), -EIO);
	assert_int_equal(read_slots(w, 2, 8), 0);
	world_free(w);
}

/* A thread that submits and exits at once takes nothing with it. */
static void *submit_and_exit(void *arg)
{
	struct world *w = arg;

	submit_one(w, 3);
	return NULL;
}

static void requests_outlive_their_thread(void **state)
{
	struct world *w = world_new(*state);

	assert_int_equal(write_slots(w, 0, SWAP_IO_PAGES, 2), 0);
	for (int round = 0; round < 50; round++) {
		pthread_t thread;

		io_setup(w, 3, SWAP_READ, 0, SWAP_IO_PAGES, true);
		pthread_create(&thread, NULL, submit_and_exit, w);
		pthread_join(thread, NULL);
		wait_for(w, 3);
		assert_int_equal(w->io[3]->result, 0);
		assert_true(page_is(io_page(w, 3, 200, true), 200, 2));
	}
	world_free(w);
}

/*
 * A program's thread that has submitted goes on with its own affairs: the completion must not be seen there. A system
 * call that is never restarted shows it.
 */
static void completions_disturb_nobody(void **state)
{
	struct world *w = world_new(*state);
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event event;

	assert_int_equal(write_slots(w, 0, SWAP_IO_PAGES, 2), 0);
	for (int round = 0; round < 30; round++) {
		io_setup(w, 5, SWAP_READ, 0, SWAP_IO_PAGES, true);
		submit_one(w, 5);
		assert_int_equal(epoll_wait(epoll, &event, 1, 10), 0);
		wait_for(w, 5);
	}
	close(epoll);
	world_free(w);
}

/* ---- Only faults ------------------------------------------------------------------------------------------ */

static void the_nth_request_fails_once_or_for_ever(void **state)
{
	for (int forever = 0; forever < 2; forever++) {
		for (unsigned nth = 1; nth < 6; nth++) {
			struct world *w = world_new(*state);

			assert_int_equal(write_slots(w, 0, 8, 1), 0);
			faulty_fail(w->dev, SWAP_READ, nth, EIO, forever);
			faulty_fail(w->dev, SWAP_WRITE, nth, ENOSPC, forever);
			for (unsigned i = 1; i < 10; i++) {
				bool fails = forever ? i >= nth : i == nth;

				assert_int_equal(read_slots(w, 0, 8), fails ? -EIO : 0);
				assert_int_equal(write_slots(w, 8, 8, i), fails ? -ENOSPC : 0);
			}
			assert_int_equal(faulty_requests(w->dev, SWAP_READ), 9);
			assert_int_equal(faulty_dealt(w->dev), forever ? 2 * (10 - nth) : 2);
			faulty_fail(w->dev, SWAP_READ, 0, EIO, false);
			assert_int_equal(read_slots(w, 0, 8), 0);
			world_free(w);
		}
	}
}

static int nr_wrong_bits(struct world *w, unsigned nr, unsigned version)
{
	uint8_t want[PAGE_BYTES];
	int wrong = 0;

	for (unsigned j = 0; j < nr; j++) {
		fill_page(want, j, version);
		for (unsigned b = 0; b < PAGE_BYTES; b++)
			wrong += __builtin_popcount(want[b] ^ io_page(w, 0, j, false)[b]);
	}
	return wrong;
}

static void a_corrupt_read_turns_one_bit(void **state)
{
	struct world *w = world_new(*state);

	assert_int_equal(write_slots(w, 0, 8, 1), 0);
	faulty_corrupt(w->dev, 2, false);
	for (int i = 1; i <= 3; i++) {
		assert_int_equal(read_slots(w, 0, 8), 0);
		assert_int_equal(nr_wrong_bits(w, 8, 1), i == 2);
	}
	world_free(w);
}

static void options_arm_what_calls_arm(void **state)
{
	struct world *w = world_new("faulty:mem:?size=16M&fail_write=2&corrupt_read=3&forever=1&error=28");

	(void)state;
	assert_int_equal(write_slots(w, 0, 8, 1), 0);
	assert_int_equal(write_slots(w, 0, 8, 2), -ENOSPC);
	assert_int_equal(write_slots(w, 0, 8, 3), -ENOSPC);
	for (int i = 1; i <= 5; i++) {
		assert_int_equal(read_slots(w, 0, 8), 0);
		assert_int_equal(nr_wrong_bits(w, 8, 1), i >= 3);
	}
	world_free(w);
}

static void a_full_device_takes_no_new_slot(void **state)
{
	struct world *w = world_new("faulty:mem:?size=16M&full=20");

	(void)state;
	assert_int_equal(write_slots(w, 0, 16, 1), 0);
	assert_int_equal(write_slots(w, 100, 8, 1), -ENOSPC);
	assert_int_equal(write_slots(w, 0, 16, 2), 0);
	assert_int_equal(write_slots(w, 100, 4, 1), 0);
	assert_int_equal(write_slots(w, 200, 1, 1), -ENOSPC);
	w->dev->ops->discard(w->dev, 2, 3);
	assert_int_equal(write_slots(w, 200, 3, 1), 0);
	assert_int_equal(write_slots(w, 300, 1, 1), -ENOSPC);
	faulty_full(w->dev, UINT32_MAX);
	assert_int_equal(write_slots(w, 300, 1, 1), 0);
	world_free(w);
}

static void what_is_held_ends_after_release(void **state)
{
	struct world *w = world_new(*state);

	assert_int_equal(write_slots(w, 0, 8, 1), 0);
	faulty_hold(w->dev, SWAP_READ, true);
	io_setup(w, 4, SWAP_READ, 0, 8, false);
	submit_one(w, 4);
	for (int i = 0; i < 20; i++)
		assert_int_equal(w->dev->ops->poll(w->dev, SWAP_READ, 2), 0);
	assert_int_equal(write_slots(w, 8, 8, 1), 0);
	assert_int_equal(atomic_load(&io_done[4]), 0);
	faulty_hold(w->dev, SWAP_READ, false);
	wait_for(w, 4);
	assert_int_equal(w->io[4]->result, 0);
	world_free(w);
}

static char order_text[NR_IO * 4];

static void note_order(struct swap_io *io)
{
	size_t used = strlen(order_text);

	snprintf(order_text + used, sizeof(order_text) - used, "%u ", io->slot);
	count_done(io);
}

static void run_order(unsigned seed, char *order, size_t len)
{
	char uri[128];
	struct world *w;

	snprintf(uri, sizeof(uri), "faulty:mem:?size=16M&delay=8&seed=%u", seed);
	w = world_new(uri);
	order_text[0] = '\0';
	for (int i = 0; i < NR_IO; i++) {
		io_setup(w, i, SWAP_READ, (uint32_t)i, 1, false);
		w->io[i]->done = note_order;
		submit_one(w, i);
	}
	for (int i = 0; i < NR_IO; i++)
		wait_for(w, i);
	snprintf(order, len, "%s", order_text);
	world_free(w);
}

static void a_seed_gives_one_order(void **state)
{
	char first[200], second[200], other[200];

	(void)state;
	run_order(7, first, sizeof(first));
	run_order(7, second, sizeof(second));
	run_order(8, other, sizeof(other));
	assert_string_equal(first, second);
	assert_string_not_equal(first, other);
	assert_int_not_equal(strncmp(first, "0 1 2 3 4 5 6 7 8 9 ", 20), 0);
}

/* ---- All of it ------------------------------------------------------------------------------------------------ */

static const char *const devices[] = {
	"file:/var/tmp?size=16M&engine=uring",
	"file:/var/tmp?size=16M&engine=aio",
	"file:/var/tmp?size=16M&engine=threads",
	"file:/var/tmp?size=16M&engine=uring&direct=off",
	"file:/var/tmp?size=16M&engine=threads&direct=off",
	"file:/dev/shm?size=16M",
	"mem:?size=16M",
	"mem:?size=16M&when=submit",
	"faulty:mem:?size=16M&delay=5&seed=3",
	"faulty:file:/var/tmp?size=16M&delay=3&seed=9",
};

#define ON(test, uri) cmocka_unit_test_prestate(test, (void *)(uintptr_t)(uri))

static int run_on(const char *uri)
{
	const struct CMUnitTest tests[] = {
		ON(what_was_written_is_read, uri),
		ON(full_batches_reach_the_last_slot, uri),
		ON(slots_that_do_not_exist_are_refused, uri),
		ON(a_flood_is_served, uri),
		ON(poll_counts_what_it_ended, uri),
		ON(poll_with_nothing_to_do_comes_back_in_time, uri),
		ON(readers_share_a_queue, uri),
		ON(a_child_reads_its_parents_slots, uri),
		ON(closing_gives_every_descriptor_back, uri),
	};

	print_message("---- %s\n", uri);
	return cmocka_run_group_tests_name(uri, tests, NULL, NULL);
}

int main(void)
{
	static const char uring[] = "file:/var/tmp?size=16M&engine=uring";
	static const char aio[] = "file:/var/tmp?size=16M&engine=aio";
	static const char threads[] = "file:/var/tmp?size=16M&engine=threads";
	static const char faulty_mem[] = "faulty:mem:?size=16M";
	static const char faulty_file[] = "faulty:file:/var/tmp?size=16M";
	const struct CMUnitTest others[] = {
		cmocka_unit_test(bad_names_are_refused_with_a_reason),
		cmocka_unit_test(faulty_names_are_refused_with_a_reason),
		cmocka_unit_test(a_file_has_no_name_and_is_private),
		cmocka_unit_test(without_a_size_it_is_half_of_what_is_free),
		ON(poll_fd_becomes_readable, uring),
		ON(poll_fd_becomes_readable, aio),
		ON(poll_fd_becomes_readable, threads),
		ON(one_waits_and_others_are_busy, uring),
		ON(one_waits_and_others_are_busy, aio),
		ON(one_waits_and_others_are_busy, threads),
		ON(a_disk_that_fills_up_is_told, "uring"),
		ON(a_disk_that_fills_up_is_told, "threads"),
		ON(a_short_write_goes_on_to_its_error, uring),
		ON(a_short_write_goes_on_to_its_error, aio),
		ON(a_short_write_goes_on_to_its_error, threads),
		ON(a_read_beyond_the_end_is_an_error, uring),
		ON(a_read_beyond_the_end_is_an_error, aio),
		ON(a_read_beyond_the_end_is_an_error, threads),
		ON(requests_outlive_their_thread, uring),
		ON(requests_outlive_their_thread, aio),
		ON(completions_disturb_nobody, "file:/var/tmp?size=16M"),
		ON(completions_disturb_nobody, aio),
		ON(completions_disturb_nobody, threads),
		ON(a_fork_survives_closed_descriptors, uring),
		ON(a_fork_survives_closed_descriptors, aio),
		ON(a_fork_survives_closed_descriptors, threads),
		ON(lost_descriptors_are_an_error_not_wrong_data, uring),
		ON(lost_descriptors_are_an_error_not_wrong_data, aio),
		ON(lost_descriptors_are_an_error_not_wrong_data, threads),
		ON(the_nth_request_fails_once_or_for_ever, faulty_mem),
		ON(the_nth_request_fails_once_or_for_ever, faulty_file),
		ON(a_corrupt_read_turns_one_bit, faulty_mem),
		ON(a_corrupt_read_turns_one_bit, faulty_file),
		cmocka_unit_test(options_arm_what_calls_arm),
		cmocka_unit_test(a_full_device_takes_no_new_slot),
		ON(what_is_held_ends_after_release, faulty_mem),
		ON(what_is_held_ends_after_release, faulty_file),
		cmocka_unit_test(a_seed_gives_one_order),
	};
	int failed = 0;

	for (size_t i = 0; i < ARRAY_SIZE(devices); i++)
		failed += run_on(devices[i]);
	failed += cmocka_run_group_tests_name("one device", others, NULL, NULL);
	return failed ? 1 : 0;
}

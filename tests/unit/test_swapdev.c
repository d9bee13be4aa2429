/* SPDX-License-Identifier: MIT */
/*
 * Every device keeps the same promises (src/contract/swapdev.h): a read gives what was written, errors are told, a poll
 * never sleeps while a request has ended, a child of a fork reads its parent's slots.
 */
#include "swapdev_world.h"

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

	assert_true(w->dev->nr_slots >= SLOTS);
	assert_int_equal(write_slots(w, last, SWAP_IO_PAGES, 9), 0);
	assert_int_equal(read_slots(w, last, SWAP_IO_PAGES), 0);
	for (unsigned j = 0; j < SWAP_IO_PAGES; j++)
		assert_true(page_is(io_page(w, 0, j, false), last + j, 9));
	world_free(w);
}

static void slots_that_do_not_exist_are_refused(void **state)
{
	struct world *w = world_new(*state);

	assert_int_equal(read_slots(w, w->dev->nr_slots, 1), -EINVAL);
	assert_int_equal(read_slots(w, w->dev->nr_slots - 1, 2), -EINVAL);
	assert_int_equal(read_slots(w, UINT32_MAX, 1), -EINVAL);
	assert_int_equal(write_slots(w, w->dev->nr_slots - 3, 4, 1), -EINVAL);
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

/* ---- Two threads on one queue ------------------------------------------------------------------ */

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

/* ---- Fork ------------------------------------------------------------------------------ */

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

/* ---- All of it --------------------------------------------------------------------------- */

static const char *const devices[] = {
	"file:/var/tmp?size=16M&engine=uring",
	"file:/var/tmp?size=16M&engine=aio",
	"file:/var/tmp?size=16M&engine=threads",
	"file:/var/tmp?size=16M&engine=uring&direct=off",
	"file:/var/tmp?size=16M&engine=threads&direct=off",
	"file:/dev/shm?size=16M",
	"mem:?size=16M",
	"mem:?size=16M&when=submit",
	"zram:?size=18M",
	"zram:?size=18M&algo=zstd",
	"zram:?size=1M,mem:?size=18M",
	"zram:?size=1M,file:/var/tmp?size=18M",
	"zram:?size=4M,faulty:mem:?size=18M&delay=5&seed=3",
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
	int failed = 0;

	for (size_t i = 0; i < ARRAY_SIZE(devices); i++)
		failed += run_on(devices[i]);
	return failed ? 1 : 0;
}

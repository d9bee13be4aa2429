/* SPDX-License-Identifier: MIT */
/* The uffd machine: frames that come and go, and the lock. */
#include "uffd_world.h"

/* Whether the host has a page there, without touching it. */
static bool has_memory(const void *addr)
{
	uint64_t entry = 0;
	int fd = open("/proc/self/pagemap", O_RDONLY);

	assert_true(fd >= 0);
	assert_int_equal(
		pread(fd, &entry, sizeof(entry), (off_t)((uintptr_t)addr >> PAGE_SHIFT) * 8), sizeof(entry));
	close(fd);
	return entry >> 62 != 0; /* present or swapped */
}

static void map_run(uint32_t page, pfn_t pfn, unsigned nr, enum frame_content content, int prot)
{
	struct mapping maps[NR_PAGES];

	for (unsigned i = 0; i < nr; i++) {
		maps[i] = mapping_of(page + i, content);
		maps[i].pfn = pfn + i;
		maps[i].prot = (uint8_t)prot;
		maps[i].result = 1;
	}
	machine->ops->map(machine, maps, nr);
	for (unsigned i = 0; i < nr; i++) {
		assert_int_equal(maps[i].result, 0);
		state[page + i] = SHOWN;
	}
}

static void unmap_run(uint32_t page, pfn_t pfn, unsigned nr, enum unmap_content content, int prot)
{
	struct mapping maps[NR_PAGES];

	for (unsigned i = 0; i < nr; i++) {
		maps[i] = mapping_of(page + i, FRAME_KEEP);
		maps[i].pfn = pfn + i;
		maps[i].prot = (uint8_t)prot;
	}
	machine->ops->unmap(machine, maps, nr, content);
}

/* SIGSEGV when a write of one byte ends in it; 0: it went through. */
static int write_signal(uint8_t *addr)
{
	struct sigaction action = {.sa_sigaction = on_caught, .sa_flags = SA_SIGINFO}, segv;

	sigaction(SIGSEGV, &action, &segv);
	caught_signal = 0;
	if (sigsetjmp(caught_here, 1) == 0)
		*(volatile uint8_t *)addr = 1;
	sigaction(SIGSEGV, &segv, NULL);
	return caught_signal;
}

/* ---- Map and unmap ------------------------------------------------------------------------- */

static void new_frames_show_zeros_and_keep_what_is_written(void **ctx)
{
	NEEDS_MACHINE();
	(void)ctx;
	map_run(0, 0, 300, FRAME_ZERO, RW);
	for (uint32_t i = 0; i < 300; i++) {
		assert_true(all_bytes(at(i), 0));
		memset(at(i), (int)(i % 251 + 1), PAGE_BYTES);
	}
	unmap_run(0, 0, 300, UNMAP_KEEP, RW);
	for (uint32_t i = 0; i < 300; i++)
		assert_true(all_bytes(frame(i), (uint8_t)(i % 251 + 1)));
	map_run(500, 0, 300, FRAME_KEEP, RW);
	for (uint32_t i = 0; i < 300; i++)
		assert_true(all_bytes(at(500 + i), (uint8_t)(i % 251 + 1)));
	assert_int_equal(nr_faults, 0);
}

static void a_used_frame_shows_zeros_when_asked_to(void **ctx)
{
	NEEDS_MACHINE();
	(void)ctx;
	assert_int_equal(machine->ops->frame_populate(machine, 0, 80), 0);
	for (uint32_t i = 0; i < 80; i++)
		memset(frame(i), 0xee, PAGE_BYTES);
	map_run(7, 0, 80, FRAME_ZERO, RW);
	for (uint32_t i = 0; i < 80; i++)
		assert_true(all_bytes(at(7 + i), 0));
}

static void a_dropped_frame_gives_its_memory_back(void **ctx)
{
	NEEDS_MACHINE();
	(void)ctx;
	map_run(0, 0, 10, FRAME_ZERO, RW);
	for (uint32_t i = 0; i < 10; i++) {
		memset(at(i), 0x55, PAGE_BYTES);
		assert_true(has_memory(at(i)));
	}
	unmap_run(0, 0, 10, UNMAP_DROP, RW);
	for (uint32_t i = 0; i < 10; i++) {
		assert_false(has_memory(at(i)));
		assert_false(has_memory(frame(i)));
	}
	map_run(0, 0, 10, FRAME_ZERO, RW);
	assert_true(all_bytes(at(9), 0));
}

static void populated_frames_take_device_data(void **ctx)
{
	NEEDS_MACHINE();
	(void)ctx;
	map_run(3, 3, 1, FRAME_ZERO, RW);
	unmap_run(3, 3, 1, UNMAP_KEEP, RW); /* one frame in the middle has memory already */
	assert_int_equal(machine->ops->frame_populate(machine, 0, 9), 0);
	for (uint32_t i = 0; i < 9; i++)
		memset(frame(i), (int)i + 1, PAGE_BYTES);
	map_run(0, 0, 9, FRAME_KEEP, RW);
	for (uint32_t i = 0; i < 9; i++) {
		assert_true(all_bytes(at(i), (uint8_t)(i + 1)));
		assert_false(variant->copy == false && has_memory(frame(i)));
	}
}

static void mappings_that_are_no_run_go_one_by_one(void **ctx)
{
	static const struct {
		uint32_t page, frame;
	} pairs[] = {{10, 5}, {11, 6}, {12, 9}, {20, 10}, {19, 11}, {40, 0}, {41, 1}, {42, 2}};
	struct mapping maps[ARRAY_SIZE(pairs)];

	NEEDS_MACHINE();
	(void)ctx;
	assert_int_equal(machine->ops->frame_populate(machine, 6, 1), 0);
	memset(frame(6), 0xaa, PAGE_BYTES);
	for (unsigned i = 0; i < ARRAY_SIZE(pairs); i++) {
		maps[i] = mapping_of(pairs[i].page, pairs[i].frame == 6 ? FRAME_KEEP : FRAME_ZERO);
		maps[i].pfn = pairs[i].frame;
	}
	machine->ops->map(machine, maps, ARRAY_SIZE(pairs));
	for (unsigned i = 0; i < ARRAY_SIZE(pairs); i++) {
		assert_int_equal(maps[i].result, 0);
		assert_true(all_bytes(at(pairs[i].page), pairs[i].frame == 6 ? 0xaa : 0));
		memset(at(pairs[i].page), (int)i + 1, PAGE_BYTES);
	}
	machine->ops->unmap(machine, maps, ARRAY_SIZE(pairs), UNMAP_KEEP);
	for (unsigned i = 0; i < ARRAY_SIZE(pairs); i++)
		assert_true(all_bytes(frame(pairs[i].frame), (uint8_t)(i + 1)));
}

#define RUN 64
#define MOVES 1000

/* Requests of several threads on one area of the host get into each other's way, in ways that depend on its version. */
static void *map_and_unmap(void *arg)
{
	uint32_t first = (uint32_t)(uintptr_t)arg * RUN;
	struct mapping maps[RUN];

	for (int round = 0; round < MOVES; round++) {
		for (uint32_t i = 0; i < RUN; i++)
			maps[i] = mapping_of(first + i, FRAME_KEEP);
		machine->ops->unmap(machine, maps, RUN, UNMAP_KEEP);
		for (uint32_t i = 0; i < RUN; i++)
			if (*(uint32_t *)(void *)frame(first + i) != first + i)
				return "a frame came back with other bytes";
		machine->ops->map(machine, maps, RUN);
	}
	return NULL;
}

static void neighbouring_runs_are_mapped_and_unmapped_at_once(void **ctx)
{
	pthread_t threads[4];
	void *wrong = NULL;

	NEEDS_MACHINE();
	(void)ctx;
	map_run(0, 0, ARRAY_SIZE(threads) * RUN, FRAME_ZERO, RW);
	for (uint32_t i = 0; i < ARRAY_SIZE(threads) * RUN; i++)
		*(uint32_t *)(void *)at(i) = i;
	for (uintptr_t i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_create(&threads[i], NULL, map_and_unmap, (void *)i);
	for (unsigned i = 0; i < ARRAY_SIZE(threads); i++) {
		pthread_join(threads[i], &wrong);
		assert_null(wrong);
	}
}

static void regions_of_other_protections_get_and_lose_pages(void **ctx)
{
	static const int prots[] = {PROT_READ, PROT_WRITE, RW | PROT_EXEC, PROT_READ | PROT_EXEC};

	NEEDS_MACHINE();
	(void)ctx;
	for (unsigned i = 0; i < ARRAY_SIZE(prots); i++) {
		uint32_t page = 100 + 16 * i;
		uint64_t start = base + page * PAGE_BYTES;

		assert_int_equal(machine->ops->region_protect(
					 machine, &the_space, start, start + 8 * PAGE_BYTES, prots[i]),
			0);
		assert_int_equal(machine->ops->frame_populate(machine, page, 4), 0);
		for (uint32_t j = 0; j < 4; j++)
			memset(frame(page + j), (int)j + 1, PAGE_BYTES);
		map_run(page, page, 4, FRAME_KEEP, prots[i]);
		map_run(page + 4, page + 4, 4, FRAME_ZERO, prots[i]);
		assert_int_equal(write_signal(at(page) + 9), prots[i] & PROT_WRITE ? 0 : SIGSEGV);
		unmap_run(page, page, 8, UNMAP_KEEP, prots[i]);
		assert_int_equal(frame(page)[9], 1);
		assert_true(all_bytes(frame(page + 3), 4));
		assert_true(all_bytes(frame(page + 5), 0));
	}
}

static void a_region_that_went_is_no_memory_and_can_come_back(void **ctx)
{
	uint64_t start;

	NEEDS_MACHINE();
	(void)ctx;
	start = base + 64 * PAGE_BYTES;
	*at(64) = 7;
	assert_true(hide(64, UNMAP_DROP));
	assert_int_equal(machine->ops->region_unmap(machine, &the_space, start, start + PAGE_BYTES), 0);
	assert_int_equal(write_signal(at(64)), SIGSEGV);
	assert_int_equal(machine->ops->region_map(machine, &the_space, start, start + PAGE_BYTES, RW), 0);
	assert_int_equal(*at(64), 0);
	assert_int_equal(nr_faults, 2);
}

/* ---- Pages that cannot be moved at once ------------------------------------------------------ */

/* Registered buffers are pinned until the ring goes. */
static void pin(struct io_uring *ring, void *addr)
{
	struct iovec iov = {.iov_base = addr, .iov_len = PAGE_BYTES};

	if (io_uring_queue_init(2, ring, 0))
		SKIP_WITHOUT("io_uring", "no page can be pinned");
	assert_int_equal(io_uring_register_buffers(ring, &iov, 1), 0);
}

static void a_frame_that_is_still_pinned_is_shown_all_the_same(void **ctx)
{
	struct io_uring ring;

	NEEDS_MACHINE();
	(void)ctx;
	assert_int_equal(machine->ops->frame_populate(machine, 0, 3), 0);
	for (uint32_t i = 0; i < 3; i++)
		memset(frame(i), (int)i + 1, PAGE_BYTES);
	pin(&ring, frame(1));
	map_run(0, 0, 3, FRAME_KEEP, RW);
	for (uint32_t i = 0; i < 3; i++)
		assert_true(all_bytes(at(i), (uint8_t)(i + 1)));
	io_uring_queue_exit(&ring);
	unmap_run(0, 0, 3, UNMAP_KEEP, RW);
	assert_true(all_bytes(frame(1), 2));
}

static void a_page_that_the_program_pinned_stays_until_the_pin_ends(void **ctx)
{
	struct mapping maps[3];
	struct io_uring ring;

	NEEDS_MACHINE();
	(void)ctx;
	map_run(0, 0, 3, FRAME_ZERO, RW);
	for (uint32_t i = 0; i < 3; i++)
		memset(at(i), 5, PAGE_BYTES);
	pin(&ring, at(1));
	for (uint32_t i = 0; i < 3; i++)
		maps[i] = mapping_of(i, FRAME_KEEP);
	machine->ops->unmap(machine, maps, 3, UNMAP_KEEP);
	assert_int_equal(maps[0].result, 0);
	assert_int_equal(maps[1].result, -EBUSY);
	assert_int_equal(maps[2].result, 0);
	*(volatile uint8_t *)at(1) = 99; /* as the device would, at the last moment */
	io_uring_unregister_buffers(&ring);
	machine->ops->unmap(machine, maps + 1, 1, UNMAP_KEEP);
	assert_int_equal(maps[1].result, 0);
	assert_int_equal(frame(1)[0], 99);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(frame(i)[1], 5);
	io_uring_queue_exit(&ring);
}

static void pages_shared_with_a_fork_child_are_taken_and_shown(void **ctx)
{
	int hold[2], status;
	pid_t child;
	char c;

	NEEDS_MACHINE();
	(void)ctx;
	map_run(0, 0, 70, FRAME_ZERO, RW);
	for (uint32_t i = 0; i < 70; i++)
		memset(at(i), (int)i + 1, PAGE_BYTES);
	assert_int_equal(pipe(hold), 0);
	assert_int_equal(uffd_fork_prepare(machine), 0);
	child = fork();
	if (child == 0) {
		close(hold[1]);
		_exit(read(hold[0], &c, 1) == 0 && at(3)[5] == 4 ? 0 : 1);
	}
	uffd_fork_parent(machine);
	assert_true(child > 0);
	unmap_run(0, 0, 70, UNMAP_KEEP, RW);
	for (uint32_t i = 0; i < 70; i++)
		assert_true(all_bytes(frame(i), (uint8_t)(i + 1)));
	map_run(100, 0, 70, FRAME_KEEP, RW);
	memset(at(103), 77, PAGE_BYTES);
	close(hold[0]);
	close(hold[1]);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

/* ---- The lock -------------------------------------------------------------------------------- */

static struct lock lock;
static uint64_t locked_sum;

static void *add_under_lock(void *arg)
{
	(void)arg;
	for (int i = 0; i < 100000; i++) {
		lock_take(&lock);
		locked_sum++;
		if (i % 1000 == 0)
			sched_yield(); /* a holder that is preempted: others go to sleep */
		lock_drop(&lock);
	}
	return NULL;
}

static void the_lock_excludes(void **ctx)
{
	pthread_t threads[4];

	(void)ctx;
	for (unsigned i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_create(&threads[i], NULL, add_under_lock, NULL);
	for (unsigned i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(locked_sum, 400000);
	assert_true(lock_try(&lock));
	lock_drop(&lock);
}

static void a_machine_without_frames_is_refused_in_words(void **ctx)
{
	struct uffd_config config = {.bytes = MIB};
	struct machine *none = NULL;
	char why[400] = "";

	(void)ctx;
	assert_int_equal(uffd_machine_open(&config, &none, why, sizeof(why)), -EINVAL);
	assert_non_null(strstr(why, "frame"));
	assert_null(none);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_lock_excludes),
		cmocka_unit_test(a_machine_without_frames_is_refused_in_words),
		IN_EACH_VARIANT(new_frames_show_zeros_and_keep_what_is_written),
		IN_EACH_VARIANT(a_used_frame_shows_zeros_when_asked_to),
		IN_EACH_VARIANT(a_dropped_frame_gives_its_memory_back),
		IN_EACH_VARIANT(populated_frames_take_device_data),
		IN_EACH_VARIANT(mappings_that_are_no_run_go_one_by_one),
		IN_EACH_VARIANT(neighbouring_runs_are_mapped_and_unmapped_at_once),
		IN_EACH_VARIANT(regions_of_other_protections_get_and_lose_pages),
		IN_EACH_VARIANT(a_region_that_went_is_no_memory_and_can_come_back),
		IN_EACH_VARIANT(a_frame_that_is_still_pinned_is_shown_all_the_same),
		IN_MOVING_VARIANTS(
			a_page_that_the_program_pinned_stays_until_the_pin_ends), /* a copy sees no pin */
		IN_EACH_VARIANT(pages_shared_with_a_fork_child_are_taken_and_shown),
	};

	return cmocka_run_group_tests_name("uffd", tests, NULL, NULL);
}

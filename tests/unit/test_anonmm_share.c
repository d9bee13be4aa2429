/* SPDX-License-Identifier: MIT */
/* The public API of forks, files and shared memory, on both machines and in each fault mode. */
#include "../needs.h"
#include "anonmm.h"

#include <errno.h>
#include <liburing.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <cmocka.h>

#define PAGE 4096u
#define MIB (1024u * 1024u)
#define RW (PROT_READ | PROT_WRITE)

static struct anonmm *open_or_skip(enum anonmm_machine machine, enum anonmm_faults faults, bool copy)
{
	struct anonmm_config config = {.machine = machine,
		.memory = 8 * MIB,
		.address_space = 4ull << 30, /* as much as sanitizers leave */
		.swap = "file:/var/tmp?size=64M",
		.faults = faults,
		.copy = copy,
		.seed = 1};
	struct anonmm *mm = NULL;
	int error = anonmm_open(&config, &mm);

	if (machine == ANONMM_UFFD && (error == -EPERM || error == -ENOSYS))
		SKIP_WITHOUT(REAL_MEMORY, "%s", anonmm_error());
	if (error)
		print_error("%s\n", anonmm_error());
	assert_int_equal(error, 0);
	return mm;
}

static struct anonmm_stats stats(struct anonmm *mm)
{
	struct anonmm_stats now;

	anonmm_get_stats(mm, &now, sizeof(now));
	return now;
}

/* ---- Snapshots of real memory -------------------------------------------------------------- */

/* Twice as many pages as there are frames: some are out, some in, some armed. */
#define WORDS (16 * MIB / sizeof(uint64_t))

static void fill(volatile uint64_t *words, uint64_t salt)
{
	for (size_t i = 0; i < WORDS - 16 * PAGE / 8; i += 61)
		words[i] = i ^ salt;
}

static size_t wrong(const volatile uint64_t *words, uint64_t salt)
{
	size_t nr = 0;

	for (size_t i = 0; i < WORDS - 16 * PAGE / 8; i += 61)
		nr += words[i] != (i ^ salt);
	return nr;
}

static void snapshot(enum anonmm_faults faults, bool copy)
{
	struct anonmm *mm = open_or_skip(ANONMM_UFFD, faults, copy);
	uint64_t *words = anonmm_mmap(mm, NULL, 16 * MIB, RW);
	struct anonmm_space *first, *second;

	assert_non_null(words);
	fill(words, 1);
	assert_int_equal(anonmm_fork(mm, NULL, &first), 0);
	uint64_t *then = anonmm_space_pointer(first, words);

	assert_non_null(then);
	assert_true(then < words || then >= words + WORDS);
	assert_null(anonmm_space_pointer(first, words + 2 * WORDS));
	fill(words, 2);
	assert_int_equal(wrong(then, 1), 0);
	assert_int_equal(wrong(words, 2), 0);
	assert_int_equal(anonmm_fork(mm, NULL, &second), 0);
	fill(anonmm_space_pointer(first, words), 3);
	fill(words, 4);
	assert_int_equal(wrong(anonmm_space_pointer(second, words), 2), 0);
	assert_int_equal(wrong(then, 3), 0);
	assert_int_equal(wrong(words, 4), 0);
	assert_int_equal(stats(mm).forks, 2);
	assert_true(stats(mm).copied_early > 0);
	anonmm_space_destroy(first);
	assert_int_equal(wrong(anonmm_space_pointer(second, words), 2), 0);
	assert_int_equal(anonmm_munmap(mm, words, 16 * MIB), 0);
	assert_int_equal(wrong(anonmm_space_pointer(second, words), 2), 0);
	anonmm_space_destroy(second);
	for (int ms = 0; stats(mm).slots_used && ms < 5000; ms++)
		usleep(1000); /* writes that are under way end first */
	assert_int_equal(stats(mm).slots_used, 0);
	assert_int_equal(stats(mm).mapped_bytes, 0);
	anonmm_close(mm);
}

static void a_snapshot_keeps_its_moment_thread(void **state)
{
	(void)state;
	snapshot(ANONMM_FAULTS_THREAD, false);
}

static void a_snapshot_keeps_its_moment_signal(void **state)
{
	(void)state;
	snapshot(ANONMM_FAULTS_SIGNAL, false);
}

static void a_snapshot_keeps_its_moment_copy(void **state)
{
	(void)state;
	snapshot(ANONMM_FAULTS_THREAD, true);
}

/* A writer counts page after page up, in order: a snapshot may see it between two pages, and nowhere else. */
struct writer {
	volatile uint64_t *words;
	_Atomic(bool) stop;
};

#define WRITER_PAGES 1500u

static void *count_up(void *arg)
{
	struct writer *w = arg;

	for (uint64_t round = 1; !w->stop; round++)
		for (unsigned page = 0; page < WRITER_PAGES && !w->stop; page++)
			w->words[page * PAGE / 8] = round;
	return NULL;
}

static void a_snapshot_is_of_one_moment(void **state)
{
	struct anonmm *mm = open_or_skip(ANONMM_UFFD, ANONMM_FAULTS_THREAD, false);
	struct writer w = {.words = anonmm_mmap(mm, NULL, WRITER_PAGES * PAGE, RW)};
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, count_up, &w), 0);
	for (int i = 0; i < 8; i++) {
		struct anonmm_space *space;

		usleep(3000);
		assert_int_equal(anonmm_fork(mm, NULL, &space), 0);
		const uint64_t *then = anonmm_space_pointer(space, (const void *)w.words);
		uint64_t first = then[0];
		bool dropped = false;

		for (unsigned page = 0; page < WRITER_PAGES; page++) {
			uint64_t value = then[page * PAGE / 8];

			dropped = dropped || value != first;
			assert_int_equal(value, dropped ? first - 1 : first);
		}
		anonmm_space_destroy(space);
	}
	w.stop = true;
	pthread_join(thread, NULL);
	anonmm_close(mm);
}

/* ---- Forks of soft spaces --------------------------------------------------------------------- */

static void soft_spaces_fork(void **state)
{
	struct anonmm *mm = open_or_skip(ANONMM_SOFT, ANONMM_FAULTS_AUTO, false);
	struct anonmm_space *parent, *child;
	uint64_t addr = 0, value;

	(void)state;
	assert_int_equal(anonmm_fork(mm, NULL, &child), -EINVAL);
	assert_int_equal(anonmm_space_create(mm, &parent), 0);
	assert_int_equal(anonmm_space_mmap(parent, &addr, 16 * MIB, RW), 0);
	for (uint64_t at = addr; at < addr + 16 * MIB; at += PAGE)
		assert_int_equal(anonmm_store64(parent, at, at), 0);
	assert_int_equal(anonmm_fork(mm, parent, &child), 0);
	assert_null(anonmm_space_pointer(child, &value));
	for (uint64_t at = addr; at < addr + 16 * MIB; at += PAGE)
		assert_int_equal(anonmm_store64(child, at, ~at), 0);
	for (uint64_t at = addr; at < addr + 16 * MIB; at += PAGE) {
		assert_int_equal(anonmm_load64(parent, at, &value), 0);
		assert_int_equal(value, at);
	}
	anonmm_space_destroy(parent);
	assert_int_equal(anonmm_load64(child, addr, &value), 0);
	assert_int_equal(value, ~addr);
	anonmm_close(mm); /* and the child with it */
}

/* ---- Files ---------------------------------------------------------------------------------------- */

#define FILE_PAGES 3000u

/* Word 0 of page i is i + 1; the last page has 100 bytes. */
static void make_file(char *path, size_t len)
{
	uint64_t page[PAGE / 8] = {0};
	FILE *file;
	int fd;

	snprintf(path, len, "/var/tmp/anonmm-test-XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	file = fdopen(fd, "w");
	for (unsigned i = 0; i < FILE_PAGES; i++) {
		page[0] = i + 1;
		assert_int_equal(fwrite(page, 1, i + 1 < FILE_PAGES ? PAGE : 100, file),
			i + 1 < FILE_PAGES ? PAGE : 100);
	}
	fclose(file);
}

static void real_memory_maps_a_file(enum anonmm_faults faults)
{
	struct anonmm *mm = open_or_skip(ANONMM_UFFD, faults, false);
	struct anonmm_file *file;
	char path[64];

	make_file(path, sizeof(path));
	assert_int_equal(anonmm_file_open(mm, path, &file), 0);
	unlink(path);
	volatile uint64_t *words = anonmm_mmap_file(mm, NULL, FILE_PAGES * PAGE, RW, file, 0);

	assert_non_null(words);
	for (int round = 0; round < 2; round++)
		for (unsigned i = 0; i < FILE_PAGES; i++) {
			uint64_t expected = round && i % 3 == 0 ? 7 * i : i + 1;

			assert_int_equal(words[i * PAGE / 8], expected);
			if (i % 3 == 0)
				words[i * PAGE / 8] = 7 * i;
		}
	assert_int_equal(words[FILE_PAGES * PAGE / 8 - 1], 0); /* behind the end of the last page */
	anonmm_file_close(file);
	assert_int_equal(words[PAGE / 8], 2);
	anonmm_close(mm);
}

static void real_memory_maps_a_file_thread(void **state)
{
	(void)state;
	real_memory_maps_a_file(ANONMM_FAULTS_THREAD);
}

static void real_memory_maps_a_file_signal(void **state)
{
	(void)state;
	real_memory_maps_a_file(ANONMM_FAULTS_SIGNAL);
}

static void a_soft_space_maps_a_file(void **state)
{
	struct anonmm *mm = open_or_skip(ANONMM_SOFT, ANONMM_FAULTS_AUTO, false);
	struct anonmm_space *space;
	struct anonmm_file *file;
	uint64_t addr = 0, value;
	char path[64];

	(void)state;
	make_file(path, sizeof(path));
	assert_int_equal(anonmm_space_create(mm, &space), 0);
	assert_int_equal(anonmm_file_open(mm, path, &file), 0);
	assert_int_equal(
		anonmm_space_mmap_file(space, &addr, FILE_PAGES * PAGE, RW, true, file, 0), -EOPNOTSUPP);
	assert_int_equal(
		anonmm_space_mmap_file(space, &addr, FILE_PAGES * PAGE, RW, false, file, 1), -EINVAL);
	assert_int_equal(anonmm_space_mmap_file(space, &addr, FILE_PAGES * PAGE, RW, false, file, PAGE), 0);
	assert_int_equal(anonmm_load64(space, addr, &value), 0);
	assert_int_equal(value, 2);
	assert_int_equal(anonmm_load64(space, addr + (FILE_PAGES - 1) * PAGE, &value), -EIO);
	/* It shrinks and nobody says so: a page that was never read is lost, the next one too. */
	assert_int_equal(truncate(path, 2 * PAGE), 0);
	assert_int_equal(anonmm_load64(space, addr + 9 * PAGE, &value), -EIO);
	assert_int_equal(anonmm_file_resize(file, 2 * PAGE), 0);
	assert_int_equal(anonmm_load64(space, addr + PAGE, &value), -EIO);
	assert_int_equal(anonmm_load64(space, addr, &value), 0);
	unlink(path);
	anonmm_file_close(file);
	assert_int_equal(anonmm_file_open(mm, path, &file), -ENOENT);
	assert_int_equal(anonmm_file_open(mm, "/var/tmp", &file), -ENODEV);
	anonmm_close(mm);
}

static void soft_spaces_share_memory(void **state)
{
	struct anonmm *mm = open_or_skip(ANONMM_SOFT, ANONMM_FAULTS_AUTO, false);
	struct anonmm_space *a, *b;
	struct anonmm_file *file;
	uint64_t at_a = 0, at_b = 0, value;

	(void)state;
	assert_int_equal(anonmm_shared_create(mm, 0, &file), -EINVAL);
	assert_int_equal(anonmm_shared_create(mm, 12 * MIB, &file), 0);
	assert_int_equal(anonmm_space_create(mm, &a), 0);
	assert_int_equal(anonmm_space_create(mm, &b), 0);
	assert_int_equal(anonmm_space_mmap_file(a, &at_a, 12 * MIB, RW, true, file, 0), 0);
	assert_int_equal(anonmm_space_mmap_file(b, &at_b, 12 * MIB - PAGE, RW, true, file, PAGE), 0);
	anonmm_file_close(file);
	for (uint64_t i = PAGE; i < 12 * MIB; i += PAGE)
		assert_int_equal(anonmm_store64(a, at_a + i, i), 0);
	for (uint64_t i = PAGE; i < 12 * MIB; i += PAGE) {
		assert_int_equal(anonmm_load64(b, at_b + i - PAGE, &value), 0);
		assert_int_equal(value, i);
	}
	assert_true(stats(mm).written > 0);
	anonmm_close(mm);
}

/* I/O holds a buffer: memory pressure goes round it, the program lives, and what the device wrote is there. */
static void a_pinned_buffer_survives_pressure(void **state)
{
	struct anonmm *mm = open_or_skip(ANONMM_UFFD, ANONMM_FAULTS_THREAD, false);
	uint64_t *words = anonmm_mmap(mm, NULL, 16 * MIB, RW);
	struct iovec iov = {.iov_base = words, .iov_len = 16 * PAGE};
	struct io_uring ring;

	(void)state;
	memset(words, 1, 16 * PAGE);
	if (io_uring_queue_init(2, &ring, 0)) {
		anonmm_close(mm);
		SKIP_WITHOUT("io_uring", "no page can be pinned");
	}
	assert_int_equal(io_uring_register_buffers(&ring, &iov, 1), 0);
	for (int round = 0; round < 3; round++) {
		fill(words + 16 * PAGE / 8, 1);
		words[0] = (uint64_t)round; /* as a device would */
	}
	assert_int_equal(words[0], 2);
	assert_int_equal(anonmm_madvise(mm, words, 16 * PAGE, MADV_PAGEOUT), 0);
	assert_true(stats(mm).pinned > 0);
	assert_int_equal(anonmm_mprotect(mm, words, PAGE, PROT_READ), -EBUSY);
	io_uring_queue_exit(&ring);
	assert_int_equal(words[1], 0x0101010101010101);
	assert_int_equal(anonmm_munmap(mm, words, 16 * MIB), 0);
	anonmm_close(mm);
}

static void real_memory_cannot_be_shared(void **state)
{
	struct anonmm *mm = open_or_skip(ANONMM_UFFD, ANONMM_FAULTS_AUTO, false);
	struct anonmm_file *file;

	(void)state;
	assert_int_equal(anonmm_shared_create(mm, MIB, &file), -EOPNOTSUPP);
	assert_null(file);
	anonmm_close(mm);
}

/* ---- KSM ------------------------------------------------------------------------------------ */

static void equal_pages_of_soft_spaces_are_merged(void **state)
{
	struct anonmm *mm = open_or_skip(ANONMM_SOFT, ANONMM_FAULTS_AUTO, false);
	struct anonmm_space *spaces[3];
	uint64_t addr[3] = {0}, value;

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(anonmm_space_create(mm, &spaces[i]), 0);
		assert_int_equal(anonmm_space_mmap(spaces[i], &addr[i], 100 * PAGE, RW), 0);
		assert_int_equal(anonmm_space_madvise(spaces[i], addr[i], 100 * PAGE, MADV_MERGEABLE), 0);
		for (unsigned page = 0; page < 50; page++)
			assert_int_equal(anonmm_store64(spaces[i], addr[i] + page * PAGE, page + 1), 0);
	}
	uint64_t free_before = stats(mm).frames_free;

	assert_int_equal(anonmm_ksm_scan(mm, 10), 0);
	while (stats(mm).merged < 150)
		assert_true(anonmm_ksm_scan(mm, 1000) >= 0);
	assert_true(stats(mm).frames_free >= free_before + 100);
	assert_int_equal(anonmm_store64(spaces[1], addr[1], 77), 0);
	assert_int_equal(anonmm_space_madvise(spaces[2], addr[2], 100 * PAGE, MADV_UNMERGEABLE), 0);
	assert_true(stats(mm).unmerged >= 50);
	for (unsigned i = 0; i < 3; i++)
		for (unsigned page = 0; page < 50; page++) {
			assert_int_equal(anonmm_load64(spaces[i], addr[i] + page * PAGE, &value), 0);
			assert_int_equal(value, i == 1 && page == 0 ? 77 : page + 1);
		}
	anonmm_close(mm);
}

/* By ksmd, or already when they go. */
static uint64_t nr_shared(struct anonmm *mm)
{
	return stats(mm).merged + stats(mm).shared_slots;
}

static void equal_pages_of_real_memory_share_slots(void **state)
{
	struct anonmm *mm = open_or_skip(ANONMM_UFFD, ANONMM_FAULTS_THREAD, false);
	volatile uint64_t *words = anonmm_mmap(mm, NULL, 100 * PAGE, RW);

	(void)state;
	assert_non_null(words);
	assert_int_equal(anonmm_madvise(mm, (void *)words, 100 * PAGE, MADV_MERGEABLE), 0);
	for (unsigned page = 0; page < 100; page++)
		words[page * PAGE / 8] = page / 10 + 1;
	/* A page that is being written is passed over, and its slot goes when that has ended: until all have met. */
	for (unsigned i = 0; i < 5000 && (nr_shared(mm) < 90 || stats(mm).slots_used > 10); i++) {
		assert_int_equal(anonmm_madvise(mm, (void *)words, 100 * PAGE, 21 /* MADV_PAGEOUT */), 0);
		assert_true(anonmm_ksm_scan(mm, 1000) >= 0);
		usleep(1000);
	}
	assert_true(nr_shared(mm) >= 90);
	assert_in_range(stats(mm).slots_used, 1, 10);
	for (unsigned page = 0; page < 100; page++)
		assert_int_equal(words[page * PAGE / 8], page / 10 + 1);
	anonmm_close(mm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(equal_pages_of_soft_spaces_are_merged),
		cmocka_unit_test(equal_pages_of_real_memory_share_slots),
		cmocka_unit_test(a_snapshot_keeps_its_moment_thread),
		cmocka_unit_test(a_snapshot_keeps_its_moment_signal),
		cmocka_unit_test(a_snapshot_keeps_its_moment_copy),
		cmocka_unit_test(a_snapshot_is_of_one_moment),
		cmocka_unit_test(soft_spaces_fork),
		cmocka_unit_test(real_memory_maps_a_file_thread),
		cmocka_unit_test(real_memory_maps_a_file_signal),
		cmocka_unit_test(a_soft_space_maps_a_file),
		cmocka_unit_test(soft_spaces_share_memory),
		cmocka_unit_test(a_pinned_buffer_survives_pressure),
		cmocka_unit_test(real_memory_cannot_be_shared),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

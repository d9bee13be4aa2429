/* SPDX-License-Identifier: MIT */
/* Private file mappings and shared memory: births from a page cache, truncation, read errors, swap of shmem. */
#define _GNU_SOURCE
#include "soft_world.h"
#include "swap/faulty.h"

/* A file of numbers: word 0 of page i is 1000 + i. */
struct numbers {
	unsigned reads;
	uint64_t bad_index; /* its read fails; UINT64_MAX: none */
	bool released;
};

static struct numbers numbers;

static int numbers_read(void *ctx, uint64_t index, void *bytes)
{
	struct numbers *n = ctx;
	uint64_t word = 1000 + index;

	n->reads++;
	if (index == n->bad_index)
		return -EIO;
	memset(bytes, (int)index & 0xff, PAGE_BYTES);
	memcpy(bytes, &word, sizeof(word));
	return 0;
}

static void numbers_release(void *ctx)
{
	((struct numbers *)ctx)->released = true;
}

static const struct file_ops numbers_ops = {numbers_read, numbers_release};

static int set_up_numbers(void **state)
{
	(void)state;
	numbers = (struct numbers){.bad_index = UINT64_MAX};
	return open_soft_world(512);
}

static struct page_view cached_at(struct file *file, uint64_t index)
{
	struct page_view view;

	file_view(file, index, &view);
	return view;
}

static struct file *numbers_open(uint64_t bytes)
{
	struct file *file;

	assert_int_equal(file_create(world.pager, &numbers_ops, &numbers, bytes, &file), 0);
	return file;
}

static struct file *shmem_open(uint64_t bytes)
{
	struct file *file;

	assert_int_equal(file_create(world.pager, NULL, NULL, bytes, &file), 0);
	return file;
}

static void close_file(struct file *file)
{
	struct wait wait = {0};

	assert_int_equal(WORLD_RETRY(&world, &wait, file_close(file, &wait)), 0);
}

static void truncate_file(struct file *file, uint64_t bytes)
{
	struct wait wait = {0};

	assert_int_equal(WORLD_RETRY(&world, &wait, file_truncate(file, bytes, &wait)), 0);
}

static uint64_t map(struct place *p, struct file *file, uint64_t len, unsigned flags)
{
	uint64_t addr = 0;

	assert_int_equal(place_mmap_file(p, &addr, len, PROT_READ | PROT_WRITE, flags, file, 0), 0);
	return addr;
}

static void a_read_maps_the_cached_page_and_a_write_copies_it(void **state)
{
	struct file *file = numbers_open(64 * KIB);
	uint64_t addr = map(&parent, file, 64 * KIB, 0), again = map(&parent, file, 64 * KIB, 0);

	(void)state;
	assert_int_equal(load(&parent, addr + PAGE_BYTES), 1001);
	assert_int_equal(load(&parent, again + PAGE_BYTES), 1001);
	assert_int_equal(numbers.reads, 1);
	struct page_view view = view_of(&parent, addr + PAGE_BYTES);

	assert_int_equal(view.kind, PAGE_KIND_FILE);
	assert_int_equal(view.mapcount, 1);
	assert_int_equal(view.count, 3);
	assert_false(view.pte_write);
	valid();
	store(&parent, addr + PAGE_BYTES, 5);
	valid();
	assert_int_equal(load(&parent, again + PAGE_BYTES), 1001);
	assert_int_equal(view_of(&parent, addr + PAGE_BYTES).kind, PAGE_KIND_ANON);
	assert_int_equal(view_of(&parent, again + PAGE_BYTES).count, 2);
	close_file(file);
	assert_false(numbers.released); /* the mappings hold it */
	assert_int_equal(place_munmap(&parent, addr, 64 * KIB), 0);
	assert_int_equal(load(&parent, again + 2 * PAGE_BYTES), 1002);
	assert_int_equal(place_munmap(&parent, again, 64 * KIB), 0);
	assert_true(numbers.released);
}

static void a_first_write_copies_at_once(void **state)
{
	struct file *file = numbers_open(64 * KIB);
	uint64_t addr = map(&parent, file, 64 * KIB, 0);

	(void)state;
	store(&parent, addr + 8, 5);
	struct page_view view = view_of(&parent, addr), cached = cached_at(file, 0);

	assert_int_equal(view.kind, PAGE_KIND_ANON);
	assert_true(view.pte_write);
	assert_int_equal(cached.kind, PAGE_KIND_FILE);
	assert_int_equal(cached.count, 1);
	assert_int_equal(cached.mapcount, -1);
	assert_int_equal(load(&parent, addr), 1000);
	valid();
	close_file(file);
}

static void behind_the_end_is_sigbus_and_a_shorter_file_takes_its_copies_along(void **state)
{
	struct file *file = numbers_open(8 * PAGE_BYTES - 100);
	uint64_t addr = map(&parent, file, 16 * PAGE_BYTES, 0), value;

	(void)state;
	assert_int_equal(load(&parent, addr + 7 * PAGE_BYTES), 1007);
	assert_int_equal(soft_load64(parent.mmu, addr + 8 * PAGE_BYTES, &value), -EIO);
	store(&parent, addr + 5 * PAGE_BYTES, 55);
	store(&parent, addr + 3 * PAGE_BYTES, 33);
	truncate_file(file, 4 * PAGE_BYTES);
	valid();
	assert_int_equal(view_of(&parent, addr + 5 * PAGE_BYTES).pte, PTE_KIND_NONE);
	assert_int_equal(soft_load64(parent.mmu, addr + 5 * PAGE_BYTES, &value), -EIO);
	assert_int_equal(load(&parent, addr + 3 * PAGE_BYTES), 33);
	truncate_file(file, 16 * PAGE_BYTES);
	assert_int_equal(load(&parent, addr + 5 * PAGE_BYTES), 1005);
	close_file(file);
}

static void a_read_error_is_sigbus_and_is_asked_again(void **state)
{
	struct file *file = numbers_open(64 * KIB);
	uint64_t addr = map(&parent, file, 64 * KIB, 0), value;

	(void)state;
	numbers.bad_index = 2;
	assert_int_equal(soft_load64(parent.mmu, addr + 2 * PAGE_BYTES, &value), -EIO);
	assert_int_equal(soft_store64(parent.mmu, addr + 2 * PAGE_BYTES, 1), -EIO);
	valid();
	assert_int_equal(stats().file_errors, 2);
	numbers.bad_index = UINT64_MAX;
	assert_int_equal(load(&parent, addr + 2 * PAGE_BYTES), 1002);
	close_file(file);
}

static void pressure_drops_clean_file_pages_and_swaps_their_copies(void **state)
{
	enum { PAGES = 2000 };
	struct file *file = numbers_open(PAGES * PAGE_BYTES);
	uint64_t addr = map(&parent, file, PAGES * PAGE_BYTES, 0);

	(void)state;
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < PAGES; i++) {
			uint64_t expected = round && i % 3 == 0 ? 7000 + i : 1000 + i;

			assert_int_equal(load(&parent, addr + i * PAGE_BYTES), expected);
			if (i % 3 == 0)
				store(&parent, addr + i * PAGE_BYTES, 7000 + i);
		}
		valid();
	}
	assert_true(stats().written > 0);
	assert_true(numbers.reads > PAGES);
	close_file(file);
}

static void shared_memory_is_one_for_all_who_map_it(void **state)
{
	struct file *file = shmem_open(64 * KIB);
	uint64_t addr = map(&parent, file, 64 * KIB, SPACE_SHARED);
	struct place child;

	(void)state;
	assert_int_equal(load(&parent, addr), 0);
	assert_int_equal(view_of(&parent, addr).kind, PAGE_KIND_SHMEM);
	assert_true(view_of(&parent, addr).pte_write);
	store(&parent, addr, 1);
	assert_int_equal(place_fork(&parent, &child), 0);
	assert_int_equal(view_of(&child, addr).pte, PTE_KIND_NONE); /* faults fill it */
	store(&child, addr, 2);
	assert_int_equal(load(&parent, addr), 2);
	assert_int_equal(view_of(&parent, addr).mapcount, 1);
	valid();
	uint64_t private = map(&parent, file, 64 * KIB, 0);

	store(&parent, private, 3); /* do_cow_page */
	assert_int_equal(load(&parent, addr), 2);
	assert_int_equal(load(&parent, private), 3);
	place_close(&child);
	valid();
	close_file(file);
}

static void shared_memory_goes_out_and_comes_back(void **state)
{
	enum { PAGES = 1200 };
	struct file *file = shmem_open(PAGES * PAGE_BYTES);
	uint64_t addr = map(&parent, file, PAGES * PAGE_BYTES, SPACE_SHARED);
	struct place child;

	(void)state;
	for (unsigned i = 0; i < PAGES; i++)
		store(&parent, addr + i * PAGE_BYTES, i % 5 ? i : 0);
	valid();
	assert_int_equal(place_fork(&parent, &child), 0);
	for (unsigned i = 0; i < PAGES; i++)
		assert_int_equal(load(&child, addr + i * PAGE_BYTES), i % 5 ? i : 0);
	valid();
	assert_int_equal(place_madvise(&child, addr, 16 * PAGE_BYTES, MADV_PAGEOUT), 0);
	while (pager_poll(world.pager, SWAP_WRITE, 1) > 0)
		;
	assert_int_equal(view_of(&child, addr + PAGE_BYTES).pte, PTE_KIND_NONE);
	assert_int_equal(cached_at(file, 1).pte, PTE_KIND_SWAP);
	assert_int_equal(cached_at(file, 1).swap_count, 1);
	valid();
	store(&parent, addr + PAGE_BYTES, 9);
	assert_int_equal(load(&child, addr + PAGE_BYTES), 9);
	valid();
	place_close(&child);
	close_file(file);
	assert_int_equal(place_munmap(&parent, addr, PAGES * PAGE_BYTES), 0);
	assert_int_equal(stats().slots_used, 0);
}

static void the_last_page_is_cut_also_when_it_is_out(void **state)
{
	struct file *file = shmem_open(2 * PAGE_BYTES);
	uint64_t addr = map(&parent, file, 2 * PAGE_BYTES, SPACE_SHARED);

	(void)state;
	store(&parent, addr + PAGE_BYTES, 1);
	store(&parent, addr + PAGE_BYTES + 1000, 2);
	world_squeeze(&world);
	assert_int_equal(cached_at(file, 1).pte, PTE_KIND_SWAP);
	truncate_file(file, PAGE_BYTES + 500);
	valid();
	truncate_file(file, 2 * PAGE_BYTES);
	assert_int_equal(load(&parent, addr + PAGE_BYTES), 1);
	assert_int_equal(load(&parent, addr + PAGE_BYTES + 1000), 0);
	close_file(file);
}

/*
 * Swappiness says: anonymous pages alone. There is one on the list, and it cannot go, since its write has failed: then
 * files' go all the same, and not the page that is to be copied.
 */
static void when_nothing_else_can_go_swappiness_is_ignored(void **state)
{
	struct world_config config = {.kind = ANONMM_SOFT,
		.nr_frames = 64,
		.swappiness = 200,
		.space_bytes = 64 * MIB,
		.swap = "faulty:mem:?size=32M"};
	struct world was = world;
	struct place tight, child;
	uint64_t anon = 0;

	(void)state;
	assert_int_equal(world_open(&world, &config), 0);
	assert_int_equal(place_open(&tight, &world), 0);
	struct file *file = numbers_open(80 * PAGE_BYTES);
	uint64_t addr = map(&tight, file, 80 * PAGE_BYTES, 0);

	assert_int_equal(place_mmap(&tight, &anon, 2 * PAGE_BYTES, PROT_READ | PROT_WRITE, 0), 0);
	store(&tight, anon, 4);
	faulty_fail(world.dev, SWAP_WRITE, 1, EIO, false);
	world_squeeze(&world);
	assert_int_equal(stats().io_errors, 1);
	store(&tight, anon + PAGE_BYTES, 5);
	assert_int_equal(place_fork(&tight, &child), 0);
	world_squeeze(&world);
	for (unsigned i = 0; i < 80; i++)
		assert_int_equal(load(&tight, addr + i * PAGE_BYTES), 1000 + i);
	store(&child, anon + PAGE_BYTES, 6);
	assert_int_equal(load(&tight, anon + PAGE_BYTES), 5);
	assert_int_equal(load(&child, anon + PAGE_BYTES), 6);
	valid();
	close_file(file);
	place_close(&child);
	place_close(&tight);
	world_close(&world);
	world = was;
}

static void bad_requests_are_refused(void **state)
{
	struct file *file = numbers_open(64 * KIB);
	uint64_t addr = 0;

	(void)state;
	assert_int_equal(
		place_mmap_file(&parent, &addr, 64 * KIB, PROT_READ, SPACE_SHARED, file, 0), -EOPNOTSUPP);
	assert_int_equal(place_mmap_file(&parent, &addr, 64 * KIB, PROT_READ, 0x100, file, 0), -EINVAL);
	assert_int_equal(place_mmap_file(&parent, &addr, 0, PROT_READ, 0, file, 0), -EINVAL);
	assert_int_equal(place_mmap_file(&parent, &addr, 64 * KIB, PROT_READ, 0, file, UINT64_MAX), -EINVAL);
	assert_int_equal(place_mmap_file(&parent, &addr, UINT64_MAX, PROT_READ, 0, file, 0), -EINVAL);
	valid();
	close_file(file);
	assert_int_equal(file_create(world.pager, NULL, NULL, 1ull << 50, &file), -EFBIG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			a_read_maps_the_cached_page_and_a_write_copies_it, set_up_numbers, tear_down),
		cmocka_unit_test_setup_teardown(a_first_write_copies_at_once, set_up_numbers, tear_down),
		cmocka_unit_test_setup_teardown(
			behind_the_end_is_sigbus_and_a_shorter_file_takes_its_copies_along, set_up_numbers,
			tear_down),
		cmocka_unit_test_setup_teardown(
			a_read_error_is_sigbus_and_is_asked_again, set_up_numbers, tear_down),
		cmocka_unit_test_setup_teardown(
			pressure_drops_clean_file_pages_and_swaps_their_copies, set_up_numbers, tear_down),
		cmocka_unit_test_setup_teardown(
			shared_memory_is_one_for_all_who_map_it, set_up_numbers, tear_down),
		cmocka_unit_test_setup_teardown(
			shared_memory_goes_out_and_comes_back, set_up_numbers, tear_down),
		cmocka_unit_test_setup_teardown(
			the_last_page_is_cut_also_when_it_is_out, set_up_numbers, tear_down),
		cmocka_unit_test_setup_teardown(
			when_nothing_else_can_go_swappiness_is_ignored, set_up_numbers, tear_down),
		cmocka_unit_test_setup_teardown(bad_requests_are_refused, set_up_numbers, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

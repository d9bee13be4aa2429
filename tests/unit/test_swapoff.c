/* SPDX-License-Identifier: MIT */
/* swapoff while programs run: everything comes back, or all stays as it was. */
#define _GNU_SOURCE
#include "../needs.h"
#include "../world.h"
#include "mm/mm.h"
#include "swap/faulty.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define FIRST "mem:?size=8M"
#define SECOND "mem:?size=16M"
#define NR_FRAMES 1024u
#define PAGES 256u

static struct world world;
static struct place parent;
static uint64_t base;

static int open_world(struct world_config config)
{
	base = 0;
	config.space_bytes = 64 * MIB;
	if (world_open(&world, &config) || place_open(&parent, &world))
		return -1;
	return place_mmap(&parent, &base, 32 * MIB, PROT_READ | PROT_WRITE, SPACE_NORESERVE);
}

static int set_up(void **state)
{
	(void)state;
	return open_world((struct world_config){.kind = ANONMM_SOFT, .nr_frames = NR_FRAMES, .swap = FIRST});
}

static void valid(void)
{
	char why[200];
	const char *wrong = pager_validate(world.pager, why, sizeof(why));

	if (wrong)
		fail_msg("%s", wrong);
}

static struct anonmm_stats stats(void)
{
	struct anonmm_stats now;

	pager_stats(world.pager, &now);
	return now;
}

static void reap(void)
{
	while (pager_in_flight(world.pager, SWAP_WRITE) || pager_in_flight(world.pager, SWAP_READ)) {
		pager_poll(world.pager, SWAP_WRITE, 1);
		pager_poll(world.pager, SWAP_READ, 1);
	}
}

static int tear_down(void **state)
{
	struct anonmm_stats now;

	(void)state;
	if (parent.space)
		place_close(&parent);
	(world.kind == ANONMM_SOFT ? soft_machine_stop : uffd_machine_stop)(
		world.machine); /* it may hold pages */
	reap();
	valid();
	now = stats();
	assert_int_equal(now.frames_free, now.frames - (world.kind == ANONMM_SOFT));
	world_close(&world);
	return 0;
}

static struct page_view view_of(struct place *p, uint64_t addr)
{
	struct page_view view;

	space_view(p->space, addr, &view);
	return view;
}

static void store(struct place *p, uint64_t addr, uint64_t value)
{
	assert_int_equal(place_write(p, addr, &value, sizeof(value)), 0);
}

static uint64_t load(struct place *p, uint64_t addr)
{
	uint64_t value = 0;

	assert_int_equal(place_read(p, addr, &value, sizeof(value)), 0);
	return value;
}

static void fill(unsigned nr)
{
	for (unsigned i = 0; i < nr; i++)
		store(&parent, base + i * PAGE_BYTES, i + 1);
}

static void check(struct place *p, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++)
		assert_int_equal(load(p, base + i * PAGE_BYTES), i + 1);
}

static void page_out(struct place *p, uint64_t addr, uint64_t len)
{
	assert_int_equal(place_madvise(p, addr, len, MADV_PAGEOUT), 0);
	reap();
	pager_reclaim(world.pager, (unsigned)(len / PAGE_BYTES)); /* written: now their frames */
	reap();
	assert_int_equal(view_of(p, addr).pte, PTE_KIND_SWAP);
	assert_int_equal(view_of(p, addr).pfn, PFN_NONE);
}

static int swapoff(const char *uri)
{
	struct wait wait = {0};

	return WORLD_RETRY(&world, &wait, pager_swapoff(world.pager, uri, &wait));
}

static void swapon(const char *uri, int priority)
{
	char why[200];
	struct swapdev *dev;

	assert_int_equal(swapdev_open(uri, &dev, why, sizeof(why)), 0);
	assert_int_equal(pager_add_swap(world.pager, dev, priority), 0);
}

static void pages_come_back_present_and_dirty(void **state)
{
	(void)state;
	fill(PAGES);
	page_out(&parent, base, PAGES * PAGE_BYTES);
	assert_true(stats().slots_used >= PAGES);
	uint64_t metadata = stats().metadata_bytes;

	assert_int_equal(swapoff(FIRST), 0);
	valid();
	assert_int_equal(stats().slots, 0);
	assert_int_equal(stats().slots_used, 0);
	assert_true(stats().metadata_bytes < metadata);
	for (unsigned i = 0; i < PAGES; i++) {
		struct page_view view = view_of(&parent, base + i * PAGE_BYTES);

		assert_int_equal(view.pte, PTE_KIND_PRESENT);
		assert_int_equal(view.mapcount, 0);
		assert_int_equal(view.count, 1);
		assert_int_equal(
			view.flags & (PG_dirty | PG_uptodate | PG_swapcache), PG_dirty | PG_uptodate);
	}
	assert_int_equal(swapoff(FIRST), -ENOENT);
	check(&parent, PAGES);
	fill(PAGES);
	check(&parent, PAGES);
	/* The number is free for another device, with other slots. */
	swapon(SECOND, 3);
	assert_int_equal(stats().slots, 4096);
	page_out(&parent, base, PAGES * PAGE_BYTES);
	assert_int_equal(view_of(&parent, base).swap_type, 0);
	valid();
	check(&parent, PAGES);
}

/* mprotect(PROT_NONE) hides a page from its program, not from swapoff. */
static void rights_do_not_matter(void **state)
{
	uint64_t value;

	(void)state;
	fill(PAGES);
	page_out(&parent, base, PAGES * PAGE_BYTES);
	assert_int_equal(place_mprotect(&parent, base, 32 * MIB, PROT_NONE), 0);
	assert_int_equal(swapoff(FIRST), 0);
	valid();
	assert_int_equal(soft_load64(parent.mmu, base, &value), -EFAULT);
	assert_int_equal(place_mprotect(&parent, base, 32 * MIB, PROT_READ), 0);
	check(&parent, PAGES);
	assert_int_equal(soft_store64(parent.mmu, base, 1), -EFAULT);
}

static void a_family_shares_what_comes_back(void **state)
{
	struct place child, grandchild;

	(void)state;
	fill(PAGES);
	page_out(&parent, base, PAGES * PAGE_BYTES);
	assert_int_equal(place_fork(&parent, &child), 0);
	assert_int_equal(place_fork(&child, &grandchild), 0);
	uint64_t before = stats().frames_free;

	assert_int_equal(swapoff(FIRST), 0);
	valid();
	assert_in_range(before - stats().frames_free, 1, PAGES); /* one frame for all three */
	for (unsigned i = 0; i < PAGES; i++) {
		struct page_view view = view_of(&grandchild, base + i * PAGE_BYTES);

		assert_int_equal(view.mapcount, 2);
		assert_int_equal(view.pfn, view_of(&parent, base + i * PAGE_BYTES).pfn);
		assert_false(view.pte_write);
	}
	store(&child, base, 99);
	check(&parent, PAGES);
	check(&grandchild, PAGES);
	place_close(&child);
	place_close(&grandchild);
}

static void mapped_and_cached_pages_leave_the_cache(void **state)
{
	(void)state;
	fill(PAGES);
	page_out(&parent, base, PAGES * PAGE_BYTES);
	check(&parent, PAGES / 2); /* mapped, clean, their slots kept */
	assert_true(view_of(&parent, base).flags & PG_swapcache);
	assert_int_equal(place_madvise(&parent, base + MIB, MIB / 2, MADV_WILLNEED), 0);
	assert_int_equal(swapoff(FIRST), 0);
	valid();
	assert_false(view_of(&parent, base).flags & PG_swapcache);
	assert_true(view_of(&parent, base).flags & PG_dirty);
	check(&parent, PAGES);
}

static void writes_under_way_are_waited_for(void **state)
{
	struct wait wait;

	(void)state;
	fill(PAGES);
	assert_int_equal(place_madvise(&parent, base, PAGES * PAGE_BYTES, MADV_PAGEOUT), 0);
	assert_int_equal(pager_swapoff(world.pager, FIRST, &wait), -EAGAIN);
	valid();
	assert_int_equal(swapoff(FIRST), 0);
	check(&parent, PAGES);
}

static void shared_memory_comes_back_to_its_page_cache(void **state)
{
	struct file *file;
	struct wait wait = {0};
	struct page_view cached;
	uint64_t addr = 0;

	(void)state;
	assert_int_equal(file_create(world.pager, NULL, NULL, MIB, &file), 0);
	assert_int_equal(
		place_mmap_file(&parent, &addr, MIB, PROT_READ | PROT_WRITE, SPACE_SHARED, file, 0), 0);
	for (unsigned i = 0; i < PAGES; i++)
		store(&parent, addr + i * PAGE_BYTES, i + 7);
	assert_int_equal(place_madvise(&parent, addr, MIB, MADV_PAGEOUT), 0);
	reap();
	file_view(file, 3, &cached);
	assert_int_equal(cached.pte, PTE_KIND_SWAP);
	/* Also what nobody maps. */
	assert_int_equal(place_munmap(&parent, addr, MIB), 0);
	assert_int_equal(swapoff(FIRST), 0);
	valid();
	file_view(file, 3, &cached);
	assert_int_equal(cached.pte, PTE_KIND_PRESENT);
	assert_true(cached.flags & PG_dirty);
	addr = 0;
	assert_int_equal(
		place_mmap_file(&parent, &addr, MIB, PROT_READ | PROT_WRITE, SPACE_SHARED, file, 0), 0);
	for (unsigned i = 0; i < PAGES; i++)
		assert_int_equal(load(&parent, addr + i * PAGE_BYTES), i + 7);
	assert_int_equal(WORLD_RETRY(&world, &wait, file_close(file, &wait)), 0);
}

/* ---- Refusals ------------------------------------------------------------------------------------------ */

static void without_room_nothing_changes(void **state)
{
	struct anonmm_stats before;

	(void)state;
	fill(2 * NR_FRAMES);
	reap();
	before = stats();
	assert_int_equal(swapoff(FIRST), -ENOMEM);
	valid();
	assert_int_equal(stats().slots, before.slots);
	assert_int_equal(stats().slots_used, before.slots_used);
	assert_int_equal(stats().frames_free, before.frames_free);
	check(&parent, 2 * NR_FRAMES);
}

static void what_does_not_fit_goes_to_the_other_area(void **state)
{
	(void)state;
	fill(2 * NR_FRAMES);
	swapon(SECOND, -1);
	assert_int_equal(swapoff(FIRST), 0);
	valid();
	assert_int_equal(stats().slots, 4096);
	check(&parent, 2 * NR_FRAMES);
	assert_int_equal(
		view_of(&parent, base).pte == PTE_KIND_SWAP ? view_of(&parent, base).swap_type : 1, 1);
	assert_int_equal(swapoff(SECOND), -ENOMEM);
	valid();
	check(&parent, 2 * NR_FRAMES);
	swapon(FIRST, 0);
	assert_int_equal(swapoff(SECOND), 0);
	check(&parent, 2 * NR_FRAMES);
}

static void a_cancelled_one_can_be_begun_again(void **state)
{
	struct wait wait;

	(void)state;
	fill(PAGES);
	page_out(&parent, base, PAGES * PAGE_BYTES);
	uint64_t used = stats().slots_used;

	pager_swapoff_cancel(world.pager);
	assert_int_equal(pager_swapoff(world.pager, FIRST, &wait), -EAGAIN);
	assert_int_equal(stats().slots, 0);
	pager_swapoff_cancel(world.pager);
	reap();
	valid();
	assert_int_equal(stats().slots, 2048);
	assert_true(stats().slots_used <= used && stats().slots_used > 0);
	page_out(&parent, base, PAGES * PAGE_BYTES);
	assert_int_equal(swapoff(FIRST), 0);
	check(&parent, PAGES);
}

static void only_one_at_a_time(void **state)
{
	struct wait wait;

	(void)state;
	swapon(SECOND, -1);
	fill(PAGES);
	page_out(&parent, base, PAGES * PAGE_BYTES);
	assert_int_equal(pager_swapoff(world.pager, FIRST, &wait), -EAGAIN);
	assert_int_equal(pager_swapoff(world.pager, SECOND, &wait), -EBUSY);
	assert_int_equal(swapoff(FIRST), 0);
	assert_int_equal(swapoff(SECOND), 0);
	check(&parent, PAGES);
}

/* Somebody else is in the device's poll(): it is closed after they have left. */
static void a_device_that_is_in_use_is_not_closed(void **state)
{
	struct wait wait;

	(void)state;
	fill(PAGES);
	assert_non_null(area_enter(world.pager, 0));
	assert_int_equal(pager_swapoff(world.pager, FIRST, &wait), -EAGAIN);
	assert_int_equal(pager_poll(world.pager, SWAP_READ, 0), 0);
	assert_null(area_enter(world.pager, 0));
	area_leave(world.pager, 0);
	assert_int_equal(pager_swapoff(world.pager, FIRST, &wait), 0);
	check(&parent, PAGES);
}

/* ---- A device that fails ------------------------------------------------------------------------------------ */

static int set_up_faulty(void **state)
{
	(void)state;
	return open_world((struct world_config){
		.kind = ANONMM_SOFT, .nr_frames = NR_FRAMES, .swap = "faulty:mem:?size=8M&seed=3"});
}

static char said[400];

static void keep_saying(struct machine *machine, const char *text)
{
	(void)machine;
	snprintf(said, sizeof(said), "%s", text);
}

static void a_lost_page_keeps_the_area_in_use(void **state)
{
	char uri[256];
	uint64_t value, lost = 0;
	unsigned nr_lost = 0;

	(void)state;
	snprintf(uri, sizeof(uri), "%s", world.dev->uri);
	world.ops.say = keep_saying;
	fill(PAGES);
	page_out(&parent, base, PAGES * PAGE_BYTES);
	faulty_corrupt(world.dev, 1, false);
	assert_int_equal(swapoff(uri), -EIO);
	valid();
	assert_non_null(strstr(said, "is lost"));
	assert_int_equal(stats().slots, 2048);
	assert_int_equal(stats().lost_pages, 1);
	for (unsigned i = 0; i < PAGES; i++) {
		int error = soft_load64(parent.mmu, base + i * PAGE_BYTES, &value);

		if (!error) {
			assert_int_equal(value, i + 1);
			continue;
		}
		assert_int_equal(error, -EIO);
		lost = base + i * PAGE_BYTES;
		nr_lost++;
	}
	assert_int_equal(nr_lost, 1);
	/* Without that page nothing stands in the way. */
	assert_int_equal(place_munmap(&parent, lost, PAGE_BYTES), 0);
	assert_int_equal(swapoff(uri), 0);
}

/* A read of many that fails once is made again, page by page; one that always fails leaves all as it was. */
static void failed_reads_are_told_from_lost_pages(void **state)
{
	char uri[256];

	(void)state;
	snprintf(uri, sizeof(uri), "%s", world.dev->uri);
	fill(PAGES);
	page_out(&parent, base, PAGES * PAGE_BYTES);
	faulty_fail(world.dev, SWAP_READ, 1, EIO, true);
	assert_int_equal(swapoff(uri), -EIO);
	reap();
	valid();
	assert_int_equal(stats().slots, 2048);
	assert_true(stats().lost_pages > 0);
	faulty_fail(world.dev, SWAP_READ, 0, 0, false);
	assert_int_equal(place_munmap(&parent, base, 32 * MIB), 0);

	base = 0;
	assert_int_equal(place_mmap(&parent, &base, 2 * MIB, PROT_READ | PROT_WRITE, 0), 0);
	fill(PAGES);
	page_out(&parent, base, PAGES * PAGE_BYTES);
	uint64_t lost = stats().lost_pages;

	faulty_fail(world.dev, SWAP_READ, 1, EIO, false);
	assert_int_equal(swapoff(uri), 0);
	valid();
	assert_int_equal(stats().lost_pages, lost);
	check(&parent, PAGES);
}

static void reads_that_hang_can_be_cancelled(void **state)
{
	char uri[256];
	struct wait wait;

	(void)state;
	snprintf(uri, sizeof(uri), "%s", world.dev->uri);
	fill(PAGES);
	page_out(&parent, base, PAGES * PAGE_BYTES);
	faulty_hold(world.dev, SWAP_READ, true);
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(pager_swapoff(world.pager, uri, &wait), -EAGAIN);
	pager_swapoff_cancel(world.pager);
	valid();
	assert_int_equal(stats().slots, 2048);
	faulty_hold(world.dev, SWAP_READ, false);
	reap();
	check(&parent, PAGES);
	assert_int_equal(swapoff(uri), 0);
	check(&parent, PAGES);
}

/* ---- Under pressure, with threads ----------------------------------------------------------------------------- */

static _Atomic(unsigned) failures;

static void *count_up(void *arg)
{
	uint64_t at = base + (uintptr_t)arg * sizeof(uint64_t), value;

	for (uint64_t round = 0; round < 6; round++)
		for (unsigned i = 0; i < 400; i++) {
			if (place_read(&parent, at + i * PAGE_BYTES, &value, sizeof(value)) || value != round)
				failures++;
			value = round + 1;
			if (place_write(&parent, at + i * PAGE_BYTES, &value, sizeof(value)))
				failures++;
		}
	return NULL;
}

static void race(void)
{
	pthread_t writers[3];
	int error = 0;

	failures = 0;
	for (uintptr_t i = 0; i < 3; i++)
		pthread_create(&writers[i], NULL, count_up, (void *)i);
	for (unsigned i = 0; i < 10 && !error; i++) {
		swapon(i % 2 ? FIRST : SECOND, 0);
		error = swapoff(i % 2 ? SECOND : FIRST);
	}
	for (unsigned i = 0; i < 3; i++)
		pthread_join(writers[i], NULL);
	assert_int_equal(error, 0);
	assert_int_equal(failures, 0);
	valid();
}

static void areas_change_while_threads_swap(void **state)
{
	(void)state;
	assert_int_equal(open_world((struct world_config){
				 .kind = ANONMM_SOFT, .nr_frames = 256, .threads = true, .swap = FIRST}),
		0);
	race();
	tear_down(NULL);
}

static void areas_change_under_real_memory(void **state)
{
	(void)state;
	if (open_world((struct world_config){.kind = ANONMM_UFFD, .nr_frames = 256, .swap = FIRST}))
		SKIP_WITHOUT(REAL_MEMORY, "%s", world.why);
	race();
	tear_down(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(pages_come_back_present_and_dirty),
		TEST(rights_do_not_matter),
		TEST(a_family_shares_what_comes_back),
		TEST(mapped_and_cached_pages_leave_the_cache),
		TEST(writes_under_way_are_waited_for),
		TEST(shared_memory_comes_back_to_its_page_cache),
		TEST(without_room_nothing_changes),
		TEST(what_does_not_fit_goes_to_the_other_area),
		TEST(a_cancelled_one_can_be_begun_again),
		TEST(only_one_at_a_time),
		TEST(a_device_that_is_in_use_is_not_closed),
		cmocka_unit_test_setup_teardown(a_lost_page_keeps_the_area_in_use, set_up_faulty, tear_down),
		cmocka_unit_test_setup_teardown(
			failed_reads_are_told_from_lost_pages, set_up_faulty, tear_down),
		cmocka_unit_test_setup_teardown(reads_that_hang_can_be_cancelled, set_up_faulty, tear_down),
		cmocka_unit_test(areas_change_while_threads_swap),
		cmocka_unit_test(areas_change_under_real_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* Shared memory and files where memory, requests or room are short, and while other threads work on their pages. */
#include "mm_world.h"

#define PAGES 16u
#define SWAP "faulty:mem:?size=8M"

static struct file *shmem;
static uint64_t at;

static int set_up(void **state)
{
	(void)state;
	if (open_world((struct world_config){.kind = ANONMM_SOFT, .nr_frames = 512, .swap = SWAP}))
		return -1;
	shmem = shmem_open(PAGES * PAGE_BYTES, &at);
	return 0;
}

static int tear_down(void **state)
{
	close_file(shmem);
	return close_world(state);
}

static struct page_view cached_at(uint64_t index)
{
	struct page_view view;

	file_view(shmem, index, &view);
	return view;
}

static void all_out(void)
{
	fill(at, PAGES);
	page_out(&parent, at, PAGES);
	assert_int_equal(cached_at(PAGES - 1).pte, PTE_KIND_SWAP);
	assert_int_equal(cached_at(PAGES - 1).pfn, PFN_NONE);
}

/* Cut the last page, which is out, to 500 bytes. */
static int cut(struct wait *wait)
{
	return file_truncate(shmem, PAGES * PAGE_BYTES - 3596, wait);
}

static void cut_and_check(void)
{
	struct wait wait = {0};

	assert_int_equal(WORLD_RETRY(&world, &wait, cut(&wait)), 0);
	valid();
	assert_int_equal(cached_at(PAGES - 1).pte, PTE_KIND_PRESENT);
	assert_int_equal(load(&parent, at + (PAGES - 1) * PAGE_BYTES), PAGES);
	assert_int_equal(load(&parent, at + (PAGES - 1) * PAGE_BYTES + 3000), 0);
}

static void a_cut_waits_for_the_page_s_write(void **state)
{
	struct wait wait;

	(void)state;
	fill(at, PAGES);
	faulty_hold(world.dev, SWAP_WRITE, true);
	assert_int_equal(place_madvise(&parent, at, PAGES * PAGE_BYTES, MADV_PAGEOUT), 0);
	assert_int_equal(cached_at(PAGES - 1).pte, PTE_KIND_SWAP);
	assert_int_equal(cut(&wait), -EAGAIN);
	assert_int_equal(wait.what, WAIT_WRITE);
	faulty_hold(world.dev, SWAP_WRITE, false);
	cut_and_check();
}

static void a_cut_waits_for_whoever_has_locked_the_page(void **state)
{
	struct wait wait;
	struct page *page;

	(void)state;
	fill(at, PAGES);
	page = page_of(&parent, at + (PAGES - 1) * PAGE_BYTES);
	lock_page(page);
	assert_int_equal(cut(&wait), -EAGAIN);
	assert_int_equal(wait.what, WAIT_PAGE);
	unlock_page(page);
	cut_and_check();
}

static void a_cut_without_frames_fails_and_can_be_made_again(void **state)
{
	struct wait wait;

	(void)state;
	all_out();
	take_all_but(0);
	assert_int_equal(cut(&wait), -ENOMEM);
	give_back();
	valid();
	assert_int_equal(file_truncate(shmem, PAGES * PAGE_BYTES, &wait), 0);
	cut_and_check();
}

/* There is something to reclaim: dirty pages, whose writes are waited for. */
static void a_cut_without_frames_waits_for_reclaim(void **state)
{
	struct wait wait;

	(void)state;
	all_out();
	fill(base, 64);
	take_all_but(0);
	faulty_hold(world.dev, SWAP_WRITE, true);
	assert_int_equal(cut(&wait), -EAGAIN);
	assert_int_equal(wait.what, WAIT_FRAMES);
	faulty_hold(world.dev, SWAP_WRITE, false);
	assert_int_equal(WORLD_RETRY(&world, &wait, cut(&wait)), 0);
	give_back();
	cut_and_check();
	check(&parent, base, 64);
}

/* Clean ones: their frames are there at once. */
static void a_cut_without_frames_takes_clean_ones(void **state)
{
	struct wait wait = {0};

	(void)state;
	all_out();
	fill(base, 64);
	page_out(&parent, base, 64);
	check(&parent, base, 64);
	take_all_but(0);
	assert_int_equal(WORLD_RETRY(&world, &wait, cut(&wait)), 0);
	give_back();
	cut_and_check();
	check(&parent, base, 64);
}

static void a_cut_without_requests_waits_for_one(void **state)
{
	struct wait wait;

	(void)state;
	all_out();
	take_requests();
	assert_int_equal(cut(&wait), -EAGAIN);
	assert_int_equal(wait.what, WAIT_FRAMES);
	give_requests_back();
	cut_and_check();
}

static void swap_goes(void)
{
	struct wait wait = {0};

	assert_int_equal(WORLD_RETRY(&world, &wait, pager_swapoff(world.pager, world.dev->uri, &wait)), 0);
}

/* Its slot is no more when the one who asked for the page looks again. */
static void the_device_goes_while_a_cut_reads(void **state)
{
	(void)state;
	swap_goes();
	world.dev = swapon("mem:?size=4M&when=submit", 0);
	all_out();
	do_meanwhile(swap_goes, 2); /* after cut()'s own lock, and the end of the read */
	cut_and_check();
	assert_null(meanwhile);
	assert_int_equal(stats().slots, 0);
}

static void a_lost_page_is_not_cut(void **state)
{
	uint64_t value;
	struct wait wait = {0};

	(void)state;
	all_out();
	faulty_corrupt(world.dev, 1, true);
	assert_int_equal(soft_load64(parent.mmu, at + (PAGES - 1) * PAGE_BYTES, &value), -EIO);
	assert_int_equal(WORLD_RETRY(&world, &wait, cut(&wait)), 0);
	assert_int_equal(soft_load64(parent.mmu, at + (PAGES - 1) * PAGE_BYTES, &value), -EIO);
	faulty_corrupt(world.dev, 0, false);
	valid();
}

static void what_was_never_touched_is_cut_without_a_page(void **state)
{
	struct wait wait;

	(void)state;
	assert_int_equal(cut(&wait), 0);
	assert_int_equal(cached_at(PAGES - 1).pte, PTE_KIND_NONE);
	assert_int_equal(file_bytes(shmem), PAGES * PAGE_BYTES - 3596);
}

/* A file that could not shrink yet grows instead: what is behind the smaller end stays. */
static void growing_ends_a_truncation(void **state)
{
	struct wait wait;
	struct page *page;

	(void)state;
	fill(at, PAGES);
	page = page_of(&parent, at + (PAGES - 1) * PAGE_BYTES);
	lock_page(page);
	assert_int_equal(cut(&wait), -EAGAIN);
	assert_int_equal(file_truncate(shmem, PAGES * PAGE_BYTES, &wait), 0);
	unlock_page(page);
	check(&parent, at, PAGES);
	valid();
}

static void closing_waits_for_a_locked_page(void **state)
{
	struct wait wait;
	struct page *page;
	struct file *file;
	uint64_t addr;

	(void)state;
	file = shmem_open(PAGE_BYTES, &addr);
	store(&parent, addr, 1);
	page = page_of(&parent, addr);
	assert_int_equal(place_munmap(&parent, addr, PAGE_BYTES), 0);
	lock_page(page);
	assert_int_equal(file_close(file, &wait), -EAGAIN);
	assert_int_equal(wait.what, WAIT_PAGE);
	unlock_page(page);
	assert_int_equal(file_close(file, &wait), 0);
}

/* A private copy that somebody has locked: the mapping cannot be cut yet. */
static void truncation_waits_for_a_locked_copy(void **state)
{
	uint64_t copy = 0;
	struct wait wait;
	struct page *page;

	(void)state;
	assert_int_equal(
		place_mmap_file(&parent, &copy, PAGES * PAGE_BYTES, PROT_READ | PROT_WRITE, 0, shmem, 0), 0);
	store(&parent, copy + 3 * PAGE_BYTES, 5);
	page = page_of(&parent, copy + 3 * PAGE_BYTES);
	lock_page(page);
	assert_int_equal(file_truncate(shmem, PAGE_BYTES, &wait), -EAGAIN);
	unlock_page(page);
	assert_int_equal(file_truncate(shmem, PAGE_BYTES, &wait), 0);
	assert_int_equal(view_of(&parent, copy + 3 * PAGE_BYTES).pte, PTE_KIND_NONE);
	valid();
}

static void without_room_on_swap_pages_stay_in_their_cache(void **state)
{
	(void)state;
	world.pager->areas[0].full = true;
	store(&parent, at, 7);
	assert_int_equal(place_madvise(&parent, at, PAGE_BYTES, MADV_PAGEOUT), 0);
	assert_int_equal(cached_at(0).pte, PTE_KIND_PRESENT);
	assert_int_equal(load(&parent, at), 7);
	valid();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

/* Its page leaves the swap cache for its own when it comes in: a PTE that named the slot would be without. */
static void its_slots_are_not_shared_with_equal_pages(void **state)
{
	uint64_t anon = 0;

	assert_int_equal(tear_down(state), 0);
	assert_int_equal(open_world((struct world_config){.kind = ANONMM_SOFT,
				 .nr_frames = 512,
				 .swap = "mem:?size=8M",
				 .policy = PAGER_SHARE_SLOTS}),
		0);
	shmem = shmem_open(PAGES * PAGE_BYTES, &at);
	fill(at, PAGES);
	page_out(&parent, at, PAGES);
	assert_int_equal(cached_at(0).pte, PTE_KIND_SWAP);
	assert_int_equal(place_mmap(&parent, &anon, PAGES * PAGE_BYTES, PROT_READ | PROT_WRITE, 0), 0);
	fill(anon, PAGES);
	page_out(&parent, anon, PAGES);
	assert_int_equal(stats().shared_slots, 0);
	assert_int_equal(stats().slots_used, 2 * PAGES);
	check(&parent, at, PAGES);
	valid();
	check(&parent, anon, PAGES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_cut_waits_for_the_page_s_write),
		TEST(a_cut_waits_for_whoever_has_locked_the_page),
		TEST(a_cut_without_frames_fails_and_can_be_made_again),
		TEST(a_cut_without_frames_waits_for_reclaim),
		TEST(a_cut_without_frames_takes_clean_ones),
		TEST(a_cut_without_requests_waits_for_one),
		TEST(the_device_goes_while_a_cut_reads),
		TEST(a_lost_page_is_not_cut),
		TEST(what_was_never_touched_is_cut_without_a_page),
		TEST(growing_ends_a_truncation),
		TEST(closing_waits_for_a_locked_page),
		TEST(truncation_waits_for_a_locked_copy),
		TEST(without_room_on_swap_pages_stay_in_their_cache),
		TEST(its_slots_are_not_shared_with_equal_pages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

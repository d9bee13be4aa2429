/* SPDX-License-Identifier: MIT */
/* Forks that have to wait, cannot count one more, or find no memory: there is a whole child or none. */
#include "mm_world.h"

#define PAGES 40u

static struct place child;
static struct wait wait;

static int set_up(void **state)
{
	(void)state;
	return open_world(
		(struct world_config){.kind = ANONMM_SOFT, .nr_frames = 512, .swap = "faulty:mem:?size=8M"});
}

/* One step of the fork of the pages. => space locked */
static int step(void)
{
	struct fork_place place = {base, base, PAGES * PAGE_BYTES};

	child = (struct place){.world = &world, .base = base};
	return space_fork(parent.space, &place, parent.mmu, &child.space, &wait);
}

static void lock(void)
{
	assert_int_equal(WORLD_RETRY(&world, &wait, space_lock(parent.space, &wait)), 0);
}

static void unlock(void)
{
	space_unlock(parent.space);
	valid();
}

static void fork_and_check(void)
{
	lock();
	assert_int_equal(WORLD_RETRY(&world, &wait, step()), 0);
	unlock();
	check(&parent, base, PAGES);
	assert_int_equal(view_of(&child, base).pfn, view_of(&parent, base).pfn);
	place_close(&child);
	valid();
}

static void a_locked_page_is_waited_for(void **state)
{
	struct page *page;

	(void)state;
	fill(base, PAGES);
	page = page_of(&parent, base + 5 * PAGE_BYTES);
	lock_page(page);
	lock();
	assert_int_equal(step(), -EAGAIN);
	assert_int_equal(wait.what, WAIT_PAGE);
	unlock_page(page);
	assert_int_equal(step(), 0);
	unlock();
	for (unsigned i = 0; i < PAGES; i++)
		assert_int_equal(view_of(&child, base + i * PAGE_BYTES).mapcount, 1);
	place_close(&child);
}

/* As many mappings as a slot can count. */
static void a_page_that_all_have_already_is_not_shared_once_more(void **state)
{
	struct page *page;
	int32_t was;

	(void)state;
	fill(base, PAGES);
	page = page_of(&parent, base + 5 * PAGE_BYTES);
	was = page->_mapcount;
	page->_mapcount = UINT16_MAX - 1;
	lock();
	assert_int_equal(step(), -ENOMEM);
	page->_mapcount = was;
	unlock();
	assert_null(child.space);
	fork_and_check();
}

static void a_slot_that_all_have_already_is_not_counted_once_more(void **state)
{
	struct page_view view;
	struct swap_slot *slot;

	(void)state;
	fill(base, PAGES);
	page_out(&parent, base + 5 * PAGE_BYTES, 1);
	view = view_of(&parent, base + 5 * PAGE_BYTES);
	assert_int_equal(view.pte, PTE_KIND_SWAP);
	slot = swap_slot(world.pager, (swp_entry_t){(uint8_t)view.swap_type, view.swap_slot});
	slot->count = UINT16_MAX;
	lock();
	assert_int_equal(step(), -ENOMEM);
	slot->count = 1;
	unlock();
	fork_and_check();
}

/* What the child has already cannot go at once: somebody works on it. The failure is kept until it has gone. */
static void a_failed_fork_is_undone_when_its_pages_are_free(void **state)
{
	struct page *first, *full;
	int32_t was;

	(void)state;
	fill(base, PAGES);
	first = page_of(&parent, base);
	full = page_of(&parent, base + 5 * PAGE_BYTES);
	lock_page(full);
	lock();
	assert_int_equal(step(), -EAGAIN);
	unlock_page(full);
	lock_page(first);
	was = full->_mapcount;
	full->_mapcount = UINT16_MAX - 1;
	assert_int_equal(step(), -EAGAIN);
	full->_mapcount = was;
	assert_int_equal(step(), -EAGAIN);
	unlock_page(first);
	assert_int_equal(step(), -ENOMEM);
	unlock();
	fork_and_check();
}

/* ---- Objects that run out ---------------------------------------------------------------------------- */

static size_t no_chunks_of;

static void *chunk_of_another_size(struct machine *machine, size_t bytes)
{
	return bytes == no_chunks_of ? NULL : world.real->chunk_alloc(machine, bytes);
}

/* Free objects of the pool but @kept. */
static void *starve(struct pool *pool, unsigned kept)
{
	void **last = &pool->free, *rest;

	while (*last && kept--)
		last = (void **)*last;
	rest = *last;
	*last = NULL;
	no_chunks_of = pool->chunk_bytes;
	world.ops.chunk_alloc = chunk_of_another_size;
	return rest;
}

static void feed(struct pool *pool, void *rest)
{
	void **last = &pool->free;

	while (*last)
		last = (void **)*last;
	*last = rest;
	world.ops.chunk_alloc = world.real->chunk_alloc;
}

static void any_object_may_run_out(void **state)
{
	struct pager *p = world.pager;
	struct pool *pools[] = {&p->table_pool, &p->vma_pool, &p->anon_vma_pool, &p->avc_pool};
	unsigned failures = 0;

	(void)state;
	fill(base, PAGES);
	assert_int_equal(place_mprotect(&parent, base, PAGES / 2 * PAGE_BYTES, PROT_READ), 0);
	for (unsigned which = 0; which < ARRAY_SIZE(pools); which++)
		for (unsigned kept = 0, error = 1; error && kept < 20; kept++) {
			void *rest = starve(pools[which], kept);

			lock();
			error = (unsigned)step();
			feed(pools[which], rest);
			unlock();
			if (!error) {
				place_close(&child);
				continue;
			}
			assert_int_equal((int)error, -ENOMEM);
			fork_and_check();
			failures++;
		}
	assert_true(failures >= 8);
}

/* ---- Where a frame has one place only ------------------------------------------------------------------ */

static uint64_t there;

static int real_step(void)
{
	struct fork_place place = {base, there, PAGES * PAGE_BYTES};

	child = (struct place){.world = &world, .base = there};
	return space_fork(parent.space, &place, NULL, &child.space, &wait);
}

static void open_real(void)
{
	if (open_world((struct world_config){
		    .kind = ANONMM_UFFD, .nr_frames = 512, .nr_nodes = 2, .swap = "faulty:mem:?size=8M"}))
		SKIP_WITHOUT(REAL_MEMORY, "%s", world.why);
	there = 0;
	fill(base, PAGES);
	settle();
	assert_int_equal(
		place_mmap(&parent, &there, PAGES * PAGE_BYTES, PROT_READ | PROT_WRITE, SPACE_FOREIGN), 0);
	lock();
}

static void end_real(void)
{
	assert_int_equal(WORLD_RETRY(&world, &wait, real_step()), 0);
	unlock();
	store(&parent, base, 77);
	check(&child, there, PAGES);
	store(&parent, base, 1);
	check(&parent, base, PAGES);
	place_close(&child);
	close_world(NULL);
}

static void pages_are_copied_early(void **state)
{
	(void)state;
	open_real();
	assert_int_equal(real_step(), 0);
	unlock();
	assert_int_equal(stats().copied_early, PAGES);
	place_close(&child);
	settle();
	lock();
	end_real();
}

static void a_page_that_moves_is_waited_for(void **state)
{
	struct migration m;

	(void)state;
	open_real();
	unsigned node = view_of(&parent, base + 3 * PAGE_BYTES).pfn < 256;

	assert_int_equal(migrate_begin(parent.space, base + 3 * PAGE_BYTES, node, &m, &wait), 0);
	assert_int_equal(real_step(), -EAGAIN);
	assert_int_equal(wait.what, WAIT_PAGE);
	migrate_copy(&m);
	assert_int_equal(migrate_end(&m), 0);
	end_real();
}

static void a_locked_page_is_waited_for_with_its_copies_kept(void **state)
{
	struct page *page;

	(void)state;
	open_real();
	page = page_of(&parent, base + 3 * PAGE_BYTES);
	lock_page(page);
	assert_int_equal(real_step(), -EAGAIN);
	assert_int_equal(stats().copied_early, 3);
	unlock_page(page);
	end_real();
}

static void without_frames_there_is_no_child(void **state)
{
	(void)state;
	open_real();
	/* No room on swap, either: nothing can be reclaimed. */
	world.pager->areas[0].full = true;
	take_all_but(2);
	assert_int_equal(WORLD_RETRY(&world, &wait, real_step()), -ENOMEM);
	assert_null(child.space);
	give_back();
	valid();
	world.pager->areas[0].full = false;
	end_real();
}

/* The pages themselves go out for their copies' frames; then they are shared by their slots. */
static void reclaim_makes_frames_for_copies(void **state)
{
	(void)state;
	open_real();
	take_all_but(2);
	int error = WORLD_RETRY(&world, &wait, real_step());

	give_back();
	assert_int_equal(error, 0);
	unlock();
	check(&child, there, PAGES);
	place_close(&child);
	settle();
	lock();
	end_real();
}

static void without_host_memory_there_is_no_child(void **state)
{
	(void)state;
	open_real();
	no_memory_after(5);
	assert_int_equal(WORLD_RETRY(&world, &wait, real_step()), -ENOMEM);
	memory_again();
	valid();
	end_real();
}

static void refuse_unmap(
	struct machine *machine, struct mapping *maps, unsigned nr, enum unmap_content content)
{
	world.real->unmap(machine, maps, nr - 1, content);
	maps[nr - 1].result = -EBUSY;
}

static void a_pinned_page_forbids_a_fork(void **state)
{
	(void)state;
	open_real();
	world.ops.unmap = refuse_unmap;
	assert_int_equal(WORLD_RETRY(&world, &wait, real_step()), -EBUSY);
	world.ops.unmap = world.real->unmap;
	valid();
	end_real();
}

static void tables_may_run_out(void **state)
{
	(void)state;
	open_real();
	void *rest = starve(&world.pager->table_pool, 0);

	assert_int_equal(real_step(), -ENOMEM);
	feed(&world.pager->table_pool, rest);
	end_real();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, close_world)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_locked_page_is_waited_for),
		TEST(a_page_that_all_have_already_is_not_shared_once_more),
		TEST(a_slot_that_all_have_already_is_not_counted_once_more),
		TEST(a_failed_fork_is_undone_when_its_pages_are_free),
		TEST(any_object_may_run_out),
		cmocka_unit_test(pages_are_copied_early),
		cmocka_unit_test(a_page_that_moves_is_waited_for),
		cmocka_unit_test(a_locked_page_is_waited_for_with_its_copies_kept),
		cmocka_unit_test(without_frames_there_is_no_child),
		cmocka_unit_test(reclaim_makes_frames_for_copies),
		cmocka_unit_test(without_host_memory_there_is_no_child),
		cmocka_unit_test(a_pinned_page_forbids_a_fork),
		cmocka_unit_test(tables_may_run_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

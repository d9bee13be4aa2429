/* SPDX-License-Identifier: MIT */
/* Migration of pages that others hold, lock, unmap or move at the same time, and where memory is short. */
#include "mm_world.h"

#define PAGES 8u
#define NR_FRAMES 1024u

static struct migration m, other;
static struct wait wait;

static int set_up(void **state)
{
	(void)state;
	return open_world((struct world_config){
		.kind = ANONMM_SOFT, .nr_frames = NR_FRAMES, .nr_nodes = 2, .swap = "faulty:mem:?size=8M"});
}

static unsigned node_of(struct place *p, uint64_t addr)
{
	return view_of(p, addr).pfn / (NR_FRAMES / 2);
}

static int begin(struct place *p, uint64_t addr, struct migration *move)
{
	return migrate_begin(p->space, addr, !node_of(p, addr), move, &wait);
}

static void a_page_whose_last_mapping_went_ends_with_a_failed_move(void **state)
{
	(void)state;
	store(&parent, base, 1);
	uint64_t nr_free = stats().frames_free + 1, freed = stats().freed;

	assert_int_equal(begin(&parent, base, &m), 0);
	assert_int_equal(place_munmap(&parent, base, PAGE_BYTES), 0);
	no_memory_after(0);
	migrate_copy(&m);
	memory_again();
	assert_int_equal(migrate_end(&m), -ENOMEM);
	valid();
	assert_int_equal(stats().frames_free, nr_free);
	assert_int_equal(stats().freed, freed + 1);
}

static void without_host_memory_it_stays(void **state)
{
	(void)state;
	store(&parent, base, 1);
	page_out(&parent, base, 1);
	assert_int_equal(load(&parent, base), 1); /* mapped, and in the swap cache */
	pfn_t pfn = view_of(&parent, base).pfn;

	assert_int_equal(begin(&parent, base, &m), 0);
	no_memory_after(0);
	migrate_copy(&m);
	memory_again();
	assert_int_equal(migrate_end(&m), -ENOMEM);
	valid();
	assert_int_equal(view_of(&parent, base).pfn, pfn);
	assert_true(view_of(&parent, base).flags & PG_swapcache);
	assert_int_equal(load(&parent, base), 1);
}

/* The same page of the file in two spaces, one of which never touched it; nor has it tables for it. */
static void a_mapping_that_never_was_gets_no_entry(void **state)
{
	struct place second;
	uint64_t addr, there = 0;
	struct file *file = shmem_open(PAGES * PAGE_BYTES, &addr);

	(void)state;
	assert_int_equal(place_open(&second, &world), 0);
	assert_int_equal(place_mmap_file(&second, &there, PAGES * PAGE_BYTES, PROT_READ | PROT_WRITE,
				 SPACE_SHARED, file, 0),
		0);
	store(&parent, addr, 5);
	pfn_t pfn = view_of(&parent, addr).pfn;

	assert_int_equal(begin(&parent, addr, &m), 0);
	migrate_copy(&m);
	assert_int_equal(migrate_end(&m), 0);
	valid();
	assert_int_not_equal(view_of(&parent, addr).pfn, pfn);
	assert_int_equal(view_of(&second, there).pte, PTE_KIND_NONE);
	assert_int_equal(load(&second, there), 5);
	place_close(&second);
	close_file(file);
}

/* Parent's page and child's copy of it: each entry is found to be its own page's. */
static void relatives_move_at_the_same_time(void **state)
{
	struct place child;

	(void)state;
	store(&parent, base, 1);
	assert_int_equal(place_fork(&parent, &child), 0);
	store(&child, base, 2);
	assert_int_equal(begin(&parent, base, &m), 0);
	assert_int_equal(begin(&child, base, &other), 0);
	migrate_copy(&m);
	migrate_copy(&other);
	assert_int_equal(migrate_end(&m), 0);
	assert_int_equal(view_of(&child, base).pte, PTE_KIND_MIGRATION);
	valid();
	assert_int_equal(migrate_end(&other), 0);
	valid();
	assert_int_equal(load(&parent, base), 1);
	assert_int_equal(load(&child, base), 2);
	place_close(&child);
}

static void an_isolated_page_is_left(void **state)
{
	struct page_head list = TAILQ_HEAD_INITIALIZER(list);
	struct page *page;

	(void)state;
	store(&parent, base, 1);
	page = page_of(&parent, base);
	pager_lock(world.pager);
	assert_true(isolate_lru_page(world.pager, page, &list));
	pager_unlock(world.pager);
	assert_int_equal(begin(&parent, base, &m), -EBUSY);
	pager_lock(world.pager);
	putback_lru_page(world.pager, page, &list);
	pager_unlock(world.pager);
	assert_int_equal(begin(&parent, base, &m), 0);
	migrate_copy(&m);
	assert_int_equal(migrate_end(&m), 0);
}

/* Somebody holds a page, mapped or not: it is not moved, and that is counted. */
static void held_pages_are_left(void **state)
{
	struct page *held[2];

	(void)state;
	fill(base, 2);
	for (unsigned i = 0; i < 2; i++) {
		held[i] = page_of(&parent, base + i * PAGE_BYTES);
		page_get(held[i]);
	}
	assert_int_equal(place_munmap(&parent, base + PAGE_BYTES, PAGE_BYTES), 0);
	unsigned from = node_of(&parent, base);

	assert_int_equal(begin(&parent, base, &m), -EBUSY);
	uint64_t failed = stats().migrate_failed;

	assert_int_equal(migrate_pages(world.pager, from, !from, 100, &wait), 0);
	assert_true(stats().migrate_failed > failed);
	assert_int_equal(view_of(&parent, base).pte, PTE_KIND_PRESENT);
	pager_lock(world.pager);
	for (unsigned i = 0; i < 2; i++)
		page_put(world.pager, held[i]);
	pager_unlock(world.pager);
	assert_int_equal(load(&parent, base), 1);
	valid();
}

static void locked_pages_can_be_moved_later(void **state)
{
	struct page *page;

	(void)state;
	store(&parent, base, 1);
	page = page_of(&parent, base);
	unsigned from = node_of(&parent, base);

	lock_page(page);
	assert_int_equal(begin(&parent, base, &m), -EAGAIN);
	assert_int_equal(migrate_pages(world.pager, from, !from, 100, &wait), -EAGAIN);
	unlock_page(page);
	assert_int_equal(migrate_pages(world.pager, from, !from, 100, &wait), 1);
	assert_int_equal(migrate_pages(world.pager, 2, 0, 1, &wait), -EINVAL);
	assert_int_equal(migrate_pages(world.pager, 0, 2, 1, &wait), -EINVAL);
	assert_int_equal(compact_node(world.pager, 2, 1), -EINVAL);
	valid();
}

static void unmap_all(void)
{
	assert_int_equal(place_munmap(&parent, base, MIB), 0);
}

/* While the first is copied its program unmaps everything: there is nothing left on the list. */
static void pages_that_go_meanwhile_are_no_failure(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 16; i++) /* both nodes */
		store(&parent, base + i * PAGE_BYTES, i);
	do_meanwhile(unmap_all, 1);
	int moved = migrate_pages(world.pager, 0, 1, 100, &wait);

	assert_null(meanwhile);
	assert_in_range(moved, 1, 2);
	assert_int_equal(stats().frames_free, NR_FRAMES - 1);
	valid();
}

static void begin_to_freeze(void)
{
	struct wait w;

	assert_int_equal(pager_freeze(world.pager, &w), -EAGAIN);
}

/* Who freezes waits for the move under way; no other is begun. */
static void a_freeze_ends_many_moves(void **state)
{
	(void)state;
	fill(base, 16);
	do_meanwhile(begin_to_freeze, 1);
	assert_int_equal(migrate_pages(world.pager, 0, 1, 100, &wait), 1);
	freeze();
	pager_thaw(world.pager);
	assert_int_equal(place_munmap(&parent, base, 4 * PAGE_BYTES), 0);
	do_meanwhile(begin_to_freeze, 1);
	assert_int_equal(compact_node(world.pager, 1, 100), 1);
	freeze();
	pager_thaw(world.pager);
	valid();
	for (unsigned i = 4; i < 16; i++)
		assert_int_equal(load(&parent, base + i * PAGE_BYTES), i + 1);
}

static void who_waits_for_frames_looks_again_after_moves(void **state)
{
	uint32_t before = 0;

	(void)state;
	fill(base, 4);
	before = atomic_load(pager_events(world.pager, WAIT_WORD_COMMON));
	world.pager->frame_waiters = true;
	assert_true(
		migrate_pages(world.pager, node_of(&parent, base), !node_of(&parent, base), 1, &wait) == 1);
	assert_int_not_equal(atomic_load(pager_events(world.pager, WAIT_WORD_COMMON)), before);
}

/* ---- Real memory: the program keeps a page for I/O ------------------------------------------------- */

static bool pinned;

static void unmap_or_not(
	struct machine *machine, struct mapping *maps, unsigned nr, enum unmap_content content)
{
	if (!pinned || content != UNMAP_KEEP) {
		world.real->unmap(machine, maps, nr, content);
		return;
	}
	for (unsigned i = 0; i < nr; i++)
		maps[i].result = -EBUSY;
}

static void pinned_pages_stay(void **state)
{
	(void)state;
	if (open_world((struct world_config){.kind = ANONMM_UFFD,
		    .nr_frames = NR_FRAMES,
		    .nr_nodes = 2,
		    .swap = "faulty:mem:?size=8M"}))
		SKIP_WITHOUT(REAL_MEMORY, "%s", world.why);
	store(&parent, base, 1);
	settle();
	pfn_t pfn = view_of(&parent, base).pfn;
	unsigned from = node_of(&parent, base);

	world.ops.unmap = unmap_or_not;
	pinned = true;
	assert_int_equal(begin(&parent, base, &m), -EBUSY);
	assert_int_equal(migrate_pages(world.pager, from, !from, 10, &wait), 0);
	pinned = false;
	assert_int_equal(view_of(&parent, base).pfn, pfn);
	assert_int_equal(load(&parent, base), 1);
	settle();
	valid();
	assert_int_equal(migrate_pages(world.pager, from, !from, 10, &wait), 1);
	assert_int_equal(load(&parent, base), 1);
	close_world(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, close_world)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_page_whose_last_mapping_went_ends_with_a_failed_move),
		TEST(without_host_memory_it_stays),
		TEST(a_mapping_that_never_was_gets_no_entry),
		TEST(relatives_move_at_the_same_time),
		TEST(an_isolated_page_is_left),
		TEST(held_pages_are_left),
		TEST(locked_pages_can_be_moved_later),
		TEST(pages_that_go_meanwhile_are_no_failure),
		TEST(a_freeze_ends_many_moves),
		TEST(who_waits_for_frames_looks_again_after_moves),
		cmocka_unit_test(pinned_pages_stay),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* Migration: a page moves to another frame in three phases. Other threads touch it, unmap it or lock it in between. */
#define _GNU_SOURCE
#include "migrate_world.h"

/* ---- The states, as Linux prints them -------------------------------------------------------- */

#define STEPS 8
static struct step {
	const char *function;
	struct page_view view;
} steps[STEPS];
static unsigned nr_steps;

static void note_step(void *ctx, const struct page_event *event)
{
	if (nr_steps == STEPS)
		return;
	steps[nr_steps].function = event->function;
	space_view_locked(ctx, base, event->pfn, &steps[nr_steps].view);
	/* The view follows the PTE; here the page of the event is meant. */
	steps[nr_steps].view.count = world.pager->pages[event->pfn]._count;
	steps[nr_steps].view.mapcount = world.pager->pages[event->pfn]._mapcount;
	steps[nr_steps].view.flags = page_flags(&world.pager->pages[event->pfn]);
	nr_steps++;
}

static void check_step(
	unsigned at, const char *function, int count, int mapcount, uint32_t with, uint32_t without)
{
	assert_true(at < nr_steps);
	assert_string_equal(steps[at].function, function);
	assert_int_equal(steps[at].view.count, count);
	assert_int_equal(steps[at].view.mapcount, mapcount);
	assert_int_equal(steps[at].view.flags & with, with);
	assert_int_equal(steps[at].view.flags & without, 0);
}

static void the_states_are_those_of_linux(void **state)
{
	struct migration m;

	(void)state;
	store(&parent, base, 42);
	struct page_view before = view_of(&parent, base);

	nr_steps = 0;
	pager_trace(world.pager, note_step, parent.space);
	begin(&parent, base, &m);
	end(&m, 0);
	pager_trace(world.pager, NULL, NULL);
	check_step(0, "isolate_lru_page", 2, 0, PG_locked | PG_uptodate | PG_active | PG_swapbacked | PG_lru,
		PG_dirty);
	check_step(
		1, "try_to_unmap", 1, -1, PG_locked | PG_uptodate | PG_dirty | PG_active | PG_swapbacked, 0);
	check_step(
		2, "migrate_page_copy", 1, -1, PG_locked | PG_uptodate | PG_swapbacked, PG_dirty | PG_active);
	check_step(3, "move_to_new_page", 1, -1,
		PG_locked | PG_uptodate | PG_dirty | PG_active | PG_swapbacked | PG_lru, 0);
	check_step(4, "free_page", 0, -1, 0, PG_locked | PG_lru);
	check_step(5, "remove_migration_ptes", 1, 0,
		PG_uptodate | PG_dirty | PG_active | PG_swapbacked | PG_lru, PG_locked);
	struct page_view after = view_of(&parent, base);

	assert_int_not_equal(node_of(before.pfn), node_of(after.pfn));
	assert_true(after.pte_valid && after.pte_write);
	assert_string_equal(after.list, "active");
	assert_int_equal(load(&parent, base), 42);
	store(&parent, base, 43);
	assert_int_equal(load(&parent, base), 43);
	assert_int_equal(stats().migrated, 1);
}

/* ---- What others do between the phases ------------------------------------------------------------ */

static void a_fault_waits_for_the_page(void **state)
{
	struct migration m;
	struct wait wait;

	(void)state;
	store(&parent, base, 7);
	begin(&parent, base, &m);
	assert_int_equal(handle_mm_fault(parent.space, base, ACCESS_READ, &wait), FAULT_WAIT);
	assert_int_equal(wait.what, WAIT_PAGE);
	migrate_copy(&m);
	assert_int_equal(handle_mm_fault(parent.space, base, ACCESS_WRITE, &wait), FAULT_WAIT);
	assert_false(wait_is_over(world.pager, &wait));
	assert_int_equal(migrate_end(&m), 0);
	assert_true(wait_is_over(world.pager, &wait));
	assert_int_equal(load(&parent, base), 7);
}

static void pages_that_go_meanwhile_are_gone(void **state)
{
	struct migration m;
	uint64_t born;

	(void)state;
	store(&parent, base, 7);
	begin(&parent, base, &m);
	assert_int_equal(place_madvise(&parent, base, PAGE_BYTES, MADV_DONTNEED), 0);
	valid();
	end(&m, 0);
	assert_int_equal(view_of(&parent, base).pte, PTE_KIND_NONE);
	assert_int_equal(load(&parent, base), 0);

	store(&parent, base, 8);
	born = stats().frames_free;
	begin(&parent, base, &m);
	assert_int_equal(place_munmap(&parent, base, 8 * MIB), 0);
	end(&m, 0);
	assert_int_equal(stats().frames_free, born + 1);

	base = 0;
	assert_int_equal(place_mmap(&parent, &base, 8 * MIB, PROT_READ | PROT_WRITE, 0), 0);
	store(&parent, base, 9);
	begin(&parent, base, &m);
	place_close(&parent);
	parent.space = NULL;
	end(&m, 0);
}

static void a_fork_copies_the_entry_read_only(void **state)
{
	struct place child;
	struct migration m;

	(void)state;
	store(&parent, base, 7);
	begin(&parent, base, &m);
	assert_int_equal(place_fork(&parent, &child), 0);
	valid();
	assert_int_equal(view_of(&child, base).pte, PTE_KIND_MIGRATION);
	end(&m, 0);
	struct page_view a = view_of(&parent, base), b = view_of(&child, base);

	assert_int_equal(a.pfn, b.pfn);
	assert_int_equal(a.mapcount, 1);
	assert_int_equal(a.count, 2);
	assert_false(a.pte_write || b.pte_write);
	store(&child, base, 8);
	assert_int_equal(load(&parent, base), 7);
	assert_int_equal(load(&child, base), 8);

	/* One of many goes while the page moves. */
	begin(&parent, base, &m);
	place_close(&child);
	end(&m, 0);
	assert_int_equal(load(&parent, base), 7);
}

static void a_page_of_many_moves_for_all(void **state)
{
	struct place child, grandchild;
	struct migration m;

	(void)state;
	store(&parent, base, 7);
	assert_int_equal(place_fork(&parent, &child), 0);
	assert_int_equal(place_fork(&child, &grandchild), 0);
	pfn_t pfn = view_of(&parent, base).pfn;

	begin(&child, base, &m);
	assert_int_equal(view_of(&grandchild, base).pte, PTE_KIND_MIGRATION);
	place_close(&child);
	end(&m, 0);
	assert_int_not_equal(view_of(&parent, base).pfn, pfn);
	assert_int_equal(view_of(&parent, base).pfn, view_of(&grandchild, base).pfn);
	assert_int_equal(view_of(&parent, base).mapcount, 1);
	assert_int_equal(load(&grandchild, base), 7);
	store(&parent, base, 8);
	assert_int_equal(load(&grandchild, base), 7);
	place_close(&grandchild);
}

static void rights_taken_meanwhile_stay_taken(void **state)
{
	struct migration m;
	uint64_t value = 1;

	(void)state;
	store(&parent, base, 7);
	begin(&parent, base, &m);
	assert_int_equal(place_mprotect(&parent, base, PAGE_BYTES, PROT_READ), 0);
	end(&m, 0);
	assert_int_equal(load(&parent, base), 7);
	assert_int_equal(soft_store64(parent.mmu, base, 1), -EFAULT);
	assert_int_equal(place_mprotect(&parent, base, PAGE_BYTES, PROT_READ | PROT_WRITE), 0);
	store(&parent, base, 8);

	begin(&parent, base, &m);
	assert_int_equal(place_mprotect(&parent, base, PAGE_BYTES, PROT_NONE), 0);
	end(&m, 0);
	assert_int_equal(soft_load64(parent.mmu, base, &value), -EFAULT);

	/* Hidden before the move began: it must not be shown by its end. */
	begin(&parent, base, &m);
	end(&m, 0);
	assert_int_equal(soft_load64(parent.mmu, base, &value), -EFAULT);
	assert_int_equal(place_mprotect(&parent, base, PAGE_BYTES, PROT_READ | PROT_WRITE), 0);
	assert_int_equal(load(&parent, base), 8);
}

static void a_page_is_found_where_mremap_has_put_it(void **state)
{
	uint64_t addr = base, hole = 0;
	struct migration m;

	(void)state;
	store(&parent, base, 7);
	begin(&parent, base, &m);
	assert_int_equal(
		place_mmap(&parent, &hole, PAGE_BYTES, PROT_READ, 0), 0); /* so that it cannot grow */
	assert_int_equal(place_mremap(&parent, &addr, 8 * MIB, 16 * MIB), 0);
	assert_int_not_equal(addr, base);
	end(&m, 0);
	assert_int_equal(load(&parent, addr), 7);
	base = addr;
}

static void mlock_and_munlock_reach_a_moving_page(void **state)
{
	struct migration m;

	(void)state;
	store(&parent, base, 7);
	assert_int_equal(place_mlock(&parent, base, PAGE_BYTES, true), 0);
	begin(&parent, base, &m);
	end(&m, 0);
	assert_string_equal(view_of(&parent, base).list, "unevictable");
	begin(&parent, base, &m);
	assert_int_equal(place_mlock(&parent, base, PAGE_BYTES, false), 0);
	end(&m, 0);
	assert_string_equal(view_of(&parent, base).list, "inactive");
	assert_int_equal(place_mlock(&parent, base, PAGE_BYTES, true), 0);
	begin(&parent, base, &m);
	assert_int_equal(place_munmap(&parent, base, PAGE_BYTES), 0);
	end(&m, 0);
}

/* ---- Kinds of pages ---------------------------------------------------------------------------------- */

static void page_out(struct place *p, uint64_t addr, uint64_t len)
{
	assert_int_equal(place_madvise(p, addr, len, MADV_PAGEOUT), 0);
	reap();
	assert_int_equal(view_of(p, addr).pte, PTE_KIND_SWAP);
}

static void the_swap_cache_follows(void **state)
{
	struct migration m;

	(void)state;
	store(&parent, base, 7);
	page_out(&parent, base, PAGE_BYTES);
	assert_int_equal(load(&parent, base), 7); /* mapped, and in the swap cache */
	struct page_view before = view_of(&parent, base);

	assert_true(before.flags & PG_swapcache);
	begin(&parent, base, &m);
	end(&m, 0);
	struct page_view after = view_of(&parent, base);

	assert_true(after.flags & PG_swapcache);
	assert_int_equal(after.swap_slot, before.swap_slot);
	assert_int_equal(after.count, 2);
	assert_int_equal(load(&parent, base), 7);

	/* Cached alone, its PTE names the slot; and the last name of the slot goes while it moves. */
	store(&parent, base + PAGE_BYTES, 9);
	assert_int_equal(place_madvise(&parent, base + PAGE_BYTES, PAGE_BYTES, MADV_PAGEOUT), 0);
	reap();
	struct page_view cached = view_of(&parent, base + PAGE_BYTES);

	assert_int_equal(cached.pte, PTE_KIND_SWAP);
	assert_int_not_equal(cached.pfn, PFN_NONE);
	struct wait wait;

	assert_int_equal(migrate_begin(parent.space, base + PAGE_BYTES, !node_of(cached.pfn), &m, &wait), 0);
	assert_int_equal(handle_mm_fault(parent.space, base + PAGE_BYTES, ACCESS_READ, &wait), FAULT_WAIT);
	end(&m, 0);
	assert_int_equal(load(&parent, base + PAGE_BYTES), 9);
	page_out(&parent, base + PAGE_BYTES, PAGE_BYTES);
	if (view_of(&parent, base + PAGE_BYTES).pfn == PFN_NONE)
		return;
	pfn_t pfn = view_of(&parent, base + PAGE_BYTES).pfn;

	assert_int_equal(migrate_begin(parent.space, base + PAGE_BYTES, !node_of(pfn), &m, &wait), 0);
	assert_int_equal(place_madvise(&parent, base + PAGE_BYTES, PAGE_BYTES, MADV_DONTNEED), 0);
	end(&m, 0);
}

static void shared_memory_moves_for_all_who_map_it(void **state)
{
	struct place other;
	struct file *file;
	struct wait wait = {0};
	struct migration m;
	uint64_t a = 0, b = 0;

	(void)state;
	assert_int_equal(file_create(world.pager, NULL, NULL, MIB, &file), 0);
	assert_int_equal(place_open(&other, &world), 0);
	assert_int_equal(place_mmap_file(&parent, &a, MIB, PROT_READ | PROT_WRITE, SPACE_SHARED, file, 0), 0);
	assert_int_equal(place_mmap_file(&other, &b, MIB, PROT_READ | PROT_WRITE, SPACE_SHARED, file, 0), 0);
	store(&parent, a, 7);
	assert_int_equal(load(&other, b), 7);
	begin(&parent, a, &m);
	assert_int_equal(view_of(&other, b).pte, PTE_KIND_MIGRATION);
	end(&m, 0);
	assert_int_equal(view_of(&parent, a).pfn, view_of(&other, b).pfn);
	assert_int_equal(view_of(&parent, a).count, 3);
	store(&other, b, 8);
	assert_int_equal(load(&parent, a), 8);
	/* All who map it go, and the cache with the last of them waits for the page. */
	begin(&parent, a, &m);
	place_close(&other);
	end(&m, 0);
	assert_int_equal(load(&parent, a), 8);
	assert_int_equal(WORLD_RETRY(&world, &wait, file_close(file, &wait)), 0);
}

static int read_page(void *ctx, uint64_t index, void *bytes)
{
	(void)ctx;
	memset(bytes, (int)(index + 1), PAGE_BYTES);
	return 0;
}

static void a_page_of_a_file_moves_with_its_cache(void **state)
{
	static const struct file_ops ops = {.read = read_page};
	struct file *file;
	struct wait wait = {0};
	struct migration m;
	struct page_view cached;
	uint64_t addr = 0;

	(void)state;
	assert_int_equal(file_create(world.pager, &ops, NULL, MIB, &file), 0);
	assert_int_equal(place_mmap_file(&parent, &addr, MIB, PROT_READ | PROT_WRITE, 0, file, 0), 0);
	assert_int_equal(load(&parent, addr), 0x0101010101010101);
	begin(&parent, addr, &m);
	assert_int_equal(file_truncate(file, 0, &wait), -EAGAIN); /* the entry goes, the cache waits */
	end(&m, 0);
	assert_int_equal(WORLD_RETRY(&world, &wait, file_truncate(file, 0, &wait)), 0);
	assert_int_equal(WORLD_RETRY(&world, &wait, file_truncate(file, MIB, &wait)), 0);
	assert_int_equal(load(&parent, addr + PAGE_BYTES), 0x0202020202020202);
	begin(&parent, addr + PAGE_BYTES, &m);
	end(&m, 0);
	file_view(file, 1, &cached);
	assert_int_equal(cached.pfn, view_of(&parent, addr + PAGE_BYTES).pfn);
	assert_int_equal(load(&parent, addr + PAGE_BYTES), 0x0202020202020202);
	store(&parent, addr + PAGE_BYTES, 3);
	assert_int_not_equal(cached.pfn, view_of(&parent, addr + PAGE_BYTES).pfn);
	assert_int_equal(WORLD_RETRY(&world, &wait, file_close(file, &wait)), 0);
}

/* ---- Refusals ------------------------------------------------------------------------------------------ */

static void who_is_held_stays(void **state)
{
	struct migration m;
	struct wait wait;

	(void)state;
	store(&parent, base, 7);
	struct page_view before = view_of(&parent, base);
	struct page *page = &world.pager->pages[before.pfn];
	unsigned to = other_node(&parent, base);

	page_get(page);
	assert_int_equal(migrate_begin(parent.space, base, to, &m, &wait), -EBUSY);
	struct page_view after = view_of(&parent, base);

	assert_int_equal(after.pfn, before.pfn);
	assert_true(after.pte_valid && after.pte_write && !(after.flags & PG_locked));
	assert_int_equal(after.count, before.count + 1);
	page_put(world.pager, page);
	valid();
	assert_int_equal(stats().migrate_failed, 1);

	/* Somebody comes while it is copied. */
	assert_int_equal(migrate_begin(parent.space, base, to, &m, &wait), 0);
	page_get(page);
	migrate_copy(&m);
	assert_int_equal(migrate_end(&m), -EBUSY);
	page_put(world.pager, page);
	valid();
	assert_int_equal(view_of(&parent, base).pfn, before.pfn);
	assert_int_equal(load(&parent, base), 7);
	store(&parent, base, 8);

	/* Merged, until KSM says how it is moved. */
	page_set(page, PG_ksm);
	assert_int_equal(migrate_begin(parent.space, base, to, &m, &wait), -EBUSY);
	page_clear(page, PG_ksm);
	assert_int_equal(migrate_begin(parent.space, base + MIB, to, &m, &wait), -ENOENT);
	assert_int_equal(migrate_begin(parent.space, base, 2, &m, &wait), -EINVAL);
	assert_int_equal(migrate_begin(parent.space, 0, to, &m, &wait), -EINVAL);
	assert_int_equal(migrate_pages(world.pager, 0, 0, 1, &wait), -EINVAL);
	assert_int_equal(migrate_pages(world.pager, 0, 2, 1, &wait), -EINVAL);
	assert_int_equal(compact_node(world.pager, 2, 1), -EINVAL);
}

static void a_locked_page_is_waited_for_and_one_under_writeback_left(void **state)
{
	struct migration m, twice;
	struct wait wait;

	(void)state;
	store(&parent, base, 7);
	begin(&parent, base, &m);
	assert_int_equal(migrate_begin(parent.space, base, 0, &twice, &wait), -EAGAIN);
	assert_int_equal(wait.what, WAIT_PAGE);
	assert_int_equal(pager_freeze(world.pager, &wait), -EAGAIN);
	end(&m, 0);
	assert_int_equal(pager_freeze(world.pager, &wait), 0);
	assert_int_equal(migrate_begin(parent.space, base, 0, &twice, &wait), -EAGAIN);
	pager_thaw(world.pager);
	page_set(&world.pager->pages[view_of(&parent, base).pfn], PG_writeback);
	assert_int_equal(migrate_begin(parent.space, base, 0, &twice, &wait), -EBUSY);
	page_clear(&world.pager->pages[view_of(&parent, base).pfn], PG_writeback);
}

static void nodes_without_frames_are_refused(void **state)
{
	struct pager_config config = {
		.machine = world.machine, .nr_frames = 2 * PAGER_MIN_FRAMES - 1, .nr_nodes = 2};
	struct pager *pager;

	(void)state;
	assert_int_equal(pager_open(&config, &pager), -EINVAL);
	config.nr_nodes = 9;
	config.nr_frames = NR_FRAMES;
	assert_int_equal(pager_open(&config, &pager), -EINVAL);
}

/* ---- Many pages ------------------------------------------------------------------------------------------ */

static unsigned nr_on_node(unsigned nr_pages, unsigned node)
{
	unsigned nr = 0;

	for (unsigned i = 0; i < nr_pages; i++)
		nr += node_of(view_of(&parent, base + i * PAGE_BYTES).pfn) == node;
	return nr;
}

static void a_node_is_emptied_into_another(void **state)
{
	enum { PAGES = 200 };
	struct wait wait;

	(void)state;
	for (unsigned i = 0; i < PAGES; i++)
		store(&parent, base + i * PAGE_BYTES, i);
	unsigned there = nr_on_node(PAGES + 64, 0); /* births in runs reach a little further */

	assert_in_range(there, 1, PAGES - 1); /* and go where most frames are free */
	assert_int_equal(migrate_pages(world.pager, 0, 1, 10, &wait), 10);
	valid();
	assert_int_equal(migrate_pages(world.pager, 0, 1, PAGES, &wait), there - 10);
	valid();
	assert_int_equal(nr_on_node(PAGES + 64, 0), 0);
	assert_int_equal(migrate_pages(world.pager, 0, 1, PAGES, &wait), 0);
	for (unsigned i = 0; i < PAGES; i++)
		assert_int_equal(load(&parent, base + i * PAGE_BYTES), i);
}

static void a_full_target_takes_no_more_than_its_watermark(void **state)
{
	enum { PAGES = 700 };
	struct wait wait;
	uint32_t low = world.pager->nodes[1].wmark.low;
	int moved;

	(void)state;
	for (unsigned i = 0; i < PAGES; i++)
		store(&parent, base + i * PAGE_BYTES, i);
	moved = migrate_pages(world.pager, 0, 1, PAGES, &wait);
	assert_true(moved > 0);
	assert_int_equal(world.pager->nodes[1].nr_free, low);
	assert_int_equal(migrate_pages(world.pager, 0, 1, PAGES, &wait), -ENOMEM);
	valid();
	for (unsigned i = 0; i < PAGES; i++)
		assert_int_equal(load(&parent, base + i * PAGE_BYTES), i);
}

static void compaction_leaves_free_frames_in_a_run(void **state)
{
	enum { PAGES = 300 };
	uint32_t used;

	(void)state;
	for (unsigned i = 0; i < PAGES; i++)
		store(&parent, base + i * PAGE_BYTES, i);
	for (unsigned i = 0; i < PAGES; i += 3)
		assert_int_equal(place_madvise(&parent, base + i * PAGE_BYTES, PAGE_BYTES, MADV_DONTNEED), 0);
	for (unsigned n = 0; n < 2; n++) {
		struct node *node = &world.pager->nodes[n];

		assert_true(compact_node(world.pager, n, NR_FRAMES) > 0);
		valid();
		used = node->nr - node->nr_free;
		for (uint32_t i = 0; i < node->nr; i++)
			assert_int_equal(world.pager->pages[node->first + i]._count > 0, i < used);
		assert_int_equal(compact_node(world.pager, n, NR_FRAMES), 0);
	}
	for (unsigned i = 0; i < PAGES; i++)
		assert_int_equal(load(&parent, base + i * PAGE_BYTES), i % 3 ? i : 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_states_are_those_of_linux),
		TEST(a_fault_waits_for_the_page),
		TEST(pages_that_go_meanwhile_are_gone),
		TEST(a_fork_copies_the_entry_read_only),
		TEST(a_page_of_many_moves_for_all),
		TEST(rights_taken_meanwhile_stay_taken),
		TEST(a_page_is_found_where_mremap_has_put_it),
		TEST(mlock_and_munlock_reach_a_moving_page),
		TEST(the_swap_cache_follows),
		TEST(shared_memory_moves_for_all_who_map_it),
		TEST(a_page_of_a_file_moves_with_its_cache),
		TEST(who_is_held_stays),
		TEST(a_locked_page_is_waited_for_and_one_under_writeback_left),
		TEST(nodes_without_frames_are_refused),
		TEST(a_node_is_emptied_into_another),
		TEST(a_full_target_takes_no_more_than_its_watermark),
		TEST(compaction_leaves_free_frames_in_a_run),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

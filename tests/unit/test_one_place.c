/* SPDX-License-Identifier: MIT */
/*
 * A machine where a frame has one place only, and whose MMU sees neither accesses nor writes. It is as real memory is,
 * but runs step by step. The cases: frames that cannot be shown, pages that the program has pinned, and equal pages
 * that come to share a slot.
 */
#define _GNU_SOURCE
#include "../world.h"
#include "mm/mm.h"
#include "swap/faulty.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define RW (PROT_READ | PROT_WRITE)
#define NR_PAGES 300u

static struct world world;
static struct place place;
static uint64_t base;

static int set_up(void **state)
{
	struct world_config config = {.kind = ANONMM_SOFT,
		.nr_frames = 1024,
		.space_bytes = 16 * MIB,
		.swap = "faulty:mem:?size=4M"};

	(void)state;
	base = 0;
	memset(&world, 0, sizeof(world));
	if (world_open_machine(&world, &config))
		return -1;
	world.ops.can_share = world.ops.sees_access = world.ops.sees_write = false;
	world.ops.flush = NULL;
	if (world_open_pager(&world, &config) || place_open(&place, &world) ||
		place_mmap(&place, &base, NR_PAGES * PAGE_BYTES, RW, 0))
		return -1;
	return place_madvise(&place, base, NR_PAGES * PAGE_BYTES, MADV_RANDOM);
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

static void end_writes(void)
{
	while (pager_poll(world.pager, SWAP_WRITE, 1) > 0)
		;
}

static int tear_down(void **state)
{
	(void)state;
	place_close(&place);
	end_writes();
	valid();
	assert_int_equal(stats().frames_used, 0);
	assert_int_equal(stats().slots_used, 0);
	world_close(&world);
	return 0;
}

static void end_reading(void)
{
	faulty_hold(world.dev, SWAP_READ, false);
	while (pager_poll(world.pager, SWAP_READ, 1) > 0)
		;
}

static uint64_t addr_of(unsigned page)
{
	return base + page * PAGE_BYTES;
}

static int try_load(unsigned page, uint64_t *value)
{
	return soft_load64(place.mmu, addr_of(page), value);
}

static void assert_holds(unsigned page, uint64_t value)
{
	uint64_t found = 0;

	assert_int_equal(try_load(page, &found), 0);
	assert_int_equal(found, value);
}

static void fill(unsigned first, unsigned nr, uint64_t value)
{
	for (unsigned i = first; i < first + nr; i++)
		assert_int_equal(soft_store64(place.mmu, addr_of(i), value), 0);
}

static void advise(unsigned first, unsigned nr, int advice)
{
	assert_int_equal(place_madvise(&place, addr_of(first), nr * PAGE_BYTES, advice), 0);
}

static pte_t pte_of(unsigned page)
{
	pte_slot_t *ptep = pgtable_find(&place.space->pgtable, space_index(place.space, addr_of(page)));

	return ptep ? pte_load(ptep) : 0;
}

static struct page *page_at(unsigned page)
{
	return pfn_page(world.pager, pte_pfn(pte_of(page)));
}

static void page_out(unsigned first, unsigned nr)
{
	for (unsigned i = 0; i < 2; i++) { /* the second time their writes have ended */
		advise(first, nr, MADV_PAGEOUT);
		end_writes();
	}
	world_squeeze(&world);
	for (unsigned i = first; i < first + nr; i++)
		assert_true(pte_is_swap(pte_of(i)));
}

static void arm(unsigned first, unsigned nr)
{
	advise(first, nr, MADV_COLD);
	for (unsigned i = first; i < first + nr; i++)
		assert_true(pte_is_present(pte_of(i)) && !pte_is_valid(pte_of(i)));
}

static int scan(void)
{
	int merged = ksmd_step(world.pager, 100000);

	valid();
	return merged;
}

/* What is calm after this is looked for in the tree by the next scan. */
static void scan_first(unsigned first, unsigned nr)
{
	advise(first, nr, MADV_MERGEABLE);
	assert_int_equal(scan(), 0);
}

/* ---- Frames that cannot be shown ------------------------------------------------------------------- */

static unsigned maps_left; /* mappings that succeed */

static void map_some(struct machine *m, struct mapping *maps, unsigned nr)
{
	world.real->map(m, maps, nr);
	for (unsigned i = 0; i < nr; i++)
		if (!maps_left || !maps_left--)
			maps[i].result = -ENOMEM;
}

static int populate_nothing(struct machine *m, pfn_t first, unsigned nr)
{
	(void)m, (void)first, (void)nr;
	return -ENOMEM;
}

static void a_birth_without_host_memory_leaves_nothing(void **state)
{
	uint64_t value, run;

	(void)state;
	maps_left = 0;
	world.ops.map = map_some;
	assert_int_equal(try_load(0, &value), -ENOMEM);
	assert_true(pte_is_none(pte_of(0)));
	assert_int_equal(stats().frames_used, 0);
	valid();
	/* Of a run the first may be there, and the others not. */
	advise(0, NR_PAGES, MADV_SEQUENTIAL);
	maps_left = 1;
	assert_int_equal(try_load(0, &value), 0);
	run = stats().frames_used;
	assert_int_equal(run, 1);
	assert_true(pte_is_none(pte_of(1)));
	maps_left = UINT32_MAX;
	assert_holds(1, 0);
	valid();
}

static void an_armed_page_that_cannot_be_shown_stays_armed(void **state)
{
	uint64_t value;

	(void)state;
	fill(0, 1, 7);
	arm(0, 1);
	maps_left = 0;
	world.ops.map = map_some;
	assert_int_equal(try_load(0, &value), -ENOMEM);
	assert_true(pte_is_present(pte_of(0)) && !pte_is_valid(pte_of(0)));
	valid();
	maps_left = 1;
	assert_holds(0, 7);
}

/* The run of armed pages ends where one is busy, or where none is armed. */
static void armed_pages_are_shown_in_runs(void **state)
{
	(void)state;
	fill(0, 32, 7);
	arm(0, 32);
	advise(0, NR_PAGES, MADV_SEQUENTIAL);
	assert_true(page_trylock(world.pager, page_at(2)));
	assert_holds(0, 7);
	assert_true(pte_is_valid(pte_of(1)));
	assert_false(pte_is_valid(pte_of(2)));
	page_unlock(world.pager, page_at(2));
	assert_holds(2, 7);
	assert_true(pte_is_valid(pte_of(3)));
	valid();
}

/* ---- Pins -------------------------------------------------------------------------------------------- */

static uint64_t pinned_addr;

static void unmap_but_the_pinned(
	struct machine *m, struct mapping *maps, unsigned nr, enum unmap_content content)
{
	world.real->unmap(m, maps, nr, content);
	for (unsigned i = 0; i < nr; i++)
		if (content == UNMAP_KEEP && maps[i].addr == pinned_addr)
			maps[i].result = -EBUSY;
}

static void reclaim_leaves_a_pinned_page_where_it_is(void **state)
{
	(void)state;
	fill(0, 3, 7);
	pinned_addr = addr_of(1);
	world.ops.unmap = unmap_but_the_pinned;
	advise(0, 3, MADV_PAGEOUT);
	end_writes();
	valid();
	assert_true(pte_is_swap(pte_of(0)) && pte_is_swap(pte_of(2)));
	assert_true(pte_is_valid(pte_of(1)));
	assert_int_equal(page_list(page_at(1)), LIST_ACTIVE_ANON);
	assert_int_equal(stats().pinned, 1);
	pinned_addr = 0;
	page_out(1, 1);
	assert_holds(1, 7);
}

static void a_move_of_a_pinned_page_gives_up(void **state)
{
	uint64_t addr = base, value;
	struct wait wait = {0};

	(void)state;
	fill(0, 3, 7);
	pinned_addr = addr_of(1);
	world.ops.unmap = unmap_but_the_pinned;
	assert_int_equal(PLACE_CALL(&place, &wait,
				 space_mremap(place.space, &addr, 3 * PAGE_BYTES, 3 * PAGE_BYTES,
					 MREMAP_MAYMOVE | MREMAP_FIXED, base + 8 * MIB, &wait)),
		-EBUSY);
	assert_int_equal(addr, base);
	valid();
	assert_int_equal(soft_load64(place.mmu, base + 8 * MIB, &value), -EFAULT);
	for (unsigned i = 0; i < 3; i++)
		assert_holds(i, 7);
	pinned_addr = 0;
	assert_int_equal(PLACE_CALL(&place, &wait,
				 space_mremap(place.space, &addr, 3 * PAGE_BYTES, 3 * PAGE_BYTES,
					 MREMAP_MAYMOVE | MREMAP_FIXED, base + 8 * MIB, &wait)),
		0);
	assert_int_equal(soft_load64(place.mmu, base + 8 * MIB + PAGE_BYTES, &value), 0);
	assert_int_equal(value, 7);
	valid();
}

/* ---- Writes that nobody sees --------------------------------------------------------------------------------- */

/* A store of the program to a page that is shown: no fault, no mark in its PTE. */
static void store_unseen(unsigned page, uint64_t value)
{
	assert_true(pte_is_valid(pte_of(page)));
	memcpy(world.real->frame_bytes(world.machine, pte_pfn(pte_of(page))), &value, sizeof(value));
}

/* Page 0 is in memory, and its slot holds what it was before. Page 1 is out. */
static void newer_than_its_slot(uint64_t value)
{
	fill(0, 2, 7);
	page_out(0, 2);
	assert_holds(0, 7);
	assert_true(page_has(page_at(0), PG_swapcache));
	store_unseen(0, value);
}

/* It has to wait until page 1 is read. */
static void swapoff_begins(struct machine *m, struct mapping *maps, unsigned nr, enum unmap_content content)
{
	struct wait wait;

	world.real->unmap(m, maps, nr, content);
	assert_int_equal(pager_swapoff(world.pager, world.dev->uri, &wait), -EAGAIN);
}

/* Its slot cannot be written then. When swapoff is given up, the page must not be taken for what the slot holds. */
static void a_page_that_is_unmapped_while_swapoff_begins_keeps_its_content(void **state)
{
	(void)state;
	newer_than_its_slot(8);
	faulty_hold(world.dev, SWAP_READ, true);
	world.ops.unmap = swapoff_begins;
	advise(0, 1, MADV_PAGEOUT);
	world.ops.unmap = world.real->unmap;
	assert_true(pte_is_swap(pte_of(0)));
	pager_swapoff_cancel(world.pager);
	end_reading();
	page_out(0, 2);
	assert_int_equal(stats().frames_used, 0);
	assert_holds(0, 8);
	assert_holds(1, 7);
	valid();
}

static void refuse_page_2(void)
{
	faulty_full(world.dev, 2);
	fill(2, 1, 9);
	advise(2, 1, MADV_PAGEOUT);
	end_writes();
	assert_true(world.pager->areas[0].full);
}

static void a_slot_that_holds_something_is_written_again_on_a_full_device(void **state)
{
	uint64_t written;

	(void)state;
	newer_than_its_slot(8);
	refuse_page_2();
	written = stats().written;
	advise(0, 1, MADV_PAGEOUT);
	end_writes();
	assert_int_equal(stats().written, written + 1);
	assert_holds(0, 8);
	assert_holds(2, 9);
	valid();
}

/* ---- Equal pages share a slot ---------------------------------------------------------------------------- */

static void start_reading(void)
{
	struct wait wait = {0};

	faulty_hold(world.dev, SWAP_READ, true);
	assert_int_equal(handle_mm_fault(place.space, addr_of(0), ACCESS_READ, &wait), FAULT_WAIT);
}

static void equal_pages_on_a_device_share_a_slot_and_are_copied(void **state)
{
	uint64_t value;

	(void)state;
	fill(0, 2, 7);
	page_out(0, 2);
	scan_first(0, 2);
	assert_int_equal(scan(), 2);
	assert_true(pte_of(0) == pte_of(1));
	assert_int_equal(stats().slots_used, 1);
	/* A copy for which the host has no memory changes nothing. */
	start_reading();
	end_reading();
	world.ops.frame_populate = populate_nothing;
	assert_int_equal(try_load(0, &value), -ENOMEM);
	assert_true(pte_of(0) == pte_of(1));
	world.ops.frame_populate = world.real->frame_populate;
	valid();
	assert_holds(0, 7);
	assert_holds(1, 7);
	assert_int_equal(stats().copied_early, 1);
	valid();
}

static void armed_pages_in_the_swap_cache_are_merged_too(void **state)
{
	(void)state;
	fill(0, 2, 7);
	page_out(0, 2);
	assert_holds(0, 7);
	assert_holds(1, 7);
	assert_true(page_has(page_at(0), PG_swapcache));
	arm(0, 2);
	scan_first(0, 2);
	assert_int_equal(scan(), 2);
	assert_true(pte_of(0) == pte_of(1));
	assert_holds(0, 7);
	assert_holds(1, 7);
}

/* @spoil makes page 0 one that cannot be merged now, @heal ends that. */
static void is_passed_over(void (*spoil)(void), void (*heal)(void))
{
	scan_first(0, 2);
	spoil();
	assert_int_equal(ksmd_step(world.pager, 100000), 0);
	heal();
	valid();
	int first = scan();

	assert_int_equal(first + scan(), 2);
	assert_holds(0, 7);
	assert_holds(1, 7);
}

static struct page *spoiled;

static void hold(void)
{
	spoiled = page_at(0);
	page_get(spoiled);
}

static void let_go(void)
{
	page_put(world.pager, spoiled);
}

static void armed_pages_that_another_holds_are_passed_over(void **state)
{
	(void)state;
	fill(0, 2, 7);
	arm(0, 2);
	is_passed_over(hold, let_go);
}

static void mlocked(void)
{
	page_set(page_at(0), PG_mlocked);
}

static void munlocked(void)
{
	page_clear(page_at(0), PG_mlocked);
}

static void armed_pages_that_are_mlocked_are_passed_over(void **state)
{
	(void)state;
	fill(0, 2, 7);
	arm(0, 2);
	is_passed_over(mlocked, munlocked);
}

static void inherit(void)
{
	world.pager->areas[0].inherited = true;
}

static void disinherit(void)
{
	world.pager->areas[0].inherited = false;
}

static void slots_that_others_still_read_are_passed_over(void **state)
{
	(void)state;
	fill(0, 2, 7);
	page_out(0, 2);
	is_passed_over(inherit, disinherit);
	page_out(0, 2);
	assert_holds(0, 7);
	fill(1, 1, 7);
	arm(0, 2);
	assert_true(page_has(page_at(0), PG_swapcache) || !page_has(page_at(1), PG_swapcache));
	inherit();
	assert_true(ksmd_step(world.pager, 100000) >= 0);
	disinherit();
	valid();
}

static void poison(void)
{
	swap_slot(world.pager, pte_entry(pte_of(0)))->flags |= SLOT_POISONED;
}

static void cleanse(void)
{
	swap_slot(world.pager, pte_entry(pte_of(0)))->flags &= (uint16_t)~SLOT_POISONED;
}

static void lost_pages_are_passed_over(void **state)
{
	(void)state;
	fill(0, 2, 7);
	page_out(0, 2);
	is_passed_over(poison, cleanse);
}

static void pages_that_are_being_read_are_passed_over(void **state)
{
	(void)state;
	fill(0, 2, 7);
	page_out(0, 2);
	is_passed_over(start_reading, end_reading);
}

static void lock_cached(void)
{
	start_reading();
	end_reading();
	spoiled = lookup_swap_cache(world.pager, pte_entry(pte_of(0)));
	assert_non_null(spoiled);
	assert_true(page_trylock(world.pager, spoiled));
}

static void unlock_cached(void)
{
	page_unlock(world.pager, spoiled);
}

static void locked_pages_of_the_swap_cache_are_passed_over(void **state)
{
	(void)state;
	fill(0, 2, 7);
	page_out(0, 2);
	is_passed_over(lock_cached, unlock_cached);
}

/* Written out and not gone yet: the end of the write has put it at the tail, where it would be the next to go. */
static void a_page_that_is_wanted_while_it_goes_stays_longest(void **state)
{
	(void)state;
	fill(0, 8, 1);
	arm(0, 8);
	advise(3, 1, MADV_PAGEOUT); /* written, and no second look yet */
	end_writes();
	struct page *page = slot_page(world.pager, pte_entry(pte_of(3)));

	assert_non_null(page);
	assert_ptr_equal(TAILQ_LAST(&world.pager->nodes[0].lists[LIST_INACTIVE_ANON], page_head), page);
	assert_holds(3, 1);
	assert_ptr_equal(page_at(3), page);
	assert_int_equal(page_list(page), LIST_INACTIVE_ANON);
	assert_ptr_equal(TAILQ_FIRST(&world.pager->nodes[0].lists[LIST_INACTIVE_ANON]), page);
	valid();
}

static void without_a_free_slot_armed_pages_stay_two(void **state)
{
	unsigned ranked = world.pager->nr_ranked;

	(void)state;
	fill(0, 2, 7);
	arm(0, 2);
	scan_first(0, 2);
	world.pager->nr_ranked = 0;
	assert_int_equal(scan(), 0);
	world.pager->nr_ranked = ranked;
	assert_true(page_at(0) != page_at(1));
	assert_int_equal(scan(), 2);
}

/* The twin was locked in memory after the tree came to know it. */
static void a_twin_that_is_mlocked_since_is_left_alone(void **state)
{
	(void)state;
	fill(0, 2, 7);
	arm(0, 2);
	scan_first(0, 2);
	assert_int_equal(ksmd_step(world.pager, 1), 0);
	assert_int_equal(place_mlock(&place, addr_of(0), PAGE_BYTES, true), 0);
	assert_int_equal(scan(), 0);
	assert_true(pte_is_present(pte_of(0)) && pte_is_present(pte_of(1)));
	assert_int_equal(place_mlock(&place, addr_of(0), PAGE_BYTES, false), 0);
}

static void a_slot_has_no_more_than_its_share_of_users(void **state)
{
	uint32_t most = 0;

	(void)state;
	fill(0, NR_PAGES, 7);
	page_out(0, NR_PAGES);
	scan_first(0, NR_PAGES);
	scan();
	scan();
	for (unsigned i = 0; i < NR_PAGES; i++) {
		uint32_t users = swap_slot(world.pager, pte_entry(pte_of(i)))->count;

		most = users > most ? users : most;
	}
	assert_int_equal(most, KSM_MAX_SHARING);
	assert_int_equal(stats().slots_used, 2);
	valid();
}

static void *no_chunk(struct machine *m, size_t bytes)
{
	(void)m, (void)bytes;
	return NULL;
}

static void without_memory_to_remember_nothing_is_merged(void **state)
{
	struct pool *pool = &world.pager->ksm.item_pool;
	void *rest = pool->free;

	(void)state;
	fill(0, 2, 7);
	page_out(0, 2);
	advise(0, 2, MADV_MERGEABLE);
	pool->free = NULL;
	world.ops.chunk_alloc = no_chunk;
	assert_int_equal(ksmd_step(world.pager, 100), -ENOMEM);
	world.ops.chunk_alloc = world.real->chunk_alloc;
	pool->free = rest;
	valid();
	int merged = 0;

	for (unsigned i = 0; i < 3; i++) /* the first of them began before */
		merged += scan();
	assert_int_equal(merged, 2);
	assert_true(pte_of(0) == pte_of(1));
}

static void a_childs_copy_of_what_is_read_only_is_read_only(void **state)
{
	struct place child;
	uint64_t value = 0;

	(void)state;
	fill(0, 1, 7);
	assert_int_equal(place_mprotect(&place, addr_of(0), PAGE_BYTES, PROT_READ), 0);
	assert_int_equal(place_fork(&place, &child), 0);
	valid();
	assert_int_equal(place_read(&child, addr_of(0), &value, sizeof(value)), 0);
	valid();
	place_close(&child);
}

/* Pages that somebody has locked and that reclaim has not isolated, at each eviction. */
static unsigned locked_by_others, evictions;

static void count_locked(void *ctx, const struct page_event *event)
{
	(void)ctx;
	if (strcmp(event->function, "add_to_swap"))
		return;
	evictions++;
	for (uint32_t pfn = 0; pfn < world.pager->nr_frames; pfn++) {
		struct page *page = pfn_page(world.pager, pfn);

		locked_by_others +=
			page->_count > 0 && page_has(page, PG_locked) && page_list(page) != LIST_ISOLATED;
	}
}

static void a_fork_that_must_reclaim_has_no_page_locked(void **state)
{
	struct place child;
	uint64_t area = 0, value;

	(void)state;
	assert_int_equal(place_mmap(&place, &area, 900 * PAGE_BYTES, RW, 0), 0);
	for (unsigned i = 0; i < 900; i++)
		assert_int_equal(soft_store64(place.mmu, area + i * PAGE_BYTES, 1000 + i), 0);
	locked_by_others = evictions = 0;
	pager_trace(world.pager, count_locked, NULL);
	assert_int_equal(place_fork(&place, &child), 0);
	pager_trace(world.pager, NULL, NULL);
	assert_true(evictions > 0);
	assert_int_equal(locked_by_others, 0);
	valid();
	for (unsigned i = 0; i < 900; i++) {
		assert_int_equal(soft_load64(child.mmu, area + i * PAGE_BYTES, &value), 0);
		assert_int_equal(value, 1000 + i);
	}
	place_close(&child);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_birth_without_host_memory_leaves_nothing),
		TEST(an_armed_page_that_cannot_be_shown_stays_armed),
		TEST(armed_pages_are_shown_in_runs),
		TEST(reclaim_leaves_a_pinned_page_where_it_is),
		TEST(a_move_of_a_pinned_page_gives_up),
		TEST(a_page_that_is_unmapped_while_swapoff_begins_keeps_its_content),
		TEST(a_slot_that_holds_something_is_written_again_on_a_full_device),
		TEST(equal_pages_on_a_device_share_a_slot_and_are_copied),
		TEST(armed_pages_in_the_swap_cache_are_merged_too),
		TEST(armed_pages_that_another_holds_are_passed_over),
		TEST(armed_pages_that_are_mlocked_are_passed_over),
		TEST(slots_that_others_still_read_are_passed_over),
		TEST(lost_pages_are_passed_over),
		TEST(pages_that_are_being_read_are_passed_over),
		TEST(locked_pages_of_the_swap_cache_are_passed_over),
		TEST(a_page_that_is_wanted_while_it_goes_stays_longest),
		TEST(without_a_free_slot_armed_pages_stay_two),
		TEST(a_twin_that_is_mlocked_since_is_left_alone),
		TEST(a_slot_has_no_more_than_its_share_of_users),
		TEST(without_memory_to_remember_nothing_is_merged),
		TEST(a_childs_copy_of_what_is_read_only_is_read_only),
		TEST(a_fork_that_must_reclaim_has_no_page_locked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

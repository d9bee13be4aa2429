/* SPDX-License-Identifier: MIT */
/*
 * What reclaim does with a page that is not simply cold: one that another thread holds, locks, touches or lets go of.
 * Some of that happens while reclaim has dropped the pager lock: a function that the machine's unlock() calls does what
 * the other thread would do then.
 */
#define _GNU_SOURCE
#include "../world.h"
#include "mm/mm.h"
#include "swap/faulty.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define RW (PROT_READ | PROT_WRITE)
#define NR_PAGES 64u

static struct world world;
static struct place place;
static uint64_t base;
static void (*meanwhile)(void); /* once: when the lock is dropped next */
static void (*at_flush)(struct space *space, uint64_t addr); /* each time, until it is NULL */

static void unlock_and_let_others_work(struct machine *m)
{
	void (*work)(void) = meanwhile;

	world.real->unlock(m);
	meanwhile = NULL;
	if (work)
		work();
}

static void flush_and_touch(struct machine *m, struct space *space, uint64_t addr)
{
	world.real->flush(m, space, addr);
	if (at_flush)
		at_flush(space, addr);
}

static int open_world(unsigned policy)
{
	struct world_config config = {.kind = ANONMM_SOFT,
		.nr_frames = 512,
		.space_bytes = 64 * MIB,
		.swap = "faulty:mem:?size=4M",
		.policy = policy};

	base = 0;
	meanwhile = NULL;
	at_flush = NULL;
	if (world_open(&world, &config))
		return -1;
	world.ops.unlock = unlock_and_let_others_work;
	world.ops.flush = flush_and_touch;
	if (place_open(&place, &world) || place_mmap(&place, &base, NR_PAGES * PAGE_BYTES, RW, 0))
		return -1;
	return place_madvise(&place, base, NR_PAGES * PAGE_BYTES, MADV_RANDOM); /* births one by one */
}

static int set_up(void **state)
{
	(void)state;
	return open_world(0);
}

static void valid(void)
{
	char why[200];
	const char *wrong = pager_validate(world.pager, why, sizeof(why));

	if (wrong)
		fail_msg("%s", wrong);
}

static int tear_down(void **state)
{
	struct anonmm_stats now;

	(void)state;
	place_close(&place);
	while (pager_poll(world.pager, SWAP_WRITE, 1) > 0)
		;
	valid();
	pager_stats(world.pager, &now);
	assert_int_equal(now.frames_used, 1); /* the zero page */
	assert_int_equal(now.slots_used, 0);
	world_close(&world);
	return 0;
}

static struct anonmm_stats stats(void)
{
	struct anonmm_stats now;

	pager_stats(world.pager, &now);
	return now;
}

static void store(uint64_t addr, uint64_t value)
{
	assert_int_equal(soft_store64(place.mmu, addr, value), 0);
}

static uint64_t load(uint64_t addr)
{
	uint64_t value = 0;

	assert_int_equal(soft_load64(place.mmu, addr, &value), 0);
	return value;
}

static pte_slot_t *ptep_of(uint64_t addr)
{
	return pgtable_find(&place.space->pgtable, space_index(place.space, addr));
}

static struct page *page_of(uint64_t addr)
{
	return pfn_page(world.pager, pte_pfn(pte_load(ptep_of(addr))));
}

static const char *list_of(uint64_t addr)
{
	struct page_view view;

	space_view(place.space, addr, &view);
	return view.list;
}

static void end_writes(void)
{
	while (pager_poll(world.pager, SWAP_WRITE, 1) > 0)
		;
}

/* As reclaim does with what it has isolated, and the program has said that it is cold. */
static void reclaim_isolated(struct page_head *list)
{
	pager_lock(world.pager);
	reclaim_pages(world.pager, list);
	pager_unlock(world.pager);
}

static void reclaim(struct page *page)
{
	struct page_head list = TAILQ_HEAD_INITIALIZER(list);

	assert_true(isolate_lru_page(world.pager, page, &list));
	reclaim_isolated(&list);
}

/* Clean, in the swap cache, and mapped. */
static struct page *clean_page(uint64_t addr)
{
	struct page_view view;

	store(addr, 7);
	reclaim(page_of(addr));
	end_writes();
	world_squeeze(&world);
	space_view(place.space, addr, &view);
	assert_int_equal(view.pte, PTE_KIND_SWAP);
	assert_int_equal(load(addr), 7);
	assert_true(page_has(page_of(addr), PG_swapcache));
	return page_of(addr);
}

/* ---- Held, locked, unlocked ----------------------------------------------------------------------- */

static struct page *held;

static void hold_it(void)
{
	page_get(held);
}

static void a_page_that_another_holds_stays(void **state)
{
	(void)state;
	held = clean_page(base);
	meanwhile = hold_it;
	reclaim(held);
	assert_true(held->_count > 0);
	assert_string_equal("inactive", page_list(held) == LIST_INACTIVE_ANON ? "inactive" : "other");
	page_put(world.pager, held);
	valid();
	assert_int_equal(load(base), 7);
}

/* It holds zeros, and would need no slot: but who holds it reads it. */
static void a_zero_page_that_another_holds_keeps_its_slot(void **state)
{
	uint64_t dropped;

	(void)state;
	store(base, 0);
	held = page_of(base);
	dropped = stats().zero_dropped;
	meanwhile = hold_it;
	reclaim(held);
	end_writes();
	assert_int_equal(stats().zero_dropped, dropped);
	assert_true(pte_is_swap(pte_load(ptep_of(base))));
	page_put(world.pager, held);
	valid();
	assert_int_equal(load(base), 0);
}

static void a_locked_page_is_passed_over(void **state)
{
	struct page_head list = TAILQ_HEAD_INITIALIZER(list);
	struct page *page;

	(void)state;
	store(base, 1);
	page = page_of(base);
	assert_true(page_trylock(world.pager, page));
	reclaim(page);
	assert_true(page_mapped(page) && page_list(page) > LIST_ISOLATED);
	assert_true(isolate_lru_page(world.pager, page, &list));
	deactivate_pages(world.pager, &list);
	assert_int_equal(page_list(page), LIST_INACTIVE_ANON);
	assert_true(pte_load(ptep_of(base)) & PTE_ACCESSED); /* its age was not looked at */
	page_unlock(world.pager, page);
	valid();
}

static void lock_in_memory(void)
{
	struct wait wait = {0};

	assert_int_equal(space_mlock(place.space, base, PAGE_BYTES, true, &wait), -EAGAIN);
}

static void a_page_that_is_mlocked_meanwhile_is_unevictable(void **state)
{
	(void)state;
	store(base, 1);
	held = page_of(base);
	meanwhile = lock_in_memory;
	reclaim(held);
	assert_int_equal(page_list(held), LIST_UNEVICTABLE);
	end_writes();
	assert_int_equal(place_mlock(&place, base, PAGE_BYTES, true), 0);
	valid();
	assert_string_equal(list_of(base), "unevictable");
	assert_int_equal(load(base), 1);
	assert_int_equal(place_mlock(&place, base, PAGE_BYTES, false), 0);
}

static void isolated_pages_that_are_mlocked_go_to_their_list(void **state)
{
	struct page_head list = TAILQ_HEAD_INITIALIZER(list);

	(void)state;
	store(base, 1);
	store(base + PAGE_BYTES, 1);
	assert_true(isolate_lru_page(world.pager, page_of(base), &list));
	assert_true(isolate_lru_page(world.pager, page_of(base + PAGE_BYTES), &list));
	assert_int_equal(place_mlock(&place, base, PAGE_BYTES, true), 0);
	/* A VMA that is locked by a call whose second half has not come to the page yet. */
	assert_int_equal(vma_split_range(place.space, base + PAGE_BYTES, base + 2 * PAGE_BYTES), 0);
	vma_set_locked(find_vma(place.space, base + PAGE_BYTES), true);
	reclaim_isolated(&list);
	valid();
	assert_string_equal(list_of(base), "unevictable");
	assert_string_equal(list_of(base + PAGE_BYTES), "unevictable");
	assert_int_equal(place_mlock(&place, base, 2 * PAGE_BYTES, false), 0);
	assert_string_equal(list_of(base + PAGE_BYTES), "inactive");
}

/* ---- Ended while isolated --------------------------------------------------------------------------- */

/* In the swap cache, not mapped, isolated; then its last PTE goes. @hold: somebody else looks at it. */
static void last_entry_goes_while_isolated(bool hold)
{
	struct page_head list = TAILQ_HEAD_INITIALIZER(list);
	uint64_t used = stats().frames_used;
	struct page_view view;
	struct page *page;

	store(base, 5);
	faulty_hold(world.dev, SWAP_WRITE, true);
	reclaim(page_of(base));
	space_view(place.space, base, &view);
	assert_int_equal(view.pte, PTE_KIND_SWAP);
	page = pfn_page(world.pager, view.pfn);
	if (page_list(page) <= LIST_ISOLATED)
		fail_msg("the page is on no list");
	assert_true(isolate_lru_page(world.pager, page, &list));
	assert_int_equal(place_munmap(&place, base, PAGE_BYTES), 0);
	faulty_hold(world.dev, SWAP_WRITE, false);
	end_writes();
	if (hold)
		page_get(page);
	reclaim_isolated(&list);
	if (hold)
		page_put(world.pager, page);
	valid();
	assert_int_equal(stats().frames_used, used);
	assert_int_equal(stats().slots_used, 0);
}

static void a_page_whose_last_entry_went_while_isolated_ends(void **state)
{
	(void)state;
	last_entry_goes_while_isolated(false);
}

static void so_does_one_that_another_holds(void **state)
{
	(void)state;
	last_entry_goes_while_isolated(true);
}

/* ---- Touched meanwhile -------------------------------------------------------------------------------- */

static void touch_again(struct space *space, uint64_t addr)
{
	pte_set_bits(pgtable_find(&space->pgtable, space_index(space, addr)), PTE_ACCESSED);
}

/* Another processor sets the accessed bit between the look at it and the unmapping. */
static void a_page_that_is_touched_before_it_is_unmapped_is_active(void **state)
{
	struct page *page;

	(void)state;
	store(base, 1);
	page = page_of(base);
	at_flush = touch_again;
	reclaim(page);
	at_flush = NULL;
	valid();
	assert_int_equal(page_list(page), LIST_ACTIVE_ANON);
	assert_true(pte_is_valid(pte_load(ptep_of(base))));
	assert_int_equal(load(base), 1);
}

static void fault_on_it(void)
{
	struct wait wait = {0};

	assert_int_equal(handle_mm_fault(place.space, base, ACCESS_READ, &wait), FAULT_WAIT);
	assert_int_equal(wait.what, WAIT_PAGE);
}

static void a_lazyfree_page_that_is_wanted_meanwhile_stays(void **state)
{
	struct page *page;

	(void)state;
	store(base, 9);
	page = page_of(base);
	assert_int_equal(place_madvise(&place, base, PAGE_BYTES, MADV_FREE), 0);
	meanwhile = fault_on_it;
	reclaim(page);
	valid();
	assert_ptr_equal(page_of(base), page);
	assert_int_equal(load(base), 9);
}

/* Written through a PTE that has gone since. */
static void a_lazyfree_page_that_is_dirty_is_an_ordinary_one_again(void **state)
{
	struct page *page;

	(void)state;
	store(base, 9);
	page = page_of(base);
	assert_int_equal(place_madvise(&place, base, PAGE_BYTES, MADV_FREE), 0);
	assert_false(page_has(page, PG_swapbacked));
	page_set(page, PG_dirty);
	reclaim(page);
	valid();
	assert_true(page_has(page, PG_swapbacked));
	assert_int_equal(page_list(page), LIST_ACTIVE_ANON);
	assert_int_equal(load(base), 9);
}

/* ---- Files ------------------------------------------------------------------------------------------------ */

static unsigned reads;

static int read_index(void *ctx, uint64_t index, void *bytes)
{
	(void)ctx;
	reads++;
	memset(bytes, (int)index + 1, PAGE_BYTES);
	return 0;
}

static const struct file_ops ops = {read_index, NULL};

static void close_file(struct file *file)
{
	struct wait wait = {0};

	assert_int_equal(WORLD_RETRY(&world, &wait, file_close(file, &wait)), 0);
}

static void a_file_s_page_that_nobody_maps_is_dropped(void **state)
{
	struct file *file;
	struct page *page;
	uint64_t addr = 0;

	(void)state;
	assert_int_equal(file_create(world.pager, &ops, NULL, PAGE_BYTES, &file), 0);
	assert_int_equal(place_mmap_file(&place, &addr, PAGE_BYTES, PROT_READ, 0, file, 0), 0);
	load(addr);
	page = find_page(file, 0);
	assert_int_equal(place_munmap(&place, addr, PAGE_BYTES), 0);
	reclaim(page);
	valid();
	assert_null(find_page(file, 0));
	close_file(file);
}

static void a_file_s_page_that_another_holds_stays(void **state)
{
	struct file *file;
	uint64_t addr = 0;

	(void)state;
	assert_int_equal(file_create(world.pager, &ops, NULL, PAGE_BYTES, &file), 0);
	assert_int_equal(place_mmap_file(&place, &addr, PAGE_BYTES, PROT_READ, 0, file, 0), 0);
	load(addr);
	held = find_page(file, 0);
	meanwhile = hold_it;
	reclaim(held);
	assert_ptr_equal(find_page(file, 0), held);
	page_put(world.pager, held);
	reads = 0;
	assert_int_equal(load(addr) & 0xff, 1);
	assert_int_equal(reads, 0);
	valid();
	assert_int_equal(place_munmap(&place, addr, PAGE_BYTES), 0);
	close_file(file);
}

/* Of kswapd, over both lists. */
static void one_round(void)
{
	struct node *node = &world.pager->nodes[0];
	uint32_t high = node->wmark.high;

	node->wmark.high = UINT32_MAX;
	kswapd_step(world.pager, SWAP_CLUSTER_MAX);
	node->wmark.high = high;
}

/* Used once, as text: active at once. Data that was used once only gets another round. */
static void program_text_is_worth_more_than_data(void **state)
{
	struct file *file;
	uint64_t text = 0, data = 0;
	struct node *node = &world.pager->nodes[0];

	(void)state;
	assert_int_equal(file_create(world.pager, &ops, NULL, 2 * PAGE_BYTES, &file), 0);
	assert_int_equal(place_mmap_file(&place, &text, PAGE_BYTES, PROT_READ | PROT_EXEC, 0, file, 0), 0);
	assert_int_equal(place_mmap_file(&place, &data, PAGE_BYTES, PROT_READ, 0, file, 1), 0);
	load(text);
	load(data);
	page_clear(find_page(file, 0), PG_referenced);
	page_clear(find_page(file, 1), PG_referenced);
	assert_int_equal(node->nr_pages[LIST_INACTIVE_FILE], 2);
	pager_reclaim(world.pager, 1);
	assert_int_equal(page_list(find_page(file, 0)), LIST_ACTIVE_FILE);
	assert_true(find_page(file, 1) == NULL || page_list(find_page(file, 1)) == LIST_INACTIVE_FILE);

	/* And it stays active for as long as it is used, unless it is busy. */
	load(text);
	one_round();
	assert_int_equal(page_list(find_page(file, 0)), LIST_ACTIVE_FILE);
	assert_true(page_trylock(world.pager, find_page(file, 0)));
	load(text);
	one_round();
	page_unlock(world.pager, find_page(file, 0));
	assert_int_equal(page_list(find_page(file, 0)), LIST_INACTIVE_FILE);
	valid();
	assert_int_equal(place_munmap(&place, text, PAGE_BYTES), 0);
	assert_int_equal(place_munmap(&place, data, PAGE_BYTES), 0);
	close_file(file);
}

/* All there is is text, in use again whenever it was looked at: reclaim ends, and says that there is nothing. */
static void text_that_is_always_in_use_is_not_scanned_for_ever(void **state)
{
	struct node *node = &world.pager->nodes[0];
	uint64_t text = 0, used = world.pager->nr_used;
	struct file *file;

	(void)state;
	assert_int_equal(file_create(world.pager, &ops, NULL, 40 * PAGE_BYTES, &file), 0);
	assert_int_equal(
		place_mmap_file(&place, &text, 40 * PAGE_BYTES, PROT_READ | PROT_EXEC, 0, file, 0), 0);
	for (unsigned i = 0; i < 40; i++)
		load(text + i * PAGE_BYTES);
	at_flush = touch_again;
	assert_int_equal(pager_reclaim(world.pager, 1), 0);
	world.pager->nr_used = world.pager->nr_frames; /* no frame is free */
	assert_int_equal(try_to_free_pages(world.pager), RECLAIM_NOTHING);
	world.pager->nr_used = (uint32_t)used + 40;
	node->wmark.high = UINT32_MAX;
	enum kswapd_result result;
	unsigned steps = 0;

	while ((result = kswapd_step(world.pager, KSWAPD_PAGES)) == KSWAPD_PROGRESS)
		assert_true(steps++ < 10);
	assert_int_equal(result, KSWAPD_STUCK);
	watermarks_set(&node->wmark, node->nr);
	assert_int_equal(node->nr_pages[LIST_ACTIVE_FILE], 40);
	at_flush = NULL;
	assert_true(pager_reclaim(world.pager, 40) > 0);
	valid();
	assert_int_equal(place_munmap(&place, text, 40 * PAGE_BYTES), 0);
	close_file(file);
}

/* Nothing more can be swapped out: anonymous pages are not looked at. */
static void without_a_free_slot_files_alone_are_reclaimed(void **state)
{
	struct pager *pager = world.pager;
	uint64_t addr = 0, used = pager->slots_used;
	struct file *file;

	(void)state;
	assert_int_equal(file_create(pager, &ops, NULL, PAGE_BYTES, &file), 0);
	assert_int_equal(place_mmap_file(&place, &addr, PAGE_BYTES, PROT_READ, 0, file, 0), 0);
	store(base, 3);
	load(addr);
	assert_int_equal(place_madvise(&place, addr, PAGE_BYTES, MADV_COLD), 0);
	pager->slots_used = pager->slots_total;
	pager_reclaim(pager, 1);
	pager->slots_used = used;
	assert_null(find_page(file, 0));
	assert_true(pte_load(ptep_of(base)) & PTE_ACCESSED);
	valid();
	assert_int_equal(place_munmap(&place, addr, PAGE_BYTES), 0);
	close_file(file);
}

/* ---- Shared memory ------------------------------------------------------------------------------------------ */

static struct file *shmem_page(uint64_t *addr, uint64_t value)
{
	struct file *file;

	*addr = 0;
	assert_int_equal(file_create(world.pager, NULL, NULL, PAGE_BYTES, &file), 0);
	assert_int_equal(place_mmap_file(&place, addr, PAGE_BYTES, RW, SPACE_SHARED, file, 0), 0);
	store(*addr, value);
	return file;
}

static void shared_memory_stays_when_no_slot_is_free(void **state)
{
	struct pager *pager = world.pager;
	unsigned ranked = pager->nr_ranked;
	uint64_t addr;
	struct file *file = shmem_page(&addr, 6);

	(void)state;
	pager->nr_ranked = 0; /* no device takes anything */
	reclaim(find_page(file, 0));
	pager->nr_ranked = ranked;
	assert_int_equal(page_list(find_page(file, 0)), LIST_ACTIVE_ANON);
	assert_int_equal(load(addr), 6);
	valid();
	assert_int_equal(place_munmap(&place, addr, PAGE_BYTES), 0);
	close_file(file);
}

static void zeros_of_shared_memory_that_another_holds_get_a_slot(void **state)
{
	uint64_t addr, dropped = stats().zero_dropped;
	struct file *file = shmem_page(&addr, 0);

	(void)state;
	held = find_page(file, 0);
	meanwhile = hold_it;
	reclaim(held);
	end_writes();
	assert_int_equal(stats().zero_dropped, dropped);
	page_put(world.pager, held);
	valid();
	assert_int_equal(load(addr), 0);
	assert_int_equal(place_munmap(&place, addr, PAGE_BYTES), 0);
	close_file(file);
}

/* ---- Who else reclaims ----------------------------------------------------------------------------------------- */

static uint32_t events_within;

static void reclaim_too(void)
{
	uint32_t before = atomic_load(pager_events(world.pager, WAIT_WORD_COMMON));

	pager_reclaim(world.pager, 1);
	events_within = atomic_load(pager_events(world.pager, WAIT_WORD_COMMON)) - before;
}

static void only_the_last_to_reclaim_says_that_it_is_over(void **state)
{
	uint32_t before;

	(void)state;
	store(base, 1);
	store(base + PAGE_BYTES, 2);
	before = atomic_load(pager_events(world.pager, WAIT_WORD_COMMON));
	world.pager->nr_reclaimers = 1;
	reclaim_too();
	world.pager->nr_reclaimers = 0;
	assert_int_equal(events_within, 0);
	end_writes();
	before = atomic_load(pager_events(world.pager, WAIT_WORD_COMMON));
	pager_reclaim(world.pager, 1);
	assert_true(atomic_load(pager_events(world.pager, WAIT_WORD_COMMON)) != before);
	valid();
}

/* Nothing to be had: to wait makes sense only as long as another may free something. */
static void direct_reclaim_waits_for_other_reclaimers(void **state)
{
	struct pager *pager = world.pager;
	uint32_t used = pager->nr_used;

	(void)state;
	pager->nr_used = pager->nr_frames; /* no frame is free, none is on a list */
	assert_int_equal(try_to_free_pages(pager), RECLAIM_NOTHING);
	pager->nr_reclaimers = 1;
	assert_int_equal(try_to_free_pages(pager), RECLAIM_WAIT);
	pager->nr_reclaimers = 0;
	pager->nr_used = used;
	valid();
}

/* ---- Lists ----------------------------------------------------------------------------------- */

static void births_start_where_the_policy_says(void **state)
{
	(void)state;
	assert_int_equal(open_world(PAGER_BIRTH_INACTIVE), 0);
	store(base, 1);
	assert_string_equal(list_of(base), "inactive");
	assert_int_equal(tear_down(state), 0);
	assert_int_equal(open_world(0), 0);
	store(base, 1);
	assert_string_equal(list_of(base), "active");
	assert_int_equal(tear_down(state), 0);
}

/* sqrt(10 * GiB) : 1, as Linux's. */
static void the_inactive_list_is_a_smaller_part_of_more_memory(void **state)
{
	uint32_t gib = 1u << (30 - PAGE_SHIFT);
	struct ageing_side anon = {0};

	(void)state;
	anon.inactive = 100;
	anon.active = 101;
	assert_true(ageing_inactive_is_low(&anon, false));
	anon.active = 100;
	assert_false(ageing_inactive_is_low(&anon, false));
	anon.inactive = gib / 4; /* of 1 GiB: 3 : 1 is right */
	anon.active = 3 * (gib / 4);
	assert_false(ageing_inactive_is_low(&anon, false));
	anon.active++;
	assert_true(ageing_inactive_is_low(&anon, false));
	anon.inactive = gib; /* of 11 GiB: 10 : 1 */
	anon.active = 10 * gib;
	assert_false(ageing_inactive_is_low(&anon, false));
	anon.active = 11 * gib;
	assert_true(ageing_inactive_is_low(&anon, false));
}

static void where_looks_are_dear_it_is_smaller(void **state)
{
	struct ageing_side anon = {0};

	(void)state;
	anon.inactive = 100;
	anon.active = 800;
	assert_true(ageing_inactive_is_low(&anon, false));
	assert_false(ageing_inactive_is_low(&anon, true));
	anon.active = 801;
	assert_true(ageing_inactive_is_low(&anon, true));
}

/* The end of a write finds the page in use again. */
static void only_inactive_pages_are_rotated(void **state)
{
	struct page *page;

	(void)state;
	store(base, 1);
	store(base + PAGE_BYTES, 1);
	page = page_of(base + PAGE_BYTES);
	assert_ptr_equal(TAILQ_FIRST(&world.pager->nodes[0].lists[LIST_ACTIVE_ANON]), page);
	rotate_reclaimable_page(world.pager, page);
	assert_ptr_equal(TAILQ_FIRST(&world.pager->nodes[0].lists[LIST_ACTIVE_ANON]), page);
	valid();
}

static void flags_as_text_end_where_the_room_does(void **state)
{
	char buf[20];

	(void)state;
	assert_string_equal(page_flags_text(PG_lru, buf, 0), "");
	assert_string_equal(page_flags_text(0, buf, sizeof(buf)), "");
	assert_string_equal(page_flags_text(PG_lru | PG_dirty, buf, sizeof(buf)), "lru|dirty");
	assert_string_equal(page_flags_text(PG_lru | PG_dirty, buf, 6), "lru|d");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_page_that_another_holds_stays),
		TEST(a_zero_page_that_another_holds_keeps_its_slot),
		TEST(a_locked_page_is_passed_over),
		TEST(a_page_that_is_mlocked_meanwhile_is_unevictable),
		TEST(isolated_pages_that_are_mlocked_go_to_their_list),
		TEST(a_page_whose_last_entry_went_while_isolated_ends),
		TEST(so_does_one_that_another_holds),
		TEST(a_page_that_is_touched_before_it_is_unmapped_is_active),
		TEST(a_lazyfree_page_that_is_wanted_meanwhile_stays),
		TEST(a_lazyfree_page_that_is_dirty_is_an_ordinary_one_again),
		TEST(a_file_s_page_that_nobody_maps_is_dropped),
		TEST(a_file_s_page_that_another_holds_stays),
		TEST(program_text_is_worth_more_than_data),
		TEST(text_that_is_always_in_use_is_not_scanned_for_ever),
		TEST(without_a_free_slot_files_alone_are_reclaimed),
		TEST(shared_memory_stays_when_no_slot_is_free),
		TEST(zeros_of_shared_memory_that_another_holds_get_a_slot),
		TEST(only_the_last_to_reclaim_says_that_it_is_over),
		TEST(direct_reclaim_waits_for_other_reclaimers),
		cmocka_unit_test(births_start_where_the_policy_says),
		cmocka_unit_test(the_inactive_list_is_a_smaller_part_of_more_memory),
		cmocka_unit_test(where_looks_are_dear_it_is_smaller),
		TEST(only_inactive_pages_are_rotated),
		cmocka_unit_test(flags_as_text_end_where_the_room_does),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* KSM where frames can be shared: what is merged, what a write to it does, and who else may come by meanwhile. */
#define _GNU_SOURCE
#include "../world.h"
#include "mm/page.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define RW (PROT_READ | PROT_WRITE)
#define FULL_SCAN 1000000u

static struct world world;
static struct place one, two;
static uint64_t a, b; /* the first page of one, of two: mergeable */

static int set_up(void **state)
{
	struct world_config config = {
		.kind = ANONMM_SOFT, .nr_frames = 512, .space_bytes = 64 * MIB, .swap = "mem:?size=16M"};

	(void)state;
	a = b = 0;
	if (world_open(&world, &config) || place_open(&one, &world) || place_open(&two, &world))
		return -1;
	if (place_mmap(&one, &a, MIB, RW, 0) || place_mmap(&two, &b, MIB, RW, 0))
		return -1;
	/* Births one by one: what is born besides would be merged, too. */
	return place_madvise(&one, a, MIB, MADV_RANDOM) || place_madvise(&two, b, MIB, MADV_RANDOM) ||
	       place_madvise(&one, a, MIB, MADV_MERGEABLE) || place_madvise(&two, b, MIB, MADV_MERGEABLE);
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

static uint64_t frames_used(void)
{
	struct anonmm_stats now = stats();

	return now.frames - now.frames_free - 1; /* the zero page */
}

static void leave(struct place *p)
{
	if (p->mmu)
		place_close(p);
	p->mmu = NULL;
	valid();
}

static int tear_down(void **state)
{
	(void)state;
	leave(&one);
	leave(&two);
	while (pager_poll(world.pager, SWAP_WRITE, 1) > 0)
		;
	valid();
	assert_int_equal(frames_used(), 0);
	assert_int_equal(stats().slots_used, 0);
	world_close(&world);
	return 0;
}

static struct page_view view_of(struct place *p, uint64_t addr)
{
	struct page_view view;

	space_view(p->space, addr, &view);
	return view;
}

static uint64_t load(struct place *p, uint64_t addr)
{
	uint64_t value = 0;

	assert_int_equal(soft_load64(p->mmu, addr, &value), 0);
	return value;
}

static void store(struct place *p, uint64_t addr, uint64_t value)
{
	assert_int_equal(soft_store64(p->mmu, addr, value), 0);
}

/* A page whose content is this value alone. */
static void fill(struct place *p, uint64_t addr, unsigned nr, uint64_t value)
{
	for (unsigned i = 0; i < nr; i++)
		store(p, addr + i * PAGE_BYTES + 2000, value);
}

static void assert_holds(struct place *p, uint64_t addr, unsigned nr, uint64_t value)
{
	for (unsigned i = 0; i < nr; i++)
		assert_int_equal(load(p, addr + i * PAGE_BYTES + 2000), value);
}

static int scan(void)
{
	int merged = ksmd_step(world.pager, FULL_SCAN);

	valid();
	return merged;
}

/* Look at all twice: what nobody writes to is merged. */
static int merge(void)
{
	int first = scan();

	return first + scan();
}

/* Everything goes out; this page, too. */
static void page_out(struct place *p, uint64_t addr)
{
	world_squeeze(&world);
	assert_int_equal(view_of(p, addr).pte, PTE_KIND_SWAP);
	valid();
}

/* It is unmapped and being written. */
static void start_writing(struct place *p, uint64_t addr)
{
	assert_true(pager_reclaim(world.pager, 1) > 0);
	assert_int_equal(view_of(p, addr).pte, PTE_KIND_SWAP);
	assert_true(view_of(p, addr).flags & PG_writeback);
	valid();
}

static void assert_merged(struct place *p, uint64_t addr, int mappings)
{
	struct page_view view = view_of(p, addr);

	assert_int_equal(view.pte, PTE_KIND_PRESENT);
	assert_int_equal(view.kind, PAGE_KIND_KSM);
	assert_true(view.flags & PG_ksm);
	assert_false(view.pte_write);
	assert_int_equal(view.mapcount, mappings - 1);
	assert_int_equal(view.count, mappings);
}

static void assert_own(struct place *p, uint64_t addr)
{
	struct page_view view = view_of(p, addr);

	assert_int_equal(view.pte, PTE_KIND_PRESENT);
	assert_int_equal(view.kind, PAGE_KIND_ANON);
	assert_int_equal(view.mapcount, 0);
}

/* ---- What is merged ------------------------------------------------------------------------ */

static void equal_pages_of_two_spaces_become_one(void **state)
{
	(void)state;
	fill(&one, a, 1, 7);
	fill(&two, b, 1, 7);
	assert_int_equal(scan(), 0); /* seen once: they may be about to change */
	assert_int_equal(view_of(&one, a).kind, PAGE_KIND_ANON);
	assert_int_equal(scan(), 2);
	assert_merged(&one, a, 2);
	assert_int_equal(view_of(&one, a).pfn, view_of(&two, b).pfn);
	/* As Linux 4.0 shows it, with PG_lru. */
	assert_int_equal(view_of(&one, a).flags,
		PG_referenced | PG_uptodate | PG_dirty | PG_lru | PG_active | PG_swapbacked | PG_ksm);
	assert_int_equal(frames_used(), 1);
	assert_int_equal(stats().merged, 2);
	assert_int_equal(scan(), 0);
	assert_holds(&one, a, 1, 7);
	assert_holds(&two, b, 1, 7);
	fill(&two, b + PAGE_BYTES, 1, 7);
	assert_int_equal(scan(), 1); /* equal to a stable page: at once */
	assert_merged(&one, a, 3);
}

static void many_equal_pages_share_frames(void **state)
{
	(void)state;
	fill(&one, a, 200, 1);
	fill(&two, b, 156, 1);
	fill(&two, b + 156 * PAGE_BYTES, 50, 2);
	assert_int_equal(merge(), 406);
	assert_merged(&one, a, 256);
	assert_int_equal(frames_used(), 1 + 2 + 0);
	assert_merged(&two, b + 156 * PAGE_BYTES, 50);
	assert_holds(&one, a, 200, 1);
	assert_holds(&two, b, 156, 1);
	assert_holds(&two, b + 156 * PAGE_BYTES, 50, 2);
	store(&two, b, 9);
	valid();
	assert_holds(&one, a, 200, 1);
}

static void what_is_not_calm_is_not_merged(void **state)
{
	(void)state;
	for (unsigned i = 1; i < 6; i++) {
		fill(&one, a, 1, i);
		fill(&two, b, 1, i);
		assert_int_equal(scan(), 0);
	}
	/* Calm, but written between its two looks by a byte that the other has not. */
	assert_int_equal(ksmd_step(world.pager, 1), 0);
	store(&two, b + 8, 1);
	assert_int_equal(scan(), 0);
	assert_int_equal(merge(), 0);
	assert_own(&one, a);
}

static void a_write_after_the_unstable_tree_knows_it_wins(void **state)
{
	(void)state;
	fill(&one, a, 1, 3);
	fill(&two, b, 1, 3);
	assert_int_equal(scan(), 0);
	assert_int_equal(ksmd_step(world.pager, 1), 0); /* one's page is in the unstable tree */
	store(&one, a + 8, 1);
	assert_int_equal(ksmd_step(world.pager, 1), 0); /* two's page has its hash, but not its bytes */
	valid();
	assert_int_equal(load(&one, a + 8), 1);
	assert_int_equal(load(&two, b + 8), 0);
	store(&one, a + 8, 2);
	store(&two, b + 8, 3);
	assert_own(&one, a);
	assert_own(&two, b);
}

static void only_mergeable_memory_is_merged(void **state)
{
	struct file *shared;
	struct wait wait = {0};
	uint64_t plain = 0, sh = 0, locked = 0, foreign = 0;

	(void)state;
	fill(&one, a, 2, 4);
	assert_int_equal(place_mmap(&one, &plain, 2 * PAGE_BYTES, RW, 0), 0);
	fill(&one, plain, 2, 4);
	assert_int_equal(place_mmap(&one, &locked, 2 * PAGE_BYTES, RW, 0), 0);
	assert_int_equal(place_madvise(&one, locked, 2 * PAGE_BYTES, MADV_MERGEABLE), 0);
	assert_int_equal(place_mlock(&one, locked, 2 * PAGE_BYTES, true), 0);
	fill(&one, locked, 2, 4);
	assert_int_equal(file_create(world.pager, NULL, NULL, 2 * PAGE_BYTES, &shared), 0);
	assert_int_equal(place_mmap_file(&one, &sh, 2 * PAGE_BYTES, RW, SPACE_SHARED, shared, 0), 0);
	assert_int_equal(place_madvise(&one, sh, 2 * PAGE_BYTES, MADV_MERGEABLE), 0);
	fill(&one, sh, 2, 4);
	assert_int_equal(place_mmap(&one, &foreign, 2 * PAGE_BYTES, RW, SPACE_FOREIGN), 0);
	assert_int_equal(place_madvise(&one, foreign, 2 * PAGE_BYTES, MADV_MERGEABLE), 0);
	assert_int_equal(place_madvise(&two, b + 4 * MIB, PAGE_BYTES, MADV_MERGEABLE), -ENOMEM);
	assert_int_equal(merge(), 2);
	assert_merged(&one, a, 2);
	assert_own(&one, plain);
	assert_own(&one, locked);
	assert_int_equal(view_of(&one, sh).kind, PAGE_KIND_SHMEM);
	load(&one, a + 100 * PAGE_BYTES); /* the zero page is no candidate, however often it is mapped */
	load(&one, a + 101 * PAGE_BYTES);
	assert_int_equal(merge(), 0);
	assert_int_equal(file_close(shared, &wait), 0);
}

static void the_scan_goes_on_where_it_stopped(void **state)
{
	unsigned steps = 0;

	(void)state;
	fill(&one, a, 10, 5);
	fill(&two, b, 10, 5);
	while (stats().merged < 20 && steps++ < 100)
		ksmd_step(world.pager, 3);
	assert_in_range(steps, 12, 14); /* 20 pages twice, in threes, and a step ends with its scan */
	assert_merged(&one, a, 20);
}

/* ---- Writes, and the way back ---------------------------------------------------------------- */

static void a_write_copies_also_for_the_last_mapper(void **state)
{
	(void)state;
	fill(&one, a, 1, 7);
	fill(&two, b, 1, 7);
	merge();
	pfn_t pfn = view_of(&one, a).pfn;

	store(&one, a, 1);
	valid();
	assert_own(&one, a);
	assert_merged(&two, b, 1);
	assert_int_equal(view_of(&two, b).pfn, pfn);
	store(&two, b, 2);
	valid();
	assert_own(&two, b);
	assert_int_not_equal(view_of(&two, b).pfn, pfn);
	assert_int_equal(frames_used(), 2);
	assert_int_equal(load(&one, a), 1);
	assert_int_equal(load(&two, b), 2);
	assert_holds(&one, a, 1, 7);
	assert_holds(&two, b, 1, 7);
}

static void unmergeable_gives_each_its_own(void **state)
{
	(void)state;
	fill(&one, a, 8, 7);
	fill(&two, b, 1, 7);
	merge();
	assert_int_equal(place_mprotect(&one, a, 4 * PAGE_BYTES, PROT_READ), 0);
	valid();
	assert_int_equal(place_madvise(&one, a, 6 * PAGE_BYTES, MADV_UNMERGEABLE), 0);
	valid();
	for (unsigned i = 0; i < 6; i++)
		assert_own(&one, a + i * PAGE_BYTES);
	assert_int_equal(soft_store64(one.mmu, a, 1), -EFAULT); /* still read-only */
	assert_merged(&two, b, 3);
	assert_int_equal(stats().unmerged, 6);
	assert_int_equal(merge(), 0);
	assert_holds(&one, a, 8, 7);
	assert_int_equal(place_mprotect(&one, a, 4 * PAGE_BYTES, RW), 0);
	fill(&one, a, 8, 8);
	assert_holds(&two, b, 1, 7);
	assert_int_equal(place_madvise(&one, a, 8 * PAGE_BYTES, MADV_MERGEABLE), 0);
	assert_int_equal(merge(), 8);
}

/* => no swap: what fills memory cannot leave it */
static void unmerge_without_memory_can_be_called_again(void **state)
{
	struct world_config config = {.kind = ANONMM_SOFT, .nr_frames = 128, .space_bytes = 64 * MIB};
	uint64_t hog = 0;
	unsigned nr = 0;

	(void)state;
	a = 0;
	assert_int_equal(world_open(&world, &config), 0);
	assert_int_equal(place_open(&one, &world), 0);
	assert_int_equal(place_mmap(&one, &a, 64 * PAGE_BYTES, RW, 0), 0);
	assert_int_equal(place_madvise(&one, a, 64 * PAGE_BYTES, MADV_MERGEABLE), 0);
	fill(&one, a, 64, 7);
	assert_int_equal(merge(), 64);
	assert_int_equal(place_mmap(&one, &hog, MIB, RW, SPACE_NORESERVE), 0);
	while (soft_store64(one.mmu, hog + nr * PAGE_BYTES, 1000 + nr) == 0)
		nr++;
	assert_int_equal(place_madvise(&one, a, 64 * PAGE_BYTES, MADV_UNMERGEABLE), -ENOMEM);
	valid();
	assert_holds(&one, a, 64, 7);
	assert_merged(&one, a + 63 * PAGE_BYTES, 64);
	assert_int_equal(place_munmap(&one, hog, 20 * PAGE_BYTES), 0);
	assert_int_equal(place_madvise(&one, a, 64 * PAGE_BYTES, MADV_UNMERGEABLE), -ENOMEM);
	assert_int_equal(stats().unmerged, 20);
	valid();
	assert_int_equal(place_munmap(&one, hog, MIB), 0);
	assert_int_equal(place_madvise(&one, a, 64 * PAGE_BYTES, MADV_UNMERGEABLE), 0);
	assert_int_equal(stats().unmerged, 64);
	assert_holds(&one, a, 64, 7);
	assert_int_equal(merge(), 0);
	leave(&one);
	assert_int_equal(frames_used(), 0);
	world_close(&world);
}

/* ---- Those who come by ------------------------------------------------------------------------- */

static void a_fork_maps_the_merged_page_too(void **state)
{
	struct place child, grandchild;

	(void)state;
	fill(&one, a, 2, 7);
	merge();
	assert_int_equal(place_fork(&one, &child), 0);
	valid();
	assert_merged(&one, a, 4);
	assert_int_equal(place_fork(&child, &grandchild), 0);
	valid();
	assert_merged(&grandchild, a, 6);
	store(&child, a, 1);
	valid();
	assert_own(&child, a);
	assert_merged(&one, a, 5);
	leave(&one); /* in any order */
	assert_holds(&grandchild, a, 2, 7);
	leave(&child);
	assert_merged(&grandchild, a, 2);
	leave(&grandchild);
	assert_int_equal(frames_used(), 0);
}

static void a_family_shares_before_it_is_merged(void **state)
{
	struct place child;

	(void)state;
	fill(&one, a, 2, 7);
	assert_int_equal(place_fork(&one, &child), 0);
	fill(&two, b, 1, 7);
	assert_int_equal(merge(), 5); /* two pages of two mappings each, and one */
	assert_merged(&child, a, 5);
	assert_int_equal(frames_used(), 1);
	store(&child, a, 1);
	store(&one, a + PAGE_BYTES, 2);
	valid();
	assert_merged(&two, b, 3);
	/* A family of which one member does not want it: none is merged. */
	fill(&one, a + 8 * PAGE_BYTES, 1, 8);
	fill(&two, b + 8 * PAGE_BYTES, 2, 8);
	leave(&child);
	assert_int_equal(place_fork(&one, &child), 0);
	assert_int_equal(place_madvise(&child, a, MIB, MADV_UNMERGEABLE), 0);
	valid();
	assert_int_equal(merge(), 2);
	assert_merged(&two, b + 8 * PAGE_BYTES, 2);
	leave(&child);
}

/* LIFECYCLE 8: the first reader has it as an ordinary page, the others by the swap cache. */
static void a_merged_page_is_swapped_out_for_all(void **state)
{
	struct page_view first, second;

	(void)state;
	fill(&one, a, 1, 7);
	fill(&two, b, 2, 7);
	merge();
	page_out(&one, a);
	assert_int_equal(view_of(&two, b).pte, PTE_KIND_SWAP);
	assert_int_equal(view_of(&two, b + PAGE_BYTES).swap_count, 3);
	assert_int_equal(stats().written, 1);
	assert_holds(&one, a, 1, 7);
	first = view_of(&one, a);
	assert_int_equal(first.kind, PAGE_KIND_ANON);
	assert_false(first.flags & PG_ksm);
	assert_true(first.flags & PG_swapcache);
	assert_int_equal(first.swap_count, 2);
	assert_holds(&two, b, 1, 7);
	second = view_of(&two, b);
	assert_int_not_equal(second.pfn, first.pfn);
	valid();
	store(&two, b + PAGE_BYTES, 1);
	store(&one, a, 2);
	store(&two, b, 3);
	valid();
	assert_holds(&one, a, 1, 7);
	assert_holds(&two, b, 2, 7);
	assert_int_equal(stats().slots_used, 0);
}

/* Found in the swap cache before its frame was free: nobody may write to what others name. */
static void a_merged_page_is_met_on_its_way_out(void **state)
{
	(void)state;
	fill(&one, a, 1, 7);
	fill(&two, b, 1, 7);
	merge();
	start_writing(&one, a);
	assert_true(view_of(&one, a).flags & PG_ksm);
	store(&one, a, 1);
	valid();
	assert_int_equal(load(&two, b), 0);
	assert_holds(&two, b, 1, 7);
	store(&two, b, 2);
	valid();
	assert_int_equal(load(&one, a), 1);
	assert_holds(&one, a, 1, 7);
}

static void the_last_mapper_unmaps_it_on_its_way_out(void **state)
{
	(void)state;
	fill(&one, a, 3, 7);
	merge();
	start_writing(&one, a);
	assert_int_equal(place_munmap(&one, a, 3 * PAGE_BYTES), 0);
	valid();
	while (pager_poll(world.pager, SWAP_WRITE, 1) > 0)
		;
	valid();
	assert_int_equal(frames_used(), 0);
}

/* An active page with a slot: given up by writes, the last of which frees page and slot. */
static void a_merged_page_with_a_slot_ends_with_its_last_mapper(void **state)
{
	(void)state;
	fill(&one, a, 2, 7);
	page_out(&one, a);
	assert_holds(&one, a, 2, 7); /* back, their slots kept */
	assert_int_equal(stats().slots_used, 2);
	assert_int_equal(merge(), 2);
	assert_int_equal(stats().slots_used, 0);
	store(&one, a, 1);
	store(&one, a + PAGE_BYTES, 1);
	valid();
	assert_int_equal(frames_used(), 2);
}

static void pages_whose_slot_others_name_wait(void **state)
{
	struct place child;

	(void)state;
	fill(&one, a, 1, 7);
	fill(&two, b, 1, 7);
	page_out(&one, a);
	assert_int_equal(place_fork(&one, &child), 0);
	assert_holds(&one, a, 1, 7);
	assert_holds(&two, b, 1, 7);
	assert_int_equal(merge(), 0);
	assert_holds(&child, a, 1, 7);
	assert_int_equal(merge(), 3);
	leave(&child);
	assert_merged(&two, b, 2);
}

static void mremap_moves_what_is_merged(void **state)
{
	uint64_t at = a;

	(void)state;
	fill(&one, a, 8, 7);
	fill(&two, b, 1, 7);
	assert_int_equal(scan(), 0);
	assert_int_equal(place_mremap(&one, &at, 4 * PAGE_BYTES, 8 * PAGE_BYTES), 0);
	valid();
	assert_int_not_equal(at, a);
	assert_int_equal(merge(), 9); /* moved before, and after they are merged */
	uint64_t again = at;

	assert_int_equal(place_mremap(&one, &again, 8 * PAGE_BYTES, 16 * PAGE_BYTES), 0);
	valid();
	assert_merged(&one, again, 9);
	store(&one, again, 1);
	valid();
	page_out(&two, b);
	assert_int_equal(view_of(&one, again + PAGE_BYTES).pte, PTE_KIND_SWAP);
	assert_holds(&one, again, 4, 7);
	assert_holds(&one, a + 4 * PAGE_BYTES, 4, 7);
	assert_holds(&two, b, 1, 7);
	assert_int_equal(merge(), 8);
	at = again;
	assert_int_equal(place_mremap(&one, &at, 16 * PAGE_BYTES, 2 * PAGE_BYTES), 0);
	valid();
	assert_merged(&one, at + PAGE_BYTES, 6);
}

static void unmapping_protecting_and_dropping(void **state)
{
	(void)state;
	fill(&one, a, 8, 7);
	fill(&two, b, 1, 7);
	merge();
	assert_int_equal(place_munmap(&one, a + 2 * PAGE_BYTES, PAGE_BYTES), 0);
	valid();
	assert_int_equal(place_madvise(&one, a + 3 * PAGE_BYTES, PAGE_BYTES, MADV_DONTNEED), 0);
	valid();
	assert_merged(&two, b, 7);
	assert_int_equal(load(&one, a + 3 * PAGE_BYTES + 2000), 0);
	assert_int_equal(place_mprotect(&one, a, 2 * PAGE_BYTES, PROT_READ), 0);
	valid();
	assert_holds(&one, a, 2, 7);
	assert_int_equal(soft_store64(one.mmu, a, 1), -EFAULT);
	assert_int_equal(place_mprotect(&one, a, 2 * PAGE_BYTES, RW), 0);
	store(&one, a, 1);
	valid();
	assert_own(&one, a);
	assert_merged(&two, b, 6);
	assert_int_equal(place_madvise(&two, b, PAGE_BYTES, MADV_FREE), 0);
	valid();
	assert_holds(&two, b, 1, 7); /* advice, which a shared page does not take */
	assert_int_equal(place_madvise(&one, a, MIB, MADV_DONTNEED), -ENOMEM); /* the hole */
}

static void locked_memory_keeps_its_merged_pages(void **state)
{
	(void)state;
	fill(&one, a, 2, 7);
	fill(&two, b, 1, 7);
	merge();
	assert_int_equal(place_mprotect(&one, a, PAGE_BYTES, PROT_READ), 0);
	assert_int_equal(place_mlock(&one, a, PAGE_BYTES, true), 0);
	valid();
	assert_string_equal(view_of(&two, b).list, "unevictable");
	world_squeeze(&world);
	assert_merged(&two, b, 3);
	assert_int_equal(place_munmap(&one, a, PAGE_BYTES), 0);
	valid();
	assert_string_equal(view_of(&two, b).list, "inactive");
	/* Memory that can be written to gets its copy when it is locked: later would be too late. */
	assert_int_equal(place_mlock(&two, b, PAGE_BYTES, true), 0);
	valid();
	assert_own(&two, b);
	assert_string_equal(view_of(&two, b).list, "unevictable");
	assert_merged(&one, a + PAGE_BYTES, 1);
	assert_string_equal(view_of(&one, a + PAGE_BYTES).list, "inactive");
	page_out(&one, a + PAGE_BYTES);
	assert_holds(&one, a + PAGE_BYTES, 1, 7);
	assert_int_equal(merge(), 0);
}

static void a_private_copy_of_a_file_is_merged_and_cut_off(void **state)
{
	struct file *file;
	struct wait wait = {0};
	uint64_t at = 0, value;

	(void)state;
	assert_int_equal(file_create(world.pager, NULL, NULL, 4 * PAGE_BYTES, &file), 0);
	assert_int_equal(place_mmap_file(&one, &at, 4 * PAGE_BYTES, RW, 0, file, 0), 0);
	assert_int_equal(place_madvise(&one, at, 4 * PAGE_BYTES, MADV_MERGEABLE), 0);
	fill(&one, at, 4, 7);
	fill(&two, b, 1, 7);
	assert_int_equal(merge(), 5);
	assert_int_equal(file_truncate(file, 2 * PAGE_BYTES, &wait), 0);
	valid();
	assert_merged(&two, b, 3);
	assert_int_equal(soft_load64(one.mmu, at + 3 * PAGE_BYTES, &value), -EIO);
	assert_int_equal(place_munmap(&one, at, 4 * PAGE_BYTES), 0);
	assert_int_equal(file_close(file, &wait), 0);
}

static void a_space_goes_in_the_middle_of_a_scan(void **state)
{
	(void)state;
	fill(&one, a, 4, 7);
	fill(&two, b, 4, 7);
	scan();
	assert_int_equal(ksmd_step(world.pager, 2), 2);
	leave(&one); /* the cursor is in it, and it owns the stable page */
	assert_int_equal(scan(), 2 + 2);
	assert_merged(&two, b, 4);
	assert_int_equal(ksmd_step(world.pager, 3), 0);
	leave(&two);
	assert_int_equal(scan(), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(equal_pages_of_two_spaces_become_one),
		TEST(many_equal_pages_share_frames),
		TEST(what_is_not_calm_is_not_merged),
		TEST(a_write_after_the_unstable_tree_knows_it_wins),
		TEST(only_mergeable_memory_is_merged),
		TEST(the_scan_goes_on_where_it_stopped),
		TEST(a_write_copies_also_for_the_last_mapper),
		TEST(unmergeable_gives_each_its_own),
		cmocka_unit_test(unmerge_without_memory_can_be_called_again),
		TEST(a_fork_maps_the_merged_page_too),
		TEST(a_family_shares_before_it_is_merged),
		TEST(a_merged_page_is_swapped_out_for_all),
		TEST(a_merged_page_is_met_on_its_way_out),
		TEST(the_last_mapper_unmaps_it_on_its_way_out),
		TEST(a_merged_page_with_a_slot_ends_with_its_last_mapper),
		TEST(pages_whose_slot_others_name_wait),
		TEST(mremap_moves_what_is_merged),
		TEST(unmapping_protecting_and_dropping),
		TEST(locked_memory_keeps_its_merged_pages),
		TEST(a_private_copy_of_a_file_is_merged_and_cut_off),
		TEST(a_space_goes_in_the_middle_of_a_scan),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

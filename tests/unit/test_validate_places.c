/* SPDX-License-Identifier: MIT */
/*
 * The validator finds what is wrong with VMAs, with entries of pages that move, with the zero page, and with frames
 * that nobody may have.
 */
#define _GNU_SOURCE
#include "../world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "wrong.h"

static struct world world;
static struct place place, child;
static uint64_t
	base; /* page 0 is shared with the child, page 1 is the place's own, page 2 maps the zero page, 3 is none */
static uint64_t mapped; /* page 0 of a file, in its cache */
static struct file *file;

static int read_index(void *ctx, uint64_t index, void *bytes)
{
	(void)ctx;
	memset(bytes, (int)index + 1, PAGE_BYTES);
	return 0;
}

static const struct file_ops ops = {read_index, NULL};

static void build(void)
{
	uint64_t value;

	assert_int_equal(place_mmap(&place, &base, 4 * PAGE_BYTES, PROT_READ | PROT_WRITE, 0), 0);
	assert_int_equal(place_madvise(&place, base, 4 * PAGE_BYTES, MADV_RANDOM), 0);
	assert_int_equal(file_create(world.pager, &ops, NULL, 4 * PAGE_BYTES, &file), 0);
	mapped = base + 8 * PAGE_BYTES;
	assert_int_equal(
		place_mmap_file(&place, &mapped, 4 * PAGE_BYTES, PROT_READ, SPACE_FIXED, file, 0), 0);
	assert_int_equal(soft_store64(place.mmu, base, 1), 0);
	assert_int_equal(place_fork(&place, &child), 0);
	assert_int_equal(soft_store64(place.mmu, base + PAGE_BYTES, 2), 0);
	assert_int_equal(soft_load64(place.mmu, base + 2 * PAGE_BYTES, &value), 0);
	assert_int_equal(soft_load64(place.mmu, mapped, &value), 0);
}

static int set_up(void **state)
{
	struct world_config config = {.kind = ANONMM_SOFT,
		.nr_frames = 2 * PAGER_MIN_FRAMES,
		.space_bytes = 16 * MIB,
		.swap = "mem:?size=4M"};

	(void)state;
	base = mapped = 0;
	if (world_open(&world, &config) || place_open(&place, &world))
		return -1;
	build();
	return 0;
}

static int tear_down(void **state)
{
	struct wait wait = {0};

	(void)state;
	world.ops = *world.real;
	assert_int_equal(WORLD_RETRY(&world, &wait, file_close(file, &wait)), 0);
	place_close(&child);
	place_close(&place);
	world_close(&world);
	return 0;
}

static void vmas_follow_one_another_inside_their_space(void **state)
{
	struct vma *first = find_vma(place.space, base), *second = find_vma(place.space, mapped);

	(void)state;
	EXPECT_RIGHT();
	WRONG(first->space, child.space, "a VMA of");
	WRONG(second->start, first->start, "a VMA of");
	WRONG(second->end, second->start, "a VMA of");
	WRONG(second->end, place.space->base + place.space->bytes + PAGE_BYTES, "a VMA of");
	WRONG(second->file, NULL, "a file with");
}

static void only_locked_and_isolated_pages_move(void **state)
{
	pte_t own = pte_load(ptep_of(&place, base + PAGE_BYTES));
	struct page *page = page_of(&place, base + PAGE_BYTES);
	struct page_head list = TAILQ_HEAD_INITIALIZER(list);

	(void)state;
	WRONG_PTE(&place, base + PAGE_BYTES, pte_to_migration(pte_present(world.pager->nr_frames, 0)),
		"which nobody moves");
	WRONG_PTE(&place, base + PAGE_BYTES, pte_to_migration(own), "which nobody moves");
	assert_true(page_trylock(world.pager, page));
	WRONG_PTE(&place, base + PAGE_BYTES, pte_to_migration(own), "which nobody moves");
	assert_true(isolate_lru_page(world.pager, page, &list));
	WRONG_PTE(&place, base + PAGE_BYTES, pte_to_migration(own), "PTEs map it");
	page_unlock(world.pager, page);
	putback_lru_page(world.pager, page, &list);
	EXPECT_RIGHT();
}

static void zero_mappings_are_of_the_zero_page_and_read_only(void **state)
{
	pte_t zero = pte_load(ptep_of(&place, base + 2 * PAGE_BYTES));

	(void)state;
	assert_true(zero & PTE_ZERO);
	WRONG_PTE(&place, base + 3 * PAGE_BYTES, PTE_WRITE, "a PTE of no kind");
	WRONG_PTE(&place, base + 2 * PAGE_BYTES, zero | PTE_WRITE, "that is not the zero page, or writable");
	WRONG_PTE(&place, base + 2 * PAGE_BYTES,
		pte_present(page_pfn(world.pager, page_of(&place, base)), PTE_ZERO),
		"that is not the zero page, or writable");
}

static void frames_that_were_never_used_are_mapped_by_nobody(void **state)
{
	struct page *last = pfn_page(world.pager, world.pager->nr_frames - 1);

	(void)state;
	assert_false(frame_is_ready(world.pager, last));
	WRONG(last->_count, 1, "reserved or never used");
	WRONG_PTE(&place, mapped + 3 * PAGE_BYTES, pte_present(world.pager->nr_frames - 1, 0),
		"reserved or never used");
}

static void merged_pages_have_a_node(void **state)
{
	struct page *shared = page_of(&place, base);

	(void)state;
	WRONG(shared->word, shared->word | PG_ksm, "PG_ksm and its mapping disagree");
}

static void what_is_lent_is_counted_by_node_and_by_area(void **state)
{
	struct pager *pager = world.pager;

	(void)state;
	WRONG(pager->nr_lent, 1, "1 frames lent, 0 by the nodes and 0 by the areas");
	WRONG(pager->nodes[0].nr_lent, 1, "0 frames lent, 1 by the nodes");
	WRONG(pager->areas[0].nr_lent, 1, "0 frames lent, 0 by the nodes and 1 by the areas");
	WRONG(pager->areas[0].lending, 1, "0 frames lent, 0 by the nodes and 1 by the areas");
}

static void no_free_frame_lies_behind_the_last(void **state)
{
	struct node *node = &world.pager->nodes[0];

	(void)state;
	WRONG(node->free_end, node->free_end - 1, "is free, and none from");
}

static void a_cached_page_names_its_file(void **state)
{
	struct page *cached = page_of(&place, mapped);

	(void)state;
	WRONG(cached->mapping, NULL, "in a page cache at 0 and does not know it");
}

static void reserved_frames_are_counted_and_not_free(void **state)
{
	struct pager *pager = world.pager;
	struct node *node = &pager->nodes[0];
	uint64_t bit = 1ull << 63; /* of the last frame */
	unsigned word = node->nr_words - 1;

	(void)state;
	WRONG(pager->slots_total, pager->slots_total + 1, "slots: ");
	WRONG(pager->stats->mapped_bytes, 0, "the report's sums over the spaces");
	WRONG(node->reserved_map[word], bit, "both free and reserved");
	WHILE(node->free_map[word], node->free_map[word] & ~bit,
		WHILE(node->reserved_map[word], bit,
			EXPECT_WRONG("1 frames reserved and 0 on their way, 0 counted")));
	EXPECT_RIGHT();
}

/* ---- Looks that cannot count ------------------------------------------------------------------ */

static unsigned chunks_left;

static void *some_chunks(struct machine *m, size_t bytes)
{
	return chunks_left && chunks_left-- ? world.real->chunk_alloc(m, bytes) : NULL;
}

static void each_of_its_tables_may_be_denied(void **state)
{
	unsigned denied = 0;

	(void)state;
	world.ops.chunk_alloc = some_chunks;
	for (chunks_left = 0;; chunks_left = ++denied) {
		const char *why = verdict(world.pager);

		if (!why)
			break;
		assert_string_equal(why, "no memory to count with");
	}
	assert_int_equal(denied, 2); /* the frames' and the one device's */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(vmas_follow_one_another_inside_their_space),
		TEST(only_locked_and_isolated_pages_move),
		TEST(zero_mappings_are_of_the_zero_page_and_read_only),
		TEST(frames_that_were_never_used_are_mapped_by_nobody),
		TEST(merged_pages_have_a_node),
		TEST(what_is_lent_is_counted_by_node_and_by_area),
		TEST(no_free_frame_lies_behind_the_last),
		TEST(a_cached_page_names_its_file),
		TEST(reserved_frames_are_counted_and_not_free),
		TEST(each_of_its_tables_may_be_denied),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

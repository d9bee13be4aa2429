/* SPDX-License-Identifier: MIT */
/*
 * The validator finds each wrong fact. A world is built that has some of everything. Then one word of it at a time is
 * made wrong by hand. The validator must report it, in the words of that equation, and the word is put right again.
 */
#define _GNU_SOURCE
#include "../world.h"
#include "mm/mm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define NR_PAGES 16u

static struct world world;
static struct place parent, child;
/*
 * anonymous pages: page 0 is shared with the child, which has its own page 1; 2 and 3 are the parent's; the last is out
 */
static uint64_t base;
static uint64_t shared; /* shmem: 0 in memory, 1 out */
static uint64_t private; /* a file's: 0 is mapped from its cache */
static struct file *shmem, *file;

static int read_nothing(void *ctx, uint64_t index, void *bytes)
{
	(void)ctx;
	memset(bytes, (int)index + 1, PAGE_BYTES);
	return 0;
}

static const struct file_ops ops = {read_nothing, NULL};

static void store(struct place *p, uint64_t addr, uint64_t value)
{
	assert_int_equal(soft_store64(p->mmu, addr, value), 0);
}

static void build(void)
{
	uint64_t value;

	assert_int_equal(place_mmap(&parent, &base, NR_PAGES * PAGE_BYTES, PROT_READ | PROT_WRITE, 0), 0);
	assert_int_equal(file_create(world.pager, NULL, NULL, 4 * PAGE_BYTES, &shmem), 0);
	assert_int_equal(file_create(world.pager, &ops, NULL, 4 * PAGE_BYTES, &file), 0);
	assert_int_equal(place_mmap_file(&parent, &shared, 4 * PAGE_BYTES, PROT_READ | PROT_WRITE,
				 SPACE_SHARED, shmem, 0),
		0);
	assert_int_equal(
		place_mmap_file(&parent, &private, 4 * PAGE_BYTES, PROT_READ | PROT_WRITE, 0, file, 0), 0);
	for (unsigned i = 0; i < NR_PAGES; i++)
		store(&parent, base + i * PAGE_BYTES, i + 1);
	store(&parent, shared + PAGE_BYTES, 1);
	world_squeeze(&world);
	store(&parent, base, 10);
	store(&parent, base + PAGE_BYTES, 11);
	assert_int_equal(place_fork(&parent, &child), 0);
	store(&child, base + PAGE_BYTES, 15);
	store(&parent, base + 2 * PAGE_BYTES, 12);
	store(&parent, base + 3 * PAGE_BYTES, 13);
	store(&parent, shared, 14);
	assert_int_equal(soft_load64(parent.mmu, private, &value), 0);
}

static int set_up(void **state)
{
	struct world_config config = {.kind = ANONMM_SOFT,
		.nr_frames = 2 * PAGER_MIN_FRAMES,
		.nr_nodes = 2,
		.space_bytes = 16 * MIB,
		.swap = "mem:?size=4M"};

	(void)state;
	base = shared = private = 0;
	if (world_open(&world, &config) || place_open(&parent, &world))
		return -1;
	build();
	return 0;
}

static int tear_down(void **state)
{
	struct wait wait = {0};

	(void)state;
	assert_int_equal(WORLD_RETRY(&world, &wait, file_close(shmem, &wait)), 0);
	assert_int_equal(WORLD_RETRY(&world, &wait, file_close(file, &wait)), 0);
	place_close(&child);
	place_close(&parent);
	world_close(&world);
	return 0;
}

static const char *verdict(void)
{
	static char why[400];

	return pager_validate(world.pager, why, sizeof(why));
}

static void expect_wrong(const char *words, int line)
{
	const char *wrong = verdict();

	if (!wrong)
		fail_msg("line %d: nothing was found, \"%s\" expected", line, words);
	if (!strstr(wrong, words))
		fail_msg("line %d: found \"%s\", \"%s\" expected", line, wrong, words);
}

/* @field is @value for as long as the validator looks. */
#define WRONG(field, value, words)                                                                           \
	do {                                                                                                 \
		__typeof__(field) was_ = (field);                                                            \
		(field) = (value);                                                                           \
		expect_wrong(words, __LINE__);                                                               \
		(field) = was_;                                                                              \
		assert_null(verdict());                                                                      \
	} while (0)

static pte_slot_t *ptep_of(struct place *p, uint64_t addr)
{
	return pgtable_find(&p->space->pgtable, space_index(p->space, addr));
}

static struct page *page_of(struct place *p, uint64_t addr)
{
	return pfn_page(world.pager, pte_pfn(pte_load(ptep_of(p, addr))));
}

static void pte_becomes(struct place *p, uint64_t addr, pte_t pte, const char *words, int line)
{
	pte_slot_t *ptep = ptep_of(p, addr);
	pte_t was = pte_load(ptep);

	pte_store(ptep, pte);
	expect_wrong(words, line);
	pte_store(ptep, was);
	assert_null(verdict());
}

#define WRONG_PTE(place, addr, pte, words) pte_becomes(place, addr, pte, words, __LINE__)

static void a_page_s_counts(void **state)
{
	struct page *page = page_of(&parent, base), *own = page_of(&parent, base + 2 * PAGE_BYTES);

	(void)state;
	assert_null(verdict());
	WRONG(page->_mapcount, 2, "fewer references");
	WRONG(page->_mapcount, 0, "PTEs map it");
	WRONG(own->_mapcount, -2, "_mapcount below -1");
	WRONG(own->_count, 2, "its holders are");
	WRONG(own->_count, 0, "without references");
	WRONG(page->_count, 1, "fewer references");
	WRONG(own->mapping, page_of(&child, base + PAGE_BYTES)->mapping, "the reverse map finds");
	WRONG(own->index, own->index + 1, "the reverse map finds");
}

static void a_page_s_flags_and_lists(void **state)
{
	struct page *page = page_of(&parent, base + 2 * PAGE_BYTES);
	struct node *node = page_node(world.pager, page);
	uint32_t active = LIST_ACTIVE_ANON, inactive = LIST_INACTIVE_ANON, unevictable = LIST_UNEVICTABLE;

	(void)state;
	assert_int_equal(page_list(page), LIST_ACTIVE_ANON);
	WRONG(page->word, page->word & ~(uint32_t)PG_lru, "PG_lru and the list disagree");
	WRONG(page->word, page_flags(page) | inactive << LIST_SHIFT, "PG_active and the list disagree");
	WRONG(page->word, page_flags(page), "PG_lru and the list disagree");
	WRONG(page->word, (page_flags(page) & ~(uint32_t)PG_active) | unevictable << LIST_SHIFT,
		"without PG_unevictable");
	WRONG(page->word, (page_flags(page) & ~(uint32_t)PG_active) | inactive << LIST_SHIFT, "say so");
	WRONG(page->word, page->word | PG_locked, "pages locked");
	WRONG(page->word, page->word | PG_writeback, "under writeback outside");
	WRONG(page->word, page->word | PG_swapcache, "fewer references");
	WRONG(node->nr_pages[active], node->nr_pages[active] + 1, "counted");

	/* On no list, and yet it says so. */
	TAILQ_REMOVE(&node->lists[active], page, lru);
	node->nr_pages[active]--;
	expect_wrong("say so", __LINE__);
	TAILQ_INSERT_HEAD(&node->lists[active], page, lru);
	node->nr_pages[active]++;
	assert_null(verdict());
}

static void frames(void **state)
{
	struct page *page = page_of(&parent, base + 2 * PAGE_BYTES);
	struct node *node = page_node(world.pager, page);
	uint32_t at = page_pfn(world.pager, page) - node->first;
	uint64_t bit = 1ull << (at % 64);

	(void)state;
	WRONG(node->nr_free, node->nr_free - 1, "frames free");
	WRONG(node->free_map[at / 64], node->free_map[at / 64] | bit, "the map of free frames disagrees");
	WRONG(world.pager->nr_used, world.pager->nr_used + 1, "frames are used");
	WRONG(world.pager->nr_locked, 1, "pages locked");
	WRONG(world.pager->nr_writeback, 1, "under writeback");
	WRONG(world.pager->nr_swapcache, 1, "in the swap cache");
	WRONG(world.pager->nr_mlocked, 1, "of locked VMAs");
	/* Lost: neither free nor anybody's. */
	for (pfn_t pfn = 0; pfn < world.pager->nr_frames; pfn++)
		if (pfn_page(world.pager, pfn)->_count == 0) {
			struct page *lost = pfn_page(world.pager, pfn);

			WRONG(lost->word, page_flags(lost), "on list 0");
			WRONG(lost->_count, 1, "on list 1");
			break;
		}
}

static void ptes(void **state)
{
	pte_t own = pte_load(ptep_of(&parent, base + 2 * PAGE_BYTES)),
	      common = pte_load(ptep_of(&parent, base));
	pte_t cached = pte_load(ptep_of(&parent, private));
	struct vma *vma = find_vma(parent.space, base);

	(void)state;
	WRONG_PTE(&parent, base, common | PTE_WRITE, "not this PTE's alone");
	WRONG_PTE(&parent, private, cached | PTE_WRITE, "write to the page cache");
	WRONG_PTE(&parent, base + 2 * PAGE_BYTES, 0, "PTEs map it");
	WRONG_PTE(&parent, base + 2 * PAGE_BYTES, pte_present(world.pager->nr_frames, 0),
		"a PTE that maps frame");
	WRONG_PTE(&parent, base + 2 * PAGE_BYTES, own | PTE_ZERO, "that is not the zero page");
	WRONG_PTE(&parent, base + 2 * PAGE_BYTES, pte_swap((swp_entry_t){7, 0}), "names no slot");
	WRONG_PTE(&parent, base + 2 * PAGE_BYTES, pte_swap((swp_entry_t){0, 1000}), "names no slot");
	WRONG(vma->prot, PROT_READ, "must not write");
	WRONG(vma->end, vma->end - PAGE_BYTES, "outside any VMA");
	WRONG(vma->start, vma->start + 1, "a VMA of");
}

static void slots(void **state)
{
	swp_entry_t entry = pte_entry(pte_load(ptep_of(&parent, base + 15 * PAGE_BYTES)));
	swp_entry_t word = pte_entry(pte_load(pgtable_find(&shmem->cache, 1)));
	struct swap_area *area = &world.pager->areas[0];
	struct swap_slot *slot = swap_slot(world.pager, entry), *shmem_slot = swap_slot(world.pager, word);

	(void)state;
	assert_int_equal(slot->count, 2);
	assert_int_equal(shmem_slot->count, 1);
	WRONG(slot->count, 1, "PTEs name it");
	WRONG(shmem_slot->count, 0, "PTEs name it");
	WRONG(slot->word, 0, "free, but");
	WRONG(area->nr_used, area->nr_used + 1, "slots used");
	WRONG(area->clusters.free[0], area->clusters.free[0] - 1, "slots used");
	WRONG(area->clusters.map[CLUSTER_SOME][0], 0, "maps of its clusters");
	WRONG(world.pager->slots_used, world.pager->slots_used + 1, "slots: ");
	WRONG_PTE(&parent, base + 15 * PAGE_BYTES, 0, "PTEs name it");
}

static void lost_slots(void **state)
{
	struct swap_area *area = &world.pager->areas[0];
	struct swap_slot *slot = NULL;

	(void)state;
	for (uint32_t at = 0; at < area->touched && !slot; at++)
		if (area->slots[at].word == 0)
			slot = &area->slots[at];
	assert_non_null(slot);
	WRONG(slot->word, 1, "neither free, nor named, nor cached");
}

static void the_swap_cache(void **state)
{
	uint64_t value;
	struct page *page;

	(void)state;
	assert_int_equal(
		soft_load64(parent.mmu, base + 15 * PAGE_BYTES, &value), 0); /* a read: the slot stays */
	page = page_of(&parent, base + 15 * PAGE_BYTES);
	assert_true(page_has(page, PG_swapcache));
	assert_null(verdict());
	WRONG(page->private, page->private + 1, "its slot does not say so");
	WRONG(page->word, page->word & ~(uint32_t)PG_swapcache, "its holders are");
}

static void page_caches(void **state)
{
	struct page *page = find_page(shmem, 0);
	pte_slot_t *word = pgtable_find(&shmem->cache, 0);
	pte_t was = pte_load(word);

	(void)state;
	WRONG(page->index, 2, "in a page cache at 0");
	WRONG(page->word, page->word | PG_swapcache, "fewer references");
	WRONG(shmem->refs, shmem->refs + 1, "holds");
	WRONG(shmem->refs, 0, "holds");
	pte_store(word, 0);
	expect_wrong("its page cache does not know it", __LINE__);
	pte_store(word, was);
	assert_null(verdict());
	word = pgtable_find(&shmem->cache, 2);
	pte_store(word, was);
	expect_wrong("in a page cache at 2", __LINE__);
	pte_store(word, pte_swap((swp_entry_t){3, 3}));
	expect_wrong("names no slot", __LINE__);
	pte_store(word, 0);
	assert_null(verdict());
}

/* A look that cannot count says so, and is no pass. */
static void *no_chunk(struct machine *m, size_t bytes)
{
	(void)m, (void)bytes;
	return NULL;
}

static void without_memory_to_count_with(void **state)
{
	(void)state;
	world.ops.chunk_alloc = no_chunk;
	assert_string_equal(verdict(), "no memory to count with");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_page_s_counts, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_page_s_flags_and_lists, set_up, tear_down),
		cmocka_unit_test_setup_teardown(frames, set_up, tear_down),
		cmocka_unit_test_setup_teardown(ptes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(slots, set_up, tear_down),
		cmocka_unit_test_setup_teardown(lost_slots, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_swap_cache, set_up, tear_down),
		cmocka_unit_test_setup_teardown(page_caches, set_up, tear_down),
		cmocka_unit_test_setup_teardown(without_memory_to_count_with, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

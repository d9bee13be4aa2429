/* SPDX-License-Identifier: MIT */
/*
 * The whole-world validator: every equation that must hold between pages, PTEs, slots and lists.
 *
 *   for each page      _mapcount = the PTEs that map it - 1
 *                      _count >= mappings + swap cache + isolation, equal when nobody holds it besides
 *                      a migration entry names a page that is locked and isolated
 *                      its list = its flags, and it is on that list
 *   for each slot      count = the swap entries that name it; its word's page knows it
 *   for each merged page   its stable node's items are the PTEs that map it (ksm.c)
 *   for each node      free + used = all; lists are as long as they say
 *
 * It is slow and belongs to tests and debug builds. Everything is counted anew from the page tables.
 */
#include "mm/mm.h"

#include <stdio.h>
#include <string.h>

/* What the page tables say, to be compared with what pages and slots say. */
struct census {
	struct pager *pager;
	uint32_t *mapped; /* by pfn */
	uint16_t *named[MAX_SWAP_AREAS]; /* by slot */
	uint64_t resident, swapped, mapped_bytes; /* what the report says of the spaces, together */
	char *buf;
	size_t len;
	bool wrong;
};

#define WRONG(census, ...)                                                                                   \
	do {                                                                                                 \
		if (!(census)->wrong)                                                                        \
			snprintf((census)->buf, (census)->len, __VA_ARGS__);                                 \
		(census)->wrong = true;                                                                      \
	} while (0)

static size_t mapped_bytes(const struct pager *pager)
{
	return page_align_up(pager->nr_frames * sizeof(uint32_t));
}

static size_t named_bytes(const struct swap_area *area)
{
	return page_align_up((area->touched + 1) * sizeof(uint16_t));
}

static void count_pte(struct census *c, struct space *space, uint64_t index, pte_t pte)
{
	struct pager *pager = c->pager;

	if (!find_vma(space, index_addr(space, index)))
		WRONG(c, "a PTE outside any VMA at index %llu", (unsigned long long)index);
	c->swapped -= pte_is_swap(pte);
	c->resident -= pte_is_migration(pte) || (pte_is_present(pte) && !(pte & PTE_ZERO));
	if (pte_is_swap(pte)) {
		swp_entry_t entry = pte_entry(pte);

		if (entry.type >= pager->nr_areas || entry.slot >= pager->areas[entry.type].touched)
			WRONG(c, "a swap entry that names no slot: %u:%u", entry.type, entry.slot);
		else
			c->named[entry.type][entry.slot]++;
	} else if (pte_is_migration(pte)) {
		if (pte_pfn(pte) >= pager->nr_frames || !page_has(pfn_page(pager, pte_pfn(pte)), PG_locked) ||
			page_list(pfn_page(pager, pte_pfn(pte))) != LIST_ISOLATED)
			WRONG(c, "a migration entry of frame %u, which nobody moves", pte_pfn(pte));
	} else if (pte_is_present(pte) && (pte & PTE_ZERO)) {
		if (pte_pfn(pte) != pager->zero_pfn || (pte & PTE_WRITE))
			WRONG(c, "a zero mapping of frame %u that is not the zero page, or writable",
				pte_pfn(pte));
	} else if (pte_is_present(pte)) {
		if (pte_pfn(pte) >= pager->nr_frames)
			WRONG(c, "a PTE that maps frame %u", pte_pfn(pte));
		else
			c->mapped[pte_pfn(pte)]++;
	}
}

static void count_space(struct census *c, struct space *space)
{
	uint64_t index = 0;
	struct space_usage usage;
	pte_slot_t *ptep;

	space_usage(space, &usage);
	c->resident += usage.resident;
	c->swapped += usage.swapped;
	c->mapped_bytes += usage.mapped_bytes;
	while ((ptep = pgtable_next(&space->pgtable, index, space->bytes >> PAGE_SHIFT, &index)) != NULL) {
		count_pte(c, space, index, pte_load(ptep));
		index++;
	}
}

/* The words of a page cache: swap entries that slots count, and pages that must know where they are. */
static void count_file(struct census *c, struct file *file)
{
	struct pager *pager = c->pager;
	uint64_t index = 0;
	pte_slot_t *slot;

	for (; (slot = pgtable_next(&file->cache, index, 1ull << 32, &index)) != NULL; index++) {
		pte_t word = pte_load(slot);

		if (pte_is_swap(word))
			c->named[pte_entry(word).type][pte_entry(word).slot]++;
		else if (pte_is_present(word) && (pfn_page(pager, pte_pfn(word))->mapping != file ||
							 pfn_page(pager, pte_pfn(word))->index != index))
			WRONG(c, "page %u: in a page cache at %llu and does not know it", pte_pfn(word),
				(unsigned long long)index);
	}
}

static bool find_one(void *ctx, struct page *page, struct vma *vma, uint64_t addr, pte_slot_t *ptep)
{
	(void)page, (void)vma, (void)addr, (void)ptep;
	(*(int *)ctx)++;
	return true;
}

static void check_page(struct census *c, pfn_t pfn)
{
	struct pager *pager = c->pager;
	struct page *page = pfn_page(pager, pfn);
	const char *why = page_check(page);
	int found = 0;

	if (why)
		WRONG(c, "page %u: %s (count %d, mapcount %d, flags %x)", pfn, why, page->_count,
			page->_mapcount, page->word);
	if (page->_mapcount + 1 != (int)c->mapped[pfn])
		WRONG(c, "page %u: _mapcount %d, but %u PTEs map it", pfn, page->_mapcount, c->mapped[pfn]);
	if ((page->_count == 0) != (page_list(page) == LIST_FREE))
		WRONG(c, "page %u: _count %d on list %d", pfn, page->_count, page_list(page));
	if (page_has(page, PG_lent) && (page->_count != 1 || page_flags(page) != PG_lent))
		WRONG(c, "page %u: lent, and yet something else (count %d, flags %x)", pfn, page->_count,
			page->word);
	if (page->_count == 0 || pfn == pager->zero_pfn || page_has(page, PG_lent))
		return;
	if (page_mapped(page) && page_has(page, PG_ksm) != (page_stable_node(page) != NULL))
		WRONG(c, "page %u: PG_ksm and its mapping disagree", pfn);
	if (!c->wrong)
		rmap_walk(pager, page, find_one, &found);
	if (found != page->_mapcount + 1)
		WRONG(c, "page %u: the reverse map finds %d of %d PTEs", pfn, found, page->_mapcount + 1);
	bool reading = page_has(page, PG_locked) && !page_has(page, PG_uptodate);
	int named = page->_mapcount + 1 + page_has(page, PG_swapcache) + (page_file(page) != NULL) +
		    (page_list(page) == LIST_ISOLATED) + reading;

	if (page->_count != named)
		WRONG(c, "page %u: _count %d, but its holders are %d (flags %x)", pfn, page->_count, named,
			page->word);
	if (page_file(page) && find_page(page_file(page), page->index) != page)
		WRONG(c, "page %u: its page cache does not know it", pfn);
	if (page_has(page, PG_swapcache) && slot_page(pager, word_entry(page->private)) != page)
		WRONG(c, "page %u: in the swap cache, but its slot does not say so", pfn);
}

static void check_slots(struct census *c, unsigned type)
{
	struct swap_area *area = &c->pager->areas[type];
	uint32_t used = 0;

	for (uint32_t at = 0; at < area->touched; at++) {
		struct swap_slot *slot = &area->slots[at];
		swp_entry_t entry = {(uint8_t)type, at};
		struct page *page = slot_page(c->pager, entry);

		used += slot->word != 0;
		if (slot->count != c->named[type][at])
			WRONG(c, "slot %u:%u: count %u, but %u PTEs name it", type, at, slot->count,
				c->named[type][at]);
		if (page && (!page_has(page, PG_swapcache) || page->private != entry_word(entry)))
			WRONG(c, "slot %u:%u: its page does not know it", type, at);
		if (slot->word != 0 && slot->count == 0 && !page &&
			!(slot->flags & (SLOT_RETIRED | SLOT_DEFERRED)))
			WRONG(c, "slot %u:%u: lost: neither free, nor named, nor cached", type, at);
	}
	if (used != area->nr_used)
		WRONG(c, "area %u: %u slots used, %u counted", type, area->nr_used, used);
}

/* Over all areas but one that is being given up; those of a parent can be used, not filled. */
static void check_slot_sums(struct census *c)
{
	uint64_t total = 0, used = 0;

	for (unsigned type = 0; type < c->pager->nr_areas; type++) {
		const struct swap_area *area = &c->pager->areas[type];

		total += area->off || area->inherited ? 0 : area->nr_slots;
		used += area->off ? 0 : area->nr_used;
	}
	if (total != c->pager->slots_total || used != c->pager->slots_used)
		WRONG(c, "slots: %llu of %llu used, %llu of %llu counted",
			(unsigned long long)c->pager->slots_used, (unsigned long long)c->pager->slots_total,
			(unsigned long long)used, (unsigned long long)total);
}

static void check_node(struct census *c, struct node *node)
{
	uint32_t nr_free = 0;

	for (uint32_t w = 0; w < node->nr_words; w++)
		nr_free += (uint32_t)__builtin_popcountll(node->free_map[w]);
	if (nr_free != node->nr_free)
		WRONG(c, "node at %u: %u frames free, %u counted", node->first, node->nr_free, nr_free);
	struct node_usage usage;

	node_usage(c->pager, node, &usage);
	if (usage.free != nr_free ||
		usage.free + usage.anon + usage.file + usage.shmem + usage.other != usage.frames)
		WRONG(c, "node at %u: the report's kinds do not make %u frames", node->first, usage.frames);
	for (int list = LIST_ISOLATED + 1; list < NR_LISTS; list++) {
		struct page *page;
		uint32_t nr = 0;

		TAILQ_FOREACH (page, &node->lists[list], lru) {
			if (page_list(page) != (enum page_list)list)
				WRONG(c, "page %u: on list %d, says %d", page_pfn(c->pager, page), list,
					page_list(page));
			nr++;
		}
		if (nr != node->nr_pages[list])
			WRONG(c, "list %d: %u pages, %u counted", list, node->nr_pages[list], nr);
	}
}

/* Before the reverse map is asked for merged pages: it trusts the items. */
static void check_ksm(struct census *c)
{
	char buf[200];
	const char *why = ksm_check(c->pager, buf, sizeof(buf));

	if (why)
		WRONG(c, "%s", why);
}

static bool census_alloc(struct census *c)
{
	struct machine *m = c->pager->machine;
	bool good = (c->mapped = m->ops->chunk_alloc(m, mapped_bytes(c->pager))) != NULL;

	for (unsigned type = 0; type < c->pager->nr_areas; type++) {
		c->named[type] = m->ops->chunk_alloc(m, named_bytes(&c->pager->areas[type]));
		good = good && c->named[type];
	}
	return good;
}

static void census_free(struct census *c)
{
	struct machine *m = c->pager->machine;

	if (c->mapped)
		m->ops->chunk_free(m, c->mapped, mapped_bytes(c->pager));
	for (unsigned type = 0; type < c->pager->nr_areas; type++)
		if (c->named[type])
			m->ops->chunk_free(m, c->named[type], named_bytes(&c->pager->areas[type]));
}

const char *pager_validate(struct pager *pager, char *buf, size_t len)
{
	struct census c = {.pager = pager, .buf = buf, .len = len};
	struct space *space;
	struct file *file;

	pager_lock(pager);
	if (!census_alloc(&c)) {
		census_free(&c);
		pager_unlock(pager);
		return "no memory to count with";
	}
	TAILQ_FOREACH (space, &pager->spaces, link)
		count_space(&c, space);
	TAILQ_FOREACH (file, &pager->files, link)
		count_file(&c, file);
	check_ksm(&c);
	for (pfn_t pfn = 0; pfn < pager->nr_frames; pfn++)
		check_page(&c, pfn);
	for (unsigned type = 0; type < pager->nr_areas; type++)
		check_slots(&c, type);
	check_slot_sums(&c);
	if (c.resident || c.swapped || c.mapped_bytes != pager->stats->mapped_bytes)
		WRONG(&c, "the report's sums over the spaces are not those of their page tables");
	for (unsigned n = 0; n < pager->nr_nodes; n++)
		check_node(&c, &pager->nodes[n]);
	census_free(&c);
	pager_unlock(pager);
	return c.wrong ? buf : NULL;
}

/* SPDX-License-Identifier: MIT */
/*
 * The whole-world validator: every equation that must hold between pages, PTEs, slots and lists.
 *
 *   for each page      _mapcount = the PTEs that map it - 1
 *                      _count = mappings + cache + isolation, and one more while it is being read
 *                      its list = its flags, and it is on that list
 *                      it is free exactly if its node's map of free frames says so
 *   for each PTE       it lies in a VMA
 *                      a writable one is its page's only one, or of shared memory; its VMA may write
 *                      a migration entry names a page that is locked and isolated
 *   for each slot      count = the swap entries, and words of shared memory, that name it
 *                      the page that its word names knows the slot
 *                      it is free exactly if it is neither named nor cached (nor retired, nor leased)
 *   for each merged page   its stable node's items are the PTEs that map it (ksm.c)
 *   for each file      its holds are those of its VMAs and its opener; the pages of its cache know their place
 *   for each node      free + reserved + used = all; a list is as long as it says, and holds the pages that say so
 *   for the pager      its sums are the sums of these
 *
 * It is slow, and belongs to tests and debug builds. Everything is counted anew from the page tables.
 */
#include "mm/mm.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

/* What the page tables say. It is compared with what pages and slots say. */
struct census {
	struct pager *pager;
	uint32_t *mapped; /* by pfn: PTEs that map it */
	uint16_t *named[MAX_SWAP_AREAS]; /* by slot: PTEs and words that name it */
	uint32_t nr_locked, nr_writeback, nr_swapcache, nr_used;
	uint32_t nr_going[MAX_NODES]; /* frames that nobody uses, and that are neither free nor reserved */
	uint64_t nr_mlocked; /* pages of locked VMAs, counted anew */
	/* sums over the spaces: what the report says, minus what is found; at the end 0 but for mapped_bytes */
	uint64_t resident, swapped, mapped_bytes;
	char *buf;
	size_t len;
	bool wrong;
};

/* Only the first finding is kept: the others may follow from it. */
__attribute__((format(printf, 2, 3))) static void wrong(struct census *c, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	if (!c->wrong)
		vsnprintf(c->buf, c->len, format, args);
	va_end(args);
	c->wrong = true;
}

static size_t mapped_bytes(const struct pager *pager)
{
	return page_align_up(pager->nr_frames * sizeof(uint32_t));
}

static size_t named_bytes(const struct swap_area *area)
{
	return page_align_up((area->touched + 1) * sizeof(uint16_t));
}

static void count_entry(struct census *c, swp_entry_t entry)
{
	if (entry.type >= c->pager->nr_areas || entry.slot >= c->pager->areas[entry.type].touched)
		wrong(c, "a swap entry that names no slot: %u:%u", entry.type, entry.slot);
	else
		c->named[entry.type][entry.slot]++;
}

/* A writable PTE: the page must be its own, unless the VMA is shared. */
static void check_writable(struct census *c, const struct vma *vma, pte_t pte)
{
	struct page *page = pfn_page(c->pager, pte_pfn(pte));

	if (!(vma->prot & PROT_WRITE))
		wrong(c, "page %u: writable in a VMA that must not write", pte_pfn(pte));
	if (vma->flags & VM_SHARED)
		return;
	if (page_file(page))
		wrong(c, "page %u: a private mapping could write to the page cache", pte_pfn(pte));
	if (page->_mapcount > 0 || page_has(page, PG_ksm))
		wrong(c, "page %u: writable, and not this PTE's alone", pte_pfn(pte));
}

static void count_pte(struct census *c, struct space *space, uint64_t index, pte_t pte)
{
	struct pager *pager = c->pager;
	const struct vma *vma = find_vma(space, index_addr(space, index));

	c->swapped -= pte_is_swap(pte);
	c->resident -= pte_is_migration(pte) || (pte_is_present(pte) && !(pte & PTE_ZERO));
	if (!vma) {
		wrong(c, "a PTE outside any VMA at index %llu", (unsigned long long)index);
	} else if (pte_is_swap(pte)) {
		count_entry(c, pte_entry(pte));
	} else if (pte_is_migration(pte)) {
		if (pte_pfn(pte) >= pager->nr_frames || !page_has(pfn_page(pager, pte_pfn(pte)), PG_locked) ||
			page_list(pfn_page(pager, pte_pfn(pte))) != LIST_ISOLATED)
			wrong(c, "a migration entry of frame %u, which nobody moves", pte_pfn(pte));
	} else if (!pte_is_present(pte)) {
		wrong(c, "a PTE of no kind at index %llu", (unsigned long long)index);
	} else if (pte & PTE_ZERO) {
		if (pte_pfn(pte) != pager->zero_pfn || (pte & PTE_WRITE))
			wrong(c, "a zero mapping of frame %u that is not the zero page, or writable",
				pte_pfn(pte));
	} else {
		if (pte_pfn(pte) >= pager->nr_frames)
			wrong(c, "a PTE that maps frame %u", pte_pfn(pte));
		else
			c->mapped[pte_pfn(pte)]++;
		if ((pte & PTE_VALID) && (pte & PTE_WRITE))
			check_writable(c, vma, pte);
	}
}

static void check_vma(struct census *c, struct space *space, const struct vma *vma, uint64_t *behind)
{
	if (vma->space != space || vma->start < *behind || vma->end <= vma->start ||
		vma->end > space->base + space->bytes || (vma->start | vma->end) % PAGE_BYTES)
		wrong(c, "a VMA of [%llx, %llx) behind %llx", (unsigned long long)vma->start,
			(unsigned long long)vma->end, (unsigned long long)*behind);
	*behind = vma->end;
	c->nr_mlocked += vma->flags & VM_LOCKED ? vma_nr_pages(vma) : 0;
}

static void count_space(struct census *c, struct space *space)
{
	uint64_t index = 0, behind = space->base;
	struct space_usage usage;
	pte_slot_t *ptep;
	struct vma *vma;

	for (vma = find_vma_from(space, space->base); vma; vma = vma_next(vma))
		check_vma(c, space, vma, &behind);
	space_usage(space, &usage);
	c->resident += usage.resident;
	c->swapped += usage.swapped;
	c->mapped_bytes += usage.mapped_bytes;
	while ((ptep = pgtable_next(&space->pgtable, index, space->bytes >> PAGE_SHIFT, &index)) != NULL) {
		count_pte(c, space, index, pte_load(ptep));
		index++;
	}
}

static bool count_link(void *ctx, struct vma *vma)
{
	(void)vma;
	(*(uint32_t *)ctx)++;
	return true;
}

/* A file has one hold more than VMAs, or as many after its opener has let go. */
static void check_holds(struct census *c, struct file *file)
{
	uint32_t links = 0, holds = 0;
	struct space *space;
	struct vma *vma;

	links_walk(&file->i_mmap, 0, UINT32_MAX, count_link, &links);
	TAILQ_FOREACH (space, &c->pager->spaces, link)
		for (vma = find_vma_from(space, space->base); vma; vma = vma_next(vma))
			holds += vma->file == file;
	if (links != holds || file->refs < holds || file->refs > holds + 1)
		wrong(c, "a file with %u holds: %u VMAs map it, %u are linked to it", file->refs, holds,
			links);
}

/* The words of a page cache: swap entries, which slots count, and pages, which must know where they are. */
static void count_file(struct census *c, struct file *file)
{
	struct pager *pager = c->pager;
	uint64_t index = 0;
	pte_slot_t *slot;

	for (; (slot = pgtable_next(&file->cache, index, 1ull << 32, &index)) != NULL; index++) {
		pte_t word = pte_load(slot);

		if (pte_is_swap(word))
			count_entry(c, pte_entry(word));
		else if (pte_is_present(word) && (pfn_page(pager, pte_pfn(word))->mapping != file ||
							 pfn_page(pager, pte_pfn(word))->index != index))
			wrong(c, "page %u: in a page cache at %llu and does not know it", pte_pfn(word),
				(unsigned long long)index);
	}
	check_holds(c, file);
}

static bool find_one(void *ctx, struct page *page, struct vma *vma, uint64_t addr, pte_slot_t *ptep)
{
	(void)page, (void)vma, (void)addr, (void)ptep;
	(*(int *)ctx)++;
	return true;
}

static bool frame_is_free(const struct node *node, pfn_t pfn)
{
	uint32_t at = pfn - node->first;

	return node->free_map[at / 64] >> (at % 64) & 1;
}

static void check_page(struct census *c, pfn_t pfn)
{
	struct pager *pager = c->pager;
	struct page *page = pfn_page(pager, pfn);
	const char *why;
	int found = 0;

	struct node *node = page_node(pager, page);
	bool reserved = frame_is_reserved(pager, page);

	if (page->_count == 0)
		c->nr_going[node - pager->nodes] += !reserved && !frame_is_free(node, pfn);
	if (!frame_is_ready(pager, page) || reserved) {
		if (page->_count != 0 || c->mapped[pfn])
			wrong(c, "page %u: reserved or never used, but _count is %d and %u PTEs map it", pfn,
				page->_count, c->mapped[pfn]);
		return;
	}
	why = page_check(page);

	if (why)
		wrong(c, "page %u: %s (count %d, mapcount %d, flags %x)", pfn, why, page->_count,
			page->_mapcount, page->word);
	if (page->_mapcount + 1 != (int)c->mapped[pfn])
		wrong(c, "page %u: _mapcount %d, but %u PTEs map it", pfn, page->_mapcount, c->mapped[pfn]);
	if ((page->_count == 0) != (page_list(page) == LIST_FREE))
		wrong(c, "page %u: _count %d on list %d", pfn, page->_count, page_list(page));
	if (page->_count > 0 && frame_is_free(node, pfn))
		wrong(c, "page %u: _count %d, and the map of free frames disagrees", pfn, page->_count);
	c->nr_used += page->_count > 0;
	c->nr_locked += page_has(page, PG_locked);
	c->nr_writeback += page_has(page, PG_writeback);
	c->nr_swapcache += page_has(page, PG_swapcache);
	if (page->_count == 0 || pfn == pager->zero_pfn)
		return;
	if (page_mapped(page) && page_has(page, PG_ksm) != (page_stable_node(page) != NULL))
		wrong(c, "page %u: PG_ksm and its mapping disagree", pfn);
	if (!c->wrong)
		rmap_walk(pager, page, find_one, &found);
	if (found != page->_mapcount + 1)
		wrong(c, "page %u: the reverse map finds %d of %d PTEs", pfn, found, page->_mapcount + 1);
	bool reading = page_has(page, PG_locked) && !page_has(page, PG_uptodate);
	int named = page->_mapcount + 1 + page_has(page, PG_swapcache) + (page_file(page) != NULL) +
		    (page_list(page) == LIST_ISOLATED) + reading;

	if (page->_count != named)
		wrong(c, "page %u: _count %d, but its holders are %d (flags %x)", pfn, page->_count, named,
			page->word);
	if (page_file(page) && find_page(page_file(page), page->index) != page)
		wrong(c, "page %u: its page cache does not know it", pfn);
	if (page_has(page, PG_swapcache) && slot_page(pager, word_entry(page->private)) != page)
		wrong(c, "page %u: in the swap cache, but its slot does not say so", pfn);
}

static void check_slots(struct census *c, unsigned type)
{
	struct swap_area *area = &c->pager->areas[type];
	uint32_t used = 0, nr_free = 0;
	struct swap_area sums = {.nr_names = 0};

	for (uint32_t at = 0; at < area->touched; at++) {
		struct swap_slot *slot = &area->slots[at];
		swp_entry_t entry = {(uint8_t)type, at};
		struct page *page = slot_page(c->pager, entry);

		used += slot->word != 0;
		sums.nr_names += slot->count;
		sums.nr_named += slot->count > 0;
		sums.nr_cached += page != NULL;
		sums.nr_named_cached += page && slot->count > 0;
		/*
		 * While a PTE gets a copy of the cached page, which is locked, its entry has gone and the slot still
		 * counts it.
		 */
		bool copied = page && page_has(page, PG_locked) && slot->count == c->named[type][at] + 1u;

		if (slot->count != c->named[type][at] && !copied)
			wrong(c, "slot %u:%u: count %u, but %u PTEs name it", type, at, slot->count,
				c->named[type][at]);
		if (page && (!page_has(page, PG_swapcache) || page->private != entry_word(entry)))
			wrong(c, "slot %u:%u: its page does not know it", type, at);
		if (slot->word != 0 && slot->count == 0 && !page &&
			!(slot->flags & (SLOT_RETIRED | SLOT_DEFERRED)))
			wrong(c, "slot %u:%u: lost: neither free, nor named, nor cached", type, at);
		if (slot->word == 0 && slot->count > 0)
			wrong(c, "slot %u:%u: free, but %u PTEs name it", type, at, slot->count);
	}
	for (uint32_t cluster = 0; cluster < area->clusters.nr; cluster++)
		nr_free += area->clusters.free[cluster];
	if (sums.nr_names != area->nr_names || sums.nr_named != area->nr_named ||
		sums.nr_cached != area->nr_cached || sums.nr_named_cached != area->nr_named_cached)
		wrong(c, "area %u: its names, or its named and cached slots, are not what is counted", type);
	if (!clusters_check(&area->clusters))
		wrong(c, "area %u: the maps of its clusters are not what is free", type);
	if (used != area->nr_used || nr_free != area->nr_slots - used)
		wrong(c, "area %u: %u slots used and %u free, %u counted", type, area->nr_used, nr_free,
			used);
}

static void check_list(struct census *c, struct node *node, enum page_list list)
{
	uint32_t nr = 0, say_so = 0;
	struct page *page;

	TAILQ_FOREACH (page, &node->lists[list], lru) {
		if (page_list(page) != list)
			wrong(c, "page %u: on list %d, says %d", page_pfn(c->pager, page), list,
				page_list(page));
		nr++;
	}
	for (uint32_t at = 0; at < node->nr; at++)
		say_so += page_list(pfn_page(c->pager, node->first + at)) == list;
	if (nr != node->nr_pages[list] || nr != say_so)
		wrong(c, "list %d: %u pages, %u counted, %u say so", list, node->nr_pages[list], nr, say_so);
}

/* The sums count our own areas, except one that is being given up. Inherited areas do not count. */
static void check_slot_sums(struct census *c)
{
	uint64_t total = 0, used = 0;

	for (unsigned type = 0; type < c->pager->nr_areas; type++) {
		const struct swap_area *area = &c->pager->areas[type];

		total += area_counts(area) ? area->nr_slots : 0;
		used += area_counts(area) ? area->nr_used : 0;
	}
	if (total != c->pager->slots_total || used != c->pager->slots_used)
		wrong(c, "slots: %llu of %llu used, %llu of %llu counted",
			(unsigned long long)c->pager->slots_used, (unsigned long long)c->pager->slots_total,
			(unsigned long long)used, (unsigned long long)total);
}

/* => a frame of the node is free */
static uint32_t last_free(const struct node *node)
{
	uint32_t frame = node->nr - 1;

	while (!frame_is_free(node, node->first + frame))
		frame--;
	return frame;
}

static void check_node(struct census *c, struct node *node)
{
	uint32_t nr_free = 0, nr_reserved = 0;

	for (uint32_t w = 0; w < node->nr_words; w++) {
		nr_free += (uint32_t)__builtin_popcountll(node->free_map[w]);
		nr_reserved += (uint32_t)__builtin_popcountll(node->reserved_map[w]);
		if (node->free_map[w] & node->reserved_map[w])
			wrong(c, "node at %u: a frame is both free and reserved, near %u", node->first,
				w * 64);
	}
	/* nr_reserved also counts frames on their way from free to reserved; reclaimers alone send them. */
	uint32_t going = c->nr_going[node - c->pager->nodes];

	if (nr_reserved + going != node->nr_reserved || (going > 0 && c->pager->nr_reclaimers == 0))
		wrong(c, "node at %u: %u frames reserved and %u on their way, %u counted", node->first,
			nr_reserved, going, node->nr_reserved);
	if (nr_free != node->nr_free)
		wrong(c, "node at %u: %u frames free, %u counted", node->first, node->nr_free, nr_free);
	if (nr_free > 0 && last_free(node) >= node->free_end)
		wrong(c, "node at %u: frame %u is free, and none from %u on should be", node->first,
			last_free(node), node->free_end);
	struct node_usage usage;

	node_usage(c->pager, node, &usage);
	if (usage.free != nr_free ||
		usage.free + usage.anon + usage.file + usage.shmem + usage.lent + usage.other != usage.frames)
		wrong(c, "node at %u: the report's kinds do not make %u frames", node->first, usage.frames);
	for (int list = LIST_ISOLATED + 1; list < NR_LISTS; list++)
		check_list(c, node, (enum page_list)list);
}

/* Compare the pager's sums with the census. => all pages, PTEs and slots are counted */
static void check_sums(struct census *c)
{
	struct pager *pager = c->pager;

	if (c->nr_used != pager->nr_used)
		wrong(c, "%u frames used, %u counted", pager->nr_used, c->nr_used);
	if (c->nr_locked != pager->nr_locked || c->nr_writeback != pager->nr_writeback)
		wrong(c, "%u pages locked and %u under writeback, %u and %u counted", pager->nr_locked,
			pager->nr_writeback, c->nr_locked, c->nr_writeback);
	if (c->nr_swapcache != pager->nr_swapcache)
		wrong(c, "%u pages in the swap cache, %u counted", pager->nr_swapcache, c->nr_swapcache);
	if (c->nr_mlocked != pager->nr_mlocked)
		wrong(c, "%llu pages of locked VMAs, %llu counted", (unsigned long long)pager->nr_mlocked,
			(unsigned long long)c->nr_mlocked);
}

/* KSM's items must be right before the reverse map is asked for merged pages, because it trusts them. */
static void check_ksm(struct census *c)
{
	char buf[200];
	const char *why = ksm_check(c->pager, buf, sizeof(buf));

	if (why)
		wrong(c, "%s", why);
}

/* All frames are used, reserved or free. */
static void check_frames(struct census *c)
{
	struct pager *pager = c->pager;
	uint64_t nr = pager->nr_used + pager->nr_reserved;

	for (unsigned n = 0; n < pager->nr_nodes; n++)
		nr += pager->nodes[n].nr_free;
	if (nr != pager->nr_frames)
		wrong(c, "%lu frames are used, reserved or free, of %u", nr, pager->nr_frames);
}

/* What is lent is counted by node and by area. */
static void check_lent(struct census *c)
{
	struct pager *pager = c->pager;
	uint32_t by_node = 0, by_area = 0;

	for (unsigned n = 0; n < pager->nr_nodes; n++)
		by_node += pager->nodes[n].nr_lent;
	for (unsigned type = 0; type < pager->nr_areas; type++)
		by_area += pager->areas[type].nr_lent + pager->areas[type].lending;
	if (by_node != pager->nr_lent || by_area != pager->nr_lent)
		wrong(c, "%u frames lent, %u by the nodes and %u by the areas", pager->nr_lent, by_node,
			by_area);
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
		wrong(&c, "the report's sums over the spaces are not those of their page tables");
	for (unsigned n = 0; n < pager->nr_nodes; n++)
		check_node(&c, &pager->nodes[n]);
	check_frames(&c);
	check_lent(&c);
	check_sums(&c);
	census_free(&c);
	pager_unlock(pager);
	return c.wrong ? buf : NULL;
}

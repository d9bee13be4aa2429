/* SPDX-License-Identifier: MIT */
/* Page tables: a radix tree with PTE words at its leaves; see pgtable.h. */
#include "mm/mm.h"

static unsigned slot_at(uint64_t index, int level)
{
	return (unsigned)(index >> (PT_BITS * level)) & (PT_ENTRIES - 1);
}

pte_slot_t *pgtable_find(const struct pgtable *pgtable, uint64_t index)
{
	void **table = pgtable->root;

	for (int level = PT_LEVELS - 1; table && level > 0; level--)
		table = table[slot_at(index, level)];
	return table ? (pte_slot_t *)(void *)table + slot_at(index, 0) : NULL;
}

pte_slot_t *pgtable_make(struct pager *pager, struct pgtable *pgtable, uint64_t index)
{
	void **where = &pgtable->root;

	for (int level = PT_LEVELS - 1;; level--) {
		if (!*where)
			*where = pool_alloc(pager, &pager->table_pool);
		if (!*where)
			return NULL;
		if (level == 0)
			return (pte_slot_t *)*where + slot_at(index, 0);
		where = (void **)*where + slot_at(index, level);
	}
}

/* How far the missing table at @level reaches: the first index behind it. */
static uint64_t table_end(uint64_t index, int level)
{
	return ((index >> (PT_BITS * level)) + 1) << (PT_BITS * level);
}

static pte_slot_t *leaf_or_skip(const struct pgtable *pgtable, uint64_t *index)
{
	void **table = pgtable->root;
	int level = PT_LEVELS - 1;

	if (!table) {
		*index = UINT64_MAX;
		return NULL;
	}
	for (; level > 0; level--) {
		table = table[slot_at(*index, level)];
		if (!table) {
			*index = table_end(*index, level);
			return NULL;
		}
	}
	return (pte_slot_t *)(void *)table;
}

pte_slot_t *pgtable_next_near(
	const struct pgtable *pgtable, uint64_t index, uint64_t end, unsigned *steps, uint64_t *found)
{
	while (index<end && * steps> 0) {
		pte_slot_t *leaf = leaf_or_skip(pgtable, &index);

		--*steps;
		if (!leaf)
			continue;
		uint64_t first = index, stop = min_u64(min_u64(end, table_end(index, 1)), index + *steps);

		for (; index < stop; index++) {
			pte_slot_t *ptep = leaf + slot_at(index, 0);

			if (!pte_is_none(pte_load(ptep))) {
				*steps -= (unsigned)(index - first);
				*found = index;
				return ptep;
			}
		}
		*steps -= (unsigned)(stop - first);
	}
	*found = min_u64(index, end);
	return NULL;
}

pte_slot_t *pgtable_next(const struct pgtable *pgtable, uint64_t index, uint64_t end, uint64_t *found)
{
	pte_slot_t *ptep = NULL;
	uint64_t at = index;

	while (!ptep && at < end) {
		unsigned steps = UINT32_MAX;

		ptep = pgtable_next_near(pgtable, at, end, &steps, &at);
	}
	if (ptep)
		*found = at;
	return ptep;
}

pte_slot_t *space_next(struct space *space, uint64_t index, uint64_t end, uint64_t *found)
{
	struct pager *pager = space->pager;
	pte_slot_t *ptep = NULL;

	walk_rest(pager);
	while (!ptep && index < end) {
		unsigned before = WALK_STEPS - pager->walked, steps = before;

		ptep = pgtable_next_near(&space->pgtable, index, end, &steps, &index);
		pager->walked += before - steps;
		if (!ptep && index < end)
			walk_rest_now(pager);
	}
	*found = index;
	return ptep;
}

/* Free what of @table's children lies wholly in the range; true when nothing is left below it. */
static bool free_tables(
	struct pager *pager, void **table, int level, uint64_t base, uint64_t index, uint64_t end)
{
	uint64_t step = 1ull << (PT_BITS * level);
	bool empty = true;

	if (level == 0)
		return base >= index && base + PT_ENTRIES <= end;
	for (unsigned i = 0; i < PT_ENTRIES; i++) {
		uint64_t from = base + i * step;

		if (!table[i])
			continue;
		if (from >= end || from + step <= index ||
			!free_tables(pager, table[i], level - 1, from, index, end)) {
			empty = false;
			continue;
		}
		pool_free(&pager->table_pool, table[i]);
		table[i] = NULL;
	}
	return empty;
}

void free_pgtables(struct pager *pager, struct pgtable *pgtable, uint64_t index, uint64_t end)
{
	if (!pgtable->root)
		return;
	if (free_tables(pager, pgtable->root, PT_LEVELS - 1, 0, index, end)) {
		pool_free(&pager->table_pool, pgtable->root);
		pgtable->root = NULL;
	}
}

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

pte_slot_t *pgtable_next(const struct pgtable *pgtable, uint64_t index, uint64_t end, uint64_t *found)
{
	while (index < end) {
		pte_slot_t *leaf = leaf_or_skip(pgtable, &index);

		if (!leaf)
			continue;
		uint64_t stop = min_u64(end, table_end(index, 1));

		for (; index < stop; index++) {
			pte_slot_t *ptep = leaf + slot_at(index, 0);

			if (!pte_is_none(pte_load(ptep))) {
				*found = index;
				return ptep;
			}
		}
	}
	return NULL;
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

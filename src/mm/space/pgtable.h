/* SPDX-License-Identifier: MIT */
/*
 * A page table: of a space, by page number within the space; or of a file's page cache, by page number within the file.
 * It has four levels of 512 entries; the upper three hold pointers. 36 bits of page number make 256 TiB.
 */
#ifndef ANONMM_PGTABLE_H
#define ANONMM_PGTABLE_H

#include "contract/core.h"

#define PT_BITS 9
#define PT_ENTRIES 512u
#define PT_LEVELS 4

struct space;

struct pgtable {
	void *root; /* [L] NULL: no table yet */
};

/* As pgtable_find(), but missing tables are made. NULL: no host memory. => pager lock held */
pte_slot_t *pgtable_make(struct pager *pager, struct pgtable *pgtable, uint64_t index);

/*
 * The first word at or after @index, below @end, that is not none; *found is its index. NULL: there is none. Ranges
 * without a table are skipped in large steps.
 */
pte_slot_t *pgtable_next(const struct pgtable *pgtable, uint64_t index, uint64_t end, uint64_t *found);

/*
 * As pgtable_next(), but it looks at *steps words and tables at most, and takes those that it looked at off *steps.
 * *found when none was met: where the search goes on; @end: there is none.
 */
pte_slot_t *pgtable_next_near(
	const struct pgtable *pgtable, uint64_t index, uint64_t end, unsigned *steps, uint64_t *found);

/*
 * As pgtable_next() of the space's page table, and one step of a walk (walk_rest): drops the lock now and then, before
 * the word is found. *found: @end if there is none. => the caller holds the space lock, so space and VMAs stay
 */
pte_slot_t *space_next(struct space *space, uint64_t index, uint64_t end, uint64_t *found);

/* Free the tables that lie wholly in [index, end). => all words of the range are none */
void free_pgtables(struct pager *pager, struct pgtable *pgtable, uint64_t index, uint64_t end);

#endif

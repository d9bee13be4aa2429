/* SPDX-License-Identifier: MIT */
/*
 * A page table: of a space, by page number within it, or of a file's page cache, by page of the file.
 * Four levels of 512; the upper ones hold pointers. 36 bits of page number: 256 TiB.
 */
#ifndef ANONMM_PGTABLE_H
#define ANONMM_PGTABLE_H

#include "contract/core.h"

#define PT_BITS 9
#define PT_ENTRIES 512u
#define PT_LEVELS 4

struct pgtable {
	void *root; /* [L] */
};

/* The same, making tables as needed; NULL: no host memory. => pager lock held */
pte_slot_t *pgtable_make(struct pager *pager, struct pgtable *pgtable, uint64_t index);

/*
 * The next word at or after @index, below @end, that is not none; its index in *found. NULL: none is left.
 * Skips what has no table in large steps.
 */
pte_slot_t *pgtable_next(const struct pgtable *pgtable, uint64_t index, uint64_t end, uint64_t *found);

/* Free the tables that lie wholly in [index, end). => all their words are none */
void free_pgtables(struct pager *pager, struct pgtable *pgtable, uint64_t index, uint64_t end);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The PTE (page table entry): one word of one of four types.
 *
 *      none        0
 *      present     PTE_PRESENT, a pfn, and rights and marks. Without PTE_VALID the machine does not show the frame: the
 *                  page is on its way in or out if it is locked, otherwise it is armed (contract/machine.h)
 *      swap entry  PTE_SWAP, a device's number and a slot
 *      migration   PTE_MIGRATION, the pfn of the page that is moving, and the rights and marks that the PTE had
 *
 * Only the helpers here look inside a PTE. A PTE is changed under the pager lock, and a present PTE only by the thread
 * that has locked its page. Exception: a machine with an MMU of its own sets PTE_ACCESSED and PTE_DIRTY at any time.
 * Therefore PTEs are atomic words.
 */
#ifndef ANONMM_PTE_H
#define ANONMM_PTE_H

#include "base/base.h"

typedef uint64_t pte_t;
typedef _Atomic(pte_t) pte_slot_t;

#define PTE_PRESENT (1ull << 0)
#define PTE_VALID (1ull << 1)
#define PTE_WRITE (1ull << 2)
#define PTE_DIRTY (1ull << 3)
#define PTE_ACCESSED (1ull << 4)
#define PTE_ZERO (1ull << 5) /* maps the zero page, which does not count its mappings */
#define PTE_SWAP (1ull << 6)
#define PTE_MIGRATION (1ull << 7)
#define PTE_SHADOW (1ull << 8) /* only in a page cache: the word says when the page was removed */
#define PTE_WAS_VALID (1ull << 9) /* the PTE had PTE_VALID before the migration, and gets it back after it */

#define PTE_PFN_SHIFT 12
#define PTE_TYPE_SHIFT 52

/* A swap entry: which area, which slot. */
typedef struct {
	uint8_t type;
	uint32_t slot;
} swp_entry_t;

static inline pte_t pte_present(pfn_t pfn, uint64_t bits)
{
	return ((pte_t)pfn << PTE_PFN_SHIFT) | PTE_PRESENT | bits;
}

static inline pte_t pte_swap(swp_entry_t entry)
{
	return ((pte_t)entry.type << PTE_TYPE_SHIFT) | ((pte_t)entry.slot << PTE_PFN_SHIFT) | PTE_SWAP;
}

/* The migration entry that replaces the present PTE @pte; and the present PTE that replaces it, for the new frame. */
static inline pte_t pte_to_migration(pte_t pte)
{
	return (pte & ~(PTE_PRESENT | PTE_VALID)) | PTE_MIGRATION;
}

static inline pte_t pte_from_migration(pte_t pte, pfn_t pfn)
{
	return pte_present(
		pfn, (pte & (PTE_WRITE | PTE_DIRTY | PTE_ACCESSED)) | (pte & PTE_WAS_VALID ? PTE_VALID : 0));
}

static inline bool pte_is_none(pte_t pte)
{
	return pte == 0;
}

static inline bool pte_is_present(pte_t pte)
{
	return (pte & PTE_PRESENT) != 0;
}

static inline bool pte_is_valid(pte_t pte)
{
	return (pte & PTE_VALID) != 0;
}

static inline bool pte_is_swap(pte_t pte)
{
	return (pte & PTE_SWAP) != 0;
}

static inline bool pte_is_migration(pte_t pte)
{
	return (pte & PTE_MIGRATION) != 0;
}

static inline pfn_t pte_pfn(pte_t pte)
{
	return (pfn_t)(pte >> PTE_PFN_SHIFT);
}

static inline swp_entry_t pte_entry(pte_t pte)
{
	return (swp_entry_t){(uint8_t)(pte >> PTE_TYPE_SHIFT), (uint32_t)(pte >> PTE_PFN_SHIFT)};
}

static inline uint64_t entry_word(swp_entry_t entry)
{
	return ((uint64_t)entry.type << 32) | entry.slot;
}

static inline swp_entry_t word_entry(uint64_t word)
{
	return (swp_entry_t){(uint8_t)(word >> 32), (uint32_t)word};
}

static inline pte_t pte_load(pte_slot_t *slot)
{
	return atomic_load_explicit(slot, memory_order_relaxed);
}

static inline void pte_store(pte_slot_t *slot, pte_t pte)
{
	atomic_store_explicit(slot, pte, memory_order_relaxed);
}

static inline pte_t pte_clear_bits(pte_slot_t *slot, pte_t bits)
{
	return atomic_fetch_and_explicit(slot, ~bits, memory_order_relaxed);
}

static inline void pte_set_bits(pte_slot_t *slot, pte_t bits)
{
	atomic_fetch_or_explicit(slot, bits, memory_order_relaxed);
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * A page's live state as Linux 4.0 would print it (LIFECYCLE 9):
 *
 *      PG_lru         not set while the page is isolated
 *      PG_dirty       not set while the page is being written: that kernel clears it before the write, and sets it
 *                     again if the write fails
 *      PG_ksm         no flag; the kind of the mapping says it
 *      PG_workingset, PG_readahead and anonmm's own flags    not known to that kernel
 *      the zero page  PG_reserved, one reference, never mapped
 *      swap_map       0x40 for the swap cache; the low bits count the PTEs that name the slot; 0xff: shared memory
 *
 * Flags are printed in the order of that kernel's bits.
 */
#ifndef ANONMM_LINUX40_H
#define ANONMM_LINUX40_H

#include "mm/pager.h"

struct linux40_page {
	int count, mapcount;
	uint32_t flags; /* bits of linux40_flag() */
	const char *mapping; /* "none", "anon", "ksm", "file" */
	bool has_entry; /* printed as "swp=type:offset swap_map="; false: as "private=0" */
	unsigned swap_type;
	uint32_t swap_slot;
	unsigned swap_map;
};

/* The bit of the flag @name; 0: that kernel has no such flag. */
uint32_t linux40_flag(const char *name, size_t len);

struct linux40_page linux40_page_of(const struct page_view *view);

/* Write for example "count=2 mapcount=0 flags=locked|uptodate| mapping=anon private=0". Returns @buf. */
const char *linux40_page_text(const struct linux40_page *page, char *buf, size_t len);

/*
 * Write "NONE", "PRESENT", "PRESENT FILE", "MIGRATION", or for example "SWAP type=0 off=410". Returns @buf or a
 * constant text.
 */
const char *linux40_pte_text(const struct page_view *view, char *buf, size_t len);

#endif

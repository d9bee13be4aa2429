/* SPDX-License-Identifier: MIT */
/*
 * Twins: a page that leaves memory and equals one that has left lately takes that one's slot, and is not written.
 *
 * A table of fixed size tells by hash which slots were written lately. It only finds candidates. The slot's own hash
 * decides next, and then the bytes, which are compared where that costs no I/O: the twin is still in memory, or its
 * device is memory. Otherwise the page keeps a slot of its own.
 *
 * When strangers name one slot, its content is read into one page. The first of them maps that page, and the others
 * copy it (fault_swap.c). The rules are those for the slots of merged pages (ksmd_swap.c).
 */
#ifndef ANONMM_TWINS_H
#define ANONMM_TWINS_H

#include "mm/swap/page_io.h"

/* A slot that was written lately. An entry may be out of date: twin_find() checks it. */
struct twin {
	uint32_t slot;
	uint8_t type;
	uint8_t tag[3]; /* part of the hash; an unused entry has 0, which may match by chance */
};

#define FRAMES_EACH 4 /* frames for each entry of the table */
#define TWINS_BYTES_EACH (sizeof(struct twin) / FRAMES_EACH) /* what a frame pays for the table */

/* Make the table, with PAGER_SHARE_SLOTS; without, nothing is shared. -ENOMEM: no host memory. */
int twins_init(struct pager *pager);
void twins_destroy(struct pager *pager);

/* A write of this content to this slot was started. */
void twin_note(struct pager *pager, swp_entry_t entry, const struct content *content);

/*
 * Find a slot with the content of @page that the page's PTEs may name as well. Returns false if there is none.
 * => page locked, anonymous, and hidden: nobody can write to it. If it has a slot of its own, nobody names that slot
 */
bool twin_find(struct pager *pager, struct page *page, const struct content *content, swp_entry_t *entry);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Twins: a page that leaves and equals one that has left lately takes that one's slot, and is not written.
 *
 * A table of fixed size knows by hash which slots were written lately. It only finds candidates: what holds is the slot's own
 * hash, and then the bytes, which are compared where that costs no I/O: the twin is still in memory, or its
 * device is. Otherwise the page gets a slot of its own.
 *
 * Whose slot strangers name is read into one page, which the first of them maps, and the others copy (fault_swap.c):
 * the rules are those for slots of merged pages (ksmd_swap.c).
 */
#ifndef ANONMM_TWINS_H
#define ANONMM_TWINS_H

#include "mm/swap/page_io.h"

struct twin {
	uint32_t slot;
	uint8_t type;
	uint8_t tag[3]; /* of the hash; all 0 is as good as any: a wrong one is found out */
};

#define FRAMES_EACH 4 /* frames for each twin */
#define TWINS_BYTES_EACH (sizeof(struct twin) / FRAMES_EACH) /* what a frame pays */

/* PAGER_SHARE_SLOTS only; else the table stays empty. -ENOMEM */
int twins_init(struct pager *pager);
void twins_destroy(struct pager *pager);

/* This content is written to this slot. */
void twin_note(struct pager *pager, swp_entry_t entry, const struct content *content);

/*
 * A slot with the content of @page that its PTEs may name as well. => page locked, anonymous, hidden: nobody can write to
 * it. Its own slot, if it has one, is named by nobody
 */
bool twin_find(struct pager *pager, struct page *page, const struct content *content, swp_entry_t *entry);

#endif

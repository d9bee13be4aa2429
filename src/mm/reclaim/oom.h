/* SPDX-License-Identifier: MIT */
/* Who uses what: counted anew from frames and page tables, when somebody asks or when memory is out. */
#ifndef ANONMM_OOM_H
#define ANONMM_OOM_H

#include "base/base.h"

struct pager;
struct node;
struct space;

/*
 * The frames of one node. free + anon + file + shmem + lent + other = frames. The numbers of the last line are parts of
 * these.
 */
struct node_usage {
	uint32_t frames, free;
	uint32_t anon, file, shmem;
	uint32_t lent; /* lent to swap devices, which keep compressed pages in their memory */
	uint32_t other; /* the zero page; pages that are being born, or have just lost their last mapping */
	uint32_t unevictable, merged, swapcache, writeback, isolated;
};

struct space_usage {
	uint64_t mapped_bytes; /* bytes of its VMAs, without foreign ones */
	uint64_t resident, swapped; /* PTEs that are present or moving; PTEs that are swap entries */
};

void node_usage(struct pager *pager, const struct node *node, struct node_usage *usage);
void space_usage(struct space *space, struct space_usage *usage);

/*
 * A fault at @addr has found no memory. Say so through ops->say, with a report of who uses what, the 1st, 2nd, 4th, 8th
 * ... time (the core has no clock). => pager lock not held
 */
void out_of_memory(struct pager *pager, uint64_t addr);

#endif

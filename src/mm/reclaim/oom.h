/* SPDX-License-Identifier: MIT */
/* Who uses what: counted anew from frames and page tables when somebody asks, or when memory is out. */
#ifndef ANONMM_OOM_H
#define ANONMM_OOM_H

#include "base/base.h"

struct pager;
struct node;
struct space;

/* The frames of one node: free + anon + file + shmem + lent + other = frames. The rest are parts of these. */
struct node_usage {
	uint32_t frames, free;
	uint32_t anon, file, shmem;
	uint32_t lent; /* to swap devices, which keep compressed pages there */
	uint32_t other; /* the zero page; pages that are being born or have just lost their last mapping */
	uint32_t unevictable, merged, swapcache, writeback, isolated;
};

struct space_usage {
	uint64_t mapped_bytes; /* of its VMAs, foreign ones left out */
	uint64_t resident, swapped; /* PTEs: present or moving; swap entries */
};

void node_usage(struct pager *pager, const struct node *node, struct node_usage *usage);
void space_usage(struct space *space, struct space_usage *usage);

/* A fault at @addr has found no memory: say so, and who has it. The 1st, 2nd, 4th, 8th ... time: the core has no clock. => lock not held */
void out_of_memory(struct pager *pager, uint64_t addr);

#endif

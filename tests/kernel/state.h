/* SPDX-License-Identifier: MIT */
/*
 * What a page of a process is, in words that both worlds have.
 *
 * Frames have other numbers in the two worlds, so a frame is told by its relations: which page had it before the
 * operation (origin), and which page has it now (partner). The same for slots.
 */
#ifndef ANONMM_KERNEL_STATE_H
#define ANONMM_KERNEL_STATE_H

#include "script.h"

#define NR_CELLS (MAX_PROCS * MAX_REGIONS * MAX_PAGES)

enum cell_kind { CELL_ABSENT, CELL_NONE, CELL_PRESENT, CELL_ZERO, CELL_SWAP };
enum cell_type { TYPE_NONE, TYPE_ANON, TYPE_FREE, TYPE_KSM, TYPE_FILE, TYPE_SHMEM };
enum cell_list { ON_NONE, ON_INACTIVE, ON_ACTIVE, ON_UNEVICTABLE };

/* One page of one process. */
struct cell {
	enum cell_kind kind;
	uint64_t frame; /* present, or swap and in memory where it is known; NO_FRAME */
	uint64_t slot; /* swap */
	bool cached; /* not mapped, and its content is in memory: swap cache, page cache */
	unsigned mapcount; /* the rest: present */
	enum cell_type type;
	enum cell_list list;
	bool swapcache, dirty, mlocked;
	int origin; /* the first cell that had this frame before; -1: none */
	int partner; /* the first cell that has this frame, or this slot, now; -1: neither */
};

#define NO_FRAME UINT64_MAX

struct world_state {
	struct cell cells[NR_CELLS];
};

/* Fields that may differ. */
enum field {
	F_KIND = 1 << 0,
	F_ORIGIN = 1 << 1,
	F_PARTNER = 1 << 2,
	F_CACHED = 1 << 3,
	F_MAPCOUNT = 1 << 4,
	F_TYPE = 1 << 5,
	F_LIST = 1 << 6,
	F_SWAPCACHE = 1 << 7,
	F_DIRTY = 1 << 8,
	F_MLOCKED = 1 << 9,
	F_RESULT = 1 << 10, /* of the operation: error, signal */
	F_VALUE = 1 << 11, /* what a read saw */
	F_PAGE = (1 << 10) - 1, /* all that is of a page */
};

static inline unsigned cell_at(unsigned proc, unsigned region, unsigned page)
{
	return (proc * MAX_REGIONS + region) * MAX_PAGES + page;
}

/* Fill in origin and partner. A swapped cell keeps the frame it had while its content stays in memory. */
void state_relate(struct world_state *now, const struct world_state *before);
/* The fields in which they differ; what only makes sense for one kind is not compared among others. */
unsigned cell_compare(const struct cell *a, const struct cell *b);
void cell_print(const struct cell *cell, int self, char *buf, size_t len);
void cell_name(int at, char *buf, size_t len);
const char *field_name(enum field field);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The judge's language: operations of processes on pages of memory, one a line.
 *
 *      map PROC REGION KIND PAGES             anon | file | shared | shmem (a private mapping of shared memory)
 *      read PROC REGION PAGE
 *      write PROC REGION PAGE VALUE
 *      fork PROC CHILD                        the child is the process of that number
 *      exit PROC
 *      pageout | cold | free | dontneed | willneed | populate_read | populate_write | mergeable | unmergeable |
 *      lock | unlock | munmap PROC REGION FIRST NR
 *      protect PROC REGION FIRST NR RIGHTS    none | read | write
 *      move PROC REGION PAGE                  mremap to the page's other place, or back
 *      truncate REGION PAGES                  the file behind it
 *      squeeze                                reclaim all that can be reclaimed
 *      merge                                  KSM until it finds nothing more
 *
 * Process 0 is there at the start. A region is one letter, mapped once, inherited by forks. Its pages are
 * STRIDE pages apart, so that no readahead and no fault-around reaches the next one; operations on a
 * range are made on each of its pages by itself.
 */
#ifndef ANONMM_KERNEL_SCRIPT_H
#define ANONMM_KERNEL_SCRIPT_H

#include "base/base.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define MAX_PROCS 5
#define MAX_REGIONS 5
#define MAX_PAGES 8
#define MAX_OPS 2000

#define STRIDE 64
#define STRIDE_BYTES (STRIDE * (uint64_t)PAGE_BYTES)
#define REGION_BYTES (MAX_PAGES * STRIDE_BYTES) /* a region's places: two of these */

enum region_kind { REGION_ANON, REGION_FILE, REGION_SHARED, REGION_SHMEM };

enum op_code {
	OP_MAP,
	OP_READ,
	OP_WRITE,
	OP_FORK,
	OP_EXIT,
	OP_PAGEOUT,
	OP_COLD,
	OP_FREE,
	OP_DONTNEED,
	OP_WILLNEED,
	OP_POPULATE_READ,
	OP_POPULATE_WRITE,
	OP_MERGEABLE,
	OP_UNMERGEABLE,
	OP_LOCK,
	OP_UNLOCK,
	OP_MUNMAP,
	OP_PROTECT,
	OP_MOVE,
	OP_TRUNCATE,
	OP_SQUEEZE,
	OP_MERGE,
	NR_OPS,
};

struct op {
	enum op_code code;
	uint8_t proc, region;
	uint8_t first, nr; /* pages */
	uint32_t value; /* written; a region_kind; rights; the child */
	unsigned line; /* in its script */
};

struct script {
	char name[64];
	struct op ops[MAX_OPS];
	unsigned nr;
};

/* What is mapped where: all that one must know to tell which operations make sense. */
struct shape {
	bool alive[MAX_PROCS], born[MAX_PROCS];
	bool exists[MAX_REGIONS]; /* mapped by anybody, ever */
	enum region_kind kind[MAX_REGIONS];
	unsigned pages[MAX_REGIONS];
	bool mapped[MAX_PROCS][MAX_REGIONS];
	bool moved[MAX_PROCS][MAX_REGIONS][MAX_PAGES]; /* at its other place */
	bool gone[MAX_PROCS][MAX_REGIONS][MAX_PAGES];
};

void shape_init(struct shape *shape);
/* NULL, or why the operation makes no sense here. */
const char *shape_refuses(const struct shape *shape, const struct op *op);
/* => not refused, and done */
void shape_apply(struct shape *shape, const struct op *op);
/* Where the page is, relative to the start of its region. */
uint64_t shape_offset(const struct shape *shape, unsigned proc, unsigned region, unsigned page);
/* What the page of a file holds at first: never 0, and no value that scripts write. */
uint64_t file_value(unsigned region, unsigned page);

/* Has the operation a range of pages? Such are made page by page. */
bool op_has_range(enum op_code code);
const char *op_name(enum op_code code);
/* The madvise() of this operation, or -1 */
int op_advice(enum op_code code);
int op_rights(const struct op *op);
void op_print(const struct op *op, char *buf, size_t len);

/* false: it is said on stderr what is wrong. */
bool script_load(struct script *script, const char *path);
void script_print(const struct script *script, FILE *out);
/* The same seed, the same operations. */
void script_random(struct script *script, uint64_t seed, unsigned nr_ops, bool ksm);

#endif

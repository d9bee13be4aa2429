/* SPDX-License-Identifier: MIT */
/*
 * The one table of known differences between our engine and today's kernel. A difference that it does not name is a
 * failure.
 */
#ifndef ANONMM_KERNEL_DIFFERENCES_H
#define ANONMM_KERNEL_DIFFERENCES_H

#include "side.h"

/* One page after one operation, in both worlds; at -1: the operation's answer. */
struct meeting {
	const struct op *op;
	const struct shape *shape; /* before the operation */
	int at; /* the cell */
	unsigned proc, region, page; /* the same, taken apart */
	bool target; /* it is one that the operation names */
	bool any_shared; /* some page of the region was mapped more than once before */
	bool nonzero; /* the last value written to it was not 0, for all we know */
	struct cell theirs, theirs_before, ours, ours_before; /* theirs: Linux's */
	struct outcome their_answer, our_answer;
};

struct difference {
	const char *name;
	unsigned fields; /* what of a page it excuses */
	const char *theirs, *ours; /* what each shows */
	const char *why;
	bool (*starts)(const struct meeting *m);
	bool (*lasts)(const struct meeting *m); /* once begun; NULL: it does not last. Ends when both agree */
	bool clings; /* agreement does not end it */
	unsigned begun, used; /* how often it started; how many comparisons it excused */
};

extern struct difference differences[];
extern const unsigned nr_differences;

/* The fields that remain; *in_effect: which differences hold for this cell from earlier on, and from now on. */
unsigned differences_excuse(const struct meeting *m, unsigned differ, uint64_t *in_effect);
void differences_print(bool used_only);

#endif

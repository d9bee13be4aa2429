/* SPDX-License-Identifier: MIT */
/* Run one script in both worlds, and compare them after each operation. */
#ifndef ANONMM_KERNEL_JUDGE_H
#define ANONMM_KERNEL_JUDGE_H

#include "script.h"

enum verdict { AGREED, DIFFERED, SKIPPED, BROKEN };

struct judgement {
	enum verdict verdict;
	unsigned ops; /* compared */
	char why[80]; /* it was skipped */
	unsigned declared; /* differences that the table excused */
};

struct judge_options {
	bool verbose; /* print both states after each operation */
	bool quiet; /* print not even what failed */
};

struct judgement judge_script(const struct script *script, const struct judge_options *options);

/* The shortest script found that differs still. => it does */
void judge_shrink(struct script *script);

#endif

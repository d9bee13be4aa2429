/* SPDX-License-Identifier: MIT */
/* What Linux 4.0.4 printed, line by line: tests/data/linux-4.0.4.txt, parsed. */
#ifndef ANONMM_TEST_OBSERVED_H
#define ANONMM_TEST_OBSERVED_H

#include "trace/linux40.h"

#define MAX_LINES 600
#define MAX_SECTIONS 20

enum line_kind {
	LINE_POINT, /* KF: a point of a function */
	LINE_SEEN, /* ST: a process's view through its page table */
	LINE_TRACKED, /* TRK: the page after the per-CPU batches were drained */
};

struct observed_line {
	enum line_kind kind;
	unsigned number; /* in the file */
	unsigned section; /* index */
	char point[96]; /* KF: "add_to_swap: after ..."; ST, TRK: its label */
	char pte[32]; /* ST: "NONE", "PRESENT", "PRESENT FILE", "SWAP" */
	bool has_page;
	uint32_t pfn;
	struct linux40_page page; /* also ST SWAP: its entry alone */
	char state[240]; /* as printed */
};

struct observed {
	unsigned nr_sections, nr_lines;
	char sections[MAX_SECTIONS][40];
	struct observed_line lines[MAX_LINES];
};

/* 0 or -errno; -EINVAL: a line that cannot be understood, said on stderr. */
int observed_read(struct observed *observed, const char *path);

#endif

/* SPDX-License-Identifier: MIT */
/* Which of our events each point of Linux's functions is, and which points have none. */
#ifndef ANONMM_TEST_RULES_H
#define ANONMM_TEST_RULES_H

#include "observed.h"

/* How a point is compared. */
struct rule {
	const char *point; /* of Linux */
	const char *event; /* ours; RULE_SAME: that of the line before; NULL: there is none */
	int held; /* references that Linux holds at this point, and we do not */
	const char *reason; /* for @held, or for there being none */
};

#define RULE_SAME "(same)"

extern const struct rule rules[];
extern const unsigned nr_rules;

/*
 * What is special about single lines: chosen by section, by the beginning of the point ("": any), and by a
 * piece of the state.
 */
struct exception {
	const char *section, *point, *state;
	const char *event; /* as in struct rule */
	int held;
	const char *reason;
	unsigned nth; /* only the line that is met as the nth; 0: each */
};

extern const struct exception exceptions[];
extern const unsigned nr_exceptions;

/* Why a difference in these flags is none: "" when it is one. */
const char *flags_explained(const struct observed_line *line, uint32_t theirs, uint32_t ours);

#endif

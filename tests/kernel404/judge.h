/* SPDX-License-Identifier: MIT */
/*
 * The judge: a kernel of the article's era. Every history that Linux 4.0.4 printed (tests/data/linux-4.0.4.txt) is
 * replayed on the soft machine. Every line that has a counterpart is compared with our state at that point, rendered as
 * that kernel prints it (linux40.h).
 *
 * Lines are claimed in order. A point of a function is claimed by the next event of ours that rules.c names for it, a
 * view by the next note. A point never looks behind the next note. Frames and slots are compared as identities: the
 * same one, or another.
 *
 * A line that is not equal, but explained, is counted apart, with its reason. A line that has no counterpart is listed
 * with its reason. A difference that nobody explains is a failure, and so is a line that no rule knows.
 */
#ifndef ANONMM_TEST_JUDGE_H
#define ANONMM_TEST_JUDGE_H

#include "observed.h"
#include "trace/walk_world.h"

#define MAX_REASONS 64

/* Which of ours a frame or slot of Linux is: pairs, none twice on either side. */
struct identities {
	unsigned nr;
	uint32_t theirs[64], ours[64];
};

struct reasons {
	unsigned nr;
	struct {
		const char *text;
		unsigned lines;
	} at[MAX_REASONS];
};

struct judge {
	const struct observed *observed;
	struct walk_world *world;
	bool verbose, quiet;
	unsigned section;
	unsigned cursor; /* the first event that no line has claimed */
	const struct walk_event *last;
	struct identities frames, slots;
	unsigned nr_lines, nr_compared, nr_equal, nr_explained, nr_without, nr_different;
	struct reasons explained, without;
	unsigned met[64]; /* how often each exception was met */
};

/* Judge the lines of judge->section, whose history judge->world has replayed. Adds to the numbers. */
void judge_lines(struct judge *judge);

/* One of them, in order. */
void judge_line(struct judge *judge, const struct observed_line *line);

/* "DIFFERENT line 27 ...", and @text below it. */
void judge_say(const char *verdict, const struct observed_line *line, const char *text);

#endif

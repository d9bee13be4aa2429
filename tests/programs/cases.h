/* SPDX-License-Identifier: MIT */
/*
 * For programs with many cases, which cases.sh compares. Without an argument they list the cases; with one they run
 * that case. The cases with threads share an area of three times the limit, whose content is checked wherever it is
 * read.
 */
#ifndef PROGRAMS_CASES_H
#define PROGRAMS_CASES_H

#include "memory.h"

#include <stdint.h>

struct one_case {
	const char *name;
	int (*run)(void);
};

/* The exit status; 2: there is no such case. */
static inline int run_cases(const struct one_case *cases, size_t nr, int argc, char **argv)
{
	for (size_t i = 0; i < nr; i++) {
		if (argc < 2)
			puts(cases[i].name);
		else if (!strcmp(argv[1], cases[i].name))
			return cases[i].run();
	}
	return argc < 2 ? 0 : 2;
}

#define AREA (24 * MIB)

static _Atomic long wrong;
static uint64_t *area; /* every 64th word holds its index */

static inline void expect(int what, int line)
{
	if (what)
		return;
	wrong++;
	fprintf(stderr, "line %d\n", line);
}
#define EXPECT(what) expect(!!(what), __LINE__)

static inline void make_area(void)
{
	area = map(AREA);
	for (size_t i = 0; i < AREA / 8; i += 64)
		area[i] = i;
}

/* @nr reads at pseudorandom places. */
static inline void read_area(unsigned seed, int nr)
{
	for (int i = 0; i < nr; i++) {
		seed = seed * 1103515245 + 12345;
		size_t at = seed % (AREA / 8) & ~63UL;
		if (area[at] != at)
			wrong++;
	}
}

static inline int finish(const char *text)
{
	printf("%s, %ld wrong\n", text, (long)wrong);
	fflush(stdout);
	return wrong != 0;
}

#endif

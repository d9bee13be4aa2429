/* SPDX-License-Identifier: MIT */
/*
 * All unit tests in one program.
 *
 *      unit [NAME]...    runs the tests of these files, in this order; without a name, those of all
 *
 * A file tests/unit/NAME.c is written as a program of its own. Here its main() is compiled as NAME()
 * (tests/meson.build), and returns how many of its cases failed. cmocka reports each case.
 */
#include <stdio.h>
#include <string.h>

#define TEST(name) int name(void);
#include "unit-tests.h"
#undef TEST

static const struct {
	const char *name;
	int (*run)(void);
} tests[] = {
#define TEST(name) {#name, name},
#include "unit-tests.h"
#undef TEST
};

#define NR_TESTS (sizeof(tests) / sizeof(tests[0]))

/* How many cases failed; -1: there is no such file. */
static int run(const char *name)
{
	for (size_t i = 0; i < NR_TESTS; i++)
		if (!strcmp(tests[i].name, name))
			return tests[i].run();
	fprintf(stderr, "unit: there is no '%s'\n", name);
	return -1;
}

int main(int argc, char **argv)
{
	int failed = 0;

	for (int i = 1; i < argc; i++)
		failed += run(argv[i]) != 0;
	for (size_t i = 0; argc == 1 && i < NR_TESTS; i++)
		failed += tests[i].run() != 0;
	return failed != 0;
}

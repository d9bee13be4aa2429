/* SPDX-License-Identifier: MIT */
/*
 * A case that cannot run here says so, and names the features of the host that it needs. tests/run-all (features.py)
 * knows these features, and counts the skip as a failure where the host has them all.
 */
#ifndef ANONMM_TESTS_NEEDS_H
#define ANONMM_TESTS_NEEDS_H

#define SKIP_WITHOUT(features, ...)                                                                          \
	do {                                                                                                 \
		print_message("needs " features ": " __VA_ARGS__);                                           \
		print_message("\n");                                                                         \
		skip();                                                                                      \
	} while (0)

#define REAL_MEMORY "userfaultfd move"

#endif

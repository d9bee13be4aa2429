/* SPDX-License-Identifier: MIT */
/*
 * The one race that is meant: a program may write to a page while a device reads it (LIFECYCLE, B4). The device
 * then has a mixture of old and new, and the core takes it for nobody's content. ThreadSanitizer sees it where the device
 * in memory copies.
 */
#ifndef ANONMM_TEST_TSAN_H
#define ANONMM_TEST_TSAN_H

const char *__tsan_default_suppressions(void);

const char *__tsan_default_suppressions(void)
{
	return "race:move_pages\n";
}

#endif

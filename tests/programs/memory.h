/* SPDX-License-Identifier: MIT */
/* Sizes and memory for the programs of this directory, which know nothing of anonmm. */
#ifndef PROGRAMS_MEMORY_H
#define PROGRAMS_MEMORY_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE 4096UL
#define MIB (1UL << 20)
#define GIB (1UL << 30)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)
#define RW (PROT_READ | PROT_WRITE)
#define COUNT(a) (sizeof(a) / sizeof(*(a)))

static inline void *map(size_t len)
{
	void *p = mmap(NULL, len, RW, ANON, -1, 0);

	if (p == MAP_FAILED) {
		puts("no memory");
		fflush(stdout);
		_Exit(9);
	}
	return p;
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The few words that every file shares: pages and sizes, page frame numbers, rounding. No state.
 */
#ifndef ANONMM_BASE_H
#define ANONMM_BASE_H

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE_SHIFT 12
#define PAGE_BYTES 4096UL
#define PAGE_MASK (~(PAGE_BYTES - 1))

#define KIB (1024UL)
#define MIB (1024UL * KIB)
#define GIB (1024UL * MIB)

/* A frame's number: it names one struct page and one page of memory. */
typedef uint32_t pfn_t;
#define PFN_NONE UINT32_MAX

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static inline uint64_t page_align_down(uint64_t x)
{
	return x & PAGE_MASK;
}

static inline uint64_t page_align_up(uint64_t x)
{
	return (x + PAGE_BYTES - 1) & PAGE_MASK;
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Objects of one size, from chunks of host memory that are never given back before the end.
 *
 * Nothing on the fault path may call an allocator: a chunk is a rare host call, an object is
 * a pop from a free list. What the chunks take is counted as metadata.
 */
#ifndef ANONMM_POOL_H
#define ANONMM_POOL_H

#include "base/base.h"

struct pager;

/* Locks: [L] pager lock */
struct pool {
	size_t object_bytes; /* [I] at least a pointer, a multiple of 8 */
	void *free; /* [L] linked through their first word */
	struct pool_chunk *chunks; /* [L] */
	size_t chunk_bytes; /* [I] */
};

void pool_init(struct pool *pool, size_t object_bytes, size_t chunk_bytes);
/* Zeroed; NULL: the host has no memory. => pager lock held */
void *pool_alloc(struct pager *pager, struct pool *pool);
void pool_free(struct pool *pool, void *object);
void pool_destroy(struct pager *pager, struct pool *pool);

#endif

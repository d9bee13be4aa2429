/* SPDX-License-Identifier: MIT */
/*
 * Objects of one size, cut from chunks of host memory. Chunks are given back when the pager closes, not before.
 *
 * Nothing on the fault path may call an allocator. Taking an object is a pop from a free list; a chunk is a rare call
 * to the host. The bytes of all chunks count as metadata.
 */
#ifndef ANONMM_POOL_H
#define ANONMM_POOL_H

#include "base/base.h"

struct pager;

/* Locks: [I] set once  [L] pager lock */
struct pool {
	size_t object_bytes; /* [I] at least the size of a pointer, a multiple of 8 */
	void *free; /* [L] free objects, each linked through its first word */
	struct pool_chunk *chunks; /* [L] all chunks */
	size_t chunk_bytes; /* [I] */
};

void pool_init(struct pool *pool, size_t object_bytes, size_t chunk_bytes);
/* One object, zeroed. NULL: the host has no memory. => pager lock held */
void *pool_alloc(struct pager *pager, struct pool *pool);
void pool_free(struct pool *pool, void *object);
void pool_destroy(struct pager *pager, struct pool *pool);

#endif

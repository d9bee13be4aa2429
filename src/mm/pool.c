/* SPDX-License-Identifier: MIT */
/* Object pools; see pool.h. */
#include "mm/mm.h"

#include <string.h>

#define POOL_JUNK 0xa5 /* freed objects are filled with this where asserts are on */

struct pool_chunk {
	struct pool_chunk *next;
	uint64_t pad;
};

void pool_init(struct pool *pool, size_t object_bytes, size_t chunk_bytes)
{
	assert(object_bytes >= sizeof(void *) && object_bytes % 8 == 0);
	*pool = (struct pool){.object_bytes = object_bytes, .chunk_bytes = chunk_bytes};
}

static void push(struct pool *pool, void *object)
{
#ifndef NDEBUG
	memset(object, 0xdb, pool->object_bytes); /* who uses it after this finds out */
#endif
	memcpy(object, &pool->free, sizeof(void *));
	pool->free = object;
}

static bool pool_grow(struct pager *pager, struct pool *pool)
{
	struct pool_chunk *chunk = pager_chunk_alloc(pager, pool->chunk_bytes);

	if (!chunk)
		return false;
	chunk->next = pool->chunks;
	pool->chunks = chunk;
	/* Page-sized objects stay page aligned: the header then costs a whole one. */
	size_t first = pool->object_bytes >= PAGE_BYTES ? pool->object_bytes : sizeof(*chunk);

	for (size_t at = first; at + pool->object_bytes <= pool->chunk_bytes; at += pool->object_bytes)
		push(pool, (char *)chunk + at);
	return true;
}

void *pool_alloc(struct pager *pager, struct pool *pool)
{
	if (!pool->free && !pool_grow(pager, pool))
		return NULL;
	void *object = pool->free;

	memcpy(&pool->free, object, sizeof(void *));
	memset(object, 0, pool->object_bytes);
	return object;
}

void pool_free(struct pool *pool, void *object)
{
#ifndef NDEBUG
	memset(object, POOL_JUNK, pool->object_bytes); /* a pointer that outlived its object leads nowhere */
#endif
	push(pool, object);
}

void pool_destroy(struct pager *pager, struct pool *pool)
{
	while (pool->chunks) {
		struct pool_chunk *chunk = pool->chunks;

		pool->chunks = chunk->next;
		pager_chunk_free(pager, chunk, pool->chunk_bytes);
	}
	pool->free = NULL;
}

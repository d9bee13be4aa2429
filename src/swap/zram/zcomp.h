/* SPDX-License-Identifier: MIT */
/*
 * One page smaller, and back: liblz4 and libzstd behind one small table.
 *
 * A call takes a context for itself from a few that were set aside at open, one for each CPU; who finds none free gets the
 * one that is given back next, in the order in which they came. Readers have contexts of their own: decompression never waits for compression. Nothing allocates.
 * Contexts take memory when they are first used, the first one first.
 */
#ifndef ANONMM_SWAPDEV_ZCOMP_H
#define ANONMM_SWAPDEV_ZCOMP_H

#include "swap/device.h"

#include <pthread.h>

#define ZCOMP_CONTEXTS 8

struct zcomp_algo;

struct zcomp_pool;

/* One call's scratch. All but the first two: of who has it */
struct zcomp_context {
	struct zcomp_pool *pool; /* [I] */
	uint8_t *buffer; /* [I] PAGE_BYTES: what is compressed */
	bool ready; /* @state was made */
	void *state; /* the library's */
};

/* One that waits for a context, on its own stack. */
struct zcomp_waiter {
	_Atomic(uint32_t) given; /* number of the context, plus 1; it sleeps on this word */
	STAILQ_ENTRY(zcomp_waiter) link; /* [Q] */
};

/* Locks: [I] set at open  [Q] lock. Equation: while somebody waits, none is free. */
struct zcomp_pool {
	struct zcomp_context contexts[ZCOMP_CONTEXTS]; /* [I] the first nr */
	unsigned nr; /* [I] */
	pthread_mutex_t lock; /* held for a few instructions */
	uint32_t free; /* [Q] a bit for each context */
	STAILQ_HEAD(zcomp_waiters, zcomp_waiter) waiters; /* [Q] the first that came is the first */
};

/* All [I] but the contexts' inside */
struct zcomp {
	const struct zcomp_algo *algo;
	int level;
	struct zcomp_pool compress, decompress;
	void *memory; /* of all of them */
	size_t memory_bytes;
	_Atomic(size_t) used_bytes; /* of contexts that are ready */
};

/* "algo=" and "level=" of @uri. On failure says why. */
int zcomp_open(struct zcomp *comp, struct swap_uri *uri, struct swap_why *why);
void zcomp_close(struct zcomp *comp);

/* In the child of a fork: no other thread has a context. */
void zcomp_fork_child(struct zcomp *comp);

/* A context for one page; its buffer is the caller's until it is given back. */
struct zcomp_context *zcomp_get(struct zcomp_pool *pool);
void zcomp_put(struct zcomp_context *context);

/*
 * @page into the context's buffer. Returns how many bytes that took, at most @most; 0: it takes more.
 * => @context is from comp->compress
 */
size_t zcomp_compress(struct zcomp *comp, struct zcomp_context *context, const void *page, size_t most);

/* @bytes bytes of the context's buffer into @page. 0, or -EIO: they are not what was compressed. */
int zcomp_decompress(struct zcomp *comp, struct zcomp_context *context, size_t bytes, void *page);

const char *zcomp_name(const struct zcomp *comp);

#endif

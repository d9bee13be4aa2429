/* SPDX-License-Identifier: MIT */
/*
 * Compress one page, and decompress it: liblz4 and libzstd behind one small table.
 *
 * A caller takes a context from a pool, and has it alone. A pool has a context for each CPU, at most ZCOMP_CONTEXTS.
 * If none is free, callers wait in the order in which they came, and each gets the next one that is given back.
 * Decompression has a pool of its own, so it never waits for compression. No call allocates: contexts get addresses
 * at open, and memory when they are first used. The lowest free one is taken, so few are ever used.
 */
#ifndef ANONMM_SWAPDEV_ZCOMP_H
#define ANONMM_SWAPDEV_ZCOMP_H

#include "swap/device.h"

#include <pthread.h>

#define ZCOMP_CONTEXTS 8

struct zcomp_algo;

struct zcomp_pool;

/* Scratch memory of one call. Locks: [I] set at open  [C] the caller that has the context */
struct zcomp_context {
	struct zcomp_pool *pool; /* [I] */
	uint8_t *buffer; /* [I] PAGE_BYTES, for compressed data */
	bool ready; /* [C] state is initialized */
	void *state; /* [C] of the compression library */
};

/* A thread that waits for a context. Lies on its stack. */
struct zcomp_waiter {
	_Atomic(uint32_t) given; /* number of its context, plus 1. The thread sleeps on this word */
	STAILQ_ENTRY(zcomp_waiter) link; /* [Q] */
};

/* Locks: [I] set at open  [Q] pool.lock. Equation: while a thread waits, no context is free */
struct zcomp_pool {
	struct zcomp_context contexts[ZCOMP_CONTEXTS]; /* [I] the first nr */
	unsigned nr; /* [I] */
	pthread_mutex_t lock; /* held for a few instructions */
	uint32_t free; /* [Q] a bit for each context */
	STAILQ_HEAD(zcomp_waiters, zcomp_waiter) waiters; /* [Q] in the order in which they came */
};

/* All [I], except for the inside of the pools and used_bytes */
struct zcomp {
	const struct zcomp_algo *algo;
	int level;
	struct zcomp_pool compress, decompress;
	void *memory; /* of all contexts */
	size_t memory_bytes;
	_Atomic(size_t) used_bytes; /* [a] of the contexts that are ready */
};

/* Open what "algo=" and "level=" of @uri name. 0, or -errno and @why. */
int zcomp_open(struct zcomp *comp, struct swap_uri *uri, struct swap_why *why);
void zcomp_close(struct zcomp *comp);

/* In the child of a fork: make all contexts free, because no other thread has one. */
void zcomp_fork_child(struct zcomp *comp);

/* Take a context, and wait while none is free. It and its buffer are the caller's until zcomp_put(). */
struct zcomp_context *zcomp_get(struct zcomp_pool *pool);
void zcomp_put(struct zcomp_context *context);

/*
 * Compress @page into the context's buffer. Returns the bytes that it takes, at most @most; 0: it takes more.
 * => @context is from comp->compress
 */
size_t zcomp_compress(struct zcomp *comp, struct zcomp_context *context, const void *page, size_t most);

/*
 * Decompress @bytes bytes of the context's buffer into @page. 0, or -EIO: they are not a compressed page.
 * => @context is from comp->decompress
 */
int zcomp_decompress(struct zcomp *comp, struct zcomp_context *context, size_t bytes, void *page);

const char *zcomp_name(const struct zcomp *comp);

#endif

/* SPDX-License-Identifier: MIT */
/* Lists of buffers, for calls that have nothing else (guard_vector.c) and for messages (guard_message.c). */
#ifndef ANONMM_GUARD_VECTOR_H
#define ANONMM_GUARD_VECTOR_H

#include "run/guard/guard.h"

#include <sys/uio.h>

struct vector {
	long nr;
	uint64_t args[6];
	make_fn make;
	struct scratch scratch;
	struct iovec *iov; /* in scratch memory; the buffers are the program's */
	unsigned nr_iov;
	size_t bytes; /* of all of them */
	struct iovec bad; /* what follows them and is not valid; no length: nothing */
};

bool vector_any_managed(const struct iovec *iov, size_t nr);
/* Is @iov, or anything in it, managed? false for a list that cannot be read: the kernel shall say so. */
bool vector_concerns_us(const struct iovec *iov, int nr);
/*
 * For a stream_fn: after @total bytes the window @iov of @nr comes. When nothing valid follows, what is bad comes behind it:
 * the kernel makes of it what it makes of it natively. Returns the window's new length. => there is room for one more
 */
unsigned vector_add_bad(const struct vector *v, struct iovec *iov, unsigned nr, size_t total);
/* Have the list, up to where it is valid. false: the kernel shall say what is wrong with it */
bool vector_take(struct vector *v, uint64_t user, size_t nr, bool out);

#endif

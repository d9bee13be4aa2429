/* SPDX-License-Identifier: MIT */
/* Lists of buffers: of readv() and its like (guard_vector.c), and of messages (guard_message.c). */
#ifndef ANONMM_GUARD_VECTOR_H
#define ANONMM_GUARD_VECTOR_H

#include "run/guard/guard.h"

#include <sys/uio.h>

struct vector {
	long nr;
	uint64_t args[6];
	make_fn make;
	struct scratch scratch;
	struct iovec *iov; /* a copy up to the first invalid byte. The buffers are the program's */
	unsigned nr_iov;
	size_t bytes; /* of all buffers in iov */
	struct iovec bad; /* the rest of the buffer that is not all valid. iov_len 0: all buffers are valid */
};

/* Is a buffer in the list managed? => the list is readable */
bool vector_any_managed(const struct iovec *iov, size_t nr);
/* Is @iov itself, or a buffer in it, managed? false for a list that cannot be read: the kernel reports that. */
bool vector_concerns_us(const struct iovec *iov, int nr);
/*
 * For a stream_fn: @iov of @nr is the window that comes after @total bytes. If it is the last one, append v->bad, so
 * that the kernel treats the invalid buffer as natively. Returns the window's new length. => @iov has room for one
 * more
 */
unsigned vector_add_bad(const struct vector *v, struct iovec *iov, unsigned nr, size_t total);
/*
 * Copy the list of @nr buffers at @user to @v->iov, up to the first byte that is not valid. @out: the kernel will
 * write to the buffers.
 * => false: nothing is valid, or there is no memory. Make the call with the program's own list: the kernel reports
 * the error
 */
bool vector_take(struct vector *v, uint64_t user, size_t nr, bool out);

#endif

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
};

bool vector_any_managed(const struct iovec *iov, size_t nr);
/* Is @iov, or anything in it, managed? It is read as libc reads its arguments: a bad pointer is the caller's fault. */
bool vector_concerns_us(const struct iovec *iov, int nr);
/* A structure of the program's. false: it cannot be read */
bool vector_fetch(const struct vector *v, void *to, uint64_t user, size_t bytes);
/* Have the list, up to where it is valid. false: the kernel shall say what is wrong with it */
bool vector_take(struct vector *v, uint64_t user, size_t nr, bool out);

#endif

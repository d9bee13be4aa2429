/* SPDX-License-Identifier: MIT */
/*
 * Where the choices of a run come from: a seed, or bytes from outside (a fuzzer). Both give the same operations. The
 * choices of a seed can be recorded as the bytes that give them again.
 *
 * Content that is written to memory is not a choice. It comes from a stream of its own, so that all bytes choose
 * operations.
 */
#ifndef ANONMM_TEST_CHOICE_H
#define ANONMM_TEST_CHOICE_H

#include "base/base.h"

#include <stdio.h>

struct choice {
	uint64_t rng; /* of the seed */
	uint64_t content; /* of what is written */
	const uint8_t *bytes; /* NULL: from the seed */
	size_t left;
	bool ended; /* the bytes are used up: 0 from now on */
	FILE *record; /* or NULL */
};

/* splitmix64 */
static inline uint64_t next_random(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

static inline unsigned choice_from_bytes(struct choice *c, unsigned width)
{
	unsigned value = 0;

	if (c->left < width) {
		c->ended = true;
		c->left = 0;
		return 0;
	}
	for (unsigned i = 0; i < width; i++)
		value |= (unsigned)c->bytes[i] << (8 * i);
	c->bytes += width;
	c->left -= width;
	return value;
}

/* A number below @limit, which is at most 65536. */
static inline unsigned choose(struct choice *c, unsigned limit)
{
	unsigned width = limit <= 256 ? 1 : 2, value;

	if (limit <= 1)
		return 0;
	if (c->bytes)
		return choice_from_bytes(c, width) % limit;
	value = (unsigned)(next_random(&c->rng) % limit);
	if (c->record)
		for (unsigned i = 0; i < width; i++)
			putc((int)(value >> (8 * i) & 0xff), c->record);
	return value;
}

#endif

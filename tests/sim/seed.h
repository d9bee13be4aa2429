/* SPDX-License-Identifier: MIT */
/*
 * Random numbers that a seed repeats. Each user has a stream of its own: if one user draws one number more, the numbers
 * of the others stay the same.
 */
#ifndef ANONMM_SIM_SEED_H
#define ANONMM_SIM_SEED_H

#include <stdbool.h>
#include <stdint.h>

struct seed {
	uint64_t state;
};

/* splitmix64: every state is a good one, 0 too. */
static inline uint64_t seed_mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
	return x ^ (x >> 31);
}

/* Stream number @stream of @seed. */
static inline struct seed seed_stream(uint64_t seed, uint64_t stream)
{
	return (struct seed){seed_mix(seed * 0x9e3779b97f4a7c15 + stream)};
}

static inline uint64_t seed_next(struct seed *s)
{
	s->state += 0x9e3779b97f4a7c15;
	return seed_mix(s->state);
}

/* 0 .. @limit - 1. => @limit > 0 */
static inline unsigned seed_below(struct seed *s, unsigned limit)
{
	return (unsigned)((seed_next(s) >> 32) * limit >> 32);
}

/* Once in @n times; 0: never. */
static inline bool seed_once_in(struct seed *s, unsigned n)
{
	return n > 0 && seed_below(s, n) == 0;
}

#endif

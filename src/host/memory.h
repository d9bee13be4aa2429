/* SPDX-License-Identifier: MIT */
/*
 * What the host and the control groups say of memory: how much this process could have, how much is left of it, and where
 * pressure is told.
 *
 * A group's limit binds all groups below it, so the whole way up counts. In a container the path in
 * /proc/self/cgroup may be the host's: what is not there is left out, and the root of what is mounted is
 * looked at anyway.
 *
 * Nothing here allocates: it is read by threads that must not touch the program's memory.
 */
#ifndef ANONMM_HOSTMEM_H
#define ANONMM_HOSTMEM_H

#include "base/base.h"

#define HOSTMEM_PATH 256

struct hostmem {
	uint64_t physical; /* bytes that the host has */
	uint64_t available; /* that it could give now without swapping: MemAvailable */
	uint64_t limit; /* the smallest of the groups' limits; UINT64_MAX: none */
	uint64_t
		limit_used; /* in use in the group with that limit; file pages, which it can drop, left out */
	int version; /* of the control groups that set it: 1, 2; 0: there is no limit */
	char group[HOSTMEM_PATH]; /* the directory of that group; "" if none */
	int64_t slack; /* how much more everybody who shares the tightest limit can take; negative: that much too much */
	char pressure[HOSTMEM_PATH]; /* the group's file of memory pressure (v2); "" if none */
};

/* @root: "" or, for tests, a directory that stands for "/". What cannot be read is 0, or no limit. */
void hostmem_read(const char *root, struct hostmem *mem);

/* The smaller of physical memory and the limit. */
uint64_t hostmem_whole(const struct hostmem *mem);

#define HOSTMEM_PSI "/proc/pressure/memory"

/* The time, in us, that some task has been stalled for memory so far; -errno: the file does not tell. */
int64_t hostmem_stalled_us(const char *path);

#endif

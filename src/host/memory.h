/* SPDX-License-Identifier: MIT */
/*
 * What the host and the control groups say of memory: how much this process could have, how much of it is left, and
 * which file tells of memory pressure.
 *
 * A group's limit binds all groups below it, so the group of this process and all groups above it count. In a container
 * /proc/self/cgroup may give the path as the host sees it. Groups whose directories do not exist here are left out. The
 * root of the mounted hierarchy is always looked at.
 *
 * Nothing here allocates: the callers are threads that must not touch the program's memory.
 */
#ifndef ANONMM_HOSTMEM_H
#define ANONMM_HOSTMEM_H

#include "base/base.h"

#define HOSTMEM_PATH 256

struct hostmem {
	uint64_t physical; /* bytes of memory that the host has */
	uint64_t available; /* bytes that the host could give now without swapping: MemAvailable */
	uint64_t limit; /* the smallest limit of any group, in bytes; UINT64_MAX: no group has a limit */
	/* bytes in use in the group with that limit, without the file pages that it could drop */
	uint64_t limit_used;
	int version; /* the version of control groups, 1 or 2, that set the limit; 0: there is no limit */
	char group[HOSTMEM_PATH]; /* the directory of the group with the limit; "": there is no limit */
	/*
	 * Bytes that can still be taken before the host's memory or a group's limit is used up: the smallest of these
	 * numbers. Negative: so many bytes too much are in use.
	 */
	int64_t slack;
	/* The memory.pressure file of the lowest group of version 2 that has one; "": there is none */
	char pressure[HOSTMEM_PATH];
};

/*
 * Fill @mem. @root: "", or in tests a directory that stands for "/". A number that cannot be read is 0; a limit that
 * cannot be read is none.
 */
void hostmem_read(const char *root, struct hostmem *mem);

/* Bytes: the smaller of physical memory and the limit. */
uint64_t hostmem_whole(const struct hostmem *mem);

#define HOSTMEM_PSI "/proc/pressure/memory"

/*
 * The time in us, since the host or the group began, that some task was stalled for memory; from the file @path, which
 * is HOSTMEM_PSI or hostmem.pressure. -errno: the file cannot be read; -ENODATA: it does not have the number.
 */
int64_t hostmem_stalled_us(const char *path);

#endif

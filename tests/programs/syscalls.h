/* SPDX-License-Identifier: MIT */
/*
 * For tests of system calls: memory in a given state, and a message about what is wrong. The tests are ordinary
 * programs: they know nothing of anonmm.
 */
#ifndef SYSCALLS_H
#define SYSCALLS_H

#include "memory.h"

#include <errno.h>
#include <stdint.h>

enum state { UNTOUCHED, RESIDENT, AGED, EVICTED, NR_STATES };
static const char *const state_names[] = {"untouched", "resident", "aged", "evicted"};
extern enum state state;
extern int failed;
extern char dir[64];

#define CHECK(what)                                                                                          \
	do {                                                                                                 \
		errno = 0;                                                                                   \
		if (!(what)) {                                                                               \
			printf("line %d, %s: not %s (%s)\n", __LINE__, state_names[state], #what,            \
				strerror(errno));                                                            \
			failed = 1;                                                                          \
		}                                                                                            \
	} while (0)

/* ---- Memory in a state ------------------------------------------------------------------------- */

static inline void put_into_state(void *p, size_t len)
{
	char *start = (char *)((uintptr_t)p & ~(PAGE - 1));
	size_t bytes = ((uintptr_t)p + len + PAGE - 1 & ~(PAGE - 1)) - (uintptr_t)start;

	if (state == AGED)
		madvise(start, bytes, MADV_COLD);
	else if (state != RESIDENT)
		madvise(start, bytes, MADV_PAGEOUT);
}

/* Memory across a page's end, where it has two bytes or more; never given back: there is enough. */
static inline void *room(size_t len)
{
	size_t bytes = (len + 3 * PAGE - 1) & ~(PAGE - 1);
	char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t before = len / 2 > PAGE ? PAGE : len / 2 & ~7UL;

	if (p == MAP_FAILED)
		exit(3);
	return p + PAGE - before;
}

/* For the kernel to write to. Other than zeros where that can be. */
static inline void *out(size_t len)
{
	void *p = room(len);

	if (state != UNTOUCHED) {
		memset(p, 0xee, len);
		put_into_state(p, len);
	}
	return p;
}

/* For the kernel to read. */
static inline void *in(const void *content, size_t len)
{
	void *p = memcpy(room(len), content, len);

	put_into_state(p, len);
	return p;
}

static inline char *text(const char *content)
{
	return in(content, strlen(content) + 1);
}

static inline char *name_in_dir(const char *name)
{
	char path[128];
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return text(path);
}

/* ---- syscalls_data.c: calls that anonmm interposes to make them cheaper --------------------------- */

void test_buffers(void);
void test_wrong_buffers(void);
void test_changed_memory(void);
void test_datagrams(void);
void test_events(void);
void test_places(void);
void test_cancelled(void);
void test_fortified(void);

#endif

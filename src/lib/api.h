/* SPDX-License-Identifier: MIT */
/*
 * The library's inside: what src/lib/anonmm.c (open, close), src/lib/api_uffd.c (real memory), src/lib/api_soft.c (spaces and typed
 * access), src/lib/api_fork.c and src/lib/api_file.c share. The public manual is include/anonmm.h.
 *
 * A call on a space follows one pattern: the space is locked, the core's function is called until
 * it no longer says -EAGAIN, the space is unlocked:
 *
 *      call_begin(&call, mm, space);
 *      while (call_again(&call, space_munmap(space, addr, length, &call.wait)))
 *              ;
 *      return call_end(&call);
 *
 * On the uffd machine all signals are blocked meanwhile: a handler of the program's that touched
 * managed memory would wait for the space that its own thread has locked.
 */
#ifndef ANONMM_API_H
#define ANONMM_API_H

#include "anonmm.h"
#include "machine/soft/soft.h"
#include "machine/uffd/uffd.h"
#include "mm/pager.h"

#include <pthread.h>
#include <signal.h>
#include <sys/queue.h>

struct anonmm_space {
	struct anonmm *mm;
	struct space *space;
	struct soft_space *soft; /* NULL: a snapshot of real memory */
	uint64_t from; /* snapshot: where the range is that it shows */
	LIST_ENTRY(anonmm_space) link;
};

/* Locks: [I] set once  [L] spaces_lock */
struct anonmm {
	enum anonmm_machine kind; /* [I] */
	struct machine *machine; /* [I] */
	struct pager *pager; /* [I] */
	struct space *space; /* [I] uffd: the one space; soft: NULL */
	struct governor *governor; /* [I] NULL: the limit is what it was set to */
	uint64_t memory_max; /* [I] */
	uint64_t address_space; /* [I] soft: the bytes of each space */
	pthread_mutex_t spaces_lock;
	LIST_HEAD(, anonmm_space) spaces; /* [L] all that are open, but for the one above */
};

struct api_call {
	struct anonmm *mm;
	struct space *space;
	struct wait wait;
	int result;
	uint64_t mask; /* what the thread's was */
};

/* Lock @space (NULL: the call is on the whole pager), with signals blocked where that matters. => call_end() follows */
void call_begin(struct api_call *call, struct anonmm *mm, struct space *space);

/* Note @result. True: it was -EAGAIN and the wait is over; make the call again. */
bool call_again(struct api_call *call, int result);

/* Unlock the space and give the result. */
int call_end(struct api_call *call);

/* @space is open: anonmm_close() will close it. */
void space_list_add(struct anonmm_space *space);

/* api_fork.c: the snapshot goes, and its range with it. */
void snapshot_destroy(struct anonmm_space *space);

/* Everything in @space goes, and the space with it. => nobody uses it */
void space_destroy(struct anonmm *mm, struct space *space);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The inside of the library: what the files of src/lib share. The public manual is include/anonmm.h.
 *
 * A call on a space follows one pattern. The space is locked, the core's function is called until it does not return
 * -EAGAIN, and the space is unlocked:
 *
 *      call_begin(&call, mm, space);
 *      while (call_again(&call, space_munmap(space, addr, length, &call.wait)))
 *              ;
 *      return call_end(&call);
 *
 * On the uffd machine all signals are blocked during the call: a handler of the program that touches managed memory
 * would wait for the space that its own thread has locked.
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
	uint64_t from; /* snapshot: first address of the range that it is a copy of */
	LIST_ENTRY(anonmm_space) link;
};

/* Locks: [I] set once  [L] spaces_lock */
struct anonmm {
	enum anonmm_machine kind; /* [I] */
	struct machine *machine; /* [I] */
	struct pager *pager; /* [I] */
	struct space *space; /* [I] uffd: the one space; soft: NULL */
	struct governor *governor; /* [I] NULL: no ANONMM_MEMORY_AUTO */
	uint64_t memory_max; /* [I] bytes */
	uint64_t address_space; /* [I] soft: bytes of each space */
	pthread_mutex_t spaces_lock;
	LIST_HEAD(, anonmm_space) spaces; /* [L] open spaces and snapshots, without the one space of uffd */
};

struct api_call {
	struct anonmm *mm;
	struct space *space;
	struct wait wait;
	int result;
	uint64_t mask; /* uffd: the thread's signal mask before the call */
};

/* Block signals (uffd) and lock @space. NULL: the call is on the whole pager. => call_end() follows */
void call_begin(struct api_call *call, struct anonmm *mm, struct space *space);

/* Store @result. If it is -EAGAIN, wait. true: make the call again. */
bool call_again(struct api_call *call, int result);

/* Unlock the space and restore signals. Returns the result that was stored last. */
int call_end(struct api_call *call);

/* @space is open: from now on anonmm_close() closes it. */
void space_list_add(struct anonmm_space *space);

/* api_fork.c: free the snapshot's space and its range of addresses. */
void snapshot_destroy(struct anonmm_space *space);

/* Unmap everything in @space and free it. => no other thread uses it */
void space_destroy(struct anonmm *mm, struct space *space);

#endif

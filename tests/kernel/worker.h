/* SPDX-License-Identifier: MIT */
/*
 * A process of a script on Linux: it does what it is told through its socket, and nothing else. All sockets are made
 * before the first process, so that a fork's child has its own socket already.
 */
#ifndef ANONMM_KERNEL_WORKER_H
#define ANONMM_KERNEL_WORKER_H

#include "script.h"

enum task {
	TASK_MAP,
	TASK_ACCESS,
	TASK_FORK,
	TASK_EXIT,
	TASK_MADVISE,
	TASK_LOCK,
	TASK_UNLOCK,
	TASK_MUNMAP,
	TASK_PROTECT,
	TASK_MOVE,
	TASK_MINCORE
};

struct request {
	enum task task;
	uint64_t addr, len;
	uint64_t value; /* to be written; where to move to; the child's number */
	int arg; /* advice, rights, region_kind, is it a write */
	char file[40]; /* what to map */
};

struct reply {
	int error; /* 0 or -errno */
	int signal;
	uint64_t value; /* read; the child's pid; resident */
};

/* Never returns. */
void worker_main(unsigned number, const int sockets[MAX_PROCS]) __attribute__((noreturn));

#endif

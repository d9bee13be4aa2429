/* SPDX-License-Identifier: MIT */
/*
 * One of the two worlds in which a script is run: our engine's soft machine, or the kernel that runs this test.
 *
 * A side does one operation at a time, waits until what it started has ended (writeback), and tells the state
 * of a page. It has one world at a time: begin() makes it empty, with process 0; end() takes it away.
 */
#ifndef ANONMM_KERNEL_SIDE_H
#define ANONMM_KERNEL_SIDE_H

#include "state.h"

/* What an operation answered. */
struct outcome {
	int error; /* 0 or -errno; of the first page that failed */
	int signal; /* 0, SIGSEGV, SIGBUS */
	uint64_t value; /* what a read saw */
};

struct side {
	const char *name;
	bool (*begin)(void);
	void (*end)(void);
	/* @shape: as it is before the operation. error -EIO with a message on stderr: this side itself is broken */
	struct outcome (*run)(const struct op *op, const struct shape *shape);
	/* Wait until nothing is in flight, then tell. @before: the last state that look() made */
	void (*look)(const struct shape *shape, struct world_state *now, const struct world_state *before);
	/* NULL, or what is wrong in itself. */
	const char *(*check)(void);
};

extern const struct side engine_side, linux_side;

/* What only Linux needs. NULL, or why this machine cannot judge; to be undone by linux_close(). */
const char *linux_open(void);
void linux_close(void);
/* NULL, or why KSM cannot be judged here. */
const char *linux_ksm_missing(void);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * A thread of ours in a program that knows nothing of it.
 *
 *   signals       all are blocked: no handler of the program's runs on it. Exception: the one by which the C library
 *                 has every thread change its user
 *   descriptors   it has a table of its own with nothing in it but what it keeps: whatever the program closes, the
 *                 thread can go on; whatever the program waits to see closed (the end of a pipe), it does not hold open
 *   users         it becomes whom the program becomes
 *
 * About users. The kernel keeps users, groups and capabilities by thread. The C library has all threads make the call
 * that one of them asks for, and ends the process when one succeeds and another does not. A program with one thread
 * may rely on what it set for that thread alone (to keep its capabilities over setuid()), and then ours would fail.
 * So such a program makes its call itself, and our threads follow as far as they may: host_threads_follow(). What a
 * thread of ours may not do it need not: it has given up more than that already.
 *
 * A thread of ours looks at this in its loop, by host_thread_serve(); its wake() has it look soon.
 */
#ifndef ANONMM_HOST_THREAD_H
#define ANONMM_HOST_THREAD_H

#include "base/base.h"

#include <pthread.h>

/* Locks: [I] set before host_thread_start()  [a] atomic  [l] the list's lock. Zero all but [I]. */
struct host_thread {
	const char *name; /* [I] at most 15 bytes: what /proc and ps call it */
	void *(*main)(void *); /* [I] */
	void *arg; /* [I] of main and wake */
	void *stack; /* [I] NULL: the C library makes one */
	size_t stack_bytes; /* [I] */
	const int *keep; /* [I] descriptors that it keeps; must stand until it has settled */
	unsigned nr_keep; /* [I] */
	void (*wake)(
		void *arg); /* [I] have it call host_thread_serve() soon; called again and again until it did */
	pthread_t id; /* [I] by host_thread_start() */
	_Atomic(int) tid; /* [a] the kernel's number; 0: not known yet */
	_Atomic(uint32_t) settled; /* [a] 1: its descriptors are its own */
	_Atomic(uint32_t) followed; /* [a] how many of the program's changes it has made */
	_Atomic(bool) ended; /* [a] it makes no change any more */
	struct host_thread *next; /* [l] */
};

/* What creates threads: pthread_create. For whoever stands in front of it. */
extern int (*host_pthread_create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

/* 0 or -errno. => @t stays where it is until host_thread_join(); in a fork's child it is free again */
int host_thread_start(struct host_thread *t);

/* Sleep until @t has its own descriptors: until then the program could close what @t is about to keep. */
void host_thread_wait_settled(struct host_thread *t);

/* Sleep until @t has ended. => started by this process */
void host_thread_join(struct host_thread *t);

/* Make the change that the program has made, if there is one that @t has not made. => on @t */
void host_thread_serve(struct host_thread *t);

/* Have @t's system call return, if it is one that waits and that a signal interrupts. => @t has not been joined */
void host_thread_interrupt(struct host_thread *t);

/*
 * The calling thread has changed its user, groups or capabilities by the system call @call (number, arguments; what
 * they point to is not managed). Returns when all our threads of this process have made the same call.
 * => no lock of ours held; not a vfork's child
 */
void host_threads_follow(const long call[4]);

/* Threads of ours in this process. */
unsigned host_threads_nr(void);

#endif

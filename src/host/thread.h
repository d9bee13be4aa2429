/* SPDX-License-Identifier: MIT */
/*
 * A thread of ours in a program that knows nothing of it.
 *
 *   signals       All are blocked, so no handler of the program's runs on the thread. Exception: the signal by which
 *                 the C library has every thread change its user (HOST_SIGNAL_SETXID).
 *   descriptors   The thread has a table of its own, with nothing in it but the descriptors that it keeps. The program
 *                 cannot close those. And the thread does not hold open what the program wants to see closed, such as
 *                 the last writing end of a pipe.
 *   users         When the program becomes another user, the thread becomes that user, too.
 *
 * About users. The kernel keeps users, groups and capabilities by thread. In setuid() and its family the C library has
 * all threads make the same call, and ends the process when one thread succeeds and another does not. That could happen
 * in a program with one thread: that thread may have set something for itself alone, as to keep its capabilities over
 * setuid(), and ours have not. So in such a program only that thread makes the system call, and then calls
 * host_threads_follow(): our threads make the same call. If one of ours may not make it, no harm is done, because that
 * thread has fewer rights already.
 *
 * A thread of ours calls host_thread_serve() in its loop. Its wake() makes it do so soon.
 */
#ifndef ANONMM_HOST_THREAD_H
#define ANONMM_HOST_THREAD_H

#include "base/base.h"

#include <pthread.h>

/* Locks: [I] set before host_thread_start(); all other fields are 0 then  [a] atomic  [l] the list's lock */
struct host_thread {
	const char *name; /* [I] at most 15 bytes; /proc and ps show it */
	void *(*main)(void *); /* [I] */
	void *arg; /* [I] the argument of main and wake */
	void *stack; /* [I] NULL: the C library makes one */
	size_t stack_bytes; /* [I] */
	/* [I] descriptors that the thread keeps; the array must exist until the thread has settled */
	const int *keep;
	unsigned nr_keep; /* [I] */
	/* [I] makes the thread call host_thread_serve() soon. Called again and again until the thread has done so */
	void (*wake)(void *arg);
	pthread_t id; /* set by host_thread_start() */
	_Atomic(int) tid; /* [a] the kernel's number; 0: not known yet */
	_Atomic(uint32_t) settled; /* [a] 1: the thread has its own descriptor table, or could not get one */
	/* [a] the number of the program's changes up to which this thread has followed */
	_Atomic(uint32_t) followed;
	_Atomic(bool) ended; /* [a] main has returned: the thread makes no change any more */
	struct host_thread *next; /* [l] */
};

/* The function that creates threads: pthread_create(). A library that replaces that one sets the real one here. */
extern int (*host_pthread_create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

/*
 * Start @t. 0 or -errno. *@t must stay where it is until host_thread_join(). In a fork's child, where the thread does
 * not exist, *@t may be used anew.
 */
int host_thread_start(struct host_thread *t);

/* Sleep until @t has settled. Until then the program could close descriptors that @t is about to keep. */
void host_thread_wait_settled(struct host_thread *t);

/* Sleep until @t has ended. => this process started @t */
void host_thread_join(struct host_thread *t);

/* Make the program's last change of user, groups or capabilities, if @t has not made it. => called by @t */
void host_thread_serve(struct host_thread *t);

/* If @t sleeps in a system call that signals interrupt, make that call return. => @t has not been joined */
void host_thread_interrupt(struct host_thread *t);

/*
 * The calling thread has changed its user, groups or capabilities by the system call @call: its number and three
 * arguments. What they point to is not managed memory. Returns when all our threads of this process have made the same
 * call.
 * => no lock of ours held; not called in a vfork's child
 */
void host_threads_follow(const long call[4]);

/* How many threads of ours run in this process. */
unsigned host_threads_nr(void);

#endif

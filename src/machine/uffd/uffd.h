/* SPDX-License-Identifier: MIT */
/*
 * The uffd machine: real memory of this process. See machine.h for what it promises to the
 * core; this is what it offers to the library and to the preload library.
 */
#ifndef ANONMM_UFFD_H
#define ANONMM_UFFD_H

#include "contract/machine.h"
#include "anonmm.h"
#include "contract/swapdev.h"
#include "machine/real/real.h"

#include <pthread.h>
#include <signal.h>

struct uffd_config {
	uint64_t base; /* where the managed range shall lie; 0: anywhere */
	uint64_t bytes; /* its size */
	uint32_t nr_frames;
	enum anonmm_faults faults;
	bool copy; /* do without UFFDIO_MOVE, even where the kernel has it */
};

/*
 * Reserve the managed range and the pool, open the userfaultfd. -EPERM, -ENOSYS, -ENOMEM, -EINVAL with words in @why:
 * what was asked, what was found, what to do. No thread yet.
 */
int uffd_machine_open(const struct uffd_config *config, struct machine **out, char *why, size_t why_len);

/* What @asked comes to where nobody guards system calls (src/run/faults.h: where somebody does). *@why (may be NULL): in words. */
enum anonmm_faults uffd_faults_choose(enum anonmm_faults asked, const char **why);

/* What the kernel says when it is asked. Errors are 0 or -errno. */
struct uffd_probe {
	int kernel_faults; /* a userfaultfd that gets the faults of system calls too: thread mode needs it */
	int user_faults; /* one that gets those of user mode only: enough for signal mode */
	bool by_device; /* the first of these came from /dev/userfaultfd */
	uint64_t features; /* UFFD_FEATURE_* of the better one */
	int move; /* one page was moved, and came back */
	int copy; /* one page was copied in, and was found write-protected when asked to be */
};

void uffd_probe(struct uffd_probe *probe);

/*
 * Open a userfaultfd. Returns the descriptor, or -errno. @kernel_faults: it must get the faults of system calls, too.
 * *@by_device (may be NULL): it came from the device node.
 */
int uffd_fd_ask(bool kernel_faults, bool *by_device);

/* The managed range, and the mode that AUTO became. */
uint64_t uffd_machine_base(struct machine *m);
uint64_t uffd_machine_bytes(struct machine *m);
enum anonmm_faults uffd_machine_faults(struct machine *m);
bool uffd_machine_copies(struct machine *m);

/*
 * Let other processes ask for something. From now on kswapd sleeps on the word @kick, which may lie in memory that other
 * processes map. A process that sets the word to 1 and wakes its sleeper (a futex that is not private) makes kswapd call
 * @serve(@ctx) soon. kswapd calls @serve at other times, too. => before uffd_machine_start(); the word stays at its address,
 * also in a fork's child
 */
void uffd_machine_serve(struct machine *m, _Atomic(uint32_t) *kick, void (*serve)(void *), void *ctx);

/*
 * Let the limit be raised in place of reclaim. @more(false) is called before kswapd's work is done because frames are few; it
 * returns true if it has raised the limit. @more(true) is called when a fault found no frame at all; it returns true if the
 * fault may be tried again, and may have slept for some milliseconds. In signal mode threads of the program call @more, with all
 * signals blocked; in thread mode a thread of ours does. => before uffd_machine_start()
 */
void uffd_machine_ask(struct machine *m, bool (*more)(bool urgent));

/*
 * Start kswapd, and in thread mode the pager thread. => m->pager set, its swap devices added, @space is the one
 * space; nothing that the C library allocates for a thread lies in managed memory. 0 or -errno.
 */
int uffd_machine_start(struct machine *m, struct space *space);

/* End the threads: nobody serves faults any more. => no space is left. To be called before pager_close(). */
void uffd_machine_stop(struct machine *m);

/* Undo the mappings, and end the threads if that is still to be done. => no space is left. */
void uffd_machine_close(struct machine *m);

/* ---- For the preload library --------------------------------------------------------- */

/*
 * fork. prepare: => all spaces locked, pager frozen; makes the ranges inheritable, and takes the pager lock, so that
 * the child inherits a core at rest: between prepare and parent or child_begin the forking thread calls nothing of
 * the core and touches no managed memory. When it fails nothing has changed and no other of these is called.
 * parent: after the fork (also one that failed), in the parent.
 * child_begin: first in the child; the core may be called after it, managed memory not touched.
 * child: new threads are started and the range is registered anew; 0 or -errno, after which the child must not
 * touch managed memory.
 */
int uffd_fork_prepare(struct machine *m);
void uffd_fork_parent(struct machine *m);
void uffd_fork_child_begin(struct machine *m);
int uffd_fork_child(struct machine *m);

/*
 * The machine's threads keep the descriptors of @dev, and uffd_owns_fd() knows them. => before uffd_machine_start(), or before
 * uffd_fork_child() for a device of the child's own. Without it the threads keep whatever could be a device's.
 */
void uffd_keep_device(struct machine *m, struct swapdev *dev);
/* It has been closed: threads that are started from now on keep no descriptors of it. */
void uffd_forget_device(struct machine *m, const struct swapdev *dev);

/*
 * A foreign mapping that lay in the managed range is gone, or goes now: its addresses belong to the reservation again.
 * => space locked, [start, end) is a hole of the space. 0 or -errno.
 */
int uffd_reserve_again(struct machine *m, uint64_t start, uint64_t end);

/* Whether descriptor @fd of the calling thread's table is ours, so that close() and its like leave it alone. */
bool uffd_owns_fd(struct machine *m, int fd);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The uffd machine: real memory of this process. contract/machine.h says what it promises to the core. This header
 * says what it offers to the library and to the preload library.
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
	uint64_t base; /* the address where the managed range begins; 0: the host chooses */
	uint64_t bytes; /* the size of the managed range */
	uint32_t nr_frames;
	enum anonmm_faults faults;
	bool copy; /* do without UFFDIO_MOVE, even where the kernel has it */
};

/*
 * Make a machine: reserve the managed range and the pool, and open the userfaultfd. No thread is started.
 * => 0: *@out is the machine
 * => -EPERM, -ENOSYS, -ENOMEM, -EMFILE, -EINVAL, or what else the host answers: nothing is left. @why says what was
 *    asked, what was found, what to do
 */
int uffd_machine_open(const struct uffd_config *config, struct machine **out, char *why, size_t why_len);

/*
 * The mode that @asked becomes in a program whose system calls nobody guards. For a program whose system calls are
 * guarded, src/run/faults.h chooses. *@why (@why may be NULL): the reason in words, a constant text.
 */
enum anonmm_faults uffd_faults_choose(enum anonmm_faults asked, const char **why);

/* What the kernel says when it is asked. Each int is 0, or the -errno of the attempt. */
struct uffd_probe {
	int kernel_faults; /* open a userfaultfd that gets the faults of system calls, too: thread mode needs it */
	int user_faults; /* open a userfaultfd that gets the faults of user mode only: enough for signal mode */
	bool by_device; /* the userfaultfd of kernel_faults came from /dev/userfaultfd */
	uint64_t features; /* UFFD_FEATURE_* of the userfaultfd that gets more faults */
	int move; /* move a page with UFFDIO_MOVE, and back */
	int copy; /* copy a page in with UFFDIO_COPY, then write-protect it */
};

void uffd_probe(struct uffd_probe *probe);

/*
 * Open a userfaultfd. Returns the descriptor, or -errno. @kernel_faults: it must get the faults of system calls, too.
 * *@by_device (@by_device may be NULL): the descriptor came from /dev/userfaultfd.
 */
int uffd_fd_ask(bool kernel_faults, bool *by_device);

/* The managed range, and the mode that AUTO became. */
uint64_t uffd_machine_base(struct machine *m);
uint64_t uffd_machine_bytes(struct machine *m);
enum anonmm_faults uffd_machine_faults(struct machine *m);
/* Pages are copied to their addresses and back, because UFFDIO_MOVE is not used. */
bool uffd_machine_copies(struct machine *m);

/*
 * Let other processes ask for something. From now on kswapd sleeps on the word @kick, which may lie in memory that
 * other processes map. A process that sets the word to 1 and wakes its sleeper (a futex that is not private) makes
 * kswapd call @serve(@ctx) soon. kswapd calls @serve at other times, too.
 * => before uffd_machine_start(); the word stays at its address, also in a fork's child
 */
void uffd_machine_serve(struct machine *m, _Atomic(uint32_t) *kick, void (*serve)(void *), void *ctx);

/*
 * Let the limit be raised in place of reclaim. In signal mode threads of the program call @more, with all signals
 * blocked; in thread mode a thread of ours does.
 * @more(false): called before kswapd's work is done because frames are few. true: the limit was raised.
 * @more(true): called when a fault found no frame at all, and may sleep for some milliseconds. true: the fault may be
 * tried again.
 * => before uffd_machine_start()
 */
void uffd_machine_ask(struct machine *m, bool (*more)(bool urgent));

/*
 * Start kswapd, and in thread mode the pager thread. 0; or -errno: no thread runs.
 * => m->pager set, its swap devices added, @space is the one space; nothing that the C library allocates for a thread
 *    lies in managed memory
 */
int uffd_machine_start(struct machine *m, struct space *space);

/* End the threads: nobody serves faults any more. => no space is left, pager_close() not called yet */
void uffd_machine_stop(struct machine *m);

/* Unmap everything, and free the machine. Ends the threads if they still run. => no space is left */
void uffd_machine_close(struct machine *m);

/* ---- For the preload library --------------------------------------------------------- */

/*
 * fork, in four calls by the thread that forks.
 *
 * prepare      makes the managed range and the pool inheritable, and takes the pager lock. So the child inherits a core
 *              at rest. From here to parent or child_begin the thread calls nothing of the core and touches no managed
 *              memory. => all spaces locked, pager frozen. 0; or -errno: nothing has changed, and none of the other
 *              three is called
 * parent       in the parent, after the fork, also after a fork that failed. Drops the pager lock
 * child_begin  the first call in the child. After it the core may be called; managed memory must not be touched yet
 * child        opens a userfaultfd for the child, registers the range, and starts new threads. 0; or -errno: the child
 *              must not touch managed memory any more
 */
int uffd_fork_prepare(struct machine *m);
void uffd_fork_parent(struct machine *m);
void uffd_fork_child_begin(struct machine *m);
int uffd_fork_child(struct machine *m);

/*
 * The machine's threads keep the descriptors of @dev, and uffd_owns_fd() knows them. If no device is named, the threads
 * keep every descriptor that could be a device's.
 * => before uffd_machine_start(), or before uffd_fork_child() for a device of the child's own
 */
void uffd_keep_device(struct machine *m, struct swapdev *dev);
/* @dev has been closed: threads that are started from now on keep no descriptors of it. */
void uffd_forget_device(struct machine *m, const struct swapdev *dev);

/*
 * A foreign mapping that lay in the managed range is gone, or goes with this call. Its addresses [start, end) belong to
 * the reservation again. 0 or -errno. => space locked, [start, end) is a hole of the space
 */
int uffd_reserve_again(struct machine *m, uint64_t start, uint64_t end);

/* Is descriptor @fd of the calling thread's table ours? close() and calls like it must leave such a one alone. */
bool uffd_owns_fd(struct machine *m, int fd);

#endif

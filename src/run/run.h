/* SPDX-License-Identifier: MIT */
/*
 * The preload library: an unmodified program's private anonymous memory, managed.
 *
 * One pager, one machine and one space per process, made by a constructor that runs before
 * every other (preload.c). The rest of the library stands in front of libc:
 *
 *      malloc.c, extents.c   malloc on managed extents
 *      mmap.c                the mmap family
 *      fork.c                fork: both processes go on with the same memory
 *      exec.c                exec and spawn: the configuration travels on
 *      shell.c               system and popen in signal mode
 *      threads.c, helpers.c  pthread_create, threads of libc's own, affinity
 *      signals.c             SIGBUS and SIGSYS stay ours in signal mode
 *      core*.c               core dumps hold what is in swap
 *      guard*.c              signal mode: system calls on managed buffers
 *      status.c              what others see of us while we run, and may ask
 *      fds.c                 our descriptors stay open
 *      user.c                memory that a program names, which may be anything
 *      ledger.c, share*.c    one limit for all processes of a run
 *
 * Rules for all code in here:
 *
 *  - While the space lock or the pager lock is held, managed memory is not touched: the fault
 *    would wait for us. call.c sees to it for stacks; arguments are copied before, results after.
 *  - Signals are blocked meanwhile: a handler of the program's could touch managed memory.
 *  - Calls into the system that are interposed here are made raw (raw.h) or by REAL().
 */
#ifndef ANONMM_RUN_H
#define ANONMM_RUN_H

#include "base/base.h"
#include "mm/pager.h"
#include "machine/uffd/uffd.h"
#include "run/tree/ledger.h"
#include "run/tree/record.h"
#include "lib/governor.h"

#include <dlfcn.h>
#include <signal.h>
#include <spawn.h>
#include <sys/types.h>

/* What this library offers to the program; everything else is hidden. */
#define EXPORT __attribute__((visibility("default")))

/* Thread-local without a call, and without an allocation at first use. */
#define THREAD_LOCAL __thread __attribute__((tls_model("initial-exec")))

/*
 * libc's own function of the name that we interpose. All are looked up by our constructor: dlsym() takes the dynamic linker's lock,
 * which a crash handler, a fork's child or vfork's child may wait for in vain. A use before that looks up by itself.
 */
#define REAL(name)                                                                                           \
	({                                                                                                   \
		static struct real real_ __attribute__((section("anonmm_real"), used)) = {#name, NULL};      \
		void *found_ = atomic_load_explicit(&real_.symbol, memory_order_relaxed);                    \
		if (unlikely(!found_)) {                                                                     \
			found_ = run_symbol(#name);                                                          \
			atomic_store_explicit(&real_.symbol, found_, memory_order_relaxed);                  \
		}                                                                                            \
		(__typeof__(&name))found_;                                                                   \
	})

/* One use of REAL(). The linker gathers them. `used`: else clang would split what only we know to be an array's element. */
struct real {
	const char *name; /* [I] */
	_Atomic(void *) symbol; /* [a] NULL: not looked up, or libc does not have it */
};

void *run_symbol(const char *name);

/*
 * Places for devices: ours, and those of our ancestors that we still read from. A fork's child adds its own, so before each
 * fork places are made free (heritage_make_room): a line of forks may be as long as it likes.
 */
#define RUN_SWAPS 16

/* One process's managed world. Written by the constructor and by fork's child only; then read by all. */
struct run {
	bool active; /* there is managed memory; while false everything passes through to libc */
	bool signal_mode;
	bool guarded; /* signal mode, and system calls on managed memory work */
	uint64_t base, end; /* the managed range */
	struct machine *machine;
	struct pager *pager;
	struct space *space;
	uint64_t memory; /* the limit */
	uint64_t address_space; /* bytes of the managed range */
	const char *swap_uri; /* one or several, as swapdev_open_all() takes them; NULL: none */
	struct swapdev *swaps[RUN_SWAPS]; /* with holes (NULL); heritage.c knows which are ours */
	struct governor *governor; /* NULL: the limit is what it was set to */
	bool core; /* core dumps shall hold what is in swap */
	bool follows; /* the limit follows the host: there is, or will be, a governor */
	struct record *record; /* where this process counts; never NULL when active */
};

extern struct run run;

/*
 * Where the managed range lies: far from where kernels put programs, their heaps, libraries and
 * stacks, and the same in every process.
 */
#define RUN_MANAGED_BASE 0x200000000000ULL
#define RUN_MANAGED_BYTES (1024 * GIB) /* unless ANONMM_ADDRESS_SPACE says otherwise */
#define RUN_MANAGED_MOST (16 * 1024 * GIB) /* a space has no more */

static inline bool run_manages(const void *p)
{
	return (uint64_t)(uintptr_t)p - run.base < run.end - run.base;
}

/*
 * Open the swap devices and give them to the pager and the machine. @generation: how many forks ago the first process
 * was, as far as areas that can still be written to are concerned. 0 (also when there are to be none) or -errno and words.
 */
int run_add_swap(int generation, char *why, size_t why_len);

/* A line on standard error that starts with "anonmm: ". Allocates nothing. */
void run_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The same, then the process ends with 125. */
void run_die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* ---- call.c ------------------------------------------------------------------------------- */

/* Work on the managed space: arguments in, result out. It is copied, so it must hold no pointer into itself. */
struct call {
	long (*work)(struct call *);
	bool space_locked; /* set by call_run_locked() */
	uint64_t addr, len;
	uint64_t other_addr, other_len;
	int prot, flags, fd;
	int64_t offset;
	void *data;
	long result;
};

/*
 * Run call->work(call) with all signals blocked, on a stack that is not managed. Returns and stores its
 * result. errno is kept. The argument may lie in managed memory.
 */
long call_run(struct call *call);

/* As call_run(), with the space locked. */
long call_run_locked(struct call *call);

void call_space_lock(void);
void call_space_unlock(void);

/* Try @expression, which says -EAGAIN and why in the variable wait, until it says something else. */
#define retry(expression)                                                                                    \
	({                                                                                                   \
		struct wait wait;                                                                            \
		int error_;                                                                                  \
		while ((error_ = (expression)) == -EAGAIN)                                                   \
			run.machine->ops->wait(run.machine, &wait);                                          \
		error_;                                                                                      \
	})

/* Run work(arg) on a stack of our own if this one is managed. Signals are the caller's business. */
void call_off_managed_stack(void (*work)(void *), void *arg);

/* ---- malloc.c, extents.c ------------------------------------------------------------------ */

/* Give malloc its managed arenas. 0 or -errno. => run.space exists */
int malloc_start(void);
int extents_create_arenas(unsigned nr, unsigned *first, unsigned *libc_arena);

/* Memory of our own, never managed. NULL: none. */
void *own_alloc(size_t bytes);
void own_free(void *p);
/* A copy of what a program may overwrite: its environment is its own (setproctitle). */
char *own_text(const char *text);

/* ---- mmap.c ------------------------------------------------------------------------------- */

/* Pin what the machine or the kernel must find without a fault; 0 or -errno. Addresses outside: 0. */
int maps_pin(const void *addr, size_t len);

/* ---- fork.c ------------------------------------------------------------------------------- */

/* Have our handlers run closest to the fork itself: before anybody else registers. */
void fork_register(void);
/* End the leases of children that have gone. => space locked */
void fork_end_leases(void);
bool fork_owns_fd(int fd);

/* ---- heritage.c --------------------------------------------------------------------------- */

/*
 * In a fork's child: all devices that there are belong to its ancestors. @fd is the end of a pipe that is held until none of
 * those of the parent is of use here.
 */
void heritage_begin(int fd);
/* Leave what nothing here is on any more. Does not wait. => space locked */
void heritage_leave_empty(void);
/* Have places for what a child adds: what is left on inherited devices is taken over, from those with the least. => space locked */
void heritage_make_room(void);
bool heritage_owns_fd(int fd);
bool heritage_any(void);

/* ---- exec.c ------------------------------------------------------------------------------- */

/* Remember what to hand on to programs that this one starts. */
void exec_start(char **envp);
/* Start the shell with the environment of now. 0 or an errno value. => signal mode: nothing has to be outside of managed memory */
int exec_spawn_shell(const char *command, const posix_spawn_file_actions_t *actions,
	const posix_spawnattr_t *attr, pid_t *pid);

/* ---- shell.c ------------------------------------------------------------------------------ */

/* In a fork's child. */
void shell_fork_child(void);

/* ---- share*.c ----------------------------------------------------------------------------- */

/*
 * Take part in the run's limit, if the run has one: *@memory becomes what this process may have for now, @memory_max what it
 * may ever have. Without a ledger both stay as they are.
 */
void share_enter(uint64_t *memory, uint64_t *memory_max);
/* The share is the pager's limit from here on, and follows the ledger. 0 or -errno. => before the machine's threads start */
int share_attach(void);
int share_start(void);
/* First thing in a fork's child, and when its pager works again. */
void share_fork_child(void);
int share_fork_start(void);
/* For the process's end. */
void share_leave(void);
/* Around an exec: nothing of this memory is left when it succeeds. */
void share_exec_begin(void);
void share_exec_failed(void);
/* Have room for @bytes that are to stay in memory, if there is. Waits a moment at most. */
void share_want(uint64_t bytes);
/* Frames are few: may the limit of this process be raised? true: it was. => as uffd_machine_ask() */
bool share_more(void);

/* What others are told: the limit that binds this process, and the run's sums. */
struct share_view {
	bool shared;
	uint64_t limit, most, shares, peak;
	unsigned processes;
};
void share_view(struct share_view *view);
bool share_is_shared(void);
/* The limit of this process's pager as it was opened. */
uint64_t share_bytes(void);
/* For the governor; NULL: this process has a limit of its own. */
const struct governor_ops *share_governor_ops(void);
/* Another limit for all. 0, or -errno and words. */
int share_set_limit(uint64_t bytes, char *why, size_t why_len);

/* ---- signals.c ---------------------------------------------------------------------------- */

int signals_start(void);
/* Have @action stand behind @sig, SIGBUS or SIGSYS, whatever the program says from now on. 0 or -errno. */
int signals_take(int sig, const struct sigaction *action);
/* A signal of these two that is not ours: to the program's handler, or what it has chosen instead. */
void signals_pass_on(int sig, siginfo_t *info, void *context);

/* ---- core.c, core_stop.c -------------------------------------------------------------------- */

/* Whether a core dump of this process is likely, and is to hold everything. @asked: the value of ENV_CORE */
bool core_wanted(const char *asked);
/* How much the limit may be raised for one, given @swap_bytes of swap. => before the pager is opened */
uint64_t core_room(uint64_t memory, uint64_t swap_bytes);
/* From here on signals that end a process with a core dump pass by here. */
void core_start(void);
/* Is @sig such a signal, whose action is to be set by core_sigaction()? */
bool core_watches(int sig);
/* sigaction() for these: default is ours, and shown as default. */
int core_sigaction(int sig, const struct sigaction *action, struct sigaction *old);
/* This process is about to die of @sig, by default: all that it has must be at its address. */
void core_bring_in(int sig);
/* In thread mode a thread needs a stack on which to learn that its own has overflowed. */
void core_thread_enter(void);
void core_thread_exit(void);
/* Whether that is what @stack is. */
bool core_owns_stack(const stack_t *stack);

/* All other threads of the program stop where they are, for ever; those that cannot in @most_ms go on. Never undone. */
void core_stop_threads(unsigned most_ms);

/* ---- guard.c, see guard.h ------------------------------------------------------------------- */

/* System calls on managed memory work from here on. Other results: not here. */
int guard_start(void);
/* Find what libc has of the calls that are interposed for it. */
void guard_libc_start(void);
/* epoll_pwait(), or with no @mask epoll_wait(). */
struct epoll_event;
int guard_epoll_wait(int fd, struct epoll_event *events, int most, int timeout, const sigset_t *mask);
/* For execve: have in what the kernel will read. */
void guard_touch_text(const char *text);

/* ---- user.c ------------------------------------------------------------------------------- */

/* May @bytes from @user on be read? Any pointer may be asked about. errno is kept. */
bool user_readable(const void *user, size_t bytes);
/* Copy from or to memory of the program's. false: it may not all be accessed, and nothing was copied. */
bool user_read(void *to, const void *user, size_t bytes);
bool user_write(void *user, const void *from, size_t bytes);
/* May a string be read to its end? And a NULL-terminated array of such strings, as exec takes them? */
bool user_text(const char *text);
bool user_texts(char *const *texts);

/* ---- status.c ----------------------------------------------------------------------------- */

/* The page, and kswapd's ear on it. 0 or -ENOMEM. => run.record and run.machine exist, no thread of the machine's */
int status_start(uint64_t memory_max);
/* From now on others find it. */
void status_show(void);
/* First thing in a fork's child: it must not touch the parent's page. */
void status_fork_child(void);
void status_end(void);

/* ---- dlopen.c --------------------------------------------------------------------------------- */

/* Before any library loads others. */
void dlopen_start(void);

/* ---- touch.c ---------------------------------------------------------------------------------- */

struct status;
/* The request STATUS_TOUCH, or the next part of it. false: it is to go on later. => kswapd thread */
bool touch_step(struct status *page, uint32_t asked);

/* ---- stats.c ------------------------------------------------------------------------------ */

/* Where the run's file is: what ENV_STATS and ENV_RUN say. */
void stats_find(const char *path, const char *which);
bool stats_owns_fd(int fd);
/* The ledger of the run, mapped; NULL: there is none. */
struct ledger *stats_map_ledger(void);
/* Claim a record for this process: shared with the launcher, or a private one. NULL: no memory. */
struct record *stats_claim(void);
/* In a fork's child: the same address, another record. */
void stats_fork_child(void);
/* Write down what can only be known now: the process, or its program, ends. */
void stats_final(enum record_end end);

#endif

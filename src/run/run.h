/* SPDX-License-Identifier: MIT */
/*
 * The preload library: an unmodified program's private anonymous memory, managed.
 *
 * A process has one pager, one machine and one space. A constructor makes them before every other constructor runs
 * (preload.c). The rest of the library stands in front of libc:
 *
 *      malloc.c, extents.c   malloc on managed extents
 *      mmap.c                the mmap family
 *      fork.c                fork: both processes go on with the same memory
 *      answer.c, heritage.c  a fork that fails inside fails; devices that a child has from its ancestors
 *      exec.c                exec and spawn: the configuration travels on
 *      shell.c               system and popen in signal mode
 *      threads.c, helpers.c  pthread_create, threads of libc's own, affinity
 *      signals.c             SIGBUS and SIGSYS stay the library's in signal mode
 *      core*.c               core dumps hold what is in swap
 *      guard*.c              signal mode: system calls on managed buffers
 *      status.c              what other processes see of this one, and may ask of it
 *      fds.c                 the library's descriptors stay open
 *      user.c                memory that a program names, which may be invalid
 *      ledger.c, share*.c    one limit for all processes of a run
 *      record.c              the counters of each program of a run
 *
 * Rules for all code in here:
 *
 *  - A thread that holds the space lock or the pager lock does not touch managed memory: its fault would wait for the
 *    lock that it holds itself. call.c leaves managed stacks. Arguments are copied before, results after.
 *  - Signals are blocked while a thread holds these locks: a handler of the program could touch managed memory.
 *  - The library calls the functions that it interposes raw (raw.h) or by REAL(), never by their plain names.
 */
#ifndef ANONMM_RUN_H
#define ANONMM_RUN_H

#include "base/base.h"
#include "mm/pager.h"
#include "machine/uffd/uffd.h"
#include "run/environment.h"
#include "run/tree/ledger.h"
#include "lib/governor.h"

#include <dlfcn.h>
#include <signal.h>
#include <spawn.h>
#include <sys/types.h>

/* The program sees functions with this mark. Everything else is hidden. */
#define EXPORT __attribute__((visibility("default")))

/* Thread-local, read without a function call and without an allocation at first use. */
#define THREAD_LOCAL __thread __attribute__((tls_model("initial-exec")))

/*
 * libc's own function of the name that the library interposes. The constructor looks up all of them: dlsym() takes
 * the dynamic linker's lock, and a crash handler, a fork's child or a vfork's child may wait for that lock forever. A
 * use before the constructor looks up its own name.
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

/*
 * One use of REAL(). The linker gathers all of them into one array. `used`: clang does not know that they are
 * elements of an array, and would split them.
 */
struct real {
	const char *name; /* [I] */
	_Atomic(void *) symbol; /* [a] NULL: not looked up, or libc does not have it */
};

/* libc's function @name. The process ends with 125 where libc does not have it. */
void *run_symbol(const char *name);

/*
 * Places for devices: this process's own, and those of its ancestors that it still reads from. A fork's child adds
 * its own devices. heritage_make_room() frees places before each fork, so the number of generations has no limit.
 */
#define RUN_SWAPS 16

/* One process's managed world. Only the constructor and a fork's child write it, before other threads run. */
struct run {
	bool active; /* there is managed memory. While false, every call passes through to libc */
	bool signal_mode;
	bool guarded; /* signal mode, and system calls on managed memory work */
	uint64_t base, end; /* addresses of the managed range */
	struct machine *machine;
	struct pager *pager;
	struct space *space;
	uint64_t memory; /* bytes: the limit at the start */
	uint64_t address_space; /* bytes of the managed range */
	const char *swap_uri; /* one URI or several, as swapdev_open_all() takes them; NULL: no swap */
	struct swapdev *swaps[RUN_SWAPS]; /* NULL: a free place. heritage.c knows which are inherited */
	struct governor *governor; /* NULL: this process has no thread that follows the host's memory */
	bool core; /* core dumps shall hold what is in swap */
	bool follows; /* the limit follows the host (--memory auto) */
	struct ledger *ledger; /* of the run; NULL: there is none */
	struct record *record; /* the counters of this process; never NULL when active */
};

extern struct run run;

/*
 * Where the managed range lies: far from where kernels put programs, their heaps, libraries and stacks. It is the
 * same in every process, with one exception: in thread mode the kernel chooses another range where this one cannot be
 * had, and where a guard's filter was inherited.
 */
#define RUN_MANAGED_BASE 0x200000000000ULL
#define RUN_MANAGED_BYTES (1024 * GIB) /* unless ANONMM_ADDRESS_SPACE says otherwise */
#define RUN_MANAGED_MOST (16 * 1024 * GIB) /* a space can be no larger */

static inline bool run_manages(const void *p)
{
	return (uint64_t)(uintptr_t)p - run.base < run.end - run.base;
}

/*
 * Open the swap devices of run.swap_uri and give them to the pager and the machine. @generation: 0 for the first
 * process, 1 for a fork's child, whose devices are used before those that it inherited.
 * => 0, also where no swap was asked for; or -errno, with the reason in @why
 */
int run_add_swap(int generation, char *why, size_t why_len);

/* Write a line that starts with "anonmm: " to standard error. Allocates nothing. */
void run_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The same, then the process ends with 125. */
void run_die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* ---- call.c ------------------------------------------------------------------------------- */

/* Work on the managed space. The structure is copied, so it must hold no pointer into itself. */
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
 * Run call->work(call) with signals blocked (raw_block_signals), on a stack that is not managed. The result of the
 * work is returned, and stored in @call. errno is kept. @call may lie in managed memory. => no lock held
 */
long call_run(struct call *call);

/* As call_run(), with the space lock held during the work. */
long call_run_locked(struct call *call);

void call_space_lock(void);
void call_space_unlock(void);

/*
 * Evaluate @expression until it is not -EAGAIN. With -EAGAIN it fills the variable `wait`, and the machine waits for
 * that.
 */
#define retry(expression)                                                                                    \
	({                                                                                                   \
		struct wait wait;                                                                            \
		int error_;                                                                                  \
		while ((error_ = (expression)) == -EAGAIN)                                                   \
			run.machine->ops->wait(run.machine, &wait);                                          \
		error_;                                                                                      \
	})

/* Run work(arg). It runs on a stack of the library's if the caller's stack is managed. Signals are not blocked. */
void call_off_managed_stack(void (*work)(void *), void *arg);

/* ---- malloc.c, extents.c ------------------------------------------------------------------ */

/* Give malloc its managed arenas. 0 or -errno. => run.space exists */
int malloc_start(void);
int extents_create_arenas(unsigned nr, unsigned *first, unsigned *libc_arena);

/* Memory for the library itself, never managed. NULL: no memory. */
void *own_alloc(size_t bytes);
void own_free(void *p);
/* A copy of @text from own_alloc(). The environment needs one: a program may overwrite it (setproctitle). */
char *own_text(const char *text);

/* ---- mmap.c ------------------------------------------------------------------------------- */

/*
 * Pin memory that the machine or the kernel must access without a fault. 0, also outside the managed range; or
 * -errno.
 */
int maps_pin(const void *addr, size_t len);

/* ---- fork.c ------------------------------------------------------------------------------- */

/* Register the fork handlers. Call it before others register theirs: so they run next to the fork itself. */
void fork_register(void);
/* End the leases of children that need them no more, and close inherited devices that are empty. => space locked */
void fork_end_leases(void);
/* Is @fd an end of a lease's pipe? */
bool fork_owns_fd(int fd);

/* ---- answer.c ----------------------------------------------------------------------------- */

/* What a fork's child answers to the fork() of its parent. Each of the two frees it for itself. */
struct answer;
/* NULL: no memory. => before the fork */
struct answer *answer_new(void);
void answer_free(struct answer *answer);
/* In the child: it has all that it needs. */
void answer_ready(struct answer *answer);
/*
 * In the child: it cannot have what it needs, for -errno @error. Returns when the child is to end without a word.
 * false: nobody waits for the answer any more, and the program will see how the child ends. => all signals are blocked
 */
bool answer_failed(struct answer *answer, int error);
/*
 * In the parent: sleep until the child @pid has answered or ended. 0, or the -errno of a child that failed: it has been
 * reaped, and its SIGCHLD taken back. (In a program with several threads another one may have got either.)
 */
int answer_take(struct answer *answer, pid_t pid);

/* ---- heritage.c --------------------------------------------------------------------------- */

/*
 * In a fork's child, before it adds its own devices: all open devices are inherited now. @fd is the write end of the
 * lease's pipe. It is closed with the last device of the parent. -1: there is none.
 */
void heritage_begin(int fd);
/* Close inherited devices that hold nothing of this process any more. Does not wait. => space locked */
void heritage_leave_empty(void);
/*
 * Free the places that a child's own devices will need: swapoff empties inherited devices, those with the fewest
 * pages first. Waits. Fewer places than needed are free afterwards if the pages find no room. => space locked
 */
void heritage_make_room(void);
/* Is @fd the write end of an ancestor's lease? */
bool heritage_owns_fd(int fd);
/* Is any device inherited? Needs no lock. */
bool heritage_any(void);

/* ---- exec.c ------------------------------------------------------------------------------- */

/* Remember the settings in @envp and the path of this library, to pass them on to programs that this one starts. */
void exec_start(char **envp);
/*
 * Start the shell with the program's environment as it is now. The arguments may lie in managed memory.
 * => 0 and *@pid, or an errno value
 */
int exec_spawn_shell(const char *command, const posix_spawn_file_actions_t *actions,
	const posix_spawnattr_t *attr, pid_t *pid);

/* ---- shell.c ------------------------------------------------------------------------------ */

/* In a fork's child: no other thread is in system(). */
void shell_fork_child(void);

/* ---- share*.c ----------------------------------------------------------------------------- */

/*
 * Claim a slot of the run's ledger. *@memory becomes the first share in bytes, *@memory_max the most that the share
 * can ever be. Both stay as they are where the processes share no limit or the ledger has no free slot: the process
 * has a limit of its own. => after record_begin()
 */
void share_enter(uint64_t *memory, uint64_t *memory_max);
/* Have the machine ask for a larger share when frames are few. 0 or -ENOMEM. => before the machine's threads start */
int share_attach(void);
/* Start the thread that keeps share and limit together. 0 or -errno. => the pager is open */
int share_start(void);
/* In a fork's child: claim a slot of its own. => before anything else looks at the share */
void share_fork_child(void);
/*
 * In a fork's child: lower the limit to what the child needs, start its thread. 0 or -errno. => the pager works again
 */
int share_fork_start(void);
/* The process ends: free its slot. */
void share_leave(void);
/* Before an exec: give back the share, because this memory ends with a successful exec. The slot stays claimed. */
void share_exec_begin(void);
/* The exec has failed: take the share again. */
void share_exec_failed(void);
/* Grow the share by @bytes for memory that will be locked, as far as the run's limit allows. Sleeps 100 ms at most. */
void share_want(uint64_t bytes);
/*
 * Raise the limit of this process if free frames are few. true: it was raised. => as @more(false) of
 * uffd_machine_ask()
 */
bool share_more(void);

/* What other processes see. Without a ledger all but `shared` are 0. */
struct share_view {
	bool shared; /* the processes of the run share one limit */
	uint64_t limit, most, shares, peak; /* bytes, as in struct ledger; shares: the sum of them */
	unsigned processes;
};
void share_view(struct share_view *view);
/* Does this process share a limit with others? */
bool share_is_shared(void);
/* The limit of this process's pager in bytes. */
uint64_t share_bytes(void);
/* How the governor reads and sets the run's limit; NULL: this process has a limit of its own. */
const struct governor_ops *share_governor_ops(void);
/* Set the limit that all processes of the run share. 0, or -errno and @why; then the limit is as it was. */
int share_set_limit(uint64_t bytes, char *why, size_t why_len);

/* ---- signals.c ---------------------------------------------------------------------------- */

int signals_start(void);
/* Make @action the handler of @sig, SIGBUS or SIGSYS. The program cannot replace it from now on. 0 or -errno. */
int signals_take(int sig, const struct sigaction *action);
/*
 * A SIGBUS or SIGSYS that is not the library's: do what the program has chosen for it, or keep it if it was sent and the
 * program's handler must not run now. => the handler of @sig
 */
void signals_pass_on(int sig, siginfo_t *info, void *context);
/* Send again what is kept. => the library holds no lock in this thread; errno is kept */
void signals_send_kept(void);
/* In a fork's child: what is kept is the parent's. */
void signals_fork_child(void);

/* ---- core.c, core_stop.c -------------------------------------------------------------------- */

/* Does the host allow a core dump of this process, and shall it hold what is in swap? @asked: the value of ENV_CORE */
bool core_wanted(const char *asked);
/* Bytes by which the limit may be raised for a core dump, with @swap_bytes of swap. => before the pager is opened */
uint64_t core_room(uint64_t memory, uint64_t swap_bytes);
/* From now on a signal whose default action is a core dump comes to core.c first. */
void core_start(void);
/* Is @sig such a signal? Then core_sigaction() must set its action. */
bool core_watches(int sig);
/* As sigaction(). The handler of core.c stands in for the default action, and *@old shows it as the default. */
int core_sigaction(int sig, const struct sigaction *action, struct sigaction *old);
/* This process is about to die of the default action of @sig: stop its threads and bring in all of its memory. */
void core_bring_in(int sig);
/*
 * In thread mode: give the thread an alternate stack, so that the handler can run after the thread's stack has
 * overflowed.
 */
void core_thread_enter(void);
void core_thread_exit(void);
/* Is @stack the one from core_thread_enter()? */
bool core_owns_stack(const stack_t *stack);

/* Stop all other threads of the program for ever. A thread that does not stop within @most_ms goes on. */
void core_stop_threads(unsigned most_ms);

/* ---- guard.c, see guard.h ------------------------------------------------------------------- */

/* Make system calls on managed memory work from now on. 0, or -errno: the guard does not work on this host. */
int guard_start(void);
/* Find libc's own functions behind those that the guard interposes. */
void guard_libc_start(void);
/* epoll_pwait(). Without a @mask: epoll_wait(). */
struct epoll_event;
int guard_epoll_wait(int fd, struct epoll_event *events, int most, int timeout, const sigset_t *mask);
/* Bring in the string @text, as far as it may be read, because execve will read it. */
void guard_touch_text(const char *text);

/* ---- user.c ------------------------------------------------------------------------------- */

/* May @bytes from @user on be read? Any pointer may be asked about. errno is kept. */
bool user_readable(const void *user, size_t bytes);
/* Copy from or to memory of the program. false: not all of it may be accessed, and nothing was copied. */
bool user_read(void *to, const void *user, size_t bytes);
bool user_write(void *user, const void *from, size_t bytes);
/*
 * May the string be read to its end? May a NULL-terminated array of strings, as exec takes it, be read with all
 * strings?
 */
bool user_text(const char *text);
bool user_texts(char *const *texts);

/* ---- status.c ----------------------------------------------------------------------------- */

/*
 * Make the status page and have kswapd serve its requests. 0 or -ENOMEM. => run.record and run.machine exist; the
 * machine's threads have not been started
 */
int status_start(uint64_t memory_max);
/* From now on other processes accept the page. */
void status_show(void);
/*
 * In a fork's child: map a page of its own. 0 or -ENOMEM. => before anything kicks: the parent's page is not the
 * child's to write
 */
int status_fork_child(void);
/* The process ends: remove the file. */
void status_end(void);

/* ---- dlopen.c --------------------------------------------------------------------------------- */

/* Find libc's dlopen(). => before any library loads others */
void dlopen_start(void);

/* ---- touch.c ---------------------------------------------------------------------------------- */

struct status;
struct status_question;
/*
 * Do request number @asked, a STATUS_TOUCH, or go on with it. false: call again later. Never waits. => kswapd thread
 */
bool touch_step(struct status *page, const struct status_question *question, uint32_t asked);

/* ---- record.c ------------------------------------------------------------------------------- */

/*
 * Map the ledger of the run, if there is one of this version, and take a record for this process's program. @path,
 * @which: the values of ENV_STATS and ENV_RUN.
 */
void record_begin(const char *path, const char *which);
/* In a fork's child: take another record. => the pager lock is free, and nothing has been counted since the fork */
void record_fork_child(void);
/* Is it this process's record? A vfork's child runs in its parent's memory, and the record is the parent's. */
bool record_is_ours(void);
/* The program ends: write @end and the final counters. RECORD_RUNNING: it goes on, because its exec has failed. */
void record_end(enum record_end end);
/* Is @fd the inherited descriptor of the ledger? */
bool ledger_owns_fd(int fd);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Core dumps that hold what is in swap.
 *
 * The kernel's dump leaves out pages that are not at their addresses. So where the host allows a dump, a handler
 * replaces the default action of the signals that make one. The handler stops the other threads, raises the limit as
 * far as the host has memory, and brings in all pages. Then it restores the default action and sends the signal
 * again. If pages found no room, it prints how many.
 *
 * The pager reserves the frames for this from the start (mm/page/reserve.c). Reserved frames take addresses, and no
 * memory.
 *
 * The handler does not run in two cases, and the dump lacks the pages that are out: the program blocks a signal that
 * one of its own instructions raises, or it sets the signal's action by a raw system call.
 */
#include "run/run.h"
#include "base/size.h"
#include "host/host.h"
#include "host/memory.h"
#include "host/text.h"
#include "run/raw.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#define ROOM_TIMES 16 /* at most so many times the limit: a reserved frame costs a bit in the map of frames */
#define MARGIN_BYTES (64 * MIB) /* memory that is left to the host */
#define LOOK_BYTES (8 * MIB) /* bytes brought in between two looks at the host's memory */
#define PASSES 4
#define STOP_MS 1000
#define STACK_BYTES (256 * KIB)

static const int watched[] = {
	SIGQUIT, SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGSYS, SIGXCPU, SIGXFSZ};

static bool started; /* [I] */
static THREAD_LOCAL uint8_t *own_stack;

/* ---- Is a dump possible? ------------------------------------------------------------------------ */

static bool is_text(const char *path, const char *starts)
{
	char text[64];

	return host_read_text(path, text, sizeof(text)) > 0 && strchr(starts, text[0]);
}

/* The most bytes that the kernel writes to a core file. A dump that is piped to a program has no limit. */
static uint64_t core_most(void)
{
	struct rlimit limit;

	if (is_text("/proc/sys/kernel/core_pattern", "|@"))
		return UINT64_MAX;
	return getrlimit(RLIMIT_CORE, &limit) ? 0 : limit.rlim_cur;
}

bool core_wanted(const char *asked)
{
	return !(asked && !strcmp(asked, "resident")) && core_most() > 0;
}

/* Reserved frames need address space. 0 where the host limits addresses or counts promises of memory. */
uint64_t core_room(uint64_t memory, uint64_t swap_bytes)
{
	struct rlimit addresses, data;
	struct hostmem mem;

	if (getrlimit(RLIMIT_AS, &addresses) || addresses.rlim_cur != RLIM_INFINITY ||
		getrlimit(RLIMIT_DATA, &data) || data.rlim_cur != RLIM_INFINITY ||
		is_text("/proc/sys/vm/overcommit_memory", "2"))
		return 0;
	hostmem_read("", &mem);
	return min_u64(min_u64(swap_bytes, ROOM_TIMES * memory), hostmem_whole(&mem));
}

/* ---- Bringing in -------------------------------------------------------------------------------- */

struct work {
	uint64_t out, left; /* pages that were away at the start, and that are still away */
	bool no_memory; /* the host has no memory for more pages */
};

static uint64_t count_out(void)
{
	uint64_t nr = 0, at = run.base;

	while (space_next_out(run.space, SPACE_AWAY, at, run.end, &at)) {
		at += PAGE_BYTES;
		nr++;
	}
	return nr;
}

/* Bytes that the host and the control groups have free, less a margin. */
static uint64_t host_room(void)
{
	struct hostmem mem;

	hostmem_read("", &mem);
	uint64_t slack = mem.slack < 0 ? 0 : (uint64_t)mem.slack;
	uint64_t room = min_u64(mem.available, slack);
	return room > MARGIN_BYTES ? room - MARGIN_BYTES : 0;
}

/* Raise the limit by @pages, or as far as there are reserved frames. */
static void raise_limit(uint64_t pages)
{
	struct pager_limit now;
	char why[200];

	if (run.governor)
		governor_stop(run.governor);
	pager_limit(run.pager, &now);
	uint64_t bytes = now.bytes ? now.bytes : run.record->limit_bytes;
	uint64_t each = PAGE_BYTES + 128; /* a frame, and the core's structures for it */
	uint64_t more = min_u64(pages + 1024, now.frames_max - now.frames);

	for (; more > 0; more -= more / 8 + 1)
		if (pager_set_limit(run.pager, bytes + more * each, why, sizeof(why)) == 0)
			return;
}

static enum fault_result fault(uint64_t addr)
{
	struct wait wait;
	enum fault_result result;

	while ((result = handle_mm_fault(run.space, addr, ACCESS_READ, &wait)) == FAULT_WAIT)
		run.machine->ops->wait(run.machine, &wait);
	return result;
}

/* Bring in a page of memory that may not be read. It stays readable: the program will not touch it any more. */
static enum fault_result bring_protected(uint64_t addr)
{
	uint64_t run_end;
	int prot;

	if (space_kind_at(run.space, addr, &run_end, &prot) != SPACE_ANON || prot & PROT_READ)
		return FAULT_SIGBUS;
	call_space_lock();
	int error = retry(space_mprotect(run.space, addr, run_end - addr, PROT_READ, &wait));
	call_space_unlock();
	return error ? FAULT_SIGBUS : fault(addr);
}

static enum fault_result bring_page(uint64_t addr)
{
	enum fault_result result = fault(addr);

	return result == FAULT_SIGSEGV ? bring_protected(addr) : result;
}

static void bring_all(struct work *work)
{
	uint64_t at = run.base, looked = 0;

	while (!work->no_memory && space_next_out(run.space, SPACE_AWAY, at, run.end, &at)) {
		if (looked == 0)
			work->no_memory = host_room() == 0;
		looked = (looked + PAGE_BYTES) % LOOK_BYTES;
		if (bring_page(at) == FAULT_OOM)
			return;
		at += PAGE_BYTES;
	}
}

/* Leave unmapped parts of the managed range out of the dump: they would be a terabyte of holes in the file. */
static void leave_out_holes(void)
{
	uint64_t end;
	int prot;

	for (uint64_t at = run.base; at < run.end; at = end)
		if (space_kind_at(run.space, at, &end, &prot) == SPACE_HOLE)
			raw_madvise((void *)at, end - at, MADV_DONTDUMP);
}

static void bring_work(struct work *work)
{
	uint64_t before = 0;

	work->out = work->left = count_out();
	if (work->out)
		raise_limit(min_u64(work->out, min_u64(host_room(), core_most()) >> PAGE_SHIFT));
	for (int pass = 0; pass < PASSES && work->left && work->left != before && !work->no_memory; pass++) {
		before = work->left;
		bring_all(work);
		work->left = count_out();
	}
	leave_out_holes();
}

/* => not on a managed stack */
static void bring_in(void *unused)
{
	struct work work = {.out = 0};
	sigset_t signals;
	char left[32], all[32];

	(void)unused;
	raw_block_signals(&signals);
	bring_work(&work);
	raw_restore_signals(&signals);
	if (work.left)
		run_say("the core dump of process %d is without %s of %s that are in swap: %s", getpid(),
			size_text(work.left << PAGE_SHIFT, left, sizeof(left)),
			size_text(work.out << PAGE_SHIFT, all, sizeof(all)),
			work.no_memory ? "the host has no memory for more"
				       : "there is no room for them, or they cannot be read");
}

void core_bring_in(int sig)
{
	static _Atomic(bool) dying;
	static _Atomic(uint32_t) never;

	(void)sig;
	if (!started || !run.active || !core_most() || prctl(PR_GET_DUMPABLE) == 0)
		return;
	if (atomic_exchange(&dying, true))
		for (;;) /* another thread is doing this, and ends the process */
			host_futex_wait(&never, 0, -1);
	core_stop_threads(STOP_MS);
	call_off_managed_stack(bring_in, NULL);
}

/* ---- The handler -------------------------------------------------------------------------------- */

/* Send the signal again as it came. Its default action runs when the handler has returned. */
static void on_core(int sig, siginfo_t *info, void *context)
{
	struct sigaction action = {.sa_handler = SIG_DFL};

	(void)context;
	core_bring_in(sig);
	REAL(sigaction)(sig, &action, NULL);
	host_call(SYS_rt_tgsigqueueinfo, getpid(), host_tid(), sig, info);
}

bool core_watches(int sig)
{
	for (unsigned i = 0; started && i < ARRAY_SIZE(watched); i++)
		if (watched[i] == sig)
			return true;
	return false;
}

static struct sigaction own_action(void)
{
	struct sigaction action = {.sa_sigaction = on_core, .sa_flags = SA_SIGINFO | SA_ONSTACK};

	raw_fill(&action.sa_mask);
	if (run.signal_mode) {
		sigdelset(&action.sa_mask, SIGBUS);
		sigdelset(&action.sa_mask, SIGSYS);
	}
	return action;
}

static bool is_own(const struct sigaction *action)
{
	return action->sa_flags & SA_SIGINFO && action->sa_sigaction == on_core;
}

int core_sigaction(int sig, const struct sigaction *action, struct sigaction *old)
{
	struct sigaction own = own_action(), none = {.sa_handler = SIG_DFL}, was;
	bool is_default = action && action->sa_handler == SIG_DFL;

	if (REAL(sigaction)(sig, is_default ? &own : action, &was) < 0)
		return -1;
	if (old)
		*old = is_own(&was) ? none : was;
	return 0;
}

/* In signal mode SIGBUS and SIGSYS have handlers already: these call core_bring_in(). */
void core_start(void)
{
	struct sigaction now, own = own_action();

	started = true;
	for (unsigned i = 0; i < ARRAY_SIZE(watched); i++)
		if (REAL(sigaction)(watched[i], NULL, &now) == 0 && now.sa_handler == SIG_DFL)
			REAL(sigaction)(watched[i], &own, NULL);
	core_thread_enter();
}

/* ---- A stack for it ----------------------------------------------------------------------------- */

bool core_owns_stack(const stack_t *stack)
{
	return own_stack && stack->ss_sp == own_stack;
}

void core_thread_enter(void)
{
	stack_t stack = {.ss_size = STACK_BYTES};

	if (!started || run.signal_mode)
		return;
	void *p = raw_mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
	if (p == MAP_FAILED)
		return; /* without this stack, a dump after a stack overflow lacks the pages that are out */
	stack.ss_sp = own_stack = p;
	host_call(SYS_sigaltstack, &stack, NULL);
}

void core_thread_exit(void)
{
	stack_t off = {.ss_flags = SS_DISABLE}, now = {0};

	if (!own_stack)
		return;
	if (host_call(SYS_sigaltstack, NULL, &now) == 0 && now.ss_sp == own_stack)
		host_call(SYS_sigaltstack, &off, NULL);
	raw_munmap(own_stack, STACK_BYTES);
	own_stack = NULL;
}

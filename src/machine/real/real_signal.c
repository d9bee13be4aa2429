/* SPDX-License-Identifier: MIT */
/*
 * Signal mode: the faulting thread serves its own fault, in the SIGBUS handler that the host
 * kernel runs for a missing page of the managed range.
 *
 * The handler runs with all signals blocked, on an alternate stack in memory that is not managed. Where the program made
 * that stack, it may be small (real_stack.c).
 * It allocates nothing from the program, and takes only locks whose holders block signals too.
 */
#include "machine/real/real_internal.h"

#include <string.h>
#include <sys/auxv.h>
#include <ucontext.h>

#define MAX_INSTALLED 8

#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif

static _Atomic(struct machine *) installed[MAX_INSTALLED];
static struct sigaction earlier; /* the SIGBUS action that ours stands before */
static struct lock install_lock;

static enum access access_of(const void *ucontext)
{
	const ucontext_t *uc = ucontext;

	return uc->uc_mcontext.gregs[REG_ERR] & 2 ? ACCESS_WRITE : ACCESS_READ;
}

static bool is_ours(const struct real_machine *m, const siginfo_t *info)
{
	uint64_t addr = (uint64_t)(uintptr_t)info->si_addr;

	return info->si_signo == SIGBUS && info->si_code == BUS_ADRERR && addr >= m->base &&
	       addr - m->base < m->bytes;
}

static bool fails(struct real_machine *m, siginfo_t *info, enum access access, enum fault_result result)
{
	real_say(m, 0, "thread %d, %s of %#lx: %s", host_tid(), access == ACCESS_WRITE ? "write" : "read",
		(uint64_t)(uintptr_t)info->si_addr, real_fault_words(result));
	if (result == FAULT_SIGSEGV) {
		info->si_signo = SIGSEGV;
		info->si_code = SEGV_ACCERR;
	}
	return false;
}

bool real_handle_sigbus(struct machine *machine, siginfo_t *info, void *ucontext)
{
	struct real_machine *m = real_of(machine);
	uint64_t addr = (uint64_t)(uintptr_t)info->si_addr;
	enum access access;
	enum fault_result result;
	struct wait wait;

	if (m->faults != ANONMM_FAULTS_SIGNAL || !is_ours(m, info))
		return false;
	access = access_of(ucontext);
	real_turn(m);
	while ((result = pager_fault(machine->pager, addr, access, &wait)) == FAULT_WAIT) {
		real_turn_waits(m);
		real_wait(machine, &wait);
	}
	real_kswapd_help(m);
	return result == FAULT_DONE ? true : fails(m, info, access, result);
}

/* ---- Alternate stacks ---------------------------------------------------------------------- */

/* Lies behind the end of an alternate stack that was made here, in its last page. */
struct stack_end {
	uint64_t magic;
	uint8_t *memory; /* with the guard page */
	size_t bytes;
	uint64_t fill[5];
};

#define STACK_MAGIC 0x6b6361747373726fULL

/*
 * The handler's frame with all of the CPU's registers, the core's deepest path, and below them the program's own handlers,
 * for which it may ask for @room. What is not touched costs nothing.
 */
static size_t altstack_bytes(size_t room)
{
	return page_align_up(getauxval(AT_MINSIGSTKSZ)) + 192 * KIB + page_align_up(room);
}

static int altstack_make(size_t room)
{
	size_t bytes = PAGE_BYTES + altstack_bytes(room);
	uint8_t *memory = host_mmap(0, bytes, PROT_READ | PROT_WRITE, MAP_NORESERVE | MAP_STACK);

	if (!memory)
		return -ENOMEM;
	host_mprotect((uint64_t)(uintptr_t)memory, PAGE_BYTES, PROT_NONE); /* an overflow must not pass */
	struct stack_end *end = (struct stack_end *)(memory + bytes) - 1;
	stack_t stack = {.ss_sp = memory + PAGE_BYTES, .ss_size = bytes - PAGE_BYTES - sizeof(*end)};

	*end = (struct stack_end){.magic = STACK_MAGIC, .memory = memory, .bytes = bytes};
	int error = (int)host_call(SYS_sigaltstack, &stack, NULL);
	if (error)
		host_munmap(memory, bytes);
	return error;
}

/* Free the stack, if it was made here. => no handler runs on it */
static void altstack_free(const stack_t *stack)
{
	const struct stack_end *end = (const void *)((uint8_t *)stack->ss_sp + stack->ss_size);

	/* Another stack may end where memory ends: look no further than its last page. */
	if (((uintptr_t)(end + 1) & ~PAGE_MASK) == 0 && end->magic == STACK_MAGIC &&
		end->memory + PAGE_BYTES == stack->ss_sp)
		host_munmap(end->memory, end->bytes);
}

int real_thread_enter(struct machine *machine)
{
	return real_of(machine)->faults == ANONMM_FAULTS_SIGNAL ? altstack_make(0) : 0;
}

int real_thread_room(struct machine *machine, size_t room)
{
	stack_t old = {.ss_flags = SS_DISABLE};

	if (real_of(machine)->faults != ANONMM_FAULTS_SIGNAL || room >= SIZE_MAX / 2)
		return room >= SIZE_MAX / 2 ? -ENOMEM : 0;
	host_call(SYS_sigaltstack, NULL, &old);
	if (old.ss_flags & (SS_DISABLE | SS_ONSTACK) || old.ss_size >= altstack_bytes(room) - PAGE_BYTES)
		return 0;
	int error = altstack_make(room);
	if (!error)
		altstack_free(&old);
	return error;
}

void real_thread_exit(struct machine *machine)
{
	stack_t off = {.ss_flags = SS_DISABLE}, old = {.ss_flags = SS_DISABLE};

	if (real_of(machine)->faults != ANONMM_FAULTS_SIGNAL)
		return;
	if (host_call(SYS_sigaltstack, &off, &old) == 0 && !(old.ss_flags & SS_DISABLE))
		altstack_free(&old);
}

/* ---- The handler, for programs that use the library themselves --------------------------------- */

static void pass_on(int signal, siginfo_t *info, void *ucontext)
{
	struct sigaction dfl = {.sa_handler = SIG_DFL};

	if (earlier.sa_flags & SA_SIGINFO)
		earlier.sa_sigaction(signal, info, ucontext);
	else if (earlier.sa_handler != SIG_DFL && earlier.sa_handler != SIG_IGN)
		earlier.sa_handler(signal);
	else
		sigaction(signal, &dfl, NULL); /* the access is tried again, and ends the program */
}

struct caught {
	struct machine *machine; /* whose range was touched */
	siginfo_t *info;
	void *ucontext;
	bool done;
};

static void serve_caught(void *arg)
{
	struct caught *caught = arg;

	caught->done = real_handle_sigbus(caught->machine, caught->info, caught->ucontext);
}

static void on_sigbus(int signal, siginfo_t *info, void *ucontext)
{
	struct caught caught = {.info = info, .ucontext = ucontext};
	int saved_errno = errno;

	for (unsigned i = 0; i < MAX_INSTALLED && !caught.done; i++) {
		caught.machine = atomic_load(&installed[i]);
		if (caught.machine && is_ours(real_of(caught.machine), info))
			real_with_room(ucontext, serve_caught, &caught);
	}
	if (!caught.done)
		pass_on(signal, info, ucontext);
	errno = saved_errno;
}

static int install_handler(void)
{
	struct sigaction action = {
		.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};
	struct sigaction now;

	if (sigaction(SIGBUS, NULL, &now))
		return -errno;
	if ((now.sa_flags & SA_SIGINFO) && now.sa_sigaction == on_sigbus)
		return 0;
	earlier = now;
	memset(&action.sa_mask, 0xff, sizeof(action.sa_mask)); /* those that libc cancels with, too */
	return sigaction(SIGBUS, &action, NULL) ? -errno : 0;
}

/* => install_lock held. The place of @machine, or a free one, or -1. */
static int install_place(struct machine *machine)
{
	int place = -1;

	for (int i = MAX_INSTALLED - 1; i >= 0; i--) {
		struct machine *there = atomic_load(&installed[i]);

		if (there == machine)
			return i;
		if (!there)
			place = i;
	}
	return place;
}

/* Again for the same machine: puts the handler before one that was installed since. */
int real_install_sigbus(struct machine *machine)
{
	int error = -ENOSPC;
	int place;

	if (real_of(machine)->faults != ANONMM_FAULTS_SIGNAL)
		return 0;
	lock_take(&install_lock);
	place = install_place(machine);
	if (place >= 0)
		error = install_handler();
	if (!error)
		atomic_store(&installed[place], machine);
	lock_drop(&install_lock);
	return error;
}

/* The handler itself stays: somebody may have put theirs before it, and without machines it only passes on. */
void real_remove_sigbus(struct machine *machine)
{
	lock_take(&install_lock);
	for (unsigned i = 0; i < MAX_INSTALLED; i++)
		if (atomic_load(&installed[i]) == machine)
			atomic_store(&installed[i], NULL);
	lock_drop(&install_lock);
}

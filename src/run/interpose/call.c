/* SPDX-License-Identifier: MIT */
/*
 * How a call of the program becomes work on its space.
 *
 * A thread that holds the space lock must not fault on managed memory: the fault would wait for the lock that its own
 * thread holds. Two things could make it fault unintentionally: a signal handler, and its own stack (of a coroutine,
 * or of a thread whose stack came from malloc). So signals are blocked, and the work runs on a stack of the library's
 * if the thread's own is managed. Such stacks are few. They are kept for the next call.
 */
#include "run/run.h"
#include "run/raw.h"

#include <sys/mman.h>
#include <ucontext.h>

#define STACK_BYTES (256 * KIB)
#define STACKS_KEPT 16

/* Lies at the low end of a stack of the library's, and holds everything that the switch of stacks needs. */
struct own_stack {
	ucontext_t back, here;
	void (*work)(void *);
	void *arg;
	struct call call;
};

static _Atomic(struct own_stack *) kept[STACKS_KEPT];

static struct own_stack *stack_get(void)
{
	for (int i = 0; i < STACKS_KEPT; i++) {
		struct own_stack *stack = atomic_exchange(&kept[i], NULL);
		if (stack)
			return stack;
	}
	void *p = raw_mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		run_die("no memory for a stack of %lu KiB outside the managed range", STACK_BYTES / KIB);
	return p;
}

static void stack_put(struct own_stack *stack)
{
	for (int i = 0; i < STACKS_KEPT; i++) {
		struct own_stack *none = NULL;
		if (atomic_compare_exchange_strong(&kept[i], &none, stack))
			return;
	}
	raw_munmap(stack, STACK_BYTES);
}

/* makecontext() passes ints: a pointer is two of them. */
static void stack_entry(unsigned high, unsigned low)
{
	struct own_stack *stack = (void *)(uintptr_t)((uint64_t)high << 32 | low);
	stack->work(stack->arg);
}

static void stack_run(struct own_stack *stack, void (*work)(void *), void *arg)
{
	uint64_t word = (uintptr_t)stack;

	stack->work = work;
	stack->arg = arg;
	getcontext(&stack->here);
	stack->here.uc_stack.ss_sp = stack + 1;
	stack->here.uc_stack.ss_size = STACK_BYTES - sizeof(*stack);
	stack->here.uc_link = &stack->back;
	makecontext(&stack->here, (void (*)(void))stack_entry, 2, (unsigned)(word >> 32), (unsigned)word);
	swapcontext(&stack->back, &stack->here);
}

static bool on_managed_stack(void)
{
	return run.active && run_manages(__builtin_frame_address(0));
}

void call_off_managed_stack(void (*work)(void *), void *arg)
{
	if (!on_managed_stack()) {
		work(arg);
		return;
	}
	struct own_stack *stack = stack_get();
	stack_run(stack, work, arg);
	stack_put(stack);
}

void call_space_lock(void)
{
	retry(space_lock(run.space, &wait));
}

void call_space_unlock(void)
{
	space_unlock(run.space);
}

/* => signals blocked, on a stack that cannot fault, and so is @arg */
static void call_work(void *arg)
{
	struct call *call = arg;

	if (call->space_locked) {
		call_space_lock();
		fork_end_leases();
	}
	call->result = call->work(call);
	if (call->space_locked)
		call_space_unlock();
}

static void call_here(struct call *call)
{
	/* The structure may lie in managed memory even when the stack does not. */
	struct call copy = *call;
	call_work(&copy);
	call->result = copy.result;
}

static void call_elsewhere(struct call *call)
{
	struct own_stack *stack = stack_get();
	stack->call = *call;
	stack_run(stack, call_work, &stack->call);
	call->result = stack->call.result;
	stack_put(stack);
}

static long call_start(struct call *call)
{
	int saved_errno = errno;
	sigset_t signals;

	raw_block_signals(&signals);
	if (on_managed_stack())
		call_elsewhere(call);
	else
		call_here(call);
	raw_restore_signals(&signals);
	errno = saved_errno;
	return call->result;
}

long call_run(struct call *call)
{
	call->space_locked = false;
	return call_start(call);
}

long call_run_locked(struct call *call)
{
	call->space_locked = true;
	return call_start(call);
}

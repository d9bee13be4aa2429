/* SPDX-License-Identifier: MIT */
/*
 * Signal mode, for programs that use the library themselves: stacks for serving faults.
 *
 * The SIGBUS handler runs on the thread's alternate stack. The program may have made that one, with 2 or 8 KiB, for
 * handlers of its own. The core needs more. So a handler that finds little room goes on with a stack of the machine's.
 * Such stacks are few, and are kept for the next fault.
 */
#include "machine/real/real_internal.h"

#include <ucontext.h>

#define NEEDED_BYTES                                                                                         \
	(64 * KIB) /* of the core's deepest path, with a device's, also in builds with sanitizers */
#define OWN_BYTES (192 * KIB)
#define KEPT 16

/* Lies at the low end of a stack, above a page that nobody can touch. */
struct own_stack {
	ucontext_t back, here;
	void (*work)(void *);
	void *arg;
};

static _Atomic(struct own_stack *) kept[KEPT];

static struct own_stack *stack_get(void)
{
	for (unsigned i = 0; i < KEPT; i++) {
		struct own_stack *stack = atomic_exchange(&kept[i], NULL);

		if (stack)
			return stack;
	}
	uint8_t *memory =
		host_mmap(0, OWN_BYTES + PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_NORESERVE | MAP_STACK);

	if (!memory)
		return NULL;
	host_mprotect((uint64_t)(uintptr_t)memory, PAGE_BYTES, PROT_NONE);
	return (void *)(memory + PAGE_BYTES);
}

static void stack_put(struct own_stack *stack)
{
	for (unsigned i = 0; i < KEPT; i++) {
		struct own_stack *none = NULL;

		if (atomic_compare_exchange_strong(&kept[i], &none, stack))
			return;
	}
	host_munmap((uint8_t *)stack - PAGE_BYTES, OWN_BYTES + PAGE_BYTES);
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
	stack->here.uc_stack.ss_size = OWN_BYTES - sizeof(*stack);
	stack->here.uc_link = &stack->back;
	makecontext(&stack->here, (void (*)(void))stack_entry, 2, (unsigned)(word >> 32), (unsigned)word);
	swapcontext(&stack->back, &stack->here);
}

/* Does this handler run on the thread's alternate stack, with little room below it? */
static bool has_little_room(const ucontext_t *uc)
{
	uint64_t room = (uintptr_t)__builtin_frame_address(0) - (uintptr_t)uc->uc_stack.ss_sp;

	return !(uc->uc_stack.ss_flags & SS_DISABLE) && room < uc->uc_stack.ss_size && room < NEEDED_BYTES;
}

void real_with_room(const void *ucontext, void (*work)(void *), void *arg)
{
	struct own_stack *stack = has_little_room(ucontext) ? stack_get() : NULL;

	if (!stack) {
		work(arg);
		return;
	}
	stack_run(stack, work, arg);
	stack_put(stack);
}

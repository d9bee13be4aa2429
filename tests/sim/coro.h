/* SPDX-License-Identifier: MIT */
/*
 * Coroutines: several stacks on one thread of the host. A switch happens only where coro_switch() is called, so a
 * program of coroutines is a function of its inputs, unlike one of threads.
 *
 * On x86-64 a switch saves the registers that a called function must keep, and the stack pointer: some 5 ns. Elsewhere
 * ucontext does it, with two system calls. AddressSanitizer is told of each switch.
 *
 * A stack is the caller's memory. Whoever starts a coroutine again begins anew at its function.
 */
#ifndef ANONMM_SIM_CORO_H
#define ANONMM_SIM_CORO_H

#include <stddef.h>
#include <stdint.h>
#include <ucontext.h>

#ifdef __has_feature
#define CORO_HAS_FEATURE(x) __has_feature(x)
#else
#define CORO_HAS_FEATURE(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || CORO_HAS_FEATURE(address_sanitizer)
#define CORO_ASAN 1
void __sanitizer_start_switch_fiber(void **fake_stack, const void *bottom, size_t size);
void __sanitizer_finish_switch_fiber(void *fake_stack, const void **bottom, size_t *size);
void __asan_unpoison_memory_region(const volatile void *start, size_t size);
#else
#define CORO_ASAN 0
#endif

struct coro {
	void *sp; /* x86-64: while it does not run */
	ucontext_t context; /* elsewhere */
	void (*run)(void *);
	void *arg;
	const void *stack;
	size_t stack_bytes;
	void *fake_stack; /* AddressSanitizer's */
};

/* Who switched last: needed by the first function of a new coroutine. */
static struct coro *coro_from, *coro_to;

static inline void coro_arrived(struct coro *self)
{
#if CORO_ASAN
	__sanitizer_finish_switch_fiber(self->fake_stack, &coro_from->stack, &coro_from->stack_bytes);
#else
	(void)self;
#endif
}

/* => never returns: run() switches away for ever */
static inline void coro_main(void)
{
	struct coro *self = coro_to;

	coro_arrived(self);
	self->run(self->arg);
	__builtin_trap();
}

#if defined(__x86_64__)
__attribute__((naked, noinline, unused)) static void coro_jump(
	__attribute__((unused)) void **save, __attribute__((unused)) void *load)
{
	__asm__("pushq %rbp\n\tpushq %rbx\n\tpushq %r12\n\tpushq %r13\n\tpushq %r14\n\tpushq %r15\n\t"
		"movq %rsp, (%rdi)\n\tmovq %rsi, %rsp\n\t"
		"popq %r15\n\tpopq %r14\n\tpopq %r13\n\tpopq %r12\n\tpopq %rbx\n\tpopq %rbp\n\tret");
}

static inline void coro_prepare(struct coro *c, void *stack, size_t bytes)
{
	void **sp = (void **)((char *)stack + bytes);

	*--sp = NULL; /* where coro_main() would return to: keeps the stack aligned as after a call */
	*--sp = (void *)coro_main;
	for (int i = 0; i < 6; i++)
		*--sp = NULL;
	c->sp = sp;
}
#else
static inline void coro_prepare(struct coro *c, void *stack, size_t bytes)
{
	getcontext(&c->context);
	c->context.uc_stack.ss_sp = stack;
	c->context.uc_stack.ss_size = bytes;
	c->context.uc_link = NULL;
	makecontext(&c->context, coro_main, 0);
}
#endif

/* It will begin with run(arg) when it is switched to for the first time. */
static inline void coro_init(struct coro *c, void *stack, size_t bytes, void (*run)(void *), void *arg)
{
	c->run = run;
	c->arg = arg;
	c->stack = stack;
	c->stack_bytes = bytes;
	c->fake_stack = NULL;
#if CORO_ASAN
	__asan_unpoison_memory_region(stack, bytes); /* who had it before ended in the middle */
#endif
	coro_prepare(c, stack, bytes);
}

/* Go on in @to. Returns when somebody switches back to @from, the caller. */
static inline void coro_switch(struct coro *from, struct coro *to)
{
	coro_from = from;
	coro_to = to;
#if CORO_ASAN
	__sanitizer_start_switch_fiber(&from->fake_stack, to->stack, to->stack_bytes);
#endif
#if defined(__x86_64__)
	coro_jump(&from->sp, to->sp);
#else
	swapcontext(&from->context, &to->context);
#endif
	coro_arrived(from);
}

#endif

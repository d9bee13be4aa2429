/* SPDX-License-Identifier: MIT */
/*
 * The part of the guard that depends on the CPU: how a trapped thread goes on in guard_resume, and the one
 * instruction from which the filter lets calls through.
 *
 * The SIGSYS handler writes a frame with all registers below the program's stack pointer and its red zone. It returns
 * to guard_resume, whose stack begins there. guard_resume saves the vector registers, because C code changes them and
 * a system call does not. It makes the call, and jumps to the instruction after the program's. All registers are then
 * as they were, except rax, rcx and r11, as after a system call. The unwind information of guard_resume says where
 * the program's registers are, so a thread can be cancelled, or throw, through it.
 *
 * If a handler of the program runs on the alternate stack, the SIGSYS handler's own stack frame lies directly below
 * it. In that case the frame is local memory of the SIGSYS handler. It stays valid after the handler has returned,
 * because the stack pointer stays below it.
 */
#include "run/guard/guard.h"
#include "run/raw.h"

#include <cpuid.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>

#define RED_ZONE 128
#define FRAME_ALIGN 64UL
#define FXSAVE_BYTES 512
#define XSAVE_HEADER_END 576
#define XSAVE_WANTED 0xe7U /* x87, SSE, AVX, AVX-512: what C code may use */

struct frame {
	uint64_t r8, r9, r10, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rsp, rip,
		flags; /* offsets are below */
	struct guard_call call;
};

_Static_assert(offsetof(struct frame, rax) == 96 && offsetof(struct frame, rip) == 112, "the code below");

/* For the code below. Hidden, so that direct accesses reach them. */
#define FOR_ASM __attribute__((used, visibility("hidden")))
FOR_ASM uint64_t guard_xsave_bytes; /* [I] */
FOR_ASM uint32_t guard_xsave_mask; /* [I] 0: fxsave */
FOR_ASM void *guard_stub; /* [I] */
FOR_ASM void guard_run(struct frame *frame);
void guard_resume(void) __attribute__((visibility("hidden")));
void guard_plain_syscall(void) __attribute__((visibility("hidden")));

void guard_run(struct frame *frame)
{
	signals_send_kept(); /* those that came while the handler ran */
	frame->rax = (uint64_t)guard_finish(&frame->call);
}

/* rbx is the frame. The escapes: CFA = *(rbx + 104), and each register at rbx + its offset. */
__asm__(".text\n"
	".globl guard_resume\n"
	".hidden guard_resume\n"
	".type guard_resume, @function\n"
	"	.cfi_startproc\n"
	"	.cfi_signal_frame\n"
	"	.cfi_escape 0x0f, 4, 0x73, 0xe8, 0x00, 0x06\n"
	"	.cfi_escape 0x10, 8, 2, 0x73, 0\n"
	"	.cfi_escape 0x10, 9, 2, 0x73, 8\n"
	"	.cfi_escape 0x10, 10, 2, 0x73, 16\n"
	"	.cfi_escape 0x10, 12, 2, 0x73, 24\n"
	"	.cfi_escape 0x10, 13, 2, 0x73, 32\n"
	"	.cfi_escape 0x10, 14, 2, 0x73, 40\n"
	"	.cfi_escape 0x10, 15, 2, 0x73, 48\n"
	"	.cfi_escape 0x10, 5, 2, 0x73, 56\n"
	"	.cfi_escape 0x10, 4, 3, 0x73, 0xc0, 0x00\n"
	"	.cfi_escape 0x10, 6, 3, 0x73, 0xc8, 0x00\n"
	"	.cfi_escape 0x10, 3, 3, 0x73, 0xd0, 0x00\n"
	"	.cfi_escape 0x10, 1, 3, 0x73, 0xd8, 0x00\n"
	"	.cfi_escape 0x10, 0, 3, 0x73, 0xe0, 0x00\n"
	"	.cfi_escape 0x10, 16, 3, 0x73, 0xf0, 0x00\n"
	"	nop\n" /* unwinders look one byte before some addresses */
	"guard_resume:\n"
	"	subq guard_xsave_bytes(%rip), %rsp\n"
	"	andq $-64, %rsp\n"
	"	movl guard_xsave_mask(%rip), %eax\n"
	"	xorl %edx, %edx\n"
	"	testl %eax, %eax\n"
	"	jz 1f\n"
	"	movq %rdx, 512(%rsp)\n"
	"	movq %rdx, 520(%rsp)\n"
	"	movq %rdx, 528(%rsp)\n"
	"	movq %rdx, 536(%rsp)\n"
	"	movq %rdx, 544(%rsp)\n"
	"	movq %rdx, 552(%rsp)\n"
	"	movq %rdx, 560(%rsp)\n"
	"	movq %rdx, 568(%rsp)\n"
	"	xsave64 (%rsp)\n"
	"	jmp 2f\n"
	"1:	fxsave64 (%rsp)\n"
	"2:	cld\n"
	"	movq %rbx, %rdi\n"
	"	call guard_run\n"
	"	movl guard_xsave_mask(%rip), %eax\n"
	"	xorl %edx, %edx\n"
	"	testl %eax, %eax\n"
	"	jz 3f\n"
	"	xrstor64 (%rsp)\n"
	"	jmp 4f\n"
	"3:	fxrstor64 (%rsp)\n"
	"4:	movq %rbx, %rsp\n"
	"	pushq 120(%rbx)\n"
	"	popfq\n"
	"	movq 0(%rbx), %r8\n"
	"	movq 8(%rbx), %r9\n"
	"	movq 16(%rbx), %r10\n"
	"	movq 24(%rbx), %r12\n"
	"	movq 32(%rbx), %r13\n"
	"	movq 40(%rbx), %r14\n"
	"	movq 48(%rbx), %r15\n"
	"	movq 56(%rbx), %rdi\n"
	"	movq 64(%rbx), %rsi\n"
	"	movq 72(%rbx), %rbp\n"
	"	movq 88(%rbx), %rdx\n"
	"	movq 96(%rbx), %rax\n"
	"	movq 112(%rbx), %rcx\n"
	"	movq 104(%rbx), %r11\n"
	"	movq 80(%rbx), %rbx\n" /* the last look into the frame: above rsp nobody writes */
	"	movq %r11, %rsp\n"
	"	jmp *%rcx\n"
	"	.cfi_endproc\n"
	".size guard_resume, .-guard_resume\n"
	"\n"
	".globl guard_issue\n"
	".hidden guard_issue\n"
	".type guard_issue, @function\n"
	"guard_issue:\n"
	"	.cfi_startproc\n"
	"	movq %rdi, %rax\n"
	"	movq %rsi, %r11\n"
	"	movq 0(%r11), %rdi\n"
	"	movq 8(%r11), %rsi\n"
	"	movq 16(%r11), %rdx\n"
	"	movq 24(%r11), %r10\n"
	"	movq 32(%r11), %r8\n"
	"	movq 40(%r11), %r9\n"
	"	jmp *guard_stub(%rip)\n" /* which returns to our caller */
	"	.cfi_endproc\n"
	".size guard_issue, .-guard_issue\n"
	"\n"
	".globl guard_plain_syscall\n"
	".hidden guard_plain_syscall\n"
	".type guard_plain_syscall, @function\n"
	"guard_plain_syscall:\n"
	"	.cfi_startproc\n"
	"	syscall\n"
	"	ret\n"
	"	.cfi_endproc\n"
	".size guard_plain_syscall, .-guard_plain_syscall\n");

/* Any place will do until the filter is installed. */
void *guard_stub = guard_plain_syscall;

static void find_xsave(void)
{
	unsigned a, b, c, d, enabled, high;
	uint64_t bytes = XSAVE_HEADER_END;

	guard_xsave_bytes = FXSAVE_BYTES;
	if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE))
		return;
	__asm__("xgetbv" : "=a"(enabled), "=d"(high) : "c"(0));
	guard_xsave_mask = enabled & XSAVE_WANTED;
	for (unsigned i = 2; i < 8; i++)
		if (guard_xsave_mask & 1U << i && __get_cpuid_count(0xd, i, &a, &b, &c, &d))
			bytes = max_u64(bytes, (uint64_t)b + a);
	guard_xsave_bytes = bytes;
}

int guard_arch_start(void)
{
	static const uint8_t code[] = {0x0f, 0x05, 0xc3}; /* syscall; ret */
	void *page = raw_mmap((void *)GUARD_STUB_PAGE, PAGE_BYTES, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	if (page != (void *)GUARD_STUB_PAGE)
		return page == MAP_FAILED ? -errno : -EEXIST;
	memcpy(page, code, sizeof(code));
	if (raw_mprotect(page, PAGE_BYTES, PROT_READ | PROT_EXEC))
		return -errno;
	find_xsave();
	guard_stub = page;
	return 0;
}

/* ---- The way out of the handler ---------------------------------------------------------------- */

static bool on_alternate_stack(const ucontext_t *uc, uint64_t sp)
{
	uint64_t start = (uintptr_t)uc->uc_stack.ss_sp;

	if (uc->uc_stack.ss_flags & SS_DISABLE)
		return true; /* this thread has none: the SIGSYS handler runs on the program's stack */
	return sp >= start && sp - start < uc->uc_stack.ss_size;
}

size_t guard_arch_local_bytes(void)
{
	return sizeof(struct frame) + FRAME_ALIGN;
}

static struct frame *frame_place(const ucontext_t *uc, void *local)
{
	uint64_t sp = (uint64_t)uc->uc_mcontext.gregs[REG_RSP];

	if (on_alternate_stack(uc, sp))
		return (struct frame *)(((uintptr_t)local + FRAME_ALIGN - 1) & ~(FRAME_ALIGN - 1));
	return (struct frame *)((sp - RED_ZONE - sizeof(struct frame)) & ~(FRAME_ALIGN - 1));
}

struct guard_call *guard_arch_enter(void *context, void *local)
{
	const ucontext_t *uc = context;
	const greg_t *regs = uc->uc_mcontext.gregs;
	struct frame *frame = frame_place(uc, local);

	frame->r8 = (uint64_t)regs[REG_R8];
	frame->r9 = (uint64_t)regs[REG_R9];
	frame->r10 = (uint64_t)regs[REG_R10];
	frame->r12 = (uint64_t)regs[REG_R12];
	frame->r13 = (uint64_t)regs[REG_R13];
	frame->r14 = (uint64_t)regs[REG_R14];
	frame->r15 = (uint64_t)regs[REG_R15];
	frame->rdi = (uint64_t)regs[REG_RDI];
	frame->rsi = (uint64_t)regs[REG_RSI];
	frame->rbp = (uint64_t)regs[REG_RBP];
	frame->rbx = (uint64_t)regs[REG_RBX];
	frame->rdx = (uint64_t)regs[REG_RDX];
	frame->rsp = (uint64_t)regs[REG_RSP];
	frame->rip = (uint64_t)regs[REG_RIP];
	frame->flags = (uint64_t)regs[REG_EFL];
	frame->call.nr = (long)regs[REG_RAX];
	frame->call.arg[0] = frame->rdi;
	frame->call.arg[1] = frame->rsi;
	frame->call.arg[2] = frame->rdx;
	frame->call.arg[3] = frame->r10;
	frame->call.arg[4] = frame->r8;
	frame->call.arg[5] = frame->r9;
	return &frame->call;
}

void guard_arch_leave(void *context, struct guard_call *call)
{
	greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
	struct frame *frame = container_of(call, struct frame, call);

	regs[REG_RIP] = (greg_t)(uintptr_t)guard_resume;
	regs[REG_RSP] = regs[REG_RBX] = (greg_t)(uintptr_t)frame;
}

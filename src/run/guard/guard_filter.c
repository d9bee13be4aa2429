/* SPDX-License-Identifier: MIT */
/*
 * The guard's seccomp filter.
 *
 * A binary search by the call's number ends in one of a few blocks: there is one for each set of arguments that can
 * be pointers. The block compares these arguments with the managed range. For a call without pointers, the filter
 * decides before it loads an argument. The kernel remembers that such calls always pass, and does not run the filter
 * for them.
 *
 * The filter outlives exec, and several filters would add up. So there are only two: one covers RUN_MANAGED_BYTES, and
 * one covers RUN_MANAGED_MOST for programs whose ANONMM_ADDRESS_SPACE is larger. The page of the stub is a constant. A
 * process first asks which filter it has: it calls prctl() with an option that does not exist, and the filter answers.
 * An unmanaged program under the filter has memory in the range only where it asks the kernel for such an address. A
 * system call with a pointer to that memory then ends the program by SIGSYS. So the range is no wider than needed. The
 * filter refuses io_uring to all programs: with io_uring the kernel uses addresses that no filter sees.
 */
#include "run/guard/guard.h"
#include "run/faults.h"
#include "run/raw.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif

#define MASKS 64
#define MOST_CODE 2048
#define MOST_FIXUPS 512

/* The upper 32 bits of a managed address are RANGE_HIGH, except for the bits that RANGE_HIGH_MASK leaves out. */
#define RANGE_HIGH ((uint32_t)(RUN_MANAGED_BASE >> 32))
#define RANGE_HIGH_MASK(bytes) (~((uint32_t)((bytes) >> 32) - 1))
_Static_assert((RUN_MANAGED_BASE & (RUN_MANAGED_MOST - 1)) == 0, "the range is compared by a mask");

#define FIELD(name) ((uint32_t)offsetof(struct seccomp_data, name))
#define LOW(n) (FIELD(args) + (n)*8)
#define HIGH(n) (LOW(n) + 4)
#define IP_LOW FIELD(instruction_pointer)
#define IP_HIGH (IP_LOW + 4)

/*
 * Numbers of the blocks that are no mask of arguments. A block's number below MASKS is its mask. Jumps to blocks are
 * filled in when all blocks are written.
 */
enum { BLOCK_FUTEX = MASKS, BLOCK_PRCTL, BLOCK_REFUSE, NR_BLOCKS };

struct builder {
	struct sock_filter code[MOST_CODE];
	bool far; /* for the largest range */
	unsigned nr;
	struct {
		unsigned at, block;
	} fixup[MOST_FIXUPS];
	unsigned nr_fixups;
	unsigned start[NR_BLOCKS];
	bool wanted[NR_BLOCKS];
	bool full;
};

static void emit(struct builder *b, uint16_t op, uint32_t k, uint8_t jt, uint8_t jf)
{
	if (b->nr == MOST_CODE)
		b->full = true;
	else
		b->code[b->nr++] = (struct sock_filter){op, jt, jf, k};
}

#define LOAD(b, offset) emit(b, BPF_LD | BPF_W | BPF_ABS, offset, 0, 0)
#define EQUAL(b, k, jt, jf) emit(b, BPF_JMP | BPF_JEQ | BPF_K, k, jt, jf)
#define RETURN(b, k) emit(b, BPF_RET | BPF_K, k, 0, 0)

static void go_to(struct builder *b, unsigned block)
{
	if (b->nr_fixups == MOST_FIXUPS) {
		b->full = true;
		return;
	}
	b->wanted[block] = true;
	b->fixup[b->nr_fixups].at = b->nr;
	b->fixup[b->nr_fixups++].block = block;
	emit(b, BPF_JMP | BPF_JA, 0, 0, 0);
}

/* ---- The search --------------------------------------------------------------------------------- */

static unsigned block_of(long nr)
{
	switch (nr) {
	case SYS_futex:
		return BLOCK_FUTEX;
	case SYS_prctl:
		return BLOCK_PRCTL;
	case SYS_io_uring_setup:
		return BLOCK_REFUSE;
	default:
		return guard_mask(nr);
	}
}

/* Consecutive numbers that go to the same block. A range ends where the next one starts. */
struct range {
	uint32_t first;
	unsigned block;
};

static unsigned find_ranges(struct range *ranges, unsigned most)
{
	unsigned nr = 0;

	for (long call = 0; call <= guard_known_end() && nr < most; call++)
		if (nr == 0 || ranges[nr - 1].block != block_of(call))
			ranges[nr++] = (struct range){(uint32_t)call, block_of(call)};
	return nr;
}

/* => the call's number is loaded */
static void emit_search(struct builder *b, const struct range *ranges, unsigned nr)
{
	if (nr == 1) {
		go_to(b, ranges->block);
		return;
	}
	unsigned half = nr / 2;

	emit(b, BPF_JMP | BPF_JGE | BPF_K, ranges[half].first, 0, 1);
	unsigned jump = b->nr;
	emit(b, BPF_JMP | BPF_JA, 0, 0, 0);
	emit_search(b, ranges, half);
	if (!b->full)
		b->code[jump].k = b->nr - jump - 1;
	emit_search(b, ranges + half, nr - half);
}

/* ---- The blocks --------------------------------------------------------------------------------- */

/* The end of a block: trap the call, unless it comes from the stub. */
static void emit_trap(struct builder *b)
{
	LOAD(b, IP_HIGH);
	EQUAL(b, (uint32_t)(GUARD_STUB_PAGE >> 32), 0, 3);
	LOAD(b, IP_LOW);
	emit(b, BPF_ALU | BPF_AND | BPF_K, (uint32_t)PAGE_MASK, 0, 0);
	EQUAL(b, (uint32_t)GUARD_STUB_PAGE, 1, 0);
	RETURN(b, SECCOMP_RET_TRAP | GUARD_TRAP_DATA);
	RETURN(b, SECCOMP_RET_ALLOW);
}

static void emit_mask(struct builder *b, unsigned mask)
{
	unsigned left = (unsigned)__builtin_popcount(mask);

	for (unsigned arg = 0; arg < 6; arg++) {
		if (!(mask & 1U << arg))
			continue;
		left--;
		LOAD(b, HIGH(arg));
		emit(b, BPF_ALU | BPF_AND | BPF_K,
			RANGE_HIGH_MASK(b->far ? RUN_MANAGED_MOST : RUN_MANAGED_BYTES), 0, 0);
		EQUAL(b, RANGE_HIGH, (uint8_t)(3 * left + 1), 0);
	}
	RETURN(b, SECCOMP_RET_ALLOW);
	if (mask)
		emit_trap(b);
}

/* A private wake passes: it accesses no memory, and programs make it often. */
static void emit_futex(struct builder *b)
{
	LOAD(b, LOW(1));
	EQUAL(b, FUTEX_WAKE_PRIVATE, 0, 1);
	RETURN(b, SECCOMP_RET_ALLOW);
	emit_mask(b, guard_mask(SYS_futex));
}

/* PR_SET_VMA passes: it takes the addresses of mappings, and no buffers. FILTER_PROBE_OPTION gets its answer. */
static void emit_prctl(struct builder *b)
{
	LOAD(b, LOW(0));
	EQUAL(b, PR_SET_VMA, 0, 1);
	RETURN(b, SECCOMP_RET_ALLOW);
	EQUAL(b, FILTER_PROBE_OPTION, 0, 1);
	RETURN(b, SECCOMP_RET_ERRNO | (b->far ? FILTER_PROBE_FAR : FILTER_PROBE_ANSWER));
	emit_mask(b, guard_mask(SYS_prctl));
}

static void emit_block(struct builder *b, unsigned block)
{
	if (block < MASKS)
		emit_mask(b, block);
	else if (block == BLOCK_FUTEX)
		emit_futex(b);
	else if (block == BLOCK_PRCTL)
		emit_prctl(b);
	else
		RETURN(b, SECCOMP_RET_ERRNO | ENOSYS);
}

static void emit_all(struct builder *b)
{
	struct range ranges[MOST_FIXUPS];

	LOAD(b, FIELD(arch));
	EQUAL(b, AUDIT_ARCH_X86_64, 1, 0);
	RETURN(b, SECCOMP_RET_ALLOW); /* 32-bit code: its pointers do not reach the range */
	LOAD(b, FIELD(nr));
	emit_search(b, ranges, find_ranges(ranges, ARRAY_SIZE(ranges)));
	for (unsigned block = 0; block < NR_BLOCKS; block++) {
		b->start[block] = b->nr;
		if (b->wanted[block])
			emit_block(b, block);
	}
	for (unsigned i = 0; i < b->nr_fixups && !b->full; i++)
		b->code[b->fixup[i].at].k = b->start[b->fixup[i].block] - b->fixup[i].at - 1;
}

/* ---- Into force ---------------------------------------------------------------------------------- */

/* Without privilege, the kernel demands no_new_privs: no setuid program gets its rights under the filter. */
static int install(const struct sock_fprog *program)
{
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, program) == 0)
		return 0;
	if (errno != EACCES || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, program) ? -errno : 0;
}

int guard_filter_install(void)
{
	bool far = run.end - run.base > RUN_MANAGED_BYTES;

	/* If there are two filters, the one that was added later answers. */
	if (far ? faults_filtered_far() : faults_filtered())
		return 0;
	struct builder *b = own_alloc(sizeof(*b));
	if (!b)
		return -ENOMEM;
	*b = (struct builder){.far = far};
	emit_all(b);
	struct sock_fprog program = {.len = (unsigned short)b->nr, .filter = b->code};
	int error = b->full ? -E2BIG : install(&program);

	own_free(b);
	return error;
}

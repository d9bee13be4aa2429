/* SPDX-License-Identifier: MIT */
/*
 * The guard of signal mode: system calls on managed buffers.
 *
 * In signal mode the kernel's own access to a page that is out fails: the call returns EFAULT. So a call gets no
 * managed pointer, with the exceptions below. A seccomp filter (guard_filter.c) compares the arguments that are
 * pointers (guard_table.c) with the managed range, and traps a call that has a managed one. The SIGSYS handler
 * (guard.c) copies what the kernel will read into native memory (guard_scratch.c), and lets the thread go on in
 * guard_resume (guard_x86_64.c). guard_resume makes the call again, from the one page that the filter lets through.
 * Then it copies back what the kernel wrote, and returns to the instruction after the program's call.
 *
 *   program: syscall --filter--> SIGSYS handler, signals blocked, alternate stack: check, copy in
 *                                     |  returns to
 *                                     v
 *            guard_resume, the program's own stack and mask: the call, copy back --> program
 *
 * The call itself is made outside of the handler. So it is interrupted, restarted, cancelled and left by longjmp()
 * like any other call. A copied call holds no page of the program: a thread that waits in read() for an hour keeps
 * none in memory.
 *
 * Exceptions: calls for which the address itself counts (a futex), and calls of which the guard does not know what
 * the kernel reads (an ioctl without a size, a call that is not in the table). For these the pages are brought in,
 * and the call is made with the program's own pointer. It is made again while it returns EFAULT and more can be
 * brought in.
 *
 * A filter does not see pointers behind pointers (readv, sendmsg). It cannot trap those calls by number either: that
 * would kill the unmanaged programs that inherit the filter across exec. So libc's functions for them are interposed
 * (guard_vector.c, guard_message.c). libc's functions that programs call most are interposed as well, because the
 * trap costs time (guard_data.c, guard_events.c). These would work without.
 */
#ifndef ANONMM_GUARD_H
#define ANONMM_GUARD_H

#include "run/run.h"

/* A larger buffer goes through in several pieces, or gets memory of its own (guard_stream.c). */
#define GUARD_PIECE_BYTES (128 * KIB)

/* ---- guard_scratch.c: native memory that the kernel accesses in place of managed memory ------- */

#define SCRATCH_REGIONS 8
#define SCRATCH_ANYWHERE UINT64_MAX

/* Lies on the stack of the thread that makes the call. */
struct scratch {
	uint64_t cookie; /* while it stands here, the slot is in use (guard_scratch.c) */
	int slot; /* number of the slot; -1: none */
	uint8_t *at, *end; /* the rest of the slot that is not allocated yet */
	struct {
		void *start;
		size_t bytes;
	} region[SCRATCH_REGIONS];
	unsigned nr_regions;
};

/* 0 or -errno. */
int scratch_start(void);
/* Begin a call. It does not fail: without a free slot, scratch_alloc() maps memory. */
void scratch_open(struct scratch *scratch);
/*
 * @bytes of native memory until scratch_close(). Its address equals @like modulo a page, so that a result of the
 * kernel that depends on alignment is as natively. SCRATCH_ANYWHERE: aligned to 16 bytes. NULL: no memory.
 */
void *scratch_alloc(struct scratch *scratch, size_t bytes, uint64_t like);
void scratch_close(struct scratch *scratch);

/* ---- guard_valid.c ------------------------------------------------------------------------------ */

/*
 * How many bytes from @user on may be accessed with @prot, at most @len. PROT_NONE: a page with any right counts; the
 * caller looks at one byte of each page. guard_valid_here(): => signals blocked, on a stack that is not managed
 */
size_t guard_valid(uint64_t user, size_t len, int prot);
size_t guard_valid_here(uint64_t user, size_t len, int prot);

/*
 * As guard_valid(), for memory that the kernel reaches by itself: the kernel is asked (user.c). The caller may be on
 * any stack, with any signal mask. => the memory is not managed, or is a file's mapping in the managed range
 */
size_t user_asked(uint64_t user, size_t len, int prot);

/* ---- guard_table.c: what is known of the calls ------------------------------------------------ */

enum guard_kind {
	KIND_NOTHING, /* the spec is not used */
	KIND_IN, /* the kernel reads n bytes */
	KIND_OUT, /* the kernel writes n bytes if the call succeeds */
	KIND_INOUT, /* the kernel reads n bytes; it may write them even if the call fails */
	KIND_TEXT, /* the kernel reads a string */
	KIND_IN_ITEMS, /* args[with] items of n bytes */
	KIND_OUT_ITEMS,
	KIND_INOUT_ITEMS,
	KIND_OUT_RESULT, /* room for args[with] items of n bytes; the result is the number of items written */
	KIND_DATA_IN, /* args[with] bytes, which may be many; the result is the number of bytes transferred */
	KIND_DATA_OUT,
	KIND_OUT_SIZED, /* *(uint32_t *)args[with] is the room in bytes before the call, the bytes needed after it */
	KIND_BITS, /* args[with] bits, read and written */
	KIND_MASK, /* a signal set of n bytes */
	KIND_ACTION, /* a struct sigaction in the kernel's layout */
	KIND_IOCTL, /* depends on args[1] */
	KIND_FCNTL, /* depends on args[1] */
	KIND_FUTEX_TIME, /* a timespec, or a number, depending on args[1] */
	KIND_TOUCH, /* it is not known what the kernel reads, or the address counts: brought in, not copied */
};

/* What one argument of a call is. */
struct guard_spec {
	uint8_t kind, arg, with; /* enum guard_kind; number of the argument; of a second one */
	uint16_t n; /* bytes, of an item or of all */
};

#define GUARD_SPECS 6

struct guard_call;

struct guard_entry {
	bool known; /* false: any argument may be a pointer */
	struct guard_spec spec[GUARD_SPECS];
	long (*run)(struct guard_call *call); /* makes the call; NULL: guard_issue_touching() */
};

const struct guard_entry *guard_entry(long nr);
/* Bit n: argument n of call @nr may be a pointer. */
unsigned guard_mask(long nr);
/* Calls with this number and higher are not known. */
long guard_known_end(void);

/* ---- A call that was trapped ------------------------------------------------------------------ */

/* When a piece is copied back to the program. BACK_RESULT, BACK_SIZED: as many bytes as the call wrote. */
enum guard_back { BACK_NEVER, BACK_SUCCESS, BACK_ALWAYS, BACK_RESULT, BACK_SIZED };

/* A buffer of the program, and the native memory that stands in for it. */
struct guard_piece {
	uint64_t user;
	uint8_t *native;
	size_t bytes;
	uint8_t back, with; /* enum guard_back; BACK_SIZED: number of the argument that points to the size */
	uint16_t unit; /* BACK_RESULT: the call wrote result * unit bytes */
};

struct guard_call {
	long nr;
	uint64_t arg[6]; /* the arguments of the program */
	uint64_t now[6]; /* the arguments that the kernel gets */
	const struct guard_entry *entry;
	struct scratch scratch;
	struct guard_piece piece[GUARD_SPECS];
	unsigned nr_pieces;
	unsigned touched; /* bit n: argument n stays the program's own address */
	const struct guard_spec *data; /* a buffer too large for a piece, or not all valid. NULL: none */
};

/*
 * Copy in what the kernel will read. => in the SIGSYS handler: signals blocked, on the library's stack; nr and arg
 * are set
 */
void guard_prepare(struct guard_call *call);
/*
 * Make the call and copy back what the kernel wrote. Returns the result or -errno. => on the program's stack, with
 * its mask
 */
long guard_finish(struct guard_call *call);

/* Make the call from the page that the filter lets through. Returns the result or -errno. */
long guard_issue(long nr, const uint64_t args[6]);

/* Copy from memory of the program, managed or not. false: it is not readable, and nothing was copied. */
bool guard_read(void *to, uint64_t user, size_t bytes);

/*
 * Make the call with the program's own pointers in @call->touched. While the call fails with EFAULT, bring in more
 * pages around these addresses and make it again.
 */
long guard_issue_touching(struct guard_call *call);

/* ---- guard_stream.c: buffers of any length ------------------------------------------------------ */

struct iovec;

/* Transfer one part of a stream, after @total bytes were transferred. Returns what the system call returns. */
typedef long (*stream_fn)(void *ctx, struct iovec *iov, unsigned nr, size_t total);

struct stream {
	struct scratch *scratch;
	const struct iovec *iov; /* the list lies in native memory; the buffers are the program's */
	unsigned nr;
	bool out; /* the kernel writes to the buffers */
	int fd;
	bool whole; /* the program waits until the buffers are full (MSG_WAITALL) */
	stream_fn issue;
	void *ctx;
};

/*
 * Transfer all parts. Returns what the system call would return natively. -ENOMEM: no scratch memory, nothing was
 * done.
 */
long stream_run(const struct stream *stream);
/* May a write to @fd transfer a part only? false for messages. */
bool stream_takes_parts(int fd);

/* ---- Trapped calls that are more than copies ---------------------------------------------------- */

long guard_run_data(struct guard_call *call); /* guard_data.c */
long guard_run_vector(struct guard_call *call); /* guard_vector.c */
long guard_run_vmsplice(struct guard_call *call);
long guard_run_message(struct guard_call *call); /* guard_message.c */
long guard_run_exec(struct guard_call *call); /* guard_exec.c */

/* ---- Calls that are interposed ------------------------------------------------------------------- */

/*
 * Makes a system call: guard_issue(), or libc's function for it, which is a cancellation point. The arguments are in
 * the kernel's order. Returns the result or -errno.
 */
typedef long (*make_fn)(long nr, const uint64_t args[6]);

/* From libc's results (-1 and errno) to the kernel's (-errno), and back. */
static inline long guard_result(ssize_t result)
{
	return result < 0 ? -errno : result;
}

static inline ssize_t guard_errno(long result)
{
	if (result >= 0)
		return result;
	errno = (int)-result;
	return -1;
}

/* Is the process guarded, and is the buffer managed? */
static inline bool guard_concerns(const void *data, size_t bytes)
{
	return unlikely(run.guarded) && bytes && run_manages(data);
}

/* ---- guard_filter.c ------------------------------------------------------------------------------- */

/*
 * The page that the filter lets calls through from. It is the same in every process, because the filter outlives
 * exec.
 */
#define GUARD_STUB_PAGE 0x1ffffff00000ULL
#define GUARD_TRAP_DATA 0xa11 /* si_errno of the guard's traps: a filter of the program may trap, too */

/* 0 or -errno. => the SIGSYS handler is installed */
int guard_filter_install(void);

/* ---- guard_x86_64.c -------------------------------------------------------------------------------- */

/* Map the stub page, and find out how the CPU saves its vector registers. 0 or -errno. */
int guard_arch_start(void);
/*
 * In the SIGSYS handler: fill a call with the number and arguments in @context. @local: guard_arch_local_bytes() of
 * the handler's stack, where the call lies if the program is on the alternate stack.
 */
struct guard_call *guard_arch_enter(void *context, void *local);
/* Change @context so that the thread goes on with @call in guard_resume when the handler has returned. */
void guard_arch_leave(void *context, struct guard_call *call);
size_t guard_arch_local_bytes(void);

#endif

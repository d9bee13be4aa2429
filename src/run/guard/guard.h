/* SPDX-License-Identifier: MIT */
/*
 * The guard of signal mode: system calls on managed buffers.
 *
 * In signal mode the kernel's own access to a page that is out fails: the call says EFAULT. So no call gets a managed
 * pointer. A seccomp filter (guard_filter.c) compares the arguments that are pointers (guard_table.c) with the managed
 * range and traps a call that has one. The SIGSYS handler (guard.c) copies what the kernel is to read into memory of ours
 * (guard_scratch.c) and lets the thread go on in guard_resume (guard_x86_64.c), which makes the call again from the one page
 * that the filter lets through, copies back what the kernel wrote, and returns to behind the call.
 *
 *   program: syscall --filter--> SIGSYS handler, signals blocked, alternate stack: check, copy in
 *                                     |  returns to
 *                                     v
 *            guard_resume, the program's own stack and mask: the call, copy back --> program
 *
 * The call itself is made outside of the handler, so it is interrupted, restarted, cancelled and jumped out of like any other.
 * No page is held: the kernel never sees one, and a thread that waits in read() for an hour keeps nothing in memory.
 *
 * Where the address is what counts (a futex), and where nobody knows what the kernel reads (an ioctl without a size, a
 * call that is not in the table), the pages are brought in and the call is made with the program's own pointer, again
 * while it says EFAULT.
 *
 * Pointers behind pointers (readv, sendmsg) are not seen by a filter; trapping those calls by number would kill the unmanaged
 * programs that inherit the filter across exec. They are interposed (guard_vector.c, guard_message.c). So are those that
 * programs make most, to spare them the trap (guard_data.c, guard_events.c): there nothing but time depends on it.
 */
#ifndef ANONMM_GUARD_H
#define ANONMM_GUARD_H

#include "run/run.h"

/* Above this a buffer does not go through in one piece, or gets memory of its own (guard_stream.c). */
#define GUARD_PIECE_BYTES (128 * KIB)

/* ---- guard_scratch.c: memory that the kernel may touch --------------------------------------- */

#define SCRATCH_REGIONS 8
#define SCRATCH_ANYWHERE UINT64_MAX

/* Lies on the stack of the thread that makes the call. */
struct scratch {
	uint64_t cookie; /* as long as it is here, the slot is in use */
	int slot; /* -1: none */
	uint8_t *at, *end; /* what is left of the slot */
	struct {
		void *start;
		size_t bytes;
	} region[SCRATCH_REGIONS];
	unsigned nr_regions;
};

int scratch_start(void);
void scratch_open(struct scratch *scratch);
/* @bytes; data: whose address is @like modulo a page, so that what the kernel says about alignment stays true. NULL: none. */
void *scratch_alloc(struct scratch *scratch, size_t bytes, uint64_t like);
void scratch_close(struct scratch *scratch);

/* ---- guard_valid.c ------------------------------------------------------------------------------ */

/* How many bytes from @user on may be accessed with @prot, at most @len. _here: => signals blocked, a stack of ours */
size_t guard_valid(uint64_t user, size_t len, int prot);
size_t guard_valid_here(uint64_t user, size_t len, int prot);

/*
 * The same of memory that the kernel can reach whenever it is there, by asking the kernel (user.c). Any stack, any mask.
 * => not managed, or a file's in the managed range
 */
size_t user_asked(uint64_t user, size_t len, int prot);

/* ---- guard_table.c: what is known of the calls ------------------------------------------------ */

enum guard_kind {
	KIND_NOTHING,
	KIND_IN, /* n bytes are read */
	KIND_OUT, /* n bytes are written, if the call succeeds */
	KIND_INOUT, /* n bytes are read, and written whatever comes of it */
	KIND_TEXT, /* a string is read */
	KIND_IN_ITEMS, /* args[with] items of n bytes */
	KIND_OUT_ITEMS,
	KIND_INOUT_ITEMS,
	KIND_OUT_RESULT, /* room for args[with] items of n bytes; the result is how many were written */
	KIND_DATA_IN, /* a stream of args[with] bytes, which may be many; the result is how many */
	KIND_DATA_OUT,
	KIND_OUT_SIZED, /* *(uint32_t *)args[with] says how many bytes there is room for, and then were needed */
	KIND_BITS, /* args[with] bits, read and written */
	KIND_MASK, /* a signal set */
	KIND_ACTION, /* a struct sigaction as the kernel has it */
	KIND_IOCTL, /* what args[1] says */
	KIND_FCNTL, /* what args[1] says */
	KIND_FUTEX_TIME, /* a timespec, if args[1] says so */
	KIND_TOUCH, /* nobody knows, or the address counts: brought in */
};

struct guard_spec {
	uint8_t kind, arg, with;
	uint16_t n;
};

#define GUARD_SPECS 6

struct guard_call;

struct guard_entry {
	bool known; /* false: any argument may be a pointer */
	struct guard_spec spec[GUARD_SPECS];
	long (*run)(struct guard_call *call); /* NULL: the call itself */
};

const struct guard_entry *guard_entry(long nr);
/* Bit n: argument n may be a pointer. */
unsigned guard_mask(long nr);
/* Calls from here on are unknown. */
long guard_known_end(void);

/* ---- A call that was trapped ------------------------------------------------------------------ */

enum guard_back { BACK_NEVER, BACK_SUCCESS, BACK_ALWAYS, BACK_RESULT, BACK_SIZED };

/* A buffer and its stand-in. */
struct guard_piece {
	uint64_t user;
	uint8_t *native;
	size_t bytes;
	uint8_t back, with; /* enum guard_back; BACK_SIZED: of which argument */
	uint16_t unit; /* BACK_RESULT: bytes that one of the result stands for */
};

struct guard_call {
	long nr;
	uint64_t arg[6]; /* as the program gave them */
	uint64_t now[6]; /* as the kernel gets them */
	const struct guard_entry *entry;
	struct scratch scratch;
	struct guard_piece piece[GUARD_SPECS];
	unsigned nr_pieces;
	unsigned touched; /* bit n: argument n stays the program's own address */
	const struct guard_spec *data; /* a buffer that is too large for a piece, or not all valid; or NULL */
};

/* => the SIGSYS handler: signals blocked, a stack of ours */
void guard_prepare(struct guard_call *call);
/* => the program's stack and mask. What the call returns */
long guard_finish(struct guard_call *call);

/* The call, made from where the filter lets it through. The result, or -errno. */
long guard_issue(long nr, const uint64_t args[6]);

/* From memory of the program's, managed or not. false: not readable. */
bool guard_read(void *to, uint64_t user, size_t bytes);

/* Issue with the program's own pointers in @call->touched; while that fails with EFAULT, bring in more around them. */
long guard_issue_touching(struct guard_call *call);

/* ---- guard_stream.c: buffers of any length ------------------------------------------------------ */

struct iovec;

/* How one part of a transfer is made: @total bytes are done. Returns as the kernel does. */
typedef long (*stream_fn)(void *ctx, struct iovec *iov, unsigned nr, size_t total);

struct stream {
	struct scratch *scratch;
	const struct iovec *iov; /* native memory */
	unsigned nr;
	bool out; /* the kernel writes */
	int fd;
	bool whole; /* the program waits for all of it */
	stream_fn issue;
	void *ctx;
};

/* As the call itself would have done it. -ENOMEM: no memory to go through. */
long stream_run(const struct stream *stream);
/* May what is written to @fd end short? Not a message. */
bool stream_takes_parts(int fd);

/* ---- Trapped calls that are more than copies ---------------------------------------------------- */

long guard_run_data(struct guard_call *call); /* guard_data.c */
long guard_run_vector(struct guard_call *call); /* guard_vector.c */
long guard_run_vmsplice(struct guard_call *call);
long guard_run_message(struct guard_call *call); /* guard_message.c */
long guard_run_exec(struct guard_call *call); /* guard_exec.c */

/* ---- Calls that are interposed ------------------------------------------------------------------- */

/* The kernel's call: guard_issue, or libc's function, which can be cancelled. Arguments are the kernel's. */
typedef long (*make_fn)(long nr, const uint64_t args[6]);

/* How libc's functions say what the kernel's calls return, and back. */
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

/* Is that managed, in a process whose calls are guarded? */
static inline bool guard_concerns(const void *data, size_t bytes)
{
	return unlikely(run.guarded) && bytes && run_manages(data);
}

/* ---- guard_filter.c ------------------------------------------------------------------------------- */

/* Where the filter lets calls through: the same page in every process, because the filter outlives exec. */
#define GUARD_STUB_PAGE 0x1ffffff00000ULL
#define GUARD_TRAP_DATA 0xa11 /* tells our traps from those of a filter of the program's */

/* 0 or -errno. => the handler stands */
int guard_filter_install(void);

/* ---- guard_x86_64.c -------------------------------------------------------------------------------- */

int guard_arch_start(void);
/* Have the thread of @context go on with @call when the handler has returned. */
struct guard_call *guard_arch_enter(void *context, void *local);
void guard_arch_leave(void *context, struct guard_call *call);
size_t guard_arch_local_bytes(void);

#endif

/* SPDX-License-Identifier: MIT */
/* A trapped call, from the SIGSYS handler to its result; see guard.h. */
#include "run/guard/guard.h"
#include "run/raw.h"

#include <alloca.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <termios.h>
#include <unistd.h>

#define TEXT_MOST                                                                                            \
	(64 * KIB) /* the longest that a call takes is a path's 4096; keys and mount data are more */
#define PIECE_MOST (64 * MIB) /* a larger length must be an error of the program */
#ifndef SYS_SECCOMP
#define SYS_SECCOMP 1 /* si_code */
#endif

#define ACTION_BYTES 32
#define ACTION_MASK 24 /* offset of the mask in it */
#define TOUCH_TRIES 24
#define TOUCH_GROWS 10 /* how often the number of touched bytes doubles, up to 4 MiB */
#define UNKNOWN_BYTES 128 /* of a structure of unknown size, so many bytes are searched for pointers */
#define SMALL_PIECE 512 /* a piece of at most this size may be a structure that holds pointers */

/* ---- The program's memory ------------------------------------------------------------------------ */

bool guard_read(void *to, uint64_t user, size_t bytes)
{
	return user_read(to, (void *)user, bytes);
}

static bool read_here(void *to, uint64_t user, size_t bytes)
{
	if (!run_manages((void *)user))
		return user_read(to, (void *)user, bytes);
	if (guard_valid_here(user, bytes, PROT_READ) < bytes)
		return false;
	memcpy(to, (void *)user, bytes);
	return true;
}

/* Bring in [user, user + valid). */
static void touch(uint64_t user, size_t valid)
{
	for (uint64_t at = user; at < user + valid; at = page_align_down(at) + PAGE_BYTES)
		(void)*(volatile uint8_t *)at;
}

/* ---- How long, and which way ------------------------------------------------------------------- */

struct plan {
	size_t bytes; /* 0: the kernel does not access this argument */
	bool in, out;
	uint8_t back;
	uint16_t unit;
	bool touch; /* brought in, not copied */
};

/* The bytes of @count items; SIZE_MAX: too many. If @count is an int, its upper half may hold anything. */
static size_t items(uint64_t count, unsigned bytes)
{
	if (count > PIECE_MOST && (uint32_t)count <= PIECE_MOST)
		count = (uint32_t)count;
	return count > PIECE_MOST ? SIZE_MAX : count * bytes;
}

/* Bytes of the string with its end. 0: the string does not end in readable memory. The kernel reports that. */
static size_t text_bytes(uint64_t user)
{
	size_t valid = guard_valid_here(user, TEXT_MOST, PROT_READ);
	size_t len = strnlen((const char *)user, valid);

	if (len < valid)
		return len + 1;
	return valid == TEXT_MOST ? valid : 0;
}

static struct plan plan_both(size_t bytes)
{
	return (struct plan){.bytes = bytes, .in = true, .out = true, .back = BACK_ALWAYS};
}

static struct plan plan_in(size_t bytes)
{
	return (struct plan){.bytes = bytes, .in = true};
}

static struct plan plan_out(size_t bytes)
{
	/* Copied in as well: the kernel may write a part of the structure, and the rest must stay the program's. */
	return (struct plan){.bytes = bytes, .in = true, .out = true, .back = BACK_SUCCESS};
}

static struct plan plan_result(size_t bytes, unsigned unit)
{
	return (struct plan){.bytes = bytes, .out = true, .back = BACK_RESULT, .unit = (uint16_t)unit};
}

static const struct {
	unsigned long request;
	uint8_t bytes;
	bool in, out;
} old_ioctls[] = {
	{TCGETS, 36, false, true},
	{TCSETS, 36, true, false},
	{TCSETSW, 36, true, false},
	{TCSETSF, 36, true, false},
	{TCGETA, 18, false, true},
	{TCSETA, 18, true, false},
	{TIOCGWINSZ, 8, false, true},
	{TIOCSWINSZ, 8, true, false},
	{FIONREAD, 4, false, true},
	{TIOCOUTQ, 4, false, true},
	{FIONBIO, 4, true, false},
	{FIOASYNC, 4, true, false},
	{TIOCGPGRP, 4, false, true},
	{TIOCSPGRP, 4, true, false},
	{TIOCGSID, 4, false, true},
	{TIOCMGET, 4, false, true},
	{TIOCMSET, 4, true, false},
	{TIOCMBIS, 4, true, false},
	{TIOCMBIC, 4, true, false},
	{TIOCGETD, 4, false, true},
	{TIOCSETD, 4, true, false},
	{TIOCSTI, 1, true, false},
	{TIOCPKT, 4, true, false},
};

/* A newer request holds the size of its structure. Of the older requests some are known; the others are touched. */
static struct plan plan_ioctl(unsigned long request)
{
	for (unsigned i = 0; i < ARRAY_SIZE(old_ioctls); i++)
		if (old_ioctls[i].request == request)
			return old_ioctls[i].in ? plan_in(old_ioctls[i].bytes)
						: plan_out(old_ioctls[i].bytes);
	if (_IOC_SIZE(request) && _IOC_DIR(request) != _IOC_NONE)
		return plan_both(_IOC_SIZE(request));
	return (struct plan){.bytes = PAGE_BYTES, .touch = true};
}

static struct plan plan_fcntl(int command)
{
	switch (command) {
	case F_GETLK:
	case F_SETLK:
	case F_SETLKW:
	case F_OFD_GETLK:
	case F_OFD_SETLK:
	case F_OFD_SETLKW:
		return plan_both(32);
	case F_GETOWN_EX:
	case F_SETOWN_EX:
		return plan_both(8);
	default:
		return command >= 1024 && command != F_DUPFD_CLOEXEC
			       ? (struct plan){.bytes = 8, .touch = true}
			       : (struct plan){.bytes = 0};
	}
}

static struct plan plan_futex_time(int op)
{
	switch (op & FUTEX_CMD_MASK) {
	case FUTEX_WAIT:
	case FUTEX_WAIT_BITSET:
	case FUTEX_WAIT_REQUEUE_PI:
	case FUTEX_LOCK_PI:
	case 13: /* FUTEX_LOCK_PI2 */
		return plan_in(16);
	default:
		return (struct plan){.bytes = 0}; /* a number */
	}
}

/* => the SIGSYS handler */
static struct plan plan_sized(const struct guard_call *call, const struct guard_spec *spec)
{
	uint32_t bytes = 0;

	if (!read_here(&bytes, call->arg[spec->with], sizeof(bytes)) || bytes > PIECE_MOST)
		bytes = 0;
	return (struct plan){.bytes = bytes, .in = true, .out = true, .back = BACK_SIZED};
}

static struct plan plan_for(const struct guard_call *call, const struct guard_spec *spec)
{
	uint64_t with = call->arg[spec->with];

	switch ((enum guard_kind)spec->kind) {
	case KIND_IN:
	case KIND_MASK:
		return plan_in(spec->n);
	case KIND_ACTION:
		return plan_in(ACTION_BYTES);
	case KIND_OUT:
		return plan_out(spec->n);
	case KIND_INOUT:
		return plan_both(spec->n);
	case KIND_TEXT:
		return plan_in(text_bytes(call->arg[spec->arg]));
	case KIND_IN_ITEMS:
	case KIND_DATA_IN:
		return plan_in(items(with, spec->n));
	case KIND_OUT_ITEMS:
		return plan_out(items(with, spec->n));
	case KIND_INOUT_ITEMS:
		return plan_both(items(with, spec->n));
	case KIND_OUT_RESULT:
	case KIND_DATA_OUT:
		return plan_result(items(with, spec->n), spec->n);
	case KIND_OUT_SIZED:
		return plan_sized(call, spec);
	case KIND_BITS:
		return plan_both((int)with > 0 ? ((unsigned)with + 63) / 64 * 8 : 0);
	case KIND_IOCTL:
		return plan_ioctl(call->arg[1]);
	case KIND_FCNTL:
		return plan_fcntl((int)call->arg[1]);
	case KIND_FUTEX_TIME:
		return plan_futex_time((int)call->arg[1]);
	case KIND_TOUCH:
		return (struct plan){.bytes = PAGE_BYTES + 1, .touch = true};
	case KIND_NOTHING:
		break;
	}
	return (struct plan){.bytes = 0};
}

/* ---- Before ------------------------------------------------------------------------------------ */

static bool is_data(const struct guard_spec *spec)
{
	return spec->kind == KIND_DATA_IN || spec->kind == KIND_DATA_OUT;
}

static void keep_signals(uint64_t *mask)
{
	*mask &= ~(1ULL << (SIGBUS - 1) | 1ULL << (SIGSYS - 1));
}

static void prepare_touch(struct guard_call *call, const struct guard_spec *spec, size_t bytes)
{
	uint64_t user = call->arg[spec->arg];

	call->touched |= 1U << spec->arg;
	touch(user, guard_valid_here(user, bytes, PROT_NONE));
}

static void prepare_piece(struct guard_call *call, const struct guard_spec *spec, const struct plan *plan)
{
	uint64_t user = call->arg[spec->arg];
	void *native = scratch_alloc(&call->scratch, plan->bytes, is_data(spec) ? user : SCRATCH_ANYWHERE);

	if (!native) {
		prepare_touch(call, spec, plan->bytes);
		return;
	}
	if (plan->in)
		memcpy(native, (void *)user, plan->bytes);
	if (spec->kind == KIND_MASK)
		keep_signals(native);
	if (spec->kind == KIND_ACTION)
		keep_signals((uint64_t *)((uint8_t *)native + ACTION_MASK));
	call->now[spec->arg] = (uintptr_t)native;
	call->piece[call->nr_pieces++] = (struct guard_piece){
		.user = user,
		.native = native,
		.bytes = plan->bytes,
		.back = plan->back,
		.with = spec->with,
		.unit = plan->unit,
	};
}

/* A buffer that is not valid stays the program's pointer: the kernel reports the error. */
static void prepare_one(struct guard_call *call, const struct guard_spec *spec)
{
	struct plan plan = plan_for(call, spec);

	if (plan.bytes == 0)
		return;
	if (plan.touch) {
		prepare_touch(call, spec, plan.bytes);
		return;
	}
	if (is_data(spec) && plan.bytes > GUARD_PIECE_BYTES) {
		call->data = spec;
		return;
	}
	int prot = (plan.in && plan.back != BACK_SUCCESS ? PROT_READ : 0) | (plan.out ? PROT_WRITE : 0);
	size_t valid = plan.bytes > PIECE_MOST ? 0 : guard_valid_here(call->arg[spec->arg], plan.bytes, prot);

	/* If only the writing back is impossible, the call succeeds, as in the kernel. poll is the exception. */
	if (valid < plan.bytes && plan.back == BACK_ALWAYS && spec->kind != KIND_INOUT_ITEMS) {
		valid = guard_valid_here(call->arg[spec->arg], plan.bytes, PROT_READ);
		plan.back = BACK_NEVER;
	}
	if (valid < plan.bytes && is_data(spec) && valid > 0)
		call->data = spec; /* a part is valid: the transfer ends short where the kernel's would */
	if (valid < plan.bytes)
		return;
	prepare_piece(call, spec, &plan);
}

void guard_prepare(struct guard_call *call)
{
	call->entry = guard_entry(call->nr);
	call->nr_pieces = 0;
	call->touched = 0;
	call->data = NULL;
	memcpy(call->now, call->arg, sizeof(call->now));
	scratch_open(&call->scratch);
	for (unsigned i = 0; i < GUARD_SPECS; i++) {
		const struct guard_spec *spec = &call->entry->spec[i];

		if (spec->kind != KIND_NOTHING && run_manages((void *)call->arg[spec->arg]))
			prepare_one(call, spec);
	}
}

/* ---- The call, and after ----------------------------------------------------------------------- */

/* Bring in the valid part of @bytes from @user on. false: no byte is valid and managed. */
static bool touch_valid(uint64_t user, size_t bytes)
{
	size_t valid = run_manages((void *)user) ? guard_valid(user, bytes, PROT_NONE) : 0;

	touch(user, valid);
	return valid > 0;
}

/* Bring in @bytes behind each word of a structure that is a managed pointer. false: there is none. */
static bool touch_behind(const uint8_t *structure, size_t structure_bytes, size_t bytes)
{
	bool any = false;

	for (size_t at = 0; at + sizeof(uint64_t) <= structure_bytes; at += sizeof(uint64_t)) {
		uint64_t word;

		memcpy(&word, structure + at, sizeof(word));
		any |= touch_valid(word, bytes);
	}
	return any;
}

/* Bring in @bytes behind every pointer that the kernel may have followed. false: no pointer is valid. */
static bool touch_more(struct guard_call *call, size_t bytes)
{
	bool any = false;

	for (unsigned i = 0; i < 6; i++) {
		if (!(call->touched & 1U << i) || !touch_valid(call->arg[i], bytes))
			continue;
		any = true;
		touch_behind((const uint8_t *)call->arg[i],
			guard_valid(call->arg[i], UNKNOWN_BYTES, PROT_READ), bytes);
	}
	for (unsigned i = 0; i < call->nr_pieces; i++)
		if (call->piece[i].bytes <= SMALL_PIECE)
			any |= touch_behind(call->piece[i].native, call->piece[i].bytes, bytes);
	return any;
}

long guard_issue_touching(struct guard_call *call)
{
	long result = guard_issue(call->nr, call->now);

	for (int tries = 0; result == -EFAULT && tries < TOUCH_TRIES; tries++) {
		int grows = tries < TOUCH_GROWS ? tries : TOUCH_GROWS;

		if (!touch_more(call, (PAGE_BYTES + 1) << grows))
			break;
		result = guard_issue(call->nr, call->now);
	}
	return result;
}

static size_t back_bytes(const struct guard_call *call, const struct guard_piece *piece, long result)
{
	uint32_t needed = 0;

	switch ((enum guard_back)piece->back) {
	case BACK_NEVER:
		return 0;
	case BACK_ALWAYS:
		return piece->bytes;
	case BACK_SUCCESS:
		return result < 0 ? 0 : piece->bytes;
	case BACK_RESULT:
		return result <= 0 ? 0 : min_u64((uint64_t)result * piece->unit, piece->bytes);
	case BACK_SIZED:
		if (result < 0 || !guard_read(&needed, call->now[piece->with], sizeof(needed)))
			return 0;
		return min_u64(needed, piece->bytes);
	}
	return 0;
}

long guard_finish(struct guard_call *call)
{
	long result = call->entry->run ? call->entry->run(call) : guard_issue_touching(call);

	for (unsigned i = 0; i < call->nr_pieces; i++) {
		const struct guard_piece *piece = &call->piece[i];
		size_t bytes = back_bytes(call, piece, result);

		if (bytes)
			memcpy((void *)piece->user, piece->native, bytes);
	}
	scratch_close(&call->scratch);
	return result;
}

/* ---- The handler ------------------------------------------------------------------------------- */

static void on_sys(int sig, siginfo_t *info, void *context)
{
	int saved_errno = errno;

	if (info->si_code != SYS_SECCOMP || info->si_errno != GUARD_TRAP_DATA) {
		signals_pass_on(sig, info, context);
	} else {
		struct guard_call *call = guard_arch_enter(context, alloca(guard_arch_local_bytes()));

		guard_prepare(call);
		guard_arch_leave(context, call);
	}
	errno = saved_errno;
}

int guard_start(void)
{
	struct sigaction action = {
		.sa_sigaction = on_sys,
		.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER | SA_RESTART,
	};

	int error = guard_arch_start();
	if (!error)
		error = scratch_start();
	if (error)
		return error;
	raw_fill(&action.sa_mask);
	sigdelset(&action.sa_mask, SIGBUS);
	sigdelset(&action.sa_mask, SIGSYS);
	error = signals_take(SIGSYS, &action);
	return error ? error : guard_filter_install();
}

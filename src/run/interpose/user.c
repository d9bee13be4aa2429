/* SPDX-License-Identifier: MIT */
/*
 * Memory that a program names to a call, and that the library accesses before the kernel does.
 *
 * The pointer may be invalid. Linux returns EFAULT for an invalid one, so the library must not crash on it. Two ways
 * tell whether memory may be accessed:
 *
 *   managed           The space knows (guard_valid). The access itself is served as a fault. The kernel cannot be
 *                     asked: in signal mode it cannot reach a page that is out, and a futex call never waits for a
 *                     fault to be served.
 *   everything else   The kernel is asked, a page at a time, by calls that change nothing.
 *
 * Another thread may unmap the memory after the check. Then the program gets a signal, as such a race may give
 * natively.
 */
#include "run/guard/guard.h"

#include <linux/futex.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#define NO_SUCH_HOW UINT32_MAX
#define KERNEL_SIGSET_BYTES 8

/*
 * The kernel reads the mask before it checks `how`. So the call fails with EFAULT, or with EINVAL, and changes
 * nothing.
 */
static bool page_can_read(uint64_t at)
{
	uint64_t args[6] = {NO_SUCH_HOW, at & ~7UL, 0, KERNEL_SIGSET_BYTES};

	return guard_issue(SYS_rt_sigprocmask, args) != -EFAULT;
}

/*
 * The kernel does an atomic "or 0" on the word. The call fails with EFAULT, or the word stays as it is. At most a
 * futex waiter of that word is woken, which looks again.
 */
static bool page_can_write(uint64_t at)
{
	uint32_t nobody_waits = 0;
	uint64_t args[6] = {(uintptr_t)&nobody_waits, FUTEX_WAKE_OP | FUTEX_PRIVATE_FLAG, 0, 0, at & ~3UL,
		(uint32_t)FUTEX_OP(FUTEX_OP_OR, 0, FUTEX_OP_CMP_LT, 0)};

	return guard_issue(SYS_futex, args) != -EFAULT;
}

size_t user_asked(uint64_t user, size_t len, int prot)
{
	uint64_t here = page_align_down((uintptr_t)__builtin_frame_address(0));
	uint64_t end = user + len < user ? UINT64_MAX : user + len;

	for (uint64_t at = user; at < end; at = page_align_down(at) + PAGE_BYTES) {
		if (page_align_down(at) == here)
			continue; /* the page of this very stack frame: most structures lie there */
		if (prot & PROT_WRITE ? !page_can_write(at) : !page_can_read(at))
			return at - user;
	}
	return len;
}

static size_t valid(const void *user, size_t len, int prot)
{
	uint64_t at = (uintptr_t)user;

	return run.active && run_manages(user) ? guard_valid(at, len, prot) : user_asked(at, len, prot);
}

bool user_readable(const void *user, size_t bytes)
{
	return valid(user, bytes, PROT_READ) == bytes;
}

bool user_read(void *to, const void *user, size_t bytes)
{
	if (!user_readable(user, bytes))
		return false;
	memcpy(to, user, bytes);
	return true;
}

bool user_write(void *user, const void *from, size_t bytes)
{
	if (valid(user, bytes, PROT_WRITE) < bytes)
		return false;
	memcpy(user, from, bytes);
	return true;
}

/* Check a page at a time: the page behind the string's end need not be readable. */
bool user_text(const char *text)
{
	for (;;) {
		size_t bytes = PAGE_BYTES - ((uintptr_t)text & ~PAGE_MASK);

		if (!user_readable(text, bytes))
			return false;
		if (memchr(text, 0, bytes))
			return true;
		text += bytes;
	}
}

bool user_texts(char *const *texts)
{
	for (;; texts++) {
		char *text;

		if (!user_read(&text, texts, sizeof(text)))
			return false;
		if (!text)
			return true;
		if (!user_text(text))
			return false;
	}
}

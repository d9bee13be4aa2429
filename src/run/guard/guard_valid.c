/* SPDX-License-Identifier: MIT */
/*
 * Which memory of the program a call may work on.
 *
 * To look at the VMAs a thread takes the pager lock, for which signals must be blocked. That is two calls into the
 * kernel, which cost more than the read() that they are for. So each thread remembers some ranges, and uses them
 * until a VMA goes or gets other rights (space_changes()). Most programs read and write where they did before.
 *
 * A thread writes its ranges with signals blocked. A handler may interrupt a thread that reads them, and write
 * others. The reader finds that out by nr_remembered, and takes the slow way.
 */
#include "run/guard/guard.h"

#include <sys/mman.h>

#define KNOWN 4 /* a program uses several VMAs in turn: for events, for reading, for writing */

static THREAD_LOCAL struct known {
	uint64_t start, end;
	uint64_t changes; /* space_changes() before the look at the VMAs */
	int prot;
} known[KNOWN];
static THREAD_LOCAL unsigned nr_remembered;

static struct known *known_place(uint64_t end, uint64_t changes)
{
	for (unsigned i = 0; i < KNOWN; i++)
		if (known[i].end == end || known[i].changes != changes)
			return &known[i];
	return &known[nr_remembered % KNOWN];
}

/* => signals blocked */
static void remember(uint64_t start, uint64_t end, int prot, uint64_t changes)
{
	*known_place(end, changes) = (struct known){start, end, changes, prot};
	nr_remembered++;
}

static bool is_known(uint64_t user, size_t len, int prot)
{
	uint64_t changes = space_changes(run.space);
	unsigned before = nr_remembered;
	bool found = false;

	atomic_signal_fence(memory_order_seq_cst);
	for (unsigned i = 0; i < KNOWN && !found; i++)
		found = known[i].changes == changes && user >= known[i].start && user < known[i].end &&
			len <= known[i].end - user && (known[i].prot & prot) == prot;
	atomic_signal_fence(memory_order_seq_cst);
	return found && nr_remembered == before;
}

/* With PROT_NONE any right suffices: the caller looks at one byte of each page. */
static bool allows(int has, int prot)
{
	return prot == PROT_NONE ? has != PROT_NONE : (has & prot) == prot;
}

/*
 * Check a file's mapping from *@at to @end by asking the kernel: its rights may have changed, and it may reach beyond
 * the file's end. *@at becomes the first byte that is not valid.
 */
static bool foreign_valid(uint64_t *at, uint64_t end, int prot)
{
	uint64_t start = *at;

	*at += user_asked(start, end - start, prot == PROT_NONE ? PROT_READ : prot);
	return *at == end;
}

size_t guard_valid_here(uint64_t user, size_t len, int prot)
{
	uint64_t at = user, end = user + len < user ? UINT64_MAX : user + len;

	while (at < end) {
		uint64_t run_end = run.end, changes = space_changes(run.space);
		int has = PROT_NONE;
		enum space_kind kind = SPACE_IS_FOREIGN;

		if (!run_manages((void *)at)) /* behind the managed range only the kernel knows */
			return at - user + user_asked(at, end - at, prot);
		kind = space_kind_at(run.space, at, &run_end, &has);
		if (kind == SPACE_ANON && has != PROT_NONE)
			remember(page_align_down(at), run_end, has, changes);
		if (kind == SPACE_HOLE || (kind == SPACE_ANON && !allows(has, prot)))
			break;
		if (kind == SPACE_IS_FOREIGN && !foreign_valid(&at, min_u64(run_end, end), prot))
			break;
		at = run_end;
	}
	return at < end ? at - user : len;
}

static long valid_work(struct call *call)
{
	return (long)guard_valid_here(call->addr, call->len, call->prot);
}

size_t guard_valid(uint64_t user, size_t len, int prot)
{
	struct call call = {.work = valid_work, .addr = user, .len = len, .prot = prot};

	if (!run_manages((void *)user) || is_known(user, len, prot))
		return len;
	return (size_t)call_run(&call);
}

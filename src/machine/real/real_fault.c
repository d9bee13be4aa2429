/* SPDX-License-Identifier: MIT */
/*
 * Faults that cannot be served, in thread mode: the access must end, in a defined way.
 *
 * The thread gets the signal with the address, as the kernel would send it. That does not end the
 * access of a system call, nor that of a thread which blocks or ignores the signal; so the page
 * is poisoned as well: the access then fails with EFAULT, or with a SIGBUS that cannot be
 * blocked. The poison is taken away a moment later: memory may be had again, and the core, not
 * the host, remembers which pages are lost.
 *
 * No VMA there, or one that forbids the access: the host knows as well, the region has that
 * protection. Waking the thread lets it fault natively. Only if that repeats do we send the signal.
 */
#include "machine/real/real_internal.h"

#include <string.h>

#define POISON_NS (20 * 1000000ULL)
#define SEGV_REPEATS 4

const char *real_fault_words(enum fault_result result)
{
	switch (result) {
	case FAULT_SIGSEGV:
		return "nothing is mapped there that allows this access";
	case FAULT_SIGBUS:
		return "the content of this page is lost (I/O error or failed check on the swap device)";
	case FAULT_OOM:
		return "no memory is left: every frame is in use and swap has no room. Give more --memory or "
		       "a larger --swap";
	default:
		return "unknown reason";
	}
}

/* ---- Poison ------------------------------------------------------------------------------ */

static void poison_forget(struct real_machine *m, unsigned at, bool drop)
{
	unsigned last = atomic_load(&m->nr_poisoned) - 1;

	if (drop)
		m->real_ops->drop(m, m->poisoned[at].addr, 1);
	m->poisoned[at] = m->poisoned[last];
	atomic_store(&m->nr_poisoned, last);
}

/*
 * Before a page is shown: take poison away. After: forget what was put there meanwhile, if that failed to keep
 * the page away (a copy replaces poison). Returns how many there were.
 */
unsigned real_poison_clear(struct real_machine *m, uint64_t addr, unsigned nr, bool shown)
{
	unsigned found = 0;

	lock_take(&m->poison_lock);
	for (unsigned i = 0; i < atomic_load(&m->nr_poisoned);) {
		if (m->poisoned[i].addr >= addr && m->poisoned[i].addr < addr + (uint64_t)nr * PAGE_BYTES) {
			poison_forget(m, i, !shown);
			found++;
		} else {
			i++;
		}
	}
	lock_drop(&m->poison_lock);
	return found;
}

/* The pager thread's: a program thread that holds the lock is not waited for, the next time will do. */
void real_poison_expire(struct real_machine *m)
{
	uint64_t now = host_now_ns();

	if (!lock_try(&m->poison_lock))
		return;
	for (unsigned i = 0; i < atomic_load(&m->nr_poisoned);) {
		if (now > m->poisoned[i].until_ns)
			poison_forget(m, i, true);
		else
			i++;
	}
	lock_drop(&m->poison_lock);
}

static bool poison(struct real_machine *m, uint64_t page)
{
	unsigned nr;
	int error;

	lock_take(&m->poison_lock);
	if (atomic_load(&m->nr_poisoned) == NR_POISONED)
		poison_forget(m, 0, true);
	nr = atomic_load(&m->nr_poisoned);
	m->poisoned[nr] = (struct poisoned){.addr = page, .until_ns = host_now_ns() + POISON_NS};
	/* Counted first: a map() that does not see it has shown its page before, and the poison is refused. */
	atomic_store(&m->nr_poisoned, nr + 1);
	error = m->real_ops->poison(m, page);
	if (error)
		atomic_store(&m->nr_poisoned, nr);
	lock_drop(&m->poison_lock);
	return error == 0;
}

/* ---- Signals ----------------------------------------------------------------------------- */

static void send_signal(const struct told_fault *fault, int signal, int code)
{
	siginfo_t info;

	memset(&info, 0, sizeof(info));
	info.si_signo = signal;
	info.si_code = code;
	info.si_addr = (void *)(uintptr_t)fault->addr;
	host_call(SYS_rt_tgsigqueueinfo, getpid(), fault->tid, signal, &info);
}

static bool left_to_host(struct real_machine *m, const struct told_fault *fault)
{
	bool again = m->segv.addr == fault->addr && m->segv.tid == fault->tid;

	m->nr_segv = again ? m->nr_segv + 1 : 1;
	m->segv = *fault;
	return m->nr_segv < SEGV_REPEATS;
}

void real_fault_fails(struct real_machine *m, struct told_fault *fault, enum fault_result result)
{
	uint64_t page = page_align_down(fault->addr);

	if (result == FAULT_SIGSEGV && left_to_host(m, fault)) {
		m->real_ops->wake_range(m, page, 1);
		return;
	}
	real_say(m, fault->tid, "thread %d, %s of %#lx: %s", fault->tid,
		fault->access == ACCESS_WRITE ? "write" : "read", fault->addr, real_fault_words(result));
	if (result == FAULT_SIGSEGV)
		send_signal(fault, SIGSEGV, SEGV_ACCERR);
	else
		send_signal(fault, SIGBUS, BUS_ADRERR);
	if (!poison(m, page))
		m->real_ops->wake_range(m, page, 1);
}

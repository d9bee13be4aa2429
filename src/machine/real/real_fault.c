/* SPDX-License-Identifier: MIT */
/*
 * Faults that cannot be served, in thread mode: the access must end, in a defined way.
 *
 * FAULT_SIGBUS and FAULT_OOM. The thread gets SIGBUS with the address, as the kernel would send it. The signal does not
 * end the access of a system call, nor that of a thread which blocks or ignores the signal. So the page is poisoned as
 * well: the system call fails with EFAULT, and any other access with a SIGBUS that cannot be blocked. The poison is
 * taken away after POISON_NS, because memory may be free again by then. That a page's content is lost for ever is
 * remembered by the core, not by the host.
 *
 * FAULT_SIGSEGV: there is no VMA, or it forbids the access. The host knows this, too, by the protection of the region.
 * So the thread is woken: it repeats the access, and the host sends the signal. If the same thread faults at the same
 * address SEGV_REPEATS times in a row, we send the signal and poison the page.
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

/* Take entry @at off the list. @drop: take the poison away, too. => poison_lock held */
static void poison_forget(struct real_machine *m, unsigned at, bool drop)
{
	unsigned last = atomic_load(&m->nr_poisoned) - 1;

	if (drop)
		m->real_ops->drop(m, m->poisoned[at].addr, 1);
	m->poisoned[at] = m->poisoned[last];
	atomic_store(&m->nr_poisoned, last);
}

/*
 * Clear the poison of @nr pages from @addr on. Returns how many of them were poisoned.
 * @shown false: the pages are about to be shown, so the poison is taken away.
 * @shown true: the pages have been shown. Poison that was put there meanwhile did not keep them away, because a copy
 * replaces poison. It is gone, and is only taken off the list.
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

/*
 * Take the poison away whose time is over. If a thread of the program holds poison_lock, this does nothing: the pager
 * thread must not wait for it, and calls this again soon. => pager thread
 */
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

/*
 * Poison @page, for POISON_NS. If the list is full, its first entry goes. false: there is a page, or the host cannot.
 */
static bool poison(struct real_machine *m, uint64_t page)
{
	unsigned nr;
	int error;

	lock_take(&m->poison_lock);
	if (atomic_load(&m->nr_poisoned) == NR_POISONED)
		poison_forget(m, 0, true);
	nr = atomic_load(&m->nr_poisoned);
	m->poisoned[nr] = (struct poisoned){.addr = page, .until_ns = host_now_ns() + POISON_NS};
	/*
	 * The poison is counted before it is put there. A map() that does not see the new count has shown its page
	 * already, and then the host refuses the poison.
	 */
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

/* Shall the thread repeat the access, so that the host sends the signal? Counts the repetitions. */
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

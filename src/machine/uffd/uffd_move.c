/* SPDX-License-Identifier: MIT */
/*
 * The way by UFFDIO_MOVE (Linux 6.8): the page itself goes from the pool to the address and back. Nothing is copied,
 * and after the way back no thread can write to the page.
 *
 * -EBUSY has two reasons:
 *   - The page is shared with another process since a fork. Any write makes the page this process's own (exclusive),
 *     or copies it. So write what is there already, atomically, and try again.
 *   - The page is pinned by I/O. The pin ends with the I/O, so try again for 200 us. If it stays pinned:
 *       show   our own device's I/O holds the pin: the page is copied, and the old one is left to that I/O
 *       hide   the program's I/O may still write into the page, and a copy would lose that: it stays where it is
 */
#include "machine/uffd/uffd_internal.h"

#include <string.h>

#define SHOW_PATIENCE_NS (200 * 1000LL)
#define BUSY_PATIENCE_NS (200 * 1000LL)
#define HIDE_PATIENCE_NS (10 * 1000000000LL)

/*
 * The write is an atomic exchange of a word for itself, because the program may write to the word meanwhile. If such a
 * write makes the exchange fail, then it has made the page exclusive. (An atomic add of zero would do, but a compiler
 * sees that it changes nothing, and makes it a load.)
 */
void uffd_make_exclusive(uint64_t addr)
{
	volatile uint32_t *word = (volatile uint32_t *)(uintptr_t)addr;
	uint32_t value = *word;

	__atomic_compare_exchange_n(word, &value, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

/* Sleep, a little longer each time: 5 us to 1 ms. False: *@waited_ns has reached @limit_ns, and there was no sleep. */
static bool be_patient(int64_t *waited_ns, int64_t limit_ns)
{
	int64_t ns = *waited_ns < 10000 ? 5000 : *waited_ns / 2;

	if (*waited_ns >= limit_ns)
		return false;
	if (ns > 1000000)
		ns = 1000000;
	host_sleep(ns);
	*waited_ns += ns;
	return true;
}

/* Show page @at of @run, which stays pinned in the pool, by copy. */
static unsigned show_by_copy(struct uffd_machine *m, const struct page_run *run, unsigned at, int *error)
{
	struct page_run one = {
		.addr = run->addr + at * PAGE_BYTES, .pfn = run->pfn + at, .nr = 1, .prot = run->prot};

	return uffd_way_copy.show(m, &one, error);
}

static unsigned move_show(struct uffd_machine *m, const struct page_run *run, int *error)
{
	bool wake = m->real.faults == ANONMM_FAULTS_THREAD;
	unsigned done = 0;
	int64_t waited_ns = 0;

	for (;;) {
		uint64_t src = frame_addr(m, run->pfn + done);

		done += uffd_move(m, run->addr + done * PAGE_BYTES, src, run->nr - done, wake, error);
		if (done == run->nr || *error != -EBUSY)
			return done;
		uffd_make_exclusive(frame_addr(m, run->pfn + done));
		if (be_patient(&waited_ns, SHOW_PATIENCE_NS))
			continue;
		if (!show_by_copy(m, run, done, error))
			return done;
		if (++done == run->nr)
			return done;
	}
}

static unsigned move_hide(struct uffd_machine *m, const struct page_run *run)
{
	unsigned done = 0;
	int64_t waited_ns = 0;
	int error;

	for (;;) {
		uint64_t addr = run->addr + done * PAGE_BYTES;
		unsigned moved =
			uffd_move(m, frame_addr(m, run->pfn + done), addr, run->nr - done, false, &error);

		done += moved;
		if (done == run->nr)
			return done;
		addr = run->addr + done * PAGE_BYTES;
		if (moved)
			waited_ns = 0;
		if (error == -EBUSY && waited_ns == 0)
			uffd_make_exclusive(addr);
		if (error == -EBUSY && !be_patient(&waited_ns, BUSY_PATIENCE_NS))
			return done;
		if ((error != -EBUSY && error != -ENOMEM) ||
			(error == -ENOMEM && !be_patient(&waited_ns, HIDE_PATIENCE_NS)))
			real_die(&m->real, "page %#lx cannot be taken back: %s", addr, strerror(-error));
	}
}

const struct uffd_way uffd_way_move = {.show = move_show, .hide = move_hide};

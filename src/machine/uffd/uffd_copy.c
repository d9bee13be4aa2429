/* SPDX-License-Identifier: MIT */
/*
 * The way by UFFDIO_COPY: for kernels without UFFDIO_MOVE, and for regions that UFFDIO_MOVE refuses because their
 * protection is not that of the pool.
 *
 * On the way out the page is write-protected first, so that no write comes after the copy. A thread that writes
 * meanwhile faults, finds the page locked, and waits as for any locked page. Between copy and drop both pages exist: a
 * run has at most RUN_PAGES, so the process holds at most RUN_PAGES more than its limit.
 *
 * Nothing here can tell that the program's own I/O has pinned a page. What such I/O still writes into the old page is
 * lost. This is a caveat of kernels before 6.8.
 */
#include "machine/uffd/uffd_internal.h"

#include <string.h>

static unsigned copy_show(struct uffd_machine *m, const struct page_run *run, int *error)
{
	bool wake = m->real.faults == ANONMM_FAULTS_THREAD;
	unsigned done = uffd_copy(m, run->addr, frame_addr(m, run->pfn), run->nr, wake, error);

	if (done)
		uffd_drop(m, frame_addr(m, run->pfn), done);
	return done;
}

/* -ENOMEM may pass: the host is short of memory, and the caller frees memory by what it does here. So try for 1 s. */
static void copy_out(struct uffd_machine *m, const struct page_run *run)
{
	unsigned done = 0;
	int error, tries = 0;

	while (done < run->nr) {
		done += uffd_copy(m, frame_addr(m, run->pfn + done), run->addr + done * PAGE_BYTES,
			run->nr - done, false, &error);
		if (done < run->nr && (error != -ENOMEM || ++tries > 1000))
			real_die(&m->real, "page %#lx cannot be taken back: %s",
				run->addr + done * PAGE_BYTES, strerror(-error));
		if (done < run->nr)
			host_sleep(1000000);
	}
}

static unsigned copy_hide(struct uffd_machine *m, const struct page_run *run)
{
	if (run->prot & PROT_WRITE) {
		int error = uffd_write_protect(m, run->addr, run->nr);

		if (error)
			real_die(&m->real, "page %#lx cannot be write-protected: %s", run->addr,
				strerror(-error));
	}
	copy_out(m, run);
	uffd_drop(m, run->addr, run->nr);
	return run->nr;
}

const struct uffd_way uffd_way_copy = {.show = copy_show, .hide = copy_hide};

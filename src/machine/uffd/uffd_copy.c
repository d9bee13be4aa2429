/* SPDX-License-Identifier: MIT */
/*
 * The way of UFFDIO_COPY: for kernels without UFFDIO_MOVE, and for regions that MOVE does not
 * do, because their protection is not that of the pool.
 *
 * On the way out the page is write-protected first, so that the copy is the last word; a
 * thread that writes meanwhile faults, finds the page locked, and waits like any other. Between
 * copy and drop both pages exist: a run is short, so that is at most RUN_PAGES beyond the limit.
 *
 * A page that the program's own I/O has pinned cannot be told from others here: I/O into it that
 * is still in flight is lost. That is a caveat of kernels before 6.8.
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

/* The host may be short of memory for a moment: that is what the caller is about to cure. */
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

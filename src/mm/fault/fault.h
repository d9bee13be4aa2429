/* SPDX-License-Identifier: MIT */
/*
 * A fault on its way: what the handlers share. fault.c classifies the fault and calls one of them:
 *
 *      PTE            access          handler                                LIFECYCLE
 *      none           any             do_anonymous_page    fault_anon.c      B1, B2
 *      none, a file   any             do_fault             fault_file.c      B7; shmem.c
 *      zero page      write           do_wp_page           fault_wp.c        B3
 *      read-only      write           do_wp_page           fault_wp.c        B4, B5, B6
 *      merged         break_ksm       do_wp_page           fault_wp.c        MADV_UNMERGEABLE
 *      swap entry     any             do_swap_page         fault_swap.c      B8, section 5
 *      migration      any             fault_wait_page      fault.c           B9
 *      armed          any             do_armed_page        fault.c           4.1, on machines without accessed bits
 *
 * A handler that needs a frame and finds none returns FAULT_NO_FRAME. One that meets a busy page returns FAULT_WAIT. It
 * holds nothing then, and the fault is classified anew: everything may have changed meanwhile.
 *
 * A handler serves a run of pages where the stream of faults asks for it (readahead.h). The machine gets the whole run
 * in one call. The pages are locked then, and their PTEs are present but not valid, so nobody else can change them.
 */
#ifndef ANONMM_FAULT_H
#define ANONMM_FAULT_H

#include "mm/mm.h"

/* What a handler may return besides enum fault_result: classify again; a frame is needed first. */
enum { FAULT_RETRY = 100, FAULT_NO_FRAME };

struct fault {
	struct pager *pager;
	struct space *space;
	struct vma *vma; /* NULL after the lock was dropped: find_vma() again */
	uint64_t addr; /* of the page: page aligned */
	uint32_t index; /* the page's index in the space */
	bool write;
	struct page *source; /* the page that a copy will be made of, once there is a frame; NULL: none */
	/* nobody has accessed the page: a merged page is to be copied, whatever the VMA allows */
	bool unshare;
	bool reclaimed; /* the fault has reclaimed already: it may take frames below the min watermark */
	pte_slot_t *ptep;
	pte_t pte;
	/* the stream that the fault belongs to; NULL: none, or the lock was dropped */
	struct fault_stream *stream;
	int step; /* pages from one page of the run to the next */
	struct wait *wait; /* filled with FAULT_WAIT */

	/* The run of pages that is being made visible: maps[0] is the page that was asked for. */
	unsigned nr;
	struct mapping maps[FAULT_AROUND];
};

/*
 * Take up to @want new frames that follow each other. Returns how many. 0: no frame is free, or the fault must reclaim
 * first; the handler returns FAULT_NO_FRAME.
 */
unsigned fault_frames(struct fault *f, unsigned want, struct page **first);
/*
 * Take one frame for a copy of @source (NULL: of nothing). If there is none, reclaim leaves @source alone until there
 * is one; otherwise it could take just that page again and again.
 */
bool fault_frame_for_copy(struct fault *f, struct page *source, struct page **page);
bool fault_must_reclaim(const struct fault *f);

/* Fill f->wait until @page is unlocked, and return FAULT_WAIT. => @page is locked */
int fault_wait_page(struct fault *f, struct page *page);

/*
 * MADV_UNMERGEABLE: if @addr maps a merged page, it gets a page of its own. FAULT_DONE, FAULT_WAIT or FAULT_OOM. Drops
 * the lock.
 */
enum fault_result break_ksm(struct space *space, uint64_t addr, struct wait *wait);

/* ---- The run of pages that is made visible ---- */

/* Page @i of the run. Page 0 is the one that was asked for; the others follow by the stream's step. */
uint64_t run_addr(const struct fault *f, unsigned i);
pte_slot_t *run_ptep(struct fault *f, unsigned i);
void run_add(struct fault *f, struct page *page, enum frame_content content);
/*
 * Tell the stream how far the run goes. => before the lock is dropped: after that the VMA, with its stream, may be gone
 */
void run_served(struct fault *f);
/* Have the machine show the run. Drops the lock. => the run's pages are locked, their PTEs present and not valid */
void run_map(struct fault *f);
/*
 * After run_map(): the pages that the machine shows are valid. Those that it could not show stay armed, so the next
 * touch tries again. FAULT_DONE, or FAULT_OOM if the page that was asked for is not shown.
 */
int run_finish(struct fault *f);

/* The PTE word for a page that comes in. Only the page that was asked for counts as accessed. */
pte_t new_pte(const struct fault *f, const struct page *page, bool asked_for, bool write, bool dirty);

/* A new page joins the LRU. In a locked VMA it goes to the unevictable list at once. */
void lru_cache_add_vma(struct fault *f, struct page *page);

/*
 * The new page @page takes the PTE's place as a copy of @source. Drops the lock. Both pages are locked meanwhile, so
 * nobody sees the copy before it is whole. FAULT_DONE, or FAULT_OOM: the PTE is f->pte again, and @page is freed.
 * => @source locked
 */
int fault_copy(struct fault *f, struct page *page, struct page *source);

/* ---- The handlers. Each returns an enum fault_result, FAULT_RETRY or FAULT_NO_FRAME ---- */

int do_anonymous_page(struct fault *f);
int do_fault(struct fault *f);
int do_wp_page(struct fault *f);
int do_swap_page(struct fault *f);

/*
 * The page of @entry is on a device: ask for it, and for what the stream will want next. FAULT_WAIT, FAULT_RETRY,
 * FAULT_NO_FRAME or FAULT_OOM. Only one thread asks: the page enters the swap cache, locked, and others wait for it.
 * Drops the lock.
 * => the page is not in the swap cache
 */
int fault_read_swap(struct fault *f, swp_entry_t entry);

/*
 * shmem.c: find the page of the page cache at @index. It is born, or brought in, if need be. FAULT_DONE: *out is the
 * page, which may be locked. Drops the lock.
 */
int shmem_fault(struct fault *f, struct file *file, uint32_t index, struct page **out);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * A fault on its way: what the handlers share. fault.c classifies and calls one of them:
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
 * A handler that needs a frame and finds none says FAULT_NO_FRAME; one that meets a busy page says FAULT_WAIT.
 * Nothing is held then, and the fault is classified anew: whoever slept looks again.
 *
 * Handlers serve a run of pages where the stream of faults says so (readahead.h): all of them go to the machine in one
 * call, their pages locked, their PTEs present but not valid; nobody can come between.
 */
#ifndef ANONMM_FAULT_H
#define ANONMM_FAULT_H

#include "mm/mm.h"

/* What a handler says besides enum fault_result. */
enum { FAULT_RETRY = 100, FAULT_NO_FRAME };

struct fault {
	struct pager *pager;
	struct space *space;
	struct vma *vma; /* NULL from where the lock was dropped on: look again */
	uint64_t addr; /* of the page */
	uint32_t index; /* its number in the space */
	bool write;
	struct page *source; /* what a copy will be made of, once there is a frame; NULL: none */
	bool unshare; /* no access: a merged page is to be copied, whatever the VMA allows */
	bool reclaimed; /* this fault has done its share of reclaim: it may go below the min watermark */
	pte_slot_t *ptep;
	pte_t pte;
	struct fault_stream *stream; /* NULL: none */
	int step; /* its step, from one page of the run to the next */
	struct wait *wait;

	/* The run that is being made visible. */
	unsigned nr;
	struct mapping maps[FAULT_AROUND];
};

/*
 * Up to @want new frames that follow each other; 0: none is free, or the fault has to reclaim first (FAULT_NO_FRAME).
 */
unsigned fault_frames(struct fault *f, unsigned want, struct page **first);
/* One for a copy of @source (NULL: of nothing), which reclaim leaves alone meanwhile: else it could take just that page for ever. */
bool fault_frame_for_copy(struct fault *f, struct page *source, struct page **page);
bool fault_must_reclaim(const struct fault *f);

/* FAULT_WAIT until @page is unlocked. => it is locked */
int fault_wait_page(struct fault *f, struct page *page);

/*
 * MADV_UNMERGEABLE: @addr gets a page of its own if it maps a merged one. FAULT_DONE, FAULT_WAIT or FAULT_OOM. Drops the lock.
 */
enum fault_result break_ksm(struct space *space, uint64_t addr, struct wait *wait);

/* ---- The run of pages that is made visible ---- */

/* Page @i of the run; page 0 is the one that was asked for, the others follow it by the stream's step. */
uint64_t run_addr(const struct fault *f, unsigned i);
pte_slot_t *run_ptep(struct fault *f, unsigned i);
void run_add(struct fault *f, struct page *page, enum frame_content content);
/* Tell the stream how far the run goes. Before the lock is dropped: then the VMA may be split, or merged with another. */
void run_served(struct fault *f);
/* Drops the lock. => the run's pages are locked, their PTEs present and not valid */
void run_map(struct fault *f);
/*
 * The pages that the machine shows are valid; those it could not show stay armed, and the next touch tries again.
 * Returns FAULT_OOM if that is the page that was asked for.
 */
int run_finish(struct fault *f);

/* The word of a page that comes in. Only the page that was asked for counts as accessed. */
pte_t new_pte(const struct fault *f, const struct page *page, bool asked_for, bool write, bool dirty);

/* A new page joins the LRU; in a locked VMA it belongs to the unevictable list from its first mapping on. */
void lru_cache_add_vma(struct fault *f, struct page *page);

/*
 * @page, new, takes the PTE's place as a copy of @source. Drops the lock; both pages are locked meanwhile, and nobody
 * sees the copy before it is whole. FAULT_DONE, or FAULT_OOM: the PTE is f->pte again, @page is gone. => @source locked
 */
int fault_copy(struct fault *f, struct page *page, struct page *source);

/* ---- The handlers. Each returns an enum fault_result, FAULT_RETRY or FAULT_NO_FRAME ---- */

int do_anonymous_page(struct fault *f);
int do_fault(struct fault *f);
int do_wp_page(struct fault *f);
int do_swap_page(struct fault *f);

/* The page of @entry is on a device: ask for it, and wait for it. Exactly one asks. => not in the swap cache */
int fault_read_swap(struct fault *f, swp_entry_t entry);

/* shmem.c: the page of the page cache at @index, born or brought in if need be. It may be locked. */
int shmem_fault(struct fault *f, struct file *file, uint32_t index, struct page **out);

#endif

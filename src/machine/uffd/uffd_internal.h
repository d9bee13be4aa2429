/* SPDX-License-Identifier: MIT */
/*
 * What the files of the uffd machine share. The picture:
 *
 *   managed range   One reservation. It is PROT_NONE except where a region is mapped. It is registered with
 *                   userfaultfd once, as a whole, for missing pages: mprotect() may split it into several areas of the
 *                   host, and each stays registered.
 *   pool            Frame n is page n of it. It is registered, too: UFFDIO_MOVE demands a registered target, and a
 *                   stray touch of an empty page must not silently get a page of zeros.
 *
 *   uffd.c          open, start, stop, close; regions; the table of operations
 *   uffd_pool.c     memory behind frames; memory for the core
 *   uffd_map.c      map and unmap: runs, and which way each goes
 *   uffd_move.c     the way by UFFDIO_MOVE, which copies nothing. It works only between areas of equal protection that
 *                   may be written
 *   uffd_copy.c     the way by UFFDIO_COPY: for older kernels, and for regions that are not plain read-write
 *   uffd_host.c     the userfaultfd itself and its requests    uffd_probe.c   what the host allows
 *   uffd_told.c     faults that the descriptor tells of        uffd_fork.c    fork
 *
 * real/real_internal.h has what every machine on real memory does besides.
 *
 * Frames: place[n] says where the memory of frame n is. Only the owner of frame n (the thread that holds its page lock,
 * or has just allocated it) reads place[n] or changes it.
 *
 *   NONE --frame_populate-------------> POOL
 *   NONE --map with FRAME_ZERO--------> SHOWN
 *   POOL --map------------------------> SHOWN
 *   SHOWN --unmap with UNMAP_KEEP-----> POOL
 *   SHOWN --unmap with UNMAP_DROP-----> NONE
 *   POOL --frame_drop-----------------> NONE
 */
#ifndef ANONMM_UFFD_INTERNAL_H
#define ANONMM_UFFD_INTERNAL_H

#include "machine/real/real_internal.h"
#include "machine/uffd/uffd.h"
#include "machine/uffd/uffd_abi.h"

enum frame_place { PLACE_NONE, PLACE_POOL, PLACE_SHOWN };

/* @nr pages at consecutive addresses, in consecutive frames. */
struct page_run {
	uint64_t addr;
	pfn_t pfn;
	unsigned nr;
	int prot;
};

struct uffd_machine;

/* How bytes get from the pool to an address and back: by moving pages, or by copying them. */
struct uffd_way {
	/*
	 * Returns how many pages, from the first on, are at their addresses now. If these are not all, *error is the
	 * -errno of the next one. => frames in the pool
	 */
	unsigned (*show)(struct uffd_machine *, const struct page_run *, int *error);
	/*
	 * Returns how many pages, from the first on, are in the pool now. If these are not all, the next one is pinned
	 * for I/O and is where it was. => frames shown
	 */
	unsigned (*hide)(struct uffd_machine *, const struct page_run *);
};

extern const struct uffd_way uffd_way_move, uffd_way_copy;

/* uffd_told.c */
extern const struct real_ops uffd_real_ops;

/* Locks: [I] set before threads start  [a] atomic  [o] the frame's owner  [m] mail_lock */
struct uffd_machine {
	struct real_machine real; /* first: a pointer to its first member is the core's handle */
	/* [I] the one space, over the whole managed range; NULL before the first start */
	struct space *space;
	const struct uffd_way *way; /* [I] for regions that are plain read-write */
	int node; /* [I] /dev/userfaultfd, by which a fork's child gets a userfaultfd of its own; -1: none */
	uint64_t features; /* [I] UFFD_FEATURE_* that the kernel granted */
	uint8_t *pool; /* [I] */
	uint64_t pool_bytes; /* [I] the frames, and one page more that is always empty */
	uint8_t *zeros; /* [I] ZERO_PAGES pages, never written: each is the host's zero page */
	uint32_t nr_frames; /* [I] */
	uint8_t *place; /* [I] the array, [o] its inside: enum frame_place, by frame */
	size_t place_bytes; /* [I] */

	/*
	 * One request at a time of threads whose descriptor table lost ours. kswapd makes it. [m] held by the thread
	 * that asks, from the posting to the answer.
	 */
	struct lock mail_lock;
	struct mail {
		_Atomic(uint32_t) state; /* 0: empty, 1: posted, 2: answered */
		unsigned long request;
		void *arg;
		int result;
	} mail;
	/* [a] a request found that our descriptor is gone: from then on kswapd makes all */
	_Atomic(bool) fds_lost;
};

#define ZERO_PAGES 64
#define RUN_PAGES 256 /* most pages of one page_run */

static inline struct uffd_machine *uffd_of(struct machine *machine)
{
	return (struct uffd_machine *)machine;
}

static inline uint64_t frame_addr(const struct uffd_machine *m, pfn_t pfn)
{
	return (uint64_t)(uintptr_t)m->pool + (uint64_t)pfn * PAGE_BYTES;
}

/* uffd_host.c. Results: 0 or -errno, unless said otherwise. */
/* Open the userfaultfd, choose the way, and set m->features. On failure @why says what was found and what to do. */
int uffd_fd_open(struct uffd_machine *m, bool copy, char *why, size_t why_len);
/* In a fork's child: open a userfaultfd for the child's memory. */
int uffd_fd_reopen(struct uffd_machine *m);
/* Register the managed range, without the foreign mappings in it, and the pool. => space locked, if there is one */
int uffd_register(struct uffd_machine *m);
int uffd_register_area(struct uffd_machine *m, uint64_t start, uint64_t bytes);
/* A descriptor, or -errno. */
int uffd_eventfd_open(void);
/*
 * Bring @nr pages from @src to @dst. @wake: threads that wait for these addresses are woken. Both return how many
 * pages were done, from the first on. If these are not all, *error is the -errno of the next one; else 0.
 */
unsigned uffd_move(struct uffd_machine *m, uint64_t dst, uint64_t src, unsigned nr, bool wake, int *error);
unsigned uffd_copy(struct uffd_machine *m, uint64_t dst, uint64_t src, unsigned nr, bool wake, int *error);
int uffd_write_protect(struct uffd_machine *m, uint64_t addr, unsigned nr);
/* The three that struct real_ops has under the names poison, wake_range and drop. */
int uffd_poison_page(struct uffd_machine *m, uint64_t addr);
void uffd_wake_range(struct uffd_machine *m, uint64_t addr, unsigned nr);
void uffd_drop(struct uffd_machine *m, uint64_t addr, unsigned nr);
/* Make the request that another thread has posted, if there is one. => kswapd */
void uffd_serve_mail(struct uffd_machine *m);

/* uffd_pool.c: the operations of these names (contract/machine.h), and one helper. */
void *uffd_frame_bytes(struct machine *machine, pfn_t pfn);
int uffd_frame_populate(struct machine *machine, pfn_t first, unsigned nr);
void uffd_frame_drop(struct machine *machine, pfn_t first, unsigned nr);
/* As uffd_copy(), of zeros. */
unsigned uffd_copy_zeros(struct uffd_machine *m, uint64_t addr, unsigned nr, bool wake, int *error);
void *uffd_chunk_alloc(struct machine *machine, size_t bytes);
void uffd_chunk_free(struct machine *machine, void *chunk, size_t bytes);

/* uffd_map.c: the operations of these names (contract/machine.h). */
void uffd_map(struct machine *machine, struct mapping *maps, unsigned nr);
void uffd_unmap(struct machine *machine, struct mapping *maps, unsigned nr, enum unmap_content content);

/* uffd_move.c: make the page at @addr this process's own, which it may not be since a fork. => present, writable */
void uffd_make_exclusive(uint64_t addr);

#endif

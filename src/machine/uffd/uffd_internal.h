/* SPDX-License-Identifier: MIT */
/*
 * What the files of the uffd machine share. The picture:
 *
 *   managed range   one reservation, PROT_NONE but where a region is mapped; registered once, as a
 *                   whole, for missing pages: registration stays when mprotect splits it
 *   pool            frame n is page n of it; registered too, because MOVE wants its target registered
 *                   and because a stray touch of an empty page must not pass for memory
 *
 *   uffd.c          open, start, stop, close; regions; the table of operations
 *   uffd_pool.c     memory behind frames; memory for the core
 *   uffd_map.c      map and unmap: runs, and which way each goes
 *   uffd_move.c     by UFFDIO_MOVE: no copy. Only between writable areas of equal protection
 *   uffd_copy.c     by UFFDIO_COPY: older kernels, and regions that are not plain read-write
 *   uffd_host.c     the userfaultfd itself and its requests    uffd_probe.c   what the host allows
 *   uffd_told.c     faults that the descriptor tells of         uffd_fork.c    fork
 *
 * What else a machine on real memory does is in real/real_internal.h.
 *
 * Frames: place[n] says where the memory of frame n is. Only who owns frame n (holds its page
 * lock, or has just allocated it) looks at it or changes it.
 *
 *   NONE --populate--> POOL --map--> SHOWN --unmap keep--> POOL
 *   NONE --map zero--> SHOWN --unmap drop--> NONE
 *                                           POOL --release--> NONE
 */
#ifndef ANONMM_UFFD_INTERNAL_H
#define ANONMM_UFFD_INTERNAL_H

#include "machine/real/real_internal.h"
#include "machine/uffd/uffd.h"
#include "machine/uffd/uffd_abi.h"

enum frame_place { PLACE_NONE, PLACE_POOL, PLACE_SHOWN };

/* Neighbours in address and frame. */
struct page_run {
	uint64_t addr;
	pfn_t pfn;
	unsigned nr;
	int prot;
};

struct uffd_machine;

/* The internal switch: how bytes get from the pool to an address and back. */
struct uffd_way {
	/* => frames in the pool. Returns how many pages, from the first, are at their addresses now; all, or *error says why. */
	unsigned (*show)(struct uffd_machine *, const struct page_run *, int *error);
	/* => frames shown. Returns how many pages, from the first, are in the pool now; the next one is pinned. */
	unsigned (*hide)(struct uffd_machine *, const struct page_run *);
};

extern const struct uffd_way uffd_way_move, uffd_way_copy;

/* uffd_told.c */
extern const struct real_ops uffd_real_ops;

/* Locks: [I] set before threads start  [a] atomic  [o] the frame's owner  [m] mail_lock */
struct uffd_machine {
	struct real_machine real; /* first: the core's handle is its machine */
	struct space *space; /* [I] over the whole managed range */
	const struct uffd_way *way; /* [I] */
	int node; /* [I] /dev/userfaultfd, which gives a child of a fork its own; -1: none */
	uint64_t features; /* [I] UFFD_FEATURE_* that the kernel granted */
	uint8_t *pool; /* [I] */
	uint64_t pool_bytes; /* [I] the frames, and one page more that is always empty */
	uint8_t *zeros; /* [I] ZERO_PAGES pages, all of them the host's zero page */
	uint32_t nr_frames; /* [I] */
	uint8_t *place; /* [o] enum frame_place, by frame */
	size_t place_bytes;

	/* Requests of threads whose descriptor table lost ours: kswapd makes them. */
	struct lock mail_lock;
	struct mail {
		_Atomic(uint32_t) state; /* 0: empty, 1: posted, 2: answered */
		unsigned long request;
		void *arg;
		int result;
	} mail;
	_Atomic(bool) fds_lost;
};

#define ZERO_PAGES 64
#define RUN_PAGES 256

static inline struct uffd_machine *uffd_of(struct machine *machine)
{
	return (struct uffd_machine *)machine;
}

static inline uint64_t frame_addr(const struct uffd_machine *m, pfn_t pfn)
{
	return (uint64_t)(uintptr_t)m->pool + (uint64_t)pfn * PAGE_BYTES;
}

/* uffd_host.c */
int uffd_fd_open(struct uffd_machine *m, bool copy, char *why, size_t why_len);
int uffd_fd_reopen(struct uffd_machine *m);
int uffd_register(struct uffd_machine *m);
int uffd_register_area(struct uffd_machine *m, uint64_t start, uint64_t bytes);
int uffd_eventfd_open(void);
/* Each returns pages done from the first; when fewer than asked for, *error is set. */
unsigned uffd_move(struct uffd_machine *m, uint64_t dst, uint64_t src, unsigned nr, bool wake, int *error);
unsigned uffd_copy(struct uffd_machine *m, uint64_t dst, uint64_t src, unsigned nr, bool wake, int *error);
int uffd_write_protect(struct uffd_machine *m, uint64_t addr, unsigned nr);
int uffd_poison_page(struct uffd_machine *m, uint64_t addr);
void uffd_wake_range(struct uffd_machine *m, uint64_t addr, unsigned nr);
void uffd_drop(struct uffd_machine *m, uint64_t addr, unsigned nr);
void uffd_serve_mail(struct uffd_machine *m);

/* uffd_pool.c */
void *uffd_frame_bytes(struct machine *machine, pfn_t pfn);
int uffd_frame_populate(struct machine *machine, pfn_t first, unsigned nr);
void uffd_frame_drop(struct machine *machine, pfn_t first, unsigned nr);
unsigned uffd_copy_zeros(struct uffd_machine *m, uint64_t addr, unsigned nr, bool wake, int *error);
void *uffd_chunk_alloc(struct machine *machine, size_t bytes);
void uffd_chunk_free(struct machine *machine, void *chunk, size_t bytes);

/* uffd_map.c, uffd_move.c, uffd_copy.c */
void uffd_map(struct machine *machine, struct mapping *maps, unsigned nr);
void uffd_unmap(struct machine *machine, struct mapping *maps, unsigned nr, enum unmap_content content);
void uffd_make_exclusive(uint64_t addr);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * anonmm: more anonymous memory than the RAM that a program may use.
 *
 * The Linux anonymous-page life cycle (birth, use, swap-out, swap-in, destruction) as a
 * library in user space. This header is its manual.
 *
 * With real memory (ANONMM_UFFD):
 *
 *      struct anonmm_config config = { .size = sizeof(config), .memory = 64 << 20,
 *                                      .swap = "file:/var/tmp?size=1G" };
 *      struct anonmm *mm;
 *      int error = anonmm_open(&config, &mm);
 *      char *p = anonmm_mmap(mm, NULL, 256 << 20, PROT_READ | PROT_WRITE);
 *      ... plain loads and stores ...
 *      anonmm_close(mm);
 *
 * With a software machine (ANONMM_SOFT): addresses are numbers, accesses are calls; exact
 * and deterministic; for simulators, tests, emulated guests.
 *
 * Errors: functions that return int give 0 or a negative errno value; anonmm_error() gives
 * the last failure of anonmm_open() or anonmm_set_limit() in words.
 *
 * Threads: every call may be made from any thread at any time, except anonmm_close(), which
 * must be the last one, and soft machines opened without .threads, which belong to one thread.
 * With ANONMM_UFFD a fault is served by threads of the library (ANONMM_FAULTS_THREAD) or in a
 * SIGBUS handler that anonmm_open() installs (ANONMM_FAULTS_SIGNAL).
 *
 * Caveats of real memory: fork() leaves the child without the managed memory (touching it is
 * a SIGSEGV, never zeros) unless the program runs under `anonmm run`. In signal mode a system
 * call on a page that is swapped out gives EFAULT; use thread mode, or touch the buffer first.
 * A page whose content is lost (I/O error, failed check) or for which there is no memory left
 * raises SIGBUS with its address.
 */
#ifndef ANONMM_H
#define ANONMM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

struct anonmm;
struct anonmm_space;

enum anonmm_machine { ANONMM_UFFD, ANONMM_SOFT };

enum anonmm_faults {
	ANONMM_FAULTS_AUTO, /* what is fastest and safe on this host */
	ANONMM_FAULTS_THREAD, /* threads of the library serve faults; system calls work too */
	ANONMM_FAULTS_SIGNAL, /* the faulting thread serves itself, in a SIGBUS handler */
};

/*
 * All sizes in bytes. Zero everywhere means: the default. Later releases add fields at the end. A program that was
 * compiled with fewer fields gets their defaults; one that sets fields which this library does not know is refused.
 */
struct anonmm_config {
	size_t size; /* sizeof(struct anonmm_config); 0: that of the first release, 0.1 */
	enum anonmm_machine machine;
	uint64_t
		memory; /* the limit on resident managed memory, metadata included. At least ANONMM_MEMORY_MIN */
	uint64_t
		memory_max; /* how far anonmm_set_limit() may raise it; default: memory. Costs address space, and 1.4 % of what is used of it */
	uint64_t address_space; /* how much can be mapped at once; default 1 TiB (uffd), 64 GiB (soft) */
	/*
	 * Where pages go: "file:PATH?size=SIZE", "zram:", or several with commas between them, the first to be used
	 * first: "zram:,file:/var/tmp?size=4G". "zram:" is compressed memory, a part of .memory; what gets old there
	 * goes on to the device behind it. NULL: none, pages then only leave when they are freed or zero.
	 */
	const char *swap;
	enum anonmm_faults faults; /* uffd only */
	bool copy; /* uffd only: do without UFFDIO_MOVE, as on kernels before 6.8 */
	bool threads; /* soft only: calls may come from several threads */
	unsigned nodes; /* memory nodes that share the limit evenly, up to ANONMM_NODES_MAX; 0: one */
	int swappiness; /* 1..200 as Linux's vm.swappiness; 0: the default, 60 */
	uint64_t seed; /* keys the content checksums; 0: from the host's randomness */
};

#define ANONMM_MEMORY_MIN (4ULL << 20)
#define ANONMM_NODES_MAX 8

/*
 * As .memory: the limit follows the host. It is what the control groups' limits (v1, v2, the smallest up the tree), or the host's
 * available memory, leave for this process, looked at once a second by a thread of its own; it goes down stepwise while the
 * host is short of memory (PSI), and up again when it is not. .memory_max, if set, is the most. A soft machine needs .threads.
 */
#define ANONMM_MEMORY_AUTO UINT64_MAX

/*
 * Counters since open, and states of now (marked =). Pages of 4096 bytes unless the name says otherwise.
 * Read at any time; each is exact by itself, together they are a snapshot only at rest.
 */
struct anonmm_stats {
	uint64_t faults; /* traps handled */
	uint64_t minor_faults; /* of them, without device I/O */
	uint64_t major_faults; /* of them, after a read from a device */
	uint64_t
		armed_faults; /* of the minor ones: touches of aged pages, on machines without accessed bits */
	uint64_t born; /* do_anonymous_page: new pages */
	uint64_t zero_mapped; /* do_anonymous_page: reads served by the zero page */
	uint64_t copied; /* do_wp_page: new pages by copy */
	uint64_t swapped_out; /* pages whose frame was freed with the content on a device */
	uint64_t written; /* pages written to devices */
	uint64_t clean_dropped; /* of swapped_out: the slot still held the content, nothing was written */
	uint64_t zero_dropped; /* pages found to be all zero, dropped without a slot */
	uint64_t
		shared_slots; /* of swapped_out: equal to a page that was out, whose slot they share; nothing was written */
	uint64_t swapped_in; /* pages read from devices */
	uint64_t readahead; /* of them, before anybody asked */
	uint64_t readahead_hits; /* of those, touched later */
	uint64_t readahead_misses; /* of those, evicted or freed unread */
	uint64_t freed; /* pages that ended by munmap, madvise or exit */
	uint64_t scanned; /* pages looked at by shrink_inactive_list */
	uint64_t activated; /* of them, found referenced */
	uint64_t deactivated; /* pages moved by shrink_active_list */
	uint64_t kswapd_wakes;
	uint64_t direct_reclaims; /* faults that had to reclaim by themselves */
	uint64_t io_errors; /* requests that a device failed */
	uint64_t lost_pages; /* pages poisoned: read error or failed check */
	uint64_t oom; /* faults that found no memory at all */
	uint64_t
		copied_early; /* of copied, or by fork: copies where another machine would have shared the frame */
	uint64_t file_mapped; /* do_read_fault, do_shared_fault: pages of a page cache that were mapped */
	uint64_t file_reads; /* pages read from files */
	uint64_t file_errors; /* of them, failed */
	uint64_t forks; /* of spaces */
	uint64_t merged; /* KSM: mappings that came to share a page */
	uint64_t unmerged; /* KSM: mappings that got a page of their own again by MADV_UNMERGEABLE */
	uint64_t pinned; /* pages that could not be taken away, since I/O holds them */
	uint64_t migrated; /* migrate_pages: pages moved to another frame */
	uint64_t migrate_failed; /* pages that stayed where they were */
	uint64_t frames; /* = frames that the limit pays for, without those whose place compressed swap has */
	uint64_t frames_free; /* = */
	uint64_t frames_used; /* = more than frames for a while after the limit was lowered */
	uint64_t frames_peak; /* most frames ever in use */
	uint64_t slots; /* = swap slots */
	uint64_t slots_used; /* = */
	uint64_t mapped_bytes; /* = address space mapped */
	uint64_t metadata_bytes; /* = the library's own structures */
	uint64_t store_bytes; /* = memory that compressed swap takes, its tables included */
};

/*
 * Open a pager with one address space. On success *out is the caller's, to give to anonmm_close(); else it is NULL, as
 * with all functions that give something by an out pointer.
 * -EINVAL: a limit below the minimum, an unknown machine, a device URI that is none, a size that no release had.
 * -E2BIG: config->size is more than this library knows, and a byte behind that is not zero.
 * -ENOSPC, -EACCES, -ENOENT ...: the device's path. -EPERM, -ENOSYS: the host refuses userfaultfd.
 * -ENOMEM. In each case anonmm_error() says it in words, and what to do.
 */
int anonmm_open(const struct anonmm_config *config, struct anonmm **out);

/* The last failure of anonmm_open() or anonmm_set_limit() in this thread, one line without a newline; "" if none. Static. */
const char *anonmm_error(void);

/* Unmap everything and free everything. Pointers into managed memory are invalid afterwards. */
void anonmm_close(struct anonmm *mm);

/*
 * mmap(2) of private anonymous memory. @addr: NULL, or where it would be liked, page aligned.
 * @prot: PROT_READ, PROT_WRITE, PROT_NONE. Returns NULL with errno ENOMEM or EINVAL.
 * Real pointers with ANONMM_UFFD; with ANONMM_SOFT use anonmm_space_*.
 */
void *anonmm_mmap(struct anonmm *mm, void *addr, size_t length, int prot);
int anonmm_munmap(struct anonmm *mm, void *addr, size_t length);
int anonmm_mprotect(struct anonmm *mm, void *addr, size_t length, int prot);
/* mremap(2) with MREMAP_MAYMOVE. Returns NULL with errno, the old mapping is then as it was. */
void *anonmm_mremap(struct anonmm *mm, void *addr, size_t old_length, size_t new_length);
/*
 * madvise(2): MADV_DONTNEED, FREE, COLD, PAGEOUT, WILLNEED, SEQUENTIAL, RANDOM, NORMAL, POPULATE_READ/WRITE,
 * MERGEABLE, UNMERGEABLE (anonmm_ksm_scan()).
 */
int anonmm_madvise(struct anonmm *mm, void *addr, size_t length, int advice);
/* mlock(2). ENOMEM, too, when more than half of the limit, less what stores of compressed memory hold of it, would be locked. */
int anonmm_mlock(struct anonmm *mm, void *addr, size_t length);
int anonmm_munlock(struct anonmm *mm, void *addr, size_t length);

/*
 * Change .memory while everything goes on. A higher limit holds at once. With a lower one what is in use beyond it goes in the
 * background, and its memory back to the host: stats.frames_used comes down to stats.frames (a soft machine without .threads
 * does this work in its accesses). With ANONMM_MEMORY_AUTO @bytes becomes the most. On failure nothing has changed, and anonmm_error() says why:
 * -EINVAL: less than ANONMM_MEMORY_MIN, or than what pays for its bookkeeping. -ERANGE: more than .memory_max.
 * -EBUSY: more is locked (anonmm_mlock). -ENOSPC: swap has no room for what would have to leave.
 */
int anonmm_set_limit(struct anonmm *mm, uint64_t bytes);

/*
 * Look for equal pages among those advised MADV_MERGEABLE: at most @pages of them, from where the last call stopped; a
 * call ends where a full scan of all spaces does. A page is merged when it held the same content in two scans and another one
 * does too. Who calls it, and how often, is the program's choice: nothing scans by itself. Returns how many mappings came to
 * share a page, also counted in stats.merged. -ENOMEM: no memory for the bookkeeping.
 *
 * ANONMM_SOFT: equal pages become one frame; a write copies. ANONMM_UFFD: a frame has one place only, so pages that are
 * swapped out, or were not used for a while, come to share a swap slot; a touch brings a copy.
 * MADV_UNMERGEABLE gives each merged mapping a frame of its own: ENOMEM when there is none, and it may be called again.
 */
int anonmm_ksm_scan(struct anonmm *mm, unsigned pages);

/*
 * The counters, into the first @size bytes of *stats: sizeof(*stats). Later releases add counters at the end: fewer bytes
 * get those that fit, and what this library does not count is 0.
 */
void anonmm_get_stats(struct anonmm *mm, struct anonmm_stats *stats, size_t size);

/*
 * fork(2) of a space within this process: *out has the content of this moment, and both go on by themselves.
 *
 * ANONMM_SOFT: the copy of @space, at the same addresses. Frames and swap slots are shared until one writes.
 * ANONMM_UFFD: @space NULL: a snapshot of all that anonmm_mmap() has mapped, at other addresses of this process:
 * anonmm_space_pointer() translates. What is swapped out is shared; what is in memory is copied early, since
 * real memory has one place only (stats.copied_early). Other threads' faults wait until it is done.
 *
 * The child is the caller's, to give to anonmm_space_destroy(), at the latest anonmm_close() does. Locked memory is not
 * locked in the child. -ENOMEM: no frame, swap or addresses; nothing has changed. -ENOENT: nothing is mapped.
 * -EOPNOTSUPP: a snapshot of a snapshot.
 */
int anonmm_fork(struct anonmm *mm, struct anonmm_space *space, struct anonmm_space **out);
void anonmm_space_destroy(struct anonmm_space *space);

/* Where the snapshot shows what the program has at @p. NULL: nothing was mapped that far, or a soft space. */
void *anonmm_space_pointer(struct anonmm_space *space, const void *p);

/*
 * A file to map privately (writes go to anonymous copies; the file is only read), or memory to share between
 * spaces (ANONMM_SOFT only: real memory has one place). The handle may be closed while mappings of it exist.
 *
 * open: the errors of open(2); -ENODEV: not a regular file. shared_create: -EINVAL: no bytes; -EOPNOTSUPP: real memory.
 * resize: the file has become @bytes long (what it gained since the open cannot be read). Shorter: pages behind the end go, private copies of them too. Touches behind
 * the end raise SIGBUS (soft: -EIO), as does a page that cannot be read. -EFBIG: over 16 TiB.
 */
struct anonmm_file;
int anonmm_file_open(struct anonmm *mm, const char *path, struct anonmm_file **out);
int anonmm_shared_create(struct anonmm *mm, uint64_t bytes, struct anonmm_file **out);
int anonmm_file_resize(struct anonmm_file *file, uint64_t bytes);
void anonmm_file_close(struct anonmm_file *file);

/* mmap(2) of @file from @offset on (a multiple of 4096), private. As anonmm_mmap(). */
void *anonmm_mmap_file(
	struct anonmm *mm, void *addr, size_t length, int prot, struct anonmm_file *file, uint64_t offset);

/*
 * One more swap device, or one less, while everything goes on. @uri as anonmm_config.swap; higher @priority is used first
 * (the one of anonmm_open() has 0).
 *
 * swapon: the errors of anonmm_open() for its device. -ENOSPC: there are 30. -EOPNOTSUPP: ANONMM_UFFD and a device that
 * needs descriptors of its own: those have to be there when the library's threads start. What its slots' table takes
 * comes on top of the memory limit.
 * swapoff: all that is on the device that was opened as @uri comes back, then it is closed. -ENOENT: no such device.
 * -ENOMEM: memory and the other devices have no room. -EIO: a page is lost, anonmm's message says which.
 * -EBUSY: another swapoff is under way, or a child of a fork reads there. After an error the device is in use as before.
 */
int anonmm_swapon(struct anonmm *mm, const char *uri, int priority);
int anonmm_swapoff(struct anonmm *mm, const char *uri);

/*
 * Memory nodes (anonmm_config.nodes), numbered from 0.
 *
 * migrate: move up to @pages pages, cold ones first, from one node to another. Accesses meanwhile wait; the addresses
 * stay. Returns how many were moved. -ENOMEM: the target is full. -EINVAL: no such node, or the same.
 * compact: move up to @pages pages of the node to its lower frames, so that free frames form a run. Returns how many.
 */
int anonmm_migrate(struct anonmm *mm, unsigned from, unsigned to, unsigned pages);
int anonmm_compact(struct anonmm *mm, unsigned node, unsigned pages);

/*
 * ANONMM_SOFT: spaces and typed access. Addresses are numbers below the configured address_space.
 * Accesses that cross pages are fine. -EFAULT: no mapping, or one that forbids it; -EIO: the content
 * is lost; -ENOMEM: no frame, no swap. A failed access may have been done in part, like a memcpy that faults.
 */
int anonmm_space_create(struct anonmm *mm, struct anonmm_space **out);
int anonmm_space_mmap(struct anonmm_space *space, uint64_t *addr, uint64_t length, int prot);
/* @shared: all spaces that map @file (of anonmm_shared_create()) so see each other's writes; else private. -EOPNOTSUPP: shared, and a real file. */
int anonmm_space_mmap_file(struct anonmm_space *space, uint64_t *addr, uint64_t length, int prot, bool shared,
	struct anonmm_file *file, uint64_t offset);
int anonmm_space_munmap(struct anonmm_space *space, uint64_t addr, uint64_t length);
int anonmm_space_mprotect(struct anonmm_space *space, uint64_t addr, uint64_t length, int prot);
int anonmm_space_mremap(struct anonmm_space *space, uint64_t *addr, uint64_t old_length, uint64_t new_length);
int anonmm_space_madvise(struct anonmm_space *space, uint64_t addr, uint64_t length, int advice);
int anonmm_space_mlock(struct anonmm_space *space, uint64_t addr, uint64_t length);
int anonmm_space_munlock(struct anonmm_space *space, uint64_t addr, uint64_t length);
int anonmm_read(struct anonmm_space *space, uint64_t addr, void *buf, size_t length);
int anonmm_write(struct anonmm_space *space, uint64_t addr, const void *buf, size_t length);
int anonmm_load64(struct anonmm_space *space, uint64_t addr, uint64_t *value);
int anonmm_store64(struct anonmm_space *space, uint64_t addr, uint64_t value);

/* "1.2.3" */
const char *anonmm_version(void);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif

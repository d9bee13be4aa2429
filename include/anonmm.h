/* SPDX-License-Identifier: MIT */
/*
 * anonmm: more anonymous memory than the RAM that a program may use.
 *
 * The Linux anonymous-page life cycle (birth, use, swap-out, swap-in, destruction) as a library in user space. This
 * header is its manual.
 *
 * There are two machines. ANONMM_UFFD manages real memory of this process: the program uses plain pointers.
 *
 *      struct anonmm_config config = { .size = sizeof(config), .memory = 64 << 20,
 *                                      .swap = "file:/var/tmp?size=1G" };
 *      struct anonmm *mm;
 *      int error = anonmm_open(&config, &mm);
 *      char *p = anonmm_mmap(mm, NULL, 256 << 20, PROT_READ | PROT_WRITE);
 *      p[0] = 1;
 *      anonmm_close(mm);
 *
 * ANONMM_SOFT is a machine in software: addresses are numbers, and accesses are calls. It is exact and deterministic,
 * for simulators, tests and emulated guests.
 *
 * Errors: functions that return int return 0 or a negative errno value. Functions that return a pointer return NULL
 * and set errno. A comment "-ENAME: reason" lists an error of either kind. anonmm_error() has the last failure of
 * anonmm_open() or anonmm_set_limit() in words.
 *
 * Threads: every call may be made from any thread at any time. Two exceptions: anonmm_close() must be the last call,
 * and a soft machine that was opened without .threads belongs to one thread. With ANONMM_UFFD, threads of the library
 * serve faults (ANONMM_FAULTS_THREAD), or a SIGBUS handler that anonmm_open() installs (ANONMM_FAULTS_SIGNAL).
 *
 * Caveats of real memory:
 *   - The child of fork() does not have the managed memory: touching it raises SIGSEGV, and never shows zeros.
 *     Programs under `anonmm run` are the exception.
 *   - In signal mode a system call on a page that is swapped out fails with EFAULT. Use thread mode, or touch the
 *     buffer before the call.
 *   - Touching a page whose content is lost (I/O error, failed check), or for which there is no memory left, raises
 *     SIGBUS with its address.
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
	ANONMM_FAULTS_AUTO, /* the fastest mode that is safe on this host */
	ANONMM_FAULTS_THREAD, /* threads of the library serve faults. System calls on managed memory work, too */
	ANONMM_FAULTS_SIGNAL, /* the faulting thread serves its fault itself, in a SIGBUS handler */
};

/*
 * All sizes are in bytes. In every field 0 means the default. Later releases add fields at the end. A program that
 * was compiled with fewer fields gets the defaults of the others. A program that sets fields which this library does
 * not know is refused.
 */
struct anonmm_config {
	size_t size; /* sizeof(struct anonmm_config); 0: that of the first release, 0.1 */
	enum anonmm_machine machine;
	uint64_t
		memory; /* the limit of resident managed memory, metadata included; ANONMM_MEMORY_MIN at least */
	/*
	 * anonmm_set_limit() can raise the limit up to this; default: memory. The difference costs address space now,
	 * and 1.4 % of the part that is used later.
	 */
	uint64_t memory_max;
	uint64_t address_space; /* the most that can be mapped at once; default 1 TiB (uffd), 64 GiB (soft) */
	/*
	 * Where pages go: "file:PATH?size=SIZE", "zram:", or several devices with commas between them, the first to
	 * be used first: "zram:,file:/var/tmp?size=4G". "zram:" is compressed memory, and a part of .memory. Its old
	 * pages go to the device behind it. NULL: no swap; pages leave memory only when they are freed or contain
	 * only zeros.
	 */
	const char *swap;
	enum anonmm_faults faults; /* uffd only */
	bool copy; /* uffd only: do without UFFDIO_MOVE, as on kernels before 6.8 */
	bool threads; /* soft only: calls may come from several threads */
	unsigned nodes; /* memory nodes that share the limit evenly, 1 to ANONMM_NODES_MAX; default 1 */
	int swappiness; /* 1 to 200, as Linux's vm.swappiness; default 60 */
	uint64_t seed; /* key of the content checksums; default: random */
};

#define ANONMM_MEMORY_MIN (4ULL << 20)
#define ANONMM_NODES_MAX 8

/*
 * As .memory: the limit follows the host. It is what the control groups' limits (v1 and v2, the smallest up the tree)
 * or the host's available memory leave for this process. A thread of the library looks once a second. While the host
 * is short of memory (PSI), the limit goes down in steps; it goes up again when the host is not. .memory_max, if set,
 * is the most. A soft machine needs .threads for it.
 */
#define ANONMM_MEMORY_AUTO UINT64_MAX

/*
 * Counters since open, and states of now (marked =). They count pages of 4096 bytes unless the name or comment says
 * otherwise. They may be read at any time. Each is exact by itself; together they are a snapshot only while nothing
 * happens.
 */
struct anonmm_stats {
	uint64_t faults; /* traps handled */
	uint64_t minor_faults; /* of faults: without device I/O */
	uint64_t major_faults; /* of faults: after a read from a device */
	uint64_t armed_faults; /* of minor_faults: touches of aged pages, on machines without accessed bits */
	uint64_t born; /* do_anonymous_page: new pages */
	uint64_t zero_mapped; /* do_anonymous_page: reads served by the zero page */
	uint64_t copied; /* do_wp_page: new pages by copy */
	uint64_t swapped_out; /* pages whose frame was freed while a device has the content */
	uint64_t written; /* pages written to devices */
	uint64_t clean_dropped; /* of swapped_out: not written, because the slot still held the content */
	uint64_t zero_dropped; /* pages of zeros only, dropped without a slot */
	uint64_t
		shared_slots; /* of swapped_out: not written, because an equal page was out; both share its slot */
	uint64_t swapped_in; /* pages read from devices */
	uint64_t readahead; /* of swapped_in: read before a fault asked for them */
	uint64_t readahead_hits; /* of readahead: touched later */
	uint64_t readahead_misses; /* of readahead: evicted or freed without a touch */
	uint64_t freed; /* pages that ended by munmap, madvise or exit */
	uint64_t scanned; /* pages looked at by shrink_inactive_list */
	uint64_t activated; /* of scanned: found referenced */
	uint64_t deactivated; /* pages moved by shrink_active_list */
	uint64_t kswapd_wakes;
	uint64_t direct_reclaims; /* faults that reclaimed by themselves */
	uint64_t io_errors; /* requests that failed on a device */
	uint64_t lost_pages; /* pages poisoned after a read error or a failed check */
	uint64_t oom; /* faults that found no memory */
	uint64_t
		copied_early; /* copies, also by fork, where a machine that shares frames would not have copied */
	uint64_t file_mapped; /* do_read_fault, do_shared_fault: pages of a page cache that were mapped */
	uint64_t file_reads; /* pages read from files */
	uint64_t file_errors; /* of file_reads: failed */
	uint64_t forks; /* spaces that were forked */
	uint64_t merged; /* KSM: mappings that came to share a page */
	uint64_t unmerged; /* KSM: mappings that got a page of their own again by MADV_UNMERGEABLE */
	uint64_t pinned; /* pages that could not be taken away, because I/O holds them */
	uint64_t migrated; /* migrate_pages: pages moved to another frame */
	uint64_t migrate_failed; /* migrate_pages: pages that stayed where they were */
	uint64_t frames; /* = frames that the limit pays for, without those that compressed swap takes */
	uint64_t frames_free; /* = */
	uint64_t frames_used; /* = for a while after the limit was lowered, more than frames */
	uint64_t frames_peak; /* the most frames ever in use */
	uint64_t slots; /* = swap slots of all devices */
	uint64_t slots_used; /* = */
	uint64_t mapped_bytes; /* = address space that is mapped */
	uint64_t metadata_bytes; /* = the library's own structures */
	uint64_t store_bytes; /* = memory that compressed swap takes, its tables included */
	/* = nanoseconds: what a page lately cost on the swap device that is used first; 0: there is none */
	uint64_t swap_read_ns; /* = to read one page, from the slowest place where it may be */
	uint64_t swap_write_ns; /* = to write one page of many */
};

/*
 * Open a pager with one address space. On success the caller owns *out, and closes it by anonmm_close(). On failure
 * *out is NULL. The same is true for every function below that returns an object by an out pointer.
 *
 * -EINVAL: the limit is below the minimum, the machine is unknown, the device URI is wrong, or no release had that
 * size.
 * -E2BIG: config->size is more than this library knows, and a byte that it does not know is not zero.
 * -ENOSPC, -EACCES, -ENOENT and other errors of open(2): the device's path.
 * -EPERM, -ENOSYS: the host refuses userfaultfd.
 * -ENOMEM: the host has no memory.
 * In each case anonmm_error() says in words what failed and what to do.
 */
int anonmm_open(const struct anonmm_config *config, struct anonmm **out);

/*
 * The last failure of anonmm_open() or anonmm_set_limit() in this thread, one line without a newline. "": that
 * call succeeded, or there was none. The text is valid until the thread's next such call.
 */
const char *anonmm_error(void);

/* Unmap and free everything. Pointers into managed memory are invalid afterwards. @mm may be NULL. */
void anonmm_close(struct anonmm *mm);

/*
 * The functions from here to anonmm_munlock() do what the system calls of their names do, on memory of an ANONMM_UFFD
 * machine. On ANONMM_SOFT they fail with -EINVAL: use anonmm_space_*.
 *
 * mmap: private anonymous memory. @addr: NULL, or a wish, page aligned. @prot: PROT_NONE, or PROT_READ and
 *       PROT_WRITE.
 *       -ENOMEM: no addresses, or more than memory and swap could ever hold. -EINVAL: wrong arguments.
 * munmap: the range may have holes.
 * mprotect: -ENOMEM: the range has a hole. -EBUSY: I/O of the program holds a page of it.
 */
void *anonmm_mmap(struct anonmm *mm, void *addr, size_t length, int prot);
int anonmm_munmap(struct anonmm *mm, void *addr, size_t length);
int anonmm_mprotect(struct anonmm *mm, void *addr, size_t length, int prot);
/*
 * As with MREMAP_MAYMOVE. On failure the old mapping is as it was. -EFAULT: the range has a hole. -EBUSY: as
 * mprotect.
 */
void *anonmm_mremap(struct anonmm *mm, void *addr, size_t old_length, size_t new_length);
/*
 * @advice: MADV_DONTNEED, FREE, COLD, PAGEOUT, WILLNEED, SEQUENTIAL, RANDOM, NORMAL, POPULATE_READ, POPULATE_WRITE,
 * MERGEABLE, UNMERGEABLE (see anonmm_ksm_scan()).
 */
int anonmm_madvise(struct anonmm *mm, void *addr, size_t length, int advice);
/* -ENOMEM also: locked memory and half of the compressed store would together be more than half of the limit. */
int anonmm_mlock(struct anonmm *mm, void *addr, size_t length);
int anonmm_munlock(struct anonmm *mm, void *addr, size_t length);

/*
 * Change the limit while everything goes on. A higher limit holds at once. With a lower limit, memory beyond it is
 * reclaimed in the background and given back to the host: stats.frames_used comes down to stats.frames. (A soft
 * machine without .threads does this work in its accesses.) With ANONMM_MEMORY_AUTO @bytes becomes the most that the
 * limit can be.
 *
 * On failure nothing has changed, and anonmm_error() says why:
 * -EINVAL: @bytes is less than ANONMM_MEMORY_MIN, or does not pay for the bookkeeping.
 * -ERANGE: @bytes is more than .memory_max.
 * -EBUSY: more memory is locked (anonmm_mlock()).
 * -ENOSPC: swap has no room for what would have to leave.
 */
int anonmm_set_limit(struct anonmm *mm, uint64_t bytes);

/*
 * Look for equal pages in memory that was advised MADV_MERGEABLE. A call looks at @pages pages at most, from where
 * the last call stopped, and ends where a full scan of all spaces ends. A page is merged if it held the same content
 * in two scans, and another page holds that content, too. The program decides when to call this: the library never
 * scans by itself.
 *
 * Returns how many mappings came to share a page; stats.merged counts them, too. -ENOMEM: no memory for the
 * bookkeeping.
 *
 * ANONMM_SOFT: equal pages become one frame. A write copies it.
 * ANONMM_UFFD: a frame has one place only. So only pages that are swapped out, or were not used for a while, are
 * merged: they come to share a swap slot. A touch brings in a copy.
 *
 * MADV_UNMERGEABLE gives each merged mapping a frame of its own. -ENOMEM: there is none; the call may be made again.
 */
int anonmm_ksm_scan(struct anonmm *mm, unsigned pages);

/*
 * Write the counters to the first @size bytes of *stats. Pass sizeof(*stats). Later releases add counters at the end:
 * a smaller structure gets those that fit, and counters that this library does not know are 0.
 */
void anonmm_get_stats(struct anonmm *mm, struct anonmm_stats *stats, size_t size);

/*
 * fork(2) of a space, within this process. *out is a child with the content of this moment. Later writes to one are
 * not seen in the other.
 *
 * ANONMM_SOFT: the child has the memory of @space at the same addresses. Frames and swap slots are shared until one
 * writes.
 * ANONMM_UFFD: @space is NULL. The child is a snapshot of all that anonmm_mmap() has mapped, at other addresses of
 * this process; anonmm_space_pointer() translates. What is swapped out is shared. What is in memory is copied now,
 * because real memory has one place only (stats.copied_early). Faults of other threads wait until that is done.
 *
 * The caller owns the child, and ends it by anonmm_space_destroy(). anonmm_close() ends children that are left.
 * Locked memory is not locked in the child.
 *
 * -ENOMEM: no frame, swap or addresses. Nothing has changed.
 * -ENOENT: nothing is mapped.
 * -EOPNOTSUPP: a snapshot of a snapshot.
 * -EINVAL: ANONMM_SOFT and no @space.
 */
int anonmm_fork(struct anonmm *mm, struct anonmm_space *space, struct anonmm_space **out);
void anonmm_space_destroy(struct anonmm_space *space);

/*
 * The address at which the snapshot @space has the memory at @p. NULL: @p is outside of it, or @space is a soft
 * space.
 */
void *anonmm_space_pointer(struct anonmm_space *space, const void *p);

/*
 * A file to map privately: writes go to anonymous copies, and the file is only read. Or memory to share between
 * spaces, with ANONMM_SOFT only, because real memory has one place. The handle may be closed while mappings of it
 * exist.
 *
 * open: -ENODEV: not a regular file. Otherwise the errors of open(2).
 * shared_create: -EINVAL: no bytes. -EOPNOTSUPP: ANONMM_UFFD.
 * resize: tells the library that the file is @bytes long now. What the file gained since the open cannot be read. If
 *         it is shorter, pages behind the end go, and private copies of them, too. -ENOMEM: no frame for the last
 *         page of shared memory.
 * open, shared_create, resize: -EFBIG: more than 16 TiB.
 *
 * A touch behind the file's end raises SIGBUS (ANONMM_SOFT: -EIO). So does a touch of a page that cannot be read.
 */
struct anonmm_file;
int anonmm_file_open(struct anonmm *mm, const char *path, struct anonmm_file **out);
int anonmm_shared_create(struct anonmm *mm, uint64_t bytes, struct anonmm_file **out);
int anonmm_file_resize(struct anonmm_file *file, uint64_t bytes);
void anonmm_file_close(struct anonmm_file *file);

/* As anonmm_mmap(): a private mapping of @file from @offset on, which is a multiple of 4096. */
void *anonmm_mmap_file(
	struct anonmm *mm, void *addr, size_t length, int prot, struct anonmm_file *file, uint64_t offset);

/*
 * Add a swap device, or remove one, while everything goes on.
 *
 * swapon: @uri is one device, as in anonmm_config.swap. Devices with a higher @priority are used first. The first
 *         device of anonmm_open() has 0, those behind it have -1, -2 and so on. The table of the device's slots takes
 *         memory on top of the limit. The errors of anonmm_open() for its device; also
 *         -ENOSPC: there are 30 devices already.
 *         -EOPNOTSUPP: ANONMM_UFFD and a device that needs descriptors: these must exist when the library's threads
 *         start.
 * swapoff: everything on the device that was opened as @uri comes back to memory, then the device is closed. After an
 *         error the device is in use as before.
 *         -ENOENT: no such device.
 *         -ENOMEM: memory and the other devices have no room.
 *         -EIO: a page is lost; a message on standard error says which.
 *         -EBUSY: another swapoff is under way, or a child of a fork reads there.
 */
int anonmm_swapon(struct anonmm *mm, const char *uri, int priority);
int anonmm_swapoff(struct anonmm *mm, const char *uri);

/*
 * Memory nodes (anonmm_config.nodes), numbered from 0.
 *
 * migrate: move up to @pages pages from node @from to node @to, cold ones first. Addresses do not change. An access
 *          to a page that is being moved waits. Returns how many pages were moved. -ENOMEM: the target is full.
 *          -EINVAL: no such node, or both are the same.
 * compact: move up to @pages pages of the node to its lower frames, so that its free frames form a run. Returns how
 *          many pages were moved. -EINVAL: no such node.
 */
int anonmm_migrate(struct anonmm *mm, unsigned from, unsigned to, unsigned pages);
int anonmm_compact(struct anonmm *mm, unsigned node, unsigned pages);

/*
 * ANONMM_SOFT: spaces and typed access. Addresses are numbers below the configured address_space. The anonmm_space_*
 * calls do what the calls above do: *addr is a wish, or 0, and becomes the address.
 *
 * An access may cross pages. An access that failed may have been done in part, like a memcpy() that faults.
 * -EFAULT: no mapping, or one that forbids the access. -EIO: the content is lost. -ENOMEM: no frame and no swap.
 */
int anonmm_space_create(struct anonmm *mm, struct anonmm_space **out);
int anonmm_space_mmap(struct anonmm_space *space, uint64_t *addr, uint64_t length, int prot);
/*
 * @shared: the spaces that map @file, which is from anonmm_shared_create(), see each other's writes. Otherwise the
 * mapping is private. -EOPNOTSUPP: @shared, and @file is a real file.
 */
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

/* The library's version, as "1.2.3". */
const char *anonmm_version(void);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif

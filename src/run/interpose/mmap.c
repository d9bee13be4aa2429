/* SPDX-License-Identifier: MIT */
/*
 * The mmap family.
 *
 * A mapping is managed if it is private and anonymous. Exceptions: stacks, mappings that are executable when they are
 * made, and mappings that ask for huge pages or for an address below 4 GiB. The kernel makes all other mappings, as
 * natively. A hint at an address outside the managed range is not followed: mmap() does not promise to follow hints.
 *
 * With MAP_FIXED the address decides. The kernel makes mappings outside the managed range. Inside, a mapping that
 * cannot be managed (a file over a reservation) is *foreign*: the space only knows that these addresses are taken,
 * and the kernel has the mapping. When it is unmapped, the addresses become part of the reservation again.
 *
 * A call on a range goes piece by piece: below, inside and above the managed range. Inside, it goes by the kind of
 * each mapping. As with the kernel's own calls, pieces that were done stay done when a later one fails.
 */
#include "run/run.h"
#include "run/raw.h"

#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Bits that older headers lack. */
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif
#ifndef MLOCK_ONFAULT
#define MLOCK_ONFAULT 1
#endif

static long result_errno(long result)
{
	if (result >= 0)
		return result;
	errno = (int)-result;
	return -1;
}

static long native(long result)
{
	return result < 0 ? -errno : result;
}

/* ---- Pieces ----------------------------------------------------------------------------- */

/* A function that works on a piece of the managed range, all of one kind. => space locked */
typedef long (*piece_fn)(struct call *call, enum space_kind kind, uint64_t addr, uint64_t len);

/* => space locked */
static long for_each_piece(struct call *call, piece_fn piece)
{
	uint64_t at = call->addr, end = call->addr + call->len;
	long result = 0;

	while (at < end) {
		uint64_t run_end;
		int prot;
		enum space_kind kind = space_kind_at(run.space, at, &run_end, &prot);
		uint64_t stop = min_u64(run_end, end);

		long error = piece(call, kind, at, stop - at);
		if (error < 0 && error != -ENOMEM)
			return error;
		if (error < 0)
			result =
				error; /* the piece is a hole: go on with the rest, as Linux does, then fail */
		at = stop;
	}
	return result;
}

static long munmap_piece(struct call *call, enum space_kind kind, uint64_t addr, uint64_t len)
{
	(void)call;
	if (kind == SPACE_HOLE)
		return 0;
	long error = retry(space_munmap(run.space, addr, len, &wait));
	if (!error && kind == SPACE_IS_FOREIGN)
		error = uffd_reserve_again(run.machine, addr, addr + len);
	return error;
}

static long mprotect_piece(struct call *call, enum space_kind kind, uint64_t addr, uint64_t len)
{
	if (kind == SPACE_HOLE)
		return -ENOMEM;
	if (kind == SPACE_IS_FOREIGN)
		return native(raw_mprotect((void *)addr, len, call->prot));
	return retry(space_mprotect(run.space, addr, len, call->prot, &wait));
}

static long madvise_piece(struct call *call, enum space_kind kind, uint64_t addr, uint64_t len)
{
	if (kind == SPACE_HOLE)
		return -ENOMEM;
	if (kind == SPACE_IS_FOREIGN)
		return native(raw_madvise((void *)addr, len, call->flags));
	return retry(space_madvise(run.space, addr, len, call->flags, &wait));
}

/* At most half of the limit may be locked. If that does not suffice, ask for a larger share and try again. */
static int lock_pages(uint64_t addr, uint64_t len, bool lock)
{
	int error = retry(space_mlock(run.space, addr, len, lock, &wait));

	if (error != -ENOMEM || !lock)
		return error;
	share_want(2 * len);
	return retry(space_mlock(run.space, addr, len, lock, &wait));
}

/* call->flags: 1 to lock, 0 to unlock. call->other_len: the flags of mlock2() */
static long mlock_piece(struct call *call, enum space_kind kind, uint64_t addr, uint64_t len)
{
	if (kind == SPACE_HOLE)
		return -ENOMEM;
	if (kind == SPACE_ANON)
		return lock_pages(addr, len, call->flags);
	if (call->flags)
		return native(syscall(SYS_mlock2, addr, len, call->other_len));
	return native(syscall(SYS_munlock, addr, len));
}

static long msync_piece(struct call *call, enum space_kind kind, uint64_t addr, uint64_t len)
{
	if (kind == SPACE_HOLE)
		return -ENOMEM;
	return kind == SPACE_ANON ? 0 : native(syscall(SYS_msync, addr, len, call->flags));
}

static long munmap_work(struct call *call)
{
	return for_each_piece(call, munmap_piece);
}

static long mprotect_work(struct call *call)
{
	return for_each_piece(call, mprotect_piece);
}

static long madvise_work(struct call *call)
{
	return for_each_piece(call, madvise_piece);
}

static long mlock_work(struct call *call)
{
	return for_each_piece(call, mlock_piece);
}

static long msync_work(struct call *call)
{
	return for_each_piece(call, msync_piece);
}

/* ---- Ranges ----------------------------------------------------------------------------- */

/* The same call, on memory outside the managed range. */
typedef long (*native_fn)(const struct call *call, uint64_t addr, uint64_t len);

/*
 * Split [call->addr, call->addr + len) at the ends of the managed range. @call->work does the part inside, with the
 * space locked. The check that every call of the family makes comes first, as in the kernel.
 */
static long range_call(struct call *call, native_fn outside)
{
	uint64_t addr = call->addr, len = page_align_up(call->len), end = addr + len;

	if (!run.active || end <= run.base || addr >= run.end || end < addr)
		return outside(call, call->addr, call->len);
	if (addr & ~PAGE_MASK)
		return -EINVAL;

	uint64_t inside = max_u64(addr, run.base), inside_end = min_u64(end, run.end);
	long result = addr < inside ? outside(call, addr, inside - addr) : 0;
	if (result >= 0 && inside < inside_end) {
		call->addr = inside;
		call->len = inside_end - inside;
		result = call_run_locked(call);
	}
	if (result >= 0 && inside_end < end)
		result = outside(call, inside_end, end - inside_end);
	return result;
}

static long munmap_native(const struct call *call, uint64_t addr, uint64_t len)
{
	(void)call;
	return native(raw_munmap((void *)addr, len));
}

EXPORT int munmap(void *addr, size_t len)
{
	struct call call = {.work = munmap_work, .addr = (uintptr_t)addr, .len = len};
	if (!len) /* range_call() would do nothing, but Linux says EINVAL */
		return (int)result_errno(-EINVAL);
	return (int)result_errno(range_call(&call, munmap_native));
}

static long mprotect_native(const struct call *call, uint64_t addr, uint64_t len)
{
	return native(raw_mprotect((void *)addr, len, call->prot));
}

EXPORT int mprotect(void *addr, size_t len, int prot)
{
	struct call call = {.work = mprotect_work, .addr = (uintptr_t)addr, .len = len, .prot = prot};
	return (int)result_errno(range_call(&call, mprotect_native));
}

EXPORT int pkey_mprotect(void *addr, size_t len, int prot, int pkey)
{
	if (pkey == -1)
		return mprotect(addr, len, prot);
	if (run.active &&
		run_manages(addr)) /* not supported: a page that goes out and comes in loses its key */
		return (int)result_errno(-EINVAL);
	return (int)syscall(SYS_pkey_mprotect, addr, len, prot, pkey);
}

static long madvise_native(const struct call *call, uint64_t addr, uint64_t len)
{
	return native(raw_madvise((void *)addr, len, call->flags));
}

EXPORT int madvise(void *addr, size_t len, int advice)
{
	struct call call = {.work = madvise_work, .addr = (uintptr_t)addr, .len = len, .flags = advice};
	return (int)result_errno(range_call(&call, madvise_native));
}

/* posix_madvise() returns its error and leaves errno alone. Its DONTNEED must keep the content, so it does nothing. */
EXPORT int posix_madvise(void *addr, size_t len, int advice)
{
	struct call call = {.work = madvise_work, .addr = (uintptr_t)addr, .len = len, .flags = advice};
	if (advice == POSIX_MADV_DONTNEED)
		return 0;
	return (int)-range_call(&call, madvise_native);
}

static long mlock_native(const struct call *call, uint64_t addr, uint64_t len)
{
	if (call->flags)
		return native(syscall(SYS_mlock2, addr, len, call->other_len));
	return native(syscall(SYS_munlock, addr, len));
}

/* mlock() and its family take any address, aligned or not, and mean the pages that hold the bytes. */
static int lock_range(const void *addr, size_t len, bool lock, unsigned flags)
{
	uint64_t start = page_align_down((uintptr_t)addr);
	struct call call = {
		.work = mlock_work,
		.addr = start,
		.len = (uintptr_t)addr + len - start,
		.flags = lock,
		.other_len = flags,
	};
	return (int)range_call(&call, mlock_native);
}

EXPORT int mlock(const void *addr, size_t len)
{
	return (int)result_errno(lock_range(addr, len, true, 0));
}

EXPORT int mlock2(const void *addr, size_t len, unsigned flags)
{
	if (flags & ~(unsigned)MLOCK_ONFAULT)
		return (int)result_errno(-EINVAL);
	return (int)result_errno(lock_range(addr, len, true, flags));
}

EXPORT int munlock(const void *addr, size_t len)
{
	return (int)result_errno(lock_range(addr, len, false, 0));
}

int maps_pin(const void *addr, size_t len)
{
	if (!run.active || !run_manages(addr))
		return 0;
	return lock_range(addr, len, true, 0);
}

static long mlock_mapped_piece(struct call *call, enum space_kind kind, uint64_t addr, uint64_t len)
{
	return kind == SPACE_ANON ? mlock_piece(call, kind, addr, len) : 0;
}

static long mlockall_work(struct call *call)
{
	return for_each_piece(call, mlock_mapped_piece);
}

/*
 * mlockall(): lock what is mapped and managed now, as far as the limit allows. Memory that is not managed is not
 * locked, because the kernel's own mlockall() would bring in the whole managed range, past the limit. MCL_FUTURE is
 * accepted, and has no effect.
 */
static int lock_all(bool lock)
{
	struct call call = {
		.work = mlockall_work, .addr = run.base, .len = run.end - run.base, .flags = lock};
	return (int)result_errno(call_run_locked(&call));
}

EXPORT int mlockall(int flags)
{
	if (!run.active)
		return (int)syscall(SYS_mlockall, flags);
	if (!flags || flags & ~(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT))
		return (int)result_errno(-EINVAL);
	return flags & MCL_CURRENT ? lock_all(true) : 0;
}

EXPORT int munlockall(void)
{
	return run.active ? lock_all(false) : (int)syscall(SYS_munlockall);
}

static long msync_native(const struct call *call, uint64_t addr, uint64_t len)
{
	return native(syscall(SYS_msync, addr, len, call->flags));
}

EXPORT int msync(void *addr, size_t len, int flags)
{
	struct call call = {.work = msync_work, .addr = (uintptr_t)addr, .len = len, .flags = flags};
	return (int)result_errno(range_call(&call, msync_native));
}

/* ---- mincore ---------------------------------------------------------------------------- */

#define MINCORE_BATCH 512 /* pages looked at in one call; each answer takes a byte */

static long mincore_work(struct call *call)
{
	unsigned char *vec = call->data;

	for (uint64_t at = call->addr; at < call->addr + call->len; at += PAGE_BYTES, vec++) {
		uint64_t run_end;
		int prot;
		struct page_view view;

		switch (space_kind_at(run.space, at, &run_end, &prot)) {
		case SPACE_HOLE:
			return -ENOMEM;
		case SPACE_IS_FOREIGN:
			if (syscall(SYS_mincore, at, PAGE_BYTES, vec) < 0)
				return -errno;
			break;
		case SPACE_ANON:
			space_view(run.space, at, &view);
			*vec = view.pte == PTE_KIND_PRESENT || view.pfn != PFN_NONE;
			break;
		}
	}
	return 0;
}

/* The answers are gathered in memory of ours first: a fault on the program's would wait for the space lock. */
EXPORT int mincore(void *addr, size_t len, unsigned char *vec)
{
	uint64_t at = (uintptr_t)addr, end = at + page_align_up(len);

	if (!run.active || !run_manages(addr))
		return (int)syscall(SYS_mincore, addr, len, vec);
	if (at & ~PAGE_MASK)
		return (int)result_errno(-EINVAL);
	if (end < at || end > run.end)
		return (int)result_errno(-ENOMEM);

	unsigned char *batch = own_alloc(MINCORE_BATCH);
	long result = batch ? 0 : -ENOMEM;
	while (at < end && !result) {
		uint64_t pages = min_u64((end - at) >> PAGE_SHIFT, MINCORE_BATCH);
		struct call call = {
			.work = mincore_work,
			.addr = at,
			.len = pages << PAGE_SHIFT,
			.data = batch,
		};
		result = call_run_locked(&call);
		if (!result && !user_write(vec, batch, pages))
			result = -EFAULT;
		vec += pages;
		at += pages << PAGE_SHIFT;
	}
	own_free(batch);
	return (int)result_errno(result);
}

/* ---- mmap ------------------------------------------------------------------------------- */

static bool can_be_managed(int prot, int flags)
{
	int unwanted = MAP_GROWSDOWN | MAP_HUGETLB | MAP_STACK;

#ifdef MAP_32BIT
	unwanted |= MAP_32BIT;
#endif
	return (flags & MAP_TYPE) == MAP_PRIVATE && flags & MAP_ANONYMOUS && !(flags & unwanted) &&
	       !(prot & PROT_EXEC);
}

static unsigned space_flags(int prot, int flags)
{
	unsigned result = 0;

	if (flags & MAP_FIXED)
		result |= SPACE_FIXED;
	if (flags & MAP_FIXED_NOREPLACE)
		result |= SPACE_FIXED_NOREPLACE;
	/* Memory that may not be accessed needs no room yet. */
	if (flags & MAP_NORESERVE || prot == PROT_NONE)
		result |= SPACE_NORESERVE;
	return result;
}

/* Unmap the foreign mappings where a fixed mapping is about to be made. => space locked */
static long clear_foreign_piece(struct call *call, enum space_kind kind, uint64_t addr, uint64_t len)
{
	return kind == SPACE_IS_FOREIGN ? munmap_piece(call, kind, addr, len) : 0;
}

static long mmap_managed_work(struct call *call)
{
	long error = 0;

	if (call->flags & MAP_FIXED)
		error = for_each_piece(call, clear_foreign_piece);
	if (!error)
		error = retry(space_mmap(run.space, &call->addr, call->len, call->prot,
			space_flags(call->prot, call->flags), &wait));
	if (!error && call->flags & (MAP_POPULATE | MAP_LOCKED))
		/* As in the kernel, mmap() does not fail if the pages cannot come in now. */
		(void)retry(space_madvise(run.space, call->addr, call->len,
			call->prot & PROT_WRITE ? MADV_POPULATE_WRITE : MADV_POPULATE_READ, &wait));
	if (!error && call->flags & MAP_LOCKED)
		(void)lock_pages(call->addr, call->len, true);
	return error ? error : (long)call->addr;
}

static long mmap_foreign_work(struct call *call)
{
	unsigned flags = space_flags(call->prot, call->flags) | SPACE_FOREIGN | SPACE_NORESERVE;

	long error = for_each_piece(call, clear_foreign_piece);
	if (!error)
		error = retry(space_mmap(run.space, &call->addr, call->len, call->prot, flags, &wait));
	if (error)
		return error;
	void *p = raw_mmap((void *)call->addr, call->len, call->prot,
		(call->flags & ~MAP_FIXED_NOREPLACE) | MAP_FIXED, call->fd, call->offset);
	if (p != MAP_FAILED)
		return (long)call->addr;
	error = -errno;
	munmap_piece(call, SPACE_IS_FOREIGN, call->addr, call->len);
	return error;
}

static long mmap_call(struct call *call)
{
	bool fixed = call->flags & (MAP_FIXED | MAP_FIXED_NOREPLACE);
	bool managed = can_be_managed(call->prot, call->flags);

	call->len = page_align_up(call->len);
	if (!call->len || call->addr + call->len < call->addr)
		return call->len ? -ENOMEM : -EINVAL;
	if (fixed) {
		uint64_t end = call->addr + call->len;
		if (call->addr & ~PAGE_MASK)
			return -EINVAL;
		if (call->addr < run.base || end > run.end)
			return -ENOMEM; /* crosses the edge of the managed range, where no mapping can lie */
	} else if (!run_manages((void *)call->addr) || call->addr & ~PAGE_MASK) {
		call->addr = 0;
	}
	call->work = managed ? mmap_managed_work : mmap_foreign_work;
	return call_run_locked(call);
}

EXPORT void *mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset)
{
	bool fixed = flags & (MAP_FIXED | MAP_FIXED_NOREPLACE);
	struct call call = {
		.addr = (uintptr_t)addr,
		.len = len,
		.prot = prot,
		.flags = flags,
		.fd = fd,
		.offset = offset,
	};
	if (!run.active)
		return raw_mmap(addr, len, prot, flags, fd, offset);
	bool touches = call.addr < run.end && call.addr + len > run.base;
	if (fixed ? !touches : !can_be_managed(prot, flags))
		return raw_mmap(addr, len, prot, flags, fd, offset);
	return (void *)result_errno(mmap_call(&call));
}

EXPORT void *mmap64(void *addr, size_t len, int prot, int flags, int fd, off_t offset)
{
	return mmap(addr, len, prot, flags, fd, offset);
}

/* ---- mremap ----------------------------------------------------------------------------- */

/* call->addr, len: the old range. other_len: the new length. other_addr: the new address, with MREMAP_FIXED */
static long mremap_managed(struct call *call)
{
	uint64_t addr = call->addr;

	if (call->flags & MREMAP_DONTUNMAP)
		return -EINVAL; /* as kernels before 5.7 */
	long error = retry(space_mremap(
		run.space, &addr, call->len, call->other_len, call->flags, call->other_addr, &wait));
	return error ? error : (long)addr;
}

/*
 * A foreign mapping cannot grow in place, because the reservation lies behind it. When it has moved, its old addresses
 * must be reserved again.
 */
static long mremap_foreign(struct call *call)
{
	void *moved = raw_mremap(
		(void *)call->addr, call->len, call->other_len, call->flags, (void *)call->other_addr);

	if (moved == MAP_FAILED)
		return -errno;
	uint64_t kept = (uintptr_t)moved == call->addr ? min_u64(call->other_len, call->len) : 0;
	if (kept < call->len) {
		long error = retry(space_munmap(run.space, call->addr + kept, call->len - kept, &wait));
		if (!error)
			error = uffd_reserve_again(run.machine, call->addr + kept, call->addr + call->len);
		if (error)
			run_die("cannot take back the addresses of a mapping that moved: %s",
				strerrordesc_np((int)-error));
	}
	return (long)(uintptr_t)moved;
}

static long mremap_work(struct call *call)
{
	uint64_t run_end;
	int prot;

	if (space_kind_at(run.space, call->addr, &run_end, &prot) == SPACE_IS_FOREIGN)
		return mremap_foreign(call);
	return mremap_managed(call);
}

static long mremap_call(struct call *call)
{
	bool to_managed = call->flags & MREMAP_FIXED && call->other_addr < run.end &&
			  call->other_addr + call->other_len > run.base;
	bool from_managed = run_manages((void *)call->addr);

	call->len = page_align_up(call->len);
	call->other_len = page_align_up(call->other_len);
	/* A mapping cannot move into the managed range or out of it: the pages there are not the kernel's to move. */
	if (call->flags & MREMAP_FIXED && to_managed != from_managed)
		return -EINVAL;
	if (!from_managed)
		return native((long)raw_mremap((void *)call->addr, call->len, call->other_len, call->flags,
			(void *)call->other_addr));
	if (call->addr & ~PAGE_MASK || !call->other_len || !call->len)
		return -EINVAL;
	call->work = mremap_work;
	return call_run_locked(call);
}

EXPORT void *mremap(void *old, size_t old_len, size_t new_len, int flags, ...)
{
	void *new_addr = NULL;

	if (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) {
		va_list args;
		va_start(args, flags);
		new_addr = va_arg(args, void *);
		va_end(args);
	}
	if (!run.active)
		return raw_mremap(old, old_len, new_len, flags, new_addr);
	struct call call = {
		.addr = (uintptr_t)old,
		.len = old_len,
		.other_len = new_len,
		.other_addr = (uintptr_t)new_addr,
		.flags = flags,
	};
	return (void *)result_errno(mremap_call(&call));
}

/* SPDX-License-Identifier: MIT */
/*
 * Memory that system calls work on in place of managed memory.
 *
 * A call takes a slot. A call that needs more than a slot takes a region of its own as well. The lowest free slot is
 * taken, so few slots are ever touched; slots with high numbers give their pages back to the host. A thread that
 * waits in a call keeps its slot, and with it only the pages of the slot that it has touched.
 *
 * A program may leave a call by longjmp(), which tells nobody. So a call that has a slot writes a cookie to its own
 * stack. When no slot is left, every slot whose cookie was overwritten is taken back. A cookie that still stands
 * proves nothing: its slot stays taken.
 */
#include "run/guard/guard.h"
#include "run/raw.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define SLOTS 128U
#define SLOT_BYTES (GUARD_PIECE_BYTES + 64 * KIB)
#define SLOTS_KEPT 2U /* the first slots keep all of their pages */
#define SWEEP_EACH 64 /* sweep() works at every 64th shortage */
#define SLOT_WARM_BYTES (16 * KIB) /* the other slots keep their first bytes */

/* Locks: [a] atomic  [used] the thread that has set used */
static struct slot {
	_Atomic(uint32_t) used; /* [a] 1: a call has the slot */
	bool open; /* [used] its memory may be accessed */
	_Atomic(uint64_t) cookie; /* [a] 0: the slot is not to be taken back */
	_Atomic(uint64_t *) cookie_at; /* [a] where the call wrote its cookie. Set before cookie */
} slots[SLOTS];

static uint8_t *memory; /* [I] */
static _Atomic(uint64_t) last_cookie;
static _Atomic(unsigned) shortages;

int scratch_start(void)
{
	uint8_t *p = raw_mmap(
		NULL, SLOTS * SLOT_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return -errno;
	raw_madvise(p, SLOTS * SLOT_BYTES, MADV_NOHUGEPAGE);
	memory = p;
	return 0;
}

/*
 * Was the cookie overwritten? The kernel reads it, because its stack may be unmapped. Unmapped counts as not
 * overwritten.
 */
static bool cookie_is_gone(uint64_t *at, uint64_t cookie)
{
	uint64_t found = 0;
	struct iovec to = {&found, sizeof(found)}, from = {at, sizeof(found)};
	uint64_t args[6] = {(uint64_t)getpid(), (uintptr_t)&to, 1, (uintptr_t)&from, 1, 0};

	return guard_issue(SYS_process_vm_readv, args) == sizeof(found) && found != cookie;
}

/*
 * Take back slots whose calls were left. This does nothing at most shortages, because perhaps every slot belongs to a
 * thread that is in a call.
 */
static void sweep(void)
{
	if (atomic_fetch_add(&shortages, 1) % SWEEP_EACH)
		return;
	for (unsigned i = 0; i < SLOTS; i++) {
		uint64_t cookie = atomic_load(&slots[i].cookie);

		if (cookie && cookie_is_gone(atomic_load(&slots[i].cookie_at), cookie) &&
			atomic_compare_exchange_strong(&slots[i].cookie, &cookie, 0))
			atomic_store(&slots[i].used, 0);
	}
}

static int slot_take(void)
{
	for (unsigned i = 0; i < SLOTS; i++) {
		uint32_t none = 0;

		if (!atomic_load_explicit(&slots[i].used, memory_order_relaxed) &&
			atomic_compare_exchange_strong(&slots[i].used, &none, 1))
			return (int)i;
	}
	return -1;
}

/*
 * Make a slot accessible when it is first used: all of them at once would count against RLIMIT_DATA. false: no memory
 */
static bool slot_open(int nr)
{
	uint64_t args[6] = {
		(uintptr_t)memory + (uint64_t)nr * SLOT_BYTES, SLOT_BYTES, PROT_READ | PROT_WRITE};

	if (!slots[nr].open)
		slots[nr].open = guard_issue(SYS_mprotect, args) == 0;
	if (!slots[nr].open)
		atomic_store(&slots[nr].used, 0);
	return slots[nr].open;
}

void scratch_open(struct scratch *scratch)
{
	scratch->nr_regions = 0;
	scratch->slot = slot_take();
	if (scratch->slot < 0) {
		sweep();
		scratch->slot = slot_take();
	}
	scratch->at = scratch->end = NULL;
	if (scratch->slot >= 0 && !slot_open(scratch->slot))
		scratch->slot = -1;
	if (scratch->slot < 0)
		return;
	struct slot *slot = &slots[scratch->slot];

	scratch->at = memory + (size_t)scratch->slot * SLOT_BYTES;
	scratch->end = scratch->at + SLOT_BYTES;
	scratch->cookie = atomic_fetch_add(&last_cookie, 1) + 0x5ca7c400000001;
	atomic_store(&slot->cookie_at, &scratch->cookie);
	atomic_store(&slot->cookie, scratch->cookie);
}

static void *region_alloc(struct scratch *scratch, size_t bytes, uint64_t offset)
{
	size_t whole = page_align_up(bytes + offset);
	uint64_t args[6] = {0, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		(uint64_t)-1, 0};

	if (scratch->nr_regions == SCRATCH_REGIONS || whole < bytes)
		return NULL;
	long p = guard_issue(SYS_mmap, args);
	uint8_t *start = (uint8_t *)(uintptr_t)p;

	if ((uint64_t)p >= -4095ull)
		return NULL;
	scratch->region[scratch->nr_regions].start = start;
	scratch->region[scratch->nr_regions++].bytes = whole;
	return start + offset;
}

void *scratch_alloc(struct scratch *scratch, size_t bytes, uint64_t like)
{
	uint64_t at = (uintptr_t)scratch->at, room = (uint64_t)(scratch->end - scratch->at);
	uint64_t offset = like == SCRATCH_ANYWHERE ? (at + 15) & ~PAGE_MASK & ~15UL : like & ~PAGE_MASK;
	uint64_t skip = (offset - at) & ~PAGE_MASK;

	if (bytes > room || skip > room - bytes)
		return region_alloc(scratch, bytes, offset);
	void *p = scratch->at + skip;
	scratch->at += skip + bytes;
	return p;
}

static void slot_cool(const struct scratch *scratch)
{
	uint8_t *start = memory + (size_t)scratch->slot * SLOT_BYTES + SLOT_WARM_BYTES;
	uint64_t args[6] = {(uintptr_t)start, SLOT_BYTES - SLOT_WARM_BYTES, MADV_DONTNEED};

	if ((unsigned)scratch->slot >= SLOTS_KEPT && scratch->at > start)
		guard_issue(SYS_madvise, args);
}

void scratch_close(struct scratch *scratch)
{
	for (unsigned i = 0; i < scratch->nr_regions; i++) {
		uint64_t args[6] = {(uintptr_t)scratch->region[i].start, scratch->region[i].bytes};
		guard_issue(SYS_munmap, args);
	}
	scratch->nr_regions = 0;
	if (scratch->slot < 0)
		return;
	struct slot *slot = &slots[scratch->slot];
	uint64_t cookie = scratch->cookie;

	slot_cool(scratch);
	scratch->cookie = 0;
	if (atomic_compare_exchange_strong(&slot->cookie, &cookie, 0))
		atomic_store(&slot->used, 0);
	scratch->slot = -1;
}

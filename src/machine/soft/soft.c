/* SPDX-License-Identifier: MIT */
/*
 * The soft machine. Its MMU does what a processor's does: translate, set accessed and dirty, trap.
 *
 * A PTE is usable when it is present and valid, and for a write when it also has the write bit. The accessed and dirty
 * bits are set by the walk that fills the TLB. An access that hits the TLB does not set them. Therefore the core calls
 * flush() whenever it clears one of them or takes a right away.
 *
 * Invariant: a TLB entry exists => its PTE is usable, accessed, and dirty if the entry is writable.
 * Invariant: with threads no TLB entry exists.
 *
 * Lock order, outermost first:
 *   kswapd_lock   held while a thread calls kswapd_step(), which has one caller at a time
 *   lock          the pager lock
 *   sleep_lock    taken with or without the pager lock; nothing is taken under it
 */
#define _GNU_SOURCE
#include "machine/soft/soft.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

/* Most calls of kswapd_step() at the end of one access, tens of pages each. Then the access may go on. */
#define KSWAPD_STEPS_PER_TICK 64

/* The longest sleep of a waiter. The end of its wait wakes it earlier. */
#define SLEEP_MS 1

/* Locks: [I] set once  [a] atomic  [S] sleep_lock */
struct soft_machine {
	struct machine machine; /* [I] first member */
	char *arena; /* [I] frame n is at arena + n * PAGE_BYTES */
	size_t arena_bytes; /* [I] */
	bool threads; /* [I] */
	bool has_kswapd; /* [I] between start and stop: a thread runs kswapd */
	/* [a] kswapd_step() has work: whoever runs kswapd next clears this first */
	_Atomic(bool) kswapd_woken;
	bool kswapd_stop; /* [S] */
	pthread_mutex_t lock; /* the pager lock */
	pthread_mutex_t kswapd_lock;
	pthread_mutex_t sleep_lock;
	pthread_cond_t sleepers[WAIT_WORDS]; /* signalled when the event counter of this number moved */
	pthread_cond_t kswapd_sleeps; /* signalled when kswapd_woken or kswapd_stop was set */
	pthread_t kswapd; /* [I] */
};

static struct soft_machine *soft_of(struct machine *m)
{
	return container_of(m, struct soft_machine, machine);
}

/* ---- Frames and translations ----------------------------------------------------------- */

static void *soft_frame_bytes(struct machine *m, pfn_t pfn)
{
	struct soft_machine *soft = soft_of(m);

	assert((size_t)pfn * PAGE_BYTES < soft->arena_bytes);
	return soft->arena + (size_t)pfn * PAGE_BYTES;
}

static int soft_frame_populate(struct machine *m, pfn_t first, unsigned nr)
{
	(void)m, (void)first, (void)nr;
	return 0;
}

static void soft_frame_drop(struct machine *m, pfn_t first, unsigned nr)
{
	madvise(soft_frame_bytes(m, first), nr * PAGE_BYTES, MADV_DONTNEED);
}

/* The MMU will find the PTE by itself, so only the content must be made. */
static void soft_map(struct machine *m, struct mapping *mappings, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++) {
		if (mappings[i].content == FRAME_ZERO)
			memset(soft_frame_bytes(m, mappings[i].pfn), 0, PAGE_BYTES);
		mappings[i].result = 0;
	}
}

static void soft_flush(struct machine *m, struct space *space, uint64_t addr)
{
	struct soft_space *mmu = space_machine_data(space);
	struct soft_tlb_entry *entry;

	if (soft_of(m)->threads)
		return;
	entry = soft_tlb_entry(mmu, addr);
	if (entry->read_tag == page_align_down(addr))
		entry->read_tag = entry->write_tag = SOFT_TLB_NONE;
}

static void soft_unmap(struct machine *m, struct mapping *mappings, unsigned nr, enum unmap_content content)
{
	(void)content;
	for (unsigned i = 0; i < nr; i++) {
		soft_flush(m, mappings[i].space, mappings[i].addr);
		mappings[i].result = 0;
	}
}

/* Regions need no work: an address without a VMA has no PTE, and the MMU looks at PTEs alone. */
static int soft_region_map(struct machine *m, struct space *space, uint64_t start, uint64_t end, int prot)
{
	(void)m, (void)space, (void)start, (void)end, (void)prot;
	return 0;
}

static int soft_region_unmap(struct machine *m, struct space *space, uint64_t start, uint64_t end)
{
	return soft_region_map(m, space, start, end, 0);
}

/* ---- The lock, waiting, memory --------------------------------------------------------- */

static void soft_lock(struct machine *m)
{
	if (soft_of(m)->threads)
		pthread_mutex_lock(&soft_of(m)->lock);
}

static void soft_unlock(struct machine *m)
{
	if (soft_of(m)->threads)
		pthread_mutex_unlock(&soft_of(m)->lock);
}

static void broadcast(struct soft_machine *soft, pthread_cond_t *cond)
{
	pthread_mutex_lock(&soft->sleep_lock);
	pthread_cond_broadcast(cond);
	pthread_mutex_unlock(&soft->sleep_lock);
}

static void soft_wake(struct machine *m, unsigned word)
{
	struct soft_machine *soft = soft_of(m);

	if (soft->threads)
		broadcast(soft, &soft->sleepers[word]);
}

static void soft_wake_kswapd(struct machine *m, bool by_fault)
{
	struct soft_machine *soft = soft_of(m);

	(void)by_fault;
	if (!atomic_exchange(&soft->kswapd_woken, true) && soft->has_kswapd)
		broadcast(soft, &soft->kswapd_sleeps);
}

/* => sleep_lock held */
static void sleep_a_little(struct soft_machine *soft, pthread_cond_t *cond)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += SLEEP_MS * 1000000L;
	if (until.tv_nsec >= 1000000000L) {
		until.tv_nsec -= 1000000000L;
		until.tv_sec++;
	}
	pthread_cond_timedwait(cond, &soft->sleep_lock, &until);
}

/*
 * If kswapd is woken, run it until it has nothing to do now, at most KSWAPD_STEPS_PER_TICK times. If it waits for
 * writes or is not done, it stays woken, and the next tick goes on.
 */
static void run_kswapd(struct soft_machine *soft)
{
	struct pager *pager = soft->machine.pager;
	enum kswapd_result result = KSWAPD_PROGRESS;

	if (soft->has_kswapd || pthread_mutex_trylock(&soft->kswapd_lock))
		return;
	if (atomic_exchange(&soft->kswapd_woken, false)) {
		for (int i = 0; i < KSWAPD_STEPS_PER_TICK && result == KSWAPD_PROGRESS; i++)
			result = kswapd_step(pager, KSWAPD_PAGES);
		if (result == KSWAPD_PROGRESS || result == KSWAPD_WAIT)
			atomic_store(&soft->kswapd_woken, true);
	}
	pthread_mutex_unlock(&soft->kswapd_lock);
}

void soft_machine_tick(struct machine *m)
{
	struct soft_machine *soft = soft_of(m);

	if (!atomic_load_explicit(&soft->kswapd_woken, memory_order_relaxed))
		return;
	pager_poll(m->pager, SWAP_WRITE, 0);
	run_kswapd(soft);
}

static enum swap_dir wait_direction(const struct wait *wait)
{
	return wait->what == WAIT_PAGE ? SWAP_READ : SWAP_WRITE;
}

/*
 * Let time pass until @wait may be over. First do what can be done at once: end requests, run kswapd. Then sleep, at
 * most SLEEP_MS. This may return while the wait is not over. Callers expect that: they call the core again, and it may
 * find another way.
 */
static void soft_wait(struct machine *m, const struct wait *wait)
{
	struct soft_machine *soft = soft_of(m);
	int ended = pager_poll(m->pager, SWAP_READ, 0);

	if (pager_poll(m->pager, SWAP_WRITE, 0) > 0 || ended > 0 || wait_is_over(m->pager, wait))
		return;
	if (wait->what == WAIT_FRAMES)
		soft_wake_kswapd(m, true);
	run_kswapd(soft);
	if (wait_is_over(m->pager, wait) || pager_poll(m->pager, wait_direction(wait), SLEEP_MS) > 0)
		return;
	if (!soft->threads)
		return;
	pthread_mutex_lock(&soft->sleep_lock);
	if (!wait_is_over(m->pager, wait))
		sleep_a_little(soft, &soft->sleepers[wait->word]);
	pthread_mutex_unlock(&soft->sleep_lock);
}

static void soft_say(struct machine *m, const char *text)
{
	(void)m;
	fprintf(stderr, "anonmm: %s\n", text);
}

static void *soft_chunk_alloc(struct machine *m, size_t bytes)
{
	void *chunk = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)m;
	return chunk == MAP_FAILED ? NULL : chunk;
}

static void soft_chunk_free(struct machine *m, void *chunk, size_t bytes)
{
	(void)m;
	munmap(chunk, bytes);
}

static const struct machine_ops soft_ops = {
	.name = "soft",
	.can_share = true,
	.sees_access = true,
	.sees_write = true,
	.frame_bytes = soft_frame_bytes,
	.frame_populate = soft_frame_populate,
	.frame_drop = soft_frame_drop,
	.map = soft_map,
	.unmap = soft_unmap,
	.flush = soft_flush,
	.region_map = soft_region_map,
	.region_protect = soft_region_map,
	.region_unmap = soft_region_unmap,
	.lock = soft_lock,
	.unlock = soft_unlock,
	.wake = soft_wake,
	.wait = soft_wait,
	.wake_kswapd = soft_wake_kswapd,
	.say = soft_say,
	.chunk_alloc = soft_chunk_alloc,
	.chunk_free = soft_chunk_free,
};

/* ---- Open and close -------------------------------------------------------------------- */

static void locks_init(struct soft_machine *soft)
{
	pthread_condattr_t attr;

	pthread_mutex_init(&soft->lock, NULL);
	pthread_mutex_init(&soft->kswapd_lock, NULL);
	pthread_mutex_init(&soft->sleep_lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	for (unsigned word = 0; word < WAIT_WORDS; word++)
		pthread_cond_init(&soft->sleepers[word], &attr);
	pthread_cond_init(&soft->kswapd_sleeps, &attr);
	pthread_condattr_destroy(&attr);
}

int soft_machine_open(const struct soft_config *config, struct machine **out, char *why, size_t why_len)
{
	size_t bytes = (size_t)config->nr_frames * PAGE_BYTES;
	struct soft_machine *soft;

	if (!config->nr_frames) {
		snprintf(why, why_len, "a soft machine with no frames was asked for: give it at least %d",
			PAGER_MIN_FRAMES);
		return -EINVAL;
	}
	soft = calloc(1, sizeof(*soft));
	if (!soft)
		goto no_memory;
	soft->arena =
		mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (soft->arena == MAP_FAILED)
		goto no_arena;
	soft->machine.ops = &soft_ops;
	soft->arena_bytes = bytes;
	soft->threads = config->threads;
	locks_init(soft);
	*out = &soft->machine;
	return 0;

no_arena:
	free(soft);
no_memory:
	snprintf(why, why_len,
		"%zu KiB for the frames were asked for and the host has no room: lower the limit",
		bytes / KIB);
	return -ENOMEM;
}

static void *kswapd_thread(void *arg)
{
	struct soft_machine *soft = arg;
	struct pager *pager = soft->machine.pager;

	pthread_mutex_lock(&soft->sleep_lock);
	while (!soft->kswapd_stop) {
		enum kswapd_result result = KSWAPD_BALANCED;

		if (atomic_exchange(&soft->kswapd_woken, false)) {
			pthread_mutex_unlock(&soft->sleep_lock);
			pager_poll(pager, SWAP_WRITE, 0);
			result = kswapd_step(pager, KSWAPD_PAGES);
			if (result == KSWAPD_PROGRESS || result == KSWAPD_WAIT)
				atomic_store(&soft->kswapd_woken, true);
			if (result == KSWAPD_WAIT)
				pager_poll(pager, SWAP_WRITE, SLEEP_MS);
			pthread_mutex_lock(&soft->sleep_lock);
		}
		if (!soft->kswapd_stop && result != KSWAPD_PROGRESS)
			sleep_a_little(soft, &soft->kswapd_sleeps);
	}
	pthread_mutex_unlock(&soft->sleep_lock);
	return NULL;
}

/* The thread is born with all signals blocked: a handler of the program's must not run on it. */
int soft_machine_start(struct machine *m)
{
	struct soft_machine *soft = soft_of(m);
	sigset_t all, old;
	int error;

	assert(soft->threads && m->pager && !soft->has_kswapd);
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	soft->has_kswapd = true;
	error = pthread_create(&soft->kswapd, NULL, kswapd_thread, soft);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (error)
		soft->has_kswapd = false;
	return -error;
}

void soft_machine_stop(struct machine *m)
{
	struct soft_machine *soft = soft_of(m);

	if (!soft->has_kswapd)
		return;
	pthread_mutex_lock(&soft->sleep_lock);
	soft->kswapd_stop = true;
	pthread_cond_broadcast(&soft->kswapd_sleeps);
	pthread_mutex_unlock(&soft->sleep_lock);
	pthread_join(soft->kswapd, NULL);
	soft->has_kswapd = soft->kswapd_stop = false;
}

void soft_machine_close(struct machine *m)
{
	struct soft_machine *soft = soft_of(m);

	assert(!soft->has_kswapd);
	for (unsigned word = 0; word < WAIT_WORDS; word++)
		pthread_cond_destroy(&soft->sleepers[word]);
	pthread_cond_destroy(&soft->kswapd_sleeps);
	pthread_mutex_destroy(&soft->sleep_lock);
	pthread_mutex_destroy(&soft->kswapd_lock);
	pthread_mutex_destroy(&soft->lock);
	munmap(soft->arena, soft->arena_bytes);
	free(soft);
}

/* ---- Spaces and accesses --------------------------------------------------------------- */

static struct soft_space *mmu_make(struct machine *m, uint64_t base, uint64_t bytes)
{
	struct soft_space *mmu;

	if (posix_memalign((void **)&mmu, 64, sizeof(*mmu))) /* so no TLB entry lies in two cache lines */
		return NULL;
	for (size_t i = 0; i < SOFT_TLB_ENTRIES; i++)
		mmu->tlb[i] = (struct soft_tlb_entry){.read_tag = SOFT_TLB_NONE, .write_tag = SOFT_TLB_NONE};
	mmu->machine = soft_of(m);
	mmu->base = base;
	mmu->bytes = bytes;
	return mmu;
}

int soft_space_open(struct machine *m, uint64_t base, uint64_t bytes, struct soft_space **out)
{
	struct soft_space *mmu = mmu_make(m, base, bytes);
	int error;

	if (!mmu)
		return -ENOMEM;
	error = space_create(m->pager, base, bytes, mmu, &mmu->space);
	if (error) {
		free(mmu);
		return error;
	}
	mmu->pgtable = space_pgtable(mmu->space);
	*out = mmu;
	return 0;
}

int soft_space_fork(struct soft_space *parent, struct soft_space **out)
{
	struct machine *m = &parent->machine->machine;
	struct soft_space *mmu = mmu_make(m, parent->base, parent->bytes);
	struct wait wait = {0};
	int error;

	if (!mmu)
		return -ENOMEM;
	while (space_lock(parent->space, &wait) == -EAGAIN)
		soft_wait(m, &wait);
	while ((error = space_fork(parent->space, NULL, mmu, &mmu->space, &wait)) == -EAGAIN)
		soft_wait(m, &wait);
	space_unlock(parent->space);
	if (error) {
		free(mmu);
		return error;
	}
	mmu->pgtable = space_pgtable(mmu->space);
	*out = mmu;
	return 0;
}

void soft_space_close(struct soft_space *mmu)
{
	struct machine *m = &mmu->machine->machine;
	struct wait wait = {0};

	while (space_lock(mmu->space, &wait) == -EAGAIN)
		soft_wait(m, &wait);
	while (space_exit(mmu->space, &wait) == -EAGAIN)
		soft_wait(m, &wait);
	free(mmu);
}

static void tlb_fill(struct soft_space *mmu, uint64_t addr, char *bytes, bool writable)
{
	struct soft_tlb_entry *entry = soft_tlb_entry(mmu, addr);

	entry->read_tag = page_align_down(addr);
	entry->write_tag = writable ? entry->read_tag : SOFT_TLB_NONE;
	entry->bytes = bytes;
}

/*
 * Translate as a processor would. Returns the frame's bytes, or NULL: the access traps. If the page is writable and
 * dirty already, a later write needs no walk of its own, so a read fills both tags. => pager lock held
 */
static char *mmu_walk(struct soft_space *mmu, uint64_t addr, enum access access)
{
	struct soft_machine *soft = mmu->machine;
	pte_slot_t *slot = pgtable_find(mmu->pgtable, (addr - mmu->base) >> PAGE_SHIFT);
	pte_t needed = PTE_PRESENT | PTE_VALID | (access == ACCESS_WRITE ? PTE_WRITE : 0);
	pte_t marks = PTE_ACCESSED | (access == ACCESS_WRITE ? PTE_DIRTY : 0);
	pte_t pte = slot ? pte_load(slot) : 0;
	char *bytes;

	if ((pte & needed) != needed)
		return NULL;
	if ((pte & marks) != marks)
		pte_set_bits(slot, marks);
	bytes = soft_frame_bytes(&soft->machine, pte_pfn(pte));
	if (!soft->threads)
		tlb_fill(mmu, addr, bytes, (pte & PTE_WRITE) && ((pte | marks) & PTE_DIRTY));
	return bytes;
}

/* Returns 0: try the access again. Or -errno, as soft_read() returns it. */
static int mmu_trap(struct soft_space *mmu, uint64_t addr, enum access access)
{
	for (;;) {
		struct wait wait = {0};

		switch (handle_mm_fault(mmu->space, addr, access, &wait)) {
		case FAULT_DONE:
			return 0;
		case FAULT_WAIT:
			soft_wait(&mmu->machine->machine, &wait);
			break;
		case FAULT_SIGSEGV:
			return -EFAULT;
		case FAULT_SIGBUS:
			return -EIO;
		case FAULT_OOM:
			return -ENOMEM;
		}
	}
}

/*
 * One access within a page. kswapd runs after the access, not between the trap and the retry: there it could take the
 * page away again each time, for ever.
 */
static int access_page(struct soft_space *mmu, uint64_t addr, void *buf, size_t len, enum access access)
{
	struct machine *m = &mmu->machine->machine;
	bool trapped = false;
	char *bytes;

	for (;;) {
		int error;

		soft_lock(m);
		bytes = mmu_walk(mmu, addr, access);
		if (bytes && access == ACCESS_WRITE)
			memcpy(bytes + (addr & ~PAGE_MASK), buf, len);
		else if (bytes)
			memcpy(buf, bytes + (addr & ~PAGE_MASK), len);
		soft_unlock(m);
		if (bytes)
			break;
		error = mmu_trap(mmu, addr, access);
		if (error)
			return error;
		trapped = true;
	}
	if (trapped)
		soft_machine_tick(m);
	return 0;
}

static int access_range(struct soft_space *mmu, uint64_t addr, char *buf, size_t len, enum access access)
{
	while (len) {
		size_t part = min_u64(len, PAGE_BYTES - (addr & ~PAGE_MASK));
		int error =
			addr - mmu->base < mmu->bytes ? access_page(mmu, addr, buf, part, access) : -EFAULT;

		if (error)
			return error;
		addr += part;
		buf += part;
		len -= part;
	}
	return 0;
}

int soft_read(struct soft_space *mmu, uint64_t addr, void *buf, size_t len)
{
	return access_range(mmu, addr, buf, len, ACCESS_READ);
}

/* The cast takes const away, but a write access only reads @buf: access_range() serves both directions. */
int soft_write(struct soft_space *mmu, uint64_t addr, const void *buf, size_t len)
{
	return access_range(mmu, addr, (char *)(uintptr_t)buf, len, ACCESS_WRITE);
}

/* SPDX-License-Identifier: MIT */
/*
 * What the core costs by itself, on the soft machine: no kernel, no device, one thread.
 *
 *      soft [ROUNDS]       each figure is the best of ROUNDS (default 5)
 *
 * The table shows each figure, and the bound that it should reach. The exit status is 1 if one does not.
 */
#define _GNU_SOURCE
#include "machine/soft/soft.h"
#include "mm/pager.h"
#include "contract/swapdev.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#define BASE (16 * MIB)
#define SPACE_BYTES (4 * GIB)

static struct machine *machine;
static struct pager *pager;

__attribute__((noreturn)) static void die(const char *what)
{
	fprintf(stderr, "soft: %s\n", what);
	exit(1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- A world ----------------------------------------------------------------------------- */

static struct swapdev *device_open(const char *uri)
{
	struct swapdev *dev;
	char why[300];

	if (swapdev_open(uri, &dev, why, sizeof(why)))
		die(why);
	return dev;
}

static void world_open(uint32_t nr_frames, const char *swap)
{
	struct soft_config soft = {.nr_frames = nr_frames};
	char why[300];

	if (soft_machine_open(&soft, &machine, why, sizeof(why)))
		die(why);
	struct pager_config config = {
		.machine = machine, .nr_frames = nr_frames, .swappiness = -1, .seed = 1};

	if (pager_open(&config, &pager))
		die("the pager cannot be opened");
	if (swap && pager_add_swap(pager, device_open(swap), 0))
		die("no swap");
}

static void world_close(void)
{
	while (pager_close(pager) == -EBUSY)
		pager_poll(pager, SWAP_WRITE, 1);
	soft_machine_close(machine);
}

static struct soft_space *space_open_at(uint64_t *addr, uint64_t bytes)
{
	struct soft_space *mmu;
	struct wait wait = {0};

	if (soft_space_open(machine, BASE, SPACE_BYTES, &mmu) || space_lock(mmu->space, &wait))
		die("a space cannot be opened");
	*addr = 0;
	if (space_mmap(mmu->space, addr, bytes, PROT_READ | PROT_WRITE, SPACE_NORESERVE, &wait))
		die("no mapping");
	space_unlock(mmu->space);
	return mmu;
}

static void touch(struct soft_space *mmu, uint64_t addr, uint64_t bytes, uint64_t salt)
{
	for (uint64_t at = 0; at < bytes; at += PAGE_BYTES)
		if (soft_store64(mmu, addr + at, at + salt))
			die("a store has failed");
}

/* ---- What is measured -------------------------------------------------------------------- */

/* Millions a second. */
static double tlb_hits(void)
{
	enum { LOADS = 50000000, PAGES = 64 };
	uint64_t addr, sum = 0, value;

	world_open(1024, NULL);
	struct soft_space *mmu = space_open_at(&addr, PAGES * PAGE_BYTES);

	touch(mmu, addr, PAGES * PAGE_BYTES, 1);
	double start = now();

	for (uint64_t i = 0; i < LOADS; i++) {
		soft_load64(mmu, addr + i * 72 % (PAGES * PAGE_BYTES - 8) / 8 * 8, &value);
		sum += value;
	}
	double seconds = now() - start;

	__asm__ volatile("" : : "r"(sum));
	soft_space_close(mmu);
	world_close();
	return LOADS / seconds / 1e6;
}

/*
 * Births with frames enough, millions a second: @stride 1 in order, else scattered, where every page is a fault of its
 * own.
 */
static double births(uint64_t stride)
{
	enum { PAGES = 65536 };
	uint64_t addr;

	world_open(PAGES + PAGES / 8, NULL);
	struct soft_space *mmu = space_open_at(&addr, PAGES * PAGE_BYTES);
	/* The arena's first touch is the host's own page fault: not what is measured. */
	touch(mmu, addr, PAGES * PAGE_BYTES, 1);
	struct wait wait = {0};

	if (space_lock(mmu->space, &wait) ||
		space_madvise(mmu->space, addr, PAGES * PAGE_BYTES, MADV_DONTNEED, &wait))
		die("MADV_DONTNEED");
	space_unlock(mmu->space);
	double start = now();

	for (uint64_t i = 0; i < PAGES; i++)
		soft_store64(mmu, addr + i * stride % PAGES * PAGE_BYTES, i);
	double seconds = now() - start;

	soft_space_close(mmu);
	world_close();
	return PAGES / seconds / 1e6;
}

static double births_in_order(void)
{
	return births(1);
}

static double births_scattered(void)
{
	return births(40503);
}

/*
 * First touches beyond the memory: each evicts a page, which is written to a device that copies it. Millions a second.
 */
static double births_with_reclaim(void)
{
	enum { FRAMES = 16384, PAGES = 3 * FRAMES };
	uint64_t addr;

	world_open(FRAMES, "mem:?size=256M");
	struct soft_space *mmu = space_open_at(&addr, PAGES * PAGE_BYTES);

	/* Device and frames have their host memory after this. */
	touch(mmu, addr, PAGES * PAGE_BYTES, 1);
	struct wait wait = {0};

	if (space_lock(mmu->space, &wait) ||
		space_madvise(mmu->space, addr, PAGES * PAGE_BYTES, MADV_DONTNEED, &wait))
		die("MADV_DONTNEED");
	space_unlock(mmu->space);
	double start = now();

	touch(mmu, addr, PAGES * PAGE_BYTES, 2);
	double seconds = now() - start;

	soft_space_close(mmu);
	world_close();
	return PAGES / seconds / 1e6;
}

/* Stores over twice the memory: each evicts a page, and writes it. Millions of faults a second. */
static double swap_ins(void)
{
	enum { FRAMES = 16384, PAGES = 2 * FRAMES };
	struct anonmm_stats before, after;
	uint64_t addr;

	world_open(FRAMES, "mem:?size=256M");
	struct soft_space *mmu = space_open_at(&addr, PAGES * PAGE_BYTES);

	touch(mmu, addr, PAGES * PAGE_BYTES, 1);
	pager_stats(pager, &before);
	double start = now();

	for (unsigned round = 2; round < 4; round++)
		touch(mmu, addr, PAGES * PAGE_BYTES, round);
	double seconds = now() - start;

	pager_stats(pager, &after);
	soft_space_close(mmu);
	world_close();
	return (double)(after.swapped_in - before.swapped_in) / seconds / 1e6;
}

/* ns a page, of 1 GiB that is all mapped. */
static double fork_page(void)
{
	uint64_t addr, bytes = GIB;
	struct soft_space *child;

	world_open(bytes / PAGE_BYTES + 4096, NULL);
	struct soft_space *mmu = space_open_at(&addr, bytes);

	touch(mmu, addr, bytes, 1);
	double start = now();

	if (soft_space_fork(mmu, &child))
		die("fork");
	double seconds = now() - start;

	soft_space_close(child);
	soft_space_close(mmu);
	world_close();
	return seconds * 1e9 * PAGE_BYTES / (double)bytes;
}

/*
 * ns for each page that reclaim looks at and pages out, born in one of @nr forks of a common parent after they parted.
 */
static double walk_with(unsigned nr)
{
	enum { PAGES = 2048 };
	struct soft_space **others = calloc(nr, sizeof(struct soft_space *));
	uint64_t addr;

	world_open(65536, "mem:?size=256M");
	struct soft_space *mmu = space_open_at(&addr, PAGES * PAGE_BYTES);

	soft_store64(mmu, addr, 1);
	for (unsigned i = 0; i < nr; i++)
		if (soft_space_fork(mmu, &others[i]))
			die("fork");
	touch(others[0], addr, PAGES * PAGE_BYTES, 1);
	double start = now();

	pager_reclaim(pager, PAGES);
	double seconds = now() - start;

	for (unsigned i = 0; i < nr; i++)
		soft_space_close(others[i]);
	soft_space_close(mmu);
	world_close();
	free(others);
	return seconds * 1e9 / PAGES;
}

static unsigned rounds = 5;

static double best(double (*measure)(void), bool more_is_better)
{
	double found = measure();

	for (unsigned i = 1; i < rounds; i++) {
		double next = measure();

		if (more_is_better ? next > found : next < found)
			found = next;
	}
	return found;
}

static double walk_1(void)
{
	return walk_with(1);
}

static double walk_1000(void)
{
	return walk_with(1000);
}

/* How many times longer beside 1000 unrelated forks. */
static double walk_growth(void)
{
	return best(walk_1000, false) / best(walk_1, false);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *what, *unit;
		double (*measure)(void);
		bool at_least, in_rounds;
		double target;
	} table[] = {
		{"loads that hit the TLB", "million/s", tlb_hits, true, true, 100},
		{"births in order", "million/s", births_in_order, true, true, 1},
		{"births, scattered", "million/s", births_scattered, true, true, 1},
		{"births with reclaim and writes", "million/s", births_with_reclaim, true, true, 1},
		{"swap-ins with reclaim and writes", "million/s", swap_ins, true, true, 0.3},
		{"fork of 1 GiB of mapped pages", "ns/page", fork_page, false, true, 50},
		{"reclaim beside 1000 unrelated forks", "times", walk_growth, false, false, 2},
	};
	int missed = 0;

	if (argc > 1)
		rounds = (unsigned)max_u64(1, strtoul(argv[1], NULL, 10));
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		double found =
			table[i].in_rounds ? best(table[i].measure, table[i].at_least) : table[i].measure();
		bool good = table[i].at_least ? found >= table[i].target : found <= table[i].target;

		printf("%-38s %8.2f %-10s (%s %.1f)%s\n", table[i].what, found, table[i].unit,
			table[i].at_least ? "at least" : "at most", table[i].target, good ? "" : "  missed");
		missed += !good;
	}
	return missed > 0;
}

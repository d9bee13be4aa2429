/* SPDX-License-Identifier: MIT */
/*
 * How long is the pager lock held? No clock is asked. The core is compiled with -fsanitize-coverage=trace-pc, so each
 * basic block of it that runs is counted. A hold is what runs from lock() to unlock().
 *
 * Every public operation is done on memory of two sizes, in each state that memory can have, on the soft machine and on
 * one where a frame has one place only. The longest hold may not grow with the memory.
 *
 *     sim-pauses [-v] [OPERATION]       PAUSES_TRACE=BLOCKS: print the call stack where a hold gets that long
 */
#define _GNU_SOURCE
#include "../../world.h"
#include "mm/mm.h"

#include <execinfo.h>
#include <unistd.h>

#define SMALL_PAGES 2048u
#define LARGE_PAGES (4 * SMALL_PAGES)
/* In basic blocks: what grows with the depth of trees, or with a page in 512; what one stretch of a walk takes at most. */
#define SLACK 3000
#define STRETCH 60000

#define REQUIRE(what)                                                                                        \
	do {                                                                                                 \
		if (!(what)) {                                                                               \
			fprintf(stderr, "pauses: %s, %s: %s\n", trial.op->name, trial.state->name, #what);   \
			exit(1);                                                                             \
		}                                                                                            \
	} while (0)

/* ---- Counting ------------------------------------------------------------------------------------- */

static struct {
	bool on;
	uint64_t blocks, longest; /* of this hold; of the longest one */
	uint64_t trace_at;
} hold;

void __sanitizer_cov_trace_pc(void);

void __sanitizer_cov_trace_pc(void)
{
	if (++hold.blocks == hold.trace_at && hold.on) {
		void *stack[32];

		backtrace_symbols_fd(stack, backtrace(stack, 32), 2);
		hold.trace_at = 0;
	}
}

static void counting_lock(struct machine *machine)
{
	(void)machine;
	hold.blocks = 0;
}

static void counting_unlock(struct machine *machine)
{
	(void)machine;
	if (hold.on && hold.blocks > hold.longest)
		hold.longest = hold.blocks;
}

/* ---- The world ------------------------------------------------------------------------------------ */

struct state {
	const char *name;
	void (*make)(void);
	bool shares_only; /* there is no such memory where a frame has one place */
};

struct op {
	const char *name;
	void (*run)(void);
};

static struct {
	const struct op *op;
	const struct state *state;
	bool shares; /* a frame can be shared: the soft machine as it is */
	unsigned pages; /* of the memory that the operation is about */
} trial;

static struct world world;
static struct place place;
static struct file *file;
static uint64_t base, bytes;
static struct wait wait;

#define RETRY(call) WORLD_RETRY(&world, &wait, call)

/* Where each frame has one place, and the machine does not see accesses or writes. */
static void one_place(struct machine_ops *ops)
{
	ops->can_share = ops->sees_access = ops->sees_write = false;
	ops->flush = NULL;
}

static struct swapdev *swapon(void)
{
	char uri[64], why[200];
	struct swapdev *dev;

	snprintf(uri, sizeof(uri), "mem:?size=%uK", 2 * trial.pages * 4);
	REQUIRE(!swapdev_open(uri, &dev, why, sizeof(why)) && !pager_add_swap(world.pager, dev, 0));
	return dev;
}

static void reap(void)
{
	while (pager_in_flight(world.pager, SWAP_WRITE) || pager_in_flight(world.pager, SWAP_READ)) {
		pager_poll(world.pager, SWAP_WRITE, 1);
		pager_poll(world.pager, SWAP_READ, 1);
	}
}

static void world_begin(void)
{
	struct world_config config = {.kind = ANONMM_SOFT,
		.nr_frames = 3 * trial.pages + 512,
		.nr_nodes = trial.shares ? 2 : 1,
		.space_bytes = 1024 * MIB};

	memset(&world, 0, sizeof(world));
	memset(&wait, 0, sizeof(wait));
	REQUIRE(!world_open_machine(&world, &config));
	if (!trial.shares)
		one_place(&world.ops);
	world.ops.lock = counting_lock;
	world.ops.unlock = counting_unlock;
	REQUIRE(!world_open_pager(&world, &config));
	world.dev = swapon();
	REQUIRE(!place_open(&place, &world));
	bytes = trial.pages * PAGE_BYTES;
	base = TEST_BASE + 8 * MIB;
	file = NULL;
}

/* The soft machine's MMU wants PTEs that allow writes; real memory has its rights from the VMA. */
static void touch_in_one_place(uint64_t addr, uint64_t *value, bool write)
{
	uint64_t *word;
	pte_slot_t *ptep;

	while (!(ptep = pgtable_find(&place.space->pgtable, space_index(place.space, addr))) ||
		!pte_is_valid(pte_load(ptep))) {
		enum fault_result result =
			handle_mm_fault(place.space, addr, write ? ACCESS_WRITE : ACCESS_READ, &wait);

		REQUIRE(result == FAULT_DONE || result == FAULT_WAIT);
		if (result == FAULT_WAIT)
			world_wait(&world, &wait);
	}
	word = frame_bytes(world.pager, pfn_page(world.pager, pte_pfn(pte_load(ptep))));
	if (write)
		*word = *value;
	else
		*value = *word;
}

static void store(uint64_t addr, uint64_t value)
{
	if (trial.shares)
		REQUIRE(!place_write(&place, addr, &value, sizeof(value)));
	else
		touch_in_one_place(addr, &value, true);
}

static uint64_t load(uint64_t addr)
{
	uint64_t value = 0;

	if (trial.shares)
		REQUIRE(!place_read(&place, addr, &value, sizeof(value)));
	else
		touch_in_one_place(addr, &value, false);
	return value;
}

/* Half of the pages are equal to others. */
static void fill(unsigned step)
{
	for (unsigned i = 0; i < trial.pages; i += step)
		store(base + i * PAGE_BYTES, i % 2 ? i : i / 256);
}

static void advise(int advice)
{
	int error = place_madvise(&place, base, bytes, advice);

	REQUIRE(!error || error == -EINVAL);
}

static void page_out(void)
{
	for (unsigned i = 0; i < 3; i++) {
		advise(MADV_PAGEOUT);
		reap();
		pager_reclaim(world.pager, trial.pages);
		reap();
	}
}

/* ---- States of the memory ---------------------------------------------------------------------------- */

static void map_anonymous(void)
{
	REQUIRE(!place_mmap(&place, &base, bytes, PROT_READ | PROT_WRITE, SPACE_NORESERVE | SPACE_FIXED));
}

static void make_in(void)
{
	map_anonymous();
	fill(1);
}

static void make_out(void)
{
	make_in();
	page_out();
}

/* In, and most of it in the swap cache, too, with its content on the device. */
static void make_cached(void)
{
	make_out();
	for (unsigned i = 0; i < trial.pages; i++)
		(void)load(base + i * PAGE_BYTES);
}

/* Every other page is in. */
static void make_mixed(void)
{
	make_out();
	fill(2);
}

/* Tables without a word in them. */
static void make_none(void)
{
	make_in();
	advise(MADV_DONTNEED);
}

/* One page, and a long way to the next. */
static void make_sparse(void)
{
	map_anonymous();
	fill(trial.pages - 1);
}

static void make_merged(void)
{
	make_in();
	advise(MADV_MERGEABLE);
	for (unsigned i = 0; i < 3; i++)
		ksmd_step(world.pager, trial.pages + 1);
}

/* A child of it exists. */
static struct place child;

static void make_forked(void)
{
	make_mixed();
	REQUIRE(!place_fork(&place, &child));
}

static void make_shmem(void)
{
	REQUIRE(!file_create(world.pager, NULL, NULL, bytes, &file));
	REQUIRE(!place_mmap_file(
		&place, &base, bytes, PROT_READ | PROT_WRITE, SPACE_SHARED | SPACE_FIXED, file, 0));
	fill(1);
}

static void make_shmem_out(void)
{
	make_shmem();
	page_out();
}

static int read_nothing(void *ctx, uint64_t index, void *to)
{
	(void)ctx;
	memset(to, (int)index, PAGE_BYTES);
	return 0;
}

static const struct file_ops file_ops = {.read = read_nothing};

static void make_file(void)
{
	REQUIRE(!file_create(world.pager, &file_ops, NULL, bytes, &file));
	REQUIRE(!place_mmap_file(&place, &base, bytes, PROT_READ | PROT_WRITE, SPACE_FIXED, file, 0));
	for (unsigned i = 0; i < trial.pages; i++)
		(void)load(base + i * PAGE_BYTES);
}

static const struct state states[] = {
	{"in", make_in, false},
	{"out", make_out, false},
	{"cached", make_cached, false},
	{"mixed", make_mixed, false},
	{"none", make_none, false},
	{"sparse", make_sparse, false},
	{"merged", make_merged, false},
	{"forked", make_forked, false},
	{"shmem", make_shmem, true},
	{"shmem-out", make_shmem_out, true},
	{"file", make_file, false},
};

/* ---- Operations ------------------------------------------------------------------------------------------ */

static void op_munmap(void)
{
	REQUIRE(!place_munmap(&place, base, bytes));
}

static void op_mprotect(void)
{
	REQUIRE(!place_mprotect(&place, base, bytes, PROT_READ));
	REQUIRE(!place_mprotect(&place, base, bytes, PROT_READ | PROT_WRITE));
}

static void op_mremap(void)
{
	uint64_t addr = base;

	REQUIRE(!place_mmap(&place, &(uint64_t){base + bytes}, PAGE_BYTES, PROT_READ, SPACE_FIXED));
	REQUIRE(!place_mremap(&place, &addr, bytes, bytes + PAGE_BYTES));
	REQUIRE(addr != base);
}

static void op_mlock(void)
{
	place_mlock(&place, base, bytes / 3, true);
	place_mlock(&place, base, bytes / 3, true);
	REQUIRE(!place_mlock(&place, base, bytes, false));
}

static void op_read_flags(void)
{
	advise(MADV_SEQUENTIAL);
	advise(MADV_RANDOM);
	advise(MADV_NORMAL);
}

static void op_cold(void)
{
	advise(MADV_COLD);
}

static void op_pageout(void)
{
	page_out();
}

static void op_dontneed(void)
{
	advise(MADV_DONTNEED);
}

static void op_free(void)
{
	advise(MADV_FREE);
}

static void op_willneed(void)
{
	advise(MADV_WILLNEED);
}

static void op_populate(void)
{
	advise(MADV_POPULATE_READ);
	advise(MADV_POPULATE_WRITE);
	advise(MADV_POPULATE_WRITE);
}

static void op_merge(void)
{
	advise(MADV_MERGEABLE);
	for (unsigned i = 0; i < 3; i++)
		ksmd_step(world.pager, trial.pages);
}

static void op_unmerge(void)
{
	advise(MADV_UNMERGEABLE);
}

static void op_fork(void)
{
	struct place twin;

	REQUIRE(!place_fork(&place, &twin));
	fill(2);
	place_close(&twin);
}

static void op_exit(void)
{
	place_close(&place);
	place.space = NULL;
}

static void op_truncate(void)
{
	if (file)
		REQUIRE(!RETRY(file_truncate(file, PAGE_BYTES, &wait)));
}

static void op_swapoff(void)
{
	swapon();
	REQUIRE(!RETRY(pager_swapoff_device(world.pager, world.dev, &wait)));
}

/* It fails, since memory alone has not enough room: begun, and given up. */
static void op_swapoff_refused(void)
{
	int error = pager_swapoff_device(world.pager, world.dev, &wait);

	if (error == -EAGAIN)
		pager_swapoff_cancel(world.pager);
}

/* As a process forks: the lease, pages that come in and change, its end. */
static void op_lease(void)
{
	struct swap_lease *lease;

	REQUIRE(!RETRY(pager_freeze(world.pager, &wait)));
	REQUIRE(!pager_lease_begin(world.pager, &lease));
	REQUIRE(!pager_lease_join(world.pager, lease));
	pager_thaw(world.pager);
	fill(1);
	pager_lease_end(world.pager, lease);
}

static void op_limit(void)
{
	char why[200];
	struct pager_limit limit;

	pager_set_limit(world.pager, bytes / 2, why, sizeof(why));
	for (unsigned i = 0; i < 1000; i++) {
		kswapd_step(world.pager, KSWAPD_PAGES);
		reap();
	}
	pager_limit(world.pager, &limit);
	pager_set_limit(world.pager, 2 * bytes, why, sizeof(why));
}

static void op_reclaim(void)
{
	pager_reclaim(world.pager, trial.pages);
	reap();
}

static void op_migrate(void)
{
	if (trial.shares)
		(void)migrate_pages(world.pager, 0, 1, trial.pages, &wait);
	if (trial.shares)
		(void)migrate_pages(world.pager, 1, 0, trial.pages, &wait);
}

static void op_compact(void)
{
	for (unsigned i = 1; i < trial.pages; i += 2)
		place_munmap(&place, base + i * PAGE_BYTES / 16, PAGE_BYTES);
	compact_node(world.pager, 0, trial.pages);
}

static void op_look(void)
{
	struct anonmm_stats stats;
	uint64_t found;

	pager_stats(world.pager, &stats);
	space_next_out(place.space, SPACE_AWAY, base, base + bytes, &found);
	space_next_out(place.space, SPACE_ARMED, base, base + bytes, &found);
}

static void op_swapon(void)
{
	swapon();
}

static const struct op ops[] = {
	{"munmap", op_munmap},
	{"mprotect", op_mprotect},
	{"mremap", op_mremap},
	{"mlock", op_mlock},
	{"read-flags", op_read_flags},
	{"cold", op_cold},
	{"pageout", op_pageout},
	{"dontneed", op_dontneed},
	{"free", op_free},
	{"willneed", op_willneed},
	{"populate", op_populate},
	{"merge", op_merge},
	{"unmerge", op_unmerge},
	{"fork", op_fork},
	{"exit", op_exit},
	{"truncate", op_truncate},
	{"swapoff", op_swapoff},
	{"swapoff-refused", op_swapoff_refused},
	{"lease", op_lease},
	{"limit", op_limit},
	{"reclaim", op_reclaim},
	{"migrate", op_migrate},
	{"compact", op_compact},
	{"look", op_look},
	{"swapon", op_swapon},
};

/* ---- Trials ------------------------------------------------------------------------------------------------ */

static void world_end(void)
{
	if (child.space)
		place_close(&child);
	memset(&child, 0, sizeof(child));
	if (place.space)
		place_close(&place);
	if (file)
		REQUIRE(!RETRY(file_close(file, &wait)));
	reap();
	world_close(&world);
}

static uint64_t longest_hold(unsigned pages)
{
	char why[400];

	trial.pages = pages;
	world_begin();
	trial.state->make();
	hold.longest = 0;
	hold.on = true;
	trial.op->run();
	hold.on = false;
	const char *wrong = pager_validate(world.pager, why, sizeof(why));

	if (wrong)
		fprintf(stderr, "pauses: %s, %s: %s\n", trial.op->name, trial.state->name, wrong);
	REQUIRE(!wrong);
	world_end();
	return hold.longest;
}

/* What still grows. NULL: each. */
static const struct known {
	const char *op, *state, *why;
} knowns[] = {
	{NULL, "merged", "KSM's items are forgotten in one go, and up to 256 PTEs of a page looked at"},
	{"merge", "none", "ksmd looks for the next page through tables without a word"},
	{"limit", NULL, "kswapd hashes a batch in one hold: how many pages of it varies, up to 256"},
	{"compact", NULL, "frames that cannot be moved are passed over in one go"},
	{"truncate", NULL, "the space lock is not held, so the walk may not drop the pager lock"},
	{"swapoff", "shmem-out", "a page cache is gone through in one go"},
};

static bool is_known(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(knowns); i++)
		if ((!knowns[i].op || strcmp(knowns[i].op, trial.op->name) == 0) &&
			(!knowns[i].state || strcmp(knowns[i].state, trial.state->name) == 0))
			return true;
	return false;
}

/* Does the longest hold stay as it is when the memory is four times as large? */
static bool stays(bool verbose)
{
	uint64_t small = longest_hold(SMALL_PAGES), large = longest_hold(LARGE_PAGES);
	/* What is as long as the memory is four times as long; a stretch may not be full yet with little memory. */
	bool good = large <= small + small / 8 + SLACK || (large <= STRETCH && large < 3 * small);

	if (!good && is_known()) {
		if (verbose)
			printf("known: ");
		good = true;
	}
	if (!good || verbose)
		printf("%-4s %-16s %-10s %-10s %8lu %8lu blocks\n", good ? "" : "GROW", trial.op->name,
			trial.state->name, trial.shares ? "shared" : "one place", small, large);
	return good;
}

int main(int argc, char **argv)
{
	bool verbose = argc > 1 && strcmp(argv[1], "-v") == 0;
	const char *only = argc > 1 + verbose ? argv[1 + verbose] : NULL;
	unsigned failed = 0, nr = 0;

	hold.trace_at = getenv("PAUSES_TRACE") ? strtoul(getenv("PAUSES_TRACE"), NULL, 0) : 0;
	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		for (size_t j = 0; j < 2 * ARRAY_SIZE(states); j++) {
			trial.op = &ops[i];
			trial.state = &states[j / 2];
			trial.shares = j % 2 == 0;
			if ((only && strcmp(only, trial.op->name) != 0) ||
				(trial.state->shares_only && !trial.shares))
				continue;
			failed += !stays(verbose);
			nr++;
		}
	}
	printf("%u trials, %u failed\n", nr, failed);
	return failed > 0;
}

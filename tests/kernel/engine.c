/* SPDX-License-Identifier: MIT */
/* The engine's side of the judge: processes are spaces of one soft machine. */
#define _GNU_SOURCE
#include "side.h"
#include "../world.h"
#include "mm/mm.h"

/* Regions are apart from each other by more than their two places. */
#define REGION_APART (4 * REGION_BYTES)
#define NR_FRAMES 4096
#define MERGE_SCANS 6

static struct world world;
static struct place places[MAX_PROCS];
static struct file *files[MAX_REGIONS];
static unsigned file_pages
	[MAX_REGIONS]; /* as many of its pages have always been there: cut off, they hold zeros later */

/* ---- Files: word 0 of page i of the language is file_value() ------------------------------------------ */

static int file_read(void *ctx, uint64_t index, void *bytes)
{
	unsigned region = (unsigned)(uintptr_t)ctx, page = (unsigned)(index / STRIDE);
	uint64_t value = page < file_pages[region] ? file_value(region, page) : 0;

	memset(bytes, 0, PAGE_BYTES);
	memcpy(bytes, &value, sizeof(value));
	return 0;
}

static const struct file_ops file_ops = {.read = file_read};

/* ---- One world ----------------------------------------------------------------------------------------- */

static bool begin(void)
{
	struct world_config config = {.kind = ANONMM_SOFT,
		.nr_frames = NR_FRAMES,
		.space_bytes = (MAX_REGIONS + 1) * REGION_APART,
		.swap = "mem:?size=64M",
		.policy = PAGER_BIRTH_INACTIVE};

	memset(places, 0, sizeof(places));
	memset(files, 0, sizeof(files));
	if (world_open(&world, &config)) {
		fprintf(stderr, "engine: no world: %s\n", world.why);
		return false;
	}
	return place_open(&places[0], &world) == 0;
}

static void end(void)
{
	struct wait wait = {0};

	for (unsigned i = 0; i < MAX_PROCS; i++)
		if (places[i].mmu)
			place_close(&places[i]);
	for (unsigned i = 0; i < MAX_REGIONS; i++)
		if (files[i])
			WORLD_RETRY(&world, &wait, file_close(files[i], &wait));
	world_close(&world);
}

static const char *check(void)
{
	static char why[200];

	return pager_validate(world.pager, why, sizeof(why));
}

/* ---- Operations ----------------------------------------------------------------------------------------- */

static uint64_t address(const struct shape *shape, unsigned proc, unsigned region, unsigned page)
{
	return places[proc].base + region * REGION_APART + shape_offset(shape, proc, region, page);
}

static int do_map(struct place *place, const struct op *op)
{
	uint64_t addr = place->base + op->region * REGION_APART, len = op->nr * STRIDE_BYTES;
	int prot = PROT_READ | PROT_WRITE;
	unsigned flags = SPACE_FIXED;
	struct file **file = &files[op->region];
	int error;

	if (op->value == REGION_ANON)
		return place_mmap(place, &addr, len, prot, flags);
	error = file_create(world.pager, op->value == REGION_FILE ? &file_ops : NULL,
		(void *)(uintptr_t)op->region, len, file);
	if (error)
		return error;
	file_pages[op->region] = op->nr;
	flags |= op->value == REGION_SHARED ? SPACE_SHARED : 0;
	return place_mmap_file(place, &addr, len, prot, flags, *file, 0);
}

static struct outcome access_outcome(int error, uint64_t value)
{
	struct outcome out = {.value = value};

	if (error == -EFAULT)
		out.signal = SIGSEGV;
	else if (error == -EIO)
		out.signal = SIGBUS;
	else
		out.error = error;
	return out;
}

static struct outcome do_access(const struct op *op, uint64_t addr)
{
	struct place *place = &places[op->proc];
	uint64_t value = op->value;
	int error = op->code == OP_READ ? soft_load64(place->mmu, addr, &value)
					: soft_store64(place->mmu, addr, value);

	return access_outcome(error, op->code == OP_READ && !error ? value : 0);
}

static int do_move(struct place *place, const struct shape *shape, const struct op *op)
{
	uint64_t from = address(shape, op->proc, op->region, op->first), addr = from;
	uint64_t to =
		shape->moved[op->proc][op->region][op->first] ? from - REGION_BYTES : from + REGION_BYTES;
	struct wait wait = {0};

	return PLACE_CALL(place, &wait,
		space_mremap(place->space, &addr, PAGE_BYTES, PAGE_BYTES, MREMAP_MAYMOVE | MREMAP_FIXED, to,
			&wait));
}

static int do_page(struct place *place, const struct op *op, uint64_t addr)
{
	switch (op->code) {
	case OP_LOCK:
	case OP_UNLOCK:
		return place_mlock(place, addr, PAGE_BYTES, op->code == OP_LOCK);
	case OP_MUNMAP:
		return place_munmap(place, addr, PAGE_BYTES);
	case OP_PROTECT:
		return place_mprotect(place, addr, PAGE_BYTES, op_rights(op));
	default:
		return place_madvise(place, addr, PAGE_BYTES, op_advice(op->code));
	}
}

/* All that can go goes: kswapd works as if free memory were never enough. */
static int do_squeeze(void)
{
	uint32_t high = world.pager->nodes[0].wmark.high;
	enum kswapd_result result;

	world.pager->nodes[0].wmark.high = NR_FRAMES + 1;
	do {
		result = kswapd_step(world.pager, KSWAPD_PAGES);
		pager_poll(world.pager, SWAP_WRITE, 0);
	} while (result == KSWAPD_PROGRESS || result == KSWAPD_WAIT);
	world.pager->nodes[0].wmark.high = high;
	return 0;
}

/* ksmd, until it has seen everything a few times; a step ends where a scan does. */
static int do_merge(void)
{
	for (int i = 0; i < MERGE_SCANS; i++) {
		int merged = ksmd_step(world.pager, NR_FRAMES);

		if (merged < 0)
			return merged;
	}
	return 0;
}

static int do_truncate(const struct op *op)
{
	struct wait wait = {0};

	file_pages[op->region] = (unsigned)min_u64(file_pages[op->region], op->nr);
	return WORLD_RETRY(&world, &wait, file_truncate(files[op->region], op->nr * STRIDE_BYTES, &wait));
}

static int do_range(const struct op *op, const struct shape *shape)
{
	int first = 0;

	for (unsigned i = 0; i < op->nr; i++) {
		uint64_t addr = address(shape, op->proc, op->region, op->first + i);
		int error = do_page(&places[op->proc], op, addr);

		first = first ? first : error;
	}
	return first;
}

static int do_exit(struct place *place)
{
	place_close(place);
	place->mmu = NULL;
	return 0;
}

static struct outcome run(const struct op *op, const struct shape *shape)
{
	struct place *place = &places[op->proc];

	switch (op->code) {
	case OP_MAP:
		return (struct outcome){.error = do_map(place, op)};
	case OP_READ:
	case OP_WRITE:
		return do_access(op, address(shape, op->proc, op->region, op->first));
	case OP_FORK:
		return (struct outcome){.error = place_fork(place, &places[op->value])};
	case OP_EXIT:
		return (struct outcome){.error = do_exit(place)};
	case OP_MOVE:
		return (struct outcome){.error = do_move(place, shape, op)};
	case OP_TRUNCATE:
		return (struct outcome){.error = do_truncate(op)};
	case OP_SQUEEZE:
		return (struct outcome){.error = do_squeeze()};
	case OP_MERGE:
		return (struct outcome){.error = do_merge()};
	default:
		return (struct outcome){.error = do_range(op, shape)};
	}
}

/* ---- The state -------------------------------------------------------------------------------------------- */

static enum cell_type type_of(const struct page_view *view)
{
	switch (view->kind) {
	case PAGE_KIND_ANON:
		return view->flags & PG_swapbacked ? TYPE_ANON : TYPE_FREE;
	case PAGE_KIND_KSM:
		return TYPE_KSM;
	case PAGE_KIND_FILE:
		return TYPE_FILE;
	case PAGE_KIND_SHMEM:
		return TYPE_SHMEM;
	default:
		return TYPE_NONE;
	}
}

static enum cell_list list_of(const struct page_view *view)
{
	if (strcmp(view->list, "unevictable") == 0)
		return ON_UNEVICTABLE;
	if (strcmp(view->list, "active") == 0)
		return ON_ACTIVE;
	return strcmp(view->list, "inactive") == 0 ? ON_INACTIVE : ON_NONE;
}

static void cell_present(struct cell *cell, const struct page_view *view)
{
	cell->kind = CELL_PRESENT;
	cell->frame = view->pfn;
	cell->mapcount = (unsigned)(view->mapcount + 1);
	cell->type = type_of(view);
	cell->list = list_of(view);
	cell->swapcache = view->flags & PG_swapcache;
	cell->dirty = view->flags & PG_dirty;
	cell->mlocked = view->flags & PG_mlocked;
}

/* Nothing is mapped: is the content in memory all the same? */
static bool file_has(unsigned region, unsigned page)
{
	struct page_view view;

	if (!files[region])
		return false;
	file_view(files[region], page * STRIDE, &view);
	return view.pfn != PFN_NONE;
}

static void look_at(
	const struct shape *shape, unsigned proc, unsigned region, unsigned page, struct cell *cell)
{
	struct page_view view;

	space_view(places[proc].space, address(shape, proc, region, page), &view);
	if (view.pte == PTE_KIND_PRESENT && view.zero_page) {
		cell->kind = CELL_ZERO;
	} else if (view.pte == PTE_KIND_PRESENT) {
		cell_present(cell, &view);
	} else if (view.pte == PTE_KIND_SWAP) {
		cell->kind = CELL_SWAP;
		cell->slot = (uint64_t)view.swap_type << 32 | view.swap_slot;
		cell->cached = view.pfn != PFN_NONE;
	} else {
		cell->kind = CELL_NONE;
		cell->cached = file_has(region, page);
	}
}

static void settle(void)
{
	while (pager_in_flight(world.pager, SWAP_WRITE) || pager_in_flight(world.pager, SWAP_READ)) {
		pager_poll(world.pager, SWAP_WRITE, 0);
		pager_poll(world.pager, SWAP_READ, 0);
	}
}

static void look(const struct shape *shape, struct world_state *now, const struct world_state *before)
{
	settle();
	memset(now, 0, sizeof(*now));
	for (unsigned p = 0; p < MAX_PROCS; p++)
		for (unsigned r = 0; r < MAX_REGIONS; r++)
			for (unsigned i = 0; shape->alive[p] && shape->mapped[p][r] && i < shape->pages[r];
				i++)
				if (!shape->gone[p][r][i])
					look_at(shape, p, r, i, &now->cells[cell_at(p, r, i)]);
	state_relate(now, before);
}

const struct side engine_side = {"ours", begin, end, run, look, check};

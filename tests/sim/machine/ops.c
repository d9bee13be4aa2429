/* SPDX-License-Identifier: MIT */
/* The operations of the threads on their spaces. Each operation knows which results are right. */
#define _GNU_SOURCE
#include "sim.h"

#include <string.h>

#define SMALL_VALUES 5 /* that pages of all threads have in common: they can be merged, and share slots */

static const unsigned words[] = {0, 128, 375, 511};

static bool is_poor(void)
{
	return sim.config->no_chunk_in || sim.config->no_memory_in;
}

static bool is_lossy(void)
{
	if (sim.config->no_memory_in) /* then reads of the file fail, too */
		return true;
	for (unsigned i = 0; i < sim.config->nr_devices; i++)
		if (sim.config->devices[i].error_in)
			return true;
	return false;
}

void op_result(const struct op *op, int result, bool fine)
{
	if (!fine)
		sim_fail("result %d (%s)", result, result < 0 ? strerror(-result) : "none expected");
	if (result < 0)
		sim.outcome->ops_refused[op->kind]++;
	else
		sim.outcome->ops_done[op->kind]++;
	sched_told("= %d", result);
}

/* ---- Accesses -------------------------------------------------------------------------------------- */

static uint64_t page_addr(unsigned page)
{
	return SIM_BASE + page * PAGE_BYTES;
}

static void put(uint8_t *bytes, uint32_t value)
{
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		((uint64_t *)bytes)[words[i]] = value;
}

static uint32_t get(const uint8_t *bytes)
{
	const uint64_t *at = (const uint64_t *)bytes;

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (at[words[i]] != at[0] || at[words[i] / 2 + 3])
			sim_fail("the page's words differ: %lx, %lx, %lx, %lx; %lx should be 0", at[words[0]],
				at[words[1]], at[words[2]], at[words[3]], at[words[i] / 2 + 3]);
	return (uint32_t)at[0];
}

/* One page is read or written in one step; what happens before that is the core's. 0, -EFAULT, -EIO, -ENOMEM */
static int access_page(struct sim_space *s, unsigned page, enum access access, uint32_t *value)
{
	struct wait wait = {0};
	uint8_t *bytes;

	while (!(bytes = machine_look(s, page, access))) {
		sched_point("trap");
		switch (handle_mm_fault(s->space, page_addr(page), access, &wait)) {
		case FAULT_DONE:
			break;
		case FAULT_WAIT:
			machine_wait(&wait);
			break;
		case FAULT_SIGSEGV:
			return -EFAULT;
		case FAULT_SIGBUS:
			return -EIO;
		case FAULT_OOM:
			return -ENOMEM;
		}
	}
	if (access == ACCESS_WRITE)
		put(bytes, *value);
	else
		*value = get(bytes);
	return 0;
}

static bool access_may_fail(int result)
{
	return (result == -ENOMEM && !sim.config->roomy) || (result == -EIO && is_lossy());
}

static uint32_t new_value(uint32_t choice)
{
	return choice % 4 == 0 ? 1 + choice / 4 % SMALL_VALUES : sim.next_value++;
}

/* => @cell is that of page @page of @s */
static int cell_read(struct sim_space *s, unsigned page, struct cell *cell)
{
	uint32_t found = 0;
	int result = access_page(s, page, ACCESS_READ, &found);

	if (result == 0)
		cell_found(cell, found);
	return result;
}

static int cell_write(struct sim_space *s, unsigned page, struct cell *cell, uint32_t value)
{
	int result = access_page(s, page, ACCESS_WRITE, &value);

	if (result == 0)
		cell_written(cell, value);
	return result;
}

/* ---- Choices ------------------------------------------------------------------------------------------ */

/* What an operation works on: some pages of the thread's own part of one of its spaces. */
struct target {
	struct sim_thread *t;
	struct sim_space *s;
	struct space *space;
	struct cell *cells; /* of the whole part */
	unsigned start; /* page in the space where the part begins */
	unsigned which, first, nr;
	struct wait wait;
};

static unsigned part_start(const struct sim_thread *t)
{
	return t->number * (AREA_PAGES + 1);
}

static struct target choose(struct sim_thread *t, const struct op *op, unsigned longest)
{
	struct target to = {.t = t, .start = part_start(t)};

	to.which = op->a % 4 < 2 ? 0 : op->a % 4 - 1;
	if (!t->spaces[to.which])
		to.which = 0;
	to.s = t->spaces[to.which];
	to.space = to.s->space;
	to.cells = t->cells[to.which];
	to.first = op->b % AREA_PAGES;
	to.nr = 1 + op->c % longest;
	if (to.nr > AREA_PAGES - to.first)
		to.nr = AREA_PAGES - to.first;
	sched_doing("%u: %s, space %u, pages %u + %u", op->number, op_names[op->kind], to.s->number,
		to.start + to.first, to.nr);
	if (to.which == 0 && op->kind != OP_READ && op->kind != OP_WRITE) {
		sim.hot_first = to.start + to.first;
		sim.hot_nr = to.nr;
	}
	return to;
}

static uint64_t target_addr(const struct target *to)
{
	return page_addr(to->start + to->first);
}

static bool all_mapped(const struct target *to)
{
	for (unsigned i = to->first; i < to->first + to->nr; i++)
		if (!to->cells[i].mapped)
			return false;
	return true;
}

static bool any_locked(const struct target *to)
{
	for (unsigned i = to->first; i < to->first + to->nr; i++)
		if (to->cells[i].locked)
			return true;
	return false;
}

static bool any_file(const struct target *to)
{
	for (unsigned i = to->first; i < to->first + to->nr; i++)
		if (to->cells[i].behind)
			return true;
	return false;
}

static bool any_past_end(const struct target *to)
{
	for (unsigned i = to->first; i < to->first + to->nr; i++)
		if (cell_is_past_end(&to->cells[i]) || cell_is_vague(&to->cells[i]))
			return true;
	return false;
}

static int choose_prot(uint32_t choice)
{
	static const int prots[] = {
		PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE, PROT_READ, PROT_NONE};

	return prots[choice % ARRAY_SIZE(prots)];
}

/* The call on a space that is locked for it. */
#define SPACE_CALL(space, wait, call)                                                                        \
	({                                                                                                   \
		SIM_RETRY(wait, space_lock(space, wait));                                                    \
		int space_result_ = SIM_RETRY(wait, call);                                                   \
		space_unlock(space);                                                                         \
		space_result_;                                                                               \
	})

/* A call has failed half way: what is mapped, and how, is asked. @content: what it was may be zeros now. */
static void relearn(struct target *to, unsigned first, unsigned nr, bool content)
{
	for (unsigned i = first; i < first + nr; i++) {
		struct cell *cell = &to->cells[i];
		uint64_t end;
		int prot = 0;

		cell->mapped = space_kind_at(to->space, page_addr(to->start + i), &end, &prot) == SPACE_ANON;
		cell->prot = (uint8_t)prot;
		cell->fading = cell->fading || content;
		if (!cell->mapped)
			cell->value = cell->behind = 0;
	}
}

/* ---- Reading and writing -------------------------------------------------------------------------------- */

static void check_access(const struct op *op, const struct cell *cell, enum access access, int result)
{
	op_result(op, result,
		result == cell_access(cell, access) || access_may_fail(result) ||
			(cell_is_vague(cell) && (result == 0 || result == -EIO)));
}

static void op_access(struct sim_thread *t, const struct op *op)
{
	struct target to = choose(t, op, 1);
	struct cell *cell = &to.cells[to.first];
	bool write = op->kind == OP_WRITE;
	int result = write ? cell_write(to.s, to.start + to.first, cell, new_value(op->d))
			   : cell_read(to.s, to.start + to.first, cell);

	check_access(op, cell, write ? ACCESS_WRITE : ACCESS_READ, result);
}

/* Pages one after the other, so that the streams of faults see it. */
static void op_run_of_pages(struct sim_thread *t, const struct op *op)
{
	struct target to = choose(t, op, AREA_PAGES);
	bool write = op->kind == OP_FILL, down = op->d % 4 == 0;

	for (unsigned i = 0; i < to.nr; i++) {
		unsigned at = to.first + (down ? to.nr - 1 - i : i);
		struct cell *cell = &to.cells[at];
		int result = write ? cell_write(to.s, to.start + at, cell, new_value(op->d / 4 + at))
				   : cell_read(to.s, to.start + at, cell);

		check_access(op, cell, write ? ACCESS_WRITE : ACCESS_READ, result);
	}
}

static void op_access_shared(struct sim_thread *t, const struct op *op)
{
	unsigned i = op->b % SHARED_PAGES, page = MAX_THREADS * (AREA_PAGES + 1) + i;
	struct cell *cell = &sim.shared[i];
	unsigned unmaps = cell->unmaps, which = sim.config->shmem ? op->a % 3 : 0;
	struct sim_space *s = t->spaces[which] ? t->spaces[which] : t->spaces[0];
	/* A child may have been born while they were not mapped. */
	bool was_unmapping = cell->unmapping > 0 || s != t->spaces[0];
	int result;

	sched_doing("%u: %s, space %u, page %u", op->number, op_names[op->kind], s->number, page);
	result = op->kind == OP_WRITE_SHARED ? cell_write(s, page, cell, new_value(op->d))
					     : cell_read(s, page, cell);
	op_result(op, result,
		result == 0 || access_may_fail(result) ||
			(result == -EFAULT && (was_unmapping || cell->unmaps != unmaps)));
}

/*
 * Some pages of the first space, mostly such that another thread has in work. Whose it is knows what it holds; here it
 * must only be whole.
 */
static void op_peek(struct sim_thread *t, const struct op *op)
{
	bool hot = sim.hot_nr > 0 && op->c % 4 > 0;
	unsigned page = hot ? sim.hot_first + op->b % sim.hot_nr : op->b % SPACE_PAGES;
	uint32_t found;

	for (unsigned i = 0; i <= op->d % 4 && page + i < SPACE_PAGES; i++) {
		sched_doing("%u: peek at page %u", op->number, page + i);
		int result = access_page(t->spaces[0], page + i, ACCESS_READ, &found);

		op_result(op, result,
			result == 0 || result == -EFAULT || result == -EIO ||
				(result == -ENOMEM && !sim.config->roomy));
	}
}

/* ---- Mappings ---------------------------------------------------------------------------------------------- */

/* What the file holds; the first word of all pages is the same, as everywhere. */
static uint32_t file_value(uint64_t index)
{
	return FILE_VALUE + (uint32_t)index;
}

static int file_read(void *ctx, uint64_t index, void *bytes)
{
	(void)ctx;
	sched_point("file read");
	if (sim.config->no_memory_in && seed_once_in(&sim.chance, sim.config->no_memory_in))
		return -EIO;
	memset(bytes, 0, PAGE_BYTES);
	if (index < FILE_PAGES)
		put(bytes, file_value(index));
	return 0;
}

const struct file_ops sim_file_ops = {.read = file_read};

static void cells_map(struct target *to, int prot, const uint64_t *pgoff)
{
	for (unsigned i = 0; i < to->nr; i++) {
		uint32_t behind = pgoff ? file_value(*pgoff + i) : 0;

		to->cells[to->first + i] = (struct cell){
			.mapped = true, .prot = (uint8_t)prot, .value = behind, .behind = behind};
	}
}

static int call_mmap(struct target *to, uint64_t *addr, int prot, unsigned flags, const uint64_t *pgoff)
{
	uint64_t bytes = to->nr * PAGE_BYTES;

	if (pgoff)
		return SPACE_CALL(to->space, &to->wait,
			space_mmap_file(to->space, addr, bytes, prot, flags, sim.file, *pgoff, &to->wait));
	return SPACE_CALL(to->space, &to->wait, space_mmap(to->space, addr, bytes, prot, flags, &to->wait));
}

static void op_mmap(struct sim_thread *t, const struct op *op)
{
	struct target to = choose(t, op, 16);
	unsigned flags = op->d % 3 ? SPACE_FIXED : SPACE_FIXED_NOREPLACE;
	int prot = choose_prot(op->d / 3), result;
	uint64_t addr = target_addr(&to), at = op->d / 64 % (FILE_PAGES - 16);
	const uint64_t *pgoff = op->d / 16 % 4 == 0 ? &at : NULL;
	bool hole = true;

	for (unsigned i = to.first; i < to.first + to.nr; i++)
		hole = hole && !to.cells[i].mapped;
	result = call_mmap(&to, &addr, prot, flags, pgoff);
	if (result == -EEXIST) {
		op_result(op, result, flags == SPACE_FIXED_NOREPLACE && !hole);
		return;
	}
	op_result(op, result,
		(result == 0 && (hole || flags == SPACE_FIXED)) || (result == -ENOMEM && is_poor()));
	if (result) {
		relearn(&to, to.first, to.nr, true);
		return;
	}
	cells_map(&to, prot, pgoff);
}

static void op_munmap(struct sim_thread *t, const struct op *op)
{
	struct target to = choose(t, op, 10);
	int result = SPACE_CALL(
		to.space, &to.wait, space_munmap(to.space, target_addr(&to), to.nr * PAGE_BYTES, &to.wait));

	op_result(op, result, result == 0 || (result == -ENOMEM && is_poor()));
	if (result)
		relearn(&to, to.first, to.nr, true);
	else
		memset(&to.cells[to.first], 0, to.nr * sizeof(struct cell));
}

static void op_mprotect(struct sim_thread *t, const struct op *op)
{
	struct target to = choose(t, op, 16);
	int prot = choose_prot(op->d);
	int result = SPACE_CALL(to.space, &to.wait,
		space_mprotect(to.space, target_addr(&to), to.nr * PAGE_BYTES, prot, &to.wait));

	if (!all_mapped(&to))
		op_result(op, result, result == -ENOMEM);
	else
		op_result(op, result,
			result == 0 || (result == -EBUSY && sim.config->busy_in) ||
				(result == -ENOMEM && is_poor()));
	if (result)
		relearn(&to, to.first, to.nr, false);
	for (unsigned i = to.first; !result && i < to.first + to.nr; i++)
		to.cells[i].prot = (uint8_t)prot;
}

/* The pages go on at @at, and more of the same follow: of a file its next pages. */
static void move_cells(struct target *to, unsigned at, unsigned new_nr)
{
	struct cell moved[AREA_PAGES], first = to->cells[to->first];

	memcpy(moved, &to->cells[to->first], to->nr * sizeof(*moved));
	memset(&to->cells[to->first], 0, to->nr * sizeof(*moved));
	for (unsigned i = 0; i < new_nr; i++) {
		uint32_t behind = first.behind ? first.behind + i : 0;

		to->cells[at + i] = i < to->nr ? moved[i]
					       : (struct cell){.mapped = true,
							 .prot = first.prot,
							 .locked = first.locked,
							 .value = behind,
							 .behind = behind};
	}
}

static void op_mremap(struct sim_thread *t, const struct op *op)
{
	struct target to = choose(t, op, 12);
	bool fixed = op->d % 4 > 0;
	unsigned at = fixed ? op->d / 4 % AREA_PAGES : to.first;
	unsigned new_nr = 1 + op->d / 256 % 14;
	uint64_t addr = target_addr(&to);
	int result;

	if (new_nr > AREA_PAGES - at)
		new_nr = AREA_PAGES - at;
	result = SPACE_CALL(to.space, &to.wait,
		space_mremap(to.space, &addr, to.nr * PAGE_BYTES, new_nr * PAGE_BYTES,
			fixed ? MREMAP_MAYMOVE | MREMAP_FIXED : 0, page_addr(to.start + at), &to.wait));
	op_result(op, result,
		(result == 0 && all_mapped(&to)) || result == -EFAULT || (result == -EINVAL && fixed) ||
			(result == -ENOMEM && (is_poor() || !fixed || (any_locked(&to) && new_nr > to.nr))) ||
			(result == -EBUSY && sim.config->busy_in));
	if (result == 0 && addr != page_addr(to.start + at))
		sim_fail("moved to %#lx", addr);
	if (result) {
		relearn(&to, to.first, to.nr, result == -ENOMEM && is_poor());
		if (fixed && result != -EFAULT && result != -EINVAL)
			relearn(&to, at, new_nr, true);
		return;
	}
	move_cells(&to, at, new_nr);
}

/* ---- Advice ---------------------------------------------------------------------------------------------------- */

static void op_drop(struct sim_thread *t, const struct op *op)
{
	struct target to = choose(t, op, 12);
	bool is_free = op->kind == OP_FREE;
	int result = SPACE_CALL(to.space, &to.wait,
		space_madvise(to.space, target_addr(&to), to.nr * PAGE_BYTES,
			is_free ? MADV_FREE : MADV_DONTNEED, &to.wait));

	op_result(op, result,
		result == (all_mapped(&to) ? 0 : -ENOMEM) ||
			(result == -EINVAL && (any_locked(&to) || (is_free && any_file(&to)))));
	for (unsigned i = to.first; !result && i < to.first + to.nr; i++) {
		to.cells[i].fading = is_free;
		if (!is_free)
			to.cells[i].value = to.cells[i].behind;
	}
}

static bool hint_may_fail(const struct target *to, int advice, int result)
{
	if (result == -EINVAL)
		return any_locked(to) || advice == MADV_POPULATE_READ || advice == MADV_POPULATE_WRITE;
	if (result == -EFAULT)
		return is_lossy() || any_past_end(to);
	return result == -ENOMEM && (!sim.config->roomy || is_poor());
}

static const struct {
	int advice;
	const char *name;
} hints[] = {
	{MADV_PAGEOUT, "pageout"},
	{MADV_PAGEOUT, "pageout"},
	{MADV_PAGEOUT, "pageout"},
	{MADV_WILLNEED, "willneed"},
	{MADV_WILLNEED, "willneed"},
	{MADV_COLD, "cold"},
	{MADV_SEQUENTIAL, "sequential"},
	{MADV_RANDOM, "random"},
	{MADV_NORMAL, "normal"},
	{MADV_MERGEABLE, "mergeable"},
	{MADV_MERGEABLE, "mergeable"},
	{MADV_UNMERGEABLE, "unmergeable"},
	{MADV_POPULATE_READ, "populate_read"},
	{MADV_POPULATE_WRITE, "populate_write"},
};
#define HARMLESS_HINTS                                                                                       \
	(ARRAY_SIZE(hints) - 2) /* for pages of others: the last two may touch what must not be touched */

static void op_hint(struct sim_thread *t, const struct op *op)
{
	struct target to = choose(t, op, AREA_PAGES);
	unsigned hint = op->d % ARRAY_SIZE(hints);
	int advice = hints[hint].advice, result;

	sched_told("%s", hints[hint].name);
	result = SPACE_CALL(to.space, &to.wait,
		space_madvise(to.space, target_addr(&to), to.nr * PAGE_BYTES, advice, &to.wait));
	op_result(
		op, result, result == (all_mapped(&to) ? 0 : -ENOMEM) || hint_may_fail(&to, advice, result));
}

/*
 * A part of the first space, whoever's it is: VMAs are split and joined, pages go out and come in under others' hands.
 */
static void op_hint_any(const struct op *op)
{
	unsigned first = op->b % (SPACE_PAGES - 24), nr = 1 + op->c % 24;
	unsigned hint = op->d % HARMLESS_HINTS;
	struct space *space = sim.spaces[0].space;
	struct wait wait = {0};
	int result;

	sched_doing("%u: hint any, pages %u + %u: %s", op->number, first, nr, hints[hint].name);
	result = SPACE_CALL(space, &wait,
		space_madvise(space, page_addr(first), nr * PAGE_BYTES, hints[hint].advice, &wait));
	op_result(op, result, result == 0 || result == -ENOMEM || result == -EINVAL);
}

static void op_mlock(struct sim_thread *t, const struct op *op)
{
	bool lock = op->kind == OP_MLOCK;
	struct target to = choose(t, op, lock ? 6 : AREA_PAGES);
	int result = SPACE_CALL(to.space, &to.wait,
		space_mlock(to.space, target_addr(&to), to.nr * PAGE_BYTES, lock, &to.wait));

	op_result(op, result,
		result == (all_mapped(&to) ? 0 : -ENOMEM) || (result == -ENOMEM && (lock || is_poor())));
	for (unsigned i = to.first; i < to.first + to.nr; i++)
		to.cells[i].locked = lock || (to.cells[i].locked && result);
}

/* ---- Shared pages ---------------------------------------------------------------------------- */

static int drop_shared(uint64_t addr, uint64_t bytes, struct wait *wait)
{
	struct space *space = sim.spaces[0].space;

	return SPACE_CALL(space, wait, space_madvise(space, addr, bytes, MADV_DONTNEED, wait));
}

int map_shared(uint64_t *addr, uint64_t bytes, struct wait *wait)
{
	struct space *space = sim.spaces[0].space;
	uint64_t pgoff = (*addr - page_addr(MAX_THREADS * (AREA_PAGES + 1))) / PAGE_BYTES;
	int prot = PROT_READ | PROT_WRITE;

	if (sim.config->shmem)
		return SPACE_CALL(space, wait,
			space_mmap_file(space, addr, bytes, prot, SPACE_FIXED | SPACE_SHARED, sim.shmem,
				pgoff, wait));
	return SPACE_CALL(space, wait, space_mmap(space, addr, bytes, prot, SPACE_FIXED, wait));
}

/* Not there for a moment. */
static int remap_shared(uint64_t addr, uint64_t bytes, struct wait *wait)
{
	struct space *space = sim.spaces[0].space;
	int result = SPACE_CALL(space, wait, space_munmap(space, addr, bytes, wait));

	if (result)
		return result;
	for (unsigned tries = 0; tries < 50; tries++) {
		result = map_shared(&addr, bytes, wait);
		if (result == 0)
			break;
	}
	return result;
}

static void op_drop_shared(const struct op *op)
{
	unsigned first = op->b % SHARED_PAGES, nr = 1 + op->c % (SHARED_PAGES - first);
	uint64_t addr = page_addr(MAX_THREADS * (AREA_PAGES + 1) + first);
	bool unmaps = op->kind == OP_REMAP_SHARED;
	struct wait wait = {0};
	int result;

	sched_doing("%u: %s, pages %u + %u", op->number, op_names[op->kind],
		MAX_THREADS * (AREA_PAGES + 1) + first, nr);
	for (unsigned i = first; i < first + nr; i++)
		cell_drop_begins(&sim.shared[i], unmaps);
	result = unmaps ? remap_shared(addr, nr * PAGE_BYTES, &wait)
			: drop_shared(addr, nr * PAGE_BYTES, &wait);
	op_result(op, result, result == 0 || result == -ENOMEM); /* another may be at the same */
	for (unsigned i = first; i < first + nr; i++)
		cell_drop_ended(&sim.shared[i], unmaps && result == 0, result == 0);
}

/* ---- Spaces ---------------------------------------------------------------------------------- */

static bool nobody_rests(void *unused)
{
	(void)unused;
	return sim.resting == 0;
}

void spaces_enter(void)
{
	while (sim.resting)
		sched_block("the list of spaces", nobody_rests, NULL, 0);
	sim.users++;
}

void spaces_leave(void)
{
	sim.users--;
}

void space_close(struct sim_space *s)
{
	struct wait wait = {0};

	spaces_enter();
	SIM_RETRY(&wait, space_lock(s->space, &wait));
	int result = SIM_RETRY(&wait, space_exit(s->space, &wait));

	if (result == 0) {
		machine_check_gone(s);
		s->space = NULL;
		s->used = false;
	} else {
		space_unlock(s->space);
	}
	spaces_leave();
	if (result && !is_poor())
		sim_fail("space_exit: %d", result);
}

static struct sim_space *free_space(void)
{
	for (unsigned i = 1; i < MAX_SPACES; i++)
		if (!sim.spaces[i].used)
			return &sim.spaces[i];
	return NULL;
}

static void op_fork(struct sim_thread *t, const struct op *op)
{
	struct target to = choose(t, op, 1);
	unsigned which = t->spaces[1] ? 2 : 1;
	struct sim_space *child;
	int result;

	if (t->spaces[which])
		return;
	spaces_enter();
	child = free_space();
	if (!child) {
		spaces_leave();
		return;
	}
	machine_space_open(child, (unsigned)(child - sim.spaces));
	child->used = true;
	result = SPACE_CALL(to.space, &to.wait, space_fork(to.space, NULL, child, &child->space, &to.wait));
	spaces_leave();
	op_result(op, result,
		result == 0 || (result == -ENOMEM && !sim.config->roomy) ||
			(result == -EBUSY && sim.config->busy_in));
	if (result) {
		machine_check_gone(child);
		child->used = false;
		return;
	}
	t->spaces[which] = child;
	memcpy(t->cells[which], to.cells, sizeof(t->cells[which]));
	for (unsigned i = 0; i < AREA_PAGES; i++)
		t->cells[which][i].locked = false;
}

static void op_exit(struct sim_thread *t, const struct op *op)
{
	unsigned which = 1 + op->a % 2;

	if (!t->spaces[which])
		return;
	sched_doing("%u: exit of space %u", op->number, t->spaces[which]->number);
	space_close(t->spaces[which]);
	t->spaces[which] = NULL;
	op_result(op, 0, true);
}

void op_close_children(struct sim_thread *t)
{
	for (unsigned i = 1; i < 3; i++)
		if (t->spaces[i]) {
			sched_doing("the end of space %u", t->spaces[i]->number);
			space_close(t->spaces[i]);
			t->spaces[i] = NULL;
		}
}

void op_check_all(struct sim_thread *t)
{
	for (unsigned which = 0; which < 3; which++)
		for (unsigned i = 0; t->spaces[which] && i < AREA_PAGES; i++) {
			struct cell *cell = &t->cells[which][i];
			unsigned page = part_start(t) + i;

			sched_doing("the last look at page %u of space %u", page, t->spaces[which]->number);
			int result = cell_read(t->spaces[which], page, cell);

			if (result != cell_access(cell, ACCESS_READ) && !access_may_fail(result) &&
				!(cell_is_vague(cell) && result == -EIO))
				sim_fail("result %d", result);
		}
}

/* ---- Which ----------------------------------------------------------------------------------- */

void op_run(struct sim_thread *t, const struct op *op)
{
	switch ((enum op_kind)op->kind) {
	case OP_READ:
	case OP_WRITE:
		op_access(t, op);
		break;
	case OP_SCAN:
	case OP_FILL:
		op_run_of_pages(t, op);
		break;
	case OP_READ_SHARED:
	case OP_WRITE_SHARED:
		op_access_shared(t, op);
		break;
	case OP_MMAP:
		op_mmap(t, op);
		break;
	case OP_MUNMAP:
		op_munmap(t, op);
		break;
	case OP_MPROTECT:
		op_mprotect(t, op);
		break;
	case OP_MREMAP:
		op_mremap(t, op);
		break;
	case OP_DONTNEED:
	case OP_FREE:
		op_drop(t, op);
		break;
	case OP_HINT:
		op_hint(t, op);
		break;
	case OP_MLOCK:
	case OP_MUNLOCK:
		op_mlock(t, op);
		break;
	case OP_DROP_SHARED:
	case OP_REMAP_SHARED:
		op_drop_shared(op);
		break;
	case OP_FORK:
		op_fork(t, op);
		break;
	case OP_PEEK:
		op_peek(t, op);
		break;
	case OP_HINT_ANY:
		op_hint_any(op);
		break;
	case OP_EXIT:
		op_exit(t, op);
		break;
	default:
		op_world(t, op);
	}
}

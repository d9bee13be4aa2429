/* SPDX-License-Identifier: MIT */
/* One process of the simulation: its memory, its devices, its leases, and the operations that it can be asked to do. */
#define _GNU_SOURCE
#include "sim.h"
#include "../../world.h"
#include "mm/mm.h"
#include "swap/faulty.h"
#include "swap/zram/zram.h"

#include <unistd.h>

#define LOST UINT32_MAX
#define NO_HOLD LEASE_IDS

/* This process. What was the parent's is ours after a fork. */
static struct {
	const struct schedule *schedule;
	unsigned index;
	struct world world;
	struct place place;
	uint64_t base;
	uint32_t tags[MAX_PAGES]; /* what each page has; 0: zeros */
	bool may_lose, may_oom; /* a reason for it was given */
	struct {
		struct swapdev *dev; /* NULL: a free place */
		bool inherited;
		unsigned hold; /* the lease by which its owner keeps what we read */
	} swaps[PLACES];
	struct {
		struct swap_lease *lease;
		unsigned id;
	} leases[LEASES];
	unsigned nr_leases;
	bool newborn;
	unsigned born_with; /* the lease of the parent for us */
} me;

/* ---- Content ------------------------------------------------------------------------------------- */

static void fill(uint64_t *words, uint32_t tag)
{
	struct seed s = {tag};
	unsigned nr = PAGE_BYTES / 8, noise = tag % 4 == 0 ? 0 : tag % 4 == 1 ? 100 : tag % 4 == 2 ? nr : 3;

	for (unsigned i = 0; i < nr; i++)
		words[i] = tag == 0 ? 0 : i < noise ? seed_next(&s) : tag * 0x9e3779b97f4a7c15ull;
}

static uint64_t page_addr(unsigned page)
{
	return me.base + page * PAGE_BYTES;
}

/* Of slots; or one has refused a page: a device behind another one is smaller than the two say. */
static bool devices_are_full(void)
{
	const struct pager *pager = me.world.pager;

	for (unsigned type = 0; type < pager->nr_areas; type++)
		if (pager->areas[type].nr_refused > 0)
			return true;
	return pager->slots_used + pager->slots_total / 8 >= pager->slots_total;
}

/* An access has said @error: is there a reason? Returns whether it was good. */
static bool answer_is_good(unsigned page, int error)
{
	if (error == 0)
		return true;
	if (error == -EIO && (me.may_lose || me.tags[page] == LOST)) {
		shared->nr_lost += me.tags[page] != LOST;
		me.tags[page] = LOST;
	} else if (error == -ENOMEM && (me.may_oom || devices_are_full())) {
		shared->nr_oom++;
	} else {
		sim_fail("process %u: page %u: error %d without a reason", me.index, page, error);
	}
	return false;
}

static void look(unsigned page)
{
	uint64_t found[PAGE_BYTES / 8], wanted[PAGE_BYTES / 8];

	if (!answer_is_good(page, place_read(&me.place, page_addr(page), found, sizeof(found))))
		return;
	if (me.tags[page] == LOST)
		sim_fail("process %u: page %u was lost, and now it is there", me.index, page);
	fill(wanted, me.tags[page]);
	if (memcmp(found, wanted, sizeof(found)))
		sim_fail("process %u: page %u has the wrong bytes (tag %u)", me.index, page, me.tags[page]);
}

static void look_at_all(void)
{
	for (unsigned page = 0; page < me.schedule->pages; page++)
		look(page);
}

static void change(unsigned page, uint32_t tag)
{
	uint64_t words[PAGE_BYTES / 8];

	fill(words, tag);
	if (answer_is_good(page, place_write(&me.place, page_addr(page), words, sizeof(words))))
		me.tags[page] = tag;
}

static void valid(const char *when)
{
	char buf[200];
	const char *wrong = pager_validate(me.world.pager, buf, sizeof(buf));

	if (wrong)
		sim_fail("process %u, after %s: %s", me.index, when, wrong);
}

/* ---- Devices --------------------------------------------------------------------------------------- */

static struct swapdev *chain_end(struct swapdev *dev)
{
	return swapdev_is_faulty(dev) ? dev : container_of(dev, struct zram_dev, dev)->next;
}

static void swap_open(int priority)
{
	unsigned place = 0;
	struct swapdev *dev;
	char why[400];

	while (place < PLACES && me.swaps[place].dev)
		place++;
	if (place == PLACES) {
		me.may_oom = true;
		return;
	}
	int nr = swapdev_open_all(
		me.schedule->uri, me.schedule->frames * PAGE_BYTES, &dev, 1, why, sizeof(why));

	if (nr < 0)
		sim_fail("%s", why);
	if (shared->plant == PLANT_TURNED_BIT)
		faulty_corrupt(chain_end(dev), 3, true);
	if (pager_add_swap(me.world.pager, dev, priority))
		sim_fail("a device could not be added");
	me.swaps[place].dev = dev;
	me.swaps[place].inherited = false;
	me.swaps[place].hold = NO_HOLD;
}

static bool is_held(unsigned id)
{
	for (unsigned i = 0; i < PLACES; i++)
		if (me.swaps[i].dev && me.swaps[i].hold == id)
			return true;
	return false;
}

static int swap_leave(unsigned i)
{
	struct wait wait;
	int error =
		WORLD_RETRY(&me.world, &wait, pager_swapoff_device(me.world.pager, me.swaps[i].dev, &wait));
	unsigned hold = me.swaps[i].hold;

	if (error)
		return error;
	me.swaps[i].dev = NULL;
	if (me.swaps[i].inherited && !is_held(hold))
		shared->holders[hold]--;
	return 0;
}

/* ---- Leases ------------------------------------------------------------------------------------------ */

static void leases_check(void)
{
	unsigned kept = 0;

	if (shared->plant == PLANT_NEVER_END)
		return;
	for (unsigned i = 0; i < me.nr_leases; i++) {
		if (shared->holders[me.leases[i].id] > 0 && shared->plant != PLANT_EARLY_END)
			me.leases[kept++] = me.leases[i];
		else
			pager_lease_end(me.world.pager, me.leases[i].lease);
	}
	me.nr_leases = kept;
}

static void leave_empty(void)
{
	for (unsigned i = 0; i < PLACES; i++)
		if (me.swaps[i].dev && me.swaps[i].inherited &&
			!pager_slots_used(me.world.pager, me.swaps[i].dev) && swap_leave(i))
			sim_fail("process %u: an empty device could not be left", me.index);
}

static void make_room(void)
{
	for (unsigned i = 0; i < PLACES; i++) {
		unsigned all = 0, own = 0;

		for (unsigned j = 0; j < PLACES; j++) {
			all += me.swaps[j].dev != NULL;
			own += me.swaps[j].dev && !me.swaps[j].inherited;
		}
		if (all + max_u64(own, 1) <= PLACES)
			return;
		if (me.swaps[i].dev && me.swaps[i].inherited)
			shared->nr_taken += swap_leave(i) == 0;
	}
}

/* Which lease the child lives by. */
static unsigned lease_begin(void)
{
	struct pager *pager = me.world.pager;
	unsigned nr = me.nr_leases;

	if (nr == LEASES || shared->nr_leases == LEASE_IDS) {
		if (nr == 0 || pager_lease_join(pager, me.leases[nr - 1].lease))
			return NO_HOLD;
		shared->nr_joined++;
		return me.leases[nr - 1].id;
	}
	if (pager_lease_begin(pager, &me.leases[nr].lease))
		return NO_HOLD;
	me.nr_leases++;
	return me.leases[nr].id = shared->nr_leases++;
}

/* ---- Fork ----------------------------------------------------------------------------------------------- */

static void hold_all(unsigned born_with)
{
	for (unsigned id = 0; id < LEASE_IDS; id++)
		if (is_held(id))
			shared->holders[id]++;
	shared->holders[born_with]++;
}

/* A child's first turn: the parent may have done much since the fork. */
static void wake_up(void)
{
	struct pager *pager = me.world.pager;
	bool any = false;

	me.newborn = false;
	if (pager_fork_child(pager))
		sim_fail("process %u: the child cannot go on", me.index);
	for (unsigned i = 0; i < PLACES; i++) {
		if (!me.swaps[i].dev || me.swaps[i].inherited)
			continue;
		me.swaps[i].inherited = any = true;
		me.swaps[i].hold = me.born_with;
	}
	if (!any)
		shared->holders[me.born_with]--;
	if (shared->plant == PLANT_HEIR_WRITES)
		for (unsigned type = 0; type < pager->nr_areas; type++) {
			pager->areas[type].inherited = false;
			if (pager->areas[type].dev)
				area_count_in(pager, &pager->areas[type]);
		}
	swap_open(1);
	pager_thaw(pager);
	valid("its birth");
}

/* => never returns in the child */
static void child_main(unsigned index)
{
	me.index = index;
	me.nr_leases = 0;
	me.newborn = true;
	for (;;) {
		turn_wait(index);
		if (me.newborn)
			wake_up();
		process_do(&shared->op);
		turn_give(0);
	}
}

static void do_fork(void)
{
	struct pager *pager = me.world.pager;
	unsigned index = shared->nr_procs;
	struct wait wait;

	if (index == MAX_PROCS)
		return;
	leases_check();
	leave_empty();
	make_room();
	if (WORLD_RETRY(&me.world, &wait, pager_freeze(pager, &wait)))
		sim_fail("no rest for a fork");
	unsigned id = lease_begin();

	if (id == NO_HOLD) {
		pager_thaw(pager);
		return;
	}
	if (shared->plant == PLANT_NO_LEASE) {
		pager_lease_end(pager, me.leases[me.nr_leases - 1].lease);
		me.nr_leases--;
	}
	hold_all(id);
	shared->nr_forks++;
	for (unsigned i = 0; i < PLACES; i++)
		if (me.swaps[i].dev && me.swaps[i].dev->ops->fork_prepare)
			me.swaps[i].dev->ops->fork_prepare(me.swaps[i].dev);
	me.born_with = id;
	pid_t pid = fork();

	if (pid == 0)
		child_main(index);
	if (pid < 0)
		sim_fail("the host cannot fork");
	shared->alive[index] = true;
	shared->nr_procs++;
	for (unsigned i = 0; i < PLACES; i++)
		if (me.swaps[i].dev && me.swaps[i].dev->ops->fork_parent)
			me.swaps[i].dev->ops->fork_parent(me.swaps[i].dev);
	pager_thaw(pager);
}

/* ---- Operations -------------------------------------------------------------------------------------------- */

static void do_fault(const struct op *op)
{
	struct swapdev *dev = me.swaps[op->a % PLACES].dev;
	unsigned nth = 1 + op->b % 4;
	bool forever = op->b % 5 == 0;

	if (!dev)
		return;
	dev = chain_end(dev);
	switch (op->a / PLACES % 5) {
	case 0:
		me.may_lose = true;
		faulty_fail(dev, SWAP_READ, nth, EIO, forever);
		break;
	case 1:
		me.may_oom = true;
		faulty_fail(dev, SWAP_WRITE, nth, EIO, false);
		break;
	case 2:
		me.may_oom = true;
		faulty_fail(dev, SWAP_WRITE, nth, ENOSPC, forever);
		break;
	case 3:
		me.may_oom = true;
		faulty_full(dev, op->b % 64);
		break;
	case 4:
		me.may_lose = true;
		faulty_corrupt(dev, nth, false);
		break;
	}
}

static void do_heal(void)
{
	for (unsigned i = 0; i < PLACES; i++) {
		if (!me.swaps[i].dev)
			continue;
		struct swapdev *dev = chain_end(me.swaps[i].dev);

		faulty_fail(dev, SWAP_READ, 0, EIO, false);
		faulty_fail(dev, SWAP_WRITE, 0, EIO, false);
		faulty_corrupt(dev, 0, false);
		faulty_full(dev, UINT32_MAX);
	}
}

static void do_takeover(const struct op *op)
{
	unsigned i = op->a % PLACES;

	if (!me.swaps[i].dev)
		return;
	bool own = !me.swaps[i].inherited;
	int error = swap_leave(i);

	shared->nr_taken += error == 0;
	if (error && error != -ENOMEM && !(error == -EIO && me.may_lose) && !(error == -EBUSY && own))
		sim_fail("process %u: swapoff says %d", me.index, error);
	if (!error && own)
		swap_open(1);
}

static void do_dontneed(unsigned page, unsigned nr)
{
	nr = (unsigned)min_u64(nr, me.schedule->pages - page);
	if (place_madvise(&me.place, page_addr(page), nr * PAGE_BYTES, MADV_DONTNEED))
		sim_fail("MADV_DONTNEED");
	for (unsigned i = 0; i < nr; i++)
		me.tags[page + i] = 0;
}

static void reap(void)
{
	struct pager *pager = me.world.pager;

	while (pager_in_flight(pager, SWAP_WRITE) || pager_in_flight(pager, SWAP_READ)) {
		pager_poll(pager, SWAP_WRITE, 1);
		pager_poll(pager, SWAP_READ, 1);
	}
}

/* Slots that failed once are used for ever. */
static uint64_t nr_retired(void)
{
	const struct pager *pager = me.world.pager;
	uint64_t nr = 0;

	for (unsigned type = 0; type < pager->nr_areas; type++)
		for (uint32_t at = 0; area_counts(&pager->areas[type]) && at < pager->areas[type].touched;
			at++)
			nr += (pager->areas[type].slots[at].flags & SLOT_RETIRED) != 0;
	return nr;
}

/* => children have gone, or live on by leases that nobody looks at any more */
static void close_all(bool leases_are_over)
{
	struct anonmm_stats now;

	do_heal();
	look_at_all();
	valid("the last look");
	place_close(&me.place);
	reap();
	valid("its end");
	pager_stats(me.world.pager, &now);
	if (leases_are_over && !TAILQ_EMPTY(&me.world.pager->leases))
		sim_fail("process %u: a lease has outlived its children", me.index);
	if (leases_are_over && now.slots_used != nr_retired())
		sim_fail(
			"process %u: %lu slots are used, by nobody", me.index, (unsigned long)now.slots_used);
}

static void do_exit(void)
{
	close_all(false);
	for (unsigned id = 0; id < LEASE_IDS; id++)
		if (is_held(id))
			shared->holders[id]--;
	shared->alive[me.index] = false;
	turn_give(0);
	_exit(0);
}

static void do_pageout(unsigned page, unsigned nr)
{
	nr = (unsigned)min_u64(nr, me.schedule->pages - page);
	place_madvise(&me.place, page_addr(page), nr * PAGE_BYTES, MADV_PAGEOUT);
}

void process_do(const struct op *op)
{
	static const char *const names[NR_OPS] = {"write", "read", "reclaim", "pageout", "dontneed", "poll",
		"kswapd", "fork", "exit", "leases", "takeover", "fault", "heal"};
	struct pager *pager = me.world.pager;
	unsigned page = op->a % me.schedule->pages, nr = 1 + op->b % 48;

	if (shared->verbose)
		fprintf(stderr, "%4u  process %u: %s %u %u\n", shared->step, me.index, names[op->kind], op->a,
			op->b);
	switch ((enum op_kind)op->kind) {
	case OP_WRITE:
		for (unsigned i = 0; i < nr && page + i < me.schedule->pages; i++)
			change(page + i, 1 + (op->b * 7u + i * (op->a % 3)) % 1000);
		break;
	case OP_READ:
		for (unsigned i = 0; i < nr && page + i < me.schedule->pages; i++)
			look(page + i);
		break;
	case OP_RECLAIM:
		pager_reclaim(pager, nr);
		break;
	case OP_PAGEOUT:
		do_pageout(page, nr);
		break;
	case OP_DONTNEED:
		do_dontneed(page, nr);
		break;
	case OP_POLL:
		for (unsigned i = 0; i < nr % 8; i++)
			pager_poll(pager, (enum swap_dir)((op->a + i) % SWAP_DIRS), 0);
		break;
	case OP_KSWAPD:
		kswapd_step(pager, nr);
		break;
	case OP_FORK:
		do_fork();
		break;
	case OP_EXIT:
		if (me.index)
			do_exit();
		break;
	case OP_LEASES:
		leases_check();
		leave_empty();
		break;
	case OP_TAKEOVER:
		do_takeover(op);
		break;
	case OP_FAULT:
		do_fault(op);
		break;
	case OP_HEAL:
		do_heal();
		break;
	case NR_OPS:
		break;
	}
	valid(names[op->kind]);
}

/* ---- Process 0 ------------------------------------------------------------------------------------------------ */

void process_begin(const struct schedule *s)
{
	struct world_config config = {.kind = ANONMM_SOFT,
		.nr_frames = s->frames,
		.space_bytes = 4 * MIB,
		.seed = s->seed,
		.policy = s->policy};

	memset(&me, 0, sizeof(me));
	me.schedule = s;
	if (world_open(&me.world, &config) || place_open(&me.place, &me.world))
		sim_fail("no world: %s", me.world.why);
	if (place_mmap(&me.place, &me.base, s->pages * PAGE_BYTES, PROT_READ | PROT_WRITE, SPACE_NORESERVE))
		sim_fail("no memory mapped");
	swap_open(0);
}

void process_end(void)
{
	leases_check();
	close_all(true);
	world_close(&me.world);
}

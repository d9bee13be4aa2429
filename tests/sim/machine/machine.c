/* SPDX-License-Identifier: MIT */
/*
 * The machine of the simulation, in two kinds.
 *
 * As real memory: a frame's bytes are in the pool, or at one address, or there is no memory behind the frame. map() and
 * unmap() move the bytes, and fill with junk what is left behind. So a read there gets wrong content, and a write there
 * is found when the frame is used again. As soft: the bytes stay where they are. A TLB remembers each translation until
 * flush() or unmap() removes it, so that a forgotten flush shows.
 *
 * Every call checks what the contract says of its entry: who holds the pager lock, where the frames are, what the
 * region is.
 */
#include "sim.h"

#include "mm/space/pgtable.h"

#include <string.h>

#define ARENA_BYTES (48 * MIB)
#define PIN_POINTS 40 /* who has met a pin looks again after so many */
#define PIN_LASTS 4000 /* at most: longer than the core's patience, now and then */
#define NOBODY UINT32_MAX
#define LOCK_ONCE_IN 50 /* who has taken the lock stops at once */
#define INSIDE_ONCE_IN 10 /* who holds the lock stops in the middle */
#define WAKE_TOO_EARLY 40 /* wait() returns for no reason once in so many */

enum place { PLACE_NONE, PLACE_POOL, PLACE_SHOWN };

static const char *const place_names[] = {"has no memory", "is in the pool", "is shown"};

static struct {
	struct machine machine; /* first */
	struct machine_ops ops;
	const struct config *config;
	uint8_t *pool, *arena;
	size_t arena_used;
	uint8_t place[MAX_FRAMES];
	uint32_t holder; /* of the pager lock */
	uint64_t wakes[WAIT_WORDS];
	bool kick, kswapd_asleep, kswapd_busy, kswapd_stop, kswapd_ended;
	bool pinned[NR_COROS]; /* this thread has met a pin: what it waits for next comes with time */
} m;

/* What frames without memory, and frames that are shown, have in the pool. */
static uint8_t junk_none[PAGE_BYTES], junk_shown[PAGE_BYTES];

static uint8_t *pool_bytes(pfn_t pfn)
{
	return m.pool + pfn * PAGE_BYTES;
}

static struct sim_page *page_at(const struct mapping *map, unsigned *page)
{
	struct sim_space *s = space_machine_data(map->space);

	*page = (unsigned)((map->addr - SIM_BASE) / PAGE_BYTES);
	if (*page >= SPACE_PAGES)
		sim_fail("the address %#lx is outside of its space", map->addr);
	return &s->pages[*page];
}

static uint8_t *address_bytes(const struct mapping *map)
{
	struct sim_space *s = space_machine_data(map->space);

	return s->bytes + (map->addr - SIM_BASE);
}

static bool holds_lock(void)
{
	return m.holder == sched_me() && sched_running();
}

static void must_not_hold_lock(const char *what)
{
	if (holds_lock())
		sim_fail("%s with the pager lock held", what);
}

/* Once in so many, while the threads run: the world is opened and closed without accidents. */
static bool unlucky(unsigned once_in)
{
	return sched_running() && seed_once_in(&sim.chance, once_in);
}

/* In the middle of what the pager lock covers: others can only run into it, or do what needs no lock. */
static void inner_point(const char *where)
{
	if (seed_once_in(&sim.chance, INSIDE_ONCE_IN))
		sched_point(where);
}

/* ---- Frames -------------------------------------------------------------------------------------- */

static void *sim_frame_bytes(struct machine *machine, pfn_t pfn)
{
	(void)machine;
	if (pfn >= m.config->nr_frames)
		sim_fail("frame %u does not exist", pfn);
	if (m.place[pfn] == PLACE_SHOWN)
		sim_fail("the bytes of frame %u are looked at while it is shown", pfn);
	return pool_bytes(pfn);
}

static void must_be_junk(pfn_t pfn, const uint8_t *junk)
{
	if (memcmp(pool_bytes(pfn), junk, PAGE_BYTES))
		sim_fail("somebody wrote to frame %u while it %s", pfn,
			place_names[junk == junk_none ? PLACE_NONE : PLACE_SHOWN]);
}

static int sim_frame_populate(struct machine *machine, pfn_t first, unsigned nr)
{
	(void)machine;
	must_not_hold_lock("frame_populate");
	sched_point("populate");
	for (pfn_t pfn = first; pfn < first + nr; pfn++) {
		if (pfn >= m.config->nr_frames || m.place[pfn] == PLACE_SHOWN)
			sim_fail("frame %u is to get memory, but it is shown", pfn);
		if (m.place[pfn] != PLACE_NONE)
			continue;
		if (unlucky(m.config->no_memory_in))
			return -ENOMEM;
		must_be_junk(pfn, junk_none);
		m.place[pfn] = PLACE_POOL;
		memset(pool_bytes(pfn), 0x77, PAGE_BYTES);
	}
	return 0;
}

static void lose_memory(pfn_t pfn)
{
	m.place[pfn] = PLACE_NONE;
	memcpy(pool_bytes(pfn), junk_none, PAGE_BYTES);
}

static void sim_frame_drop(struct machine *machine, pfn_t first, unsigned nr)
{
	(void)machine;
	must_not_hold_lock("frame_drop");
	sched_point("drop");
	for (pfn_t pfn = first; pfn < first + nr; pfn++) {
		if (m.place[pfn] == PLACE_SHOWN)
			sim_fail("frame %u is to lose its memory, but it is shown", pfn);
		if (!m.config->shares)
			lose_memory(pfn);
	}
}

/* ---- Showing and hiding, as real memory ------------------------------------------------------------- */

static void check_map(const struct mapping *map)
{
	enum place place = m.place[map->pfn];
	unsigned number;
	const struct sim_page *page = page_at(map, &number);

	if (place == PLACE_SHOWN || (place == PLACE_NONE && map->content == FRAME_KEEP))
		sim_fail("frame %u is to be shown at page %u, but it %s", map->pfn, number,
			place_names[place]);
	if (!page->region || page->prot != map->prot)
		sim_fail("frame %u is to be shown at page %u with the rights %d, its region has %d", map->pfn,
			number, map->prot, page->region ? page->prot : -1);
	if (page->shown != PFN_NONE)
		sim_fail("frame %u is to be shown at page %u, where frame %u is", map->pfn, number,
			page->shown);
}

static void show(struct mapping *map)
{
	unsigned number;
	struct sim_page *page = page_at(map, &number);
	pfn_t from = map->pfn;

	if (m.config->plant == PLANT_WRONG_FRAME && seed_once_in(&sim.chance, 100))
		from = (from + 1) % m.config->nr_frames;
	if (map->content == FRAME_ZERO)
		memset(address_bytes(map), 0, PAGE_BYTES);
	else
		memcpy(address_bytes(map), pool_bytes(from), PAGE_BYTES);
	if (m.place[map->pfn] == PLACE_NONE)
		must_be_junk(map->pfn, junk_none);
	memcpy(pool_bytes(map->pfn), junk_shown, PAGE_BYTES);
	m.place[map->pfn] = PLACE_SHOWN;
	page->shown = map->pfn;
}

static void sim_map(struct machine *machine, struct mapping *maps, unsigned nr)
{
	(void)machine;
	must_not_hold_lock("map");
	for (unsigned i = 0; i < nr; i++) {
		if (i % 8 == 0)
			sched_point("map");
		check_map(&maps[i]);
		maps[i].result = unlucky(m.config->no_memory_in) ? -ENOMEM : 0;
		if (maps[i].result == 0)
			show(&maps[i]);
	}
	sched_point("mapped");
}

static void hide(const struct mapping *map, enum unmap_content content)
{
	unsigned number;
	struct sim_page *page = page_at(map, &number);

	must_be_junk(map->pfn, junk_shown);
	if (content == UNMAP_KEEP)
		memcpy(pool_bytes(map->pfn), address_bytes(map), PAGE_BYTES);
	if (m.config->plant == PLANT_LATE_HIDE)
		sched_point("hide");
	page->shown = PFN_NONE;
	m.place[map->pfn] = PLACE_POOL;
	if (content == UNMAP_DROP)
		lose_memory(map->pfn);
}

/* The program has pinned the page for I/O, or does so now. */
static bool is_pinned(struct sim_page *page)
{
	if (seed_once_in(&sim.chance, m.config->busy_in))
		page->pinned_until =
			sched_clock() + 1 +
			seed_below(&sim.chance, seed_once_in(&sim.chance, 10) ? PIN_LASTS : PIN_POINTS);
	return page->pinned_until > sched_clock();
}

static void sim_unmap(struct machine *machine, struct mapping *maps, unsigned nr, enum unmap_content content)
{
	(void)machine;
	must_not_hold_lock("unmap");
	for (unsigned i = 0; i < nr; i++) {
		unsigned number;
		struct sim_page *page = page_at(&maps[i], &number);

		if (i % 8 == 0)
			sched_point("unmap");
		if (page->shown != maps[i].pfn || m.place[maps[i].pfn] != PLACE_SHOWN)
			sim_fail("frame %u is to be taken from page %u, where frame %d is, and it %s",
				maps[i].pfn, number, (int)page->shown, place_names[m.place[maps[i].pfn]]);
		maps[i].result = 0;
		if (content == UNMAP_KEEP && is_pinned(page)) {
			maps[i].result = -EBUSY;
			m.pinned[sched_me()] = true;
			sim.outcome->busy++;
		} else {
			hide(&maps[i], content);
		}
	}
	sched_point("unmapped");
}

/* ---- The same, as soft ------------------------------------------------------------------------------- */

/* => pager lock held or not */
static void soft_map(struct machine *machine, struct mapping *maps, unsigned nr)
{
	(void)machine;
	if (!holds_lock())
		sched_point("map");
	for (unsigned i = 0; i < nr; i++) {
		if (maps[i].content == FRAME_ZERO)
			memset(pool_bytes(maps[i].pfn), 0, PAGE_BYTES);
		maps[i].result = 0;
	}
}

static void soft_flush(struct machine *machine, struct space *space, uint64_t addr)
{
	struct sim_space *s = space_machine_data(space);

	(void)machine;
	if (sched_running() && !holds_lock())
		sim_fail("flush without the pager lock");
	inner_point("flush");
	if (m.config->plant == PLANT_NO_FLUSH && seed_once_in(&sim.chance, 10))
		return;
	s->pages[(addr - SIM_BASE) / PAGE_BYTES].shown = PFN_NONE;
}

static void soft_unmap(struct machine *machine, struct mapping *maps, unsigned nr, enum unmap_content content)
{
	(void)machine, (void)maps, (void)nr, (void)content;
	sim_fail("unmap of a machine that has flush");
}

/* ---- Regions -------------------------------------------------------------------------------------------- */

static struct sim_page *region(struct space *space, uint64_t start, uint64_t end, const char *what)
{
	struct sim_space *s = space_machine_data(space);

	must_not_hold_lock(what);
	sched_point(what);
	if (start < SIM_BASE || end > SIM_BASE + SPACE_PAGES * PAGE_BYTES || start >= end)
		sim_fail("%s of %#lx to %#lx, outside of its space", what, start, end);
	return &s->pages[(start - SIM_BASE) / PAGE_BYTES];
}

static int sim_region_map(
	struct machine *machine, struct space *space, uint64_t start, uint64_t end, int prot)
{
	struct sim_page *pages = region(space, start, end, "region_map");

	(void)machine;
	if (unlucky(m.config->no_memory_in))
		return -ENOMEM;
	for (uint64_t i = 0; i < (end - start) / PAGE_BYTES; i++) {
		if (pages[i].region || pages[i].shown != PFN_NONE)
			sim_fail("a region is to be mapped over another, at %#lx", start + i * PAGE_BYTES);
		pages[i].region = true;
		pages[i].prot = (uint8_t)prot;
	}
	return 0;
}

/* A whole region, and nothing is shown in it. */
static void region_is_bare(const struct sim_page *pages, uint64_t start, uint64_t end, const char *what)
{
	for (uint64_t i = 0; i < (end - start) / PAGE_BYTES; i++) {
		if (!pages[i].region)
			sim_fail("%s at %#lx, where no region is", what, start + i * PAGE_BYTES);
		if (pages[i].shown != PFN_NONE)
			sim_fail("%s at %#lx, where frame %u is shown", what, start + i * PAGE_BYTES,
				pages[i].shown);
	}
}

static int sim_region_protect(
	struct machine *machine, struct space *space, uint64_t start, uint64_t end, int prot)
{
	struct sim_page *pages = region(space, start, end, "region_protect");

	(void)machine;
	if (unlucky(m.config->no_memory_in))
		return -ENOMEM;
	region_is_bare(pages, start, end, "region_protect");
	for (uint64_t i = 0; i < (end - start) / PAGE_BYTES; i++)
		pages[i].prot = (uint8_t)prot;
	return 0;
}

static int sim_region_unmap(struct machine *machine, struct space *space, uint64_t start, uint64_t end)
{
	struct sim_page *pages = region(space, start, end, "region_unmap");

	(void)machine;
	region_is_bare(pages, start, end, "region_unmap");
	for (uint64_t i = 0; i < (end - start) / PAGE_BYTES; i++)
		pages[i].region = false;
	return 0;
}

/* ---- Accesses --------------------------------------------------------------------------------------------- */

static bool lock_is_free(void *unused)
{
	(void)unused;
	return m.holder == NOBODY;
}

bool machine_lock_is_free(void)
{
	return m.holder == NOBODY;
}

/* As a processor of the soft kind: the TLB, then the page tables. */
static uint8_t *walk(struct sim_space *s, unsigned page, enum access access)
{
	struct sim_page *tlb = &s->pages[page];

	if (tlb->shown != PFN_NONE && (access == ACCESS_READ || tlb->writable))
		return pool_bytes(tlb->shown);
	while (m.holder != NOBODY)
		sched_block("page walk", lock_is_free, NULL, 0);
	pte_slot_t *slot = pgtable_find(space_pgtable(s->space), page);
	pte_t needed = PTE_PRESENT | PTE_VALID | (access == ACCESS_WRITE ? PTE_WRITE : 0);
	pte_t marks = PTE_ACCESSED | (access == ACCESS_WRITE ? PTE_DIRTY : 0);
	pte_t pte = slot ? pte_load(slot) : 0;

	if ((pte & needed) != needed)
		return NULL;
	pte_set_bits(slot, marks);
	tlb->shown = pte_pfn(pte);
	tlb->writable = (pte & PTE_WRITE) && ((pte | marks) & PTE_DIRTY);
	return pool_bytes(tlb->shown);
}

uint8_t *machine_look(struct sim_space *s, unsigned page, enum access access)
{
	const struct sim_page *at = &s->pages[page];

	if (m.config->shares)
		return walk(s, page, access);
	if (at->shown == PFN_NONE ||
		!(at->prot & (access == ACCESS_WRITE ? PROT_WRITE : PROT_READ | PROT_WRITE)))
		return NULL;
	return s->bytes + page * PAGE_BYTES;
}

/* ---- The lock, waiting, kswapd --------------------------------------------------------------------------------- */

static void sim_lock(struct machine *machine)
{
	(void)machine;
	if (holds_lock())
		sim_fail("the pager lock is taken twice");
	sched_point("lock");
	if (m.config->plant == PLANT_TWO_INSIDE && seed_once_in(&sim.chance, 4))
		m.holder = NOBODY;
	while (m.holder != NOBODY)
		sched_block("the pager lock", lock_is_free, NULL, 0);
	m.holder = sched_me();
	if (seed_once_in(&sim.chance, LOCK_ONCE_IN))
		sched_point("locked");
}

static void sim_unlock(struct machine *machine)
{
	(void)machine;
	if (m.holder != sched_me() && m.config->plant != PLANT_TWO_INSIDE)
		sim_fail("the pager lock is dropped by who does not hold it");
	m.holder = NOBODY;
	sched_point("unlock");
}

static void sim_wake(struct machine *machine, unsigned word)
{
	(void)machine;
	inner_point("wake");
	if (m.config->plant == PLANT_LOST_WAKE && seed_once_in(&sim.chance, 20))
		return;
	m.wakes[word]++;
}

struct waiting {
	uint64_t wakes;
	unsigned word;
	bool writes;
	bool follows; /* it leaves the devices to others: kswapd polls them all */
};

static bool was_woken(void *ctx)
{
	const struct waiting *w = ctx;

	return m.wakes[w->word] != w->wakes || (!w->follows && devices_ready(true, w->writes));
}

static void reap(bool writes)
{
	pager_poll(m.machine.pager, SWAP_READ, 0);
	if (writes)
		pager_poll(m.machine.pager, SWAP_WRITE, 0);
}

/* As both machines do: who waits polls the devices, and has kswapd work when it waits for frames. */
void machine_wait(const struct wait *wait)
{
	struct waiting w = {.writes = wait->what == WAIT_WRITE || wait->what == WAIT_FRAMES};
	bool *pinned = &m.pinned[sched_me()];
	uint64_t until = *pinned && wait->what == WAIT_SPACE ? sched_clock() + PIN_POINTS : 0;

	must_not_hold_lock("wait");
	*pinned = false;
	sim.outcome->waits++;
	if (seed_once_in(&sim.chance, WAKE_TOO_EARLY)) {
		sched_point("wait");
		return;
	}
	w.follows = seed_once_in(&sim.chance, 3);
	if (!w.follows)
		reap(w.writes);
	if (w.writes)
		m.kick = true;
	w.word = wait->word;
	w.wakes = m.wakes[w.word];
	if (!wait_is_over(m.machine.pager, wait))
		sched_block("wait", was_woken, &w, until);
	if (!w.follows)
		reap(w.writes);
}

static void sim_wait(struct machine *machine, const struct wait *wait)
{
	(void)machine;
	machine_wait(wait);
}

static void sim_wake_kswapd(struct machine *machine, bool by_fault)
{
	(void)machine, (void)by_fault;
	inner_point("wake_kswapd");
	m.kick = true;
}

static bool kswapd_is_free(void *unused)
{
	(void)unused;
	return !m.kswapd_busy;
}

bool kswapd_try_lock(void)
{
	if (m.kswapd_busy)
		return false;
	return m.kswapd_busy = true;
}

void kswapd_unlock(void)
{
	m.kswapd_busy = false;
}

static bool kswapd_is_wanted(void *unused)
{
	(void)unused;
	return m.kick || devices_ready(true, true);
}

static enum kswapd_result one_step(void)
{
	while (!kswapd_try_lock())
		sched_block("kswapd's turn", kswapd_is_free, NULL, 0);
	enum kswapd_result result = kswapd_step(m.machine.pager, KSWAPD_PAGES);

	kswapd_unlock();
	sim.outcome->kswapd++;
	return result;
}

void kswapd_main(void *arg)
{
	(void)arg;
	while (!m.kswapd_stop) {
		m.kick = false;
		sched_doing("kswapd");
		reap(true);
		enum kswapd_result result = one_step();

		if (result == KSWAPD_WAIT)
			pager_poll(m.machine.pager, SWAP_WRITE, 10);
		if (result == KSWAPD_STUCK || result == KSWAPD_BALANCED)
			sched_doing(result == KSWAPD_STUCK ? "kswapd is stuck" : "kswapd is idle");
		if ((result == KSWAPD_STUCK || result == KSWAPD_BALANCED) && !kswapd_is_wanted(NULL)) {
			m.kswapd_asleep = true;
			sched_block("its sleep", kswapd_is_wanted, NULL, 0);
			m.kswapd_asleep = false;
		}
		sched_point("kswapd");
	}
	m.kswapd_ended = true;
	sched_end();
}

static bool all_rest(void *unused)
{
	(void)unused;
	return m.kswapd_asleep && !m.kick && devices_idle();
}

void kswapd_await_rest(void)
{
	while (!all_rest(NULL))
		sched_block("kswapd's rest", all_rest, NULL, 0);
}

static bool kswapd_has_ended(void *unused)
{
	(void)unused;
	return m.kswapd_ended;
}

void kswapd_stop(void)
{
	m.kswapd_stop = m.kick = true;
	while (!m.kswapd_ended)
		sched_block("kswapd's end", kswapd_has_ended, NULL, 0);
}

static bool sim_more(struct machine *machine)
{
	(void)machine;
	must_not_hold_lock("more");
	sched_point("more");
	return seed_once_in(&sim.chance, m.config->more_in);
}

static bool sim_faults_block(struct machine *machine)
{
	(void)machine;
	return m.config->faults_block;
}

static void sim_say(struct machine *machine, const char *text)
{
	(void)machine;
	sched_told("says: %s", text);
}

/* ---- Memory for structures ------------------------------------------------------------------------------------- */

/* From one end to the other: freed memory is never used again, and is filled with junk. */
static void *sim_chunk_alloc(struct machine *machine, size_t bytes)
{
	uint8_t *chunk;

	(void)machine;
	inner_point("chunk_alloc");
	bytes = page_align_up(bytes);
	if (unlucky(m.config->no_chunk_in))
		return NULL;
	if (m.arena_used + bytes > ARENA_BYTES)
		return NULL;
	chunk = m.arena + m.arena_used;
	m.arena_used += bytes;
	memset(chunk, 0, bytes);
	return chunk;
}

static void sim_chunk_free(struct machine *machine, void *chunk, size_t bytes)
{
	(void)machine;
	bytes = page_align_up(bytes);
	memset(chunk, 0xcc, bytes);
}

size_t machine_chunks_mark(void)
{
	return m.arena_used;
}

void machine_chunks_reset(size_t mark)
{
	m.arena_used = mark;
}

/* ---- Open and close -------------------------------------------------------------------------- */

static const struct machine_ops real_ops = {
	.name = "sim",
	.frame_bytes = sim_frame_bytes,
	.frame_populate = sim_frame_populate,
	.frame_drop = sim_frame_drop,
	.map = sim_map,
	.unmap = sim_unmap,
	.region_map = sim_region_map,
	.region_protect = sim_region_protect,
	.region_unmap = sim_region_unmap,
	.lock = sim_lock,
	.unlock = sim_unlock,
	.wake = sim_wake,
	.wait = sim_wait,
	.wake_kswapd = sim_wake_kswapd,
	.say = sim_say,
	.faults_block = sim_faults_block,
	.chunk_alloc = sim_chunk_alloc,
	.chunk_free = sim_chunk_free,
};

static void choose_ops(const struct config *c)
{
	m.ops = real_ops;
	if (!c->drops)
		m.ops.frame_drop = NULL;
	if (c->more_in)
		m.ops.more = sim_more;
	if (!c->shares)
		return;
	m.ops.can_share = m.ops.sees_access = m.ops.sees_write = true;
	m.ops.map = soft_map;
	m.ops.unmap = soft_unmap;
	m.ops.flush = soft_flush;
}

struct machine *machine_open(const struct config *c)
{
	uint8_t *pool = m.pool ? m.pool : device_alloc(MAX_FRAMES * PAGE_BYTES);
	uint8_t *arena = m.arena ? m.arena : device_alloc(ARENA_BYTES);

	memset(&m, 0, sizeof(m));
	memset(junk_none, 0xd1, PAGE_BYTES);
	memset(junk_shown, 0x5a, PAGE_BYTES);
	m.pool = pool;
	m.arena = arena;
	m.config = c;
	m.holder = NOBODY;
	choose_ops(c);
	m.machine.ops = &m.ops;
	for (pfn_t pfn = 0; pfn < c->nr_frames; pfn++) {
		lose_memory(pfn);
		if (c->shares)
			m.place[pfn] = PLACE_POOL;
	}
	return &m.machine;
}

void machine_close(void)
{
	for (pfn_t pfn = 0; pfn < m.config->nr_frames; pfn++)
		if (m.place[pfn] == PLACE_SHOWN)
			sim_fail("frame %u is still shown", pfn);
}

void machine_space_open(struct sim_space *s, unsigned number)
{
	static uint8_t *bytes[MAX_SPACES];

	if (!bytes[number])
		bytes[number] = device_alloc(SPACE_PAGES * PAGE_BYTES);
	memset(s, 0, sizeof(*s));
	s->number = number;
	s->bytes = bytes[number];
	for (unsigned i = 0; i < SPACE_PAGES; i++)
		s->pages[i].shown = PFN_NONE;
}

void machine_check_gone(struct sim_space *s)
{
	for (unsigned i = 0; i < SPACE_PAGES; i++)
		if (s->pages[i].region || s->pages[i].shown != PFN_NONE)
			sim_fail("page %u of space %u is still there after its end", i, s->number);
}

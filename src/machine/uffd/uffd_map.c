/* SPDX-License-Identifier: MIT */
/*
 * Map and unmap: mappings become runs, and each run goes the cheapest way.
 *
 *   map, zeros, frame without memory   UFFDIO_COPY of zeros straight to the address
 *   map, zeros, frame with memory      the frame is cleared in the pool, then moved: its bytes are in the CPU's cache
 *                                      afterwards. Where the page cannot be moved: zeros are copied, and the frame's
 *                                      old memory is dropped
 *   map, content kept                  m->way, or the copy if the region is not plain read-write
 *   unmap, content kept                the same way back
 *   unmap, content dropped             MADV_DONTNEED at the address: the frame has no memory afterwards
 */
#include "machine/uffd/uffd_internal.h"

#include <string.h>

static const struct uffd_way *way_for(const struct uffd_machine *m, int prot)
{
	return prot == (PROT_READ | PROT_WRITE) ? m->way : &uffd_way_copy;
}

/* The longest run from @maps on, of equal protection, content and place. */
static struct page_run run_from(const struct uffd_machine *m, const struct mapping *maps, unsigned nr)
{
	struct page_run run = {.addr = maps->addr, .pfn = maps->pfn, .nr = 1, .prot = maps->prot};

	while (run.nr < nr && run.nr < RUN_PAGES && maps[run.nr].addr == run.addr + run.nr * PAGE_BYTES &&
		maps[run.nr].pfn == run.pfn + run.nr && maps[run.nr].prot == run.prot &&
		maps[run.nr].content == maps->content && m->place[maps[run.nr].pfn] == m->place[run.pfn])
		run.nr++;
	return run;
}

/*
 * To clear a frame in the pool and move it takes a quarter of the time of copying zeros. Where the page cannot be
 * moved, clearing it would be a second pass over it: zeros are copied, and the frame's old memory is given back.
 */
static unsigned show_zeros(struct uffd_machine *m, const struct page_run *run, int *error)
{
	bool wake = m->real.faults == ANONMM_FAULTS_THREAD;
	bool has_memory = m->place[run->pfn] == PLACE_POOL;
	unsigned done;

	if (has_memory && way_for(m, run->prot) == &uffd_way_move) {
		memset(uffd_frame_bytes(&m->real.machine, run->pfn), 0, run->nr * PAGE_BYTES);
		return uffd_way_move.show(m, run, error);
	}
	done = uffd_copy_zeros(m, run->addr, run->nr, wake, error);
	if (has_memory && done)
		uffd_drop(m, frame_addr(m, run->pfn), done);
	return done;
}

/*
 * End the program unless the core's request fits the place of the frame's memory. A request that does not fit is a bug,
 * and would give somebody wrong bytes. Release builds check this, too: it costs one byte, which is read anyway.
 */
static void check_place(struct uffd_machine *m, const struct mapping *map, bool right, const char *what)
{
	static const char *const words[] = {"has no memory", "is in the pool", "is shown"};

	if (unlikely(!right))
		real_die(&m->real, "a bug of anonmm: frame %u is to be %s at %#lx, but it %s", map->pfn, what,
			map->addr, words[m->place[map->pfn]]);
}

/*
 * The request that showed the pages has woken the threads that wait for them. The pager thread notes the addresses, so
 * that it does not wake the same threads again.
 */
static void note_woken(struct uffd_machine *m, const struct page_run *run, unsigned done)
{
	if (!on_pager_thread(&m->real))
		return;
	m->real.woken_start = run->addr;
	m->real.woken_end = run->addr + done * PAGE_BYTES;
}

static void show_run(struct uffd_machine *m, const struct page_run *run, struct mapping *maps)
{
	int error = 0;
	unsigned done;

	if (unlikely(atomic_load(&m->real.nr_poisoned)))
		real_poison_clear(&m->real, run->addr, run->nr, false);
	if (maps->content == FRAME_ZERO)
		done = show_zeros(m, run, &error);
	else
		done = way_for(m, run->prot)->show(m, run, &error);
	if (unlikely(atomic_load(&m->real.nr_poisoned)))
		real_poison_clear(&m->real, run->addr, done, true);
	if (done < run->nr && error != -ENOMEM)
		real_die(&m->real, "page %#lx cannot be shown: %s", run->addr + done * PAGE_BYTES,
			strerror(-error));
	for (unsigned i = 0; i < run->nr; i++) {
		maps[i].result = i < done ? 0 : error;
		if (i < done)
			m->place[run->pfn + i] = PLACE_SHOWN;
	}
	note_woken(m, run, done);
}

void uffd_map(struct machine *machine, struct mapping *maps, unsigned nr)
{
	struct uffd_machine *m = uffd_of(machine);

	for (unsigned i = 0; i < nr;) {
		struct page_run run = run_from(m, maps + i, nr - i);

		check_place(m, maps + i,
			m->place[run.pfn] == PLACE_POOL ||
				(m->place[run.pfn] == PLACE_NONE && maps[i].content == FRAME_ZERO),
			"shown");
		show_run(m, &run, maps + i);
		i += run.nr;
	}
}

/* Returns how many entries have their result now. The last of them is -EBUSY if its page is pinned. */
static unsigned hide_run(struct uffd_machine *m, const struct page_run *run, struct mapping *maps)
{
	unsigned done = way_for(m, run->prot)->hide(m, run);

	for (unsigned i = 0; i < done; i++) {
		m->place[run->pfn + i] = PLACE_POOL;
		maps[i].result = 0;
	}
	if (done == run->nr)
		return done;
	maps[done].result = -EBUSY;
	return done + 1;
}

/*
 * Drop the entries from @maps on whose addresses follow each other, with one request. Their frames need not be
 * consecutive. Returns how many.
 */
static unsigned drop_from(struct uffd_machine *m, const struct mapping *maps, unsigned nr)
{
	unsigned same = 0;

	while (same < nr && maps[same].addr == maps->addr + same * PAGE_BYTES) {
		check_place(m, maps + same, m->place[maps[same].pfn] == PLACE_SHOWN, "dropped");
		m->place[maps[same].pfn] = PLACE_NONE;
		same++;
	}
	uffd_drop(m, maps->addr, same);
	return same;
}

void uffd_unmap(struct machine *machine, struct mapping *maps, unsigned nr, enum unmap_content content)
{
	struct uffd_machine *m = uffd_of(machine);

	for (unsigned i = 0; i < nr;) {
		if (content == UNMAP_DROP) {
			unsigned same = drop_from(m, maps + i, nr - i);

			for (unsigned end = i + same; i < end; i++)
				maps[i].result = 0;
			continue;
		}
		struct page_run run = run_from(m, maps + i, nr - i);

		check_place(m, maps + i, m->place[run.pfn] == PLACE_SHOWN, "taken back");
		i += hide_run(m, &run, maps + i);
	}
}

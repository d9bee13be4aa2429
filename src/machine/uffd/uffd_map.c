/* SPDX-License-Identifier: MIT */
/*
 * Map and unmap: mappings become runs, and each run goes the cheapest way.
 *
 *   zeros, frame without memory      UFFDIO_COPY of zeros straight to the address
 *   zeros, frame with memory         cleared in the pool (the cache is warm after), then shown
 *   content kept                     shown by the way of this machine, or by copy when the
 *                                    region is not plain read-write
 *   unmap, content kept              the same way back
 *   unmap, content dropped           MADV_DONTNEED at the address: the frame has no memory after
 */
#include "machine/uffd/uffd_internal.h"

#include <string.h>

static const struct uffd_way *way_for(const struct uffd_machine *m, int prot)
{
	return prot == (PROT_READ | PROT_WRITE) ? m->way : &uffd_way_copy;
}

/* The longest run from @maps on that can be treated alike. */
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
 * Clearing in the pool and moving beats copying zeros 4 to 1; where the page would be copied anyway, the zeros are
 * copied instead and the old memory is given back.
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
 * The protocol says where a frame's memory is; a request that contradicts it would end in somebody's wrong bytes. Always
 * checked: it is one byte that is looked at anyway.
 */
static void check_place(struct uffd_machine *m, const struct mapping *map, bool right, const char *what)
{
	static const char *const words[] = {"has no memory", "is in the pool", "is shown"};

	if (unlikely(!right))
		real_die(&m->real, "a bug of anonmm: frame %u is to be %s at %#lx, but it %s", map->pfn, what,
			map->addr, words[m->place[map->pfn]]);
}

/* The pager thread need not wake again who was woken by the request that showed the page. */
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

/* Returns how many entries were dealt with: one that is pinned is passed over. */
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

/* Only addresses matter here: frames that were born apart go together. */
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

/* SPDX-License-Identifier: MIT */
/* Operations: what changes the mappings of a space. */
#include "model.h"

void do_mmap(struct actor *a)
{
	int prot = below(a, 4) ? PROT_READ | PROT_WRITE : random_prot(a), result;
	struct oracle *oracle = a->at->oracle;
	bool fixed = below(a, 3) == 0;
	unsigned first, nr, got;
	uint64_t addr;

	pick_run(a, 96, &first, &nr);
	detail(a, first, nr, fixed);
	addr = fixed || below(a, 2) ? address(a, first) : 0;
	result = place_mmap(&a->at->place, &addr, nr * PAGE_BYTES, prot, fixed ? SPACE_FIXED : 0);
	note(a, result);
	if (result == -ENOMEM && !fixed && !oracle_has_hole(oracle, nr))
		return;
	want(a, result, 0);
	if (result)
		return;
	got = (unsigned)((addr - a->at->place.base) / PAGE_BYTES);
	if (addr < a->at->place.base || got + nr > ORACLE_PAGES || addr % PAGE_BYTES)
		fail(a, "mapped at %llx", (unsigned long long)addr);
	if (fixed ? got != first : !oracle_is_hole(oracle, got, nr))
		fail(a, "mapped over others, at page %u", got);
	oracle_map(oracle, got, nr, prot, NULL, false, 0);
	objects_reap(a);
}

void do_munmap(struct actor *a)
{
	unsigned first, nr;
	int result;

	pick_run(a, 64, &first, &nr);
	result = place_munmap(&a->at->place, address(a, first), nr * PAGE_BYTES);
	want(a, result, 0);
	if (!result)
		oracle_unmap(a->at->oracle, first, nr);
	objects_reap(a);
}

/* What comes before a hole may have changed already. */
static void reread_prot(struct actor *a, unsigned first, unsigned nr)
{
	for (unsigned i = first; i < first + nr; i++) {
		uint64_t end;
		int now;

		if (space_kind_at(a->at->place.space, address(a, i), &end, &now) == SPACE_ANON)
			a->at->oracle->pages[i].prot = (uint8_t)now;
	}
}

void do_mprotect(struct actor *a)
{
	int prot = random_prot(a), result;
	unsigned first, nr;

	pick_run(a, 64, &first, &nr);
	detail(a, first, nr, prot);
	result = place_mprotect(&a->at->place, address(a, first), nr * PAGE_BYTES, prot);
	if (!oracle_is_mapped(a->at->oracle, first, nr)) {
		want(a, result, -ENOMEM);
		reread_prot(a, first, nr);
		return;
	}
	want(a, result, 0);
	if (!result)
		for (unsigned i = first; i < first + nr; i++)
			a->at->oracle->pages[i].prot = (uint8_t)prot;
}

static int call_mremap(struct actor *a, uint64_t *addr, unsigned nr, unsigned new_nr, int flags, uint64_t to)
{
	struct place *p = &a->at->place;
	struct wait wait = {0};

	return PLACE_CALL(p, &wait,
		space_mremap(p->space, addr, nr * PAGE_BYTES, new_nr * PAGE_BYTES, flags, to, &wait));
}

static bool mremap_may_refuse(struct actor *a, int result, unsigned new_nr, int flags)
{
	if (result == -EFAULT || excused(a, result))
		return true;
	if (result == -EINVAL)
		return flags & MREMAP_FIXED; /* onto itself */
	return result == -ENOMEM && (!(flags & MREMAP_MAYMOVE) || !oracle_has_hole(a->at->oracle, new_nr));
}

/* A range that is not of one VMA is refused; where VMAs begin is the core's own affair. */
void do_mremap(struct actor *a)
{
	static const int kinds[] = {MREMAP_MAYMOVE, MREMAP_MAYMOVE, 0, MREMAP_MAYMOVE | MREMAP_FIXED};
	int flags = kinds[below(a, ARRAY_SIZE(kinds))], result;
	unsigned first, nr, new_nr = 1 + below(a, 64), to = below(a, ORACLE_PAGES - new_nr + 1);
	struct oracle *oracle = a->at->oracle;
	uint64_t addr;

	pick_run(a, 32, &first, &nr);
	detail(a, first, nr, (int)new_nr);
	addr = address(a, first);
	result = call_mremap(a, &addr, nr, new_nr, flags, address(a, to));
	note(a, result);
	if (result && mremap_may_refuse(a, result, new_nr, flags)) {
		for (unsigned i = first; i < first + nr; i++)
			check_page(a, i);
		return;
	}
	if (result)
		fail(a, "result %d", result);
	if (!oracle_is_mapped(oracle, first, nr))
		fail(a, "a hole was moved");
	if ((flags & MREMAP_FIXED) && addr != address(a, to))
		fail(a, "moved to another place than asked for");
	to = (unsigned)((addr - a->at->place.base) / PAGE_BYTES);
	if (to + new_nr > ORACLE_PAGES)
		fail(a, "moved to %llx", (unsigned long long)addr);
	if (!(flags & MREMAP_FIXED) && to != first && !oracle_is_hole(oracle, to, new_nr))
		fail(a, "moved over others, to page %u", to);
	if (!(flags & MREMAP_FIXED) && to == first && new_nr > nr &&
		!oracle_is_hole(oracle, first + nr, new_nr - nr))
		fail(a, "grown over others");
	oracle_move(oracle, first, nr, to, new_nr);
	objects_reap(a);
}

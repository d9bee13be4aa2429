/* SPDX-License-Identifier: MIT */
/* Operations: advice and locks. */
#include "model.h"

/* Advice without a promise about content; results that a device, a file or a shortage explains are fine. */
void do_hint(struct actor *a)
{
	static const int hints[] = {MADV_COLD, MADV_PAGEOUT, MADV_PAGEOUT, MADV_WILLNEED, MADV_SEQUENTIAL,
		MADV_RANDOM, MADV_NORMAL, MADV_POPULATE_READ, MADV_POPULATE_WRITE, MADV_MERGEABLE,
		MADV_MERGEABLE, MADV_UNMERGEABLE};
	int advice = hints[below(a, ARRAY_SIZE(hints))], result;
	bool populate = advice == MADV_POPULATE_READ || advice == MADV_POPULATE_WRITE;
	unsigned first, nr;

	pick_run(a, 48, &first, &nr);
	detail(a, first, nr, advice);
	result = place_madvise(&a->at->place, address(a, first), nr * PAGE_BYTES, advice);
	note(a, result);
	if (advice == MADV_POPULATE_WRITE)
		oracle_populate(a->at->oracle, first, nr);
	if (result == -EINVAL || result == -EFAULT) /* locked, or not allowed to be populated */
		return;
	if (populate &&
		(result == -ENOMEM || (result == -EIO && oracle_has_object(a->at->oracle, first, nr))))
		return;
	want(a, result, oracle_is_mapped(a->at->oracle, first, nr) ? 0 : -ENOMEM);
}

/* Those that let content go. Refused on locked pages, perhaps in the middle of the range. */
void do_drop(struct actor *a)
{
	int advice = below(a, 2) ? MADV_DONTNEED : MADV_FREE, result;
	struct oracle *oracle = a->at->oracle;
	unsigned first, nr;

	pick_run(a, 48, &first, &nr);
	detail(a, first, nr, advice);
	result = place_madvise(&a->at->place, address(a, first), nr * PAGE_BYTES, advice);
	note(a, result);
	if (result != -EINVAL)
		want(a, result, oracle_is_mapped(oracle, first, nr) ? 0 : -ENOMEM);
	oracle_drop(oracle, first, nr, advice == MADV_FREE || result);
}

void do_mlock(struct actor *a)
{
	bool lock = below(a, 3) == 0;
	unsigned first, nr;
	int result;

	pick_run(a, lock ? 12 : 256, &first, &nr);
	detail(a, first, nr, lock);
	result = place_mlock(&a->at->place, address(a, first), nr * PAGE_BYTES, lock);
	note(a, result);
	if (lock)
		oracle_populate(a->at->oracle, first, nr);
	if (lock &&
		(result == -ENOMEM || result == -EFAULT || result == -EAGAIN)) /* too many, or PROT_NONE */
		return;
	if (lock && result == -EIO && oracle_has_object(a->at->oracle, first, nr))
		return;
	want(a, result, oracle_is_mapped(a->at->oracle, first, nr) ? 0 : -ENOMEM);
}

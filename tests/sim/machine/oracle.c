/* SPDX-License-Identifier: MIT */
/*
 * What each page must hold.
 *
 * A thread's own pages are touched by that thread alone, so their content is known exactly. MADV_FREE leaves two
 * possibilities until the page is written: the old content, and what is behind the page. An access is one step for all
 * other threads, so a shared page has one known value, too. But while a call that drops its content is under way, the
 * page may be zeros already.
 */
#include "sim.h"

static bool may_be_dropped(const struct cell *cell)
{
	return !cell->kept && (cell->fading || cell->may_be_zero || cell->changing > 0);
}

bool cell_is_vague(const struct cell *cell)
{
	return sim.config->truncates && cell->behind;
}

void cell_found(struct cell *cell, uint32_t found)
{
	if (cell_is_vague(cell)) {
		cell->value = found;
		return;
	}
	if (found != cell->value && !(found == cell->behind && may_be_dropped(cell)))
		sim_fail("the page holds %u, and should hold %u%s", found, cell->value,
			may_be_dropped(cell) ? ", or what is behind it" : "");
	if (found == cell->behind) {
		cell->value = found;
		cell->fading = cell->may_be_zero = false;
	}
	if (cell->changing == 0)
		cell->may_be_zero = false;
}

void cell_written(struct cell *cell, uint32_t value)
{
	cell->value = value;
	cell->fading = cell->may_be_zero = false;
	cell->written = true;
}

void cell_drop_begins(struct cell *cell, bool unmaps)
{
	if (cell->changing++ == 0)
		cell->written = false;
	cell->unmapping += unmaps;
	cell->unmaps += unmaps;
}

/* @done: it was dropped, whatever others wrote meanwhile; if they did not, it is zeros. */
void cell_drop_ended(struct cell *cell, bool unmaps, bool done)
{
	cell->changing--;
	cell->unmapping -= unmaps;
	if (cell->kept)
		return;
	if (done && !cell->written)
		cell->value = cell->behind;
	else
		cell->may_be_zero = true;
}

int cell_access(const struct cell *cell, enum access access)
{
	int needed = access == ACCESS_WRITE ? PROT_WRITE : PROT_READ | PROT_WRITE;

	if (!cell->mapped || !(cell->prot & needed))
		return -EFAULT;
	return cell_is_past_end(cell) ? -EIO : 0;
}

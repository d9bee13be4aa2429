/* SPDX-License-Identifier: MIT */
/* The table of declared differences; see differences.h. */
#include "differences.h"

#include <errno.h>

/* The operation names this page, of whichever process. */
static bool page_is_named(const struct meeting *m)
{
	return m->region == m->op->region && m->page >= m->op->first && m->page < m->op->first + m->op->nr;
}

static bool kinds_are(const struct meeting *m, enum cell_kind theirs, enum cell_kind ours)
{
	return m->theirs.kind == theirs && m->ours.kind == ours;
}

static bool is_anon(const struct cell *cell)
{
	return cell->kind == CELL_PRESENT && (cell->type == TYPE_ANON || cell->type == TYPE_FREE);
}

/* ---- Written in the swap cache -------------------------------------------------------------------- */

static bool leaves_swap_cache(const struct meeting *m)
{
	return is_anon(&m->theirs) && is_anon(&m->ours) && m->theirs.swapcache && !m->ours.swapcache;
}

static bool starts_to_leave(const struct meeting *m)
{
	return m->target && leaves_swap_cache(m) && m->ours.dirty &&
	       (m->op->code == OP_WRITE || m->op->code == OP_POPULATE_WRITE || m->op->code == OP_LOCK);
}

/* ---- Refaults ----------------------------------------------------------------------------------------- */

static bool activity_differs(const struct meeting *m)
{
	return kinds_are(m, CELL_PRESENT, CELL_PRESENT) && m->theirs.list != m->ours.list &&
	       (m->theirs.list == ON_ACTIVE || m->ours.list == ON_ACTIVE) &&
	       m->theirs.list != ON_UNEVICTABLE && m->ours.list != ON_UNEVICTABLE;
}

static bool refaults(const struct meeting *m)
{
	return activity_differs(m) && m->theirs.origin < 0 &&
	       (m->theirs_before.kind == CELL_SWAP || m->theirs_before.kind == CELL_NONE);
}

/* ---- POPULATE ----------------------------------------------------------------------------------------- */

static bool was_used(const struct meeting *m)
{
	bool dirtied = m->theirs.dirty && !m->ours.dirty;

	return kinds_are(m, CELL_PRESENT, CELL_PRESENT) && (activity_differs(m) || dirtied);
}

static bool populate_uses(const struct meeting *m)
{
	if (was_used(m) && m->theirs_before.list == ON_UNEVICTABLE && m->theirs.list == ON_ACTIVE)
		return true; /* it shows when it is unlocked */
	return m->target && was_used(m) && (m->theirs.list != ON_INACTIVE || m->theirs.dirty) &&
	       (m->op->code == OP_POPULATE_READ || m->op->code == OP_POPULATE_WRITE ||
		       m->op->code == OP_LOCK);
}

/* ---- The zero page -------------------------------------------------------------------------------------- */

static bool zero_page_is_hidden(const struct meeting *m)
{
	return kinds_are(m, CELL_ZERO, CELL_NONE);
}

static bool hides_zero_page(const struct meeting *m)
{
	return m->target && zero_page_is_hidden(m) && (m->op->code == OP_PROTECT || m->op->code == OP_MOVE);
}

/* ---- Pages of zeros ---------------------------------------------------------------------------------------- */

static bool without_slot(const struct cell *cell)
{
	return cell->kind == CELL_NONE || cell->kind == CELL_ZERO;
}

/* They stay apart until both have written the page and it has left their swap cache. */
static bool zeros_are_apart(const struct meeting *m)
{
	if (without_slot(&m->ours)) /* MADV_FREE empties a swap entry, not the zero page */
		return m->theirs.kind == CELL_SWAP || m->theirs.kind == CELL_NONE || is_anon(&m->theirs);
	if (!is_anon(&m->theirs) || !is_anon(&m->ours))
		return false;
	return without_slot(&m->ours_before) || m->theirs.swapcache != m->ours.swapcache ||
	       m->theirs.dirty != m->ours.dirty;
}

/* In a private mapping a none PTE would mean the file's page. */
static bool zeros_are_written(const struct meeting *m)
{
	if (kinds_are(m, CELL_SWAP, CELL_SWAP))
		return !m->theirs.cached && m->ours.cached;
	return kinds_are(m, CELL_PRESENT, CELL_PRESENT) &&
	       (m->theirs_before.kind == CELL_SWAP || activity_differs(m));
}

static bool zeros_go_out_of_file(const struct meeting *m)
{
	return !m->nonzero && m->op->code == OP_PAGEOUT && zeros_are_written(m) &&
	       m->theirs.kind == CELL_SWAP && is_anon(&m->ours_before) &&
	       m->shape->kind[m->region] != REGION_ANON;
}

/* Of shared memory nobody sees that it went, only that it is another page that came back. */
static bool shared_zeros_differ(const struct meeting *m)
{
	if (kinds_are(m, CELL_NONE, CELL_NONE))
		return m->theirs.cached && !m->ours.cached && m->shape->kind[m->region] != REGION_FILE;
	return kinds_are(m, CELL_PRESENT, CELL_PRESENT) && m->theirs.type == TYPE_SHMEM &&
	       m->ours.type == TYPE_SHMEM && m->theirs.dirty && !m->ours.dirty;
}

static bool shared_zeros_come_back(const struct meeting *m)
{
	return !m->nonzero && shared_zeros_differ(m) && m->theirs.origin < 0 &&
	       (m->theirs_before.kind == CELL_NONE || m->theirs.kind == CELL_NONE);
}

static bool zeros_go_out(const struct meeting *m)
{
	return !m->nonzero && (m->op->code == OP_PAGEOUT || m->op->code == OP_SQUEEZE) &&
	       kinds_are(m, CELL_SWAP, CELL_NONE) && is_anon(&m->ours_before);
}

/* ---- Files ----------------------------------------------------------------------------------------------------- */

static bool read_ahead(const struct meeting *m)
{
	return kinds_are(m, CELL_NONE, CELL_NONE) && m->theirs.cached && !m->ours.cached;
}

static bool reads_ahead(const struct meeting *m)
{
	return page_is_named(m) && read_ahead(m) && m->op->code == OP_WILLNEED &&
	       m->shape->kind[m->region] == REGION_FILE;
}

static bool copy_read_ahead(const struct meeting *m)
{
	return kinds_are(m, CELL_SWAP, CELL_SWAP) && !m->theirs.cached && m->ours.cached;
}

static bool copy_reads_ahead(const struct meeting *m)
{
	return copy_read_ahead(m) && m->op->code == OP_WILLNEED && m->shape->kind[m->region] != REGION_ANON;
}

/* ---- Locked memory --------------------------------------------------------------------------------------------- */

static bool lock_is_late(const struct meeting *m)
{
	return kinds_are(m, CELL_PRESENT, CELL_PRESENT) && m->ours.mlocked && !m->theirs.mlocked;
}

static bool swaps_in_locked(const struct meeting *m)
{
	return m->target && lock_is_late(m) && m->theirs_before.kind == CELL_SWAP;
}

/* It shows till the next ageing: a page that was on no list but unevictable starts as inactive. */
static bool lock_was_late(const struct meeting *m)
{
	return lock_is_late(m) || activity_differs(m);
}

static bool zero_page_is_locked(const struct meeting *m)
{
	if (m->theirs_before.kind == CELL_ZERO && kinds_are(m, CELL_PRESENT, CELL_PRESENT))
		return m->ours_before.kind == CELL_PRESENT;
	return kinds_are(m, CELL_ZERO, CELL_PRESENT) && m->ours.mlocked;
}

static bool locks_zero_page(const struct meeting *m)
{
	return m->target && zero_page_is_locked(m);
}

/* ---- MADV_FREE ------------------------------------------------------------------------------------------------- */

/* Either content is right from now on, the old one or zeros, until the page is written and both agree. */
static bool either_is_right(const struct meeting *m)
{
	bool written = m->target && m->op->code == OP_WRITE;

	return !written || m->at < 0 || cell_compare(&m->theirs, &m->ours);
}

static bool frees_shared(const struct meeting *m)
{
	return page_is_named(m) && m->op->code == OP_FREE && is_anon(&m->theirs) && is_anon(&m->ours) &&
	       m->theirs.type == TYPE_FREE && m->ours.type == TYPE_ANON && m->theirs.mapcount > 1;
}

/* ---- KSM ------------------------------------------------------------------------------------------------------- */

static bool merges(const struct meeting *m)
{
	return m->op->code == OP_MERGE && kinds_are(m, CELL_PRESENT, CELL_PRESENT) &&
	       m->theirs.type == TYPE_KSM && m->ours.type == TYPE_KSM;
}

static bool merged_apart(const struct meeting *m)
{
	return kinds_are(m, CELL_PRESENT, CELL_PRESENT) &&
	       (m->theirs.mapcount != m->ours.mapcount || m->theirs.type != m->ours.type);
}

static bool merges_by_page(const struct meeting *m)
{
	return m->op->code == OP_MERGE && m->any_shared && merged_apart(m);
}

/* ---- The table --------------------------------------------------------------------------------------------------- */

struct difference differences[] = {
	{
		.name = "write-leaves-swap-cache",
		.fields = F_SWAPCACHE | F_DIRTY,
		.theirs = "a page that is alone is written where it is, and stays in the swap cache",
		.ours = "it leaves the swap cache, and is dirty",
		.why = "the life cycle's B4 and 5.4, as Linux 4.0 does; Linux 6 maps such pages writable "
		       "beforehand",
		.starts = starts_to_leave,
		.lasts = leaves_swap_cache,
	},
	{
		.name = "refault-distance",
		.fields = F_LIST,
		.theirs = "a page that comes back is active, or is not, by the lists of the whole machine",
		.ours = "the same rule, by the lists of our small world",
		.why = "the two worlds' lists are not of one length, so the distance is not judged",
		.starts = refaults,
		.lasts = activity_differs,
	},
	{
		.name = "populate-is-a-use",
		.fields = F_LIST | F_DIRTY,
		.theirs = "MADV_POPULATE and mlock of a page that is there count as a use: one dirties it, "
			  "two make it active",
		.ours = "they look whether it is there",
		.why = "an effect of how Linux looks (get_user_pages); the next ageing sees to it by "
		       "accessed bits in both",
		.starts = populate_uses,
		.lasts = was_used,
	},
	{
		.name = "zero-page-hidden",
		.fields = F_KIND,
		.theirs = "mprotect and mremap keep the zero page mapped",
		.ours = "its PTE becomes none; the next touch has it again",
		.why = "nothing is lost or counted by it, and no machine has to hide the zero page",
		.starts = hides_zero_page,
		.lasts = zero_page_is_hidden,
	},
	{
		.name = "zeros-take-no-slot",
		.fields = F_KIND | F_ORIGIN | F_SWAPCACHE | F_DIRTY | F_LIST,
		.theirs = "a page of zeros gets a slot, though nothing is written, and comes back as an "
			  "anonymous page",
		.ours = "it gets none: its PTE is none again, and a read finds the zero page",
		.why = "the life cycle's 4.3 and 8: zero-filled pages take no slot",
		.starts = zeros_go_out,
		.lasts = zeros_are_apart,
	},
	{
		.name = "zeros-over-a-file",
		.fields = F_CACHED | F_ORIGIN | F_LIST,
		.theirs = "a private copy that is all zero goes at once, as any page of zeros",
		.ours = "it is written like other content, and is in the swap cache till the second scan",
		.why = "a PTE that is none would show the file; it costs a write, and nothing else",
		.starts = zeros_go_out_of_file,
		.lasts = zeros_are_written,
	},
	{
		.name = "shared-zeros",
		.fields = F_CACHED | F_DIRTY | F_LIST,
		.theirs = "shared memory that was all zero comes back from its slot, by MADV_WILLNEED too, "
			  "dirty",
		.ours = "it is born again",
		.why = "the same: zero-filled pages take no slot",
		.starts = shared_zeros_come_back,
		.lasts = shared_zeros_differ,
	},
	{
		.name = "no-file-readahead",
		.fields = F_CACHED,
		.theirs = "MADV_WILLNEED reads a file's pages into the page cache",
		.ours = "a file is read when it is touched",
		.why = "an anonymous pager: files are there for their private copies",
		.starts = reads_ahead,
		.lasts = read_ahead,
	},
	{
		.name = "willneed-of-copies",
		.fields = F_CACHED,
		.theirs = "MADV_WILLNEED of a file mapping means the file: private copies stay in swap",
		.ours = "it reads what the address would show",
		.why = "it is advice, and ours is the better answer to it",
		.starts = copy_reads_ahead,
		.lasts = copy_read_ahead,
	},
	{
		.name = "locked-at-swap-in",
		.fields = F_LIST | F_MLOCKED,
		.theirs = "a page that is swapped in to locked memory is found to be locked when reclaim "
			  "meets it",
		.ours = "it is unevictable at once",
		.why = "the list that it ends on is the same; no page of ours is on a list where it does not "
		       "belong",
		.starts = swaps_in_locked,
		.lasts = lock_was_late,
	},
	{
		.name = "locked-zero-page",
		.fields = F_KIND | F_ORIGIN,
		.theirs = "a read of locked memory maps the zero page",
		.ours = "it gives birth to a page",
		.why = "memory that is locked is to need no frame later",
		.starts = locks_zero_page,
		.lasts = zero_page_is_locked,
	},
	{
		.name = "ksm-survivor",
		.fields = F_ORIGIN,
		.theirs = "of two equal pages the frame of the one that the scan met later stays",
		.ours = "the frame of the one that it met first",
		.why = "one of them has to go, and their contents are the same",
		.starts = merges,
	},
	{
		.name = "ksm-by-page",
		.fields = F_ORIGIN | F_PARTNER | F_MAPCOUNT | F_TYPE | F_LIST | F_SWAPCACHE | F_DIRTY,
		.theirs = "KSM takes PTE by PTE: of a page that others map, too, the mergeable mappings are "
			  "merged",
		.ours = "it takes a page with all its mappings, if all of them are mergeable",
		.why = "less is merged after a fork without MADV_MERGEABLE, and nothing else differs",
		.starts = merges_by_page,
		.lasts = merged_apart,
	},
	{
		.name = "free-of-shared-pages",
		.fields = F_PAGE | F_VALUE,
		.theirs = "MADV_FREE takes a page that others map for lazily freed, too; their dirty PTEs "
			  "save it",
		.ours = "a page that others map stays what it is, also when it is alone later",
		.why = "it is advice: till the next write the page may hold its content, or zeros",
		.starts = frees_shared,
		.lasts = either_is_right,
		.clings = true,
	},
};

const unsigned nr_differences = sizeof(differences) / sizeof(differences[0]);

static bool holds(const struct difference *d, const struct meeting *m, bool held)
{
	return d->starts(m) || (held && d->lasts && d->lasts(m));
}

unsigned differences_excuse(const struct meeting *m, unsigned differ, uint64_t *in_effect)
{
	unsigned left = differ;
	uint64_t held = *in_effect;

	*in_effect = 0;
	for (unsigned i = 0; i < nr_differences; i++) {
		struct difference *d = &differences[i];

		if (d->clings && (held & 1ull << i) && d->lasts(m))
			*in_effect |= 1ull << i;
		if (!(left & d->fields) || !holds(d, m, held & 1ull << i))
			continue;
		d->used++;
		d->begun += !(held & 1ull << i);
		left &= ~d->fields;
		if (d->lasts)
			*in_effect |= 1ull << i;
	}
	return left;
}

void differences_print(bool used_only)
{
	for (unsigned i = 0; i < nr_differences; i++) {
		const struct difference *d = &differences[i];

		if (used_only && !d->used)
			continue;
		printf("%s: began %u times, excused %u comparisons\n", d->name, d->begun, d->used);
		printf("    Linux: %s\n    ours:  %s\n    why:   %s\n", d->theirs, d->ours, d->why);
	}
}

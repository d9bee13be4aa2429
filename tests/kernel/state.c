/* SPDX-License-Identifier: MIT */
/* Cells; see state.h. */
#include "state.h"

#include <string.h>

static int first_with_frame(const struct world_state *state, uint64_t frame)
{
	for (int i = 0; i < NR_CELLS; i++)
		if (state->cells[i].kind != CELL_ABSENT && state->cells[i].frame == frame)
			return i;
	return -1;
}

static int first_with_slot(const struct world_state *state, uint64_t slot)
{
	for (int i = 0; i < NR_CELLS; i++)
		if (state->cells[i].kind == CELL_SWAP && state->cells[i].slot == slot)
			return i;
	return -1;
}

void state_relate(struct world_state *now, const struct world_state *before)
{
	for (int i = 0; i < NR_CELLS; i++) {
		struct cell *cell = &now->cells[i];

		cell->origin = cell->partner = -1;
		if (cell->kind != CELL_PRESENT)
			cell->frame =
				cell->kind == CELL_SWAP && cell->cached ? before->cells[i].frame : NO_FRAME;
	}
	for (int i = 0; i < NR_CELLS; i++) {
		struct cell *cell = &now->cells[i];

		if (cell->kind == CELL_SWAP) {
			cell->partner = first_with_slot(now, cell->slot);
		} else if (cell->kind == CELL_PRESENT) {
			cell->origin = first_with_frame(before, cell->frame);
			cell->partner = first_with_frame(now, cell->frame);
		}
	}
}

unsigned cell_compare(const struct cell *a, const struct cell *b)
{
	unsigned differ = 0;

	if (a->kind != b->kind)
		return F_KIND;
	if (a->kind == CELL_NONE || a->kind == CELL_SWAP)
		differ |= a->cached != b->cached ? F_CACHED : 0;
	if (a->kind == CELL_SWAP || a->kind == CELL_PRESENT)
		differ |= a->partner != b->partner ? F_PARTNER : 0;
	if (a->kind != CELL_PRESENT)
		return differ;
	differ |= a->origin != b->origin ? F_ORIGIN : 0;
	differ |= a->mapcount != b->mapcount ? F_MAPCOUNT : 0;
	differ |= a->type != b->type ? F_TYPE : 0;
	differ |= a->list != b->list ? F_LIST : 0;
	differ |= a->swapcache != b->swapcache ? F_SWAPCACHE : 0;
	differ |= a->dirty != b->dirty ? F_DIRTY : 0;
	differ |= a->mlocked != b->mlocked ? F_MLOCKED : 0;
	return differ;
}

void cell_name(int at, char *buf, size_t len)
{
	int page = at % MAX_PAGES, region = at / MAX_PAGES % MAX_REGIONS, proc = at / MAX_PAGES / MAX_REGIONS;

	snprintf(buf, len, "%d:%c%d", proc, 'A' + region, page);
}

static void print_present(const struct cell *cell, int self, char *buf, size_t len)
{
	static const char *const types[] = {"?", "anon", "lazyfree", "ksm", "file", "shmem"};
	static const char *const lists[] = {"no list", "inactive", "active", "unevictable"};
	char frame[32] = "new frame", with[32] = "", name[16];

	cell_name(cell->origin, name, sizeof(name));
	if (cell->origin == self)
		snprintf(frame, sizeof(frame), "same frame");
	else if (cell->origin >= 0)
		snprintf(frame, sizeof(frame), "frame of %s", name);
	cell_name(cell->partner, name, sizeof(name));
	if (cell->partner != self)
		snprintf(with, sizeof(with), " with %s", name);
	snprintf(buf, len, "present: %s%s, mapped %u, %s, %s%s%s%s", frame, with, cell->mapcount,
		types[cell->type], lists[cell->list], cell->swapcache ? " swapcache" : "",
		cell->dirty ? " dirty" : "", cell->mlocked ? " mlocked" : "");
}

void cell_print(const struct cell *cell, int self, char *buf, size_t len)
{
	char name[16];

	switch (cell->kind) {
	case CELL_ABSENT:
		snprintf(buf, len, "not mapped");
		break;
	case CELL_NONE:
		snprintf(buf, len, "none%s", cell->cached ? " (cached)" : "");
		break;
	case CELL_ZERO:
		snprintf(buf, len, "zero page");
		break;
	case CELL_SWAP:
		cell_name(cell->partner, name, sizeof(name));
		snprintf(buf, len, "swap%s%s%s", cell->cached ? " (cached)" : "",
			cell->partner == self ? "" : " with ", cell->partner == self ? "" : name);
		break;
	case CELL_PRESENT:
		print_present(cell, self, buf, len);
		break;
	}
}

const char *field_name(enum field field)
{
	switch (field) {
	case F_KIND:
		return "PTE";
	case F_ORIGIN:
		return "frame";
	case F_PARTNER:
		return "shared with";
	case F_CACHED:
		return "cached";
	case F_MAPCOUNT:
		return "mapped";
	case F_TYPE:
		return "type";
	case F_LIST:
		return "list";
	case F_SWAPCACHE:
		return "swap cache";
	case F_DIRTY:
		return "dirty";
	case F_MLOCKED:
		return "mlocked";
	case F_RESULT:
		return "result";
	case F_VALUE:
		return "value";
	default:
		return "?";
	}
}

/* SPDX-License-Identifier: MIT */
/* A walk as JSON. */
#include "cli/walk_tell.h"
#include "trace/linux40.h"

#include <stdio.h>
#include <string.h>

/* Texts of our own: only quotes and backslashes need care. */
static void text(const char *name, const char *value, const char *end)
{
	printf("\"%s\":", name);
	if (!value) {
		printf("null%s", end);
		return;
	}
	printf("\"");
	for (; *value; value++)
		printf("%s%c", *value == '"' || *value == '\\' ? "\\" : "", *value);
	printf("\"%s", end);
}

static void flag_list(uint32_t flags)
{
	char words[160];
	const char *separator = "";

	page_flags_text(flags, words, sizeof(words));
	printf("\"flags\":[");
	for (char *word = strtok(words, "|"); word; word = strtok(NULL, "|")) {
		printf("%s\"%s\"", separator, word);
		separator = ",";
	}
	printf("]");
}

static void state(const char *who, int count, int mapcount, const char *list, const char *pte, uint32_t flags)
{
	printf("\"%s\":{\"_count\":%d,\"_mapcount\":%d,", who, count, mapcount);
	text("list", list, ",");
	text("pte", pte, ",");
	flag_list(flags);
}

static void live(const struct walk_row *row)
{
	const struct page_view *view = &row->view;
	char pte[64], frame[2] = {row->frame, '\0'};

	state("live", view->count, view->mapcount, view->list, walk_pte_text(view, pte, sizeof(pte)),
		view->flags);
	printf(",");
	text("frame", row->frame == '-' ? NULL : frame, "");
	if (view->swap_count >= 0)
		printf(",\"slot\":\"%u:%u\",\"slot_named_by\":%d", view->swap_type, view->swap_slot,
			view->swap_count);
	printf("},");
}

static void as_linux(const struct page_view *view)
{
	struct linux40_page page = linux40_page_of(view);
	char pte[64], line[300], both[400];

	linux40_page_text(&page, line, sizeof(line));
	snprintf(both, sizeof(both), "%s%s%s", linux40_pte_text(view, pte, sizeof(pte)),
		view->pfn == PFN_NONE ? "" : " ", view->pfn == PFN_NONE ? "" : line);
	text("linux-4.0", both, ",");
}

void json_begin(struct teller *teller)
{
	if (teller->all && teller->nr_scenarios > 1)
		printf(",\n");
	printf("{");
	text("scenario", teller->scenario->name, ",");
	text("summary", teller->scenario->summary, ",");
	text("spec", teller->scenario->spec, ",");
	text("machine", teller->machine, ",");
	printf("\"steps\":[\n");
}

void json_row(struct teller *teller, const struct walk_row *row)
{
	static const char *const verdicts[] = {
		[WALK_AGREES] = "agrees",
		[WALK_DIFFERS] = "differs",
		[WALK_MISSING] = "missing",
	};
	const struct walk_state *spec = &row->expect->state;

	printf("%s{\"number\":%u,", row->number == 1 ? "" : ",\n", row->number);
	text("scene", row->scene->title, ",");
	text("step", row->expect->step, ",");
	text("function", row->expect->function, ",");
	text("seen_by", row->eye, ",");
	if (row->verdict != WALK_MISSING) {
		live(row);
		if (teller->as_linux)
			as_linux(&row->view);
	}
	state("spec", spec->count, spec->mapcount, spec->list, walk_expected_pte_text(spec->pte),
		spec->flags);
	printf("},");
	text("why", row->expect->why, ",");
	text("article", row->expect->article, ",");
	text("difference", row->difference, ",");
	text("verdict", verdicts[row->verdict], "}");
}

void json_end(struct teller *teller, const char *untold)
{
	printf("],");
	text("not_on_this_machine", untold, ",");
	printf("\"differing\":%u}", teller->nr_differing);
}

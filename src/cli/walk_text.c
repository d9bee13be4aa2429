/* SPDX-License-Identifier: MIT */
/* A walk as text for a reader, in 100 columns. */
#include "cli/walk_tell.h"
#include "trace/linux40.h"

#include <stdio.h>
#include <string.h>

#define TEXT_WIDTH 100
#define TEXT_INDENT 6

#define BOLD "\033[1m"
#define DIM "\033[2m"
#define GREEN "\033[32m"
#define RED "\033[31m"
#define PLAIN "\033[0m"

static const char *paint(const struct teller *teller, const char *code)
{
	return teller->colour ? code : "";
}

/* @text in lines. */
static void print_paragraph(const char *text)
{
	int column = TEXT_INDENT - 1;

	printf("%*s", TEXT_INDENT - 1, "");
	while (*text) {
		int word = (int)strcspn(text, " ");

		if (column + 1 + word > TEXT_WIDTH) {
			printf("\n%*s", TEXT_INDENT - 1, "");
			column = TEXT_INDENT - 1;
		}
		printf(" %.*s", word, text);
		column += word + 1;
		text += word + (text[word] == ' ');
	}
	printf("\n");
}

/* The article's words, in quotes. */
static void print_article(const struct teller *teller, const char *text)
{
	char quoted[400];

	snprintf(quoted, sizeof(quoted), "Article: \"%s\"", text);
	printf("%s", paint(teller, DIM));
	print_paragraph(quoted);
	printf("%s", paint(teller, PLAIN));
}

/* ---- States ------------------------------------------------------------------------------ */

/* "2", or "1 -> 2" when it was another before. */
static const char *number_text(int now, const int *before, char *buf, size_t len)
{
	if (before && *before != now)
		snprintf(buf, len, "%d -> %d", *before, now);
	else
		snprintf(buf, len, "%d", now);
	return buf;
}

static const char *list_text(const char *now, const char *before, char *buf, size_t len)
{
	if (before && strcmp(before, now))
		snprintf(buf, len, "%s -> %s", before, now);
	else
		snprintf(buf, len, "%s", now);
	return buf;
}

/* Returns how many columns it took. */
static int print_flags(const struct teller *teller, const char *sign, const char *colour, uint32_t flags)
{
	char words[160];
	int columns = 0;

	page_flags_text(flags, words, sizeof(words));
	for (char *word = strtok(words, "|"); word; word = strtok(NULL, "|")) {
		printf(" %s%s%s%s", paint(teller, colour), sign, word, paint(teller, PLAIN));
		columns += 1 + (int)(strlen(sign) + strlen(word));
	}
	return columns;
}

static void print_slot(const struct page_view *view, int column)
{
	char text[64];

	if (view->swap_count >= 0) {
		snprintf(text, sizeof(text), "   slot %u:%u, named by %d PTE%s", view->swap_type,
			view->swap_slot, view->swap_count, view->swap_count == 1 ? "" : "s");
		if (column + (int)strlen(text) > TEXT_WIDTH)
			printf("\n%*s%s", TEXT_INDENT + 3, "", text + 3);
		else
			printf("%s", text);
	}
	printf("\n");
}

/* The state, and what this step has changed of it. */
static void print_live(const struct teller *teller, const struct walk_row *row)
{
	const struct page_view *now = &row->view;
	const struct page_view *before =
		teller->has_before[(int)row->frame] ? &teller->before[(int)row->frame] : NULL;
	char count[32], mapcount[32], list[48], pte[64], where[96];
	int column = TEXT_INDENT + 2;

	snprintf(where, sizeof(where), "%s%s%s", row->eye ? row->eye : "", row->eye ? ": " : "",
		walk_pte_text(now, pte, sizeof(pte)));
	if (now->pfn == PFN_NONE) {
		printf("%*sno frame   PTE %s", TEXT_INDENT, "", where);
		print_slot(now, TEXT_INDENT + 16 + (int)strlen(where));
		return;
	}
	printf("%*s%c  _count %-7s  _mapcount %-8s  %-22s  %s\n", TEXT_INDENT, "", row->frame,
		number_text(now->count, before ? &before->count : NULL, count, sizeof(count)),
		number_text(now->mapcount, before ? &before->mapcount : NULL, mapcount, sizeof(mapcount)),
		list_text(now->list, before ? before->list : NULL, list, sizeof(list)), where);
	printf("%*s", TEXT_INDENT + 2, "");
	column += print_flags(teller, "", "", before ? now->flags & before->flags : now->flags);
	if (before) {
		column += print_flags(teller, "+", GREEN, now->flags & ~before->flags);
		column += print_flags(teller, "-", RED, before->flags & ~now->flags);
	}
	print_slot(now, column);
}

/* As the kernel's own lines, in two: they are longer than a line. */
static void print_linux(const struct page_view *view)
{
	struct linux40_page page = linux40_page_of(view);
	const char *pte_text;
	char text[300], pte[64], *mapping;
	bool present = view->pte == PTE_KIND_PRESENT;

	pte_text = linux40_pte_text(view, pte, sizeof(pte));
	if (view->pfn == PFN_NONE) {
		printf("%*s%s\n", TEXT_INDENT, "", pte_text);
		return;
	}
	linux40_page_text(&page, text, sizeof(text));
	mapping = strstr(text, " mapping=");
	printf("%*s%s%spfn=%x %.*s\n", TEXT_INDENT, "", present ? pte_text : "", present ? " " : "",
		view->pfn, (int)(mapping - text), text);
	printf("%*s%s%s%s\n", TEXT_INDENT + 1, "", mapping,
		present ? "" : "   PTE: ", present ? "" : pte_text);
}

static void print_spec(const struct teller *teller, const struct walk_row *row)
{
	const struct walk_state *spec = &row->expect->state;

	printf("%*s%sthe spec: _count %d, _mapcount %d, %s, PTE %s,", TEXT_INDENT, "", paint(teller, RED),
		spec->count, spec->mapcount, spec->list, walk_expected_pte_text(spec->pte));
	print_flags(teller, "", RED, spec->flags);
	printf("\n%*s%sdiffers: %s%s\n", TEXT_INDENT, "", paint(teller, RED),
		row->verdict == WALK_MISSING ? "this function never ran for the page" : row->difference,
		paint(teller, PLAIN));
}

/* ---- One step ---------------------------------------------------------------------------------- */

static const char *mark(const struct teller *teller, bool agrees)
{
	if (teller->utf8)
		return agrees ? "✓" : "✗";
	return agrees ? "=" : "X";
}

static void print_heading(const struct teller *teller, const struct walk_row *row)
{
	bool agrees = row->verdict == WALK_AGREES, look = !strcmp(row->expect->function, WALK_LOOK);
	int room = TEXT_WIDTH - TEXT_INDENT - (int)strlen(row->expect->step);

	printf("\n%s%s%s %2u  %s%s%s", paint(teller, agrees ? GREEN : RED), mark(teller, agrees),
		paint(teller, PLAIN), row->number, paint(teller, BOLD), row->expect->step,
		paint(teller, PLAIN));
	if (look)
		printf("\n");
	else
		printf("%*s()\n", room - 2, row->expect->function);
}

void text_row(struct teller *teller, const struct walk_row *row)
{
	if (row->scene_begins) {
		printf("\n%s%s", paint(teller, BOLD), paint(teller, DIM));
		printf("--- %s%s\n", row->scene->title, paint(teller, PLAIN));
	}
	print_heading(teller, row);
	if (row->verdict != WALK_MISSING && teller->as_linux)
		print_linux(&row->view);
	else if (row->verdict != WALK_MISSING)
		print_live(teller, row);
	if (row->verdict != WALK_AGREES)
		print_spec(teller, row);
	if (row->verdict == WALK_MISSING)
		return;
	print_paragraph(row->expect->why);
	if (row->expect->article)
		print_article(teller, row->expect->article);
	teller->before[(int)row->frame] = row->view;
	teller->has_before[(int)row->frame] = strcmp(row->view.list, "free") != 0;
}

/* ---- A scenario ------------------------------------------------------------------------------- */

void text_begin(struct teller *teller)
{
	if (teller->all && teller->nr_scenarios > 1)
		printf("\n\n");
	printf("%s%s%s: %s\n", paint(teller, BOLD), teller->scenario->name, paint(teller, PLAIN),
		teller->scenario->summary);
	printf("%son the %s machine; shows %s of the spec%s\n", paint(teller, DIM), teller->machine,
		teller->scenario->spec, paint(teller, PLAIN));
}

void text_end(struct teller *teller, const char *untold)
{
	if (untold) {
		char text[500];

		snprintf(text, sizeof(text), "Not on this machine: %s.", untold);
		print_paragraph(text);
		return;
	}
	printf("\n%u step%s, %u agree with the spec, %u differ\n", teller->nr_steps,
		teller->nr_steps == 1 ? "" : "s", teller->nr_steps - teller->nr_differing,
		teller->nr_differing);
}

void text_end_all(const struct teller *teller)
{
	printf("\n\n%u scenarios told, %u not on this machine; %u steps, %u agree with the spec, %u differ\n",
		teller->nr_scenarios - teller->nr_untold, teller->nr_untold, teller->all_steps,
		teller->all_steps - teller->all_differing, teller->all_differing);
}

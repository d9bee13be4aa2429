/* SPDX-License-Identifier: MIT */
/*
 * `anonmm walk`: the life of one page, told step by step, and compared with the spec.
 *
 * src/trace/walk.h finds out; here it is only written down: as text for a reader, or as JSON.
 */
#define _GNU_SOURCE
#include "trace/walk.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int cmd_walk(int argc, char **argv);

#define EXIT_DIFFERS 1
#define EXIT_OURS 125

#define TEXT_WIDTH 100
#define TEXT_INDENT 7

static const char usage[] =
	"Usage: anonmm walk [--machine soft|uffd] [--scenario NAME] [--json]\n"
	"\n"
	"Follow one anonymous page through its life, in a small pager with real memory pressure.\n"
	"For each step: the function that completed it, the page's _count and _mapcount, its list,\n"
	"its PTE and its flags, read from the live structures at that moment, beside what the\n"
	"spec says. What differs is marked and said.\n"
	"\n"
	"  --machine soft   frames in an arena, page tables walked by code (the default)\n"
	"  --machine uffd   real memory of this process, by userfaultfd\n"
	"  --scenario NAME  which history; --scenario list names them (default: life)\n"
	"  --json           the same as one JSON object\n"
	"  --help           this text\n"
	"\n"
	"Exit status: 0 all steps agree, 1 some differ, 125 the walk could not be made.\n";

struct teller {
	const struct walk_scenario *scenario;
	const char *machine;
	bool json, utf8, colour;
	struct page_view before; /* of the step before, to say what changed */
	bool has_before;
	unsigned nr_steps;
};

/* ---- Text ------------------------------------------------------------------------------ */

static const char *paint(const struct teller *teller, const char *code)
{
	return teller->colour ? code : "";
}

#define BOLD "\033[1m"
#define DIM "\033[2m"
#define GREEN "\033[32m"
#define RED "\033[31m"
#define PLAIN "\033[0m"

/* Flags as words with spaces, in the core's own order. */
static const char *flag_words(uint32_t flags, char *buf, size_t len)
{
	page_flags_text(flags, buf, len);
	for (char *c = buf; *c; c++)
		if (*c == '|')
			*c = ' ';
	return buf;
}

static void print_wrapped(const char *text)
{
	int column = TEXT_INDENT;

	printf("%*s", TEXT_INDENT - 1, "");
	while (*text) {
		int word = (int)strcspn(text, " ");

		if (column + word > TEXT_WIDTH) {
			printf("\n%*s", TEXT_INDENT - 1, "");
			column = TEXT_INDENT;
		}
		printf(" %.*s", word, text);
		column += word + 1;
		text += word + (text[word] == ' ');
	}
	printf("\n");
}

static void print_state(
	const char *who, int count, int mapcount, const char *list, const char *pte, uint32_t flags)
{
	char words[160];

	printf("%*s%-5s %6d %9d  %-9s %-19s %s\n", TEXT_INDENT, "", who, count, mapcount, list, pte,
		flag_words(flags, words, sizeof(words)));
}

static void print_change(const char *name, int before, int now, const char **separator)
{
	if (before == now)
		return;
	printf("%s%s %d -> %d", *separator, name, before, now);
	*separator = ", ";
}

static void print_flag_change(const char *sign, uint32_t flags, const char **separator)
{
	char words[160];

	flag_words(flags, words, sizeof(words));
	for (char *word = strtok(words, " "); word; word = strtok(NULL, " ")) {
		printf("%s%s%s", *separator, sign, word);
		*separator = " ";
	}
}

/* What this step changed, counted from the step before it. */
static void print_changes(struct teller *teller, const struct page_view *now)
{
	const struct page_view *before = &teller->before;
	const char *separator = "";

	if (!teller->has_before)
		return;
	printf("%*s%schange%s ", TEXT_INDENT, "", paint(teller, DIM), paint(teller, PLAIN));
	print_change("_count", before->count, now->count, &separator);
	print_change("_mapcount", before->mapcount, now->mapcount, &separator);
	if (strcmp(before->list, now->list)) {
		printf("%s%s -> %s", separator, before->list, now->list);
		separator = ", ";
	}
	if (*separator)
		separator = "; ";
	print_flag_change("+", now->flags & ~before->flags, &separator);
	print_flag_change("-", before->flags & ~now->flags, &separator);
	printf("%s\n", *separator ? "" : "none");
}

static const char *mark(const struct teller *teller, enum walk_verdict verdict)
{
	switch (verdict) {
	case WALK_AGREES:
		return teller->utf8 ? "✓" : "=";
	case WALK_DIFFERS:
	case WALK_MISSING:
		return teller->utf8 ? "✗" : "X";
	}
	return "?";
}

static void tell_text(void *ctx, const struct walk_row *row)
{
	struct teller *teller = ctx;
	const struct walk_state *spec = &row->expect->state;
	bool agrees = row->verdict == WALK_AGREES;
	char pte[64];

	if (row->scene_begins)
		printf("\n%s%s%s\n", paint(teller, BOLD), row->scene->title, paint(teller, PLAIN));
	printf("\n%s%s%s %3u  %-44s %s%s()%s\n", paint(teller, agrees ? GREEN : RED),
		mark(teller, row->verdict), paint(teller, PLAIN), row->number, row->expect->step,
		paint(teller, BOLD), row->expect->function, paint(teller, PLAIN));
	if (row->verdict != WALK_MISSING) {
		print_state("live", row->view.count, row->view.mapcount, row->view.list,
			walk_pte_text(&row->view, pte, sizeof(pte)), row->view.flags);
	}
	print_state("spec", spec->count, spec->mapcount, spec->list, walk_expected_pte_text(spec->pte),
		spec->flags);
	if (row->verdict == WALK_DIFFERS)
		printf("%*s%sdiffers: %s%s\n", TEXT_INDENT, "", paint(teller, RED), row->difference,
			paint(teller, PLAIN));
	if (row->verdict == WALK_MISSING) {
		printf("%*s%sdiffers: this function never ran for the page%s\n", TEXT_INDENT, "",
			paint(teller, RED), paint(teller, PLAIN));
		return;
	}
	print_changes(teller, &row->view);
	print_wrapped(row->expect->why);
	teller->before = row->view;
	teller->has_before = strcmp(row->view.list, "free") != 0;
}

static void begin_text(const struct teller *teller)
{
	printf("%s%s%s, on the %s machine\n", paint(teller, BOLD), teller->scenario->summary,
		paint(teller, PLAIN), teller->machine);
	printf("\n%*s%-5s %6s %9s  %-9s %-19s %s\n", TEXT_INDENT, "", "", "_count", "_mapcount", "list",
		"PTE", "flags (PG_)");
}

static void end_text(const struct teller *teller, int differing)
{
	printf("\n%u steps, %u agree with the spec, %d differ\n", teller->nr_steps,
		teller->nr_steps - (unsigned)differing, differing);
}

/* ---- JSON ------------------------------------------------------------------------------ */

/* Texts of our own: only quotes and backslashes need care. */
static void json_text(const char *name, const char *text, const char *end)
{
	printf("\"%s\":\"", name);
	for (; *text; text++)
		printf("%s%c", *text == '"' || *text == '\\' ? "\\" : "", *text);
	printf("\"%s", end);
}

static void json_flags(uint32_t flags)
{
	char words[160];
	const char *separator = "";

	flag_words(flags, words, sizeof(words));
	printf("\"flags\":[");
	for (char *word = strtok(words, " "); word; word = strtok(NULL, " ")) {
		printf("%s\"%s\"", separator, word);
		separator = ",";
	}
	printf("]");
}

static void json_state(
	const char *who, int count, int mapcount, const char *list, const char *pte, uint32_t flags)
{
	printf("\"%s\":{\"_count\":%d,\"_mapcount\":%d,", who, count, mapcount);
	json_text("list", list, ",");
	json_text("pte", pte, ",");
	json_flags(flags);
	printf("},");
}

static void tell_json(void *ctx, const struct walk_row *row)
{
	static const char *const verdicts[] = {
		[WALK_AGREES] = "agrees",
		[WALK_DIFFERS] = "differs",
		[WALK_MISSING] = "missing",
	};
	const struct walk_state *spec = &row->expect->state;
	char pte[64];

	(void)ctx;
	printf("%s{\"number\":%u,", row->number == 1 ? "" : ",\n", row->number);
	json_text("scene", row->scene->title, ",");
	json_text("step", row->expect->step, ",");
	json_text("function", row->expect->function, ",");
	if (row->verdict == WALK_AGREES || row->verdict == WALK_DIFFERS)
		json_state("live", row->view.count, row->view.mapcount, row->view.list,
			walk_pte_text(&row->view, pte, sizeof(pte)), row->view.flags);
	json_state("spec", spec->count, spec->mapcount, spec->list, walk_expected_pte_text(spec->pte),
		spec->flags);
	json_text("difference", row->difference, ",");
	json_text("verdict", verdicts[row->verdict], "}");
}

static void begin_json(const struct teller *teller)
{
	printf("{");
	json_text("scenario", teller->scenario->name, ",");
	json_text("machine", teller->machine, ",");
	printf("\"steps\":[\n");
}

/* ---- The command ----------------------------------------------------------------------- */

static void tell(void *ctx, const struct walk_row *row)
{
	struct teller *teller = ctx;

	teller->nr_steps++;
	(teller->json ? tell_json : tell_text)(ctx, row);
}

static int walk(struct teller *teller, enum anonmm_machine machine)
{
	char why[400];
	int differing;

	(teller->json ? begin_json : begin_text)(teller);
	differing = walk_run(teller->scenario, machine, tell, teller, why, sizeof(why));
	if (teller->json) {
		printf("],\"differing\":%d}\n", differing < 0 ? -1 : differing);
	} else if (differing >= 0) {
		end_text(teller, differing);
	}
	if (differing < 0) {
		fprintf(stderr, "anonmm walk: %s\n", why);
		return EXIT_OURS;
	}
	return differing ? EXIT_DIFFERS : 0;
}

static bool locale_is_utf8(void)
{
	static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const char *value = getenv(names[i]);

		if (value && *value)
			return strcasestr(value, "utf-8") || strcasestr(value, "utf8");
	}
	return false;
}

static int list_scenarios(void)
{
	for (unsigned i = 0; i < nr_walk_scenarios; i++)
		printf("%-14s %s\n", walk_scenarios[i]->name, walk_scenarios[i]->summary);
	return 0;
}

static int refuse(const char *what, const char *given, const char *known)
{
	fprintf(stderr, "anonmm walk: %s '%s' was asked for: %s\n", what, given, known);
	return EXIT_OURS;
}

int cmd_walk(int argc, char **argv)
{
	static const struct option options[] = {
		{"machine", required_argument, NULL, 'm'},
		{"scenario", required_argument, NULL, 's'},
		{"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	struct teller teller = {.machine = "soft", .scenario = walk_scenario_find("life")};
	int option;

	optind = 1;
	while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (option) {
		case 'm':
			teller.machine = optarg;
			break;
		case 's':
			if (!strcmp(optarg, "list"))
				return list_scenarios();
			teller.scenario = walk_scenario_find(optarg);
			if (!teller.scenario)
				return refuse("scenario", optarg, "see --scenario list");
			break;
		case 'j':
			teller.json = true;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			fputs("Try 'anonmm walk --help'.\n", stderr);
			return EXIT_OURS;
		}
	}
	if (optind < argc)
		return refuse("argument", argv[optind], "walk takes none; see --help");
	if (strcmp(teller.machine, "soft") && strcmp(teller.machine, "uffd"))
		return refuse("machine", teller.machine, "there are soft and uffd");
	teller.utf8 = locale_is_utf8();
	teller.colour = isatty(STDOUT_FILENO) && !getenv("NO_COLOR");
	return walk(&teller, strcmp(teller.machine, "uffd") ? ANONMM_SOFT : ANONMM_UFFD);
}

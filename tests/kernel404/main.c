/* SPDX-License-Identifier: MIT */
/*
 * kernel404: replay the histories, judge them, show that the judge would notice a difference, and print the table. See
 * judge.h.
 *
 *      kernel404 [-v] tests/data/linux-4.0.4.txt
 */
#include "judge.h"
#include "replay.h"

#include <stdio.h>
#include <string.h>

/*
 * A judge that finds nothing proves something only if it would have found something: with one fact of one
 * line changed, for every fact of every line that it has compared, it must find a difference.
 */
static unsigned unnoticed(const struct judge *judge, struct observed_line *line)
{
	const struct observed_line right = *line;
	unsigned missed = 0;

	for (int fact = 0; fact < 4; fact++) {
		static struct judge again;

		again = (struct judge){.observed = judge->observed,
			.world = judge->world,
			.section = judge->section,
			.quiet = true};
		if (!line->has_page && fact != 3)
			continue;
		switch (fact) {
		case 0:
			line->page.count += 7;
			break;
		case 1:
			line->page.mapcount += 7;
			break;
		case 2:
			line->page.flags ^= linux40_flag("uptodate", 8) | linux40_flag("unevictable", 11);
			break;
		case 3:
			if (line->kind != LINE_SEEN)
				continue;
			snprintf(line->pte, sizeof(line->pte), "%s",
				strcmp(right.pte, "NONE") ? "NONE" : "PRESENT");
		}
		judge_lines(&again);
		missed += again.nr_different == 0;
		*line = right;
	}
	return missed;
}

static bool was_compared(const struct judge *judge, const struct observed_line *line)
{
	static struct judge before, alone;

	alone = before = (struct judge){
		.observed = judge->observed, .world = judge->world, .section = judge->section, .quiet = true};
	for (unsigned i = 0; i < judge->observed->nr_lines && &judge->observed->lines[i] <= line; i++)
		if (judge->observed->lines[i].section == judge->section) {
			before.nr_compared = alone.nr_compared;
			judge_line(&alone, &judge->observed->lines[i]);
		}
	return alone.nr_compared > before.nr_compared;
}

/* Returns how many changed facts were not noticed; *facts: how many lines were changed. */
static unsigned prove_section(const struct judge *judge, struct observed *observed, unsigned *lines)
{
	unsigned missed = 0;

	for (unsigned i = 0; i < observed->nr_lines; i++) {
		struct observed_line *line = &observed->lines[i];
		unsigned n;

		if (line->section != judge->section || !was_compared(judge, line))
			continue;
		n = unnoticed(judge, line);
		if (n)
			judge_say("UNNOTICED", line, "with a fact of it changed, no difference was found");
		missed += n;
		(*lines)++;
	}
	return missed;
}

static int replay_section(struct judge *judge, unsigned section)
{
	bool moves = strstr(judge->observed->sections[section], "migration") != NULL;
	char why[400];
	int error = walk_world_open(
		judge->world, ANONMM_SOFT, moves ? WALK_TWO_NODES : 0, PAGER_NO_SHADOWS, why, sizeof(why));

	judge->section = section;
	if (error) {
		printf("%s\n", why);
		return error;
	}
	error = replay(judge->world, judge->observed->sections[section]);
	if (error)
		printf("%s: the replay stopped: %s\n", judge->observed->sections[section], strerror(-error));
	return error;
}

static void print_reasons(const char *title, const struct reasons *reasons)
{
	printf("\n%s\n", title);
	for (unsigned i = 0; i < reasons->nr; i++)
		printf("%6u  %s\n", reasons->at[i].lines, reasons->at[i].text);
}

static void print_row(const char *name, const struct judge *now, const struct judge *before)
{
	printf("%-22s %6u %9u %6u %10u %8u %10u\n", name, now->nr_lines - before->nr_lines,
		now->nr_compared - before->nr_compared, now->nr_equal - before->nr_equal,
		now->nr_explained - before->nr_explained, now->nr_without - before->nr_without,
		now->nr_different - before->nr_different);
}

static void print_table(const struct observed *observed, const struct judge *after)
{
	static const struct judge none;

	printf("%-22s %6s %9s %6s %10s %8s %10s\n", "Linux 4.0.4", "lines", "compared", "equal", "explained",
		"without", "different");
	for (unsigned s = 0; s < observed->nr_sections; s++)
		print_row(observed->sections[s], &after[s], s ? &after[s - 1] : &none);
	after += observed->nr_sections - 1;
	print_row("all", after, &none);
	print_reasons("Equal, once this is taken into account:", &after->explained);
	print_reasons("Without a counterpart:", &after->without);
}

int main(int argc, char **argv)
{
	static struct observed observed;
	static struct walk_world world;
	static struct judge judge = {.observed = &observed, .world = &world}, after[MAX_SECTIONS];
	unsigned proved = 0, missed = 0;
	bool stopped = false;

	if (argc > 2 && !strcmp(argv[1], "-v")) {
		judge.verbose = true;
		argv++, argc--;
	}
	if (argc != 2 || observed_read(&observed, argv[1])) {
		fprintf(stderr, "usage: kernel404 [-v] tests/data/linux-4.0.4.txt\n");
		return 2;
	}
	for (unsigned s = 0; s < observed.nr_sections; s++) {
		stopped |= replay_section(&judge, s) != 0;
		judge_lines(&judge);
		after[s] = judge;
		missed += prove_section(&judge, &observed, &proved);
		walk_world_close(&world);
	}
	print_table(&observed, after);
	printf("\nEach fact of each of %u lines was changed in turn: %u changes were not noticed\n", proved,
		missed);
	return judge.nr_different || stopped || missed ? 1 : 0;
}

/* SPDX-License-Identifier: MIT */
/* See observed.h. */
#include "observed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool parse_flags(const char *words, uint32_t *flags)
{
	*flags = 0;
	while (*words && *words != ' ') {
		size_t len = strcspn(words, "| ");
		uint32_t flag = linux40_flag(words, len);

		if (!flag)
			return false;
		*flags |= flag;
		words += len + (words[len] == '|');
	}
	return true;
}

static const char *parse_mapping(const char *word)
{
	static const char *const known[] = {"none", "anon", "ksm", "file"};

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (!strncmp(word, known[i], strlen(known[i])))
			return known[i];
	return NULL;
}

/* "pfn=13e7 count=1 mapcount=0 flags=... mapping=anon private=0" */
static bool parse_page(const char *text, struct observed_line *line)
{
	const char *flags = strstr(text, "flags="), *mapping = strstr(text, "mapping=");
	const char *entry = strstr(text, "swp=");
	struct linux40_page *page = &line->page;

	if (!flags || !mapping ||
		sscanf(text, "pfn=%x count=%d mapcount=%d", &line->pfn, &page->count, &page->mapcount) != 3)
		return false;
	page->mapping = parse_mapping(mapping + strlen("mapping="));
	page->has_entry = entry != NULL;
	if (entry && sscanf(entry, "swp=%u:%u swap_map=%x", &page->swap_type, &page->swap_slot,
			     &page->swap_map) != 3)
		return false;
	line->has_page = true;
	return page->mapping && parse_flags(flags + strlen("flags="), &page->flags);
}

/* The place where the state begins: after ": ". */
static char *state_of(char *text, enum line_kind kind)
{
	static const char *const starts[] = {": pfn=", ": PRESENT", ": SWAP", ": NONE"};

	for (size_t i = 0; i < ARRAY_SIZE(starts); i++) {
		char *found = strstr(text, starts[i]);

		if (found && (i == 0) == (kind != LINE_SEEN))
			return found;
	}
	return NULL;
}

static bool parse_seen(const char *state, struct observed_line *line)
{
	const char *pfn = strstr(state, "pfn=");

	snprintf(line->pte, sizeof(line->pte), "%s",
		!strncmp(state, "PRESENT FILE", 12) ? "PRESENT FILE"
		: !strncmp(state, "PRESENT", 7)     ? "PRESENT"
		: !strncmp(state, "SWAP", 4)        ? "SWAP"
						    : "NONE");
	if (!strcmp(line->pte, "SWAP"))
		return sscanf(state, "SWAP type=%u off=%u", &line->page.swap_type, &line->page.swap_slot) ==
		       2;
	return pfn ? parse_page(pfn, line) : !strcmp(line->pte, "NONE");
}

/* @text: what follows "KF [task] ", "ST " or "TRK ". */
static bool parse_line(char *text, struct observed_line *line)
{
	char *state = state_of(text, line->kind), *end = state ? state : text + strlen(text);

	while (end > text && (end[-1] == ' ' || end[-1] == ':'))
		end--;
	snprintf(line->point, sizeof(line->point), "%.*s", (int)(end - text), text);
	if (!state)
		return line->kind != LINE_SEEN; /* an entry without a page: the zero page, or nothing */
	state += 2;
	snprintf(line->state, sizeof(line->state), "%s", state);
	return line->kind == LINE_SEEN ? parse_seen(state, line) : parse_page(state, line);
}

static bool classify(char *text, struct observed_line *line, char **rest)
{
	if (!strncmp(text, "KF [", 4)) {
		line->kind = LINE_POINT;
		*rest = strchr(text, ']') + 2;
	} else if (!strncmp(text, "ST ", 3)) {
		line->kind = LINE_SEEN;
		*rest = text + 3;
	} else if (!strncmp(text, "TRK ", 4)) {
		line->kind = LINE_TRACKED;
		*rest = text + 4;
	} else {
		return false;
	}
	return true;
}

int observed_read(struct observed *observed, const char *path)
{
	FILE *in = fopen(path, "r");
	char text[400], *rest;
	unsigned number = 0;
	int error = 0;

	if (!in)
		return -errno;
	memset(observed, 0, sizeof(*observed));
	while (!error && fgets(text, sizeof(text), in)) {
		struct observed_line *line = &observed->lines[observed->nr_lines];

		number++;
		text[strcspn(text, "\n")] = '\0';
		if (!strncmp(text, "==== ", 5) && strcmp(text, "==== END"))
			snprintf(observed->sections[observed->nr_sections++], 40, "%.39s", text + 5);
		if (!classify(text, line, &rest))
			continue;
		line->number = number;
		line->section = observed->nr_sections - 1;
		if (!parse_line(rest, line) || observed->nr_lines + 1 == MAX_LINES) {
			fprintf(stderr, "%s:%u: cannot be understood: %s\n", path, number, text);
			error = -EINVAL;
		}
		observed->nr_lines++;
	}
	fclose(in);
	return error;
}

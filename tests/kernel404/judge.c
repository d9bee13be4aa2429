/* SPDX-License-Identifier: MIT */
/* See judge.h. */
#include "judge.h"
#include "replay.h"
#include "rules.h"

#include <stdio.h>
#include <string.h>

#define NONE UINT32_MAX

/* ---- Words --------------------------------------------------------------------------------------- */

static void reason_add(struct reasons *reasons, const char *text)
{
	unsigned i;

	for (i = 0; i < reasons->nr && strcmp(reasons->at[i].text, text); i++)
		;
	if (i == MAX_REASONS)
		return;
	if (i == reasons->nr)
		reasons->at[reasons->nr++].text = text;
	reasons->at[i].lines++;
}

void judge_say(const char *verdict, const struct observed_line *line, const char *text)
{
	printf("%-9s line %3u  %s: %s\n", verdict, line->number, line->point, line->state);
	if (text)
		printf("%*s%s\n", 10, "", text);
}

static void different(struct judge *judge, const struct observed_line *line, const struct linux40_page *ours,
	const char *text)
{
	char state[300], words[400];

	judge->nr_different++;
	if (judge->quiet)
		return;
	snprintf(words, sizeof(words), "%s%s%s", text, ours ? "; ours: " : "",
		ours ? linux40_page_text(ours, state, sizeof(state)) : "");
	judge_say("DIFFERENT", line, words);
}

static void without(struct judge *judge, const struct observed_line *line, const char *reason)
{
	judge->nr_without++;
	reason_add(&judge->without, reason);
	if (judge->verbose)
		judge_say("without", line, reason);
}

/* ---- Identities -------------------------------------------------------------------------------------- */

/* Are they one and the same? Said for the first time: from now on they are. */
static bool identical(struct identities *ids, uint32_t theirs, uint32_t ours)
{
	for (unsigned i = 0; i < ids->nr; i++)
		if (ids->theirs[i] == theirs || ids->ours[i] == ours)
			return ids->theirs[i] == theirs && ids->ours[i] == ours;
	if (ids->nr == ARRAY_SIZE(ids->theirs))
		return false;
	ids->theirs[ids->nr] = theirs;
	ids->ours[ids->nr++] = ours;
	return true;
}

static void forget(struct identities *ids, uint32_t theirs, uint32_t ours)
{
	for (unsigned i = 0; i < ids->nr; i++)
		if ((theirs != NONE && ids->theirs[i] == theirs) || (ours != NONE && ids->ours[i] == ours)) {
			ids->nr--;
			ids->theirs[i] = ids->theirs[ids->nr];
			ids->ours[i--] = ids->ours[ids->nr];
		}
}

/* ---- Which event --------------------------------------------------------------------------------------- */

static bool is_note_of(const struct walk_event *event, const char *name)
{
	return !strcmp(event->function, name);
}

/* What passes unclaimed still says which frames are free for another identity. */
static void pass(struct judge *judge, const struct walk_event *event)
{
	if (is_note_of(event, NOTE_FORGET))
		judge->frames.nr = judge->slots.nr = 0;
	if (is_note_of(event, "free_page"))
		forget(&judge->frames, NONE, event->pfn);
}

static const struct walk_event *claim(struct judge *judge, const char *function)
{
	const struct walk_world *world = judge->world;
	bool seen = !strcmp(function, NOTE_SEEN);
	unsigned i;

	if (!strcmp(function, RULE_SAME))
		return judge->last;
	for (i = judge->cursor; i < world->nr_events && strcmp(world->events[i].function, function); i++)
		if (!seen && is_note_of(&world->events[i], NOTE_SEEN))
			return NULL;
	if (i == world->nr_events)
		return NULL;
	for (; judge->cursor <= i; judge->cursor++)
		pass(judge, &world->events[judge->cursor]);
	judge->last = &world->events[i];
	return judge->last;
}

/* ---- Comparing a page ------------------------------------------------------------------------ */

/* Linux holds a page in a per-CPU batch for a while: one reference more, and PG_lru not yet set. */
static bool undo_batch(struct linux40_page *theirs, const struct linux40_page *ours)
{
	uint32_t lru = linux40_flag("lru", 3);

	if ((theirs->flags & lru) || !(ours->flags & lru))
		return false;
	theirs->flags |= lru;
	theirs->count--;
	return true;
}

static const char *compare_entry(
	struct judge *judge, const struct linux40_page *theirs, const struct linux40_page *ours)
{
	if (theirs->has_entry != ours->has_entry)
		return "one is in the swap cache";
	if (!theirs->has_entry)
		return NULL;
	if (theirs->swap_map != ours->swap_map)
		return "swap_map";
	return identical(&judge->slots, theirs->swap_slot, ours->swap_slot) ? NULL : "another slot";
}

/* A free page's own cleaning comes after the point at which Linux prints. */
static bool freeing(const struct observed_line *line, const struct walk_event *event)
{
	return !strcmp(line->point, "free_hot_cold_page: entry") && is_note_of(event, "free_page");
}

/* Take what is explained off @theirs; returns the last reason, or NULL. */
static const char *explain(const struct observed_line *line, const struct walk_event *event,
	struct linux40_page *theirs, const struct linux40_page *ours, int held, const char *reason)
{
	const char *explained = NULL;

	if (undo_batch(theirs, ours))
		explained = "a per-CPU batch holds it: one reference more, and PG_lru is not set yet";
	if (held && theirs->count == ours->count + held) {
		theirs->count = ours->count;
		explained = reason;
	}
	if (freeing(line, event)) {
		theirs->mapping = ours->mapping;
		theirs->flags &= ~linux40_flag("dirty", 5);
		explained = "the flags and the mapping of a freed page are cleared after this point";
	}
	if (theirs->flags != ours->flags && *flags_explained(line, theirs->flags, ours->flags)) {
		explained = flags_explained(line, theirs->flags, ours->flags);
		theirs->flags = ours->flags;
	}
	return explained;
}

/* NULL, or what differs. */
static const char *difference(struct judge *judge, const struct observed_line *line,
	const struct linux40_page *theirs, const struct linux40_page *ours, pfn_t pfn)
{
	const char *entry = compare_entry(judge, theirs, ours);

	if (theirs->count != ours->count)
		return "count";
	if (theirs->mapcount != ours->mapcount)
		return "mapcount";
	if (theirs->flags != ours->flags)
		return "flags";
	if (strcmp(theirs->mapping, ours->mapping))
		return "mapping";
	if (entry)
		return entry;
	return identical(&judge->frames, line->pfn, pfn) ? NULL : "another frame";
}

static void compare_page(struct judge *judge, const struct observed_line *line,
	const struct walk_event *event, int held, const char *reason)
{
	/* The page cache's eye knows what is shared memory's. */
	bool is_note = event->function[0] == '(', by_cache = !is_note && judge->world->eyes[WALK_CACHE].file;
	const struct page_view *view = &event->view[by_cache ? WALK_CACHE : event->eye];
	struct linux40_page theirs = line->page, ours = linux40_page_of(view);
	const char *explained = explain(line, event, &theirs, &ours, held, reason);
	const char *differs = difference(judge, line, &theirs, &ours, view->pfn);

	judge->nr_compared++;
	if (!strcmp(line->point, "free_hot_cold_page: entry"))
		forget(&judge->frames, line->pfn, NONE);
	if (differs) {
		different(judge, line, &ours, differs);
		return;
	}
	if (explained)
		reason_add(&judge->explained, explained);
	judge->nr_explained += explained != NULL;
	judge->nr_equal += explained == NULL;
	if (judge->verbose)
		judge_say(explained ? "explained" : "equal", line, explained);
}

/* ---- Lines ----------------------------------------------------------------------------------- */

/* A page that the section asks about somewhere, by its frame or its slot. */
static bool is_tracked(const struct judge *judge, const struct observed_line *line)
{
	for (unsigned i = 0; i < judge->observed->nr_lines; i++) {
		const struct observed_line *other = &judge->observed->lines[i];
		bool same_frame = other->has_page && other->pfn == line->pfn;
		bool same_slot = line->page.has_entry && other->page.swap_slot == line->page.swap_slot &&
				 !strcmp(other->pte, "SWAP");

		if (other->section == line->section && other->kind != LINE_POINT && (same_frame || same_slot))
			return true;
	}
	return false;
}

static bool is_met(const struct exception *exception, const char *section, const struct observed_line *line)
{
	return !strncmp(section, exception->section, strlen(exception->section)) &&
	       !strncmp(line->point, exception->point, strlen(exception->point)) &&
	       strstr(line->state, exception->state);
}

static const struct exception *exception_for(struct judge *judge, const struct observed_line *line)
{
	const char *section = judge->observed->sections[line->section];
	const struct exception *found = NULL;

	for (unsigned i = 0; i < nr_exceptions; i++) {
		if (!is_met(&exceptions[i], section, line))
			continue;
		judge->met[i]++;
		if (!found && (!exceptions[i].nth || exceptions[i].nth == judge->met[i]))
			found = &exceptions[i];
	}
	return found;
}

static const struct rule *rule_for(const struct observed_line *line)
{
	for (unsigned i = 0; i < nr_rules; i++)
		if (!strcmp(rules[i].point, line->point))
			return &rules[i];
	return NULL;
}

static void judge_view(struct judge *judge, const struct observed_line *line)
{
	const struct walk_event *event = claim(judge, NOTE_SEEN);
	char text[64];
	const char *pte;

	if (!event) {
		judge->nr_compared++;
		different(judge, line, NULL, "it was not looked at");
		return;
	}
	const struct page_view *view = &event->view[event->eye];

	pte = linux40_pte_text(view, text, sizeof(text));
	if (line->kind == LINE_SEEN && strncmp(pte, line->pte, strlen(line->pte))) {
		judge->nr_compared++;
		different(judge, line, NULL, pte);
	} else if (line->has_page) {
		compare_page(judge, line, event, 0, NULL);
	} else {
		bool swap = !strcmp(line->pte, "SWAP");

		judge->nr_compared++;
		if (swap ? !identical(&judge->slots, line->page.swap_slot, view->swap_slot)
			 : view->pte != PTE_KIND_NONE)
			different(judge, line, NULL, pte);
		else
			judge->nr_equal++;
	}
}

static void judge_point(struct judge *judge, const struct observed_line *line, const char *function, int held,
	const char *reason)
{
	const struct walk_event *event;
	bool zapped = judge->last && is_note_of(judge->last, "zap_pte_range");

	if (!strcmp(line->point, "free_hot_cold_page: entry") && zapped)
		function = "free_page";
	event = claim(judge, function);
	if (!event) {
		judge->nr_compared++;
		different(judge, line, NULL, "it never happened");
	} else if (!line->has_page) { /* the zero page has no state of its own in Linux's eyes */
		judge->nr_compared++;
		if (event->view[event->eye].zero_page)
			judge->nr_equal++;
		else
			different(judge, line, NULL, "not the zero page");
	} else {
		compare_page(judge, line, event, held, reason);
	}
}

void judge_line(struct judge *judge, const struct observed_line *line)
{
	const struct exception *exception = exception_for(judge, line);
	const struct rule *rule = rule_for(line);

	judge->nr_lines++;
	if (line->kind == LINE_POINT && line->has_page &&
		strcmp(line->point, "do_anonymous_page: zero page") && !is_tracked(judge, line)) {
		without(judge, line, "another page of the test program");
	} else if (exception && !exception->event) {
		if (line->kind != LINE_POINT)
			claim(judge, NOTE_SEEN);
		without(judge, line, exception->reason);
	} else if (exception) {
		judge_point(judge, line, exception->event, exception->held, exception->reason);
	} else if (line->kind != LINE_POINT) {
		judge_view(judge, line);
	} else if (!rule) {
		different(judge, line, NULL, "nobody knows this point");
	} else if (!rule->event) {
		without(judge, line, rule->reason);
	} else {
		judge_point(judge, line, rule->event, rule->held, rule->reason);
	}
}

void judge_lines(struct judge *judge)
{
	judge->cursor = 0;
	judge->last = NULL;
	judge->frames.nr = judge->slots.nr = 0;
	for (unsigned i = 0; i < judge->observed->nr_lines; i++)
		if (judge->observed->lines[i].section == judge->section)
			judge_line(judge, &judge->observed->lines[i]);
}

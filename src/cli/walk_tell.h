/* SPDX-License-Identifier: MIT */
/* How a walk is told: walk.c decides what, walk_text.c and walk_json.c write it down. */
#ifndef ANONMM_CLI_WALK_TELL_H
#define ANONMM_CLI_WALK_TELL_H

#include "trace/walk.h"

#define NR_LETTERS 128

struct teller {
	const struct walk_scenario *scenario;
	const char *machine;
	bool json, utf8, colour;
	bool as_linux; /* states as Linux 4.0 prints them */
	bool all; /* one of all scenarios */
	unsigned nr_scenarios, nr_untold;
	unsigned nr_steps, nr_differing; /* of this scenario */
	unsigned all_steps, all_differing;
	struct page_view before[NR_LETTERS]; /* of each frame, by its letter, to say what changed */
	bool has_before[NR_LETTERS];
};

void text_begin(struct teller *teller);
void text_row(struct teller *teller, const struct walk_row *row);
void text_end(struct teller *teller, const char *untold);
void text_end_all(const struct teller *teller);

void json_begin(struct teller *teller);
void json_row(struct teller *teller, const struct walk_row *row);
void json_end(struct teller *teller, const char *untold);

#endif

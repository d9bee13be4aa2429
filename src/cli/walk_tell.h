/* SPDX-License-Identifier: MIT */
/* How a walk is printed. walk.c decides what is printed; walk_text.c and walk_json.c print it. */
#ifndef ANONMM_CLI_WALK_TELL_H
#define ANONMM_CLI_WALK_TELL_H

#include "trace/walk.h"

#define NR_LETTERS 128

struct teller {
	const struct walk_scenario *scenario;
	const char *machine;
	bool json, utf8, colour;
	bool as_linux; /* states as Linux 4.0 prints them */
	bool all; /* all scenarios are walked */
	unsigned nr_scenarios, nr_untold; /* scenarios so far; of these, that the machine cannot show */
	unsigned nr_steps, nr_differing; /* of this scenario */
	unsigned all_steps, all_differing; /* of all scenarios so far */
	struct page_view before[NR_LETTERS]; /* the last state of each frame, by its letter */
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

/* SPDX-License-Identifier: MIT */
/*
 * What `anonmm doctor` finds out (doctor_look.c) and says (doctor.c).
 */
#ifndef ANONMM_DOCTOR_H
#define ANONMM_DOCTOR_H

#include "host/memory.h"
#include "machine/uffd/uffd.h"

enum state {
	STATE_FACT, /* neither good nor bad */
	STATE_GOOD,
	STATE_FAIR, /* works, but something would be better */
	STATE_BAD, /* not here */
};

enum section { SECTION_FAULTS, SECTION_SWAP, SECTION_MEMORY, SECTION_PROCESS, NR_SECTIONS };

struct finding {
	const char *key; /* in JSON */
	const char *title;
	enum section section;
	enum state state;
	char text[200];
};

#define FINDINGS_MAX 32

/* What `anonmm run` would do here, found out by its own code. */
struct choice {
	int error; /* 0: programs can be managed */
	enum anonmm_faults faults; /* what auto becomes */
	const char *faults_why;
	bool copies; /* pages are copied, not moved */
	char why[512]; /* error: in words */
	bool signal_works; /* --faults signal would */
	int swap_error;
	char swap_why[512];
};

struct doctor {
	struct uffd_probe probe;
	struct hostmem mem;
	struct choice choice;
	struct finding findings[FINDINGS_MAX];
	unsigned nr;
	char change[300]; /* the one that would do most; "": none */
};

void doctor_look(struct doctor *doctor);

#endif

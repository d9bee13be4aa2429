/* SPDX-License-Identifier: MIT */
/*
 * What `anonmm doctor` finds out (doctor_look.c) and prints (doctor.c).
 */
#ifndef ANONMM_DOCTOR_H
#define ANONMM_DOCTOR_H

#include "host/memory.h"
#include "machine/uffd/uffd.h"

enum state {
	STATE_FACT, /* neither good nor bad */
	STATE_GOOD,
	STATE_FAIR, /* it works, but something else would be better */
	STATE_BAD, /* it does not work here */
};

enum section { SECTION_FAULTS, SECTION_SWAP, SECTION_MEMORY, SECTION_PROCESS, NR_SECTIONS };

struct finding {
	const char *key; /* its name in JSON */
	const char *title;
	enum section section;
	enum state state;
	char text[200];
};

#define FINDINGS_MAX 32

/* What `anonmm run` would do here. Its own code finds this out. */
struct choice {
	int error; /* 0: programs can be managed; or -errno */
	enum anonmm_faults faults; /* the mode that auto stands for */
	const char *faults_why; /* why that mode */
	bool copies; /* pages are copied, not moved */
	char why[512]; /* error in words */
	bool signal_works; /* --faults signal works here */
	int swap_error; /* 0: the default swap opens; or -errno */
	char swap_why[512]; /* swap_error in words */
};

struct doctor {
	struct uffd_probe probe;
	struct hostmem mem;
	struct choice choice;
	struct finding findings[FINDINGS_MAX];
	unsigned nr;
	char change[300]; /* the one change that would help most; "": none */
};

void doctor_look(struct doctor *doctor);

#endif

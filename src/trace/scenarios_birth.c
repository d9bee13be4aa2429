/* SPDX-License-Identifier: MIT */
/* LIFECYCLE 2, B1 to B3: the births that need nothing but a VMA. */
#include "trace/scenarios.h"

#define ARTICLE_BIRTH                                                                                        \
	"malloc/mmap allocates memory; a page fault happens, and do_anonymous_page() makes an anonymous "    \
	"page."

/* ---- B1 -------------------------------------------------------------------------------------- */

static const struct walk_expect written[] = {
	STEP("B1 after birth", "do_anonymous_page", STATE(1, 0, USED | PG_active, "active", WALK_PTE_PRESENT),
		"A write to an address without a page: a zeroed frame. One reference: the allocation's, now "
		"the mapping's. One PTE, writable and dirty. The head of the active list.",
		.article = ARTICLE_BIRTH),
};

static const struct walk_scene birth[] = {
	{"The program writes to memory that it has never touched", walk_write, WALK_EXPECTS(written)},
};

const struct walk_scenario walk_birth = {"birth", "A page is born by a write", "B1", SCENES(birth)};

/* ---- B2 -------------------------------------------------------------------------------------- */

static const struct walk_expect zero_birth[] = {
	STEP("B2 the zero page", "do_anonymous_page", STATE(1, -1, PG_uptodate, "none", WALK_PTE_READ_ONLY),
		"A read of an address without a page: the one zero page is shown, read-only. No frame is "
		"taken, nothing is counted, no list knows of it."),
};

/* Where a frame has one place only, it cannot be shared by all who read zeros. */
static const struct walk_expect birth_by_read[] = {
	STEP("B1 after birth", "do_anonymous_page", STATE(1, 0, USED | PG_active, "active", WALK_PTE_PRESENT),
		"A read of an address without a page. On this machine a frame is at one address at most, so "
		"the zero page cannot be shared: the page gets its own zeroed frame at once.",
		.article = ARTICLE_BIRTH),
};

static const struct walk_scene zero[] = {
	{"The program reads memory that it has never touched", walk_read, WALK_EXPECTS(zero_birth),
		.where = WALK_WRITES_SEEN},
	{"The program reads memory that it has never touched", walk_read, WALK_EXPECTS(birth_by_read),
		.where = WALK_WRITES_UNSEEN},
};

const struct walk_scenario walk_zero = {
	"zero", "A read of untouched memory: the zero page", "B2", SCENES(zero)};

/* ---- B3 -------------------------------------------------------------------------------------- */

static const struct walk_expect zero_replaced[] = {
	STEP("B3 replaced", "do_wp_page", STATE(1, 0, USED | PG_active, "active", WALK_PTE_PRESENT),
		"The write meets a read-only PTE of the zero page: a zeroed frame of its own takes its "
		"place. The "
		"zero page loses nothing, since nothing counted it.",
		.article = "do_wp_page(): read-only pages of special mappings, for example those mapped to "
			   "the zero "
			   "page."),
	STEP("the zero page is gone", WALK_LOOK, STATE(1, 0, USED | PG_active, "active", WALK_PTE_PRESENT),
		"From here on it is a page like any other."),
};

static const struct walk_scene zero_write[] = {
	{"The program reads, and sees the zero page", walk_read, WALK_EXPECTS(zero_birth)},
	{"The program writes", walk_write, WALK_EXPECTS(zero_replaced)},
};

const struct walk_scenario walk_zero_write = {"zero-write", "A write to the zero page", "B3",
	SCENES(zero_write),
	.not_unshared =
		"a frame has one address at most on this machine, so there is no zero page to write to: "
		"see the scenario 'zero'"};

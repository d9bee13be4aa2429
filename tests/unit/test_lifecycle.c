/* SPDX-License-Identifier: MIT */
/* The states of LIFECYCLE 4.3, literally, on both machines. And the comparison itself, which must be able to fail. */
#include "../needs.h"
#include "mm/page/page.h"
#include "trace/walk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

/* ---- The table, copied from the spec by hand and independently of scenarios.c ------------- */

#define BASE (PG_lru | PG_swapbacked | PG_uptodate)

static const struct {
	const char *function;
	int count, mapcount;
	uint32_t flags;
	const char *list;
	enum pte_kind pte;
} table[] = {
	{"do_anonymous_page", 1, 0, BASE | PG_active, "active", PTE_KIND_PRESENT},
	{"shrink_active_list", 1, 0, BASE, "inactive", PTE_KIND_PRESENT},
	{"shrink_page_list", 2, 0, BASE | PG_locked, "isolated", PTE_KIND_PRESENT},
	{"add_to_swap", 3, 0, BASE | PG_swapcache | PG_dirty | PG_locked, "isolated", PTE_KIND_PRESENT},
	{"try_to_unmap", 2, -1, BASE | PG_swapcache | PG_dirty | PG_locked, "isolated", PTE_KIND_SWAP},
	{"pageout", 2, -1, BASE | PG_swapcache | PG_dirty | PG_reclaim | PG_writeback, "isolated",
		PTE_KIND_SWAP},
	{"putback_lru_page", 1, -1, BASE | PG_swapcache | PG_dirty | PG_reclaim | PG_writeback, "inactive",
		PTE_KIND_SWAP},
	{"end_swap_bio_write", 1, -1, BASE | PG_swapcache, "inactive", PTE_KIND_SWAP},
	{"__remove_mapping", 0, -1, PG_swapbacked | PG_uptodate, "none", PTE_KIND_SWAP},
};

struct matching {
	size_t next; /* row of the table that was not seen yet */
};

static void match_table(void *ctx, const struct walk_row *row)
{
	struct matching *m = ctx;
	size_t i = m->next;

	if (i == ARRAY_SIZE(table) || strcmp(row->expect->function, table[i].function))
		return;
	assert_int_not_equal(row->verdict, WALK_MISSING);
	assert_int_equal(row->view.count, table[i].count);
	assert_int_equal(row->view.mapcount, table[i].mapcount);
	assert_int_equal(row->view.flags, table[i].flags);
	assert_string_equal(row->view.list, table[i].list);
	assert_int_equal(row->view.pte, table[i].pte);
	m->next++;
}

static int run_or_skip(
	const struct walk_scenario *scenario, enum anonmm_machine machine, walk_row_fn fn, void *ctx)
{
	char why[400];
	int differing = walk_run(scenario, machine, fn, ctx, why, sizeof(why));

	if (differing == -EOPNOTSUPP)
		return 0; /* this machine cannot show it, and says why */
	if (differing == -EPERM || differing == -ENOSYS) {
		SKIP_WITHOUT(REAL_MEMORY, "%s", why);
	}
	if (differing < 0)
		print_error("%s\n", why);
	return differing;
}

static void the_spec_s_table_holds(enum anonmm_machine machine)
{
	struct matching m = {0};

	assert_true(run_or_skip(walk_scenario_find("life"), machine, match_table, &m) >= 0);
	assert_int_equal(m.next, ARRAY_SIZE(table));
}

static void the_spec_s_table_holds_on_soft(void **state)
{
	(void)state;
	the_spec_s_table_holds(ANONMM_SOFT);
}

static void the_spec_s_table_holds_on_uffd(void **state)
{
	(void)state;
	the_spec_s_table_holds(ANONMM_UFFD);
}

/* ---- All scenarios ---------------------------------------------------------------------- */

static unsigned nr_rows; /* of one scenario; one that a machine cannot show has none */

static void say_difference(void *ctx, const struct walk_row *row)
{
	(void)ctx;
	nr_rows++;
	if (row->verdict == WALK_DIFFERS || row->verdict == WALK_MISSING)
		print_error("step %u, %s: %s\n", row->number, row->expect->step,
			row->verdict == WALK_MISSING ? "never ran" : row->difference);
}

static void all_scenarios_agree(enum anonmm_machine machine)
{
	unsigned shown = 0;

	for (unsigned i = 0; i < nr_walk_scenarios; i++) {
		nr_rows = 0;
		assert_int_equal(run_or_skip(walk_scenarios[i], machine, say_difference, NULL), 0);
		shown += nr_rows > 0;
	}
	print_message("%u of %u scenarios\n", shown, nr_walk_scenarios);
	assert_true(machine == ANONMM_SOFT ? shown == nr_walk_scenarios : shown > nr_walk_scenarios / 2);
}

static void every_scenario_agrees_on_soft(void **state)
{
	(void)state;
	all_scenarios_agree(ANONMM_SOFT);
}

static void every_scenario_agrees_on_uffd(void **state)
{
	(void)state;
	all_scenarios_agree(ANONMM_UFFD);
}

/* ---- A walk that could not fail would prove nothing --------------------------------------- */

static void ignore_row(void *ctx, const struct walk_row *row)
{
	(void)ctx, (void)row;
}

static int differing_with(struct walk_expect expect)
{
	struct walk_scene scene = {
		.title = "wrong on purpose", .drive = walk_write, .expects = &expect, .nr_expects = 1};
	struct walk_scenario scenario = {
		.name = "wrong", .summary = "wrong", .scenes = &scene, .nr_scenes = 1};

	return run_or_skip(&scenario, ANONMM_SOFT, ignore_row, NULL);
}

static void each_wrong_fact_is_found(void **state)
{
	const struct walk_expect right = {.step = "birth",
		.function = "do_anonymous_page",
		.state = {.count = 1, .flags = BASE | PG_active, .list = "active", .pte = WALK_PTE_PRESENT},
		.why = ""};
	struct walk_expect wrong;

	(void)state;
	assert_int_equal(differing_with(right), 0);
	wrong = right, wrong.state.count = 2;
	assert_int_equal(differing_with(wrong), 1);
	wrong = right, wrong.state.mapcount = -1;
	assert_int_equal(differing_with(wrong), 1);
	wrong = right, wrong.state.flags |= PG_dirty;
	assert_int_equal(differing_with(wrong), 1);
	wrong = right, wrong.state.flags &= ~(uint32_t)PG_active;
	assert_int_equal(differing_with(wrong), 1);
	wrong = right, wrong.state.list = "inactive";
	assert_int_equal(differing_with(wrong), 1);
	wrong = right, wrong.state.pte = WALK_PTE_SWAP;
	assert_int_equal(differing_with(wrong), 1);
	wrong = right, wrong.without = "do_anonymous_page";
	assert_int_equal(differing_with(wrong), 0); /* it is not before itself */
	wrong = right, wrong.function = "do_swap_page";
	assert_int_equal(differing_with(wrong), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_spec_s_table_holds_on_soft),
		cmocka_unit_test(the_spec_s_table_holds_on_uffd),
		cmocka_unit_test(every_scenario_agrees_on_soft),
		cmocka_unit_test(every_scenario_agrees_on_uffd),
		cmocka_unit_test(each_wrong_fact_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* Run, compare, report; see judge.h. */
#include "judge.h"

#include "differences.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

struct trial {
	const struct script *script;
	const struct judge_options *options;
	struct shape shape;
	struct world_state theirs, ours, theirs_before, ours_before;
	uint64_t in_effect[NR_CELLS]; /* declared differences that last */
	bool nonzero[NR_CELLS]; /* the last write was of something, and nothing has dropped it since */
	struct judgement judgement;
};

/* ---- Words ------------------------------------------------------------------------------------------- */

static void answer_print(const struct outcome *out, char *buf, size_t len)
{
	if (out->signal)
		snprintf(buf, len, "%s", out->signal == SIGBUS ? "SIGBUS" : "SIGSEGV");
	else if (out->error)
		snprintf(buf, len, "%s", strerrorname_np(-out->error));
	else
		snprintf(buf, len, "0, value 0x%llx", (unsigned long long)out->value);
}

static void fields_print(unsigned fields)
{
	for (unsigned bit = 1; bit <= F_VALUE; bit <<= 1)
		if (fields & bit)
			printf(" [%s]", field_name((enum field)bit));
}

static void meeting_print(const struct meeting *m, unsigned differ, const char *mark)
{
	char name[16] = "answer", theirs[120], ours[120];

	if (m->at >= 0) {
		cell_name(m->at, name, sizeof(name));
		cell_print(&m->theirs, m->at, theirs, sizeof(theirs));
		cell_print(&m->ours, m->at, ours, sizeof(ours));
	} else {
		answer_print(&m->their_answer, theirs, sizeof(theirs));
		answer_print(&m->our_answer, ours, sizeof(ours));
	}
	printf("  %s %-6s Linux: %-66s ours: %s", mark, name, theirs, ours);
	fields_print(differ);
	printf("\n");
}

static void op_announce(const struct trial *t, const struct op *op)
{
	char text[100];

	op_print(op, text, sizeof(text));
	printf("%s:%u: %s\n", t->script->name, op->line, text);
}

/* ---- Comparing ----------------------------------------------------------------------------------------- */

static unsigned answer_compare(const struct outcome *a, const struct outcome *b)
{
	if (a->error != b->error || a->signal != b->signal)
		return F_RESULT;
	return a->value != b->value ? F_VALUE : 0;
}

/* false: something differs that nobody has declared. */
static bool judge_one(struct trial *t, const struct meeting *m, unsigned differ, uint64_t *in_effect)
{
	unsigned left = differences_excuse(m, differ, in_effect);

	t->judgement.declared += differ != left;
	if (t->options->verbose ? differ || m->theirs.kind != CELL_ABSENT || m->at < 0
				: left && !t->options->quiet)
		meeting_print(m, differ, left ? "!" : differ ? "~" : " ");
	return !left;
}

static bool op_names(const struct op *op, unsigned proc, unsigned region, unsigned page)
{
	return op->proc == proc && op->region == region && page >= op->first && page < op->first + op->nr;
}

static bool any_is_shared(const struct world_state *state, unsigned region)
{
	for (unsigned i = 0; i < NR_CELLS; i++)
		if (i / MAX_PAGES % MAX_REGIONS == region && state->cells[i].kind == CELL_PRESENT &&
			state->cells[i].mapcount > 1)
			return true;
	return false;
}

static bool judge_cells(struct trial *t, struct meeting *m)
{
	static uint64_t before[NR_CELLS];
	bool good = true;

	memcpy(before, t->in_effect, sizeof(before));
	for (int at = 0; at < NR_CELLS; at++) {
		m->at = at;
		m->page = (unsigned)at % MAX_PAGES;
		m->region = (unsigned)at / MAX_PAGES % MAX_REGIONS;
		m->proc = (unsigned)at / MAX_PAGES / MAX_REGIONS;
		m->target = op_names(m->op, m->proc, m->region, m->page);
		m->any_shared = any_is_shared(&t->ours_before, m->region);
		m->nonzero = t->nonzero[at];
		m->theirs = t->theirs.cells[at];
		m->theirs_before = t->theirs_before.cells[at];
		m->ours = t->ours.cells[at];
		m->ours_before = t->ours_before.cells[at];
		if (m->theirs.origin >= 0) /* what holds for a frame holds for all who map it */
			t->in_effect[at] |= before[m->theirs.origin];
		good &= judge_one(t, m, cell_compare(&m->theirs, &m->ours), &t->in_effect[at]);
	}
	return good;
}

/* ---- What was written -------------------------------------------------------------------------------- */

static void note_write(struct trial *t, const struct op *op, unsigned page, bool nonzero)
{
	for (unsigned p = 0; p < MAX_PROCS; p++)
		if (p == op->proc || t->shape.kind[op->region] == REGION_SHARED)
			t->nonzero[cell_at(p, op->region, page)] = nonzero;
}

static void note_content(struct trial *t, const struct op *op, const struct outcome *answer)
{
	bool drops = op->code == OP_DONTNEED || op->code == OP_FREE;

	if (op->code == OP_WRITE && !answer->signal)
		note_write(t, op, op->first, op->value != 0);
	for (unsigned i = 0; drops && t->shape.kind[op->region] != REGION_SHARED && i < op->nr; i++)
		note_write(t, op, op->first + i, false);
	for (unsigned i = 0; op->code == OP_TRUNCATE && i < NR_CELLS; i++)
		t->nonzero[i] &= i / MAX_PAGES % MAX_REGIONS != op->region;
	if (op->code == OP_FORK)
		memcpy(&t->nonzero[cell_at(op->value, 0, 0)], &t->nonzero[cell_at(op->proc, 0, 0)],
			sizeof(t->nonzero[0]) * MAX_REGIONS * MAX_PAGES);
}

/* ---- One operation ----------------------------------------------------------------------------------- */

static bool judge_op(struct trial *t, const struct op *op, struct outcome theirs, struct outcome ours)
{
	struct meeting m = {.op = op,
		.shape = &t->shape,
		.at = -1,
		.proc = op->proc,
		.region = op->region,
		.page = op->first,
		.target = true,
		.their_answer = theirs,
		.our_answer = ours};
	unsigned at = cell_at(op->proc, op->region, op->first);
	const char *wrong;

	m.theirs = m.theirs_before = t->theirs.cells[at];
	m.ours = m.ours_before = t->ours.cells[at];

	uint64_t in_effect = t->in_effect[at];
	bool good = judge_one(t, &m, answer_compare(&theirs, &ours), &in_effect);

	note_content(t, op, &theirs);
	shape_apply(&t->shape, op);
	t->theirs_before = t->theirs;
	t->ours_before = t->ours;
	linux_side.look(&t->shape, &t->theirs, &t->theirs_before);
	engine_side.look(&t->shape, &t->ours, &t->ours_before);
	if (op->code == OP_FORK)
		memcpy(&t->in_effect[cell_at(op->value, 0, 0)], &t->in_effect[cell_at(op->proc, 0, 0)],
			sizeof(t->in_effect[0]) * MAX_REGIONS * MAX_PAGES);
	good &= judge_cells(t, &m);
	wrong = engine_side.check();
	if (wrong)
		printf("%s:%u: our world is inconsistent: %s\n", t->script->name, op->line, wrong);
	return good && !wrong;
}

/* ---- Running ---------------------------------------------------------------------------------------------- */

/* A kernel that is told to reclaim reclaims what it likes: then the script is at its end. */
static bool kernel_would_not(struct trial *t, const struct op *op, const struct outcome *theirs)
{
	if (op->code != OP_SQUEEZE || theirs->error != -EBUSY)
		return false;
	t->judgement.verdict = SKIPPED;
	snprintf(t->judgement.why, sizeof(t->judgement.why),
		"line %u: this kernel did not reclaim all that it could", op->line);
	return true;
}

static bool do_op(struct trial *t, const struct op *op)
{
	struct outcome theirs = linux_side.run(op, &t->shape), ours;

	if (kernel_would_not(t, op, &theirs))
		return false;
	ours = engine_side.run(op, &t->shape);
	if (t->options->verbose)
		op_announce(t, op);
	if (judge_op(t, op, theirs, ours)) {
		t->judgement.ops++;
		return true;
	}
	if (!t->options->verbose && !t->options->quiet)
		op_announce(t, op);
	t->judgement.verdict = DIFFERED;
	return false;
}

/* What every page holds in the end, seen by reading it. */
static bool read_all(struct trial *t)
{
	bool good = true;

	for (unsigned p = 0; p < MAX_PROCS; p++)
		for (unsigned r = 0; r < MAX_REGIONS; r++)
			for (unsigned i = 0;
				t->shape.alive[p] && t->shape.mapped[p][r] && i < t->shape.pages[r]; i++) {
				struct op op = {.code = OP_READ,
					.proc = (uint8_t)p,
					.region = (uint8_t)r,
					.first = (uint8_t)i,
					.nr = 1};

				good = good && do_op(t, &op);
			}
	return good;
}

static bool run_all(struct trial *t)
{
	for (unsigned i = 0; i < t->script->nr; i++)
		if (!do_op(t, &t->script->ops[i]))
			return false;
	return read_all(t);
}

static bool needs_ksm(const struct script *script)
{
	for (unsigned i = 0; i < script->nr; i++)
		if (script->ops[i].code == OP_MERGE)
			return true;
	return false;
}

struct judgement judge_script(const struct script *script, const struct judge_options *options)
{
	static struct trial t; /* large */

	memset(&t, 0, sizeof(t));
	t.script = script;
	t.options = options;
	shape_init(&t.shape);
	if (needs_ksm(script) && linux_ksm_missing()) {
		t.judgement.verdict = SKIPPED;
		snprintf(t.judgement.why, sizeof(t.judgement.why), "%s", linux_ksm_missing());
		return t.judgement;
	}
	if (!linux_side.begin() || !engine_side.begin()) {
		fprintf(stderr, "%s: a world could not be made\n", script->name);
		t.judgement.verdict = BROKEN;
		return t.judgement;
	}
	run_all(&t);
	engine_side.end();
	linux_side.end();
	return t.judgement;
}

/* ---- Shrinking ------------------------------------------------------------------------------------------------ */

/* @from without the operations [at, at + nr), and without what makes no sense then. */
static void script_without(struct script *to, const struct script *from, unsigned at, unsigned nr)
{
	struct shape shape;

	memcpy(to->name, from->name, sizeof(to->name));
	to->nr = 0;
	shape_init(&shape);
	for (unsigned i = 0; i < from->nr; i++) {
		if ((i >= at && i < at + nr) || shape_refuses(&shape, &from->ops[i]))
			continue;
		to->ops[to->nr++] = from->ops[i];
		shape_apply(&shape, &from->ops[i]);
	}
}

void judge_shrink(struct script *script)
{
	static struct script shorter;
	const struct judge_options quiet = {.quiet = true};

	for (unsigned nr = script->nr / 2; nr > 0; nr /= 2) {
		unsigned at = 0;

		while (at < script->nr) {
			script_without(&shorter, script, at, nr);
			if (judge_script(&shorter, &quiet).verdict == DIFFERED)
				*script = shorter;
			else
				at += nr;
		}
	}
}

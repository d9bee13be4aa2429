/* SPDX-License-Identifier: MIT */
/* Scripts from a seed. */
#include "script.h"

#include <string.h>

/* How often each operation is drawn. */
static const unsigned weight[NR_OPS] = {
	[OP_MAP] = 2,
	[OP_READ] = 12,
	[OP_WRITE] = 16,
	[OP_FORK] = 3,
	[OP_EXIT] = 1,
	[OP_PAGEOUT] = 10,
	[OP_COLD] = 2,
	[OP_FREE] = 3,
	[OP_DONTNEED] = 3,
	[OP_WILLNEED] = 3,
	[OP_POPULATE_READ] = 1,
	[OP_POPULATE_WRITE] = 1,
	[OP_LOCK] = 2,
	[OP_UNLOCK] = 3,
	[OP_MUNMAP] = 1,
	[OP_PROTECT] = 3,
	[OP_MOVE] = 3,
	[OP_TRUNCATE] = 1,
	[OP_SQUEEZE] = 3,
};
/* One process then: whom a shared page belongs to decides what is merged (ksm-by-page in differences.c). */
static const unsigned ksm_weight[NR_OPS] = {[OP_MERGEABLE] = 4, [OP_UNMERGEABLE] = 1, [OP_MERGE] = 3};

/* splitmix64 */
static uint64_t draw(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static unsigned below(uint64_t *state, unsigned n)
{
	return (unsigned)(draw(state) % n);
}

static unsigned weight_of(unsigned code, bool ksm)
{
	if (!ksm)
		return weight[code];
	return code == OP_FORK ? 0 : weight[code] + ksm_weight[code];
}

static enum op_code draw_code(uint64_t *state, bool ksm)
{
	unsigned total = 0, at;

	for (unsigned i = 0; i < NR_OPS; i++)
		total += weight_of(i, ksm);
	at = below(state, total);
	for (unsigned i = 0;; i++) {
		unsigned w = weight_of(i, ksm);

		if (at < w)
			return (enum op_code)i;
		at -= w;
	}
}

/* Few pages and few values, so that things meet. */
static struct op draw_op(uint64_t *state, bool ksm)
{
	struct op op = {.code = draw_code(state, ksm)};

	op.proc = (uint8_t)below(state, MAX_PROCS);
	op.region = (uint8_t)below(state, MAX_REGIONS);
	op.first = (uint8_t)below(state, 4);
	op.nr = (uint8_t)(op_has_range(op.code) ? 1 + below(state, 3) : 1);
	if (op.code == OP_WRITE)
		op.value = below(state, 5);
	else if (op.code == OP_FORK)
		op.value = 1 + below(state, MAX_PROCS - 1);
	else if (op.code == OP_MAP)
		op.value = below(state, 4);
	else if (op.code == OP_PROTECT)
		op.value = below(state, 6) < 3 ? below(state, 2) : 2;
	if (op.code == OP_MAP || op.code == OP_TRUNCATE)
		op.nr = (uint8_t)(op.code == OP_MAP ? 4 : below(state, 5));
	return op;
}

/* A world that has ended tells nothing more. */
static bool is_last_exit(const struct shape *shape, const struct op *op)
{
	unsigned nr = 0;

	for (unsigned i = 0; i < MAX_PROCS; i++)
		nr += shape->alive[i];
	return op->code == OP_EXIT && nr == 1;
}

void script_random(struct script *script, uint64_t seed, unsigned nr_ops, bool ksm)
{
	struct op map = {.code = OP_MAP, .nr = 4, .value = REGION_ANON};
	uint64_t state = seed;
	struct shape shape;

	snprintf(script->name, sizeof(script->name), "random-%llu%s", (unsigned long long)seed,
		ksm ? "-ksm" : "");
	shape_init(&shape);
	script->nr = 0;
	while (script->nr < nr_ops && script->nr < MAX_OPS) {
		struct op op = script->nr ? draw_op(&state, ksm) : map;

		if (shape_refuses(&shape, &op) || is_last_exit(&shape, &op))
			continue;
		shape_apply(&shape, &op);
		op.line = script->nr + 1;
		script->ops[script->nr++] = op;
	}
}

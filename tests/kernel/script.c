/* SPDX-License-Identifier: MIT */
/* Operations as text, and what they make of the world's shape; see script.h. */
#include "script.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/*
 * The arguments of each: p a process, r a region, f a page, n a number of pages, N the pages of a region,
 * k a kind, v a value, c a child, w rights.
 */
static const struct {
	const char *name, *args;
	int advice;
} grammar[NR_OPS] = {
	[OP_MAP] = {"map", "prkN", -1},
	[OP_READ] = {"read", "prf", -1},
	[OP_WRITE] = {"write", "prfv", -1},
	[OP_FORK] = {"fork", "pc", -1},
	[OP_EXIT] = {"exit", "p", -1},
	[OP_PAGEOUT] = {"pageout", "prfn", 21},
	[OP_COLD] = {"cold", "prfn", 20},
	[OP_FREE] = {"free", "prfn", MADV_FREE},
	[OP_DONTNEED] = {"dontneed", "prfn", MADV_DONTNEED},
	[OP_WILLNEED] = {"willneed", "prfn", MADV_WILLNEED},
	[OP_POPULATE_READ] = {"populate_read", "prfn", 22},
	[OP_POPULATE_WRITE] = {"populate_write", "prfn", 23},
	[OP_MERGEABLE] = {"mergeable", "prfn", MADV_MERGEABLE},
	[OP_UNMERGEABLE] = {"unmergeable", "prfn", MADV_UNMERGEABLE},
	[OP_LOCK] = {"lock", "prfn", -1},
	[OP_UNLOCK] = {"unlock", "prfn", -1},
	[OP_MUNMAP] = {"munmap", "prfn", -1},
	[OP_PROTECT] = {"protect", "prfnw", -1},
	[OP_MOVE] = {"move", "prf", -1},
	[OP_TRUNCATE] = {"truncate", "rN", -1},
	[OP_SQUEEZE] = {"squeeze", "", -1},
	[OP_MERGE] = {"merge", "", -1},
};

static const char *const kinds[] = {"anon", "file", "shared", "shmem", NULL};
static const char *const rights[] = {"none", "read", "write", NULL};

const char *op_name(enum op_code code)
{
	return grammar[code].name;
}

int op_advice(enum op_code code)
{
	return grammar[code].advice;
}

bool op_has_range(enum op_code code)
{
	return strchr(grammar[code].args, 'n') != NULL;
}

int op_rights(const struct op *op)
{
	static const int prot[] = {PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE};

	return prot[op->value];
}

uint64_t file_value(unsigned region, unsigned page)
{
	return 0xf11e0000 + region * 0x100 + page;
}

/* ---- The shape of the world -------------------------------------------------------------------- */

void shape_init(struct shape *shape)
{
	memset(shape, 0, sizeof(*shape));
	shape->alive[0] = shape->born[0] = true;
}

uint64_t shape_offset(const struct shape *shape, unsigned proc, unsigned region, unsigned page)
{
	return page * STRIDE_BYTES + (shape->moved[proc][region][page] ? REGION_BYTES : 0);
}

static const char *map_refused(const struct shape *shape, const struct op *op)
{
	return shape->exists[op->region] ? "the region is mapped already" : NULL;
}

static const char *truncate_refused(const struct shape *shape, const struct op *op)
{
	if (!shape->exists[op->region])
		return "no such region";
	if (shape->kind[op->region] == REGION_ANON || shape->kind[op->region] == REGION_SHARED)
		return "no file to be truncated";
	return op->nr > shape->pages[op->region] ? "larger than it ever was" : NULL;
}

const char *shape_refuses(const struct shape *shape, const struct op *op)
{
	const char *args = grammar[op->code].args;

	if (strchr(args, 'p') && !shape->alive[op->proc])
		return "no such process";
	if (strchr(args, 'c') && shape->born[op->value])
		return "the child's number is taken";
	if (op->code == OP_MAP)
		return map_refused(shape, op);
	if (op->code == OP_TRUNCATE)
		return truncate_refused(shape, op);
	if (!strchr(args, 'r'))
		return NULL;
	if (!shape->mapped[op->proc][op->region])
		return "the process has no such region";
	if (op->first + op->nr > shape->pages[op->region])
		return "beyond the region";
	if (op->code == OP_MOVE && shape->gone[op->proc][op->region][op->first])
		return "nothing to be moved";
	return NULL;
}

static void shape_map(struct shape *shape, const struct op *op)
{
	shape->exists[op->region] = shape->mapped[op->proc][op->region] = true;
	shape->kind[op->region] = (enum region_kind)op->value;
	shape->pages[op->region] = op->nr;
}

static void shape_fork(struct shape *shape, unsigned parent, unsigned child)
{
	shape->alive[child] = shape->born[child] = true;
	memcpy(shape->mapped[child], shape->mapped[parent], sizeof(shape->mapped[0]));
	memcpy(shape->moved[child], shape->moved[parent], sizeof(shape->moved[0]));
	memcpy(shape->gone[child], shape->gone[parent], sizeof(shape->gone[0]));
}

void shape_apply(struct shape *shape, const struct op *op)
{
	bool *moved = shape->moved[op->proc][op->region], *gone = shape->gone[op->proc][op->region];

	switch (op->code) {
	case OP_MAP:
		shape_map(shape, op);
		break;
	case OP_FORK:
		shape_fork(shape, op->proc, op->value);
		break;
	case OP_EXIT:
		shape->alive[op->proc] = false;
		break;
	case OP_MOVE:
		moved[op->first] = !moved[op->first];
		break;
	case OP_MUNMAP:
		for (unsigned i = 0; i < op->nr; i++)
			gone[op->first + i] = true;
		break;
	default:
		break;
	}
}

/* ---- Text ----------------------------------------------------------------------------------------- */

static void print_arg(const struct op *op, char arg, char *buf, size_t len)
{
	switch (arg) {
	case 'p':
		snprintf(buf, len, " %u", op->proc);
		break;
	case 'r':
		snprintf(buf, len, " %c", 'A' + op->region);
		break;
	case 'f':
		snprintf(buf, len, " %u", op->first);
		break;
	case 'n':
	case 'N':
		snprintf(buf, len, " %u", op->nr);
		break;
	case 'k':
		snprintf(buf, len, " %s", kinds[op->value]);
		break;
	case 'w':
		snprintf(buf, len, " %s", rights[op->value]);
		break;
	default:
		snprintf(buf, len, " %u", op->value);
	}
}

void op_print(const struct op *op, char *buf, size_t len)
{
	snprintf(buf, len, "%s", op_name(op->code));
	for (const char *arg = grammar[op->code].args; *arg; arg++)
		print_arg(op, *arg, buf + strlen(buf), len - strlen(buf));
}

void script_print(const struct script *script, FILE *out)
{
	char text[100];

	for (unsigned i = 0; i < script->nr; i++) {
		op_print(&script->ops[i], text, sizeof(text));
		fprintf(out, "%s\n", text);
	}
}

static bool word_in(const char *const *words, const char *word, uint32_t *out)
{
	for (*out = 0; words[*out]; (*out)++)
		if (strcmp(words[*out], word) == 0)
			return true;
	return false;
}

static bool number(const char *word, unsigned long max, unsigned long *out)
{
	char *end;

	errno = 0;
	*out = strtoul(word, &end, 0);
	return !errno && end != word && !*end && *out <= max;
}

static bool parse_arg(struct op *op, char arg, const char *word)
{
	unsigned long n = 0;

	switch (arg) {
	case 'r':
		op->region = (uint8_t)(word[0] - 'A');
		return op->region < MAX_REGIONS && !word[1];
	case 'k':
		return word_in(kinds, word, &op->value);
	case 'w':
		return word_in(rights, word, &op->value);
	case 'p':
		return number(word, MAX_PROCS - 1, &n) && (op->proc = (uint8_t)n, true);
	case 'f':
		return number(word, MAX_PAGES - 1, &n) && (op->first = (uint8_t)n, true);
	case 'n':
	case 'N':
		return number(word, MAX_PAGES, &n) && (op->nr = (uint8_t)n, true);
	case 'c':
		return number(word, MAX_PROCS - 1, &n) && (op->value = (uint32_t)n, true);
	default:
		return number(word, UINT32_MAX, &n) && (op->value = (uint32_t)n, true);
	}
}

/* => @line is taken apart */
static bool parse_op(struct op *op, char *line)
{
	char *rest = NULL, *word = strtok_r(line, " \t\n", &rest);
	unsigned code = 0;

	while (code < NR_OPS && strcmp(grammar[code].name, word) != 0)
		code++;
	if (code == NR_OPS)
		return false;
	*op = (struct op){.code = (enum op_code)code, .nr = 1};
	for (const char *arg = grammar[code].args; *arg; arg++) {
		word = strtok_r(NULL, " \t\n", &rest);
		if (!word || !parse_arg(op, *arg, word))
			return false;
	}
	return !strtok_r(NULL, " \t\n", &rest);
}

static bool load_line(struct script *script, struct shape *shape, const char *path, unsigned at, char *line)
{
	struct op *op = &script->ops[script->nr];
	const char *why;

	line[strcspn(line, "#")] = 0;
	if (!line[strspn(line, " \t\n")])
		return true;
	if (script->nr == MAX_OPS)
		why = "too many operations";
	else if (!parse_op(op, line))
		why = "no operation of the language (script.h)";
	else
		why = shape_refuses(shape, op);
	if (why) {
		fprintf(stderr, "%s:%u: %s\n", path, at, why);
		return false;
	}
	op->line = at;
	shape_apply(shape, op);
	script->nr++;
	return true;
}

bool script_load(struct script *script, const char *path)
{
	const char *base = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
	FILE *file = fopen(path, "re");
	struct shape shape;
	char line[200];
	bool good = true;

	if (!file) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return false;
	}
	shape_init(&shape);
	script->nr = 0;
	snprintf(script->name, sizeof(script->name), "%.*s", (int)strcspn(base, "."), base);
	for (unsigned at = 1; good && fgets(line, sizeof(line), file); at++)
		good = load_line(script, &shape, path, at, line);
	fclose(file);
	return good;
}

/* SPDX-License-Identifier: MIT */
/*
 * Sizes as people write them.
 *
 *   size   = digits [ "." digits ] [ unit ]
 *   unit   = "B" | (K M G T P E) [ "B" | "iB" ], in either case; always powers of 1024
 *
 * A fraction needs a unit larger than a byte. Digits of a fraction after the eighteenth are checked, but not used: all
 * of them together are worth about one byte at most.
 */
#include "base/size.h"
#include "base/base.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define SIZE_LIMIT (UINT64_C(1) << 63)
#define FRACTION_DIGITS 18

typedef unsigned __int128 u128;

/* The number whole + part/scale. */
struct number {
	uint64_t whole;
	uint64_t part;
	uint64_t scale;
	bool too_large;
};

static const char *parse_whole(const char *s, struct number *n)
{
	for (; isdigit((unsigned char)*s); s++) {
		u128 next = (u128)n->whole * 10 + (unsigned)(*s - '0');

		if (next > SIZE_LIMIT)
			n->too_large = true;
		else
			n->whole = (uint64_t)next;
	}
	return s;
}

static const char *parse_fraction(const char *s, struct number *n)
{
	unsigned digits = 0;

	for (; isdigit((unsigned char)*s); s++) {
		if (digits++ >= FRACTION_DIGITS)
			continue;
		n->part = n->part * 10 + (unsigned)(*s - '0');
		n->scale *= 10;
	}
	return s;
}

/* Returns the text after the number, or NULL: @s does not begin with a number. */
static const char *parse_number(const char *s, struct number *n)
{
	*n = (struct number){.scale = 1};
	if (!isdigit((unsigned char)*s))
		return NULL;
	s = parse_whole(s, n);
	if (*s != '.')
		return s;
	if (!isdigit((unsigned char)s[1]))
		return NULL;
	return parse_fraction(s + 1, n);
}

/* The binary logarithm of @unit in bytes; -1: no such unit. */
static int unit_shift(const char *unit)
{
	static const char letters[] = "kmgtpe";
	const char *letter;

	if (unit[0] == '\0' || strcasecmp(unit, "b") == 0)
		return 0;
	letter = strchr(letters, tolower((unsigned char)unit[0]));
	if (!letter)
		return -1;
	if (unit[1] != '\0' && strcasecmp(unit + 1, "b") != 0 && strcasecmp(unit + 1, "ib") != 0)
		return -1;
	return 10 * (int)(letter - letters + 1);
}

int size_parse(const char *text, uint64_t *bytes)
{
	struct number n;
	const char *unit = parse_number(text, &n);
	u128 value;
	int shift;

	if (!unit)
		return -EINVAL;
	shift = unit_shift(unit);
	if (shift < 0 || (shift == 0 && n.scale > 1))
		return -EINVAL;
	value = ((u128)n.whole << shift) + (((u128)n.part << shift) / n.scale);
	if (n.too_large || value > SIZE_LIMIT)
		return -ERANGE;
	*bytes = (uint64_t)value;
	return 0;
}

int size_parse_share(const char *text, uint64_t whole, uint64_t *bytes)
{
	struct number n;
	const char *unit = parse_number(text, &n);

	if (!unit || strcmp(unit, "%") != 0)
		return size_parse(text, bytes);
	if (n.too_large || n.whole > 100 || (n.whole == 100 && n.part > 0) || (n.whole == 0 && n.part == 0))
		return -EINVAL;
	*bytes = (uint64_t)(((u128)whole * n.whole + (u128)whole * n.part / n.scale) / 100);
	return 0;
}

const char *size_text(uint64_t bytes, char *buf, size_t len)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	unsigned unit = 0;
	uint64_t tenths;

	while (unit + 1 < ARRAY_SIZE(units) && bytes >> (10 * (unit + 1)))
		unit++;
	tenths = (uint64_t)(((u128)bytes * 10 + ((u128)1 << (10 * unit)) / 2) >> (10 * unit));
	if (tenths == 10240 && unit + 1 < ARRAY_SIZE(units)) {
		unit++;
		tenths = 10;
	}
	if (tenths % 10)
		snprintf(buf, len, "%lu.%lu %s", tenths / 10, tenths % 10, units[unit]);
	else
		snprintf(buf, len, "%lu %s", tenths / 10, units[unit]);
	return buf;
}

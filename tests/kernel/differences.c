/* SPDX-License-Identifier: MIT */
/* The table of declared differences; see differences.h. */
#include "differences.h"

#include <errno.h>

struct difference differences[] = {
	{.name = NULL},
};

const unsigned nr_differences = sizeof(differences) / sizeof(differences[0]);

unsigned differences_excuse(const struct meeting *m, unsigned differ, uint64_t *in_effect)
{
	unsigned left = differ;

	for (unsigned i = 0; i < nr_differences; i++) {
		struct difference *d = &differences[i];
		bool held = *in_effect & 1ull << i;

		if (!d->starts)
			continue;
		if (!(differ & d->fields) || !(d->starts(m) || (held && d->lasts(m)))) {
			if (held && !d->lasts(m))
				*in_effect &= ~(1ull << i);
			continue;
		}
		if (left & d->fields)
			d->used++;
		left &= ~d->fields;
		if (d->lasts)
			*in_effect |= 1ull << i;
	}
	if (!differ && m->at >= 0)
		*in_effect = 0;
	return left;
}

void differences_print(bool used_only)
{
	for (unsigned i = 0; i < nr_differences; i++) {
		const struct difference *d = &differences[i];

		if (used_only && !d->used)
			continue;
		printf("%-24s used %u times\n", d->name, d->used);
		printf("    Linux: %s\n    ours:  %s\n    why:   %s\n", d->theirs, d->ours, d->why);
	}
}

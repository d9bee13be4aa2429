/* SPDX-License-Identifier: MIT */
/* Operations: spaces come, fork and go. */
#include "model.h"

unsigned nr_members(const struct actor *a)
{
	unsigned nr = 0;

	for (unsigned i = 0; i < MAX_SPACES; i++)
		nr += a->members[i].oracle != NULL;
	return nr;
}

struct member *member_free(struct actor *a)
{
	for (unsigned i = 0; i < a->max_spaces; i++)
		if (!a->members[i].oracle)
			return &a->members[i];
	return NULL;
}

void member_close(struct actor *a, struct member *m)
{
	(void)a;
	place_close(&m->place);
	oracle_unmap(m->oracle, 0, ORACLE_PAGES);
	free(m->oracle);
	m->oracle = NULL;
}

/* Forks of forks: any member may be the parent. */
void do_fork(struct actor *a)
{
	struct member *child = member_free(a);
	int result;

	if (!child)
		return;
	detail(a, (unsigned)(child - a->members), 0, 0);
	result = place_fork(&a->at->place, &child->place);
	want(a, result, 0);
	if (result)
		return;
	child->oracle = calloc(1, sizeof(*child->oracle));
	oracle_fork(child->oracle, a->at->oracle);
}

void do_exit(struct actor *a)
{
	detail(a, 0, 0, 0);
	if (nr_members(a) == 1)
		return;
	member_close(a, a->at);
	objects_reap(a);
}

/* One that is related to nobody. */
void do_space(struct actor *a)
{
	struct member *m = member_free(a);
	int result;

	if (!m)
		return;
	result = place_open(&m->place, &world);
	want(a, result, 0);
	if (!result)
		m->oracle = calloc(1, sizeof(*m->oracle));
}

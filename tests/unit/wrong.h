/* SPDX-License-Identifier: MIT */
/*
 * One word of a sound world is made wrong by hand: the validator must report it, and be content when the word is right
 * again.
 */
#ifndef ANONMM_TEST_WRONG_H
#define ANONMM_TEST_WRONG_H

#include "mm/mm.h"

static inline const char *verdict(struct pager *pager)
{
	static char why[400];

	return pager_validate(pager, why, sizeof(why));
}

static inline void expect_wrong(struct pager *pager, const char *words, int line)
{
	const char *wrong = verdict(pager);

	if (!wrong)
		fail_msg("line %d: nothing was found, \"%s\" expected", line, words);
	if (!strstr(wrong, words))
		fail_msg("line %d: found \"%s\", \"%s\" expected", line, wrong, words);
}

static inline void expect_right(struct pager *pager, int line)
{
	const char *wrong = verdict(pager);

	if (wrong)
		fail_msg("line %d: found \"%s\" in a sound world", line, wrong);
}

/* @field is @value while @action is done. */
#define WHILE(field, value, action) WHILE_IN(__COUNTER__, field, value, action)
#define WHILE_IN(id, field, value, action) WHILE_AS(id, field, value, action)
#define WHILE_AS(id, field, value, action)                                                                   \
	do {                                                                                                 \
		__typeof__(field) was_##id = (field);                                                        \
		(field) = (value);                                                                           \
		action;                                                                                      \
		(field) = was_##id;                                                                          \
	} while (0)

#define EXPECT_WRONG(words) expect_wrong(world.pager, words, __LINE__)
#define EXPECT_RIGHT() expect_right(world.pager, __LINE__)

#define WRONG(field, value, words)                                                                           \
	do {                                                                                                 \
		WHILE(field, value, EXPECT_WRONG(words));                                                    \
		EXPECT_RIGHT();                                                                              \
	} while (0)

static inline pte_slot_t *ptep_of(struct place *p, uint64_t addr)
{
	return pgtable_find(&p->space->pgtable, space_index(p->space, addr));
}

static inline struct page *page_of(struct place *p, uint64_t addr)
{
	return pfn_page(p->world->pager, pte_pfn(pte_load(ptep_of(p, addr))));
}

static inline void wrong_pte(struct place *p, uint64_t addr, pte_t pte, const char *words, int line)
{
	pte_slot_t *ptep = ptep_of(p, addr);
	pte_t was = pte_load(ptep);

	pte_store(ptep, pte);
	expect_wrong(p->world->pager, words, line);
	pte_store(ptep, was);
	expect_right(p->world->pager, line);
}

#define WRONG_PTE(place, addr, pte, words) wrong_pte(place, addr, pte, words, __LINE__)

#endif

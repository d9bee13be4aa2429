/* SPDX-License-Identifier: MIT */
/*
 * The oracle: what a space must contain, as an array of bytes and a word or two for each page. It knows
 * nothing of frames, swap or time.
 */
#ifndef ANONMM_TEST_ORACLE_H
#define ANONMM_TEST_ORACLE_H

#include "base.h"

#include <string.h>
#include <sys/mman.h>

#define ORACLE_PAGES 1024u

enum known {
	KNOWN, /* exactly the bytes */
	MAYBE_ZERO, /* MADV_FREE: the bytes, or from some moment on zeros, until it is written */
};

struct oracle_page {
	bool mapped;
	uint8_t prot;
	enum known known;
	uint8_t bytes[PAGE_BYTES];
};

struct oracle {
	struct oracle_page pages[ORACLE_PAGES];
};

static inline void oracle_map(struct oracle *o, unsigned first, unsigned nr, int prot)
{
	for (unsigned i = first; i < first + nr; i++) {
		memset(&o->pages[i], 0, sizeof(o->pages[i]));
		o->pages[i].mapped = true;
		o->pages[i].prot = (uint8_t)prot;
	}
}

static inline void oracle_unmap(struct oracle *o, unsigned first, unsigned nr)
{
	memset(&o->pages[first], 0, nr * sizeof(o->pages[0]));
}

/* True when all of the run is mapped. */
static inline bool oracle_is_mapped(const struct oracle *o, unsigned first, unsigned nr)
{
	for (unsigned i = first; i < first + nr; i++)
		if (!o->pages[i].mapped)
			return false;
	return true;
}

static inline bool oracle_is_hole(const struct oracle *o, unsigned first, unsigned nr)
{
	for (unsigned i = first; i < first + nr; i++)
		if (o->pages[i].mapped)
			return false;
	return true;
}

static inline bool oracle_has_hole(const struct oracle *o, unsigned nr)
{
	unsigned run = 0;

	for (unsigned i = 0; i < ORACLE_PAGES; i++) {
		run = o->pages[i].mapped ? 0 : run + 1;
		if (run == nr)
			return true;
	}
	return false;
}

/* What an access may do. Rights are cumulative as on most hardware: who may write may read. */
static inline bool oracle_may_read(const struct oracle_page *page)
{
	return page->mapped && (page->prot & (PROT_READ | PROT_WRITE));
}

static inline bool oracle_may_write(const struct oracle_page *page)
{
	return page->mapped && (page->prot & PROT_WRITE);
}

static inline bool all_zero(const uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (bytes[i])
			return false;
	return true;
}

/* Does a whole page that was read agree? Zeros stay zeros. */
static inline bool oracle_agrees(struct oracle_page *page, const uint8_t *found)
{
	if (!memcmp(page->bytes, found, PAGE_BYTES))
		return true;
	if (page->known != MAYBE_ZERO || !all_zero(found, PAGE_BYTES))
		return false;
	memset(page->bytes, 0, PAGE_BYTES);
	page->known = KNOWN;
	return true;
}

/* A part of the page was written. @found: all of it, read just after; tells which of the two it was. */
static inline bool oracle_written(
	struct oracle_page *page, unsigned offset, const uint8_t *bytes, unsigned len, const uint8_t *found)
{
	bool was_free = page->known == MAYBE_ZERO;

	memcpy(page->bytes + offset, bytes, len);
	page->known = KNOWN;
	if (!was_free || !memcmp(page->bytes, found, PAGE_BYTES))
		return !memcmp(page->bytes, found, PAGE_BYTES);
	memset(page->bytes, 0, PAGE_BYTES);
	memcpy(page->bytes + offset, bytes, len);
	return !memcmp(page->bytes, found, PAGE_BYTES);
}

#endif

/* SPDX-License-Identifier: MIT */
/* Operations: loads and stores. */
#include "model.h"

static struct oracle_page *page_at(struct actor *a, unsigned number)
{
	return &a->at->oracle->pages[number];
}

/* Real memory is not touched where it is forbidden: that would be the end of this program. */
static bool can_try(const struct actor *a, int expected)
{
	return expected == 0 || a->run->kind == ANONMM_SOFT;
}

/* As want(); a file whose reads fail explains -EIO, too. */
static void want_access(struct actor *a, const struct oracle_page *page, int result, int expected)
{
	if (result == -EIO && oracle_may_fail(page))
		note(a, result);
	else
		want(a, result, expected);
}

__attribute__((noreturn)) static void fail_content(struct actor *a, unsigned number, const uint8_t *found)
{
	uint8_t scratch[PAGE_BYTES];
	const struct oracle_page *page = page_at(a, number);
	const uint8_t *bytes = oracle_bytes(page, scratch);
	unsigned i = 0;

	while (i < PAGE_BYTES - 1 && bytes[i] == found[i])
		i++;
	fail(a, "page %u, byte %u: found %02x, expected %02x%s%s%s", number, i, found[i], bytes[i],
		page->content == OWN_OR_BEHIND ? " or what is behind it" : "",
		page->object ? page->object->shmem ? ", shmem" : ", of a file" : "",
		page->shared ? ", shared" : "");
}

bool check_page(struct actor *a, unsigned number)
{
	static _Thread_local uint8_t found[PAGE_BYTES];
	struct oracle_page *page = page_at(a, number);
	int expected = oracle_access(page, false), result;

	if (!can_try(a, expected))
		return false;
	result = place_read(&a->at->place, address(a, number), found, PAGE_BYTES);
	want_access(a, page, result, expected);
	if (result)
		return false;
	if (!oracle_agrees(page, found))
		fail_content(a, number, found);
	return true;
}

static void write_part(struct actor *a, unsigned number, unsigned offset, const uint8_t *bytes, unsigned len)
{
	static _Thread_local uint8_t found[PAGE_BYTES];
	struct oracle_page *page = page_at(a, number);
	int expected = oracle_access(page, true), result;

	if (!can_try(a, expected))
		return;
	result = place_write(&a->at->place, address(a, number) + offset, bytes, len);
	want_access(a, page, result, expected);
	if (result)
		return;
	result = place_read(&a->at->place, address(a, number), found, PAGE_BYTES);
	if (result && !excused(a, result))
		fail(a, "cannot read back: %d", result);
	/* Written, then lost at once: which of two it was cannot be known. Rare. */
	if (!oracle_written(page, offset, bytes, len, result ? NULL : found))
		fail_content(a, number, found);
}

void do_read(struct actor *a)
{
	check_page(a, pick_page(a));
}

static void random_bytes(struct actor *a, uint8_t *bytes, unsigned len)
{
	for (unsigned i = 0; i < len; i += 8) {
		uint64_t word = any(a);

		memcpy(bytes + i, &word, min_u64(8, len - i));
	}
}

void do_write(struct actor *a)
{
	uint8_t bytes[PAGE_BYTES];
	unsigned page = pick_page(a), offset = below(a, PAGE_BYTES), len = 1 + below(a, PAGE_BYTES - offset);

	random_bytes(a, bytes, len);
	write_part(a, page, offset, bytes, len);
}

/* Whole pages of one byte, often zero: what needs no slot, and what is equal elsewhere. */
void do_fill(struct actor *a)
{
	uint8_t bytes[PAGE_BYTES];

	memset(bytes, below(a, 2) ? 0 : (int)below(a, 6), sizeof(bytes));
	write_part(a, pick_page(a), 0, bytes, PAGE_BYTES);
}

/* A store of what is there already: dirty, and yet the same. */
void do_silent_store(struct actor *a)
{
	unsigned number = pick_page(a);
	struct oracle_page *page = page_at(a, number);
	uint8_t scratch[PAGE_BYTES], bytes[8];

	if (page->content == OWN_OR_BEHIND || oracle_access(page, true))
		return;
	memcpy(bytes, oracle_bytes(page, scratch), sizeof(bytes));
	write_part(a, number, 0, bytes, sizeof(bytes));
}

void do_word(struct actor *a)
{
	unsigned number = pick_page(a), offset = below(a, PAGE_BYTES - 7);
	struct soft_space *mmu = a->at->place.mmu;
	struct oracle_page *page = page_at(a, number);
	uint8_t scratch[PAGE_BYTES];
	uint64_t value = 0;
	int result;

	if (!mmu || page->content == OWN_OR_BEHIND)
		return;
	result = soft_load64(mmu, address(a, number) + offset, &value);
	want_access(a, page, result, oracle_access(page, false));
	if (!result && memcmp(&value, oracle_bytes(page, scratch) + offset, sizeof(value)))
		fail(a, "a 64-bit load at %u gives %016llx", offset, (unsigned long long)value);
	value = any(a);
	result = soft_store64(mmu, address(a, number) + offset, value);
	want_access(a, page, result, oracle_access(page, true));
	if (!result)
		oracle_written(page, offset, (uint8_t *)&value, sizeof(value), NULL);
}

/* One access over a page boundary. */
void do_cross(struct actor *a)
{
	unsigned number = below(a, ORACLE_PAGES - 1), before = 1 + below(a, 7);
	struct oracle_page *page = page_at(a, number);
	int first = oracle_access(&page[0], false), second = oracle_access(&page[1], false), result;
	uint8_t found[8], scratch[PAGE_BYTES];

	detail(a, number, 2, (int)before);
	if (page[0].content == OWN_OR_BEHIND || page[1].content == OWN_OR_BEHIND || !a->at->place.mmu)
		return;
	result = soft_load64(a->at->place.mmu, address(a, number + 1) - before, (uint64_t *)(void *)found);
	want_access(a, oracle_may_fail(&page[0]) ? &page[0] : &page[1], result, first ? first : second);
	if (result)
		return;
	if (memcmp(found, oracle_bytes(&page[0], scratch) + PAGE_BYTES - before, before) ||
		memcmp(found + before, oracle_bytes(&page[1], scratch), 8 - before))
		fail(a, "a load across pages gives other bytes");
}

/* In order, as programs do: what readahead and runs of births are for. */
void do_scan(struct actor *a)
{
	unsigned first, nr;

	pick_run(a, 128, &first, &nr);
	for (unsigned i = first; i < first + nr; i++)
		check_page(a, i);
}

/* The same from its end, or by wide steps either way. */
void do_stride(struct actor *a)
{
	unsigned first, nr, step = 1 + below(a, 4);
	bool down = below(a, 2);

	pick_run(a, 128, &first, &nr);
	for (unsigned i = 0; i < nr; i += step)
		check_page(a, down ? first + nr - 1 - i : first + i);
}

void do_fill_run(struct actor *a)
{
	uint8_t bytes[64];
	unsigned first, nr, offset = below(a, PAGE_BYTES - sizeof(bytes));

	pick_run(a, 128, &first, &nr);
	bool down = below(a, 3) == 0;

	random_bytes(a, bytes, sizeof(bytes));
	for (unsigned i = 0; i < nr; i++) {
		unsigned number = down ? first + nr - 1 - i : first + i;

		if (page_at(a, number)->mapped)
			write_part(a, number, offset, bytes, sizeof(bytes));
	}
}

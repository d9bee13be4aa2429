/* SPDX-License-Identifier: MIT */
/*
 * space_changes(): while the counter stays the same, what was found of a VMA is true. A change that cannot make it
 * false does not move the counter.
 */
#include "../world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define PAGES 64U
#define OPS 4000

/* What was found of each page, and at which count. */
struct found {
	enum space_kind kind;
	int prot;
	uint64_t changes;
};

static struct world world;
static struct place place;

static void open_world(void)
{
	struct world_config config = {
		.kind = ANONMM_SOFT, .nr_frames = 256, .space_bytes = PAGES * PAGE_BYTES};

	assert_int_equal(world_open(&world, &config), 0);
	assert_int_equal(place_open(&place, &world), 0);
}

static void close_world(void)
{
	place_close(&place);
	world_close(&world);
}

static struct found look(unsigned page)
{
	struct found found = {.changes = space_changes(place.space)};
	uint64_t end;

	found.kind = space_kind_at(place.space, place.base + page * PAGE_BYTES, &end, &found.prot);
	return found;
}

static int some_prot(unsigned random)
{
	static const int prots[] = {PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE};

	return prots[random % ARRAY_SIZE(prots)];
}

/* Errors are part of it. */
static void some_change(unsigned *random)
{
	unsigned r = *random = *random * 1664525 + 1013904223, page = r >> 8 & (PAGES - 1);
	uint64_t addr = place.base + page * PAGE_BYTES, len = ((r >> 16) % 8 + 1) * PAGE_BYTES;

	switch (r >> 28) {
	case 0:
	case 1:
		place_mmap(&place, &addr, len, some_prot(r >> 20), SPACE_FIXED);
		break;
	case 2:
	case 3:
	case 4:
		place_mmap(&place, &addr, len, some_prot(r >> 20), 0);
		break;
	case 5:
	case 6:
		place_munmap(&place, addr, len);
		break;
	case 7:
		place_mremap(&place, &addr, len, ((r >> 20) % 12 + 1) * PAGE_BYTES);
		break;
	case 8:
		place_madvise(&place, addr, len, MADV_DONTNEED);
		break;
	case 9:
		place_mlock(&place, addr, len, r >> 20 & 1);
		break;
	default:
		place_mprotect(&place, addr, len, some_prot(r >> 20));
		break;
	}
}

static void what_was_found_stays_true_while_it_stays_the_same(void **state)
{
	struct found found[PAGES];
	unsigned random = 7, kept = 0;

	(void)state;
	open_world();
	for (unsigned i = 0; i < PAGES; i++)
		found[i] = look(i);
	for (unsigned op = 0; op < OPS; op++) {
		some_change(&random);
		for (unsigned i = 0; i < PAGES; i++) {
			struct found now = look(i);

			if (found[i].kind == SPACE_ANON && found[i].changes == now.changes) {
				assert_int_equal(now.kind, SPACE_ANON);
				assert_int_equal(now.prot, found[i].prot);
				kept++;
			} else {
				found[i] = now;
			}
		}
	}
	assert_true(kept > OPS); /* it was put to the test */
	close_world();
}

/* Or nobody would profit from it. */
static void more_memory_and_faults_leave_it(void **state)
{
	uint64_t addr = 0, changes;
	char byte = 1;

	(void)state;
	open_world();
	assert_int_equal(place_mmap(&place, &addr, 8 * PAGE_BYTES, PROT_READ | PROT_WRITE, 0), 0);
	changes = space_changes(place.space);
	for (int i = 0; i < 4; i++) {
		uint64_t more = 0;

		assert_int_equal(place_mmap(&place, &more, PAGE_BYTES, PROT_READ | PROT_WRITE, 0), 0);
		assert_int_equal(place_write(&place, more, &byte, 1), 0);
	}
	assert_int_equal(place_madvise(&place, addr, 4 * PAGE_BYTES, MADV_DONTNEED), 0);
	assert_true(space_changes(place.space) == changes);
	close_world();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_found_stays_true_while_it_stays_the_same),
		cmocka_unit_test(more_memory_and_faults_leave_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

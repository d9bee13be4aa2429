/* SPDX-License-Identifier: MIT */
/* Out of memory: the report says who uses what, and its numbers are true. */
#define _GNU_SOURCE
#include "../world.h"
#include "mm/mm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define NR_FRAMES 128u

static struct world world;
static struct place parent;
static uint64_t base;
static char lines[20][400];
static unsigned nr_lines;

static void keep_line(void *ctx, const char *text)
{
	(void)ctx;
	assert_true(nr_lines < ARRAY_SIZE(lines));
	snprintf(lines[nr_lines++], sizeof(lines[0]), "%s", text);
}

static void keep_saying(struct machine *machine, const char *text)
{
	keep_line(machine, text);
}

static void open_world(unsigned nr_nodes, const char *swap)
{
	struct world_config config = {.kind = ANONMM_SOFT,
		.nr_frames = NR_FRAMES,
		.nr_nodes = nr_nodes,
		.space_bytes = 16 * MIB,
		.swap = swap};

	base = 0;
	nr_lines = 0;
	assert_int_equal(world_open(&world, &config), 0);
	world.ops.say = keep_saying;
	assert_int_equal(place_open(&parent, &world), 0);
	assert_int_equal(place_mmap(&parent, &base, 2 * MIB, PROT_READ | PROT_WRITE, SPACE_NORESERVE), 0);
}

static void close_world(void)
{
	char why[200];
	const char *wrong = pager_validate(world.pager, why, sizeof(why));

	if (wrong)
		fail_msg("%s", wrong);
	place_close(&parent);
	world_close(&world);
}

static const char *line_with(const char *start)
{
	for (unsigned i = 0; i < nr_lines; i++)
		if (strncmp(lines[i], start, strlen(start)) == 0)
			return lines[i];
	fail_msg("no line begins with '%s'", start);
	return NULL;
}

/* Stores until memory is out; how many pages it has then. */
static unsigned fill_up(void)
{
	for (unsigned i = 0;; i++) {
		int error = soft_store64(parent.mmu, base + i * PAGE_BYTES, i + 1);

		if (error) {
			assert_int_equal(error, -ENOMEM);
			return i;
		}
	}
}

static void who_has_the_memory_is_said(void **state)
{
	unsigned nr[11], resident, swapped, kib, used, slots;
	struct page_view view;
	unsigned out = 0, pages;

	(void)state;
	open_world(0, "mem:?size=256K");
	pages = fill_up();
	assert_non_null(strstr(line_with("out of memory: no frame"), "(1 so far)"));
	assert_int_equal(nr_lines, 5);
	for (unsigned i = 0; i < pages; i++) {
		space_view(parent.space, base + i * PAGE_BYTES, &view);
		out += view.pte == PTE_KIND_SWAP;
	}
	assert_int_equal(sscanf(line_with("space at"), "space at 0x%*x: %u KiB mapped, %u pages resident, %u",
				 &kib, &resident, &swapped),
		3);
	assert_int_equal(kib, 2048);
	assert_int_equal(resident, pages - out);
	assert_int_equal(swapped, out);
	assert_int_equal(sscanf(line_with("swap mem:?size=256K:"), "swap %*s %u of %u", &used, &slots), 2);
	assert_int_equal(used, 64);
	assert_int_equal(slots, 64);
	assert_int_equal(
		sscanf(line_with("node 0:"),
			"node 0: %u frames: %u free, %u anonymous, %u file, %u shmem, %*u lent to swap, %u "
			"other; of these %u "
			"unevictable, %u merged, %u in swap cache, %u under writeback, %u isolated",
			&nr[0], &nr[1], &nr[2], &nr[3], &nr[4], &nr[5], &nr[6], &nr[7], &nr[8], &nr[9],
			&nr[10]),
		11);
	assert_int_equal(nr[0], NR_FRAMES);
	assert_int_equal(nr[1], 0);
	assert_int_equal(nr[2], NR_FRAMES - 1);
	assert_int_equal(nr[5], 1); /* the zero page */
	assert_int_equal(nr[3] + nr[4] + nr[6] + nr[7] + nr[9] + nr[10], 0);
	line_with("metadata: ");
	for (unsigned i = 0; i < pages; i++) {
		uint64_t value = 0;

		/* What fits into memory can still be read; what would need a frame is out of memory, too. */
		if (soft_load64(parent.mmu, base + i * PAGE_BYTES, &value) == 0)
			assert_int_equal(value, i + 1);
		nr_lines = 0;
	}
	close_world();
}

static void it_is_said_ever_more_rarely(void **state)
{
	unsigned said = 0;

	(void)state;
	open_world(0, NULL);
	for (unsigned i = 0, at = fill_up(); i < 100; i++) {
		nr_lines = 0;
		assert_int_equal(soft_store64(parent.mmu, base + at * PAGE_BYTES, 1), -ENOMEM);
		said += nr_lines > 0;
		if (nr_lines)
			line_with("swap: none");
	}
	assert_int_equal(said, 6); /* 2, 4, 8, 16, 32, 64 */
	/* It ends in a defined way: with memory given back all goes on. */
	assert_int_equal(place_madvise(&parent, base, 64 * PAGE_BYTES, MADV_DONTNEED), 0);
	assert_int_equal(soft_store64(parent.mmu, base + MIB, 1), 0);
	close_world();
}

static void kinds_are_told_apart(void **state)
{
	unsigned frames, nr_free, anon, file, shmem;
	struct file *memory;
	struct wait wait = {0};
	uint64_t addr = 0;

	(void)state;
	open_world(2, "mem:?size=1M");
	assert_int_equal(file_create(world.pager, NULL, NULL, MIB, &memory), 0);
	assert_int_equal(
		place_mmap_file(&parent, &addr, MIB, PROT_READ | PROT_WRITE, SPACE_SHARED, memory, 0), 0);
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(soft_store64(parent.mmu, addr + i * PAGE_BYTES, 1), 0);
	assert_int_equal(place_mlock(&parent, addr, 3 * PAGE_BYTES, true), 0);
	assert_int_equal(soft_store64(parent.mmu, base, 1), 0);
	pager_memory_report(world.pager, keep_line, NULL);
	unsigned all_shmem = 0, all_anon = 0, all_locked = 0;

	for (unsigned n = 0; n < 2; n++) {
		char start[20];
		unsigned locked;

		snprintf(start, sizeof(start), "node %u:", n);
		assert_int_equal(sscanf(line_with(start),
					 "node %*u: %u frames: %u free, %u anonymous, %u file, %u shmem, %*u "
					 "lent to swap, %*u other; of these %u",
					 &frames, &nr_free, &anon, &file, &shmem, &locked),
			6);
		assert_int_equal(frames, NR_FRAMES / 2);
		assert_int_equal(file, 0);
		all_anon += anon;
		all_shmem += shmem;
		all_locked += locked;
	}
	assert_int_equal(all_anon, 1);
	assert_int_equal(all_shmem, 10);
	assert_int_equal(all_locked, 3);
	assert_int_equal(WORLD_RETRY(&world, &wait, file_close(memory, &wait)), 0);
	close_world();
}

static void areas_say_what_becomes_of_them(void **state)
{
	struct wait wait = {0};
	struct swapdev *dev;
	char why[200];

	(void)state;
	open_world(0, "mem:?size=1M");
	assert_int_equal(swapdev_open("mem:?size=256K", &dev, why, sizeof(why)), 0);
	assert_int_equal(pager_add_swap(world.pager, dev, 1), 0);
	assert_int_equal(soft_store64(parent.mmu, base, 1), 0);
	assert_int_equal(place_madvise(&parent, base, PAGE_BYTES, MADV_PAGEOUT), 0);
	assert_int_equal(pager_swapoff(world.pager, "mem:?size=256K", &wait), -EAGAIN);
	pager_memory_report(world.pager, keep_line, NULL);
	assert_non_null(strstr(line_with("swap mem:?size=256K:"), "being given up"));
	assert_null(strstr(line_with("swap mem:?size=1M:"), "being given up"));
	assert_int_equal(WORLD_RETRY(&world, &wait, pager_swapoff(world.pager, "mem:?size=256K", &wait)), 0);
	assert_int_equal(WORLD_RETRY(&world, &wait, pager_freeze(world.pager, &wait)), 0);
	assert_int_equal(pager_fork_child(world.pager), 0);
	pager_thaw(world.pager);
	nr_lines = 0;
	pager_memory_report(world.pager, keep_line, NULL);
	assert_non_null(strstr(line_with("swap mem:?size=1M:"), "inherited: read only"));
	for (unsigned i = 0; i < nr_lines; i++)
		assert_null(strstr(lines[i], "256K"));
	close_world();
}

static unsigned nr_said;
static char last_said[400];

static void count_line(void *ctx, const char *text)
{
	(void)ctx;
	nr_said++;
	snprintf(last_said, sizeof(last_said), "%s", text);
}

static void *no_chunk(struct machine *machine, size_t bytes)
{
	(void)machine, (void)bytes;
	return NULL;
}

static void a_report_says_what_it_leaves_out(void **state)
{
	enum { SPACES = 400 };
	static struct space *spaces[SPACES];
	struct wait wait = {0};
	unsigned more = 0;

	(void)state;
	open_world(0, NULL);
	for (unsigned i = 0; i < SPACES; i++)
		assert_int_equal(space_create(world.pager, TEST_BASE, MIB, NULL, &spaces[i]), 0);
	nr_said = 0;
	pager_memory_report(world.pager, count_line, NULL);
	assert_int_equal(sscanf(last_said, "... and %u lines more", &more), 1);
	assert_int_equal(nr_said - 1 + more, 1 + 1 + SPACES + 2); /* node, spaces, no swap, metadata */
	for (unsigned i = 0; i < SPACES; i++) {
		assert_int_equal(WORLD_RETRY(&world, &wait, space_lock(spaces[i], &wait)), 0);
		assert_int_equal(WORLD_RETRY(&world, &wait, space_exit(spaces[i], &wait)), 0);
	}
	world.ops.chunk_alloc = no_chunk;
	nr_said = 0;
	pager_memory_report(world.pager, count_line, NULL);
	world.ops.chunk_alloc = world.real->chunk_alloc;
	assert_int_equal(nr_said, 1);
	assert_non_null(strstr(last_said, "no memory for the report"));
	close_world();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_has_the_memory_is_said),
		cmocka_unit_test(it_is_said_ever_more_rarely),
		cmocka_unit_test(kinds_are_told_apart),
		cmocka_unit_test(areas_say_what_becomes_of_them),
		cmocka_unit_test(a_report_says_what_it_leaves_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

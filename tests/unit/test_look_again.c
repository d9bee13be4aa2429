/* SPDX-License-Identifier: MIT */
/*
 * What another thread may do while a fault has dropped the lock: VMAs are merged, or the space ends. The fault then
 * finds that the host has no memory, and looks for its VMA again. Freed objects are full of junk where asserts are on.
 */
#include "mm_world.h"

#define PAGES 16u
#define UPPER (base + PAGES * PAGE_BYTES)

static uint64_t mapped; /* a file's pages */
static struct file *file;
static unsigned merged, reads;
static struct wait wait;
static void (*at_read)(void);

static int read_page(void *ctx, uint64_t index, void *bytes)
{
	(void)ctx;
	memset(bytes, (int)index + 1, PAGE_BYTES);
	reads++;
	if (at_read)
		at_read();
	return 0;
}

static const struct file_ops ops = {read_page, NULL};

static int set_up(void **state)
{
	(void)state;
	merged = reads = 0;
	mapped = 0;
	at_read = NULL;
	if (open_world((struct world_config){.kind = ANONMM_SOFT, .nr_frames = 512, .swap = "mem:?size=8M"}))
		return -1;
	assert_int_equal(file_create(world.pager, &ops, NULL, 2 * PAGES * PAGE_BYTES, &file), 0);
	return place_mmap_file(&parent, &mapped, 2 * PAGES * PAGE_BYTES, PROT_READ | PROT_WRITE, 0, file, 0);
}

static int tear_down(void **state)
{
	close_file(file);
	return close_world(state);
}

/* Two VMAs of one family, the upper from @middle on. */
static void split(uint64_t start, uint64_t middle)
{
	store(&parent, start, 1);
	assert_int_equal(place_madvise(&parent, middle, PAGES * PAGE_BYTES, MADV_SEQUENTIAL), 0);
	assert_ptr_not_equal(find_vma(parent.space, start), find_vma(parent.space, middle));
}

static void merge(uint64_t middle)
{
	assert_int_equal(place_madvise(&parent, middle, PAGES * PAGE_BYTES, MADV_NORMAL), 0);
	assert_ptr_equal(find_vma(parent.space, middle - PAGE_BYTES), find_vma(parent.space, middle));
	merged++;
}

static void merge_and_fail(struct machine *m, struct mapping *maps, unsigned nr)
{
	(void)m;
	merge(UPPER);
	for (unsigned i = 0; i < nr; i++)
		maps[i].result = -ENOMEM;
}

static void a_birth_that_finds_no_memory_looks_for_its_vma_again(void **state)
{
	(void)state;
	split(base, UPPER);
	world.ops.map = merge_and_fail;
	assert_int_equal(soft_store64(parent.mmu, UPPER, 2), -ENOMEM);
	world.ops.map = world.real->map;
	assert_int_equal(merged, 1);
	assert_int_equal(view_of(&parent, UPPER).pte, PTE_KIND_NONE);
	valid();
	store(&parent, UPPER, 2);
	assert_int_equal(load(&parent, UPPER), 2);
}

/* The first memory is for the page cache, the second for the copy. */
static int merge_and_fail_later(struct machine *m, pfn_t first, unsigned nr)
{
	if (reads == 0)
		return world.real->frame_populate(m, first, nr);
	merge(mapped + PAGES * PAGE_BYTES);
	return -ENOMEM;
}

static void a_copy_that_finds_no_memory_looks_for_its_vma_again(void **state)
{
	uint64_t middle = mapped + PAGES * PAGE_BYTES;

	(void)state;
	split(mapped, middle);
	reads = 0;
	world.ops.frame_populate = merge_and_fail_later;
	assert_int_equal(soft_store64(parent.mmu, middle, 2), -ENOMEM);
	memory_again();
	assert_int_equal(merged, 1);
	assert_int_equal(view_of(&parent, middle).pte, PTE_KIND_NONE);
	valid();
	store(&parent, middle + 8, 2);
	assert_int_equal(load(&parent, middle), 0x1111111111111111);
}

/* ---- The space itself ------------------------------------------------------------------------ */

static int ended;

static void end_the_space(void)
{
	ended = space_exit(parent.space, &wait);
}

/* Without its VMAs it has nothing for the fault, but it is there until the fault has said so. */
static void a_space_is_there_until_its_last_fault_has_ended(void **state)
{
	struct wait fault_wait;

	(void)state;
	assert_int_equal(space_lock(parent.space, &wait), 0);
	at_read = end_the_space;
	assert_int_equal(pager_fault(world.pager, mapped, ACCESS_READ, &fault_wait), FAULT_SIGSEGV);
	assert_int_equal(ended, -EAGAIN);
	assert_int_equal(wait.what, WAIT_SPACE);
	assert_true(wait_is_over(world.pager, &wait));
	assert_int_equal(WORLD_RETRY(&world, &wait, space_exit(parent.space, &wait)), 0);
	free(parent.mmu);
	parent.space = NULL;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			a_birth_that_finds_no_memory_looks_for_its_vma_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			a_copy_that_finds_no_memory_looks_for_its_vma_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			a_space_is_there_until_its_last_fault_has_ended, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* The public API of memory nodes and swap devices that come and go, on both machines. */
#include "../needs.h"
#include "anonmm.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <cmocka.h>

#define PAGE 4096u
#define MIB (1024u * 1024u)
#define NR_PAGES 4000u /* twice what 8 MiB hold */
#define FIRST "mem:?size=32M"
#define SECOND "mem:?size=48M"

static struct anonmm *open_or_skip(enum anonmm_machine machine, enum anonmm_faults faults)
{
	struct anonmm_config config = {.machine = machine,
		.memory = 8 * MIB,
		.swap = FIRST,
		.faults = faults,
		.nodes = 2,
		.seed = 1};
	struct anonmm *mm = NULL;
	int error = anonmm_open(&config, &mm);

	if (machine == ANONMM_UFFD && (error == -EPERM || error == -ENOSYS))
		SKIP_WITHOUT(REAL_MEMORY, "%s", anonmm_error());
	assert_int_equal(error, 0);
	return mm;
}

static struct anonmm_stats stats(struct anonmm *mm)
{
	struct anonmm_stats now;

	anonmm_get_stats(mm, &now, sizeof(now));
	return now;
}

/* What both machines do the same way: pages move, and swap goes to another device and back. */
static void move_and_swap(struct anonmm *mm)
{
	assert_int_equal(anonmm_migrate(mm, 0, 2, 1), -EINVAL);
	assert_int_equal(anonmm_migrate(mm, 1, 1, 1), -EINVAL);
	assert_int_equal(anonmm_compact(mm, 2, 1), -EINVAL);
	int moved = anonmm_migrate(mm, 0, 1, 8);

	assert_true(moved == -ENOMEM || (moved > 0 && moved <= 8));
	assert_true(anonmm_compact(mm, 0, 8) >= 0);
	assert_int_equal(stats(mm).slots, 32 * MIB / PAGE);
	assert_int_equal(anonmm_swapoff(mm, FIRST), -ENOMEM);
	assert_int_equal(anonmm_swapoff(mm, SECOND), -ENOENT);
	assert_int_equal(anonmm_swapon(mm, "nonsense:", 0), -EINVAL);
	assert_int_equal(anonmm_swapon(mm, SECOND, -1), 0);
	assert_int_equal(stats(mm).slots, 80 * MIB / PAGE);
	assert_int_equal(anonmm_swapoff(mm, FIRST), 0);
	assert_int_equal(stats(mm).slots, 48 * MIB / PAGE);
}

static void soft_machines_move_and_swap(void **state)
{
	struct anonmm *mm = open_or_skip(ANONMM_SOFT, ANONMM_FAULTS_AUTO);
	struct anonmm_space *space;
	uint64_t addr = 0, value;

	(void)state;
	assert_int_equal(anonmm_space_create(mm, &space), 0);
	assert_int_equal(anonmm_space_mmap(space, &addr, NR_PAGES * PAGE, PROT_READ | PROT_WRITE), 0);
	for (unsigned i = 0; i < NR_PAGES; i++)
		assert_int_equal(anonmm_store64(space, addr + i * PAGE, i + 1), 0);
	move_and_swap(mm);
	for (unsigned i = 0; i < NR_PAGES; i++) {
		assert_int_equal(anonmm_load64(space, addr + i * PAGE, &value), 0);
		assert_int_equal(value, i + 1);
	}
	anonmm_close(mm);
}

static void real_memory_moves_and_swaps(enum anonmm_faults faults)
{
	struct anonmm *mm = open_or_skip(ANONMM_UFFD, faults);
	char *p = anonmm_mmap(mm, NULL, NR_PAGES * PAGE, PROT_READ | PROT_WRITE);

	assert_non_null(p);
	for (unsigned i = 0; i < NR_PAGES; i++)
		*(volatile uint64_t *)(void *)(p + i * PAGE) = i + 1;
	move_and_swap(mm);
	for (unsigned i = 0; i < NR_PAGES; i++)
		assert_int_equal(*(volatile uint64_t *)(void *)(p + i * PAGE), i + 1);
	/* The library's threads cannot reach descriptors that come later: refused, not half done. */
	assert_int_equal(anonmm_swapon(mm, "file:/var/tmp?size=8M", 0), -EOPNOTSUPP);
	anonmm_close(mm);
}

static void real_memory_moves_and_swaps_thread(void **state)
{
	(void)state;
	real_memory_moves_and_swaps(ANONMM_FAULTS_THREAD);
}

static void real_memory_moves_and_swaps_signal(void **state)
{
	(void)state;
	real_memory_moves_and_swaps(ANONMM_FAULTS_SIGNAL);
}

static void nodes_are_checked(void **state)
{
	struct anonmm_config config = {.machine = ANONMM_SOFT, .memory = 8 * MIB, .nodes = 9};
	struct anonmm *mm;

	(void)state;
	assert_int_equal(anonmm_open(&config, &mm), -EINVAL);
	assert_non_null(strstr(anonmm_error(), "9 memory nodes"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(soft_machines_move_and_swap),
		cmocka_unit_test(real_memory_moves_and_swaps_thread),
		cmocka_unit_test(real_memory_moves_and_swaps_signal),
		cmocka_unit_test(nodes_are_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* The public API: what it promises in include/anonmm.h, and every error that it documents. */
#include "../needs.h"
#include "anonmm.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>
#include <cmocka.h>

#define PAGE 4096u
#define MIB (1024u * 1024u)
#define SWAP "file:/var/tmp?size=64M"

static struct anonmm_config good(enum anonmm_machine machine)
{
	return (struct anonmm_config){.size = sizeof(struct anonmm_config),
		.machine = machine,
		.memory = 8 * MIB,
		.swap = SWAP,
		.seed = 1};
}

static struct anonmm *open_or_skip(const struct anonmm_config *config)
{
	struct anonmm *mm = NULL;
	int error = anonmm_open(config, &mm);

	if (config->machine == ANONMM_UFFD && (error == -EPERM || error == -ENOSYS))
		SKIP_WITHOUT(REAL_MEMORY, "%s", anonmm_error());
	if (error)
		print_error("%s\n", anonmm_error());
	assert_int_equal(error, 0);
	assert_string_equal(anonmm_error(), "");
	return mm;
}

/* ---- Open ------------------------------------------------------------------------------- */

static void refused(const struct anonmm_config *config, int error, const char *word)
{
	struct anonmm *mm = NULL;

	assert_int_equal(anonmm_open(config, &mm), error);
	assert_null(mm);
	if (!strstr(anonmm_error(), word))
		fail_msg("'%s' does not say '%s'", anonmm_error(), word);
	assert_null(strchr(anonmm_error(), '\n'));
}

static void open_refuses_bad_configurations(void **state)
{
	struct anonmm_config config;

	(void)state;
	config = good(ANONMM_SOFT), config.memory = 0;
	refused(&config, -EINVAL, "4 MiB");
	config = good(ANONMM_SOFT), config.memory = ANONMM_MEMORY_MIN - 1;
	refused(&config, -EINVAL, "4 MiB");
	config = good(ANONMM_SOFT), config.machine = (enum anonmm_machine)7;
	refused(&config, -EINVAL, "machine 7");
	config = good(ANONMM_SOFT), config.faults = (enum anonmm_faults)9;
	refused(&config, -EINVAL, "9");
	config = good(ANONMM_SOFT), config.swappiness = 201;
	refused(&config, -EINVAL, "201");
	config = good(ANONMM_SOFT), config.swappiness = -1;
	refused(&config, -EINVAL, "-1");
	config = good(ANONMM_SOFT), config.address_space = 1;
	refused(&config, -EINVAL, "address space");
	config = good(ANONMM_SOFT), config.address_space = 1ull << 60;
	refused(&config, -EINVAL, "address space");
}

static void open_refuses_bad_devices(void **state)
{
	struct anonmm_config config = good(ANONMM_SOFT);

	(void)state;
	config.swap = "";
	refused(&config, -EINVAL, "");
	config.swap = "no-such-device:/x?size=1M";
	refused(&config, -EINVAL, "no-such-device");
	config.swap = "file:/var/tmp?size=lots";
	refused(&config, -EINVAL, "lots");
	config.swap = "file:/no/such/directory?size=16M";
	refused(&config, -ENOENT, "/no/such/directory");
	/* The bookkeeping of so much swap does not fit into the limit. */
	config.swap = "file:/var/tmp?size=1P";
	assert_true(anonmm_open(&config, &(struct anonmm *){NULL}) < 0);
	assert_string_not_equal(anonmm_error(), "");
}

static void open_works_again_after_a_failure(void **state)
{
	struct anonmm_config config = good(ANONMM_SOFT);

	(void)state;
	config.memory = 1;
	refused(&config, -EINVAL, "MiB");
	config.memory = 8 * MIB;
	anonmm_close(open_or_skip(&config));
}

static void close_takes_null(void **state)
{
	(void)state;
	anonmm_close(NULL);
}

static void version_is_three_numbers(void **state)
{
	int a, b, c;

	(void)state;
	assert_int_equal(sscanf(anonmm_version(), "%d.%d.%d", &a, &b, &c), 3);
}

/* ---- Soft ------------------------------------------------------------------------------- */

static void soft_space_keeps_four_times_its_limit(void **state)
{
	struct anonmm_config config = good(ANONMM_SOFT);
	struct anonmm *mm = open_or_skip(&config);
	uint64_t addr = 0, bytes = 32 * MIB;
	struct anonmm_space *space;
	struct anonmm_stats stats;

	(void)state;
	assert_int_equal(anonmm_space_create(mm, &space), 0);
	assert_int_equal(anonmm_space_mmap(space, &addr, bytes, PROT_READ | PROT_WRITE), 0);
	for (uint64_t i = 0; i < bytes; i += 512)
		assert_int_equal(anonmm_store64(space, addr + i, i ^ 0x5555), 0);
	for (uint64_t i = 0; i < bytes; i += 512) {
		uint64_t value;

		assert_int_equal(anonmm_load64(space, addr + i, &value), 0);
		assert_int_equal(value, i ^ 0x5555);
	}
	anonmm_get_stats(mm, &stats, sizeof(stats));
	assert_true(stats.frames * PAGE <= config.memory);
	assert_true(stats.frames_peak <= stats.frames);
	assert_true(stats.swapped_out > (bytes - config.memory) / PAGE);
	assert_true(stats.swapped_in > 0);
	assert_int_equal(stats.born, bytes / PAGE);
	assert_int_equal(stats.mapped_bytes, bytes);
	assert_int_equal(anonmm_space_munmap(space, addr, bytes), 0);
	anonmm_get_stats(mm, &stats, sizeof(stats));
	assert_int_equal(stats.slots_used, 0);
	assert_int_equal(stats.mapped_bytes, 0);
	anonmm_space_destroy(space);
	anonmm_close(mm);
}

static void soft_access_says_what_is_wrong(void **state)
{
	struct anonmm_config config = good(ANONMM_SOFT);
	struct anonmm *mm = open_or_skip(&config);
	struct anonmm_space *space;
	uint64_t addr = 0, value;
	char buf[2 * PAGE];

	(void)state;
	assert_int_equal(anonmm_space_create(mm, &space), 0);
	assert_int_equal(anonmm_space_mmap(space, &addr, 2 * PAGE, PROT_READ | PROT_WRITE), 0);
	assert_int_equal(anonmm_load64(space, 0, &value), -EFAULT);
	assert_int_equal(anonmm_load64(space, UINT64_MAX - 7, &value), -EFAULT);
	assert_int_equal(anonmm_load64(space, UINT64_MAX - 3, &value), -EFAULT);
	assert_int_equal(anonmm_store64(space, addr + 2 * PAGE, 1), -EFAULT);
	assert_int_equal(anonmm_store64(space, addr + 2 * PAGE - 4, 1), -EFAULT);
	assert_int_equal(anonmm_read(space, addr, buf, 2 * PAGE), 0);
	assert_int_equal(anonmm_read(space, addr + 1, buf, 2 * PAGE), -EFAULT);
	assert_int_equal(anonmm_write(space, addr + PAGE / 2, "four words or so", 16), 0);
	assert_int_equal(anonmm_space_mprotect(space, addr, PAGE, PROT_READ), 0);
	assert_int_equal(anonmm_store64(space, addr, 1), -EFAULT);
	assert_int_equal(anonmm_store64(space, addr + PAGE, 1), 0);
	assert_int_equal(anonmm_read(space, addr + PAGE / 2, buf, 16), 0);
	assert_memory_equal(buf, "four words or so", 16);
	assert_int_equal(anonmm_space_mprotect(space, addr, PAGE, PROT_NONE), 0);
	assert_int_equal(anonmm_load64(space, addr, &value), -EFAULT);
	assert_int_equal(anonmm_space_mprotect(space, addr, PAGE, PROT_READ | PROT_WRITE), 0);
	assert_int_equal(anonmm_read(space, addr + PAGE / 2, buf, 16), 0);
	assert_memory_equal(buf, "four words or so", 16);
	anonmm_close(mm); /* and the space with it */
}

static void soft_calls_refuse_bad_ranges(void **state)
{
	struct anonmm_config config = good(ANONMM_SOFT);
	struct anonmm *mm = open_or_skip(&config);
	struct anonmm_space *space;
	uint64_t addr = 0, other;

	(void)state;
	config.address_space = 0;
	assert_int_equal(anonmm_space_create(mm, &space), 0);
	assert_int_equal(anonmm_space_mmap(space, &addr, 0, PROT_READ), -EINVAL);
	assert_int_equal(anonmm_space_mmap(space, &addr, UINT64_MAX, PROT_READ), -EINVAL);
	assert_int_equal(anonmm_space_mmap(space, &addr, PAGE, 0x4000), -EINVAL);
	assert_int_equal(anonmm_space_mmap(space, &addr, 1ull << 40, PROT_READ), -ENOMEM);
	assert_int_equal(anonmm_space_mmap(space, &addr, 4 * PAGE, PROT_READ | PROT_WRITE), 0);
	assert_int_equal(anonmm_space_munmap(space, addr + 1, PAGE), -EINVAL);
	assert_int_equal(anonmm_space_munmap(space, addr, 0), -EINVAL);
	assert_int_equal(anonmm_space_munmap(space, addr + 64 * PAGE, PAGE), 0);
	assert_int_equal(anonmm_space_mprotect(space, addr + 1, PAGE, PROT_READ), -EINVAL);
	assert_int_equal(anonmm_space_mprotect(space, addr, 8 * PAGE, PROT_READ), -ENOMEM);
	assert_int_equal(anonmm_space_mprotect(space, addr, PAGE, 0x4000), -EINVAL);
	assert_int_equal(anonmm_space_madvise(space, addr, PAGE, 12345), -EINVAL);
	assert_int_equal(anonmm_space_madvise(space, addr, 8 * PAGE, MADV_DONTNEED), -ENOMEM);
	assert_int_equal(anonmm_space_mlock(space, addr, 8 * PAGE), -ENOMEM);
	other = addr + 64 * PAGE;
	assert_int_equal(anonmm_space_mremap(space, &other, PAGE, 2 * PAGE), -EFAULT);
	other = addr;
	assert_int_equal(anonmm_space_mremap(space, &other, PAGE, 0), -EINVAL);
	assert_int_equal(anonmm_space_mremap(space, &other, 4 * PAGE, 64 * PAGE), 0);
	assert_int_equal(anonmm_store64(space, other + 63 * PAGE, 1), 0);
	anonmm_space_destroy(space);
	anonmm_close(mm);
}

/* More locked pages than half of all frames would leave nothing to page with. */
static void soft_mlock_has_a_bound(void **state)
{
	struct anonmm_config config = good(ANONMM_SOFT);
	struct anonmm *mm = open_or_skip(&config);
	struct anonmm_space *space;
	uint64_t addr = 0;

	(void)state;
	assert_int_equal(anonmm_space_create(mm, &space), 0);
	assert_int_equal(anonmm_space_mmap(space, &addr, 16 * MIB, PROT_READ | PROT_WRITE), 0);
	assert_int_equal(anonmm_space_mlock(space, addr, 1 * MIB), 0);
	assert_int_equal(anonmm_space_mlock(space, addr, 16 * MIB), -ENOMEM);
	assert_int_equal(anonmm_space_munlock(space, addr, 16 * MIB), 0);
	anonmm_close(mm);
}

static void soft_spaces_are_apart(void **state)
{
	struct anonmm_config config = good(ANONMM_SOFT);
	struct anonmm *mm = open_or_skip(&config);
	struct anonmm_space *a, *b;
	uint64_t at_a = 0, at_b = 0, value;

	(void)state;
	assert_int_equal(anonmm_space_create(mm, &a), 0);
	assert_int_equal(anonmm_space_create(mm, &b), 0);
	assert_int_equal(anonmm_space_mmap(a, &at_a, PAGE, PROT_READ | PROT_WRITE), 0);
	assert_int_equal(anonmm_store64(a, at_a, 42), 0);
	assert_int_equal(anonmm_load64(b, at_a, &value), -EFAULT);
	at_b = at_a;
	assert_int_equal(anonmm_space_mmap(b, &at_b, PAGE, PROT_READ | PROT_WRITE), 0);
	assert_int_equal(at_b, at_a);
	assert_int_equal(anonmm_load64(b, at_b, &value), 0);
	assert_int_equal(value, 0);
	anonmm_space_destroy(a);
	anonmm_space_destroy(b);
	anonmm_space_destroy(NULL);
	anonmm_close(mm);
}

/* Without swap only zero pages can go: at the end the access says so, and what is there stays readable. */
static void soft_without_swap_runs_out_in_a_defined_way(void **state)
{
	struct anonmm_config config = good(ANONMM_SOFT);
	uint64_t addr = 0, stored = 0, value;
	struct anonmm_space *space;
	struct anonmm *mm;
	int error = 0;

	(void)state;
	config.swap = NULL;
	mm = open_or_skip(&config);
	assert_int_equal(anonmm_space_create(mm, &space), 0);
	error = anonmm_space_mmap(space, &addr, 7 * MIB, PROT_READ | PROT_WRITE);
	assert_int_equal(error, 0);
	while (stored < 7 * MIB && !(error = anonmm_store64(space, addr + stored, stored + 1)))
		stored += PAGE;
	if (stored < 7 * MIB)
		assert_int_equal(error, -ENOMEM);
	assert_true(stored > 4 * MIB);
	for (uint64_t i = 0; i < stored; i += PAGE) {
		assert_int_equal(anonmm_load64(space, addr + i, &value), 0);
		assert_int_equal(value, i + 1);
	}
	anonmm_close(mm);
}

static void pointers_are_refused_on_soft_and_spaces_on_uffd(void **state)
{
	struct anonmm_config config = good(ANONMM_SOFT);
	struct anonmm *mm = open_or_skip(&config);
	struct anonmm_space *space = NULL;

	(void)state;
	errno = 0;
	assert_null(anonmm_mmap(mm, NULL, PAGE, PROT_READ));
	assert_int_equal(errno, EINVAL);
	assert_int_equal(anonmm_munmap(mm, NULL, PAGE), -EINVAL);
	anonmm_close(mm);
	config = good(ANONMM_UFFD);
	mm = open_or_skip(&config);
	assert_int_equal(anonmm_space_create(mm, &space), -EINVAL);
	anonmm_close(mm);
}

/* ---- Callers of other releases -------------------------------------------------------------- */

static void a_size_of_zero_is_the_first_release_s(void **state)
{
	struct anonmm_config config = good(ANONMM_SOFT);

	(void)state;
	config.size = 0;
	anonmm_close(open_or_skip(&config));
}

/* What a caller's structure does not have is not read. */
static void a_shorter_configuration_gets_the_defaults(void **state)
{
	struct anonmm_config config = good(ANONMM_SOFT);

	(void)state;
	config.size = offsetof(struct anonmm_config, nodes);
	config.nodes = ANONMM_NODES_MAX + 1;
	config.swappiness = -1;
	anonmm_close(open_or_skip(&config));
	config.size = 8;
	refused(&config, -EINVAL, "8 bytes");
}

static void a_longer_configuration_may_ask_for_nothing_unknown(void **state)
{
	struct {
		struct anonmm_config config;
		uint64_t later[2];
	} longer = {.config = good(ANONMM_SOFT)};

	(void)state;
	longer.config.size = sizeof(longer);
	anonmm_close(open_or_skip(&longer.config));
	longer.later[1] = 1;
	refused(&longer.config, -E2BIG, "later release");
}

static void counters_fill_what_the_caller_has(void **state)
{
	struct anonmm_config config = good(ANONMM_SOFT);
	struct anonmm *mm = open_or_skip(&config);
	struct {
		struct anonmm_stats stats;
		uint64_t later;
	} longer;
	uint64_t shorter[3] = {7, 7, 7};

	(void)state;
	memset(&longer, 0xff, sizeof(longer));
	anonmm_get_stats(mm, &longer.stats, sizeof(longer));
	assert_int_equal(longer.stats.frames_used, 1); /* the zero page */
	assert_int_equal(longer.later, 0);
	anonmm_get_stats(mm, (struct anonmm_stats *)(void *)shorter, 2 * sizeof(uint64_t));
	assert_int_equal(shorter[0] + shorter[1], 0);
	assert_int_equal(shorter[2], 7);
	anonmm_close(mm);
}

static void what_is_given_by_an_out_pointer_is_null_on_failure(void **state)
{
	struct anonmm_config config = good(ANONMM_UFFD);
	struct anonmm *mm = (void *)&config;
	struct anonmm_space *space = (void *)&config;

	(void)state;
	config.memory = 1;
	assert_int_equal(anonmm_open(&config, &mm), -EINVAL);
	assert_null(mm);
	config = good(ANONMM_UFFD);
	mm = open_or_skip(&config);
	assert_int_equal(anonmm_space_create(mm, &space), -EINVAL);
	assert_null(space);
	anonmm_close(mm);
}

/* ---- Real memory -------------------------------------------------------------------------- */

static void pointers_keep_four_times_their_limit(enum anonmm_faults faults, bool copy)
{
	struct anonmm_config config = good(ANONMM_UFFD);
	size_t words = 32 * MIB / sizeof(uint64_t);
	struct anonmm_stats stats;
	struct anonmm *mm;
	uint64_t *p;

	config.faults = faults;
	config.copy = copy;
	mm = open_or_skip(&config);
	p = anonmm_mmap(mm, NULL, 32 * MIB, PROT_READ | PROT_WRITE);
	assert_non_null(p);
	for (size_t i = 0; i < words; i += 64)
		p[i] = i ^ 0x5555;
	for (size_t i = 0; i < words; i += 64)
		if (p[i] != (i ^ 0x5555))
			fail_msg("word %zu is %llx", i, (unsigned long long)p[i]);
	anonmm_get_stats(mm, &stats, sizeof(stats));
	assert_true(stats.frames * PAGE <= config.memory);
	assert_true(stats.swapped_out > 0 && stats.swapped_in > 0);
	assert_int_equal(anonmm_munmap(mm, p, 32 * MIB), 0);
	anonmm_close(mm);
}

static void pointers_work_in_thread_mode(void **state)
{
	(void)state;
	pointers_keep_four_times_their_limit(ANONMM_FAULTS_THREAD, false);
}

static void pointers_work_in_signal_mode(void **state)
{
	(void)state;
	pointers_keep_four_times_their_limit(ANONMM_FAULTS_SIGNAL, false);
}

static void pointers_work_without_move(void **state)
{
	(void)state;
	pointers_keep_four_times_their_limit(ANONMM_FAULTS_THREAD, true);
}

static void pointer_calls_do_what_their_models_do(void **state)
{
	struct anonmm_config config = good(ANONMM_UFFD);
	struct anonmm *mm = open_or_skip(&config);
	char *p = anonmm_mmap(mm, NULL, 8 * PAGE, PROT_READ | PROT_WRITE), *q;

	(void)state;
	assert_non_null(p);
	strcpy(p, "here");
	assert_int_equal(anonmm_madvise(mm, p, PAGE, MADV_PAGEOUT), 0);
	assert_string_equal(p, "here");
	q = anonmm_mremap(mm, p, 8 * PAGE, 64 * PAGE);
	assert_non_null(q);
	assert_string_equal(q, "here");
	assert_int_equal(anonmm_madvise(mm, q, PAGE, MADV_DONTNEED), 0);
	assert_int_equal(q[0], 0);
	assert_int_equal(anonmm_mlock(mm, q, PAGE), 0);
	assert_int_equal(anonmm_munlock(mm, q, PAGE), 0);
	assert_int_equal(anonmm_mprotect(mm, q, PAGE, PROT_READ), 0);
	assert_int_equal(q[1], 0);
	errno = 0;
	assert_null(anonmm_mmap(mm, NULL, 0, PROT_READ));
	assert_int_equal(errno, EINVAL);
	assert_null(anonmm_mmap(mm, NULL, (size_t)1 << 50, PROT_READ));
	assert_int_equal(errno, ENOMEM);
	assert_int_equal(anonmm_munmap(mm, q + 1, PAGE), -EINVAL);
	assert_int_equal(anonmm_munmap(mm, q, 64 * PAGE), 0);
	anonmm_close(mm);
}

static volatile uint64_t *handler_words;

/* Touches one page after another, so that some of them are out. */
static void on_tick(int sig)
{
	static size_t at;

	(void)sig;
	for (unsigned i = 0; i < 8; i++, at++)
		(void)handler_words[at % 4096 * 512];
}

static void a_handler_may_fault_in(enum anonmm_faults faults)
{
	struct anonmm_config config = good(ANONMM_UFFD);
	struct sigaction action = {.sa_handler = on_tick, .sa_flags = SA_ONSTACK | SA_RESTART}, old;
	struct itimerval often = {{0, 200}, {0, 200}}, never = {{0, 0}, {0, 0}};
	struct anonmm_stats stats;

	config.faults = faults;
	struct anonmm *mm = open_or_skip(&config);

	handler_words = anonmm_mmap(mm, NULL, 16 * MIB, PROT_READ | PROT_WRITE);
	assert_non_null(handler_words);
	for (size_t i = 0; i < 4096; i++)
		handler_words[i * 512] = i;
	sigaction(SIGALRM, &action, &old);
	setitimer(ITIMER_REAL, &often, NULL);
	for (unsigned i = 0; i < 200000; i++)
		anonmm_get_stats(mm, &stats, sizeof(stats));
	for (unsigned i = 0; i < 2000; i++)
		assert_int_equal(anonmm_set_limit(mm, (7 + i % 2) * MIB), 0);
	setitimer(ITIMER_REAL, &never, NULL);
	sigaction(SIGALRM, &old, NULL);
	assert_true(stats.swapped_in > 0);
	assert_int_equal(anonmm_munmap(mm, (void *)handler_words, 16 * MIB), 0);
	anonmm_close(mm);
}

static void a_handler_may_fault_while_the_library_works(void **state)
{
	(void)state;
	a_handler_may_fault_in(ANONMM_FAULTS_THREAD);
	a_handler_may_fault_in(ANONMM_FAULTS_SIGNAL);
}

#define STACK_ROOM (256u * 1024)

/* The memory below a small stack, where an overflow would go. */
static void is_untouched(const uint8_t *memory, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		if (memory[i] != 0xa5)
			fail_msg("the stack has overflowed by %zu bytes", bytes - i);
}

static volatile uintptr_t handler_place;

static void on_measure(int sig)
{
	(void)sig;
	handler_place = (uintptr_t)__builtin_frame_address(0);
}

/* A stack of @bytes at the end of @memory, for handlers of SIGUSR1. */
static void use_stack(uint8_t *memory, size_t bytes, void (*handler)(int))
{
	struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK | SA_RESTART};
	stack_t stack = {.ss_sp = memory + STACK_ROOM - bytes, .ss_size = bytes};

	assert_int_equal(sigaltstack(&stack, NULL), 0);
	assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
	memset(memory, 0xa5, STACK_ROOM);
}

/* The thread faults, or the handler of its signal does, with room for the kernel's frames and 4 KiB. */
static void faults_with_stack(struct anonmm *mm, uint8_t *memory, size_t bytes, bool in_handler)
{
	use_stack(memory, bytes, on_tick);
	handler_words = anonmm_mmap(mm, NULL, 16 * MIB, PROT_READ | PROT_WRITE);
	assert_non_null(handler_words);
	for (size_t i = 0; i < 4096; i++) {
		handler_words[i * 512] = i;
		if (in_handler)
			raise(SIGUSR1);
	}
	for (size_t i = 0; i < 4096; i++)
		assert_int_equal(handler_words[i * 512], i);
	is_untouched(memory, STACK_ROOM - bytes);
	assert_int_equal(anonmm_munmap(mm, (void *)handler_words, 16 * MIB), 0);
}

static void faults_need_no_large_alternate_stack(void **state)
{
	struct anonmm_config config = good(ANONMM_UFFD);
	uint8_t *memory = malloc(STACK_ROOM);
	stack_t before;

	(void)state;
	config.faults = ANONMM_FAULTS_SIGNAL;
	struct anonmm *mm = open_or_skip(&config);

	sigaltstack(NULL, &before);
	use_stack(memory, STACK_ROOM, on_measure);
	raise(SIGUSR1);
	size_t frame = (uintptr_t)(memory + STACK_ROOM) - handler_place;

	faults_with_stack(mm, memory, frame + 4096, false);
	faults_with_stack(mm, memory, 2 * frame + 4096, true);
	signal(SIGUSR1, SIG_DFL);
	sigaltstack(&before, NULL);
	anonmm_close(mm);
	free(memory);
}

static void two_pagers_live_side_by_side(void **state)
{
	struct anonmm_config config = good(ANONMM_UFFD);
	struct anonmm *a, *b;
	char *p, *q;

	(void)state;
	config.faults = ANONMM_FAULTS_SIGNAL;
	a = open_or_skip(&config);
	b = open_or_skip(&config);
	p = anonmm_mmap(a, NULL, MIB, PROT_READ | PROT_WRITE);
	q = anonmm_mmap(b, NULL, MIB, PROT_READ | PROT_WRITE);
	assert_non_null(p);
	assert_non_null(q);
	memset(p, 1, MIB);
	memset(q, 2, MIB);
	anonmm_close(a);
	assert_int_equal(q[MIB - 1], 2);
	q[0] = 3;
	anonmm_close(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(open_refuses_bad_configurations),
		cmocka_unit_test(open_refuses_bad_devices),
		cmocka_unit_test(open_works_again_after_a_failure),
		cmocka_unit_test(close_takes_null),
		cmocka_unit_test(version_is_three_numbers),
		cmocka_unit_test(soft_space_keeps_four_times_its_limit),
		cmocka_unit_test(soft_access_says_what_is_wrong),
		cmocka_unit_test(soft_calls_refuse_bad_ranges),
		cmocka_unit_test(soft_mlock_has_a_bound),
		cmocka_unit_test(soft_spaces_are_apart),
		cmocka_unit_test(soft_without_swap_runs_out_in_a_defined_way),
		cmocka_unit_test(pointers_are_refused_on_soft_and_spaces_on_uffd),
		cmocka_unit_test(a_size_of_zero_is_the_first_release_s),
		cmocka_unit_test(a_shorter_configuration_gets_the_defaults),
		cmocka_unit_test(a_longer_configuration_may_ask_for_nothing_unknown),
		cmocka_unit_test(counters_fill_what_the_caller_has),
		cmocka_unit_test(what_is_given_by_an_out_pointer_is_null_on_failure),
		cmocka_unit_test(pointers_work_in_thread_mode),
		cmocka_unit_test(pointers_work_in_signal_mode),
		cmocka_unit_test(pointers_work_without_move),
		cmocka_unit_test(pointer_calls_do_what_their_models_do),
		cmocka_unit_test(a_handler_may_fault_while_the_library_works),
		cmocka_unit_test(faults_need_no_large_alternate_stack),
		cmocka_unit_test(two_pagers_live_side_by_side),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

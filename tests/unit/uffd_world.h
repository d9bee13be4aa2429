/* SPDX-License-Identifier: MIT */
/*
 * The uffd machine under a small core of the tests' own. An array says where each page is, under the rules of
 * contract/machine.h: a page on its way is busy, and a fault that meets it waits. So every operation is seen by itself,
 * in each way (UFFDIO_MOVE, UFFDIO_COPY) and each fault mode.
 *
 * Where the host refuses userfaultfd, the tests of that mode are skipped, and say why.
 *
 * This header defines what the machine calls of the core: a program includes it once.
 */
#ifndef ANONMM_TEST_UFFD_WORLD_H
#define ANONMM_TEST_UFFD_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../needs.h"
#include "host/lock.h"
#include "machine/uffd/uffd.h"
#include "host/host.h"
#include "mm/pager.h"

#include <fcntl.h>
#include <liburing.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define NR_FRAMES 1024
#define NR_PAGES 1024 /* page i of the region always has frame i, unless a test maps by hand */
#define RW (PROT_READ | PROT_WRITE)

/* ---- A core in one array ------------------------------------------------------------------- */

struct space {
	int unused;
};

enum page_state { GONE, SHOWN, HIDDEN, BUSY };

static struct machine *machine;
static struct space the_space;
static uint64_t base;
static _Atomic(uint32_t) events;
static enum page_state state[NR_PAGES];
static _Atomic(int) refusal; /* enum fault_result for all faults, FAULT_DONE: none */
static unsigned nr_faults;

static void event(void)
{
	atomic_fetch_add(&events, 1);
	machine->ops->wake(machine, WAIT_WORD_COMMON);
}

static void set_state(uint32_t page, enum page_state s)
{
	machine->ops->lock(machine);
	state[page] = s;
	event();
	machine->ops->unlock(machine);
}

static struct mapping mapping_of(uint32_t page, enum frame_content content)
{
	return (struct mapping){.space = &the_space,
		.addr = base + page * PAGE_BYTES,
		.pfn = page,
		.prot = RW,
		.content = (uint8_t)content};
}

struct space *pager_space_at(struct pager *pager, uint64_t addr)
{
	(void)pager, (void)addr;
	return &the_space;
}

enum fault_result pager_fault(struct pager *pager, uint64_t addr, enum access access, struct wait *wait)
{
	uint32_t page = (uint32_t)((addr - base) >> PAGE_SHIFT);
	enum page_state was;
	struct mapping map;

	(void)pager, (void)access;
	if (atomic_load(&refusal))
		return (enum fault_result)atomic_load(&refusal);
	if (page >= NR_PAGES)
		return FAULT_SIGSEGV;
	machine->ops->lock(machine);
	nr_faults++;
	was = state[page];
	if (was == BUSY)
		*wait = (struct wait){.what = WAIT_PAGE, .pfn = page, .seq = atomic_load(&events)};
	else if (was != SHOWN)
		state[page] = BUSY;
	machine->ops->unlock(machine);
	if (was == BUSY)
		return FAULT_WAIT;
	if (was == SHOWN)
		return FAULT_DONE;
	map = mapping_of(page, was == GONE ? FRAME_ZERO : FRAME_KEEP);
	machine->ops->map(machine, &map, 1);
	set_state(page, SHOWN);
	return map.result ? FAULT_OOM : FAULT_DONE;
}

/* SHOWN pages become BUSY. A thread may run on before the fault that woke it is over: wait for that. */
static bool begin_hiding(uint32_t page)
{
	enum page_state was;

	do {
		machine->ops->lock(machine);
		was = state[page];
		if (was == SHOWN)
			state[page] = BUSY;
		machine->ops->unlock(machine);
		if (was == BUSY)
			sched_yield();
	} while (was == BUSY);
	return was == SHOWN;
}

/* Take a page back if it is shown; what happens to it then is up to @content. */
static bool hide(uint32_t page, enum unmap_content content)
{
	struct mapping map = mapping_of(page, FRAME_KEEP);

	if (!begin_hiding(page))
		return false;
	machine->ops->unmap(machine, &map, 1, content);
	set_state(page, content == UNMAP_KEEP ? HIDDEN : GONE);
	return true;
}

/* Nothing foreign here. */
enum space_kind space_kind_at(struct space *space, uint64_t addr, uint64_t *run_end, int *prot)
{
	(void)space;
	(void)addr;
	*run_end = UINT64_MAX;
	*prot = RW;
	return SPACE_ANON;
}

enum kswapd_result kswapd_step(struct pager *pager, unsigned pages)
{
	(void)pager, (void)pages;
	return KSWAPD_BALANCED;
}

int pager_poll(struct pager *pager, enum swap_dir dir, int timeout_ms)
{
	(void)pager, (void)dir, (void)timeout_ms;
	return 0;
}

bool pager_lone_read(struct pager *pager)
{
	(void)pager;
	return false;
}

bool pager_in_flight(struct pager *pager, enum swap_dir dir)
{
	(void)pager, (void)dir;
	return false;
}

int pager_poll_fds(struct pager *pager, enum swap_dir dir, int *fds, int nr)
{
	(void)pager, (void)dir, (void)fds, (void)nr;
	return 0;
}

_Atomic(uint32_t) *pager_events(struct pager *pager, unsigned word)
{
	(void)pager, (void)word;
	return &events;
}

bool wait_is_over(struct pager *pager, const struct wait *wait)
{
	(void)pager;
	return atomic_load(&events) != wait->seq;
}

/* ---- Set-up -------------------------------------------------------------------------------- */

struct variant {
	enum anonmm_faults faults;
	bool copy;
};

static const struct variant move_thread = {ANONMM_FAULTS_THREAD, false};
static const struct variant copy_thread = {ANONMM_FAULTS_THREAD, true};
static const struct variant move_signal = {ANONMM_FAULTS_SIGNAL, false};
static const struct variant copy_signal = {ANONMM_FAULTS_SIGNAL, true};
static const struct variant *variant;
static char why_not[400]; /* there is no machine */

static int machine_up(const struct variant *v)
{
	struct uffd_config config = {
		.bytes = 64 * MIB, .nr_frames = NR_FRAMES, .faults = v->faults, .copy = v->copy};
	int error = uffd_machine_open(&config, &machine, why_not, sizeof(why_not));

	if (error) {
		machine = NULL;
		return error;
	}
	base = uffd_machine_base(machine);
	memset(state, 0, sizeof(state));
	nr_faults = 0;
	atomic_store(&refusal, FAULT_DONE);
	machine->pager = (struct pager *)&events; /* never looked into by the core above */
	assert_int_equal(real_install_sigbus(machine), 0);
	assert_int_equal(real_thread_enter(machine), 0);
	assert_int_equal(uffd_machine_start(machine, &the_space), 0);
	assert_int_equal(
		machine->ops->region_map(machine, &the_space, base, base + NR_PAGES * PAGE_BYTES, RW), 0);
	return 0;
}

static void machine_down(void)
{
	real_thread_exit(machine);
	uffd_machine_stop(machine);
	uffd_machine_close(machine);
	machine = NULL;
}

static int setup(void **ctx)
{
	variant = *ctx;
	machine_up(variant);
	return 0;
}

static int teardown(void **ctx)
{
	(void)ctx;
	if (machine)
		machine_down();
	return 0;
}

/* cmocka puts its own handler for SIGBUS in place before each test: ours goes before that one. */
#define NEEDS_MACHINE()                                                                                      \
	do {                                                                                                 \
		if (!machine)                                                                                \
			SKIP_WITHOUT(REAL_MEMORY, "%s", why_not);                                            \
		assert_int_equal(real_install_sigbus(machine), 0);                                           \
	} while (0)

static uint8_t *at(uint32_t page)
{
	return (uint8_t *)(uintptr_t)(base + page * PAGE_BYTES);
}

static uint8_t *frame(pfn_t pfn)
{
	return machine->ops->frame_bytes(machine, pfn);
}

static bool all_bytes(const uint8_t *bytes, uint8_t value)
{
	for (size_t i = 0; i < PAGE_BYTES; i++)
		if (bytes[i] != value)
			return false;
	return true;
}

/* Faults that end in a signal, seen by the test. */
static sigjmp_buf caught_here;
static volatile sig_atomic_t caught_signal, caught_code;
static void *volatile caught_addr;

static void on_caught(int signal, siginfo_t *info, void *ucontext)
{
	(void)ucontext;
	caught_signal = signal;
	caught_code = info->si_code;
	caught_addr = info->si_addr;
	siglongjmp(caught_here, 1);
}

#define IN_MOVING_VARIANTS(test)                                                                             \
	{#test " (move, thread)", test, setup, teardown, (void *)&move_thread},                              \
	{                                                                                                    \
#test " (move, signal)", test, setup, teardown, (void *)&move_signal                         \
	}

#define IN_EACH_VARIANT(test)                                                                                \
	{#test " (move, thread)", test, setup, teardown, (void *)&move_thread},                              \
		{#test " (copy, thread)", test, setup, teardown, (void *)&copy_thread},                      \
		{#test " (move, signal)", test, setup, teardown, (void *)&move_signal},                      \
	{                                                                                                    \
#test " (copy, signal)", test, setup, teardown, (void *)&copy_signal                         \
	}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The uffd machine under a small core of our own: an array says where each page is, under the
 * rules of machine.h (a page that is on its way is busy, and who meets it waits). So every
 * operation is seen by itself, in each way (MOVE, COPY) and each fault mode.
 *
 * Where the host refuses userfaultfd, the tests of that mode are skipped, and say why.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "machine/lock.h"
#include "machine/uffd.h"
#include "machine/uffd_host.h"
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
	machine->ops->wake(machine);
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

enum fault_result handle_mm_fault(struct space *space, uint64_t addr, enum access access, struct wait *wait)
{
	uint32_t page = (uint32_t)((addr - base) >> PAGE_SHIFT);
	enum page_state was;
	struct mapping map;

	(void)space, (void)access;
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

enum kswapd_result kswapd_step(struct pager *pager)
{
	(void)pager;
	return KSWAPD_BALANCED;
}

int pager_poll(struct pager *pager, enum swap_dir dir, int timeout_ms)
{
	(void)pager, (void)dir, (void)timeout_ms;
	return 0;
}

int pager_poll_fds(struct pager *pager, enum swap_dir dir, int *fds, int nr)
{
	(void)pager, (void)dir, (void)fds, (void)nr;
	return 0;
}

_Atomic(uint32_t) *pager_events(struct pager *pager)
{
	(void)pager;
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

static int machine_up(const struct variant *v)
{
	struct uffd_config config = {
		.bytes = 64 * MIB, .nr_frames = NR_FRAMES, .faults = v->faults, .copy = v->copy};
	char why[400] = "";
	int error = uffd_machine_open(&config, &machine, why, sizeof(why));

	if (error) {
		printf("skipped: %s\n", why);
		machine = NULL;
		return error;
	}
	base = uffd_machine_base(machine);
	memset(state, 0, sizeof(state));
	nr_faults = 0;
	atomic_store(&refusal, FAULT_DONE);
	machine->pager = (struct pager *)&events; /* never looked into by the core above */
	assert_int_equal(uffd_install_sigbus(machine), 0);
	assert_int_equal(uffd_thread_enter(machine), 0);
	assert_int_equal(uffd_machine_start(machine, &the_space), 0);
	assert_int_equal(
		machine->ops->region_map(machine, &the_space, base, base + NR_PAGES * PAGE_BYTES, RW), 0);
	return 0;
}

static void machine_down(void)
{
	uffd_thread_exit(machine);
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
			skip();                                                                              \
		assert_int_equal(uffd_install_sigbus(machine), 0);                                           \
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

/* Whether the host has a page there, without touching it. */
static bool has_memory(const void *addr)
{
	uint64_t entry = 0;
	int fd = open("/proc/self/pagemap", O_RDONLY);

	assert_true(fd >= 0);
	assert_int_equal(
		pread(fd, &entry, sizeof(entry), (off_t)((uintptr_t)addr >> PAGE_SHIFT) * 8), sizeof(entry));
	close(fd);
	return entry >> 62 != 0; /* present or swapped */
}

static void map_run(uint32_t page, pfn_t pfn, unsigned nr, enum frame_content content, int prot)
{
	struct mapping maps[NR_PAGES];

	for (unsigned i = 0; i < nr; i++) {
		maps[i] = mapping_of(page + i, content);
		maps[i].pfn = pfn + i;
		maps[i].prot = (uint8_t)prot;
		maps[i].result = 1;
	}
	machine->ops->map(machine, maps, nr);
	for (unsigned i = 0; i < nr; i++) {
		assert_int_equal(maps[i].result, 0);
		state[page + i] = SHOWN;
	}
}

static void unmap_run(uint32_t page, pfn_t pfn, unsigned nr, enum unmap_content content, int prot)
{
	struct mapping maps[NR_PAGES];

	for (unsigned i = 0; i < nr; i++) {
		maps[i] = mapping_of(page + i, FRAME_KEEP);
		maps[i].pfn = pfn + i;
		maps[i].prot = (uint8_t)prot;
	}
	machine->ops->unmap(machine, maps, nr, content);
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

/* SIGSEGV when a write of one byte ends in it; 0: it went through. */
static int write_signal(uint8_t *addr)
{
	struct sigaction action = {.sa_sigaction = on_caught, .sa_flags = SA_SIGINFO}, segv;

	sigaction(SIGSEGV, &action, &segv);
	caught_signal = 0;
	if (sigsetjmp(caught_here, 1) == 0)
		*(volatile uint8_t *)addr = 1;
	sigaction(SIGSEGV, &segv, NULL);
	return caught_signal;
}

/* ---- Map and unmap ------------------------------------------------------------------------- */

static void new_frames_show_zeros_and_keep_what_is_written(void **ctx)
{
	NEEDS_MACHINE();
	(void)ctx;
	map_run(0, 0, 300, FRAME_ZERO, RW);
	for (uint32_t i = 0; i < 300; i++) {
		assert_true(all_bytes(at(i), 0));
		memset(at(i), (int)(i % 251 + 1), PAGE_BYTES);
	}
	unmap_run(0, 0, 300, UNMAP_KEEP, RW);
	for (uint32_t i = 0; i < 300; i++)
		assert_true(all_bytes(frame(i), (uint8_t)(i % 251 + 1)));
	map_run(500, 0, 300, FRAME_KEEP, RW);
	for (uint32_t i = 0; i < 300; i++)
		assert_true(all_bytes(at(500 + i), (uint8_t)(i % 251 + 1)));
	assert_int_equal(nr_faults, 0);
}

static void a_used_frame_shows_zeros_when_asked_to(void **ctx)
{
	NEEDS_MACHINE();
	(void)ctx;
	assert_int_equal(machine->ops->frame_populate(machine, 0, 80), 0);
	for (uint32_t i = 0; i < 80; i++)
		memset(frame(i), 0xee, PAGE_BYTES);
	map_run(7, 0, 80, FRAME_ZERO, RW);
	for (uint32_t i = 0; i < 80; i++)
		assert_true(all_bytes(at(7 + i), 0));
}

static void a_dropped_frame_gives_its_memory_back(void **ctx)
{
	NEEDS_MACHINE();
	(void)ctx;
	map_run(0, 0, 10, FRAME_ZERO, RW);
	for (uint32_t i = 0; i < 10; i++) {
		memset(at(i), 0x55, PAGE_BYTES);
		assert_true(has_memory(at(i)));
	}
	unmap_run(0, 0, 10, UNMAP_DROP, RW);
	for (uint32_t i = 0; i < 10; i++) {
		assert_false(has_memory(at(i)));
		assert_false(has_memory(frame(i)));
	}
	map_run(0, 0, 10, FRAME_ZERO, RW);
	assert_true(all_bytes(at(9), 0));
}

static void populated_frames_take_device_data(void **ctx)
{
	NEEDS_MACHINE();
	(void)ctx;
	map_run(3, 3, 1, FRAME_ZERO, RW);
	unmap_run(3, 3, 1, UNMAP_KEEP, RW); /* one frame in the middle has memory already */
	assert_int_equal(machine->ops->frame_populate(machine, 0, 9), 0);
	for (uint32_t i = 0; i < 9; i++)
		memset(frame(i), (int)i + 1, PAGE_BYTES);
	map_run(0, 0, 9, FRAME_KEEP, RW);
	for (uint32_t i = 0; i < 9; i++) {
		assert_true(all_bytes(at(i), (uint8_t)(i + 1)));
		assert_false(variant->copy == false && has_memory(frame(i)));
	}
}

static void mappings_that_are_no_run_go_one_by_one(void **ctx)
{
	static const struct {
		uint32_t page, frame;
	} pairs[] = {{10, 5}, {11, 6}, {12, 9}, {20, 10}, {19, 11}, {40, 0}, {41, 1}, {42, 2}};
	struct mapping maps[ARRAY_SIZE(pairs)];

	NEEDS_MACHINE();
	(void)ctx;
	assert_int_equal(machine->ops->frame_populate(machine, 6, 1), 0);
	memset(frame(6), 0xaa, PAGE_BYTES);
	for (unsigned i = 0; i < ARRAY_SIZE(pairs); i++) {
		maps[i] = mapping_of(pairs[i].page, pairs[i].frame == 6 ? FRAME_KEEP : FRAME_ZERO);
		maps[i].pfn = pairs[i].frame;
	}
	machine->ops->map(machine, maps, ARRAY_SIZE(pairs));
	for (unsigned i = 0; i < ARRAY_SIZE(pairs); i++) {
		assert_int_equal(maps[i].result, 0);
		assert_true(all_bytes(at(pairs[i].page), pairs[i].frame == 6 ? 0xaa : 0));
		memset(at(pairs[i].page), (int)i + 1, PAGE_BYTES);
	}
	machine->ops->unmap(machine, maps, ARRAY_SIZE(pairs), UNMAP_KEEP);
	for (unsigned i = 0; i < ARRAY_SIZE(pairs); i++)
		assert_true(all_bytes(frame(pairs[i].frame), (uint8_t)(i + 1)));
}

#define RUN 64
#define MOVES 1000

/* Requests of several threads on one area of the host get into each other's way, in ways that depend on its version. */
static void *map_and_unmap(void *arg)
{
	uint32_t first = (uint32_t)(uintptr_t)arg * RUN;
	struct mapping maps[RUN];

	for (int round = 0; round < MOVES; round++) {
		for (uint32_t i = 0; i < RUN; i++)
			maps[i] = mapping_of(first + i, FRAME_KEEP);
		machine->ops->unmap(machine, maps, RUN, UNMAP_KEEP);
		for (uint32_t i = 0; i < RUN; i++)
			if (*(uint32_t *)(void *)frame(first + i) != first + i)
				return "a frame came back with other bytes";
		machine->ops->map(machine, maps, RUN);
	}
	return NULL;
}

static void neighbouring_runs_are_mapped_and_unmapped_at_once(void **ctx)
{
	pthread_t threads[4];
	void *wrong = NULL;

	NEEDS_MACHINE();
	(void)ctx;
	map_run(0, 0, ARRAY_SIZE(threads) * RUN, FRAME_ZERO, RW);
	for (uint32_t i = 0; i < ARRAY_SIZE(threads) * RUN; i++)
		*(uint32_t *)(void *)at(i) = i;
	for (uintptr_t i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_create(&threads[i], NULL, map_and_unmap, (void *)i);
	for (unsigned i = 0; i < ARRAY_SIZE(threads); i++) {
		pthread_join(threads[i], &wrong);
		assert_null(wrong);
	}
}

static void regions_of_other_protections_get_and_lose_pages(void **ctx)
{
	static const int prots[] = {PROT_READ, PROT_WRITE, RW | PROT_EXEC, PROT_READ | PROT_EXEC};

	NEEDS_MACHINE();
	(void)ctx;
	for (unsigned i = 0; i < ARRAY_SIZE(prots); i++) {
		uint32_t page = 100 + 16 * i;
		uint64_t start = base + page * PAGE_BYTES;

		assert_int_equal(machine->ops->region_protect(
					 machine, &the_space, start, start + 8 * PAGE_BYTES, prots[i]),
			0);
		assert_int_equal(machine->ops->frame_populate(machine, page, 4), 0);
		for (uint32_t j = 0; j < 4; j++)
			memset(frame(page + j), (int)j + 1, PAGE_BYTES);
		map_run(page, page, 4, FRAME_KEEP, prots[i]);
		map_run(page + 4, page + 4, 4, FRAME_ZERO, prots[i]);
		assert_int_equal(write_signal(at(page) + 9), prots[i] & PROT_WRITE ? 0 : SIGSEGV);
		unmap_run(page, page, 8, UNMAP_KEEP, prots[i]);
		assert_int_equal(frame(page)[9], 1);
		assert_true(all_bytes(frame(page + 3), 4));
		assert_true(all_bytes(frame(page + 5), 0));
	}
}

static void a_region_that_went_is_no_memory_and_can_come_back(void **ctx)
{
	uint64_t start;

	NEEDS_MACHINE();
	(void)ctx;
	start = base + 64 * PAGE_BYTES;
	*at(64) = 7;
	assert_true(hide(64, UNMAP_DROP));
	assert_int_equal(machine->ops->region_unmap(machine, &the_space, start, start + PAGE_BYTES), 0);
	assert_int_equal(write_signal(at(64)), SIGSEGV);
	assert_int_equal(machine->ops->region_map(machine, &the_space, start, start + PAGE_BYTES, RW), 0);
	assert_int_equal(*at(64), 0);
	assert_int_equal(nr_faults, 2);
}

/* ---- Pages that cannot be moved at once ------------------------------------------------------ */

/* Registered buffers are pinned until the ring goes. */
static int pin(struct io_uring *ring, void *addr)
{
	struct iovec iov = {.iov_base = addr, .iov_len = PAGE_BYTES};

	if (io_uring_queue_init(2, ring, 0)) {
		printf("skipped: io_uring is refused, no page can be pinned\n");
		return -1;
	}
	assert_int_equal(io_uring_register_buffers(ring, &iov, 1), 0);
	return 0;
}

static void a_frame_that_is_still_pinned_is_shown_all_the_same(void **ctx)
{
	struct io_uring ring;

	NEEDS_MACHINE();
	(void)ctx;
	assert_int_equal(machine->ops->frame_populate(machine, 0, 3), 0);
	for (uint32_t i = 0; i < 3; i++)
		memset(frame(i), (int)i + 1, PAGE_BYTES);
	if (pin(&ring, frame(1)))
		skip();
	map_run(0, 0, 3, FRAME_KEEP, RW);
	for (uint32_t i = 0; i < 3; i++)
		assert_true(all_bytes(at(i), (uint8_t)(i + 1)));
	io_uring_queue_exit(&ring);
	unmap_run(0, 0, 3, UNMAP_KEEP, RW);
	assert_true(all_bytes(frame(1), 2));
}

static void *unpin_later(void *ring)
{
	host_sleep(30 * 1000000);
	*(volatile uint8_t *)at(1) = 99; /* as the device would, at the last moment */
	io_uring_unregister_buffers(ring);
	return NULL;
}

static void a_page_that_the_program_pinned_is_taken_when_the_pin_ends(void **ctx)
{
	struct io_uring ring;
	pthread_t thread;

	NEEDS_MACHINE();
	(void)ctx;
	if (variant->copy) {
		print_message("skipped: a machine that copies does not see pins\n");
		skip();
	}
	map_run(0, 0, 3, FRAME_ZERO, RW);
	memset(at(1), 5, PAGE_BYTES);
	if (pin(&ring, at(1)))
		skip();
	pthread_create(&thread, NULL, unpin_later, &ring);
	unmap_run(0, 0, 3, UNMAP_KEEP, RW);
	assert_int_equal(frame(1)[0], 99);
	assert_int_equal(frame(1)[1], 5);
	pthread_join(thread, NULL);
	io_uring_queue_exit(&ring);
}

static void pages_shared_with_a_fork_child_are_taken_and_shown(void **ctx)
{
	int hold[2], status;
	pid_t child;
	char c;

	NEEDS_MACHINE();
	(void)ctx;
	map_run(0, 0, 70, FRAME_ZERO, RW);
	for (uint32_t i = 0; i < 70; i++)
		memset(at(i), (int)i + 1, PAGE_BYTES);
	assert_int_equal(pipe(hold), 0);
	assert_int_equal(uffd_fork_prepare(machine), 0);
	child = fork();
	if (child == 0) {
		close(hold[1]);
		_exit(read(hold[0], &c, 1) == 0 && at(3)[5] == 4 ? 0 : 1);
	}
	uffd_fork_parent(machine);
	assert_true(child > 0);
	unmap_run(0, 0, 70, UNMAP_KEEP, RW);
	for (uint32_t i = 0; i < 70; i++)
		assert_true(all_bytes(frame(i), (uint8_t)(i + 1)));
	map_run(100, 0, 70, FRAME_KEEP, RW);
	memset(at(103), 77, PAGE_BYTES);
	close(hold[0]);
	close(hold[1]);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

/* ---- Faults -------------------------------------------------------------------------------- */

#define COUNTERS 8
#define HIDINGS 400

static _Atomic(bool) counting;
static _Atomic(uint64_t) counted[COUNTERS];

/* Every increment is a read and a write of a page that goes away under it again and again. */
static void *count_in_page(void *arg)
{
	uint32_t page = (uint32_t)(uintptr_t)arg % COUNTERS;
	_Atomic(uint64_t) *counter = (_Atomic(uint64_t) *)(void *)at(page);
	uint64_t mine = 0;

	uffd_thread_enter(machine);
	for (; atomic_load(&counting); mine++)
		atomic_fetch_add(counter, 1);
	uffd_thread_exit(machine);
	atomic_fetch_add(&counted[page], mine);
	return NULL;
}

static void no_write_is_lost_while_pages_come_and_go(void **ctx)
{
	pthread_t counters[2 * COUNTERS];
	unsigned hidden = 0;

	NEEDS_MACHINE();
	(void)ctx;
	atomic_store(&counting, true);
	memset(counted, 0, sizeof(counted));
	for (uintptr_t i = 0; i < ARRAY_SIZE(counters); i++)
		pthread_create(&counters[i], NULL, count_in_page, (void *)i);
	while (hidden < HIDINGS) {
		for (uint32_t i = 0; i < COUNTERS; i++)
			hidden += hide(i, UNMAP_KEEP);
		host_sleep(100000);
	}
	atomic_store(&counting, false);
	for (unsigned i = 0; i < ARRAY_SIZE(counters); i++)
		pthread_join(counters[i], NULL);
	for (uint32_t i = 0; i < COUNTERS; i++)
		assert_int_equal(*(volatile uint64_t *)(void *)at(i), atomic_load(&counted[i]));
}

static void system_calls_on_missing_pages_work(void **ctx)
{
	int fd = open("/dev/zero", O_RDONLY);

	NEEDS_MACHINE();
	(void)ctx;
	memset(at(1), 1, 3 * PAGE_BYTES);
	for (uint32_t i = 1; i < 4; i++)
		assert_true(hide(i, UNMAP_KEEP));
	if (variant->faults == ANONMM_FAULTS_THREAD) {
		assert_int_equal(read(fd, at(1), 3 * PAGE_BYTES), 3 * PAGE_BYTES);
		assert_true(all_bytes(at(2), 0));
	} else { /* the documented caveat */
		assert_int_equal(read(fd, at(1), 3 * PAGE_BYTES), -1);
		assert_int_equal(errno, EFAULT);
	}
	close(fd);
}

static void a_fault_that_cannot_be_served_is_a_sigbus_with_its_address(void **ctx)
{
	struct sigaction before, ours = {.sa_sigaction = on_caught, .sa_flags = SA_SIGINFO};

	NEEDS_MACHINE();
	(void)ctx;
	if (variant->faults == ANONMM_FAULTS_SIGNAL) { /* ours must stand first, the program's behind it */
		uffd_remove_sigbus(machine);
		sigaction(SIGBUS, &ours, &before);
		uffd_install_sigbus(machine);
	} else {
		sigaction(SIGBUS, &ours, &before);
	}
	atomic_store(&refusal, FAULT_OOM);
	if (sigsetjmp(caught_here, 1) == 0) {
		at(5)[123] = 1;
		fail_msg("the write went through");
	}
	assert_int_equal(caught_signal, SIGBUS);
	assert_int_equal(caught_code, BUS_ADRERR);
	assert_ptr_equal(caught_addr, at(5) + 123);
	if (variant->faults == ANONMM_FAULTS_THREAD) {
		int fd = open("/dev/zero", O_RDONLY);

		assert_int_equal(read(fd, at(6), 10), -1);
		assert_int_equal(errno, EFAULT);
		close(fd);
	}
	sigaction(SIGBUS, &before, NULL);
	atomic_store(&refusal, FAULT_DONE);
	/* Memory can be had again, after a moment at most. */
	host_sleep(100 * 1000000);
	at(5)[123] = 2;
	assert_int_equal(at(6)[0], 0);
	assert_int_equal(at(5)[123], 2);
}

static void *wait_for_event(void *arg)
{
	machine->ops->wait(machine, arg);
	return NULL;
}

static void who_waits_is_woken_by_the_event(void **ctx)
{
	struct wait wait = {.what = WAIT_SPACE, .seq = atomic_load(&events)};
	pthread_t threads[3];

	NEEDS_MACHINE();
	(void)ctx;
	for (unsigned i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_create(&threads[i], NULL, wait_for_event, &wait);
	host_sleep(2000000);
	event();
	for (unsigned i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
}

/* ---- Pairing ------------------------------------------------------------------------------- */

static void a_paired_thread_still_sees_its_own_cpus(void **ctx)
{
	cpu_set_t own, seen, real;

	NEEDS_MACHINE();
	(void)ctx;
	sched_getaffinity(0, sizeof(own), &own);
	if (CPU_COUNT(&own) < 2)
		skip();
	for (uint32_t i = 0; i < 200; i++)
		*at(i) = 1;
	assert_int_equal(uffd_getaffinity(machine, 0, sizeof(seen), &seen), 0);
	assert_true(CPU_EQUAL(&seen, &own));
	sched_getaffinity(0, sizeof(real), &real);
	assert_int_equal(CPU_COUNT(&real), variant->faults == ANONMM_FAULTS_THREAD ? 1 : CPU_COUNT(&own));
	uffd_unpair_self(machine);
	sched_getaffinity(0, sizeof(real), &real);
	assert_true(CPU_EQUAL(&real, &own));
	for (uint32_t i = 200; i < 400; i++)
		*at(i) = 1;
	host_sleep(60 * 1000000);
	sched_getaffinity(0, sizeof(real), &real);
	assert_true(CPU_EQUAL(&real, &own)); /* released, not having faulted for a while */
}

/* ---- Descriptors and fork -------------------------------------------------------------------- */

static void run_in_child(void (*body)(void))
{
	pid_t child = fork();
	int status;

	assert_true(child >= 0);
	if (child == 0) {
		body();
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void close_everything_and_go_on(void)
{
	if (machine_up(variant))
		_exit(1);
	*at(0) = 1;
	for (int fd = 3; fd < 65536; fd++)
		close(fd);
	for (uint32_t i = 0; i < 300; i++) {
		*at(i) = 2;
		hide(i, UNMAP_KEEP);
		if (*at(i) != 2)
			_exit(2);
	}
	uffd_machine_close(machine);
}

static void a_program_that_closes_all_descriptors_goes_on(void **ctx)
{
	NEEDS_MACHINE();
	(void)ctx;
	machine_down();
	run_in_child(close_everything_and_go_on);
}

static void our_threads_hold_no_pipe_of_the_program_open(void **ctx)
{
	struct pollfd end;
	int ends[2];

	NEEDS_MACHINE();
	(void)ctx;
	machine_down();
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(machine_up(variant), 0);
	*at(0) = 1; /* the threads run */
	host_sleep(5 * 1000000);
	close(ends[1]);
	end = (struct pollfd){.fd = ends[0], .events = POLLIN};
	assert_int_equal(poll(&end, 1, 2000), 1);
	assert_true(end.revents & POLLHUP);
	close(ends[0]);
}

/* 0, or which line of the child's checks failed. */
static int child_of_fork(void)
{
	uffd_fork_child_begin(machine);
	if (uffd_fork_child(machine))
		return 1;
	for (uint32_t i = 0; i < 20; i++)
		if (!all_bytes(at(i), (uint8_t)(i + 1)))
			return 2;
	if (!all_bytes(at(200), 0)) /* a birth of its own, not what an unregistered range would show */
		return 3;
	memset(at(3), 0xcc, PAGE_BYTES);
	hide(3, UNMAP_KEEP);
	if (!all_bytes(frame(3), 0xcc) || !all_bytes(at(3), 0xcc))
		return 4;
	return nr_faults > 0 ? 0 : 5;
}

static void a_fork_child_has_its_own_copy_and_its_own_faults(void **ctx)
{
	pid_t child;
	int status;

	NEEDS_MACHINE();
	(void)ctx;
	for (uint32_t i = 0; i < 20; i++)
		memset(at(i), (int)i + 1, PAGE_BYTES);
	for (uint32_t i = 10; i < 20; i++)
		assert_true(hide(i, UNMAP_KEEP));
	assert_int_equal(uffd_fork_prepare(machine), 0);
	child = fork();
	if (child == 0)
		_exit(child_of_fork());
	uffd_fork_parent(machine);
	memset(at(5), 0xdd, PAGE_BYTES);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_true(all_bytes(at(3), 4));
	assert_true(all_bytes(at(15), 16));
	assert_true(all_bytes(at(5), 0xdd));
}

static void a_child_behind_our_back_gets_no_zeros(void **ctx)
{
	pid_t child;
	int status;

	NEEDS_MACHINE();
	(void)ctx;
	*at(0) = 1;
	child = fork();
	if (child == 0) {
		signal(SIGSEGV, SIG_DFL);
		_exit(*at(0) == 0 ? 1 : 2);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSEGV);
}

/* ---- The lock -------------------------------------------------------------------------------- */

static struct lock lock;
static uint64_t locked_sum;

static void *add_under_lock(void *arg)
{
	(void)arg;
	for (int i = 0; i < 100000; i++) {
		lock_take(&lock);
		locked_sum++;
		if (i % 1000 == 0)
			sched_yield(); /* a holder that is preempted: others go to sleep */
		lock_drop(&lock);
	}
	return NULL;
}

static void the_lock_excludes(void **ctx)
{
	pthread_t threads[4];

	(void)ctx;
	for (unsigned i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_create(&threads[i], NULL, add_under_lock, NULL);
	for (unsigned i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(locked_sum, 400000);
	assert_true(lock_try(&lock));
	lock_drop(&lock);
}

static void a_machine_without_frames_is_refused_in_words(void **ctx)
{
	struct uffd_config config = {.bytes = MIB};
	struct machine *none = NULL;
	char why[400] = "";

	(void)ctx;
	assert_int_equal(uffd_machine_open(&config, &none, why, sizeof(why)), -EINVAL);
	assert_non_null(strstr(why, "frame"));
	assert_null(none);
}

#define IN_EACH_VARIANT(test)                                                                                \
	{#test " (move, thread)", test, setup, teardown, (void *)&move_thread},                              \
		{#test " (copy, thread)", test, setup, teardown, (void *)&copy_thread},                      \
		{#test " (move, signal)", test, setup, teardown, (void *)&move_signal},                      \
	{                                                                                                    \
#test " (copy, signal)", test, setup, teardown, (void *)&copy_signal                         \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_lock_excludes),
		cmocka_unit_test(a_machine_without_frames_is_refused_in_words),
		IN_EACH_VARIANT(new_frames_show_zeros_and_keep_what_is_written),
		IN_EACH_VARIANT(a_used_frame_shows_zeros_when_asked_to),
		IN_EACH_VARIANT(a_dropped_frame_gives_its_memory_back),
		IN_EACH_VARIANT(populated_frames_take_device_data),
		IN_EACH_VARIANT(mappings_that_are_no_run_go_one_by_one),
		IN_EACH_VARIANT(neighbouring_runs_are_mapped_and_unmapped_at_once),
		IN_EACH_VARIANT(regions_of_other_protections_get_and_lose_pages),
		IN_EACH_VARIANT(a_region_that_went_is_no_memory_and_can_come_back),
		IN_EACH_VARIANT(a_frame_that_is_still_pinned_is_shown_all_the_same),
		IN_EACH_VARIANT(a_page_that_the_program_pinned_is_taken_when_the_pin_ends),
		IN_EACH_VARIANT(pages_shared_with_a_fork_child_are_taken_and_shown),
		IN_EACH_VARIANT(no_write_is_lost_while_pages_come_and_go),
		IN_EACH_VARIANT(system_calls_on_missing_pages_work),
		IN_EACH_VARIANT(a_fault_that_cannot_be_served_is_a_sigbus_with_its_address),
		IN_EACH_VARIANT(who_waits_is_woken_by_the_event),
		IN_EACH_VARIANT(a_paired_thread_still_sees_its_own_cpus),
		IN_EACH_VARIANT(a_program_that_closes_all_descriptors_goes_on),
		IN_EACH_VARIANT(our_threads_hold_no_pipe_of_the_program_open),
		IN_EACH_VARIANT(a_fork_child_has_its_own_copy_and_its_own_faults),
		IN_EACH_VARIANT(a_child_behind_our_back_gets_no_zeros),
	};

	return cmocka_run_group_tests_name("uffd", tests, NULL, NULL);
}

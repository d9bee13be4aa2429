/* SPDX-License-Identifier: MIT */
/* The uffd machine: faults, waiting, pairing, descriptors and fork. */
#include "uffd_world.h"

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

	real_thread_enter(machine);
	for (; atomic_load(&counting); mine++)
		atomic_fetch_add(counter, 1);
	real_thread_exit(machine);
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
		real_remove_sigbus(machine);
		sigaction(SIGBUS, &ours, &before);
		real_install_sigbus(machine);
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
		SKIP_WITHOUT("two-cpus", "nobody to be paired with");
	for (uint32_t i = 0; i < 200; i++)
		*at(i) = 1;
	assert_int_equal(real_getaffinity(machine, 0, sizeof(seen), &seen), 0);
	assert_true(CPU_EQUAL(&seen, &own));
	sched_getaffinity(0, sizeof(real), &real);
	assert_int_equal(CPU_COUNT(&real), variant->faults == ANONMM_FAULTS_THREAD ? 1 : CPU_COUNT(&own));
	real_unpair_self(machine);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
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

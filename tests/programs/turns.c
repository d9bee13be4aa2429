/* SPDX-License-Identifier: MIT */
/*
 * Threads that fault so often that they are made to take turns (signal mode): `turns NAME` is one case, `turns` lists
 * them. The cases are about what the thread whose turn it is may do, and what the threads may do that wait for it. What
 * each prints, and its exit status, must be the same natively and managed.
 */
#define _GNU_SOURCE
#include "cases.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define THREADS 16
#define WARM_MS 200 /* faults of many threads for so long: by then they take turns, if only to try it */

static _Atomic int stop;
static _Atomic long nr_rounds; /* of all threads */
static pthread_t threads[THREADS];

static void msleep(long ms)
{
	struct timespec t = {ms / 1000, ms % 1000 * 1000000};
	nanosleep(&t, NULL);
}

static long now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void *until_stop(void *arg)
{
	for (unsigned i = (unsigned)(uintptr_t)arg; !stop; i += 977) {
		read_area(i, 20);
		nr_rounds++;
	}
	return arg;
}

static void start_all(void *(*start)(void *))
{
	stop = 0;
	for (uintptr_t i = 0; i < THREADS; i++)
		EXPECT(pthread_create(&threads[i], NULL, start, (void *)i) == 0);
}

static void join_all(void)
{
	for (int i = 0; i < THREADS; i++)
		EXPECT(pthread_join(threads[i], NULL) == 0);
}

/* As many rounds again as there are threads, several times over. */
static void wait_for_rounds(void)
{
	long until = nr_rounds + 10 * THREADS;
	while (nr_rounds < until)
		msleep(1);
}

static void begin(void)
{
	make_area();
	start_all(until_stop);
	long until = now_ms() + WARM_MS;
	for (unsigned i = 0; now_ms() < until; i++)
		read_area(i, 20);
}

static void end(void)
{
	wait_for_rounds();
	stop = 1;
	join_all();
}

/* ---- fork and exec -------------------------------------------------------------------------------- */

/* The threads that have the turn and wait for it are not there; others come to be. */
static int child(unsigned n)
{
	read_area(n, 200);
	start_all(until_stop);
	wait_for_rounds();
	stop = 1;
	join_all();
	return wrong != 0;
}

static int forks_with(pid_t (*make)(void))
{
	begin();
	for (unsigned n = 0; n < 4; n++) {
		int status = -1;
		read_area(n, 10);
		pid_t pid = make();
		if (pid == 0)
			_exit(child(n));
		EXPECT(waitpid(pid, &status, 0) == pid && status == 0);
	}
	end();
	return finish("forked");
}

static int forks(void)
{
	return forks_with(fork);
}

static int forks_barely(void)
{
	return forks_with(_Fork);
}

/* From threads that are among those who fault. */
static void *fork_and_fault(void *arg)
{
	for (unsigned i = 0; i < 2; i++) {
		int status = -1;
		read_area((unsigned)(uintptr_t)arg + i, 50);
		pid_t pid = fork();
		if (pid == 0) {
			read_area(i, 100);
			_exit(wrong != 0);
		}
		EXPECT(waitpid(pid, &status, 0) == pid && status == 0);
		nr_rounds++;
	}
	return arg;
}

static int forks_of_threads(void)
{
	pthread_t forking[4];

	begin();
	for (uintptr_t i = 0; i < 4; i++)
		EXPECT(pthread_create(&forking[i], NULL, fork_and_fault, (void *)i) == 0);
	for (int i = 0; i < 4; i++)
		EXPECT(pthread_join(forking[i], NULL) == 0);
	end();
	return finish("forked");
}

/* A child that shares the memory ends while its thread, which is the parent's, may have the turn. */
static int vforks_are_killed(void)
{
	begin();
	for (unsigned n = 0; n < 20; n++) {
		int status = -1;
		pid_t pid = vfork();
		if (pid == 0) {
			read_area(n, 30);
			kill(getpid(), SIGKILL);
		}
		EXPECT(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));
		read_area(n, 30);
	}
	end();
	return finish("killed");
}

static int execs(void)
{
	begin();
	execl("/proc/self/exe", "turns", "after-exec", NULL);
	return 1;
}

static int after_exec(void)
{
	begin();
	end();
	return finish("another");
}

/* ---- Threads that end ----------------------------------------------------------------------------- */

static void *faults_and_exits(void *arg)
{
	read_area((unsigned)(uintptr_t)arg, 3);
	if ((uintptr_t)arg % 2)
		pthread_exit(arg);
	return arg;
}

static int exits(void)
{
	begin();
	for (uintptr_t i = 0; i < 100; i++) {
		pthread_t thread;
		EXPECT(pthread_create(&thread, NULL, faults_and_exits, (void *)i) == 0);
		EXPECT(pthread_join(thread, NULL) == 0);
	}
	end();
	return finish("exited");
}

static void *for_ever(void *arg)
{
	int old;
	if (arg)
		pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &old);
	for (unsigned i = 0;; i++) {
		read_area(i, 10);
		nr_rounds++;
		pthread_testcancel();
	}
	return NULL;
}

/* Those that are cancelled wait for their turn, most of the time. */
static int cancels(void *asynchronous)
{
	begin();
	for (int round = 0; round < 4; round++) {
		pthread_t cancelled[THREADS];
		for (int i = 0; i < THREADS; i++)
			EXPECT(pthread_create(&cancelled[i], NULL, for_ever, asynchronous) == 0);
		wait_for_rounds();
		for (int i = 0; i < THREADS; i++)
			EXPECT(pthread_cancel(cancelled[i]) == 0);
		for (int i = 0; i < THREADS; i++) {
			void *result;
			EXPECT(pthread_join(cancelled[i], &result) == 0 && result == PTHREAD_CANCELED);
		}
	}
	end();
	return finish("cancelled");
}

static int cancels_deferred(void)
{
	return cancels(NULL);
}

static int cancels_async(void)
{
	return cancels((void *)1);
}

/* ---- Who has the turn does something else --------------------------------------------------------- */

static int ends[2];

static void *reads_a_pipe(void *arg)
{
	char *buffer = malloc(MIB);
	read_area((unsigned)(uintptr_t)arg, 20);
	EXPECT(read(ends[0], buffer + MIB / 2, 1) == 1 && buffer[MIB / 2] == 'x');
	read_area((unsigned)(uintptr_t)arg, 20);
	free(buffer);
	return arg;
}

/* What it waits for is only written when the others have gone on for long. */
static int blocks_in_read(void)
{
	pthread_t thread;

	begin();
	EXPECT(pipe(ends) == 0);
	for (int i = 0; i < 10; i++) {
		EXPECT(pthread_create(&thread, NULL, reads_a_pipe, NULL) == 0);
		msleep(20);
		wait_for_rounds();
		EXPECT(write(ends[1], "x", 1) == 1);
		EXPECT(pthread_join(thread, NULL) == 0);
	}
	end();
	return finish("read");
}

/* Two that can only go on by turns, which are not those that we give: each waits for what the other writes. */
static int there[2], back_again[2];

static void *answers(void *arg)
{
	char c;
	for (unsigned i = 0; read(there[0], &c, 1) == 1 && c != 'q'; i++) {
		read_area(i, 3);
		EXPECT(write(back_again[1], "a", 1) == 1);
	}
	return arg;
}

static int ping_pong(void)
{
	pthread_t thread;
	char c;

	begin();
	EXPECT(pipe(there) == 0 && pipe(back_again) == 0);
	EXPECT(pthread_create(&thread, NULL, answers, NULL) == 0);
	for (unsigned i = 0; i < 15; i++) {
		read_area(i + 7, 3);
		EXPECT(write(there[1], "p", 1) == 1);
		EXPECT(read(back_again[0], &c, 1) == 1 && c == 'a');
	}
	EXPECT(write(there[1], "q", 1) == 1);
	EXPECT(pthread_join(thread, NULL) == 0);
	end();
	return finish("played");
}

/* ---- Handlers ------------------------------------------------------------------------------------- */

static _Atomic long ticks;

static void on_signal(int sig)
{
	(void)sig;
	read_area((unsigned)ticks++, 5);
}

/* Signals to threads that fault, from one that faults. */
static void signal_all(long nr)
{
	long until = ticks + nr;
	for (unsigned i = 0; ticks < until; i++) {
		pthread_kill(threads[i % THREADS], SIGUSR1);
		read_area(i, 2);
	}
}

static int handlers_fault(void)
{
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};

	sigaction(SIGUSR1, &action, NULL);
	begin();
	signal_all(300);
	end();
	return finish("handled");
}

static __thread sigjmp_buf back;
static __thread volatile int may_jump;

static void on_jump(int sig)
{
	(void)sig;
	ticks++;
	if (may_jump) {
		may_jump = 0;
		read_area((unsigned)ticks, 2);
		siglongjmp(back, 1);
	}
}

static void *jumps_about(void *arg)
{
	while (!stop) {
		sigsetjmp(back, 1);
		may_jump = 1;
		read_area((unsigned)ticks + (unsigned)(uintptr_t)arg, 20);
		may_jump = 0;
		nr_rounds++;
	}
	return arg;
}

static int handlers_jump(void)
{
	struct sigaction action = {.sa_handler = on_jump};

	sigaction(SIGUSR1, &action, NULL);
	make_area();
	start_all(jumps_about);
	msleep(WARM_MS);
	signal_all(500);
	end();
	return finish("jumped");
}

static const struct one_case cases[] = {
	{"forks", forks},
	{"forks-barely", forks_barely},
	{"forks-of-threads", forks_of_threads},
	{"vforks-are-killed", vforks_are_killed},
	{"execs", execs},
	{"after-exec", after_exec},
	{"exits", exits},
	{"cancels-deferred", cancels_deferred},
	{"cancels-async", cancels_async},
	{"blocks-in-read", blocks_in_read},
	{"ping-pong", ping_pong},
	{"handlers-fault", handlers_fault},
	{"handlers-jump", handlers_jump},
};

int main(int argc, char **argv)
{
	return run_cases(cases, COUNT(cases), argc, argv);
}

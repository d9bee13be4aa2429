/* SPDX-License-Identifier: MIT */
/*
 * forkfails WAY: forks that cannot succeed. The program must see what Linux's fork() shows: -1, errno, and nothing
 * else. It has more memory than its limit, and looks at all of it again and again.
 *
 *   files       no descriptor is left for what a child needs
 *   addresses   nor addresses (RLIMIT_AS)
 *   processes   nor a thread (RLIMIT_NPROC), as another user
 *   device      the child of the second fork cannot have the swap device
 *   signals     forks fail while other children end: each of those is told of
 *   threads     forks fail while other threads fault
 *   bare        _Fork() in place of fork()
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096
#define NR ((size_t)12 * 256)
#define FAILURES 150 /* more than the leases that a process watches */

static char *area;
static atomic_int told; /* SIGCHLDs */
static atomic_int running; /* threads */
static atomic_bool stop;
static pid_t (*fork_by)(void) = fork;

static uint64_t *word(size_t page)
{
	return (uint64_t *)(area + page * PAGE + page % 500 * 8);
}

static int look(void)
{
	int bad = 0;

	for (size_t page = 0; page < NR; page++)
		bad += *word(page) != page * 31 + 5;
	return bad;
}

static int must(int good, const char *what)
{
	if (!good)
		printf("wrong: %s (errno %s)\n", what, strerror(errno));
	return good ? 0 : 1;
}

static void on_child(int sig)
{
	(void)sig;
	told++;
}

static int nr_files(void)
{
	int nr = 0;

	for (int fd = 0; fd < 1024; fd++)
		nr += fcntl(fd, F_GETFD) >= 0;
	return nr;
}

/* A fork that fails, with this errno. */
static int fails(int error)
{
	int told_before = told;
	pid_t pid = fork_by();

	if (pid == 0)
		_exit(9);
	if (must(pid < 0, "a fork did not fail")) {
		int status = 0;
		waitpid(pid, &status, 0);
		printf("the child's status is %#x\n", status);
		return 1;
	}
	int seen = errno, wrong = must(seen == error, "errno");
	pid = waitpid(-1, NULL, WNOHANG | __WALL);
	wrong |= must(pid < 0 && errno == ECHILD, "a child is left");
	return wrong | must(told == told_before, "SIGCHLD came");
}

static int succeeds(void)
{
	int status = -1;
	pid_t pid = fork_by();

	if (pid == 0)
		_exit(look() != 0);
	return must(pid > 0, "a fork that can succeed") ||
	       must(waitpid(pid, &status, 0) == pid && status == 0, "the child of such a fork");
}

static int fails_often(int error)
{
	int wrong = 0;

	for (int i = 0; i < FAILURES && !wrong; i++) {
		wrong = fails(error);
		if (i % 50 == 0)
			wrong |= must(look() == 0, "the memory after a fork that failed");
	}
	return wrong;
}

/* Open files until there are no more. */
static int way_files(void)
{
	int files[1024], nr = 0, wrong = 0, before = nr_files();

	while (nr < 1024 && (files[nr] = open("/dev/null", O_RDONLY)) >= 0)
		nr++;
	wrong |= must(errno == EMFILE, "opening all files") | fails_often(EMFILE);
	while (nr > 0)
		close(files[--nr]);
	wrong |= succeeds();
	usleep(300000); /* leases are looked at now and then */
	munmap(mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), PAGE);
	return wrong | must(nr_files() == before, "files that a fork left open");
}

static int way_limited(int resource, int error)
{
	struct rlimit limit, none;

	getrlimit(resource, &limit);
	none = (struct rlimit){.rlim_cur = 3, .rlim_max = limit.rlim_max};
	setrlimit(resource, &none);
	int wrong = fails_often(error);

	setrlimit(resource, &limit);
	return wrong | succeeds();
}

/* With each number of processes from few to enough, the fork fails or makes a child that has everything. */
static int way_processes(void)
{
	struct rlimit limit;
	int failed = 0, status = -1;

	if (setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534))
		return 2;
	getrlimit(RLIMIT_NPROC, &limit);
	for (rlim_t nr = 1; nr < 4096; nr++) {
		limit.rlim_cur = nr;
		setrlimit(RLIMIT_NPROC, &limit);
		int told_before = told;
		pid_t pid = fork_by();

		if (pid == 0)
			_exit(look() != 0);
		if (pid > 0)
			return must(failed > 1, "no fork failed") |
			       must(waitpid(pid, &status, 0) == pid && status == 0,
				       "the first child that was one") |
			       must(look() == 0, "the memory");
		failed++;
		if (must(errno == EAGAIN, "errno") | must(told == told_before, "SIGCHLD came") |
			must(waitpid(-1, NULL, WNOHANG | __WALL) < 0 && errno == ECHILD, "a child is left"))
			return 1;
	}
	return must(0, "all forks failed");
}

static int way_device(void)
{
	return succeeds() | fails(ENOMEM) | must(look() == 0, "the memory") | succeeds();
}

/* Children that were made before end while others fail. */
static int way_signals(void)
{
	struct rlimit limit, none;
	int wrong = 0;

	getrlimit(RLIMIT_NOFILE, &limit);
	none = (struct rlimit){.rlim_cur = 3, .rlim_max = limit.rlim_max};
	for (int round = 0; round < 20 && !wrong; round++) {
		pid_t pid = fork_by();

		if (pid == 0) {
			usleep(1000 * (round % 10));
			_exit(0);
		}
		int before = told;
		setrlimit(RLIMIT_NOFILE, &none);
		for (int i = 0; i < 2000 && told == before; i++)
			wrong |= must(fork_by() < 0, "a fork did not fail");
		setrlimit(RLIMIT_NOFILE, &limit);
		wrong |= must(told > before, "SIGCHLD of a child did not come");
		wrong |= must(waitpid(-1, NULL, 0) == pid, "the child that ended");
		wrong |= must(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD, "another child");
	}
	return wrong;
}

static void *faulter(void *arg)
{
	size_t at = (size_t)(uintptr_t)arg;
	intptr_t bad = 0;

	running++;
	while (!stop) {
		at = (at * 1103515245 + 12345) % NR;
		bad += *word(at) != at * 31 + 5;
	}
	return (void *)bad;
}

static int way_threads(void)
{
	pthread_t threads[2];
	void *bad;
	int wrong = 0;

	signal(SIGCHLD, SIG_DFL); /* another thread may get it */
	for (uintptr_t i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, faulter, (void *)(i + 1));
	while (running < 2)
		usleep(1000);
	wrong = way_limited(RLIMIT_NOFILE, EMFILE);
	stop = 1;
	for (int i = 0; i < 2; i++) {
		pthread_join(threads[i], &bad);
		wrong |= must(!bad, "a thread that faulted during forks");
	}
	return wrong;
}

int main(int argc, char **argv)
{
	const char *way = argc > 1 ? argv[1] : "";
	struct sigaction action = {.sa_handler = on_child, .sa_flags = SA_RESTART};
	int wrong = 2;

	setvbuf(stdout, malloc(BUFSIZ), _IOLBF, BUFSIZ);
	sigaction(SIGCHLD, &action, NULL);
	area = mmap(NULL, NR * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (area == MAP_FAILED)
		return 2;
	for (size_t page = 0; page < NR; page++)
		*word(page) = page * 31 + 5;
	if (!strcmp(way, "files"))
		wrong = way_files();
	else if (!strcmp(way, "addresses"))
		wrong = way_limited(RLIMIT_AS, ENOMEM);
	else if (!strcmp(way, "processes"))
		wrong = way_processes();
	else if (!strcmp(way, "device"))
		wrong = way_device();
	else if (!strcmp(way, "signals"))
		wrong = way_signals();
	else if (!strcmp(way, "threads"))
		wrong = way_threads();
	else if (!strcmp(way, "bare")) {
		fork_by = _Fork;
		wrong = way_limited(RLIMIT_NOFILE, EMFILE);
	}
	wrong |= must(wrong == 2 || look() == 0, "the memory in the end");
	puts(wrong ? "bad" : "good");
	return wrong;
}

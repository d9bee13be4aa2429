/* SPDX-License-Identifier: MIT */
/*
 * forks WAY: a program with more memory than its limit forks in one of many ways, and parent and child look at all of
 * it.
 *
 *   raw       a child by the system call itself, which nobody sees: it must get a fault where it touches, never zeros
 *   deep      forks of forks
 *   chain     forty forks of forks, each with 256 KiB more, and each looks at what all before it had
 *   many      three hundred children that live at the same time
 *   daemon    forks twice, closes every descriptor, and goes on; says "good" by a file, argv[2]
 *   threads   forks while other threads fault
 *   spawn     vfork, posix_spawn, system, popen
 *   abort, kill   a child ends so
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096
#define NR ((size_t)12 * 256)

extern char **environ;

static char *area;
static atomic_bool stop;

static uint64_t *word(size_t page)
{
	return (uint64_t *)(area + page * PAGE + page % 500 * 8);
}

static void fill(uint64_t salt)
{
	for (size_t page = 0; page < NR; page++)
		*word(page) = page * 31 + salt;
}

/* Bytes that are wrong. */
static int look(uint64_t salt)
{
	int bad = 0;

	for (size_t page = 0; page < NR; page++)
		bad += *word(page) != page * 31 + salt;
	return bad;
}

static int status_of(pid_t pid)
{
	int status = -1;

	return waitpid(pid, &status, 0) == pid ? status : -1;
}

static int must(int good, const char *what)
{
	if (!good)
		printf("wrong: %s\n", what);
	return good ? 0 : 1;
}

static int way_raw(void)
{
	int signal_of = 0;

	for (size_t page = 0; page < NR; page += NR / 16) {
		pid_t pid = (pid_t)syscall(SYS_fork);

		if (pid == 0) {
			uint64_t seen = *word(page);
			syscall(SYS_exit_group, seen == page * 31 + 5 ? 0 : 1);
		}
		int status = status_of(pid);

		signal_of = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
		if (must(signal_of == SIGSEGV || signal_of == SIGBUS || status == 0,
			    "a child that nobody saw read something else than was there"))
			return 1;
	}
	return must(look(5) == 0, "the parent of such children");
}

static int way_deep(int depth)
{
	if (depth == 0)
		return look(5) != 0;
	pid_t pid = fork();

	if (pid == 0) {
		int bad = look(5) != 0;

		fill(100 + (uint64_t)depth);
		bad |= look(100 + (uint64_t)depth) != 0;
		fill(5);
		_exit(bad | way_deep(depth - 1));
	}
	return must(status_of(pid) == 0, "a fork of a fork") | must(look(5) == 0, "its parent");
}

#define CHAIN 40
#define CHAIN_BYTES ((size_t)256 << 10)

static int chain_is_good(char *const *parts, int nr)
{
	int good = 1;

	for (int i = 0; i < nr; i++)
		for (size_t at = 0; at < CHAIN_BYTES; at += PAGE / 8)
			good &= parts[i][at] == (char)(i + 1);
	return good;
}

static int way_chain(void)
{
	char *parts[CHAIN];

	munmap(area, NR * PAGE);
	for (int depth = 0; depth < CHAIN; depth++) {
		parts[depth] = malloc(CHAIN_BYTES);
		memset(parts[depth], depth + 1, CHAIN_BYTES);
		pid_t pid = fork();

		if (pid != 0)
			_exit(must(status_of(pid) == 0, "a generation") |
				must(chain_is_good(parts, depth + 1), "what a generation has"));
		if (!chain_is_good(parts, depth + 1))
			_exit(2);
	}
	puts("good");
	fflush(stdout);
	_exit(0);
}

#define MANY 300

static int way_many(void)
{
	int go[2], wrong = 0;
	char byte;

	if (pipe(go) < 0)
		return 2;
	for (int i = 0; i < MANY; i++) {
		pid_t pid = fork();

		if (pid < 0)
			return must(0, "one of many forks");
		if (pid == 0) {
			close(go[1]);
			(void)!read(go[0], &byte, 1);
			_exit(i % 20 == 0 && look(5) != 0);
		}
		*word((size_t)i * 7 % NR) += 0; /* what was out moves to another slot */
	}
	wrong |= must(look(5) == 0, "the parent of many");
	close(go[1]);
	for (int i = 0, status; i < MANY; i++)
		wrong |= must(wait(&status) > 0 && status == 0, "one of many children");
	return wrong;
}

static int way_daemon(const char *path)
{
	pid_t pid = fork();

	if (pid > 0)
		return must(status_of(pid) == 0, "the first fork");
	setsid();
	if (fork() > 0)
		_exit(0);
	for (int fd = 0; fd < 8192; fd++)
		close(fd);
	close_range(0, ~0U, 0);
	sleep(1); /* the launcher has gone */
	int bad = look(5) != 0;

	fill(9);
	bad |= look(9) != 0;
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);

	if (fd >= 0 && write(fd, bad ? "bad\n" : "good\n", bad ? 4 : 5) < 0)
		_exit(3);
	_exit(bad);
}

static void *faulter(void *arg)
{
	size_t at = (size_t)(uintptr_t)arg;
	intptr_t bad = 0;

	while (!stop) {
		at = (at * 1103515245 + 12345) % NR;
		bad += *word(at) != at * 31 + 5;
	}
	return (void *)bad;
}

static int way_threads(void)
{
	pthread_t threads[3];
	int wrong = 0;

	for (uintptr_t i = 0; i < 3; i++)
		pthread_create(&threads[i], NULL, faulter, (void *)(i + 1));
	for (int i = 0; i < 4; i++) {
		pid_t pid = fork();

		if (pid == 0)
			_exit(look(5) != 0);
		wrong |= must(status_of(pid) == 0, "a child that was forked while others faulted");
	}
	stop = true;
	for (int i = 0; i < 3; i++) {
		void *bad;

		pthread_join(threads[i], &bad);
		wrong |= must(!bad, "a thread that faulted during forks");
	}
	return wrong;
}

static int way_spawn(void)
{
	char *arguments[] = {"true", NULL}, line[32] = "";
	int wrong = 0;
	pid_t pid = vfork();

	if (pid == 0) {
		execvp("true", arguments);
		_exit(127);
	}
	wrong |= must(status_of(pid) == 0, "vfork and exec");
	wrong |= must(posix_spawnp(&pid, "true", NULL, NULL, arguments, environ) == 0 && status_of(pid) == 0,
		"posix_spawn");
	wrong |= must(system("exit 3") == 3 << 8, "system");
	FILE *pipe = popen("echo well", "r");

	wrong |= must(pipe && fgets(line, sizeof(line), pipe) && !strcmp(line, "well\n") && pclose(pipe) == 0,
		"popen");
	return wrong | must(look(5) == 0, "the memory after all of them");
}

static int way_end(int sig)
{
	pid_t pid = fork();

	if (pid == 0) {
		look(5);
		raise(sig);
		_exit(0);
	}
	int status = status_of(pid);

	return must(WIFSIGNALED(status) && WTERMSIG(status) == sig, "the signal of the child's end");
}

int main(int argc, char **argv)
{
	const char *way = argc > 1 ? argv[1] : "";
	int wrong = 2;

	area = mmap(NULL, NR * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (area == MAP_FAILED)
		return 2;
	fill(5);
	if (!strcmp(way, "raw"))
		wrong = way_raw();
	else if (!strcmp(way, "deep"))
		wrong = way_deep(2);
	else if (!strcmp(way, "chain"))
		wrong = way_chain();
	else if (!strcmp(way, "many"))
		wrong = way_many();
	else if (!strcmp(way, "daemon") && argc > 2)
		wrong = way_daemon(argv[2]);
	else if (!strcmp(way, "threads"))
		wrong = way_threads();
	else if (!strcmp(way, "spawn"))
		wrong = way_spawn();
	else if (!strcmp(way, "abort"))
		wrong = way_end(SIGABRT);
	else if (!strcmp(way, "kill"))
		wrong = way_end(SIGKILL);
	puts(wrong ? "bad" : "good");
	return wrong;
}

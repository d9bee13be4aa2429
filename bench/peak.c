/* SPDX-License-Identifier: MIT */
/*
 * Run a command, and say how long it took and how much memory:
 *
 *      peak FILE COMMAND [ARG...]
 *
 * FILE becomes {"seconds": .., "peak_kib": ..}; the exit status is the command's. The kernel's peak of a process
 * includes the time before its exec: a small program that a large interpreter has forked seems large. Therefore this
 * program forks the command, because it is small itself.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile pid_t child;

static void pass_on(int number)
{
	if (child > 0)
		kill(child, number);
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static int report(const char *path, double seconds, long peak_kib)
{
	FILE *file = fopen(path, "w");

	if (!file || fprintf(file, "{\"seconds\": %.6f, \"peak_kib\": %ld}\n", seconds, peak_kib) < 0 ||
		fclose(file) != 0) {
		fprintf(stderr, "peak: %s: %s\n", path, strerror(errno));
		return 1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct rusage usage;
	double start = now();
	int status;

	if (argc < 3) {
		fprintf(stderr, "usage: peak FILE COMMAND [ARG...]\n");
		return 2;
	}
	child = fork();
	if (child == 0) {
		execvp(argv[2], argv + 2);
		fprintf(stderr, "peak: %s: %s\n", argv[2], strerror(errno));
		_exit(127);
	}
	signal(SIGTERM, pass_on);
	signal(SIGINT, pass_on);
	while (child < 0 || wait4(child, &status, 0, &usage) < 0) {
		if (child < 0 || errno != EINTR)
			return 1;
	}
	if (report(argv[1], now() - start, usage.ru_maxrss))
		return 1;
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

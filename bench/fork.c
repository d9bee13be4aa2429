/* SPDX-License-Identifier: MIT */
/*
 * fork RESIDENT_MIB SWAPPED_MIB ROUNDS: how long fork() takes in the parent, and until the child runs: medians in us.
 * The memory that is to be in swap is pushed out by MADV_PAGEOUT. Natively there is no such memory: its size is 0.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS_MAX 1000

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int by_value(const void *a, const void *b)
{
	double one = *(const double *)a, other = *(const double *)b;

	return (one > other) - (one < other);
}

static char *make(size_t mib)
{
	size_t bytes = mib << 20;
	char *area = mmap(
		NULL, bytes + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (area == MAP_FAILED)
		exit(2);
	madvise(area, bytes, MADV_NOHUGEPAGE);
	for (size_t at = 0; at < bytes; at += 4096)
		*(uint64_t *)(area + at) = at * 0x9e3779b97f4a7c15u + 1;
	return area;
}

int main(int argc, char **argv)
{
	size_t resident = argc > 3 ? (size_t)atol(argv[1]) : 0,
	       swapped = argc > 3 ? (size_t)atol(argv[2]) : 0;
	int rounds = argc > 3 ? atoi(argv[3]) : 0;
	static double forked[ROUNDS_MAX], started[ROUNDS_MAX];

	if (rounds < 1 || rounds > ROUNDS_MAX)
		return 2;
	double *child_us = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	char *out = make(swapped);

	if (swapped && madvise(out, swapped << 20, 21 /* MADV_PAGEOUT */))
		perror("MADV_PAGEOUT");
	make(resident);
	for (int i = 0; i < rounds; i++) {
		double start = now_us();
		pid_t pid = fork();

		if (pid == 0) {
			*child_us = now_us();
			_exit(0);
		}
		forked[i] = now_us() - start;
		waitpid(pid, NULL, 0);
		started[i] = *child_us - start;
	}
	qsort(forked, (size_t)rounds, sizeof(double), by_value);
	qsort(started, (size_t)rounds, sizeof(double), by_value);
	printf("%zu MiB resident, %zu MiB swapped out: fork %.0f us, the child runs after %.0f us\n",
		resident, swapped, forked[rounds / 2], started[rounds / 2]);
	return 0;
}

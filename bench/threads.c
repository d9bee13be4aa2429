/* SPDX-License-Identifier: MIT */
/*
 * `threads SIZE_MIB NR SECONDS`: NR threads read pages of SIZE_MIB at random, each by itself. Prints pages a second of
 * all threads together, of the slowest thread, and of the fastest.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096UL
#define MOST 1024

static char *area;
static uint64_t pages;
static atomic_int stop;
static struct {
	uint64_t done;
	char pad[120];
} each[MOST];

static void *run(void *arg)
{
	uint64_t n = (uintptr_t)arg, seed = n * 0x9e3779b97f4a7c15 + 1;

	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		seed = seed * 6364136223846793005 + 1442695040888963407;
		uint64_t page = (seed >> 33) % pages;
		if (*(volatile uint64_t *)(area + page * PAGE) != page)
			abort();
		each[n].done++;
	}
	return NULL;
}

/* Half of it compresses. */
static void fill(void)
{
	uint64_t seed = 1;

	for (uint64_t page = 0; page < pages; page++) {
		uint64_t *word = (uint64_t *)(area + page * PAGE);
		word[0] = page;
		for (unsigned i = 1; i < 256; i++)
			word[i] = seed = seed * 6364136223846793005 + 1442695040888963407;
	}
}

int main(int argc, char **argv)
{
	unsigned nr = argc > 2 ? (unsigned)atoi(argv[2]) : 64,
		 seconds = argc > 3 ? (unsigned)atoi(argv[3]) : 5;
	pthread_t thread[MOST];
	uint64_t all = 0, least = UINT64_MAX, most = 0;

	pages = (argc > 1 ? strtoull(argv[1], NULL, 10) : 256) * 256;
	if (!nr || nr > MOST || !pages)
		return 2;
	area = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (area == MAP_FAILED)
		return 2;
	fill();
	for (uintptr_t n = 0; n < nr; n++)
		if (pthread_create(&thread[n], NULL, run, (void *)n))
			return 2;
	sleep(seconds);
	stop = 1;
	for (unsigned n = 0; n < nr; n++)
		pthread_join(thread[n], NULL);
	for (unsigned n = 0; n < nr; n++) {
		all += each[n].done;
		least = each[n].done < least ? each[n].done : least;
		most = each[n].done > most ? each[n].done : most;
	}
	printf("%u threads: %.0f pages/s, slowest %.0f, fastest %.0f\n", nr, (double)all / seconds,
		(double)least / seconds, (double)most / seconds);
	return 0;
}

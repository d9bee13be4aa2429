/* SPDX-License-Identifier: MIT */
/*
 * hog MIB SECONDS [MIB_PER_SECOND]: fill MIB of memory, say "ready", and touch a little of it for SECONDS. At the end
 * check whether all of it is as it was written: "good", or exit status 1.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096
#define MIB_PAGES 256

static uint64_t *word_of(char *area, size_t page)
{
	return (uint64_t *)(area + page * PAGE + page % 500 * 8);
}

static void rest(double seconds)
{
	struct timespec time = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};

	nanosleep(&time, NULL);
}

int main(int argc, char **argv)
{
	size_t mib = argc > 2 ? (size_t)atol(argv[1]) : 0, nr = mib * MIB_PAGES;
	double seconds = argc > 2 ? atof(argv[2]) : 0, speed = argc > 3 ? atof(argv[3]) : 0;
	char *area = mmap(NULL, nr * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (area == MAP_FAILED) {
		perror("hog");
		return 2;
	}
	for (size_t page = 0; page < nr; page++) {
		*word_of(area, page) = page * 0x9e3779b97f4a7c15u + 1;
		if (speed > 0 && page % MIB_PAGES == 0)
			rest(1 / speed);
	}
	puts("ready");
	fflush(stdout);
	for (double passed = 0; passed < seconds; passed += 0.1) {
		for (size_t page = 0; page < nr; page += 997)
			(*word_of(area, page))++, (*word_of(area, page))--;
		rest(0.1);
	}
	for (size_t page = 0; page < nr; page++)
		if (*word_of(area, page) != page * 0x9e3779b97f4a7c15u + 1) {
			printf("bad at page %zu\n", page);
			return 1;
		}
	puts("good");
	return 0;
}

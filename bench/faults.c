/* SPDX-License-Identifier: MIT */
/*
 * What single faults cost: an ordinary program, which knows nothing of anonmm.
 *
 *      faults PAGES [--span SIZE] [--passes N] [--fits] [--json]
 *
 * Maps SPAN bytes (default: PAGES pages) and uses PAGES pages of them, as far apart as they can be.
 *
 * birth    one word of each page is written for the first time, in order
 * fill     the rest of each page: half of it random, half of it the same word, as bench/touch has it
 * order    one word of each page is read, in order
 * random   one word of a page at random is read, PAGES times
 * loop     with --fits, in place of the two before: all words of all pages are summed up
 * jump     likewise: a word at random is read and written
 *
 * What follows birth and fill is done N times (default 5), and the time is the median of those. Times are ns by page
 * touched (loop: by page summed up). JSON also says when each phase began and ended, by CLOCK_MONOTONIC.
 */
#define _GNU_SOURCE
#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define PAGE_BYTES 4096ul
#define PAGE_WORDS (PAGE_BYTES / sizeof(uint64_t))
#define PASSES_MOST 100
#define JUMPS_PER_PAGE 16

static struct {
	char *bytes;
	uint64_t nr, stride; /* pages; bytes from one to the next */
	uint64_t random, sum;
} region;

struct phase {
	const char *name;
	void (*run)(void);
	bool once, only_fits, only_pressed;
	double begin, end; /* of all passes */
	double ns;
};

static uint64_t mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
	return x ^ (x >> 31);
}

static uint64_t random_next(void)
{
	return mix(region.random += 0x9e3779b97f4a7c15);
}

static volatile uint64_t *page_words(uint64_t page)
{
	return (volatile uint64_t *)(region.bytes + page * region.stride);
}

static void check(uint64_t page)
{
	if (*page_words(page) == mix(page + 1))
		return;
	fprintf(stderr, "faults: page %llu does not hold what was written to it\n", (unsigned long long)page);
	exit(1);
}

static void birth(void)
{
	for (uint64_t page = 0; page < region.nr; page++)
		*page_words(page) = mix(page + 1);
}

static void fill(void)
{
	for (uint64_t page = 0; page < region.nr; page++) {
		volatile uint64_t *words = page_words(page);

		for (unsigned word = 1; word < PAGE_WORDS; word++)
			words[word] = word < PAGE_WORDS / 2 ? mix(page * PAGE_WORDS + word) : page % 7;
	}
}

static void order(void)
{
	for (uint64_t page = 0; page < region.nr; page++)
		check(page);
}

static void at_random(void)
{
	for (uint64_t i = 0; i < region.nr; i++)
		check(random_next() % region.nr);
}

static void loop(void)
{
	for (uint64_t page = 0; page < region.nr; page++) {
		const uint64_t *words = (const uint64_t *)page_words(page);

		for (unsigned word = 0; word < PAGE_WORDS; word++)
			region.sum += words[word];
	}
}

static void jump(void)
{
	for (uint64_t i = 0; i < region.nr * JUMPS_PER_PAGE; i++) {
		uint64_t at = random_next();

		page_words(at % region.nr)[1 + (at >> 40) % (PAGE_WORDS - 1)] ^= 1;
	}
}

static struct phase phases[] = {
	{.name = "birth", .run = birth, .once = true},
	{.name = "fill", .run = fill, .once = true},
	{.name = "order", .run = order, .only_pressed = true},
	{.name = "random", .run = at_random, .only_pressed = true},
	{.name = "loop", .run = loop, .only_fits = true},
	{.name = "jump", .run = jump, .only_fits = true},
};
#define NR_PHASES (sizeof(phases) / sizeof(*phases))

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void phase_run(struct phase *phase, unsigned passes)
{
	double took[PASSES_MOST];

	if (phase->once)
		passes = 1;
	phase->begin = now();
	for (unsigned i = 0; i < passes; i++) {
		double start = now();

		phase->run();
		took[i] = now() - start;
	}
	phase->end = now();
	qsort(took, passes, sizeof(*took), compare);
	phase->ns = took[passes / 2] * 1e9 / (double)region.nr;
	if (phase->run == jump)
		phase->ns /= JUMPS_PER_PAGE;
}

static void region_make(uint64_t nr, uint64_t span)
{
	region.nr = nr;
	region.stride = span / nr / PAGE_BYTES * PAGE_BYTES;
	region.bytes =
		mmap(NULL, span, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (region.bytes == MAP_FAILED) {
		fprintf(stderr, "faults: no address space for %llu bytes\n", (unsigned long long)span);
		exit(2);
	}
}

static uint64_t parse_size(const char *text)
{
	char *end;
	uint64_t number = strtoull(text, &end, 10);

	return *end == 'G' ? number << 30 : *end == 'M' ? number << 20 : *end ? 0 : number;
}

static void print(const struct phase *phase, bool json, bool first)
{
	if (json)
		printf("%s\"%s\": {\"ns\": %.2f, \"begin\": %.6f, \"end\": %.6f}", first ? "{" : ", ",
			phase->name, phase->ns, phase->begin, phase->end);
	else
		printf("%-8s %10.1f ns\n", phase->name, phase->ns);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"span", required_argument, NULL, 's'},
		{"passes", required_argument, NULL, 'p'}, {"fits", no_argument, NULL, 'f'},
		{"json", no_argument, NULL, 'j'}, {NULL, 0, NULL, 0}};
	uint64_t span = 0, passes = 5;
	bool json = false, fits = false;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 's')
			span = parse_size(optarg);
		else if (option == 'p')
			passes = parse_size(optarg);
		else if (option == 'f')
			fits = true;
		else if (option == 'j')
			json = true;
		else
			argc = 0;
	}
	uint64_t nr = optind == argc - 1 ? parse_size(argv[optind]) : 0;

	if (nr == 0 || passes < 1 || passes > PASSES_MOST || (span && span < nr * PAGE_BYTES)) {
		fprintf(stderr, "usage: faults PAGES [--span SIZE] [--passes N] [--fits] [--json]\n");
		return 2;
	}
	region_make(nr, span ? span : nr * PAGE_BYTES);
	for (unsigned i = 0; i < NR_PHASES; i++) {
		if (fits ? phases[i].only_pressed : phases[i].only_fits)
			continue;
		phase_run(&phases[i], (unsigned)passes);
		print(&phases[i], json, i == 0);
	}
	if (json)
		printf("}\n");
	return 0;
}

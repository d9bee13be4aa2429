/* SPDX-License-Identifier: MIT */
/*
 * An ordinary program with a large working set, which the benchmark runs. It knows nothing of anonmm.
 *
 * The content of every page follows from its index and from how often it was written. Half of it is random, half of it
 * the same few words, as in heaps. Every access checks what it finds. So a page that comes back as zeros, as another
 * page or as an older version of itself ends the program with a message.
 *
 * Each thread has a part of the region for itself. Times are wall time by pages touched, all threads together. How much
 * was read from disks meanwhile is the host's count for this process: swap-ins and readahead.
 */
#include <getopt.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define PAGE_BYTES 4096
#define PAGE_WORDS (PAGE_BYTES / sizeof(uint64_t))
#define MAX_THREADS 64

enum phase { FILL, SCAN_READ, SCAN_AGAIN, SCAN_WRITE, RANDOM_READ, RANDOM_WRITE, VERIFY, PHASES };

static const char *const phase_names[PHASES] = {
	"fill", "scan_read", "scan_again", "scan_write", "random_read", "random_write", "verify"};

static struct {
	uint64_t *words;
	uint8_t *versions; /* how often each page was written, modulo 256 */
	uint64_t nr_pages;
	unsigned nr_threads;
	bool backward, fill_too;
	uint64_t stride; /* 1: every page */
	double seconds[PHASES];
	double read_mib[PHASES]; /* that this process had the disks read */
	pthread_barrier_t barrier;
} region;

struct part {
	unsigned thread;
	uint64_t first, nr;
	uint64_t random;
};

static uint64_t mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
	return x ^ (x >> 31);
}

/* Word 0 changes with every write; the others are the page's for good. */
static uint64_t word_of(uint64_t page, unsigned word, uint8_t version)
{
	if (word == 0)
		return mix(page << 8 | version);
	if (word < PAGE_WORDS / 2)
		return mix(page * PAGE_WORDS + word);
	return page % 7;
}

static void check_word(uint64_t page, unsigned word)
{
	uint64_t found = region.words[page * PAGE_WORDS + word];
	uint64_t wanted = word_of(page, word, region.versions[page]);

	if (found == wanted)
		return;
	fprintf(stderr, "touch: page %llu of %llu, word %u: found %016llx, wanted %016llx (version %u)\n",
		(unsigned long long)page, (unsigned long long)region.nr_pages, word,
		(unsigned long long)found, (unsigned long long)wanted, region.versions[page]);
	exit(1);
}

static void fill_page(uint64_t page)
{
	uint64_t *words = &region.words[page * PAGE_WORDS];

	for (unsigned word = 0; word < PAGE_WORDS; word++)
		words[word] = word_of(page, word, 0);
}

static void read_page(uint64_t page)
{
	check_word(page, 0);
	check_word(page, 1 + page % (PAGE_WORDS - 1));
}

static void write_page(uint64_t page)
{
	check_word(page, 0);
	region.versions[page]++;
	region.words[page * PAGE_WORDS] = word_of(page, 0, region.versions[page]);
}

static void verify_page(uint64_t page)
{
	for (unsigned word = 0; word < PAGE_WORDS; word++)
		check_word(page, word);
}

static void (*const phase_access[PHASES])(uint64_t page) = {
	fill_page, read_page, read_page, write_page, read_page, write_page, verify_page};

/* In which order fill, scans and verify visit the @nr pages of a part: its @i-th page. */
static uint64_t ordered_page(uint64_t i, uint64_t nr)
{
	uint64_t rows = nr / region.stride;

	if (region.backward)
		i = nr - 1 - i;
	/* As a matrix by its columns: each round visits every stride-th page. */
	return i < rows * region.stride ? i % rows * region.stride + i / rows : i;
}

static uint64_t random_page(struct part *part)
{
	part->random += 0x9e3779b97f4a7c15;
	return part->first + mix(part->random) % part->nr;
}

static void touch_part(struct part *part, enum phase phase)
{
	bool random = phase == RANDOM_READ || phase == RANDOM_WRITE;
	bool forward = phase == FILL && !region.fill_too;

	for (uint64_t i = 0; i < part->nr; i++)
		phase_access[phase](
			random ? random_page(part) : part->first + (forward ? i : ordered_page(i, part->nr)));
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static double mib_read(void)
{
	char line[64];
	unsigned long long bytes = 0;
	FILE *file = fopen("/proc/self/io", "r");

	while (file && fgets(line, sizeof(line), file))
		sscanf(line, "read_bytes: %llu", &bytes);
	if (file)
		fclose(file);
	return (double)bytes / (1 << 20);
}

static void *run_part(void *arg)
{
	struct part *part = arg;

	for (enum phase phase = 0; phase < PHASES; phase++) {
		double before = part->thread == 0 ? mib_read() : 0;

		pthread_barrier_wait(&region.barrier);
		double start = now();

		touch_part(part, phase);
		pthread_barrier_wait(&region.barrier);
		if (part->thread == 0) {
			region.seconds[phase] = now() - start;
			region.read_mib[phase] = mib_read() - before;
		}
	}
	return NULL;
}

/* The first part is the main thread's own: with one thread the program has one thread. */
static void run_parts(void)
{
	struct part parts[MAX_THREADS] = {0};
	pthread_t threads[MAX_THREADS] = {0};
	uint64_t share = region.nr_pages / region.nr_threads;

	pthread_barrier_init(&region.barrier, NULL, region.nr_threads);
	for (unsigned i = 0; i < region.nr_threads; i++) {
		parts[i] = (struct part){.thread = i, .first = i * share, .nr = share, .random = i};
		if (i > 0 && pthread_create(&threads[i], NULL, run_part, &parts[i]) != 0) {
			fprintf(stderr, "touch: cannot start thread %u\n", i);
			exit(2);
		}
	}
	run_part(&parts[0]);
	for (unsigned i = 1; i < region.nr_threads; i++)
		pthread_join(threads[i], NULL);
}

static double us_per_page(enum phase phase)
{
	return region.seconds[phase] * 1e6 / (double)region.nr_pages;
}

static void print_results(bool json)
{
	if (json)
		printf("{\"pages\": %llu, \"threads\": %u, \"us_per_page\": {",
			(unsigned long long)region.nr_pages, region.nr_threads);
	else
		printf("%llu pages, %u thread(s), us per page touched\n", (unsigned long long)region.nr_pages,
			region.nr_threads);
	for (enum phase phase = 0; phase < PHASES; phase++) {
		if (json)
			printf("%s\"%s\": %.3f", phase ? ", " : "", phase_names[phase], us_per_page(phase));
		else
			printf("%-14s %8.3f %8.0f MiB read\n", phase_names[phase], us_per_page(phase),
				region.read_mib[phase]);
	}
	if (!json)
		return;
	printf("}, \"read_mib\": {");
	for (enum phase phase = 0; phase < PHASES; phase++)
		printf("%s\"%s\": %.1f", phase ? ", " : "", phase_names[phase], region.read_mib[phase]);
	printf("}}\n");
}

static uint64_t parse_size(const char *text)
{
	char *end;
	uint64_t bytes = strtoull(text, &end, 10);
	const char *units = "KMGT";
	const char *unit = *end ? strchr(units, *end) : NULL;

	if (unit) {
		bytes <<= 10 * (unit - units + 1);
		end++;
	}
	return end == text || *end ? 0 : bytes;
}

static void region_make(uint64_t bytes, bool map)
{
	region.nr_pages = bytes / PAGE_BYTES / region.nr_threads * region.nr_threads;
	region.versions = calloc(region.nr_pages, 1);
	void *memory = map ? mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
			   : malloc(bytes + PAGE_BYTES);

	if (!region.versions || !memory || memory == MAP_FAILED) {
		fprintf(stderr, "touch: no memory for %llu bytes\n", (unsigned long long)bytes);
		exit(2);
	}
	/* Our pages are the system's pages. */
	region.words = (uint64_t *)(((uintptr_t)memory + PAGE_BYTES - 1) & ~(uintptr_t)(PAGE_BYTES - 1));
}

/* "forward", "backward", "stride:N". Fill goes forward, unless "fill:" stands before. false: none of these. */
static bool parse_pattern(const char *text)
{
	char *end;

	if (strncmp(text, "fill:", 5) == 0) {
		region.fill_too = true;
		text += 5;
	}
	if (strcmp(text, "forward") == 0)
		return true;
	region.backward = strcmp(text, "backward") == 0;
	if (region.backward)
		return true;
	if (strncmp(text, "stride:", 7) != 0)
		return false;
	region.backward = text[7] == '-';
	region.stride = strtoull(text + 7 + region.backward, &end, 10);
	return region.stride > 0 && *end == '\0';
}

static void usage(FILE *out)
{
	fprintf(out,
		"touch SIZE [--threads N] [--mmap] [--json]\n\n"
		"Fill SIZE bytes (256M, 1G) of malloc'ed memory, scan it for reading, twice, and for "
		"writing,\n"
		"read and write it at random, verify it; print the time of each by pages of 4 KiB\n"
		"touched.\n\n"
		"  --threads N  share the region among N threads (1 .. 64)\n"
		"  --mmap       take the memory from mmap() rather than malloc()\n"
		"  --pattern P  scan forward, backward, or by a stride of N pages: stride:N, stride:-N.\n"
		"               Pages are filled forward all the same, but for fill:P\n"
		"  --json       print JSON\n\n"
		"Exit status 1: a page did not hold what was written to it.\n");
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"threads", required_argument, NULL, 't'},
		{"mmap", no_argument, NULL, 'm'}, {"pattern", required_argument, NULL, 'p'},
		{"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
	bool json = false, map = false;
	int option;

	region.nr_threads = 1;
	region.stride = 1;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 't')
			region.nr_threads = (unsigned)atoi(optarg);
		else if (option == 'm')
			map = true;
		else if (option == 'j')
			json = true;
		else if (option == 'p' && parse_pattern(optarg))
			continue;
		else {
			usage(option == 'h' ? stdout : stderr);
			return option == 'h' ? 0 : 2;
		}
	}
	uint64_t bytes = optind == argc - 1 ? parse_size(argv[optind]) : 0;

	if (region.nr_threads < 1 || region.nr_threads > MAX_THREADS ||
		bytes < region.nr_threads * PAGE_BYTES) {
		usage(stderr);
		return 2;
	}

	region_make(bytes, map);
	run_parts();
	print_results(json);
	return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * How well compressed memory compresses given pages: the real device, with one algorithm after the other.
 *
 *      compress [--json] FILE...       each FILE is memory as it was dumped, page after page (bench/heaps)
 *
 * The ratio is pages by the memory that the store takes for them. Pages that the device refuses, because they do not
 * compress, are left out. Pages of one word (most of them zeros) are counted apart: they take no store at all, and
 * would make the ratio look better.
 */
#include "swap/zram/zram.h"

#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char *const algos[] = {
	"algo=lz4", "algo=lz4&level=4", "algo=lz4hc&level=3", "algo=zstd&level=1", "algo=zstd&level=3"};

struct dump {
	uint8_t *pages;
	uint32_t nr;
};

struct figures {
	uint32_t nr_same, nr_kept, nr_whole; /* pages */
	double ratio; /* of what is kept: pages by compressed bytes */
	double overhead; /* blocks by compressed bytes */
	double us_in, us_out; /* a page that is not of one word */
};

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static bool is_one_word(const uint8_t *page)
{
	return memcmp(page, page + 8, PAGE_BYTES - 8) == 0;
}

static int dump_read(const char *path, struct dump *dump)
{
	struct stat st;
	int fd = open(path, O_RDONLY);

	if (fd < 0 || fstat(fd, &st) < 0 || st.st_size < (off_t)PAGE_BYTES) {
		fprintf(stderr, "compress: %s cannot be read, or holds no page\n", path);
		return 1;
	}
	dump->nr = (uint32_t)(st.st_size / (off_t)PAGE_BYTES);
	dump->pages = mmap(NULL, dump->nr * PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	close(fd);
	if (dump->pages == MAP_FAILED)
		return 1;
	uint32_t nr = 0;

	/* Those of one word to the back, so that they do not count as work. */
	for (uint32_t i = 0; i < dump->nr; i++) {
		uint8_t page[PAGE_BYTES];

		if (is_one_word(dump->pages + i * PAGE_BYTES))
			continue;
		memcpy(page, dump->pages + i * PAGE_BYTES, PAGE_BYTES);
		memcpy(dump->pages + i * PAGE_BYTES, dump->pages + nr * PAGE_BYTES, PAGE_BYTES);
		memcpy(dump->pages + nr++ * PAGE_BYTES, page, PAGE_BYTES);
	}
	return 0;
}

static void nothing(struct swap_io *io)
{
	(void)io;
}

static void move(struct swapdev *dev, enum swap_dir dir, uint32_t slot, uint16_t nr, uint8_t *bytes)
{
	struct swap_io io = {.dir = dir, .slot = slot, .nr = nr, .done = nothing};
	struct swap_io_list list = STAILQ_HEAD_INITIALIZER(list);

	for (unsigned i = 0; i < nr; i++)
		io.iov[i] = (struct swap_iov){bytes + i * PAGE_BYTES, PAGE_BYTES};
	STAILQ_INSERT_TAIL(&list, &io, link);
	dev->ops->submit(dev, &list);
	if (io.result) {
		fprintf(stderr, "compress: the device failed: %s\n", strerror(-io.result));
		exit(1);
	}
}

static double move_all(
	struct swapdev *dev, enum swap_dir dir, const struct dump *dump, uint32_t nr, bool check)
{
	static uint8_t buffer[SWAP_IO_PAGES * PAGE_BYTES];
	double seconds = 0;

	for (uint32_t at = 0; at < nr; at += SWAP_IO_PAGES) {
		uint16_t some = (uint16_t)min_u64(nr - at, SWAP_IO_PAGES);
		uint8_t *bytes = dump->pages + at * PAGE_BYTES;
		double start = now();

		move(dev, dir, at, some, dir == SWAP_WRITE ? bytes : buffer);
		seconds += now() - start;
		if (check && memcmp(buffer, bytes, some * PAGE_BYTES) != 0) {
			fprintf(stderr, "compress: page %u came back as another\n", at);
			exit(1);
		}
	}
	return seconds;
}

static uint32_t count_whole(struct zram_dev *zram, uint32_t nr)
{
	uint32_t whole = 0;

	for (uint32_t slot = 0; slot < nr; slot++)
		whole += zram->slots[slot].kind == ZRAM_STORED && zram->slots[slot].bytes == PAGE_BYTES;
	return whole;
}

static int measure(const struct dump *dump, const char *algo, struct figures *f)
{
	struct swapdev *dev;
	char uri[128], why[512];
	uint32_t work = dump->nr;

	while (work > 0 && is_one_word(dump->pages + (work - 1) * PAGE_BYTES))
		work--;
	snprintf(uri, sizeof(uri), "zram:?size=%lu&%s", dump->nr * PAGE_BYTES + 64 * MIB, algo);
	if (swapdev_open(uri, &dev, why, sizeof(why)) < 0) {
		fprintf(stderr, "compress: %s\n", why);
		return 1;
	}
	struct zram_dev *zram = container_of(dev, struct zram_dev, dev);

	if (dump->nr > work)
		move_all(dev, SWAP_WRITE, dump, dump->nr, false); /* also the first touch of its memory */
	f->us_in = move_all(dev, SWAP_WRITE, dump, work, false) / work * 1e6;
	f->us_out = move_all(dev, SWAP_READ, dump, work, true) / work * 1e6;
	f->nr_same = dump->nr - work;
	f->nr_whole = count_whole(zram, work);
	f->nr_kept = work - f->nr_whole;
	uint64_t whole_bytes = f->nr_whole * PAGE_BYTES;
	uint64_t kept_bytes = zram->store.put_bytes - whole_bytes;
	uint64_t blocks = (zram->store.nr_present - zram->store.nr_spare) * zram->store.block_bytes;

	f->ratio = (double)f->nr_kept * PAGE_BYTES / (double)max_u64(kept_bytes, 1);
	f->overhead = (double)blocks / (double)max_u64(zram->store.put_bytes, 1);
	dev->ops->close(dev);
	return 0;
}

static void print(const char *name, const char *algo, const struct figures *f, bool json)
{
	if (json)
		printf("{\"dump\": \"%s\", \"device\": \"%s\", \"same\": %u, \"kept\": %u, \"whole\": %u, "
		       "\"ratio\": %.3f, \"overhead\": %.3f, \"us_in\": %.2f, \"us_out\": %.2f}\n",
			name, algo, f->nr_same, f->nr_kept, f->nr_whole, f->ratio, f->overhead, f->us_in,
			f->us_out);
	else
		printf("%-12s %-20s %8u %8u %8u %7.2f %9.3f %7.2f %7.2f\n", name, algo, f->nr_same,
			f->nr_kept, f->nr_whole, f->ratio, f->overhead, f->us_in, f->us_out);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"json", no_argument, NULL, 'j'}, {0}};
	bool json = false;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option != 'j')
			return 2;
		json = true;
	}
	if (optind == argc) {
		fprintf(stderr, "usage: compress [--json] FILE...\n");
		return 2;
	}
	if (!json)
		printf("%-12s %-20s %8s %8s %8s %7s %9s %7s %7s\n", "", "", "one word", "kept", "whole",
			"ratio", "overhead", "us in", "us out");
	for (; optind < argc; optind++) {
		const char *slash = strrchr(argv[optind], '/');
		struct dump dump;

		if (dump_read(argv[optind], &dump))
			return 1;
		for (size_t i = 0; i < ARRAY_SIZE(algos); i++) {
			struct figures figures;

			if (measure(&dump, algos[i], &figures))
				return 1;
			print(slash ? slash + 1 : argv[optind], algos[i], &figures, json);
		}
		munmap(dump.pages, dump.nr * PAGE_BYTES);
	}
	return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * What the disk itself can do: everything that is swapped to a file is measured against this.
 *
 *      device DIR [--size SIZE] [--seconds N] [--json]
 *
 * A file in DIR is written and read past the page cache (O_DIRECT). Its content cannot be compressed, so no layer below
 * can make it smaller. Latency: one read of 4 KiB at a time, at random. Rates: 32 such reads at a time, and 4 reads or
 * writes of 1 MiB at a time, in order. Each figure takes SECONDS.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <liburing.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define DEPTH_MOST 32
#define LARGE (1u << 20)
#define SMALL 4096u
#define SAMPLES_MOST (1u << 20)

struct load {
	const char *name;
	bool write, random;
	unsigned bytes, depth;
};

static const struct load loads[] = {
	{"seq_write_1m", true, false, LARGE, 4},
	{"seq_read_1m", false, false, LARGE, 4},
	{"random_read_4k_qd1", false, true, SMALL, 1},
	{"random_read_4k_qd32", false, true, SMALL, DEPTH_MOST},
	{"random_write_4k_qd32", true, true, SMALL, DEPTH_MOST},
};

struct figures {
	double mib_per_second, us_median, us_99;
};

static struct {
	int fd;
	uint64_t bytes;
	double seconds;
	uint8_t *buffers[DEPTH_MOST];
	double started[DEPTH_MOST]; /* when what is in a buffer was asked for */
	uint64_t at, random;
} disk;

static float samples[SAMPLES_MOST]; /* us */

__attribute__((noreturn)) static void die(const char *what, int error)
{
	fprintf(stderr, "device: %s: %s\n", what, strerror(error));
	exit(1);
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static uint64_t random_next(void)
{
	uint64_t x = disk.random += 0x9e3779b97f4a7c15;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
	return x ^ (x >> 31);
}

static void file_open(const char *dir)
{
	disk.fd = open(dir, O_TMPFILE | O_RDWR | O_DIRECT, 0600);
	if (disk.fd < 0)
		die(dir, errno);
	for (unsigned i = 0; i < DEPTH_MOST; i++) {
		if (posix_memalign((void **)&disk.buffers[i], SMALL, LARGE))
			die("no memory", ENOMEM);
		for (unsigned word = 0; word < LARGE / sizeof(uint64_t); word++)
			((uint64_t *)disk.buffers[i])[word] = random_next();
	}
}

/* All of it is written once, so that reads find blocks and not holes, and writes find space. */
static void file_fill(void)
{
	for (uint64_t at = 0; at < disk.bytes; at += LARGE) {
		if (pwrite(disk.fd, disk.buffers[at / LARGE % DEPTH_MOST], LARGE, (off_t)at) != LARGE)
			die("cannot fill the file", errno);
	}
	if (fdatasync(disk.fd) < 0)
		die("cannot flush the file", errno);
}

static void request_start(struct io_uring *ring, const struct load *load, unsigned buffer)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
	uint64_t at = load->random ? random_next() % (disk.bytes / load->bytes) * load->bytes : disk.at;

	disk.at = (disk.at + load->bytes) % disk.bytes;
	if (load->write)
		io_uring_prep_write(sqe, disk.fd, disk.buffers[buffer], load->bytes, at);
	else
		io_uring_prep_read(sqe, disk.fd, disk.buffers[buffer], load->bytes, at);
	io_uring_sqe_set_data64(sqe, buffer);
	disk.started[buffer] = now();
}

/* => the buffer that is free again */
static unsigned request_end(struct io_uring *ring, const struct load *load, double *us)
{
	struct io_uring_cqe *cqe;
	int error = io_uring_wait_cqe(ring, &cqe);

	if (error < 0)
		die("cannot wait", -error);
	if (cqe->res != (int)load->bytes)
		die(load->name, cqe->res < 0 ? -cqe->res : EIO);
	unsigned buffer = (unsigned)io_uring_cqe_get_data64(cqe);

	io_uring_cqe_seen(ring, cqe);
	*us = (now() - disk.started[buffer]) * 1e6;
	return buffer;
}

static int compare(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return (x > y) - (x < y);
}

static struct figures run(const struct load *load)
{
	struct io_uring ring;
	uint64_t nr = 0;
	double start = now(), end = start + disk.seconds, us;
	int error = io_uring_queue_init(DEPTH_MOST, &ring, 0);

	if (error < 0)
		die("no io_uring", -error);
	disk.at = 0;
	for (unsigned i = 0; i < load->depth; i++)
		request_start(&ring, load, i);
	io_uring_submit(&ring);
	for (unsigned in_flight = load->depth; in_flight > 0;) {
		unsigned buffer = request_end(&ring, load, &us);

		samples[nr++ % SAMPLES_MOST] = (float)us;
		if (now() < end) {
			request_start(&ring, load, buffer);
			io_uring_submit(&ring);
		} else {
			in_flight--;
		}
	}
	double took = now() - start;
	uint64_t kept = nr < SAMPLES_MOST ? nr : SAMPLES_MOST;

	io_uring_queue_exit(&ring);
	qsort(samples, kept, sizeof(*samples), compare);
	return (struct figures){.mib_per_second = (double)(nr * load->bytes) / took / (1 << 20),
		.us_median = samples[kept / 2],
		.us_99 = samples[kept * 99 / 100]};
}

static void print(const struct load *load, const struct figures *f, bool json, bool first)
{
	if (json)
		printf("%s\"%s\": {\"mib_per_second\": %.1f, \"us_median\": %.1f, \"us_99\": %.1f}",
			first ? "{" : ", ", load->name, f->mib_per_second, f->us_median, f->us_99);
	else
		printf("%-22s %9.1f MiB/s   median %8.1f us   99 %% %8.1f us\n", load->name,
			f->mib_per_second, f->us_median, f->us_99);
}

static uint64_t parse_mib(const char *text)
{
	char *end;
	uint64_t number = strtoull(text, &end, 10);

	if (*end == 'G')
		return number << 30;
	return *end == 'M' ? number << 20 : 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"size", required_argument, NULL, 's'},
		{"seconds", required_argument, NULL, 't'}, {"json", no_argument, NULL, 'j'},
		{NULL, 0, NULL, 0}};
	bool json = false;
	int option;

	disk.bytes = 512ul << 20;
	disk.seconds = 2;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 's')
			disk.bytes = parse_mib(optarg);
		else if (option == 't')
			disk.seconds = atof(optarg);
		else if (option == 'j')
			json = true;
		else
			argc = 0;
	}
	if (optind != argc - 1 || disk.bytes < LARGE || !(disk.seconds > 0)) {
		fprintf(stderr, "usage: device DIR [--size 512M] [--seconds 2] [--json]\n");
		return 2;
	}
	disk.bytes -= disk.bytes % LARGE;
	file_open(argv[optind]);
	file_fill();
	for (unsigned i = 0; i < sizeof(loads) / sizeof(*loads); i++) {
		struct figures figures = run(&loads[i]);

		print(&loads[i], &figures, json, i == 0);
	}
	if (json)
		printf("}\n");
	return 0;
}

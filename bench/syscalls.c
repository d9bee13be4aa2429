/* SPDX-License-Identifier: MIT */
/*
 * What a system call costs: one without pointers, and one with a buffer. The buffer is on the stack, in memory from
 * malloc, or in memory from malloc that is large. The calls are made by libc's function, and past it.
 *
 * This is an ordinary program, which knows nothing of anonmm. Run it natively, and under `anonmm run` with --faults
 * thread and signal: the differences are what the filter and the guard cost.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS 7

static int zero_fd, file_fd, epoll_fd, sockets[2];
static char *managed, *path, native[4096];
static struct pollfd *polled;
static int *word;

static void call_getppid(void)
{
	syscall(SYS_getppid);
}

static void read_native(void)
{
	(void)!pread(file_fd, native, 64, 0);
}

static void read_managed(void)
{
	(void)!pread(file_fd, managed, 64, 0);
}

static void read_managed_raw(void)
{
	syscall(SYS_pread64, file_fd, managed, 64, 0);
}

static void read_native_4k(void)
{
	(void)!pread(file_fd, native, 4096, 0);
}

static void read_managed_4k(void)
{
	(void)!pread(file_fd, managed, 4096, 0);
}

static void read_managed_1m(void)
{
	(void)!pread(file_fd, managed, 1 << 20, 0);
}

static void readv_native(void)
{
	(void)!preadv(file_fd, &(struct iovec){native, 64}, 1, 0);
}

static void readv_managed(void)
{
	(void)!preadv(file_fd, &(struct iovec){managed, 64}, 1, 0);
}

static void send_native(void)
{
	(void)!send(sockets[0], native, 64, 0);
	(void)!recv(sockets[1], native, 64, 0);
}

static void send_managed(void)
{
	(void)!send(sockets[0], managed, 64, 0);
	(void)!recv(sockets[1], managed, 64, 0);
}

static void epoll_native(void)
{
	epoll_wait(epoll_fd, (struct epoll_event *)native, 100, 0);
}

static void epoll_managed(void)
{
	epoll_wait(epoll_fd, (struct epoll_event *)managed, 100, 0);
}

static void poll_native(void)
{
	poll(&(struct pollfd){sockets[0], POLLIN | POLLOUT, 0}, 1, 0);
}

static void poll_managed(void)
{
	poll(polled, 1, 0);
}

static void stat_managed(void)
{
	struct stat st;
	stat(path, &st);
}

static void wake_managed(void)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static double now_ns(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

/* The best round: what disturbs only adds. */
static double measure(void (*call)(void), int times)
{
	double best = 1e30;

	for (int round = 0; round < ROUNDS; round++) {
		double start = now_ns();
		for (int i = 0; i < times; i++)
			call();
		double took = (now_ns() - start) / times;
		best = took < best ? took : best;
	}
	return best;
}

int main(void)
{
	static const struct {
		const char *name;
		void (*call)(void);
		int times;
	} calls[] = {
		{"no pointers (getppid)", call_getppid, 200000},
		{"pread 64, stack", read_native, 100000},
		{"pread 64, malloc", read_managed, 50000},
		{"pread 64, malloc, raw", read_managed_raw, 50000},
		{"pread 4096, stack", read_native_4k, 50000},
		{"pread 4096, malloc", read_managed_4k, 50000},
		{"pread 1 MiB, malloc", read_managed_1m, 300},
		{"preadv 64, stack", readv_native, 100000},
		{"preadv 64, malloc", readv_managed, 50000},
		{"send and recv 64, stack", send_native, 50000},
		{"send and recv 64, malloc", send_managed, 50000},
		{"epoll_wait, stack", epoll_native, 100000},
		{"epoll_wait, malloc", epoll_managed, 50000},
		{"poll, stack", poll_native, 100000},
		{"poll, malloc", poll_managed, 50000},
		{"stat, path from malloc", stat_managed, 50000},
		{"futex wake, malloc", wake_managed, 100000},
	};

	zero_fd = open("/dev/zero", O_RDONLY);
	file_fd = open("/var/tmp", O_TMPFILE | O_RDWR, 0600);
	managed = malloc(1 << 20);
	path = strdup("/var/tmp");
	word = malloc(sizeof(*word));
	polled = malloc(sizeof(*polled));
	epoll_fd = epoll_create1(0);
	if (zero_fd < 0 || file_fd < 0 || !managed || !polled || read(zero_fd, managed, 1 << 20) != 1 << 20 ||
		write(file_fd, managed, 1 << 20) != 1 << 20)
		return 1;
	struct epoll_event event = {.events = EPOLLOUT};
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) ||
		epoll_ctl(epoll_fd, EPOLL_CTL_ADD, sockets[0], &event))
		return 1;
	*polled = (struct pollfd){sockets[0], POLLIN | POLLOUT, 0};
	*word = 0;
	for (unsigned i = 0; i < sizeof(calls) / sizeof(*calls); i++)
		printf("%-26s %10.0f ns\n", calls[i].name, measure(calls[i].call, calls[i].times));
	return 0;
}

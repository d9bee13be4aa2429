/* SPDX-License-Identifier: MIT */
/*
 * `dies HOW FILE` fills memory, writes its address to FILE, and dies so that a core is dumped. dump.py then looks for
 * all of the memory in the core. Each page holds its number and what it was filled with.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

#define PAGE 4096UL
#define PAGES 6000UL
#define KEY 0x5eed5eed00000000ULL

static char *area;
static _Atomic long turns;

static void *runs_on(void *arg)
{
	for (;;) {
		turns++;
		*(volatile char *)(area + (300 + turns * 7919 % (PAGES - 300)) * PAGE + 100);
	}
	return arg;
}

static long recurse(long n)
{
	volatile char frame[512];
	frame[n % 512] = (char)n;
	return recurse(n + 1) + frame[(n + 1) % 512];
}

static void *dies_in_thread(void *arg)
{
	*(volatile int *)8 = 1;
	return arg;
}

static void handler(int sig)
{
	signal(sig, SIG_DFL);
	raise(sig);
}

static void die(const char *how)
{
	pthread_t thread;
	struct rlimit stack = {1 << 20, RLIM_INFINITY};
	struct itimerval cpu = {{0, 0}, {0, 1000}};

	if (!strcmp(how, "segv"))
		*(volatile int *)8 = 1;
	if (!strcmp(how, "bus"))
		raise(SIGBUS);
	if (!strcmp(how, "trap"))
		__asm__ volatile("int3");
	if (!strcmp(how, "overflow")) {
		setrlimit(RLIMIT_STACK, &stack);
		recurse(0);
	}
	if (!strcmp(how, "thread")) {
		pthread_create(&thread, NULL, dies_in_thread, NULL);
		pthread_join(thread, NULL);
	}
	if (!strcmp(how, "handled")) {
		signal(SIGABRT, handler);
		abort();
	}
	if (!strcmp(how, "killed")) {
		printf("ready\n");
		fflush(stdout);
		for (;;)
			pause();
	}
	abort();
}

int main(int argc, char **argv)
{
	pthread_t thread;
	FILE *file;

	area = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (uint64_t i = 0; i < PAGES; i++)
		for (uint64_t j = 0; j < PAGE / 8; j += 64)
			((uint64_t *)(area + i * PAGE))[j] = KEY + i * 512 + j;
	mprotect(area + 100 * PAGE, 50 * PAGE, PROT_READ);
	mprotect(area + 200 * PAGE, 50 * PAGE, PROT_NONE);
	file = fopen(argv[2], "w");
	fprintf(file, "%lu %lu\n", (unsigned long)area, PAGES);
	fclose(file);
	if (!strcmp(argv[1], "busy"))
		for (int i = 0; i < 4; i++)
			pthread_create(&thread, NULL, runs_on, NULL);
	die(argv[1]);
	return argc;
}

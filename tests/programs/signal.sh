#!/bin/sh
# SPDX-License-Identifier: MIT
# Signal mode: a program with threads, timers, handlers, alternate stacks and blocked signals, in a quarter of its
# memory. What it hands to system calls is in syscalls.sh.
. "$(dirname "$0")/../common.sh"
need gcc

cat >"$work/program.c" <<'C'
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>

#define THREADS 4
#define BLOCKS	4000 /* of 4 KiB: 16 MiB a thread */

static uint64_t *shared; /* read by the handler */
static _Atomic long ticks, wrong;

static void on_alarm(int sig)
{
	(void)sig;
	for (int i = 0; i < 64; i++)
		if (shared[(ticks * 64 + i) % 262144 * 8] != 77)
			wrong++;
	ticks++;
}

static void on_bus(int sig)
{
	(void)sig;
	wrong++;
}

static void *work(void *arg)
{
	uint64_t n = (uintptr_t)arg;
	uint64_t **block = calloc(BLOCKS, sizeof(*block));
	stack_t stack = {.ss_sp = malloc(65536), .ss_size = 65536};
	sigset_t all, old;

	sigaltstack(&stack, NULL);
	sigfillset(&all);
	for (uint64_t i = 0; i < BLOCKS; i++) {
		block[i] = malloc(4096);
		for (int j = 0; j < 512; j++)
			block[i][j] = n << 32 | i;
	}
	for (int round = 0; round < 3; round++) {
		if (round == 1)
			pthread_sigmask(SIG_BLOCK, &all, &old);
		if (round == 2)
			pthread_sigmask(SIG_SETMASK, &old, NULL);
		for (uint64_t i = 0; i < BLOCKS; i++) {
			uint64_t at = i * 1009 % BLOCKS;
			for (int j = 0; j < 512; j++)
				if (block[at][j] != (n << 32 | at))
					wrong++;
		}
	}
	for (uint64_t i = 0; i < BLOCKS; i++)
		free(block[i]);
	return NULL;
}

int main(void)
{
	pthread_t thread[THREADS];
	struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_ONSTACK | SA_RESTART}, bus = {.sa_handler = on_bus}, back;
	struct itimerval timer = {{0, 2000}, {0, 2000}};

	shared = mmap(NULL, 16 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (int i = 0; i < 2097152; i++)
		shared[i] = 77;
	sigaction(SIGBUS, &bus, NULL);
	sigaction(SIGBUS, NULL, &back);
	if (back.sa_handler != on_bus)
		wrong++;
	if (signal(SIGBUS, SIG_DFL) != on_bus || sigset(SIGBUS, on_bus) != SIG_DFL || sighold(SIGBUS))
		wrong++;
	siginterrupt(SIGBUS, 1);
	if (sigblock(0) != 1 << (SIGBUS - 1) || sigrelse(SIGBUS) || sigblock(0))
		wrong++;
	__sysv_signal(SIGBUS, on_bus); /* what strict ISO C makes of signal() */
	sigfillset(&action.sa_mask);
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
	for (uintptr_t n = 0; n < THREADS; n++)
		pthread_create(&thread[n], NULL, work, (void *)n);
	for (int n = 0; n < THREADS; n++)
		pthread_join(thread[n], NULL);
	printf("%s, %ld wrong\n", ticks > 3 ? "ticked" : "no ticks", (long)wrong);
	return wrong != 0;
}
C
compiles -O1 -pthread -o "$work/program" "$work/program.c"
for mode in signal thread; do
	managed 20M $mode "$work/program" >"$work/out" || fail "$mode: exit status $?"
	[ "$(cat "$work/out")" = "ticked, 0 wrong" ] || fail "$mode: $(cat "$work/out")"
	must_have_swapped $mode
done
finish

/* SPDX-License-Identifier: MIT */
/*
 * Stop the threads of a process that is about to die.
 *
 * Natively the kernel stops all threads at the moment of a fatal signal. Here that happens later, after memory has
 * been brought in, and the program must not go on meanwhile. So each thread is sent a signal whose handler never
 * returns. Programs cannot block this signal: libc keeps it for itself, to change the user of all threads. Only a
 * thread that holds a lock of the library blocks it, and it unblocks the signal when it releases the lock.
 */
#include "run/run.h"
#include "host/host.h"
#include "host/text.h"
#include "run/raw.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#define SIG_STOP_THREAD 33 /* what libc calls SIGSETXID */
#define LOOK_NS 200000
#define OWN_NAMES "Name:\tanonmm-"

static _Atomic(unsigned) nr_stopped;

/* As the kernel has it. */
struct kernel_action {
	void (*handler)(int);
	unsigned long flags;
	void (*restorer)(void);
	uint64_t mask;
};

static void stop_here(int sig)
{
	static _Atomic(uint32_t) never;

	(void)sig;
	atomic_fetch_add(&nr_stopped, 1);
	for (;;)
		host_futex_wait(&never, 0, -1);
}

static void never_returns(void)
{
	__builtin_trap();
}

static long take_signal(void)
{
	struct kernel_action action = {
		.handler = stop_here,
		.flags = SA_ONSTACK | 0x04000000, /* SA_RESTORER */
		.restorer = never_returns,
		.mask = ~(1ULL << (SIGBUS - 1) | 1ULL << (SIGSYS - 1)),
	};

	return host_call(SYS_rt_sigaction, SIG_STOP_THREAD, &action, NULL, sizeof(uint64_t));
}

/*
 * Is thread @tid one of ours, which go on, or does it block the signal? Threads of ours do not: libc
 * would wait for them.
 */
static bool is_passed_over(int tid)
{
	char path[64], text[2048];

	snprintf(path, sizeof(path), "/proc/self/task/%d/status", tid);
	host_read_text(path, text, sizeof(text));
	return !strncmp(text, OWN_NAMES, strlen(OWN_NAMES)) ||
	       host_text_number(text, "SigBlk:", 16, UINT64_MAX) >> (SIG_STOP_THREAD - 1) & 1;
}

/* Signal thread @tid if it takes the signal, and count that. */
static void signal_thread(void *nr, int tid)
{
	if (tid != host_tid() && !is_passed_over(tid))
		*(unsigned *)nr += host_call(SYS_tgkill, getpid(), tid, SIG_STOP_THREAD) == 0;
}

/* A thread that has stopped blocks the signal: when nobody takes the signal any more, all have stopped. */
void core_stop_threads(unsigned most_ms)
{
	uint64_t until = host_now_ns() + most_ms * 1000000ULL;
	unsigned nr;

	if (take_signal() < 0)
		return;
	do {
		nr = 0;
		if (host_each_number("/proc/self/task", signal_thread, &nr) < 0)
			return;
		if (nr)
			host_sleep(LOOK_NS);
	} while (nr && host_now_ns() < until);
}

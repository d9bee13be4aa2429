/* SPDX-License-Identifier: MIT */
/*
 * Stop the threads of a process that is about to die.
 *
 * The kernel stops them in the instant of a fatal signal. Here that comes later, when memory has been brought in, and the program
 * must not go on meanwhile. The signal for it is one that programs cannot block, because libc keeps it to itself (it
 * changes all threads' user with it): a thread that blocks it holds a lock of ours, and will let it go.
 */
#include "run/run.h"
#include "run/raw.h"
#include "host/host.h"

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
 * Of the thread by that number in /proc/self/task: is it one of ours, which go on, or does it block the signal? Ours do not: libc
 * would wait for them.
 */
static bool is_passed_over(const char *tid)
{
	char path[64], text[2048];
	const char *line;

	snprintf(path, sizeof(path), "/proc/self/task/%s/status", tid);
	int fd = (int)host_call(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
	long got = fd < 0 ? 0 : host_read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		host_close(fd);
	text[got > 0 ? got : 0] = '\0';
	if (!strncmp(text, OWN_NAMES, strlen(OWN_NAMES)))
		return true;
	line = strstr(text, "SigBlk:");
	return !line || strtoull(line + 7, NULL, 16) >> (SIG_STOP_THREAD - 1) & 1;
}

struct entry { /* as the kernel lays it out */
	uint64_t ino, off;
	uint16_t bytes;
	uint8_t type;
	char name[];
};

/* Signal those that take it; returns how many. */
static unsigned signal_threads(int dir)
{
	_Alignas(8) char buf[4096];
	unsigned nr = 0;
	int self = (int)host_call(SYS_gettid), pid = getpid();
	long bytes;

	host_call(SYS_lseek, dir, 0, SEEK_SET);
	while ((bytes = host_call(SYS_getdents64, dir, buf, sizeof(buf))) > 0) {
		for (long at = 0; at < bytes;) {
			const struct entry *entry = (const struct entry *)(buf + at);
			int tid = atoi(entry->name);

			at += entry->bytes;
			if (tid > 0 && tid != self && !is_passed_over(entry->name))
				nr += host_call(SYS_tgkill, pid, tid, SIG_STOP_THREAD) == 0;
		}
	}
	return nr;
}

/* One that has stopped blocks the signal: when nobody takes it any more, all have. */
void core_stop_threads(unsigned most_ms)
{
	uint64_t until = host_now_ns() + most_ms * 1000000ULL;
	int dir = (int)host_call(
		SYS_openat, AT_FDCWD, "/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);

	if (dir < 0 || take_signal() < 0)
		return;
	while (signal_threads(dir) > 0 && host_now_ns() < until)
		host_sleep(LOOK_NS);
	host_close(dir);
}

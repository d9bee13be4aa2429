/* SPDX-License-Identifier: MIT */
/*
 * A host that fails where it must not: from some moment on madvise(MADV_DONTNEED) is refused to all threads. anonmm
 * cannot go on then, and must end the process. `ends HOW`: the failure is met by a call of this thread, or while memory
 * is filled.
 */
#define _GNU_SOURCE
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ANSWER(nr, k) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, k)
#define FIELD(name) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, name))

static int refuse(void)
{
	struct sock_filter code[] = {
		FIELD(nr),
		ANSWER(SYS_madvise, 4),
		FIELD(args[2]),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, MADV_DONTNEED, 1, 0),
		ANSWER(24, 1), /* MADV_DONTNEED_LOCKED */
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 5),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof(code) / sizeof(*code), code};

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);
}

static void on_abort(int sig)
{
	ssize_t written = write(1, "the program's handler\n", 22);
	(void)sig, (void)written;
	for (;;)
		pause();
}

int main(int argc, char **argv)
{
	size_t bytes = 24 << 20;
	char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (argc > 2)
		signal(SIGABRT, on_abort);
	memset(p, 1, bytes / 2);
	if (refuse()) {
		printf("no filter\n");
		return 77;
	}
	if (!strcmp(argv[1], "call"))
		munmap(p, bytes);
	for (int i = 0; i < 20 && !strcmp(argv[1], "pressure"); i++) {
		memset(p, i, bytes);
		madvise(p + (bytes / 2), bytes / 4, MADV_DONTNEED);
	}
	printf("still here\n");
	return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * refuse CALL ERRNO PROGRAM [ARGUMENT]...: run PROGRAM under a seccomp filter, by which the system call CALL
 * (userfaultfd, seccomp, close_range) fails with ERRNO.
 */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The number of call @name; -1: not one that we can refuse. */
static long number_of(const char *name)
{
	if (!strcmp(name, "userfaultfd"))
		return SYS_userfaultfd;
	if (!strcmp(name, "seccomp"))
		return SYS_seccomp;
	return strcmp(name, "close_range") ? -1 : SYS_close_range;
}

int main(int argc, char **argv)
{
	unsigned error = argc > 3 ? (unsigned)atoi(argv[2]) : 0;
	long call = argc > 3 ? number_of(argv[1]) : -1;
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)call, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog filter = {sizeof(code) / sizeof(code[0]), code};

	if (!error || call < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
		prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter)) {
		perror("refuse");
		return 77;
	}
	execvp(argv[3], argv + 3);
	perror(argv[3]);
	return 127;
}

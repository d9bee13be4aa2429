/* SPDX-License-Identifier: MIT */
/*
 * Programs that hand bad pointers to system calls: `pointers NAME` is one case, `pointers` lists them all. The result
 * of each call must be the same natively and under anonmm; pointers.sh compares. A bad pointer may stand in an
 * argument, or in a structure or an array that an argument points to.
 */
#define _GNU_SOURCE
#include "memory.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TRY(what)                                                                                            \
	do {                                                                                                 \
		errno = 0;                                                                                   \
		long result_ = (long)(what);                                                                 \
		printf("%d, %s: %s = %ld, %s\n", __LINE__, kind_names[kind], #what, result_,                 \
			result_ < 0 ? strerror(errno) : "good");                                             \
		fflush(stdout);                                                                              \
	} while (0)

/* ---- Bad pointers ------------------------------------------------------------------------------ */

enum kind { LOW, HOLE, NONE, NATIVE_HOLE, NATIVE_NONE, HIGH, FILE_END, NR_KINDS };
static const char *const kind_names[] = {
	"low", "hole", "no rights", "native hole", "native, no rights", "high", "beyond a file"};
static enum kind kind;
static void *bad; /* of that kind */
static char *edge; /* 24 bytes that may be accessed lie before it, where the kind has such a thing */
static char *constant; /* may only be read, and holds zeros */
static char
	*memory; /* 4 pages; the first begins with a word. Mapped before a hole is made: it would be filled */
static struct msghdr *headers[2]; /* a page each, one of them shared */
static int pipe_fds[2], sockets[2], zero;

static void *hole_in(char *p, int prot)
{
	edge = p + PAGE;
	if (prot < 0)
		munmap(p + PAGE, PAGE);
	else
		mprotect(p + PAGE, PAGE, prot);
	return p + PAGE;
}

/* A file of one page, mapped with two, in the place of memory that was the program's. */
static void *beyond_file(void)
{
	char *p = mmap(NULL, 4 * PAGE, RW, ANON, -1, 0);
	int fd = memfd_create("file", 0);

	if (ftruncate(fd, PAGE) || mmap(p, 2 * PAGE, RW, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED)
		_exit(9);
	close(fd);
	edge = p + PAGE;
	return p + PAGE;
}

static void make_bad(void)
{
	char *managed = mmap(NULL, 3 * PAGE, RW, ANON, -1, 0);
	char *native = mmap(NULL, 3 * PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	edge = managed + PAGE;
	if (kind == LOW)
		bad = (void *)8;
	if (kind == HIGH)
		bad = (void *)0xffff800000001000;
	if (kind == HOLE)
		bad = hole_in(managed, -1);
	if (kind == NONE)
		bad = hole_in(managed, PROT_NONE);
	if (kind == NATIVE_HOLE)
		bad = hole_in(native, -1);
	if (kind == NATIVE_NONE)
		bad = hole_in(native, PROT_NONE);
	if (kind == FILE_END)
		bad = beyond_file();
}

/* @bytes that begin in memory and end behind it. */
static void *across(size_t bytes)
{
	return edge - bytes / 2;
}

static void drain(void)
{
	char buf[4096];

	while (recv(sockets[1], buf, sizeof(buf), MSG_DONTWAIT) >= 0)
		;
	while (read(pipe_fds[0], buf, sizeof(buf)) > 0)
		;
}

/* ---- Vectors ----------------------------------------------------------------------------------- */

static void vectors(void)
{
	char *good = memory;
	struct iovec list[3] = {{good, 5}, {bad, 5}, {good, 5}};

	TRY(writev(pipe_fds[1], bad, 1));
	TRY(writev(pipe_fds[1], across(32), 2));
	TRY(writev(pipe_fds[1], list, 3));
	TRY(writev(pipe_fds[1], list + 1, 2));
	TRY(pwritev(zero, bad, 1, 0));
	TRY(pwritev2(zero, bad, 1, 0, 0));
	TRY(readv(zero, bad, 1));
	TRY(readv(zero, across(32), 2));
	TRY(readv(zero, list + 1, 1));
	TRY(preadv(zero, bad, 1, 0));
	TRY(preadv2(zero, bad, 1, 0, 0));
	TRY(vmsplice(pipe_fds[1], bad, 1, 0));
	TRY(syscall(SYS_writev, pipe_fds[1], bad, 1));
	TRY(syscall(SYS_readv, zero, bad, 1));
	TRY(process_vm_readv(getpid(), bad, 1, list, 1, 0));
	list[0].iov_base = constant;
	TRY(readv(zero, list, 1));
	drain();
}

/* ---- Messages ---------------------------------------------------------------------------------- */

static void sends(const char *good)
{
	struct iovec list[2] = {{(void *)good, 5}, {bad, 5}};
	struct msghdr plain = {.msg_iov = list, .msg_iovlen = 1}, m = plain;
	struct mmsghdr many[2] = {{plain}, {plain}};

	TRY(sendmsg(sockets[0], bad, 0));
	TRY(sendmsg(sockets[0], across(sizeof(m)), 0));
	TRY(sendmsg(sockets[0], &m, 0));
	m.msg_iovlen = 2;
	TRY(sendmsg(sockets[0], &m, 0));
	m = plain, m.msg_iov = bad;
	TRY(sendmsg(sockets[0], &m, 0));
	m = plain, m.msg_name = bad, m.msg_namelen = 16;
	TRY(sendmsg(sockets[0], &m, 0));
	m = plain, m.msg_control = bad, m.msg_controllen = 32;
	TRY(sendmsg(sockets[0], &m, 0));
	TRY(sendmmsg(sockets[0], bad, 1, 0));
	many[1].msg_hdr.msg_iov = bad;
	TRY(sendmmsg(sockets[0], many, 2, 0));
	struct mmsghdr *two = (struct mmsghdr *)edge - 1;
	if (kind != LOW && kind != HIGH) {
		*two = (struct mmsghdr){plain};
		TRY(sendmmsg(sockets[0], two, 2, 0));
	}
	TRY(syscall(SYS_sendmsg, sockets[0], bad, 0));
	TRY(syscall(SYS_sendmmsg, sockets[0], bad, 1, 0));
	drain();
}

static void give(void)
{
	for (int i = 0; i < 3; i++)
		if (send(sockets[0], "hello", 5, 0) != 5)
			printf("not sent\n");
}

static void receives(char *good)
{
	struct iovec list[2] = {{good, 3}, {bad, 5}};
	struct msghdr plain = {.msg_iov = list, .msg_iovlen = 1}, m = plain;
	struct mmsghdr many[2] = {{plain}, {plain}};
	struct timespec time = {0, 0};

	give();
	TRY(recvmsg(sockets[1], bad, MSG_DONTWAIT));
	TRY(recvmsg(sockets[1], across(sizeof(m)), MSG_DONTWAIT));
	m.msg_iovlen = 2;
	TRY(recvmsg(sockets[1], &m, MSG_DONTWAIT));
	m = plain, m.msg_iov = bad;
	TRY(recvmsg(sockets[1], &m, MSG_DONTWAIT));
	m = plain, m.msg_control = bad, m.msg_controllen = 32;
	TRY(recvmsg(sockets[1], &m, MSG_DONTWAIT));
	give();
	TRY(recvmmsg(sockets[1], bad, 1, MSG_DONTWAIT, NULL));
	TRY(recvmmsg(sockets[1], many, 1, MSG_DONTWAIT, bad));
	TRY(recvmmsg(sockets[1], many, 1, MSG_DONTWAIT, &time));
	time.tv_nsec = 2000000000;
	TRY(recvmmsg(sockets[1], many, 1, MSG_DONTWAIT, &time));
	many[1].msg_hdr.msg_iov = bad;
	TRY(recvmmsg(sockets[1], many, 2, MSG_DONTWAIT, NULL));
	TRY(syscall(SYS_recvmsg, sockets[1], bad, MSG_DONTWAIT));
	drain();
}

/* A structure that may only be read, with a buffer that may be written: the message is gone then. */
static void receives_constant(char *good)
{
	struct iovec list = {good, 3};
	struct msghdr *m = headers[kind & 1];

	mprotect(m, PAGE, RW);
	*m = (struct msghdr){.msg_iov = &list, .msg_iovlen = 1};
	mprotect(m, PAGE, PROT_READ);
	give();
	TRY(recvmsg(sockets[1], m, MSG_DONTWAIT));
	TRY(recvmmsg(sockets[1], (struct mmsghdr *)m, 1, MSG_DONTWAIT, NULL));
	drain();
}

static void messages(void)
{
	sends(memory);
	receives(memory + PAGE);
	receives_constant(memory + PAGE);
}

/* ---- One buffer, one structure ------------------------------------------------------------------ */

static void buffers(void)
{
	struct epoll_event event = {.events = EPOLLIN};
	int ready = epoll_create1(0);
	struct stat;

	write(pipe_fds[1], "0123456789", 10);
	epoll_ctl(ready, EPOLL_CTL_ADD, pipe_fds[0], &event);
	TRY(epoll_ctl(ready, EPOLL_CTL_MOD, pipe_fds[0], bad));
	TRY(epoll_wait(ready, bad, 1, 0));
	TRY(epoll_wait(ready, (void *)constant, 1, 0));
	TRY(poll(bad, 1, 0));
	TRY(poll(across(16), 2, 0));
	TRY(read(zero, bad, 10));
	TRY(read(zero, constant, 10));
	TRY(read(pipe_fds[0], bad, 5));
	TRY(write(pipe_fds[1], bad, 5));
	TRY(pread(zero, bad, 5, 0));
	TRY(send(sockets[0], bad, 5, 0));
	TRY(sendto(sockets[0], "x", 1, 0, bad, 16));
	TRY(open(bad, O_RDONLY));
	TRY(pipe(bad));
	TRY(nanosleep(bad, NULL));
	TRY(getsockname(sockets[0], bad, bad));
	TRY(syscall(SYS_rt_sigprocmask, SIG_BLOCK, bad, NULL, 8));
	TRY(syscall(SYS_rt_sigaction, SIGUSR1, bad, NULL, 8));
	TRY(syscall(SYS_futex, bad, 0, 0, NULL, NULL, 0));
	drain();
}

/* ---- Signals, users, memory ---------------------------------------------------------------------- */

static void signals(void)
{
	struct timespec none = {0, 0};
	int ready = epoll_create1(0);
	struct epoll_event event;

	TRY(sigsuspend(bad));
	TRY(ppoll(NULL, 0, &none, bad));
	TRY(pselect(0, NULL, NULL, NULL, &none, bad));
	TRY(epoll_pwait(ready, &event, 1, 0, bad));
	TRY(sigaltstack(bad, NULL));
	TRY(sigaltstack(NULL, bad));
	TRY(sigaltstack(NULL, (void *)constant));
	TRY(sigpending(bad));
}

static void others(void)
{
	char *p = memory;

	p[PAGE] = 1;
	TRY(mincore(p, 2 * PAGE, bad));
	TRY(mincore(p, 2 * PAGE, (void *)constant));
	TRY(sched_setaffinity(0, 128, bad));
	TRY(sched_getaffinity(0, 128, bad));
	if (geteuid() == 0)
		TRY(setgroups(2, bad));
	TRY(getgroups(0, bad) < 0);
}

/* ---- exec --------------------------------------------------------------------------------------- */

extern char **environ;

static void execs(void)
{
	char *args[] = {"/bin/true", NULL}, *wrong[] = {"/bin/true", bad, NULL};
	pid_t child = 0;

	TRY(execve(bad, args, environ));
	TRY(execve("/bin/true", bad, environ));
	TRY(execve("/bin/true", wrong, environ));
	TRY(execve("/bin/true", args, bad));
	TRY(execve("/bin/true", args, wrong));
	TRY(execv("/bin/true", wrong));
	TRY(execvpe("/bin/true", args, wrong));
	TRY(execveat(AT_FDCWD, "/bin/true", args, wrong, 0));
	TRY(syscall(SYS_execve, "/bin/true", args, wrong));
	TRY(posix_spawn(&child, "/bin/true", NULL, NULL, wrong, environ));
	TRY(posix_spawn(&child, "/bin/true", NULL, NULL, args, wrong));
	TRY(posix_spawn(&child, bad, NULL, NULL, args, environ));
	TRY(posix_spawnp(&child, "/bin/true", NULL, NULL, args, bad));
	TRY(waitpid(-1, NULL, WNOHANG) <= 0);
}

/* ---- Memory of a file in the place of the program's ------------------------------------------------ */

static void files_inside(void)
{
	char *p = mmap(NULL, 8 * PAGE, RW, ANON, -1, 0), name[] = "/tmp/pointers-XXXXXX";
	int fd = mkstemp(name);

	unlink(name);
	memset(p, 7, 8 * PAGE);
	if (ftruncate(fd, 2 * PAGE) || pwrite(fd, "in the file", 12, PAGE - 5) != 12)
		_exit(9);
	if (mmap(p + 2 * PAGE, 3 * PAGE, RW, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED)
		_exit(9);
	TRY(write(pipe_fds[1], p + 3 * PAGE - 5, 12));
	char got[64] = "";
	TRY(read(pipe_fds[0], got, sizeof(got)));
	TRY(strcmp(got, "in the file"));
	TRY(write(pipe_fds[1], p + 2 * PAGE - 10, 20)); /* ours, then the file's */
	TRY(read(pipe_fds[0], p + 2 * PAGE - 10, 20));
	TRY(write(pipe_fds[1], p + 4 * PAGE, 20));
	TRY(read(zero, p + 4 * PAGE - 10, 20));
	TRY(read(zero, p + 4 * PAGE, 20));
	TRY(read(zero, p + 5 * PAGE - 10, 20)); /* beyond its end, then ours */
	TRY(access(p + 4 * PAGE, F_OK));
	drain();
	close(fd);
}

static const struct {
	const char *name;
	void (*run)(void);
	int once;
} cases[] = {
	{"vectors", vectors, 0},
	{"messages", messages, 0},
	{"buffers", buffers, 0},
	{"signals", signals, 0},
	{"others", others, 0},
	{"execs", execs, 0},
	{"files-inside", files_inside, 1},
};

int main(int argc, char **argv)
{
	setvbuf(stdout, malloc(65536), _IOFBF, 65536);
	signal(SIGPIPE, SIG_IGN);
	if (pipe2(pipe_fds, O_NONBLOCK) || socketpair(AF_UNIX, SOCK_DGRAM, 0, sockets))
		return 9;
	zero = open("/dev/zero", O_RDWR);
	constant = mmap(NULL, PAGE, PROT_READ, ANON, -1, 0);
	memory = strcpy(mmap(NULL, 4 * PAGE, RW, ANON, -1, 0), "hello");
	headers[0] = mmap(NULL, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	headers[1] = mmap(NULL, PAGE, RW, ANON, -1, 0);
	for (size_t i = 0; i < COUNT(cases); i++) {
		if (argc < 2)
			puts(cases[i].name);
		else if (!strcmp(argv[1], cases[i].name))
			for (kind = LOW; kind < (cases[i].once ? HOLE : NR_KINDS); kind++) {
				make_bad();
				cases[i].run();
			}
	}
	return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * Calls that anonmm interposes to make them cheaper. Each is made by libc's function, by the other names that libc has
 * for it, and past libc. All must do the same.
 */
#define _GNU_SOURCE
#include "syscalls.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define LARGE ((size_t)300000) /* more than goes through in one piece */

/* ---- Ways to make a call --------------------------------------------------------------------------- */

ssize_t __read_chk(int fd, void *data, size_t bytes, size_t room);
ssize_t __pread_chk(int fd, void *data, size_t bytes, off_t offset, size_t room);
ssize_t __pread64_chk(int fd, void *data, size_t bytes, off_t offset, size_t room);
ssize_t __recv_chk(int fd, void *data, size_t bytes, size_t room, int flags);
ssize_t __recvfrom_chk(
	int fd, void *data, size_t bytes, size_t room, int flags, struct sockaddr *name, socklen_t *len);
int __poll_chk(struct pollfd *fds, nfds_t nr, int timeout, size_t room);

static ssize_t read_fortified(int fd, void *data, size_t bytes)
{
	return __read_chk(fd, data, bytes, bytes);
}

static ssize_t pread_fortified(int fd, void *data, size_t bytes, off_t offset)
{
	return __pread_chk(fd, data, bytes, offset, bytes);
}

static ssize_t pread64_fortified(int fd, void *data, size_t bytes, off_t offset)
{
	return __pread64_chk(fd, data, bytes, offset, bytes);
}

static ssize_t recv_fortified(int fd, void *data, size_t bytes, int flags)
{
	return __recv_chk(fd, data, bytes, bytes, flags);
}

static ssize_t recvfrom_fortified(
	int fd, void *data, size_t bytes, int flags, struct sockaddr *name, socklen_t *len)
{
	return __recvfrom_chk(fd, data, bytes, bytes, flags, name, len);
}

static int poll_fortified(struct pollfd *fds, nfds_t nr, int timeout)
{
	return __poll_chk(fds, nr, timeout, nr * sizeof(*fds));
}

static ssize_t read_raw(int fd, void *data, size_t bytes)
{
	return syscall(SYS_read, fd, data, bytes);
}

static ssize_t write_raw(int fd, const void *data, size_t bytes)
{
	return syscall(SYS_write, fd, data, bytes);
}

static ssize_t pread_raw(int fd, void *data, size_t bytes, off_t offset)
{
	return syscall(SYS_pread64, fd, data, bytes, offset);
}

static ssize_t pwrite_raw(int fd, const void *data, size_t bytes, off_t offset)
{
	return syscall(SYS_pwrite64, fd, data, bytes, offset);
}

static ssize_t recv_raw(int fd, void *data, size_t bytes, int flags)
{
	return syscall(SYS_recvfrom, fd, data, bytes, flags, NULL, NULL);
}

static ssize_t send_raw(int fd, const void *data, size_t bytes, int flags)
{
	return syscall(SYS_sendto, fd, data, bytes, flags, NULL, 0);
}

static ssize_t recvfrom_raw(
	int fd, void *data, size_t bytes, int flags, struct sockaddr *name, socklen_t *len)
{
	return syscall(SYS_recvfrom, fd, data, bytes, flags, name, len);
}

static ssize_t sendto_raw(
	int fd, const void *data, size_t bytes, int flags, const struct sockaddr *name, socklen_t len)
{
	return syscall(SYS_sendto, fd, data, bytes, flags, name, len);
}

static int poll_raw(struct pollfd *fds, nfds_t nr, int timeout)
{
	return (int)syscall(SYS_poll, fds, nr, timeout);
}

static int epoll_wait_raw(int fd, struct epoll_event *events, int most, int timeout)
{
	return (int)syscall(SYS_epoll_wait, fd, events, most, timeout);
}

static int epoll_wait_masked(int fd, struct epoll_event *events, int most, int timeout)
{
	sigset_t mask;

	sigemptyset(&mask);
	return epoll_pwait(fd, events, most, timeout, &mask);
}

static const struct way {
	const char *name;
	ssize_t (*read)(int, void *, size_t);
	ssize_t (*write)(int, const void *, size_t);
	ssize_t (*pread)(int, void *, size_t, off_t);
	ssize_t (*pwrite)(int, const void *, size_t, off_t);
	ssize_t (*recv)(int, void *, size_t, int);
	ssize_t (*send)(int, const void *, size_t, int);
	ssize_t (*recvfrom)(int, void *, size_t, int, struct sockaddr *, socklen_t *);
	ssize_t (*sendto)(int, const void *, size_t, int, const struct sockaddr *, socklen_t);
	int (*poll)(struct pollfd *, nfds_t, int);
	int (*epoll_wait)(int, struct epoll_event *, int, int);
} ways[] = {
	{"libc", read, write, pread, pwrite, recv, send, (void *)recvfrom, (void *)sendto, poll, epoll_wait},
	{"64 bits, masked", read, write, pread64, pwrite64, recv, send, (void *)recvfrom, (void *)sendto,
		poll, epoll_wait_masked},
	{"fortified", read_fortified, write, pread_fortified, pwrite, recv_fortified, send,
		recvfrom_fortified, (void *)sendto, poll_fortified, epoll_wait},
	{"fortified, 64 bits", read_fortified, write, pread64_fortified, pwrite64, recv_fortified, send,
		recvfrom_fortified, (void *)sendto, poll_fortified, epoll_wait},
	{"raw", read_raw, write_raw, pread_raw, pwrite_raw, recv_raw, send_raw, recvfrom_raw, sendto_raw,
		poll_raw, epoll_wait_raw},
};
static const struct way *way;

#define EACH_WAY for (way = ways; way < ways + COUNT(ways); way++)

/* As CHECK(), and says which way. A call that succeeds leaves errno alone. */
#define SAME(what)                                                                                           \
	do {                                                                                                 \
		int failed_before = failed;                                                                  \
		failed = 0;                                                                                  \
		CHECK(what);                                                                                 \
		if (failed)                                                                                  \
			printf("that was: %s\n", way->name);                                                 \
		failed |= failed_before;                                                                     \
	} while (0)

#define GOOD(what) SAME((what) && errno == 0)
#define WRONG(call, error) SAME((call) == -1 && errno == (error))

static int regular(const void *content, size_t bytes)
{
	int fd = open(dir, O_TMPFILE | O_RDWR, 0600);

	CHECK(fd >= 0 && write(fd, content, bytes) == (ssize_t)bytes && lseek(fd, 0, SEEK_SET) == 0);
	return fd;
}

static const char *pattern(void)
{
	static char bytes[LARGE];

	for (size_t i = 0; i < LARGE && !bytes[LARGE - 1]; i++)
		bytes[i] = (char)((i ^ i >> 8) | 1);
	return bytes;
}

static char filler(void)
{
	return state == UNTOUCHED ? 0 : (char)0xee;
}

static void close_both(const int fds[2])
{
	close(fds[0]);
	close(fds[1]);
}

/* ---- What is good ----------------------------------------------------------------------------------- */

static void file_buffers(void)
{
	const char *bytes = pattern();
	int fd = regular(bytes, 5000);
	char *p;

	GOOD(way->read(fd, p = out(4000), 4000) == 4000 && !memcmp(p, bytes, 4000));
	GOOD(way->read(fd, p = out(4000), 4000) == 1000 && !memcmp(p, bytes + 4000, 1000) &&
		p[1000] == filler() && p[3999] == filler());
	GOOD(way->read(fd, p = out(10), 10) == 0 && p[0] == filler());
	GOOD(way->pread(fd, p = out(100), 100, 4090) == 100 && !memcmp(p, bytes + 4090, 100));
	GOOD(way->pread(fd, p = out(100), 100, 4990) == 10 && p[10] == filler());
	GOOD(way->pread(fd, out(10), 10, 5000) == 0);
	GOOD(way->read(fd, out(10), 0) == 0 && way->write(fd, in("x", 1), 0) == 0);
	GOOD(way->write(fd, in(bytes, 700), 700) == 700);
	GOOD(way->pwrite(fd, in(bytes, LARGE), LARGE, 100) == (ssize_t)LARGE);
	GOOD(way->pread(fd, p = out(LARGE), LARGE, 0) == (ssize_t)LARGE && !memcmp(p, bytes, 100) &&
		!memcmp(p + 100, bytes, LARGE - 100));
	GOOD(way->pread(fd, p = out(LARGE), LARGE, 200) == (ssize_t)LARGE - 100 &&
		!memcmp(p, bytes + 100, LARGE - 100) && p[LARGE - 1] == filler());
	close(fd);
}

static void pipe_buffers(void)
{
	const char *bytes = pattern();
	int fds[2];
	char *p;

	CHECK(pipe2(fds, O_NONBLOCK) == 0);
	WRONG(way->read(fds[0], out(10), 10), EAGAIN);
	GOOD(way->write(fds[1], in("abcde", 5), 5) == 5);
	GOOD(way->read(fds[0], p = out(3), 3) == 3 && !memcmp(p, "abc", 3));
	GOOD(way->read(fds[0], p = out(9000), 9000) == 2 && !memcmp(p, "de", 2) && p[2] == filler());
	ssize_t most = way->write(fds[1], in(bytes, LARGE), LARGE);
	SAME(most == 65536);
	WRONG(way->write(fds[1], in("x", 1), 1), EAGAIN);
	GOOD(way->read(fds[0], p = out(LARGE), LARGE) == most && !memcmp(p, bytes, (size_t)most));
	close(fds[1]);
	GOOD(way->read(fds[0], out(10), 10) == 0);
	WRONG(way->pread(fds[0], out(10), 10, 0), ESPIPE);
	close(fds[0]);
}

struct sender {
	int fd;
	size_t bytes;
};

static void *send_in_parts(void *arg)
{
	const struct sender *sender = arg;

	for (size_t at = 0; at < sender->bytes; at += 50000) {
		size_t part = sender->bytes - at < 50000 ? sender->bytes - at : 50000;
		CHECK(send(sender->fd, pattern() + at, part, 0) == (ssize_t)part);
	}
	return NULL;
}

static void socket_buffers(void)
{
	int fds[2];
	pthread_t thread;
	char *p;

	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
	GOOD(way->send(fds[0], in("hello", 5), 5, MSG_NOSIGNAL) == 5);
	GOOD(way->recv(fds[1], p = out(10), 10, MSG_PEEK) == 5 && !memcmp(p, "hello", 5));
	GOOD(way->recvfrom(fds[1], p = out(2), 2, 0, NULL, NULL) == 2 && !memcmp(p, "he", 2));
	GOOD(way->recv(fds[1], p = out(10), 10, 0) == 3 && !memcmp(p, "llo", 3) && p[3] == filler());
	WRONG(way->recv(fds[1], out(10), 10, MSG_DONTWAIT), EAGAIN);
	GOOD(way->sendto(fds[0], in("ab", 2), 2, 0, NULL, 0) == 2 && way->read(fds[1], p = out(5), 5) == 2);
	struct sender sender = {fds[0], LARGE};
	pthread_create(&thread, NULL, send_in_parts, &sender);
	GOOD(way->recv(fds[1], p = out(LARGE), LARGE, MSG_WAITALL) == (ssize_t)LARGE &&
		!memcmp(p, pattern(), LARGE));
	pthread_join(thread, NULL);
	CHECK(shutdown(fds[0], SHUT_WR) == 0);
	GOOD(way->recv(fds[1], out(10), 10, MSG_WAITALL) == 0);
	close(fds[1]);
	WRONG(way->send(fds[0], in("x", 1), 1, MSG_NOSIGNAL), EPIPE);
	WRONG(way->recv(fds[1], out(1), 1, 0), EBADF);
	close(fds[0]);
}

void test_buffers(void)
{
	EACH_WAY
	{
		file_buffers();
		pipe_buffers();
		socket_buffers();
	}
}

/* ---- What is wrong ---------------------------------------------------------------------------------- */

/* Eight pages: 0, 1 good, 2 read only, 3 good, 4 not to be accessed, 5 good, 6 and 7 a hole */
static char *patchwork(void)
{
	char *p = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	memset(p, 1, 8 * PAGE);
	mprotect(p + 2 * PAGE, PAGE, PROT_READ);
	mprotect(p + 4 * PAGE, PAGE, PROT_NONE);
	munmap(p + 6 * PAGE, 2 * PAGE);
	put_into_state(p, 6 * PAGE);
	return p;
}

static void wrong_transfers(char *p)
{
	int file = regular(pattern(), 4 * PAGE), fds[2];

	WRONG(way->read(file, p + 2 * PAGE, 10), EFAULT);
	WRONG(way->read(file, p + 4 * PAGE, 10), EFAULT);
	WRONG(way->pread(file, p + 6 * PAGE, 10, 0), EFAULT);
	WRONG(way->pwrite(file, p + 4 * PAGE, 10, 0), EFAULT);
	WRONG(way->write(file, p + 6 * PAGE, 10), EFAULT);
	GOOD(way->pwrite(file, p + 2 * PAGE, PAGE, 0) == (ssize_t)PAGE);
	GOOD(way->pread(file, p, 3 * PAGE, 0) == (ssize_t)(2 * PAGE));
	GOOD(way->pwrite(file, p + 3 * PAGE, 2 * PAGE, 0) == (ssize_t)PAGE);
	WRONG(way->pread(file, p, 10, -1), EINVAL);
	WRONG(way->read(-1, p, 10), EBADF);
	WRONG(way->write(-1, p, 10), EBADF);
	close(file);
	CHECK(pipe2(fds, O_NONBLOCK) == 0 && write(fds[1], "0123456789", 10) == 10);
	WRONG(way->read(fds[0], p + 4 * PAGE, 5), EFAULT);
	GOOD(way->read(fds[0], p, 5 * PAGE) == 10 && !memcmp(p, "0123456789", 10));
	WRONG(way->write(fds[1], p + 6 * PAGE, 5), EFAULT);
	close_both(fds);
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
	WRONG(way->send(fds[0], p + 4 * PAGE, 10, 0), EFAULT);
	WRONG(way->sendto(fds[0], p + 6 * PAGE, 10, 0, NULL, 0), EFAULT);
	CHECK(send(fds[0], "abc", 3, 0) == 3);
	WRONG(way->recv(fds[1], p + 2 * PAGE, 10, 0), EFAULT);
	GOOD(way->recv(fds[1], p + PAGE, 2 * PAGE, MSG_DONTWAIT) == 3 && !memcmp(p + PAGE, "abc", 3));
	close_both(fds);
	CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, fds) == 0);
	WRONG(way->send(fds[0], p + 3 * PAGE, 2 * PAGE, 0), EFAULT); /* all of it, or nothing */
	WRONG(way->recv(fds[1], p, 10, MSG_DONTWAIT), EAGAIN);
	close_both(fds);
}

static void wrong_waits(char *p)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = 99}, *events = (void *)(p + 2 * PAGE);
	struct pollfd *polls = (void *)(p + 2 * PAGE);
	int fds[2], epoll = epoll_create1(0);

	CHECK(pipe(fds) == 0 && write(fds[1], "x", 1) == 1);
	CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, fds[0], &event) == 0);
	WRONG(way->epoll_wait(epoll, events, 1, 1000), EFAULT);
	WRONG(way->epoll_wait(epoll, (void *)(p + 6 * PAGE), 1, 1000), EFAULT);
	WRONG(way->epoll_wait(epoll, (void *)p, 0, 0), EINVAL);
	WRONG(way->epoll_wait(epoll, (void *)p, -1, 0), EINVAL);
	if (way->epoll_wait != epoll_wait_raw) { /* what is pressed for time there asks for room it has not */
		events = (void *)(p + 2 * PAGE - 100);
		SAME(way->epoll_wait(epoll, events, 50, 1000) == 1 && events->data.u64 == 99);
	}
	WRONG(way->poll((void *)(p + 4 * PAGE), 1, 0), EFAULT);
	WRONG(way->poll(polls, 1, 0), EFAULT);
	close(epoll);
	close_both(fds);
}

void test_wrong_buffers(void)
{
	EACH_WAY
	{
		char *p = patchwork();

		wrong_transfers(p);
		wrong_waits(p);
		munmap(p, 6 * PAGE);
	}
}

/* ---- What changes ----------------------------------------------------------------------------------- */

static void *protect_all(void *p)
{
	mprotect(p, 4 * PAGE, PROT_READ);
	return NULL;
}

/* What was good a moment ago is not taken for good. */
void test_changed_memory(void)
{
	int fd = open("/dev/zero", O_RDONLY), null = open("/dev/null", O_WRONLY);

	EACH_WAY
	{
		char *p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
		     *q;
		pthread_t thread;

		GOOD(way->read(fd, p, 2 * PAGE) == (ssize_t)(2 * PAGE));
		mprotect(p, PAGE, PROT_READ);
		WRONG(way->read(fd, p, 10), EFAULT);
		GOOD(way->read(fd, p + PAGE, 10) == 10);
		mprotect(p, PAGE, PROT_READ | PROT_WRITE);
		GOOD(way->read(fd, p, 10) == 10);
		pthread_create(&thread, NULL, protect_all, p);
		pthread_join(thread, NULL);
		WRONG(way->read(fd, p, 10), EFAULT);
		mprotect(p, 4 * PAGE, PROT_READ | PROT_WRITE);
		GOOD(way->read(fd, p + 3 * PAGE, 10) == 10);
		munmap(p + 3 * PAGE, PAGE);
		WRONG(way->read(fd, p + 3 * PAGE, 10), EFAULT);
		GOOD(way->write(null, p, 3 * PAGE) == (ssize_t)(3 * PAGE));
		q = mremap(p, 3 * PAGE, 64 * PAGE, MREMAP_MAYMOVE);
		SAME(q != MAP_FAILED && way->read(fd, q, 64 * PAGE) == (ssize_t)(64 * PAGE));
		if (q != p)
			WRONG(way->read(fd, p, 10), EFAULT);
		munmap(q, 64 * PAGE);
		WRONG(way->read(fd, q, 10), EFAULT);
		pid_t child = fork();
		if (child == 0) {
			q = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
			GOOD(way->read(fd, q, PAGE) == (ssize_t)PAGE);
			mprotect(q, PAGE, PROT_NONE);
			WRONG(way->read(fd, q, PAGE), EFAULT);
			_exit(failed);
		}
		int status;
		CHECK(waitpid(child, &status, 0) == child && status == 0);
	}
	close(fd);
	close(null);
}

/* ---- Datagrams --------------------------------------------------------------------------------------- */

void test_datagrams(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}}, from, *a;
	socklen_t len = sizeof(address), from_len, *l;
	int udp = socket(AF_INET, SOCK_DGRAM, 0);
	char *p;

	if (udp < 0 || bind(udp, (void *)&address, len) || getsockname(udp, (void *)&address, &len)) {
		close(udp);
		return;
	}
	EACH_WAY
	{
		/* Only the data is managed; then the address, too */
		GOOD(way->sendto(udp, in("datagram", 8), 8, 0, (void *)&address, len) == 8);
		from_len = sizeof(from);
		GOOD(way->recvfrom(udp, p = out(50), 50, 0, (void *)&from, &from_len) == 8 &&
			!memcmp(p, "datagram", 8) && p[8] == filler() && from_len == len &&
			from.sin_port == address.sin_port);
		GOOD(way->sendto(udp, in("second", 6), 6, 0, in(&address, len), len) == 6);
		from_len = 4; /* cut off, and the whole length said */
		a = memset(&from, 0, sizeof(from));
		GOOD(way->recvfrom(udp, p = out(3), 3, MSG_TRUNC, (void *)a, l = in(&from_len, 4)) == 6 &&
			!memcmp(p, "sec", 3) && *l == len && a->sin_port == address.sin_port &&
			a->sin_addr.s_addr == 0);
		GOOD(way->sendto(udp, in("third", 5), 5, 0, (void *)&address, len) == 5);
		GOOD(way->recvfrom(udp, p = out(50), 50, 0, (void *)(a = out(40)),
			     l = in(&(socklen_t){40}, 4)) == 5 &&
			*l == len && a->sin_port == address.sin_port);
		WRONG(way->sendto(udp, in("x", 1), 1, 0, NULL, 0), EDESTADDRREQ);
		GOOD(way->sendto(udp, in("", 1), 0, 0, (void *)&address, len) == 0);
		GOOD(way->recv(udp, p = out(50), 50, 0) == 0 && p[0] == filler());
		size_t whole = 60000;
		GOOD(way->sendto(udp, in(pattern(), whole), whole, 0, (void *)&address, len) ==
			(ssize_t)whole);
		GOOD(way->recv(udp, p = out(LARGE), LARGE, 0) == (ssize_t)whole &&
			!memcmp(p, pattern(), whole));
	}
	close(udp);
}

/* ---- Events ------------------------------------------------------------------------------------------- */

void test_events(void)
{
	struct epoll_event event = {.events = EPOLLIN}, *e;
	int fds[2], epoll = epoll_create1(0);
	struct pollfd *p;

	CHECK(pipe(fds) == 0);
	for (int i = 0; i < 2; i++) {
		event.data.u64 = (uint64_t)i + 1;
		event.events = i ? EPOLLOUT : EPOLLIN;
		CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, fds[i], &event) == 0);
	}
	EACH_WAY
	{
		GOOD(way->epoll_wait(epoll, e = out(100 * sizeof(*e)), 100, 1000) == 1 &&
			e[0].data.u64 == 2 && e[0].events == EPOLLOUT && *(char *)&e[1].events == filler());
		CHECK(write(fds[1], "x", 1) == 1);
		GOOD(way->epoll_wait(epoll, e = out(100 * sizeof(*e)), 100, 1000) == 2 &&
			e[0].data.u64 + e[1].data.u64 == 3);
		GOOD(way->epoll_wait(epoll, e = out(sizeof(*e)), 1, 1000) == 1);
		GOOD(way->epoll_wait(epoll, e = out(20000 * sizeof(*e)), 20000, 1000) == 2);
		struct pollfd polls[] = {
			{fds[0], POLLIN, 77}, {-1, POLLIN, 77}, {fds[1], POLLIN, 77}, {1000, POLLIN, 77}};
		GOOD(way->poll(p = in(polls, sizeof(polls)), 4, 1000) == 2 && p[0].revents == POLLIN &&
			p[1].revents == 0 && p[2].revents == 0 && p[3].revents == POLLNVAL &&
			p[3].fd == 1000 && p[0].events == POLLIN);
		CHECK(read(fds[0], out(1), 1) == 1);
		GOOD(way->poll(p = in(polls, sizeof(polls)), 3, 2) == 0 && p[0].revents == 0);
		GOOD(way->poll(in(polls, sizeof(polls)), 0, 0) == 0 && way->poll(NULL, 0, 0) == 0);
		WRONG(way->poll(in(polls, sizeof(polls)), 2000000000, 0), EINVAL);
		WRONG(way->epoll_wait(-1, out(sizeof(*e)), 1, 0), EBADF);
	}
	close(epoll);
	close_both(fds);
}

/* ---- In a handler, after a jump, in the child of a vfork, on a managed stack ----------------------- */

static volatile int ticks, tick_wrong;
static int zero_fd, tick_write_fd;
static char *tick_memory;
static sigjmp_buf away;

/* Other ranges than the interrupted call's, so that what a thread remembers changes below it. */
static void on_tick(int sig)
{
	char *p = tick_memory + (size_t)(ticks % 64) * 4 * PAGE;
	int saved_errno = errno;

	(void)sig;
	tick_wrong |= way->read(zero_fd, p + 10, 100) != 100 || p[10] != 0 || p[109] != 0 || p[110] != 'x';
	tick_wrong |= way->read(zero_fd, p + PAGE, 10) != -1 || errno != EFAULT;
	memset(p + 10, 'x', 100);
	ticks++;
	errno = saved_errno;
}

static void tick_every(int us, void (*handler)(int), int flags)
{
	struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
	struct itimerval timer = {{0, us}, {0, us}};

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
}

static char *ticks_memory(void)
{
	size_t bytes = 64 * 4 * PAGE;
	char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	memset(p, 'x', bytes);
	for (int i = 0; i < 64; i++)
		mprotect(p + (size_t)i * 4 * PAGE + PAGE, PAGE, PROT_READ);
	return p;
}

static void read_among_ticks(void)
{
	char *p = tick_memory + 2 * PAGE;

	ticks = tick_wrong = 0;
	tick_every(200, on_tick, SA_RESTART);
	for (int i = 0; ticks < 40; i++) {
		char *at = p + (size_t)(i % 64) * 4 * PAGE;

		GOOD(way->read(zero_fd, at, PAGE) == (ssize_t)PAGE && at[0] == 0 && at[PAGE - 1] == 0);
		WRONG(way->read(zero_fd, at - PAGE, 10), EFAULT);
		put_into_state(at, PAGE);
	}
	tick_every(0, on_tick, 0);
	SAME(!tick_wrong);
}

static void on_tick_wakes(int sig)
{
	(void)sig;
	if (++ticks == 3)
		(void)!write(tick_write_fd, "data", 4);
}

static void interrupted(void)
{
	int fds[2], epoll = epoll_create1(0);
	struct pollfd polls = {-1, POLLIN, 5}, *p;
	char *q;

	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
	tick_write_fd = fds[1];
	ticks = 100;
	tick_every(2000, on_tick_wakes, 0);
	WRONG(way->read(fds[0], out(10), 10), EINTR);
	WRONG(way->recv(fds[0], out(10), 10, 0), EINTR);
	polls.fd = fds[0];
	WRONG(way->poll(p = in(&polls, sizeof(polls)), 1, 10000), EINTR);
	WRONG(way->epoll_wait(epoll, out(sizeof(struct epoll_event)), 1, 10000), EINTR);
	tick_every(0, on_tick_wakes, 0);
	for (int receives = 0; receives < 2; receives++) {
		ticks = 0;
		tick_every(2000, on_tick_wakes, SA_RESTART);
		GOOD((receives ? way->recv(fds[0], q = out(10), 10, 0)
			       : way->read(fds[0], q = out(10), 10)) == 4 &&
			!memcmp(q, "data", 4) && ticks >= 3);
		tick_every(0, on_tick_wakes, 0);
	}
	close(epoll);
	close_both(fds);
}

static void on_tick_jumps(int sig)
{
	(void)sig;
	siglongjmp(away, 1);
}

/* Out of more calls than there is room for at once. */
static void jumped_out(void)
{
	char *p = out(LARGE);
	int fds[2];

	CHECK(pipe(fds) == 0);
	signal(SIGALRM, on_tick_jumps);
	for (volatile int i = 0; i < 150; i++) {
		struct itimerval once = {{0, 0}, {0, 200}};

		if (sigsetjmp(away, 1) == 0) {
			setitimer(ITIMER_REAL, &once, NULL);
			if (i % 2)
				(void)!way->read(fds[0], p, 100);
			else
				(void)!way->poll(memset(p, 0, 8), 1, 10000);
			SAME(!"came back");
		}
	}
	signal(SIGALRM, SIG_IGN);
	GOOD(way->write(fds[1], in("still", 5), 5) == 5 && way->read(fds[0], p, LARGE) == 5 &&
		!memcmp(p, "still", 5));
	close_both(fds);
}

static void in_vfork_child(void)
{
	char *p = out(100), *q = in("from the child", 14);
	int fds[2], status;

	CHECK(pipe(fds) == 0);
	pid_t child = vfork();
	if (child == 0) {
		long done = way->write(fds[1], q, 14) == 14 && way->read(fds[0], p, 4) == 4;
		_exit(done ? 0 : 1);
	}
	CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);
	SAME(!memcmp(p, "from", 4));
	GOOD(way->read(fds[0], p = out(100), 100) == 10 && !memcmp(p, " the child", 10));
	close_both(fds);
}

static void *on_own_stack(void *fds_)
{
	const int *fds = fds_;
	char here[100];
	struct epoll_event event;
	struct pollfd polls = {fds[0], POLLIN, 0};
	int epoll = epoll_create1(0);

	put_into_state(here, sizeof(here));
	GOOD(way->write(fds[1], memset(here, 'y', 50), 50) == 50);
	GOOD(way->poll(&polls, 1, 1000) == 1 && polls.revents == POLLIN);
	GOOD(way->read(fds[0], here, 100) == 50 && here[49] == 'y');
	GOOD(way->epoll_wait(epoll, &event, 1, 0) == 0);
	close(epoll);
	return NULL;
}

static void on_managed_stack(void)
{
	size_t bytes = 64 * PAGE;
	pthread_attr_t attr;
	pthread_t thread;
	int fds[2];

	CHECK(pipe(fds) == 0);
	pthread_attr_init(&attr);
	pthread_attr_setstack(
		&attr, mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), bytes);
	CHECK(pthread_create(&thread, &attr, on_own_stack, fds) == 0 && pthread_join(thread, NULL) == 0);
	pthread_attr_destroy(&attr);
	close_both(fds);
}

void test_places(void)
{
	zero_fd = open("/dev/zero", O_RDONLY);
	tick_memory = ticks_memory();
	EACH_WAY
	{
		read_among_ticks();
		interrupted();
		jumped_out();
		in_vfork_child();
		on_managed_stack();
	}
	munmap(tick_memory, 64 * 4 * PAGE);
	close(zero_fd);
}

/* ---- Cancelled ------------------------------------------------------------------------------------------ */

enum waits { IN_READ, IN_RECV, IN_RECVFROM, IN_WRITE, IN_SEND, IN_SENDTO, IN_POLL, IN_EPOLL, NR_WAITS };

struct victim {
	const struct way *way;
	enum waits in;
	int empty, full, epoll; /* nothing to be read; no room to write */
	int asynchronous, cleaned;
	void *memory;
};

static void cleaned(void *victim)
{
	((struct victim *)victim)->cleaned = 1;
}

static void wait_for_ever(const struct victim *v)
{
	const struct way *by = v->way;

	switch (v->in) {
	case IN_READ:
		(void)!by->read(v->empty, v->memory, 100);
		break;
	case IN_RECV:
		by->recv(v->empty, v->memory, 100, 0);
		break;
	case IN_RECVFROM:
		by->recvfrom(v->empty, v->memory, 100, 0, NULL, NULL);
		break;
	case IN_WRITE:
		(void)!by->write(v->full, v->memory, 100);
		break;
	case IN_SEND:
		by->send(v->full, v->memory, 100, 0);
		break;
	case IN_SENDTO:
		by->sendto(v->full, v->memory, 100, 0, NULL, 0);
		break;
	case IN_POLL:
		by->poll(memset(v->memory, 0xff, sizeof(struct pollfd)), 1, 100000);
		break;
	default:
		by->epoll_wait(v->epoll, v->memory, 1, 100000);
		break;
	}
}

static void *victim_main(void *arg)
{
	struct victim *v = arg;

	pthread_cleanup_push(cleaned, v);
	if (v->asynchronous)
		pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
	wait_for_ever(v);
	pthread_cleanup_pop(0);
	return NULL;
}

static int full_socket(int fds[2])
{
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
	while (send(fds[0], pattern(), 4096, MSG_DONTWAIT) > 0)
		;
	return fds[0];
}

/* By libc's functions alone: a raw call is no cancellation point. */
void test_cancelled(void)
{
	struct victim victims[NR_WAITS * 2];
	pthread_t threads[NR_WAITS * 2];
	int empty[2], full[2];

	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, empty) == 0);
	full_socket(full);
	int epoll = epoll_create1(0);
	for (way = ways; way->read != read_raw; way++) {
		for (unsigned i = 0; i < COUNT(victims); i++) {
			victims[i] =
				(struct victim){way, i / 2, empty[0], full[0], epoll, i & 1, 0, out(100)};
			CHECK(pthread_create(&threads[i], NULL, victim_main, &victims[i]) == 0);
		}
		usleep(10000);
		for (unsigned i = 0; i < COUNT(victims); i++) {
			void *result = NULL;

			pthread_cancel(threads[i]);
			CHECK(pthread_join(threads[i], &result) == 0);
			SAME(result == PTHREAD_CANCELED && victims[i].cleaned);
		}
	}
	close(epoll);
	close_both(empty);
	close_both(full);
}

/* ---- Fortified -------------------------------------------------------------------------------------------- */

static void too_long(int nr, int fd, void *p)
{
	switch (nr) {
	case 0:
		__read_chk(fd, p, 11, 10);
		break;
	case 1:
		__pread_chk(fd, p, 11, 0, 10);
		break;
	case 2:
		__pread64_chk(fd, p, 11, 0, 10);
		break;
	case 3:
		__recv_chk(fd, p, 11, 10, 0);
		break;
	case 4:
		__recvfrom_chk(fd, p, 11, 10, 0, NULL, NULL);
		break;
	default:
		__poll_chk(p, 2, 0, 15);
		break;
	}
}

/* Who says more than the buffer holds ends, whatever memory it is. */
void test_fortified(void)
{
	static char native[100];

	for (int nr = 0; nr < 6; nr++) {
		for (int managed = 0; managed < 2; managed++) {
			int status;
			pid_t child = fork();

			if (child == 0) {
				setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
				close(2);
				too_long(nr, open("/dev/zero", O_RDONLY), managed ? out(100) : native);
				_exit(0);
			}
			CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) &&
				WTERMSIG(status) == SIGABRT);
		}
	}
}

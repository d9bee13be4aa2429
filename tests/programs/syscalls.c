/* SPDX-License-Identifier: MIT */
/*
 * System calls on memory that is never touched, in memory, aged, and swapped out, each compared with the same call on
 * the stack. An ordinary program: it knows nothing of anonmm.
 */
#define _GNU_SOURCE
#include <aio.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <mqueue.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/times.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "syscalls.h"

/* With -DRAW: the calls that anonmm interposes are made past libc. */
#ifdef RAW
#define read(...) ((ssize_t)syscall(SYS_read, __VA_ARGS__))
#define write(...) ((ssize_t)syscall(SYS_write, __VA_ARGS__))
#define pread(...) ((ssize_t)syscall(SYS_pread64, __VA_ARGS__))
#define pwrite(...) ((ssize_t)syscall(SYS_pwrite64, __VA_ARGS__))
#define send(...) ((ssize_t)syscall(SYS_sendto, __VA_ARGS__, NULL, 0))
#define recv(...) ((ssize_t)syscall(SYS_recvfrom, __VA_ARGS__, NULL, NULL))
#define recvfrom(...) ((ssize_t)syscall(SYS_recvfrom, __VA_ARGS__))
#define sendto(...) ((ssize_t)syscall(SYS_sendto, __VA_ARGS__))
#define poll(...) ((int)syscall(SYS_poll, __VA_ARGS__))
#define epoll_pwait(...) ((int)syscall(SYS_epoll_pwait, __VA_ARGS__, 8))
#define epoll_wait(...) ((int)syscall(SYS_epoll_wait, __VA_ARGS__))
#endif

enum state state;
int failed;
char dir[64];

/* ---- Files -------------------------------------------------------------------------------------- */

static void test_files(void)
{
	char here[8192], *p;
	int fd = open(name_in_dir("file"), O_RDWR | O_CREAT | O_TRUNC, 0600);
	struct stat st, *q;
	struct statfs fs, *f;
	struct statx sx, *x;

	CHECK(fd >= 0);
	for (size_t i = 0; i < sizeof(here); i++)
		here[i] = (char)(i * 7);
	CHECK(write(fd, in(here, 5000), 5000) == 5000);
	CHECK(pwrite(fd, in(here + 5000, 3000), 3000, 5000) == 3000);
	CHECK(lseek(fd, 0, SEEK_SET) == 0 && read(fd, p = out(8192), 8192) == 8000 && !memcmp(p, here, 8000));
	CHECK(pread(fd, p = out(100), 100, 4050) == 100 && !memcmp(p, here + 4050, 100));
	CHECK(read(fd, out(10), 10) == 0);
	CHECK(stat(name_in_dir("file"), q = out(sizeof(st))) == 0 && stat(name_in_dir("file"), &st) == 0 &&
		!memcmp(q, &st, sizeof(st)) && q->st_size == 8000);
	CHECK(fstat(fd, q = out(sizeof(st))) == 0 && q->st_size == 8000);
	CHECK(lstat(name_in_dir("file"), q = out(sizeof(st))) == 0 && q->st_ino == st.st_ino);
	CHECK(fstatat(AT_FDCWD, name_in_dir("file"), q = out(sizeof(st)), 0) == 0 && q->st_ino == st.st_ino);
	CHECK(statx(AT_FDCWD, name_in_dir("file"), 0, STATX_SIZE, x = out(sizeof(sx))) == 0 &&
		x->stx_size == 8000);
	CHECK(statfs(text("/"), f = out(sizeof(fs))) == 0 && statfs("/", &fs) == 0 &&
		f->f_type == fs.f_type && f->f_bsize == fs.f_bsize && f->f_blocks == fs.f_blocks);
	CHECK(stat(text("/no/such/file"), out(sizeof(st))) == -1 && errno == ENOENT);
	CHECK(access(name_in_dir("file"), R_OK) == 0 &&
		faccessat(AT_FDCWD, name_in_dir("none"), R_OK, 0) == -1);
	CHECK(chmod(name_in_dir("file"), 0640) == 0 && truncate(name_in_dir("file"), 7000) == 0);
	struct timespec times[2] = {{1000, 5}, {2000, 6}};
	CHECK(utimensat(AT_FDCWD, name_in_dir("file"), in(times, sizeof(times)), 0) == 0 &&
		fstat(fd, &st) == 0 && st.st_mtim.tv_sec == 2000 && st.st_size == 7000 &&
		(st.st_mode & 0777) == 0640);
	CHECK(link(name_in_dir("file"), name_in_dir("link")) == 0 &&
		rename(name_in_dir("link"), name_in_dir("moved")) == 0);
	CHECK(symlink(text("target of a link"), name_in_dir("symlink")) == 0);
	CHECK(readlink(name_in_dir("symlink"), p = out(200), 200) == 16 &&
		!memcmp(p, "target of a link", 16));
	CHECK(state == UNTOUCHED ? p[16] == 0 : (unsigned char)p[16] == 0xee);
	CHECK(unlink(name_in_dir("moved")) == 0 && unlinkat(AT_FDCWD, name_in_dir("symlink"), 0) == 0);
	CHECK(mkdir(name_in_dir("sub"), 0700) == 0 && rmdir(name_in_dir("sub")) == 0);
	CHECK(getcwd(here, sizeof(here)) && getcwd(p = out(4096), 4096) && !strcmp(p, here));
	CHECK(chdir(name_in_dir("")) == 0 && getcwd(p = out(200), 200) && !strcmp(p, dir) &&
		chdir(here) == 0);
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 10, .l_len = 5}, *l;
	CHECK(fcntl(fd, F_SETLK, in(&lock, sizeof(lock))) == 0);
	CHECK(fcntl(fd, F_GETLK, l = in(&lock, sizeof(lock))) == 0 && l->l_type == F_UNLCK);
	CHECK(fcntl(fd, F_OFD_SETLK, in(&(struct flock){.l_type = F_RDLCK}, sizeof(lock))) == 0 ||
		errno == EAGAIN);
	off_t offset = 100, *o;
	int pipes[2], *w;
	CHECK(pipe(w = out(8)) == 0 && (pipes[0] = w[0]) >= 0 && (pipes[1] = w[1]) >= 0);
	CHECK(sendfile(pipes[1], fd, o = in(&offset, sizeof(offset)), 50) == 50 && *o == 150);
	CHECK(read(pipes[0], p = out(50), 50) == 50 && p[0] == (char)700);
	CHECK(copy_file_range(fd, o = in(&offset, sizeof(offset)), fd, NULL, 0, 0) >= -1);
	if (setxattr(name_in_dir("file"), text("user.name"), in("value", 5), 5, 0) == 0) {
		CHECK(getxattr(name_in_dir("file"), text("user.name"), p = out(50), 50) == 5 &&
			!memcmp(p, "value", 5));
		CHECK(listxattr(name_in_dir("file"), p = out(500), 500) >= 10);
	}
	close(pipes[0]);
	close(pipes[1]);
	close(fd);
	CHECK(unlink(name_in_dir("file")) == 0);
}

static void test_directories(void)
{
	int fd = open("/proc/self", O_RDONLY | O_DIRECTORY), nr = 0, found = 0;
	long bytes;
	char *p;

	while ((bytes = syscall(SYS_getdents64, fd, p = out(700), 700)) > 0)
		for (long at = 0; at < bytes; nr++) {
			struct dirent64 *entry = (void *)(p + at);
			found += !strcmp(entry->d_name, "status");
			at += entry->d_reclen;
		}
	CHECK(bytes == 0 && nr > 20 && found == 1);
	close(fd);
	int watch = inotify_init1(IN_NONBLOCK);
	CHECK(inotify_add_watch(watch, name_in_dir(""), IN_CREATE) > 0);
	close(open(name_in_dir("seen"), O_CREAT | O_WRONLY, 0600));
	struct inotify_event *event;
	CHECK(read(watch, event = out(600), 600) > 0 && !strcmp(event->name, "seen"));
	unlink(name_in_dir("seen"));
	close(watch);
}

static int regular(size_t bytes)
{
	int fd = open(dir, O_TMPFILE | O_RDWR, 0600);

	CHECK(fd >= 0 && ftruncate(fd, (off_t)bytes) == 0);
	return fd;
}

static char *pattern(size_t bytes)
{
	char *p = room(bytes);

	for (size_t i = 0; i < bytes; i++)
		p[i] = (char)(i >> 3 ^ i >> 11 ^ i);
	put_into_state(p, bytes);
	return p;
}

/* Longer than what goes through in one piece. */
static void test_large(void)
{
	size_t bytes = 3 * MIB + 12345;
	char *p = pattern(bytes), *q;
	int fd = regular(0);

	CHECK(write(fd, p, bytes) == (ssize_t)bytes);
	CHECK(pread(fd, q = out(bytes), bytes, 0) == (ssize_t)bytes && !memcmp(p, q, bytes));
	CHECK(pread(fd, q = out(bytes), bytes, 1000) == (ssize_t)bytes - 1000 &&
		!memcmp(p + 1000, q, bytes - 1000));
	CHECK(lseek(fd, 5, SEEK_SET) == 5 && read(fd, q = out(bytes), bytes) == (ssize_t)bytes - 5 &&
		!memcmp(p + 5, q, bytes - 5));
	CHECK(pwrite(fd, p + 1000, bytes - 1000, 1000) == (ssize_t)bytes - 1000 &&
		pread(fd, q = out(bytes), bytes, 0) == (ssize_t)bytes && !memcmp(p, q, bytes));
	struct iovec iov[3] = {{q = out(bytes / 2), bytes / 2}, {(char[100]){0}, 100}, {out(bytes), bytes}};
	CHECK(preadv(fd, iov, 3, 0) == (ssize_t)bytes && !memcmp(q, p, bytes / 2) &&
		!memcmp(iov[1].iov_base, p + bytes / 2, 100) &&
		!memcmp(iov[2].iov_base, p + bytes / 2 + 100, bytes - bytes / 2 - 100));
	CHECK(pwritev(fd, (struct iovec[]){{p, bytes}, {"end", 3}}, 2, 0) == (ssize_t)bytes + 3);
	CHECK(lseek(fd, 0, SEEK_END) == (off_t)bytes + 3);
	close(fd);
}

struct pump {
	int fd;
	char *p;
	size_t bytes, done;
};

static void *pump_out(void *arg)
{
	struct pump *pump = arg;
	pump->done = (size_t)write(pump->fd, pump->p, pump->bytes);
	return NULL;
}

static size_t drain(int fd, char *p, size_t bytes)
{
	size_t done = 0;
	ssize_t got;

	while (done < bytes && (got = read(fd, p + done, bytes - done)) > 0)
		done += (size_t)got;
	return done;
}

/* A blocking write gives all, in whatever portions it is taken. */
static void test_large_streams(void)
{
	size_t bytes = 2 * MIB + 77;
	int fds[2];

	for (int kind = 0; kind < 2; kind++) {
		CHECK((kind ? socketpair(AF_UNIX, SOCK_STREAM, 0, fds) : pipe(fds)) == 0);
		struct pump pump = {fds[1], pattern(bytes), bytes, 0};
		pthread_t thread;
		char *q = out(bytes);
		pthread_create(&thread, NULL, pump_out, &pump);
		CHECK(drain(fds[0], q, bytes) == bytes);
		pthread_join(thread, NULL);
		CHECK(pump.done == bytes && !memcmp(q, pump.p, bytes));
		close(fds[0]);
		close(fds[1]);
	}
	/* recv that waits for all; messages stay whole */
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
	struct pump pump = {fds[1], pattern(bytes), bytes, 0};
	pthread_t thread;
	char *q;
	pthread_create(&thread, NULL, pump_out, &pump);
	CHECK(recv(fds[0], q = out(bytes), bytes, MSG_WAITALL) == (ssize_t)bytes &&
		!memcmp(q, pump.p, bytes));
	pthread_join(thread, NULL);
	close(fds[0]);
	close(fds[1]);
	CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, fds) == 0);
	CHECK(send(fds[0], pattern(150000), 150000, 0) == 150000);
	CHECK(recv(fds[1], q = out(200000), 200000, 0) == 150000 && !memcmp(q, pattern(150000), 150000));
	CHECK(send(fds[0], "abcdef", 6, 0) == 6 && recv(fds[1], q = out(4), 4, MSG_TRUNC) == 6 &&
		!memcmp(q, "abcd", 4));
	close(fds[0]);
	close(fds[1]);
}

static void test_direct(void)
{
	int fd = open(dir, O_TMPFILE | O_RDWR | O_DIRECT, 0600);
	char *p, *q;

	if (fd < 0)
		return;
	p = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memcpy(p, pattern(MIB), MIB);
	put_into_state(p, MIB);
	CHECK(pwrite(fd, p, MIB, 0) == (ssize_t)MIB);
	q = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(pread(fd, q, MIB, 0) == (ssize_t)MIB && !memcmp(p, q, MIB));
	close(fd);
}

/* ---- Vectors and messages ----------------------------------------------------------------------- */

static void test_vectors(void)
{
	int fd = regular(0);
	struct iovec iov[3] = {{in("first ", 6), 6}, {"second ", 7}, {in("third", 5), 5}};
	char native[7], *p, *q;

	CHECK(writev(fd, iov, 3) == 18);
	CHECK(writev(fd, in(iov, sizeof(iov)), 3) == 18);
	CHECK(pwritev(fd, iov, 3, 100) == 18);
	CHECK(pwritev2(fd, iov, 3, 200, 0) == 18);
	CHECK(syscall(SYS_pwritev, fd, in(iov, sizeof(iov)), 3, 300, 0) == 18);
	for (int i = 0; i <= 3; i++) {
		struct iovec to[3] = {{p = out(6), 6}, {native, 7}, {q = out(100), 5}};
		CHECK(preadv(fd, i & 1 ? in(to, sizeof(to)) : to, 3, i * 100) == 18 &&
			!memcmp(p, "first ", 6) && !memcmp(native, "second ", 7) && !memcmp(q, "third", 5));
	}
	CHECK(lseek(fd, 0, SEEK_SET) == 0);
	CHECK(readv(fd, (struct iovec[]){{p = out(6), 6}, {NULL, 0}, {q = out(12), 12}}, 3) == 18 &&
		!memcmp(q, "second third", 12));
	CHECK(readv(fd, iov, -1) == -1 && errno == EINVAL);
	int pipes[2];
	CHECK(pipe(pipes) == 0 && vmsplice(pipes[1], iov, 3, 0) == 18 &&
		read(pipes[0], p = out(18), 18) == 18 && !memcmp(p, "first second third", 18));
	close(pipes[0]);
	close(pipes[1]);
	close(fd);
}

static void send_with_descriptor(int socket)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr header;
	} control = {.header = {.cmsg_len = CMSG_LEN(sizeof(int)),
			     .cmsg_level = SOL_SOCKET,
			     .cmsg_type = SCM_RIGHTS}};
	struct iovec iov[2] = {{in("ab", 2), 2}, {"cd", 2}};
	struct msghdr hdr = {
		.msg_iov = in(iov, sizeof(iov)), .msg_iovlen = 2, .msg_controllen = sizeof(control)};

	memcpy(CMSG_DATA(&control.header), &(int){socket}, sizeof(int));
	hdr.msg_control = in(&control, sizeof(control));
	CHECK(sendmsg(socket, state & 1 ? in(&hdr, sizeof(hdr)) : &hdr, 0) == 4);
}

static void test_messages(void)
{
	int fds[2], *w;
	char *p, *q;

	CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, w = out(8)) == 0 && (fds[0] = w[0]) >= 0 &&
		(fds[1] = w[1]) >= 0);
	send_with_descriptor(fds[0]);
	struct iovec to = {p = out(10), 10};
	struct msghdr hdr = {.msg_iov = &to,
			      .msg_iovlen = 1,
			      .msg_control = q = out(64),
			      .msg_controllen = 64},
		      *h;
	CHECK(recvmsg(fds[1], h = in(&hdr, sizeof(hdr)), 0) == 4 && !memcmp(p, "abcd", 4) &&
		h->msg_flags == 0);
	CHECK(h->msg_controllen == CMSG_SPACE(sizeof(int)) && ((struct cmsghdr *)q)->cmsg_type == SCM_RIGHTS);
	int passed = *(int *)CMSG_DATA((struct cmsghdr *)q);
	CHECK(fcntl(passed, F_GETFD) >= 0 && close(passed) == 0);

	struct mmsghdr many[3] = {0}, *m;
	struct iovec iov[3] = {{in("one", 3), 3}, {in("three", 5), 5}, {in("seventh", 7), 7}};
	for (int i = 0; i < 3; i++)
		many[i].msg_hdr.msg_iov = &iov[i], many[i].msg_hdr.msg_iovlen = 1;
	CHECK(sendmmsg(fds[0], m = in(many, sizeof(many)), 3, 0) == 3 && m[2].msg_len == 7);
	for (int i = 0; i < 3; i++)
		iov[i] = (struct iovec){out(20), 20};
	CHECK(recvmmsg(fds[1], m = in(many, sizeof(many)), 3, MSG_WAITFORONE, NULL) == 3 &&
		m[1].msg_len == 5 && !memcmp(iov[2].iov_base, "seventh", 7));
	CHECK(recvmmsg(fds[1], m, 3, MSG_DONTWAIT, NULL) == -1 && errno == EAGAIN);
	close(fds[0]);
	close(fds[1]);
}

static void test_sockets(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}}, *a;
	int listener = socket(AF_INET, SOCK_STREAM, 0), udp = socket(AF_INET, SOCK_DGRAM, 0), one = 1, *v;
	socklen_t len = sizeof(address), *l;
	char *p;

	CHECK(setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, in(&one, 4), 4) == 0);
	CHECK(getsockopt(listener, SOL_SOCKET, SO_REUSEADDR, v = out(4), l = in(&(socklen_t){4}, 4)) == 0 &&
		*v == 1 && *l == 4);
	if (bind(listener, in(&address, len), len) == 0) {
		CHECK(listen(listener, 5) == 0);
		CHECK(getsockname(listener, (void *)(a = out(40)), l = in(&(socklen_t){40}, 4)) == 0 &&
			*l == len && a->sin_port);
		address = *a;
		int client = socket(AF_INET, SOCK_STREAM, 0);
		CHECK(connect(client, in(&address, len), len) == 0);
		int server = accept(listener, (void *)(a = out(40)), l = in(&(socklen_t){40}, 4));
		CHECK(server >= 0 && *l == len && a->sin_family == AF_INET);
		CHECK(getpeername(client, (void *)(a = out(len)), l = in(&len, 4)) == 0 &&
			a->sin_port == address.sin_port);
		CHECK(send(client, in("hello", 5), 5, 0) == 5 && recv(server, p = out(20), 20, 0) == 5 &&
			!memcmp(p, "hello", 5));
		int nr, *n;
		CHECK(send(client, "xyz", 3, 0) == 3 &&
			poll(&(struct pollfd){server, POLLIN, 0}, 1, 1000) == 1);
		CHECK(ioctl(server, FIONREAD, n = out(4)) == 0 && *n == 3 &&
			ioctl(server, FIONREAD, &nr) == 0 && nr == 3);
		CHECK(ioctl(server, FIONBIO, in(&one, 4)) == 0 && (fcntl(server, F_GETFL) & O_NONBLOCK));
		close(client);
		close(server);
	}
	address.sin_port = 0;
	if (bind(udp, in(&address, len), len) == 0) {
		CHECK(getsockname(udp, (void *)&address, &len) == 0);
		CHECK(sendto(udp, in("datagram", 8), 8, 0, in(&address, len), len) == 8);
		CHECK(recvfrom(udp, p = out(50), 50, 0, (void *)(a = out(40)), l = in(&(socklen_t){40}, 4)) ==
				8 &&
			!memcmp(p, "datagram", 8) && *l == len &&
			!memcmp(&a->sin_port, &address.sin_port, 2));
	}
	struct ifreq request = {.ifr_name = "lo"}, *r;
	CHECK(ioctl(udp, SIOCGIFINDEX, r = in(&request, sizeof(request))) == 0 && r->ifr_ifindex > 0);
	struct ifconf list = {.ifc_len = 400, .ifc_buf = out(400)}, *c;
	CHECK(ioctl(udp, SIOCGIFCONF, c = in(&list, sizeof(list))) == 0 && c->ifc_len >= 0);
	close(listener);
	close(udp);
}

/* ---- Waiting -------------------------------------------------------------------------------------- */

static void test_polls(void)
{
	int fds[2];
	struct pollfd polls[3], *p;
	struct timespec soon = {0, 2000000}, *t;
	struct timeval while_ = {0, 2000};
	fd_set set, *s;
	sigset_t mask;

	CHECK(pipe(fds) == 0 && write(fds[1], "x", 1) == 1);
	sigfillset(&mask);
	for (int i = 0; i < 3; i++)
		polls[i] = (struct pollfd){i ? fds[0] : -1, POLLIN, 0};
	CHECK(poll(p = in(polls, sizeof(polls)), 3, 1000) == 2 && !p[0].revents && p[1].revents == POLLIN &&
		p[2].revents == POLLIN);
	CHECK(ppoll(p = in(polls, sizeof(polls)), 1, in(&soon, sizeof(soon)), in(&mask, sizeof(mask))) == 0);
	FD_ZERO(&set);
	FD_SET(fds[0], &set);
	FD_SET(fds[1], &set);
	CHECK(select(fds[1] + 1, s = in(&set, sizeof(set)), NULL, NULL, in(&while_, sizeof(while_))) == 1 &&
		FD_ISSET(fds[0], s) && !FD_ISSET(fds[1], s));
	CHECK(pselect(fds[1] + 1, NULL, s = in(&set, sizeof(set)), NULL, in(&soon, sizeof(soon)),
		      in(&mask, sizeof(mask))) == 1 &&
		FD_ISSET(fds[1], s));
	int epoll = epoll_create1(0);
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = 77}, *e;
	CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, fds[0], in(&event, sizeof(event))) == 0);
	CHECK(epoll_wait(epoll, e = out(500 * sizeof(event)), 500, 1000) == 1 && e->data.u64 == 77 &&
		e->events == EPOLLIN);
#ifdef SYS_epoll_pwait2
	long events = syscall(SYS_epoll_pwait2, epoll, e = out(sizeof(event)), 1, in(&soon, sizeof(soon)),
		in(&mask, sizeof(mask)), 8);
	CHECK(events == 1 ? e->data.u64 == 77 : errno == ENOSYS);
#endif
	CHECK(epoll_pwait(epoll, e = out(sizeof(event)), 1, 1000, in(&mask, sizeof(mask))) == 1 &&
		e->data.u64 == 77);
	close(epoll);
	uint64_t number = 5, *q;
	int eventfd_ = eventfd(0, 0);
	CHECK(write(eventfd_, in(&number, 8), 8) == 8 && read(eventfd_, q = out(8), 8) == 8 && *q == 5);
	close(eventfd_);
	CHECK(nanosleep(in(&soon, sizeof(soon)), out(sizeof(soon))) == 0);
	CHECK(clock_nanosleep(CLOCK_MONOTONIC, 0, in(&soon, sizeof(soon)), NULL) == 0);
	CHECK(clock_gettime(CLOCK_MONOTONIC, &soon) == 0 &&
		syscall(SYS_clock_gettime, CLOCK_MONOTONIC, t = out(sizeof(soon))) == 0 &&
		t->tv_sec - soon.tv_sec < 60);
	close(fds[0]);
	close(fds[1]);
}

static void *wake_later(void *word)
{
	usleep(20000);
	__atomic_store_n((int *)word, 1, __ATOMIC_SEQ_CST);
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
	return NULL;
}

struct shared_counter {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	long value;
};

static void *count_up(void *p)
{
	struct shared_counter *c = p;

	for (int i = 0; i < 300; i++) {
		pthread_mutex_lock(&c->lock);
		c->value++;
		if (i % 50 == 0)
			put_into_state(c, sizeof(*c));
		pthread_cond_broadcast(&c->changed);
		pthread_mutex_unlock(&c->lock);
	}
	return NULL;
}

static void test_futexes(void)
{
	int *word = in(&(int){0}, 4);
	struct timespec soon = {0, 2000000};
	pthread_t thread[4];

	CHECK(syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, 1, NULL, NULL, 0) == -1 && errno == EAGAIN);
	put_into_state(word, 4);
	CHECK(syscall(SYS_futex, word, FUTEX_WAIT, 0, in(&soon, sizeof(soon)), NULL, 0) == -1 &&
		errno == ETIMEDOUT);
	put_into_state(word, 4);
	pthread_create(&thread[0], NULL, wake_later, word);
	while (!__atomic_load_n(word, __ATOMIC_SEQ_CST)) {
		long r = syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
		CHECK(r == 0 || errno != EFAULT);
	}
	pthread_join(thread[0], NULL);
	struct shared_counter *c = in(
		&(struct shared_counter){PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0}, sizeof(*c));
	for (int i = 0; i < 4; i++)
		pthread_create(&thread[i], NULL, count_up, c);
	pthread_mutex_lock(&c->lock);
	while (c->value < 1200)
		pthread_cond_wait(&c->changed, &c->lock);
	pthread_mutex_unlock(&c->lock);
	for (int i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	CHECK(c->value == 1200);
}

/* ---- Signals --------------------------------------------------------------------------------------- */

static volatile int ticks;
static int tick_fd;
static sigjmp_buf away;

static void on_tick(int sig)
{
	(void)sig;
	if (++ticks == 3)
		(void)!write(tick_fd, "data", 4);
}

static void on_tick_jump(int sig)
{
	(void)sig;
	siglongjmp(away, 1);
}

static void tick_every(int us, void (*handler)(int), int flags)
{
	struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
	struct itimerval timer = {{0, us}, {0, us}};

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, in(&timer, sizeof(timer)), out(sizeof(timer)));
}

static void test_interrupts(void)
{
	int fds[2];
	char *p;

	CHECK(pipe(fds) == 0);
	tick_fd = fds[1];
	ticks = 100; /* nothing is written yet */
	tick_every(3000, on_tick, 0);
	CHECK(read(fds[0], out(10), 10) == -1 && errno == EINTR);
	tick_every(0, on_tick, 0);
	ticks = 0;
	tick_every(3000, on_tick, SA_RESTART);
	CHECK(read(fds[0], p = out(10), 10) == 4 && !memcmp(p, "data", 4) && ticks >= 3);
	struct timespec long_ = {5, 0}, *rest;
	CHECK(nanosleep(in(&long_, sizeof(long_)), rest = out(sizeof(long_))) == -1 && errno == EINTR &&
		rest->tv_sec <= 5);
	CHECK(poll(in(&(struct pollfd){fds[0], POLLIN, 0}, sizeof(struct pollfd)), 1, 5000) == -1 &&
		errno == EINTR);
	tick_every(0, on_tick, 0);
	/* Left by a jump, more often than there can be calls at once. */
	p = out(10);
	struct sigaction jump = {.sa_handler = on_tick_jump};
	sigaction(SIGALRM, &jump, NULL);
	for (volatile int i = 0; i < 200; i++) {
		if (sigsetjmp(away, 1) == 0) {
			struct itimerval once = {{0, 0}, {0, 300}};
			setitimer(ITIMER_REAL, &once, NULL);
			(void)!read(fds[0], p, 10);
			CHECK(0);
		}
	}
	CHECK(write(fds[1], in("still", 5), 5) == 5 && read(fds[0], p = out(10), 10) == 5 &&
		!memcmp(p, "still", 5));
	close(fds[0]);
	close(fds[1]);
}

static volatile sig_atomic_t on_stack_ok;

static void on_usr1(int sig)
{
	char *p = out(20);
	int fd = open("/dev/zero", O_RDONLY);

	(void)sig;
	on_stack_ok = read(fd, p, 20) == 20 && p[19] == 0;
	close(fd);
}

static void test_signals(void)
{
	sigset_t set, old, *q;
	stack_t stack = {.ss_sp = out(65536), .ss_size = 65536}, *back;
	struct sigaction action = {.sa_handler = on_usr1, .sa_flags = SA_ONSTACK}, *a;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	CHECK(sigprocmask(SIG_BLOCK, in(&set, sizeof(set)), q = out(sizeof(set))) == 0 &&
		!sigismember(q, SIGUSR2));
	CHECK(sigprocmask(SIG_SETMASK, NULL, q = out(sizeof(set))) == 0 && sigismember(q, SIGUSR2) == 1);
	CHECK(syscall(SYS_rt_sigprocmask, SIG_SETMASK, NULL, q = out(sizeof(set)), 8) == 0 &&
		sigismember(q, SIGUSR2) == 1);
	kill(getpid(), SIGUSR2);
	CHECK(sigpending(q = out(sizeof(set))) == 0 && sigismember(q, SIGUSR2) == 1);
	siginfo_t *info;
	struct timespec soon = {1, 0};
	CHECK(sigtimedwait(in(&set, sizeof(set)), info = out(sizeof(*info)), in(&soon, sizeof(soon))) ==
			SIGUSR2 &&
		info->si_pid == getpid());
	int fd = signalfd(-1, in(&set, sizeof(set)), SFD_NONBLOCK);
	struct signalfd_siginfo *what;
	kill(getpid(), SIGUSR2);
	CHECK(fd >= 0 && read(fd, what = out(sizeof(*what)), sizeof(*what)) == sizeof(*what) &&
		what->ssi_signo == SIGUSR2);
	close(fd);
	/* All blocked, and buffers still work. */
	sigfillset(&set);
	CHECK(sigprocmask(SIG_SETMASK, &set, &old) == 0);
	CHECK(uname(out(sizeof(struct utsname))) == 0);
	CHECK(sigprocmask(SIG_SETMASK, NULL, &set) == 0 && sigismember(&set, SIGSYS) == 1 &&
		sigismember(&set, SIGBUS) == 1);
	sigdelset(&old, SIGUSR2);
	CHECK(sigprocmask(SIG_SETMASK, &old, NULL) == 0);
	struct sigaction sys = {.sa_handler = on_usr1};
	CHECK(sigaction(SIGSYS, &sys, NULL) == 0 && sigaction(SIGSYS, NULL, a = out(sizeof(*a))) == 0 &&
		a->sa_handler == on_usr1);
	CHECK(uname(out(sizeof(struct utsname))) == 0);
	on_stack_ok = 0;
	CHECK(raise(SIGSYS) == 0 && on_stack_ok);
	signal(SIGSYS, SIG_DFL);
	CHECK(sigaltstack(in(&stack, sizeof(stack)), NULL) == 0 &&
		sigaltstack(NULL, back = out(sizeof(stack))) == 0 && back->ss_size == 65536);
	CHECK(sigaction(SIGUSR1, in(&action, sizeof(action)), a = out(sizeof(action))) == 0);
	on_stack_ok = 0;
	kill(getpid(), SIGUSR1);
	CHECK(on_stack_ok == 1);
	CHECK(syscall(SYS_rt_sigaction, SIGUSR1, NULL, a = out(32), 8) == 0 &&
		*(void **)a == (void *)on_usr1);
	stack.ss_flags = SS_DISABLE;
	sigaltstack(&stack, NULL);
	union sigval value = {.sival_int = 9};
	signal(SIGUSR1, SIG_IGN);
	CHECK(sigqueue(getpid(), SIGUSR1, value) == 0);
}

static void cleaned(void *flag)
{
	*(int *)flag = 1;
}

struct victim {
	int fd, cleaned, mode;
};

static void *block_in_read(void *arg)
{
	struct victim *victim = arg;
	char *p;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	pthread_cleanup_push(cleaned, &victim->cleaned);
	if (victim->mode)
		pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
	p = out(10);
	pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
	if (victim->mode == 2)
		(void)!readv(victim->fd, &(struct iovec){p, 10}, 1);
	else
		(void)!(read)(victim->fd, p, 10); /* a cancellation point */
	pthread_cleanup_pop(0);
	return NULL;
}

static void test_cancel(void)
{
	int fds[2];
	CHECK(pipe(fds) == 0);
	for (int mode = 0; mode < 3; mode++) {
		struct victim victim = {fds[0], 0, mode};
		pthread_t thread;
		void *result = NULL;
		pthread_create(&thread, NULL, block_in_read, &victim);
		usleep(5000);
		CHECK(pthread_cancel(thread) == 0 && pthread_join(thread, &result) == 0 &&
			result == PTHREAD_CANCELED && victim.cleaned);
	}
	/* More threads in a call than there are slots. */
	enum { MANY = 150 };
	pthread_t threads[MANY];
	struct victim waiting = {fds[0], 0, 0};
	for (int i = 0; i < MANY; i++)
		pthread_create(&threads[i], NULL, block_in_read, &waiting);
	for (int i = 0; i < MANY; i++)
		CHECK(write(fds[1], in("0123456789", 10), 10) == 10);
	for (int i = 0; i < MANY; i++)
		CHECK(pthread_join(threads[i], NULL) == 0);
	close(fds[0]);
	close(fds[1]);
}

/* ---- Processes and odds ------------------------------------------------------------------------------ */

extern char **environ;

static char **texts(const char *const *from)
{
	char *list[16] = {0};
	int nr = 0;

	for (; from[nr]; nr++)
		list[nr] = text(from[nr]);
	return in(list, sizeof(list));
}

static int run_and_wait(void)
{
	int *status = out(4);
	struct rusage *usage = out(sizeof(*usage));

	CHECK(wait4(-1, status, 0, usage) > 0 && usage->ru_maxrss > 0);
	return *status;
}

static void test_processes(void)
{
	const char *args[] = {"sh", "-c", "test \"$VARIABLE\" = value && exit 7", NULL},
		   *vars[] = {"VARIABLE=value", "PATH=/usr/bin:/bin", NULL};
	char **environment = environ;
	char line[64] = "";
	pid_t *pid;

	if (fork() == 0)
		execve(text("/bin/sh"), texts(args), texts(vars)), _exit(99);
	CHECK(run_and_wait() == 7 << 8);
	char *path = text("/bin/sh"), **argv = texts(args), **envp = texts(vars);
	if (vfork() == 0) {
		execve(path, argv, envp);
		_exit(99);
	}
	CHECK(run_and_wait() == 7 << 8);
	put_into_state(argv, 64);
	if (fork() == 0)
		syscall(SYS_execve, text("/bin/sh"), argv, texts(vars)), _exit(99);
	CHECK(run_and_wait() == 7 << 8);
	posix_spawn_file_actions_t *actions = room(sizeof(*actions));
	posix_spawnattr_t *attr = room(sizeof(*attr));
	sigset_t all;
	sigfillset(&all);
	posix_spawn_file_actions_init(actions);
	posix_spawn_file_actions_addopen(actions, 5, text("/dev/null"), O_RDONLY, 0);
	posix_spawnattr_init(attr);
	posix_spawnattr_setsigdefault(attr, in(&all, sizeof(all)));
	posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSIGDEF);
	put_into_state(actions, sizeof(*actions));
	put_into_state(attr, sizeof(*attr));
	CHECK(posix_spawn(pid = out(4), text("/bin/sh"), actions, attr, texts(args), texts(vars)) == 0 &&
		*pid > 0);
	CHECK(run_and_wait() == 7 << 8);
	CHECK(posix_spawnp(NULL, text("sh"), NULL, NULL, texts(args), texts(vars)) == 0 &&
		run_and_wait() == 7 << 8);
	CHECK(posix_spawn(pid, text("/no/such"), NULL, NULL, texts(args), texts(vars)) == ENOENT);
	environ = texts(vars);
	CHECK(system(text("exit 5")) == 5 << 8 && system(text("test \"$VARIABLE\" = value")) == 0);
	FILE *pipe = popen(text("echo $VARIABLE"), "r");
	CHECK(pipe && fgets(line, sizeof(line), pipe) && !strcmp(line, "value\n") && pclose(pipe) == 0);
	environ = environment;
	if (fork() == 0)
		_exit(3);
	siginfo_t *info;
	CHECK(waitid(P_ALL, 0, info = out(sizeof(*info)), WEXITED) == 0 && info->si_status == 3 &&
		info->si_code == CLD_EXITED);
}

static void test_odds(void)
{
	struct utsname here, *u;
	struct rlimit limit, *r;
	struct sysinfo *s;
	struct tms *t;
	struct itimerspec later = {{0, 0}, {100, 0}}, *i;
	cpu_set_t cpus, *c;
	char name[16] = "", *p;
	int zero = 0;

	CHECK(uname(&here) == 0 && uname(u = out(sizeof(here))) == 0 && !strcmp(u->release, here.release) &&
		!strcmp(u->nodename, here.nodename));
	CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0 &&
		getrlimit(RLIMIT_NOFILE, r = out(sizeof(limit))) == 0 && r->rlim_cur == limit.rlim_cur);
	CHECK(setrlimit(RLIMIT_NOFILE, in(&limit, sizeof(limit))) == 0 &&
		prlimit(0, RLIMIT_NOFILE, NULL, r = out(sizeof(limit))) == 0 &&
		r->rlim_max == limit.rlim_max);
	CHECK(sysinfo(s = out(sizeof(*s))) == 0 && s->totalram > 0 &&
		times(t = out(sizeof(*t))) != (clock_t)-1);
	CHECK(getrusage(RUSAGE_SELF, out(sizeof(struct rusage))) == 0);
	CHECK(getrandom(p = out(5000), 5000, 0) == 5000);
	long sum = 0;
	for (int n = 0; n < 5000; n++)
		sum += (unsigned char)p[n];
	CHECK(sum > 500000 && sum < 800000);
	CHECK(prctl(PR_SET_NAME, text("a new name")) == 0 && prctl(PR_GET_NAME, p = out(16)) == 0 &&
		!strcmp(p, "a new name") && prctl(PR_GET_NAME, name) == 0 && !strcmp(name, p));
	int fd = timerfd_create(CLOCK_MONOTONIC, 0);
	CHECK(timerfd_settime(fd, 0, in(&later, sizeof(later)), out(sizeof(later))) == 0 &&
		timerfd_gettime(fd, i = out(sizeof(later))) == 0 && i->it_value.tv_sec >= 98);
	close(fd);
	timer_t *timer;
	struct sigevent event = {.sigev_notify = SIGEV_NONE};
	CHECK(timer_create(CLOCK_MONOTONIC, in(&event, sizeof(event)), timer = out(sizeof(*timer))) == 0 &&
		timer_settime(*timer, 0, in(&later, sizeof(later)), NULL) == 0 &&
		timer_gettime(*timer, i = out(sizeof(later))) == 0 && i->it_value.tv_sec >= 98 &&
		timer_delete(*timer) == 0);
	CHECK(sched_getaffinity(0, sizeof(cpus), &cpus) == 0 &&
		sched_getaffinity(0, sizeof(cpus), c = out(sizeof(cpus))) == 0 &&
		CPU_COUNT(c) == CPU_COUNT(&cpus));
	CHECK(sched_setaffinity(0, sizeof(cpus), in(&cpus, sizeof(cpus))) == 0);
	CHECK(sched_getparam(0, (void *)out(4)) == 0);
	uid_t *uid = out(4), *euid = out(4), *suid = out(4);
	CHECK(getresuid(uid, euid, suid) == 0 && *uid == getuid() && *suid == geteuid());
	gid_t *groups = out(4 * 100);
	CHECK(getgroups(100, groups) == getgroups(0, NULL));
	unsigned *cpu = out(4);
	CHECK(syscall(SYS_getcpu, cpu, NULL, NULL) == 0 && *cpu < 8192);
	fd = memfd_create(text("a name"), 0);
	CHECK(fd >= 0);
	close(fd);
	int semaphores = semget(IPC_PRIVATE, 1, 0600), queue = msgget(IPC_PRIVATE, 0600);
	if (semaphores >= 0) {
		CHECK(semop(semaphores, in(&(struct sembuf){0, 2, 0}, 6), 1) == 0 &&
			semctl(semaphores, 0, GETVAL) == 2);
		semctl(semaphores, 0, IPC_RMID);
	}
	if (queue >= 0) {
		struct {
			long type;
			char data[8];
		} message = {3, "message"}, *m;
		struct msqid_ds *ds;
		CHECK(msgsnd(queue, in(&message, sizeof(message)), 8, 0) == 0);
		CHECK(msgctl(queue, IPC_STAT, ds = out(sizeof(*ds))) == 0 && ds->msg_qnum == 1);
		CHECK(msgrcv(queue, m = out(sizeof(message)), 8, 0, 0) == 8 && m->type == 3 &&
			!strcmp(m->data, "message"));
		msgctl(queue, IPC_RMID, NULL);
	}
	unsigned char *in_core = out(4);
	CHECK(mincore(room(PAGE) - 0 ? (void *)((uintptr_t)in_core & ~(PAGE - 1)) : NULL, PAGE, in_core) ==
		0);
	int tty = open("/dev/ptmx", O_RDWR | O_NOCTTY);
	if (tty >= 0) {
		struct winsize size = {24, 80, 0, 0}, *w;
		CHECK(ioctl(tty, TIOCSWINSZ, in(&size, sizeof(size))) == 0 &&
			ioctl(tty, TIOCGWINSZ, w = out(sizeof(size))) == 0 && w->ws_row == 24 &&
			w->ws_col == 80);
		CHECK(ioctl(tty, TIOCSPTLCK, in(&zero, 4)) == 0 && ptsname_r(tty, p = out(64), 64) == 0);
		close(tty);
	}
}

static volatile int notified;

static void on_timer(union sigval value)
{
	char *p = out(30);
	int fd = open(value.sival_ptr, O_RDONLY);

	notified = read(fd, p, 30) == 30 ? 1 : 2;
	close(fd);
}

/* In threads that libc makes by itself. */
static void test_notifications(void)
{
	struct sigevent event = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = on_timer};
	struct itimerspec soon = {{0, 0}, {0, 1000000}};
	timer_t timer;

	notified = 0;
	event.sigev_value.sival_ptr = text("/dev/zero");
	CHECK(timer_create(CLOCK_MONOTONIC, in(&event, sizeof(event)), &timer) == 0);
	CHECK(timer_settime(timer, 0, in(&soon, sizeof(soon)), NULL) == 0);
	for (int i = 0; i < 5000 && !notified; i++)
		usleep(1000);
	CHECK(notified == 1);
	timer_delete(timer);
	/* Either it works, or it says that it does not. */
	int fd = open("/dev/zero", O_RDONLY);
	struct aiocb request = {.aio_fildes = fd, .aio_buf = out(30), .aio_nbytes = 30};
	if (aio_read(&request) == 0) {
		const struct aiocb *list[] = {&request};
		CHECK(aio_suspend(list, 1, NULL) == 0 && aio_return(&request) == 30);
	} else {
		CHECK(errno == ENOSYS || errno == 0);
	}
	close(fd);
}

static ucontext_t *outside, *inside;
static int been;

static void elsewhere(void)
{
	char *p = out(100);
	been = uname((void *)out(sizeof(struct utsname))) == 0 && gethostname(p, 100) == 0;
	put_into_state(outside, sizeof(*outside));
	swapcontext(inside, outside);
	been += 2;
}

/* On a stack, and with contexts, that are managed themselves. */
static void test_contexts(void)
{
	size_t bytes = 256 * 1024;

	outside = room(sizeof(*outside));
	inside = room(sizeof(*inside));
	been = 0;
	getcontext(inside);
	inside->uc_stack.ss_sp = malloc(bytes);
	inside->uc_stack.ss_size = bytes;
	inside->uc_link = outside;
	makecontext(inside, elsewhere, 0);
	put_into_state(inside, sizeof(*inside));
	CHECK(swapcontext(outside, inside) == 0 && been == 1);
	put_into_state(inside, sizeof(*inside));
	CHECK(swapcontext(outside, inside) == 0 && been == 3);
}

/* What is wrong is said as natively, and what can be transferred is. */
static void test_faults(void)
{
	int fd = open("/dev/zero", O_RDONLY), file = regular(3 * PAGE);
	char *p = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	memset(p, 1, 8 * PAGE);
	mprotect(p + 2 * PAGE, PAGE, PROT_READ);
	mprotect(p + 4 * PAGE, PAGE, PROT_NONE);
	munmap(p + 6 * PAGE, 2 * PAGE);
	put_into_state(p, 6 * PAGE);
	CHECK(uname((void *)(p + 6 * PAGE)) == -1 && errno == EFAULT);
	CHECK(pread(file, p + 2 * PAGE, 10, 0) == -1 && errno == EFAULT);
	CHECK(pread(file, p + 4 * PAGE, 10, 0) == -1 && errno == EFAULT);
	CHECK(pread(file, p + 6 * PAGE, 10, 0) == -1 && errno == EFAULT);
	CHECK(pread(file, p, 3 * PAGE, 0) == (ssize_t)(2 * PAGE));
	CHECK(pwrite(file, p + 4 * PAGE, 10, 0) == -1 && errno == EFAULT);
	CHECK(pwrite(file, p + 2 * PAGE, 10, 0) == 10);
	CHECK(pwrite(file, p + 3 * PAGE, 2 * PAGE, 0) == (ssize_t)PAGE);
	CHECK(preadv(file, (struct iovec[]){{p, PAGE}, {p + 4 * PAGE, 10}}, 2, 0) == (ssize_t)PAGE);
	CHECK(stat(p + 4 * PAGE, out(sizeof(struct stat))) == -1 && errno == EFAULT);
	CHECK(stat("/", (void *)(p + 2 * PAGE)) == -1 && errno == EFAULT);
	CHECK(read(-1, out(10), 10) == -1 && errno == EBADF);
	CHECK(read(fd, out(10), 0) == 0);
	CHECK(open(memset(out(6000), 'x', 6000), O_RDONLY) == -1 && errno == ENAMETOOLONG);
	munmap(p, 6 * PAGE);
	close(fd);
	close(file);
}

/* Registers that a system call keeps are kept. */
static void test_registers(void)
{
	struct utsname *u = out(sizeof(*u));
#ifdef __x86_64__
	double d = 3.25;
	uint64_t b = 0x1122334455667788, r8 = 8, r9 = 9, r10 = 10, result = SYS_uname;
	double back;
	register uint64_t x8 __asm__("r8") = r8;
	register uint64_t x9 __asm__("r9") = r9;
	register uint64_t x10 __asm__("r10") = r10;
	__asm__ volatile("movq %5, %%xmm15\n\tsyscall\n\tmovsd %%xmm15, %1"
			 : "+a"(result), "=m"(back), "+r"(x8), "+r"(x9), "+r"(x10)
			 : "r"(d), "D"(u), "S"(b), "d"(b)
			 : "rcx", "r11", "memory", "xmm15");
	CHECK(result == 0 && back == d && x8 == 8 && x9 == 9 && x10 == 10 && u->sysname[0] == 'L');
#else
	CHECK(uname(u) == 0);
#endif
}

int main(void)
{
	struct {
		const char *name;
		void (*run)(void);
	} tests[] = {
		{"files", test_files},
		{"directories", test_directories},
		{"large", test_large},
		{"large streams", test_large_streams},
		{"direct", test_direct},
		{"vectors", test_vectors},
		{"messages", test_messages},
		{"sockets", test_sockets},
		{"polls", test_polls},
		{"futexes", test_futexes},
		{"interrupts", test_interrupts},
		{"signals", test_signals},
		{"cancel", test_cancel},
		{"processes", test_processes},
		{"odds", test_odds},
		{"notifications", test_notifications},
		{"contexts", test_contexts},
		{"faults", test_faults},
		{"registers", test_registers},
#ifndef RAW
		{"buffers", test_buffers},
		{"wrong buffers", test_wrong_buffers},
		{"changed memory", test_changed_memory},
		{"datagrams", test_datagrams},
		{"events", test_events},
		{"places", test_places},
		{"cancelled", test_cancelled},
		{"fortified", test_fortified},
#endif
	};
	const char *base = getenv("TMPDIR") ? getenv("TMPDIR") : "/var/tmp";

	snprintf(dir, sizeof(dir), "%s/syscalls.XXXXXX", base);
	if (!mkdtemp(dir))
		return 2;
	for (unsigned i = 0; i < COUNT(tests); i++) {
		failed = 0;
		for (state = 0; state < NR_STATES; state++)
			tests[i].run();
		printf("%s: %s\n", tests[i].name, failed ? "failed" : "good");
		fflush(stdout);
	}
	rmdir(dir);
	return 0;
}

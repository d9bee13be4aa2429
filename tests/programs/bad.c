/* SPDX-License-Identifier: MIT */
/*
 * Programs that behave badly, or unusually: `bad NAME` is one of them, `bad` lists them all. What each prints, and how
 * it ends, must be the same natively and under anonmm; bad.sh compares. A case that wants pressure calls churn().
 */
#define _GNU_SOURCE
#include "memory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <time.h>
#include <unistd.h>

static void say(const char *text)
{
	ssize_t written = write(1, text, strlen(text));
	(void)written;
}

#define CHECK(what)                                                                                          \
	do {                                                                                                 \
		if (!(what)) {                                                                               \
			char line_[200];                                                                     \
			snprintf(line_, sizeof(line_), "not %s: %s\n", #what, strerror(errno));              \
			say(line_);                                                                          \
		}                                                                                            \
	} while (0)

static void fill(char *p, size_t len, uint64_t seed)
{
	for (size_t i = 0; i < len; i += 512)
		*(uint64_t *)(p + i) = seed * 1000003 + i;
}

static int is_filled(const char *p, size_t from, size_t to, uint64_t seed)
{
	for (size_t i = from; i < to; i += 512)
		if (*(const uint64_t *)(p + i) != seed * 1000003 + i)
			return 0;
	return 1;
}

static int is_zero(const char *p, size_t len)
{
	for (size_t i = 0; i < len; i += 512)
		if (*(const uint64_t *)(p + i))
			return 0;
	return 1;
}

/* More than the limit: what lies around is swapped out. */
static void churn(void)
{
	char *p = map(14 * MIB);
	fill(p, 14 * MIB, 99);
	CHECK(is_filled(p, 0, 14 * MIB, 99));
	CHECK(munmap(p, 14 * MIB) == 0);
}

/* ---- Descriptors ------------------------------------------------------------------------------- */

static void closes_all(void)
{
	char *p = map(8 * MIB);
	fill(p, 8 * MIB, 1);
	for (int fd = 3; fd < 65536; fd++)
		close(fd);
	churn();
	CHECK(is_filled(p, 0, 8 * MIB, 1));
	close(0);
	close(1);
	close(2);
	churn();
	_exit(is_filled(p, 0, 8 * MIB, 1) ? 3 : 4);
}

static void closes_range(void)
{
	char *p = map(8 * MIB);
	fill(p, 8 * MIB, 2);
	CHECK(close_range(3, ~0U, 0) == 0);
	churn();
	CHECK(is_filled(p, 0, 8 * MIB, 2));
	int fd = open("/dev/null", O_RDONLY);
	CHECK(fd >= 3);
}

static void no_descriptors(void)
{
	struct rlimit limit = {3, 3};
	char *p = map(8 * MIB);
	fill(p, 8 * MIB, 3);
	CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
	CHECK(open("/dev/null", O_RDONLY) < 0 && errno == EMFILE);
	churn();
	CHECK(is_filled(p, 0, 8 * MIB, 3));
}

/* ---- Memory that is not theirs, or may not be touched ------------------------------------------- */

static void unmaps_others(void)
{
	char *p = map(4 * MIB), *q = map(4 * MIB);
	fill(p, 4 * MIB, 4);
	fill(q, 4 * MIB, 5);
	CHECK(munmap((char *)0x10000, 16 * PAGE) == 0);
	CHECK(munmap(p + 1, PAGE) < 0 && errno == EINVAL);
	CHECK(munmap((void *)(1UL << 62), PAGE) < 0 && errno == EINVAL);
	CHECK(munmap(p + MIB, ~0UL - (uintptr_t)p - MIB) < 0 && errno == EINVAL);
	CHECK(munmap(p + MIB, MIB) == 0 && munmap(p + MIB, MIB) == 0);
	churn();
	CHECK(is_filled(p, 0, MIB, 4) && is_filled(p, 2 * MIB, 4 * MIB, 4) && is_filled(q, 0, 4 * MIB, 5));
	p[MIB] = 1; /* the end */
	say("not reached\n");
}

static void null_read(void)
{
	churn();
	*(volatile int *)8;
	say("not reached\n");
}

static void null_call(void)
{
	churn();
	((void (*)(void))0)();
}

static void writes_read_only(void)
{
	char *p = map(4 * MIB);
	fill(p, 4 * MIB, 6);
	CHECK(mprotect(p, 4 * MIB, PROT_READ) == 0);
	churn();
	CHECK(is_filled(p, 0, 4 * MIB, 6));
	p[2 * MIB] = 1;
	say("not reached\n");
}

static void writes_constant(void)
{
	*(volatile char *)(uintptr_t) "constant" = 1;
	say("not reached\n");
}

static void uses_freed(void)
{
	char *p = map(4 * MIB);
	fill(p, 4 * MIB, 6);
	munmap(p, 4 * MIB);
	say(p[5] ? "content\n" : "zero\n");
}

static void guard_page(void)
{
	char *p = map(64 * PAGE);
	fill(p, 64 * PAGE, 7);
	CHECK(mprotect(p + 63 * PAGE, PAGE, PROT_NONE) == 0);
	churn();
	for (size_t i = 0; i < 64; i++)
		p[i * PAGE] = 1;
	say("not reached\n");
}

static void beyond_file(void)
{
	char name[] = "/tmp/bad-XXXXXX";
	int fd = mkstemp(name);
	unlink(name);
	CHECK(ftruncate(fd, PAGE) == 0);
	char *p = mmap(NULL, 4 * PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
	say(p[2 * PAGE] ? "x\n" : "y\n");
}

static __attribute__((noinline)) long recurse(long n)
{
	volatile char frame[512];
	frame[n % 512] = (char)n;
	return recurse(n + 1) + frame[(n + 1) % 512];
}

static void recursion(void)
{
	struct rlimit limit = {1 * MIB, RLIM_INFINITY};
	setrlimit(RLIMIT_STACK, &limit);
	recurse(0);
}

static void *recurse_thread(void *arg)
{
	recurse((long)(uintptr_t)arg);
	return NULL;
}

static void thread_recursion(void)
{
	pthread_t thread;
	pthread_create(&thread, NULL, recurse_thread, NULL);
	pthread_join(thread, NULL);
}

static char *overflow_stack;

static void on_overflow(int sig)
{
	char here;
	if (&here >= overflow_stack && &here < overflow_stack + 65536)
		say("on its own stack\n");
	_exit(sig);
}

/* A handler for it on an alternate stack from malloc. */
static void recursion_handled(void)
{
	struct sigaction action = {.sa_handler = on_overflow, .sa_flags = SA_ONSTACK};
	stack_t stack = {.ss_size = 65536};
	struct rlimit limit = {1 * MIB, RLIM_INFINITY};
	stack.ss_sp = malloc(65536);
	sigaltstack(&stack, NULL);
	sigaction(SIGSEGV, &action, NULL);
	setrlimit(RLIMIT_STACK, &limit);
	churn();
	recurse(0);
}

/* A handler that needs most of a large alternate stack. */
static char *deep_area;

static void on_deep(int sig)
{
	volatile char deep[600 * 1024];
	size_t good = 0;

	for (size_t i = 0; i < sizeof(deep); i += PAGE)
		deep[i] = deep_area[i * 8];
	for (size_t i = 0; i < sizeof(deep); i += PAGE)
		good += deep[i] == sig;
	say(good == sizeof(deep) / PAGE ? "deep and good\n" : "bad\n");
}

static void *deep_thread(void *bytes)
{
	stack_t stack = {.ss_size = (size_t)bytes, .ss_sp = malloc((size_t)bytes)},
		off = {.ss_flags = SS_DISABLE};

	for (int i = 0; i < 20; i++) {
		CHECK(sigaltstack(&stack, NULL) == 0);
		CHECK(sigaltstack(&off, NULL) == 0);
	}
	CHECK(sigaltstack(&stack, NULL) == 0);
	pthread_kill(pthread_self(), SIGUSR1);
	return NULL;
}

static void large_stacks(void)
{
	struct sigaction action = {.sa_handler = on_deep, .sa_flags = SA_ONSTACK};
	pthread_t thread;

	deep_area = map(8 * MIB);
	memset(deep_area, SIGUSR1, 8 * MIB);
	sigaction(SIGUSR1, &action, NULL);
	deep_thread((void *)(1 * MIB));
	for (size_t i = 1; i < 10; i++) {
		pthread_create(&thread, NULL, deep_thread, (void *)(i * MIB));
		pthread_join(thread, NULL);
	}
}

/* ---- SIGBUS and SIGSYS from others -------------------------------------------------------------- */

#define SENT_BYTES (8 * MIB)
#define SENT 1000

static char *sent_area;
static _Atomic int sent_got, sent_bad, sent_deep;
static __thread int sent_inside; /* handlers that run in this thread */
static _Atomic int sent_over;

static uint64_t sent_word(size_t at)
{
	return *(volatile uint64_t *)(sent_area + at * PAGE);
}

/* Its handler uses memory that is out and allocates, whatever the thread was doing. */
static void on_sent(int sig, siginfo_t *info, void *context)
{
	int deep = ++sent_inside;

	(void)context;
	if (deep > sent_deep)
		sent_deep = deep;
	if (info->si_signo != sig || info->si_pid != getpid() || info->si_uid != getuid())
		sent_bad = 1;
	if (info->si_code == SI_QUEUE ? info->si_value.sival_int != sig
				      : info->si_code != SI_USER && info->si_code != SI_TKILL)
		sent_bad = 2;
	for (int i = 0; i < 32; i++) {
		size_t at = (size_t)(sent_got * 32 + i) * 7919 % (SENT_BYTES / PAGE);

		if (sent_word(at) != at)
			sent_bad = 3;
	}
	char *p = malloc(20000);

	memset(p, sig, 20000);
	free(p);
	sent_got++;
	sent_inside--;
}

static void *sends_signals(void *arg)
{
	for (int i = 0; i < SENT; i++) {
		int sig = i & 1 ? SIGSYS : SIGBUS;

		if (i % 3 == 0 &&
			sig == SIGBUS) /* a SIGSYS to a thread may take the place of the guard's: not served */
			syscall(SYS_tgkill, getpid(), getpid(), sig);
		else if (i % 3 == 1)
			kill(getpid(), sig);
		else
			sigqueue(getpid(), sig, (union sigval){.sival_int = sig});
		usleep(50);
	}
	sent_over = 1;
	return arg;
}

/* The thread that gets them faults all the time, and makes calls that the library serves with its locks held. */
static void sent_signals(void)
{
	struct sigaction action = {.sa_sigaction = on_sent, .sa_flags = SA_RESTART | SA_SIGINFO};
	pthread_t thread;
	int ends[2];

	CHECK(pipe(ends) == 0);
	sent_area = map(SENT_BYTES);
	for (size_t at = 0; at < SENT_BYTES / PAGE; at++)
		*(uint64_t *)(sent_area + at * PAGE) = at;
	sigaction(SIGBUS, &action, NULL);
	sigaction(SIGSYS, &action, NULL);
	pthread_create(&thread, NULL, sends_signals, NULL);
	for (size_t round = 0; !sent_over; round++) {
		char *p = map(64 * PAGE);

		fill(p, 64 * PAGE, 22);
		mprotect(p + PAGE, PAGE, PROT_READ);
		madvise(p, 32 * PAGE, MADV_DONTNEED);
		if (syscall(SYS_write, ends[1], p + 40 * PAGE, 100) != 100 ||
			syscall(SYS_read, ends[0], p + 41 * PAGE, 100) != 100)
			sent_bad = 4;
		munmap(p, 64 * PAGE);
	}
	pthread_join(thread, NULL);
	say(sent_got > SENT / 20 && sent_got <= SENT ? "as many came\n" : "few came, or too many\n");
	say(sent_deep <= 2 ? "one of each at a time\n" : "deep\n");
	say(sent_bad ? "wrong\n" : "right\n");
}

/* ---- A host that says "again" -------------------------------------------------------------------- */

static void *asks_again(void *page)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 5),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0xc028aa03, 2, 0), /* UFFDIO_COPY */
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0xc020aa04, 1, 0), /* UFFDIO_ZEROPAGE */
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0xc028aa05, 0, 1), /* UFFDIO_MOVE */
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EAGAIN),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof(code) / sizeof(*code), code};

	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	CHECK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0);
	*(volatile char *)page = 1;
	return page;
}

/*
 * Whoever is told so in a fault must let others run, who may have a lower priority: the thread does not use all of its
 * CPU.
 */
static void host_says_again(void)
{
	pthread_t thread;
	clockid_t clock;
	struct timespec used = {0, 0};
	char *p = map(PAGE);
	CHECK(pthread_create(&thread, NULL, asks_again, p) == 0);
	usleep(500000);
	if (pthread_getcpuclockid(thread, &clock) == 0) /* natively it has ended */
		clock_gettime(clock, &used);
	say(used.tv_sec || used.tv_nsec > 150000000 ? "it spins\n" : "it sleeps\n");
	_exit(0);
}

static void double_free(void)
{
	abort();
}

static void kills_itself(void)
{
	kill(getpid(), SIGQUIT);
	pause();
}

static void divides(void)
{
	volatile int zero = 0;
	churn();
	volatile int x = 7 / zero;
	(void)x;
}

static void traps(void)
{
	__builtin_trap();
}

/* ---- Limits ------------------------------------------------------------------------------------- */

static void fork_bomb(void)
{
	char *p = map(2 * MIB);
	fill(p, 2 * MIB, 8);
	for (int depth = 0; depth < 5; depth++)
		fork();
	_Bool good = is_filled(p, 0, 2 * MIB, 8);
	while (wait(NULL) > 0)
		;
	say(good ? "good\n" : "bad\n");
	_exit(0);
}

static void limited_data(void)
{
	struct rlimit limit = {64 * MIB, 64 * MIB};
	CHECK(setrlimit(RLIMIT_DATA, &limit) == 0);
	char *p = malloc(8 * MIB);
	CHECK(p != NULL);
	fill(p, 8 * MIB, 9);
	CHECK(is_filled(p, 0, 8 * MIB, 9));
}

static void limited_as(void)
{
	struct rlimit limit;
	getrlimit(RLIMIT_AS, &limit);
	CHECK(limit.rlim_cur == GIB); /* bad.sh set it */
	char *p = malloc(20 * MIB);
	CHECK(p != NULL);
	fill(p, 20 * MIB, 9);
	CHECK(is_filled(p, 0, 20 * MIB, 9));
	CHECK(malloc(2 * GIB) == NULL && errno == ENOMEM);
	CHECK(mmap(NULL, 2 * GIB, RW, ANON, -1, 0) == MAP_FAILED && errno == ENOMEM);
}

static void locks_all(void)
{
	char *p = map(MIB);
	fill(p, MIB, 10);
	CHECK(mlockall(MCL_CURRENT) == 0 || errno == ENOMEM || errno == EPERM);
	CHECK(munlockall() == 0);
	CHECK(mlockall(0) < 0 && errno == EINVAL);
	CHECK(mlockall(MCL_FUTURE) == 0);
	char *q = map(MIB);
	fill(q, MIB, 11);
	CHECK(munlockall() == 0);
	churn();
	CHECK(is_filled(p, 0, MIB, 10) && is_filled(q, 0, MIB, 11));
}

/* ---- The mmap family ----------------------------------------------------------------------------- */

static void fixed(void)
{
	char *p = map(8 * MIB), *native = mmap(NULL, MIB, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	fill(p, 8 * MIB, 12);
	fill(native, MIB, 13);
	CHECK(mmap(p + MIB, 2 * MIB, RW, ANON | MAP_FIXED, -1, 0) == p + MIB && is_zero(p + MIB, 2 * MIB));
	CHECK(mmap(p + 4 * MIB, MIB, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == p + 4 * MIB);
	fill(p + 4 * MIB, MIB, 14);
	CHECK(mmap(native + 256 * 1024, 256 * 1024, RW, ANON | MAP_FIXED, -1, 0) == native + 256 * 1024);
	CHECK(is_zero(native + 256 * 1024, 256 * 1024));
	churn();
	CHECK(is_filled(p, 0, MIB, 12) && is_filled(p, 3 * MIB, 4 * MIB, 12) &&
		is_filled(p, 5 * MIB, 8 * MIB, 12));
	CHECK(is_filled(p + 4 * MIB, 0, MIB, 14) && is_filled(native, 0, 256 * 1024, 13));
	CHECK(munmap(p, 8 * MIB) == 0 && munmap(native, MIB) == 0);
}

static void reservation(void)
{
	char *p = mmap(NULL, 64 * GIB, PROT_NONE, ANON | MAP_NORESERVE, -1, 0);
	CHECK(p != MAP_FAILED);
	for (size_t at = 0; at < 64 * GIB; at += GIB) {
		CHECK(mprotect(p + at, 256 * 1024, RW) == 0);
		fill(p + at, 256 * 1024, at);
	}
	for (size_t at = 0; at < 64 * GIB; at += GIB)
		CHECK(is_filled(p + at, 0, 256 * 1024, at));
	for (size_t at = 0; at < 64 * GIB; at += 2 * GIB) {
		CHECK(mprotect(p + at, 256 * 1024, PROT_NONE) == 0);
		CHECK(madvise(p + at, 256 * 1024, MADV_DONTNEED) == 0);
	}
	churn();
	for (size_t at = GIB; at < 64 * GIB; at += 2 * GIB)
		CHECK(is_filled(p + at, 0, 256 * 1024, at));
	CHECK(munmap(p, 64 * GIB) == 0);
	p = mmap(NULL, 16 * GIB, PROT_NONE, ANON | MAP_NORESERVE, -1, 0);
	CHECK(p != MAP_FAILED);
	p[GIB] = 1;
	say("not reached\n");
}

static void remaps(void)
{
	char *p = map(MIB);
	fill(p, MIB, 15);
	for (size_t len = MIB; len < 12 * MIB; len += MIB) {
		p = mremap(p, len, len + MIB, MREMAP_MAYMOVE);
		CHECK(p != MAP_FAILED && is_zero(p + len, MIB));
		fill(p + len, MIB, len);
	}
	for (size_t len = 12 * MIB; len > 2 * MIB; len -= MIB) {
		CHECK(is_filled(p + len - MIB, 0, MIB, len - MIB));
		CHECK(mremap(p, len, len - MIB, 0) == p);
	}
	CHECK(is_filled(p, 0, MIB, 15) && is_filled(p + MIB, 0, MIB, MIB));
	p = mremap(p, 2 * MIB, 2 * MIB, MREMAP_MAYMOVE | MREMAP_FIXED, map(2 * MIB));
	CHECK(p != MAP_FAILED && is_filled(p, 0, MIB, 15));
	CHECK(mremap(p, 0, MIB, 0) == MAP_FAILED);
	CHECK(mremap(p + 1, MIB, MIB, 0) == MAP_FAILED && errno == EINVAL);
	CHECK(mremap(p, 3 * MIB, 4 * MIB, MREMAP_MAYMOVE) == MAP_FAILED && errno == EFAULT);
	CHECK(munmap(p, 2 * MIB) == 0);
	p = mremap(p, MIB, 2 * MIB, MREMAP_MAYMOVE);
	CHECK(p == MAP_FAILED && errno == EFAULT);
}

static void advises(void)
{
	char *p = map(8 * MIB);
	for (int round = 0; round < 6; round++) {
		fill(p, 8 * MIB, round);
		CHECK(madvise(p, 2 * MIB, round & 1 ? MADV_DONTNEED : MADV_FREE) == 0);
		CHECK(madvise(p + 4 * MIB, MIB, MADV_DONTNEED) == 0 && is_zero(p + 4 * MIB, MIB));
		fill(p, MIB, round + 50); /* a write after FREE keeps */
		churn();
		CHECK(is_filled(p, 0, MIB, round + 50) && is_filled(p, 2 * MIB, 4 * MIB, round));
		for (size_t at = MIB; at < 2 * MIB; at += PAGE)
			CHECK(is_zero(p + at, PAGE) || is_filled(p, at, at + PAGE, round));
	}
	CHECK(madvise(p, MIB, 4711) < 0 && errno == EINVAL);
	void *blocks[200];
	for (int i = 0; i < 2000; i++) {
		if (i >= 200)
			free(blocks[i % 200]);
		blocks[i % 200] = malloc(1000 + (size_t)i * 37 % 90000);
		memset(blocks[i % 200], i, 1000);
	}
}

static void many_maps(void)
{
	char *p[3000];
	for (int i = 0; i < 3000; i++) {
		p[i] = mmap(NULL, 2 * PAGE, RW, ANON, -1, 0);
		CHECK(p[i] != MAP_FAILED);
		p[i][0] = (char)i;
		mprotect(p[i] + PAGE, PAGE, PROT_NONE);
	}
	for (int i = 0; i < 3000; i += 2)
		munmap(p[i], 2 * PAGE);
	churn();
	for (int i = 1; i < 3000; i += 2)
		CHECK(p[i][0] == (char)i);
}

/* ---- Privileges ---------------------------------------------------------------------------------- */

static void *drop_in_thread(void *arg)
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2] = {{0}};
	char *p = map(8 * MIB);
	CHECK(syscall(SYS_capset, &header, data) == 0);
	CHECK(syscall(SYS_setresgid, 65534, 65534, 65534) != 4711);
	CHECK(syscall(SYS_setresuid, 65534, 65534, 65534) != 4711);
	fill(p, 8 * MIB, 16);
	churn();
	CHECK(is_filled(p, 0, 8 * MIB, 16));
	free(malloc(MIB));
	pid_t child = fork();
	if (!child) {
		churn();
		_exit(!is_filled(p, 0, 8 * MIB, 16));
	}
	int status;
	CHECK(waitpid(child, &status, 0) == child && status == 0);
	return arg;
}

static void thread_drops(void)
{
	pthread_t thread;
	pthread_create(&thread, NULL, drop_in_thread, NULL);
	churn();
	pthread_join(thread, NULL);
	churn();
}

static void process_drops(void)
{
	char *p = map(8 * MIB);
	fill(p, 8 * MIB, 17);
	if (setgid(65534) || setuid(65534))
		CHECK(geteuid() != 0);
	churn();
	CHECK(is_filled(p, 0, 8 * MIB, 17));
	for (int i = 0; i < 2; i++) {
		pid_t child = fork();
		if (!child) {
			fill(p, 8 * MIB, 18);
			churn();
			_exit(!is_filled(p, 0, 8 * MIB, 18));
		}
		int status;
		CHECK(waitpid(child, &status, 0) == child && status == 0);
	}
	CHECK(is_filled(p, 0, 8 * MIB, 17));
	pthread_t thread;
	CHECK(pthread_create(&thread, NULL, drop_in_thread, NULL) == 0);
	pthread_join(thread, NULL);
}

static void not_dumpable(void)
{
	char *p = map(8 * MIB);
	fill(p, 8 * MIB, 19);
	CHECK(prctl(PR_SET_DUMPABLE, 0) == 0);
	churn();
	CHECK(is_filled(p, 0, 8 * MIB, 19));
	pid_t child = fork();
	if (!child) {
		churn();
		_exit(!is_filled(p, 0, 8 * MIB, 19));
	}
	int status;
	CHECK(waitpid(child, &status, 0) == child && status == 0);
	CHECK(prctl(PR_GET_DUMPABLE) == 0);
}

static void plain(void)
{
	char *p = map(8 * MIB);
	fill(p, 8 * MIB, 20);
	churn();
	CHECK(is_filled(p, 0, 8 * MIB, 20));
	say("done\n");
}

static const struct {
	const char *name;
	void (*run)(void);
} cases[] = {
	{"closes-all", closes_all},
	{"closes-range", closes_range},
	{"no-descriptors", no_descriptors},
	{"unmaps-others", unmaps_others},
	{"null-read", null_read},
	{"null-call", null_call},
	{"writes-read-only", writes_read_only},
	{"writes-constant", writes_constant},
	{"uses-freed", uses_freed},
	{"guard-page", guard_page},
	{"beyond-file", beyond_file},
	{"recursion", recursion},
	{"thread-recursion", thread_recursion},
	{"recursion-handled", recursion_handled},
	{"aborts", double_free},
	{"kills-itself", kills_itself},
	{"divides", divides},
	{"large-stacks", large_stacks},
	{"sent-signals", sent_signals},
	{"host-says-again", host_says_again},
	{"traps", traps},
	{"fork-bomb", fork_bomb},
	{"limited-data", limited_data},
	{"limited-as", limited_as},
	{"locks-all", locks_all},
	{"fixed", fixed},
	{"reservation", reservation},
	{"remaps", remaps},
	{"advises", advises},
	{"many-maps", many_maps},
	{"thread-drops", thread_drops},
	{"process-drops", process_drops},
	{"not-dumpable", not_dumpable},
	{"plain", plain},
};

int main(int argc, char **argv)
{
	for (size_t i = 0; i < COUNT(cases); i++) {
		if (argc < 2)
			puts(cases[i].name);
		else if (!strcmp(argv[1], cases[i].name))
			cases[i].run();
	}
	return 0;
}

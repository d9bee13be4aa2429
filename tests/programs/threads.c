/* SPDX-License-Identifier: MIT */
/*
 * Threads and signals in programs whose memory goes out and comes back: `threads NAME` is one case, `threads` lists
 * them. What each prints, and its exit status, must be the same natively and managed; threads.sh compares.
 */
#define _GNU_SOURCE
#include "cases.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/time.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

/* ---- Many threads --------------------------------------------------------------------------------- */

static void *reader(void *arg)
{
	uint64_t *own = malloc(60000);
	for (int i = 0; i < 7500; i += 100)
		own[i] = (uintptr_t)arg;
	read_area((unsigned)(uintptr_t)arg, 30);
	for (int i = 0; i < 7500; i += 100)
		if (own[i] != (uintptr_t)arg)
			wrong++;
	free(own);
	return arg;
}

static int hundreds(void)
{
	pthread_t thread[200];
	make_area();
	for (int round = 0; round < 2; round++) {
		for (uintptr_t i = 0; i < 200; i++)
			EXPECT(pthread_create(&thread[i], NULL, reader, (void *)i) == 0);
		for (uintptr_t i = 0; i < 200; i++) {
			void *result;
			EXPECT(pthread_join(thread[i], &result) == 0 && result == (void *)i);
		}
	}
	return finish("all joined");
}

/* Threads that exit in every way while others fault; and the process ends while many of them fault. */
static void *leaver(void *arg)
{
	read_area((unsigned)(uintptr_t)arg, 20);
	if ((uintptr_t)arg % 3 == 0)
		pthread_exit(arg);
	return arg;
}

static void *for_ever(void *arg)
{
	for (unsigned i = 0;; i++)
		read_area((unsigned)(uintptr_t)arg + i, 10);
	return NULL;
}

static int exits(void)
{
	pthread_t thread;
	pthread_attr_t detached;
	make_area();
	pthread_attr_init(&detached);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	for (uintptr_t i = 0; i < 200; i++)
		EXPECT(pthread_create(&thread, &detached, leaver, (void *)i) == 0);
	for (uintptr_t i = 0; i < 40; i++)
		EXPECT(pthread_create(&thread, NULL, for_ever, (void *)i) == 0);
	read_area(5, 1000);
	return finish("at the end");
}

/* ---- Cancellation --------------------------------------------------------------------------------- */

static _Atomic int cleaned;

static void clean(void *arg)
{
	(void)arg;
	cleaned++;
}

static void *cancelled_async(void *arg)
{
	int old;
	pthread_cleanup_push(clean, NULL);
	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &old);
	for_ever(arg);
	pthread_cleanup_pop(0);
	return NULL;
}

/* mmap and its like are no cancellation points, but asynchronous cancellation may hit them anywhere. */
static void *cancelled_in_mmap(void *arg)
{
	int old;
	pthread_cleanup_push(clean, NULL);
	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &old);
	for (;;) {
		char *p = mmap(NULL, 64 * PAGE, RW, ANON, -1, 0);
		for (int i = 0; i < 64; i++)
			p[i * PAGE] = 1;
		mprotect(p, PAGE, PROT_READ);
		munmap(p, 64 * PAGE);
	}
	pthread_cleanup_pop(0);
	return arg;
}

static void *cancelled_deferred(void *arg)
{
	pthread_cleanup_push(clean, NULL);
	for (unsigned i = 0;; i++) {
		read_area((unsigned)(uintptr_t)arg + i, 10);
		pthread_testcancel();
		if (i % 8 == 0)
			usleep(10);
	}
	pthread_cleanup_pop(0);
	return NULL;
}

static int cancels_with(void *(*start)(void *))
{
	make_area();
	for (int round = 0; round < 6; round++) {
		pthread_t thread[20];
		for (uintptr_t i = 0; i < 20; i++)
			EXPECT(pthread_create(&thread[i], NULL, start, (void *)i) == 0);
		read_area((unsigned)round, 300);
		usleep(3000 * (round % 3));
		for (int i = 0; i < 20; i++)
			EXPECT(pthread_cancel(thread[i]) == 0);
		for (int i = 0; i < 20; i++) {
			void *result;
			EXPECT(pthread_join(thread[i], &result) == 0 && result == PTHREAD_CANCELED);
		}
		free(malloc(MIB));
		read_area((unsigned)round, 300);
	}
	EXPECT(cleaned == 120);
	return finish("cancelled");
}

static int cancels_async(void)
{
	return cancels_with(cancelled_async);
}

static int cancels_in_mmap(void)
{
	return cancels_with(cancelled_in_mmap);
}

static int cancels_deferred(void)
{
	return cancels_with(cancelled_deferred);
}

/* ---- Handlers ------------------------------------------------------------------------------------- */

static _Atomic long ticks;

static void on_tick(int sig)
{
	int saved = errno;
	(void)sig;
	read_area((unsigned)ticks, 3);
	ticks++;
	errno = saved;
}

static void *sampled(void *arg)
{
	stack_t stack = {.ss_sp = malloc(65536), .ss_size = 65536};
	EXPECT(sigaltstack(&stack, NULL) == 0);
	while (ticks < 300)
		reader(arg);
	stack.ss_flags = SS_DISABLE;
	EXPECT(sigaltstack(&stack, NULL) == 0);
	return NULL;
}

static void run_sampled(void)
{
	pthread_t thread[8];
	for (uintptr_t i = 0; i < 8; i++)
		EXPECT(pthread_create(&thread[i], NULL, sampled, (void *)i) == 0);
	for (int i = 0; i < 8; i++)
		pthread_join(thread[i], NULL);
}

/* SIGPROF a thousand times a second of CPU time. */
static int profiled(void)
{
	struct sigaction action = {.sa_handler = on_tick, .sa_flags = SA_RESTART | SA_ONSTACK};
	struct itimerval timer = {{0, 1000}, {0, 1000}}, off = {{0, 0}, {0, 0}};
	make_area();
	sigaction(SIGPROF, &action, NULL);
	EXPECT(setitimer(ITIMER_PROF, &timer, NULL) == 0);
	run_sampled();
	setitimer(ITIMER_PROF, &off, NULL);
	return finish("profiled");
}

static int timed(void)
{
	struct sigaction action = {.sa_handler = on_tick, .sa_flags = SA_RESTART};
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 2};
	struct itimerspec at = {{0, 1000000}, {0, 1000000}};
	timer_t timer;
	make_area();
	sigaction(SIGRTMIN + 2, &action, NULL);
	EXPECT(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
	EXPECT(timer_settime(timer, 0, &at, NULL) == 0);
	run_sampled();
	timer_delete(timer);
	return finish("timed");
}

/* ---- Faults of the program's own ------------------------------------------------------------------ */

static sigjmp_buf back;
static volatile int last_signal;
static void *volatile last_addr;

static void on_fault(int sig, siginfo_t *info, void *context)
{
	(void)context;
	last_signal = sig;
	last_addr = info->si_addr;
	read_area(7, 5);
	siglongjmp(back, 1);
}

#define FAULTS(expression, sig, addr)                                                                        \
	do {                                                                                                 \
		last_signal = 0;                                                                             \
		if (sigsetjmp(back, 1) == 0) {                                                               \
			expression;                                                                          \
			EXPECT(!"reached");                                                                  \
		} else {                                                                                     \
			EXPECT(last_signal == (sig));                                                        \
			EXPECT(last_addr == (void *)(addr));                                                 \
		}                                                                                            \
	} while (0)

static void own_faults(unsigned flags)
{
	struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | flags}, was;
	char *p = map(64 * PAGE), *file, name[] = "/tmp/threads-XXXXXX";
	int fd = mkstemp(name);

	unlink(name);
	EXPECT(ftruncate(fd, PAGE) == 0);
	file = mmap(NULL, 4 * PAGE, RW, MAP_SHARED, fd, 0);
	EXPECT(sigaction(SIGSEGV, &action, NULL) == 0 && sigaction(SIGBUS, &action, NULL) == 0);
	EXPECT(sigaction(SIGSEGV, NULL, &was) == 0 && was.sa_sigaction == on_fault);
	for (int round = 0; round < 20; round++) {
		memset(p, round, 64 * PAGE);
		mprotect(p + 4 * PAGE, PAGE, PROT_READ);
		mprotect(p + 8 * PAGE, PAGE, PROT_NONE);
		read_area((unsigned)round, 1500);
		FAULTS(*(volatile int *)0, SIGSEGV, 0);
		FAULTS(*(volatile char *)(p + 4 * PAGE + 5) = 1, SIGSEGV, p + 4 * PAGE + 5);
		FAULTS(*(volatile char *)(p + 8 * PAGE + 6), SIGSEGV, p + 8 * PAGE + 6);
		FAULTS(*(volatile char *)(file + 2 * PAGE), SIGBUS, file + 2 * PAGE);
		EXPECT(p[4 * PAGE + 5] == round);
		mprotect(p, 64 * PAGE, RW);
		EXPECT(p[8 * PAGE + 6] == round);
	}
	munmap(p, 64 * PAGE);
	close(fd);
}

static int handles_faults(void)
{
	make_area();
	own_faults(0);
	return finish("handled");
}

static int handles_on_stack(void)
{
	stack_t stack = {.ss_sp = malloc(65536), .ss_size = 65536};
	sigaltstack(&stack, NULL);
	make_area();
	own_faults(SA_ONSTACK);
	return finish("handled");
}

/* A garbage collector's write barrier: the handler makes the page writable, and the store is tried again. */
static char *heap;
static _Atomic int barriers;

static void on_barrier(int sig, siginfo_t *info, void *context)
{
	(void)sig, (void)context;
	barriers++;
	mprotect((void *)((uintptr_t)info->si_addr & ~(PAGE - 1)), PAGE, RW);
}

static int write_barrier(void)
{
	struct sigaction action = {.sa_sigaction = on_barrier, .sa_flags = SA_SIGINFO | SA_NODEFER};
	make_area();
	heap = map(256 * PAGE);
	sigaction(SIGSEGV, &action, NULL);
	for (int round = 0; round < 5; round++) {
		mprotect(heap, 256 * PAGE, PROT_READ);
		read_area((unsigned)round, 2000);
		for (int i = 0; i < 256; i++)
			heap[i * PAGE] = (char)(i + round);
		read_area((unsigned)round, 2000);
		for (int i = 0; i < 256; i++)
			EXPECT(heap[i * PAGE] == (char)(i + round));
	}
	EXPECT(barriers == 5 * 256);
	return finish("barriers");
}

static void *blocks_all(void *arg)
{
	sigset_t all, now;
	memset(&all, 0xff, sizeof(all));
	if ((uintptr_t)arg % 2)
		sigfillset(&all);
	EXPECT(pthread_sigmask(SIG_SETMASK, &all, NULL) == 0);
	for (int i = 0; i < 5; i++) {
		reader(arg);
		EXPECT(pthread_sigmask(SIG_BLOCK, NULL, &now) == 0);
		EXPECT(sigismember(&now, SIGBUS) && sigismember(&now, SIGSEGV) && sigismember(&now, SIGUSR1));
	}
	return NULL;
}

static int blocked(void)
{
	pthread_t thread[20];
	make_area();
	for (uintptr_t i = 0; i < 20; i++)
		EXPECT(pthread_create(&thread[i], NULL, blocks_all, (void *)i) == 0);
	for (int i = 0; i < 20; i++)
		pthread_join(thread[i], NULL);
	return finish("blocked");
}

static void on_jump(int sig)
{
	(void)sig;
	read_area((unsigned)ticks++, 3);
	siglongjmp(back, 1);
}

/* Out of a handler again and again, wherever it hit. */
static int jumps(void)
{
	struct sigaction action = {.sa_handler = on_jump};
	struct itimerval timer = {{0, 700}, {0, 700}}, off = {{0, 0}, {0, 0}};
	char *p = map(MIB);
	make_area();
	sigaction(SIGALRM, &action, NULL);
	sigsetjmp(back, 1);
	setitimer(ITIMER_REAL, ticks < 300 ? &timer : &off, NULL);
	mprotect(p, PAGE, RW); /* the jump may have come between the two below */
	while (ticks < 300) {
		read_area((unsigned)ticks, 50);
		madvise(p, 16 * PAGE, MADV_DONTNEED);
		memset(p, 1, 64 * PAGE);
		mprotect(p, PAGE, PROT_READ);
		mprotect(p, PAGE, RW);
	}
	read_area(3, 2000);
	return finish("jumped");
}

/* ---- Coroutines ----------------------------------------------------------------------------------- */

#define COROUTINES 200

static ucontext_t outside, inside[COROUTINES];

static void coroutine(int n)
{
	char here[3000];
	for (int round = 0; round < 5; round++) {
		memset(here, n + round, sizeof(here));
		swapcontext(&inside[n], &outside);
		for (size_t i = 0; i < sizeof(here); i++)
			if (here[i] != (char)(n + round))
				wrong++;
	}
}

static int coroutines(void)
{
	if (!area)
		make_area();
	for (int n = 0; n < COROUTINES; n++) {
		getcontext(&inside[n]);
		inside[n].uc_stack.ss_sp = malloc(65536);
		inside[n].uc_stack.ss_size = 65536;
		inside[n].uc_link = &outside;
		makecontext(&inside[n], (void (*)(void))coroutine, 1, n);
	}
	for (int round = 0; round < 6; round++)
		for (int n = 0; n < COROUTINES; n++) {
			swapcontext(&outside, &inside[n]);
			if (n % 10 == 0)
				read_area((unsigned)n, 100);
		}
	return finish("switched");
}

static int coroutines_timed(void)
{
	struct sigaction action = {.sa_handler = on_tick, .sa_flags = SA_RESTART | SA_ONSTACK};
	struct itimerval timer = {{0, 1000}, {0, 1000}}, off = {{0, 0}, {0, 0}};
	stack_t stack = {.ss_sp = malloc(65536), .ss_size = 65536};
	make_area();
	sigaltstack(&stack, NULL);
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
	int status = coroutines();
	setitimer(ITIMER_REAL, &off, NULL);
	EXPECT(ticks > 0);
	return status;
}

/* ---- Waiting for signals -------------------------------------------------------------------------- */

static void *waits(void *arg)
{
	sigset_t set;
	int sig;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGQUIT);
	for (int i = 0; i < 20; i++)
		EXPECT(sigwait(&set, &sig) == 0 && (sig == SIGUSR1 || sig == SIGQUIT));
	return arg;
}

static int waited(void)
{
	pthread_t thread;
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGQUIT);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	make_area();
	pthread_create(&thread, NULL, waits, NULL);
	for (int i = 0; pthread_tryjoin_np(thread, NULL); i++) {
		kill(getpid(), i % 2 ? SIGUSR1 : SIGQUIT);
		read_area((unsigned)i, 20);
	}
	return finish("waited");
}

/* What a program sees of the signals that we look after. */
static int seen(void)
{
	static const int sigs[] = {
		SIGQUIT, SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGSYS, SIGXCPU, SIGXFSZ};
	make_area();
	for (size_t i = 0; i < sizeof(sigs) / sizeof(sigs[0]); i++) {
		struct sigaction action = {.sa_handler = on_tick, .sa_flags = SA_NODEFER}, old;
		sigset_t set;
		EXPECT(sigaction(sigs[i], NULL, &old) == 0 && old.sa_handler == SIG_DFL);
		EXPECT(!(old.sa_flags & (SA_SIGINFO | SA_ONSTACK | SA_NODEFER)));
		EXPECT(signal(sigs[i], SIG_IGN) == SIG_DFL);
		EXPECT(signal(sigs[i], SIG_DFL) == SIG_IGN);
		EXPECT(sigaction(sigs[i], &action, &old) == 0 && old.sa_handler == SIG_DFL);
		EXPECT(sigaction(sigs[i], NULL, &old) == 0 && old.sa_handler == on_tick &&
			old.sa_flags & SA_NODEFER);
		long before = ticks;
		raise(sigs[i]);
		EXPECT(ticks == before + 1);
		EXPECT(signal(sigs[i], SIG_DFL) == on_tick);
		EXPECT(signal(sigs[i], SIG_DFL) == SIG_DFL);
		sigemptyset(&set);
		sigaddset(&set, sigs[i]);
		action.sa_flags = (int)SA_RESETHAND;
		sigaction(sigs[i], &action, NULL);
		raise(sigs[i]);
		EXPECT(sigaction(sigs[i], NULL, &old) == 0 && old.sa_handler == SIG_DFL);
	}
	return finish("seen");
}

static const struct one_case cases[] = {
	{"hundreds", hundreds},
	{"exits", exits},
	{"cancels-async", cancels_async},
	{"cancels-in-mmap", cancels_in_mmap},
	{"cancels-deferred", cancels_deferred},
	{"profiled", profiled},
	{"timed", timed},
	{"handles-faults", handles_faults},
	{"handles-on-stack", handles_on_stack},
	{"write-barrier", write_barrier},
	{"blocked", blocked},
	{"jumps", jumps},
	{"coroutines", coroutines},
	{"coroutines-timed", coroutines_timed},
	{"waited", waited},
	{"seen", seen},
};

int main(int argc, char **argv)
{
	return run_cases(cases, COUNT(cases), argc, argv);
}

#!/bin/sh
# SPDX-License-Identifier: MIT
# The corners of the mmap family, of fork and of stacks, from a program that knows nothing of anonmm; natively
# and managed, with enough pages around to keep reclaim busy.
. "$(dirname "$0")/../common.sh"
need gcc

cat >"$work/program.c" <<'C'
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#define PAGE 4096UL
#define MIB  (1UL << 20)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)
#define RW   (PROT_READ | PROT_WRITE)

static int failed;

#define CHECK(what)                                                                         \
	do {                                                                                \
		if (!(what)) {                                                              \
			printf("line %d: not %s (errno %s)\n", __LINE__, #what, strerror(errno)); \
			failed = 1;                                                         \
		}                                                                           \
	} while (0)

static char *map(size_t len)
{
	char *p = mmap(NULL, len, RW, ANON, -1, 0);
	CHECK(p != MAP_FAILED);
	return p;
}

static void fill(char *p, size_t len, uint64_t seed)
{
	for (size_t i = 0; i < len; i += 64)
		*(uint64_t *)(p + i) = seed * 1000003 + i;
}

static int is_filled(const char *p, size_t from, size_t to, uint64_t seed)
{
	for (size_t i = from; i < to; i += 64)
		if (*(const uint64_t *)(p + i) != seed * 1000003 + i)
			return 0;
	return 1;
}

static int is_zero(const char *p, size_t len)
{
	for (size_t i = 0; i < len; i += 64)
		if (*(const uint64_t *)(p + i))
			return 0;
	return 1;
}

/* More than the limit: whatever lies around is swapped out. */
static void churn(void)
{
	char *p = map(24 * MIB);
	fill(p, 24 * MIB, 99);
	CHECK(is_filled(p, 0, 24 * MIB, 99));
	CHECK(munmap(p, 24 * MIB) == 0);
}

static void test_ranges(void)
{
	char *p = map(8 * MIB);
	unsigned char in[4];

	fill(p, 8 * MIB, 1);
	CHECK(munmap(p + 2 * MIB, MIB) == 0);
	churn();
	CHECK(is_filled(p, 0, 2 * MIB, 1) && is_filled(p, 3 * MIB, 8 * MIB, 1));
	errno = 0;
	CHECK(mprotect(p, 8 * MIB, PROT_READ) == -1 && errno == ENOMEM); /* a hole */
	CHECK(mprotect(p, 2 * MIB, PROT_READ) == 0 && is_filled(p, 0, 2 * MIB, 1));
	CHECK(mprotect(p, 2 * MIB, RW) == 0);
	CHECK(mprotect(p + 3 * MIB, 5 * MIB, RW) == 0);
	fill(p, 2 * MIB, 2);
	CHECK(madvise(p, MIB, MADV_DONTNEED) == 0 && is_zero(p, MIB) && is_filled(p, MIB, 2 * MIB, 2));
	CHECK(madvise(p + 1, MIB, MADV_DONTNEED) == -1 && errno == EINVAL);
	CHECK(madvise(p + 2 * MIB, MIB, MADV_DONTNEED) == -1 && errno == ENOMEM);
	CHECK(mlock(p + 5, 100 * PAGE) == 0 && mincore(p, 4 * PAGE, in) == 0 && in[0] & in[3] & 1);
	CHECK(munlock(p + 5, 100 * PAGE) == 0);
	CHECK(mincore(p + 2 * MIB, PAGE, in) == -1 && errno == ENOMEM);
	CHECK(msync(p, 2 * MIB, MS_SYNC) == 0);
	CHECK(munmap(p, 0) == -1 && errno == EINVAL);
	CHECK(munmap(p, 8 * MIB) == 0);
}

static void test_mremap(void)
{
	char *p = map(4 * MIB), *guard = map(PAGE), *q;

	fill(p, 4 * MIB, 3);
	churn();
	q = mremap(p, 4 * MIB, 12 * MIB, MREMAP_MAYMOVE);
	CHECK(q != MAP_FAILED && is_filled(q, 0, 4 * MIB, 3) && is_zero(q + 4 * MIB, 8 * MIB));
	q = mremap(q, 12 * MIB, 3 * MIB, 0);
	CHECK(q != MAP_FAILED && is_filled(q, 0, 3 * MIB, 3));
	p = map(8 * MIB);
	CHECK(mremap(q, 3 * MIB, 3 * MIB, MREMAP_MAYMOVE | MREMAP_FIXED, p + MIB) == p + MIB);
	CHECK(is_filled(p + MIB, 0, 3 * MIB, 3) && is_zero(p, MIB) && is_zero(p + 4 * MIB, 4 * MIB));
	munmap(p, 8 * MIB);
	munmap(guard, PAGE);
}

/* A reservation, with files and memory put over it at fixed addresses. */
static void test_fixed(void)
{
	char *base = mmap(NULL, 64 * MIB, PROT_NONE, ANON | MAP_NORESERVE, -1, 0);
	char name[] = "fileXXXXXX", text[MIB];
	int fd = mkstemp(name);

	unlink(name);
	CHECK(base != MAP_FAILED && fd >= 0);
	memset(text, 'f', MIB);
	CHECK(write(fd, text, MIB) == (ssize_t)MIB);
	for (int round = 0; round < 3; round++) {
		CHECK(mmap(base + MIB, 4 * MIB, RW, ANON | MAP_FIXED, -1, 0) == base + MIB);
		fill(base + MIB, 4 * MIB, 4 + round);
		CHECK(mmap(base + 2 * MIB, MIB, RW, MAP_SHARED | MAP_FIXED, fd, 0) == base + 2 * MIB);
		churn();
		CHECK(base[2 * MIB + 77] == 'f' && is_filled(base + MIB, 0, MIB, 4 + round) && is_filled(base + MIB, 2 * MIB, 4 * MIB, 4 + round));
		CHECK(mmap(base + MIB, PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED && errno == EEXIST);
		pid_t child = fork();
		if (!child)
			_exit(!(base[2 * MIB] == 'f' && is_filled(base + MIB, 2 * MIB, 4 * MIB, 4 + round)));
		int status;
		CHECK(waitpid(child, &status, 0) == child && status == 0);
		if (round == 0)
			CHECK(munmap(base + 2 * MIB, MIB) == 0);
		/* Memory again where the file was: zeros, and as good as any. */
		CHECK(mmap(base + MIB, 3 * MIB, RW, ANON | MAP_FIXED, -1, 0) == base + MIB);
		CHECK(is_zero(base + MIB, 3 * MIB));
		fill(base + MIB, 3 * MIB, 50 + round);
		churn();
		CHECK(is_filled(base + MIB, 0, 3 * MIB, 50 + round));
		CHECK(munmap(base, 8 * MIB) == 0);
		CHECK(mmap(base, 8 * MIB, PROT_NONE, ANON | MAP_NORESERVE | MAP_FIXED, -1, 0) == base);
	}
	munmap(base, 64 * MIB);
	close(fd);
}

static void test_code(void)
{
#ifdef __x86_64__
	static const unsigned char code[] = {0xb8, 42, 0, 0, 0, 0xc3}; /* mov eax, 42; ret */
	char *p = map(PAGE), *q = mmap(NULL, PAGE, RW | PROT_EXEC, ANON, -1, 0);

	memcpy(p, code, sizeof(code));
	CHECK(mprotect(p, PAGE, PROT_READ | PROT_EXEC) == 0);
	churn();
	CHECK(((int (*)(void))p)() == 42);
	CHECK(q != MAP_FAILED);
	memcpy(q, code, sizeof(code));
	CHECK(((int (*)(void))q)() == 42);
	munmap(p, PAGE);
	munmap(q, PAGE);
#endif
}

static ucontext_t outside, inside;

/* On a stack that is managed memory: everything must work there too. */
static void coroutine(void)
{
	char deep[40000];
	void *blocks[200];

	memset(deep, 'd', sizeof(deep));
	for (int i = 0; i < 200; i++)
		blocks[i] = calloc(1, 60000);
	churn();
	swapcontext(&inside, &outside);
	churn();
	pid_t child = fork();
	if (!child)
		_exit(deep[100] == 'd' && deep[39999] == 'd' ? 0 : 1);
	int status;
	CHECK(waitpid(child, &status, 0) == child && status == 0);
	child = vfork();
	if (!child)
		execlp("true", "true", NULL);
	CHECK(waitpid(child, &status, 0) == child && status == 0);
	CHECK(deep[0] == 'd' && deep[20000] == 'd');
	for (int i = 0; i < 200; i++)
		free(blocks[i]);
}

static void test_coroutine(void)
{
	size_t bytes = 256 * 1024;
	char *stack = malloc(bytes);

	getcontext(&inside);
	inside.uc_stack.ss_sp = stack;
	inside.uc_stack.ss_size = bytes;
	inside.uc_link = &outside;
	makecontext(&inside, coroutine, 0);
	swapcontext(&outside, &inside);
	churn();
	swapcontext(&outside, &inside);
	free(stack);
}

static void *on_managed_stack(void *arg)
{
	char here[100000];

	memset(here, 't', sizeof(here));
	churn();
	free(malloc(5 * MIB));
	errno = 0;
	CHECK(munmap((char *)arg + 1, 1) == -1 && errno == EINVAL);
	return here[99999] == 't' ? arg : NULL;
}

static void test_thread_stack(void)
{
	size_t bytes = MIB;
	char *stack = map(bytes);
	pthread_attr_t attr;
	pthread_t thread;
	void *result;

	pthread_attr_init(&attr);
	CHECK(pthread_attr_setstack(&attr, stack, bytes) == 0);
	CHECK(pthread_create(&thread, &attr, on_managed_stack, stack) == 0);
	churn();
	CHECK(pthread_join(thread, &result) == 0 && result == stack);
	munmap(stack, bytes);
}

static void test_fork_tree(void)
{
	char *p = map(6 * MIB);

	fill(p, 6 * MIB, 7);
	churn();
	for (int i = 0; i < 4; i++) {
		pid_t child = fork();
		if (child)
			continue;
		if (!is_filled(p, 0, 6 * MIB, 7))
			_exit(1);
		fill(p, 3 * MIB, 8 + i);
		churn();
		pid_t deeper = fork();
		if (!deeper) {
			churn();
			_exit(!(is_filled(p, 0, 3 * MIB, 8 + i) && is_filled(p, 3 * MIB, 6 * MIB, 7)));
		}
		int status;
		fill(p, 6 * MIB, 20);
		if (waitpid(deeper, &status, 0) != deeper || status)
			_exit(2);
		_exit(!is_filled(p, 0, 6 * MIB, 20));
	}
	fill(p, MIB, 30);
	churn();
	for (int i = 0; i < 4; i++) {
		int status;
		CHECK(wait(&status) > 0 && status == 0);
	}
	CHECK(is_filled(p, 0, MIB, 30) && is_filled(p, MIB, 6 * MIB, 7));
	munmap(p, 6 * MIB);
}

static void test_spawn(void)
{
	char *argv[] = {"sh", "-c", "test -z \"$HOME\"", NULL}, *env[] = {NULL};
	pid_t child;
	int status;

	CHECK(posix_spawnp(&child, "sh", NULL, NULL, argv, env) == 0);
	CHECK(waitpid(child, &status, 0) == child && status == 0);
	CHECK(system("exit 3") == 3 << 8);
	FILE *pipe = popen("echo from a pipe", "r");
	char line[64] = "";
	CHECK(pipe && fgets(line, sizeof(line), pipe) && !strcmp(line, "from a pipe\n") && pclose(pipe) == 0);
}

static void test_malloc(void)
{
	void *p;

	CHECK(malloc(1UL << 60) == NULL && errno == ENOMEM);
	CHECK(malloc(-1) == NULL && calloc(1UL << 40, 1UL << 40) == NULL);
	CHECK(posix_memalign(&p, 1 << 21, 5000000) == 0 && (uintptr_t)p % (1 << 21) == 0);
	fill(p, 5000000, 9);
	p = realloc(p, 9000000);
	CHECK(p && is_filled(p, 0, 4900000, 9));
	p = realloc(p, 100);
	CHECK(p && is_filled(p, 0, 64, 9) && malloc_usable_size(p) >= 100);
	free(p);
	char *copy = strdup("copy"), *line = NULL;
	CHECK(copy && !strcmp(copy, "copy"));
	CHECK(asprintf(&line, "%s %d", copy, 7) == 6 && (line = realloc(line, 1000000)) && !strcmp(line, "copy 7"));
	free(line);
	free(copy);
}

int main(void)
{
	struct { const char *name; void (*run)(void); } tests[] = {
		{"ranges", test_ranges}, {"mremap", test_mremap}, {"fixed", test_fixed}, {"code", test_code},
		{"coroutine", test_coroutine}, {"thread stack", test_thread_stack}, {"fork tree", test_fork_tree},
		{"spawn", test_spawn}, {"malloc", test_malloc},
	};

	for (unsigned i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		failed = 0;
		tests[i].run();
		printf("%s: %s\n", tests[i].name, failed ? "failed" : "good");
		fflush(stdout);
	}
	return 0;
}
C
sed -i 's/^#include <errno.h>/#include <errno.h>\n#include <malloc.h>/' "$work/program.c"
compiles -O1 -pthread -o "$work/program" "$work/program.c"
cd "$work" || exit 1
"$work/program" >"$work/expected" || fail "natively: $?"
grep -q failed "$work/expected" && fail "natively: $(cat "$work/expected")"
for mode in thread signal; do
	managed 16M $mode "$work/program" >"$work/out" || fail "$mode: exit status $?"
	same $mode "$work/expected" "$work/out" || cat "$work/out"
	grep -v good "$work/out"
	must_have_swapped $mode
done
finish

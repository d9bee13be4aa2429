/* SPDX-License-Identifier: MIT */
/* A real process that does a script's operations; see worker.h. */
#define _GNU_SOURCE
#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static sigjmp_buf back;

static void caught(int number)
{
	siglongjmp(back, number);
}

static void *pointer(uint64_t addr)
{
	return (void *)(uintptr_t)addr;
}

static int result_of(long result)
{
	return result < 0 ? -errno : 0;
}

/* Mapped small, and without readahead: the page alone. */
static int do_map(const struct request *r)
{
	bool shared = r->arg == REGION_SHARED, anon = shared || r->arg == REGION_ANON;
	int flags = MAP_FIXED_NOREPLACE | MAP_NORESERVE | (anon ? MAP_ANONYMOUS : 0);
	int fd = anon ? -1 : open(r->file, O_RDWR | O_CLOEXEC);

	if (!anon && fd < 0)
		return -errno;
	flags |= shared ? MAP_SHARED : MAP_PRIVATE;
	void *got = mmap(pointer(r->addr), r->len, PROT_READ | PROT_WRITE, flags, fd, 0);
	int error = got == MAP_FAILED ? -errno : 0;

	if (fd >= 0)
		close(fd);
	if (!error && (madvise(got, r->len, MADV_NOHUGEPAGE) || madvise(got, r->len, MADV_RANDOM)))
		error = -errno;
	return error;
}

/* The address belongs to the script: nothing instruments this access. */
__attribute__((no_sanitize("address", "undefined"))) static struct reply do_access(const struct request *r)
{
	volatile uint64_t *at = pointer(r->addr);
	struct reply reply = {0};

	reply.signal = sigsetjmp(back, 1);
	if (reply.signal)
		return reply;
	if (r->arg)
		*at = r->value;
	else
		reply.value = *at;
	return reply;
}

static struct reply do_fork(unsigned *number, const struct request *r)
{
	pid_t pid = fork();
	struct reply reply = {.error = result_of(pid), .value = (uint64_t)pid};

	if (pid == 0)
		*number = (unsigned)r->value;
	return reply;
}

static struct reply do_mincore(const struct request *r)
{
	unsigned char resident = 0;
	int error = result_of(mincore(pointer(r->addr), r->len, &resident));

	return (struct reply){.error = error, .value = resident & 1};
}

static int do_move(const struct request *r)
{
	void *got =
		mremap(pointer(r->addr), r->len, r->len, MREMAP_MAYMOVE | MREMAP_FIXED, pointer(r->value));

	return got == MAP_FAILED ? -errno : 0;
}

static int do_call(const struct request *r)
{
	switch (r->task) {
	case TASK_MAP:
		return do_map(r);
	case TASK_MADVISE:
		return result_of(madvise(pointer(r->addr), r->len, r->arg));
	case TASK_LOCK:
		return result_of(
			syscall(SYS_mlock, r->addr, r->len)); /* sanitizers make mlock() do nothing */
	case TASK_UNLOCK:
		return result_of(syscall(SYS_munlock, r->addr, r->len));
	case TASK_MUNMAP:
		return result_of(munmap(pointer(r->addr), r->len));
	case TASK_PROTECT:
		return result_of(mprotect(pointer(r->addr), r->len, r->arg));
	case TASK_MOVE:
		return do_move(r);
	default:
		return -EINVAL;
	}
}

static struct reply serve(unsigned *number, const struct request *r)
{
	switch (r->task) {
	case TASK_ACCESS:
		return do_access(r);
	case TASK_FORK:
		return do_fork(number, r);
	case TASK_EXIT:
		_exit(0);
	case TASK_MINCORE:
		return do_mincore(r);
	default:
		return (struct reply){.error = do_call(r)};
	}
}

/* A child of fork goes on here too: it serves its own socket, and its parent answers for the fork. */
void worker_main(unsigned number, const int sockets[MAX_PROCS])
{
	struct sigaction action = {.sa_handler = caught};
	struct request request;

	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	signal(SIGCHLD, SIG_IGN); /* children are not waited for */
	while (read(sockets[number], &request, sizeof(request)) == sizeof(request)) {
		unsigned was = number;
		struct reply reply = serve(&number, &request);

		if (number == was && write(sockets[number], &reply, sizeof(reply)) != sizeof(reply))
			break;
	}
	_exit(0);
}

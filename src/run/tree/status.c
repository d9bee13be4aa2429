/* SPDX-License-Identifier: MIT */
/*
 * This process's status page. See status.h.
 *
 * The page stays at one address for the life of the process, because kswapd sleeps on a word of it. A fork's child
 * maps a page of its own over it. Where no file can be made the page is private, and other processes do not find this
 * one.
 */
#include "run/run.h"
#include "host/host.h"
#include "run/raw.h"
#include "run/tree/status.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static struct status *page; /* [I] */
static char directory[200]; /* [I] "": there is no file */
static _Atomic(pid_t) owner; /* the process whose file it is; a vfork's child has another number */

/* ---- The file --------------------------------------------------------------------------------- */

static int remove_at(int dir, const char *name)
{
	return (int)syscall(SYS_unlinkat, dir, name, 0);
}

/*
 * A file with this process's number was left by a process that has ended, or by this process before an exec.
 * Exception: a file of another PID namespace, where the number means another process. That one stays.
 */
static bool is_left_over(int dir, const char *name)
{
	struct status old = {0};
	int fd = (int)syscall(SYS_openat, dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC, 0);

	if (fd < 0)
		return false;
	ssize_t got = pread(fd, &old, sizeof(old), 0);
	raw_close(fd);
	return got < (ssize_t)sizeof(old) || old.pid_ns == status_pid_ns();
}

static int make_at(int dir, const char *name)
{
	int flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
	int fd = (int)syscall(SYS_openat, dir, name, flags, 0600);

	if (fd < 0 && errno == EEXIST && is_left_over(dir, name)) {
		remove_at(dir, name);
		fd = (int)syscall(SYS_openat, dir, name, flags, 0600);
	}
	return fd;
}

/* A page of the file @name in @dir at @at, or MAP_FAILED. */
static void *map_file(int dir, const char *name, void *at)
{
	int fd = make_at(dir, name);

	if (fd < 0)
		return MAP_FAILED;
	/* Written, not only made longer: a full file system must say so now, not by SIGBUS later. */
	static const char zeros[STATUS_BYTES];
	void *p = MAP_FAILED;

	if (pwrite(fd, zeros, sizeof(zeros), 0) == (ssize_t)sizeof(zeros))
		p = raw_mmap(
			at, STATUS_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | (at ? MAP_FIXED : 0), fd, 0);
	if (p == MAP_FAILED)
		remove_at(dir, name);
	raw_close(fd);
	return p;
}

static void *map_somewhere(const char *name, void *at)
{
	for (unsigned i = 0; status_directory(i, geteuid(), directory, sizeof(directory)); i++) {
		int dir = status_open_directory(directory, geteuid(), true);

		if (dir < 0)
			continue;
		void *p = map_file(dir, name, at);

		raw_close(dir);
		if (p != MAP_FAILED)
			return p;
	}
	directory[0] = '\0';
	return raw_mmap(at, STATUS_BYTES, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | (at ? MAP_FIXED : 0), -1, 0);
}

static struct status *map_status(void *at)
{
	char name[16];

	snprintf(name, sizeof(name), "%d", getpid());
	void *p = map_somewhere(name, at);

	return p == MAP_FAILED ? NULL : p;
}

/* ---- Start, fork, end --------------------------------------------------------------------------------- */

static void describe_process(void)
{
	page->bytes = sizeof(*page);
	atomic_store(&page->record.pid, getpid());
	page->start_time = status_start_time(getpid());
	page->pid_ns = status_pid_ns();
	atomic_store(&owner, getpid());
}

/* => the machine's threads have not been started */
int status_start(uint64_t memory_max)
{
	page = map_status(NULL);
	if (!page)
		return -ENOMEM;
	page->record = *run.record;
	describe_process();
	page->memory_max = memory_max;
	page->follows = run.follows;
	snprintf(page->swap, sizeof(page->swap), "%s", run.swap_uri ? run.swap_uri : "none");
	uffd_machine_serve(run.machine, &page->kick, status_serve, page);
	return 0;
}

void status_show(void)
{
	atomic_store(&page->magic, STATUS_MAGIC);
}

/* The page is the parent's until another page takes its place. => nothing has set kick since the fork */
int status_fork_child(void)
{
	struct status inherited = *page;

	if (!map_status(page))
		return -ENOMEM;
	*page = inherited;
	atomic_store(&page->kick, 0);
	atomic_store(&page->answered, inherited.asked); /* nobody has asked the child yet */
	describe_process();
	status_show();
	return 0;
}

void status_end(void)
{
	char name[16];

	if (!directory[0] || atomic_load(&owner) != getpid())
		return;
	int dir = status_open_directory(directory, geteuid(), false);

	if (dir < 0)
		return;
	snprintf(name, sizeof(name), "%d", getpid());
	remove_at(dir, name);
	raw_close(dir);
}

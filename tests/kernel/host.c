/* SPDX-License-Identifier: MIT */
/* What the Linux side takes from this machine and gives back; see host.h. */
#define _GNU_SOURCE
#include "host.h"

#include "base/base.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Never half full, also with all that a sanitizer has: from then on Linux gives slots back at once (vm_swap_full). */
#define SWAP_BYTES (128 * MIB)
#define KSM "/sys/kernel/mm/ksm/"
#define MERGE_SCANS                                                                                          \
	4 /* a checksum, the same again, both in the tree, and one for what started in the middle */
#define MERGE_IDLE_MS 200 /* ksmd does not scan when nobody has anything for it */

/* Settings that are global, what they are for the test, and what they were. */
static struct setting {
	const char *path, *value;
	char old[32];
	bool ksm;
} settings[] = {
	{.path = "/proc/sys/vm/page-cluster", .value = "0"}, /* no swap readahead */
	{.path = KSM "run", .value = "0", .ksm = true},
	{.path = KSM "sleep_millisecs", .value = "1", .ksm = true},
	{.path = KSM "pages_to_scan", .value = "10000", .ksm = true},
	{.path = KSM "smart_scan", .value = "0", .ksm = true},
};
#define NR_SETTINGS (sizeof(settings) / sizeof(settings[0]))

static char swap_path[64], cgroup[128];
static const char *squeeze_file; /* in the cgroup */
static pid_t guardian;
static int guardian_pipe = -1;

static void sleep_ms(long ms)
{
	nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

static int file_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int error = fd < 0 || write(fd, text, strlen(text)) < 0 ? -errno : 0;

	if (fd >= 0)
		close(fd);
	return error;
}

static int file_read(const char *path, char *text, size_t len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? -1 : read(fd, text, len - 1);

	if (fd >= 0)
		close(fd);
	if (got < 0)
		return -errno;
	text[got] = 0;
	return 0;
}

/* ---- Giving back ------------------------------------------------------------------------------------ */

static void cgroup_remove(void)
{
	for (int i = 0; i < 500 && rmdir(cgroup) && errno == EBUSY; i++)
		sleep_ms(10); /* our processes are on their way out */
}

static void give_back(void)
{
	cgroup_remove();
	swapoff(swap_path);
	unlink(swap_path);
	for (unsigned i = 0; i < NR_SETTINGS; i++)
		if (settings[i].old[0])
			file_write(settings[i].path, settings[i].old);
}

/* It lives in a session of its own and outlives whoever kills the test's group. */
static int guardian_start(void)
{
	int ends[2];
	char byte;

	if (pipe2(ends, O_CLOEXEC))
		return -errno;
	fflush(NULL);
	guardian = fork();
	if (guardian < 0)
		return -errno;
	if (guardian > 0) {
		close(ends[0]);
		guardian_pipe = ends[1];
		return 0;
	}
	setsid();
	for (int number = 1; number < NSIG; number++)
		signal(number, number == SIGCHLD ? SIG_DFL : SIG_IGN);
	close(ends[1]);
	while (read(ends[0], &byte, 1) < 0 && errno == EINTR)
		;
	give_back();
	_exit(0);
}

void host_leave(void)
{
	if (guardian_pipe >= 0)
		close(guardian_pipe);
	guardian_pipe = -1;
}

void host_close(void)
{
	if (guardian <= 0)
		return;
	host_leave();
	waitpid(guardian, NULL, 0);
	guardian = 0;
}

/* ---- Taking ------------------------------------------------------------------------------------------- */

/* What mkswap writes: version 1, the last page, no bad ones, and the name at the end of the first page. */
static int swap_file_make(void)
{
	uint32_t header[PAGE_BYTES / sizeof(uint32_t)] = {0};
	int fd = open(swap_path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int error;

	if (fd < 0)
		return -errno;
	header[256] = 1;
	header[257] = SWAP_BYTES / PAGE_BYTES - 1;
	memcpy((char *)header + PAGE_BYTES - 10, "SWAPSPACE2", 10);
	error = -posix_fallocate(fd, 0, SWAP_BYTES);
	if (!error && (pwrite(fd, header, sizeof(header), 0) != sizeof(header) || fsync(fd)))
		error = -errno;
	close(fd);
	return error;
}

/* Before any other area: what this test swaps out shall be here. */
static int swap_begin(void)
{
	int error = swap_file_make();

	if (!error && swapon(swap_path, SWAP_FLAG_PREFER | SWAP_FLAG_PRIO_MASK))
		error = -errno;
	return error;
}

static bool cgroup_find(const char *where, const char *file)
{
	char path[sizeof(cgroup) + 32];

	snprintf(cgroup, sizeof(cgroup), "%s/anonmm-judge.%d", where, (int)getpid());
	if (mkdir(cgroup, 0755))
		return false;
	snprintf(path, sizeof(path), "%s/%s", cgroup, file);
	squeeze_file = file;
	if (access(path, W_OK) == 0)
		return true;
	rmdir(cgroup);
	return false;
}

static const char *settings_begin(void)
{
	for (unsigned i = 0; i < NR_SETTINGS; i++) {
		struct setting *s = &settings[i];

		if (s->old[0] && file_write(s->path, s->value))
			return s->ksm ? NULL : "no right to set vm.page-cluster";
	}
	return NULL;
}

static void settings_remember(void)
{
	for (unsigned i = 0; i < NR_SETTINGS; i++)
		if (file_read(settings[i].path, settings[i].old, sizeof(settings[i].old)))
			settings[i].old[0] = 0;
}

static const char *host_take(void)
{
	static char why[100];
	int error = swap_begin();

	if (error) {
		snprintf(why, sizeof(why), "no swap file in /var/tmp: %s", strerror(-error));
		return why;
	}
	return settings_begin();
}

const char *host_open(void)
{
	const char *why;

	if (geteuid() != 0)
		return "needs root";
	if (access("/proc/kpageflags", R_OK) || access("/proc/kpagecount", R_OK))
		return "no /proc/kpageflags here (CONFIG_PROC_PAGE_MONITOR)";
	snprintf(swap_path, sizeof(swap_path), "/var/tmp/anonmm-judge.%d", (int)getpid());
	settings_remember();
	if (!cgroup_find("/sys/fs/cgroup/memory", "memory.force_empty") &&
		!cgroup_find("/sys/fs/cgroup", "memory.reclaim") &&
		!cgroup_find("/sys/fs/cgroup/unified", "memory.reclaim"))
		return "no memory cgroup that can be told to reclaim";
	if (guardian_start()) {
		rmdir(cgroup);
		return "no process for the guardian";
	}
	why = host_take();
	if (why)
		host_close();
	return why;
}

/* ---- What the kernel is told to do --------------------------------------------------------------------- */

int host_join(pid_t pid)
{
	char path[sizeof(cgroup) + 32], text[16];

	snprintf(path, sizeof(path), "%s/cgroup.procs", cgroup);
	snprintf(text, sizeof(text), "%d", (int)pid);
	return file_write(path, text);
}

/* move_pages() of no page at all empties the batches of all CPUs first. */
void host_drain(void)
{
	void *pages[1] = {NULL};
	int nodes[1] = {0}, status[1];

	syscall(SYS_move_pages, 0, 0UL, pages, nodes, status, 0);
}

void host_squeeze(void)
{
	char path[sizeof(cgroup) + 32];

	snprintf(path, sizeof(path), "%s/%s", cgroup, squeeze_file);
	file_write(path, "1G"); /* memory.force_empty takes any text */
}

const char *host_ksm_missing(void)
{
	return access(KSM "run", W_OK) ? "no KSM here (CONFIG_KSM)" : NULL;
}

static unsigned long full_scans(void)
{
	char text[32];

	return file_read(KSM "full_scans", text, sizeof(text)) ? 0 : strtoul(text, NULL, 10);
}

int host_merge(void)
{
	unsigned long last = full_scans(), end = last + MERGE_SCANS;
	int error = file_write(KSM "run", "1");

	for (int idle = 0; !error && last < end && idle < MERGE_IDLE_MS; idle++) {
		unsigned long now = full_scans();

		idle = now != last ? 0 : idle;
		last = now;
		sleep_ms(1);
	}
	if (!error)
		error = file_write(KSM "run", "0");
	return error;
}

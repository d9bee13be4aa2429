/* SPDX-License-Identifier: MIT */
/*
 * Where status files lie, and which process a file belongs to. The library and the commands both call these
 * functions, so that they agree. See status.h.
 */
#include "run/tree/status.h"
#include "host/host.h"
#include "host/text.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/*
 * The value at the first call, which the library makes at its start. Later the environment belongs to the program and
 * may lie in managed memory, and getenv() may be the program's own (bash has one). A fork's child must touch neither.
 */
static const char *runtime_directory(void)
{
	static char runtime[160] = "";

	if (!*runtime) {
		const char *named = getenv("XDG_RUNTIME_DIR");
		bool fits = named && *named == '/' && strlen(named) < sizeof(runtime);

		snprintf(runtime, sizeof(runtime), "%s", fits ? named : "/nowhere");
	}
	return runtime;
}

bool status_directory(unsigned i, uid_t uid, char *path, size_t len)
{
	int need;

	if (i == 0)
		need = snprintf(path, len, "%s/anonmm-%u", runtime_directory(), uid);
	else if (i == 1)
		need = snprintf(path, len, "/run/user/%u/anonmm-%u", uid, uid);
	else
		need = snprintf(path, len, "/tmp/anonmm-%u", uid);
	return i < 3 && need > 0 && (size_t)need < len;
}

int status_open_directory(const char *path, uid_t uid, bool make)
{
	struct stat st;

	if (make)
		host_call(SYS_mkdirat, AT_FDCWD, path, 0700); /* whether it could is seen below */
	int fd = (int)host_call(
		SYS_openat, AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) == 0 && st.st_uid == uid && (st.st_mode & 077) == 0)
		return fd;
	host_close(fd);
	return -EACCES;
}

/* The field number @field, from 3 on, of the text of /proc/PID/stat; NULL: there are fewer. */
static const char *stat_field(const char *text, int field)
{
	const char *at = strrchr(text, ')'); /* the name before it may hold anything */

	for (int i = 2; at && i < field; i++) {
		at = strchr(at, ' ');
		at = at ? at + 1 : NULL;
	}
	return at;
}

static bool read_stat(pid_t pid, char *text, size_t len)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	return host_read_text(path, text, len) > 0;
}

static uint64_t start_time_of(const char *text)
{
	const char *at = stat_field(text, 22);

	return at ? strtoull(at, NULL, 10) : 0;
}

uint64_t status_start_time(pid_t pid)
{
	char text[1024];

	return read_stat(pid, text, sizeof(text)) ? start_time_of(text) : 0;
}

/*
 * A process whose first thread has ended while others go on is shown as a zombie with more than one thread: it lives.
 */
static bool is_zombie(const char *text)
{
	const char *state = stat_field(text, 3), *threads = stat_field(text, 20);

	return state && threads && (*state == 'Z' || *state == 'X') && atoi(threads) <= 1;
}

bool status_has_gone(pid_t pid, uint32_t started)
{
	char text[1024];

	if (host_call(SYS_kill, pid, 0) == -ESRCH)
		return true;
	if (!read_stat(pid, text, sizeof(text)))
		return false; /* hidden, or it goes now: the next look tells */
	uint32_t now = (uint32_t)start_time_of(text);

	return is_zombie(text) || (now && started && now != started);
}

uint64_t status_pid_ns(void)
{
	struct stat st;

	return stat("/proc/self/ns/pid", &st) == 0 ? st.st_ino : 0;
}

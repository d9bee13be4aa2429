/* SPDX-License-Identifier: MIT */
/* Find managed processes and send them requests; see live.h. */
#include "cli/live.h"
#include "cli/cli.h"
#include "host/host.h"
#include "host/text.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

bool live_parse_pid(const char *text, pid_t *pid)
{
	char *end;
	long number = strtol(text, &end, 10);

	*pid = (pid_t)number;
	if (end != text && !*end && number > 0 && number <= INT32_MAX)
		return true;
	cli_say("'%s' is not the number of a process", text);
	return false;
}

/* ---- Is it what it says? --------------------------------------------------------------------- */

/* True, too, where we may not look. */
static bool process_maps(pid_t pid, const char *file)
{
	char path[64], *line = NULL;
	size_t room = 0;
	bool found = false;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	FILE *maps = fopen(path, "re");

	if (!maps)
		return errno != ENOENT && errno != ESRCH;
	errno = 0;
	while (!found && getline(&line, &room, maps) > 0)
		found = strstr(line, file);
	if (!found && errno)
		found = errno != ESRCH;
	free(line);
	fclose(maps);
	return found;
}

enum verdict { IS_LIVE, IS_STALE, IS_NOT_OURS };

/*
 * Stale: its process has gone, or its number is another process's by now, or became another program that is not
 * managed. A file whose process is only just starting is left alone, and one from another namespace, where numbers
 * mean others.
 */
static enum verdict judge(const struct status *status, pid_t pid, const char *path)
{
	uint64_t start_time = status_start_time(pid);

	if (status->pid_ns && status->pid_ns != status_pid_ns())
		return IS_NOT_OURS;
	if (start_time == 0)
		return IS_STALE;
	if (!status->start_time)
		return IS_NOT_OURS;
	if (start_time != status->start_time || !process_maps(pid, path))
		return IS_STALE;
	return atomic_load(&status->magic) == STATUS_MAGIC && status->bytes == sizeof(*status) ? IS_LIVE
											       : IS_NOT_OURS;
}

/* ---- Opening ----------------------------------------------------------------------------------- */

static int map_page(int fd, struct live *live)
{
	struct stat st;

	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_size < (off_t)STATUS_BYTES)
		return -ENOENT;
	void *p = mmap(NULL, STATUS_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		return -errno;
	live->page = p;
	live->fd = fd;
	return 0;
}

/*
 * The file @name in the open directory @dir, which is at @path. -ENOENT: none that can be used; stale ones are
 * removed.
 */
static int open_at(int dir, const char *path, const char *name, struct live *live)
{
	char file[PATH_MAX];
	int fd = openat(dir, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	*live = (struct live){.pid = (pid_t)atoi(name)};
	int error = map_page(fd, live);

	if (error) {
		close(fd);
		return error;
	}
	snprintf(file, sizeof(file), "%s/%s", path, name);
	enum verdict verdict = judge(live->page, live->pid, file);

	if (verdict == IS_LIVE)
		return 0;
	if (verdict == IS_STALE)
		unlinkat(dir, name, 0);
	live_close(live);
	return -ENOENT;
}

void live_close(struct live *live)
{
	if (live->page)
		munmap(live->page, STATUS_BYTES);
	if (live->page)
		close(live->fd);
	live->page = NULL;
}

static int open_of_user(pid_t pid, uid_t uid, struct live *live)
{
	char path[PATH_MAX], name[16];
	int error = -ENOENT;

	snprintf(name, sizeof(name), "%d", pid);
	for (unsigned i = 0; error && status_directory(i, uid, path, sizeof(path)); i++) {
		int dir = status_open_directory(path, uid, false);

		if (dir >= 0)
			error = open_at(dir, path, name, live);
		else if (dir == -EACCES)
			error = dir;
		if (dir >= 0)
			close(dir);
	}
	return error;
}

int live_open(pid_t pid, struct live *live, char *why, size_t why_len)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d", pid);
	if (stat(path, &st)) {
		snprintf(why, why_len, "there is no process %d", pid);
		return -ESRCH;
	}
	int error = open_of_user(pid, st.st_uid, live);

	if (error == -EACCES || error == -EPERM)
		snprintf(why, why_len, "process %d is another user's", pid);
	else if (error)
		snprintf(why, why_len,
			"process %d is not managed, or not by this version of anonmm; `anonmm ps` lists "
			"those that are",
			pid);
	return error;
}

/* ---- All of them --------------------------------------------------------------------------------- */

static bool is_number(const char *name)
{
	size_t len = strspn(name, "0123456789");

	return len > 0 && len < 11 && name[len] == '\0';
}

struct list {
	struct live *all;
	unsigned nr, room;
};

static bool list_add(struct list *list, const struct live *live)
{
	if (list->nr == list->room) {
		unsigned room = list->room ? 2 * list->room : 16;
		struct live *all = realloc(list->all, room * sizeof(*all));

		if (!all)
			return false;
		list->all = all;
		list->room = room;
	}
	list->all[list->nr++] = *live;
	return true;
}

static void list_directory(struct list *list, int dir, const char *path)
{
	DIR *entries = fdopendir(dir);
	struct dirent *entry;
	struct live live;

	if (!entries) {
		close(dir);
		return;
	}
	while ((entry = readdir(entries)))
		if (is_number(entry->d_name) && open_at(dir, path, entry->d_name, &live) == 0 &&
			!list_add(list, &live))
			live_close(&live);
	closedir(entries);
}

static int by_pid(const void *a, const void *b)
{
	const struct live *one = a, *other = b;

	return (one->pid > other->pid) - (one->pid < other->pid);
}

unsigned live_list(uid_t uid, struct live **all)
{
	struct list list = {0};
	char path[PATH_MAX];

	for (unsigned i = 0; status_directory(i, uid, path, sizeof(path)); i++) {
		int dir = status_open_directory(path, uid, false);

		if (dir >= 0)
			list_directory(&list, dir, path);
	}
	if (list.nr)
		qsort(list.all, list.nr, sizeof(*list.all), by_pid);
	*all = list.all;
	return list.nr;
}

void live_sweep(uid_t uid)
{
	struct live *all;
	unsigned nr = live_list(uid, &all);

	for (unsigned i = 0; i < nr; i++)
		live_close(&all[i]);
	free(all);
}

/* ---- Asking --------------------------------------------------------------------------------------- */

/* One asker at a time. Who has the lock is as quick as the process, or gives up as we would. */
static int lock_file(int fd, int timeout_ms)
{
	for (int waited_ms = 0; flock(fd, LOCK_EX | LOCK_NB); waited_ms += 10) {
		if (waited_ms >= 2 * timeout_ms)
			return -ETIMEDOUT;
		host_sleep(10 * 1000000LL);
	}
	return 0;
}

static int ask(struct live *live, const struct status_question *question, int timeout_ms)
{
	struct status *page = live->page;
	int error = lock_file(live->fd, timeout_ms);

	if (!error)
		error = status_ask(page, question, timeout_ms);
	memcpy(&live->seen, page, sizeof(live->seen));
	live->seen.why[sizeof(live->seen.why) - 1] = '\0';
	live->seen.record.name[sizeof(live->seen.record.name) - 1] = '\0';
	live->seen.swap[sizeof(live->seen.swap) - 1] = '\0';
	flock(live->fd, LOCK_UN);
	if (error && status_start_time(live->pid) != page->start_time)
		return -ESRCH;
	return error;
}

int live_ask(struct live *live, enum status_request request, uint64_t bytes, int timeout_ms)
{
	return ask(live, &(struct status_question){.request = request, .bytes = bytes}, timeout_ms);
}

int live_touch(struct live *live, enum touch_what what, uint64_t from, uint64_t end, int timeout_ms)
{
	struct status_question question = {
		.request = STATUS_TOUCH, .touch_what = what, .from = from, .end = end};

	return ask(live, &question, timeout_ms);
}

/* ---- What it tells ---------------------------------------------------------------------------------- */

uint64_t live_limit(const struct status *status)
{
	return status->shared ? status->run_limit : status->limit.bytes;
}

uint64_t live_resident(const struct status *status)
{
	return (uint64_t)status->limit.frames_used * PAGE_BYTES + status->record.stats.metadata_bytes;
}

uint64_t live_swapped(const struct status *status)
{
	return status->record.stats.slots_used * PAGE_BYTES;
}

void live_command(const struct live *live, char *text, size_t len)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/cmdline", live->pid);
	long got = host_read_text(path, text, len);

	if (got <= 0) {
		snprintf(text, len, "[%s]", live->page->record.name);
		return;
	}
	for (long i = 0; i < got; i++)
		if (!isprint((unsigned char)text[i]))
			text[i] = text[i] || i + 1 < got ? ' ' : '\0';
}

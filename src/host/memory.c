/* SPDX-License-Identifier: MIT */
/* Memory of the host and of control groups; see hostmem.h. */
#include "host/memory.h"
#include "host/host.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NO_LIMIT UINT64_MAX
#define NO_LIMIT_V1 (1ULL << 62) /* it says a number near 2^63 for no limit */

/* What the two versions call the same things. */
struct names {
	int version;
	const char *limits[2]; /* the second may be missing */
	const char *used;
	const char *inactive_file, *active_file; /* in memory.stat; of all groups below too */
};

static const struct names names_v1 = {1, {"memory.limit_in_bytes", NULL}, "memory.usage_in_bytes",
	"total_inactive_file ", "total_active_file "};
static const struct names names_v2 = {
	2, {"memory.max", "memory.high"}, "memory.current", "inactive_file ", "active_file "};

long hostmem_read_text(const char *path, char *text, size_t len)
{
	size_t used = 0;
	long got = 1;
	int fd = (int)host_call(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);

	text[0] = '\0';
	if (fd < 0)
		return fd;
	while (got > 0 && used < len - 1) {
		got = host_read(fd, text + used, len - 1 - used);
		used += got > 0 ? (size_t)got : 0;
	}
	host_close(fd);
	text[used] = '\0';
	return got < 0 && used == 0 ? got : (long)used;
}

/* @dir/@file; false: too long to be one. */
static bool join(char *path, size_t len, const char *dir, const char *file)
{
	int need = snprintf(path, len, "%s/%s", dir, file);

	return need >= 0 && (size_t)need < len;
}

/* The number after @name at the start of a line; 0: it is not there. */
static uint64_t number_of(const char *text, const char *name)
{
	size_t len = strlen(name);

	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (!strncmp(line, name, len))
			return strtoull(line + len, NULL, 10);
	}
	return 0;
}

/* No file, or "max": no limit. */
static uint64_t read_number(const char *dir, const char *file, uint64_t otherwise)
{
	char path[2 * HOSTMEM_PATH], text[64];

	if (!file || !join(path, sizeof(path), dir, file))
		return otherwise;
	if (hostmem_read_text(path, text, sizeof(text)) <= 0 || text[0] < '0' || text[0] > '9')
		return otherwise;
	return strtoull(text, NULL, 10);
}

/* File pages that the group could drop. */
static uint64_t read_file_pages(const char *dir, const struct names *names)
{
	char path[2 * HOSTMEM_PATH], text[4096];

	if (!join(path, sizeof(path), dir, "memory.stat") || hostmem_read_text(path, text, sizeof(text)) <= 0)
		return 0;
	return number_of(text, names->inactive_file) + number_of(text, names->active_file);
}

/* => @dir is shorter than HOSTMEM_PATH */
static void look_at_group(struct hostmem *mem, const char *dir, const struct names *names)
{
	uint64_t limit = min_u64(
		read_number(dir, names->limits[0], NO_LIMIT), read_number(dir, names->limits[1], NO_LIMIT));

	if (limit >= NO_LIMIT_V1)
		return;
	uint64_t used = read_number(dir, names->used, 0), files = read_file_pages(dir, names);

	used -= min_u64(files, used);
	if (limit < mem->limit) {
		mem->limit = limit;
		mem->limit_used = used;
		mem->version = names->version;
		memcpy(mem->group, dir, strlen(dir) + 1);
	}
	if ((int64_t)limit - (int64_t)used < mem->slack)
		mem->slack = (int64_t)limit - (int64_t)used;
}

/* The group's own file of pressure: the lowest that there is. The root has none. */
static void note_pressure(struct hostmem *mem, const char *dir)
{
	char path[HOSTMEM_PATH], text[8];

	if (!mem->pressure[0] && join(path, sizeof(path), dir, "memory.pressure") &&
		hostmem_read_text(path, text, sizeof(text)) > 0)
		memcpy(mem->pressure, path, strlen(path) + 1);
}

/* @group and all above it. It is used up. */
static void look_up_the_way(
	struct hostmem *mem, const char *root, const char *mount, char *group, const struct names *names)
{
	char dir[2 * HOSTMEM_PATH];

	for (;;) {
		int len = snprintf(dir, sizeof(dir), "%s%s%s", root, mount, group);

		if (len < HOSTMEM_PATH) {
			look_at_group(mem, dir, names);
			if (names->version == 2)
				note_pressure(mem, dir);
		}
		char *slash = strrchr(group, '/');
		if (!slash)
			return;
		*slash = '\0';
	}
}

static bool has_word(const char *list, const char *word)
{
	size_t len = strlen(word);

	for (const char *at = list; *at; at += strcspn(at, ","), at += *at == ',')
		if (!strncmp(at, word, len) && (at[len] == ',' || at[len] == '\0'))
			return true;
	return false;
}

/* One line of /proc/self/cgroup: "0::/group" (v2), "4:cpu,memory:/group" (v1). */
static void look_at_line(struct hostmem *mem, const char *root, char *line)
{
	static const char *const mounts_v2[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
	char *controllers = strchr(line, ':');
	char *group = controllers ? strchr(controllers + 1, ':') : NULL;

	if (!group)
		return;
	*controllers++ = '\0';
	*group++ = '\0';
	if (has_word(controllers, "memory"))
		look_up_the_way(mem, root, "/sys/fs/cgroup/memory", group, &names_v1);
	for (unsigned i = 0; !*controllers && i < ARRAY_SIZE(mounts_v2); i++) {
		char copy[2 * HOSTMEM_PATH];

		snprintf(copy, sizeof(copy), "%s", group);
		look_up_the_way(mem, root, mounts_v2[i], copy, &names_v2);
	}
}

static void look_at_host(struct hostmem *mem, const char *root)
{
	char path[2 * HOSTMEM_PATH], text[4096];

	snprintf(path, sizeof(path), "%s/proc/meminfo", root);
	hostmem_read_text(path, text, sizeof(text));
	mem->physical = number_of(text, "MemTotal:") * KIB;
	mem->available = number_of(text, "MemAvailable:") * KIB;
	mem->slack = (int64_t)mem->available;
}

void hostmem_read(const char *root, struct hostmem *mem)
{
	char path[2 * HOSTMEM_PATH], text[4096];

	*mem = (struct hostmem){.limit = NO_LIMIT};
	look_at_host(mem, root);
	snprintf(path, sizeof(path), "%s/proc/self/cgroup", root);
	hostmem_read_text(path, text, sizeof(text));
	for (char *line = text, *next; *line; line = next) {
		size_t len = strcspn(line, "\n");

		next = line + len + (line[len] == '\n');
		line[len] = '\0';
		look_at_line(mem, root, line);
	}
}

uint64_t hostmem_whole(const struct hostmem *mem)
{
	return min_u64(mem->physical, mem->limit);
}

int64_t hostmem_stalled_us(const char *path)
{
	char text[512];
	long got = hostmem_read_text(path, text, sizeof(text));
	const char *some = got > 0 ? strstr(text, "some ") : NULL;
	const char *total = some ? strstr(some, "total=") : NULL;

	if (got < 0)
		return got;
	return total ? (int64_t)strtoull(total + strlen("total="), NULL, 10) : -ENODATA;
}

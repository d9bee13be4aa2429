/* SPDX-License-Identifier: MIT */
/* Memory of the host and of control groups; see memory.h. */
#include "host/memory.h"
#include "host/host.h"
#include "host/text.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NO_LIMIT UINT64_MAX
#define NO_LIMIT_V1 (1ULL << 62) /* version 1 gives a number near 2^63 when there is no limit */

/* The names that one version of control groups has for its files. */
struct names {
	int version;
	const char *limits[2]; /* NULL: the version has only one limit */
	const char *used;
	const char *inactive_file, *active_file; /* lines of memory.stat that include all groups below */
};

static const struct names names_v1 = {1, {"memory.limit_in_bytes", NULL}, "memory.usage_in_bytes",
	"total_inactive_file ", "total_active_file "};
static const struct names names_v2 = {
	2, {"memory.max", "memory.high"}, "memory.current", "inactive_file ", "active_file "};

/* Write "@dir/@file" to @path. false: it does not fit. */
static bool join(char *path, size_t len, const char *dir, const char *file)
{
	int need = snprintf(path, len, "%s/%s", dir, file);

	return need >= 0 && (size_t)need < len;
}

/* The number in @dir/@file. @otherwise: there is no such file, or it holds no number ("max"). */
static uint64_t read_number(const char *dir, const char *file, uint64_t otherwise)
{
	char path[2 * HOSTMEM_PATH], text[64];

	if (!file || !join(path, sizeof(path), dir, file))
		return otherwise;
	if (host_read_text(path, text, sizeof(text)) <= 0 || text[0] < '0' || text[0] > '9')
		return otherwise;
	return strtoull(text, NULL, 10);
}

/* Bytes of file pages, which the group could drop. */
static uint64_t read_file_pages(const char *dir, const struct names *names)
{
	char path[2 * HOSTMEM_PATH], text[4096];

	if (!join(path, sizeof(path), dir, "memory.stat") || host_read_text(path, text, sizeof(text)) <= 0)
		return 0;
	return host_text_number(text, names->inactive_file, 10, 0) +
	       host_text_number(text, names->active_file, 10, 0);
}

/* Take the limits of the group @dir into @mem. => @dir is shorter than HOSTMEM_PATH */
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

/* If @mem has no file of pressure yet, take the one of @dir, if it has one. The root group has none. */
static void note_pressure(struct hostmem *mem, const char *dir)
{
	char path[HOSTMEM_PATH], text[8];

	if (!mem->pressure[0] && join(path, sizeof(path), dir, "memory.pressure") &&
		host_read_text(path, text, sizeof(text)) > 0)
		memcpy(mem->pressure, path, strlen(path) + 1);
}

/* Look at @group and all groups above it. Destroys the text @group. */
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

/* Is @word in @list, whose words have commas between them? */
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
	host_read_text(path, text, sizeof(text));
	mem->physical = host_text_number(text, "MemTotal:", 10, 0) * KIB;
	mem->available = host_text_number(text, "MemAvailable:", 10, 0) * KIB;
	mem->slack = (int64_t)mem->available;
}

void hostmem_read(const char *root, struct hostmem *mem)
{
	char path[2 * HOSTMEM_PATH], text[4096];

	*mem = (struct hostmem){.limit = NO_LIMIT};
	look_at_host(mem, root);
	snprintf(path, sizeof(path), "%s/proc/self/cgroup", root);
	host_read_text(path, text, sizeof(text));
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
	long got = host_read_text(path, text, sizeof(text));
	const char *some = got > 0 ? strstr(text, "some ") : NULL;
	const char *total = some ? strstr(some, "total=") : NULL;

	if (got < 0)
		return got;
	return total ? (int64_t)strtoull(total + strlen("total="), NULL, 10) : -ENODATA;
}

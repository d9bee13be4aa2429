/* SPDX-License-Identifier: MIT */
/*
 * How much memory this process could have: the host's, or less where a control group says so.
 *
 * A group's limit binds all groups below it, so the whole way up counts. In a container the
 * path in /proc/self/cgroup may be the host's: what is not there is left out, and the root of what
 * is mounted is looked at anyway.
 */
#include "cli/cli.h"
#include "base.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* No file, or "max": UINT64_MAX. v1 says a number near 2^63 for no limit. */
static uint64_t read_limit(const char *root, const char *group, const char *file)
{
	char path[PATH_MAX], text[64];
	uint64_t limit = UINT64_MAX;

	snprintf(path, sizeof(path), "%s%s/%s", root, group, file);
	FILE *in = fopen(path, "re");
	if (!in)
		return limit;
	if (fgets(text, sizeof(text), in) && text[0] >= '0' && text[0] <= '9')
		limit = strtoull(text, NULL, 10);
	fclose(in);
	return limit;
}

/* The smallest of @group's limit and those above it. @group is used up. */
static uint64_t limit_on_the_way_up(const char *root, char *group, const char *file)
{
	uint64_t limit = UINT64_MAX;

	group[strcspn(group, "\n")] = '\0';
	for (;;) {
		limit = min_u64(limit, read_limit(root, group, file));
		char *slash = strrchr(group, '/');
		if (!slash)
			return limit;
		*slash = '\0';
	}
}

/* One line of /proc/self/cgroup: "0::/group" (v2), "4:cpu,memory:/group" (v1). */
static uint64_t limit_of_line(char *line)
{
	char *controllers = strchr(line, ':');
	char *group = controllers ? strchr(controllers + 1, ':') : NULL;

	if (!group)
		return UINT64_MAX;
	*controllers++ = '\0';
	*group++ = '\0';
	if (!*controllers)
		return limit_on_the_way_up("/sys/fs/cgroup", group, "memory.max");
	if (strstr(controllers, "memory"))
		return limit_on_the_way_up("/sys/fs/cgroup/memory", group, "memory.limit_in_bytes");
	return UINT64_MAX;
}

static uint64_t limit_of_groups(void)
{
	char line[PATH_MAX];
	uint64_t limit = UINT64_MAX;
	FILE *in = fopen("/proc/self/cgroup", "re");

	while (in && fgets(line, sizeof(line), in))
		limit = min_u64(limit, limit_of_line(line));
	if (in)
		fclose(in);
	return limit;
}

uint64_t memory_of_host(void)
{
	uint64_t physical = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
	return min_u64(physical, limit_of_groups());
}

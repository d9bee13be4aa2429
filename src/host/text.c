/* SPDX-License-Identifier: MIT */
/* See text.h. */
#include "host/text.h"
#include "host/host.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

long host_read_text(const char *path, char *text, size_t len)
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

uint64_t host_text_number(const char *text, const char *name, int base, uint64_t otherwise)
{
	size_t len = strlen(name);

	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (!strncmp(line, name, len))
			return strtoull(line + len, NULL, base);
	}
	return otherwise;
}

uint64_t host_self_status(const char *name, int base, uint64_t otherwise)
{
	char text[4096];

	host_read_text("/proc/self/status", text, sizeof(text));
	return host_text_number(text, name, base, otherwise);
}

struct entry { /* struct linux_dirent64, in the kernel's layout */
	uint64_t ino, off;
	uint16_t bytes;
	uint8_t type;
	char name[];
};

int host_each_number(const char *path, void (*each)(void *ctx, int number), void *ctx)
{
	_Alignas(8) char buf[4096];
	int dir = (int)host_call(SYS_openat, AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	long bytes;

	if (dir < 0)
		return dir;
	while ((bytes = host_call(SYS_getdents64, dir, buf, sizeof(buf))) > 0) {
		for (long at = 0; at < bytes;) {
			const struct entry *entry = (const struct entry *)(buf + at);
			int number = entry->name[0] >= '0' && entry->name[0] <= '9' ? atoi(entry->name) : -1;

			if (number >= 0 && number != dir)
				each(ctx, number);
			at += entry->bytes;
		}
	}
	host_close(dir);
	return bytes < 0 ? (int)bytes : 0;
}

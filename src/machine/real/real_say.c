/* SPDX-License-Identifier: MIT */
/* Messages for the person who runs the program, and the end of a program that cannot go on. */
#include "machine/real/real_internal.h"
#include "host/die.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/*
 * Our threads do not hold the program's descriptors: a pipe must close when the program closes it. So they open the
 * standard error output of thread @tid, which the message is about (@tid 0: of the process) by /proc.
 */
static void say_text(struct real_machine *m, int tid, const char *text, size_t len)
{
	char path[64];
	int fd = 2;

	if (on_own_thread(m)) {
		if (tid)
			snprintf(path, sizeof(path), "/proc/self/task/%d/fd/2", tid);
		else
			snprintf(path, sizeof(path), "/proc/self/fd/2");
		fd = (int)host_call(
			SYS_openat, AT_FDCWD, path, O_WRONLY | O_APPEND | O_NOCTTY | O_CLOEXEC, 0);
		if (fd < 0)
			return;
	}
	host_write(fd, text, len);
	if (fd != 2)
		host_close(fd);
}

static void say_v(struct real_machine *m, int tid, const char *format, va_list args)
{
	char text[512] = "anonmm: ";
	size_t len = strlen(text);

	len += (size_t)vsnprintf(text + len, sizeof(text) - len - 1, format, args);
	if (len > sizeof(text) - 2)
		len = sizeof(text) - 2;
	text[len++] = '\n';
	say_text(m, tid, text, len);
}

void real_say(struct real_machine *m, int tid, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say_v(m, tid, format, args);
	va_end(args);
}

void real_die(struct real_machine *m, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say_v(m, 0, format, args);
	va_end(args);
	host_die();
}

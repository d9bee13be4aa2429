/* SPDX-License-Identifier: MIT */
/* Small files of /proc and /sys, and directories of numbers. Nothing here allocates: our threads must not touch the program's memory. */
#ifndef ANONMM_HOST_TEXT_H
#define ANONMM_HOST_TEXT_H

#include "base/base.h"

/* Up to @len - 1 bytes of the file @path to @text, and a 0 after them. Returns how many bytes, or -errno (@text is ""). */
long host_read_text(const char *path, char *text, size_t len);

/*
 * The number in base @base after @name at the start of a line of @text ("VmHWM:", "TracerPid:"); @otherwise when there is no
 * such line.
 */
uint64_t host_text_number(const char *text, const char *name, int base, uint64_t otherwise);

/* The same of /proc/self/status. */
uint64_t host_self_status(const char *name, int base, uint64_t otherwise);

/*
 * Call @each for every entry of directory @path whose name is a number: /proc/self/fd, /proc/self/task. The directory's own
 * descriptor is left out. Returns 0, or -errno: the directory cannot be read.
 */
int host_each_number(const char *path, void (*each)(void *ctx, int number), void *ctx);

#endif

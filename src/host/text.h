/* SPDX-License-Identifier: MIT */
/*
 * Small files of /proc and /sys, and directories of numbers. Nothing here allocates: the callers are threads that must
 * not touch the program's memory.
 */
#ifndef ANONMM_HOST_TEXT_H
#define ANONMM_HOST_TEXT_H

#include "base/base.h"

/*
 * Read up to @len - 1 bytes of the file @path to @text, and add a 0. Returns how many bytes, or -errno (@text is "").
 */
long host_read_text(const char *path, char *text, size_t len);

/*
 * The number, in base @base, that follows @name in the first line of @text that begins with @name ("VmHWM:",
 * "TracerPid:"). @otherwise: there is no such line.
 */
uint64_t host_text_number(const char *text, const char *name, int base, uint64_t otherwise);

/* As host_text_number(), in /proc/self/status. */
uint64_t host_self_status(const char *name, int base, uint64_t otherwise);

/*
 * Call @each for every entry of the directory @path whose name is a number: /proc/self/fd, /proc/self/task. The number
 * of the descriptor by which the directory is read is left out. Returns 0, or -errno: the directory cannot be read.
 */
int host_each_number(const char *path, void (*each)(void *ctx, int number), void *ctx);

#endif

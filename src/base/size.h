/* SPDX-License-Identifier: MIT */
/* Sizes as people write them: 4096, 256M, 1.5G, 64KiB; powers of 1024. */
#ifndef ANONMM_SIZE_H
#define ANONMM_SIZE_H

#include <stddef.h>
#include <stdint.h>

/*
 * 0: *@bytes is the size. -EINVAL: not a size; an empty text is none, and signs and spaces are not allowed. -ERANGE:
 * larger than 2^63.
 */
int size_parse(const char *text, uint64_t *bytes);

/* As size_parse(); or a percentage such as "25%", which means that part of @whole (more than 0, at most 100). */
int size_parse_share(const char *text, uint64_t whole, uint64_t *bytes);

/* Write "64 MiB", "1.5 GiB", "512 B" to @buf. Returns @buf. */
const char *size_text(uint64_t bytes, char *buf, size_t len);

#endif

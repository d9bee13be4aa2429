/* SPDX-License-Identifier: MIT */
/* Sizes as people write them: 4096, 256M, 1.5G, 64KiB; powers of 1024. */
#ifndef ANONMM_SIZE_H
#define ANONMM_SIZE_H

#include <stddef.h>
#include <stdint.h>

/* -EINVAL: not a size. -ERANGE: larger than 2^63. No sign, no space; an empty text is not a size. */
int size_parse(const char *text, uint64_t *bytes);

/* As size_parse(), or "25%" of @whole (more than 0, at most 100). */
int size_parse_share(const char *text, uint64_t whole, uint64_t *bytes);

/* "64 MiB", "1.5 GiB", "512 B": into @buf, which is returned. */
const char *size_text(uint64_t bytes, char *buf, size_t len);

#endif

/* SPDX-License-Identifier: MIT */
/* jemalloc under private names: see scripts/jemalloc-private.sh. */
#ifndef ANONMM_JEMALLOC_H
#define ANONMM_JEMALLOC_H

#include <stddef.h>

#define JEMALLOC_NO_RENAME
#define JEMALLOC_NO_DEMANGLE
#include <jemalloc/jemalloc.h>

void *jem_malloc(size_t size);
void *jem_calloc(size_t count, size_t size);
void *jem_realloc(void *p, size_t size);
void jem_free(void *p);
void *jem_aligned_alloc(size_t alignment, size_t size);
void *jem_memalign(size_t alignment, size_t size);
int jem_posix_memalign(void **out, size_t alignment, size_t size);
size_t jem_malloc_usable_size(void *p);
void *jem_mallocx(size_t size, int flags);
void *jem_rallocx(void *p, size_t size, int flags);
void jem_dallocx(void *p, int flags);
int jem_mallctl(const char *name, void *old, size_t *old_len, void *new, size_t new_len);

extern const char *jem_malloc_conf;

/* jemalloc's handlers of pthread_atfork. The first takes all locks of jemalloc, the others give them back. */
void je_jemalloc_prefork(void);
void je_jemalloc_postfork_parent(void);
void je_jemalloc_postfork_child(void);

#endif

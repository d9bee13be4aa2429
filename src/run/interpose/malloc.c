/* SPDX-License-Identifier: MIT */
/*
 * malloc and its family: jemalloc, on arenas of ours (extents.c).
 *
 * A thread is bound to a managed arena when it allocates for the first time after the start. Pointers that it cached
 * before stay valid: every pointer is jemalloc's, and jemalloc finds its arena by address.
 *
 * Decay: pages that were freed go back after DIRTY_DECAY_MS. Live pages could have their frames, and the pager would
 * write them to swap like any other page. Giving a page back and taking it again costs two traps and a cleared page.
 * A quarter of a second keeps a loop of malloc and free warm. It is short beside the time after which a small limit
 * hurts.
 */
#include "run/run.h"
#include "run/raw.h"
#include "run/interpose/jemalloc.h"

#include <link.h>
#include <malloc.h>
#include <string.h>
#include <unistd.h>

#define DIRTY_DECAY_MS "250"

/*
 * jemalloc makes one arena (0) by itself; extents.c makes the others. There is no arena for large sizes, because it
 * would be native. jemalloc uses no sbrk(), no thread of its own, and no second stage of decay: that would be
 * MADV_FREE, which frees nothing here.
 */
const char *jem_malloc_conf = "narenas:1,oversize_threshold:0,dss:disabled,background_thread:false,"
			      "percpu_arena:disabled,metadata_thp:disabled,retain:true,abort_conf:false,"
			      "dirty_decay_ms:" DIRTY_DECAY_MS ",muzzy_decay_ms:0";

#define ARENAS_MAX 64

static unsigned nr_arenas, first_arena, libc_arena; /* [I] */

static _Atomic(unsigned) next_arena;
static THREAD_LOCAL bool bound;

struct text_range {
	uintptr_t start, end;
};

/* The code of libc and of the dynamic linker. [I] */
static struct text_range libc_text, linker_text;

/* ---- Who calls -------------------------------------------------------------------------- */

static int find_text(struct dl_phdr_info *info, size_t size, void *arg)
{
	(void)size;
	(void)arg;
	const char *base = strrchr(info->dlpi_name, '/');
	struct text_range *range;

	base = base ? base + 1 : info->dlpi_name;
	if (!strcmp(base, "libc.so.6"))
		range = &libc_text;
	else if (!strncmp(base, "ld-linux", strlen("ld-linux")))
		range = &linker_text;
	else
		return 0;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
		if (segment->p_type != PT_LOAD || !(segment->p_flags & PF_X))
			continue;
		range->start = info->dlpi_addr + segment->p_vaddr;
		range->end = range->start + segment->p_memsz;
	}
	return 0;
}

static inline bool text_has(const struct text_range *range, const void *address)
{
	return (uintptr_t)address - range->start < range->end - range->start;
}

static inline bool called_by_libc(const void *caller)
{
	return unlikely(text_has(&libc_text, caller) || text_has(&linker_text, caller));
}

/* ---- Arenas ----------------------------------------------------------------------------- */

int malloc_start(void)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned wanted = cpus < 1 ? 2 : (unsigned)min_u64(2 * (uint64_t)cpus, ARENAS_MAX);

	int error = extents_create_arenas(wanted, &first_arena, &libc_arena);
	if (error)
		return error;
	dl_iterate_phdr(find_text, NULL);
	nr_arenas = wanted;
	return 0;
}

static void bind_thread(void)
{
	if (!nr_arenas)
		return; /* before the start there is only arena 0 */
	bound = true; /* before binding, which itself allocates */
	unsigned arena = first_arena + atomic_fetch_add(&next_arena, 1) % nr_arenas;
	jem_mallctl("thread.arena", NULL, NULL, &arena, sizeof(arena));
}

static inline void thread_ready(void)
{
	if (unlikely(!bound))
		bind_thread();
}

/* Memory of the libc arena never goes through a thread's cache: the program would get it from there. */
#define LIBC_FLAGS (MALLOCX_ARENA(libc_arena) | MALLOCX_TCACHE_NONE)
#define OWN_FLAGS (MALLOCX_ARENA(0) | MALLOCX_TCACHE_NONE)

void *own_alloc(size_t bytes)
{
	return jem_mallocx(bytes, OWN_FLAGS);
}

void own_free(void *p)
{
	if (p)
		jem_dallocx(p, MALLOCX_TCACHE_NONE);
}

char *own_text(const char *text)
{
	size_t bytes = strlen(text) + 1;
	char *copy = own_alloc(bytes);

	return copy ? memcpy(copy, text, bytes) : NULL;
}

/*
 * Allocate for libc, from libc's arena. NULL: that arena is full, and the caller allocates from the program's. Before
 * the program's arenas exist, arena 0 serves instead.
 */
static void *libc_alloc(size_t size, int flags)
{
	void *p = jem_mallocx(size ? size : 1, LIBC_FLAGS | flags);
	return p || run.active ? p : jem_mallocx(size ? size : 1, OWN_FLAGS | flags);
}

/* ---- What the program calls --------------------------------------------------------------- */

EXPORT void *malloc(size_t size)
{
	thread_ready();
	if (called_by_libc(__builtin_return_address(0))) {
		void *p = libc_alloc(size, 0);
		if (p)
			return p;
	}
	return jem_malloc(size);
}

EXPORT void *calloc(size_t count, size_t size)
{
	size_t bytes;

	thread_ready();
	if (called_by_libc(__builtin_return_address(0)) && !__builtin_mul_overflow(count, size, &bytes)) {
		void *p = libc_alloc(bytes, MALLOCX_ZERO);
		if (p)
			return p;
	}
	return jem_calloc(count, size);
}

EXPORT void free(void *p)
{
	if (likely(!run.active || run_manages(p)))
		jem_free(p);
	else
		own_free(p);
}

EXPORT void *realloc(void *p, size_t size)
{
	thread_ready();
	if (!p && called_by_libc(__builtin_return_address(0))) {
		void *fresh = libc_alloc(size, 0);
		if (fresh)
			return fresh;
	}
	/* Native memory of libc stays native while there is room, even if the program's own call grows it. */
	if (p && size && run.active && !run_manages(p)) {
		void *moved = jem_rallocx(p, size, LIBC_FLAGS);
		if (moved)
			return moved;
	}
	return jem_realloc(p, size);
}

EXPORT void *reallocarray(void *p, size_t count, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(count, size, &bytes)) {
		errno = ENOMEM;
		return NULL;
	}
	return realloc(p, bytes);
}

EXPORT int posix_memalign(void **out, size_t alignment, size_t size)
{
	thread_ready();
	return jem_posix_memalign(out, alignment, size);
}

EXPORT void *aligned_alloc(size_t alignment, size_t size)
{
	thread_ready();
	return jem_aligned_alloc(alignment, size);
}

EXPORT void *memalign(size_t alignment, size_t size)
{
	thread_ready();
	return jem_memalign(alignment, size);
}

EXPORT void *valloc(size_t size)
{
	return memalign(PAGE_BYTES, size);
}

EXPORT void *pvalloc(size_t size)
{
	if (size > SIZE_MAX - PAGE_BYTES) {
		errno = ENOMEM;
		return NULL;
	}
	return memalign(PAGE_BYTES, page_align_up(size));
}

EXPORT size_t malloc_usable_size(void *p)
{
	return jem_malloc_usable_size(p);
}

/*
 * Copies of text that libc makes belong to the program, and may be most of its memory. So they do not come from libc's
 * arena.
 */
EXPORT char *strdup(const char *text)
{
	size_t bytes = strlen(text) + 1;
	char *copy = malloc(bytes);
	return copy ? memcpy(copy, text, bytes) : NULL;
}

EXPORT char *strndup(const char *text, size_t most)
{
	size_t bytes = strnlen(text, most);
	char *copy = malloc(bytes + 1);

	if (!copy)
		return NULL;
	copy[bytes] = '\0';
	return memcpy(copy, text, bytes);
}

/* The tuning functions of libc's allocator: accepted, without effect. */
EXPORT int malloc_trim(size_t pad)
{
	(void)pad;
	return 0;
}

EXPORT int mallopt(int parameter, int value)
{
	(void)parameter;
	(void)value;
	return 1;
}

/* SPDX-License-Identifier: MIT */
/* The compressors; see zcomp.h. */
#define _GNU_SOURCE
#define LZ4_STATIC_LINKING_ONLY
#define LZ4_HC_STATIC_LINKING_ONLY
#define ZSTD_STATIC_LINKING_ONLY
#include "swap/zram/zcomp.h"

#include <linux/futex.h>
#include <lz4.h>
#include <lz4hc.h>
#include <sched.h>
#include <string.h>
#include <zstd.h>

struct zcomp_algo {
	const char *name;
	int level_least, level_most, level_default;
	size_t (*compress_bytes)(int level); /* what the library wants to have */
	size_t (*decompress_bytes)(void);
	void *(*compress_init)(void *memory, size_t bytes, int level); /* the state, NULL: cannot */
	void *(*decompress_init)(void *memory, size_t bytes);
	size_t (*compress)(void *state, int level, const void *page, void *out, size_t most);
	long (*decompress)(void *state, const void *in, size_t bytes, void *page);
};

/* ---- lz4, and lz4hc, which is slower and compresses more --------------------------------- */

static size_t lz4_compress_bytes(int level)
{
	(void)level;
	return sizeof(LZ4_stream_t);
}

static size_t nothing(void)
{
	return 0;
}

static void *lz4_compress_init(void *memory, size_t bytes, int level)
{
	(void)level;
	return LZ4_initStream(memory, bytes);
}

static void *no_state(void *memory, size_t bytes)
{
	(void)bytes;
	return memory;
}

/* The level is the acceleration: level 1 compresses best. */
static size_t lz4_compress(void *state, int level, const void *page, void *out, size_t most)
{
	int bytes = LZ4_compress_fast_extState_fastReset(state, page, out, (int)PAGE_BYTES, (int)most, level);

	return bytes > 0 ? (size_t)bytes : 0;
}

static long lz4_decompress(void *state, const void *in, size_t bytes, void *page)
{
	(void)state;
	return LZ4_decompress_safe(in, page, (int)bytes, (int)PAGE_BYTES);
}

static size_t lz4hc_compress_bytes(int level)
{
	(void)level;
	return sizeof(LZ4_streamHC_t);
}

static void *lz4hc_compress_init(void *memory, size_t bytes, int level)
{
	(void)level;
	return LZ4_initStreamHC(memory, bytes);
}

static size_t lz4hc_compress(void *state, int level, const void *page, void *out, size_t most)
{
	int bytes = LZ4_compress_HC_extStateHC_fastReset(state, page, out, (int)PAGE_BYTES, (int)most, level);

	return bytes > 0 ? (size_t)bytes : 0;
}

/* ---- zstd, with tables for one page ------------------------------------------------------- */

static size_t zstd_compress_bytes(int level)
{
	return ZSTD_estimateCCtxSize_usingCParams(ZSTD_getCParams(level, PAGE_BYTES, 0));
}

static size_t zstd_decompress_bytes(void)
{
	return ZSTD_estimateDCtxSize();
}

/* No magic number, no size, no checksum: the slot has the size, and the core has a checksum of the page. */
static void *zstd_compress_init(void *memory, size_t bytes, int level)
{
	ZSTD_CCtx *state = ZSTD_initStaticCCtx(memory, bytes);

	if (!state || ZSTD_isError(ZSTD_CCtx_setParameter(state, ZSTD_c_compressionLevel, level)) ||
		ZSTD_isError(ZSTD_CCtx_setParameter(state, ZSTD_c_format, ZSTD_f_zstd1_magicless)) ||
		ZSTD_isError(ZSTD_CCtx_setParameter(state, ZSTD_c_contentSizeFlag, 0)))
		return NULL;
	return state;
}

static void *zstd_decompress_init(void *memory, size_t bytes)
{
	ZSTD_DCtx *state = ZSTD_initStaticDCtx(memory, bytes);

	if (!state || ZSTD_isError(ZSTD_DCtx_setParameter(state, ZSTD_d_format, ZSTD_f_zstd1_magicless)))
		return NULL;
	return state;
}

static size_t zstd_compress(void *state, int level, const void *page, void *out, size_t most)
{
	size_t bytes = ZSTD_compress2(state, out, most, page, PAGE_BYTES);

	(void)level; /* the state has it */
	return ZSTD_isError(bytes) ? 0 : bytes;
}

static long zstd_decompress(void *state, const void *in, size_t bytes, void *page)
{
	size_t got = ZSTD_decompressDCtx(state, page, PAGE_BYTES, in, bytes);

	return ZSTD_isError(got) ? -1 : (long)got;
}

static const struct zcomp_algo algos[] = {
	{"lz4", 1, 100, 1, lz4_compress_bytes, nothing, lz4_compress_init, no_state, lz4_compress,
		lz4_decompress},
	{"zstd", 1, 19, 1, zstd_compress_bytes, zstd_decompress_bytes, zstd_compress_init,
		zstd_decompress_init, zstd_compress, zstd_decompress},
	{"lz4hc", 3, 12, 9, lz4hc_compress_bytes, nothing, lz4hc_compress_init, no_state, lz4hc_compress,
		lz4_decompress},
};

/* ---- Contexts ------------------------------------------------------------------------------ */

static void pool_init(struct zcomp_pool *pool)
{
	pthread_mutex_init(&pool->lock, NULL);
	pool->free = (1u << pool->nr) - 1;
	STAILQ_INIT(&pool->waiters);
}

/* Sleep until zcomp_put() gives this waiter a context. => lock not held */
static unsigned wait_for_one(struct zcomp_waiter *waiter)
{
	uint32_t given;

	while (!(given = atomic_load(&waiter->given)))
		syscall(SYS_futex, &waiter->given, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
	return given - 1;
}

/* The free context with the lowest number is taken, so that the others take no memory. */
struct zcomp_context *zcomp_get(struct zcomp_pool *pool)
{
	struct zcomp_waiter waiter = {.given = 0};
	unsigned at;

	pthread_mutex_lock(&pool->lock);
	if (pool->free) {
		at = (unsigned)__builtin_ctz(pool->free);
		pool->free &= pool->free - 1;
		pthread_mutex_unlock(&pool->lock);
	} else {
		STAILQ_INSERT_TAIL(&pool->waiters, &waiter, link);
		pthread_mutex_unlock(&pool->lock);
		at = wait_for_one(&waiter);
	}
	return &pool->contexts[at];
}

/*
 * The waiter may go on before it is woken. Then nobody sleeps at that address of its stack, or another thread's futex
 * that looks again when it is woken.
 */
void zcomp_put(struct zcomp_context *context)
{
	struct zcomp_pool *pool = context->pool;
	unsigned at = (unsigned)(context - pool->contexts);

	pthread_mutex_lock(&pool->lock);
	struct zcomp_waiter *first = STAILQ_FIRST(&pool->waiters);

	if (first) {
		STAILQ_REMOVE_HEAD(&pool->waiters, link);
		atomic_store(&first->given, at + 1);
	} else {
		pool->free |= 1u << at;
	}
	pthread_mutex_unlock(&pool->lock);
	if (first)
		syscall(SYS_futex, &first->given, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static size_t state_bytes(const struct zcomp *comp, bool compress)
{
	return page_align_up(
		compress ? comp->algo->compress_bytes(comp->level) : comp->algo->decompress_bytes());
}

/* => the caller has the context */
static bool context_ready(struct zcomp *comp, struct zcomp_context *context, bool compress)
{
	size_t bytes = state_bytes(comp, compress);

	if (likely(context->ready))
		return true;
	void *state = compress ? comp->algo->compress_init(context->state, bytes, comp->level)
			       : comp->algo->decompress_init(context->state, bytes);

	if (!state)
		return false;
	context->state = state;
	context->ready = true;
	atomic_fetch_add(&comp->used_bytes, bytes + PAGE_BYTES);
	return true;
}

size_t zcomp_compress(struct zcomp *comp, struct zcomp_context *context, const void *page, size_t most)
{
	if (!context_ready(comp, context, true))
		return 0;
	return comp->algo->compress(context->state, comp->level, page, context->buffer, most);
}

int zcomp_decompress(struct zcomp *comp, struct zcomp_context *context, size_t bytes, void *page)
{
	if (!context_ready(comp, context, false))
		return -EIO;
	return comp->algo->decompress(context->state, context->buffer, bytes, page) == (long)PAGE_BYTES
		       ? 0
		       : -EIO;
}

const char *zcomp_name(const struct zcomp *comp)
{
	return comp->algo->name;
}

/* ---- Open and close -------------------------------------------------------------------------- */

static int take_algo(struct zcomp *comp, struct swap_uri *uri, struct swap_why *why)
{
	const char *name = swap_uri_take(uri, "algo");

	comp->algo = &algos[0];
	for (size_t i = 0; name && i < ARRAY_SIZE(algos); i++) {
		if (strcmp(algos[i].name, name) == 0) {
			comp->algo = &algos[i];
			return 0;
		}
	}
	return name ? swap_why(why, -EINVAL, "algo=%s does not exist; write lz4, zstd or lz4hc", name) : 0;
}

static int take_level(struct zcomp *comp, struct swap_uri *uri, struct swap_why *why)
{
	uint64_t level = (uint64_t)comp->algo->level_default;
	int error = swap_uri_take_number(uri, "level", &level, why);

	if (error)
		return error;
	if (level < (uint64_t)comp->algo->level_least || level > (uint64_t)comp->algo->level_most)
		return swap_why(why, -EINVAL, "level=%lu is out of range; algo=%s has %d to %d", level,
			comp->algo->name, comp->algo->level_least, comp->algo->level_most);
	comp->level = (int)level;
	return 0;
}

static unsigned nr_cpus(void)
{
	cpu_set_t cpus;

	if (sched_getaffinity(0, sizeof(cpus), &cpus) < 0)
		return 2;
	return (unsigned)CPU_COUNT(&cpus);
}

static uint8_t *pool_place(struct zcomp *comp, struct zcomp_pool *pool, bool compress, uint8_t *at)
{
	pool->nr = (unsigned)min_u64(max_u64(nr_cpus(), 2), ZCOMP_CONTEXTS);
	pool_init(pool);
	for (unsigned i = 0; i < pool->nr; i++) {
		pool->contexts[i].pool = pool;
		pool->contexts[i].buffer = at;
		pool->contexts[i].state = at + PAGE_BYTES;
		at += PAGE_BYTES + state_bytes(comp, compress);
	}
	return at;
}

/*
 * Compress and decompress one page. The library may refuse a level only at its first use, and that should fail at
 * open.
 */
static int try_it(struct zcomp *comp, struct swap_why *why)
{
	struct zcomp_context *in = &comp->compress.contexts[0], *out = &comp->decompress.contexts[0];
	static const uint8_t zeros[PAGE_BYTES];
	uint8_t page[PAGE_BYTES];
	size_t bytes = zcomp_compress(comp, in, zeros, PAGE_BYTES);

	if (bytes > 0)
		memcpy(out->buffer, in->buffer, bytes);
	if (bytes > 0 && zcomp_decompress(comp, out, bytes, page) == 0)
		return 0;
	return swap_why(why, -EINVAL,
		"algo=%s cannot work at level=%d here; leave out level=", comp->algo->name, comp->level);
}

int zcomp_open(struct zcomp *comp, struct swap_uri *uri, struct swap_why *why)
{
	int error = take_algo(comp, uri, why);

	if (!error)
		error = take_level(comp, uri, why);
	if (error)
		return error;
	comp->memory_bytes =
		ZCOMP_CONTEXTS * (2 * PAGE_BYTES + state_bytes(comp, true) + state_bytes(comp, false));
	comp->memory = device_alloc(comp->memory_bytes);
	if (!comp->memory)
		return swap_why(why, -ENOMEM, "no memory for the compressor's tables");
	uint8_t *at = pool_place(comp, &comp->compress, true, comp->memory);

	pool_place(comp, &comp->decompress, false, at);
	error = try_it(comp, why);
	if (error)
		zcomp_close(comp);
	return error;
}

void zcomp_close(struct zcomp *comp)
{
	device_free(comp->memory, comp->memory_bytes);
	comp->memory = NULL;
}

void zcomp_fork_child(struct zcomp *comp)
{
	pool_init(&comp->compress);
	pool_init(&comp->decompress);
}

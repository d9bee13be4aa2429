/* SPDX-License-Identifier: MIT */
/*
 * What only compressed memory does: content of every kind comes back, pages that do not compress go on to the next
 * device, a full store refuses single pages and takes them again later, and the store does not fragment.
 */
#include "swapdev_world.h"
#include "swap/zram/zram.h"

static unsigned seed = 1;

static struct zram_dev *zram_in(struct world *w)
{
	return container_of(w->dev, struct zram_dev, dev);
}

/* ---- Content ------------------------------------------------------------------------- */

enum content { ZEROS, SAME_WORD, TEXT, HEAP, RANDOM, RAW_AND_SHORT, NR_CONTENTS };

/* From the slot and the version alone, so that it can be made again to be compared. */
static void make_page(uint8_t *page, enum content content, uint32_t slot, unsigned version)
{
	static const char *const words[] = {
		"page ", "frame ", "swap ", "the ", "is ", "of ", "slot ", "when "};
	unsigned random = slot * 2654435761u + version * 40503u + 1;
	uint64_t *numbers = (uint64_t *)(void *)page;

	memset(page, 0, PAGE_BYTES);
	switch (content) {
	case SAME_WORD:
		for (unsigned i = 0; i < PAGE_BYTES / 8; i++)
			numbers[i] = UINT64_C(0x0123456789abcdef) + slot;
		break;
	case TEXT:
		for (size_t used = 0; used < PAGE_BYTES - 8;)
			used += (size_t)sprintf((char *)page + used, "%s", words[rand_r(&random) % 8]);
		break;
	case HEAP:
		for (unsigned i = 0; i < PAGE_BYTES / 8; i++)
			numbers[i] = i % 4 == 0 ? UINT64_C(0x7f0000000000) + (uint64_t)rand_r(&random)
						: (uint64_t)(rand_r(&random) % 100);
		break;
	case RANDOM:
		for (unsigned i = 0; i < PAGE_BYTES; i++)
			page[i] = (uint8_t)(rand_r(&random) >> 8);
		break;
	case RAW_AND_SHORT: /* from incompressible to nearly empty, by the slot */
		for (unsigned i = 0; i < PAGE_BYTES / 64 * (slot % 65); i++)
			page[i] = (uint8_t)(rand_r(&random) >> 8);
		break;
	default:
		break;
	}
}

static int write_content(struct world *w, enum content content, uint32_t slot, uint16_t nr, unsigned version)
{
	io_setup(w, 0, SWAP_WRITE, slot, nr, false);
	for (unsigned j = 0; j < nr; j++)
		make_page(io_page(w, 0, j, false), content, slot + j, version);
	submit_one(w, 0);
	wait_for(w, 0);
	return w->io[0]->result;
}

static void assert_content(
	struct world *w, enum content content, uint32_t slot, uint16_t nr, unsigned version)
{
	uint8_t want[PAGE_BYTES];

	assert_int_equal(read_slots(w, slot, nr), 0);
	for (unsigned j = 0; j < nr; j++) {
		make_page(want, content, slot + j, version);
		if (memcmp(want, io_page(w, 0, j, false), PAGE_BYTES) != 0)
			fail_msg(
				"slot %u does not hold content %d of version %u", slot + j, content, version);
	}
}

static void assert_store_is_whole(struct world *w)
{
	struct zram_dev *zram = zram_in(w);

	pthread_mutex_lock(&zram->lock);
	const char *wrong = zstore_check(&zram->store);

	pthread_mutex_unlock(&zram->lock);
	if (wrong)
		fail_msg("the store is not whole: %s", wrong);
}

static void every_content_comes_back(void **state)
{
	struct world *w = world_new(*state);

	for (enum content content = ZEROS; content < NR_CONTENTS; content++) {
		uint32_t slot = content * 200u;

		assert_int_equal(write_content(w, content, slot, 130, 1), 0);
		assert_int_equal(write_content(w, content, slot + 30, 65, 2), 0);
	}
	for (enum content content = ZEROS; content < NR_CONTENTS; content++) {
		uint32_t slot = content * 200u;

		assert_content(w, content, slot, 30, 1);
		assert_content(w, content, slot + 30, 65, 2);
		assert_content(w, content, slot + 95, 35, 1);
	}
	assert_store_is_whole(w);
	world_free(w);
}

static void pages_of_one_word_take_no_store(void **state)
{
	struct world *w = world_new("zram:?size=1M");

	(void)state;
	for (uint32_t slot = 0; slot < w->dev->nr_slots; slot += 128)
		assert_int_equal(write_content(w, slot % 256 ? SAME_WORD : ZEROS, slot, 128, 1), 0);
	assert_int_equal(zstore_present_bytes(&zram_in(w)->store), 0);
	assert_content(w, SAME_WORD, 128, 128, 1);
	world_free(w);
}

/* ---- Being full ------------------------------------------------------------------------------ */

static unsigned nr_refused(const struct swap_io *io)
{
	unsigned nr = 0;

	for (unsigned i = 0; i < io->nr; i++)
		nr += swap_io_refused(io, i);
	return nr;
}

/* 256 KiB hold 64 pages as they are: of 200 written at once the others are refused, one by one. */
static void a_full_store_refuses_single_pages(void **state)
{
	struct world *w = world_new("zram:?size=256K");
	uint8_t want[PAGE_BYTES];
	unsigned stored = 0;

	(void)state;
	assert_int_equal(write_content(w, RANDOM, 0, 200, 1), -ENOSPC);
	assert_int_equal(nr_refused(w->io[0]), 200 - 64);
	uint64_t refused[SWAP_IO_PAGES / 64];

	memcpy(refused, w->io[0]->refused, sizeof(refused));
	assert_int_equal(read_slots(w, 0, 200), 0);
	for (unsigned i = 0; i < 200; i++) {
		make_page(want, RANDOM, i, 1);
		if (refused[i / 64] >> (i % 64) & 1)
			continue;
		assert_memory_equal(want, io_page(w, 0, i, false), PAGE_BYTES);
		stored++;
	}
	assert_int_equal(stored, 64);
	w->dev->ops->discard(w->dev, 0, 20);
	assert_int_equal(write_content(w, RANDOM, 220, 20, 1), 0);
	assert_content(w, RANDOM, 220, 20, 1);
	assert_store_is_whole(w);
	world_free(w);
}

static void discarded_memory_goes_back(void **state)
{
	struct world *w = world_new(*state);
	struct zram_dev *zram = zram_in(w);
	uint64_t before = w->dev->ops->memory_used(w->dev);

	for (uint32_t slot = 0; slot < 2048; slot += 256)
		assert_int_equal(write_content(w, HEAP, slot, 256, 1), 0);
	assert_true(w->dev->ops->memory_used(w->dev) > before + MIB);
	w->dev->ops->discard(w->dev, 0, 2048);
	for (int i = 0; i < 20; i++)
		w->dev->ops->background(w->dev);
	assert_true(zstore_present_bytes(&zram->store) <= 8 * zram->store.block_bytes);
	assert_int_equal(zram->store.put_bytes, 0);
	assert_true(zram->newest == NO_SLOT && zram->oldest == NO_SLOT);
	world_free(w);
}

/* ---- Fragmentation ------------------------------------------------------------------------------ */

/* What the store takes for each byte that was put; without @blocks of its blocks. */
static double overhead(struct zram_dev *zram, unsigned blocks)
{
	uint64_t in_use = (zram->store.nr_present - zram->store.nr_spare - blocks) * zram->store.block_bytes;

	return (double)in_use / (double)zram->store.put_bytes;
}

/*
 * Random sizes come and go, then three of four slots go at random: what is left may not keep the memory of all.
 * The bound: 8 % for the step of a class, 12.5 % free places, and a block for each class.
 */
static void churn_does_not_fragment(void **state)
{
	struct world *w = world_new("zram:?size=48M");
	struct zram_dev *zram = zram_in(w);
	double worst = 0;

	(void)state;
	for (unsigned round = 0; round < 400; round++) {
		uint32_t slot = (uint32_t)rand_r(&seed) % 8000;

		assert_int_equal(write_content(w, RAW_AND_SHORT, slot, 64, round), 0);
		w->dev->ops->discard(
			w->dev, (uint32_t)rand_r(&seed) % 8000, 1 + (uint32_t)rand_r(&seed) % 64);
		if (round % 8 == 0)
			w->dev->ops->background(w->dev);
		if (round > 200 && overhead(zram, 0) > worst)
			worst = overhead(zram, 0);
	}
	assert_store_is_whole(w);
	print_message("overhead under churn: %.3f at worst\n", worst);
	assert_true(worst < 1.25);
	for (uint32_t slot = 0; slot < 8100; slot++)
		if (rand_r(&seed) % 4)
			w->dev->ops->discard(w->dev, slot, 1);
	for (int i = 0; i < 40; i++)
		w->dev->ops->background(w->dev);
	assert_store_is_whole(w);
	print_message("overhead after three of four have gone: %.3f of %lu KiB\n", overhead(zram, 0),
		(unsigned long)(zram->store.put_bytes / KIB));
	assert_true(overhead(zram, ZSTORE_CLASSES) < 1.08 * 1.125);
	world_free(w);
}

/* ---- The device behind it --------------------------------------------------------------------------- */

/* Incompressible pages go on at once, the oldest of the others when it is full; everything comes back. */
static void the_next_device_takes_what_is_too_much(void **state)
{
	struct world *w = world_new(*state);
	struct zram_dev *zram = zram_in(w);

	assert_int_equal(write_content(w, RANDOM, 0, 100, 1), 0);
	assert_int_equal(zram->store.nr_put, 0);
	assert_int_equal(zram->next_nr_used, 100);
	for (uint32_t slot = 256; slot < 4096; slot += 16) {
		assert_int_equal(write_content(w, HEAP, slot, 16, 1), 0);
		w->dev->ops->background(w->dev);
		zram_back_drain(zram);
	}
	zram_back_drain(zram);
	assert_true(zram->next_nr_used > 1000);
	assert_int_equal(zram->slots[256].kind, ZRAM_NEXT); /* the oldest */
	assert_int_equal(zram->slots[4095].kind, ZRAM_STORED); /* the newest */
	assert_content(w, RANDOM, 0, 100, 1);
	for (uint32_t slot = 256; slot < 4096; slot += 256)
		assert_content(w, HEAP, slot, 256, 1);
	assert_store_is_whole(w);
	w->dev->ops->discard(w->dev, 0, 4096);
	assert_int_equal(zram->next_nr_used, 0);
	world_free(w);
}

/* What is read is not old, however long ago it was written. */
static void what_is_wanted_stays(void **state)
{
	struct world *w = world_new("zram:?size=1M,mem:?size=32M");
	struct zram_dev *zram = zram_in(w);

	(void)state;
	assert_int_equal(write_content(w, HEAP, 0, 32, 1), 0);
	for (uint32_t slot = 256; slot < 4096; slot += 16) {
		assert_int_equal(write_content(w, HEAP, slot, 16, 1), 0);
		assert_content(w, HEAP, 0, 16, 1);
		w->dev->ops->background(w->dev);
		zram_back_drain(zram);
	}
	for (uint32_t slot = 0; slot < 16; slot++)
		assert_int_equal(zram->slots[slot].kind, ZRAM_STORED);
	for (uint32_t slot = 16; slot < 32; slot++)
		assert_int_equal(zram->slots[slot].kind, ZRAM_NEXT);
	assert_store_is_whole(w);
	world_free(w);
}

/* How long the device behind takes is measured; where none is there is no tier. */
static void a_tier_says_what_it_costs(void **state)
{
	struct world *w = world_new("zram:?size=1M,file:/var/tmp?size=32M");
	struct swap_tier tier;

	(void)state;
	assert_int_equal(write_content(w, RANDOM, 0, 1, 1), 0);
	assert_int_equal(write_content(w, HEAP, 1, 1, 1), 0);
	assert_true(w->dev->ops->tier(w->dev, 0, &tier));
	assert_true(tier.behind);
	assert_int_equal(tier.pages, 1);
	uint32_t guessed = tier.behind_ns;

	for (unsigned i = 0; i < 100; i++)
		assert_content(w, RANDOM, 0, 1, 1);
	assert_true(w->dev->ops->tier(w->dev, 1, &tier));
	assert_false(tier.behind);
	assert_int_not_equal(tier.behind_ns, guessed);
	assert_true(tier.own_ns > 0);
	world_free(w);
	w = world_new("zram:?size=1M");
	assert_false(w->dev->ops->tier(w->dev, 0, &tier));
	world_free(w);
}

/* Slots are overwritten, discarded and read while they leave. */
static void what_changes_while_it_leaves_is_right(void **state)
{
	struct world *w = world_new("zram:?size=512K,faulty:mem:?size=16M&delay=6&seed=4");
	uint8_t version[1024] = {0};

	(void)state;
	for (unsigned round = 1; round < 600; round++) {
		uint32_t slot = (uint32_t)rand_r(&seed) % 1000;
		uint16_t nr = (uint16_t)(1 + rand_r(&seed) % 24);
		uint8_t want[PAGE_BYTES];

		switch (rand_r(&seed) % 4) {
		case 0:
		case 1:
			assert_int_equal(write_content(w, HEAP, slot, nr, round % 256), 0);
			memset(version + slot, (int)(round % 256), nr);
			break;
		case 2:
			w->dev->ops->discard(w->dev, slot, nr);
			memset(version + slot, 0, nr);
			break;
		default:
			assert_int_equal(read_slots(w, slot, nr), 0);
			for (unsigned j = 0; j < nr; j++) {
				if (!version[slot + j])
					continue;
				make_page(want, HEAP, slot + j, version[slot + j]);
				assert_memory_equal(want, io_page(w, 0, j, false), PAGE_BYTES);
			}
			break;
		}
		w->dev->ops->background(w->dev);
	}
	assert_store_is_whole(w);
	world_free(w);
}

/* It fails: what was to leave stays, what goes through it at once is an error. */
static void the_next_device_fails(void **state)
{
	struct world *w = world_new("zram:?size=512K,faulty:mem:?size=16M&fail_write=1&forever=1");
	struct zram_dev *zram = zram_in(w);
	unsigned stored;

	(void)state;
	assert_int_equal(write_content(w, RANDOM, 0, 10, 1), -EIO);
	for (uint32_t slot = 256; slot < 384; slot += 32)
		assert_int_equal(write_content(w, TEXT, slot, 32, 1), 0);
	stored = (unsigned)zram->store.nr_put;
	while (zstore_present_bytes(&zram->store) < zram->most_bytes / 20 * 19 && stored < 1500) {
		assert_int_equal(write_content(w, TEXT, 256 + stored, 8, 1), 0);
		stored += 8;
	}
	for (int i = 0; i < 10; i++)
		w->dev->ops->background(w->dev);
	zram_back_drain(zram);
	assert_int_equal(zram->slots[256].kind, ZRAM_STORED);
	assert_content(w, TEXT, 256, (uint16_t)(stored < 256 ? stored : 256), 1);
	world_free(w);
}

/* It has no room for some: those alone are refused. */
static void the_next_device_is_full(void **state)
{
	struct world *w = world_new("zram:?size=512K,mem:?size=128K");

	(void)state;
	assert_int_equal(write_content(w, RANDOM, 0, 200, 1), -ENOSPC);
	/* 32 there, 128 here as they are */
	assert_int_equal(nr_refused(w->io[0]), 200 - 32 - 128);
	w->dev->ops->discard(w->dev, 0, 200);
	assert_int_equal(write_content(w, RANDOM, 300, 100, 1), 0);
	assert_content(w, RANDOM, 300, 100, 1);
	world_free(w);
}

/* ---- Shared memory ------------------------------------------------------------------------------------ */

static void it_takes_no_more_than_it_is_granted(void **state)
{
	struct world *w = world_new("zram:");
	struct swapdev *dev = w->dev;

	(void)state;
	assert_true(dev->shares_memory);
	assert_int_equal(write_content(w, HEAP, 0, 10, 1), -ENOSPC);
	uint32_t wanted = dev->ops->memory_wanted(dev);

	assert_true(wanted > 0);
	assert_int_equal(dev->ops->memory_grant(dev, wanted, 10000), wanted);
	assert_int_equal(write_content(w, HEAP, 0, 100, 1), 0);
	for (uint32_t slot = 100; slot < 4096 && write_content(w, RANDOM, slot, 8, 1) == 0; slot += 8)
		;
	assert_true(dev->ops->memory_used(dev) <= (wanted + 4) * PAGE_BYTES); /* tables grow beside it */
	assert_true(dev->ops->memory_wanted(dev) > wanted);
	assert_true(dev->ops->memory_grant(dev, 1, 10000) > 1); /* it cannot give back what it has */
	dev->ops->discard(dev, 0, 4096);
	for (int i = 0; i < 20; i++)
		dev->ops->background(dev);
	assert_true(dev->ops->memory_grant(dev, wanted / 2, 10000) <= wanted);
	world_free(w);
}

/* ---- URIs ---------------------------------------------------------------------------------------------- */

static void refused(const char *uri, int error, const char *word)
{
	struct swapdev *dev = NULL;
	char why[512] = "";

	assert_int_equal(swapdev_open(uri, &dev, why, sizeof(why)), error);
	if (!strstr(why, word))
		fail_msg("'%s' does not say '%s'", why, word);
}

static void bad_names_are_told(void **state)
{
	(void)state;
	refused("zram:?algo=lzma", -EINVAL, "write lz4, zstd or lz4hc");
	refused("zram:?algo=zstd&level=0", -EINVAL, "has 1 to 19");
	refused("zram:?algo=lz4hc&level=13", -EINVAL, "has 3 to 12");
	refused("zram:?level=x", -EINVAL, "not a number");
	refused("zram:?size=8K", -EINVAL, "at least 256K");
	refused("zram:?size=15T", -ERANGE, "more memory than this host has");
	refused("zram:?size=nonsense", -EINVAL, "is not a size");
	refused("zram:/tmp?size=1M", -EINVAL, "no path");
	refused("zram:?colour=red", -EINVAL, "algo, level and size");
	refused("zram:,zram:", -EINVAL, "one is enough");
	refused("faulty:zram:", -EINVAL, "add size=");
	refused("zram:,file:/nowhere/at/all?size=1M", -ENOENT, "/nowhere/at/all");
	refused("mem:?size=1M,mem:?size=1M", -E2BIG, "one device too many");
}

/* Room is what the core sees of a store that gets full: the share of its memory that it may still take. */
static void a_full_store_says_that_room_is_short(void **state)
{
	struct world *w = world_new("zram:?size=1M");

	(void)state;
	assert_int_equal(write_content(w, RANDOM, 0, 100, 1), 0);
	w->dev->ops->background(w->dev);
	assert_in_range(swapdev_cost(w->dev).room, COST_WHOLE / 2, COST_WHOLE - 1);
	assert_int_equal(write_content(w, RANDOM, 100, 128, 1), 0);
	w->dev->ops->background(w->dev);
	assert_in_range(swapdev_cost(w->dev).room, 0, COST_WHOLE / 5 - 1);
	w->dev->ops->discard(w->dev, 0, 228);
	w->dev->ops->background(w->dev);
	assert_in_range(swapdev_cost(w->dev).room, COST_WHOLE / 2, COST_WHOLE);
	world_free(w);
}

/* Pages that do not compress, written again and again: each time to another slot of the device behind. */
static void the_device_behind_does_not_grow_by_rewriting(void **state)
{
	struct world *w = world_new("zram:?size=256K,mem:?size=64M");
	struct zram_dev *zram = zram_in(w);

	(void)state;
	for (unsigned version = 1; version < 60; version++)
		assert_int_equal(write_slots(w, 0, SWAP_IO_PAGES, version), 0);
	assert_int_equal(zram->next_nr_used, SWAP_IO_PAGES);
	assert_in_range(zram->next_touched, SWAP_IO_PAGES, 4 * SWAP_IO_PAGES);
	world_free(w);
}

static void lists_are_cut_where_a_scheme_follows(void **state)
{
	struct swapdev *devs[4];
	char why[512];

	(void)state;
	assert_int_equal(
		swapdev_open_all("mem:?size=1M,zram:?size=1M,mem:?size=2M", 0, devs, 4, why, sizeof(why)), 2);
	assert_int_equal(devs[0]->nr_slots, 256);
	assert_string_equal(devs[1]->ops->scheme, "zram");
	assert_int_equal(devs[1]->nr_slots, 4 * 256 + 512);
	for (int i = 0; i < 2; i++)
		devs[i]->ops->close(devs[i]);
	refused("file:/nowhere/a,b/c?size=1M", -ENOENT, "/nowhere/a,b/c");
}

/* ---- Threads -------------------------------------------------------------------------------------------- */

struct taker {
	struct zcomp_pool *pool;
	struct zcomp_context *context;
	_Atomic(bool) has;
};

static void *take_context(void *arg)
{
	struct taker *taker = arg;

	taker->context = zcomp_get(taker->pool);
	atomic_store(&taker->has, true);
	return NULL;
}

static unsigned nr_waiting(struct zcomp_pool *pool)
{
	struct zcomp_waiter *waiter;
	unsigned nr = 0;

	pthread_mutex_lock(&pool->lock);
	STAILQ_FOREACH (waiter, &pool->waiters, link)
		nr++;
	pthread_mutex_unlock(&pool->lock);
	return nr;
}

/* Not only the first one, and not by whoever is quickest. */
static void who_waits_for_a_context_gets_the_next_one_in_turn(void **state)
{
	struct world *w = world_new("zram:?size=1M");
	struct zcomp_pool *pool = &zram_in(w)->comp.compress;
	struct zcomp_context *taken[ZCOMP_CONTEXTS];
	struct taker takers[2] = {{.pool = pool}, {.pool = pool}};
	pthread_t threads[2];

	(void)state;
	for (unsigned i = 0; i < pool->nr; i++)
		taken[i] = zcomp_get(pool);
	for (unsigned i = 0; i < 2; i++) {
		pthread_create(&threads[i], NULL, take_context, &takers[i]);
		while (nr_waiting(pool) != i + 1)
			sched_yield();
	}
	for (unsigned i = 0; i < 2; i++) {
		assert_false(atomic_load(&takers[i].has));
		zcomp_put(taken[1 - i]); /* the first one last */
		pthread_join(threads[i], NULL);
		assert_ptr_equal(takers[i].context, taken[1 - i]);
	}
	for (unsigned i = 0; i < pool->nr; i++)
		zcomp_put(taken[i]);
	assert_int_equal(pool->free, (1u << pool->nr) - 1);
	world_free(w);
}

struct worker {
	struct world *w;
	int index;
	int wrong;
};

/* Each has slots of its own; the store, its blocks and the contexts are everybody's. */
static void *work(void *arg)
{
	struct worker *worker = arg;
	struct world *w = worker->w;
	int i = worker->index;
	uint32_t base = (uint32_t)i * 128;
	uint8_t want[PAGE_BYTES];

	for (unsigned round = 0; round < 60; round++) {
		enum content content = (enum content)(round % NR_CONTENTS);

		io_setup(w, i, SWAP_WRITE, base, 32, false);
		for (unsigned j = 0; j < 32; j++)
			make_page(io_page(w, i, j, false), content, base + j, round);
		submit_one(w, i);
		wait_for(w, i);
		worker->wrong += w->io[i]->result != 0;
		w->dev->ops->background(w->dev);
		io_setup(w, i, SWAP_READ, base, 32, false);
		submit_one(w, i);
		wait_for(w, i);
		for (unsigned j = 0; j < 32; j++) {
			make_page(want, content, base + j, round);
			worker->wrong += memcmp(want, io_page(w, i, j, false), PAGE_BYTES) != 0;
		}
		w->dev->ops->discard(w->dev, base + round % 16, 16);
	}
	return NULL;
}

static void threads_share_the_store(void **state)
{
	enum { WORKERS = 4 };
	struct world *w = world_new(*state);
	struct worker workers[WORKERS];
	pthread_t threads[WORKERS];

	for (int i = 0; i < WORKERS; i++) {
		workers[i] = (struct worker){.w = w, .index = i};
		pthread_create(&threads[i], NULL, work, &workers[i]);
	}
	for (int i = 0; i < WORKERS; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(workers[i].wrong, 0);
	}
	assert_store_is_whole(w);
	world_free(w);
}

/* ---- Fork ----------------------------------------------------------------------------------------------- */

/* A child reads what is stored and what has gone on, while the parent's slots leave and change. */
static void a_child_reads_both_tiers(void **state)
{
	struct world *w = world_new("zram:?size=512K,file:/var/tmp?size=16M");
	struct zram_dev *zram = zram_in(w);
	uint8_t want[PAGE_BYTES];
	pid_t pid;

	(void)state;
	for (uint32_t slot = 0; slot < 1024; slot += 128) {
		assert_int_equal(write_content(w, HEAP, slot, 128, 3), 0);
		w->dev->ops->background(w->dev);
	}
	pid = fork_device(w);
	if (pid == 0) {
		CHECK(zram->next_nr_used > 0 && zram->store.nr_put > 0);
		for (uint32_t slot = 0; slot < 1024; slot += 128) {
			io_setup(w, 1, SWAP_READ, slot, 128, false);
			submit_one(w, 1);
			for (int64_t until = now_ms() + LONG_MS; !atomic_load(&io_done[1]);) {
				w->dev->ops->poll(w->dev, SWAP_READ, 100);
				CHECK(now_ms() < until);
			}
			CHECK(w->io[1]->result == 0);
			for (unsigned j = 0; j < 128; j++) {
				make_page(want, HEAP, slot + j, 3);
				CHECK(memcmp(want, io_page(w, 1, j, false), PAGE_BYTES) == 0);
			}
		}
		w->dev->ops->close(w->dev);
		_exit(0);
	}
	for (unsigned round = 0; round < 10; round++) {
		assert_int_equal(write_content(w, HEAP, 2048, 128, round), 0);
		w->dev->ops->background(w->dev);
	}
	assert_child_is_well(pid);
	assert_content(w, HEAP, 0, 256, 3);
	world_free(w);
}

#define ON(test, uri) cmocka_unit_test_prestate(test, (void *)(uintptr_t)(uri))

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON(every_content_comes_back, "zram:?size=8M"),
		ON(every_content_comes_back, "zram:?size=8M&algo=zstd&level=3"),
		ON(every_content_comes_back, "zram:?size=8M&algo=lz4hc"),
		ON(every_content_comes_back, "zram:?size=64M"),
		ON(every_content_comes_back, "zram:?size=8M,mem:?size=8M"),
		ON(every_content_comes_back, "zram:?size=8M,file:/var/tmp?size=8M"),
		cmocka_unit_test(pages_of_one_word_take_no_store),
		cmocka_unit_test(a_full_store_refuses_single_pages),
		ON(discarded_memory_goes_back, "zram:?size=8M"),
		ON(discarded_memory_goes_back, "zram:?size=64M&algo=zstd"),
		cmocka_unit_test(churn_does_not_fragment),
		ON(the_next_device_takes_what_is_too_much, "zram:?size=1M,mem:?size=32M"),
		ON(the_next_device_takes_what_is_too_much, "zram:?size=1M,mem:?size=32M&when=submit"),
		ON(the_next_device_takes_what_is_too_much, "zram:?size=1M,file:/var/tmp?size=32M"),
		cmocka_unit_test(what_changes_while_it_leaves_is_right),
		cmocka_unit_test(what_is_wanted_stays),
		cmocka_unit_test(a_tier_says_what_it_costs),
		cmocka_unit_test(the_next_device_fails),
		cmocka_unit_test(the_next_device_is_full),
		cmocka_unit_test(it_takes_no_more_than_it_is_granted),
		cmocka_unit_test(bad_names_are_told),
		cmocka_unit_test(a_full_store_says_that_room_is_short),
		cmocka_unit_test(the_device_behind_does_not_grow_by_rewriting),
		cmocka_unit_test(who_waits_for_a_context_gets_the_next_one_in_turn),
		cmocka_unit_test(lists_are_cut_where_a_scheme_follows),
		ON(threads_share_the_store, "zram:?size=8M"),
		ON(threads_share_the_store, "zram:?size=8M&algo=zstd"),
		ON(threads_share_the_store, "zram:?size=512K,faulty:mem:?size=16M&delay=3&seed=2"),
		cmocka_unit_test(a_child_reads_both_tiers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* Swap slots, and the requests that carry pages to them: several areas, short ones, leases, and reads that go wrong. */
#include "mm_world.h"

#define PAGES 32u

static int set_up(void **state)
{
	(void)state;
	return open_world(
		(struct world_config){.kind = ANONMM_SOFT, .nr_frames = 512, .swap = "faulty:mem:?size=8M"});
}

static struct swap_slot *slot_at(uint64_t addr)
{
	struct page_view view = view_of(&parent, addr);

	assert_int_equal(view.pte, PTE_KIND_SWAP);
	return swap_slot(world.pager, (swp_entry_t){(uint8_t)view.swap_type, view.swap_slot});
}

static void out(unsigned nr)
{
	fill(base, nr);
	page_out(&parent, base, nr);
}

static struct swap_lease *lease_begin(void)
{
	struct swap_lease *lease;

	freeze();
	assert_int_equal(pager_lease_begin(world.pager, &lease), 0);
	pager_thaw(world.pager);
	return lease;
}

/* One stream of writes fills an area and goes on in the next. */
static void what_does_not_fit_goes_to_the_next_area(void **state)
{
	unsigned there[2] = {0};

	(void)state;
	swapon("mem:?size=64K", 5);
	out(PAGES);
	valid();
	for (unsigned i = 0; i < PAGES; i++)
		there[view_of(&parent, base + i * PAGE_BYTES).swap_type]++;
	assert_int_equal(there[1], 16);
	assert_int_equal(there[0], PAGES - 16);
	check(&parent, base, PAGES);
}

/* A last cluster that is shorter than others is whole when all of its slots are free. */
static void short_clusters_are_used_again(void **state)
{
	(void)state;
	swapon("mem:?size=1600K", 5); /* 400 slots */
	for (unsigned round = 0; round < 4; round++) {
		out(380);
		valid();
		for (unsigned i = 0; i < 380; i++)
			assert_int_equal(view_of(&parent, base + i * PAGE_BYTES).swap_type, 1);
		assert_int_equal(place_madvise(&parent, base, 400 * PAGE_BYTES, MADV_DONTNEED), 0);
		assert_int_equal(stats().slots_used, 0);
	}
}

/* No cluster ever gets whole then: what has some room is filled up before the table and the file grow. */
static void random_rewriting_does_not_spread_over_the_device(void **state)
{
	struct swap_area *area = &world.pager->areas[1];
	uint64_t random = 1, most = 0;

	(void)state;
	swapon("mem:?size=64M", 5);
	for (unsigned i = 0; i < 1000; i++)
		store(&parent, base + i * PAGE_BYTES, i + 1);
	for (unsigned round = 0; round < 20000; round++) {
		random = random * 6364136223846793005ull + 1442695040888963407ull;
		store(&parent, base + (random >> 33) % 1000 * PAGE_BYTES, random);
		if (round % 32 == 0)
			reap();
		most = max_u64(most, area->nr_used);
	}
	valid();
	assert_true(most > 400);
	assert_in_range(area->touched, most, 3 * most + 2 * SWAP_CLUSTER);
}

static struct swap_cost cost;

static void tell_cost(const struct swapdev *dev, struct swap_cost *out)
{
	(void)dev;
	*out = cost;
}

static void a_device_short_of_room_counts_as_full(void **state)
{
	struct swapdev_ops ops = *world.dev->ops;
	const struct swapdev_ops *was = world.dev->ops;

	(void)state;
	ops.cost = tell_cost;
	world.dev->ops = &ops;
	cost = COST_OF_DISK;
	assert_false(vm_swap_full(world.pager));
	cost.room = COST_WHOLE / 10;
	assert_true(vm_swap_full(world.pager));
	world.dev->ops = was;
}

/* The area remembers the last answer, so that a cost between the two bounds changes nothing. */
static void an_area_stays_quick_while_its_cost_wavers(void **state)
{
	struct swap_area *area = &world.pager->areas[0];
	struct swapdev_ops ops = *world.dev->ops;
	const struct swapdev_ops *was = world.dev->ops;
	const struct {
		uint32_t read_ns;
		bool quick;
	} steps[] = {
		{20000, false}, {5000, true}, {20000, true}, {100000, false}, {20000, false}, {1000, true}};

	(void)state;
	ops.cost = tell_cost;
	world.dev->ops = &ops;
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		cost.read_ns = steps[i].read_ns;
		assert_int_equal(area_is_quick(area), steps[i].quick);
	}
	world.dev->ops = was;
}

static void counters_tell_the_costs_of_the_device_used_first(void **state)
{
	struct swapdev_ops ops = *world.dev->ops;
	const struct swapdev_ops *was = world.dev->ops;
	struct wait wait = {0};

	(void)state;
	ops.cost = tell_cost;
	world.dev->ops = &ops;
	cost = (struct swap_cost){.read_ns = 4321, .write_ns = 1234, .room = COST_WHOLE};
	swapon("mem:?size=1M", -1);
	assert_int_equal(stats().swap_read_ns, 4321);
	assert_int_equal(stats().swap_write_ns, 1234);
	world.dev->ops = was;
	assert_int_equal(pager_swapoff_device(world.pager, world.dev, &wait), 0);
	assert_int_equal(stats().swap_read_ns, COST_OF_DISK.read_ns);
}

/* ---- Leases ------------------------------------------------------------------------------------ */

static void a_lease_of_an_empty_area_binds_none_of_its_slots(void **state)
{
	struct swap_lease *lease;

	(void)state;
	lease = lease_begin();
	out(PAGES);
	assert_int_equal(place_madvise(&parent, base, PAGES * PAGE_BYTES, MADV_DONTNEED), 0);
	assert_int_equal(stats().slots_used, 0);
	pager_lease_end(world.pager, lease);
	valid();
}

/* The child of an earlier fork names its slot still: then it is leased, and the page stays in the cache. */
static void a_mapped_page_whose_slot_is_named_stays_cached(void **state)
{
	struct swap_lease *lease;
	struct place child;

	(void)state;
	out(PAGES);
	assert_int_equal(place_fork(&parent, &child), 0);
	assert_int_equal(load(&parent, base), 1);
	assert_true(view_of(&parent, base).flags & PG_swapcache);
	lease = lease_begin();
	assert_true(view_of(&parent, base).flags & PG_swapcache);
	assert_int_equal(view_of(&parent, base).swap_count, 1);
	valid();
	pager_lease_end(world.pager, lease);
	check(&child, base, PAGES);
	place_close(&child);
}

/* A lease can be shared: it covers what is out at each fork, and ends once. */
static void who_joins_a_lease_has_what_is_out_by_then(void **state)
{
	struct swap_lease *lease;

	(void)state;
	out(PAGES);
	lease = lease_begin();
	for (unsigned i = PAGES; i < 700; i++)
		store(&parent, base + i * PAGE_BYTES, i + 1);
	page_out(&parent, base + PAGES * PAGE_BYTES, 700 - PAGES);
	freeze();
	assert_int_equal(pager_lease_join(world.pager, lease), 0);
	pager_thaw(world.pager);
	uint64_t used = stats().slots_used;

	assert_true(used > 600);
	assert_int_equal(place_madvise(&parent, base, 700 * PAGE_BYTES, MADV_DONTNEED), 0);
	assert_int_equal(stats().slots_used, used);
	valid();
	pager_lease_end(world.pager, lease);
	assert_int_equal(stats().slots_used, 0);
	valid();
}

/* A bit for each slot of a large device would take more than the pages that are on it. */
static void a_lease_takes_memory_for_what_is_out_alone(void **state)
{
	uint64_t before;

	(void)state;
	swapon("mem:?size=4G", 5);
	out(PAGES);
	before = stats().metadata_bytes;
	struct swap_lease *lease = lease_begin();

	assert_true(stats().metadata_bytes - before <= 4 * PAGE_BYTES);
	pager_lease_end(world.pager, lease);
	assert_int_equal(stats().metadata_bytes, before);
}

static void an_heir_forgets_all_leases(void **state)
{
	struct wait wait = {0};
	struct swapdev *gone;

	(void)state;
	gone = swapon("mem:?size=1M", -1);
	out(PAGES);
	lease_begin();
	lease_begin();
	assert_int_equal(pager_swapoff(world.pager, gone->uri, &wait), 0); /* leaves a hole */
	freeze();
	assert_int_equal(pager_fork_child(world.pager), 0);
	pager_thaw(world.pager);
	assert_true(TAILQ_EMPTY(&world.pager->leases));
	assert_int_equal(stats().slots, 0);
	check(&parent, base, PAGES);
	valid();
}

static void become_an_heir(void)
{
	freeze();
	assert_int_equal(pager_fork_child(world.pager), 0);
	pager_thaw(world.pager);
	valid();
}

static void what_is_inherited_fills_no_device_of_the_heir(void **state)
{
	(void)state;
	out(300);
	become_an_heir();
	assert_int_equal(stats().slots, 0);
	assert_int_equal(stats().slots_used, 0);
	swapon("mem:?size=1M", 1);
	assert_false(vm_swap_full(world.pager));
	assert_int_equal(place_madvise(&parent, base, 150 * PAGE_BYTES, MADV_DONTNEED), 0);
	assert_int_equal(stats().slots_used, 0);
	for (unsigned i = 150; i < 170; i++)
		assert_int_equal(load(&parent, base + i * PAGE_BYTES), i + 1);
	page_out(&parent, base + 150 * PAGE_BYTES, 20);
	assert_int_equal(stats().slots_used, 20);
	valid();
	become_an_heir(); /* of an heir */
	assert_int_equal(stats().slots_used, 0);
}

/* 300 used slots of a parent's device and none of its own: that is room for nothing, not for 2^64 - 300 pages. */
static void a_limit_that_no_device_of_the_heir_can_hold_is_refused(void **state)
{
	char why[200];

	(void)state;
	out(300);
	become_an_heir();
	for (unsigned i = 300; i < 700; i++)
		store(&parent, base + i * PAGE_BYTES, i + 1);
	assert_int_equal(pager_set_limit(world.pager, 2 * MIB, why, sizeof(why)), -ENOSPC);
	assert_non_null(strstr(why, "swap has room for 0 MiB"));
}

/* All devices of a line of forks have one name. */
static void an_heir_leaves_what_it_inherited_and_keeps_its_own(void **state)
{
	struct swapdev *own, *inherited = world.dev;
	struct wait wait = {0};

	(void)state;
	out(PAGES);
	become_an_heir();
	own = swapon("faulty:mem:?size=8M", 1);
	assert_string_equal(own->uri, inherited->uri);
	assert_int_equal(pager_slots_used(world.pager, inherited), PAGES);
	for (unsigned i = 0; i < PAGES / 2; i++)
		store(&parent, base + i * PAGE_BYTES, i + 1);
	assert_in_range(pager_slots_used(world.pager, inherited), 1, PAGES / 2); /* readahead took more */
	assert_int_equal(WORLD_RETRY(&world, &wait, pager_swapoff_device(world.pager, inherited, &wait)), 0);
	assert_int_equal(pager_slots_used(world.pager, inherited), 0);
	assert_null(world.pager->areas[0].dev);
	valid();
	page_out(&parent, base, PAGES);
	assert_int_equal(pager_slots_used(world.pager, own), PAGES);
	check(&parent, base, PAGES);
	struct swapdev *next = swapon("mem:?size=1M", -1);

	assert_ptr_equal(world.pager->areas[0].dev, next); /* the number is free again */
}

/* A thread of the parent is polling the device at the fork: in the heir it never leaves. */
static void who_was_inside_a_device_is_not_inside_the_heir_s(void **state)
{
	struct wait wait = {0};

	(void)state;
	out(PAGES);
	assert_ptr_equal(area_enter(world.pager, 0), world.dev);
	become_an_heir();
	assert_int_equal(place_munmap(&parent, base, PAGES * PAGE_BYTES), 0);
	assert_int_equal(pager_swapoff_device(world.pager, world.dev, &wait), 0);
	valid();
}

/* A slot that is kept for a child, or for ever, and that nobody names: the heir has no reason to keep it. */
static void slots_that_the_parent_keeps_are_free_for_its_heir(void **state)
{
	struct wait wait = {0};

	(void)state;
	out(PAGES);
	lease_begin();
	slot_at(base + 3 * PAGE_BYTES)->flags |= SLOT_RETIRED;
	assert_int_equal(place_madvise(&parent, base, PAGES * PAGE_BYTES, MADV_DONTNEED), 0);
	assert_int_equal(stats().slots_used, PAGES);
	become_an_heir();
	assert_int_equal(pager_slots_used(world.pager, world.dev), 0);
	assert_int_equal(pager_swapoff_device(world.pager, world.dev, &wait), 0);
	valid();
}

/* The owner's lease keeps what is there; ours need not, and would keep us from leaving it. */
static void a_lease_binds_nothing_that_is_inherited(void **state)
{
	struct swap_lease *lease;
	struct wait wait = {0};

	(void)state;
	out(PAGES);
	become_an_heir();
	swapon("mem:?size=1M", 1);
	lease = lease_begin();
	assert_int_equal(place_madvise(&parent, base, PAGES / 2 * PAGE_BYTES, MADV_DONTNEED), 0);
	assert_int_equal(pager_slots_used(world.pager, world.dev), PAGES / 2);
	assert_int_equal(WORLD_RETRY(&world, &wait, pager_swapoff_device(world.pager, world.dev, &wait)), 0);
	for (unsigned i = PAGES / 2; i < PAGES; i++)
		assert_int_equal(load(&parent, base + i * PAGE_BYTES), i + 1);
	pager_lease_end(world.pager, lease);
	valid();
}

static void an_heir_s_swapoff_of_what_it_inherited_changes_no_sum(void **state)
{
	struct wait wait = {0};
	char uri[sizeof(world.dev->uri)];

	(void)state;
	out(PAGES);
	become_an_heir();
	swapon("mem:?size=1M", 1);
	memcpy(uri, world.dev->uri, sizeof(uri));
	assert_int_equal(WORLD_RETRY(&world, &wait, pager_swapoff(world.pager, uri, &wait)), 0);
	assert_int_equal(stats().slots, 256);
	assert_int_equal(stats().slots_used, 0);
	valid();
	check(&parent, base, PAGES);
}

static void a_device_that_cannot_be_inherited_is_told(void **state)
{
	struct swapdev_ops ops = *world.dev->ops;
	const struct swapdev_ops *was = world.dev->ops;

	(void)state;
	swapon("mem:?size=1M", -1);
	ops.fork_child = NULL;
	world.dev->ops = &ops;
	freeze();
	assert_int_equal(pager_fork_child(world.pager), -EOPNOTSUPP);
	pager_thaw(world.pager);
	world.dev->ops = was;
}

/* ---- Content ------------------------------------------------------------------------------------- */

static void half_a_hash_is_not_the_content(void **state)
{
	struct page_view view;
	struct content content;
	swp_entry_t entry;

	(void)state;
	out(1);
	assert_int_equal(load(&parent, base), 1);
	view = view_of(&parent, base);
	entry = (swp_entry_t){(uint8_t)view.swap_type, view.swap_slot};
	page_content(world.pager, pfn_page(world.pager, view.pfn), &content);
	assert_true(slot_holds(world.pager, entry, &content));
	content.hash[1] ^= 1;
	assert_false(slot_holds(world.pager, entry, &content));
	content.hash[0] ^= 1;
	assert_false(slot_holds(world.pager, entry, &content));
}

static void bytes_of_another_hash_are_nobody_s(void **state)
{
	uint64_t value;

	(void)state;
	out(PAGES);
	slot_at(base)->hash[1] ^= 1;
	slot_at(base + PAGE_BYTES)->flags &=
		(uint16_t)~SLOT_HASHED; /* nothing is known of what was written */
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(soft_load64(parent.mmu, base + i * PAGE_BYTES, &value), -EIO);
	assert_int_equal(stats().lost_pages, 2);
	valid();
}

/* The host has no memory to read into: nothing is lost, and nobody asks for ever. */
static void reads_without_host_memory_end(void **state)
{
	struct wait wait;

	(void)state;
	out(PAGES);
	no_memory_after(0);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(handle_mm_fault(parent.space, base, ACCESS_READ, &wait), FAULT_OOM);
		reap();
	}
	memory_again();
	assert_int_equal(stats().lost_pages, 0);
	check(&parent, base, PAGES);
	valid();
}

/* ---- A device with room for a part ---------------------------------------------------------------- */

static void (*real_done)(struct swap_io *);
static unsigned refusals;

static void refuse_the_first(struct swap_io *io)
{
	io->done = real_done;
	if (io->dir == SWAP_WRITE && io->nr > 1) {
		swap_io_refuse(io, 0);
		refusals++;
	}
	io->done(io);
}

static const struct swapdev_ops *real_ops;

static void submit_refused(struct swapdev *dev, struct swap_io_list *list)
{
	struct swap_io *io;

	STAILQ_FOREACH (io, list, link) {
		real_done = io->done;
		io->done = refuse_the_first;
	}
	real_ops->submit(dev, list);
}

static void pages_that_were_not_refused_are_written(void **state)
{
	struct swapdev *dev = swapon("mem:?size=4M", 5);
	struct swapdev_ops ops;

	(void)state;
	fill(base, PAGES);
	real_ops = dev->ops;
	ops = *real_ops;
	ops.submit = submit_refused;
	dev->ops = &ops;
	refusals = 0;
	assert_int_equal(place_madvise(&parent, base, PAGES * PAGE_BYTES, MADV_PAGEOUT), 0);
	reap();
	dev->ops = real_ops;
	assert_true(refusals > 0);
	assert_int_equal(stats().written, PAGES - refusals);
	assert_int_equal(stats().io_errors, 0);
	valid();
	check(&parent, base, PAGES);
}

/* ---- Files --------------------------------------------------------------------------------------- */

static int read_number(void *ctx, uint64_t index, void *bytes)
{
	(void)ctx;
	memset(bytes, 0, PAGE_BYTES);
	index++;
	memcpy(bytes, &index, sizeof(index));
	return 0;
}

static const struct file_ops numbers = {read_number, NULL};

static struct file *map_numbers(unsigned nr, uint64_t *addr)
{
	struct file *file;

	*addr = 0;
	assert_int_equal(file_create(world.pager, &numbers, NULL, nr * PAGE_BYTES, &file), 0);
	assert_int_equal(
		place_mmap_file(&parent, addr, nr * PAGE_BYTES, PROT_READ | PROT_WRITE, 0, file, 0), 0);
	return file;
}

static void a_file_s_page_without_host_memory_is_asked_for_again(void **state)
{
	uint64_t addr, value;
	struct file *file = map_numbers(4, &addr);

	(void)state;
	no_memory_after(0);
	assert_int_equal(soft_load64(parent.mmu, addr, &value), -ENOMEM);
	memory_again();
	assert_int_equal(load(&parent, addr), 1);
	no_memory_after(1);
	assert_int_equal(soft_store64(parent.mmu, addr + PAGE_BYTES, 9), -ENOMEM);
	memory_again();
	valid();
	store(&parent, addr, 9);
	assert_int_equal(load(&parent, addr), 9);
	close_file(file);
}

static void a_page_is_locked_into_memory_once(void **state)
{
	uint64_t addr, again = 0;
	struct file *file = map_numbers(4, &addr);

	(void)state;
	assert_int_equal(
		place_mmap_file(&parent, &again, 4 * PAGE_BYTES, PROT_READ | PROT_WRITE, 0, file, 0), 0);
	assert_int_equal(place_mprotect(&parent, addr, 4 * PAGE_BYTES, PROT_READ), 0);
	assert_int_equal(place_mprotect(&parent, again, 4 * PAGE_BYTES, PROT_READ), 0);
	assert_int_equal(place_mlock(&parent, addr, 4 * PAGE_BYTES, true), 0);
	assert_int_equal(place_mlock(&parent, again, 4 * PAGE_BYTES, true), 0);
	assert_true(view_of(&parent, addr).flags & PG_mlocked);
	assert_int_equal(view_of(&parent, addr).pfn, view_of(&parent, again).pfn);
	assert_int_equal(place_munmap(&parent, addr, 4 * PAGE_BYTES), 0);
	assert_true(view_of(&parent, again).flags & PG_mlocked);
	valid();
	assert_int_equal(place_mlock(&parent, again, 4 * PAGE_BYTES, false), 0);
	assert_false(view_of(&parent, again).flags & PG_mlocked);
	close_file(file);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, close_world)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_does_not_fit_goes_to_the_next_area),
		TEST(short_clusters_are_used_again),
		TEST(random_rewriting_does_not_spread_over_the_device),
		TEST(a_device_short_of_room_counts_as_full),
		TEST(an_area_stays_quick_while_its_cost_wavers),
		TEST(counters_tell_the_costs_of_the_device_used_first),
		TEST(a_lease_of_an_empty_area_binds_none_of_its_slots),
		TEST(a_mapped_page_whose_slot_is_named_stays_cached),
		TEST(who_joins_a_lease_has_what_is_out_by_then),
		TEST(a_lease_takes_memory_for_what_is_out_alone),
		TEST(an_heir_forgets_all_leases),
		TEST(what_is_inherited_fills_no_device_of_the_heir),
		TEST(a_limit_that_no_device_of_the_heir_can_hold_is_refused),
		TEST(an_heir_leaves_what_it_inherited_and_keeps_its_own),
		TEST(who_was_inside_a_device_is_not_inside_the_heir_s),
		TEST(slots_that_the_parent_keeps_are_free_for_its_heir),
		TEST(a_lease_binds_nothing_that_is_inherited),
		TEST(an_heir_s_swapoff_of_what_it_inherited_changes_no_sum),
		TEST(a_device_that_cannot_be_inherited_is_told),
		TEST(half_a_hash_is_not_the_content),
		TEST(bytes_of_another_hash_are_nobody_s),
		TEST(reads_without_host_memory_end),
		TEST(pages_that_were_not_refused_are_written),
		TEST(a_file_s_page_without_host_memory_is_asked_for_again),
		TEST(a_page_is_locked_into_memory_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

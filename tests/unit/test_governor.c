/* SPDX-License-Identifier: MIT */
/*
 * A limit that follows the host: what is read of control groups, what is decided from it, and the thread that does
 * both, in a host made of files. Also the public call that changes a limit by hand.
 */
#define _GNU_SOURCE
#include "../world.h"
#include "lib/governor.h"
#include "host/memory.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <cmocka.h>

static char root[64];

/* The file of that name in the made host, with the directories above it. */
static void put(const char *path, const char *format, ...)
{
	char whole[PATH_MAX];
	va_list args;

	snprintf(whole, sizeof(whole), "%s%s", root, path);
	for (char *slash = strchr(whole + strlen(root) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(whole, 0755);
		*slash = '/';
	}
	FILE *out = fopen(whole, "w");

	assert_non_null(out);
	va_start(args, format);
	vfprintf(out, format, args);
	va_end(args);
	fclose(out);
}

static void put_host(unsigned total_mib, unsigned available_mib)
{
	put("/proc/meminfo", "MemTotal: %8u kB\nMemFree: 1 kB\nMemAvailable: %8u kB\n", total_mib * 1024,
		available_mib * 1024);
}

/* @limit_mib 0: "max" */
static void put_v2(
	const char *group, unsigned limit_mib, unsigned high_mib, unsigned used_mib, unsigned file_mib)
{
	static const char *const files[] = {"memory.max", "memory.high"};
	unsigned values[] = {limit_mib, high_mib};
	char path[200];

	for (unsigned i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "/sys/fs/cgroup%s/%s", group, files[i]);
		if (values[i])
			put(path, "%llu\n", (unsigned long long)values[i] << 20);
		else
			put(path, "max\n");
	}
	snprintf(path, sizeof(path), "/sys/fs/cgroup%s/memory.current", group);
	put(path, "%llu\n", (unsigned long long)used_mib << 20);
	snprintf(path, sizeof(path), "/sys/fs/cgroup%s/memory.stat", group);
	put(path, "anon 5\nfile 7\ninactive_file %llu\nactive_file 0\n", (unsigned long long)file_mib << 20);
}

static int set_up(void **state)
{
	(void)state;
	strcpy(root, "/tmp/anonmm-governor.XXXXXX");
	return mkdtemp(root) ? 0 : -1;
}

static int tear_down(void **state)
{
	char command[100];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf '%s'", root);
	return system(command);
}

/* ---- What is read ---------------------------------------------------------------------------- */

static void without_groups_the_host_is_the_limit(void **state)
{
	struct hostmem mem;

	(void)state;
	put_host(8192, 3000);
	hostmem_read(root, &mem);
	assert_int_equal(mem.physical, 8 * GIB);
	assert_int_equal(mem.available, 3000 * MIB);
	assert_int_equal(mem.version, 0);
	assert_true(mem.limit == UINT64_MAX);
	assert_int_equal(mem.slack, 3000 * MIB);
	assert_int_equal(hostmem_whole(&mem), 8 * GIB);
}

static void the_smallest_limit_up_the_tree_counts(void **state)
{
	struct hostmem mem;

	(void)state;
	put_host(8192, 7000);
	put("/proc/self/cgroup", "0::/outer/inner\n");
	put_v2("/outer/inner", 0, 0, 100, 0);
	put_v2("/outer", 500, 0, 200, 50);
	hostmem_read(root, &mem);
	assert_int_equal(mem.version, 2);
	assert_int_equal(mem.limit, 500 * MIB);
	assert_int_equal(mem.limit_used, 150 * MIB);
	assert_int_equal(mem.slack, 350 * MIB);
	assert_non_null(strstr(mem.group, "/sys/fs/cgroup/outer"));
	put_v2("/outer/inner", 400, 300, 100, 0);
	hostmem_read(root, &mem);
	assert_int_equal(mem.limit, 300 * MIB);
	assert_int_equal(mem.slack, 200 * MIB);
	put_v2("/outer", 500, 0, 490, 0); /* a neighbour takes what the outer one allows */
	hostmem_read(root, &mem);
	assert_int_equal(mem.limit, 300 * MIB);
	assert_int_equal(mem.slack, 10 * MIB);
}

static void version_1_says_the_same_in_other_words(void **state)
{
	struct hostmem mem;

	(void)state;
	put_host(8192, 7000);
	put("/proc/self/cgroup", "5:cpu:/x\n4:hugetlb,memory:/a/b\n3:memoryless:/c\n0::/\n");
	put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
	put("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "%llu\n", 200 * MIB);
	put("/sys/fs/cgroup/memory/a/memory.usage_in_bytes", "%llu\n", 80 * MIB);
	put("/sys/fs/cgroup/memory/a/memory.stat", "inactive_file 1\ntotal_inactive_file %llu\n", 30 * MIB);
	put("/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", "9223372036854771712\n");
	hostmem_read(root, &mem);
	assert_int_equal(mem.version, 1);
	assert_int_equal(mem.limit, 200 * MIB);
	assert_int_equal(mem.slack, 150 * MIB);
}

/* A container that sees the host's path and its own root. */
static void a_path_that_is_not_there_leaves_the_root(void **state)
{
	struct hostmem mem;

	(void)state;
	put_host(8192, 7000);
	put("/proc/self/cgroup", "0::/../not/mine\n");
	put_v2("", 256, 0, 6, 0);
	hostmem_read(root, &mem);
	assert_int_equal(mem.limit, 256 * MIB);
	assert_int_equal(mem.slack, 250 * MIB);
}

static void stalls_are_read(void **state)
{
	char path[PATH_MAX];

	(void)state;
	put("/psi", "some avg10=0.00 avg60=0.00 avg300=0.00 total=1234567\nfull avg10=0 total=99\n");
	snprintf(path, sizeof(path), "%s/psi", root);
	assert_int_equal(hostmem_stalled_us(path), 1234567);
	put("/psi", "none\n");
	assert_int_equal(hostmem_stalled_us(path), -ENODATA);
	assert_int_equal(hostmem_stalled_us("/no/such/file"), -ENOENT);
}

/* ---- What is decided --------------------------------------------------------------------------- */

#define SECOND 1000000000ULL

static void what_others_take_makes_the_limit_smaller(void **state)
{
	struct governor_state s = {.share = 100};
	struct governor_look look = {.now_ns = SECOND, .slack = (int64_t)(1000 * MIB), .managed = 600 * MIB};

	(void)state;
	uint64_t before = governor_decide(&s, &look, UINT64_MAX);

	assert_in_range(before, 1450 * MIB, 1600 * MIB);
	look.managed += 300 * MIB; /* ours: the same room */
	look.slack -= (int64_t)(300 * MIB);
	assert_int_equal(governor_decide(&s, &look, UINT64_MAX), before);
	look.slack -= (int64_t)(500 * MIB); /* somebody else's */
	assert_in_range(governor_decide(&s, &look, UINT64_MAX), 950 * MIB, 1100 * MIB);
	look.slack = -(int64_t)(5000 * MIB);
	assert_int_equal(governor_decide(&s, &look, UINT64_MAX), ANONMM_MEMORY_MIN);
	look.slack = (int64_t)(5000 * MIB);
	assert_int_equal(governor_decide(&s, &look, 64 * MIB), 64 * MIB);
}

static void pressure_takes_in_steps_and_calm_gives_back(void **state)
{
	struct governor_state s = {.share = 100};
	struct governor_look look = {.now_ns = SECOND, .slack = (int64_t)(1000 * MIB), .pressed = true};

	(void)state;
	uint64_t last = UINT64_MAX;

	for (unsigned i = 0; i < 5; i++) {
		uint64_t now = governor_decide(&s, &look, UINT64_MAX);

		assert_true(now < last);
		last = now;
		look.now_ns += SECOND;
	}
	assert_int_equal(s.share, 75);
	for (unsigned i = 0; i < 100; i++)
		governor_decide(&s, &look, UINT64_MAX);
	assert_int_equal(s.share, GOVERNOR_SHARE_LEAST);
	look.pressed = false;
	governor_decide(&s, &look, UINT64_MAX);
	assert_int_equal(s.share, GOVERNOR_SHARE_LEAST);
	for (unsigned i = 0; i < GOVERNOR_CALM_S; i++) {
		look.now_ns += SECOND;
		governor_decide(&s, &look, UINT64_MAX);
	}
	assert_int_equal(s.share, GOVERNOR_SHARE_LEAST + GOVERNOR_SHARE_STEP);
	for (unsigned i = 0; i < 200; i++) {
		look.now_ns += SECOND;
		governor_decide(&s, &look, UINT64_MAX);
	}
	assert_int_equal(s.share, 100);
}

/* ---- The thread ----------------------------------------------------------------------------------- */

static uint64_t limit_of(struct pager *pager)
{
	struct pager_limit now;

	pager_limit(pager, &now);
	return now.bytes;
}

static void wait_for_limit(struct pager *pager, uint64_t least, uint64_t most)
{
	for (int i = 0; i < 100 && (limit_of(pager) < least || limit_of(pager) > most); i++)
		usleep(50000);
	assert_in_range(limit_of(pager), least, most);
}

static void the_thread_follows_the_group(void **state)
{
	struct world world;
	struct world_config config = {
		.kind = ANONMM_SOFT, .threads = true, .nr_frames = 60000, .swap = "mem:?size=32M"};
	struct governor_config governor = {.root = root, .most = 180 * MIB};
	struct governor *g;

	(void)state;
	put_host(8192, 7000);
	put("/proc/self/cgroup", "0::/box\n");
	put_v2("/box", 100, 0, 0, 0);
	put("/proc/pressure/memory", "some avg10=0 total=1000\n");
	assert_int_equal(world_open(&world, &config), 0);
	governor.pager = world.pager;
	assert_int_equal(governor_start(&governor, &g), 0);
	wait_for_limit(world.pager, 85 * MIB, 100 * MIB);
	put_v2("/box", 50, 0, 0, 0);
	wait_for_limit(world.pager, 40 * MIB, 50 * MIB);
	put_v2("/box", 0, 0, 0, 0);
	wait_for_limit(world.pager, 180 * MIB, 180 * MIB);
	governor_set_most(g, 70 * MIB);
	wait_for_limit(world.pager, 70 * MIB, 70 * MIB);
	/* Half of all time stalled: it gives back. */
	for (uint64_t total = 1000000; limit_of(world.pager) > 0 && total < 30000000; total += 500000) {
		put_v2("/box", 70, 0, 0, 0);
		put("/proc/pressure/memory", "some avg10=50 total=%llu\n", (unsigned long long)total);
		usleep(200000);
		if (limit_of(world.pager) < 55 * MIB)
			break;
	}
	assert_in_range(limit_of(world.pager), 10 * MIB, 55 * MIB);
	governor_stop(g);
	world_close(&world);
}

/* ---- The public API --------------------------------------------------------------------------------- */

static void the_library_changes_limits_and_says_why_not(void **state)
{
	struct anonmm_config config = {.machine = ANONMM_SOFT,
		.threads = true,
		.memory = 16 * MIB,
		.memory_max = 64 * MIB,
		.swap = "mem:?size=32M"};
	struct anonmm_stats stats;
	struct anonmm *mm;

	(void)state;
	assert_int_equal(anonmm_open(&config, &mm), 0);
	anonmm_get_stats(mm, &stats, sizeof(stats));
	assert_in_range(stats.frames, 3500, 4096);
	assert_int_equal(anonmm_set_limit(mm, 64 * MIB), 0);
	anonmm_get_stats(mm, &stats, sizeof(stats));
	assert_in_range(stats.frames, 15000, 16384);
	assert_int_equal(anonmm_set_limit(mm, 65 * MIB), -ERANGE);
	assert_non_null(strstr(anonmm_error(), "64 MiB"));
	assert_int_equal(anonmm_set_limit(mm, 1 * MIB), -EINVAL);
	assert_non_null(strstr(anonmm_error(), "4 MiB"));
	assert_int_equal(anonmm_set_limit(mm, 8 * MIB), 0);
	assert_string_equal(anonmm_error(), "");
	anonmm_close(mm);
	config.memory_max = 8 * MIB;
	assert_int_equal(anonmm_open(&config, &mm), -EINVAL);
	config = (struct anonmm_config){.machine = ANONMM_SOFT, .memory = ANONMM_MEMORY_AUTO};
	assert_int_equal(anonmm_open(&config, &mm), -EINVAL);
}

static void the_library_follows_the_host(void **state)
{
	struct anonmm_config config = {.machine = ANONMM_SOFT,
		.threads = true,
		.memory = ANONMM_MEMORY_AUTO,
		.memory_max = 32 * MIB,
		.swap = "mem:?size=32M"};
	struct anonmm_stats stats;
	struct anonmm *mm;

	(void)state;
	assert_int_equal(anonmm_open(&config, &mm), 0);
	anonmm_get_stats(mm, &stats, sizeof(stats));
	assert_in_range(stats.frames, 900, 8192);
	assert_int_equal(anonmm_set_limit(mm, 16 * MIB), 0);
	for (int i = 0; i < 100 && stats.frames > 4096; i++) {
		usleep(50000);
		anonmm_get_stats(mm, &stats, sizeof(stats));
	}
	assert_in_range(stats.frames, 900, 4096);
	anonmm_close(mm);
}

#define IN_A_HOST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_A_HOST(without_groups_the_host_is_the_limit),
		IN_A_HOST(the_smallest_limit_up_the_tree_counts),
		IN_A_HOST(version_1_says_the_same_in_other_words),
		IN_A_HOST(a_path_that_is_not_there_leaves_the_root),
		IN_A_HOST(stalls_are_read),
		cmocka_unit_test(what_others_take_makes_the_limit_smaller),
		cmocka_unit_test(pressure_takes_in_steps_and_calm_gives_back),
		IN_A_HOST(the_thread_follows_the_group),
		cmocka_unit_test(the_library_changes_limits_and_says_why_not),
		cmocka_unit_test(the_library_follows_the_host),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * The examination. Each look tries the thing itself, and does not trust a version number.
 *
 * Nothing stays behind: what a look opens is closed, and files are made without a name.
 */
#include "cli/cli.h"
#include "base/size.h"
#include "cli/doctor.h"
#include "contract/swapdev.h"
#include "host/host.h"
#include "host/text.h"
#include "machine/uffd/uffd_abi.h"
#include "run/faults.h"

#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/capability.h>
#include <linux/io_uring.h>
#include <linux/magic.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/vfs.h>

#define SYSCTL_UFFD "/proc/sys/vm/unprivileged_userfaultfd"
#define NODE_UFFD "/dev/userfaultfd"

__attribute__((format(printf, 6, 7))) static void find(struct doctor *doctor, enum section section,
	const char *key, const char *title, enum state state, const char *format, ...)
{
	struct finding *finding = &doctor->findings[doctor->nr];
	va_list args;

	assert(doctor->nr < FINDINGS_MAX);
	*finding = (struct finding){.key = key, .title = title, .section = section, .state = state};
	va_start(args, format);
	vsnprintf(finding->text, sizeof(finding->text), format, args);
	va_end(args);
	doctor->nr++;
}

/* -1: there is no such file, or it holds no number. */
static int read_sysctl(const char *path)
{
	char text[32];

	if (host_read_text(path, text, sizeof(text)) <= 0 || text[0] < '0' || text[0] > '9')
		return -1;
	return atoi(text);
}

static bool exists(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0;
}

static bool has_capability(unsigned number)
{
	return host_self_status("CapEff:", 16, 0) >> number & 1;
}

/* ---- Page faults ------------------------------------------------------------------------ */

/* Does the kernel have userfaultfd? The system call may be refused all the same. */
static bool kernel_has_uffd(void)
{
	return read_sysctl(SYSCTL_UFFD) >= 0 || exists(NODE_UFFD);
}

/*
 * Without a filter the kernel gives a userfaultfd for user-mode faults to everybody, and says ENOSYS only if it was
 * built without userfaultfd. So if both kinds are refused, a filter has refused them.
 */
static bool refused_by_seccomp(const struct uffd_probe *probe)
{
	if (probe->user_faults == -ENOSYS)
		return kernel_has_uffd();
	return probe->user_faults == -EPERM;
}

static void look_at_uffd(struct doctor *doctor)
{
	const struct uffd_probe *probe = &doctor->probe;
	const char *key = "userfaultfd", *title = "userfaultfd";

	if (probe->kernel_faults == 0)
		find(doctor, SECTION_FAULTS, key, title, STATE_GOOD,
			"all faults, those of system calls too%s",
			probe->by_device ? " (by " NODE_UFFD ")" : "");
	else if (probe->user_faults == 0)
		find(doctor, SECTION_FAULTS, key, title, STATE_FAIR,
			"faults of user mode only; of system calls: %s", strerror(-probe->kernel_faults));
	else if (refused_by_seccomp(probe))
		find(doctor, SECTION_FAULTS, key, title, STATE_BAD,
			"refused (%s) by a seccomp filter, as a container's profile has it",
			strerror(-probe->user_faults));
	else
		find(doctor, SECTION_FAULTS, key, title, STATE_BAD, "not in this kernel (%s)",
			strerror(-probe->user_faults));
}

static void look_at_uffd_ways(struct doctor *doctor)
{
	int value = read_sysctl(SYSCTL_UFFD);
	bool needed = doctor->probe.kernel_faults != 0;

	if (access(NODE_UFFD, R_OK | W_OK) == 0)
		find(doctor, SECTION_FAULTS, "device", NODE_UFFD, STATE_GOOD, "open to this user");
	else
		find(doctor, SECTION_FAULTS, "device", NODE_UFFD, needed ? STATE_FAIR : STATE_FACT, "%s",
			exists(NODE_UFFD) ? "there, but not for this user" : "not there");
	if (value < 0)
		find(doctor, SECTION_FAULTS, "sysctl", "vm.unprivileged_userfaultfd", STATE_FACT,
			"not there");
	else
		find(doctor, SECTION_FAULTS, "sysctl", "vm.unprivileged_userfaultfd",
			value    ? STATE_GOOD
			: needed ? STATE_FAIR
				 : STATE_FACT,
			"%d: %s", value, value ? "every user may" : "only privileged users");
}

static void look_at_features(struct doctor *doctor)
{
	static const struct {
		uint64_t bit;
		const char *name;
	} names[] = {
		{UFFD_FEATURE_PAGEFAULT_FLAG_WP, "WP"},
		{UFFD_FEATURE_SIGBUS, "SIGBUS"},
		{UFFD_FEATURE_THREAD_ID, "THREAD_ID"},
		{UFFD_FEATURE_EXACT_ADDRESS, "EXACT_ADDRESS"},
		{1ULL << 12, "WP_HUGETLBFS_SHMEM"},
		{1ULL << 13, "WP_UNPOPULATED"},
		{UFFD_FEATURE_POISON, "POISON"},
		{1ULL << 15, "WP_ASYNC"},
		{UFFD_FEATURE_MOVE, "MOVE"},
	};
	char text[160] = "";
	size_t used = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		if (doctor->probe.features & names[i].bit && used < sizeof(text))
			used += (size_t)snprintf(
				text + used, sizeof(text) - used, "%s%s", used ? " " : "", names[i].name);
	find(doctor, SECTION_FAULTS, "features", "features", STATE_FACT, "%s", used ? text : "none");
}

static void look_at_requests(struct doctor *doctor)
{
	const struct uffd_probe *probe = &doctor->probe;

	if (probe->move == 0)
		find(doctor, SECTION_FAULTS, "move", "UFFDIO_MOVE", STATE_GOOD, "moved a page and back");
	else
		find(doctor, SECTION_FAULTS, "move", "UFFDIO_MOVE", STATE_FAIR, "%s",
			probe->features & UFFD_FEATURE_MOVE ? strerror(-probe->move)
							    : "not here (Linux 6.8 has it)");
	if (probe->copy == 0)
		find(doctor, SECTION_FAULTS, "copy", "UFFDIO_COPY, write protection", STATE_GOOD,
			"copied a page and protected it");
	else
		find(doctor, SECTION_FAULTS, "copy", "UFFDIO_COPY, write protection",
			probe->move == 0 ? STATE_FACT : STATE_BAD, "%s", strerror(-probe->copy));
}

/* ---- Swap ---------------------------------------------------------------------------------- */

static const char *file_system_name(long type)
{
	static const struct {
		long type;
		const char *name;
	} names[] = {{EXT4_SUPER_MAGIC, "ext4"}, {XFS_SUPER_MAGIC, "xfs"}, {BTRFS_SUPER_MAGIC, "btrfs"},
		{TMPFS_MAGIC, "tmpfs"}, {OVERLAYFS_SUPER_MAGIC, "overlayfs"}, {NFS_SUPER_MAGIC, "nfs"},
		{F2FS_SUPER_MAGIC, "f2fs"}};

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		if (names[i].type == type)
			return names[i].name;
	return "a file system";
}

static void look_at_room(struct doctor *doctor)
{
	struct statfs fs;
	char room[32], size[32];

	if (statfs(DEFAULT_SWAP_PATH, &fs)) {
		find(doctor, SECTION_SWAP, "room", DEFAULT_SWAP_PATH, STATE_BAD, "%s", strerror(errno));
		return;
	}
	bool memory = (long)fs.f_type == TMPFS_MAGIC;

	find(doctor, SECTION_SWAP, "room", DEFAULT_SWAP_PATH, memory ? STATE_FAIR : STATE_FACT,
		"%s of %s free on %s%s",
		size_text((uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize, room, sizeof(room)),
		size_text((uint64_t)fs.f_blocks * (uint64_t)fs.f_bsize, size, sizeof(size)),
		file_system_name((long)fs.f_type), memory ? ": memory itself, swap belongs elsewhere" : "");
}

/* 0: a page went to a nameless file in @dir by O_DIRECT. */
static int try_direct(const char *dir)
{
	_Alignas(4096) static char page[PAGE_BYTES];
	int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC | O_DIRECT, 0600);
	int error = fd < 0 ? errno : 0;

	if (!error && pwrite(fd, page, sizeof(page), 0) != (ssize_t)sizeof(page))
		error = errno ? errno : EIO;
	if (fd >= 0)
		close(fd);
	return error;
}

static void look_at_direct(struct doctor *doctor)
{
	int error = try_direct(DEFAULT_SWAP_PATH);

	find(doctor, SECTION_SWAP, "direct", "O_DIRECT there", error ? STATE_FAIR : STATE_GOOD, "%s",
		error ? strerror(error) : "a page was written past the page cache");
}

static void look_at_engines(struct doctor *doctor)
{
	struct io_uring_params params = {0};
	aio_context_t context = 0;
	int value = read_sysctl("/proc/sys/kernel/io_uring_disabled");
	long aio = host_call(SYS_io_setup, 1, &context);
	long ring = host_call(SYS_io_uring_setup, 1, &params);

	if (aio == 0)
		host_call(SYS_io_destroy, context);
	if (ring >= 0)
		host_close((int)ring);
	find(doctor, SECTION_SWAP, "aio", "kernel AIO", aio ? STATE_FAIR : STATE_GOOD, "%s",
		aio ? strerror((int)-aio) : "works");
	find(doctor, SECTION_SWAP, "io_uring", "io_uring",
		ring >= 0 ? STATE_GOOD
		: aio     ? STATE_FAIR
			  : STATE_FACT,
		"%s%s", ring >= 0 ? "works" : strerror((int)-ring),
		value == 1   ? " (kernel.io_uring_disabled=1)"
		: value == 2 ? " (kernel.io_uring_disabled=2)"
			     : "");
}

/* ---- Memory -------------------------------------------------------------------------------- */

static void look_at_memory(struct doctor *doctor)
{
	const struct hostmem *mem = &doctor->mem;
	char a[32], b[32];

	find(doctor, SECTION_MEMORY, "memory", "host", STATE_FACT, "%s, of which %s can be had",
		size_text(mem->physical, a, sizeof(a)), size_text(mem->available, b, sizeof(b)));
	if (!mem->version)
		find(doctor, SECTION_MEMORY, "cgroup", "control group", STATE_FACT, "no limit");
	else
		find(doctor, SECTION_MEMORY, "cgroup", "control group", STATE_FACT,
			"%s (v%d), %s of it in use", size_text(mem->limit, a, sizeof(a)), mem->version,
			size_text(mem->limit_used, b, sizeof(b)));
}

static void look_at_pressure(struct doctor *doctor)
{
	bool host = hostmem_stalled_us(HOSTMEM_PSI) >= 0;
	bool group = doctor->mem.pressure[0] && hostmem_stalled_us(doctor->mem.pressure) >= 0;

	find(doctor, SECTION_MEMORY, "psi", "pressure (PSI)", host || group ? STATE_GOOD : STATE_FAIR, "%s",
		host && group ? "told for the host and for the control group"
		: host        ? "told for the host"
		: group       ? "told for the control group"
			      : "not told: --memory auto does not see it rise");
}

static void look_at_address_space(struct doctor *doctor)
{
	static const char *const words[] = {
		"0: the kernel guesses", "1: the kernel promises anything", "2: the kernel counts"};
	int value = read_sysctl("/proc/sys/vm/overcommit_memory");
	struct rlimit limit;
	char size[32];

	find(doctor, SECTION_MEMORY, "overcommit", "vm.overcommit_memory",
		value == 2 ? STATE_FAIR : STATE_FACT, "%s",
		value >= 0 && value <= 2 ? words[value] : "not known");
	getrlimit(RLIMIT_AS, &limit);
	if (limit.rlim_cur == RLIM_INFINITY)
		find(doctor, SECTION_MEMORY, "address_space", "addresses (RLIMIT_AS)", STATE_GOOD,
			"not limited");
	else
		find(doctor, SECTION_MEMORY, "address_space", "addresses (RLIMIT_AS)", STATE_FAIR,
			"%s: half of it can be managed", size_text(limit.rlim_cur, size, sizeof(size)));
}

/* ---- The process --------------------------------------------------------------------------- */

static void look_at_seccomp(struct doctor *doctor)
{
	bool filtered = host_self_status("Seccomp:", 10, 0) == SECCOMP_MODE_FILTER;
	bool possible = faults_filters();

	find(doctor, SECTION_PROCESS, "seccomp", "seccomp filters", possible ? STATE_GOOD : STATE_FAIR,
		"%s%s", possible ? "can be set (with no_new_privs)" : "cannot be set",
		filtered ? "; this process is under one already" : "");
	find(doctor, SECTION_PROCESS, "no_new_privs", "no_new_privs", STATE_FACT, "%s",
		prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? "set: setuid programs get no rights"
							    : "not set");
}

static void look_at_rights(struct doctor *doctor)
{
	find(doctor, SECTION_PROCESS, "user", "user", STATE_FACT, "%u%s%s%s", geteuid(),
		has_capability(CAP_SYS_PTRACE) ? ", CAP_SYS_PTRACE (userfaultfd)" : "",
		has_capability(CAP_SYS_ADMIN) ? ", CAP_SYS_ADMIN" : "",
		has_capability(CAP_SYS_RESOURCE) ? ", CAP_SYS_RESOURCE" : "");
}

static void look_at_cpus(struct doctor *doctor)
{
	cpu_set_t cpus;
	int nr = sched_getaffinity(0, sizeof(cpus), &cpus) ? 0 : CPU_COUNT(&cpus);

	find(doctor, SECTION_PROCESS, "cpus", "CPUs", nr == 1 ? STATE_FAIR : STATE_FACT,
		"%d for this process, %ld online", nr, sysconf(_SC_NPROCESSORS_ONLN));
}

/* ---- What follows from it ------------------------------------------------------------------ */

/* By the code that `anonmm run` goes through before it starts a program. */
static void look_at_choice(struct doctor *doctor)
{
	struct choice *choice = &doctor->choice;
	struct swapdev *swap = NULL;
	char why[512];

	choice->faults = ANONMM_FAULTS_AUTO;
	choice->error =
		machine_choose(&choice->faults, &choice->faults_why, false, choice->why, sizeof(choice->why));
	choice->signal_works = machine_check(ANONMM_FAULTS_SIGNAL, false, why, sizeof(why)) == 0;
	choice->copies = !(doctor->probe.features & UFFD_FEATURE_MOVE);
	choice->swap_error = swapdev_open(DEFAULT_SWAP, &swap, choice->swap_why, sizeof(choice->swap_why));
	if (swap)
		swap->ops->close(swap);
}

/* The first that applies: what stops us before what slows us down. */
static void look_for_change(struct doctor *doctor)
{
	const struct uffd_probe *probe = &doctor->probe;
	const char *change = "";

	if (probe->user_faults && refused_by_seccomp(probe))
		change = "allow userfaultfd in the container's seccomp profile (docker: --security-opt "
			 "seccomp=PROFILE, with userfaultfd among its allowed calls)";
	else if (probe->user_faults)
		change = "a kernel with CONFIG_USERFAULTFD";
	else if (doctor->choice.error && probe->kernel_faults && exists(NODE_UFFD))
		change = "as root: `sysctl vm.unprivileged_userfaultfd=1`, or access to " NODE_UFFD
			 " for this user (chgrp, chmod g+rw)";
	else if (doctor->choice.error && probe->kernel_faults)
		change = "as root: `sysctl vm.unprivileged_userfaultfd=1`";
	else if (doctor->choice.swap_error)
		change = "a directory for swap that this user may write to: --swap file:PATH";
	else if (!(probe->features & UFFD_FEATURE_MOVE))
		change = "Linux 6.8 or later, whose UFFDIO_MOVE moves pages instead of copying them";
	else if (try_direct(DEFAULT_SWAP_PATH))
		change = "swap on a file system with O_DIRECT: --swap file:PATH";
	snprintf(doctor->change, sizeof(doctor->change), "%s", change);
}

void doctor_look(struct doctor *doctor)
{
	*doctor = (struct doctor){0};
	uffd_probe(&doctor->probe);
	hostmem_read("", &doctor->mem);
	look_at_uffd(doctor);
	look_at_uffd_ways(doctor);
	look_at_features(doctor);
	look_at_requests(doctor);
	look_at_room(doctor);
	look_at_direct(doctor);
	look_at_engines(doctor);
	look_at_memory(doctor);
	look_at_pressure(doctor);
	look_at_address_space(doctor);
	look_at_cpus(doctor);
	look_at_rights(doctor);
	look_at_seccomp(doctor);
	look_at_choice(doctor);
	look_for_change(doctor);
}

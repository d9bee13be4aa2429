/* SPDX-License-Identifier: MIT */
/*
 * The uffd machine: opening and closing, regions, the table of operations.
 *
 * The managed range is reserved once and registered with userfaultfd once. A region is a part of the range that has
 * been given a protection. The rest of the range is PROT_NONE, so the host itself raises SIGSEGV there.
 */
#include "machine/uffd/uffd_internal.h"
#include "host/text.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

/* ---- Regions ----------------------------------------------------------------------------- */

/* UFFDIO_COPY cannot read pages that may only be run, so what may be run may be read, too. */
static int host_prot(int prot)
{
	return prot & PROT_EXEC ? prot | PROT_READ : prot;
}

static int region_map(struct machine *machine, struct space *space, uint64_t start, uint64_t end, int prot)
{
	int error = prot == PROT_NONE ? 0 : host_mprotect(start, end - start, host_prot(prot));

	(void)machine, (void)space;
	if (error) /* the host may have changed a part of the region */
		host_mprotect(start, end - start, PROT_NONE);
	return error;
}

static int region_protect(
	struct machine *machine, struct space *space, uint64_t start, uint64_t end, int prot)
{
	(void)machine, (void)space;
	return host_mprotect(start, end - start, host_prot(prot));
}

/* No frame is shown there any more. A fault that failed a moment ago may have left poison there: it is taken away. */
static int region_unmap(struct machine *machine, struct space *space, uint64_t start, uint64_t end)
{
	struct uffd_machine *m = uffd_of(machine);

	(void)space;
	if (atomic_load(&m->real.nr_poisoned))
		real_poison_clear(
			&m->real, start, (unsigned)min_u64((end - start) >> PAGE_SHIFT, UINT32_MAX), false);
	return host_mprotect(start, end - start, PROT_NONE);
}

static void say_line(struct machine *machine, const char *text)
{
	real_say(real_of(machine), 0, "%s", text);
}

static const struct machine_ops uffd_ops = {
	.name = "uffd",
	.frame_bytes = uffd_frame_bytes,
	.frame_populate = uffd_frame_populate,
	.frame_drop = uffd_frame_drop,
	.more = real_more,
	.faults_block = real_faults_block,
	.map = uffd_map,
	.unmap = uffd_unmap,
	.region_map = region_map,
	.region_protect = region_protect,
	.region_unmap = region_unmap,
	.lock = real_lock,
	.unlock = real_unlock,
	.rest = real_rest,
	.wake = real_wake,
	.wait = real_wait,
	.wake_kswapd = real_wake_kswapd,
	.say = say_line,
	.chunk_alloc = uffd_chunk_alloc,
	.chunk_free = uffd_chunk_free,
};

/* ---- Open -------------------------------------------------------------------------------- */

#define RANGE_NAME "anonmm managed"

/* Every part of a reservation gets the same marks, so that the host can join neighbouring parts to one area again. */
static void reserve_mark(void *area, size_t bytes, const char *name)
{
	host_madvise((uint64_t)(uintptr_t)area, bytes, MADV_NOHUGEPAGE);
	host_madvise((uint64_t)(uintptr_t)area, bytes, MADV_DONTFORK);
	prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, area, bytes,
		name); /* a courtesy to readers of /proc/PID/maps */
}

static void *reserve(uint64_t addr, uint64_t bytes, int prot, const char *name)
{
	void *area = host_mmap(addr, bytes, prot, MAP_NORESERVE | (addr ? MAP_FIXED_NOREPLACE : 0));

	if (!area)
		return NULL;
	if (addr && (uint64_t)(uintptr_t)area != addr) { /* a kernel that takes the flag for a hint */
		host_munmap(area, bytes);
		return NULL;
	}
	reserve_mark(area, bytes, name);
	return area;
}

int uffd_reserve_again(struct machine *machine, uint64_t start, uint64_t end)
{
	void *area = host_mmap(start, end - start, PROT_NONE, MAP_NORESERVE | MAP_FIXED);

	if (!area)
		return -ENOMEM;
	reserve_mark(area, end - start, RANGE_NAME);
	return uffd_register_area(uffd_of(machine), start, end - start);
}

static int reserve_range(struct uffd_machine *m, const struct uffd_config *config, char *why, size_t why_len)
{
	void *range = reserve(config->base, config->bytes, PROT_NONE, RANGE_NAME);

	if (!range) {
		snprintf(why, why_len,
			"the host does not reserve %lu MiB of addresses%s: lower the address space limit "
			"(ulimit -v)",
			config->bytes / MIB, config->base ? " at the place that was asked for" : "");
		return -ENOMEM;
	}
	m->real.base = (uint64_t)(uintptr_t)range;
	m->real.bytes = config->bytes;
	return 0;
}

static int reserve_pool(struct uffd_machine *m, char *why, size_t why_len)
{
	uint64_t bytes = ((uint64_t)m->nr_frames + 1) * PAGE_BYTES;

	m->pool_bytes = bytes;
	m->place_bytes = page_align_up(m->nr_frames);
	m->pool = reserve(0, bytes, PROT_READ | PROT_WRITE, "anonmm pool");
	if (m->pool) /* a core dump without the pool: nobody could tell to which address a frame there belongs */
		host_madvise(frame_addr(m, 0), bytes, MADV_DONTDUMP);
	m->place = host_mmap(0, m->place_bytes, PROT_READ | PROT_WRITE, 0);
	m->zeros = host_mmap(0, ZERO_PAGES * PAGE_BYTES, PROT_READ, 0);
	m->real.stacks = host_mmap(0, 2 * STACK_BYTES, PROT_READ | PROT_WRITE, MAP_NORESERVE | MAP_STACK);
	if (m->pool && m->place && m->zeros && m->real.stacks)
		return 0;
	snprintf(why, why_len, "the host does not give the addresses of %u frames (%lu MiB)", m->nr_frames,
		bytes / MIB);
	return -ENOMEM;
}

static int open_fds(struct uffd_machine *m, const struct uffd_config *config, char *why, size_t why_len)
{
	int error = uffd_fd_open(m, config->copy, why, why_len);

	if (error)
		return error;
	m->real.leader_sleep.fd = uffd_eventfd_open();
	m->real.pager_sleep.fd = uffd_eventfd_open();
	if (m->real.leader_sleep.fd < 0 || m->real.pager_sleep.fd < 0) {
		snprintf(why, why_len, "no descriptor is left for an eventfd: raise the limit (ulimit -n)");
		return -EMFILE;
	}
	error = uffd_register(m);
	if (error)
		snprintf(why, why_len, "the managed range cannot be registered with userfaultfd: %s",
			strerror(-error));
	return error;
}

static int check_config(const struct uffd_config *config, char *why, size_t why_len)
{
	if (config->bytes && config->nr_frames && !((config->base | config->bytes) & ~PAGE_MASK))
		return 0;
	snprintf(why, why_len,
		"a managed range of %lu bytes at %#lx with %u frames: pages of %lu bytes and at least one "
		"frame are needed",
		config->bytes, config->base, config->nr_frames, PAGE_BYTES);
	return -EINVAL;
}

int uffd_machine_open(const struct uffd_config *config, struct machine **out, char *why, size_t why_len)
{
	struct uffd_machine *m;
	int error = check_config(config, why, why_len);

	if (error)
		return error;
	m = host_mmap(0, page_align_up(sizeof(*m)), PROT_READ | PROT_WRITE, 0);
	if (!m) {
		snprintf(why, why_len, "the host has no memory");
		return -ENOMEM;
	}
	m->real.machine.ops = &uffd_ops;
	m->real.real_ops = &uffd_real_ops;
	m->nr_frames = config->nr_frames;
	m->real.fd = m->node = m->real.leader_sleep.fd = m->real.pager_sleep.fd = -1;
	m->real.kick = &m->real.own_kick;
	real_where_reset(&m->real);
	m->real.faults = uffd_faults_choose(config->faults, NULL);
	error = reserve_range(m, config, why, why_len);
	if (!error)
		error = reserve_pool(m, why, why_len);
	if (!error)
		error = open_fds(m, config, why, why_len);
	if (error) {
		uffd_machine_close(&m->real.machine);
		return error;
	}
	*out = &m->real.machine;
	return 0;
}

/* ---- Start, stop, close ------------------------------------------------------------------ */

/*
 * Used when nobody has named the devices. Our threads then keep every descriptor that exec closes and that is no pipe,
 * socket, character device or directory. The descriptors of swap devices are all of this kind. A descriptor that the
 * program inherited never is.
 */
static bool is_kept(int fd)
{
	struct stat st;
	long flags = host_call(SYS_fcntl, fd, F_GETFD, 0);

	if (flags < 0 || !(flags & FD_CLOEXEC) || fstat(fd, &st))
		return false;
	return !S_ISFIFO(st.st_mode) && !S_ISSOCK(st.st_mode) && !S_ISCHR(st.st_mode) && !S_ISDIR(st.st_mode);
}

static void keep_fd(struct uffd_machine *m, int fd)
{
	for (unsigned i = 0; i < m->real.nr_own_fds; i++)
		if (m->real.own_fds[i] == fd)
			return;
	if (m->real.nr_own_fds < NR_OWN_FDS)
		m->real.own_fds[m->real.nr_own_fds++] = fd;
}

static void keep_device_fds(struct uffd_machine *m, struct swapdev *dev)
{
	int fds[16];
	int nr = dev->ops->fds ? dev->ops->fds(dev, fds, ARRAY_SIZE(fds)) : 0;

	for (int i = 0; i < nr && i < (int)ARRAY_SIZE(fds); i++)
		if (fds[i] >= 0)
			keep_fd(m, fds[i]);
}

static void keep_open_fd(void *m, int fd)
{
	if (is_kept(fd))
		keep_fd(m, fd);
}

static void find_own_fds(struct uffd_machine *m)
{
	struct pollfd devices[32];
	unsigned nr;

	m->real.nr_own_fds = 0;
	keep_fd(m, m->real.fd);
	if (m->node >= 0)
		keep_fd(m, m->node);
	keep_fd(m, m->real.leader_sleep.fd);
	keep_fd(m, m->real.pager_sleep.fd);
	nr = real_device_fds(&m->real, &(struct wait){.what = WAIT_WRITE}, 1, devices, ARRAY_SIZE(devices));
	for (unsigned i = 0; i < nr; i++)
		keep_fd(m, devices[i].fd);
	for (unsigned i = 0; i < m->real.nr_devices; i++)
		keep_device_fds(m, m->real.devices[i]);
	if (m->real.nr_devices == 0)
		host_each_number("/proc/self/fd", keep_open_fd, m);
}

void uffd_keep_device(struct machine *machine, struct swapdev *dev)
{
	struct uffd_machine *m = uffd_of(machine);

	if (m->real.nr_devices < NR_DEVICES)
		m->real.devices[m->real.nr_devices++] = dev;
}

void uffd_forget_device(struct machine *machine, const struct swapdev *dev)
{
	struct uffd_machine *m = uffd_of(machine);
	unsigned kept = 0;

	for (unsigned i = 0; i < m->real.nr_devices; i++)
		if (m->real.devices[i] != dev)
			m->real.devices[kept++] = m->real.devices[i];
	m->real.nr_devices = kept;
}

void uffd_machine_serve(struct machine *machine, _Atomic(uint32_t) *kick, void (*serve)(void *), void *ctx)
{
	struct uffd_machine *m = uffd_of(machine);

	m->real.kick = kick;
	m->real.serve = serve;
	m->real.serve_ctx = ctx;
}

void uffd_machine_ask(struct machine *machine, bool (*more)(bool urgent))
{
	uffd_of(machine)->real.more = more;
}

int uffd_machine_start(struct machine *machine, struct space *space)
{
	struct uffd_machine *m = uffd_of(machine);

	m->space = space;
	find_own_fds(m);
	return real_threads_start(&m->real);
}

void uffd_machine_stop(struct machine *machine)
{
	real_threads_stop(real_of(machine));
}

static void unmap_area(void *area, size_t bytes)
{
	if (area)
		host_munmap(area, bytes);
}

void uffd_machine_close(struct machine *machine)
{
	struct uffd_machine *m = uffd_of(machine);

	real_threads_stop(&m->real);
	real_remove_sigbus(machine);
	int fds[] = {m->real.fd, m->node, m->real.leader_sleep.fd, m->real.pager_sleep.fd};

	for (unsigned i = 0; i < ARRAY_SIZE(fds); i++)
		if (fds[i] >= 0)
			host_close(fds[i]);
	unmap_area((void *)(uintptr_t)m->real.base, m->real.bytes);
	unmap_area(m->pool, m->pool_bytes);
	unmap_area(m->place, m->place_bytes);
	unmap_area(m->zeros, ZERO_PAGES * PAGE_BYTES);
	unmap_area(m->real.stacks, 2 * STACK_BYTES);
	host_munmap(m, page_align_up(sizeof(*m)));
}

/* ---- Facts ------------------------------------------------------------------------------- */

uint64_t uffd_machine_base(struct machine *machine)
{
	return uffd_of(machine)->real.base;
}

uint64_t uffd_machine_bytes(struct machine *machine)
{
	return uffd_of(machine)->real.bytes;
}

enum anonmm_faults uffd_machine_faults(struct machine *machine)
{
	return uffd_of(machine)->real.faults;
}

bool uffd_machine_copies(struct machine *machine)
{
	return uffd_of(machine)->way == &uffd_way_copy;
}

bool uffd_owns_fd(struct machine *machine, int fd)
{
	struct uffd_machine *m = uffd_of(machine);

	for (unsigned i = 0; i < m->real.nr_own_fds; i++)
		if (m->real.own_fds[i] == fd)
			return true;
	return false;
}

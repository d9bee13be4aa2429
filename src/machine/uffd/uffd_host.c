/* SPDX-License-Identifier: MIT */
/*
 * The userfaultfd: how it is opened, and its requests.
 *
 * Thread mode also needs the faults of the kernel's own accesses, as when a system call meets a page that is out. To
 * get them is a privilege. Signal mode does without them and needs no privilege.
 *
 * Our descriptors have high numbers, out of the way of programs that expect number 3 to be free. In signal mode threads
 * of the program make requests, and the program may have closed our descriptors in their table. kswapd has a table of
 * its own, so it makes the requests of such threads.
 */
#include "machine/uffd/uffd_internal.h"

#include "host/fd.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#define BUSY_SPINS 16 /* tries without a sleep between them: some 10 us */
#define BUSY_SLEEP_NS 50000

#define WANTED_FEATURES                                                                                      \
	(UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_THREAD_ID | UFFD_FEATURE_EXACT_ADDRESS |              \
		UFFD_FEATURE_POISON | UFFD_FEATURE_MOVE)

#define FDS_ROOM 96 /* host_fd_raise(): how many numbers below a low limit our descriptors may use */

int uffd_eventfd_open(void)
{
	int fd = (int)host_call(SYS_eventfd2, 0, EFD_CLOEXEC | EFD_NONBLOCK);

	return fd < 0 ? fd : host_fd_raise(fd, FD_PLACE_MACHINE, FDS_ROOM);
}

/* The features that the kernel has. UFFDIO_API works once for each userfaultfd, so one is opened only to ask. */
static int fd_features(bool kernel_faults, uint64_t *features)
{
	struct uffdio_api api = {.api = UFFD_API};
	int fd = uffd_fd_ask(kernel_faults, NULL);
	int error;

	if (fd < 0)
		return fd;
	error = host_ioctl(fd, UFFDIO_API, &api);
	host_close(fd);
	*features = api.features;
	return error;
}

static int fd_handshake(struct uffd_machine *m)
{
	struct uffdio_api api = {.api = UFFD_API, .features = m->features};
	int fd = uffd_fd_ask(m->real.faults == ANONMM_FAULTS_THREAD, NULL);
	int error;

	if (fd == -EPERM && m->node >= 0)
		fd = (int)host_call(SYS_ioctl, m->node, USERFAULTFD_IOC_NEW, (long)(O_CLOEXEC | O_NONBLOCK));
	if (fd < 0)
		return fd;
	error = host_ioctl(fd, UFFDIO_API, &api);
	if (error) {
		host_close(fd);
		return error;
	}
	return host_fd_raise(fd, FD_PLACE_MACHINE, FDS_ROOM);
}

/*
 * A program may give up its privileges and fork later. Its child needs a userfaultfd of its own, which an open device
 * node still gives. A host without the node, or that forbids it, does without.
 */
static void keep_node(struct uffd_machine *m)
{
	int fd = (int)host_call(SYS_openat, AT_FDCWD, "/dev/userfaultfd", O_RDWR | O_CLOEXEC, 0);

	m->node = fd < 0 ? -1 : host_fd_raise(fd, FD_PLACE_MACHINE, FDS_ROOM);
}

static void refuse(int error, bool thread_mode, char *why, size_t why_len)
{
	if (error == -EPERM && thread_mode)
		snprintf(why, why_len,
			"the host does not let this user handle page faults of system calls (userfaultfd: "
			"%s): run as root, "
			"or `sysctl vm.unprivileged_userfaultfd=1`, or give the user /dev/userfaultfd "
			"(chgrp, chmod g+rw), or "
			"use signal faults",
			strerror(-error));
	else if (error == -ENOSYS || error == -EPERM)
		snprintf(why, why_len,
			"the host has no userfaultfd for us (%s): a kernel with CONFIG_USERFAULTFD is "
			"needed, and a "
			"container's seccomp profile must allow userfaultfd",
			strerror(-error));
	else
		snprintf(why, why_len, "userfaultfd cannot be opened: %s", strerror(-error));
}

int uffd_fd_open(struct uffd_machine *m, bool copy, char *why, size_t why_len)
{
	bool thread_mode = m->real.faults == ANONMM_FAULTS_THREAD;
	uint64_t granted = 0;
	int error = fd_features(thread_mode, &granted);

	if (error) {
		refuse(error, thread_mode, why, why_len);
		return error;
	}
	m->features = granted & WANTED_FEATURES;
	if (!(m->features & UFFD_FEATURE_MOVE))
		copy = true;
	if (copy)
		m->features &= ~UFFD_FEATURE_MOVE;
	if (!thread_mode)
		m->features |= granted & UFFD_FEATURE_SIGBUS;
	if (copy && !(m->features & UFFD_FEATURE_PAGEFAULT_FLAG_WP)) {
		snprintf(why, why_len,
			"this kernel's userfaultfd has neither UFFDIO_MOVE (Linux 6.8) nor write protection "
			"(5.7 on x86-64, "
			"6.4 on arm64): one of them is needed");
		return -ENOSYS;
	}
	if (!thread_mode && !(m->features & UFFD_FEATURE_SIGBUS)) {
		snprintf(why, why_len,
			"this kernel's userfaultfd has no SIGBUS mode (Linux 4.14): use thread faults");
		return -ENOSYS;
	}
	m->way = copy ? &uffd_way_copy : &uffd_way_move;
	m->real.fd = fd_handshake(m);
	if (thread_mode)
		keep_node(m);
	if (m->real.fd < 0) {
		refuse(m->real.fd, thread_mode, why, why_len);
		return m->real.fd;
	}
	return 0;
}

int uffd_fd_reopen(struct uffd_machine *m)
{
	m->real.fd = fd_handshake(m);
	return m->real.fd < 0 ? m->real.fd : 0;
}

int uffd_register_area(struct uffd_machine *m, uint64_t start, uint64_t bytes)
{
	struct uffdio_register area = {
		.range = {.start = start, .len = bytes},
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	if (m->features & UFFD_FEATURE_PAGEFAULT_FLAG_WP)
		area.mode |= UFFDIO_REGISTER_MODE_WP;
	return host_ioctl(m->real.fd, UFFDIO_REGISTER, &area);
}

/* Is @at in a foreign mapping, which is neither managed memory nor a part of a fork's snapshot? */
static bool is_foreign(struct uffd_machine *m, uint64_t at, uint64_t *run_end)
{
	int prot;

	return space_kind_at(m->space, at, run_end, &prot) == SPACE_IS_FOREIGN &&
	       pager_space_at(m->real.machine.pager, at) == m->space;
}

/* Register all of the range but the foreign mappings: the kernel refuses to register some mappings of files. */
static int register_range(struct uffd_machine *m)
{
	uint64_t at = m->real.base, end = m->real.base + m->real.bytes, run_end;
	int error = 0;

	if (!m->space)
		return uffd_register_area(m, m->real.base, m->real.bytes);
	while (at < end && !error) {
		uint64_t start = at;

		while (at < end && !is_foreign(m, at, &run_end))
			at = min_u64(run_end, end);
		if (at > start)
			error = uffd_register_area(m, start, at - start);
		while (at < end && is_foreign(m, at, &run_end))
			at = min_u64(run_end, end);
	}
	return error;
}

int uffd_register(struct uffd_machine *m)
{
	int error = register_range(m);

	return error ? error : uffd_register_area(m, frame_addr(m, 0), m->pool_bytes);
}

/* ---- Requests --------------------------------------------------------------------------- */

/* Have kswapd make the request. This is slow, and happens only after a program closed our descriptors. */
static int request_by_mail(struct uffd_machine *m, unsigned long request, void *arg)
{
	int result;

	lock_take(&m->mail_lock);
	m->mail.request = request;
	m->mail.arg = arg;
	atomic_store(&m->mail.state, 1);
	real_wake_kswapd(&m->real.machine, false);
	while (atomic_load(&m->mail.state) != 2) {
		host_futex_wake_shared(m->real.kick, 1);
		host_futex_wait(&m->mail.state, 1, 1000000);
	}
	result = m->mail.result;
	atomic_store(&m->mail.state, 0);
	lock_drop(&m->mail_lock);
	return result;
}

void uffd_serve_mail(struct uffd_machine *m)
{
	if (atomic_load(&m->mail.state) != 1)
		return;
	m->mail.result = host_ioctl(m->real.fd, m->mail.request, m->mail.arg);
	atomic_store(&m->mail.state, 2);
	host_futex_wake(&m->mail.state, 1);
}

static int request(struct uffd_machine *m, unsigned long what, void *arg)
{
	int error;

	if (likely(!atomic_load_explicit(&m->fds_lost, memory_order_relaxed)) || on_own_thread(&m->real)) {
		error = host_ioctl(m->real.fd, what, arg);
		if (likely(error != -EBADF && error != -ENOTTY) || !m->real.started ||
			on_own_thread(&m->real))
			return error;
		atomic_store(&m->fds_lost, true);
	}
	return request_by_mail(m, what, arg);
}

/* How many pages a partial request has done, from its result in bytes. The result is 0 or -errno if it did none. */
static unsigned pages_done(int64_t bytes)
{
	return bytes > 0 ? (unsigned)((uint64_t)bytes >> PAGE_SHIFT) : 0;
}

/*
 * Shall a request with @result be made again? -EAGAIN: another thread is changing the mappings of this process in the
 * host, so the request works once that is done. After BUSY_SPINS tries this sleeps first: the other thread may have a
 * lower priority and need this very CPU (SCHED_FIFO).
 */
static bool busy(int result, unsigned *tries)
{
	if (result != -EAGAIN)
		return false;
	if (++*tries > BUSY_SPINS)
		host_sleep(BUSY_SLEEP_NS);
	return true;
}

/*
 * Shall a request of *@len pages with @result be made again? The host serves a request only within one of its own
 * areas. A region that was changed in parts may consist of several of them, because the host does not always join them
 * again. A run may cross two of them: then *@len is halved.
 */
static bool try_again(int result, unsigned *len, unsigned *tries)
{
	if ((result == -EINVAL || result == -ENOENT) && *len > 1) {
		*len /= 2;
		return true;
	}
	return busy(result, tries);
}

/*
 * Was the page at @src moved, although the request said -EEXIST? Linux 6.18 moves several pages at a time. If it must
 * start again within a request, it forgets which pages it has moved, and then finds a page at the destination: its own.
 * The page was moved if nothing is at @src any more. A second move, to the pool's page that is always empty, tells that
 * by -ENOENT, and touches nothing.
 */
static bool was_moved(struct uffd_machine *m, uint64_t src)
{
	struct uffdio_move move = {.dst = frame_addr(m, m->nr_frames),
		.src = src,
		.len = PAGE_BYTES,
		.mode = UFFDIO_MOVE_MODE_DONTWAKE};
	unsigned tries = 0;
	int result;

	do {
		result = request(m, UFFDIO_MOVE, &move);
	} while (busy(result, &tries));
	return result == -ENOENT;
}

unsigned uffd_move(struct uffd_machine *m, uint64_t dst, uint64_t src, unsigned nr, bool wake, int *error)
{
	unsigned done = 0, len = nr, tries = 0;

	*error = 0;
	while (done < nr) {
		struct uffdio_move move = {
			.dst = dst + done * PAGE_BYTES,
			.src = src + done * PAGE_BYTES,
			.len = len * PAGE_BYTES,
			.mode = wake ? 0 : UFFDIO_MOVE_MODE_DONTWAKE,
		};
		int result = request(m, UFFDIO_MOVE, &move);

		done += result == 0 ? len : pages_done(move.move);
		if (result == -EEXIST && atomic_load(&m->real.nr_poisoned) &&
			real_poison_clear(&m->real, move.dst, 1, false))
			continue;
		if (result == -EEXIST && was_moved(m, move.src)) {
			if (wake) /* a request that fails wakes nobody */
				uffd_wake_range(m, move.dst, 1);
			done++;
			len = nr - done;
		} else if (result == 0) {
			len = nr - done;
		} else if (!try_again(result, &len, &tries)) {
			*error = result;
			break;
		}
		len = (unsigned)min_u64(len, nr - done);
	}
	return done;
}

unsigned uffd_copy(struct uffd_machine *m, uint64_t dst, uint64_t src, unsigned nr, bool wake, int *error)
{
	unsigned done = 0, len = nr, tries = 0;

	*error = 0;
	while (done < nr) {
		struct uffdio_copy copy = {
			.dst = dst + done * PAGE_BYTES,
			.src = src + done * PAGE_BYTES,
			.len = len * PAGE_BYTES,
			.mode = wake ? 0 : UFFDIO_COPY_MODE_DONTWAKE,
		};
		int result = request(m, UFFDIO_COPY, &copy);

		done += result == 0 ? len : pages_done(copy.copy);
		if (result == 0) {
			len = nr - done;
		} else if (!try_again(result, &len, &tries)) {
			*error = result;
			break;
		}
		len = (unsigned)min_u64(len, nr - done);
	}
	return done;
}

int uffd_write_protect(struct uffd_machine *m, uint64_t addr, unsigned nr)
{
	struct uffdio_writeprotect protect = {
		.range = {.start = addr, .len = nr * PAGE_BYTES},
		.mode = UFFDIO_WRITEPROTECT_MODE_WP,
	};
	unsigned tries = 0;
	int error;

	do {
		error = request(m, UFFDIO_WRITEPROTECT, &protect);
	} while (busy(error, &tries));
	return error;
}

int uffd_poison_page(struct uffd_machine *m, uint64_t addr)
{
	struct uffdio_poison poison = {.range = {.start = addr, .len = PAGE_BYTES}};
	unsigned tries = 0;
	int error;

	if (!(m->features & UFFD_FEATURE_POISON))
		return -ENOSYS;
	do {
		error = request(m, UFFDIO_POISON, &poison);
	} while (busy(error, &tries));
	return error;
}

void uffd_wake_range(struct uffd_machine *m, uint64_t addr, unsigned nr)
{
	struct uffdio_range range = {.start = addr, .len = nr * PAGE_BYTES};

	request(m, UFFDIO_WAKE, &range);
}

/* Give the memory of @nr pages at @addr, in the managed range or in the pool, back to the host. */
void uffd_drop(struct uffd_machine *m, uint64_t addr, unsigned nr)
{
	int error = host_madvise(addr, nr * PAGE_BYTES, MADV_DONTNEED);

	if (error == -EINVAL) /* the program has locked its memory (mlockall): drop the pages all the same */
		error = host_madvise(addr, nr * PAGE_BYTES, MADV_DONTNEED_LOCKED);
	if (error)
		real_die(&m->real, "the host does not take back %u pages at %#lx: %s", nr, addr,
			strerror(-error));
}

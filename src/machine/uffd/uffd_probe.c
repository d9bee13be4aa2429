/* SPDX-License-Identifier: MIT */
/*
 * What the host allows: how a userfaultfd is opened, what AUTO becomes, and whether UFFDIO_MOVE and UFFDIO_COPY really
 * work here.
 */
#include "machine/uffd/uffd_internal.h"

#include <fcntl.h>
#include <string.h>

/*
 * By the system call, if it is allowed. Otherwise by /dev/userfaultfd: whoever may open that node may have a
 * userfaultfd that gets the faults of system calls.
 */
int uffd_fd_ask(bool kernel_faults, bool *by_device)
{
	int fd, node;

	if (by_device)
		*by_device = false;
	if (!kernel_faults) {
		fd = (int)host_call(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
		if (fd != -EINVAL)
			return fd;
	}
	fd = (int)host_call(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (fd != -EPERM)
		return fd;
	node = (int)host_call(SYS_openat, AT_FDCWD, "/dev/userfaultfd", O_RDWR | O_CLOEXEC, 0);
	if (node < 0)
		return -EPERM;
	fd = (int)host_call(SYS_ioctl, node, USERFAULTFD_IOC_NEW, (long)(O_CLOEXEC | O_NONBLOCK));
	host_close(node);
	if (by_device)
		*by_device = fd >= 0;
	return fd;
}

enum anonmm_faults uffd_faults_choose(enum anonmm_faults asked, const char **why)
{
	const char *reason = "it was asked for";

	if (asked == ANONMM_FAULTS_AUTO) {
		asked = ANONMM_FAULTS_THREAD;
		reason = "in this mode alone system calls on swapped-out memory work";
	}
	if (why)
		*why = reason;
	return asked;
}

/* ---- Requests, tried on a page of our own ------------------------------------------------- */

#define TRIAL_BYTE 0x6b

/*
 * Three pages: @source has the bytes to copy, and is not registered. @pool stands for a page of the pool, @shown for an
 * address of the managed range. These two are registered.
 */
struct trial_pages {
	uint8_t *source, *pool, *shown;
};

static int trial_copy(int fd, const struct trial_pages *pages, uint8_t *to, uint64_t mode)
{
	struct uffdio_copy copy = {
		.dst = (uintptr_t)to, .src = (uintptr_t)pages->source, .len = PAGE_BYTES, .mode = mode};

	return host_ioctl(fd, UFFDIO_COPY, &copy);
}

static int trial_move(int fd, uint8_t *to, uint8_t *from)
{
	struct uffdio_move move = {.dst = (uintptr_t)to, .src = (uintptr_t)from, .len = PAGE_BYTES};
	int error;

	do {
		error = host_ioctl(fd, UFFDIO_MOVE, &move);
	} while (error == -EAGAIN);
	return error;
}

/* Move a page from @pool to @shown and back, and check its first byte. => both are empty, at entry and at exit */
static int try_move(int fd, const struct trial_pages *pages)
{
	int error = trial_copy(fd, pages, pages->pool, 0);

	if (!error)
		error = trial_move(fd, pages->shown, pages->pool);
	if (!error && *(volatile uint8_t *)pages->shown != TRIAL_BYTE)
		error = -EIO;
	if (!error)
		error = trial_move(fd, pages->pool, pages->shown);
	host_madvise((uintptr_t)pages->pool, 2 * PAGE_BYTES, MADV_DONTNEED);
	return error;
}

/* What the machine does without UFFDIO_MOVE: copy a page to @shown, then write-protect it. => as try_move() */
static int try_copy(int fd, const struct trial_pages *pages)
{
	struct uffdio_writeprotect protect = {
		.range = {.start = (uintptr_t)pages->shown, .len = PAGE_BYTES},
		.mode = UFFDIO_WRITEPROTECT_MODE_WP,
	};
	int error = trial_copy(fd, pages, pages->shown, 0);

	if (!error && *(volatile uint8_t *)pages->shown != TRIAL_BYTE)
		error = -EIO;
	if (!error)
		error = host_ioctl(fd, UFFDIO_WRITEPROTECT, &protect);
	host_madvise((uintptr_t)pages->shown, PAGE_BYTES, MADV_DONTNEED);
	return error;
}

static int trial_register(int fd, const struct trial_pages *pages, uint64_t features)
{
	struct uffdio_register area = {
		.range = {.start = (uintptr_t)pages->pool, .len = 2 * PAGE_BYTES},
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	if (features & UFFD_FEATURE_PAGEFAULT_FLAG_WP)
		area.mode |= UFFDIO_REGISTER_MODE_WP;
	return host_ioctl(fd, UFFDIO_REGISTER, &area);
}

static void probe_requests(struct uffd_probe *probe, int fd)
{
	uint8_t *area = host_mmap(0, 3 * PAGE_BYTES, PROT_READ | PROT_WRITE, 0);
	int error = area ? 0 : -ENOMEM;

	if (!error) {
		struct trial_pages pages = {area, area + PAGE_BYTES, area + 2 * PAGE_BYTES};

		host_madvise((uintptr_t)area, 3 * PAGE_BYTES, MADV_NOHUGEPAGE);
		memset(pages.source, TRIAL_BYTE, PAGE_BYTES);
		error = trial_register(fd, &pages, probe->features);
		probe->move = error ? error : try_move(fd, &pages);
		probe->copy = error ? error : try_copy(fd, &pages);
		host_munmap(area, 3 * PAGE_BYTES);
		return;
	}
	probe->move = probe->copy = error;
}

/*
 * UFFDIO_API works once for each userfaultfd. With the first one it tells which features there are. With the second one
 * it asks for those that the requests need.
 */
static int probe_features(struct uffd_probe *probe, bool kernel_faults)
{
	struct uffdio_api api = {.api = UFFD_API};
	int fd = uffd_fd_ask(kernel_faults, NULL);
	int error;

	if (fd < 0)
		return fd;
	error = host_ioctl(fd, UFFDIO_API, &api);
	host_close(fd);
	probe->features = api.features;
	if (error)
		return error;
	fd = uffd_fd_ask(kernel_faults, NULL);
	if (fd < 0)
		return fd;
	api = (struct uffdio_api){.api = UFFD_API};
	api.features = probe->features & (UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_MOVE);
	error = host_ioctl(fd, UFFDIO_API, &api);
	if (!error)
		probe_requests(probe, fd);
	host_close(fd);
	return error;
}

void uffd_probe(struct uffd_probe *probe)
{
	int kernel, user, error;

	*probe = (struct uffd_probe){.move = -ENOSYS, .copy = -ENOSYS};
	kernel = uffd_fd_ask(true, &probe->by_device);
	user = uffd_fd_ask(false, NULL);
	probe->kernel_faults = kernel < 0 ? kernel : 0;
	probe->user_faults = user < 0 ? user : 0;
	if (kernel >= 0)
		host_close(kernel);
	if (user >= 0)
		host_close(user);
	if (kernel < 0 && user < 0)
		return;
	error = probe_features(probe, kernel >= 0);
	if (error) /* a userfaultfd whose first request fails is of no use */
		probe->kernel_faults = probe->user_faults = error;
}

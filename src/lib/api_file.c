/* SPDX-License-Identifier: MIT */
/*
 * The public library: private mappings of files, and shared anonymous memory.
 *
 * A page of a file is read when a fault first needs it. The file keeps the size that it had at open until
 * anonmm_file_resize(): nobody tells a program that a file has changed.
 */
#define _GNU_SOURCE
#include "lib/api.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

struct anonmm_file {
	struct anonmm *mm;
	struct file *file;
};

/* ---- The host's file ------------------------------------------------------------------------ */

/*
 * The file, mapped by the host. It is read by process_vm_readv(): a page behind the file's end is an error then, and
 * not a SIGBUS. No descriptor is needed, which matters because the threads that serve faults have a descriptor table
 * of their own.
 */
struct host_file {
	void *mapped; /* NULL: the file is empty */
	uint64_t bytes;
};

static int host_file_read(void *ctx, uint64_t index, void *bytes)
{
	const struct host_file *host = ctx;
	uint64_t at = index * PAGE_BYTES;

	if (at >= host->bytes)
		return -EIO; /* the file has grown since the open: this page is not mapped */
	struct iovec to = {bytes, PAGE_BYTES}, from = {(char *)host->mapped + at, PAGE_BYTES};

	return process_vm_readv(getpid(), &to, 1, &from, 1, 0) == PAGE_BYTES ? 0 : -EIO;
}

static void host_file_release(void *ctx)
{
	struct host_file *host = ctx;

	if (host->mapped)
		munmap(host->mapped, page_align_up(host->bytes));
	free(host);
}

static const struct file_ops host_file_ops = {host_file_read, host_file_release};

static int host_file_map(int fd, struct host_file *host)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -ENODEV;
	host->bytes = (uint64_t)st.st_size;
	if (host->bytes == 0)
		return 0;
	host->mapped = mmap(NULL, page_align_up(host->bytes), PROT_READ, MAP_SHARED, fd, 0);
	if (host->mapped != MAP_FAILED)
		return 0;
	host->mapped = NULL;
	return -errno;
}

static int host_file_open(const char *path, struct host_file **out)
{
	struct host_file *host = calloc(1, sizeof(*host));
	int fd, error;

	if (!host)
		return -ENOMEM;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	error = fd < 0 ? -errno : host_file_map(fd, host);
	if (fd >= 0)
		close(fd);
	if (error)
		free(host);
	else
		*out = host;
	return error;
}

/* ---- Open, resize, close ---------------------------------------------------------------------- */

static int file_make(
	struct anonmm *mm, const struct file_ops *ops, void *ctx, uint64_t bytes, struct anonmm_file **out)
{
	struct anonmm_file *file = calloc(1, sizeof(*file));
	int error = file ? file_create(mm->pager, ops, ctx, bytes, &file->file) : -ENOMEM;

	if (error) {
		free(file);
		return error;
	}
	file->mm = mm;
	*out = file;
	return 0;
}

int anonmm_file_open(struct anonmm *mm, const char *path, struct anonmm_file **out)
{
	struct host_file *host;
	int error;

	*out = NULL;
	error = host_file_open(path, &host);
	if (error)
		return error;
	error = file_make(mm, &host_file_ops, host, host->bytes, out);
	if (error)
		host_file_release(host);
	return error;
}

int anonmm_shared_create(struct anonmm *mm, uint64_t bytes, struct anonmm_file **out)
{
	*out = NULL;
	return bytes ? file_make(mm, NULL, NULL, page_align_up(bytes), out) : -EINVAL;
}

static void file_wait(struct anonmm_file *file, const struct wait *wait)
{
	file->mm->machine->ops->wait(file->mm->machine, wait);
}

int anonmm_file_resize(struct anonmm_file *file, uint64_t bytes)
{
	struct wait wait;
	int error;

	while ((error = file_truncate(file->file, bytes, &wait)) == -EAGAIN)
		file_wait(file, &wait);
	return error;
}

void anonmm_file_close(struct anonmm_file *file)
{
	struct wait wait;

	if (!file)
		return;
	while (file_close(file->file, &wait) == -EAGAIN)
		file_wait(file, &wait);
	free(file);
}

/* ---- Mapping --------------------------------------------------------------------------------------- */

static int map_file(struct anonmm *mm, struct space *space, uint64_t *addr, uint64_t length, int prot,
	bool shared, struct anonmm_file *file, uint64_t offset)
{
	struct api_call call;

	if (offset % PAGE_BYTES || (prot & ~(PROT_READ | PROT_WRITE | PROT_EXEC)) || file->mm != mm)
		return -EINVAL;
	call_begin(&call, mm, space);
	while (call_again(&call, space_mmap_file(space, addr, length, prot, shared ? SPACE_SHARED : 0,
					 file->file, offset >> PAGE_SHIFT, &call.wait)))
		;
	return call_end(&call);
}

int anonmm_space_mmap_file(struct anonmm_space *space, uint64_t *addr, uint64_t length, int prot, bool shared,
	struct anonmm_file *file, uint64_t offset)
{
	return map_file(space->mm, space->space, addr, length, prot, shared, file, offset);
}

void *anonmm_mmap_file(
	struct anonmm *mm, void *addr, size_t length, int prot, struct anonmm_file *file, uint64_t offset)
{
	uint64_t at = (uint64_t)(uintptr_t)addr;
	int error = mm->space ? map_file(mm, mm->space, &at, length, prot, false, file, offset) : -EINVAL;

	if (!error)
		return (void *)(uintptr_t)at;
	errno = -error;
	return NULL;
}

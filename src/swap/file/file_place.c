/* SPDX-License-Identifier: MIT */
/*
 * Where the file device's bytes are: PATH becomes an open file without a name, mode 0600.
 *
 *   a directory          a nameless file in it (O_TMPFILE, or created and unlinked at once)
 *   a name that is free  a file created with O_EXCL and unlinked at once
 *   a block device       used as it is, if nobody else uses it
 *   anything else        refused: it may hold somebody's data
 */
#define _GNU_SOURCE
#include "swap/file/file.h"
#include "base/size.h"
#include "host/fd.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/statvfs.h>

#define FDS_ROOM 32 /* descriptor numbers that are kept for devices where the limit of descriptors is low */

#define DEFAULT_BYTES_MAX (16 * GIB)

int file_fd_move_high(int fd)
{
	return host_fd_raise(fd, FD_PLACE_SWAP, FDS_ROOM);
}

/* ---- Finding the place --------------------------------------------------------------- */

/* For file systems without O_TMPFILE: create a file with a name, and unlink it at once. */
static int open_named_once(const char *dir)
{
	char name[300];
	int fd;

	if (snprintf(name, sizeof(name), "%s/.anonmm-XXXXXX", dir) >= (int)sizeof(name))
		return -ENAMETOOLONG;
	fd = mkostemp(name, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	unlink(name);
	return fd;
}

static int open_in_directory(const char *dir)
{
	int fd = open(dir, O_TMPFILE | O_EXCL | O_RDWR | O_CLOEXEC, 0600);

	if (fd >= 0)
		return fd;
	if (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL || errno == ENOENT)
		return open_named_once(dir);
	return -errno;
}

static int open_new_name(const char *path)
{
	int fd = open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);

	if (fd < 0)
		return -errno;
	unlink(path);
	return fd;
}

/* O_EXCL without O_CREAT: -EBUSY if the block device is mounted or used for swap. */
static int open_block_device(const char *path)
{
	int fd = open(path, O_RDWR | O_EXCL | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static int open_path(const char *path, struct swap_why *why)
{
	struct stat st;
	int fd;

	if (path[0] == '\0')
		return swap_why(why, -EINVAL, "no path; name a directory, for example file:/var/tmp?size=4G");
	if (stat(path, &st) != 0)
		fd = errno == ENOENT ? open_new_name(path) : -errno;
	else if (S_ISDIR(st.st_mode))
		fd = open_in_directory(path);
	else if (S_ISBLK(st.st_mode))
		fd = open_block_device(path);
	else
		return swap_why(why, -EEXIST,
			"%s exists and is neither a directory nor a block device; name a directory, or a "
			"file that does not exist yet",
			path);
	if (fd < 0)
		return swap_why(why, fd,
			"cannot make a file at %s: %s; name a directory that you may write to", path,
			strerror(-fd));
	return fd;
}

/* ---- How large ------------------------------------------------------------------------- */

static int room_on_file_system(int fd, uint64_t *bytes, struct swap_why *why)
{
	struct statvfs fs;

	if (fstatvfs(fd, &fs) != 0)
		return swap_why(why, -errno, "cannot learn how much room there is: %s", strerror(errno));
	*bytes = page_align_down((uint64_t)fs.f_bavail * fs.f_frsize);
	return 0;
}

static int check_room(uint64_t bytes, uint64_t room, struct swap_why *why)
{
	char want[32], have[32];

	if (bytes <= room)
		return 0;
	return swap_why(why, -ENOSPC,
		"%s asked for, but only %s free there; make room, use a smaller size= or another place",
		size_text(bytes, want, sizeof(want)), size_text(room, have, sizeof(have)));
}

/* The limit of file sizes: a write behind it would raise SIGXFSZ in the program. */
static int check_file_limit(uint64_t bytes, struct swap_why *why)
{
	char want[32], have[32];
	struct rlimit limit;

	if (getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY ||
		bytes <= limit.rlim_cur)
		return 0;
	return swap_why(why, -EFBIG,
		"%s asked for, but the file size limit is %s; raise it (ulimit -f), or use a smaller size=",
		size_text(bytes, want, sizeof(want)), size_text(limit.rlim_cur, have, sizeof(have)));
}

static int size_file(struct swap_uri *uri, int fd, uint64_t *bytes, struct swap_why *why)
{
	uint64_t room = 0;
	int error = room_on_file_system(fd, &room, why);

	if (!error)
		error = swap_uri_take_size(uri, room, bytes, why);
	if (error)
		return error;
	if (*bytes == 0)
		*bytes = max_u64(page_align_down(min_u64(room / 2, DEFAULT_BYTES_MAX)), PAGE_BYTES);
	error = check_room(*bytes, room, why);
	if (!error)
		error = check_file_limit(*bytes, why);
	if (error)
		return error;
	/* Slots that were never written then read as zeros, not as the end of the file. */
	if (fchmod(fd, 0600) != 0 || ftruncate(fd, (off_t)*bytes) != 0)
		return swap_why(why, -errno, "cannot size the file: %s", strerror(errno));
	return 0;
}

static int size_block_device(struct swap_uri *uri, int fd, uint64_t *bytes, struct swap_why *why)
{
	uint64_t room = 0;
	int error;

	if (ioctl(fd, BLKGETSIZE64, &room) != 0)
		return swap_why(
			why, -errno, "cannot learn the size of the block device: %s", strerror(errno));
	error = swap_uri_take_size(uri, room, bytes, why);
	if (error)
		return error;
	if (*bytes == 0)
		*bytes = min_u64(page_align_down(room), (uint64_t)SWAPDEV_SLOTS_MAX * PAGE_BYTES);
	if (*bytes == 0)
		return swap_why(why, -ENOSPC, "the block device is smaller than a page; use another");
	return check_room(*bytes, room, why);
}

static int size_place(struct swap_uri *uri, struct file_dev *file, struct swap_why *why)
{
	uint64_t bytes = 0;
	int error;

	if (fstat(file->fd, &file->identity) != 0)
		return swap_why(why, -errno, "cannot look at the file: %s", strerror(errno));
	if (S_ISBLK(file->identity.st_mode))
		error = size_block_device(uri, file->fd, &bytes, why);
	else
		error = size_file(uri, file->fd, &bytes, why);
	file->dev.nr_slots = (uint32_t)(bytes / PAGE_BYTES);
	return error;
}

/* ---- Direct I/O --------------------------------------------------------------------------- */

/* Does O_DIRECT work? Some file systems accept the flag and then refuse the I/O, so try one page. */
static bool direct_works(int fd)
{
	void *page = device_alloc(PAGE_BYTES);
	bool works = page && pread(fd, page, PAGE_BYTES, 0) >= 0;

	device_free(page, PAGE_BYTES);
	return works;
}

static bool set_direct(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_DIRECT) != 0)
		return false;
	if (direct_works(fd))
		return true;
	fcntl(fd, F_SETFL, flags);
	return false;
}

/*
 * Without O_DIRECT, pages that are swapped out stay in the page cache: no memory is saved until the host writes them
 * back.
 */
static int choose_direct(const char *wish, struct file_dev *file, struct swap_why *why)
{
	if (strcmp(wish, "off") == 0)
		return 0;
	file->direct = set_direct(file->fd);
	if (!file->direct && strcmp(wish, "on") == 0)
		return swap_why(why, -EINVAL,
			"direct=on, but the file system has no O_DIRECT; use direct=auto or another place");
	return 0;
}

int file_place(struct swap_uri *uri, struct file_dev *file, struct swap_why *why)
{
	const char *direct = swap_uri_take(uri, "direct");
	int error;

	if (!direct)
		direct = "auto";
	if (strcmp(direct, "auto") != 0 && strcmp(direct, "on") != 0 && strcmp(direct, "off") != 0)
		return swap_why(why, -EINVAL, "direct=%s does not exist; write auto, on or off", direct);
	swap_uri_take(uri, "size");
	error = swap_uri_finish(uri, "size, engine and direct", why);
	if (error)
		return error;
	file->fd = open_path(uri->path, why);
	if (file->fd < 0)
		return file->fd;
	file->fd = file_fd_move_high(file->fd);
	error = size_place(uri, file, why);
	return error ? error : choose_direct(direct, file, why);
}

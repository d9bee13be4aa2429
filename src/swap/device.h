/* SPDX-License-Identifier: MIT */
/*
 * What the devices share among themselves: the parts of a URI, messages about failures, and memory that does not come
 * from the program's allocator.
 *
 * A URI is SCHEME:PATH?key=value&key=value. Each device takes the keys that it knows. A key that no device takes is
 * an error, so a misspelt option is never ignored.
 */
#ifndef ANONMM_SWAPDEV_DEVICE_H
#define ANONMM_SWAPDEV_DEVICE_H

#include "contract/swapdev.h"
#include "host/host.h"

#define SWAP_URI_OPTIONS 16
#define SWAPDEV_SLOTS_MAX UINT32_C(0xfffffffe)

struct swap_uri {
	char text[256]; /* as it was asked for */
	char parts[256]; /* the same text, cut into strings; scheme, path and options point into it */
	const char *scheme;
	const char *path;
	const char *next; /* the URI of the device behind this one; NULL: none */
	uint64_t memory; /* bytes of the pager's limit; 0: not known */
	unsigned nr_options;
	struct swap_option {
		const char *key;
		const char *value;
		bool taken;
	} options[SWAP_URI_OPTIONS];
};

/* Where the message about a failure goes, one line. */
struct swap_why {
	const char *uri;
	char *text;
	size_t len;
};

/* read() that is no cancellation point: the caller may be a thread of the program that touched memory. */
static inline ssize_t device_read(int fd, void *to, size_t bytes)
{
	return syscall(SYS_read, fd, to, bytes);
}

/* Write "swap device 'URI': MESSAGE" to @why. Returns @error, so that reporting a failure is one statement. */
int swap_why(struct swap_why *why, int error, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Cut @text into the parts of @uri. 0, or -errno and @why. */
int swap_uri_parse(const char *text, struct swap_uri *uri, struct swap_why *why);

/* The value of @key, which counts as taken from now on. NULL: the key was not given. */
const char *swap_uri_take(struct swap_uri *uri, const char *key);

/* Take @key, whose value is a number. *value stays as it is if the key was not given. 0, or -EINVAL and @why. */
int swap_uri_take_number(struct swap_uri *uri, const char *key, uint64_t *value, struct swap_why *why);

/*
 * Take "size=": whole pages, or a share of @whole bytes. *bytes becomes 0 if the key was not given. 0, or -errno and
 * @why.
 */
int swap_uri_take_size(struct swap_uri *uri, uint64_t whole, uint64_t *bytes, struct swap_why *why);

/* 0, or -EINVAL and @why: an option is left that nobody took. @known names the options that exist, for the message. */
int swap_uri_finish(const struct swap_uri *uri, const char *known, struct swap_why *why);

/* Open a device. 0 and *out, or -errno and @why; then nothing stays open. */
typedef int swapdev_opener(struct swap_uri *uri, struct swapdev **out, struct swap_why *why);

swapdev_opener file_open, faulty_open, mem_open, zram_open;

/* Run the done() of every request of @ended. Returns how many. => no lock of the device held */
unsigned swap_io_end(struct swap_io_list *ended);

/* Does the device have all slots that @io names? */
static inline bool swap_io_fits(const struct swapdev *dev, const struct swap_io *io)
{
	return io->nr >= 1 && io->nr <= SWAP_IO_PAGES && io->slot < dev->nr_slots &&
	       io->nr <= dev->nr_slots - io->slot;
}

/*
 * Zeroed memory straight from the kernel: a preloaded mmap() or malloc() would return memory that is itself swapped.
 * NULL: no memory.
 */
static inline void *device_alloc(size_t bytes)
{
	return host_mmap(0, bytes, PROT_READ | PROT_WRITE, MAP_NORESERVE);
}

static inline void device_free(void *p, size_t bytes)
{
	if (p)
		host_munmap(p, bytes);
}

#endif

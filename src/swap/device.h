/* SPDX-License-Identifier: MIT */
/*
 * What the devices share among themselves: the parts of a URI, a way to say why not, and
 * memory that no program's allocator knows of.
 *
 * A URI is SCHEME:PATH?key=value&key=value. Each device takes the keys that it knows;
 * what is left over is an error, so that a misspelt option is never ignored.
 */
#ifndef ANONMM_SWAPDEV_DEVICE_H
#define ANONMM_SWAPDEV_DEVICE_H

#include "contract/swapdev.h"
#include "host/host.h"

#define SWAP_URI_OPTIONS 16
#define SWAPDEV_SLOTS_MAX UINT32_C(0xfffffffe)

struct swap_uri {
	char text[256]; /* as it was asked for */
	char parts[256]; /* the same, cut up */
	const char *scheme;
	const char *path;
	const char *next; /* the URI of the device behind this one; NULL: none */
	uint64_t memory; /* that the pager has; 0: not known */
	unsigned nr_options;
	struct swap_option {
		const char *key;
		const char *value;
		bool taken;
	} options[SWAP_URI_OPTIONS];
};

/* Where the one line about a failure goes. */
struct swap_why {
	const char *uri;
	char *text;
	size_t len;
};

/* read() that is no cancellation point: a program's thread may be here because it touched memory. */
static inline ssize_t device_read(int fd, void *to, size_t bytes)
{
	return syscall(SYS_read, fd, to, bytes);
}

/* Write "swap device 'URI': ..." and return @error, so that a failure is one statement. */
int swap_why(struct swap_why *why, int error, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

int swap_uri_parse(const char *text, struct swap_uri *uri, struct swap_why *why);

/* The value of @key, which then counts as known; NULL when it was not given. */
const char *swap_uri_take(struct swap_uri *uri, const char *key);

/* As swap_uri_take(), for numbers: *value stays as it is when the key was not given. */
int swap_uri_take_number(struct swap_uri *uri, const char *key, uint64_t *value, struct swap_why *why);

/* "size=SIZE", whole pages, or a share of @whole. *bytes is 0 when it was not given. */
int swap_uri_take_size(struct swap_uri *uri, uint64_t whole, uint64_t *bytes, struct swap_why *why);

/* -EINVAL when an option is left that nobody took. @known names those that there are. */
int swap_uri_finish(const struct swap_uri *uri, const char *known, struct swap_why *why);

typedef int swapdev_opener(struct swap_uri *uri, struct swapdev **out, struct swap_why *why);

swapdev_opener file_open, faulty_open, mem_open, zram_open;

/* Run the done() of every request of @ended. Returns how many. => no lock of the device held */
unsigned swap_io_end(struct swap_io_list *ended);

/* Does @io name slots that the device has? */
static inline bool swap_io_fits(const struct swapdev *dev, const struct swap_io *io)
{
	return io->nr >= 1 && io->nr <= SWAP_IO_PAGES && io->slot < dev->nr_slots &&
	       io->nr <= dev->nr_slots - io->slot;
}

/*
 * Straight from the kernel, because a preloaded mmap() or malloc() would hand out memory that is
 * itself swapped. Zeroed; NULL when there is none.
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

/* SPDX-License-Identifier: MIT */
/* From the URI of a device to the device. There is a table with one line for each kind of device. */
#include "swap/device.h"

#include <stdio.h>
#include <string.h>

static const struct swapdev_kind {
	const char *scheme;
	swapdev_opener *open;
	bool in_front; /* it takes the device behind it in the list as its next device */
} kinds[] = {
	{"file", file_open, false},
	{"zram", zram_open, true},
	{"mem", mem_open, false},
	{"faulty", faulty_open, false},
};

static int unknown_scheme(const struct swap_uri *uri, struct swap_why *why)
{
	char known[128] = "";
	size_t used = 0;

	for (size_t i = 0; i < ARRAY_SIZE(kinds) && used < sizeof(known); i++)
		used += (size_t)snprintf(
			known + used, sizeof(known) - used, "%s%s:", i ? ", " : "", kinds[i].scheme);
	return swap_why(why, -EINVAL, "unknown scheme '%s'; there are %s", uri->scheme, known);
}

static const struct swapdev_kind *kind_of(const struct swap_uri *uri)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (strcmp(kinds[i].scheme, uri->scheme) == 0)
			return &kinds[i];
	return NULL;
}

/* @next: the URI behind @uri; NULL: none. *took: the device has taken it as its next device. */
static int open_one(const char *text, const char *next, uint64_t memory, struct swapdev **out, bool *took,
	struct swap_why *why)
{
	struct swap_uri uri;
	int error;

	why->uri = text;
	error = swap_uri_parse(text, &uri, why);
	if (error)
		return error;
	const struct swapdev_kind *kind = kind_of(&uri);

	if (!kind)
		return unknown_scheme(&uri, why);
	*took = next && kind->in_front;
	uri.next = *took ? next : NULL;
	uri.memory = memory;
	error = kind->open(&uri, out, why);
	if (!error)
		memcpy((*out)->uri, uri.text, sizeof(uri.text));
	return error;
}

/* A comma with a scheme after it begins the next URI. Another comma belongs to a path. NULL: there is no next URI. */
static char *list_next(char *text)
{
	for (char *comma = strchr(text, ','); comma; comma = strchr(comma + 1, ',')) {
		size_t letters = strspn(comma + 1, "abcdefghijklmnopqrstuvwxyz0123456789");

		if (letters > 0 && comma[1 + letters] == ':')
			return comma;
	}
	return NULL;
}

static int list_split(
	const char *text, char *copy, size_t len, const char *parts[SWAPDEV_CHAIN], struct swap_why *why)
{
	int nr = 0;

	if (strlen(text) >= len)
		return swap_why(why, -ENAMETOOLONG, "longer than %zu characters; use shorter paths", len - 1);
	memcpy(copy, text, strlen(text) + 1);
	for (char *at = copy; at; nr++) {
		if (nr == SWAPDEV_CHAIN)
			return swap_why(why, -E2BIG, "more than %d devices; name fewer", SWAPDEV_CHAIN);
		parts[nr] = at;
		at = list_next(at);
		if (at)
			*at++ = '\0';
	}
	return nr;
}

int swapdev_open_all(const char *uris, uint64_t memory, struct swapdev **devs, unsigned max, char *why_text,
	size_t why_len)
{
	struct swap_why why = {.uri = uris, .text = why_text, .len = why_len};
	const char *parts[SWAPDEV_CHAIN + 1] = {NULL};
	char copy[SWAPDEV_CHAIN * sizeof((*devs)->uri)];
	int nr_parts = list_split(uris, copy, sizeof(copy), parts, &why), error = nr_parts;
	unsigned nr = 0;

	for (int i = 0; i < nr_parts && error >= 0; i++) {
		bool took = false;

		if (nr == max)
			error = swap_why(&why, -E2BIG, "one device too many; name fewer");
		else
			error = open_one(parts[i], parts[i + 1], memory, &devs[nr], &took, &why);
		nr += error >= 0;
		i += took;
	}
	while (error < 0 && nr > 0) {
		nr--;
		devs[nr]->ops->close(devs[nr]);
	}
	return error < 0 ? error : (int)nr;
}

int swapdev_open(const char *uri, struct swapdev **out, char *why, size_t why_len)
{
	int nr = swapdev_open_all(uri, 0, out, 1, why, why_len);

	return nr < 0 ? nr : 0;
}

unsigned swap_io_end(struct swap_io_list *ended)
{
	struct swap_io *io;
	unsigned nr = 0;

	while ((io = STAILQ_FIRST(ended))) {
		STAILQ_REMOVE_HEAD(ended, link);
		nr++;
		io->done(io);
	}
	return nr;
}

/* SPDX-License-Identifier: MIT */
/* From the name of a device to the device: one line for each kind that there is. */
#include "device.h"

#include <stdio.h>
#include <string.h>

static const struct swapdev_kind {
	const char *scheme;
	swapdev_opener *open;
} kinds[] = {
	{"file", file_open},
	{"mem", mem_open},
	{"faulty", faulty_open},
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

int swapdev_open(const char *text, struct swapdev **out, char *why_text, size_t why_len)
{
	struct swap_why why = {.uri = text, .text = why_text, .len = why_len};
	struct swap_uri uri;
	int error = swap_uri_parse(text, &uri, &why);

	if (error)
		return error;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (strcmp(kinds[i].scheme, uri.scheme) != 0)
			continue;
		error = kinds[i].open(&uri, out, &why);
		if (error)
			return error;
		memcpy((*out)->uri, uri.text, sizeof(uri.text));
		return 0;
	}
	return unknown_scheme(&uri, &why);
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

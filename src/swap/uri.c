/* SPDX-License-Identifier: MIT */
/* Cut the URI of a swap device into its parts, and report what is wrong with it. */
#include "swap/device.h"
#include "base/size.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int swap_why(struct swap_why *why, int error, const char *fmt, ...)
{
	va_list args;
	int used;

	if (!why->len)
		return error;
	used = snprintf(why->text, why->len, "swap device '%s': ", why->uri);
	if (used < 0 || (size_t)used >= why->len)
		return error;
	va_start(args, fmt);
	vsnprintf(why->text + used, why->len - (size_t)used, fmt, args);
	va_end(args);
	return error;
}

static int parse_option(char *text, struct swap_uri *uri, struct swap_why *why)
{
	char *value = strchr(text, '=');

	if (!value || value == text)
		return swap_why(why, -EINVAL,
			"'%s' is no option; options are written key=value, with '&' between them", text);
	*value++ = '\0';
	for (unsigned i = 0; i < uri->nr_options; i++) {
		if (strcmp(uri->options[i].key, text) == 0)
			return swap_why(why, -EINVAL, "option '%s' is given twice; give it once", text);
	}
	if (uri->nr_options == SWAP_URI_OPTIONS)
		return swap_why(why, -EINVAL, "more than %d options; leave some out", SWAP_URI_OPTIONS);
	uri->options[uri->nr_options++] = (struct swap_option){.key = text, .value = value};
	return 0;
}

static int parse_options(char *text, struct swap_uri *uri, struct swap_why *why)
{
	char *save = NULL;

	for (char *option = strtok_r(text, "&", &save); option; option = strtok_r(NULL, "&", &save)) {
		int error = parse_option(option, uri, why);

		if (error)
			return error;
	}
	return 0;
}

int swap_uri_parse(const char *text, struct swap_uri *uri, struct swap_why *why)
{
	char *path, *query;

	memset(uri, 0, sizeof(*uri));
	if (strlen(text) >= sizeof(uri->text))
		return swap_why(why, -ENAMETOOLONG, "longer than %zu characters; use a shorter path",
			sizeof(uri->text) - 1);
	memcpy(uri->text, text, strlen(text) + 1);
	memcpy(uri->parts, text, strlen(text) + 1);
	path = strchr(uri->parts, ':');
	if (!path)
		return swap_why(why, -EINVAL,
			"no scheme; write SCHEME:PATH?size=SIZE, for example file:/var/tmp?size=4G");
	*path++ = '\0';
	uri->scheme = uri->parts;
	uri->path = path;
	query = strchr(path, '?');
	if (!query)
		return 0;
	*query++ = '\0';
	return parse_options(query, uri, why);
}

const char *swap_uri_take(struct swap_uri *uri, const char *key)
{
	for (unsigned i = 0; i < uri->nr_options; i++) {
		if (strcmp(uri->options[i].key, key) == 0) {
			uri->options[i].taken = true;
			return uri->options[i].value;
		}
	}
	return NULL;
}

int swap_uri_take_number(struct swap_uri *uri, const char *key, uint64_t *value, struct swap_why *why)
{
	const char *text = swap_uri_take(uri, key);
	char *end;

	if (!text)
		return 0;
	errno = 0;
	*value = strtoull(text, &end, 10);
	if (errno || *end || text[0] < '0' || text[0] > '9')
		return swap_why(why, -EINVAL, "%s=%s is not a number; write decimal digits", key, text);
	return 0;
}

int swap_uri_take_size(struct swap_uri *uri, uint64_t whole, uint64_t *bytes, struct swap_why *why)
{
	const char *text = swap_uri_take(uri, "size");
	int error;

	*bytes = 0;
	if (!text)
		return 0;
	error = size_parse_share(text, whole, bytes);
	if (error == -ERANGE)
		return swap_why(why, -ERANGE, "size=%s is larger than any device; the most is 16T", text);
	if (error)
		return swap_why(
			why, error, "size=%s is not a size; write for example 512M, 1.5G or 25%%", text);
	*bytes = page_align_down(*bytes);
	if (*bytes == 0)
		return swap_why(why, -EINVAL, "size=%s is less than one page; give at least 4096", text);
	if (*bytes / PAGE_BYTES > SWAPDEV_SLOTS_MAX)
		return swap_why(why, -ERANGE,
			"size=%s is more than a device can have; the most is 16T less two pages", text);
	return 0;
}

int swap_uri_finish(const struct swap_uri *uri, const char *known, struct swap_why *why)
{
	for (unsigned i = 0; i < uri->nr_options; i++) {
		if (!uri->options[i].taken)
			return swap_why(why, -EINVAL, "unknown option '%s'; '%s:' has %s",
				uri->options[i].key, uri->scheme, known);
	}
	return 0;
}

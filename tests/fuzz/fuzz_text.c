/* SPDX-License-Identifier: MIT */
/*
 * Texts that people write: sizes, and the names of swap devices. No text may crash, and what is accepted must make
 * sense.
 */
#include "base/base.h"
#include "base/size.h"
#include "swap/device.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void check(bool holds)
{
	if (!holds)
		abort();
}

static void try_size(const char *text)
{
	uint64_t bytes = 1, share = 1;
	int error = size_parse(text, &bytes), share_error = size_parse_share(text, 1000, &share);

	if (error)
		return;
	check(bytes <= UINT64_C(1) << 63);
	check(text[0] >= '0' && text[0] <= '9');
	check(!share_error && share == bytes);
}

static void try_uri(const char *text)
{
	char words[300];
	struct swap_why why = {.uri = text, .text = words, .len = sizeof(words)};
	struct swap_uri uri;
	uint64_t bytes, number = 0;

	if (swap_uri_parse(text, &uri, &why)) {
		check(strlen(words) > 0);
		return;
	}
	check(!strncmp(uri.scheme, text, strlen(uri.scheme)));
	if (!swap_uri_take_size(&uri, 1 << 30, &bytes, &why))
		check(bytes % PAGE_BYTES == 0 && bytes / PAGE_BYTES <= SWAPDEV_SLOTS_MAX);
	swap_uri_take_number(&uri, "seed", &number, &why);
	swap_uri_finish(&uri, "size and seed", &why);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	char *text = malloc(len + 1);

	if (!text)
		return 0;
	memcpy(text, bytes, len);
	text[len] = '\0';
	try_size(text);
	try_uri(text);
	free(text);
	return 0;
}

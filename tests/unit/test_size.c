/* SPDX-License-Identifier: MIT */
/* Sizes: which texts are sizes and which are not, and that text and number agree. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/base.h"
#include "base/size.h"

static void sizes_mean_what_people_expect(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} cases[] = {
		{"0", 0},
		{"4096", 4096},
		{"512B", 512},
		{"1K", KIB},
		{"64KiB", 64 * KIB},
		{"64kb", 64 * KIB},
		{"256M", 256 * MIB},
		{"256m", 256 * MIB},
		{"1.5G", 3 * GIB / 2},
		{"0.25MiB", 256 * KIB},
		{"2T", 2048 * GIB},
		{"1P", 1024 * 1024 * GIB},
		{"7E", 7 * (UINT64_C(1) << 60)},
		{"8E", UINT64_C(1) << 63},
		{"9223372036854775808", UINT64_C(1) << 63},
		{"0.3333333333333333333333333K", 341},
		{"007K", 7 * KIB},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t bytes = 12345;

		assert_int_equal(size_parse(cases[i].text, &bytes), 0);
		assert_int_equal(bytes, cases[i].bytes);
	}
}

static void what_is_no_size_is_refused(void **state)
{
	static const char *const texts[] = {"", " ", "-1", "+1", " 1", "1 ", "1 M", "M", ".5G", "5.G", "1.5",
		"0.5B", "1X", "1KK", "1Ki", "1KiBs", "0x10", "1e9", "1,5G", "1.5.5G", "25%", "\xc3\xa4",
		"1\n"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		uint64_t bytes = 12345;

		assert_int_equal(size_parse(texts[i], &bytes), -EINVAL);
		assert_int_equal(bytes, 12345);
	}
}

static void what_is_too_large_is_told_apart(void **state)
{
	static const char *const texts[] = {"9223372036854775809", "8.1E", "9E", "16384P",
		"99999999999999999999999", "18446744073709551616", "8388609T"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		uint64_t bytes = 12345;

		assert_int_equal(size_parse(texts[i], &bytes), -ERANGE);
		assert_int_equal(bytes, 12345);
	}
}

static void a_share_is_of_the_whole(void **state)
{
	uint64_t bytes = 0;

	(void)state;
	assert_int_equal(size_parse_share("25%", GIB, &bytes), 0);
	assert_int_equal(bytes, GIB / 4);
	assert_int_equal(size_parse_share("100%", UINT64_MAX, &bytes), 0);
	assert_int_equal(bytes, UINT64_MAX);
	assert_int_equal(size_parse_share("12.5%", 800, &bytes), 0);
	assert_int_equal(bytes, 100);
	assert_int_equal(size_parse_share("64K", GIB, &bytes), 0);
	assert_int_equal(bytes, 64 * KIB);

	static const char *const bad[] = {"0%", "0.0%", "100.1%", "101%", "-5%", "%", "25%%", "25 %", ""};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(size_parse_share(bad[i], GIB, &bytes), -EINVAL);
	assert_int_equal(bytes, 64 * KIB);
}

static void text_is_short_and_rounds(void **state)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} cases[] = {
		{0, "0 B"},
		{512, "512 B"},
		{1023, "1023 B"},
		{KIB, "1 KiB"},
		{64 * MIB, "64 MiB"},
		{3 * GIB / 2, "1.5 GiB"},
		{MIB - 1, "1 MiB"},
		{GIB - 1, "1 GiB"},
		{1996 * KIB, "1.9 MiB"},
		{UINT64_C(1) << 63, "8 EiB"},
		{UINT64_MAX, "16 EiB"},
	};
	char buf[32];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_string_equal(size_text(cases[i].bytes, buf, sizeof(buf)), cases[i].text);
	assert_string_equal(size_text(1500 * MIB, buf, 4), "1.5");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_mean_what_people_expect),
		cmocka_unit_test(what_is_no_size_is_refused),
		cmocka_unit_test(what_is_too_large_is_told_apart),
		cmocka_unit_test(a_share_is_of_the_whole),
		cmocka_unit_test(text_is_short_and_rounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

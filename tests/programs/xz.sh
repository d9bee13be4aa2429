#!/bin/sh
# SPDX-License-Identifier: MIT
# xz -9 wants 674 MiB for its dictionary and tables. It gets a part of what it touches of them, and the same bytes come
# out.
. "$(dirname "$0")/../common.sh"
need xz
find /usr/lib /usr/bin -type f -size +100k -print 2>/dev/null | sort | xargs cat 2>/dev/null | head -c 800000 >"$work/in"

xz -9 -T1 -c "$work/in" >"$work/expected"
for mode in thread signal; do
	managed 64M $mode xz -9 -T1 -c "$work/in" >"$work/out" || fail "$mode: exit status $?"
	same "$mode" "$work/expected" "$work/out"
	must_have_swapped $mode
	managed 4M $mode xz -d -c "$work/out" >"$work/back" || fail "$mode: back: exit status $?"
	same "$mode: back" "$work/in" "$work/back"
done
finish

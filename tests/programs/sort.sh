#!/bin/sh
# SPDX-License-Identifier: MIT
# GNU sort, with a buffer several times the limit, gives the same lines.
. "$(dirname "$0")/../common.sh"
need sort seq awk

# 40 lists in order, one after the other: about 45 MiB in the buffer of sort.
awk 'BEGIN {
	srand(7)
	for (list = 0; list < 40; list++) {
		key = 0
		for (i = 0; i < 14000; i++) {
			key += 1 + int(rand() * 60)
			printf "%09d of list %02d line %d\n", key, list, i
		}
	}
}' >"$work/in"
sort -S 400M "$work/in" >"$work/expected"

for mode in thread signal; do
	managed 16M $mode sort -S 400M "$work/in" >"$work/out" || fail "$mode: exit status $?"
	same $mode "$work/expected" "$work/out"
	must_have_swapped $mode
done
finish

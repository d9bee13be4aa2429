#!/bin/sh
# SPDX-License-Identifier: MIT
# GNU sort, with a buffer several times the limit, gives the same lines in both fault modes.
. "$(dirname "$0")/../common.sh"
need sort seq awk

# 1.2 million lines, about 70 MiB in the buffer of sort.
awk 'BEGIN { srand(7); for (i = 0; i < 1200000; i++) printf "%09d %s line %d\n", rand() * 1e9, rand(), i }' >"$work/in"
sort -S 400M "$work/in" >"$work/expected"

managed 24M thread sort -S 400M "$work/in" >"$work/out" || fail "thread: exit status $?"
same thread "$work/expected" "$work/out"
must_have_swapped thread

# Its input is read(2) into managed memory, which signal mode cannot serve yet when that memory is out: only a
# limit above what sort touches is safe.
managed 400M signal sort -S 100M "$work/in" >"$work/out" || fail "signal: exit status $?"
same signal "$work/expected" "$work/out"
finish

#!/bin/sh
# SPDX-License-Identifier: MIT
# ANONMM_ADDRESS_SPACE: system calls on memory far into a large range, in both modes; a range that is too large is refused in words.
. "$(dirname "$0")/../common.sh"
need gcc
find_modes
compiles -O1 -o "$work/far" "$(dirname "$0")/far.c"
timeout 20 "$work/far" >"$work/expected" || fail "natively: status $?"

for mode in $modes; do
	export ANONMM_ADDRESS_SPACE=4T
	managed 16M $mode timeout 60 "$work/far" >"$work/out" 2>"$work/said" ||
		fail "$mode: status $?: $(cat "$work/out" "$work/said")"
	same $mode "$work/expected" "$work/out"
	must_have_swapped $mode
	for size in 17T 20T 200T; do
		export ANONMM_ADDRESS_SPACE=$size
		managed 16M $mode true >"$work/out" 2>&1
		status=$?
		[ $status -eq 125 ] || fail "$mode, $size: status $status"
		grep -q "ANONMM_ADDRESS_SPACE=$size.*at most 16T" "$work/out" || fail "$mode, $size: $(cat "$work/out")"
	done
done
finish

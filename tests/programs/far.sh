#!/bin/sh
# SPDX-License-Identifier: MIT
# ANONMM_ADDRESS_SPACE: system calls work on memory far into a large range, in both modes. A range that is too large is
# refused with a message.
. "$(dirname "$0")/../common.sh"
need gcc
find_modes
compiles -O1 -o "$work/far" "$(dirname "$0")/far.c"
timeout 20 "$work/far" >"$work/expected" || fail "natively: status $?"
# A program that is not managed, with memory where a larger range would lie: the usual range leaves it alone.
compiles -O1 -static -o "$work/hint" "$(dirname "$0")/hint.c"
for mode in $modes; do
	unset ANONMM_ADDRESS_SPACE
	for hint in 280000000000 2ff000000000 300000000000; do
		managed 16M $mode sh -c "\"$work/hint\" $hint; exit \$?" >"$work/out" 2>"$work/said" ||
			fail "$mode, not managed, hint $hint: status $?: $(cat "$work/out" "$work/said")"
	done
	# A range inside the small filter that is inherited, and a large one above it.
	managed 16M $mode sh -c "ANONMM_ADDRESS_SPACE=4T exec \"$work/far\"" >"$work/out" 2>"$work/said" ||
		fail "$mode, a larger range under a small one: status $?: $(cat "$work/out" "$work/said")"
done

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

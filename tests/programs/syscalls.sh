#!/bin/sh
# SPDX-License-Identifier: MIT
# System calls on buffers that are never touched, aged or swapped out do the same as natively: in both modes, with a
# privilege and without any, by libc's functions and past them.
. "$(dirname "$0")/../common.sh"
need gcc

source=$(dirname "$0")/syscalls.c data=$(dirname "$0")/syscalls_data.c
compiles -O1 -pthread -o "$work/syscalls" "$source" "$data" -lrt
compiles -O1 -pthread -DRAW -o "$work/syscalls-raw" "$source" -lrt
for program in syscalls syscalls-raw; do
	TMPDIR=$work "$work/$program" >"$work/expected-$program" || fail "$program, natively: $?"
	grep -q failed "$work/expected-$program" && fail "$program, natively: $(cat "$work/expected-$program")"
done
for mode in thread signal; do
	for program in syscalls syscalls-raw; do
		TMPDIR=$work managed 16M $mode "$work/$program" >"$work/out" || fail "$program, $mode: exit status $?"
		same "$program, $mode" "$work/expected-$program" "$work/out"
		grep -v good "$work/out"
		must_have_swapped "$program, $mode"
	done
done

need_nobody
mkdir -m 777 "$work/nobody"
cd "$work/nobody" || exit 1 # the program goes back to where it was, which may be closed to others
TMPDIR=$work/nobody managed_as_nobody 16M auto "$work/syscalls" >"$work/out" || fail "as nobody: exit status $?"
same "as nobody" "$work/expected-syscalls" "$work/out"
grep -v good "$work/out"
must_have_swapped "as nobody"
finish

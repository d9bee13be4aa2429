#!/bin/sh
# SPDX-License-Identifier: MIT
# System calls on buffers that are never touched, aged and swapped out: as natively, in both modes; with a privilege and
# without any.
. "$(dirname "$0")/../common.sh"
need gcc

gcc -O1 -w -pthread -o "$work/syscalls" "$(dirname "$0")/syscalls.c" -lrt || skip "gcc does not work here"
TMPDIR=$work "$work/syscalls" >"$work/expected" || fail "natively: $?"
grep -q failed "$work/expected" && skip "natively: $(cat "$work/expected")"
for mode in thread signal; do
	TMPDIR=$work managed 16M $mode "$work/syscalls" >"$work/out" || fail "$mode: exit status $?"
	same "$mode" "$work/expected" "$work/out"
	grep -v good "$work/out"
	must_have_swapped $mode
done

if as_nobody true; then
	mkdir -m 777 "$work/nobody"
	TMPDIR=$work/nobody managed_as_nobody 16M auto "$work/syscalls" >"$work/out" || fail "as nobody: exit status $?"
	same "as nobody" "$work/expected" "$work/out"
	grep -v good "$work/out"
	must_have_swapped "as nobody"
else
	echo "not root, or no setpriv: no other user was tried"
fi
finish

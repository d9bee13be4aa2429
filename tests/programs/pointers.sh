#!/bin/sh
# SPDX-License-Identifier: MIT
# Bad pointers in system calls, at any depth: the result of each call is the same as natively, in both modes, with a
# privilege and without.
. "$(dirname "$0")/../common.sh"
. "$(dirname "$0")/cases.sh"
need gcc

program=$work/pointers
chmod 711 "$work"
compiles -O1 -pthread -o "$program" "$(dirname "$0")/pointers.c"
ulimit -c 0
SWAPS=no
all_cases

if have_nobody; then
	for name in $("$program"); do
		as_nobody "$program" "$name" >"$work/expected" 2>&1 || fail "as nobody, $name: natively: $?"
		managed_as_nobody 8M auto "$program" "$name" >"$work/out" 2>"$work/said" ||
			fail "as nobody, $name: status $?: $(head -n 3 "$work/said")"
		diff "$work/expected" "$work/out" || fail "as nobody, $name: not as natively"
	done
else
	echo "not root, or no setpriv: no other user was tried"
fi
finish

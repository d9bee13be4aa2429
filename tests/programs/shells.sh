#!/bin/sh
# SPDX-License-Identifier: MIT
# system() and popen() from several threads, in both modes, with a privilege and without: `environ` stays as the program
# made it.
. "$(dirname "$0")/../common.sh"
need gcc

chmod 711 "$work"
compiles -O1 -pthread -o "$work/shells" "$(dirname "$0")/shells.c"
"$work/shells" >"$work/expected" || fail "natively: $(cat "$work/expected")"
for mode in signal thread; do
	managed 8M $mode "$work/shells" >"$work/out" || fail "$mode: status $?"
	same $mode "$work/expected" "$work/out"
	cat "$work/out"
done
if have_nobody; then
	managed_as_nobody 8M signal "$work/shells" >"$work/out" || fail "as nobody: status $?"
	same "as nobody" "$work/expected" "$work/out"
else
	echo "not root, or no setpriv: no other user was tried"
fi
finish

#!/bin/sh
# SPDX-License-Identifier: MIT
# xz -9 wants 674 MiB for its dictionary and tables; it gets a part of what it touches of them, and the same bytes come out.
. "$(dirname "$0")/../common.sh"
need xz
find /usr/lib /usr/bin -type f -size +100k -print 2>/dev/null | sort | xargs cat 2>/dev/null | head -c 12000000 >"$work/in"

xz -9 -T1 -c "$work/in" >"$work/expected"
managed 32M thread xz -9 -T1 -c "$work/in" >"$work/out" || fail "thread: exit status $?"
same thread "$work/expected" "$work/out"
must_have_swapped thread
managed 16M thread xz -d -c "$work/out" >"$work/back" || fail "back: exit status $?"
same back "$work/in" "$work/back"
managed 1G signal xz -9 -T1 -c "$work/in" >"$work/out" || fail "signal: exit status $?"
same signal "$work/expected" "$work/out"
finish

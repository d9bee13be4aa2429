#!/bin/sh
# SPDX-License-Identifier: MIT
# A core dump holds what was in swap, whichever way the program dies, and its status is as natively. Without dumps, or
# with --core resident, nothing is brought in.
. "$(dirname "$0")/../common.sh"
need gcc gdb python3
here=$(cd "$(dirname "$0")" && pwd)

[ "$(cat /proc/sys/kernel/core_pattern)" = core ] || skip core-files "kernel.core_pattern"
ulimit -c unlimited 2>/dev/null || skip core-files "ulimit -c"
compiles -O1 -g -pthread -o "$work/dies" "$here/dies.c"
compiles -O1 -pthread -o "$work/threads" "$here/threads.c" -lrt
cd "$work" || exit 1

# dies HOW STATUS MODE [OPTION...]: the pages in the core are counted in $found.
dies() {
	how=$1 expected=$2 mode=$3
	shift 3
	rm -f core core.* stats
	timeout 60 "$ANONMM" run --memory 8M --swap "file:$work?size=256M" --faults "$mode" "$@" -- ./dies "$how" where 2>said
	status=$?
	[ $status -eq "$expected" ] || fail "$how, $mode: status $status, not $expected: $(cat said)"
	found=$(python3 "$here/dump.py" core* where 2>&1 | tail -n 1)
}

all_there() {
	dies "$@"
	[ "$found" = "6000 6000" ] || fail "$1, $3: pages in the core: $found; $(cat said)"
}

all_there segv 139 thread
read -r start pages <where
gdb -nx -batch -ex "x/1gx $start + 4096 * 1000" ./dies core* >out 2>/dev/null
grep -qi 5eed5eed0007d000 out || fail "gdb does not find a page: $(tail -n 1 out)"
gdb -nx -batch -ex bt ./dies core* 2>/dev/null | grep -q "die (how=" || fail "gdb does not find where it died"
all_there thread 139 signal
all_there overflow 139 thread
all_there handled 134 thread
all_there busy 134 thread
all_there busy 134 signal

# Killed by somebody else.
rm -f core core.*
"$ANONMM" run --memory 8M --swap "file:$work?size=256M" --faults thread -- ./dies killed where >ready &
launcher=$!
until_says ready ready 10
kill -ABRT "$(cat /proc/$launcher/task/$launcher/children)"
wait $launcher
[ $? -eq 134 ] || fail "killed: the status is not that of SIGABRT"
found=$(python3 "$here/dump.py" core* where 2>&1 | tail -n 1)
[ "$found" = "6000 6000" ] || fail "killed: pages in the core: $found"

# As it is, without bringing in anything.
dies segv 139 thread --core resident
[ "${found%% *}" -lt 4000 ] || fail "resident: pages in the core: $found"
"$ANONMM" run --core some -- true 2>said && fail "--core some was taken"
grep -q "full or resident" said || fail "--core some: said: $(cat said)"

# What the program sees of its signals.
for mode in thread signal; do
	managed 8M $mode ./threads seen >out || fail "seen, $mode: $(cat out)"
done

ulimit -c 0
dies segv 139 thread
case $found in *[Ee]rror*) ;; *) fail "ulimit -c 0: there is a core: $found" ;; esac
finish

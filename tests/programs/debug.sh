#!/bin/sh
# SPDX-License-Identifier: MIT
# Looking in from outside: others see, and can bring in, what docs/debugging.md says. gdb's helper has a test of its
# own: gdb.sh.
. "$(dirname "$0")/../common.sh"
need gcc gdb python3
here=$(cd "$(dirname "$0")" && pwd)

compiles -O1 -g -pthread -o "$work/dies" "$here/dies.c"
cd "$work" || exit 1
ulimit -c 0

for mode in thread signal; do
	rm -f ready
	"$ANONMM" run --memory 8M --memory-max 64M --swap "file:$work?size=256M" --faults $mode -- ./dies killed where >ready &
	launcher=$!
	until_says ready ready 10
	program=$(cat /proc/$launcher/task/$launcher/children)
	# Of 6000 pages 50 may not be read; a limit of 8 MiB holds less than 2048.
	seen=$(timeout 30 python3 "$here/peek.py" $program where)
	case "$mode $seen" in
	"thread mem "*" wrong 0 vm_readv 5950 of 6000") ;;
	"signal mem "*" wrong 0 vm_readv "*" of 6000") ;;
	*) fail "$mode: seen from outside: $seen" ;;
	esac
	# shellcheck disable=SC2086  # words
	set -- $seen
	[ "$2" -lt 2048 ] || fail "$mode: $2 pages seen by /proc/PID/mem: nothing was out, so nothing was tested"

	# What is only hidden takes no room; a range comes in, at the cost of others; with room, all that may be read.
	read -r start pages <where
	"$ANONMM" touch $program >said
	[ $? -eq 1 ] && grep -q 'are still away: the limit has no room' said || fail "$mode: touch: $(cat said)"
	# In so small a limit what came in may go out again before anybody looks: then it is asked for once more.
	for i in 1 2 3 4 5; do
		"$ANONMM" touch $program $((start + 4096 * 2000)) 256K >said && touched=yes || touched=no
		seen=$(python3 "$here/peek.py" $program where 2000 2064)
		[ "$touched $seen" = "yes mem 64 wrong 0 vm_readv 64 of 64" ] && break
	done
	[ "$touched $seen" = "yes mem 64 wrong 0 vm_readv 64 of 64" ] || fail "$mode: touch of a range: $(cat said); then $seen"
	"$ANONMM" limit $program 64M >said || fail "$mode: limit: $(cat said)"
	"$ANONMM" touch $program >said
	grep -q ' 50 are still away: they may not be read' said || fail "$mode: touch with room: $(cat said)"
	[ "$(python3 "$here/peek.py" $program where)" = "mem 5950 wrong 0 vm_readv 5950 of 6000" ] ||
		fail "$mode: touched, with room: $(python3 "$here/peek.py" $program where)"
	"$ANONMM" limit $program 8M >said || fail "$mode: limit: $(cat said)"
	kill -STOP $program
	"$ANONMM" touch --timeout 1 $program >said 2>&1 && fail "$mode: a stopped process answered: $(cat said)"
	kill -CONT $program
	timeout 20 "$ANONMM" touch $program $start >said || fail "$mode: touch after a stop: $(cat said)"
	kill -KILL $program
	wait $launcher
done

# A debugger that is managed itself, and what it starts.
find_modes
if [ "$modes" != signal ]; then
	timeout 60 "$ANONMM" run --memory 16M --swap "file:$work?size=256M" -- gdb -nx -batch -ex run -ex "print 6 * 7" --args /bin/true >out 2>&1 ||
		fail "a managed debugger: exit status $?: $(cat out)"
	grep -q 'exited normally' out && grep -q '= 42' out || fail "a managed debugger: $(cat out)"
fi
finish

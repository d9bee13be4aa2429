#!/bin/sh
# SPDX-License-Identifier: MIT
# Looking in from outside: what docs/debugging.md says that others see, and gdb's helper.
. "$(dirname "$0")/../common.sh"
need gcc gdb python3
here=$(cd "$(dirname "$0")" && pwd)

gcc -O1 -g -w -pthread -o "$work/dies" "$here/dies.c" || skip "gcc does not work here"
cd "$work" || exit 1
ulimit -c 0

for mode in thread signal; do
	rm -f ready
	"$ANONMM" run --memory 8M --memory-max 64M --swap "file:$work?size=256M" --faults $mode -- ./dies killed where >ready &
	launcher=$!
	for i in $(seq 200); do
		grep -q ready ready && break
		sleep 0.05
	done
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
	"$ANONMM" touch $program $((start + 4096 * 2000)) 256K >said || fail "$mode: touch of a range: $(cat said)"
	[ "$(python3 "$here/peek.py" $program where 2000 2064)" = "mem 64 wrong 0 vm_readv 64 of 64" ] ||
		fail "$mode: a range that was touched: $(python3 "$here/peek.py" $program where 2000 2064)"
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
	timeout 30 gdb -nx -p $program -batch -ex "handle SIGBUS SIGSYS nostop noprint pass" \
		-ex "source $here/../../share/gdb/anonmm.py" -ex "x/1gx $start+4096*1000" -ex "anonmm-touch $start+4096*1000 65536" \
		-ex "x/1gx $start+4096*1015" -ex "anonmm-x $start+4096*3000 16" >out 2>&1
	grep -q "16 pages are in memory" out || fail "$mode: anonmm-touch: $(cat out)"
	grep -qi "0x5eed5eed0007ee00" out || fail "$mode: a page that was touched: $(cat out)"
	grep -qi "0x5eed5eed00177000" out || fail "$mode: anonmm-x: $(cat out)"
	kill -KILL $program
	wait $launcher
done
# A debugger that is managed itself, and what it starts.
if "$ANONMM" run --memory 16M --faults thread -- true 2>/dev/null; then
	timeout 60 "$ANONMM" run --memory 16M --swap "file:$work?size=256M" -- gdb -nx -batch -ex run -ex "print 6 * 7" --args /bin/true >out 2>&1 ||
		fail "a managed debugger: exit status $?: $(cat out)"
	grep -q 'exited normally' out && grep -q '= 42' out || fail "a managed debugger: $(cat out)"
fi
finish

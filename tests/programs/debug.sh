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
	"$ANONMM" run --memory 8M --swap "file:$work?size=256M" --faults $mode -- ./dies killed where >ready &
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

	read -r start pages <where
	timeout 30 gdb -nx -p $program -batch -ex "handle SIGBUS SIGSYS nostop noprint pass" \
		-ex "source $here/../../share/gdb/anonmm.py" -ex "x/1gx $start+4096*1000" -ex "anonmm-touch $start+4096*1000 65536" \
		-ex "x/1gx $start+4096*1015" -ex "anonmm-x $start+4096*3000 16" >out 2>&1
	grep -q "16 pages are in memory" out || fail "$mode: anonmm-touch: $(cat out)"
	grep -qi "0x5eed5eed0007ee00" out || fail "$mode: a page that was touched: $(cat out)"
	grep -qi "0x5eed5eed00177000" out || fail "$mode: anonmm-x: $(cat out)"
	kill -KILL $program
	wait $launcher
done
finish

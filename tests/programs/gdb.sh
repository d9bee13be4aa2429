#!/bin/sh
# SPDX-License-Identifier: MIT
# gdb's helper brings pages in, which takes a call into the program. Where gdb cannot call a function of a native
# program, this is not tried.
. "$(dirname "$0")/../common.sh"
need gcc gdb python3
here=$(cd "$(dirname "$0")" && pwd)

compiles -O1 -g -pthread -o "$work/dies" "$here/dies.c"
cd "$work" || exit 1
ulimit -c 0

./dies killed where >ready &
program=$!
until_says ready ready 10
gdb -nx -p $program -batch -ex "print (int)getpid()" >out 2>&1
kill -KILL $program
grep -q "= $program" out || skip gdb-calls "$(tail -n 2 out | head -n 1)"

for mode in thread signal; do
	rm -f ready
	"$ANONMM" run --memory 8M --memory-max 64M --swap "file:$work?size=256M" --faults $mode -- ./dies killed where >ready &
	launcher=$!
	until_says ready ready 10
	program=$(cat /proc/$launcher/task/$launcher/children)
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

#!/bin/sh
# SPDX-License-Identifier: MIT
# Every way to make a process, with memory that is partly out. Nothing is left behind, however a process ends.
. "$(dirname "$0")/../common.sh"
forks=$ANONMM_BUILD/tests/forks
own_files
mkdir "$work/swap"

# nothing_left WHAT: no file, no process that maps what was ours, nothing in shared memory or swap.
nothing_left() {
	[ -z "$(ls "$work/swap")" ] || fail "$1: swap files are left: $(ls "$work/swap")"
	[ -z "$(ls "$files" 2>/dev/null)" ] || fail "$1: status files are left: $(ls "$files")"
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		left=$(grep -ls "$work/run" /proc/[0-9]*/maps 2>/dev/null)
		[ -z "$left" ] && break
		sleep 0.2
	done
	[ -z "$left" ] || fail "$1: processes are left: $left"
	[ "$(ls /dev/shm | grep -c anonmm)" -eq 0 ] || fail "$1: shared memory is left: $(ls /dev/shm)"
}

for mode in thread signal; do
	for way in raw deep chain threads spawn abort kill; do
		limit=7M
		[ $way = deep ] && limit=14M # for three processes
		[ $way = chain ] && limit=24M # for forty
		(ulimit -c 0; SWAP="file:$work/swap?size=1G" managed $limit $mode "$forks" $way) >"$work/out" 2>&1 ||
			fail "$mode, $way: exit status $?: $(cat "$work/out")"
		grep -q good "$work/out" || fail "$mode, $way: $(cat "$work/out")"
		[ "$(counter swapped_out)" -gt 0 ] || fail "$mode, $way: nothing was swapped out, so nothing was tested"
		nothing_left "$mode, $way"
	done
	rm -f "$work/daemon"
	SWAP="file:$work/swap?size=1G" managed 7M $mode "$forks" daemon "$work/daemon" >"$work/out" 2>&1 ||
		fail "$mode, daemon: $(cat "$work/out")"
	for _ in $(seq 100); do
		[ -s "$work/daemon" ] && break
		sleep 0.1
	done
	grep -q good "$work/daemon" || fail "$mode, daemon: said $(cat "$work/daemon" 2>&1)"
	sleep 0.2
	nothing_left "$mode, daemon"
done
finish

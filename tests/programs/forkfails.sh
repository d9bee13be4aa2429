#!/bin/sh
# SPDX-License-Identifier: MIT
# A fork that fails inside is one that fails: -1, errno, no child, no SIGCHLD; and all is given back.
. "$(dirname "$0")/../common.sh"
need gcc
compiles -O1 -pthread -o "$work/forkfails" "$(dirname "$0")/forkfails.c"
chmod 711 "$work"
mkdir -m 1777 "$work/swap" # also for the other user
find_modes

for mode in $modes; do
	for way in files addresses processes device signals threads bare; do
		swap="file:$work/swap?size=1G"
		[ $way = device ] && swap="faulty:file:$work/swap?size=1G&fail_fork=2"
		if [ $way = processes ] && [ "$(id -u)" != 0 ]; then
			left_out=root
			continue
		fi
		(ulimit -n 1024; SWAP=$swap managed 7M $mode "$work/forkfails" $way) >"$work/out" 2>"$work/said" ||
			fail "$mode, $way: exit status $?: $(cat "$work/out" "$work/said")"
		grep -q good "$work/out" || fail "$mode, $way: $(cat "$work/out")"
		[ "$(counter swapped_out)" -gt 0 ] || fail "$mode, $way: nothing was swapped out, so nothing was tested"
		case $way in
		device) grep -q "fork failed" "$work/said" || fail "$mode, device: no words: $(cat "$work/said")" ;;
		*) [ ! -s "$work/said" ] || fail "$mode, $way: $(cat "$work/said")" ;;
		esac
	done
done
finish

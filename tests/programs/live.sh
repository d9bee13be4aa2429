#!/bin/sh
# SPDX-License-Identifier: MIT
# Running programs are listed, watched, and given other limits. What a killed program leaves behind is recognised.
. "$(dirname "$0")/../common.sh"
hog=$ANONMM_BUILD/tests/hog
own_files
launchers=

# start OPTION... -- COMMAND...: in the background; the program's number in $pid when it is ready.
start() {
	: >"$work/out"
	timeout 60 "$ANONMM" run --swap "file:$work?size=1G" "$@" >"$work/out" 2>"$work/errors" &
	launchers="$launchers $!"
	pid=
	for _ in $(seq 100); do
		if grep -q ready "$work/out"; then
			pid=$(ls "$files" | sort -n | tail -n 1)
			[ -n "$pid" ] && return
		fi
		sleep 0.1
	done
	fail "'$*' was not ready in time: $(cat "$work/out" "$work/errors")"
	finish
}

# says STATUS WORDS COMMAND...: anonmm COMMAND.
says() {
	expected=$1 words=$2
	shift 2
	timeout 30 "$ANONMM" "$@" >"$work/said" 2>&1
	got=$?
	[ $got -eq "$expected" ] || fail "'$*': exit status $got instead of $expected: $(cat "$work/said")"
	grep -Eq "$words" "$work/said" || fail "'$*': no '$words' in: $(cat "$work/said")"
}

# number NAME: from the last JSON.
number() {
	sed -n "s/^.*\"$1\": \([0-9]*\).*\$/\1/p" "$work/said"
}

# resident_kib PID: as the host sees it.
resident_kib() {
	sed -n 's/^RssAnon:[^0-9]*\([0-9]*\).*$/\1/p' "/proc/$1/status"
}

# listed PID: by ps.
listed() {
	"$ANONMM" ps >"$work/said" 2>&1 || fail "ps: $(cat "$work/said")"
	grep -q "^ *$1 " "$work/said"
}

find_modes
for mode in $modes; do
	start --memory 96M --memory-max 160M --faults $mode -- "$hog" 80 4
	listed "$pid" || fail "$mode: ps does not list $pid: $(cat "$work/said")"
	says 0 '"frames_used"' stat --json "$pid"
	[ "$(number limit_bytes)" -eq $((96 << 20)) ] || fail "$mode: stat tells another limit: $(cat "$work/said")"
	[ "$(number born)" -ge 20480 ] || fail "$mode: stat counts too few births: $(cat "$work/said")"
	before=$(resident_kib "$pid")
	[ "$before" -gt 80000 ] || fail "$mode: only $before KiB are resident: nothing to be tested"
	says 0 'limit 24 MiB' limit "$pid" 24M
	after=$(resident_kib "$pid")
	[ "$after" -lt $(((24 << 10) + 8192)) ] || fail "$mode: $after KiB are resident in 24 MiB: not given back"
	says 0 '"swapped_out"' stat --json "$pid"
	[ "$(number resident_bytes)" -le $((24 << 20)) ] || fail "$mode: more resident than the limit: $(cat "$work/said")"
	says 0 'limit 128 MiB' limit "$pid" 128M
	says 1 'memory-max' limit "$pid" 1G
	says 1 '4 MiB' limit "$pid" 1M
	says 0 'faults +[0-9]' stat "$pid"
	says 0 'faults/s' stat --interval 0.2 "$pid"
	wait
	grep -q good "$work/out" || fail "$mode: the program did not end well: $(cat "$work/out" "$work/errors")"
	[ ! -e "$files/$pid" ] || fail "$mode: the program has ended and its file is still there"
done

# Without swap there is nowhere to go.
: >"$work/out"
timeout 60 "$ANONMM" run --memory 96M --faults signal --swap none -- "$hog" 64 2 >"$work/out" 2>&1 &
until_says ready "$work/out" 30
pid=$(ls "$files" | sort -n | tail -n 1)
says 1 'swap has room for 0 MiB' limit "$pid" 32M
wait
grep -q good "$work/out" || fail "no swap: $(cat "$work/out")"

# A program and its children have a limit each, if they are to.
start --per-process --memory 64M --faults signal -- sh -c "'$hog' 20 6 & '$hog' 20 6 & wait"
sleep 1
"$ANONMM" ps --json >"$work/said"
[ "$(grep -c '"answers": true' "$work/said")" -ge 3 ] || fail "ps does not list the children: $(cat "$work/said")"
says 0 'limit 16 MiB' limit "$pid" 16M
[ "$("$ANONMM" ps | grep -c '64 MiB')" -ge 2 ] || fail "another process's limit was changed"
wait

# One that is stopped does not answer, and nobody hangs.
start --memory 64M --faults signal -- "$hog" 8 4
kill -STOP "$pid"
says 1 'does not answer' stat "$pid"
says 0 " $pid .* - " ps
says 1 'does not answer' limit "$pid" 32M
kill -CONT "$pid"
says 0 'limit 32 MiB' limit "$pid" 32M

# One that is killed leaves its file; who looks removes it. Its number may be another's by then.
kill -KILL "$pid"
sleep 0.2
wait
start --memory 64M --faults signal -- "$hog" 8 2
cp "$files/$pid" "$files/$$"
cp "$files/$pid" "$files/999999"
! listed $$ || fail "ps lists a process that is not managed: $(cat "$work/said")"
[ ! -e "$files/$$" ] || fail "a file by the number of another process was not removed"
[ ! -e "$files/999999" ] || fail "a file of a process that is not was not removed"
says 1 'not managed' stat $$
says 1 'no process' stat 999999
says 125 'not the number' stat x
says 125 'not a size' limit "$pid" lots
wait

# Another program in the place of the managed one: managed again, or not.
start --memory 64M --faults signal -- sh -c "echo ready; exec '$hog' 8 6"
sleep 0.5
listed "$pid" || listed "$pid" || listed "$pid" || fail "ps does not list a program after exec: $(cat "$work/said")"
wait
start --memory 64M --faults signal -- sh -c "echo ready; sleep 0.5; ANONMM_OFF=1 exec sleep 3"
sleep 1
! listed "$pid" || fail "ps lists a program that is not managed any more: $(cat "$work/said")"
wait

# A directory that others can write to is not trusted.
chmod 777 "$files"
timeout 60 "$ANONMM" run --memory 16M --faults signal -- "$hog" 1 1 >"$work/out" 2>&1
grep -q good "$work/out" || fail "with an untrusted directory: $(cat "$work/out")"
[ -z "$(ls "$files")" ] || fail "something was put into a directory that everybody can write to"
finish

#!/bin/bash
# SPDX-License-Identifier: MIT
# One limit for all processes of a run: together they stay within it. When one ends the others get its share. Nothing is
# left behind.
. "$(dirname "$0")/../common.sh"
hog=$ANONMM_BUILD/tests/hog
own_files
# What a process needs besides: libc, the allocator's own, stacks, the launcher's shell.
BESIDE_KIB=4096
launcher=

# run_tree LIMIT OPTION... -- COMMAND...: in the background.
run_tree() {
	limit=$1
	shift
	: >"$work/out"
	timeout 60 "$ANONMM" run --memory "$limit" --swap "file:$work?size=1G" "$@" >"$work/out" 2>"$work/errors" &
	launcher=$!
}

members() {
	ls "$files" 2>/dev/null | sort -n
}

hogs() {
	for p in $(members); do
		[ "$(cat "/proc/$p/comm" 2>/dev/null)" = hog ] && echo "$p"
	done
}

# resident_kib: of all members together; a page that several share counts once. Prints kibibytes and processes.
resident_kib() {
	for p in $(members); do
		sed -n 's/^Pss_Anon:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$p/smaps_rollup" 2>/dev/null
	done | awk '{ sum += $1; nr++ } END { print sum + 0, nr + 0 }'
}

# ready NUMBER: so many hogs have filled their memory.
ready() {
	for _ in $(seq 300); do
		[ "$(grep -c ready "$work/out")" -ge "$1" ] && return
		sleep 0.1
	done
	fail "$1 programs were not ready in time: $(cat "$work/out" "$work/errors")"
	finish
}

ended_well() {
	wait $launcher || fail "$1: exit status $?: $(cat "$work/out" "$work/errors")"
	[ "$(grep -c good "$work/out")" -eq "$2" ] || fail "$1: not all was as it was written: $(cat "$work/out")"
	[ -z "$(members)" ] || fail "$1: files were left behind: $(members)"
}

# number NAME PID: from stat.
number() {
	"$ANONMM" stat --json "$2" | sed -n "s/^.*\"$1\": \([0-9]*\).*\$/\1/p"
}

find_modes
for mode in $modes; do
	# Four that want 160 MiB in 64.
	run_tree 64M --faults $mode -- sh -c "for i in 1 2 3 4; do '$hog' 40 3 & done; wait"
	ready 4
	most=0
	for _ in 1 2 3 4 5 6; do
		read -r kib nr <<<"$(resident_kib)"
		over=$((kib - nr * BESIDE_KIB))
		[ $over -gt $most ] && most=$over
		sleep 0.3
	done
	[ $nr -ge 5 ] || fail "$mode: only $nr processes are members"
	[ $most -le $((64 << 10)) ] || fail "$mode: $most KiB are resident in 64 MiB"
	[ "$kib" -gt $((40 << 10)) ] || fail "$mode: only $kib KiB are resident: the limit is not made use of"
	ended_well "$mode, four" 4

	# fork without exec: parent and child write to what they share. exec under the same limit.
	run_tree 32M --faults $mode -- /usr/bin/python3 -c "
import os, sys, time
a = bytearray(20 << 20)
for i in range(0, len(a), 4096): a[i] = 1 + i % 251
pids = []
for n in range(3):
    pid = os.fork()
    if pid == 0:
        for i in range(0, len(a), 4096): a[i + 1] = n
        print('ready', flush=True)
        time.sleep(2)
        ok = all(a[i] == 1 + i % 251 and a[i + 1] == n for i in range(0, len(a), 4096))
        del a
        if not ok: os._exit(1)
        os.execv('$hog', ['hog', '24', '0'])
    pids.append(pid)
sys.exit(any(os.waitpid(p, 0)[1] for p in pids))"
	ready 3
	sleep 0.7
	read -r kib nr <<<"$(resident_kib)"
	[ $((kib - nr * 2 * BESIDE_KIB)) -le $((32 << 10)) ] || fail "$mode, fork: $kib KiB of $nr processes in 32 MiB"
	ended_well "$mode, fork and exec" 3

	# What follows is the same code in both modes.
	[ $mode = "${modes%% *}" ] || continue

	# One that is killed gives its share back, without a word; one that is stopped keeps nobody waiting.
	run_tree 48M --faults $mode -- sh -c "'$hog' 40 5 & '$hog' 40 5 & sleep 2; exec '$hog' 30 1"
	ready 2
	stopped=$(hogs | tail -n 1)
	killed=$(hogs | head -n 1)
	kill -STOP "$stopped"
	kill -KILL "$killed"
	ready 3
	heir=$(members | head -n 1)
	for _ in $(seq 100); do # a share grows while it is needed
		share=$(number share_bytes "$heir")
		[ "${share:-0}" -ge $((22 << 20)) ] && break
		sleep 0.1
	done
	[ "${share:-0}" -ge $((22 << 20)) ] || fail "$mode: a share of $share beside one that is stopped: $("$ANONMM" ps)"
	kill -CONT "$stopped"
	wait $launcher
	for _ in $(seq 600); do
		[ "$(grep -c good "$work/out")" -eq 2 ] && break
		sleep 0.1
	done
	[ "$(grep -c good "$work/out")" -eq 2 ] || fail "$mode: killed: $(cat "$work/out" "$work/errors")"

	# The limit is one, and can be moved for all.
	run_tree 64M --memory-max 96M --faults $mode -- sh -c "'$hog' 40 4 & '$hog' 40 4 & wait"
	ready 2
	first=$(members | head -n 1)
	"$ANONMM" limit "$first" 24M >"$work/said" 2>&1 || fail "$mode: limit: $(cat "$work/said")"
	read -r kib nr <<<"$(resident_kib)"
	[ $((kib - nr * BESIDE_KIB)) -le $((24 << 10)) ] || fail "$mode: $kib KiB are resident in 24 MiB"
	"$ANONMM" limit "$first" 96M >"$work/said" 2>&1 || fail "$mode: limit: $(cat "$work/said")"
	ended_well "$mode, limit" 2

	# Each its own.
	run_tree 24M --per-process --faults $mode -- sh -c "'$hog' 20 2 & '$hog' 20 2 & wait"
	ready 2
	read -r kib nr <<<"$(resident_kib)"
	[ "$kib" -gt $((38 << 10)) ] || fail "$mode, per process: only $kib KiB are resident"
	ended_well "$mode, per process" 2
done

# The least that each needs does not fit: one note, and all go on.
run_tree 4M --faults signal -- sh -c "for i in 1 2 3 4 5 6 7 8 9; do '$hog' 3 3 & done; wait"
ended_well "too many" 9
[ "$(grep -c 'together they take more' "$work/errors")" -eq 1 ] || fail "too many: said: $(cat "$work/errors")"

# A program that a daemon starts when the launcher has gone has its part of the same limit.
run_tree 24M --faults signal -- sh -c "(sleep 1; '$hog' 30 2) &"
wait $launcher
ready 1
[ "$(number limit_bytes "$(hogs)")" -eq $((24 << 20)) ] || fail "daemon: $("$ANONMM" ps)"
"$ANONMM" stat --json "$(hogs)" | grep -q '"shared": true' || fail "daemon: has a limit of its own"
sleep 2.5
grep -q good "$work/out" || fail "daemon: $(cat "$work/out" "$work/errors")"
[ -z "$(members)" ] || fail "daemon: left behind: $(members)"

# Without swap a process waits for what others do not use, and does not run out of memory.
timeout 60 "$ANONMM" run --memory 64M --swap none --faults signal -- sh -c "'$hog' 20 1 & '$hog' 20 1 & wait" \
	>"$work/out" 2>&1
[ "$(grep -c good "$work/out")" -eq 2 ] || fail "no swap: $(cat "$work/out")"

# A process that is dead, and that nobody has waited for, keeps no share: its parent gets the memory all the same.
cat >"$work/zombie.py" <<'PY'
import os, re, signal, subprocess, sys, time

def touch(memory):
    for at in range(0, len(memory), 4096):
        memory[at] = 1

r, w = os.pipe()
pid = os.fork()
if pid == 0:
    memory = bytearray(60 << 20)
    for _ in range(4):
        touch(memory)
        time.sleep(0.3)
    os.write(w, b"x")
    time.sleep(60)
os.read(r, 1)
os.kill(pid, signal.SIGKILL)
memory = bytearray(40 << 20)
end = time.monotonic() + 3
while time.monotonic() < end:
    touch(memory)
told = subprocess.run([sys.argv[1], "stat", "--json", str(os.getpid())], capture_output=True, text=True).stdout
print(int(re.search(r'"share_bytes": (\d+)', told)[1]) >> 20)
PY
if command -v python3 >/dev/null; then
	run_tree 72M --faults signal -- python3 "$work/zombie.py" "$ANONMM"
	wait $launcher
	[ "$(cat "$work/out")" -ge 40 ] || fail "zombie: its parent has $(cat "$work/out") MiB of 72 $(cat "$work/errors")"
fi
finish

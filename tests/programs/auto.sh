#!/bin/sh
# SPDX-License-Identifier: MIT
# --memory auto: a program that wants more than its control group has finishes, and its limit follows the group's.
. "$(dirname "$0")/../common.sh"
hog=$ANONMM_BUILD/tests/hog
[ "$(id -u)" -eq 0 ] || skip root "control groups are root's to make"
own_files

if mkdir "/sys/fs/cgroup/memory/anonmm-test-$$" 2>/dev/null; then
	group=/sys/fs/cgroup/memory/anonmm-test-$$ limit=memory.limit_in_bytes
elif grep -qw memory /sys/fs/cgroup/cgroup.subtree_control 2>/dev/null &&
	mkdir "/sys/fs/cgroup/anonmm-test-$$" 2>/dev/null; then
	group=/sys/fs/cgroup/anonmm-test-$$ limit=memory.max
else
	skip memory-group "none can be made"
fi
trap 'rmdir "$group"; rm -rf "$work"' EXIT
[ -e "$group/$limit" ] || skip memory-group "there is no controller"

# inside COMMAND...: in the group.
inside() {
	sh -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$group" "$@"
}

# follows LEAST MOST WHAT: within seconds the limit is between so many MiB.
follows() {
	for _ in $(seq 60); do
		now=$("$ANONMM" stat --json "$pid" | sed -n 's/^.*"limit_bytes": \([0-9]*\).*$/\1/p')
		[ $((now >> 20)) -ge "$1" ] && [ $((now >> 20)) -le "$2" ] && return
		sleep 0.2
	done
	fail "$3: the limit is $((now >> 20)) MiB, neither $1 to $2"
}

echo $((96 << 20)) >"$group/$limit"
inside timeout 80 "$ANONMM" run --memory auto --swap "file:$work?size=1G" -- "$hog" 200 14 >"$work/out" 2>&1 &
launcher=$!
until_says ready "$work/out" 20
pid=$(ls "$files" | sort -n | tail -n 1)
follows 50 92 "a group of 96 MiB"
"$ANONMM" ps | grep -q 'MiB+' || fail "ps does not say that the limit follows the host"
echo $((192 << 20)) >"$group/$limit"
follows 130 186 "192 MiB"
# A neighbour who is not managed comes, little by little, and goes.
inside timeout 60 "$hog" 60 3 20 >"$work/neighbour" 2>&1 &
follows 60 126 "60 MiB taken by a neighbour"
follows 130 186 "the neighbour has gone"
"$ANONMM" limit "$pid" 80M >"$work/said" 2>&1 || fail "a most of 80 MiB: $(cat "$work/said")"
follows 70 80 "a most of 80 MiB"
wait $launcher
got=$?
[ $got -eq 0 ] || fail "the program ended with $got: $(cat "$work/out")"
grep -q good "$work/out" || fail "the program did not end well: $(cat "$work/out")"
wait
grep -q good "$work/neighbour" || fail "the neighbour did not end well: $(cat "$work/neighbour")"
finish

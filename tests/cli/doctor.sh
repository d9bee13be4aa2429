#!/bin/sh
# SPDX-License-Identifier: MIT
# `anonmm doctor` says what `anonmm run` then does, for each kind of host that can be made here; and --fallback.
. "$(dirname "$0")/../common.sh"
refuse=$ANONMM_BUILD/tests/refuse

# examine STATUS WORDS COMMAND...: doctor under COMMAND.
examine() {
	expected=$1 words=$2
	shift 2
	"$@" "$ANONMM" doctor >"$work/out" 2>"$work/errors"
	got=$?
	[ $got -eq "$expected" ] || fail "'$*' doctor: exit status $got instead of $expected: $(cat "$work/out" "$work/errors")"
	grep -Eq "$words" "$work/out" || fail "'$*' doctor: no '$words' in: $(cat "$work/out")"
	tail -n 1 "$work/out" | grep -q '^Verdict: ' || fail "'$*' doctor: no verdict at the end: $(cat "$work/out")"
	[ ! -s "$work/errors" ] || fail "'$*' doctor: $(cat "$work/errors")"
}

# agrees COMMAND...: under COMMAND, doctor's exit status says whether a program can be run.
agrees() {
	"$@" "$ANONMM" doctor >"$work/out" 2>&1
	usable=$?
	"$@" "$ANONMM" run --memory 16M -- true >"$work/errors" 2>&1
	runs=$?
	[ $usable -eq 0 ] && [ $runs -eq 0 ] && return
	[ $usable -eq 1 ] && [ $runs -eq 125 ] && return
	fail "'$*': doctor says $usable, run says $runs: $(cat "$work/out" "$work/errors")"
}

agrees env
"$ANONMM" doctor --json >"$work/json" 2>"$work/errors"
[ $? -le 1 ] || fail "--json: $(cat "$work/errors")"
if command -v python3 >/dev/null; then
	python3 -c 'import json, sys
d = json.load(open(sys.argv[1]))
assert d["usable"] in (True, False) and d["verdict"] and d["memory_bytes"] > 0
for key in "userfaultfd move copy aio io_uring direct room cgroup psi seccomp overcommit address_space cpus user".split():
	assert d["findings"][key]["state"] in ("good", "fair", "bad", "fact") and d["findings"][key]["text"], key
' "$work/json" || fail "not the JSON that it should be: $(cat "$work/json")"
fi
"$ANONMM" doctor --no-such-option >"$work/out" 2>&1
[ $? -eq 125 ] || fail "an unknown option: exit status was not 125"
"$ANONMM" doctor now >"$work/out" 2>&1
[ $? -eq 125 ] || fail "an argument: exit status was not 125"

# auto MODE WHY COMMAND...: what --faults auto is under COMMAND, by doctor, and by the program itself.
auto() {
	mode=$1 why=$2
	shift 2
	examine 0 "auto +$mode: .*$why" "$@"
	"$@" "$ANONMM" run --memory 16M --swap none --json --stats="$work/stats" -- sh -c 'cat /etc/passwd | sort >/dev/null' ||
		fail "'$*' run: exit status $?"
	[ "$(grep -c "\"faults_mode\": \"$mode\"" "$work/stats")" -ge 2 ] || fail "'$*' run: not $mode: $(cat "$work/stats")"
}

"$ANONMM" run --memory 16M --fallback perhaps -- true >"$work/out" 2>&1
[ $? -eq 125 ] || fail "--fallback perhaps was taken"
"$ANONMM" run --memory 16M --fallback native -- sh -c 'exit 5' 2>"$work/errors"
[ $? -eq 5 ] || fail "--fallback native where it is not needed: $(cat "$work/errors")"

if [ "$(id -u)" -eq 0 ] && [ "$(uname -m)" = x86_64 ] && "$ANONMM" run --memory 16M --faults thread -- true 2>"$work/errors"; then
	auto signal 'faster' env
	auto thread 'seccomp' "$refuse" seccomp 1
	auto signal 'faster' setpriv --no-new-privs
	auto thread 'setuid' setpriv --bounding-set=-all --inh-caps=-all
	! command -v strace >/dev/null || auto thread 'debugger' strace -f -o /dev/null
	# A program in thread mode under the filter of one in signal mode.
	"$ANONMM" run --memory 16M --faults signal -- "$ANONMM" run --memory 16M --faults thread -- sort /etc/passwd >"$work/out" ||
		fail "thread mode below signal mode: exit status $?"
	sort /etc/passwd | cmp -s - "$work/out" || fail "thread mode below signal mode: $(cat "$work/out")"
fi

need_nobody
refuse=$ANONMM_BUILD/tests/refuse
agrees as_nobody
if [ "$(cat /proc/sys/vm/unprivileged_userfaultfd)" = 0 ] && ! as_nobody test -w /dev/userfaultfd; then
	if [ "$(uname -m)" = x86_64 ]; then
		examine 0 'auto +signal: this user may not have thread mode' as_nobody
		examine 1 'unprivileged_userfaultfd=1' as_nobody "$refuse" seccomp 1
	else
		examine 1 'unprivileged_userfaultfd=1' as_nobody
	fi
	as_nobody "$ANONMM" run --memory 16M --faults thread --fallback native -- sh -c 'echo "$ANONMM_OFF $LD_PRELOAD"; exit 3' \
		>"$work/out" 2>"$work/errors"
	[ $? -eq 3 ] || fail "--fallback native: $(cat "$work/errors")"
	grep -q "without a limit" "$work/errors" || fail "--fallback native was silent: $(cat "$work/errors")"
	[ "$(cat "$work/out")" = "1 " ] || fail "--fallback native: something was preloaded: $(cat "$work/out")"
	as_nobody "$ANONMM" run --memory 16M --faults thread --fallback fail -- echo started >"$work/out" 2>"$work/errors"
	[ $? -eq 125 ] || fail "--fallback fail went on"
	[ ! -s "$work/out" ] || fail "--fallback fail started the program"
fi
# A filter that refuses with EPERM, or as if there were nothing: 1 and 38.
examine 1 'seccomp' as_nobody "$refuse" userfaultfd 1
examine 1 'seccomp' as_nobody "$refuse" userfaultfd 38
agrees as_nobody "$refuse" userfaultfd 38
# A managed program that starts another one where it cannot be managed.
chmod 755 "$work"
"$ANONMM" run --memory 16M --fallback native --swap none -- \
	setpriv --reuid 65534 sh -c 'exit 4' 2>"$work/errors"
[ $? -eq 4 ] || fail "a child that cannot be managed: $(cat "$work/errors")"
finish

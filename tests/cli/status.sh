#!/bin/sh
# SPDX-License-Identifier: MIT
# The program's exit status and its standard streams are passed on, and signals, too.
. "$(dirname "$0")/../common.sh"

# status EXPECTED COMMAND...
status() {
	expected=$1
	shift
	"$ANONMM" run --memory 16M -- "$@" >"$work/out" 2>"$work/errors" </dev/null
	got=$?
	[ $got -eq "$expected" ] || fail "'$*': exit status $got instead of $expected: $(cat "$work/errors")"
}

status 0 true
status 1 false
status 42 sh -c 'exit 42'
status 143 sh -c 'kill -TERM $$'
status 137 sh -c 'kill -KILL $$'
status 139 sh -c 'kill -SEGV $$'

echo through | "$ANONMM" run --memory 16M cat >"$work/out" || fail "cat: $?"
[ "$(cat "$work/out")" = through ] || fail "standard input or output was not passed on"
"$ANONMM" run --memory 16M sh -c 'echo "$@"' sh --memory 1 -- x >"$work/out" || fail "options of the program: $?"
[ "$(cat "$work/out")" = "--memory 1 -- x" ] || fail "options of the program were eaten: $(cat "$work/out")"
printf '#!/bin/sh\nexit 5\n' >"$work/script" && chmod +x "$work/script"
status 5 "$work/script"
(cd "$work" && PATH=.:$PATH "$ANONMM" run --memory 16M -- script) ; [ $? -eq 5 ] || fail "a script in PATH"

# SIGTERM sent to the launcher reaches the program.
"$ANONMM" run --memory 16M -- sh -c 'trap "exit 33" TERM; echo ready; while :; do sleep 0.1; done' >"$work/out" &
pid=$!
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
	grep -q ready "$work/out" && break
	sleep 0.1
done
kill -TERM $pid
wait $pid
got=$?
[ $got -eq 33 ] || fail "SIGTERM to the launcher: exit status $got instead of 33"

# Statistics as a table and as JSON.
"$ANONMM" run --memory 16M --stats -- true 2>"$work/errors" || fail "--stats: $?"
grep -q "swapped out" "$work/errors" || fail "--stats printed no table: $(cat "$work/errors")"
managed 16M auto sh -c '/bin/true; /bin/true' || fail "--stats=FILE: $?"
[ "$(counter born)" -gt 0 ] || fail "no page was born: $(cat "$work/stats")"
if command -v python3 >/dev/null; then
	python3 -c 'import json, sys; d = json.load(open(sys.argv[1])); assert len(d["processes"]) >= 2 and d["exit_status"] == 0 and d["peak_bytes"] > 0' \
		"$work/stats" || fail "not the JSON that it should be: $(cat "$work/stats")"
fi
finish

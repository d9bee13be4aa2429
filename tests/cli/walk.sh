#!/bin/sh
# SPDX-License-Identifier: MIT
# anonmm walk: every scenario by its name, in lines that fit, as text and as JSON, on both machines; and bad requests.
. "$(dirname "$0")/../common.sh"

for scenario in $("$ANONMM" walk --list | cut -d' ' -f1); do
	"$ANONMM" walk "$scenario" >"$work/out" 2>"$work/errors" || fail "$scenario: exit status $?: $(cat "$work/errors")"
	grep -q ' 0 differ$' "$work/out" || fail "$scenario: $(tail -n 1 "$work/out")"
	[ ! -s "$work/errors" ] || fail "$scenario: $(cat "$work/errors")"
done
for words in "" "--as linux-4.0"; do
	# shellcheck disable=SC2086
	"$ANONMM" walk all $words >"$work/out" || fail "all $words: exit status $?"
	grep -E '.{101}| $' "$work/out" && fail "all $words: a line is too long, or ends with a space"
done
grep -q 'count=2 mapcount=-1 flags=uptodate|writeback|swapcache|reclaim|swapbacked|$' "$work/out" ||
	fail "no state after pageout as Linux 4.0 prints it"

if command -v python3 >/dev/null; then
	"$ANONMM" walk all --json --as linux-4.0 | python3 -c '
import json, sys
for scenario in json.load(sys.stdin):
    assert scenario["differing"] == 0, scenario
    assert scenario["steps"] and all(step["verdict"] == "agrees" and step["linux-4.0"] for step in scenario["steps"])
' || fail "the JSON of all scenarios"
	"$ANONMM" walk fork --json | python3 -m json.tool >/dev/null || fail "the JSON of one scenario"
fi

"$ANONMM" walk all --machine uffd >"$work/out" 2>"$work/errors"
status=$?
if grep -q userfaultfd "$work/errors"; then
	left_out="userfaultfd move"
elif [ $status -ne 0 ]; then
	fail "all --machine uffd: exit status $status: $(tail -n 1 "$work/out")"
fi

# refused WORDS ARGUMENT...
refused() {
	words=$1
	shift
	"$ANONMM" walk "$@" >"$work/out" 2>"$work/errors"
	status=$?
	[ $status -eq 125 ] || fail "walk $*: exit status $status"
	grep -q -e "$words" "$work/errors" || fail "walk $*: no '$words' in: $(cat "$work/errors")"
}
refused 'see --list' no-such-scenario
refused 'one scenario at a time' life fork
refused 'there is linux-4.0' --as linux-9.9
refused 'soft and uffd' --machine abacus
finish

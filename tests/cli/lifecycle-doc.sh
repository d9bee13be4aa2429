#!/bin/sh
# SPDX-License-Identifier: MIT
# docs/lifecycle.md tells the truth: each function is defined where it says, each test and each scenario exists.
. "$(dirname "$0")/../common.sh"

source=${ANONMM_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
rows=$(grep -c '^| .* in `src/' "$source/docs/lifecycle.md")
[ "$rows" -ge 35 ] || fail "only $rows sentences are told"

grep -o '`[a-z_0-9]*` in `src/[a-z_0-9/]*\.c`' "$source/docs/lifecycle.md" | tr -d '`' | sort -u >"$work/functions"
[ "$(wc -l <"$work/functions")" -ge 30 ] || fail "only $(wc -l <"$work/functions") functions are named"
while read -r function _ file; do
	grep -Eq "^[a-z].*[ *]$function\(" "$source/$file" || fail "$function() is not defined in $file"
done <"$work/functions"

grep -o '`[a-z_0-9]*` in `tests/[a-z_0-9/]*\.c`' "$source/docs/lifecycle.md" | tr -d '`' | sort -u >"$work/tests"
[ "$(wc -l <"$work/tests")" -ge 15 ] || fail "only $(wc -l <"$work/tests") tests are named"
while read -r test _ file; do
	grep -Eq "^static void $test\(" "$source/$file" || fail "there is no test $test in $file"
done <"$work/tests"

# The last cell of a row names scenarios: each is known, and each that is known is named.
"$ANONMM" walk --list | cut -d' ' -f1 | sort >"$work/known"
grep '^| .*|$' "$source/docs/lifecycle.md" | sed 's/ |$//; s/.*| //' | grep '^`' | tr -d '`,' | tr ' ' '\n' | sort -u >"$work/named"
comm -13 "$work/known" "$work/named" | while read -r scenario; do echo "anonmm walk knows no scenario '$scenario'"; done >"$work/wrong"
comm -23 "$work/known" "$work/named" | while read -r scenario; do echo "no sentence names '$scenario'"; done >>"$work/wrong"
[ ! -s "$work/wrong" ] || fail "$(cat "$work/wrong")"
finish

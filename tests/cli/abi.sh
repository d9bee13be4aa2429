#!/bin/sh
# SPDX-License-Identifier: MIT
# Programs that were linked with the first release work with this library. And the check sees changes that would break
# them.
. "$(dirname "$0")/../common.sh"

top=$(cd "$(dirname "$0")/../.." && pwd)
need abidiff
"$top/scripts/abi" "$ANONMM_BUILD" >"$work/out" 2>&1 || fail "the ABI has changed: $(cat "$work/out")"

# A function that once was and is no more; one that once took another type.
sed 's/anonmm_compact/anonmm_vanished/g' "$top/docs/abi/anonmm-0.1.abi" >"$work/gone.abi"
"$top/scripts/abi" --against "$work/gone.abi" "$ANONMM_BUILD" >"$work/out" 2>&1 && fail 'a function may vanish'
grep -q anonmm_vanished "$work/out" || fail "it is not said which function has gone: $(cat "$work/out")"
finish

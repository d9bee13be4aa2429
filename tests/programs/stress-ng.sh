#!/bin/sh
# SPDX-License-Identifier: MIT
# stress-ng writes 256 MiB in every pattern that it knows, at a limit of 64 MiB, and verifies what it reads.
. "$(dirname "$0")/../common.sh"
need stress-ng

# One operation is one pass of one method: enough for each method to be met.
managed 64M thread stress-ng --vm 1 --vm-bytes 256M --vm-method all --verify --vm-ops 60 --timeout 80 \
	--temp-path "$work" >"$work/out" 2>&1 || fail "exit status $?: $(tail -5 "$work/out")"
grep -q "successful run completed" "$work/out" || fail "no success: $(tail -5 "$work/out")"
grep -qi "error detected\|bit error" "$work/out" && fail "stress-ng found errors: $(cat "$work/out")"
must_have_swapped stress-ng
finish

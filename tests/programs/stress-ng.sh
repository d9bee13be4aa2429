#!/bin/sh
# SPDX-License-Identifier: MIT
# stress-ng writes 256 MiB in every pattern that it knows, at a limit of 64 MiB, and verifies what it reads.
. "$(dirname "$0")/../common.sh"
need stress-ng

# stress <seconds> METHOD [OPTION]...
stress() {
	seconds=$1 method=$2
	shift 2
	managed 64M thread stress-ng --vm 1 --vm-bytes 256M --vm-method "$method" --verify --timeout "$seconds" "$@" \
		--temp-path "$work" >"$work/out" 2>&1 || fail "$method: exit status $?: $(tail -5 "$work/out")"
	grep -q "successful run completed" "$work/out" || fail "$method: no success: $(tail -5 "$work/out")"
	grep -Eqi "detected|error|fail:" "$work/out" && fail "$method: $(cat "$work/out")"
	must_have_swapped "$method"
}

stress 25 all
stress 30 write64
finish

#!/bin/sh
# SPDX-License-Identifier: MIT
# stress-ng writes 256 MiB in every pattern that it knows, at a limit of 64 MiB, and verifies what it reads.
. "$(dirname "$0")/../common.sh"
need stress-ng

# stress MODE SECONDS METHOD [OPTION]...
stress() {
	mode=$1 seconds=$2 method=$3
	shift 3
	managed 64M "$mode" stress-ng --vm 1 --vm-bytes 256M --vm-method "$method" --verify --timeout "$seconds" "$@" \
		--temp-path "$work" >"$work/out" 2>&1 || fail "$method: exit status $?: $(tail -5 "$work/out")"
	grep -q "successful run completed" "$work/out" || fail "$method: no success: $(tail -5 "$work/out")"
	grep -Eqi "detected|error|fail:" "$work/out" && fail "$method: $(cat "$work/out")"
	must_have_swapped "$method"
}

stress thread 5 all
stress thread 4 write64
stress signal 5 all
stress signal 3 write64
finish

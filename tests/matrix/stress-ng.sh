# SPDX-License-Identifier: MIT
# packages: stress-ng
# commands: stress-ng
# does: vm, malloc, bigheap, mremap, madvise, fork, vfork, mmapfork, sigsegv, pthread and more, a second each, verified
# version: stress-ng --version
. "$(dirname "$0")/common.sh"

stress() {
	name=$1 ops=$2
	shift 2
	stress-ng "--$name" 1 "--$name-ops" "$ops" --timeout 20 --verify --temp-path "$work/tmp" --oomable "$@" >"$work/log" 2>&1 ||
		die "$name: exit status $?: $(grep -E 'fail|error|terminated' "$work/log" | head -3)"
	! grep -E 'fail:|untrustworthy' "$work/log" || die "$name"
	echo "$name"
}

work() {
	stress vm 40 --vm-bytes 24M --vm-method write64
	stress vm 20 --vm-bytes 16M --vm-method walk-1d
	stress malloc 4000 --malloc-bytes 16M
	stress bigheap 800 --bigheap-growth 64K
	stress mremap 40 --mremap-bytes 8M
	stress madvise 200
	stress brk 2000
	stress mmap 20 --mmap-bytes 8M
	stress mlock 20
	stress fork 60
	stress vfork 60
	stress mmapfork 1 --timeout 3
	stress exec 10
	stress sigsegv 500
	stress sigfpe 500
	stress pthread 300
	stress switch 2000
	stress pipe 500
	stress sock 20
	stress stackmmap 2
}

matrix "$@"

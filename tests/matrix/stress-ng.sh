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

# It takes what the host has free, half of it at a time: under a limit on addresses that is not much.
mmapfork() { (ulimit -v 400000 && stress mmapfork 1 --timeout 2); }

work() {
	stress vm 1000000 --vm-bytes 64M --vm-method rand-set --timeout 2
	stress vm 1000000 --vm-bytes 64M --vm-method inc-nybble --timeout 2
	stress malloc 1500 --malloc-bytes 4M
	stress bigheap 800 --bigheap-growth 64K
	stress mremap 6 --mremap-bytes 8M
	stress madvise 3
	stress brk 2000
	stress mmap 3 --mmap-bytes 8M
	stress mlock 3
	stress fork 30
	stress vfork 30
	mmapfork
	stress exec 10
	stress sigsegv 100
	stress sigfpe 100
	stress pthread 200
	stress switch 2000
	stress pipe 500
	stress sock 20
	stress stackmmap 2
}

matrix "$@"

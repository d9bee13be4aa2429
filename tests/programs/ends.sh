#!/bin/sh
# SPDX-License-Identifier: MIT
# When the host fails and anonmm cannot go on, the process ends at once, with a message and with abort's status. It does
# so whatever locks it holds, whatever handler the program has for SIGABRT, with core dumps and without, in both modes,
# as any user.
. "$(dirname "$0")/../common.sh"
need gcc timeout

chmod 711 "$work"
compiles -O1 -o "$work/ends" "$(dirname "$0")/ends.c"
mkdir -m 777 "$work/here"
cd "$work/here" || exit 1

# ends NAME RUN MODE HOW [HANDLER]: RUN is empty, or as_nobody.
ends() {
	name=$1 run=$2 mode=$3
	shift 3
	$run timeout -s KILL 30 "$ANONMM" run --memory 8M --swap "file:$work/here?size=64M" --faults "$mode" -- \
		"$work/ends" "$@" >out 2>said
	status=$?
	[ $status -ne 77 ] || skip signal-mode "no seccomp filter can be set"
	[ $status -eq 134 ] || fail "$name, $mode, $*: status $status: $(cat out said)"
	grep -q "does not take back" said || fail "$name, $mode, $*: said: $(cat said)"
	grep -q handler out && fail "$name, $mode, $*: the program's handler ran"
	rm -f core core.* out said
}

for most in 0 unlimited; do
	ulimit -S -c $most 2>/dev/null || continue
	for mode in signal thread; do
		for how in call pressure; do
			ends "core $most" "" $mode $how
			ends "core $most" "" $mode $how handler
		done
	done
done
ulimit -c 0
if have_nobody; then
	ends "as nobody" as_nobody signal pressure handler
else
	echo "not root, or no setpriv: no other user was tried"
fi
finish

# SPDX-License-Identifier: MIT
#
# For the scripts of programs/ and cli/: what they all do.
#
# A script is given the launcher by ANONMM or as its first argument. It exits 0: passed, 1: failed, 77: cannot
# be tried here. Everything that it writes goes to $work, which is removed.

ANONMM=${ANONMM:-${1:-build/anonmm}}
case $ANONMM in /*) ;; *) ANONMM=$PWD/$ANONMM ;; esac
ANONMM_BUILD=${ANONMM_BUILD:-$(dirname "$ANONMM")}
work=$(mktemp -d /var/tmp/anonmm-test.XXXXXX)
trap 'rm -rf "$work"' EXIT
failed=0
left_out= # features that this host lacks, without which the test did not try everything
export LC_ALL=C

fail() {
	echo "FAILED: $*"
	failed=1
}

# skip "FEATURE..." WHY: what the host lacks, by the names of features.py; commands are features, too.
skip() {
	[ $failed -eq 0 ] || finish
	echo "skipped: needs $1: $2"
	exit 77
}

need() {
	for tool in "$@"; do
		command -v "$tool" >/dev/null || skip "$tool" "not in PATH"
	done
}

# compiles ARGUMENT...: gcc, which need() has found, makes a program of ours; nothing can be tested without it.
compiles() {
	gcc -w "$@" || {
		fail "gcc $*"
		finish
	}
}

# What was left out makes a skip of a test that passed otherwise.
finish() {
	[ $failed -ne 0 ] || [ -z "$left_out" ] || skip "$left_out" "not everything was tried"
	exit $failed
}

# find_modes: those that this host has, in $modes. thread mode may be refused.
find_modes() {
	modes="thread signal"
	"$ANONMM" run --memory 16M --faults thread -- true 2>/dev/null && return
	modes=signal
	left_out="userfaultfd move"
}

# until_says WORD FILE SECONDS: waits for a program to say it; one that does not ends the test.
until_says() {
	for _ in $(seq $(($3 * 20))); do
		grep -qs "$1" "$2" && return
		sleep 0.05
	done
	fail "no '$1' within $3 s: $(cat "$2")"
	finish
}

# The launchers of this script keep their files in $files, beside nobody else's.
own_files() {
	XDG_RUNTIME_DIR=$work/run
	export XDG_RUNTIME_DIR
	mkdir -m 700 "$XDG_RUNTIME_DIR"
	files=$XDG_RUNTIME_DIR/anonmm-$(id -u)
}

# managed LIMIT MODE COMMAND...: under anonmm, with swap in $work (SWAP names another) and the counters in $work/stats.
managed() {
	limit=$1 mode=$2
	shift 2
	rm -f "$work/stats"
	timeout 100 "$ANONMM" run --memory "$limit" --swap "${SWAP:-file:$work?size=2G}" --faults "$mode" --json \
		--stats="$work/stats" -- "$@"
}

# have_nobody: can root become another user here? Afterwards the launcher is one that everybody may read: a copy, if the
# build is closed to others (in /root, or under a strict umask).
have_nobody() {
	[ "$(id -u)" = 0 ] && command -v setpriv >/dev/null && as_nobody true || return 1
	chmod 711 "$work"
	as_nobody test -r "$ANONMM_BUILD/libanonmm-preload.so" -a -x "$ANONMM" && return
	mkdir -m 755 "$work/build" "$work/build/tests"
	cp "$ANONMM" "$ANONMM_BUILD/libanonmm-preload.so" "$work/build"
	cp "$ANONMM_BUILD/tests/refuse" "$work/build/tests"
	chmod 755 "$work"/build/* "$work"/build/tests/*
	ANONMM_BUILD=$work/build
	ANONMM=$work/build/anonmm
	as_nobody test -x "$ANONMM" || { fail "another user cannot read $work"; finish; }
}

# need_nobody: the test needs another user.
need_nobody() {
	[ "$(id -u)" = 0 ] || skip root "no other user can be tried"
	need setpriv
	have_nobody || { fail "root cannot become another user"; finish; }
}

# as_nobody COMMAND...: as a user without any privilege. => have_nobody, or need_nobody
as_nobody() {
	setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all "$@"
}

# As managed, but as such a user, whose swap is in a directory of its own.
managed_as_nobody() {
	limit=$1 mode=$2
	shift 2
	mkdir -p -m 777 "$work/swap"
	chmod 777 "$work/swap"
	rm -f "$work/stats"
	: >"$work/stats"
	chmod 666 "$work/stats"
	as_nobody timeout 100 "$ANONMM" run --memory "$limit" --swap "file:$work/swap?size=2G" --faults "$mode" --json \
		--stats="$work/stats" -- "$@"
}

# counter NAME: of the whole tree, from the last managed run.
counter() {
	sed -n "s/^.*\"total\": {.*\"$1\": \([0-9]*\).*\$/\1/p" "$work/stats"
}

# The test is about swap: it must have been used.
must_have_swapped() {
	[ "$(counter swapped_out)" -gt 0 ] || fail "$1: nothing was swapped out, so nothing was tested"
	[ "$(counter lost_pages)" -eq 0 ] || fail "$1: pages were lost"
}

# same NAME FILE FILE
same() {
	cmp "$2" "$3" || fail "$1: the result differs"
}

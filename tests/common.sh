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
export LC_ALL=C

fail() {
	echo "FAILED: $*"
	failed=1
}

skip() {
	echo "skipped: $*"
	exit 77
}

need() {
	for tool in "$@"; do
		command -v "$tool" >/dev/null || skip "no $tool here"
	done
}

finish() {
	exit $failed
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

# as_nobody COMMAND...: as a user without any privilege, if we are root and that user may see the build.
as_nobody() {
	[ "$(id -u)" = 0 ] && command -v setpriv >/dev/null || return 1
	chmod 711 "$work"
	setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all test -r "$ANONMM" || return 1
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

# SPDX-License-Identifier: MIT
#
# What the scripts of the matrix have in common.
#
# A script's head tells the runner of it:
#   # packages: Debian's names       # commands: without these it is skipped     # does: words for the table
#   # version: a command that prints the version    # users: root nobody    # least: MiB that it needs anyhow
# It has three functions and ends with `matrix "$@"`, which calls one of them:
#   prepare  once, natively, as root: what all runs read goes to $input
#   work     what is tested, in $work, which is new for each run. Under `anonmm run` all of it is managed
#   verify   natively: prints what must be the same in each run; fails when something is wrong
# Without a prepare there is nothing to prepare. Without a verify, all that work printed, and what it left in $work/out,
# must be the same.
set -eu

prepare() { :; }

verify() {
	cat "$input/out.work"
	[ ! -e "$work/out" ] || (cd "$work/out" && find . -type f -print0 | sort -z | xargs -0 -r sha256sum)
}

die() {
	echo "$*" >&2
	exit 1
}

# wait_until SECONDS COMMAND...: until it succeeds.
wait_until() {
	tries=$(($1 * 10))
	shift
	until "$@" >/dev/null 2>&1; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || die "waited in vain for: $*"
		sleep 0.1
	done
}

matrix() {
	case $1 in
	prepare | work | verify) "$1" ;;
	*) die "one of prepare, work, verify" ;;
	esac
}

# SPDX-License-Identifier: MIT
# packages: coreutils
# commands: sort seq awk
# does: sorts 180 000 lines in memory, by number and by text
# version: sort --version
. "$(dirname "$0")/common.sh"

prepare() {
	seq 1 180000 | awk '{ print ($1 * 7919) % 1000003, "line", $1 }' >"$input/lines"
}

work() {
	mkdir out
	sort -n -S 400M "$input/lines" >out/by-number
	sort -r -k3 -S 400M "$input/lines" >out/by-text
}

matrix "$@"

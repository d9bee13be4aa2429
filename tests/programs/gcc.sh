#!/bin/sh
# SPDX-License-Identifier: MIT
# gcc compiles a real source (the software machine, and all system headers that there are) to the same object.
. "$(dirname "$0")/../common.sh"
need gcc
source=${ANONMM_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}

{
	for header in stdio stdlib string math pthread sys/mman sys/socket netinet/in signal time wchar complex; do
		echo "#include <$header.h>"
	done
	i=0
	while [ $i -lt 500 ]; do
		echo "double f$i(double *x, int n) { double s = $i; for (int i = 0; i < n; i++) s += sin(x[i]) * $i + x[(i * 7) % n]; return s; }"
		i=$((i + 1))
	done
} >"$work/many.c"

options="-std=gnu17 -w -O2 -g0 -I$source/include -I$source/src"
# compile FILE LIMIT: the limit is less than what the compiler takes for it.
compile() {
	file=$1 limit=$2
	# shellcheck disable=SC2086  # options are words
	gcc $options -c "$file" -o "$work/expected.o" || fail "gcc does not compile $file"
	for mode in thread signal; do
		# shellcheck disable=SC2086
		managed $limit $mode gcc $options -c "$file" -o "$work/out.o" || fail "$file, $mode: exit status $?"
		same "$file, $mode" "$work/expected.o" "$work/out.o"
		must_have_swapped "$file, $mode"
	done
}
compile "$source/src/machine/soft/soft.c" 10M
compile "$work/many.c" 32M
finish

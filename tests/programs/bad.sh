#!/bin/sh
# SPDX-License-Identifier: MIT
# Programs that do what they should not, or hardly ever do: they do the same as natively, in both modes.
. "$(dirname "$0")/../common.sh"
. "$(dirname "$0")/cases.sh"
need gcc prlimit

program=$work/bad
chmod 711 "$work"
compiles -O1 -pthread -o "$program" "$(dirname "$0")/bad.c"
ulimit -c 0

under() {
	name=$1
	shift
	[ "$name" = limited-as ] && set -- prlimit --as=1073741824 "$@"
	"$@"
}

all_cases

# Beside other libraries that are preloaded, before ours and behind it.
cat >"$work/other.c" <<'C'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <sys/mman.h>
static long calls;
void *malloc(size_t n) { static void *(*real)(size_t); if (!real) real = dlsym(RTLD_NEXT, "malloc"); calls++; return real(n); }
int munmap(void *p, size_t n) { static int (*real)(void *, size_t); if (!real) real = dlsym(RTLD_NEXT, "munmap"); calls++; return real(p, n); }
C
compiles -O1 -shared -fPIC -o "$work/other.so" "$work/other.c"
for mode in thread signal; do
	LD_PRELOAD=$work/other.so managed 8M $mode "$program" plain >"$work/out" || fail "preloaded, $mode: status $?"
	[ "$(cat "$work/out")" = done ] || fail "preloaded, $mode: $(cat "$work/out")"
	must_have_swapped "preloaded, $mode"
	managed 8M $mode env LD_PRELOAD="$work/other.so" "$program" plain >"$work/out" || fail "preloaded inside, $mode: status $?"
	[ "$(cat "$work/out")" = done ] || fail "preloaded inside, $mode: $(cat "$work/out")"
	must_have_swapped "preloaded inside, $mode"
done

# A program that nothing can be preloaded into is refused.
compiles -O1 -static -pthread -o "$work/static" "$(dirname "$0")/bad.c"
managed 8M auto "$work/static" plain >"$work/out" 2>"$work/said"
status=$?
[ $status -eq 125 ] || [ $status -eq 126 ] || fail "a static program: status $status"
grep -qi static "$work/said" || fail "a static program: said: $(cat "$work/said")"

# Without capabilities from the start.
need setpriv
[ "$(id -u)" = 0 ] || skip root "no capabilities to be without"
for name in plain thread-drops process-drops; do
	setpriv --bounding-set=-all --inh-caps=-all "$program" $name >"$work/expected"
	expected=$?
	managed 8M auto setpriv --bounding-set=-all --inh-caps=-all "$program" $name >"$work/out" 2>"$work/said"
	status=$?
	[ $status -eq $expected ] || fail "setpriv, $name: status $status, natively $expected: $(cat "$work/said")"
	same "setpriv, $name" "$work/expected" "$work/out"
done
finish

#!/bin/sh
# SPDX-License-Identifier: MIT
# On a CPU for which anonmm would be wrong, meson refuses to configure, and says why.
. "$(dirname "$0")/../common.sh"

meson=/usr/bin/meson
[ -x $meson ] || meson=$(command -v meson) || skip meson "not in PATH"
cat >"$work/aarch64.ini" <<'INI'
[binaries]
c = 'cc'
[host_machine]
system = 'linux'
cpu_family = 'aarch64'
cpu = 'aarch64'
endian = 'little'
INI
! "$meson" setup --cross-file "$work/aarch64.ini" "$work/build" "$(dirname "$0")/../.." >"$work/out" 2>&1 ||
	fail 'aarch64 was configured'
grep -q 'anonmm works on Linux on x86-64 alone' "$work/out" || fail "no reason in: $(cat "$work/out")"
finish

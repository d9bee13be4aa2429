#!/bin/sh
# SPDX-License-Identifier: MIT
# A program that closes every descriptor keeps its memory, and its statistics.
. "$(dirname "$0")/../common.sh"
need python3

cat >"$work/close.py" <<'PY'
import os
import sys

before = [bytes([i % 256]) * 50000 for i in range(800)]    # 40 MB
os.closerange(3, 65536)
for fd in range(3, 2000):
    try:
        os.close(fd)
    except OSError:
        pass
after = [bytes([i % 256]) * 50000 for i in range(800)]
for i in range(800):
    if before[i] != after[i] or before[i] != bytes([i % 256]) * 50000:
        sys.exit(f"differs at {i}")
print("all there")
os.close(1)
os.close(2)
PY
for mode in thread signal; do
	managed 16M $mode /usr/bin/python3 "$work/close.py" >"$work/out" || fail "$mode: exit status $?"
	grep -q "all there" "$work/out" || fail "$mode: said: $(cat "$work/out")"
	must_have_swapped $mode
done

# Killed: what was counted in place is there.
managed 16M thread /usr/bin/python3 -c '
import os, signal
x = [bytes([i % 256]) * 50000 for i in range(800)]
os.kill(os.getpid(), signal.SIGKILL)'
[ $? -eq 137 ] || fail "killed by SIGKILL: exit status was not 137"
[ "$(counter born)" -gt 8000 ] || fail "killed: $(counter born) pages born"
must_have_swapped killed
finish
